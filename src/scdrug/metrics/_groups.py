"""Correlation within groups of pairs: by line, by cancer type, by drug."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from .._arguments import checked
from ._arrays import correlation, paired
from ._regression import MIN_COUNT


@checked
def group_correlations(
    predicted: np.ndarray, observed: np.ndarray, groups: Sequence[object] | np.ndarray, *, min_count: int = MIN_COUNT
) -> dict[str, float]:
    """Pearson correlation over the pairs of each group.

    Parameters
    ----------
    predicted, observed
        One value a (line, drug) pair, NaN in `observed` where not measured.
    groups
        Group of each pair: its line, its cancer type or its drug; pairs with an empty name or NaN belong to none.
    min_count
        Fewest measured pairs of a group.

    Returns
    -------
    Correlation by name of the group, in alphabetical order; zero for constant predictions. Within a line or type it mixes
    drugs, so that potency alone gives some 0.85; within a drug a drug mean gives zero.

    Raises
    ------
    ValueError
        If lengths differ, an observed pair has no prediction, or nothing was observed.

    Notes
    -----
    The levels at which scFoundation (Hao et al. 2024) and Rössner et al. 2025 report; they take groups of two pairs and more,
    where any correlation is ±1.

    Examples
    --------
    >>> import numpy as np
    >>> from scdrug.metrics import group_correlations
    >>> scores = group_correlations(np.arange(6.0), np.array([0, 1, 2, 2, 1, 0]), list("aaabbb"))
    >>> {name: round(value, 3) for name, value in scores.items()}
    {'a': 1.0, 'b': -1.0}
    """
    predicted, observed = paired(predicted, observed)
    names = np.array(["" if pd.isna(value) else str(value) for value in groups], dtype=object)
    if observed.ndim != 1 or len(names) != len(observed):
        raise ValueError(
            f"Expected one group for each pair; found {len(names)} groups and observations of shape {observed.shape}."
        )
    known = ~np.isnan(observed) & (names != "")
    result = {}
    for name in sorted(set(names[known])):
        rows = known & (names == name)
        if rows.sum() >= min_count:
            value = correlation(predicted[rows], observed[rows])
            if np.isfinite(value):
                result[name] = value
    return result
