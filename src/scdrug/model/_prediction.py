"""How every model is asked: by gene name, row block and drug."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from .. import __version__
from .._arguments import checked
from .._constants import KEYS
from .._validate import plain, unique_slugs
from ..pp._fit_harmonization import fit_harmonization
from ..pp._match_cells import match_cells
from ..pp._rows import iter_row_blocks
from ._data import DRUG_COLUMNS, ReferenceInfo
from ._unseen import JoinedModel, choose_drugs

if TYPE_CHECKING:
    from anndata import AnnData

    from ..pp._profile import ReferenceProfile
    from ._base import DrugResponseModel


class PredictionMixin(ABC):
    """Prediction for samples and drugs, from what a subclass predicts for rows of the gene panel."""

    if TYPE_CHECKING:
        adata: AnnData | None
        genes: np.ndarray
        drugs: pd.DataFrame
        reference: ReferenceInfo
        profile: ReferenceProfile
        notes_: dict[str, Any]

    # ------------------------------------------------------------------ what a subclass brings

    @abstractmethod
    def _predict_rows(self, expression: np.ndarray, drugs: np.ndarray, names: np.ndarray | None = None) -> np.ndarray:
        """Predict from expression on the reference's scale (rows × genes) for drugs by position (rows × drugs).

        `names` are the names of samples, for models that complete what is missing for lines that they know; rows
        without names are new to every model.
        """

    def _sample_inputs(self, adata: AnnData) -> np.ndarray | None:
        """What a model reads of samples beside expression, such as an embedding (samples × features).

        Where it is not `None`, its rows are handed to `_predict_rows` as a fourth argument.
        """
        return None

    def _drug_notes(self) -> pd.DataFrame | None:
        """Further columns on the drugs for what :func:`scdrug.tl.predict_response` stores, by id, such as applicability."""
        return None

    def _linear_weights(self, drugs: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
        """Weights (genes × drugs) and intercepts of a model that is linear in expression, else `None`.

        Linear models are evaluated together with the harmonization, in one product a block.
        """
        return None

    def _link(self, values: np.ndarray, drugs: np.ndarray) -> np.ndarray:
        """Turn the linear values of drugs by position (rows × drugs) into predictions, as a logistic regression does."""
        return values

    def _first_layer(self, drugs: np.ndarray, *, complete: bool) -> tuple[np.ndarray, np.ndarray] | None:
        """Weights (genes × units) and intercepts of what a model computes from expression itself, else `None`.

        Like a linear model, this is evaluated together with the harmonization; :meth:`_after_first_layer` does the rest.
        `complete` tells that no gene has to be filled: a layer that reads few genes is then better left to the rest.
        """
        return self._linear_weights(drugs)

    def _after_first_layer(self, values: np.ndarray, drugs: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Turn values of the first layer (rows × units) into predictions (rows × drugs).

        `rows` are the rows themselves (rows × genes); genes that were to be filled are not.
        """
        return self._link(values, drugs)

    # ------------------------------------------------------------------ responses

    @checked
    def predict(
        self,
        adata: AnnData | None = None,
        *,
        drugs: str | Sequence[str] | Mapping[str, str] | None = None,
        layer: str | None = None,
        batch_size: int | None = None,
        min_coverage: float = 0.3,
        key_added: str | None = KEYS.PREDICTED,
    ) -> pd.DataFrame:
        """Predict responses of samples that are on the reference's expression scale.

        Cells must be harmonized first: :func:`scdrug.tl.predict_response` does both in one pass.

        Parameters
        ----------
        adata
            Samples × genes; genes are matched by name. The training reference if omitted.
        drugs
            Names or ids of drugs; all if omitted. Models whose card says `unseen_drugs` also take SMILES, or a mapping of
            names to SMILES, which are then predicted from structure.
        layer
            Layer to read; `X` if omitted.
        batch_size
            Rows a block; results do not depend on it.
        min_coverage
            Least share of the model's genes that must be measured; the others get their expected value.
        key_added
            Key of `obsm` to store the predictions under; ``None`` stores nothing.

        Returns
        -------
        Samples × drug ids, in the unit of the reference's response.

        Raises
        ------
        RuntimeError
            If the model was not trained.
        ValueError
            If too few genes are measured or values are not finite.
        KeyError
            If a drug is not known; the nearest names are offered.
        """
        self._check_if_trained(warn=False)
        if adata is None:
            expression, _ = self._training_arrays()
            adata, layer = self.adata, self._setup_arg("layer")
        model, ids, columns = self.select_drugs(drugs)
        match = match_cells(adata, self.genes, layer=layer, min_coverage=min_coverage)
        fitted = fit_harmonization(adata, self.profile, match, method="none", layer=layer)
        values = np.empty((adata.n_obs, len(ids)), dtype=np.float32)
        names = np.asarray(adata.obs_names.astype(str), dtype=object)
        inputs = model._sample_inputs(adata)
        for rows, block in iter_row_blocks(adata, layer=layer, chunk_size=batch_size):
            extra = () if inputs is None else (inputs[rows],)
            values[rows] = model._predict_rows(fitted.transform(block).values, columns, names[rows], *extra)
        table = pd.DataFrame(values, index=adata.obs_names, columns=pd.Index(ids))
        if key_added is not None:
            adata.obsm[key_added] = table
            adata.uns[key_added] = self.provenance(coverage=match.coverage)
        return table

    # ------------------------------------------------------------------ drugs

    @checked
    def select_drugs(
        self, drugs: str | Sequence[str] | Mapping[str, str] | None
    ) -> tuple[DrugResponseModel | JoinedModel, list[str], np.ndarray]:
        """Find drugs by name or id, and predict others from their structure.

        Parameters
        ----------
        drugs
            Names, ids or SMILES; all drugs of the model if omitted. A mapping of names to SMILES asks for prediction from
            structure, for drugs of the training too; its keys, as slugs, are the ids of the result.

        Returns
        -------
        The model that predicts them (another one only where drugs are predicted from structure), their ids in the order
        of the query, and their columns in the model.

        Raises
        ------
        KeyError
            If a name is not known; the nearest names are offered.
        ValueError
            If a structure cannot be read, or the model cannot predict drugs that were not in training; the message says
            which models can.
        """
        if drugs is None:
            return self, list(self.drugs.index), np.arange(len(self.drugs))
        return choose_drugs(self, drugs)

    def _for_unseen(self, smiles: dict[str, str]) -> DrugResponseModel:
        """Return a trained model of drugs that were not in training, given as name → canonical SMILES, in this order.

        A subclass whose card says `unseen_drugs` brings this; :meth:`_hand_over` does what all of them need.
        """
        raise NotImplementedError(
            f"The card of {type(self).__name__} says that it predicts unseen drugs, but it has no `_for_unseen`."
        )

    def _hand_over(self, other: DrugResponseModel, smiles: dict[str, str]) -> None:
        """Give a model of unseen drugs this model's genes, profile and notes, and the table of its own drugs."""
        table = pd.DataFrame(
            {"name": list(smiles), "smiles": list(smiles.values())}, index=pd.Index(unique_slugs(smiles), dtype=object)
        ).reindex(columns=list(DRUG_COLUMNS), fill_value="")
        other.reference_ = replace(self.reference, drugs=table)
        other.profile_, other.notes_, other.is_trained_ = self.profile_, self.notes_, True

    # ------------------------------------------------------------------ latent space, provenance

    @checked
    def get_latent_representation(
        self, adata: AnnData | None = None, *, layer: str | None = None, batch_size: int | None = None
    ) -> np.ndarray:
        """Coordinates of samples along the reference's leading directions of variation (samples × K).

        Parameters
        ----------
        adata
            Samples × genes on the reference's scale; the training reference if omitted.
        layer
            Layer to read; `X` if omitted.
        batch_size
            Rows a block.
        """
        self._check_if_trained(warn=False)
        if adata is None:
            self._training_arrays()
            adata, layer = self.adata, self._setup_arg("layer")
        match = match_cells(adata, self.genes, layer=layer, min_coverage=0.0)
        fitted = fit_harmonization(adata, self.profile, match, method="none", layer=layer)
        inputs = self._sample_inputs(adata)
        blocks = [
            self._latent_rows(fitted.transform(block).values, *(() if inputs is None else (inputs[rows],)))
            for rows, block in iter_row_blocks(adata, layer=layer, chunk_size=batch_size)
        ]
        return np.vstack(blocks)

    def _latent_rows(self, expression: np.ndarray) -> np.ndarray:
        return self.profile.scores(expression)

    def provenance(self, **extra: Any) -> dict[str, Any]:
        """Model, version, unit and direction of predictions, in plain types for ``uns``."""
        return plain(
            {
                "model": self.notes_.get("name", type(self).__name__),
                "model_class": type(self).__name__,
                "scdrug_version": __version__,
                **self.reference.response,
                **extra,
            }
        )
