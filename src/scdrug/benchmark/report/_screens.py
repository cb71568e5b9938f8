"""Tables of predictions judged by other screens."""

from __future__ import annotations

from collections.abc import Collection

import pandas as pd

from ._format import Cell, Row, Table, interval, mean_sd, number
from ._tables import FIRST, HEADS

_SHARE = "share of a second screen [95 %]"


def screen_tables(screens: pd.DataFrame, split: str, baselines: Collection[str], trained: str) -> list[Table]:
    """One table for each screen; none if the split was not judged by any.

    Parameters
    ----------
    screens
        Tidy table of :func:`score_screens`.
    split
        Name of the split.
    baselines
        Names of models that are baselines.
    trained
        What to call the screen that was trained on.
    """
    chosen = screens[screens["split"] == split]
    return [_table(part, split, str(name), baselines, trained) for name, part in chosen.groupby("screen", sort=False)]


def screen_overview(screens: pd.DataFrame, baselines: Collection[str]) -> list[Row]:
    """Rows of the overview: the model with the highest share, beside the strongest baseline, for each split and screen.

    Parameters
    ----------
    screens
        Tidy table of :func:`score_screens`.
    baselines
        Names of models that are baselines.
    """
    rows = []
    chosen = screens[screens["metric"] == "per_drug_pearson"]
    for (split, screen), part in chosen.groupby(["split", "screen"], sort=False):
        part = part[(part["n_folds"] == part["n_folds"].max()) & part["share"].notna()].set_index("model")
        if part.empty:
            continue
        best, known = part.loc[part["share"].idxmax()], part[part.index.isin(baselines)]
        cells = [
            Cell("share of a second screen"),
            Cell(str(best.name)),
            Cell(interval(best["share"], best["low"], best["high"])),
        ]
        if known.empty:
            cells += [Cell("none was run"), Cell("–")]
        else:
            strongest = known.loc[known["share"].idxmax()]
            same = strongest.name == best.name
            text = "–" if same else interval(strongest["share"], strongest["low"], strongest["high"])
            cells += [Cell("the same" if same else str(strongest.name)), Cell(text)]
        rows.append(Row(f"{split}, judged by {screen}", [*cells, Cell("–"), Cell("–")]))
    return rows


def _table(part: pd.DataFrame, split: str, screen: str, baselines: Collection[str], trained: str) -> Table:
    metrics = list(dict.fromkeys(part["metric"]))
    by_metric = {metric: part[part["metric"] == metric].set_index("model") for metric in metrics}
    first = by_metric[metrics[0]]
    order = first["share"].sort_values(ascending=False, kind="stable").index
    complete = first["n_folds"] == first["n_folds"].max()
    rows = []
    for model in order:
        cells = []
        for table in by_metric.values():
            row, best = table.loc[model], table.loc[complete, "share"].max()
            top = bool(complete[model]) and complete.sum() > 1 and number(row["share"]) == number(best)
            cells.append(Cell(mean_sd(row["value"], row["value_sd"]), top))
            cells.append(Cell(interval(row["share"], row["low"], row["high"]), top))
        rows.append(
            Row(
                str(model),
                [*cells, Cell(str(int(first.loc[model, "n_folds"])))],
                "baseline" if model in baselines else "model",
            )
        )
    cells = []
    for table in by_metric.values():
        row = table.loc[complete[complete].index[0]]
        cells += [Cell(mean_sd(row["measured"], row["measured_sd"])), Cell("1")]
    rows.append(Row(f"measured by {trained}", [*cells, Cell("–")], "reference"))
    heads = []
    for metric in metrics:
        head = {"per_drug_pearson": FIRST}.get(metric, "") + HEADS[metric]
        heads += [head, f"share, {HEADS[metric]} [95 %]" if heads else _SHARE]
    size = first.loc[complete[complete].index[0]]
    notes = [
        f"Lines that were not trained on, judged by what {screen} measured: {size['n_lines']:,.0f} lines, {size['n_drugs']:,.0f} drugs and "
        f"{size['n_pairs']:,.0f} pairs that both screens have. The last row is what {trained} itself says of {screen}; a share is the "
        "correlation over that row's, with its interval over lines. Values are over all folds together, ± SD over folds.",
    ]
    if "pearson" in metrics:
        notes.append("* Pooled over all pairs: this value mostly reflects which drug it is, not which line responds.")
    return Table(f"Split {split}, judged by {screen}", ["model", *heads, "folds"], rows, notes)
