"""A Gaussian process over lines and drugs whose covariance between drugs is learned from the responses."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.linalg

from ..prior._additive import check_response
from ..prior._coupled import mix_identity
from ..prior._decomposition import KernelDecomposition, decompose_kernel
from ..prior._kronecker import kronecker_ridge
from ..prior._ridge import select_ridge, solve_ridge

#: Share of a line's covariance that expression explains, the rest being its own: for lines with responses, and what new
#: lines choose from by leaving lines out.
KNOWN_SHARE, NEW_SHARES = 0.6, (0.5, 0.7, 0.85)
#: Variance of a single measurement, in units of a drug's variance over lines.
NOISE = 0.1
#: Ridge on similarity of structures for the profiles of drugs over lines.
DRUG_RIDGE = 0.3
#: Ridges for potency to choose from.
_POTENCY_RIDGES = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0)
#: What the prior says of the correlation of two drugs, and how many lines it counts for, per drug.
_PRIOR_CORRELATION, _PRIOR_WEIGHT = 0.3, 0.5


def drug_covariance(scores: np.ndarray, *, n_iter: int = 4) -> np.ndarray:
    """Covariance between drugs over lines, from a matrix with gaps.

    Expectation maximisation for a multivariate normal with an inverse-Wishart prior around equal correlations.

    Parameters
    ----------
    scores
        Lines × drugs, centred and scaled per drug, NaN where not measured.
    n_iter
        Number of steps.

    Returns
    -------
    Drugs × drugs, positive definite.

    Examples
    --------
    >>> import numpy as np
    >>> line = np.random.default_rng(0).normal(size=(500, 1))
    >>> both = drug_covariance(np.hstack([line, line]))
    >>> bool(both[0, 1] > 0.9 * both[0, 0])
    True
    """
    n_lines, n_drugs = scores.shape
    observed = np.isfinite(scores)
    correlation = np.full((n_drugs, n_drugs), _PRIOR_CORRELATION)
    np.fill_diagonal(correlation, 1.0)
    covariance, weight = correlation, _PRIOR_WEIGHT * n_drugs
    for _ in range(n_iter):
        total = np.zeros((n_drugs, n_drugs))
        expected, precision = np.where(observed, scores, 0.0), np.linalg.inv(covariance)
        for line, seen in enumerate(observed):
            gap = ~seen
            if not gap.any():
                continue
            if not seen.any():
                total += covariance
                continue
            within = np.ix_(gap, gap)
            if gap.sum() < seen.sum():  # the inverse of a block of the inverse is the smaller system
                spread = np.linalg.inv(precision[within])
                expected[line, gap] = -spread @ (precision[np.ix_(gap, seen)] @ scores[line, seen])
                total[within] += spread
                continue
            factor = scipy.linalg.cho_factor(covariance[np.ix_(seen, seen)], lower=True, check_finite=False)
            across = covariance[np.ix_(seen, gap)]
            solved = scipy.linalg.cho_solve(factor, across, check_finite=False)
            expected[line, gap] = scores[line, seen] @ solved
            total[within] += covariance[within] - across.T @ solved
        total += expected.T @ expected
        size = float(np.trace(total)) / (n_drugs * max(n_lines, 1))
        covariance = (total + weight * size * correlation) / (n_lines + weight)
    return covariance


def signal_covariance(covariance: np.ndarray, *, noise: float = NOISE) -> np.ndarray:
    """Take most of the measurement noise off the diagonal and keep the matrix positive definite.

    Parameters
    ----------
    covariance
        What :func:`drug_covariance` returned.
    noise
        Variance of a measurement.
    """
    values, vectors = np.linalg.eigh(
        covariance - 0.5 * noise * float(np.median(np.diag(covariance))) * np.eye(len(covariance))
    )
    return (vectors * np.maximum(values, 1e-3)) @ vectors.T


@dataclass(frozen=True, eq=False)
class ResponseProcess:
    """Posterior mean of responses: y = mean + scale · f, f ~ GP with covariance K_lines ⊗ K_drugs."""

    #: K_lines⁻¹-weighted posterior, dual weights times the covariance of drugs (lines × drugs).
    alpha: np.ndarray
    #: Mean and standard deviation of each drug over lines (drugs).
    mean: np.ndarray
    scale: np.ndarray
    #: Covariance between drugs that was used (drugs × drugs).
    covariance: np.ndarray
    #: Share of a line's covariance that expression explains.
    share: float = KNOWN_SHARE

    def known(self, kernel: np.ndarray) -> np.ndarray:
        """Standardised posterior mean for the training lines themselves (lines × drugs).

        Parameters
        ----------
        kernel
            Similarity of all training lines.
        """
        return (1 - self.share) * self.alpha + self.share * kernel @ self.alpha

    def new(self, cross: np.ndarray) -> np.ndarray:
        """Standardised posterior mean for lines that were not measured (rows × drugs).

        Parameters
        ----------
        cross
            Similarity of rows to the training lines.
        """
        return self.share * cross @ self.alpha

    def response(self, standardised: np.ndarray) -> np.ndarray:
        """Turn standardised values into responses."""
        return self.mean + self.scale * standardised


def fit_process(
    response: np.ndarray,
    kernel: np.ndarray | KernelDecomposition,
    *,
    covariance: np.ndarray | None = None,
    share: float = KNOWN_SHARE,
    noise: float = NOISE,
) -> ResponseProcess:
    """Fit the process to measured responses.

    Parameters
    ----------
    response
        Lines × drugs, NaN where not measured; every drug has a value.
    kernel
        Similarity of the lines, with a diagonal of about one, or its decomposition.
    covariance
        Covariance of the drugs; learned from the responses if omitted.
    share
        Share of a line's covariance that expression explains.
    noise
        Variance of a measurement in units of a drug's variance.

    Returns
    -------
    The posterior.

    Raises
    ------
    ValueError
        If a drug has no value, or shapes disagree.

    Notes
    -----
    K_lines = (1 − β) I + β K, so that a line's own responses inform its other drugs whatever its expression; with the
    expression of a new line only β K is left. Kriging with a learned covariance has been used for drug response under the
    name of multi-task Gaussian process (Bonilla et al. 2008).
    """
    response = check_response(response)
    mean, scale = drug_moments(response)
    scores = (response - mean) / scale
    if covariance is None:
        covariance = signal_covariance(drug_covariance(scores), noise=noise)
    lines = kernel if isinstance(kernel, KernelDecomposition) else decompose_kernel(kernel)
    weights = kronecker_ridge(mix_identity(lines, share), covariance, scores, ridge=noise, tol=1e-3)
    return ResponseProcess(weights @ covariance, mean, scale, covariance, share)


def fit_shares(response: np.ndarray, kernel: np.ndarray | KernelDecomposition) -> list[ResponseProcess]:
    """Fit the process with each of `NEW_SHARES`, one covariance of the drugs for all.

    Parameters
    ----------
    response, kernel
        As for :func:`fit_process`.
    """
    kernel = kernel if isinstance(kernel, KernelDecomposition) else decompose_kernel(kernel)
    first = fit_process(response, kernel, share=NEW_SHARES[0])
    others = [fit_process(response, kernel, covariance=first.covariance, share=share) for share in NEW_SHARES[1:]]
    return [first, *others]


def drug_moments(response: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of each drug; drugs with few lines or no spread get the typical one."""
    mean = np.nanmean(response, axis=0)
    spread = np.nanstd(response, axis=0)
    count = np.isfinite(response).sum(axis=0)
    typical = float(np.median(spread[spread > 0])) if (spread > 0).any() else 1.0
    # ten lines' worth of the typical variance
    return mean, np.sqrt((count * spread**2 + 10 * typical**2) / (count + 10))


@dataclass(frozen=True, eq=False)
class DrugMix:
    """How unseen drugs are made of training drugs with similar structure."""

    #: Training drugs × new drugs: turns standardised profiles of training drugs into those of new ones.
    profiles: np.ndarray
    #: Expected mean and standard deviation of the new drugs.
    mean: np.ndarray
    scale: np.ndarray


def mix_drugs(process: ResponseProcess, kernels: np.ndarray, cross: np.ndarray, usable: np.ndarray) -> DrugMix:
    """Predict unseen drugs from the profiles of training drugs by their structure.

    The mean profile over drugs stands for an unknown structure; departures of training drugs from it are regressed on
    structure, as are their spreads and, with a kernel and ridge of its own, their potency.

    Parameters
    ----------
    process
        Fitted process.
    kernels
        Similarity of the structures of usable training drugs, by one or several measures (measures × usable × usable).
    cross
        Similarity of new structures to them (measures × new × usable).
    usable
        Which training drugs have a structure (bool).
    """
    kernel, near = kernels.mean(axis=0), cross.mean(axis=0)
    weights = np.linalg.solve(kernel + DRUG_RIDGE * np.eye(len(kernel)), near.T)
    profiles = np.zeros((len(usable), near.shape[0]))
    profiles[usable] = weights
    profiles += (1 - weights.sum(axis=0)) / len(usable)
    typical = process.scale[usable].mean()
    scale = typical + (process.scale[usable] - typical) @ weights
    scale = np.maximum(scale, 0.3 * float(np.median(process.scale)))
    return DrugMix(profiles, _potency(process.mean[usable], kernels, cross), scale)


def _potency(mean: np.ndarray, kernels: np.ndarray, cross: np.ndarray) -> np.ndarray:
    """Mean response of new drugs, by the measure and ridge that predict training drugs best, each left out."""
    candidates = list(zip(kernels, cross, strict=True))
    if len(candidates) > 1:
        candidates.append((kernels.mean(axis=0), cross.mean(axis=0)))
    best, chosen = np.inf, np.zeros(cross.shape[1])
    for kernel, near in candidates:
        decomposition = decompose_kernel(kernel)
        choice = select_ridge(decomposition, mean[:, None], ridges=_POTENCY_RIDGES)
        error = float(np.nanmin(choice.errors)) if np.isfinite(choice.errors).any() else np.inf
        if error < best or not np.isfinite(best):
            best = error
            chosen = solve_ridge(decomposition, mean[:, None], ridge=float(choice.ridge)).predict(near)[:, 0]
    return chosen
