"""Bulk lines and single cells in one embedding."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from .._arguments import checked
from .._constants import KEYS
from .._labels import group_labels
from .._validate import check_key
from ..pp._domains import BULK, CELLS
from ._response import _embedding
from ._style import FONT, LINE, OTHER, SMALL, category_colors, muted, new_axes, shorten

if TYPE_CHECKING:
    from anndata import AnnData
    from matplotlib.axes import Axes


@checked
def domains_umap(
    adata: AnnData,
    color: str | None = None,
    *,
    basis: str = "umap",
    domain_key: str = KEYS.DOMAIN,
    size: float | None = None,
    figsize: tuple[float, float] = (5.4, 4.2),
    ax: Axes | None = None,
) -> Axes:
    """Plot bulk lines and single cells in one embedding.

    Lines are rings in grey, cells are dots. Where rings and dots lie together, the code has taken platform out of expression, or, if
    the cells are of one kind and the lines of many, biology as well: the picture does not tell which.

    Parameters
    ----------
    adata
        Lines and cells of :func:`scdrug.pp.join_domains` with an embedding, see *Examples*.
    color
        Column of `obs` whose labels colour the cells, the seven most frequent by name. If omitted, all cells have one colour.
    basis
        Embedding: ``"umap"`` stands for ``obsm["X_umap"]``.
    domain_key
        Column of `obs` with ``"bulk"`` and ``"cells"``.
    size
        Area of a cell's dot in points²; by number of cells if omitted.
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
        If there is no such embedding or column.
    ValueError
        If the column of domains holds anything else, or one domain only.

    Examples
    --------
    >>> import scanpy as sc, scdrug
    >>> reference, cells = scdrug.datasets.toy(), scdrug.datasets.toy_cells()
    >>> joined = scdrug.pp.join_domains(reference, cells)
    >>> scdrug.pp.pathway_mask(joined, "toy")
    >>> scdrug.model.PathwayTransfer.setup_anndata(joined)
    >>> model = scdrug.model.PathwayTransfer(joined, n_hidden=32)
    >>> model.train(max_epochs=2)
    >>> joined.obsm["X_code"] = model.get_latent_representation()
    >>> sc.pp.neighbors(joined, use_rep="X_code", method="gauss")
    >>> sc.tl.umap(joined)
    >>> ax = scdrug.pl.domains_umap(joined, "clone")
    >>> [text.get_text() for text in ax.get_legend().get_texts()][0]
    '120 lines'
    """
    hint = "Lines and cells are joined by scdrug.pp.join_domains."
    check_key(adata.obs, domain_key, where="adata.obs", hint=hint)
    points, name = _embedding(adata, basis)
    domains = adata.obs[domain_key].astype(str).to_numpy()
    found = sorted(set(domains))
    if found != [BULK, CELLS]:
        raise ValueError(f"`adata.obs[{domain_key!r}]` must hold both {BULK!r} and {CELLS!r}; found {found}. {hint}")
    bulk = domains == BULK
    labels = _cell_labels(adata, color, ~bulk)

    ax = new_axes(ax, figsize)
    n_cells = int((~bulk).sum())
    dot = size if size is not None else float(np.clip(30_000 / n_cells, 2.0, 18.0))
    ring = float(np.clip(30_000 / bulk.sum(), 8.0, 26.0))
    ax.scatter(
        *points[bulk].T, s=ring, facecolors="none", edgecolors=LINE, linewidths=0.7, rasterized=True,
        label=f"{int(bulk.sum()):,} lines",
    )  # fmt: skip
    for label, rows, shade in _layers(labels, ~bulk):
        ax.scatter(*points[rows].T, s=dot, color=shade, linewidths=0, alpha=0.8, rasterized=True, label=label)
    ax.set_xlabel(f"{name}1", fontsize=SMALL, color=muted(), loc="left")
    ax.set_ylabel(f"{name}2", fontsize=SMALL, color=muted(), loc="bottom")
    ax.set_xticks([])
    ax.set_yticks([])
    ax.spines[:].set_visible(False)
    ax.set_box_aspect(1)
    ax.margins(0.03)
    ax.legend(
        loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False, fontsize=SMALL, title=color, alignment="left",
        title_fontsize=FONT, handletextpad=0.2,
    )  # fmt: skip
    return ax


def _cell_labels(adata: AnnData, color: str | None, cells: np.ndarray) -> np.ndarray | None:
    """Label of each row, empty where there is none or where it is a line's."""
    if color is None:
        return None
    labels = pd.Series(group_labels(adata, color, argument="color")).astype(object).fillna("").to_numpy(dtype=object)
    return np.where(cells, labels, "")


def _layers(labels: np.ndarray | None, cells: np.ndarray) -> list[tuple[str, np.ndarray, str]]:
    """Legend text, rows and colour of each group of cells; the last ones are drawn on top, so small groups come last."""
    if labels is None:
        return [(f"{int(cells.sum()):,} cells", cells, "#0072b2")]
    colors = category_colors(list(labels[cells]))
    layers = [(shorten(name, 30), cells & (labels == name), shade) for name, shade in colors.items()]
    others = cells & ~np.isin(labels, list(colors))
    if others.any():
        layers.insert(0, ("other cells", others, OTHER))
    return layers
