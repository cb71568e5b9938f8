"""How well predictions tell labelled cells apart, and how well anything else does: arrays in, numbers out."""

from __future__ import annotations

import math

import numpy as np
from scipy.stats import rankdata

from ...metrics import accuracy, auprc, auroc, balanced_accuracy, f1, mcc
from ...metrics._bootstrap import percentile_interval

_RANK_METRICS = {"auroc": auroc, "auprc": auprc}
_DECISION_METRICS = {"mcc": mcc, "balanced_accuracy": balanced_accuracy, "f1": f1, "accuracy": accuracy}
_COLUMNS_A_BLOCK = 64


def score_labelled(
    score: np.ndarray, decision: np.ndarray | None, sensitive: np.ndarray, *, n_resamples: int
) -> dict[str, tuple[float, float, float]]:
    """Metrics of one predictor with bootstrap intervals over cells.

    Parameters
    ----------
    score
        Higher = more sensitive (cells).
    decision
        Cells that are called sensitive; `None` leaves out what needs a threshold.
    sensitive
        True labels (cells, bool); both occur.
    n_resamples
        Resamples of cells; those with one class are left out. 0 for no intervals.

    Returns
    -------
    Value and 95 % interval by metric.
    """
    label = sensitive.astype(float)
    rng = np.random.default_rng(0)
    draws = [rng.integers(len(label), size=len(label)) for _ in range(n_resamples)]
    draws = [draw for draw in draws if 0 < label[draw].sum() < len(draw)]
    result = {}
    for metrics, values in ((_RANK_METRICS, score), (_DECISION_METRICS, decision)):
        if values is None:
            continue
        values = np.asarray(values, dtype=float)
        for name, metric in metrics.items():
            resampled = np.array([metric(values[draw], label[draw]) for draw in draws])
            result[name] = (float(metric(values, label)), *percentile_interval(resampled))
    return result


def column_aurocs(scores: np.ndarray, sensitive: np.ndarray) -> np.ndarray:
    """AUROC of each column; higher = more sensitive.

    Parameters
    ----------
    scores
        Cells × predictors.
    sensitive
        Labels (cells, bool); both occur.

    Returns
    -------
    One value a predictor; 0.5 where it is constant.
    """
    n_sensitive = int(sensitive.sum())
    n_resistant = len(sensitive) - n_sensitive
    values = np.empty(scores.shape[1])
    for start in range(0, scores.shape[1], _COLUMNS_A_BLOCK):
        block = slice(start, start + _COLUMNS_A_BLOCK)
        ranks = rankdata(scores[:, block], axis=0)[sensitive].sum(axis=0)
        values[block] = (ranks - n_sensitive * (n_sensitive + 1) / 2) / (n_sensitive * n_resistant)
    return values


def either_direction(values: np.ndarray) -> np.ndarray:
    """AUROC of predictors without a direction, such as principal components: at least 0.5.

    Parameters
    ----------
    values
        AUROC in the direction that they happen to have.
    """
    return np.maximum(values, 1 - values)


def permuted_auroc(score: np.ndarray, sensitive: np.ndarray, *, n_permutations: int) -> np.ndarray:
    """AUROC of the same predictions for labels in random order.

    Parameters
    ----------
    score
        Predictions (cells).
    sensitive
        Labels (cells, bool).
    n_permutations
        Number of orders.
    """
    rng = np.random.default_rng(0)
    ranks = rankdata(score)
    n_sensitive = int(sensitive.sum())
    least = n_sensitive * (n_sensitive + 1) / 2
    sums = np.array([rng.permutation(ranks)[:n_sensitive].sum() for _ in range(n_permutations)])
    return (sums - least) / (n_sensitive * (len(sensitive) - n_sensitive))


def label_overlap(sensitive: np.ndarray, group: np.ndarray) -> float:
    """Cramér's V of label and group: 1 if the group decides the label, 0 if they are independent.

    Parameters
    ----------
    sensitive
        Labels (cells, bool).
    group
        Number of each cell's group, from zero without gaps.

    Returns
    -------
    The coefficient; NaN if there is one group only.

    Notes
    -----
    Cramér 1946, Mathematical Methods of Statistics, chapter 21.
    """
    table = np.zeros((2, group.max() + 1))
    np.add.at(table, (sensitive.astype(int), group), 1)
    if table.shape[1] < 2:
        return math.nan
    expected = np.outer(table.sum(axis=1), table.sum(axis=0)) / table.sum()
    return float(np.sqrt(((table - expected) ** 2 / expected).sum() / table.sum()))


def within_groups(score: np.ndarray, sensitive: np.ndarray, group: np.ndarray) -> tuple[float, int]:
    """AUROC inside groups that hold both classes, weighted by the pairs of cells that are compared.

    Parameters
    ----------
    score
        Higher = more sensitive (cells).
    sensitive
        Labels (cells, bool).
    group
        Number of each cell's group.

    Returns
    -------
    The mean, NaN if no group holds both classes, and the number of groups that do.
    """
    total, pairs, groups = 0.0, 0, 0
    for number in np.unique(group):
        member = group == number
        count = int(sensitive[member].sum()) * int((~sensitive[member]).sum())
        if count:
            total += count * float(column_aurocs(score[member, None], sensitive[member])[0])
            pairs, groups = pairs + count, groups + 1
    return (total / pairs if pairs else math.nan), groups


def summary_of(values: np.ndarray) -> tuple[float, float, float]:
    """Median of a distribution, and the range that holds 95 % of it.

    Parameters
    ----------
    values
        AUROC of many predictors.
    """
    if not len(values):
        return math.nan, math.nan, math.nan
    low, middle, high = np.quantile(values, [0.025, 0.5, 0.975])
    return float(middle), float(low), float(high)


def share_below(value: float, others: np.ndarray) -> float:
    """Share of the others that lie below a value; ties count half.

    Parameters
    ----------
    value
        AUROC of the drug.
    others
        AUROC of other drugs.
    """
    if not len(others):
        return math.nan
    return float(((others < value).sum() + 0.5 * (others == value).sum()) / len(others))
