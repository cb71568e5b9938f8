"""Eigendecomposition of a kernel, and the systems over sub-sets of its units that missing responses lead to."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import scipy.linalg

#: Above this condition number, inverses of sub-matrices are not derived from that of the whole matrix.
_SAFE_CONDITION = 1e8


class KernelDecomposition(NamedTuple):
    """A kernel between training units with its eigenvectors, shared by all drugs and ridge strengths."""

    kernel: np.ndarray
    #: Eigenvalues, rising, none negative.
    values: np.ndarray
    #: Eigenvectors in columns.
    vectors: np.ndarray

    def inverse(self, ridge: float) -> np.ndarray:
        """``(kernel + ridge · I)⁻¹``."""
        return (self.vectors / (self.values + ridge)) @ self.vectors.T

    def smooth(self, target: np.ndarray, ridge: float) -> np.ndarray:
        """Ridge fit in the training units, ``kernel (kernel + ridge · I)⁻¹ target``; no value may be missing."""
        return (self.vectors * (self.values / (self.values + ridge))) @ (self.vectors.T @ target)


class DrugGroup(NamedTuple):
    """Drugs that were measured in the same lines, and what solves their equations."""

    drugs: np.ndarray
    lines: np.ndarray
    #: ``A⁻¹ y`` and ``A⁻¹ 1`` with ``A = K + ridge · I`` over the measured lines.
    solution: np.ndarray
    ones: np.ndarray
    #: Diagonal of ``A⁻¹``; None where not asked for.
    diagonal: np.ndarray | None


def decompose_kernel(kernel: np.ndarray) -> KernelDecomposition:
    """Eigendecomposition of a kernel matrix.

    Parameters
    ----------
    kernel
        Units × units, symmetric and positive semi-definite.

    Returns
    -------
    Kernel, eigenvalues (negative ones of rounding size become zero) and eigenvectors.

    Raises
    ------
    ValueError
        If the matrix is not square, not symmetric, not finite, or has a negative eigenvalue.

    Examples
    --------
    >>> import numpy as np
    >>> decompose_kernel(np.array([[2.0, 0.0], [0.0, 1.0]])).values
    array([1., 2.])
    """
    kernel = np.asarray(kernel, dtype=np.float64)
    if kernel.ndim != 2 or kernel.shape[0] != kernel.shape[1]:
        raise ValueError(f"A kernel is a square matrix of similarities; found shape {kernel.shape}.")
    if not np.isfinite(kernel).all():
        raise ValueError("The kernel holds NaN or infinite values. Check the features that it was computed from.")
    size = np.abs(kernel).max(initial=0.0)
    if np.abs(kernel - kernel.T).max(initial=0.0) > 1e-6 * size:
        raise ValueError("The kernel is not symmetric. Pass the similarities among the training units only.")
    values, vectors = np.linalg.eigh((kernel + kernel.T) / 2)
    if values.size and values[0] < -1e-6 * size * len(kernel):
        raise ValueError(
            f"The kernel has the negative eigenvalue {values[0]:.3g} (largest: {values[-1]:.3g}), so it is no inner "
            "product of any features. Use a positive semi-definite similarity."
        )
    return KernelDecomposition(kernel, np.maximum(values, 0.0), vectors)


def solve_groups(
    decomposition: KernelDecomposition, centred: np.ndarray, ridges: np.ndarray, *, diagonal: bool
) -> Iterator[DrugGroup]:
    """Solve each set of drugs with one ridge and the same measured lines together."""
    observed = ~np.isnan(centred)
    filled = np.where(observed, centred, 0.0)
    for ridge in np.unique(ridges):
        drugs_of_ridge = np.flatnonzero(ridges == ridge)
        inverse = decomposition.inverse(ridge)
        # One product for all drugs; what the missing lines add is taken away group by group.
        full, full_ones = inverse @ filled[:, drugs_of_ridge], inverse @ observed[:, drugs_of_ridge]
        extremes = decomposition.values[[0, -1]] + ridge
        patterns: dict[bytes, list[int]] = {}
        for position, drug in enumerate(drugs_of_ridge):
            patterns.setdefault(np.packbits(observed[:, drug]).tobytes(), []).append(position)
        for positions in patterns.values():
            drugs = drugs_of_ridge[positions]
            seen = observed[:, drugs[0]]
            lines, missing = np.flatnonzero(seen), np.flatnonzero(~seen)
            right = np.column_stack([full[:, positions], full_ones[:, positions[0]]])
            if 2 * missing.size <= seen.size and extremes[1] <= _SAFE_CONDITION * extremes[0]:
                solved, diag = _eliminate(inverse, lines, missing, right, diagonal=diagonal)
            else:
                ones = np.ones((lines.size, 1))
                target = np.column_stack([filled[np.ix_(lines, drugs)], ones])
                solved, diag = _solve_directly(decomposition.kernel, ridge, lines, target, diagonal=diagonal)
            yield DrugGroup(drugs, lines, solved[:, :-1], solved[:, -1], diag)


def _eliminate(
    inverse: np.ndarray, lines: np.ndarray, missing: np.ndarray, right: np.ndarray, *, diagonal: bool
) -> tuple[np.ndarray, np.ndarray | None]:
    """Restrict a solution to `lines`: with P the whole inverse, the inverse over `lines` is P_oo − P_ou P_uu⁻¹ P_uo."""
    diag = inverse[lines, lines] if diagonal else None
    if missing.size == 0:
        return right[lines], diag
    factor = scipy.linalg.cholesky(inverse[np.ix_(missing, missing)], lower=True)
    across = inverse[np.ix_(missing, lines)]
    if diagonal:
        half = scipy.linalg.solve_triangular(factor, across, lower=True)
        diag = diag - np.einsum("uo,uo->o", half, half)
    return right[lines] - across.T @ scipy.linalg.cho_solve((factor, True), right[missing]), diag


def _solve_directly(
    kernel: np.ndarray, ridge: float, lines: np.ndarray, target: np.ndarray, *, diagonal: bool
) -> tuple[np.ndarray, np.ndarray | None]:
    """Factorise the system over `lines` itself."""
    system = kernel[np.ix_(lines, lines)] + ridge * np.eye(lines.size)
    factor = scipy.linalg.cho_factor(system, lower=True)
    solved = scipy.linalg.cho_solve(factor, target)
    if not diagonal:
        return solved, None
    half = scipy.linalg.solve_triangular(factor[0], np.eye(lines.size), lower=True)
    return solved, np.einsum("ij,ij->j", half, half)
