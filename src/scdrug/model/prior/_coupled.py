"""All drugs in one Gaussian process: lines share by expression, drugs by how their responses vary together."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ._additive import check_response
from ._complete import complete_response, residual_scale
from ._decomposition import KernelDecomposition, decompose_kernel
from ._kronecker import kronecker_ridge


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


def fit_coupled(
    kernel: np.ndarray | KernelDecomposition,
    response: np.ndarray,
    *,
    ridge: float = 0.1,
    kernel_share: float = 0.85,
    drug_noise: bool = False,
    tol: float = 1e-3,
) -> CoupledFit:
    """Regress all drugs on one kernel at once, over the measured pairs only.

    Standardised responses are a Gaussian process whose covariance between two pairs is the product of a covariance
    between lines, ``kernel_share · K + (1 − kernel_share) · I``, and one between drugs, plus noise. The covariance
    between drugs is that of the responses themselves, after :func:`complete_response` has filled their gaps. A drug so
    learns from the responses of a line to other drugs, and a direction in which many drugs vary together is
    penalised less than one that belongs to a single drug.

    Parameters
    ----------
    kernel
        Lines × lines with ones on the diagonal, or its decomposition.
    response
        Lines × drugs, NaN where not measured.
    ridge
        Variance of the noise, where each drug has variance one.
    kernel_share
        Share of a line's deviation from the mean that the kernel explains; the rest is the line's own, and is known
        from its responses alone. Between 0 and 1.
    drug_noise
        Give each drug its own noise, and take the covariance of drugs from the fit: the fit is made anew with drugs in units of
        what the one before left of them, twice.
    tol
        Tolerance of :func:`kronecker_ridge`.

    Returns
    -------
    What predicts new lines and fills the gaps of known ones.

    Raises
    ------
    ValueError
        If shapes disagree, a drug was measured in no line, or a parameter is out of range.

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
    if not 0 < kernel_share <= 1:
        raise ValueError(f"`kernel_share` must be above 0 and at most 1; found {kernel_share}.")
    response = check_response(response)
    lines = kernel if isinstance(kernel, KernelDecomposition) else decompose_kernel(kernel)
    if len(lines.kernel) != len(response):
        raise ValueError(f"The kernel compares {len(lines.kernel)} lines, but the response has {len(response)} rows.")
    mixed = mix_identity(lines, kernel_share)
    filled = complete_response(response).completed
    scale = residual_scale(response - filled.mean(axis=0))
    mean = filled.mean(axis=0)
    standard = (filled - mean) / scale
    drugs = decompose_kernel(standard.T @ standard / len(standard))
    for more in (True, True, False) if drug_noise else (False,):
        weights = kronecker_ridge(mixed, drugs, (response - mean) / scale, ridge=ridge, tol=tol) @ drugs.kernel * scale
        fitted = mean + mixed.kernel @ weights
        filled = np.where(np.isnan(response), fitted, response)
        if more:
            noise = np.nanstd(response - fitted, axis=0)
            mean, scale = filled.mean(axis=0), np.maximum(noise, 0.1 * noise.mean() + 1e-12)
            standard = (filled - mean) / scale
            covariance = standard.T @ standard / len(standard)
            drugs = decompose_kernel(covariance / np.mean(np.diag(covariance)))
    left_out = mean + _leave_line_out(lines, drugs, (filled - mean) / scale, ridge, kernel_share) * scale
    return CoupledFit(kernel_share * weights, mean, fitted, left_out)


def mix_identity(lines: KernelDecomposition, share: float) -> KernelDecomposition:
    """Decomposition of ``share · K + (1 − share) · I``."""
    own = (1.0 - share) * np.eye(len(lines.kernel))
    return KernelDecomposition(share * lines.kernel + own, share * lines.values + 1.0 - share, lines.vectors)


def _leave_line_out(
    lines: KernelDecomposition, drugs: KernelDecomposition, standard: np.ndarray, ridge: float, share: float
) -> np.ndarray:
    """Predict each line from the others, for complete responses: one ridge regression per principal direction."""
    kept = drugs.values > 1e-6 * drugs.values[-1]
    variance, directions = drugs.values[kept], drugs.vectors[:, kept]
    ridges = (1.0 - share + ridge / variance) / share
    target = standard @ directions
    shrunk = 1.0 / (lines.values[:, None] + ridges)
    solution = lines.vectors @ (shrunk * (lines.vectors.T @ target))
    residual = solution / (lines.vectors**2 @ shrunk)
    return (target - residual) @ directions.T
