"""A linear prior: ridge regression of completed responses on all genes, as the bundled model is."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ._complete import complete_response
from ._decomposition import decompose_kernel
from ._kernels import fit_gene_scaler, linear_kernel
from ._ridge import primal_weights, solve_ridge

#: Fewer drugs say too little of each other: responses are not completed.
_MIN_DRUGS = 20


class LinearPrior(NamedTuple):
    """A linear model of expression."""

    #: Genes × drugs.
    weights: np.ndarray
    #: Drugs.
    intercept: np.ndarray

    @classmethod
    def fit(cls, expression: np.ndarray, response: np.ndarray, *, ridge: float) -> LinearPrior:
        """Fit in closed form: :class:`KernelRidge` with ``kernel="linear", denoise=1``.

        Parameters
        ----------
        expression
            Lines × genes.
        response
            Lines × drugs, NaN where not measured. With twenty drugs or more, each response is replaced by what the others
            say of it (:func:`complete_response`), which takes noise out of the targets.
        ridge
            Added to the diagonal of a kernel whose mean diagonal is one.
        """
        target = complete_response(response).fitted if response.shape[1] >= _MIN_DRUGS else response
        scaler = fit_gene_scaler(expression)
        z = scaler.transform(expression)
        fit = solve_ridge(decompose_kernel(linear_kernel(z)), target, ridge=ridge)
        weights = primal_weights(z, fit.alpha) / np.asarray(scaler.scale, dtype=np.float64)[:, None]
        return cls(weights, fit.intercept - scaler.mean @ weights)

    def predict(self, expression: np.ndarray) -> np.ndarray:
        """Predict rows of expression (rows × drugs)."""
        return expression @ self.weights + self.intercept
