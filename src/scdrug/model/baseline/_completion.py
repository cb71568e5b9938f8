"""Models that know nothing of expression: additive effects, and completion of the response matrix."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..._validate import check_choice
from .._card import MethodCard
from .._closed_form import ClosedFormModel
from ._additive import fit_additive
from ._complete import complete_response
from ._kernels import RBF, fit_kernel

if TYPE_CHECKING:
    from anndata import AnnData


class _CompletionModel(ClosedFormModel):
    """Predicts known lines, by name, from what was fitted for them; any other sample gets the drug effects."""

    _holds_lines = True

    def __init__(self, adata: AnnData | None = None, registry: dict[str, Any] | None = None) -> None:
        super().__init__(adata, registry)
        self._lines: dict[str, int] = {}

    def train(self, max_epochs: int | None = None, **trainer_kwargs: Any) -> None:
        """Fit the model in closed form; arguments have no effect, as in :meth:`ClosedFormModel.train`."""
        if self.adata is not None:
            self._lines = {str(name): row for row, name in enumerate(self.adata.obs_names)}
        super().train(max_epochs, **trainer_kwargs)

    def _predict_rows(self, expression: np.ndarray, drugs: np.ndarray, names: np.ndarray | None = None) -> np.ndarray:
        out = np.tile(self.module.array("drug")[drugs], (len(expression), 1))
        if names is not None:
            known = np.array([self._lines.get(str(name), -1) for name in names])
            rows = known >= 0
            out[rows] = self._fitted(known[rows])[:, drugs]
        return out

    def _fitted(self, rows: np.ndarray) -> np.ndarray:
        """Fitted responses of training lines (rows × drugs)."""
        return self.module.array("fitted")[rows]

    def _linear_weights(self, drugs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return np.zeros((len(self.genes), len(drugs)), dtype=np.float32), self.module.array("drug")[drugs]

    def _state(self) -> dict[str, Any]:
        return {"lines": list(self._lines)}

    def _load_state(self, state: dict[str, Any]) -> None:
        self._lines = {name: row for row, name in enumerate(state["lines"])}


class AdditiveMean(_CompletionModel):
    """Drug mean plus line mean: what any model must beat before it has shown anything.

    Lines of the training reference, recognised by name, get drug and line effect; any other sample, cells included, gets
    the drug effect alone.

    Parameters
    ----------
    adata
        Bulk reference that :meth:`setup_anndata` was called on.
    registry
        Registry of an earlier setup, for loading without data.
    method
        ``"sequential"``: drug means, then line means of the residuals. ``"least_squares"``: both at once.
    shrinkage
        Pseudo-observations at zero added to each line's effect.

    Examples
    --------
    >>> import scdrug
    >>> reference = scdrug.datasets.toy()
    >>> scdrug.model.AdditiveMean.setup_anndata(reference)
    >>> model = scdrug.model.AdditiveMean(reference)
    >>> model.train()
    >>> model.predict(key_added=None).shape
    (120, 12)
    """

    card = MethodCard(
        name="AdditiveMean",
        summary="Drug mean plus line mean; the naive baseline.",
        source="two-way additive model",
        unseen_cells=True,
        unseen_drugs=False,
        completes=True,
        limits="Says the same of every new sample.",
    )

    def __init__(
        self,
        adata: AnnData | None = None,
        registry: dict[str, Any] | None = None,
        *,
        method: str = "sequential",
        shrinkage: float = 0.0,
    ) -> None:
        super().__init__(adata, registry)
        self.method, self.shrinkage = method, shrinkage
        self._model_summary_string = f"AdditiveMean(method={method!r}, shrinkage={shrinkage})"
        self.init_params_ = self._get_init_params(locals())

    def _fit(self, expression: np.ndarray, response: np.ndarray) -> dict[str, np.ndarray]:
        effects = fit_additive(response, method=self.method, shrinkage=self.shrinkage)  # type: ignore[arg-type]
        return {"drug": effects.drug.astype(np.float32), "line": effects.line.astype(np.float32)}

    def _fitted(self, rows: np.ndarray) -> np.ndarray:
        return self.module.array("drug")[None, :] + self.module.array("line")[rows, None]


class SoftImpute(_CompletionModel):
    """Matrix completion: fills missing pairs of known lines and drugs from all other responses.

    Drug and line means are taken out, residuals are scaled per drug and completed with a nuclear-norm penalty
    (Mazumder et al. 2010). With a kernel between lines, the kernel-ridge fit of the completed matrix is taken out before a
    second round and added back. Lines of the training reference are recognised by name; any other sample, cells
    included, gets the drug effect alone.

    Parameters
    ----------
    adata
        Bulk reference that :meth:`setup_anndata` was called on.
    registry
        Registry of an earlier setup, for loading without data.
    threshold
        Amount by which singular values are lowered; in standard deviations of a drug with ``scale="drug"``, where 9 suits
        GDSC2 (25 for raw ln IC50).
    scale
        ``"drug"`` or ``"none"``.
    kernel
        ``"rbf"`` to also use similarity of the lines' expression; `None` for responses alone.
    ridge
        Ridge of the kernel fit.

    Examples
    --------
    >>> import scdrug
    >>> reference = scdrug.datasets.toy()
    >>> scdrug.model.SoftImpute.setup_anndata(reference)
    >>> model = scdrug.model.SoftImpute(reference, threshold=2)
    >>> model.train()
    >>> bool(model.predict(key_added=None).isna().any(axis=None))
    False
    """

    card = MethodCard(
        name="SoftImpute",
        summary="Low-rank completion of the response matrix; the strong baseline for missing pairs.",
        source="Mazumder, Hastie and Tibshirani 2010, algorithm 1",
        unseen_cells=True,
        unseen_drugs=False,
        completes=True,
        limits="Says the same of every new sample.",
    )

    def __init__(
        self,
        adata: AnnData | None = None,
        registry: dict[str, Any] | None = None,
        *,
        threshold: float = 9.0,
        scale: str = "drug",
        kernel: str | None = None,
        ridge: float = 0.2,
    ) -> None:
        super().__init__(adata, registry)
        check_choice("kernel", str(kernel), ("None", "rbf"))
        self.threshold, self.scale, self.kernel, self.ridge = threshold, scale, kernel, ridge
        self._model_summary_string = f"SoftImpute(threshold={threshold}, scale={scale!r}, kernel={kernel!r})"
        self.init_params_ = self._get_init_params(locals())

    def _fit(self, expression: np.ndarray, response: np.ndarray) -> dict[str, np.ndarray]:
        matrix = None if self.kernel is None else fit_kernel(expression, RBF)[1]
        done = complete_response(
            response,
            threshold=self.threshold,
            scale=self.scale,  # type: ignore[arg-type]
            kernel=matrix,
            ridge=self.ridge,
        )
        return {"drug": done.effects.drug.astype(np.float32), "fitted": done.fitted.astype(np.float32)}
