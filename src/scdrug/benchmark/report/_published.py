"""Figures in print, to stand beside one's own."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from ..._validate import examples
from ...metrics import METRICS
from ._format import Cell, Row, Table, number
from ._tables import CLASS_METRICS, HEADS, RESPONSE_METRICS

#: Said of every table of published figures.
REMARK = "Other data, often the best epoch on the test set: where the field stands, not a comparison."
_NAMES = [metric.name for metric in METRICS]
_KEYS = ["source", "model", "data", "selection", "note"]
_SELECTION = {
    "test": "the test set",
    "training": "training data",
    "none": "–",
    "unknown": "not stated",
}


def read_published(published: pd.DataFrame | str | os.PathLike[str]) -> pd.DataFrame:
    """Read figures in print into one form.

    Parameters
    ----------
    published
        Table, or a CSV file. Wide: `split`, `model`, a column for each metric (``rmse``, ``pearson``, …), and `source`,
        `data`, `note` if known. Long: `split`, `model`, `metric`, `value`, and `paper` or `source`, `spread`, `data`,
        `selection` (what the epoch was chosen on), `note`.

    Returns
    -------
    Long form: split, model, metric, value, spread, source, data, selection, note.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the table has neither form, or holds no number.
    """
    table = published.copy() if isinstance(published, pd.DataFrame) else _read(Path(published))
    table = table.rename(columns={"paper": "source"})
    if not {"split", "model"} <= set(table.columns):
        raise ValueError(
            f"Published figures need the columns 'split' and 'model'; found {examples(table.columns, 10)}. "
            "See scdrug.benchmark.write_report."
        )
    for name in ("source", "data", "selection", "note"):
        table[name] = table[name].fillna("").astype(str) if name in table else ""
    if not {"metric", "value"} <= set(table.columns):
        known = [name for name in _NAMES if name in table]
        if not known:
            raise ValueError(
                f"Published figures need 'metric' and 'value', or a column named like a metric ({', '.join(_NAMES)}); "
                f"found {examples(table.columns, 10)}."
            )
        table = table.melt(id_vars=["split", *_KEYS], value_vars=known, var_name="metric", value_name="value")
    table["spread"] = pd.to_numeric(table["spread"], errors="coerce") if "spread" in table else float("nan")
    table["value"] = pd.to_numeric(table["value"], errors="coerce")
    table = table[table["metric"].isin(_NAMES) & table["value"].notna()]
    if table.empty:
        raise ValueError(f"The published figures hold no number for any of the metrics {', '.join(_NAMES)}.")
    return table.reset_index(drop=True)


def _read(path: Path) -> pd.DataFrame:
    if not path.is_file():
        raise FileNotFoundError(f"No table of published figures at {path}.")
    try:
        return pd.read_csv(path)
    except (UnicodeDecodeError, pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise ValueError(f"{path} cannot be read as a CSV table ({error}).") from error


def published_tables(published: pd.DataFrame, splits: Sequence[str], name: str) -> list[Table]:
    """Figures in print for a split: a table of responses, and one of classes; none if there are none.

    Parameters
    ----------
    published
        Long form of :func:`read_published`.
    splits
        Names that the split goes by: its own, and its kind.
    name
        What the split is called in the title.
    """
    part = published[published["split"].isin(list(splits))]
    tables = []
    for metrics in (RESPONSE_METRICS, CLASS_METRICS):
        chosen = part[part["metric"].isin(metrics)]
        if len(chosen):
            tables.append(
                _table(chosen, f"In print, {name}: {'responses' if metrics is RESPONSE_METRICS else 'classes'}")
            )
    return tables


def _table(part: pd.DataFrame, title: str) -> Table:
    metrics = [name for name in _NAMES if (part["metric"] == name).any()]
    rows = []
    for (source, model, data, selection, note), figures in part.groupby(_KEYS, sort=False):
        figures = figures.drop_duplicates("metric").set_index("metric")
        cells = [Cell(source or "–")]
        for name in metrics:
            cells.append(Cell(_figure(*figures.loc[name, ["value", "spread"]]) if name in figures.index else "–"))
        texts = (_SELECTION.get(selection, selection or "not stated"), data, note)
        rows.append(Row(str(model), [*cells, *map(Cell, texts)]))
    columns = ["model", "source", *(HEADS[name] for name in metrics), "epoch chosen on", "data", "note"]
    return Table(title, columns, rows, [REMARK], texts=("source", "epoch chosen on", "data", "note"))


def _figure(value: float, spread: float) -> str:
    """Value ± spread. Some papers print variances, which three digits would round to nothing."""
    if pd.isna(spread):
        return number(value)
    return f"{number(value)} ± {spread:.3f}" if spread >= 0.0005 else f"{number(value)} ± {spread:g}"
