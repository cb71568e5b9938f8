"""The closed-form part: a Gaussian process over lines and drugs, which the network is added to."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..prior._coupled import fit_coupled
from ..prior._decomposition import KernelDecomposition
from ..prior._kernels import median_distance, rbf_kernel, squared_distances
from ..prior._kronecker import fit_unseen_drugs

#: Share of the similarity of responses in the covariance of known lines; the rest is that of expression.
RESPONSE_SHARE = 0.3
#: Noise of a response in units of a drug's variance: with expression alone, and with responses in the kernel.
RIDGE, REFINED_RIDGE, SQUASHED_RIDGE = 0.1, 0.15, 0.3
#: Steepness of the squashed response around the drug's threshold.
STEEPNESS = 1.5
_MIN_DRUGS = 3


@dataclass(frozen=True, eq=False)
class Process:
    """Posterior means of one quantity over lines and drugs."""

    #: What new lines are predicted with: ``cross_kernel @ alpha + intercept`` (lines × drugs; drugs).
    alpha: np.ndarray
    intercept: np.ndarray
    #: Every pair of the training lines (lines × drugs).
    fitted: np.ndarray
    #: The same for lines whose own responses were left out (lines × drugs).
    left_out: np.ndarray

    def new_lines(self, cross: np.ndarray) -> np.ndarray:
        """Predict lines by their similarity to the training lines (rows × drugs)."""
        return cross @ self.alpha + self.intercept


def fit_process(
    response: np.ndarray, lines: KernelDecomposition, *, refine: bool = True, ridge: float = RIDGE
) -> Process:
    """Fit the process to the measured pairs.

    Responses covary between drugs as in the data, and between lines as expression does
    (:func:`scdrug.model.prior._coupled.fit_coupled`). For known lines a second fit follows in which lines also
    resemble each other by what the first says of their responses, which no linear model of responses can express.

    Parameters
    ----------
    response
        Lines × drugs, NaN = not measured.
    lines
        Similarity of expression.
    refine
        Whether to make the second fit.
    ridge
        Variance of the noise.

    Returns
    -------
    The posterior means.
    """
    first = fit_coupled(lines, response, ridge=ridge)
    fitted = first.fitted
    if refine and len(response) > 2:
        profile = fitted - fitted.mean(axis=0)
        profile /= np.maximum(np.nanstd(response, axis=0), 1e-6)
        distances = squared_distances(profile)
        if np.median(distances[np.triu_indices(len(distances), 1)]) > 0:
            near = rbf_kernel(distances, median=median_distance(distances))
            both = (1 - RESPONSE_SHARE) * lines.kernel + RESPONSE_SHARE * near
            fitted = fit_coupled(both, response, ridge=ridge * REFINED_RIDGE / RIDGE).fitted
    return Process(first.alpha, first.intercept, fitted, first.left_out)


def squash(response: np.ndarray, thresholds: np.ndarray, *, lower_is_sensitive: bool) -> np.ndarray:
    """Sensitivity between −1 and 1, zero at the threshold: what happens far from it plays no part.

    Parameters
    ----------
    response
        Lines × drugs, NaN = not measured.
    thresholds
        Drugs; NaN for drugs without one, which get the median response instead.
    lower_is_sensitive
        Direction of the response.

    Returns
    -------
    tanh of 1.5 × the distance from the threshold in standard deviations of the drug (lines × drugs, NaN = not measured).
    """
    spread = _spread(response)
    middle = np.where(np.isfinite(thresholds), thresholds, np.nanmedian(response, axis=0))
    distance = (middle - response) / spread
    return np.tanh(STEEPNESS * (distance if lower_is_sensitive else -distance))


def _spread(response: np.ndarray) -> np.ndarray:
    spread = np.nanstd(response, axis=0)
    typical = float(np.median(spread[spread > 0])) if (spread > 0).any() else 1.0
    return np.where(spread > 1e-6 * typical, spread, typical)


@dataclass(frozen=True, eq=False)
class DrugProcess:
    """What turns structures of new drugs into predictions; drugs are those with a structure."""

    #: Regression of the drugs' effects on structure (drugs; scalar).
    effect: np.ndarray
    intercept: float
    #: Effect of each known line, and regression of its residuals on structure (lines; drugs × lines).
    line: np.ndarray
    residual: np.ndarray
    #: Dual weights of new lines: residuals (lines × drugs), and effects of lines (lines; scalar).
    alpha: np.ndarray
    line_alpha: np.ndarray
    line_intercept: float


def fit_drug_process(completed: np.ndarray, drugs: np.ndarray, lines: KernelDecomposition) -> DrugProcess | None:
    """Fit what predicts new drugs, to a matrix without gaps.

    Parameters
    ----------
    completed
        Lines × drugs with a structure: posterior means.
    drugs
        Similarity of their structures.
    lines
        Similarity of expression.

    Returns
    -------
    The fit; `None` with fewer than three drugs.
    """
    if completed.shape[1] < _MIN_DRUGS:
        return None
    fit = fit_unseen_drugs(completed, drugs, lines, drug_ridge="auto")
    assert fit.line_effect is not None
    assert fit.residual is not None
    return DrugProcess(
        fit.drug_effect.alpha[:, 0],
        float(fit.drug_effect.intercept[0]),
        fit.effects.line,
        fit.line_residual.alpha,
        fit.residual,
        fit.line_effect.alpha[:, 0],
        float(fit.line_effect.intercept[0]),
    )
