"""Tables of the page: text to show, values to sort by, and the same as CSV."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from ._assets import packed

#: Evidence for a drug, by which it is sorted.
_LEVELS = {"strong": 4, "some": 3, "weak": 2, "none": 1, "unknown": 0}
#: Rows of a table on the page, and of its CSV, so that the page stays below 8 MB; of larger tables, the first rows of each group.
MAX_ROWS, MAX_CSV_ROWS = 1_500, 5_000


@dataclass(frozen=True)
class Column:
    """A column to show if it is there.

    Attributes
    ----------
    name
        In the table.
    title
        At its head.
    help
        What it means, in a sentence or less.
    kind
        ``"text"``, ``"level"`` (of evidence), ``"strip"`` (low, high and value, drawn; not in the CSV), or a key of `_FORMATS`.
    """

    name: str
    title: str
    help: str
    kind: str = "text"


@dataclass(frozen=True)
class Cell:
    """Text, a value to sort by (empty: the text), the length of a bar, 0-1 (NaN: none), and a range with a mark in it, 0-1."""

    text: str
    order: str = ""
    bar: float = np.nan
    strip: tuple[float, float, float] | None = None


@dataclass(frozen=True)
class Table:
    """A table as the page shows it."""

    id: str
    caption: str
    columns: list[Column]
    rows: list[list[Cell]]
    csv: str
    groups: list[str]
    left_out: str = ""


def show(frame: pd.DataFrame, columns: Sequence[Column], *, id: str, caption: str) -> Table:
    """Lay out a table of :mod:`scdrug.get`.

    Parameters
    ----------
    frame
        Rows in their order; groups, if it has a column `group`, can be chosen from a menu.
    columns
        What to show of it; those that it lacks, or that hold nothing, are left out.
    id
        Of the element, and name of the CSV file.
    caption
        Of the table.
    """
    groups = list(dict.fromkeys(frame["group"].astype(str))) if "group" in frame else []
    kept, left_out = _cut(frame, MAX_ROWS)
    drawn = [column.name for column in columns if column.kind == "strip"]
    present = [column for column in columns if column.name in kept and _holds_something(kept[column.name])]
    cells = [_cells(kept[column.name], column.kind) for column in present]
    return Table(
        id,
        caption,
        present,
        [list(row) for row in zip(*cells, strict=True)],
        packed_csv(_cut(frame.drop(columns=drawn, errors="ignore"), MAX_CSV_ROWS)[0]),
        groups,
        left_out,
    )


def packed_csv(frame: pd.DataFrame) -> str:
    """All columns as CSV, packed."""
    plain = frame.copy()
    for name in plain:
        if plain[name].dtype.kind in "OSUT" or isinstance(plain[name].dtype, pd.CategoricalDtype | pd.StringDtype):
            plain[name] = plain[name].astype(object).map(_harmless)
    return packed(plain.to_csv(index=False, float_format="%.6g").encode("utf-8"))


def _harmless(value: object) -> str:
    """A value as text that spreadsheets do not take for a formula; nothing where it is missing."""
    text = "" if pd.isna(value) else str(value)
    return "'" + text if text[:1] in ("=", "+", "-", "@", "\t", "\r") else text


def _cut(frame: pd.DataFrame, limit: int) -> tuple[pd.DataFrame, str]:
    if len(frame) <= limit:
        return frame, ""
    kept, part = frame.head(limit), "the first"
    if "group" in frame:
        n = max(1, limit // frame["group"].nunique())
        kept = frame.groupby("group", observed=True, sort=False).head(n).head(limit)
        part = f"the first {n:,} of each group"
    csv = "The CSV has them all." if len(frame) <= MAX_CSV_ROWS else f"The CSV has about {MAX_CSV_ROWS:,}."
    return kept, f"{len(kept):,} of {len(frame):,} rows are shown, {part}. {csv}"


def _holds_something(values: pd.Series) -> bool:
    text = values.dropna().astype(str).str.strip()
    return bool((~text.isin(("", "nan"))).any())


def _cells(values: pd.Series, kind: str) -> list[Cell]:
    if kind == "text":
        return [Cell("–" if _missing(value) else str(value)) for value in values]
    if kind == "level":
        return [Cell(str(value), str(_LEVELS.get(str(value), -1))) for value in values]
    if kind == "strip":
        return [
            Cell("", f"{value:.4g}", strip=tuple(min(max(part, 0.0), 1.0) for part in (low, high, value)))
            for low, high, value in values
        ]
    form = _FORMATS[kind]
    numbers = pd.to_numeric(values, errors="coerce").to_numpy(dtype=float)
    return [
        Cell(form(value), f"{value:.4g}", min(max(value, 0.0), 1.0) if kind == "bar" else np.nan)
        if np.isfinite(value)
        else Cell("–")
        for value in numbers
    ]


def _missing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and np.isnan(value)) or str(value).strip() in ("", "nan", "None")


def signed(value: float, digits: int = 2) -> str:
    """A difference, with a true minus."""
    return f"{value:+.{digits}f}".replace("-", "−")


def fixed(value: float, digits: int = 2) -> str:
    """A number, with a true minus."""
    return f"{value:.{digits}f}".replace("-", "−")


def _p_value(value: float) -> str:
    return f"{value:.3f}" if value >= 0.001 else "< 0.001"


_FORMATS: dict[str, Callable[[float], str]] = {
    "bar": fixed,
    "number": fixed,
    "signed": signed,
    "count": lambda value: f"{value:,.0f}",
    "p": _p_value,
    "percent": lambda value: f"{value:.0%}",
    "rank": lambda value: f"{value:g}",
    "yes": lambda value: "yes" if value else "no",
}
