"""Mean predictions of groups of cells, each with its interval."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from ._group_intervals import group_response
from ._group_reliability import judge_groups

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
    present, known = np.unique(codes[codes >= 0]), codes >= 0
    codes = np.where(known, np.searchsorted(present, codes), -1)
    found = group_response(predictions, codes, len(present), columns)
    reliability = judge_groups(predictions, labels)["reliability"].to_numpy()[present]
    n_drugs = len(ids)
    return pd.DataFrame(
        {
            "group": np.repeat(np.asarray(labels.categories, dtype=object)[present], n_drugs),
            "drug": np.tile(np.asarray(ids, dtype=object), len(present)),
            "name": np.tile(predictions.drugs.loc[ids, "name"].to_numpy(), len(present)),
            "n_cells": np.repeat(found.n_cells, n_drugs),
            "response": found.response.ravel(),
            "lower": (found.response - found.half_width).ravel(),
            "upper": (found.response + found.half_width).ravel(),
            "percentile": found.percentile.ravel(),
            "reliability": np.repeat(reliability, n_drugs),
        }
    )
