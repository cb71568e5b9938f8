"""Cells and rows of a report's tables, and numbers as text."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import pandas as pd


@dataclass(frozen=True)
class Cell:
    """Text of a cell; `best` is printed bold."""

    text: str
    best: bool = False


@dataclass(frozen=True)
class Row:
    """A model. `kind` tells whether it is one of the baselines, or a reference without a fit."""

    label: str
    cells: Sequence[Cell]
    kind: Literal["model", "baseline", "reference"] = "model"


@dataclass(frozen=True)
class Table:
    """A table with a head; all columns but the first, and those in `texts`, are numbers."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Row]
    notes: Sequence[str] = ()
    texts: Collection[str] = field(default_factory=tuple)


def number(value: Any, digits: int = 3) -> str:
    """A number with a true minus, or a dash if it is not defined."""
    if value is None or pd.isna(value):
        return "–"
    text = f"{float(value):.{digits}f}"
    if float(text) == 0:
        text = text.lstrip("-")
    return text.replace("-", "−")


def mean_sd(mean: Any, sd: Any) -> str:
    """Mean ± standard deviation, with spaces that do not break, so that a cell stays on one line."""
    return (
        number(mean)
        if pd.isna(mean) or pd.isna(sd)
        else f"{number(mean)}\N{NO-BREAK SPACE}±\N{NO-BREAK SPACE}{number(sd)}"
    )


def interval(value: Any, low: Any, high: Any, *, sign: bool = False) -> str:
    """A value with its interval."""
    text = number(value)
    if sign and text not in ("–", "0.000") and not text.startswith("−"):
        text = f"+{text}"
    return text if pd.isna(low) or pd.isna(high) else f"{text} [{number(low)}, {number(high)}]"


def p_value(value: Any) -> str:
    """A p value."""
    if pd.isna(value):
        return "–"
    return "< 0.001" if value < 0.001 else f"{value:.3f}" if value < 0.1 else f"{value:.2f}"
