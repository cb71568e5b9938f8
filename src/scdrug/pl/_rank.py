"""The drugs that set groups of cells apart."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from .._arguments import checked
from .._constants import KEYS
from .._labels import Label, select_groups
from .._validate import check_choice
from ..tl._keys import MIN_RELIABILITY
from ..tl._stored import groups_of, read_ranking
from ._style import (
    FONT,
    LINE,
    OTHER,
    SMALL,
    arrows,
    category_colors,
    despine,
    diverging,
    drug_labels,
    ink,
    label_rows,
    muted,
    room_for,
    shorten,
    stars,
)

if TYPE_CHECKING:
    from anndata import AnnData
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_PANEL_WIDTH, _ROW_HEIGHT = 3.9, 0.25
_PANELS_A_ROW = 3


@checked
def rank_drugs(
    adata: AnnData,
    *,
    groups: Label | Sequence[Label] | None = None,
    n_drugs: int = 10,
    direction: str = "sensitive",
    color: str = "percentile",
    intervals: bool = True,
    key: str = KEYS.RANKED,
    figsize: tuple[float, float] | None = None,
    ax: Axes | None = None,
) -> Axes | np.ndarray:
    """Plot the best drugs of each group with their difference to the reference.

    Parameters
    ----------
    adata
        Cells with the results of :func:`scdrug.tl.rank_drugs`.
    groups
        One or several groups; all if omitted.
    n_drugs
        Drugs shown for each group.
    direction
        ``"sensitive"`` for the drugs to which the group is most selectively sensitive, or ``"resistant"``.
    color
        ``"percentile"``: mean percentile of the group, which tells whether its cells are sensitive at all and not only
        more than the reference; or ``"pathway"`` that the drug targets.
    intervals
        Draw the prediction interval of the group's own response around each dot, of rankings by response; those of percentiles
        span most of their scale.
    key
        Where :func:`scdrug.tl.rank_drugs` stored its results.
    figsize
        Width and height of the figure in inches.
    ax
        Where to plot, for one group only; best in a figure with ``layout="constrained"``.

    Returns
    -------
    The Axes, or an array of them (one per group) for several groups. Stars mark the false discovery rate. Groups whose
    predictions are not to be believed, if they were ranked all the same, are grey.

    Raises
    ------
    KeyError
        If no drugs were ranked, or a group is unknown.
    ValueError
        If several groups are to be plotted into one `ax`.

    Examples
    --------
    >>> import scdrug
    >>> cells, reference = scdrug.datasets.toy_cells(), scdrug.datasets.toy()
    >>> scdrug.model.KernelRidge.setup_anndata(reference)
    >>> model = scdrug.model.KernelRidge(reference)
    >>> model.train()
    >>> scdrug.tl.predict_response(cells, model)
    >>> scdrug.tl.rank_drugs(cells, groupby="clone", reference="normal", sample_key="sample")
    >>> axes = scdrug.pl.rank_drugs(cells, n_drugs=5)
    >>> len(axes)
    3
    """
    check_choice("direction", direction, ("sensitive", "resistant"))
    check_choice("color", color, ("percentile", "pathway"))
    table, params = read_ranking(adata, key)
    table = table.assign(group=table["group"].astype(str))
    wanted = select_groups(groups, list(dict.fromkeys(table["group"])), where=groups_of(key, params))
    shown = {group: _best(table[table["group"] == group], n_drugs, direction) for group in wanted}
    if ax is not None and len(wanted) > 1:
        raise ValueError(f"`ax` takes one group; found {len(wanted)}. Name one as `groups`, or omit `ax`.")

    if ax is None:
        labels = [label for part in shown.values() for label in drug_labels(part)]
        figure, axes = _panels(len(wanted), max(map(len, shown.values())), room_for(labels), figsize)
    else:
        figure, axes = ax.figure, np.array([ax])
    intervals = intervals and str(params.get("use")) == "response"
    pathways = category_colors([name for part in shown.values() for name in part["pathway"].astype(str)])
    for panel, (group, part) in zip(axes, shown.items()):
        _draw(panel, group, part, params, pathways if color == "pathway" else None, lifted=intervals)
        if intervals:
            _draw_intervals(panel, part)
    _keep_zero_in_view(axes)
    if color == "pathway":
        _pathway_legend(axes[min(len(axes), _PANELS_A_ROW) - 1], pathways, shown)
    else:
        _percentile_bar(figure, axes)
    lines = axes[-1].get_xlabel().count("\n") + 1
    axes[-1].annotate(
        _footnote(table, params),
        (0, 0),
        (0, -19 - 12.5 * lines),
        xycoords="axes fraction",
        textcoords="offset points",
        va="top",
        fontsize=SMALL - 1,
        color=muted(),
    )
    return axes[0] if len(axes) == 1 else axes


def _best(part: pd.DataFrame, n_drugs: int, direction: str) -> pd.DataFrame:
    """Rows to show, best first."""
    part = part.sort_values("rank", ascending=direction == "sensitive")
    return part.head(n_drugs).set_index("drug")


def _panels(n: int, n_drugs: int, room: float, figsize: tuple[float, float] | None) -> tuple[Figure, np.ndarray]:
    import matplotlib.pyplot as plt

    columns = min(n, _PANELS_A_ROW)
    rows = -(-n // columns)
    size = figsize or ((_PANEL_WIDTH + room) * columns + 1.0, rows * (_ROW_HEIGHT * n_drugs + 1.5))
    figure, axes = plt.subplots(rows, columns, figsize=size, layout="constrained", squeeze=False, sharex=True)
    for empty in axes.ravel()[n:]:
        empty.remove()
    for panel in axes.ravel()[:n]:
        panel.tick_params(labelbottom=True)  # the panel below may be missing
    return figure, axes.ravel()[:n]


def _draw(
    ax: Axes, group: str, part: pd.DataFrame, params: Any, pathways: dict[str, str] | None, *, lifted: bool
) -> None:
    """One group; stars are `lifted` above the lines of intervals."""
    y = np.arange(len(part))
    effect = part["effect"].to_numpy(dtype=float)
    ax.axvline(0, color=LINE, linewidth=0.8, zorder=1)
    ax.hlines(y, 0, effect, color=LINE, linewidth=1.4, zorder=2)
    refused = _is_refused(part)
    if refused:
        colors = {"c": OTHER}
    elif pathways is None:
        colors = {"c": part["percentile"], "cmap": diverging(), "vmin": 0, "vmax": 1}
    else:
        colors = {"c": [pathways.get(name, OTHER) for name in part["pathway"].astype(str)]}
    ax.scatter(effect, y, s=52, edgecolors=muted(), linewidths=0.6, zorder=3, **colors)
    for position, value, fdr in zip(y, effect, part["fdr"]):
        outwards = -1 if value < 0 else 1
        ax.annotate(
            stars(fdr),
            (value, position),
            (6 * outwards, 3.0 if lifted else -1.5),  # the glyph of a star stands high in its line
            textcoords="offset points",
            ha="left" if outwards > 0 else "right",
            va="center",
            fontsize=FONT,
            color=muted(),
            annotation_clip=False,
        )
    label_rows(ax, drug_labels(part), fontsize=FONT)
    ax.tick_params(axis="y", length=0)
    ax.tick_params(axis="x", labelsize=SMALL)
    first = part.iloc[0]
    replicates = f", {first['n_samples']} samples" if first["n_samples"] else ""
    title = ax.set_title(shorten(group, 34), fontsize=FONT + 1, loc="left", pad=17, color=OTHER if refused else ink())
    title.set_in_layout(False)  # a long name reaches over the next panel's labels instead of narrowing this one
    ax.annotate(
        f"{first['n_cells']:,} cells{replicates}" + (", not to be believed" if refused else ""),
        (0, 1),
        (0, 4),
        xycoords="axes fraction",
        textcoords="offset points",
        fontsize=SMALL,
        color=muted(),
    )
    reference = "other cells" if params["reference"] == "rest" else shorten(str(params["reference"]), 34)
    label = [f"Δ {params['unit']}", f"vs {reference}"]
    label = (" " if sum(map(len, label)) < 40 else "\n").join(label)
    ax.set_xlabel(f"{label}\n{arrows(params['more_sensitive_is'] == 'higher')}", fontsize=FONT)
    despine(ax)


def _is_refused(part: pd.DataFrame) -> bool:
    """Whether the predictions of a group are not to be believed."""
    return "reliability" in part and bool(part["reliability"].iloc[0] < MIN_RELIABILITY)


def _draw_intervals(ax: Axes, part: pd.DataFrame) -> None:
    """A thin line through each dot, as wide as the interval of the group's response."""
    if "half_width" not in part or part["half_width"].isna().all():
        return
    effect, half_width = part["effect"].to_numpy(dtype=float), part["half_width"].to_numpy(dtype=float)
    y = np.arange(len(part))
    ax.hlines(y, effect - half_width, effect + half_width, color=muted(), linewidth=0.7, zorder=2, label="interval")


def _keep_zero_in_view(axes: np.ndarray) -> None:
    """Widen the shared x axis so that no dot or interval is cut and zero is shown."""
    dots = [_dots(ax).get_offsets()[:, 0] for ax in axes]
    ends = [
        np.concatenate([path.vertices[:, 0] for path in lines.get_paths()])
        for ax in axes for lines in ax.collections if lines.get_label() == "interval"
    ]  # fmt: skip
    values = np.concatenate([*dots, *ends, [0.0]])
    values = values[np.isfinite(values)]
    low, high = float(values.min()), float(values.max())
    span = (high - low) or 1.0
    # room for stars where there are dots
    axes[0].set_xlim(low - span * (0.18 if low < 0 else 0.05), high + span * (0.18 if high > 0 else 0.05))


def _dots(ax: Axes) -> Any:
    """The dots of a panel."""
    from matplotlib.collections import PathCollection

    return next(part for part in ax.collections if isinstance(part, PathCollection))


def _percentile_bar(figure: Figure, axes: np.ndarray) -> None:
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    bar = figure.colorbar(
        ScalarMappable(Normalize(0, 1), diverging()),
        ax=list(axes),
        shrink=1.0 if len(axes) <= _PANELS_A_ROW else 0.7,
        aspect=22,
        pad=0.03,
    )
    bar.set_label(f"mean response percentile of the group\n{arrows(True)}", fontsize=SMALL)
    bar.set_ticks([0, 0.25, 0.5, 0.75, 1])
    bar.ax.tick_params(labelsize=SMALL)
    bar.outline.set_visible(False)


def _pathway_legend(ax: Axes, pathways: dict[str, str], shown: dict[str, pd.DataFrame]) -> None:
    from matplotlib.lines import Line2D

    present = {name for part in shown.values() for name in part["pathway"].astype(str)}
    entries = {shorten(name): color for name, color in pathways.items() if name in present}
    if present - set(pathways):
        entries["other"] = OTHER
    handles = [
        Line2D(
            [],
            [],
            linestyle="",
            marker="o",
            markersize=6,
            color=color,
            markeredgecolor=muted(),
            markeredgewidth=0.6,
            label=name,
        )
        for name, color in entries.items()
    ]
    ax.legend(
        handles=handles,
        title="target pathway",
        loc="upper left",
        bbox_to_anchor=(1.03, 1.0),
        frameon=False,
        fontsize=SMALL,
        title_fontsize=SMALL,
        borderaxespad=0,
    )


def _footnote(table: pd.DataFrame, params: Any) -> str:
    if table["fdr"].isna().all():
        return "No false discovery rates: too few samples."
    return f"FDR: * < 0.05, ** < 0.01, *** < 0.001, {params['replicates']} as replicates"
