"""Transfer from bulk lines to single cells that are labelled sensitive or resistant."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ..._arguments import checked
from ..._constants import KEYS
from ..._validate import check_key
from ...pp._drugs import resolve_drugs
from .._scores import drug_levels
from .._search import Search
from ._cells import binary_labels, labelled_cells
from ._controls import LabelledCells, confound_rows, expression_rows, other_drug_rows
from ._data import Genes, Standard, TransferData, divide_reference
from ._fit import cell_rows, check_options, check_seeds, fit_model, predict_cells
from ._labels import score_labelled
from ._lines import AssayedLines, find_lines
from ._table import ALL_SENSITIVE, Row, to_table

if TYPE_CHECKING:
    from anndata import AnnData

    from ...model._base import DrugResponseModel
    from .._spec import ModelSpec

#: Rule for the threshold between sensitive and resistant training lines, as in He et al. 2025.
_RULE = {"method": "extreme", "fraction": 0.3}


@checked
def score_labels(
    spec: ModelSpec,
    reference: AnnData,
    cells: AnnData,
    *,
    drug: str,
    exclude: str | Sequence[str],
    label_key: str = "sensitive",
    treatment_key: str | None = None,
    line_key: str | None = None,
    control_drugs: Sequence[str] = (),
    genes: Genes = "all",
    rule: Mapping[str, Any] | None = None,
    seeds: int | Sequence[int] = (0,),
    search: Search | None = None,
    options: Mapping[str, Any] | None = None,
    n_bootstrap: int = 200,
    task: str = "labels",
) -> pd.DataFrame:
    """Train without the lines of an assay, and see whether one drug's predictions tell sensitive cells from resistant.

    Cells that were labelled by how they were treated differ in more than their sensitivity. Beside the scores stands
    therefore what any predictor reaches on the same labels: other drugs of the same model, drugs of other pathways,
    principal components, total signal, and labels in random order.

    Parameters
    ----------
    spec
        Model to train. A model that learns from unlabelled cells too, with ``cells: assay`` in `params`, is handed the
        expression of `cells`; the table says so.
    reference
        Bulk reference with responses to `drug`.
    cells
        Labelled cells × genes, as for :func:`scdrug.tl.predict_response`. Not changed.
    drug
        Name or id of the drug that the labels are about.
    exclude
        Lines that the cells come from: not trained on, under whatever name. An empty list if the reference has none of
        them.
    label_key
        Column of `cells.obs`: true or 1 for sensitive. Cells without a label are left out with a warning.
    treatment_key
        Column of `cells.obs` with treatment, culture or batch, to see whether it coincides with the label.
    line_key
        Column of `cells.obs` with the line; lines that the reference knows are not trained on either.
    control_drugs
        Drugs with another mechanism, each to be scored by itself on the same labels.
    genes
        ``"all"`` trains on all genes of the reference; ``"shared"`` on those that the cells measure.
    rule
        Rule of :func:`scdrug.pp.binarize_response` for the threshold of the drug on training lines; predictions between
        the two thresholds of ``"extreme"``, the default, are called by their middle. Classifiers are cut at 0.5.
    seeds
        Seeds of training, each scored by itself.
    search
        How to choose what `spec` tunes, on training lines set aside.
    options
        Arguments of :func:`scdrug.tl.predict_response`, e.g. ``{"scale": "scaled"}``.
    n_bootstrap
        Resamples of cells for the intervals; 0 for none.
    task
        Label of the table.

    Returns
    -------
    A row for each score, in the columns of :func:`score_lines`. `level` says what predicts:

    ``"cell"``
        The drug: ``auroc``, ``auprc`` (compare ``prevalence``), ``mcc``, ``balanced_accuracy``, ``f1``,
        ``accuracy`` with 95 % intervals over cells, and ``threshold`` in the unit of the prediction.
    ``"confound"``
        ``overlap`` of label and treatment (Cramér's V, 1 = they coincide); `note` says what that means.
    ``"within treatment"``
        ``auroc`` inside treatments with both classes.
    ``"other drugs"``, ``"same pathway"``, ``"other pathways"``
        ``auroc``: median and 95 % range over other drugs of the same model; ``percentile`` of the drug among them.
    ``"mean of other drugs"``, ``"control drug: …"``
        ``auroc`` of their predictions.
    ``"principal component 1"`` …, ``"total signal"``
        ``auroc`` in the better of both directions, without any model.
    ``"shuffled labels"``
        ``auroc``: mean and 95 % range by chance.
    ``model``
        The model, ``"all sensitive"`` (the naive baseline), or ``"expression"`` (no model).

    Raises
    ------
    KeyError
        If a column is missing, or a drug or a line is unknown; the nearest names are offered.
    ValueError
        If there is one class only, or the drug cannot be predicted.
    LeakError
        If a line of the assay reaches training.

    Examples
    --------
    >>> import scdrug
    >>> from scdrug.benchmark import score_labels
    >>> from scdrug.benchmark import ModelSpec
    >>> reference, cells = scdrug.datasets.toy(), scdrug.datasets.toy_cells()
    >>> cells.obs["sensitive"] = cells.obsm["true_response"]["trametinib"] < 0
    >>> scores = score_labels(
    ...     ModelSpec("ridge", "KernelRidge"), reference, cells, drug="trametinib", exclude="TOY0001", n_bootstrap=0
    ... )
    >>> bool(scores.set_index(["model", "level", "metric"]).loc[("ridge", "cell", "auroc"), "value"] > 0.8)
    True
    """
    options, seeds = check_options(options), check_seeds(seeds)
    cells, labels = labelled_cells(cells, label_key, argument="label_key")
    sensitive = binary_labels(labels, key=label_key)
    treatment = None
    if treatment_key is not None:
        check_key(cells.obs, treatment_key, where="cells.obs", hint="Name the column with `treatment_key`.")
        treatment = pd.factorize(cells.obs[treatment_key].astype(str))[0]
    check_key(reference.uns, KEYS.DRUGS, where="reference.uns", hint="scdrug.pp.build_reference makes a reference.")
    target, controls = _drug_ids(reference, drug, control_drugs)
    data = divide_reference(
        reference, _assayed(reference, cells, exclude, line_key), genes=genes, var_names=cells.var_names
    )
    _check_trained(data, [target, *controls])
    assay = LabelledCells(cells, sensitive, treatment, treatment_key, target, controls)

    rows = _naive_rows(assay, seeds[0], n_bootstrap)
    rows += expression_rows(assay, seeds[0], options)
    for seed in seeds:
        model = fit_model(spec, data, seed=seed, search=search, cells=cells, options=options)
        rows += cell_rows(model, spec.name, seed)
        predicted = _Predicted.of(model, data, assay, options)
        rows += _model_rows(predicted, data, assay, spec.name, seed, n_bootstrap, dict(rule or _RULE))
    return to_table(rows, task)


@dataclass(frozen=True)
class _Predicted:
    #: Predictions for the cells as the model gives them, of `drugs` (cells × drugs).
    values: np.ndarray
    #: The same, higher = more sensitive, in units of each drug's spread.
    score: np.ndarray
    drugs: pd.Index
    same_unit: bool
    sign: float

    @classmethod
    def of(
        cls, model: DrugResponseModel, data: TransferData, assay: LabelledCells, options: Mapping[str, Any]
    ) -> _Predicted:
        standard = Standard.of(model, data, data.drugs)
        lacking = [drug for drug in (assay.drug, *assay.controls) if drug not in standard.drugs]
        if lacking:
            raise ValueError(
                f"The model does not predict {lacking}, although the reference has responses to it. Models that learn "
                "from labels leave drugs out whose lines cannot be told apart: choose another drug or another model."
            )
        values = predict_cells(model, assay.cells, drugs=standard.drugs, options=options)
        return cls(values, -standard(values), standard.drugs, standard.same_unit, standard.sign)


def _drug_ids(reference: AnnData, drug: str, controls: Sequence[str]) -> tuple[str, list[str]]:
    table = reference.uns[KEYS.DRUGS]
    found = resolve_drugs([drug], table)
    if len(found) > 1:
        raise ValueError(f"{drug!r} names several drugs of the reference: {found}. Pass one of these ids as `drug`.")
    return found[0], [name for name in resolve_drugs(list(controls), table) if name != found[0]]


def _assayed(reference: AnnData, cells: AnnData, exclude: str | Sequence[str], line_key: str | None) -> AssayedLines:
    named = [exclude] if isinstance(exclude, str) else list(exclude)
    assayed = find_lines(reference, named)
    if line_key is None:
        return assayed
    check_key(cells.obs, line_key, where="cells.obs", hint="Name the column of lines with `line_key`.")
    lines = pd.unique(cells.obs[line_key].dropna().astype(str))
    further = find_lines(reference, lines, must_exist=False)
    return AssayedLines(assayed.rows | further.rows, assayed.held_out | further.held_out)


def _check_trained(data: TransferData, drugs: Sequence[str]) -> None:
    lacking = [drug for drug in drugs if drug not in data.drugs]
    if lacking:
        raise ValueError(
            f"The training lines have no responses, or all the same, to {lacking}. A model cannot learn from them: "
            "use a reference in which these drugs were screened."
        )


def _naive_rows(assay: LabelledCells, seed: int, n_bootstrap: int) -> list[Row]:
    """Number of cells, and the predictor that calls every cell sensitive."""
    everyone = np.ones(len(assay.sensitive))
    scores = score_labelled(everyone, everyone, assay.sensitive, n_resamples=n_bootstrap)
    prevalence = float(assay.sensitive.mean())
    return [
        Row(ALL_SENSITIVE, seed, "data", "cells", len(assay.sensitive)),
        *(Row(ALL_SENSITIVE, seed, "cell", metric, *values) for metric, values in scores.items()),
        Row(ALL_SENSITIVE, seed, "cell", "prevalence", prevalence),
        *confound_rows(assay, ALL_SENSITIVE, seed),
    ]


def _model_rows(
    predicted: _Predicted,
    data: TransferData,
    assay: LabelledCells,
    name: str,
    seed: int,
    n_bootstrap: int,
    rule: Mapping[str, Any],
) -> list[Row]:
    column = predicted.drugs.get_loc(assay.drug)
    threshold, note = _threshold(predicted, data, assay.drug, rule)
    decision = None
    if math.isfinite(threshold):
        value = predicted.values[:, column]
        decision = value <= threshold if predicted.sign > 0 else value >= threshold
    scores = score_labelled(predicted.score[:, column], decision, assay.sensitive, n_resamples=n_bootstrap)
    rows = [
        Row(name, seed, "data", "training lines", data.training.n_obs),
        Row(name, seed, "data", "genes", data.training.n_vars),
        Row(name, seed, "data", "drugs", len(predicted.drugs)),
        *(Row(name, seed, "cell", metric, *values) for metric, values in scores.items()),
        Row(name, seed, "cell", "prevalence", float(assay.sensitive.mean())),
        Row(name, seed, "cell", "threshold", threshold, note=note),
    ]
    return rows + other_drug_rows(assay, predicted.score, predicted.drugs, data.training.uns[KEYS.DRUGS], name, seed)


def _threshold(predicted: _Predicted, data: TransferData, drug: str, rule: Mapping[str, Any]) -> tuple[float, str]:
    """Value of the prediction at which cells are called sensitive, in its own unit."""
    if not predicted.same_unit:
        return 0.5, "probability of a classifier"
    training = data.training.obsm[KEYS.RESPONSE]
    levels = drug_levels(training, pd.Index([drug]), labels=rule, lower_is_sensitive=data.lower_is_sensitive)
    middle = float((levels.sensitive[0] + levels.resistant[0]) / 2)
    if not math.isfinite(middle):
        return math.nan, "the training lines give no threshold for this drug"
    return middle, f"from the training lines: {', '.join(f'{key} {value}' for key, value in rule.items())}"
