"""Tables that anndata leaves in a file until they are asked for (`anndata.experimental.read_lazy`)."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd


def in_memory(table: Any) -> pd.DataFrame:
    """A table of `obs` or `var` in memory, as it is if it lies there."""
    return table.to_memory() if hasattr(table, "to_memory") else table


def column_of(table: Any, name: str) -> Any:
    """A column in memory; a table if several have the name. Of a table in a file only this column is read."""
    return in_memory(table[[name]])[name] if hasattr(table, "to_memory") else table[name]


def rows_of(table: Any, rows: np.ndarray) -> pd.DataFrame:
    """Some rows of a table, in memory."""
    return in_memory(table.iloc[rows])
