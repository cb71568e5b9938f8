"""All drugs in one Gaussian process: lines share by expression, drugs by how their responses vary together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ..._validate import check_choice
from ._additive import check_response
from ._complete import complete_response, residual_scale
from ._decomposition import KernelDecomposition, decompose_kernel
from ._kernels import KERNELS, median_distance, rbf_kernel, squared_distances
from ._kronecker import kronecker_ridge

#: Fewest lines whose responses can be compared.
_MIN_LINES = 3


@dataclass(frozen=True)
class ProcessOptions:
    """How lines and drugs are coupled; the defaults were chosen on held-out responses of GDSC2 (`scripts/check_process.py`)."""

    #: Variance of the noise, where each drug has variance one.
    noise: float = 0.1
    #: Share of a line's deviation from the mean that expression explains; the rest is the line's own, and is known from its
    #: responses alone.
    line_share: float = 0.85
    #: Give each drug a noise of its own: the fit is made anew with drugs in units of what the one before left of them.
    drug_noise: bool = True
    #: Share of the similarity of responses in the similarity of measured lines, in a last fit that fills their gaps; 0 for none.
    response_share: float = 0.3
    #: Noise of that fit.
    response_noise: float = 0.2
    #: Similarity of expression: ``"linear"``, ``"rbf"``, or the ``"mean"`` of five RBF kernels.
    kernel: str = "mean"
    #: Ridge on similarity of structures, for new drugs; ``"auto"`` chooses it by leaving out each drug.
    drug_ridge: float | str = "auto"

    def __post_init__(self) -> None:
        check_choice("kernel", self.kernel, tuple(KERNELS))
        for name in ("noise", "response_noise"):
            if not getattr(self, name) > 0:
                raise ValueError(f"`{name}` must be positive; found {getattr(self, name)}.")
        if not 0 < self.line_share <= 1:
            raise ValueError(f"`line_share` must be above 0 and at most 1; found {self.line_share}.")
        if not 0 <= self.response_share < 1:
            raise ValueError(f"`response_share` must be at least 0 and below 1; found {self.response_share}.")


class CoupledFit(NamedTuple):
    """Posterior means of a coupled fit."""

    #: Dual weights, lines × drugs: the prediction for a new line is ``cross_kernel @ alpha + intercept``.
    alpha: np.ndarray
    #: Mean of each drug; drugs.
    intercept: np.ndarray
    #: Every pair of the training lines, measured or not; lines × drugs.
    fitted: np.ndarray
    #: The same without the line's own responses, where they would be complete; lines × drugs.
    left_out: np.ndarray
    #: Unit of each drug, in which `covariance` is stated and the noise has one variance; drugs.
    scale: np.ndarray
    #: Covariance between the drugs; drugs × drugs.
    covariance: np.ndarray


class _Drugs(NamedTuple):
    """Mean, unit and covariance of the drugs."""

    mean: np.ndarray
    scale: np.ndarray
    covariance: KernelDecomposition

    @classmethod
    def of(cls, filled: np.ndarray, scale: np.ndarray, *, normalise: bool = False) -> _Drugs:
        mean = filled.mean(axis=0)
        standard = (filled - mean) / scale
        covariance = standard.T @ standard / len(standard)
        if normalise:
            covariance = covariance / np.mean(np.diag(covariance))
        return cls(mean, scale, decompose_kernel(covariance))


def fit_coupled(
    kernel: np.ndarray | KernelDecomposition,
    response: np.ndarray,
    options: ProcessOptions = ProcessOptions(),
    *,
    tol: float = 1e-3,
) -> CoupledFit:
    """Regress all drugs on one kernel at once, over the measured pairs only.

    Standardised responses are a Gaussian process whose covariance between two pairs is the product of a covariance
    between lines, ``line_share · K + (1 − line_share) · I``, and one between drugs, plus noise. The covariance
    between drugs is that of the responses themselves, after :func:`complete_response` has filled their gaps. A drug so
    learns from the responses of a line to other drugs, and a direction in which many drugs vary together is
    penalised less than one that belongs to a single drug. Gaps of measured lines are filled by a last fit in which lines also
    resemble each other by what the first says of their responses, which no linear model of responses can express.

    Parameters
    ----------
    kernel
        Lines × lines with ones on the diagonal, or its decomposition.
    response
        Lines × drugs, NaN where not measured.
    options
        Shares and noise.
    tol
        Tolerance of :func:`kronecker_ridge`.

    Returns
    -------
    What predicts new lines and fills the gaps of known ones.

    Raises
    ------
    ValueError
        If shapes disagree, or a drug was measured in no line.

    Notes
    -----
    Multi-task Gaussian process of Bonilla, Chai and Williams 2007 (NIPS 20, eq. 1), with the covariance between tasks
    estimated once instead of by maximum likelihood. Predictions without a line's own responses come from the same model
    on the completed matrix, where each principal direction of the drugs is a ridge regression of its own.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> line = rng.normal(size=60)
    >>> response = np.outer(line, [1.0, 2.0, 3.0]) + 0.1 * rng.normal(size=(60, 3))
    >>> hidden, response[0, 2] = response[0, 2], np.nan
    >>> fit = fit_coupled(np.eye(60), response)
    >>> bool(abs(fit.fitted[0, 2] - hidden) < 0.5)  # the line's other responses tell
    True
    """
    response = check_response(response)
    lines = kernel if isinstance(kernel, KernelDecomposition) else decompose_kernel(kernel)
    if len(lines.kernel) != len(response):
        raise ValueError(f"The kernel compares {len(lines.kernel)} lines, but the response has {len(response)} rows.")
    missing, share = np.isnan(response), options.line_share
    mixed = mix_identity(lines, share)
    filled = complete_response(response).completed
    drugs = _Drugs.of(filled, residual_scale(response - filled.mean(axis=0)))
    weights, fitted = _solve(mixed, drugs, response, options.noise, tol)
    filled = np.where(missing, fitted, response)
    if options.drug_noise:
        left = np.nanstd(response - fitted, axis=0)
        drugs = _Drugs.of(filled, np.maximum(left, 0.1 * left.mean() + 1e-12), normalise=True)
        weights, fitted = _solve(mixed, drugs, response, options.noise, tol)
        filled = np.where(missing, fitted, response)
    left_out = drugs.mean + _leave_line_out(lines, drugs, filled, options) * drugs.scale
    near = _response_kernel(fitted, response) if options.response_share and missing.any() else None
    if near is not None:
        both = (1 - options.response_share) * lines.kernel + options.response_share * near
        both = mix_identity(decompose_kernel(both), share)
        fitted = _solve(both, drugs, response, options.response_noise, tol)[1]
    return CoupledFit(share * weights, drugs.mean, fitted, left_out, drugs.scale, drugs.covariance.kernel)


def posterior_variance(
    rows: np.ndarray,
    own: np.ndarray,
    drugs: np.ndarray,
    lines: np.ndarray,
    covariance: np.ndarray,
    *,
    noise: float,
    of_lines: np.ndarray,
    of_drugs: np.ndarray,
) -> np.ndarray:
    """Variance of the posterior mean where the noise of a pair is ``noise · of_lines · of_drugs``.

    Parameters
    ----------
    rows, own
        Covariance of rows with the training lines (rows × lines), and their own variance (rows).
    drugs
        Positions of drugs.
    lines, covariance
        Covariance of the training lines (lines × lines), and of the drugs (drugs × drugs).
    noise, of_lines, of_drugs
        Variance of the noise, and factors on it by line and by drug: a line of which half is missing counts as if its
        measurements were spread over all drugs with twice the noise.

    Returns
    -------
    Rows × drugs that were chosen, in squared units of the drugs.
    """
    by_line, by_drug = np.sqrt(of_lines), np.sqrt(of_drugs)
    between = decompose_kernel(lines / np.outer(by_line, by_line))
    within = decompose_kernel(covariance / np.outer(by_drug, by_drug))
    a, b = (rows / by_line) @ between.vectors, (covariance[drugs] / by_drug) @ within.vectors
    known = a**2 @ (1.0 / (between.values[:, None] * within.values + noise)) @ (b**2).T
    return np.maximum(own[:, None] * np.diag(covariance)[drugs] - known, 0.0)


def mix_identity(lines: KernelDecomposition, share: float) -> KernelDecomposition:
    """Decomposition of ``share · K + (1 − share) · I``."""
    own = (1.0 - share) * np.eye(len(lines.kernel))
    return KernelDecomposition(share * lines.kernel + own, share * lines.values + 1.0 - share, lines.vectors)


def _solve(
    lines: KernelDecomposition, drugs: _Drugs, response: np.ndarray, noise: float, tol: float
) -> tuple[np.ndarray, np.ndarray]:
    """Dual weights of new lines, and the fit of the training lines, in the unit of the response."""
    standard = (response - drugs.mean) / drugs.scale
    dual = kronecker_ridge(lines, drugs.covariance, standard, ridge=noise, tol=tol)
    weights = dual @ drugs.covariance.kernel * drugs.scale
    return weights, drugs.mean + lines.kernel @ weights


def _response_kernel(fitted: np.ndarray, response: np.ndarray) -> np.ndarray | None:
    """Similarity of lines by their fitted responses, each drug in units of its spread; `None` where they do not differ."""
    if len(fitted) < _MIN_LINES:
        return None
    profile = (fitted - fitted.mean(axis=0)) / np.maximum(np.nanstd(response, axis=0), 1e-6)
    distances = squared_distances(profile)
    if not np.median(distances[np.triu_indices(len(distances), 1)]) > 0:
        return None
    return rbf_kernel(distances, median=median_distance(distances))


def _leave_line_out(
    lines: KernelDecomposition, drugs: _Drugs, filled: np.ndarray, options: ProcessOptions
) -> np.ndarray:
    """Predict each line from the others, for complete responses: one ridge regression per principal direction."""
    values, share = drugs.covariance.values, options.line_share
    kept = values > 1e-6 * values[-1]
    variance, directions = values[kept], drugs.covariance.vectors[:, kept]
    ridges = (1.0 - share + options.noise / variance) / share
    target = (filled - drugs.mean) / drugs.scale @ directions
    shrunk = 1.0 / (lines.values[:, None] + ridges)
    solution = lines.vectors @ (shrunk * (lines.vectors.T @ target))
    residual = solution / (lines.vectors**2 @ shrunk)
    return (target - residual) @ directions.T
