"""What the plots of benchmarks share: one row per model, best on top, baselines in grey."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from .._validate import check_choice, examples
from ._style import CATEGORIES, FONT, LINE, SMALL, despine, ink, label_rows, muted, new_axes, paper, shade, shorten

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.transforms import Transform

#: Models and baselines differ in brightness, and baselines have hollow marks.
MODEL, BASELINE = CATEGORIES[0], "#6f6f6f"
_ROW_HEIGHT, _WIDTH = 0.36, 7.2


def check_columns(table: pd.DataFrame, columns: Sequence[str], *, argument: str) -> None:
    """Raise unless `table` is a DataFrame with rows and these columns."""
    if not isinstance(table, pd.DataFrame):
        raise TypeError(f"`{argument}` must be a DataFrame; found {type(table).__name__}.")
    lacking = [name for name in columns if name not in table.columns]
    if lacking:
        raise KeyError(
            f"`{argument}` lacks the columns {examples(lacking)}; it has {examples(table.columns, 10)}. "
            "Pass a table of scdrug.benchmark.Results."
        )
    if table.empty:
        raise ValueError(f"`{argument}` is empty: nothing was scored yet.")


def one_split(table: pd.DataFrame, split: str | None) -> pd.DataFrame:
    """Rows of a split; it can be omitted if there is one only."""
    splits = [str(name) for name in pd.unique(table["split"])]
    if split is None:
        if len(splits) > 1:
            raise ValueError(f"The table has the splits {examples(splits)}. Name one as `split`.")
        return table
    check_choice("split", split, splits)
    return table[table["split"] == split]


def model_axes(ax: Axes | None, n_models: int, figsize: tuple[float, float] | None) -> Axes:
    """Axes with a row for each model."""
    return new_axes(ax, figsize or (_WIDTH, _ROW_HEIGHT * n_models + 1.5))


def name_models(ax: Axes, names: Sequence[str], baselines: Collection[str]) -> None:
    """Write the models beside their rows, the first on top."""
    label_rows(ax, [shorten(name, 34) for name in names], fontsize=FONT)
    for label, name in zip(ax.get_yticklabels(), names):
        label.set_color(BASELINE if name in baselines else ink())
    ax.tick_params(axis="y", length=0)
    ax.tick_params(axis="x", labelsize=SMALL)
    ax.grid(axis="x", color=shade(0.07), linewidth=0.7, zorder=0)
    ax.set_axisbelow(True)
    ax.use_sticky_edges = False  # boxes and bands would end at the frame
    ax.autoscale_view(scaley=False)
    despine(ax)


def write_beside(ax: Axes, texts: Sequence[str], title: str) -> None:
    """Write a column of figures to the right of the rows."""
    place: Transform = ax.get_yaxis_transform()
    for row, text in enumerate(texts):
        ax.annotate(
            text, (1.02, row), xycoords=place, va="center", fontsize=SMALL, color=muted(), annotation_clip=False
        )
    ax.annotate(
        title,
        (1.02, 1.0),
        (0, 5),
        xycoords="axes fraction",
        textcoords="offset points",
        fontsize=SMALL,
        color=muted(),
        annotation_clip=False,
    )


def draw_distribution(ax: Axes, row: int, values: np.ndarray, *, baseline: bool, mean: bool = True) -> None:
    """A dot for each value, a box from the 25th to the 75th percentile, the median, and a diamond for the mean."""
    color = BASELINE if baseline else MODEL
    jitter = np.random.default_rng(row).uniform(-0.27, 0.27, len(values))
    size, alpha = (5, 0.28) if len(values) > 60 else (11, 0.5)
    ax.scatter(values, row + jitter, s=size, color=color, alpha=alpha, linewidths=0, rasterized=True, zorder=2)
    low, middle, high = np.quantile(values, [0.25, 0.5, 0.75])
    face = "none" if baseline else color
    ax.barh(row, high - low, left=low, height=0.46, color=face, alpha=0.22, linewidth=0, zorder=3)
    ax.barh(row, high - low, left=low, height=0.46, color="none", edgecolor=color, linewidth=1.1, zorder=4)
    ax.plot([middle, middle], [row - 0.23, row + 0.23], color=color, linewidth=1.8, zorder=5)
    if mean:
        draw_mean(ax, row, float(values.mean()), baseline=baseline)


def draw_mean(ax: Axes, row: float, value: float, *, baseline: bool) -> None:
    """Mark a mean by a diamond: filled for models, hollow for baselines."""
    color = BASELINE if baseline else MODEL
    face = paper() if baseline else color
    edge = color if baseline else paper()
    ax.scatter([value], [row], s=36, marker="D", facecolors=face, edgecolors=edge, linewidths=1.2, zorder=6)


def draw_reference(ax: Axes, value: float, *, dashed: bool = False) -> None:
    """Draw a vertical line through all rows."""
    ax.axvline(
        value, color=muted() if dashed else LINE, linewidth=1.0, linestyle=(0, (4, 3)) if dashed else "-", zorder=1
    )
