"""Predict raw query rows: harmonization and model together."""

from __future__ import annotations

from copy import copy
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from ._product import Product

if TYPE_CHECKING:
    from anndata import AnnData

    from ..pp._harmonization import Harmonization
    from ._base import DrugResponseModel
    from ._unseen import JoinedModel
    from .baseline._linear import LinearModel


class RowPredictor:
    """Predict raw query rows: harmonize a block, then evaluate the model on it.

    For a linear model, or the first layer of a network, the genes that the query lacks are folded into the weights of the
    measured ones, and the scores that tell how typical a row is are computed in the same product; the result is the
    same.
    """

    def __init__(
        self,
        model: DrugResponseModel | LinearModel | JoinedModel,
        harmonization: Harmonization,
        drugs: np.ndarray,
        *,
        accelerator: str = "cpu",
    ) -> None:
        self._model, self.harmonization, self._drugs = model, harmonization, drugs
        self._buffer: np.ndarray | None = None
        self._product: Product | None = None
        linear = model._first_layer(drugs, complete=not harmonization.unmeasured.any())
        if linear is not None:
            weights, intercept = harmonization.fold(*linear)
            to_scores, offset = harmonization.leading_scores
            self._n_units = weights.shape[1]
            self._product = Product(
                np.hstack([weights, to_scores]), np.concatenate([intercept, -offset]), accelerator=accelerator
            )

    def __getstate__(self) -> dict[str, Any]:
        """What a worker needs to predict: the model without the data that it was trained on."""
        return {**self.__dict__, "_model": _without_data(self._model), "_buffer": None}

    @cached_property
    def linear(self) -> tuple[np.ndarray, np.ndarray] | None:
        """Weights (panel × drugs) and intercepts (drugs) that turn placed rows into predictions, if the model is linear, else `None`."""
        found = self._model._linear_weights(self._drugs) if self._model._predicts_linearly else None
        return None if found is None else self.harmonization.fold(*found)

    def sample_inputs(self, adata: AnnData) -> np.ndarray | None:
        """What the model reads of samples beside expression (samples × features), or `None`."""
        return self._model._sample_inputs(adata)

    def __call__(
        self, block: Any, group: np.ndarray | None = None, inputs: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return predictions (rows × drugs), similarity and typicality (rows).

        `inputs` are rows of what the model's `_sample_inputs` returned.
        """
        if self._buffer is None or len(self._buffer) < block.shape[0]:
            self._buffer = np.empty((block.shape[0], len(self._model.genes)), dtype=np.float32)
        if self._product is None:
            rows = self.harmonization.transform(block, group, out=self._buffer)
            extra = () if inputs is None else (None, inputs)
            return self._model._predict_rows(rows.values, self._drugs, *extra), rows.similarity, rows.typicality
        values, similarity = self.harmonization.place(block, group, out=self._buffer)
        both = self._product(values)
        first, scores = both[:, : self._n_units], both[:, self._n_units :]
        predicted = self._model._after_first_layer(first, self._drugs, values)
        return predicted, similarity, self._model.profile.typicality(scores)


def _without_data(model: Any) -> Any:
    """A shallow copy of a model, or of one that joins two, that holds no training data."""
    bare = copy(model)
    for name in ("_adata", "_adata_manager"):
        if hasattr(bare, name):
            setattr(bare, name, None)
    for name in ("_model", "_other"):
        if hasattr(bare, name):
            setattr(bare, name, _without_data(getattr(bare, name)))
    return bare
