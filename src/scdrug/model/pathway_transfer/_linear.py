"""The linear path: ridge regression on genes that are weighed by how much all drugs use them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..baseline._complete import complete_response
from ..baseline._kernels import fit_gene_scaler
from ..baseline._ridge import decompose_kernel, solve_ridge

#: Fewer drugs say too little of each other: responses are not denoised, and genes not weighed.
_MIN_DRUGS = 20
#: Share of a training response that is replaced by its low-rank fit.
_DENOISE = 0.7
#: The first regression only finds out which genes matter: it may be smoother than the second.
_FIRST_RIDGE = 2.0


class LinearPath(NamedTuple):
    """A linear model of expression."""

    #: Panel × drugs.
    weights: np.ndarray
    #: Drugs.
    intercept: np.ndarray


def fit_linear_path(expression: np.ndarray, response: np.ndarray, *, ridge: float) -> LinearPath:
    """Fit the linear path in closed form.

    A first ridge regression on standardised genes gives each gene the mean squared weight that it has over all drugs;
    the second is fitted on genes scaled by the root of that. This is one step of a recursive feature machine with a
    linear kernel and a diagonal outer product of gradients (Radhakrishnan et al. 2024): genes that no drug uses are
    shrunk more.

    Parameters
    ----------
    expression
        Lines × genes.
    response
        Lines × drugs, NaN where not measured.
    ridge
        Added to the diagonal of a kernel whose mean diagonal is one.

    Returns
    -------
    The fit.
    """
    enough = response.shape[1] >= _MIN_DRUGS
    target = response
    if enough:
        smooth = complete_response(response).fitted
        target = np.where(np.isfinite(response), _DENOISE * smooth + (1 - _DENOISE) * response, np.nan)
    scaler = fit_gene_scaler(expression)
    z = scaler.transform(expression)
    importance = np.ones(z.shape[1], dtype=z.dtype)
    if enough:
        first = _fit(z, target, ridge=_FIRST_RIDGE * ridge)[0] / np.nanstd(target, axis=0).clip(1e-6)
        importance = np.sqrt((first**2).mean(axis=1) / max(float((first**2).mean()), 1e-30))
    weights, intercept = _fit(z * importance, target, ridge=ridge)
    weights = weights * (importance / scaler.scale)[:, None]
    return LinearPath(weights, intercept - scaler.mean @ weights)


def _fit(z: np.ndarray, target: np.ndarray, *, ridge: float) -> tuple[np.ndarray, np.ndarray]:
    """Weights on `z` (genes × drugs) and intercepts."""
    z = np.asarray(z, dtype=np.float32)
    kernel = (z @ z.T).astype(np.float64)
    scale = max(float(np.trace(kernel)) / len(kernel), 1e-12)
    decomposition = decompose_kernel(kernel / scale)
    fit = solve_ridge(decomposition, target, ridge=ridge)
    weights = z.T @ (fit.alpha / scale).astype(np.float32)
    return weights.astype(np.float64), fit.intercept
