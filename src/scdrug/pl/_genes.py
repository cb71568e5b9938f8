"""Contributions of genes to a predicted response, drawn as those of pathways are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from .._arguments import checked
from .._constants import KEYS
from ._pathways import attribute_pathways, attribute_pathways_heatmap

if TYPE_CHECKING:
    from anndata import AnnData
    from matplotlib.axes import Axes


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
