"""Low-rank completion of a response matrix by iterated soft thresholding of singular values."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import scipy.linalg

logger = logging.getLogger(__name__)


class LowRank(NamedTuple):
    """A completed matrix, ``(u * s) @ v``."""

    #: Left singular vectors, lines × rank.
    u: np.ndarray
    #: Shrunken singular values, falling; rank.
    s: np.ndarray
    #: Right singular vectors, rank × drugs.
    v: np.ndarray

    @property
    def matrix(self) -> np.ndarray:
        """Completed matrix, lines × drugs."""
        return (self.u * self.s) @ self.v


class ThresholdChoice(NamedTuple):
    """Outcome of :func:`select_threshold`."""

    #: Threshold with the lowest validation error.
    threshold: float
    #: All thresholds tried, falling.
    thresholds: np.ndarray
    #: RMSE over the held-out entries, one per threshold.
    errors: np.ndarray


def shrink_singular_values(matrix: np.ndarray, threshold: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Lower all singular values by a threshold and drop those that reach zero.

    Parameters
    ----------
    matrix
        Finite values.
    threshold
        Positive number, in the unit of the matrix.

    Returns
    -------
    ``u, s, v`` with the matrix of lowest ``½‖matrix − Z‖² + threshold·‖Z‖*`` as ``Z = (u * s) @ v``; signs are fixed so
    that the entry of largest size in each row of `v` is positive.
    """
    if matrix.shape[0] < matrix.shape[1]:
        u, s, v = shrink_singular_values(matrix.T, threshold)
        u, v = v.T, u.T
    else:
        # The Gram matrix of the drugs is small; squaring costs accuracy only far below the threshold.
        gram = matrix.T @ matrix
        values, vectors = scipy.linalg.eigh(gram, subset_by_value=(threshold**2, np.inf), driver="evr")
        size = np.sqrt(values[::-1])
        vectors = vectors[:, ::-1]
        u, s, v = matrix @ (vectors / size), size - threshold, vectors.T
    largest = np.argmax(np.abs(v), axis=1) if len(s) else np.zeros(0, dtype=int)
    sign = np.where(v[np.arange(len(s)), largest] < 0, -1.0, 1.0)
    return u * sign, s, v * sign[:, None]


def soft_impute(
    residuals: np.ndarray,
    *,
    threshold: float,
    max_iter: int = 500,
    tol: float = 1e-5,
    warm_start: LowRank | np.ndarray | None = None,
) -> LowRank:
    """Complete a matrix with missing entries by nuclear-norm regularised least squares.

    Minimises ``½ Σ_observed (residuals − Z)² + threshold · ‖Z‖*`` over all matrices ``Z``.

    Parameters
    ----------
    residuals
        Lines × drugs, NaN where not measured; zero should mean "as expected", so take drug and line effects out first.
    threshold
        Weight of the nuclear norm: singular values are lowered by it. In the unit of `residuals`.
    max_iter
        Largest number of steps; a warning goes to the log when it is reached.
    tol
        Stop when a step changes the matrix by less than this share of its Frobenius norm.
    warm_start
        Where to begin, for example the result for a larger threshold; zeros if omitted. The optimum is unique in its
        observed part and does not depend on it.

    Returns
    -------
    Singular vectors and shrunken singular values of the completed matrix. A line or drug without any value gets zeros.

    Raises
    ------
    ValueError
        If `threshold` is not positive, or `residuals` has no finite value or infinite ones.

    Notes
    -----
    Soft-Impute of Mazumder, Hastie and Tibshirani 2010 (JMLR 11:2287), with the momentum of Nesterov, restarted when it
    points uphill (O'Donoghue and Candès 2015, doi:10.1007/s10208-013-9150-3), which changes the number of steps and not
    the optimum. Nothing is drawn at random: the result is a function of the input.

    Examples
    --------
    >>> import numpy as np
    >>> rank_one = np.outer(np.arange(-5.0, 6.0), [1.0, 2.0, 3.0, 4.0])
    >>> rank_one[10, 3] = np.nan  # was 20
    >>> completed = soft_impute(rank_one, threshold=0.1).matrix
    >>> bool(abs(completed[10, 3] - 20) < 0.2)
    True
    """
    residuals = np.asarray(residuals, dtype=np.float64)
    _check_completion(residuals, threshold)
    observed = ~np.isnan(residuals)
    completed = np.where(observed, residuals, 0.0)
    current = warm_start.matrix if isinstance(warm_start, LowRank) else warm_start
    current = np.zeros_like(residuals) if current is None else np.array(current, dtype=np.float64)
    if current.shape != residuals.shape:
        raise ValueError(f"`warm_start` must have shape {residuals.shape}; found {current.shape}.")
    missing = ~observed
    ahead, momentum = current, 1.0
    for _ in range(max_iter):
        completed[missing] = ahead[missing]
        u, s, v = shrink_singular_values(completed, threshold)
        previous, current = current, (u * s) @ v
        step = current - previous
        if np.linalg.norm(step) <= tol * max(np.linalg.norm(previous), np.finfo(float).tiny):
            return LowRank(u, s, v)
        if np.vdot(ahead - current, step) > 0:  # the momentum points uphill: start it again
            momentum = 1.0
        slower, momentum = momentum - 1.0, (1.0 + np.sqrt(1.0 + 4.0 * momentum**2)) / 2.0
        ahead = current + (slower / momentum) * step
    logger.warning(
        "Soft-impute stopped after %d steps before the tolerance %g was reached; raise `max_iter`.", max_iter, tol
    )
    return LowRank(u, s, v)


def select_threshold(
    residuals: np.ndarray,
    *,
    thresholds: Sequence[float] | None = None,
    holdout: np.ndarray | float = 0.1,
    seed: int = 0,
    max_iter: int = 500,
    tol: float = 1e-4,
) -> ThresholdChoice:
    """Choose the threshold of :func:`soft_impute` on entries that are hidden from it.

    Parameters
    ----------
    residuals
        Lines × drugs, NaN where not measured.
    thresholds
        Candidates; by default ten between 3 and 50 % of the largest singular value, evenly spaced in the logarithm.
    holdout
        Share of the observed entries to hide, or a mask lines × drugs of those to hide.
    seed
        Draws the hidden entries where `holdout` is a share.
    max_iter, tol
        As for :func:`soft_impute`.

    Returns
    -------
    The best threshold, with the validation RMSE of all. Each fit starts at that of the next larger threshold.

    Raises
    ------
    ValueError
        If no observed entry is hidden or none is left.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> noisy = rng.normal(size=(60, 2)) @ rng.normal(size=(2, 20)) + rng.normal(size=(60, 20))
    >>> select_threshold(noisy, thresholds=[0.1, 8, 100]).threshold
    8.0
    """
    residuals = np.asarray(residuals, dtype=np.float64)
    observed = ~np.isnan(residuals)
    hidden = _draw(observed, float(holdout), seed) if np.ndim(holdout) == 0 else np.asarray(holdout, bool) & observed
    if not hidden.any() or not (observed & ~hidden).any():
        raise ValueError(
            f"{int(hidden.sum())} of {int(observed.sum())} observed entries would be hidden to choose the threshold; "
            "at least one must be hidden and one left. Pass another `holdout`."
        )
    visible = np.where(hidden, np.nan, residuals)
    if thresholds is None:
        largest = np.linalg.norm(np.where(np.isnan(visible), 0.0, visible), 2)
        thresholds = np.geomspace(0.5, 0.03, 10) * largest
    falling = np.sort(np.asarray(thresholds, dtype=np.float64))[::-1]
    errors, fit = [], None
    for threshold in falling:
        fit = soft_impute(visible, threshold=threshold, max_iter=max_iter, tol=tol, warm_start=fit)
        errors.append(np.sqrt(np.mean((fit.matrix[hidden] - residuals[hidden]) ** 2)))
    return ThresholdChoice(float(falling[int(np.argmin(errors))]), falling, np.asarray(errors))


def _draw(observed: np.ndarray, share: float, seed: int) -> np.ndarray:
    """Hide a share of the observed entries."""
    if not 0 < share < 1:
        raise ValueError(f"`holdout` must lie between 0 and 1; found {share}.")
    positions = np.flatnonzero(observed)
    hidden = np.zeros(observed.size, dtype=bool)
    chosen = np.random.default_rng(seed).permutation(positions)[: max(1, round(share * positions.size))]
    hidden[chosen] = True
    return hidden.reshape(observed.shape)


def _check_completion(residuals: np.ndarray, threshold: float) -> None:
    if not threshold > 0:
        raise ValueError(f"`threshold` must be positive; found {threshold}. Smaller values shrink less.")
    if residuals.ndim != 2:
        raise ValueError(f"Expected a matrix lines × drugs; found an array of shape {residuals.shape}.")
    if np.isinf(residuals).any():
        raise ValueError("The matrix holds infinite values. Replace them by NaN (not measured) or by a bound.")
    if np.isnan(residuals).all():
        raise ValueError("The matrix holds no value at all, so there is nothing to complete it from.")
