"""Drugs that were never screened: how their responses follow from the structures of drugs that were."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from .._arrays import Array
from ._decomposition import KernelDecomposition, decompose_kernel
from ._drug_kernels import drug_similarity, feature_arrays
from ._kronecker import EFFECT_RIDGES, fit_unseen_drugs
from ._ridge import select_ridge, solve_ridge

#: Fewest structures that a regression on similarity is fitted to.
MIN_STRUCTURES = 3


@dataclass(frozen=True, eq=False)
class StructureFit:
    """What turns structures into predictions, for known and for new lines.

    The mean response of a new drug comes from the kind of features, or the mean of all, that predicts the mean responses of
    training drugs best, each left out in closed form; how lines differ comes from all features together.
    """

    #: Features of the training drugs with a structure, by name (drugs × features).
    features: dict[str, np.ndarray]
    #: Which of the features, in the order of their names, tell the mean response (bool).
    effect_kinds: np.ndarray
    #: Regression of mean responses on structure (drugs; one number).
    effect: np.ndarray
    effect_intercept: np.ndarray
    #: Effect of each training line, and regression of its residuals on structure (lines; drugs × lines).
    line_effect: np.ndarray
    line_residual: np.ndarray
    #: Dual weights of new lines: residuals (lines × drugs), and effects of lines (lines; one number).
    residual: np.ndarray
    line_alpha: np.ndarray
    line_intercept: np.ndarray

    @classmethod
    def fit(
        cls,
        completed: np.ndarray,
        features: dict[str, np.ndarray],
        lines: KernelDecomposition,
        *,
        ridge: float | str = "auto",
        product_ridge: float = 0.2,
    ) -> StructureFit | None:
        """Fit to a response matrix.

        Parameters
        ----------
        completed
            Lines × drugs with a structure, NaN where not measured.
        features
            Their features by name.
        lines
            Similarity of the lines.
        ridge
            Ridge on similarity of structures; ``"auto"`` chooses it by leaving out each drug, in closed form.
        product_ridge
            Ridge of the product of both similarities, which tells residuals of new lines.

        Returns
        -------
        The fit; `None` with fewer than three drugs.
        """
        if completed.shape[1] < MIN_STRUCTURES:
            return None
        fit = fit_unseen_drugs(completed, drug_similarity(features), lines, drug_ridge=ridge, ridge=product_ridge)
        assert fit.line_effect is not None
        assert fit.residual is not None
        kinds, effect, intercept = _fit_effect(features, fit.effects.drug, ridge)
        return cls(
            features,
            kinds,
            effect,
            intercept,
            fit.effects.line,
            fit.line_residual.alpha,
            fit.residual,
            fit.line_effect.alpha[:, 0],
            fit.line_effect.intercept,
        )

    def columns(self, new: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Dual weights (lines × new drugs), intercepts (new drugs) and fit of the training lines (lines × new drugs)."""
        cross = drug_similarity(self.features, new)
        told = [name for name, used in zip(sorted(self.features), self.effect_kinds, strict=True) if used]
        near = drug_similarity({name: self.features[name] for name in told}, {name: new[name] for name in told})
        mean = near @ self.effect + self.effect_intercept
        fitted = self.line_effect[:, None] + mean + (cross @ self.line_residual).T
        return self.residual @ cross.T + self.line_alpha[:, None], mean + self.line_intercept, fitted

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Arrays by name; those of features under their own names."""
        own = self.features | {name: getattr(self, name) for name in _ARRAYS}
        return {name: storable(value) for name, value in own.items()}

    @classmethod
    def from_arrays(cls, arrays: dict[str, np.ndarray]) -> StructureFit:
        """Take back what :meth:`to_arrays` returned."""
        own = {name: arrays[name] for name in _ARRAYS}
        features = {name: arrays[name] for name in ("fingerprints", "minimol") if name in arrays}
        return cls(features=features, **own | {"effect_kinds": own["effect_kinds"].astype(bool)})

    @staticmethod
    def wanted_arrays(kind: str) -> dict[str, Array]:
        """What :meth:`to_arrays` returns for a kind of drug features, as arrays of a file."""
        return feature_arrays(kind) | _ARRAYS


_ARRAYS = {
    "effect_kinds": Array(("kinds of features",), "uint8"), "effect": Array(("usable drugs",)), "effect_intercept": Array((1,)),
    "line_effect": Array(("lines",)), "line_residual": Array(("usable drugs", "lines")),
    "residual": Array(("lines", "usable drugs")), "line_alpha": Array(("lines",)), "line_intercept": Array((1,)),
}  # fmt: skip
assert set(_ARRAYS) == {field.name for field in fields(StructureFit)} - {"features"}


def _fit_effect(
    features: dict[str, np.ndarray], effect: np.ndarray, ridge: float | str
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Regression of effects on the kind of features that tells them best, each drug left out in closed form."""
    ridges = EFFECT_RIDGES if ridge == "auto" else (float(ridge),)
    names = sorted(features)
    candidates = [[name] for name in names] + ([names] if len(names) > 1 else [])
    best, chosen = np.inf, None
    for told in candidates:
        kernel = decompose_kernel(drug_similarity({name: features[name] for name in told}))
        choice = select_ridge(kernel, effect[:, None], ridges=ridges)
        error = float(np.nanmin(choice.errors)) if np.isfinite(choice.errors).any() else np.inf
        if chosen is None or error < best:
            best, chosen = error, (told, kernel, float(choice.ridge))
    told, kernel, chosen_ridge = chosen
    fit = solve_ridge(kernel, effect[:, None], ridge=chosen_ridge)
    return np.isin(names, told), fit.alpha[:, 0], fit.intercept


def storable(value: np.ndarray) -> np.ndarray:
    """An array in the precision of files."""
    value = np.asarray(value)
    if value.dtype == bool:
        return value.astype(np.uint8)
    return value.astype(np.float32) if value.dtype.kind == "f" else value
