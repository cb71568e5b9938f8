"""One binary classifier per drug, trained on bulk lines: the baselines that published classifiers are compared with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy.special import expit

from ..._arguments import checked
from ..._constants import KEYS
from .._arrays import Array, check_positions
from .._card import MethodCard
from .._closed_form import ClosedFormModel
from .._data import ReferenceInfo
from .._schema import LabelsState
from ._class_labels import ClassLabels, check_label_rule, describe_rule, make_labels, warn_constant, with_thresholds
from ._classifiers import (
    CONSTANT,
    DEFAULT_C,
    DEFAULT_TREE_GENES,
    LINEAR,
    TREES,
    DrugFit,
    Recipe,
    check_params,
    fit_drugs,
    rotate,
    select_genes,
)
from ._tree_arrays import TREE_ARRAYS, check_trees, pack_trees, sum_leaves

if TYPE_CHECKING:
    from anndata import AnnData


class BulkClassifier(ClosedFormModel):
    """One classifier per drug: the probability that a sample is sensitive, higher = more sensitive.

    Labels are made from the training responses, drug by drug, or given. Lines without a label do not enter. A drug that
    has too few lines of a class gets the same prediction for every sample, its share of sensitive lines.

    Parameters
    ----------
    adata
        Bulk reference that :meth:`setup_anndata` was called on.
    registry
        Registry of an earlier setup, for loading without data.
    method
        - ``"logistic"``: logistic regression with an L2 penalty on per-gene z scores.
        - ``"svm"``: linear support-vector machine on per-gene z scores. Its decision value is turned into 0-1 by the logistic
          function, which keeps its order and its decision but is no calibrated probability.
        - ``"tree"``, ``"forest"``, ``"boosting"``: decision tree, random forest and gradient boosting of scikit-learn.
        - ``"xgboost"``: gradient boosting of XGBoost (extra `boosting`).
        - ``"sensitive"``: calls everything sensitive.
        - ``"drug_rate"``: share of sensitive lines of the drug.
    label
        How lines are labelled: a method of :func:`scdrug.pp.binarize_response`, or a mapping with `method` and its
        `fraction`, `threshold` (one number, or one for each drug id) and `min_lines`. The default, ``"extreme"``,
        compares the 30 % most sensitive lines of a drug with the 30 % least sensitive (He et al. 2025). Thresholds are
        found from the training lines alone. `None` if the responses are labels: 1 sensitive, 0 resistant, NaN unknown.
    n_genes
        Genes of largest variance over the training lines to use; at most all. If omitted, all for linear methods, where
        they cost nothing, and 1,000 for trees.
    C
        Inverse penalty of linear methods, 3 for ``"logistic"`` and 1 for ``"svm"`` if omitted. Z scores are divided by the root
        of the number of genes, so that it means the same for every panel: scikit-learn's ``C=1`` on z scores of 5,000
        genes is 5,000 here.
    n_estimators
        Trees of ``"forest"``, ``"boosting"`` and ``"xgboost"``.
    params
        More arguments of the estimator, such as ``{"max_depth": 4}`` or ``{"class_weight": "balanced"}``.
    n_jobs
        Threads over drugs (over trees for a forest), as joblib takes them: -1 for all cores.
    calibration_folds
        Folds in which each drug's labelled lines are predicted by classifiers that did not see them: percentiles
        compare cells with these. 0 saves the time and compares with the fit itself, which is too sure of its lines. A
        forest needs no folds, only a number other than 0: each line is predicted by the trees that did not see it.

    Attributes
    ----------
    labels_
        DataFrame by drug id after training: thresholds in the unit of the responses, numbers of sensitive, resistant and
        discarded lines, `rate` and `status` (``"ok"``, or why the drug has a constant prediction).

    Raises
    ------
    ValueError
        If an argument is out of range or unknown, or, in training, labels are not 0 or 1.

    Warns
    -----
    UserWarning
        In training, if drugs have too few lines of a class and get a constant prediction.

    Notes
    -----
    Rows (lines) are fewer than genes, so linear methods are fitted in the space that the lines span, which gives
    the same weights as all genes would (Hastie and Tibshirani 2004). Trees are kept as plain arrays and walked by scdrug,
    whichever library grew them: no library is needed to open a saved model, and nothing in it is executed.

    Examples
    --------
    >>> import scdrug
    >>> reference = scdrug.datasets.toy()
    >>> scdrug.model.BulkClassifier.setup_anndata(reference)
    >>> model = scdrug.model.BulkClassifier(reference, method="logistic")
    >>> model.train()
    >>> model.labels_.loc["trametinib", "status"]
    'ok'
    >>> probability = model.predict(key_added=None)
    >>> bool(probability.min(axis=None) >= 0 and probability.max(axis=None) <= 1)
    True
    >>> model.reference.response["direction"]
    'higher is more sensitive'
    """

    card = MethodCard(
        name="BulkClassifier",
        summary="One classifier a drug on bulk labels: logistic regression, SVM, trees, boosting, and two constants.",
        source="baselines of He et al. 2025; scikit-learn, XGBoost (Chen and Guestrin 2016)",
        unseen_cells=True,
        unseen_drugs=False,
        limits="Predicts which side of a threshold a sample is on, not how far; an SVM's values are not calibrated.",
    )

    @checked
    def __init__(
        self,
        adata: AnnData | None = None,
        registry: dict[str, Any] | None = None,
        *,
        method: str = "logistic",
        label: str | Mapping[str, Any] | None = "extreme",
        n_genes: int | None = None,
        C: float | None = None,
        n_estimators: int = 100,
        params: Mapping[str, Any] | None = None,
        n_jobs: int = 1,
        calibration_folds: int = 3,
    ) -> None:
        if calibration_folds == 1:
            raise ValueError(f"`calibration_folds` must be 0 or at least 2; found {calibration_folds}.")
        params, label = check_params(method, params), check_label_rule(label)
        super().__init__(adata, registry)
        if adata is not None:
            # what is predicted has another unit and direction than what was measured
            self.reference_ = replace(self.reference, response=_predicts(method))
        self.method, self.label, self.n_genes = method, label, n_genes
        self._recipe = Recipe(method, DEFAULT_C.get(method, 1.0) if C is None else float(C), n_estimators, params)
        self._n_jobs, self._n_folds = n_jobs, calibration_folds
        self.labels_: pd.DataFrame | None = None
        self._model_summary_string = f"BulkClassifier(method={method!r}, label={label!r}, n_genes={n_genes})"
        self.init_params_ = self._get_init_params(locals())

    # ------------------------------------------------------------------ fit

    #: Trees and folds are drawn: each drug has a seed of its own, whichever others are trained.
    _without_effect = {name: why for name, why in ClosedFormModel._without_effect.items() if name != "seed"}

    def _fit(self, expression: np.ndarray, response: np.ndarray) -> dict[str, np.ndarray]:
        measured = ReferenceInfo.from_anndata(self.adata, response_key=self._setup_arg("response_key"))
        rule = with_thresholds(self.label, self.adata.uns.get(KEYS.DRUGS, pd.DataFrame()))
        labels = make_labels(
            response, rule, drugs=list(self.drugs.index), lower_is_sensitive=measured.lower_is_sensitive
        )
        self.labels_, rate = labels.table.set_axis(self.drugs.index), labels.rate.astype(np.float32)
        vars(self).pop("_panel_weights", None)
        if self.method in CONSTANT:
            self._left_out = np.full(response.shape, np.nan)
            return {"constant": np.ones_like(rate) if self.method == "sensitive" else rate}
        warn_constant(labels.table)
        n_genes = DEFAULT_TREE_GENES if self.n_genes is None and self.method in TREES else self.n_genes
        selected = select_genes(expression, self.genes, n_genes)
        arrays = {"constant": np.where(labels.usable, np.float32(np.nan), rate), "selected": selected}
        if self.method in LINEAR:
            arrays |= self._fit_linear(expression[:, selected], labels)
        else:
            arrays |= self._fit_trees(expression[:, selected], labels)
        return arrays

    def _fit_linear(self, expression: np.ndarray, labels: ClassLabels) -> dict[str, np.ndarray]:
        rotation = rotate(expression)
        fits = self._fit_drugs(rotation.coordinates, labels)
        coefficients = np.zeros((rotation.coordinates.shape[1], len(labels.table)))
        intercepts = np.zeros(len(labels.table))
        for drug, fit in fits.items():
            coefficients[:, drug], intercepts[drug] = fit.coefficients, fit.base
        weights, intercepts = rotation.weights(coefficients, intercepts)
        return {"weights": weights.astype(np.float32), "intercept": intercepts.astype(np.float32)}

    def _fit_trees(self, expression: np.ndarray, labels: ClassLabels) -> dict[str, np.ndarray]:
        fits = self._fit_drugs(np.ascontiguousarray(expression, dtype=np.float32), labels)
        base = np.zeros(len(labels.table))
        for drug, fit in fits.items():
            base[drug] = fit.base
        return {"base": base, **pack_trees([fits[d].trees if d in fits else [] for d in range(len(base))])}

    def _fit_drugs(self, features: np.ndarray, labels: ClassLabels) -> dict[int, DrugFit]:
        """Fit the drugs that have enough lines, by position."""
        fits, self._left_out = fit_drugs(
            self._recipe, features, labels, seed=self._seed, n_folds=self._n_folds, n_jobs=self._n_jobs
        )
        return fits

    def _finish_training(self, expression: np.ndarray, response: np.ndarray) -> None:
        # an interval around a probability would say nothing of a label, so no response is passed on
        super()._finish_training(expression, np.full(response.shape, np.nan))

    def _reference_predictions(self, expression: np.ndarray, response: np.ndarray) -> tuple[np.ndarray, bool]:
        fitted = np.asarray(self._predict_rows(expression, np.arange(response.shape[1])), dtype=np.float64)
        left_out = self.__dict__.pop("_left_out")
        return np.where(np.isnan(left_out), fitted, left_out), self._n_folds > 0

    # ------------------------------------------------------------------ predict

    def _predict_rows(self, expression: np.ndarray, drugs: np.ndarray, names: np.ndarray | None = None) -> np.ndarray:
        if self.method in CONSTANT:
            values = np.zeros((len(expression), len(drugs)))
        elif self.method in LINEAR:
            weights, intercept = self._linear_weights(drugs)
            values = expression @ weights + intercept
        else:
            values = sum_leaves(self._trees, expression[:, self.module.array("selected")], drugs)
            values += self.module.array("base")[drugs]
        return self._after_first_layer(values, drugs, expression).astype(np.float32, copy=False)

    _predicts_linearly = False  # a logistic function follows

    def _linear_weights(self, drugs: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
        if self.method in TREES:
            return None
        if self.method in CONSTANT:
            return np.zeros((len(self.genes), len(drugs)), dtype=np.float32), np.zeros(len(drugs), dtype=np.float32)
        return self._panel_weights[:, drugs], self.module.array("intercept")[drugs]

    def _after_first_layer(self, values: np.ndarray, drugs: np.ndarray, rows: np.ndarray) -> np.ndarray:
        if self.method not in ("tree", "forest"):
            values = expit(values)
        constant = self.module.array("constant")[drugs]
        return np.clip(np.where(np.isnan(constant), values, constant), 0, 1).astype(values.dtype, copy=False)

    @cached_property
    def _panel_weights(self) -> np.ndarray:
        """Weights of all genes of the panel; zero for those that were not selected (genes × drugs)."""
        weights = np.zeros((len(self.genes), len(self.drugs)), dtype=np.float32)
        weights[self.module.array("selected")] = self.module.array("weights")
        return weights

    @property
    def _trees(self) -> dict[str, np.ndarray]:
        return {name: buffer.numpy() for name, buffer in self.module.named_buffers()}

    # ------------------------------------------------------------------ files

    def _card_lines(self) -> list[str]:
        return [f"- Classifier: {self.method}", f"- Labels of the training lines: {describe_rule(self.label)}"]

    _state_schema = LabelsState

    def _state(self) -> dict[str, Any]:
        assert self.labels_ is not None
        table = self.labels_.astype(object).where(self.labels_.notna(), None)
        return {"labels": {column: table[column].tolist() for column in table}}

    def _load_state(self, state: dict[str, Any]) -> None:
        table = pd.DataFrame(state["labels"], index=self.drugs.index)
        for column in ("sensitive_threshold", "resistant_threshold"):
            table[column] = table[column].astype(float)
        self.labels_ = table

    def _wanted_arrays(self) -> dict[str, Array]:
        if self.method in CONSTANT:
            return {"constant": Array(("drugs",))}
        wanted = {"constant": Array(("drugs",), finite=False), "selected": Array(("selected genes",), "int")}
        if self.method in LINEAR:
            return wanted | {"weights": Array(("selected genes", "drugs")), "intercept": Array(("drugs",))}
        return wanted | {"base": Array(("drugs",))} | TREE_ARRAYS

    def _load_module_arrays(self, arrays: dict[str, np.ndarray]) -> None:
        if self.method not in CONSTANT:
            check_positions("selected", arrays["selected"], len(self.genes))
        if self.method in TREES:
            check_trees(arrays, n_features=len(arrays["selected"]), n_drugs=len(self.drugs))
        vars(self).pop("_panel_weights", None)
        super()._load_module_arrays(arrays)


def _predicts(method: str) -> dict[str, str]:
    """Measure, unit and direction of the predictions."""
    unit = "squashed decision value, 0-1" if method == "svm" else "probability"
    return {"measure": "sensitivity", "unit": unit, "direction": "higher is more sensitive"}
