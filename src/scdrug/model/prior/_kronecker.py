"""Ridge regression over lines and drugs at once, for drugs that were never screened."""

from __future__ import annotations

import logging
from typing import Literal, NamedTuple

import numpy as np
from scipy.sparse.linalg import LinearOperator, cg

from ._additive import AdditiveEffects, check_response, fit_additive
from ._decomposition import KernelDecomposition, decompose_kernel
from ._ridge import RidgeFit, select_ridge, solve_ridge

logger = logging.getLogger(__name__)

#: Ridges on drug similarity to choose from: a drug's effect is nearly determined by its neighbours, residuals are noisy.
EFFECT_RIDGES = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0)
_RESIDUAL_RIDGES = (0.03, 0.1, 0.3, 1.0, 3.0, 10.0)


class UnseenDrugFit(NamedTuple):
    """Fit that predicts new drugs for known or new lines."""

    #: Effects of the training drugs and lines.
    effects: AdditiveEffects
    #: Regression of the drug effects on drug similarity; drugs × 1.
    drug_effect: RidgeFit
    #: Regression of the residuals of each known line on drug similarity; drugs × lines.
    line_residual: RidgeFit
    #: Regression of the line effects on line similarity; lines × 1. None without a line kernel.
    line_effect: RidgeFit | None
    #: Kronecker ridge on the residuals, lines × drugs. None without a line kernel.
    residual: np.ndarray | None

    def predict(self, cross_drugs: np.ndarray, cross_lines: np.ndarray | None = None) -> np.ndarray:
        """Predict new drugs (new × training drugs) in the training lines, or in new ones (new × training lines).

        Returns
        -------
        Lines × new drugs, in the unit of the response.
        """
        drug = self.drug_effect.predict(cross_drugs)[:, 0]
        if cross_lines is None:
            return self.effects.line[:, None] + drug[None, :] + self.line_residual.predict(cross_drugs).T
        if self.line_effect is None or self.residual is None:
            raise ValueError("This fit knows no similarity of lines. Pass `kernel_lines` to `fit_unseen_drugs`.")
        return self.line_effect.predict(cross_lines) + drug[None, :] + cross_lines @ self.residual @ cross_drugs.T


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


def fit_unseen_drugs(
    response: np.ndarray,
    kernel_drugs: np.ndarray | KernelDecomposition,
    kernel_lines: np.ndarray | KernelDecomposition | None = None,
    *,
    drug_ridge: float | Literal["auto"] = 0.3,
    line_ridge: float = 0.2,
    ridge: float = 0.2,
    tol: float = 1e-4,
) -> UnseenDrugFit:
    """Fit what is needed to predict drugs that were never screened, in known and in new lines.

    The response is split into drug effects, line effects and residuals. Drug effects are regressed on drug similarity,
    line effects on line similarity. For a known line the residuals of that line are regressed on drug similarity; for a
    new line :func:`kronecker_ridge` is used.

    Parameters
    ----------
    response
        Training lines × training drugs, NaN where not measured.
    kernel_drugs
        Drugs × drugs, for example Tanimoto similarity of Morgan fingerprints.
    kernel_lines
        Lines × lines; without it only known lines can be predicted.
    drug_ridge
        Ridge on drug similarity; ``"auto"`` chooses one for the drug effects and one for the residuals by leaving each
        drug out, in closed form.
    line_ridge
        Ridge on line similarity, for the line effects.
    ridge
        Ridge of the Kronecker regression.
    tol
        Tolerance of :func:`kronecker_ridge`.

    Returns
    -------
    The fit.

    Raises
    ------
    ValueError
        If shapes disagree, a ridge is not positive, or a drug was measured in no line.

    Examples
    --------
    >>> import numpy as np
    >>> response = np.array([[0.0, 2.0], [2.0, 4.0]])
    >>> fit = fit_unseen_drugs(response, np.eye(2))
    >>> fit.predict(np.zeros((1, 2)))  # a drug like no other: mean drug effect and line effects
    array([[1.],
           [3.]])
    """
    response = check_response(response)
    drugs = _decomposed(kernel_drugs)
    effects = fit_additive(response)
    residual = response - effects.matrix
    measured = ~np.isnan(residual).all(axis=1)
    effect_ridge, residual_ridge = _drug_ridges(drugs, effects.drug, residual[measured].T, drug_ridge)
    by_line = solve_ridge(drugs, residual[measured].T, ridge=residual_ridge, center=False)
    alpha = np.zeros((response.shape[1], len(response)))
    alpha[:, measured] = by_line.alpha
    line_residual = RidgeFit(alpha, np.zeros(len(response)))
    drug_effect = solve_ridge(drugs, effects.drug[:, None], ridge=effect_ridge)
    if kernel_lines is None:
        return UnseenDrugFit(effects, drug_effect, line_residual, None, None)
    lines = _decomposed(kernel_lines)
    line_effect = solve_ridge(lines, np.where(measured, effects.line, np.nan)[:, None], ridge=line_ridge)
    weights = kronecker_ridge(lines, drugs, residual, ridge=ridge, tol=tol)
    return UnseenDrugFit(effects, drug_effect, line_residual, line_effect, weights)


def _drug_ridges(
    drugs: KernelDecomposition, effect: np.ndarray, residual: np.ndarray, ridge: float | Literal["auto"]
) -> tuple[float, float]:
    """Ridges for the drug effects and for the residuals (drugs × lines)."""
    if ridge != "auto":
        return ridge, ridge
    return select_effect_ridge(drugs, effect), float(
        select_ridge(drugs, residual, ridges=_RESIDUAL_RIDGES, center=False).ridge
    )


def select_effect_ridge(kernel_drugs: np.ndarray | KernelDecomposition, effect: np.ndarray) -> float:
    """Choose the ridge of the regression of drug effects on drug similarity by leaving each drug out."""
    return float(select_ridge(kernel_drugs, effect[:, None], ridges=EFFECT_RIDGES).ridge)


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
