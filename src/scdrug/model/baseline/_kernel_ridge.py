"""Kernel ridge regression as a model: expression to response in closed form, for new samples and new drugs."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from ..._arguments import checked
from .._arrays import Array, under_prefix, with_prefix
from .._card import MethodCard
from .._closed_form import ClosedFormModel
from .._data import Calibration, line_positions
from .._screens import screen_numbers, second_screen
from .._unseen import describe_asked, hand_over
from ..prior._complete import complete_response
from ..prior._drug_kernels import described_training
from ..prior._kernels import KERNELS, ExpressionKernel, apply_kernel, fit_kernel
from ..prior._new_drugs import NewDrugs, storable
from ..prior._process import ProcessOptions, ResponseProcess
from ._linear import LinearFit
from ._ridge_arrays import (
    KernelRidgeState,
    check_options,
    denoised_targets,
    fit_ridge,
    linear_calibration,
    mix_arrays,
    wanted_arrays,
)

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData


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
        Share of each training response that is replaced by its soft-impute fit, 0-1; above 0 the fit also fills what is missing.
        Where the reference has a second screen (:func:`scdrug.pp.join_screens`), both are fitted together.
    couple_drugs
        Fit all drugs in one Gaussian process with the covariance of their responses (Bonilla, Chai and Williams 2007): stronger
        in new lines, and fills the missing pairs of training lines, which are recognised by name.
    kernel_share
        With `couple_drugs`, the share of a line's response that expression explains; the rest is the line's own.
    drug_kernel
        Also predict drugs that were never screened, as mixtures of those that were, by similarity of structure: ``"tanimoto"`` of
        Morgan fingerprints, ``"minimol"``, a Gaussian kernel on fingerprints of a pretrained network (extra ``molecule``), or the
        ``"mean"`` of both. ``"auto"``: both where the extra is installed, and no new drugs where nothing is known of the old ones.
    drug_ridge
        Ridge on drug similarity; ``"auto"`` chooses it by leaving out each drug in closed form.
    mechanism
        With `drug_kernel`, compare drugs by their targets and pathways too, where ``uns["drugs"]`` of the reference tells them.
    rank
        Keep the weights of a linear kernel as two factors of this rank: smaller files and faster predictions.

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
        mechanism: bool = True,
        rank: int | None = None,
    ) -> None:
        super().__init__(adata, registry)
        check_options(
            kernel, ridge, drug_kernel, drug_ridge, denoise=denoise, coupled=couple_drugs, share=kernel_share, rank=rank
        )
        self.kernel, self.drug_kernel, self.denoise, self.drug_ridge = kernel, drug_kernel, denoise, drug_ridge
        self.couple_drugs, self.kernel_share, self.mechanism, self.rank = couple_drugs, kernel_share, mechanism, rank
        if ridge is None:
            ridge = 0.1 if couple_drugs else 0.5 if kernel == "linear" else 0.2
        self.ridge = ridge
        #: The Gaussian process of coupled drugs; `None` without.
        self.process_: ResponseProcess | None = None
        #: What predicts new drugs where drugs are not coupled; `None` without `drug_kernel`.
        self.new_drugs_: NewDrugs | None = None
        self._told: tuple[str, ...] = ()
        self._lines: dict[str, int] = {}
        self._new_drugs = False
        self._left_out: np.ndarray | None = None
        self._model_summary_string = f"KernelRidge(kernel={kernel!r}, ridge={self.ridge!r}, {denoise=}, {couple_drugs=}, drug_kernel={drug_kernel!r})"
        self.init_params_ = self._get_init_params(locals())

    # ------------------------------------------------------------------ fit

    def _fit(self, expression: np.ndarray, response: np.ndarray) -> dict[str, np.ndarray]:
        self._lines = {str(name): row for row, name in enumerate(self.adata.obs_names)} if self._holds_lines else {}
        vars(self).pop("_linear", None)
        described = None
        if self.drug_kernel is not None:
            described = described_training(self.drugs, self.drug_kernel, mechanism=self.mechanism)
        if self.couple_drugs:
            self.process_ = ResponseProcess.fit(expression, response, described, self._process_options)
            self._told = () if self.process_.new_drugs is None else tuple(self.process_.new_drugs.features)
            self._left_out = self.process_.left_out
            return {}
        second, shared = second_screen(self.adata, self.drugs.index)
        target, offset = denoised_targets(response, second, shared, self.denoise)
        fit = fit_ridge(expression, target, KERNELS[self.kernel], self.ridge, rank=self.rank)
        vars(self)["_expression_kernel"] = fit.kernel  # a loaded model finds it again from its lines
        self._left_out, arrays = fit.left_out, fit.arrays
        if described is not None:
            completed = target if np.isfinite(target).all() else complete_response(target).completed
            screen = screen_numbers(self.drugs, shared)
            options = {"ridge": self.drug_ridge, "screen": screen, "offset": np.where(screen == 0, 0.0, offset)}
            self.new_drugs_ = NewDrugs.fit(completed, described, **options)
            self._told = () if self.new_drugs_ is None else tuple(self.new_drugs_.features)
            if self._holds_lines:
                arrays["completed"] = completed
        return {key: storable(value) for key, value in arrays.items()}

    @property
    def _process_options(self) -> ProcessOptions:
        return ProcessOptions(
            noise=self.ridge, line_share=self.kernel_share, kernel=self.kernel, drug_ridge=self.drug_ridge
        )

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
        first = self._first_layer(drugs, complete=True)
        if first is not None:
            predicted = self._after_first_layer(expression @ first[0] + first[1], drugs, expression)
        else:
            cross = apply_kernel(self._expression_kernel, expression, self.module.array("lines"))
            predicted = cross @ self.module.array("alpha")[:, drugs] + self.module.array("intercept")[drugs]
        if self._new_drugs and self._lines:  # of training lines more is known than their expression
            predicted[lines >= 0] = self.module.array("completed")[np.ix_(lines[lines >= 0], drugs)]
        return predicted.astype(np.float32)

    def _linear_weights(self, drugs: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
        return self._linear.weights_of(drugs) if self.kernel == "linear" else None

    @cached_property
    def _linear(self) -> LinearFit:
        if self.process_ is not None:
            weights, intercept = self.process_.linear_weights()
            return LinearFit(intercept.astype(np.float32), weights.astype(np.float32))
        return LinearFit.of({name: self.module.array(name) for name, _ in self.module.named_buffers()})

    def _first_layer(self, drugs: np.ndarray, *, complete: bool) -> tuple[np.ndarray, np.ndarray] | None:
        return self._linear.first_layer(drugs) if self.kernel == "linear" else None

    def _after_first_layer(self, values: np.ndarray, drugs: np.ndarray, rows: np.ndarray) -> np.ndarray:
        return self._linear.after_first_layer(values, drugs)

    # ------------------------------------------------------------------ drugs that were not in training

    def _for_unseen(self, drugs: pd.DataFrame) -> KernelRidge:
        features = describe_asked(self.drugs, drugs, self._told)
        other = KernelRidge(
            registry=self.registry_, kernel=self.kernel, ridge=self.ridge, couple_drugs=self.couple_drugs
        )
        hand_over(self, other, drugs)
        other._lines, other._new_drugs = self._lines, True
        if self.process_ is not None:
            other.process_ = self.process_.for_drugs(features)
        else:
            if self.kernel == "linear":
                arrays = {"weights": self._linear.whole, "intercept": self._linear.intercept}
            else:
                arrays = {name: self.module.array(name) for name, _ in self.module.named_buffers()}
            mixed = mix_arrays(arrays, self.new_drugs_.mix(features), self.new_drugs_.centre)
            other.module.set_arrays(**{key: storable(value) for key, value in mixed.items()})
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
        known = bool(self._told) if self.is_trained else self.drug_kernel is not None
        return known and not self._new_drugs

    @property
    def _holds_lines(self) -> bool:  # type: ignore[override]
        return self.kernel != "linear" or self.couple_drugs

    _state_schema = KernelRidgeState

    def _state(self) -> dict[str, Any]:
        return {"lines": list(self._lines), "new_drugs": self._new_drugs, "drug_features": list(self._told)}

    def _load_state(self, state: dict[str, Any]) -> None:
        self._lines = {name: row for row, name in enumerate(state["lines"])}
        self._new_drugs, self._told = state.get("new_drugs", False), tuple(state.get("drug_features", ()))

    def _sizes(self) -> dict[str, int]:
        return {"lines": len(self._lines)} if self._lines else {}

    def _wanted_arrays(self) -> dict[str, Array]:
        if self.couple_drugs:
            arrays = ResponseProcess.wanted_arrays(self._told, trained=not self._new_drugs)
            return with_prefix("process.", arrays)
        linear = self.kernel == "linear"
        keeps = not linear and (self._new_drugs or bool(self._told))
        return wanted_arrays(
            linear=linear, rank=self.rank, keeps_lines=keeps, new_drugs=self._new_drugs, told=self._told
        )

    def _module_arrays(self) -> dict[str, np.ndarray]:
        if self.process_ is not None:
            return with_prefix("process.", self.process_.to_arrays())
        new_drugs = {} if self.new_drugs_ is None else self.new_drugs_.to_arrays()
        return super()._module_arrays() | with_prefix("new_drugs.", new_drugs)

    def _load_module_arrays(self, arrays: dict[str, np.ndarray]) -> None:
        if self.couple_drugs:
            self.process_ = ResponseProcess.from_arrays(under_prefix("process.", arrays), self._process_options)
            return
        self.new_drugs_ = NewDrugs.from_arrays(under_prefix("new_drugs.", arrays)) if self._told else None
        super()._load_module_arrays({name: value for name, value in arrays.items() if "." not in name})
