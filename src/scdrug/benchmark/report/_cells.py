"""Tables of single-cell transfer."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import pandas as pd

from ..transfer._table import ALL_SENSITIVE, DRUG_MEAN
from ._format import Cell, Row, Table, interval, number, p_value

#: Columns of tasks with measured responses: level and metric, with {} for one of the correlations.
_LINES = {
    "line mean [95 %]": ("line mean", "{}"),
    "share of the upper bound": ("line mean", "{}_share"),
    "share of a second screen": ("line mean", "{}_screen_share"),
    "share, judged by the second screen": ("line mean", "{}_across_share"),
    "single cells": ("cell", "{}"),
    "clusters": ("cluster", "{}"),
    "pseudobulk": ("pseudobulk", "{}"),
    "upper bound (bulk)": ("bulk", "{}"),
    "second screen": ("second screen", "{}"),
    "p (other lines' truth)": ("shuffled lines", "{}_p"),
}
_CORRELATIONS = {
    "flat": "flat: over all (line, drug) pairs",
    "contrast": "contrast: each drug's mean over the lines taken out",
    "per_drug": "per drug: mean over drugs of the correlation over lines",
}
_LABELS = {
    "AUROC [95 %]": ("cell", "auroc"),
    "AUPRC": ("cell", "auprc"),
    "prevalence": ("cell", "prevalence"),
    "MCC": ("cell", "mcc"),
    "balanced accuracy": ("cell", "balanced_accuracy"),
    "F1": ("cell", "f1"),
    "accuracy": ("cell", "accuracy"),
    "AUROC within treatment": ("within treatment", "auroc"),
    "AUROC of other drugs [95 % of them]": ("other drugs", "auroc"),
    "share of other drugs below": ("other drugs", "percentile"),
    "AUROC of their mean": ("mean of other drugs", "auroc"),
}
_ERRORS = {
    "RMSE, line mean [95 %]": ("line mean", "rmse_z"),
    "bias": ("line mean", "bias_z"),
    "RMSE, single cells": ("cell", "rmse_z"),
    "RMSE, pseudobulk": ("pseudobulk", "rmse_z"),
    "RMSE, bulk": ("bulk", "rmse_z"),
    "bias, bulk": ("bulk", "bias_z"),
}
_CONTROL = {
    "cells refused [95 %]": ("cell", "refused"),
    "mean reliability": ("cell", "reliability"),
    "drugs above the 90th percentile": ("drug", "above_90"),
    "mean percentile": ("drug", "percentile"),
}
_NAIVE = (DRUG_MEAN, ALL_SENSITIVE)
_FEATURES = ("principal component", "total signal")


def cell_tables(single_cell: pd.DataFrame, baselines: Collection[str]) -> list[Table]:
    """Tables of all tasks; none if none was run.

    Parameters
    ----------
    single_cell
        Tidy table of :class:`Results`.
    baselines
        Names of models that are baselines.
    """
    tables = []
    for task, part in single_cell.groupby("task", sort=False):
        seeds = part["seed"].nunique()
        mean = part.groupby(["level", "metric", "model"])[["value", "low", "high"]].mean()
        averaged = [f"Mean of {seeds} seeds, and mean of the ends of their intervals."] if seeds > 1 else []
        found = {(str(level), str(metric)) for level, metric, _ in mean.index}
        for metric, meaning in _CORRELATIONS.items():
            columns = {head: (level, name.format(metric)) for head, (level, name) in _LINES.items()}
            if found.intersection(columns.values()):
                title = f"{task}, {meaning}"
                tables.append(_table(title, mean, columns, baselines, [_few(part), *averaged, *_reasons(part, metric)]))
        if ("line mean", "rmse_z") in found:
            notes = [
                "In standard deviations of the training lines; bias is positive where lines are predicted too resistant.",
                *averaged,
            ]
            tables.append(_table(f"{task}, level", mean, _ERRORS, baselines, notes, lowest=True))
        if ("cell", "refused") in found:
            notes = ["Cells for which no drug should be ranked: all should be refused.", *averaged]
            tables.append(_table(f"{task}, negative control", mean, _CONTROL, baselines, notes))
        if ("cell", "auroc") in found:
            notes = [*_confounds(part), *_features(part), *averaged]
            tables.append(_table(f"{task}, sensitive against resistant cells", mean, _LABELS, baselines, notes))
    return tables


def _table(
    title: str,
    mean: pd.DataFrame,
    columns: Mapping[str, tuple[str, str]],
    baselines: Collection[str],
    notes: Sequence[str],
    *,
    lowest: bool = False,
) -> Table:
    values = {
        head: mean.loc[key].dropna(subset="value") for head, key in columns.items() if key in mean.index.droplevel(2)
    }
    values = {head: part for head, part in values.items() if len(part)}
    models = list(dict.fromkeys(str(name) for part in values.values() for name in part.index))
    if not models:
        return Table(title, ["model"], [], [*notes, "No score is defined."])
    headline = next(iter(values.values()))["value"]
    sign = 1.0 if lowest else -1.0
    models.sort(key=lambda name: sign * float(headline.get(name, sign * float("inf"))))
    best = number(headline.min() if lowest else headline.max()) if len(headline) > 1 else None
    rows = []
    for name in models:
        cells = []
        for position, (head, part) in enumerate(values.items()):
            if name not in part.index:
                cells.append(Cell("–"))
                continue
            value, low, high = part.loc[name, ["value", "low", "high"]]
            text = p_value(value) if head.startswith("p (") else interval(value, low, high)
            cells.append(Cell(text, position == 0 and number(value) == best))
        kind = "reference" if name in _NAIVE else "baseline" if name in baselines else "model"
        rows.append(Row(name, cells, kind))
    return Table(title, ["model", *values], rows, [note for note in notes if note])


def _few(part: pd.DataFrame) -> str:
    counts = part[part["level"] == "data"].groupby("metric")["value"].median()
    if "lines" not in counts:
        return ""
    size = f"{counts['lines']:.0f} lines" + (f" and {counts['cells']:,.0f} cells" if "cells" in counts else "")
    return f"{size}: read the intervals first (bootstrap over lines and drugs)."


def _reasons(part: pd.DataFrame, metric: str) -> list[str]:
    """Why values are missing."""
    if "note" not in part:
        return []
    lacking = part[part["metric"].isin([metric, f"{metric}_share"]) & part["value"].isna() & part["note"].notna()]
    lacking = lacking[lacking["note"].astype(str) != ""]
    pairs = lacking[["model", "level", "note"]].drop_duplicates()
    return [f"{row.model}, {row.level}: {row.note}." for row in pairs.itertuples()]


def _confounds(part: pd.DataFrame) -> list[str]:
    if "note" not in part:
        return []
    notes = []
    for level, prefix in (("confound", "Confound: "), ("within treatment", "Within treatment: ")):
        found = part.loc[part["level"] == level, "note"].dropna().astype(str)
        notes += [f"{prefix}{note}." for note in dict.fromkeys(found) if note]
    return notes


def _features(part: pd.DataFrame) -> list[str]:
    features = part[part["level"].astype(str).str.startswith(_FEATURES) & (part["metric"] == "auroc")]
    if features["value"].isna().all():
        return []
    best = features.loc[features["value"].idxmax()]
    return [
        f"Without any model, {best['level']} of the cells' expression reaches AUROC {number(best['value'])} in the better "
        "of both directions."
    ]
