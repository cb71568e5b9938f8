"""Predictions that are linear in expression: as arrays, and read from the folder of a model without the class that trained it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .._data import Calibration, ReferenceInfo
from .._parts import read_parts
from .._registry import load_class
from .._results import provenance
from .._schema import blaming, check_part
from .._storage import CONFIG, Weights
from .._unseen import nearest_drugs, select_drugs
from ._ridge_arrays import KernelRidgeState, check_options, wanted_arrays

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData

    from ...pp._profile import ReferenceProfile
    from .._base import DrugResponseModel
    from .._card import MethodCard

_CLASS = "KernelRidge"


@dataclass(frozen=True, eq=False)
class LinearFit:
    """One weight for each gene and drug, or two factors of these weights."""

    #: Drugs.
    intercept: np.ndarray
    #: Genes × drugs; `None` where there are factors.
    weights: np.ndarray | None = None
    #: Genes × rank.
    factors: np.ndarray | None = None
    #: Rank × drugs.
    mixing: np.ndarray | None = None

    @classmethod
    def of(cls, arrays: Mapping[str, np.ndarray]) -> LinearFit:
        """Take the arrays of a fit, see `_ridge_arrays.wanted_arrays`, by name."""
        return cls(**{name: arrays[name] for name in ("intercept", "weights", "factors", "mixing") if name in arrays})

    @cached_property
    def whole(self) -> np.ndarray:
        """Weights of all drugs (genes × drugs)."""
        return self.factors @ self.mixing if self.weights is None else self.weights

    def weights_of(self, drugs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Weights (genes × drugs) and intercepts of drugs by position."""
        return self.whole[:, drugs], self.intercept[drugs]

    def _by_factors(self, drugs: np.ndarray) -> bool:
        """Whether two small products cost less than one."""
        return self.factors is not None and len(drugs) > self.factors.shape[1]

    def first_layer(self, drugs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """What is computed from expression itself, for as many drugs: the factors, or the weights of drugs by position."""
        if not self._by_factors(drugs):
            return self.weights_of(drugs)
        return self.factors, np.zeros(self.factors.shape[1], dtype=np.float32)

    def after_first_layer(self, values: np.ndarray, drugs: np.ndarray) -> np.ndarray:
        """Turn values of the first layer (rows × units) into predictions (rows × drugs)."""
        if not self._by_factors(drugs):
            return values
        return values @ self.mixing[:, drugs] + self.intercept[drugs]


class LinearModel:
    """A saved kernel ridge regression that is linear in expression, as far as prediction needs it.

    It answers what prediction asks of a model, from the same files and after the same checks, but loads neither torch nor scvi-tools. What
    only the model itself can do, such as predicting drugs that were not in training, it has the model do.

    Parameters
    ----------
    folder
        Folder of the model.
    reference, calibration, profile
        What the model keeps of its reference.
    fit
        Its weights.
    notes
        Its name, and what a person should know of it.
    takes_unseen_drugs
        Whether the model predicts drugs that were not in training.
    """

    is_trained = True
    _needs_structures, _predicts_linearly = False, True
    _class_name = _CLASS

    select_drugs, nearest_drugs = select_drugs, nearest_drugs
    provenance = provenance

    def __init__(
        self,
        folder: Path,
        reference: ReferenceInfo,
        calibration: Calibration,
        profile: ReferenceProfile,
        fit: LinearFit,
        notes: dict[str, Any],
        *,
        takes_unseen_drugs: bool,
    ) -> None:
        self._folder, self._fit, self._takes_unseen_drugs = folder, fit, takes_unseen_drugs
        self.reference, self.calibration, self.profile, self.notes_ = reference, calibration, profile, notes

    @classmethod
    def load(cls, folder: Path, config: dict[str, Any]) -> LinearModel:
        """Read a folder whose configuration :func:`is_linear` accepts.

        Raises
        ------
        ValueError
            If the folder is damaged; the message names the file and the field or array.
        """
        init, path = config["init"], folder / CONFIG
        with blaming(path, "init"):
            check_options(
                init["kernel"], init["ridge"], init["drug_kernel"], init["drug_ridge"], denoise=init["denoise"],
                coupled=False, share=init["kernel_share"], rank=init["rank"],
            )  # fmt: skip
        weights = Weights(folder, config)
        reference = ReferenceInfo.from_json(config["reference"])
        check_part(KernelRidgeState, config["state"], path, "state")
        told = tuple(config["state"].get("drug_features", ()))
        wanted = wanted_arrays(linear=True, rank=init["rank"], keeps_lines=False, new_drugs=False, told=told)
        parts = read_parts(weights, config, reference, wanted, {})
        weights.check_intact()
        return cls(
            folder,
            reference,
            parts.calibration,
            parts.profile,
            LinearFit.of(parts.module),
            config["notes"],
            takes_unseen_drugs=bool(told),
        )

    @property
    def genes(self) -> np.ndarray:
        """Gene panel, in the order of the weights."""
        return self.reference.genes

    @property
    def drugs(self) -> pd.DataFrame:
        """Drugs that the model was trained on, by id."""
        return self.reference.drugs

    @property
    def card(self) -> MethodCard:
        """Card of the class; this loads it."""
        return load_class(_CLASS).card

    def _for_unseen(self, drugs: pd.DataFrame) -> DrugResponseModel:
        return load_class(_CLASS).load(self._folder)._for_unseen(drugs)

    def _drug_notes(self) -> None:
        return None

    def _sample_inputs(self, adata: AnnData) -> None:
        return None

    def _network_share(self, names: np.ndarray | None, n: int, drugs: np.ndarray) -> float:
        return 0.0

    def _predict_rows(self, expression: np.ndarray, drugs: np.ndarray, names: np.ndarray | None = None) -> np.ndarray:
        weights, intercept = self._fit.first_layer(drugs)
        return self._fit.after_first_layer(expression @ weights + intercept, drugs).astype(np.float32)

    def _linear_weights(self, drugs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return self._fit.weights_of(drugs)

    def _first_layer(self, drugs: np.ndarray, *, complete: bool) -> tuple[np.ndarray, np.ndarray]:
        return self._fit.first_layer(drugs)

    def _after_first_layer(self, values: np.ndarray, drugs: np.ndarray, rows: np.ndarray) -> np.ndarray:
        return self._fit.after_first_layer(values, drugs)


#: Arguments of the class that are looked at here.
_READ = {"kernel", "ridge", "drug_kernel", "drug_ridge", "denoise", "kernel_share", "rank"}


def is_linear(config: Mapping[str, Any]) -> bool:
    """Whether the configuration of a model folder is that of a regression that is linear in expression and holds no line."""
    init, state = config["init"], config["state"]
    return (
        config["class"] == _CLASS
        and _READ <= set(init)
        and init["kernel"] == "linear"
        and not init.get("couple_drugs")
        and not state.get("lines")
        and not state.get("new_drugs")
        # what version 0.1 wrote of drugs in training is told by the class
        and bool(init["drug_kernel"]) == bool(state.get("drug_features"))
    )
