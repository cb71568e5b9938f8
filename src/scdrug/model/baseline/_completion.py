"""Models that know nothing of expression: additive effects, and completion of the response matrix."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..._arguments import checked
from ..._validate import check_choice
from .._arrays import Array
from .._card import MethodCard
from .._closed_form import ClosedFormModel
from .._data import Calibration, line_positions
from .._schema import LinesState
from .._unseen import describe_asked, hand_over
from ..prior._additive import fit_additive
from ..prior._complete import complete_response
from ..prior._decomposition import decompose_kernel
from ..prior._drug_kernels import DRUG_KERNELS, STRUCTURES, drug_similarity, feature_arrays, training_features
from ..prior._kernels import FIVE_KERNELS, RBF, fit_kernel
from ..prior._new_drugs import select_effect_ridge
from ..prior._ridge import solve_ridge

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData

_KERNELS = {"rbf": RBF, "mean": FIVE_KERNELS}


class _CompletionModel(ClosedFormModel):
    """Predicts known lines, by name, from what was fitted for them; any other sample gets the drug effects."""

    _holds_lines = True

    def __init__(self, adata: AnnData | None = None, registry: dict[str, Any] | None = None) -> None:
        super().__init__(adata, registry)
        self._lines: dict[str, int] = {}

    def _finish_training(self, expression: np.ndarray, response: np.ndarray) -> None:
        self._lines = {str(name): row for row, name in enumerate(self.adata.obs_names)}
        super()._finish_training(expression, response)

    def _predict_rows(self, expression: np.ndarray, drugs: np.ndarray, names: np.ndarray | None = None) -> np.ndarray:
        out = np.tile(self.module.array("drug")[drugs], (len(expression), 1))
        lines = line_positions(self._lines, names, len(expression))
        out[lines >= 0] = self._fitted(lines[lines >= 0])[:, drugs]
        return out

    def _fitted(self, rows: np.ndarray) -> np.ndarray:
        """Fitted responses of training lines (rows × drugs)."""
        return self.module.array("fitted")[rows]

    def _linear_weights(self, drugs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return np.zeros((len(self.genes), len(drugs)), dtype=np.float32), self.module.array("drug")[drugs]

    _state_schema = LinesState

    def _state(self) -> dict[str, Any]:
        return {"lines": list(self._lines)}

    def _load_state(self, state: dict[str, Any]) -> None:
        self._lines = {name: row for row, name in enumerate(state["lines"])}

    def _sizes(self) -> dict[str, int]:
        return {"lines": len(self._lines)}


class AdditiveMean(_CompletionModel):
    """Drug mean plus line mean: what any model must beat before it has shown anything.

    Lines of the training reference, recognised by name, get drug and line effect; any other sample, cells included, gets
    the drug effect alone. A drug that was not in training gets the mean of all drug effects, or, with `drug_kernel`, a
    drug effect regressed on structure.

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
    drug_kernel
        Predict the effect of unseen drugs by kernel ridge regression of the drug effects on structure: ``"tanimoto"``
        similarity of Morgan fingerprints, ``"minimol"``, a Gaussian kernel on fingerprints of a pretrained network (extra
        ``molecule``), or the ``"mean"`` of both.
    drug_ridge
        Ridge on drug similarity; ``"auto"`` chooses it by leaving each drug out.

    Examples
    --------
    >>> import scdrug
    >>> reference = scdrug.datasets.toy()
    >>> scdrug.model.AdditiveMean.setup_anndata(reference)
    >>> model = scdrug.model.AdditiveMean(reference)
    >>> model.train()
    >>> model.predict(key_added=None).shape
    (120, 12)
    >>> model.predict(drugs={"aspirin": "CC(=O)Oc1ccccc1C(=O)O"}, key_added=None).columns.tolist()
    ['aspirin']
    """

    card = MethodCard(
        name="AdditiveMean",
        summary="Drug mean plus line mean; the naive baseline.",
        source="two-way additive model",
        unseen_cells=True,
        unseen_drugs=True,
        completes=True,
        limits="Says the same of every new sample, and without a drug kernel the same of every new drug.",
    )

    @checked
    def __init__(
        self,
        adata: AnnData | None = None,
        registry: dict[str, Any] | None = None,
        *,
        method: str = "sequential",
        shrinkage: float = 0.0,
        drug_kernel: str | None = None,
        drug_ridge: float | str = 0.3,
    ) -> None:
        super().__init__(adata, registry)
        check_choice("drug_kernel", str(drug_kernel), ("None", *DRUG_KERNELS))
        self.method, self.shrinkage, self.drug_kernel, self.drug_ridge = method, shrinkage, drug_kernel, drug_ridge
        self._model_summary_string = (
            f"AdditiveMean(method={method!r}, shrinkage={shrinkage}, drug_kernel={drug_kernel!r})"
        )
        self.init_params_ = self._get_init_params(locals())

    def _fit(self, expression: np.ndarray, response: np.ndarray) -> dict[str, np.ndarray]:
        effects = fit_additive(response, method=self.method, shrinkage=self.shrinkage)  # type: ignore[arg-type]
        arrays = {"drug": effects.drug.astype(np.float32), "line": effects.line.astype(np.float32)}
        if self.drug_kernel is not None:
            features, usable = training_features(self.drugs["smiles"], self.drug_kernel)
            similarity, effect = decompose_kernel(drug_similarity(features)), effects.drug[usable]
            ridge = select_effect_ridge(similarity, effect) if self.drug_ridge == "auto" else self.drug_ridge
            fit = solve_ridge(similarity, effect[:, None], ridge=ridge)  # type: ignore[arg-type]
            arrays |= features | {
                "drug_alpha": fit.alpha[:, 0].astype(np.float32),
                "drug_intercept": fit.intercept.astype(np.float32),
            }
        return arrays

    def _wanted_arrays(self) -> dict[str, Array]:
        wanted = {"drug": Array(("drugs",)), "line": Array(("lines",))}
        if self.drug_kernel is not None:
            wanted |= feature_arrays(self.drug_kernel)
            wanted |= {"drug_alpha": Array(("usable drugs",)), "drug_intercept": Array((1,))}
        return wanted

    def _fitted(self, rows: np.ndarray) -> np.ndarray:
        return self.module.array("drug")[None, :] + self.module.array("line")[rows, None]

    def _for_unseen(self, drugs: pd.DataFrame) -> AdditiveMean:
        if self.drug_kernel is None:
            effect = np.full(len(drugs), self.module.array("drug").mean(dtype=np.float64))
        else:
            features = describe_asked(self.drugs, drugs, STRUCTURES[self.drug_kernel])
            cross = drug_similarity({name: self.module.array(name) for name in features}, features)
            effect = cross @ self.module.array("drug_alpha") + self.module.array("drug_intercept")
        other = AdditiveMean(registry=self.registry_, method=self.method, shrinkage=self.shrinkage)
        hand_over(self, other, drugs)
        other.module.set_arrays(drug=effect.astype(np.float32), line=self.module.array("line"))
        other._lines = self._lines
        # as for known drugs: the same for every new sample
        other.calibration_ = Calibration.fit(np.tile(effect, (2, 1)), level=self.calibration.level)
        return other


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
        GDSC2 (25 for raw ln IC50). ``"auto"`` chooses it on a tenth of the responses.
    scale
        ``"drug"`` or ``"none"``.
    kernel
        ``"rbf"``, or ``"mean"`` of five RBF kernels, to also use similarity of the lines' expression; `None` for responses
        alone.
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

    @checked
    def __init__(
        self,
        adata: AnnData | None = None,
        registry: dict[str, Any] | None = None,
        *,
        threshold: float | str = 9.0,
        scale: str = "drug",
        kernel: str | None = None,
        ridge: float = 1.0,
    ) -> None:
        super().__init__(adata, registry)
        check_choice("kernel", str(kernel), ("None", *_KERNELS))
        if isinstance(threshold, str):
            check_choice("threshold", threshold, ("auto",))
        self.threshold, self.scale, self.kernel, self.ridge = threshold, scale, kernel, ridge
        self._model_summary_string = f"SoftImpute(threshold={threshold}, scale={scale!r}, kernel={kernel!r})"
        self.init_params_ = self._get_init_params(locals())

    def _fit(self, expression: np.ndarray, response: np.ndarray) -> dict[str, np.ndarray]:
        matrix = None if self.kernel is None else fit_kernel(expression, _KERNELS[self.kernel])[1]
        done = complete_response(
            response,
            threshold=self.threshold,  # type: ignore[arg-type]
            scale=self.scale,  # type: ignore[arg-type]
            kernel=matrix,
            ridge=self.ridge,
        )
        return {"drug": done.effects.drug.astype(np.float32), "fitted": done.fitted.astype(np.float32)}

    def _wanted_arrays(self) -> dict[str, Array]:
        return {"drug": Array(("drugs",)), "fitted": Array(("lines", "drugs"))}
