"""Plot of combinations of drugs over clones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from .._arguments import checked
from ..tl._perturbed import stored
from ._style import FONT, LINE, MIDDLE, OTHER, SENSITIVE, SMALL, despine, muted, paper, sequential, shorten

if TYPE_CHECKING:
    from anndata import AnnData
    from matplotlib.axes import Axes

_TABLE = ("rank", "drugs", "names", "worst_lower", "null_lower", "best_single_lower")
_KILL = ("rank", "drugs", "names", "n_drugs", "group", "kill")
#: Shares are written for as many clones; of more, the colours are left.
_WRITTEN = 20


@checked
def suggest_combinations(
    adata: AnnData,
    *,
    n_combinations: int = 5,
    key: str = "combinations",
    figsize: tuple[float, float] | None = None,
) -> np.ndarray:
    """Plot what combinations of drugs, and each of their drugs alone, kill of every clone.

    Parameters
    ----------
    adata
        Cells with the results of :func:`scdrug.tl.suggest_combinations`.
    n_combinations
        Combinations shown.
    key
        Where the results are.
    figsize
        Width and height of the figure in inches.

    Returns
    -------
    Two Axes. Left, the share of each clone, and of normal cells, that is killed: a combination in bold type over its drugs. Right, the
    worst clone at the lower bound of the interval: by the best single drug of the combination (grey), with each clone killed by its best
    drug (diamond), and by the combination under independence (orange).

    Raises
    ------
    KeyError
        If there are no results.

    Examples
    --------
    >>> import scdrug
    >>> cells, reference = scdrug.datasets.toy_cells(), scdrug.datasets.toy()
    >>> scdrug.model.KernelRidge.setup_anndata(reference)
    >>> model = scdrug.model.KernelRidge(reference)
    >>> model.train()
    >>> scdrug.tl.predict_response(cells, model)
    >>> scdrug.tl.suggest_combinations(cells, "clone", normal="normal")
    >>> clones, gain = scdrug.pl.suggest_combinations(cells, n_combinations=3)
    >>> len(clones.get_yticklabels())
    9
    """
    import matplotlib.pyplot as plt

    tables = {"table": _TABLE, "kill": _KILL}
    found = stored(adata, key, function="suggest_combinations", entries=("params",), tables=tables)
    table = found["table"].head(n_combinations)
    kill = found["kill"][found["kill"]["rank"].isin(table["rank"])]
    groups = list(dict.fromkeys(kill["group"].astype(str)))
    rows = kill.drop_duplicates(["rank", "drugs"]).reset_index(drop=True)
    values = kill["kill"].to_numpy(dtype=float).reshape(len(rows), len(groups))
    # a little room between combinations
    y = np.arange(len(rows)) + 0.45 * (rows["rank"].to_numpy() - 1)
    is_set = rows["n_drugs"].to_numpy() > rows.groupby("rank")["n_drugs"].transform("min").to_numpy()
    is_set |= ~rows["rank"].duplicated(keep=False).to_numpy()

    width = len(groups) * (0.62 if len(groups) <= _WRITTEN else 0.24)
    size = figsize or (width + 6.6, 0.25 * float(y[-1] + 1) + 1.9)
    figure, axes = plt.subplots(1, 2, figsize=size, layout="constrained", sharey=True, width_ratios=[width, 3.0])
    normal = {str(name) for name in np.atleast_1d(np.asarray(found["params"]["normal"], dtype=object))}
    mesh = _clones(axes[0], values, y, groups, normal)
    names = [("" if whole else "   ") + shorten(str(name), 48) for name, whole in zip(rows["names"], is_set)]
    axes[0].set_yticks(y, names, fontsize=SMALL)
    for label, whole in zip(axes[0].get_yticklabels(), is_set):
        label.set_fontweight("bold" if whole else "normal")
    _gain(axes[1], table, y[is_set])
    axes[0].set_ylim(float(y[-1]) + 0.7, -0.7)
    bar = figure.colorbar(mesh, ax=axes[0], location="top", shrink=0.6, aspect=24, anchor=(0.0, 0.5), pad=0.02)
    bar.set_label("share that is killed, if drugs act independently", fontsize=SMALL)
    bar.set_ticks([0, 0.5, 1])
    bar.ax.tick_params(labelsize=SMALL)
    bar.outline.set_visible(False)
    return axes


def _clones(ax: Axes, values: np.ndarray, y: np.ndarray, groups: list[str], normal: set[str]) -> Any:
    colors = sequential()
    for row, place in zip(values, y):
        edges = np.array([place - 0.5, place + 0.5])
        mesh = ax.pcolormesh(
            np.arange(len(groups) + 1) - 0.5,
            edges,
            row[None],
            cmap=colors,
            vmin=0,
            vmax=1,
            edgecolors=paper(),
            linewidth=0.6,
        )
        for column, value in enumerate(row if len(row) <= _WRITTEN else ()):
            ink = "white" if value > 0.6 else "black"
            ax.text(
                column,
                place,
                f"{value:.2f}"[1:] if value < 0.995 else "1",
                ha="center",
                va="center",
                fontsize=SMALL - 1,
                color=ink,
            )
    labels = [f"{shorten(name, 20)}{' (normal)' if name in normal and name != 'normal' else ''}" for name in groups]
    ax.set_xticks(np.arange(len(groups)), labels, rotation=90, fontsize=SMALL)
    first = next((place for place, name in enumerate(groups) if name in normal), None)
    if first:
        ax.axvline(first - 0.5, color=muted(), linewidth=1.0)
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    return mesh


def _gain(ax: Axes, table: pd.DataFrame, y: np.ndarray) -> None:
    single, null, both = (
        table[name].to_numpy(dtype=float) for name in ("best_single_lower", "null_lower", "worst_lower")
    )
    ax.hlines(y, single, both, color=LINE, linewidth=1.4, zorder=1)
    ax.scatter(single, y, s=40, c=OTHER, edgecolors=muted(), linewidths=0.6, zorder=2, label="best single drug")
    ax.scatter(
        null,
        y,
        s=40,
        facecolors=MIDDLE,
        edgecolors=muted(),
        linewidths=0.9,
        marker="D",
        zorder=2,
        label="each clone by its best drug",
    )
    ax.scatter(both, y, s=48, c=SENSITIVE, edgecolors=muted(), linewidths=0.6, zorder=3, label="combination")
    ax.set_xlim(0, 1)
    ax.set_xlabel("killed of the worst clone,\nlower bound", fontsize=FONT)
    ax.tick_params(axis="x", labelsize=SMALL)
    ax.tick_params(axis="y", length=0)
    ax.legend(loc="lower left", bbox_to_anchor=(0, 1.0), frameon=False, fontsize=SMALL, borderaxespad=0.2)
    despine(ax)
