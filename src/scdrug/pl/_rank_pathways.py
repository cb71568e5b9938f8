"""Pathways that set groups of cells apart in their predicted response."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from .._arguments import checked
from .._constants import KEYS
from .._labels import Label
from ..tl._attribution_stored import read_pathway_ranking
from ._pathways import comes_back, is_named, label_features, left_out, write_stability
from ._style import FONT, OTHER, RESISTANT, SENSITIVE, SMALL, despine, ink, muted, shorten

if TYPE_CHECKING:
    from anndata import AnnData
    from matplotlib.axes import Axes


@checked
def rank_pathways(
    adata: AnnData,
    groups: Label | Sequence[Label] | None = None,
    *,
    n_pathways: int = 10,
    key: str = KEYS.RANKED_PATHWAYS,
    figsize: tuple[float, float] | None = None,
) -> list[Axes]:
    """Plot the pathways that make groups of cells more sensitive or more resistant than their reference.

    One panel per group. Bars are differences of mean contributions: orange makes the group more sensitive, blue more
    resistant. With several models they are shrunk by their stability, which stands at the right, the line is one standard
    deviation over models, and pathways whose difference does not come back from training to training are left out and counted.
    Names in grey are not well identified; grey bars are of what no pathway explains.

    Parameters
    ----------
    adata
        Cells with the results of :func:`scdrug.tl.rank_pathways`.
    groups
        Groups to show; all if omitted.
    n_pathways
        Number of pathways per group.
    key
        Where the results are stored.
    figsize
        Width and height of the figure in inches.

    Returns
    -------
    One Axes per group.

    Raises
    ------
    KeyError
        If no pathways were ranked, or a group is unknown.
    ValueError
        If `n_pathways` is not positive.

    Examples
    --------
    >>> import scdrug
    >>> reference, cells = scdrug.datasets.toy(), scdrug.datasets.toy_cells()
    >>> scdrug.model.KernelRidge.setup_anndata(reference)
    >>> model = scdrug.model.KernelRidge(reference)
    >>> model.train()
    >>> scdrug.tl.attribute_genes(cells, model, "trametinib")
    >>> scdrug.tl.rank_pathways(cells, "clone", sample_key="sample", key="gene_ig")
    >>> axes = scdrug.pl.rank_pathways(cells, ["clone-a", "clone-b"], n_pathways=5)
    >>> [ax.get_title(loc="left") for ax in axes]
    ['clone-a', 'clone-b']
    """
    import matplotlib.pyplot as plt

    table, params = read_pathway_ranking(adata, key, groups)
    names = list(dict.fromkeys(table["group"].astype(str)))
    n_columns = min(len(names), 2)
    n_rows = -(-len(names) // n_columns)
    size = figsize or (4.9 * n_columns, n_rows * (0.25 * n_pathways + 0.75) + 0.4)
    figure, grid = plt.subplots(n_rows, n_columns, figsize=size, layout="constrained", squeeze=False, sharex=True)
    for ax in grid.ravel()[len(names) :]:
        ax.set_visible(False)
    axes = list(grid.ravel()[: len(names)])
    for ax, name in zip(axes, names):
        whole = table[table["group"].astype(str) == name]
        _draw(ax, whole[comes_back(whole) | ~is_named(whole)].head(n_pathways), str(params["attributed_to"]))
        if "repeats" in whole:
            ax.set_xlabel(left_out(whole).strip(), fontsize=SMALL)
        ax.set_title(shorten(name, 40), fontsize=FONT + 1, loc="left")
        ax.tick_params(axis="x", labelsize=SMALL, labelbottom=True)
    other = "other cells" if params["reference"] == "rest" else str(params["reference"])
    unit = f" [{params['unit']}]" if params["unit"] else ""
    figure.supxlabel(
        f"contribution to {params['name']}{unit}, difference to {other}\nmore resistant  ←  →  more sensitive",
        fontsize=FONT,
    )
    return axes


def _draw(ax: Axes, rows: pd.DataFrame, what: str) -> None:
    position = np.arange(len(rows))
    shrunk = rows["stability"].to_numpy() if "stability" in rows else np.ones(len(rows))
    score = shrunk * rows["score"].to_numpy()
    colors = np.where(score >= 0, SENSITIVE, RESISTANT)
    if "kind" in rows:
        colors = np.where(rows["kind"] == "pathway", colors, OTHER)
    ax.barh(position, score, color=colors, height=0.7)
    if "score_sd" in rows:
        ax.errorbar(score, position, xerr=shrunk * rows["score_sd"], fmt="none", color=muted(), linewidth=0.9)
    ax.axvline(0, color=ink(), linewidth=0.8)
    label_features(ax, rows, position, what)
    ax.set_ylim(max(len(rows), 1) - 0.4, -0.6)
    write_stability(ax, rows, position)
    despine(ax)
