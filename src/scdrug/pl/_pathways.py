"""Contributions of pathways to a predicted response."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from .._constants import KEYS
from .._validate import check_key
from ..tl._stored import group_labels
from ._style import FONT, RESISTANT, SENSITIVE, SMALL, despine, diverging, new_axes, shorten

if TYPE_CHECKING:
    from anndata import AnnData
    from matplotlib.axes import Axes

_HINT = "Run scdrug.tl.attribute_pathways(adata, model, drug) first."


def pathway_importance(
    adata: AnnData,
    *,
    n_pathways: int = 12,
    key: str = KEYS.PATHWAY_IG,
    figsize: tuple[float, float] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Plot the pathways that contribute most to a predicted response.

    Bars are mean contributions over cells: orange supports sensitive, blue resistant. The tick on each bar's side is the mean
    absolute contribution, by which pathways are ranked. Names in brackets are of nodes that are not well identified: what they
    stand for is uncertain.

    Parameters
    ----------
    adata
        Cells with the results of :func:`scdrug.tl.attribute_pathways`.
    n_pathways
        Number of pathways to show.
    key
        Where they are stored.
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
        If nothing was attributed.
    ValueError
        If `n_pathways` is not positive.

    Examples
    --------
    >>> import scdrug
    >>> reference, cells = scdrug.datasets.toy(), scdrug.datasets.toy_cells()
    >>> scdrug.pp.pathway_mask(reference, "toy")
    >>> scdrug.model.PathwayTransfer.setup_anndata(reference)
    >>> model = scdrug.model.PathwayTransfer(reference, n_hidden=32, linear_ridge=0)
    >>> model.train(max_epochs=3, cells=cells)
    >>> scdrug.tl.attribute_pathways(cells, model, "trametinib")
    >>> ax = scdrug.pl.pathway_importance(cells, n_pathways=5)
    >>> len(ax.get_yticklabels())
    5
    """
    stored, _ = _read(adata, key)
    top = _top(stored, n_pathways)
    ax = new_axes(ax, figsize or (5.6, 0.26 * len(top) + 1.2))
    position = np.arange(len(top))
    colors = np.where(top["mean"] >= 0, SENSITIVE, RESISTANT)
    ax.barh(position, top["mean"], color=colors, height=0.7)
    reach = np.where(top["mean"] >= 0, top["importance"], -top["importance"])
    ax.plot(reach, position, "|", color="black", markersize=9)
    ax.axvline(0, color="black", linewidth=0.8)
    ax.set_yticks(position, _labels(top), fontsize=FONT)
    ax.set_ylim(len(top) - 0.4, -0.6)
    ax.set_xlabel(
        f"contribution to sensitivity to {shorten(str(stored['drug_name']))}\nresistant  ←  →  sensitive", fontsize=FONT
    )
    ax.tick_params(axis="x", labelsize=SMALL)
    despine(ax)
    return ax


def pathway_heatmap(
    adata: AnnData,
    groupby: str | None = None,
    *,
    n_pathways: int = 12,
    key: str = KEYS.PATHWAY_IG,
    figsize: tuple[float, float] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Plot contributions of the most important pathways, cell by cell.

    Orange supports sensitive, blue resistant. Cells stand side by side, by group if one is named and then by their summed
    contribution.

    Parameters
    ----------
    adata
        Cells with the results of :func:`scdrug.tl.attribute_pathways`.
    groupby
        Column of `obs` to order cells by. Cells without label are left out.
    n_pathways
        Number of pathways to show.
    key
        Where they are stored.
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
        If nothing was attributed, or there is no such column.
    ValueError
        If `n_pathways` is not positive.

    Examples
    --------
    >>> import scdrug
    >>> reference, cells = scdrug.datasets.toy(), scdrug.datasets.toy_cells()
    >>> scdrug.pp.pathway_mask(reference, "toy")
    >>> scdrug.model.PathwayTransfer.setup_anndata(reference)
    >>> model = scdrug.model.PathwayTransfer(reference, n_hidden=32, linear_ridge=0)
    >>> model.train(max_epochs=3, cells=cells)
    >>> scdrug.tl.attribute_pathways(cells, model, "trametinib")
    >>> ax = scdrug.pl.pathway_heatmap(cells, "clone", n_pathways=5)
    >>> [label.get_text() for label in ax.get_xticklabels()]
    ['clone-a', 'clone-b', 'clone-c', 'normal']
    """
    stored, table = _read(adata, key)
    top = _top(stored, n_pathways)
    labels = pd.Categorical(["cells"] * adata.n_obs) if groupby is None else group_labels(adata, groupby)
    codes = labels.codes.astype(int)
    total = table.to_numpy().sum(axis=1)
    order = np.lexsort((total, codes))
    order = order[codes[order] >= 0]

    values = table[list(top.index)].to_numpy()[order].T
    ax = new_axes(ax, figsize or (7.0, 0.26 * len(top) + 1.6))
    largest = float(np.quantile(np.abs(values), 0.99)) or 1.0
    mesh = ax.imshow(values, aspect="auto", cmap=diverging(), vmin=-largest, vmax=largest, interpolation="nearest")
    ax.set_yticks(np.arange(len(top)), _labels(top), fontsize=FONT)
    edges = np.flatnonzero(np.diff(codes[order])) + 0.5
    for edge in edges:
        ax.axvline(edge, color="black", linewidth=0.8)
    if groupby is None:
        ax.set_xticks([])
        ax.set_xlabel(f"{len(order):,} cells, by sum of contributions", fontsize=FONT)
    else:
        present = np.unique(codes[order])
        middle = [np.flatnonzero(codes[order] == code).mean() for code in present]
        ax.set_xticks(middle, [shorten(str(labels.categories[code])) for code in present], fontsize=FONT)
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    bar = ax.figure.colorbar(mesh, ax=ax, location="top", shrink=0.5, aspect=28, anchor=(0.0, 0.5), pad=0.04)
    bar.set_label(f"contribution, {shorten(str(stored['drug_name']))}\nresistant  ←  →  sensitive", fontsize=SMALL)
    bar.ax.tick_params(labelsize=SMALL)
    bar.outline.set_visible(False)
    return ax


def _read(adata: AnnData, key: str) -> tuple[Mapping[str, Any], pd.DataFrame]:
    check_key(dict(adata.uns), key, where="adata.uns", hint=_HINT)
    check_key(dict(adata.obsm), key, where="adata.obsm", hint=_HINT)
    return adata.uns[key], adata.obsm[key]


def _top(stored: Mapping[str, Any], n: int) -> pd.DataFrame:
    if n < 1:
        raise ValueError(f"`n_pathways` must be at least 1; found {n}.")
    return stored["ranking"].head(n)


def _labels(top: pd.DataFrame) -> list[str]:
    names = [shorten(str(name).replace("_", " "), 44) for name in top.index]
    return [name if good else f"({name})" for name, good in zip(names, top["identified"])]
