"""Contributions of pathways (or genes) to a predicted response."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from .._arguments import checked
from .._constants import KEYS
from .._former import formerly
from .._labels import group_labels
from ..tl._attribution_stored import Stored, read_attribution, select_features
from ._style import (
    FONT,
    LINE,
    OTHER,
    RESISTANT,
    SENSITIVE,
    SMALL,
    despine,
    diverging,
    ink,
    muted,
    new_axes,
    paper,
    shorten,
)

if TYPE_CHECKING:
    from anndata import AnnData
    from matplotlib.axes import Axes

#: More groups than these have their names written upright.
_GROUPS_SIDE_BY_SIDE = 6


@checked
def attribute_pathways(
    adata: AnnData,
    drug: str | None = None,
    *,
    n_pathways: int = 12,
    key: str = KEYS.PATHWAY_IG,
    figsize: tuple[float, float] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Plot the pathways that contribute most to a predicted response.

    Bars are mean contributions over cells: orange supports sensitive, blue resistant. The circle is the mean absolute
    contribution, by which pathways are ranked, on the side of the bar; its line is one standard deviation over models, if there
    are several. Both are then shrunk by the pathway's stability, which stands at the right, and pathways that do not come back
    from training to training are left out and counted. Where bar and circle are apart, the pathway supports sensitive in some cells and resistant in others. Names in
    grey are not well identified: what the node stands for is uncertain. Grey bars below the line are of what no pathway
    explains.

    Parameters
    ----------
    adata
        Cells with the results of :func:`scdrug.tl.attribute_pathways`.
    drug
        Name or id of the drug; may be omitted if there is only one.
    n_pathways
        Number of pathways to show.
    key
        Where :func:`scdrug.tl.attribute_pathways` stored its results.
    figsize
        Width and height of a new figure in inches.
    ax
        Where to plot.

    Returns
    -------
    The Axes.

    Raises
    ------
    KeyError
        If nothing was attributed, or the drug is unknown.
    ValueError
        If `n_pathways` is not positive.

    Examples
    --------
    >>> import scdrug
    >>> reference, cells = scdrug.datasets.toy(), scdrug.datasets.toy_cells()
    >>> scdrug.pp.pathway_mask(reference, "toy")
    >>> scdrug.model.PathwayTransfer.setup_anndata(reference)
    >>> model = scdrug.model.PathwayTransfer(reference, n_hidden=32, n_free=0, cells=cells)
    >>> model.train(max_epochs=3)
    >>> scdrug.tl.attribute_pathways(cells, model, "trametinib")
    >>> ax = scdrug.pl.attribute_pathways(cells, n_pathways=5)
    >>> len(ax.get_yticklabels())
    5
    """
    stored = read_attribution(adata, key, drug)
    top, rest = top_features(stored, n_pathways)
    shown = pd.concat([top, rest]) if len(rest) else top
    stability = shown["stability"].to_numpy() if "stability" in shown else np.ones(len(shown))
    position = np.arange(len(shown)) + 0.5 * (np.arange(len(shown)) >= len(top))
    mean, size = (stability * shown[name].to_numpy() for name in ("towards_sensitive", "importance"))
    side = np.where(mean >= 0, 1.0, -1.0)
    colors = np.where(mean >= 0, SENSITIVE, RESISTANT)
    colors[len(top) :] = OTHER

    ax = new_axes(ax, figsize or (6.0, 0.27 * len(shown) + 1.1))
    ax.barh(position, mean, color=colors, height=0.7)
    spread = stability * shown["importance_sd"].to_numpy() if "importance_sd" in shown else np.zeros(len(shown))
    ax.errorbar(
        side * size,
        position,
        xerr=spread,
        fmt="o",
        color=ink(),
        markersize=3.2,
        markerfacecolor=paper(),
        linewidth=0.9,
    )
    ax.axvline(0, color=ink(), linewidth=0.8)
    if len(rest):
        ax.axhline(len(top) - 0.25, color=LINE, linewidth=0.6)
    label_features(ax, shown, position, stored.what)
    ax.set_ylim(position[-1] + 0.6, -0.6)
    ax.margins(x=0.06)
    write_stability(ax, shown, position)
    legend = "bar: mean over cells, circle: mean size" + (" ± sd over models" if "importance_sd" in shown else "")
    legend += left_out(stored.table)
    ax.set_xlabel(f"{contribution_label(stored)}\n{legend}", fontsize=SMALL)
    ax.set_title(shorten(stored.name, 40), fontsize=FONT + 2, loc="left")
    ax.tick_params(axis="x", labelsize=SMALL)
    despine(ax)
    return ax


@checked
@formerly(features="pathways")
def attribute_pathways_heatmap(
    adata: AnnData,
    groupby: str | None = None,
    *,
    drug: str | None = None,
    n_pathways: int = 12,
    pathways: Sequence[str] | None = None,
    key: str = KEYS.PATHWAY_IG,
    figsize: tuple[float, float] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Plot contributions of the most important pathways, cell by cell.

    Orange supports sensitive, blue resistant. Cells stand side by side, by group if one is named and within it from most resistant
    to most sensitive by the sum of all contributions. Groups have the same width, however many cells they have.

    Parameters
    ----------
    adata
        Cells with the results of :func:`scdrug.tl.attribute_pathways`.
    groupby
        Column of `obs` to order cells by. Cells without label are left out.
    drug
        Name or id of the drug; may be omitted if there is only one.
    n_pathways
        Number of pathways to show, if they are not named.
    pathways
        Pathways to show, from top to bottom.
    key
        Where :func:`scdrug.tl.attribute_pathways` stored its results.
    figsize
        Width and height of a new figure in inches.
    ax
        Where to plot.

    Returns
    -------
    The Axes; the colour bar is an Axes of its own in the same figure.

    Raises
    ------
    KeyError
        If nothing was attributed, or there is no such column, drug or pathway.
    ValueError
        If `n_pathways` is not positive, or no cell has a label.

    Examples
    --------
    >>> import scdrug
    >>> reference, cells = scdrug.datasets.toy(), scdrug.datasets.toy_cells()
    >>> scdrug.pp.pathway_mask(reference, "toy")
    >>> scdrug.model.PathwayTransfer.setup_anndata(reference)
    >>> model = scdrug.model.PathwayTransfer(reference, n_hidden=32, cells=cells)
    >>> model.train(max_epochs=3)
    >>> scdrug.tl.attribute_pathways(cells, model, "trametinib")
    >>> ax = scdrug.pl.attribute_pathways_heatmap(cells, "clone", n_pathways=5)
    >>> [label.get_text().split()[0] for label in ax.get_xticklabels()]
    ['clone-a', 'clone-b', 'clone-c', 'normal']
    """
    stored = read_attribution(adata, key, drug)
    if pathways is None:
        top, _ = top_features(stored, n_pathways)
    else:
        names = select_features(pathways, list(stored.table[stored.what].astype(str)), stored.what)
        top = stored.table.set_index(stored.what, drop=False).loc[names]
    table = stored.cells
    labels = pd.Categorical(["cells"] * adata.n_obs) if groupby is None else group_labels(adata, groupby)
    if not (labels.codes >= 0).any():
        raise ValueError(f"No cell has a label in `adata.obs[{groupby!r}]`.")
    codes = labels.codes.astype(int)
    order = np.lexsort((table.to_numpy().sum(axis=1), codes))
    order = order[codes[order] >= 0]
    values = table[list(top[stored.what])].to_numpy()[order].T

    groups, counts = np.unique(codes[order], return_counts=True)
    many = len(groups) > _GROUPS_SIDE_BY_SIDE
    ax = new_axes(ax, figsize or (max(7.4, 0.26 * len(groups) + 4.0), 0.27 * len(top) + (3.2 if many else 1.5)))
    # every group takes one unit of width, and its cells share it
    edges = np.concatenate([code + np.arange(n) / n for code, n in enumerate(counts)] + [[len(groups)]])
    largest = float(np.quantile(np.abs(values), 0.99)) or 1.0
    mesh = ax.pcolormesh(
        edges, np.arange(len(top) + 1), values, cmap=diverging(), vmin=-largest, vmax=largest, rasterized=True
    )
    for edge in range(1, len(groups)):
        ax.axvline(edge, color=paper(), linewidth=1.2 if many else 2.5)
    label_features(ax, top, np.arange(len(top)) + 0.5, stored.what)
    ax.set_ylim(len(top), 0)
    if groupby is None:
        ax.set_xticks([])
        ax.set_xlabel(f"{len(order):,} cells, from most resistant to most sensitive", fontsize=FONT)
    else:
        names = [_group_label(labels.categories[code], n, upright=many) for code, n in zip(groups, counts)]
        ax.set_xticks(np.arange(len(groups)) + 0.5, names, fontsize=SMALL, rotation=90 if many else 0)
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    beyond = "both" if np.abs(values).max() > largest else "neither"
    bar = ax.figure.colorbar(mesh, ax=ax, location="right", shrink=0.85, aspect=22, pad=0.02, extend=beyond)
    bar.set_label(contribution_label(stored), fontsize=SMALL)
    bar.ax.tick_params(labelsize=SMALL)
    bar.outline.set_visible(False)
    ax.set_title(shorten(stored.name, 40), fontsize=FONT + 2, loc="left")
    return ax


@checked
def attribute_genes(
    adata: AnnData,
    drug: str | None = None,
    *,
    n_genes: int = 12,
    key: str = KEYS.GENE_IG,
    figsize: tuple[float, float] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Plot the genes that contribute most to a predicted response, as :func:`attribute_pathways` does pathways.

    Parameters
    ----------
    adata
        Cells with the results of :func:`scdrug.tl.attribute_genes`.
    drug
        Name or id of the drug; may be omitted if there is only one.
    n_genes
        Number of genes to show.
    key
        Where :func:`scdrug.tl.attribute_genes` stored its results.
    figsize
        Width and height of a new figure in inches.
    ax
        Where to plot.

    Returns
    -------
    The Axes.

    Raises
    ------
    KeyError
        If nothing was attributed, or the drug is unknown.

    Examples
    --------
    >>> import scdrug
    >>> reference, cells = scdrug.datasets.toy(), scdrug.datasets.toy_cells()
    >>> scdrug.model.KernelRidge.setup_anndata(reference)
    >>> model = scdrug.model.KernelRidge(reference)
    >>> model.train()
    >>> scdrug.tl.attribute_genes(cells, model, "trametinib")
    >>> ax = scdrug.pl.attribute_genes(cells, n_genes=5)
    >>> len(ax.get_yticklabels())
    5
    """
    return attribute_pathways(adata, drug, n_pathways=n_genes, key=key, figsize=figsize, ax=ax)


@checked
def attribute_genes_heatmap(
    adata: AnnData,
    groupby: str | None = None,
    *,
    drug: str | None = None,
    n_genes: int = 12,
    genes: Sequence[str] | None = None,
    key: str = KEYS.GENE_IG,
    figsize: tuple[float, float] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Plot contributions of the most important genes, cell by cell.

    Parameters
    ----------
    adata
        Cells with the results of :func:`scdrug.tl.attribute_genes`.
    groupby
        Column of `obs` to order cells by. Cells without label are left out.
    drug
        Name or id of the drug; may be omitted if there is only one.
    n_genes
        Number of genes to show, if they are not named.
    genes
        Genes to show, from top to bottom.
    key
        Where :func:`scdrug.tl.attribute_genes` stored its results.
    figsize
        Width and height of a new figure in inches.
    ax
        Where to plot.

    Returns
    -------
    The Axes; the colour bar is an Axes of its own in the same figure.

    Raises
    ------
    KeyError
        If nothing was attributed, or there is no such column, drug or gene.

    Examples
    --------
    >>> import scdrug
    >>> reference, cells = scdrug.datasets.toy(), scdrug.datasets.toy_cells()
    >>> scdrug.model.KernelRidge.setup_anndata(reference)
    >>> model = scdrug.model.KernelRidge(reference)
    >>> model.train()
    >>> scdrug.tl.attribute_genes(cells, model, "trametinib")
    >>> ax = scdrug.pl.attribute_genes_heatmap(cells, "clone", n_genes=5)
    >>> len(ax.get_yticklabels())
    5
    """
    return attribute_pathways_heatmap(
        adata, groupby, drug=drug, n_pathways=n_genes, pathways=genes, key=key, figsize=figsize, ax=ax
    )


def contribution_label(stored: Stored) -> str:
    """Name of an axis of contributions, with unit and direction."""
    unit = f" [{stored.unit}]" if stored.unit else ""
    return f"contribution{unit}\nsupports resistant  ←  →  supports sensitive"


def top_features(stored: Stored, n: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The most important pathways or genes that come back from training to training, and the rows of what no pathway explains."""
    table = stored.table
    named = is_named(table)
    return table[named & comes_back(table)].head(n), table[~named]


def is_named(table: pd.DataFrame) -> np.ndarray:
    """Which rows are pathways or genes, and not what no pathway explains (bool)."""
    return np.ones(len(table), dtype=bool) if "kind" not in table else (table["kind"] == "pathway").to_numpy()


def comes_back(table: pd.DataFrame) -> np.ndarray:
    """Which rows come back from training to training; all if there was one (bool)."""
    return table["repeats"].to_numpy(dtype=bool) if "repeats" in table else np.ones(len(table), dtype=bool)


def left_out(table: pd.DataFrame) -> str:
    """A line on what does not come back from training to training."""
    named = is_named(table)
    if "repeats" not in table:
        return "\none training: whether these come back in another is not known" if "kind" in table else ""
    return f"\n{int((named & comes_back(table)).sum())} of {int(named.sum())} come back from training to training"


def write_stability(ax: Axes, rows: pd.DataFrame, position: np.ndarray) -> None:
    """Write the stability of each row at the right."""
    if "stability" not in rows or not len(rows):
        return
    style = {"fontsize": SMALL, "clip_on": False}
    for value, y in zip(rows["stability"], position):
        ax.text(1.015, y, f"{value:.2f}", transform=ax.get_yaxis_transform(), va="center", **style)
    ax.text(1.015, 1.0, "stability", transform=ax.transAxes, va="bottom", color=muted(), **style)


def label_features(ax: Axes, rows: pd.DataFrame, position: np.ndarray, what: str) -> None:
    """Write names at the left; those that are not identified, or not measured, in grey."""
    names = [str(name) for name in rows[what]]
    ax.set_yticks(position, readable_names(names), fontsize=SMALL)
    column = "identified" if "identified" in rows else "measured"
    if column in rows:
        for label, good in zip(ax.get_yticklabels(), rows[column].astype(bool)):
            label.set_color(ink() if good else LINE)


def readable_names(names: Sequence[str]) -> list[str]:
    """Names of pathways without the prefix of their collection and without underscores."""
    prefixes = {name.split("_")[0] for name in names if "_" in name}
    prefix = f"{prefixes.pop()}_" if len(prefixes) == 1 and sum("_" in name for name in names) > 1 else ""
    return [shorten(name.removeprefix(prefix).replace("_", " "), 44) for name in names]


def _group_label(name: str, n_cells: int, *, upright: bool) -> str:
    """Name and size of a group, in one line where it stands upright."""
    return f"{shorten(str(name), 26)} ({n_cells:,})" if upright else f"{_wrap(name)}\n{n_cells:,} cells"


def _wrap(name: str) -> str:
    """Break a long label of a group in two."""
    name = shorten(str(name), 34)
    if len(name) <= 16 or " " not in name:
        return name
    breaks = [i for i, letter in enumerate(name) if letter == " "]
    middle = min(breaks, key=lambda i: abs(i - len(name) / 2))
    return f"{name[:middle]}\n{name[middle + 1 :]}"
