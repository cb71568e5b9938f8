"""Kernel ridge regression per drug, with missing responses left out exactly."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ._additive import check_response
from ._decomposition import KernelDecomposition, decompose_kernel, solve_groups


class RidgeFit(NamedTuple):
    """Dual weights of one kernel ridge regression per drug."""

    #: Lines × drugs; zero where the drug was not measured in the line.
    alpha: np.ndarray
    #: Mean response of the measured lines, drugs; zeros where not centred.
    intercept: np.ndarray

    def predict(self, cross_kernel: np.ndarray) -> np.ndarray:
        """Response of new rows from their similarity to the training lines (rows × lines); rows × drugs."""
        return cross_kernel @ self.alpha + self.intercept


class RidgeChoice(NamedTuple):
    """Outcome of :func:`select_ridge`."""

    #: The best ridge for all drugs together, or one per drug.
    ridge: float | np.ndarray
    ridges: np.ndarray
    #: Mean squared leave-one-line-out error, ridges × drugs.
    errors: np.ndarray


def solve_ridge(
    kernel: np.ndarray | KernelDecomposition,
    response: np.ndarray,
    *,
    ridge: float | np.ndarray = 0.2,
    center: bool = True,
) -> RidgeFit:
    """Kernel ridge regression of every drug on the lines in which it was measured.

    For each drug, ``(K + ridge · I) α = y − mean(y)`` over its measured lines ``o`` only: the rows and columns of other
    lines do not enter, so the fit is the one that a regression on these lines alone would give.

    Parameters
    ----------
    kernel
        Lines × lines, or its :func:`decompose_kernel` to share the work between calls.
    response
        Lines × drugs, NaN where not measured.
    ridge
        Added to the diagonal, in the unit of the kernel (whose diagonal is about one in all recipes here); one number,
        or one per drug.
    center
        Take each drug's mean out first. The mean is not penalised, and is the prediction far from all lines (RBF).

    Returns
    -------
    Dual weights (zero where not measured) and intercepts.

    Raises
    ------
    ValueError
        If shapes disagree, a ridge is not positive, or a drug was measured in no line.

    Notes
    -----
    The inverse of the whole matrix is computed once per ridge; that over a drug's lines follows from it by eliminating
    the missing lines, which costs little when few are missing.

    Examples
    --------
    >>> import numpy as np
    >>> fit = solve_ridge(np.eye(3), np.array([[1.0], [3.0], [np.nan]]), ridge=1.0)
    >>> fit.alpha[:, 0]
    array([-0.5,  0.5,  0. ])
    >>> fit.intercept
    array([2.])
    """
    decomposition, response, ridges = _check_ridge(kernel, response, ridge)
    alpha = np.zeros_like(response)
    intercept = np.nanmean(response, axis=0) if center else np.zeros(response.shape[1])
    for group in solve_groups(decomposition, response - intercept, ridges, diagonal=False):
        alpha[np.ix_(group.lines, group.drugs)] = group.solution
    return RidgeFit(alpha, intercept)


def leave_one_out(
    kernel: np.ndarray | KernelDecomposition,
    response: np.ndarray,
    *,
    ridge: float | np.ndarray = 0.2,
    center: bool = True,
) -> np.ndarray:
    """Predict every measured pair from the fit without its line, in closed form.

    Parameters
    ----------
    kernel, response, ridge, center
        As for :func:`solve_ridge`.

    Returns
    -------
    Lines × drugs: what :func:`solve_ridge` would predict for the line had it been left out, intercept included; NaN
    where not measured, and for a drug measured in one line only.

    Raises
    ------
    ValueError
        As :func:`solve_ridge` does.

    Notes
    -----
    With ``A = K + ridge · I`` the residual is ``(A⁻¹ (y − m))ᵢ / (A⁻¹)ᵢᵢ`` where ``m`` is the intercept without line
    ``i``; the kernel itself (gene scaling, median distance) is taken as given.

    Examples
    --------
    >>> import numpy as np
    >>> leave_one_out(np.eye(3), np.array([[1.0], [3.0], [5.0]]))[:, 0]
    array([4., 3., 2.])
    """
    decomposition, response, ridges = _check_ridge(kernel, response, ridge)
    intercept = np.nanmean(response, axis=0) if center else np.zeros(response.shape[1])
    centred = response - intercept
    predicted = np.full_like(response, np.nan)
    for group in solve_groups(decomposition, centred, ridges, diagonal=True):
        block = np.ix_(group.lines, group.drugs)
        n_lines = len(group.lines)
        if center and n_lines < 2:
            continue
        shift = centred[block] / (n_lines - 1) if center else np.zeros((n_lines, len(group.drugs)))
        residual = (group.solution + shift * group.ones[:, None]) / group.diagonal[:, None]
        predicted[block] = response[block] - residual
    return predicted


def select_ridge(
    kernel: np.ndarray | KernelDecomposition,
    response: np.ndarray,
    *,
    ridges: Sequence[float] = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0),
    per_drug: bool = False,
    center: bool = True,
) -> RidgeChoice:
    """Choose the ridge by leave-one-line-out error.

    Parameters
    ----------
    kernel, response, center
        As for :func:`solve_ridge`.
    ridges
        Candidates.
    per_drug
        Choose for each drug by itself instead of one for all.

    Returns
    -------
    The best ridge and the mean squared errors, ridges × drugs. A choice for all drugs together weighs each drug by the
    inverse of its variance, so that drugs with a wide response do not decide alone.

    Raises
    ------
    ValueError
        As :func:`solve_ridge` does, or if `ridges` is empty.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> x = rng.normal(size=(80, 5))
    >>> response = x[:, :1] + 3 * rng.normal(size=(80, 1))
    >>> select_ridge(x @ x.T, response, ridges=[1e-3, 30, 1e5]).ridge
    30.0
    """
    candidates = np.asarray(ridges, dtype=np.float64)
    if candidates.size == 0:
        raise ValueError("`ridges` is empty. Name at least one candidate.")
    decomposition = kernel if isinstance(kernel, KernelDecomposition) else decompose_kernel(kernel)
    response = check_response(response)
    errors = np.stack(
        [_loo_error(leave_one_out(decomposition, response, ridge=r, center=center), response) for r in candidates]
    )
    comparable = np.where(np.isfinite(errors), errors, 0.0)
    if per_drug:
        return RidgeChoice(candidates[np.argmin(comparable, axis=0)], candidates, errors)
    variance = np.nanvar(response, axis=0)
    relative = np.divide(comparable, variance, out=np.zeros_like(comparable), where=variance > 0)
    return RidgeChoice(float(candidates[int(np.argmin(relative.sum(axis=1)))]), candidates, errors)


def primal_weights(standardized: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Gene weights of a fit on :func:`linear_kernel`, which hold no training line.

    Parameters
    ----------
    standardized
        Training lines × genes, the matrix whose linear kernel was used.
    alpha
        Dual weights, lines × drugs.

    Returns
    -------
    Genes × drugs, so that ``z @ weights`` equals ``linear_kernel(z, standardized) @ alpha``.

    Examples
    --------
    >>> import numpy as np
    >>> primal_weights(np.array([[2.0, 0.0], [0.0, 4.0]]), np.array([[1.0], [0.5]]))
    array([[1.],
           [1.]])
    """
    return standardized.T @ alpha / standardized.shape[1]


def _check_ridge(
    kernel: np.ndarray | KernelDecomposition, response: np.ndarray, ridge: float | np.ndarray
) -> tuple[KernelDecomposition, np.ndarray, np.ndarray]:
    response = check_response(response)
    n_lines = len(kernel.kernel if isinstance(kernel, KernelDecomposition) else kernel)
    if len(response) != n_lines:
        raise ValueError(f"The kernel compares {n_lines} lines, but the response has {len(response)} rows.")
    if np.ndim(ridge) and np.shape(ridge) != (response.shape[1],):
        raise ValueError(f"Expected one ridge, or one for each of {response.shape[1]} drugs; found {np.shape(ridge)}.")
    ridges = np.broadcast_to(np.asarray(ridge, dtype=np.float64), (response.shape[1],))
    if not np.all((ridges > 0) & np.isfinite(ridges)):
        raise ValueError(f"`ridge` must be positive and finite; found {ridges.min()}.")
    decomposition = kernel if isinstance(kernel, KernelDecomposition) else decompose_kernel(kernel)
    return decomposition, response, ridges


def _loo_error(predicted: np.ndarray, response: np.ndarray) -> np.ndarray:
    """Mean squared error per drug over the pairs that could be predicted; NaN where there is none."""
    squared = (predicted - response) ** 2
    known = np.isfinite(squared)
    total = np.where(known, squared, 0.0).sum(axis=0)
    return np.divide(total, known.sum(axis=0), out=np.full(total.shape, np.nan), where=known.any(axis=0))
