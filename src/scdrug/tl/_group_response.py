"""Mean predictions of groups of cells, each with its interval."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from ._group_reliability import judge_groups
from ._width import group_half_width

if TYPE_CHECKING:
    from ._stored import Predictions


def summarise_groups(predictions: Predictions, labels: pd.Categorical, ids: Sequence[str]) -> pd.DataFrame:
    """Predictions of groups, as :func:`scdrug.get.group_response_df` returns them.

    Parameters
    ----------
    predictions
        What was stored.
    labels
        Group of each cell; some cell with a prediction has one.
    ids
        Drugs.
    """
    codes = np.where(predictions.predicted, labels.codes, -1)
    columns = predictions.response.columns.get_indexer(ids)
    known = np.flatnonzero(codes >= 0)
    grouped = predictions.response.iloc[known, columns].astype(float).groupby(codes[known])
    n_cells, mean = grouped.size().to_numpy(), grouped.mean()
    # the spread within groups is taken over all of them: a few cells do not tell their own
    freedom = len(known) - len(n_cells)
    squares = np.nan_to_num(grouped.var().to_numpy() * (n_cells[:, None] - 1)).sum(axis=0)
    variance = squares / freedom if freedom else np.full(len(ids), np.nan)
    half_width = group_half_width(predictions, codes, columns, variance / n_cells[:, None])
    percentile = predictions.percentile.iloc[known, columns].astype(float).groupby(codes[known]).mean()
    reliability = judge_groups(predictions, labels)["reliability"].to_numpy()[mean.index]
    n_drugs = len(ids)
    return pd.DataFrame(
        {
            "group": np.repeat(np.asarray(labels.categories, dtype=object)[mean.index], n_drugs),
            "drug": np.tile(np.asarray(ids, dtype=object), len(n_cells)),
            "name": np.tile(predictions.drugs.loc[ids, "name"].to_numpy(), len(n_cells)),
            "n_cells": np.repeat(n_cells, n_drugs),
            "response": mean.to_numpy().ravel(),
            "lower": (mean - half_width).to_numpy().ravel(),
            "upper": (mean + half_width).to_numpy().ravel(),
            "percentile": percentile.to_numpy().ravel(),
            "reliability": np.repeat(reliability, n_drugs),
        }
    )
