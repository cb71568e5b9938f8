"""All metrics by name, with what each needs and which direction is better."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

from ._classification import auprc, auroc, per_drug_auprc, per_drug_auroc
from ._decisions import accuracy, balanced_accuracy, f1, mcc
from ._regression import (
    pearson,
    per_drug_pearson,
    per_drug_spearman,
    per_line_pearson_centered,
    rmse,
    skill,
    spearman,
)


class Metric(NamedTuple):
    """A metric and how to call it.

    ``kind`` tells the arguments: ``"regression"`` takes predicted and observed response, ``"drug_centered"`` the same
    and the drug means of training, ``"score"`` scores (higher = more sensitive) and labels, ``"decision"`` calls
    (1 = sensitive) and labels.
    """

    name: str
    fn: Callable[..., float]
    higher_is_better: bool
    kind: Literal["regression", "drug_centered", "score", "decision"]


#: In the order of a results table: what cannot be faked by drug identity comes first.
METRICS: tuple[Metric, ...] = (
    Metric("per_drug_pearson", per_drug_pearson, True, "regression"),
    Metric("per_drug_spearman", per_drug_spearman, True, "regression"),
    Metric("per_line_pearson_centered", per_line_pearson_centered, True, "drug_centered"),
    Metric("skill", skill, True, "drug_centered"),
    Metric("rmse", rmse, False, "regression"),
    Metric("pearson", pearson, True, "regression"),
    Metric("spearman", spearman, True, "regression"),
    Metric("per_drug_auroc", per_drug_auroc, True, "score"),
    Metric("per_drug_auprc", per_drug_auprc, True, "score"),
    Metric("auroc", auroc, True, "score"),
    Metric("auprc", auprc, True, "score"),
    Metric("mcc", mcc, True, "decision"),
    Metric("balanced_accuracy", balanced_accuracy, True, "decision"),
    Metric("f1", f1, True, "decision"),
    Metric("accuracy", accuracy, True, "decision"),
)
