"""How often sensitive and resistant cells or lines are called right; 1 = sensitive, 0 = resistant, NaN = unknown."""

from __future__ import annotations

import numpy as np

from .._arguments import checked
from ._arrays import correlation, known_labels


@checked
def accuracy(decisions: np.ndarray, labels: np.ndarray) -> float:
    """Share of known entries that are called right.

    Parameters
    ----------
    decisions
        1 = called sensitive, 0 = called resistant; any shape.
    labels
        1 = sensitive, 0 = resistant, NaN = unknown, in the same shape.

    Returns
    -------
    Share between 0 and 1.

    Raises
    ------
    ValueError
        If shapes differ, a value is neither 0 nor 1, a decision is missing, or no label is known.

    Examples
    --------
    >>> import numpy as np
    >>> accuracy(np.array([1, 1, 0, 0]), np.array([1, 0, 0, np.nan])).__round__(3)
    0.667
    """
    decisions, labels = _known(decisions, labels)
    return float((decisions == labels).mean())


@checked
def balanced_accuracy(decisions: np.ndarray, labels: np.ndarray) -> float:
    """Mean of the shares of sensitive and of resistant entries that are called right.

    Parameters
    ----------
    decisions, labels
        As for :func:`accuracy`.

    Returns
    -------
    Between 0 and 1; 0.5 for a constant call. With one class only, the share of that class that is called right.

    Raises
    ------
    ValueError
        As for :func:`accuracy`.

    Examples
    --------
    >>> import numpy as np
    >>> balanced_accuracy(np.array([1, 1, 1, 1]), np.array([1, 1, 1, 0]))
    0.5
    """
    decisions, labels = _known(decisions, labels)
    return float(np.mean([(decisions[labels == label] == label).mean() for label in np.unique(labels)]))


@checked
def f1(decisions: np.ndarray, labels: np.ndarray) -> float:
    """Harmonic mean of precision and recall of the sensitive class.

    Parameters
    ----------
    decisions, labels
        As for :func:`accuracy`.

    Returns
    -------
    Between 0 and 1; zero if no entry is both sensitive and called so. Calling everything sensitive gives
    ``2p / (1 + p)`` at prevalence ``p``: 0.84 at 73 %.

    Raises
    ------
    ValueError
        As for :func:`accuracy`.

    Examples
    --------
    >>> import numpy as np
    >>> f1(np.array([1, 1, 0]), np.array([1, 0, 1]))
    0.5
    """
    decisions, labels = _known(decisions, labels)
    both = decisions @ labels
    return float(2 * both / (decisions.sum() + labels.sum())) if both else 0.0


@checked
def mcc(decisions: np.ndarray, labels: np.ndarray) -> float:
    """Matthews correlation coefficient.

    Parameters
    ----------
    decisions, labels
        As for :func:`accuracy`.

    Returns
    -------
    Between −1 and 1; zero for a constant call or a single class.

    Raises
    ------
    ValueError
        As for :func:`accuracy`.

    Examples
    --------
    >>> import numpy as np
    >>> mcc(np.array([1, 1, 1]), np.array([1, 0, 1]))
    0.0
    """
    # the Pearson correlation of two vectors of 0 and 1
    value = correlation(*_known(decisions, labels))
    return 0.0 if np.isnan(value) else value


def _known(decisions: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Decisions and labels of the known entries, flat."""
    decisions, labels = known_labels(decisions, labels)
    if not np.isin(decisions, (0.0, 1.0)).all():
        raise ValueError(
            f"Decisions must be 0 or 1; found {np.unique(decisions)[:5].tolist()}. Compare scores with a threshold first."
        )
    return decisions, labels
