"""Drug effects plus line effects: what a response matrix says before any feature is looked at."""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np

from ..._validate import check_choice, examples


class AdditiveEffects(NamedTuple):
    """Two-way additive fit; the prediction for a pair is ``drug + line``."""

    #: Response of the average line to each drug, in the unit of the response; drugs.
    drug: np.ndarray
    #: How far each line lies above its drugs' effects; zero for a line without responses; lines.
    line: np.ndarray

    @property
    def matrix(self) -> np.ndarray:
        """Fitted response, lines × drugs."""
        return self.line[:, None] + self.drug[None, :]


def check_response(response: np.ndarray) -> np.ndarray:
    """Return `response` as float64 after checking that it is a matrix in which every drug has a value.

    Parameters
    ----------
    response
        Lines × drugs, NaN where not measured.

    Returns
    -------
    The same values in double precision.

    Raises
    ------
    ValueError
        If it is not two-dimensional, holds infinite values, or a drug was measured in no line.
    """
    response = np.asarray(response, dtype=np.float64)
    if response.ndim != 2:
        raise ValueError(f"Expected a matrix lines × drugs; found an array of shape {response.shape}.")
    if np.isinf(response).any():
        raise ValueError("The response holds infinite values. Replace them by NaN (not measured) or by a bound.")
    empty = np.flatnonzero(np.isnan(response).all(axis=0))
    if empty.size:
        raise ValueError(
            f"{empty.size} of {response.shape[1]} drugs have no response in the training lines, at column "
            f"{examples(empty)}. Leave these drugs out, or train on lines in which they were measured."
        )
    return response


def fit_additive(
    response: np.ndarray,
    *,
    method: Literal["sequential", "least_squares"] = "sequential",
    shrinkage: float = 0.0,
) -> AdditiveEffects:
    """Fit drug effects and line effects to a response matrix with missing entries.

    Parameters
    ----------
    response
        Lines × drugs, in any unit, NaN where not measured.
    method
        ``"sequential"`` takes drug means first and then each line's mean residual; the drug effect is then exactly the
        drug mean, the zero of :func:`scdrug.metrics.skill`. ``"least_squares"`` minimises the squared error over both
        at once, which also corrects a drug's effect for the lines that happen to have been measured, and centres the
        line effects.
    shrinkage
        Number of pseudo-observations at zero added to each line's effect.

    Returns
    -------
    Effects per drug and per line.

    Raises
    ------
    ValueError
        If a drug was measured in no line, or `shrinkage` is negative.

    Notes
    -----
    On GDSC2 ln IC50 with a fifth of the pairs held out the two methods differ by less than 0.001 in RMSE (1.189) and
    correlation (0.905), because only 12 % of the matrix is missing and nearly at random.

    Examples
    --------
    >>> import numpy as np
    >>> effects = fit_additive(np.array([[1.0, 3.0], [3.0, np.nan]]))
    >>> effects.drug
    array([2., 3.])
    >>> effects.line
    array([-0.5,  1. ])
    """
    check_choice("method", method, ("sequential", "least_squares"))
    if shrinkage < 0:
        raise ValueError(f"`shrinkage` must not be negative; found {shrinkage}.")
    response = check_response(response)
    observed = ~np.isnan(response)
    filled = np.where(observed, response, 0.0)
    if method == "sequential":
        drug = filled.sum(axis=0) / observed.sum(axis=0)
    else:
        drug = _least_squares_drugs(filled, observed, shrinkage)
    weight = observed.sum(axis=1) + shrinkage
    total = np.where(observed, response - drug, 0.0).sum(axis=1)
    line = np.divide(total, weight, out=np.zeros(len(response)), where=weight > 0)
    if method == "least_squares" and shrinkage == 0:
        measured = observed.any(axis=1)
        offset = line[measured].mean()
        drug, line = drug + offset, np.where(measured, line - offset, 0.0)
    return AdditiveEffects(drug, line)


def _least_squares_drugs(filled: np.ndarray, observed: np.ndarray, shrinkage: float) -> np.ndarray:
    """Solve the normal equations for the drugs after eliminating the lines; exact for any pattern of missing pairs."""
    count = observed.astype(np.float64)
    per_line = count.sum(axis=1) + shrinkage
    share = np.divide(count, per_line[:, None], out=np.zeros_like(count), where=per_line[:, None] > 0)
    normal = np.diag(count.sum(axis=0)) - count.T @ share
    target = filled.sum(axis=0) - share.T @ filled.sum(axis=1)
    # Singular by one constant per connected block of lines and drugs: the solution nearest to the drug means is taken.
    means = filled.sum(axis=0) / count.sum(axis=0)
    return means + np.linalg.lstsq(normal, target - normal @ means, rcond=1e-10)[0]
