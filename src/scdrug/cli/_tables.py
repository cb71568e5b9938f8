"""Tables for the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table

if TYPE_CHECKING:
    import pandas as pd

#: Marks a drug that is ranked above one of better evidence.
_OUTRANKS = "▾"


def to_table(
    frame: pd.DataFrame, columns: Sequence[str], *, title: str | None = None, whole: Sequence[str] = ()
) -> Table:
    """Show columns of a DataFrame; numbers with three digits, right-aligned; columns in `whole` are never broken."""
    table = Table(title=title, title_justify="left", header_style="bold", row_styles=["", "dim"], box=SIMPLE_HEAD)
    for column in columns:
        numeric = frame[column].dtype.kind in "fiu"
        table.add_column(column, justify="right" if numeric else "left", no_wrap=numeric or column in whole)
    for row in frame[list(columns)].itertuples(index=False):
        table.add_row(*(_cell(value) for value in row))
    return table


def ranking_table(frame: pd.DataFrame, title: str) -> Table:
    """Show ranked drugs."""
    names = {"rank": "#", "name": "drug ", "score": "Δ", "percentile": "pctl", "fdr": "FDR"}
    shown = frame.drop(columns="drug").rename(columns=names)
    known = _known_of_drugs(frame)
    # a narrow terminal has room for one of them
    columns = ["#", "drug ", "Δ", "pctl", "FDR", *known, "targets", *([] if known else ["pathway"])]
    table = to_table(shown.assign(**known), columns, title=title, whole=["drug ", *known])
    if any(text.endswith(_OUTRANKS) for text in known.get("evidence", ())):
        table.caption = f"{_OUTRANKS} a drug of better evidence is ranked shortly below"
        table.caption_justify = "left"
    return table


def _known_of_drugs(frame: pd.DataFrame) -> dict[str, list[str]]:
    """Columns on the evidence and phase of drugs, where anything is known: rankings of earlier versions have neither."""
    columns = {}
    if "evidence" in frame and (frame["evidence"].astype(str) != "unknown").any():
        columns["evidence"] = [
            f"{evidence}{_OUTRANKS if outranks is True or outranks == 1 else ''}"
            for evidence, outranks in zip(frame["evidence"], frame["outranks_better"])
        ]
    if "phase" in frame and frame["phase"].notna().any():
        columns["ph."] = ["–" if phase != phase else f"{phase:.0f}" for phase in frame["phase"]]
    return columns


def _cell(value: object) -> str:
    if isinstance(value, float):
        if value != value:
            return "–"
        return f"{value:.1e}" if 0 < abs(value) < 0.001 else f"{value:.3f}"
    return escape(str(value))
