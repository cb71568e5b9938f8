"""Metrics on arrays: response in, numbers out; NaN in the observations means not measured."""

from ._bootstrap import Interval, PairedTest, bootstrap_interval, bootstrap_matrix_interval, paired_test
from ._classification import auprc, auroc, per_drug_auprc, per_drug_auroc, per_drug_prevalence, prevalence
from ._decisions import accuracy, balanced_accuracy, f1, mcc
from ._groups import group_correlations
from ._registry import METRICS, Metric
from ._regression import (
    drug_correlations,
    pearson,
    per_drug_pearson,
    per_drug_spearman,
    per_line_pearson_centered,
    rmse,
    skill,
    spearman,
)
from ._transfer import TransferScore, transfer_correlation

__all__ = [
    "Interval",
    "METRICS",
    "Metric",
    "PairedTest",
    "TransferScore",
    "accuracy",
    "auprc",
    "auroc",
    "balanced_accuracy",
    "bootstrap_interval",
    "bootstrap_matrix_interval",
    "drug_correlations",
    "f1",
    "group_correlations",
    "mcc",
    "paired_test",
    "pearson",
    "per_drug_auprc",
    "per_drug_auroc",
    "per_drug_pearson",
    "per_drug_prevalence",
    "per_drug_spearman",
    "per_line_pearson_centered",
    "prevalence",
    "rmse",
    "skill",
    "spearman",
    "transfer_correlation",
]
