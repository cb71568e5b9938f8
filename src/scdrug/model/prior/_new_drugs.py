"""Drugs that were never screened: each responds as a mixture of drugs that were, by similarity of structure and mechanism."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from .._arrays import Array
from ._decomposition import KernelDecomposition, decompose_kernel
from ._drug_kernels import contrast_kernel, feature_arrays, present, structure_kernel
from ._ridge import leave_one_out, select_ridge, solve_ridge

#: Fewest drugs that others are predicted from.
MIN_DRUGS = 3
#: Ridges to choose from: of mean responses, and of contrasts between lines.
EFFECT_RIDGES = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0)
_CONTRAST_RIDGES = (0.1, 0.2, 0.3, 0.5, 1.0, 2.0, 5.0)
#: Ridge of the regression of how far lines differ.
_SPREAD_RIDGE = 1.0
#: Noise of drugs of another screen, where that of the first is one.
_OTHER_SCREEN = 3.0


class Mixture(NamedTuple):
    """What new drugs are made of."""

    #: Share of each training drug's deviations from its mean, in the deviations of each new drug (drugs × new drugs).
    weights: np.ndarray
    #: Mean response of each new drug.
    mean: np.ndarray

    def columns(self, alpha: np.ndarray, intercept: np.ndarray, centre: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Weights and intercepts of the new drugs, from those of the training drugs and their means."""
        return alpha @ self.weights, self.mean + (intercept - centre) @ self.weights


@dataclass(frozen=True, eq=False)
class NewDrugs:
    """What turns structure and mechanism of drugs into predictions, whatever predicts the training drugs.

    How lines differ in a new drug is the mean over the training drugs of its kind plus a kernel ridge regression of what the others
    deviate from it, by all that is known of both drugs; how far they differ is regressed alike. The mean response, its potency,
    comes from structure, by the kind of features that predicts the training drugs best, each left out in closed form, and
    from the mechanism only where no structure is known.
    """

    #: Features of the training drugs by name (drugs × features); rows of zeros where nothing is known.
    features: dict[str, np.ndarray]
    #: Mean response over lines, as it is predicted (drugs), and in the unit of the first screen.
    centre: np.ndarray
    potency: np.ndarray
    #: Standard deviation over lines of what a drug deviates from the mean of its screen (drugs).
    spread: np.ndarray
    #: Number of the screen that each drug's responses come from; 0 is the one that new drugs are predicted for (drugs).
    screen: np.ndarray
    #: Ridge of contrasts, and of potency; 0 chooses the latter (2).
    ridges: np.ndarray

    @classmethod
    def fit(
        cls,
        fitted: np.ndarray,
        features: dict[str, np.ndarray],
        *,
        ridge: float | str = "auto",
        screen: np.ndarray | None = None,
        offset: np.ndarray | float = 0.0,
    ) -> NewDrugs | None:
        """Fit to predictions of the training drugs.

        Parameters
        ----------
        fitted
            What is predicted, or known, of the training lines (lines × drugs, no gaps).
        features
            Of the drugs, see :func:`~scdrug.model.prior._drug_kernels.describe_drugs`.
        ridge
            Ridge on similarity of drugs; ``"auto"`` chooses by leaving out each drug, in closed form.
        screen
            Number of the screen of each drug; all of one if omitted.
        offset
            Added to mean responses to bring them to the unit of screen 0 (drugs).

        Returns
        -------
        The fit; `None` with fewer than three drugs that anything is known of.
        """
        known = np.any([present(part) for part in features.values()], axis=0) if features else np.zeros(0, dtype=bool)
        if known.sum() < MIN_DRUGS:
            return None
        screen = np.zeros(fitted.shape[1], dtype=np.int32) if screen is None else np.asarray(screen, dtype=np.int32)
        centre = fitted.mean(axis=0)
        contrast = fitted - centre
        for number in np.unique(screen):
            contrast[:, screen == number] -= contrast[:, screen == number].mean(axis=1, keepdims=True)
        spread = contrast.std(axis=0)
        spread = np.maximum(spread, 1e-3 * max(float(spread.max()), 1e-12))
        if ridge == "auto":
            kernel = decompose_kernel(contrast_kernel(features))
            chosen = select_ridge(kernel, (contrast / spread).T, ridges=_CONTRAST_RIDGES, center=False).ridge
            ridges = np.array([float(chosen), 0.0])
        else:
            ridges = np.array([float(ridge), float(ridge)])
        return cls(features, centre, centre + offset, spread, screen, ridges)

    def mix(self, new: dict[str, np.ndarray]) -> Mixture:
        """What new drugs are made of.

        Parameters
        ----------
        new
            Their features by name; zeros, or no such name, where nothing is known.

        Raises
        ------
        ValueError
            If nothing that the training drugs are compared by is known of a drug.
        """
        given = np.array([present(new[name]) if name in new else np.zeros(_rows(new), bool) for name in self.features])
        if not given.any(axis=0).all():
            raise ValueError(
                f"Nothing is known of {int((~given.any(axis=0)).sum())} drugs that the drugs of the training are compared by "
                f"({', '.join(self.features)})."
            )
        weights, mean = np.empty((len(self.centre), given.shape[1])), np.empty(given.shape[1])
        for pattern in np.unique(given, axis=1).T:  # drugs of which the same is known
            rows = (given == pattern[:, None]).all(axis=0)
            kinds = [name for name, told in zip(self.features, pattern, strict=True) if told]
            known = {name: self.features[name] for name in kinds}
            asked = {name: new[name][rows] for name in kinds}
            weights[:, rows] = self._contrast(known, asked)
            mean[rows] = self._potency(known, asked)
        return Mixture(weights, mean)

    def _contrast(self, known: dict[str, np.ndarray], asked: dict[str, np.ndarray]) -> np.ndarray:
        kernel, cross = contrast_kernel(known), contrast_kernel(known, asked)
        noise = np.where(self.screen == 0, 1.0, _OTHER_SCREEN)
        near = np.linalg.solve(kernel + self.ridges[0] * np.diag(noise), cross.T)
        level = np.log(self.spread[self.screen == 0]).mean()
        far = np.linalg.solve(kernel + _SPREAD_RIDGE * np.diag(noise), np.log(self.spread) - level)
        mixed = near / self.spread[:, None] * np.exp(level + cross @ far)
        of_screen = (self.screen[:, None] == np.unique(self.screen)).astype(float)
        means = of_screen / of_screen.sum(axis=0)
        first = (self.screen == 0)[:, None] / (self.screen == 0).sum()
        return first + mixed - means @ (of_screen.T @ mixed)

    def _potency(self, known: dict[str, np.ndarray], asked: dict[str, np.ndarray]) -> np.ndarray:
        structures = [name for name in known if name in ("fingerprints", "minimol")]
        candidates = [[name] for name in structures] + ([structures] if len(structures) > 1 else [])
        ridges = (float(self.ridges[1]),) if self.ridges[1] > 0 else EFFECT_RIDGES
        best, chosen = np.inf, None
        for kinds in candidates or [list(known)]:
            part = {name: known[name] for name in kinds}
            told = np.any([present(value) for value in part.values()], axis=0)
            if told.sum() < MIN_DRUGS:
                continue
            part = {name: value[told] for name, value in part.items()}
            similarity = structure_kernel if structures else contrast_kernel
            kernel = decompose_kernel(similarity(part))
            target = self.potency[told, None]
            ridge = float(select_ridge(kernel, target, ridges=ridges).ridge)
            errors = leave_one_out(kernel, target, ridge=ridge) - target
            error = float(np.mean(errors**2))
            if chosen is None or error < best:
                cross = similarity(part, {name: asked[name] for name in kinds})
                best, chosen = error, solve_ridge(kernel, target, ridge=ridge).predict(cross)[:, 0]
        return np.full(_rows(asked), self.potency[self.screen == 0].mean()) if chosen is None else chosen

    def over(self, seen: np.ndarray) -> NewDrugs:
        """The same among all drugs, of which those that were not seen (bool) tell nothing."""

        def spread(values: np.ndarray, empty: float) -> np.ndarray:
            out = np.full((len(seen), *values.shape[1:]), empty, dtype=values.dtype)
            out[seen] = values
            return out

        return NewDrugs(
            {name: spread(part, 0) for name, part in self.features.items()},
            spread(self.centre, 0.0),
            spread(self.potency, 0.0),
            spread(self.spread, 1.0),
            spread(self.screen, -1),
            self.ridges,
        )

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Arrays by name; those of features under their own names."""
        own = self.features | {name: getattr(self, name) for name in _ARRAYS}
        if "fingerprints" in own:
            own["fingerprints"] = np.packbits(own["fingerprints"], axis=1)
        return {name: storable(value) for name, value in own.items()}

    @classmethod
    def from_arrays(cls, arrays: dict[str, np.ndarray]) -> NewDrugs:
        """Take back what :meth:`to_arrays` returned."""
        features = {name: arrays[name] for name in feature_arrays() if name in arrays}
        if "fingerprints" in features:
            features["fingerprints"] = np.unpackbits(features["fingerprints"], axis=1)
        return cls(features, **{name: arrays[name] for name in _ARRAYS})

    @staticmethod
    def wanted_arrays(kinds: tuple[str, ...]) -> dict[str, Array]:
        """What :meth:`to_arrays` returns for kinds of features, as arrays of a file."""
        return {name: array for name, array in feature_arrays().items() if name in kinds} | _ARRAYS


_ARRAYS = {
    "centre": Array(("drugs",)), "potency": Array(("drugs",)), "spread": Array(("drugs",)),
    "screen": Array(("drugs",), "int"), "ridges": Array((2,)),
}  # fmt: skip


def select_effect_ridge(kernel: np.ndarray | KernelDecomposition, effect: np.ndarray) -> float:
    """Choose the ridge of the regression of drug effects on drug similarity by leaving each drug out."""
    return float(select_ridge(kernel, effect[:, None], ridges=EFFECT_RIDGES).ridge)


def _rows(features: dict[str, np.ndarray]) -> int:
    return len(next(iter(features.values())))


def storable(value: np.ndarray) -> np.ndarray:
    """An array in the precision of files."""
    value = np.asarray(value)
    if value.dtype == bool:
        return value.astype(np.uint8)
    return value.astype(np.float32) if value.dtype.kind == "f" else value
