"""Tables that anndata leaves in a file until they are asked for (`anndata.experimental.read_lazy`)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
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


def loaded(value: Any) -> Any:
    """An entry of `uns` with all that it holds in memory."""
    if isinstance(value, Mapping) and not hasattr(value, "to_memory"):
        return {key: loaded(item) for key, item in value.items()}
    return value.compute() if hasattr(value, "compute") else in_memory(value)


def is_array(value: Any) -> bool:
    """Whether something is an array of numbers, in memory or not, rather than a table."""
    return isinstance(value, np.ndarray) or (hasattr(value, "chunks") and hasattr(value, "ndim"))


#: Columns that are read together, at most, because a file holds them in one piece.
_PIECE = 8


class LazyTable:
    """Numbers of cells × drugs that stay where they are until some of them are asked for.

    It answers what readers of predictions ask of a DataFrame: `columns`, `index`, `shape`, a column by name, some columns as a table
    of their own, and `iloc`, which reads what it names. Nothing reads all of it but :meth:`to_memory`.

    Parameters
    ----------
    values
        Array of zarr, HDF5, dask or numpy (cells × drugs), or a table that anndata reads lazily.
    columns
        Names of its columns.
    index
        Names of its rows.
    derive
        What to make of columns that are read, if they stand for others: called with values (cells × columns) and their positions.
    chosen
        Positions of the columns that are shown; all if omitted.
    """

    def __init__(
        self,
        values: Any,
        columns: pd.Index,
        index: pd.Index,
        *,
        derive: Callable[[np.ndarray, np.ndarray], np.ndarray] | None = None,
        chosen: np.ndarray | None = None,
    ) -> None:
        self._values, self._all, self.index, self._derive = values, columns, index, derive
        self._chosen = np.arange(len(columns)) if chosen is None else chosen
        self._piece: tuple[int, np.ndarray] | None = None

    @property
    def columns(self) -> pd.Index:
        """Names of the columns."""
        return self._all[self._chosen]

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return len(self.index), len(self._chosen)

    def __len__(self) -> int:
        return len(self.index)

    def __contains__(self, name: object) -> bool:
        return name in self.columns

    def __getitem__(self, key: Any) -> pd.Series | LazyTable:
        if isinstance(key, str):
            position = self.columns.get_loc(key)
            return pd.Series(self._read([position])[:, 0], index=self.index, name=key)
        positions = self.columns.get_indexer(list(key))
        if (positions < 0).any():
            raise KeyError([name for name, at in zip(key, positions) if at < 0])
        return self.only(positions)

    def only(self, columns: np.ndarray) -> LazyTable:
        """Some of the columns, by position or as a mask, without reading them."""
        return LazyTable(
            self._values, self._all, self.index, derive=self._derive, chosen=self._chosen[np.asarray(columns)]
        )

    @property
    def iloc(self) -> _Positions:
        """Values by position, read when they are asked for."""
        return _Positions(self)

    def to_memory(self) -> pd.DataFrame:
        """All of it."""
        return self.iloc[:, :]

    def _read(self, columns: Any) -> np.ndarray:
        """Values of columns by position (rows × columns)."""
        wanted = self._chosen[columns]
        if isinstance(self._values, pd.DataFrame) or hasattr(self._values, "to_memory"):
            values = in_memory(self._values[list(self._all[wanted])]).to_numpy()
        else:
            values = self._columns(wanted)
        return values if self._derive is None else self._derive(values, wanted)

    def _columns(self, wanted: np.ndarray) -> np.ndarray:
        width = _width_of_pieces(self._values)
        out = np.empty((len(self.index), len(wanted)), dtype=self._values.dtype)
        for number in np.unique(wanted // width):
            # what stands in one piece is read once for columns that are asked for one after another
            if self._piece is None or self._piece[0] != number:
                self._piece = number, _numbers(self._values[:, number * width : (number + 1) * width])
            at = np.flatnonzero(wanted // width == number)
            out[:, at] = self._piece[1][:, wanted[at] - number * width]
        return out


class _Positions:
    def __init__(self, table: LazyTable) -> None:
        self._table = table

    def __getitem__(self, key: Any) -> Any:
        rows, columns = key if isinstance(key, tuple) else (key, slice(None))
        table = self._table
        if isinstance(columns, int | np.integer):
            return table[table.columns[columns]].iloc[rows]
        positions = np.arange(table.shape[1])[columns]
        index = table.index[rows]
        out: np.ndarray | None = None
        for first in range(0, len(positions), _PIECE):  # so that few columns of rows that are left out are held
            part = table._read(positions[first : first + _PIECE])[rows]
            if out is None:
                out = np.empty((len(index), len(positions)), dtype=part.dtype)
            out[:, first : first + _PIECE] = part
        if out is None:
            out = np.empty((len(index), 0))
        return pd.DataFrame(out, index=index, columns=table.columns[positions])


def _width_of_pieces(values: Any) -> int:
    """Columns that a file or an array holds in one piece; 1 where that is most of them."""
    chunks = getattr(values, "chunks", None)
    width = chunks[1] if chunks else 1
    width = int(width[0] if isinstance(width, tuple) else width)
    return width if width <= _PIECE else 1


def _numbers(values: Any) -> np.ndarray:
    return np.asarray(values.compute() if hasattr(values, "compute") else values)
