"""How well scores rank sensitive cells or lines before resistant ones; 1 = sensitive, 0 = resistant, NaN = unknown."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.stats import rankdata

from .._arguments import checked
from ._arrays import by_column, known_labels, matrices, mean_of


@checked
def prevalence(labels: np.ndarray) -> float:
    """Share of sensitive entries among the known ones: the :func:`auprc` of a random score.

    Parameters
    ----------
    labels
        1 = sensitive, 0 = resistant, NaN = unknown; any shape.

    Returns
    -------
    Share between 0 and 1.

    Raises
    ------
    ValueError
        If a known label is neither 0 nor 1, or none is known.

    Examples
    --------
    >>> import numpy as np
    >>> prevalence(np.array([1, 0, 0, np.nan, 0]))
    0.25
    """
    labels = np.asarray(labels, dtype=np.float64)
    return float(known_labels(labels, labels)[1].mean())


@checked
def auroc(scores: np.ndarray, labels: np.ndarray) -> float:
    """Area under the receiver operating characteristic, over all known entries together.

    Parameters
    ----------
    scores
        The higher, the more likely sensitive: pass the negative of a predicted ln IC50 or AUC. Any shape.
    labels
        1 = sensitive, 0 = resistant, NaN = unknown, in the same shape.

    Returns
    -------
    Probability that a sensitive entry scores above a resistant one, ties counted half; 0.5 is chance.

    Raises
    ------
    ValueError
        If shapes differ, a score is missing where a label is known, or only one class is present.

    Examples
    --------
    >>> import numpy as np
    >>> auroc(np.array([0.9, 0.4, 0.6]), np.array([1, 0, 1]))
    1.0
    """
    scores, labels = _two_classes(scores, labels)
    return _auroc(scores, labels)


@checked
def auprc(scores: np.ndarray, labels: np.ndarray) -> float:
    """Average precision: area under the precision-recall curve, over all known entries together.

    Parameters
    ----------
    scores, labels
        As for :func:`auroc`.

    Returns
    -------
    Average precision. Chance is the :func:`prevalence`; state it beside this number.

    Raises
    ------
    ValueError
        As for :func:`auroc`.

    Examples
    --------
    >>> import numpy as np
    >>> auprc(np.array([0.9, 0.8, 0.1]), np.array([0, 1, 0]))
    0.5
    """
    scores, labels = _two_classes(scores, labels)
    return _auprc(scores, labels)


@checked
def per_drug_auroc(scores: np.ndarray, labels: np.ndarray) -> float:
    """Mean of :func:`auroc` over drugs.

    Parameters
    ----------
    scores, labels
        Lines (or cells) × drugs, as for :func:`auroc`.

    Returns
    -------
    Mean over the drugs in which both classes occur; NaN if there is none.

    Raises
    ------
    ValueError
        If shapes differ, a score is missing where a label is known, or no label is known.

    Examples
    --------
    >>> import numpy as np
    >>> per_drug_auroc(np.array([[2.0, 5.0], [1.0, 6.0]]), np.array([[1, 1], [0, 0]]))
    0.5
    """
    return _per_drug(_auroc, scores, labels)


@checked
def per_drug_auprc(scores: np.ndarray, labels: np.ndarray) -> float:
    """Mean of :func:`auprc` over drugs.

    Parameters
    ----------
    scores, labels
        Lines (or cells) × drugs, as for :func:`auroc`.

    Returns
    -------
    Mean over the drugs in which both classes occur; NaN if there is none. Chance is :func:`per_drug_prevalence`.

    Raises
    ------
    ValueError
        As for :func:`per_drug_auroc`.

    Examples
    --------
    >>> import numpy as np
    >>> per_drug_auprc(np.array([[2.0, 5.0], [1.0, 6.0]]), np.array([[1, 1], [0, 0]]))
    0.75
    """
    return _per_drug(_auprc, scores, labels)


@checked
def per_drug_prevalence(labels: np.ndarray) -> float:
    """Mean :func:`prevalence` over the drugs in which both classes occur; NaN if there is none.

    Parameters
    ----------
    labels
        Lines (or cells) × drugs; 1 = sensitive, 0 = resistant, NaN = unknown.

    Returns
    -------
    Share between 0 and 1.

    Raises
    ------
    ValueError
        If a known label is neither 0 nor 1, or none is known.

    Examples
    --------
    >>> import numpy as np
    >>> per_drug_prevalence(np.array([[1, 1], [0, 1]]))
    0.5
    """
    labels = np.asarray(labels, dtype=np.float64)
    return _per_drug(lambda _, known: float(known.mean()), labels, labels)


def _two_classes(scores: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    scores, labels = known_labels(scores, labels)
    if labels.min() == labels.max():
        name = "sensitive" if labels[0] else "resistant"
        raise ValueError(f"All {labels.size} known entries are {name}; a ranking can only be scored with both classes.")
    return scores, labels


def _auroc(scores: np.ndarray, labels: np.ndarray) -> float:
    positive = labels == 1
    n_positive, n_negative = int(positive.sum()), int((~positive).sum())
    above = rankdata(scores)[positive].sum() - n_positive * (n_positive + 1) / 2
    return float(above / (n_positive * n_negative))


def _auprc(scores: np.ndarray, labels: np.ndarray) -> float:
    order = np.argsort(-scores, kind="stable")
    scores, labels = scores[order], labels[order]
    # Tied scores are one step of the curve, so the order within a tie does not matter.
    last = np.append(np.flatnonzero(np.diff(scores)), scores.size - 1)
    found = np.cumsum(labels)[last]
    return float(np.sum(np.diff(found, prepend=0.0) * found / (last + 1)) / found[-1])


def _per_drug(statistic: Callable[[np.ndarray, np.ndarray], float], scores: np.ndarray, labels: np.ndarray) -> float:
    scores, labels = matrices(scores, labels)
    known_labels(scores, labels)

    def defined(column: np.ndarray, known: np.ndarray) -> float:
        return statistic(column, known) if known.min() != known.max() else float("nan")

    return mean_of(by_column(defined, scores, labels, min_count=2))
