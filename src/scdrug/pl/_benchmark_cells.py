"""Transfer from bulk lines to single cells, by model."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from .._arguments import checked
from .._validate import check_choice, examples
from ._benchmark_draw import check_columns, draw_reference, name_models
from ._style import CATEGORIES, FONT, LINE, OTHER, SMALL, ink, muted, paper

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Marks of what is scored on cells of lines; the first is the headline, which models are sorted by. Label, colour, marker.
_LINES = {
    "line mean": ("mean of a line's cells", CATEGORIES[0], "D"),
    "cell": ("single cells", CATEGORIES[4], "o"),
    "cluster": ("clusters", CATEGORIES[3], "s"),
    "pseudobulk": ("pseudobulk", CATEGORIES[1], "^"),
}
#: The same for labelled cells. Upper-case names stand for several levels, see `_shown_level`.
_LABELS = {
    "cell": ("predicted response to the drug", CATEGORIES[0], "D"),
    "within treatment": ("the same within treatments", CATEGORIES[2], "s"),
    "CONTROLS": ("drugs of another mechanism", CATEGORIES[1], "x"),
    "FEATURES": ("components of expression, no model", LINE, "x"),
}
_PREFIXES = {"control drug:": "CONTROLS", "principal component": "FEATURES", "total signal": "FEATURES"}
#: Drawn as a band: what is reached by chance, or by drugs that should not matter.
_BANDS = {"shuffled lines": "chance: truth of other lines (95 %)", "other drugs": "other drugs of the model (95 %)"}
_BOUND, _BOUND_LABEL = "bulk", "upper bound: the lines' bulk profiles"
_METRIC_LABELS = {
    "flat": "r over (line, drug) pairs, flat",
    "contrast": "r without the drugs' means, contrast",
    "auroc": "AUROC, sensitive against resistant cells",
}


@checked
def benchmark_single_cell(
    single_cell: pd.DataFrame,
    *,
    task: str | None = None,
    metrics: Sequence[str] | None = None,
    baselines: Collection[str] = (),
    figsize: tuple[float, float] | None = None,
    ax: Axes | None = None,
) -> Axes | np.ndarray:
    """Plot how well models that were trained on bulk lines predict single cells.

    Parameters
    ----------
    single_cell
        `single_cell` of :class:`scdrug.benchmark.Results`: task, model, seed, level, metric, value, low, high. Seeds are
        averaged, and so are the ends of their intervals.
    task
        Name of the task; can be omitted if there is one only.
    metrics
        ``"flat"`` and ``"contrast"`` for cells of lines with measured responses, ``"auroc"`` for labelled cells; those
        that were scored if omitted.
    baselines
        Names of models to write in grey.
    figsize
        Width and height of a new figure in inches.
    ax
        Where to plot, for one metric only; best in a figure with ``layout="constrained"``.

    Returns
    -------
    The Axes, or an array of them (one per metric) for several metrics. Bars are 95 % intervals. A black line across a
    row is the model's upper bound, its prediction from the lines' own bulk profiles. The grey band is what it reaches
    against the truth of other lines or, for labelled cells, with other drugs.

    Raises
    ------
    KeyError
        If a column is missing.
    ValueError
        If a task or metric is unknown, nothing was scored, or several metrics are to be plotted into one `ax`.

    Examples
    --------
    >>> import pandas as pd, scdrug
    >>> table = pd.DataFrame(
    ...     {
    ...         "task": "lines",
    ...         "model": "ridge",
    ...         "seed": 0,
    ...         "level": ["line mean", "bulk"],
    ...         "metric": "flat",
    ...         "value": [0.3, 0.4],
    ...         "low": [0.1, 0.2],
    ...         "high": [0.5, 0.6],
    ...     }
    ... )
    >>> ax = scdrug.pl.benchmark_single_cell(table)
    >>> ax.get_xlabel()
    'r over (line, drug) pairs, flat'
    """
    check_columns(single_cell, ["task", "model", "level", "metric", "value", "low", "high"], argument="single_cell")
    table = _one_task(single_cell, task)
    table = table.assign(level=table["level"].map(_shown_level))
    table = table[table["value"].notna() & table["metric"].isin(list(_METRIC_LABELS))]
    wanted = _metrics(table, metrics)
    if ax is not None and len(wanted) > 1:
        raise ValueError(f"`ax` takes one metric; found {len(wanted)}. Name one as `metrics`, or omit `ax`.")
    table = table[table["metric"].isin(wanted)]
    marks = {name: mark for name, mark in (_LABELS if "auroc" in wanted else _LINES).items() if _has(table, name)}
    names = _order(table, list(marks))

    axes = np.array([ax]) if ax is not None else _panels(len(wanted), len(names), len(marks), figsize)
    for number, (panel, metric) in enumerate(zip(axes, wanted)):
        _draw(panel, table[table["metric"] == metric], names, marks)
        draw_reference(panel, 0.5 if metric == "auroc" else 0.0, dashed=True)
        name_models(panel, names, baselines)
        if number:
            panel.set_yticklabels([])
        panel.set_xlabel(_METRIC_LABELS[metric], fontsize=FONT)
    _legend(axes[-1], table, marks)
    return axes[0] if len(axes) == 1 else axes


def _shown_level(level: str) -> str:
    return next((name for prefix, name in _PREFIXES.items() if str(level).startswith(prefix)), str(level))


def _has(table: pd.DataFrame, level: str) -> bool:
    return bool((table["level"] == level).any())


def _one_task(table: pd.DataFrame, task: str | None) -> pd.DataFrame:
    """Rows of one task, seeds averaged, in the order of the table."""
    tasks = [str(name) for name in pd.unique(table["task"])]
    if task is None and len(tasks) > 1:
        raise ValueError(f"The table has the tasks {examples(tasks)}. Name one as `task`.")
    if task is not None:
        check_choice("task", task, tasks)
        table = table[table["task"] == task]
    keys = ["metric", "level", "model"]
    return table.groupby(keys, sort=False, as_index=False)[["value", "low", "high"]].mean()


def _metrics(table: pd.DataFrame, metrics: Sequence[str] | None) -> list[str]:
    for name in metrics or ():
        check_choice("metrics", name, list(_METRIC_LABELS))
    shown = table[table["level"].isin([*_LINES, *_LABELS])]
    scored = [name for name in _METRIC_LABELS if (shown["metric"] == name).any()]
    wanted = [name for name in (metrics or scored) if name in scored]
    if not wanted:
        raise ValueError(f"None of {examples(metrics or _METRIC_LABELS)} is defined for this task.")
    return wanted


def _order(table: pd.DataFrame, levels: Sequence[str]) -> list[str]:
    """Models by the first level that they have, the best first."""
    table = table[table["level"].isin(levels)]
    table = table.assign(rank=[levels.index(level) for level in table["level"]])
    table = table.sort_values(["rank", "metric", "value"], ascending=[True, False, False], kind="stable")
    return list(dict.fromkeys(table["model"].astype(str)))


def _panels(n: int, n_models: int, n_levels: int, figsize: tuple[float, float] | None) -> np.ndarray:
    import matplotlib.pyplot as plt

    size = figsize or (3.0 * n + 3.8, max((0.11 * n_levels + 0.16) * n_models + 1.0, 2.4))
    return plt.subplots(1, n, figsize=size, layout="constrained", squeeze=False)[1].ravel()


def _draw(ax: Axes, table: pd.DataFrame, names: Sequence[str], marks: dict[str, tuple[str, str, str]]) -> None:
    """Rows of one metric."""
    places = dict(zip(marks, np.linspace(-0.27, 0.27, len(marks)) if len(marks) > 1 else [0.0]))
    for found in table.itertuples(index=False):
        if found.model not in names:
            continue
        row = names.index(found.model)
        if found.level in _BANDS and np.isfinite(found.high - found.low):
            ax.barh(
                row, found.high - found.low, left=found.low, height=0.84, color=OTHER, alpha=0.4, linewidth=0, zorder=1
            )
        elif found.level == _BOUND:
            ax.plot([found.value] * 2, [row - 0.42, row + 0.42], color=ink(), linewidth=2, zorder=2)
        elif found.level in marks:
            _, color, marker = marks[found.level]
            y = row + places[found.level]
            ax.plot([found.low, found.high], [y, y], color=color, linewidth=1.3, zorder=3)
            edge = {} if marker == "x" else {"edgecolors": paper(), "linewidths": 0.6}
            ax.scatter([found.value], [y], s=26, color=color, marker=marker, zorder=4, **edge)


def _legend(ax: Axes, table: pd.DataFrame, marks: dict[str, tuple[str, str, str]]) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    handles: list[Line2D | Patch] = [
        Line2D([], [], color=color, marker=marker, markersize=5, linewidth=0 if marker == "x" else 1.3, label=label)
        for label, color, marker in marks.values()
    ]
    if _has(table, _BOUND):
        mark = {"linestyle": "", "marker": "|", "markersize": 12, "markeredgewidth": 2, "color": ink()}
        handles.append(Line2D([], [], label=_BOUND_LABEL, **mark))
    handles += [
        Patch(color=OTHER, alpha=0.4, linewidth=0, label=label) for name, label in _BANDS.items() if _has(table, name)
    ]
    naive = "all cells alike" if (table["metric"] == "auroc").any() else "drug mean"
    handles.append(Line2D([], [], color=muted(), linewidth=1, linestyle=(0, (4, 3)), label=naive))
    ax.legend(
        handles=handles, loc="upper left", bbox_to_anchor=(1.03, 1.0), frameon=False, fontsize=SMALL, borderaxespad=0
    )
