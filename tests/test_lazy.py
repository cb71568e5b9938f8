"""Tables that stay in a file answer as a DataFrame does, and read no more than they are asked for."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from scdrug._lazy import LazyTable


class Recorded:
    """An array that notes which columns are read."""

    def __init__(self, values: np.ndarray, width: int) -> None:
        self._values, self.chunks, self.read = values, (len(values), width), []
        self.dtype, self.ndim, self.shape = values.dtype, 2, values.shape

    def __getitem__(self, key):
        self.read.append(range(*key[1].indices(self.shape[1])))
        return self._values[key]


@pytest.fixture
def frame() -> pd.DataFrame:
    values = np.random.default_rng(0).normal(size=(7, 11)).astype(np.float32)
    return pd.DataFrame(values, index=[f"cell{i}" for i in range(7)], columns=[f"drug{i}" for i in range(11)])


def _lazy(frame: pd.DataFrame, width: int = 4) -> tuple[LazyTable, Recorded]:
    values = Recorded(frame.to_numpy(), width)
    return LazyTable(values, frame.columns, frame.index), values


@pytest.mark.parametrize("width", [1, 4, 100])
@pytest.mark.parametrize(
    "read",
    [
        lambda table: table.iloc[:, 3:9],
        lambda table: table.iloc[[5, 0], [10, 2]],
        lambda table: table.iloc[np.array([True, False] * 3 + [True]), :],
        lambda table: table["drug7"],
        lambda table: table.iloc[:, 0],
        lambda table: table[["drug9", "drug0", "drug9"]].iloc[:, :],
        lambda table: table[["drug9", "drug0", "drug4"]][["drug4", "drug9"]].iloc[1:3, ::-1],
        lambda table: table.iloc[:, []],
    ],
)
def test_reads_what_a_frame_would_give(frame: pd.DataFrame, read, width: int) -> None:
    found, expected = read(_lazy(frame, width)[0]), read(frame)
    assert type(found) is type(expected)
    np.testing.assert_array_equal(found.to_numpy(), expected.to_numpy())
    assert list(found.index) == list(expected.index)
    assert np.shape(found) == np.shape(expected)


def test_shape_and_names_are_known_without_reading(frame: pd.DataFrame) -> None:
    table, values = _lazy(frame)
    part = table[["drug3", "drug1"]]
    assert (table.shape, len(table), part.shape, list(part.columns)) == ((7, 11), 7, (7, 2), ["drug3", "drug1"])
    assert "drug3" in part and "drug0" not in part
    with pytest.raises(KeyError, match="drug99"):
        table[["drug3", "drug99"]]
    assert values.read == []


def test_columns_that_lie_together_are_read_once_one_after_another(frame: pd.DataFrame) -> None:
    table, values = _lazy(frame, 4)
    for column in range(8):
        table.iloc[:, column]
    assert values.read == [range(0, 4), range(4, 8)]


def test_one_column_of_a_table_in_one_piece_is_read_alone(frame: pd.DataFrame) -> None:
    table, values = _lazy(frame, 1000)
    table["drug5"]
    assert values.read == [range(5, 6)]


def test_derived_columns_know_where_they_stood(frame: pd.DataFrame) -> None:
    weights = np.arange(11.0)
    table = LazyTable(frame, frame.columns, frame.index, derive=lambda values, columns: values * weights[columns])
    np.testing.assert_allclose(table[["drug9", "drug2"]].to_memory(), frame[["drug9", "drug2"]] * [9, 2])
