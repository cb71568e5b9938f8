"""The tidy table of single-cell transfer."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import NamedTuple

import pandas as pd

#: Name in the column `model` of the naive predictors.
DRUG_MEAN = "drug mean"
ALL_SENSITIVE = "all sensitive"
#: The same for features of expression without a model.
EXPRESSION = "expression"


class Row(NamedTuple):
    """One score."""

    model: str
    seed: int
    level: str
    metric: str
    value: float
    low: float = math.nan
    high: float = math.nan
    #: Why the value is not defined, or what to know about it.
    note: str = ""


#: Columns of the table.
COLUMNS = ("task", *Row._fields)


def to_table(rows: Iterable[Row], task: str) -> pd.DataFrame:
    """Put rows into the table, under the label of a task.

    Parameters
    ----------
    rows
        Scores.
    task
        Label.
    """
    table = pd.DataFrame([(task, *row) for row in rows], columns=list(COLUMNS))
    return table.astype({"seed": int, "value": float, "low": float, "high": float})
