"""Plots of gene interactions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .._arguments import checked
from ..tl._perturbed import stored
from ._style import CATEGORIES, OTHER, RESISTANT, SENSITIVE, SMALL, despine, label_rows, new_axes, shorten

if TYPE_CHECKING:
    from anndata import AnnData
    from matplotlib.axes import Axes


@checked
def gene_interactions(
    adata: AnnData, *, n_pairs: int = 25, key: str = "gene_interactions", figsize: tuple[float, float] | None = None,
    ax: Axes | None = None,
) -> Axes:  # fmt: skip
    """Plot the pairs of genes with the strongest attention under a drug.

    Parameters
    ----------
    adata
        What :func:`scdrug.tl.gene_interactions` was run on.
    n_pairs
        Number of pairs.
    key
        Where the results are.
    figsize
        Width and height of a new figure in inches.
    ax
        Where to plot.

    Returns
    -------
    The Axes: one dot per pair; pairs of the prior network are orange.

    Raises
    ------
    KeyError
        If there are no results.

    Examples
    --------
    >>> import anndata, numpy as np, pandas as pd, scdrug
    >>> adata = anndata.AnnData(np.zeros((1, 1)))
    >>> pairs = pd.DataFrame({"gene_a": ["EGFR"], "gene_b": ["KRAS"], "attention": [1.0], "in_prior": [True]})
    >>> adata.uns["gene_interactions"] = {"pairs": pairs, "name": "Drug"}
    >>> scdrug.pl.gene_interactions(adata).get_yticklabels()[0].get_text()
    'EGFR – KRAS'
    """
    found = stored(
        adata,
        key,
        function="gene_interactions",
        entries=("name",),
        tables={"pairs": ("gene_a", "gene_b", "attention", "in_prior")},
    )
    pairs = found["pairs"].head(n_pairs)
    ax = new_axes(ax, figsize or (4.2, 0.19 * len(pairs) + 1.1))
    y = np.arange(len(pairs))
    known = pairs["in_prior"].to_numpy(dtype=bool)
    ax.hlines(y, 0, pairs["attention"], color=OTHER, linewidth=1)
    ax.scatter(pairs["attention"], y, c=np.where(known, SENSITIVE, RESISTANT), s=18, zorder=3)
    label_rows(ax, [f"{a} – {b}" for a, b in zip(pairs["gene_a"], pairs["gene_b"])])
    ax.set_xlabel("mean attention" + " (orange: in the prior network)" * bool(known.any()), fontsize=SMALL)
    ax.set_title(f"Strongest pairs of genes under {found['name']}", fontsize=SMALL + 1, loc="left")
    despine(ax)
    return ax


@checked
def enrich_interactions(
    adata: AnnData, *, n_sets: int = 15, key: str = "enriched_interactions", figsize: tuple[float, float] | None = None,
    ax: Axes | None = None,
) -> Axes:  # fmt: skip
    """Plot the gene sets that the strongest interactions are enriched in, against the panel as background.

    Parameters
    ----------
    adata
        What :func:`scdrug.tl.enrich_interactions` was run on.
    n_sets
        Number of gene sets.
    key
        Where the results are.
    figsize
        Width and height of a new figure in inches.
    ax
        Where to plot.

    Returns
    -------
    The Axes: −log10 p of each set; orange below a false discovery rate of 0.05.

    Raises
    ------
    KeyError
        If there are no results.

    Examples
    --------
    >>> import anndata, numpy as np, pandas as pd, scdrug
    >>> adata = anndata.AnnData(np.zeros((1, 1)))
    >>> table = pd.DataFrame({"n_set": [9], "n_overlap": [4], "p_value": [0.01], "fdr": [0.01]}, index=["Mitosis"])
    >>> adata.uns["enriched_interactions"] = {"table": table}
    >>> scdrug.pl.enrich_interactions(adata).get_yticklabels()[0].get_text()
    'Mitosis (4/9)'
    """
    columns = ("n_set", "n_overlap", "p_value", "fdr")
    table = stored(adata, key, function="enrich_interactions", tables={"table": columns})["table"].head(n_sets)
    labels = [
        f"{shorten(str(name), 44)} ({int(k)}/{int(n)})"
        for name, k, n in zip(table.index, table["n_overlap"], table["n_set"])
    ]
    ax = new_axes(ax, figsize or (6.2, 0.22 * len(table) + 1.0))
    colors = np.where(table["fdr"] < 0.05, SENSITIVE, CATEGORIES[4])
    ax.barh(np.arange(len(table)), -np.log10(np.maximum(table["p_value"], 1e-300)), color=colors, height=0.7)
    label_rows(ax, labels)
    ax.set_xlabel("−log10 p (orange: FDR < 0.05)", fontsize=SMALL)
    ax.set_ylabel("gene set (overlap / set)", fontsize=SMALL)
    despine(ax)
    return ax
