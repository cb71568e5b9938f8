"""Kernel ridge regression as a model: expression to response in closed form, for new samples and new drugs."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from ..._arguments import checked
from ..._validate import check_choice
from .._arrays import Array, under_prefix, with_prefix
from .._card import MethodCard
from .._closed_form import ClosedFormModel
from .._data import Calibration, line_positions
from .._schema import LinesState
from .._unseen import hand_over
from ..prior._complete import complete_response
from ..prior._drug_kernels import DRUG_KERNELS, drug_features, training_features
from ..prior._kernels import KERNELS, ExpressionKernel, apply_kernel, fit_kernel
from ..prior._process import ProcessOptions, ResponseProcess
from ..prior._ridge import decompose_kernel, leave_one_out, select_ridge, solve_ridge
from ..prior._structures import StructureFit, storable
from ._ridge_arrays import line_arrays, linear_calibration, wanted_arrays

if TYPE_CHECKING:
    from anndata import AnnData

#: Ridges to choose from.
_RIDGES = (0.03, 0.05, 0.1, 0.2, 0.3, 0.5, 1.0, 2.0, 5.0)
_KRONECKER_RIDGE = 0.2


class KernelRidgeState(LinesState):
    """What the model keeps beside its arrays."""

    #: Whether the drugs are others than those of the training.
    new_drugs: bool = False


class KernelRidge(ClosedFormModel):
    """Kernel ridge regression of each drug's response on expression, with missing responses left out exactly.

    Each drug is regressed on the lines in which it was measured, around its own mean. The linear kernel is kept in primal
    form, as one weight per gene and drug, and holds no training line; the other kernels compare samples with the
    training lines and so keep them.

    Parameters
    ----------
    adata
        Bulk reference that :meth:`setup_anndata` was called on.
    registry
        Registry of an earlier setup, for loading without data.
    kernel
        ``"linear"`` on per-gene z scores, ``"rbf"`` with the median squared distance as width, or ``"mean"`` of five RBF
        kernels.
    ridge
        Added to the kernel's diagonal, which is about one. ``"auto"`` chooses one for all drugs and ``"per_drug"`` one for
        each, by leaving out each line in closed form. If omitted, 0.5 for the linear kernel, 0.2 for the others, and 0.1
        with `couple_drugs`.
    denoise
        Share of each training response that is replaced by its soft-impute fit, 0-1; what is missing stays missing.
    couple_drugs
        Fit all drugs in one Gaussian process with the covariance of their responses (Bonilla, Chai and Williams 2007): stronger
        in new lines, and fills the missing pairs of training lines, which are recognised by name.
    kernel_share
        With `couple_drugs`, the share of a line's response that expression explains; the rest is the line's own.
    drug_kernel
        Also fit a Kronecker ridge with a similarity of drugs, which predicts drugs that were never screened from their
        SMILES: ``"tanimoto"`` of Morgan fingerprints, ``"minimol"``, a Gaussian kernel on fingerprints of a pretrained
        network (extra ``molecule``), or the ``"mean"`` of both.
    drug_ridge
        Ridge on drug similarity; ``"auto"`` chooses it by leaving out each drug in closed form.

    Examples
    --------
    >>> import scdrug
    >>> reference = scdrug.datasets.toy()
    >>> scdrug.model.KernelRidge.setup_anndata(reference)
    >>> model = scdrug.model.KernelRidge(reference, drug_kernel="tanimoto")
    >>> model.train()
    >>> model.predict(drugs={"ethanol": "CCO"}, key_added=None).columns.tolist()
    ['ethanol']
    """

    card = MethodCard(
        name="KernelRidge",
        summary="Kernel ridge regression on expression; the strong baseline for new samples and, with a drug kernel, drugs.",
        source="Saunders, Gammerman and Vovk 1998; Kronecker form: Pahikkala et al. 2013",
        unseen_cells=True,
        unseen_drugs=True,
        limits="Unseen drugs need `drug_kernel`; missing pairs of training lines are filled with `couple_drugs` only.",
    )

    @checked
    def __init__(
        self,
        adata: AnnData | None = None,
        registry: dict[str, Any] | None = None,
        *,
        kernel: str = "linear",
        ridge: float | str | None = None,
        denoise: float = 0.0,
        couple_drugs: bool = False,
        kernel_share: float = 0.85,
        drug_kernel: str | None = None,
        drug_ridge: float | str = 0.3,
    ) -> None:
        super().__init__(adata, registry)
        check_choice("kernel", kernel, tuple(KERNELS))
        check_choice("drug_kernel", str(drug_kernel), ("None", *DRUG_KERNELS))
        if denoise > 1:
            raise ValueError(f"`denoise` is a share between 0 and 1; found {denoise}.")
        if not 0 < kernel_share <= 1:
            raise ValueError(f"`kernel_share` must be above 0 and at most 1; found {kernel_share}.")
        for name, value, words in (("ridge", ridge, ("auto", "per_drug")), ("drug_ridge", drug_ridge, ("auto",))):
            if isinstance(value, str):
                check_choice(name, value, words)
        if couple_drugs and (denoise > 0 or isinstance(ridge, str)):
            raise ValueError(
                f"`couple_drugs` denoises by itself and takes a number as `ridge`; found denoise={denoise} and "
                f"ridge={ridge!r}. Drop these arguments; compare values of `ridge` on validation data if need be."
            )
        self.kernel, self.drug_kernel, self.denoise, self.drug_ridge = kernel, drug_kernel, denoise, drug_ridge
        self.couple_drugs, self.kernel_share = couple_drugs, kernel_share
        if ridge is None:
            ridge = 0.1 if couple_drugs else 0.5 if kernel == "linear" else 0.2
        self.ridge = ridge
        #: The Gaussian process of coupled drugs; `None` without.
        self.process_: ResponseProcess | None = None
        #: What predicts new drugs from their structure where drugs are not coupled; `None` without `drug_kernel`.
        self.structures_: StructureFit | None = None
        self._lines: dict[str, int] = {}
        self._new_drugs = False
        self._left_out: np.ndarray | None = None
        self._model_summary_string = (
            f"KernelRidge(kernel={kernel!r}, ridge={self.ridge!r}, denoise={denoise}, couple_drugs={couple_drugs}, "
            f"drug_kernel={drug_kernel!r})"
        )
        self.init_params_ = self._get_init_params(locals())

    # ------------------------------------------------------------------ fit

    def _fit(self, expression: np.ndarray, response: np.ndarray) -> dict[str, np.ndarray]:
        if self.couple_drugs or self.drug_kernel is not None:
            self._lines = {str(name): row for row, name in enumerate(self.adata.obs_names)}
        if self.couple_drugs:
            drugs = None if self.drug_kernel is None else training_features(self.drugs["smiles"], self.drug_kernel)
            self.process_ = ResponseProcess.fit(expression, response, drugs, self._process_options)
            self._left_out = self.process_.left_out
            return {}
        kernel, matrix = fit_kernel(expression, KERNELS[self.kernel])
        vars(self)["_expression_kernel"] = kernel  # a loaded model finds it again from its lines
        decomposition = decompose_kernel(matrix)
        target, clean = self._targets(response)
        ridge = self.ridge
        if isinstance(ridge, str):
            ridge = select_ridge(decomposition, target, ridges=_RIDGES, per_drug=ridge == "per_drug").ridge
        fit = solve_ridge(decomposition, target, ridge=ridge)
        alone = leave_one_out(decomposition, target, ridge=ridge)
        self._left_out = np.where(np.isnan(alone), fit.predict(matrix), alone)
        linear = self.kernel == "linear"
        arrays = line_arrays(expression, fit.alpha, fit.intercept, linear=linear)
        if self.drug_kernel is not None:
            features, usable = training_features(self.drugs["smiles"], self.drug_kernel)
            # a chosen ridge is for one regression a drug; that of the product kernel hardly matters
            product = _KRONECKER_RIDGE if isinstance(self.ridge, str) else self.ridge
            self.structures_ = StructureFit.fit(
                clean[:, usable], features, decomposition, ridge=self.drug_ridge, product_ridge=product
            )
            arrays["lines"] = expression
        return {key: storable(value) for key, value in arrays.items()}

    @property
    def _process_options(self) -> ProcessOptions:
        return ProcessOptions(
            noise=self.ridge, line_share=self.kernel_share, kernel=self.kernel, drug_ridge=self.drug_ridge
        )

    def _targets(self, response: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Responses to regress on expression, and on structure: the latter without gaps where they were denoised."""
        if self.denoise == 0:
            return response, response
        filled = complete_response(response).denoised(self.denoise)
        return np.where(np.isnan(response), np.nan, filled), filled

    def _reference_predictions(self, expression: np.ndarray, response: np.ndarray) -> tuple[np.ndarray, bool]:
        return self._left_out, True

    # ------------------------------------------------------------------ predict

    @cached_property
    def _expression_kernel(self) -> ExpressionKernel:
        return fit_kernel(self.module.array("lines"), KERNELS[self.kernel])[0]

    def _predict_rows(self, expression: np.ndarray, drugs: np.ndarray, names: np.ndarray | None = None) -> np.ndarray:
        lines = line_positions(self._lines, names, len(expression))
        if self.process_ is not None:
            return self.process_.predict(expression, lines, drugs).astype(np.float32)
        linear = self._linear_weights(drugs)
        if linear is not None:
            predicted = expression @ linear[0] + linear[1]
        else:
            cross = apply_kernel(self._expression_kernel, expression, self.module.array("lines"))
            predicted = cross @ self.module.array("alpha")[:, drugs] + self.module.array("intercept")[drugs]
        if self._new_drugs:  # of training lines more is known than their expression
            predicted[lines >= 0] = self.module.array("known")[np.ix_(lines[lines >= 0], drugs)]
        return predicted.astype(np.float32)

    def _linear_weights(self, drugs: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
        if self.kernel != "linear":
            return None
        arrays = map(self.module.array, ("weights", "intercept"))
        weights, intercept = arrays if self.process_ is None else self._primal
        return weights[:, drugs], intercept[drugs]

    @cached_property
    def _primal(self) -> tuple[np.ndarray, np.ndarray]:
        weights, intercept = self.process_.linear_weights()
        return weights.astype(np.float32), intercept.astype(np.float32)

    # ------------------------------------------------------------------ drugs that were not in training

    def _for_unseen(self, smiles: dict[str, str]) -> KernelRidge:
        features = drug_features(smiles.values(), self.drug_kernel).values
        other = KernelRidge(
            registry=self.registry_, kernel=self.kernel, ridge=self.ridge, couple_drugs=self.couple_drugs
        )
        hand_over(self, other, smiles)
        other._lines, other._new_drugs = self._lines, True
        if self.process_ is not None:
            other.process_ = self.process_.for_structures(features)
        else:
            alpha, intercept, known = self.structures_.columns(features)
            lines = self.module.array("lines")
            arrays = line_arrays(lines, alpha, intercept, linear=self.kernel == "linear") | {"known": known}
            other.module.set_arrays(**{key: storable(value) for key, value in arrays.items()})
        other.calibration_ = other._new_calibration(self.calibration.level)
        return other

    def _new_calibration(self, level: float) -> Calibration:
        drugs = np.arange(len(self.drugs))
        linear = self._linear_weights(drugs)
        if linear is not None:
            return linear_calibration(self.profile, *linear, level)
        lines = self.module.array("lines") if self.process_ is None else self.process_.lines
        return Calibration.fit(self._predict_rows(lines, drugs), level=level)

    # ------------------------------------------------------------------ files

    @property
    def _takes_unseen_drugs(self) -> bool:
        return self.drug_kernel is not None and not self._new_drugs

    @property
    def _holds_lines(self) -> bool:  # type: ignore[override]
        return self.kernel != "linear" or self.drug_kernel is not None or self.couple_drugs or self._new_drugs

    _state_schema = KernelRidgeState

    def _state(self) -> dict[str, Any]:
        return {"lines": list(self._lines), "new_drugs": self._new_drugs}

    def _load_state(self, state: dict[str, Any]) -> None:
        self._lines = {name: row for row, name in enumerate(state["lines"])}
        self._new_drugs = state.get("new_drugs", False)

    def _sizes(self) -> dict[str, int]:
        return {"lines": len(self._lines)} if self._lines else {}

    def _wanted_arrays(self) -> dict[str, Array]:
        if self.couple_drugs:
            arrays = ResponseProcess.wanted_arrays(self.drug_kernel or "", trained=not self._new_drugs)
            return with_prefix("process.", arrays)
        linear = self.kernel == "linear"
        return wanted_arrays(linear=linear, drug_kernel=self.drug_kernel, new_drugs=self._new_drugs)

    def _module_arrays(self) -> dict[str, np.ndarray]:
        if self.process_ is not None:
            return with_prefix("process.", self.process_.to_arrays())
        structures = {} if self.structures_ is None else self.structures_.to_arrays()
        return super()._module_arrays() | with_prefix("structures.", structures)

    def _load_module_arrays(self, arrays: dict[str, np.ndarray]) -> None:
        if self.couple_drugs:
            self.process_ = ResponseProcess.from_arrays(under_prefix("process.", arrays), self._process_options)
            return
        if self.drug_kernel is not None:
            self.structures_ = StructureFit.from_arrays(under_prefix("structures.", arrays))
        super()._load_module_arrays({name: value for name, value in arrays.items() if "." not in name})
