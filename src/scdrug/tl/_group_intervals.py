"""Mean response of groups of cells with the interval of a line, and where values lie among the lines of the screen."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from ._class_sums import blocks, membership
from ._stored import Predictions
from ._width import group_half_width


@dataclass(frozen=True)
class GroupResponse:
    """What is predicted for groups of cells; arrays are groups × drugs unless they say otherwise."""

    #: Cells of each group (groups).
    n_cells: np.ndarray
    #: Mean over the cells, in the unit of the reference.
    response: np.ndarray
    #: Half the width of the interval; NaN where none is stated.
    half_width: np.ndarray
    #: Mean over the cells, 0-1, 1 = more sensitive than every line.
    percentile: np.ndarray


def group_response(
    predictions: Predictions, codes: np.ndarray, n_groups: int, drugs: np.ndarray | None = None
) -> GroupResponse:
    """Average predictions over groups, with intervals as :func:`scdrug.get.group_response_df` states them.

    Parameters
    ----------
    predictions
        What was predicted.
    codes
        Group of each cell, -1 for none; every group must have a cell with a prediction, and all cells a prediction (cells).
    n_groups
        Number of groups.
    drugs
        Positions of the drugs; all if omitted.
    """
    drugs = np.arange(predictions.response.shape[1]) if drugs is None else drugs
    indicator = membership(codes, n_groups)
    counts = np.bincount(codes[codes >= 0], minlength=n_groups)
    n_drugs = len(drugs)
    mean, percentile, squares = np.empty((n_groups, n_drugs)), np.empty((n_groups, n_drugs)), np.empty(n_drugs)
    known = codes >= 0
    for block in blocks(n_drugs, len(codes)):
        values = predictions.response.iloc[:, drugs[block]].to_numpy(dtype=float)
        values = np.where(known[:, None], values, 0.0)
        mean[:, block] = (indicator @ values) / counts[:, None]
        squares[block] = ((values[known] - mean[codes[known], block]) ** 2).sum(axis=0)
        shares = predictions.percentile.iloc[:, drugs[block]].to_numpy(dtype=float)
        percentile[:, block] = (indicator @ np.where(known[:, None], shares, 0.0)) / counts[:, None]
    # the spread within groups is taken over all of them: a few cells do not tell their own
    freedom = int(known.sum()) - n_groups
    variance = squares / freedom if freedom else np.full(n_drugs, np.nan)
    half_width = group_half_width(predictions, codes, drugs, variance / counts[:, None])
    return GroupResponse(counts, mean, half_width, percentile)


def interval_level(predictions: Predictions) -> float:
    """Coverage that intervals were made for; 0.9 where it was not stored."""
    return float(predictions.provenance.get("interval_level", 0.9))


def line_quantiles(predictions: Predictions) -> tuple[np.ndarray, np.ndarray] | None:
    """Distribution of predictions over the lines of the screen.

    Returns
    -------
    Probabilities, and quantiles (drugs × probabilities); `None` if the predictions do not hold them, as those of version 0.1.
    """
    table = predictions.provenance.get("line_quantiles")
    ids = predictions.response.columns
    if not isinstance(table, pd.DataFrame) or not ids.isin(table.index).all():
        return None
    return table.columns.astype(float).to_numpy(), table.loc[ids].to_numpy(dtype=float)


def among_lines(values: np.ndarray, predictions: Predictions) -> np.ndarray | None:
    """Share of the lines that are predicted to be less sensitive than a response (rows × drugs, 0-1), if it can be told."""
    known = line_quantiles(predictions)
    if known is None:
        return None
    probabilities, quantiles = known
    higher = np.column_stack([np.interp(values[:, d], quantiles[d], probabilities) for d in range(values.shape[1])])
    higher[np.isnan(values)] = np.nan
    return 1 - higher if predictions.sign("response") < 0 else higher
