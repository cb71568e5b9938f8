"""Ridge regression over lines and drugs at once."""

from __future__ import annotations

import logging

import numpy as np
from scipy.sparse.linalg import LinearOperator, cg

from ._decomposition import KernelDecomposition, decompose_kernel

logger = logging.getLogger(__name__)


def kronecker_ridge(
    kernel_lines: np.ndarray | KernelDecomposition,
    kernel_drugs: np.ndarray | KernelDecomposition,
    response: np.ndarray,
    *,
    ridge: float = 0.2,
    tol: float = 1e-6,
    max_iter: int = 500,
) -> np.ndarray:
    """Kernel ridge regression with the product of a line and a drug kernel, over the measured pairs only.

    Parameters
    ----------
    kernel_lines
        Lines × lines, or its decomposition.
    kernel_drugs
        Drugs × drugs, or its decomposition.
    response
        Lines × drugs, centred by the caller, NaN where not measured.
    ridge
        Added to the diagonal of the product kernel.
    tol
        Largest norm of the weights of missing pairs relative to that of all weights; no effect where none is missing.
    max_iter
        Largest number of conjugate gradient steps; a warning goes to the log when it is reached.

    Returns
    -------
    Dual weights, lines × drugs, zero up to `tol` where not measured. The prediction is
    ``cross_lines @ weights @ cross_drugs.T``.

    Raises
    ------
    ValueError
        If shapes disagree, `ridge` is not positive, or nothing was measured.

    Notes
    -----
    A complete matrix is solved in closed form from the two eigendecompositions. With missing pairs, values are sought for
    them that give them zero weight, which makes them as good as absent: a system over the missing pairs, with the
    inverse of the product kernel. That inverse is large in all but the few smooth directions, and gaps that are scattered
    over the matrix are not smooth, so that some ten steps of conjugate gradients suffice.

    Examples
    --------
    >>> import numpy as np
    >>> kronecker_ridge(np.eye(2), np.eye(2), np.array([[1.2, np.nan], [0.0, 2.4]]), ridge=0.2)
    array([[1., 0.],
           [0., 2.]])
    """
    lines, drugs, response = _check_kronecker(kernel_lines, kernel_drugs, response, ridge)
    spectrum = lines.values[:, None] * drugs.values[None, :] + ridge
    observed = ~np.isnan(response)

    def solve_complete(target: np.ndarray) -> np.ndarray:
        rotated = lines.vectors.T @ target @ drugs.vectors
        return lines.vectors @ (rotated / spectrum) @ drugs.vectors.T

    weights, missing = solve_complete(np.where(observed, response, 0.0)), np.nonzero(~observed)
    if not len(missing[0]):
        return weights

    def place(values: np.ndarray) -> np.ndarray:
        out = np.zeros_like(weights)
        out[missing] = values
        return out

    system = LinearOperator((len(missing[0]),) * 2, lambda values: solve_complete(place(values))[missing])
    values, failed = cg(system, -weights[missing], rtol=0.0, atol=tol * np.linalg.norm(weights), maxiter=max_iter)
    if failed:
        logger.warning("Kronecker ridge stopped after %d steps before the tolerance %g was reached.", max_iter, tol)
    return weights + solve_complete(place(values))


def _decomposed(kernel: np.ndarray | KernelDecomposition) -> KernelDecomposition:
    return kernel if isinstance(kernel, KernelDecomposition) else decompose_kernel(kernel)


def _check_kronecker(
    kernel_lines: np.ndarray | KernelDecomposition,
    kernel_drugs: np.ndarray | KernelDecomposition,
    response: np.ndarray,
    ridge: float,
) -> tuple[KernelDecomposition, KernelDecomposition, np.ndarray]:
    lines, drugs = _decomposed(kernel_lines), _decomposed(kernel_drugs)
    response = np.asarray(response, dtype=np.float64)
    expected = (len(lines.kernel), len(drugs.kernel))
    if response.shape != expected:
        raise ValueError(
            f"The kernels compare {expected[0]} lines and {expected[1]} drugs; the response has shape {response.shape}."
        )
    if not ridge > 0:
        raise ValueError(f"`ridge` must be positive; found {ridge}.")
    if np.isinf(response).any() or np.isnan(response).all():
        raise ValueError("The response must hold finite values and NaN (not measured), and not only NaN.")
    return lines, drugs, response
