"""Contributions of pathways and genes as tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from .._arguments import checked
from .._constants import KEYS
from .._labels import Label, group_labels
from .._validate import check_choice
from ..tl._attribution_stored import Stored, read_attribution, read_pathway_ranking, select_features

if TYPE_CHECKING:
    from anndata import AnnData


@checked
def attribute_pathways_df(
    adata: AnnData,
    drug: str | None = None,
    *,
    pathways: str | Sequence[str] | None = None,
    supports: str | None = None,
    by_cell: bool = False,
    groupby: str | None = None,
    key: str = KEYS.PATHWAY_IG,
) -> pd.DataFrame:
    """Get the pathways that contribute to a predicted response: over all cells, by group or by cell.

    Parameters
    ----------
    adata
        Cells with the results of :func:`scdrug.tl.attribute_pathways`.
    drug
        Name or id of the drug; may be omitted if there is only one.
    pathways
        Pathways, in the order wanted; all, most important first, if omitted.
    supports
        Keep what supports ``"sensitive"`` or ``"resistant"`` in the mean over all cells.
    by_cell
        Get the contributions to each cell instead of one row per pathway.
    groupby
        Column of `obs`: get means of groups instead. Cells without label are left out.
    key
        Where :func:`scdrug.tl.attribute_pathways` stored its results.

    Returns
    -------
    One row per pathway, with the columns that :func:`scdrug.tl.attribute_pathways` describes. With `by_cell`, one row per cell and
    pathway: `cell`, `drug`, `pathway`, `towards_sensitive` (the contribution: positive = supports sensitive, negative = supports
    resistant). With `groupby`, one row per group and pathway: `group`, `drug`, `pathway`, `towards_sensitive` (mean), `sd` over
    cells, `n_cells`.

    Raises
    ------
    KeyError
        If nothing was attributed, or a drug, pathway or column is unknown; the nearest one is offered.
    ValueError
        If `supports` is none of those that are possible, or `by_cell` and `groupby` are both asked for.

    See Also
    --------
    attribute_genes_df : the same for genes.

    Examples
    --------
    >>> import scdrug
    >>> reference, cells = scdrug.datasets.toy(), scdrug.datasets.toy_cells()
    >>> scdrug.pp.pathway_mask(reference, "toy")
    >>> scdrug.model.PathwayTransfer.setup_anndata(reference)
    >>> model = scdrug.model.PathwayTransfer(reference, n_hidden=32)
    >>> model.train(max_epochs=2)
    >>> scdrug.tl.attribute_pathways(cells, model, "trametinib")
    >>> table = scdrug.get.attribute_pathways_df(cells, supports="resistant")
    >>> bool((table["towards_sensitive"] < 0).all())
    True
    """
    return _contributions(adata, drug, pathways, supports=supports, by_cell=by_cell, groupby=groupby, key=key)


@checked
def attribute_genes_df(
    adata: AnnData,
    drug: str | None = None,
    *,
    genes: str | Sequence[str] | None = None,
    supports: str | None = None,
    by_cell: bool = False,
    groupby: str | None = None,
    key: str = KEYS.GENE_IG,
) -> pd.DataFrame:
    """Get the genes that contribute to a predicted response: over all cells, by group or by cell.

    Parameters
    ----------
    adata
        Cells with the results of :func:`scdrug.tl.attribute_genes`.
    drug
        Name or id of the drug; may be omitted if there is only one.
    genes
        Genes, in the order wanted; all, most important first, if omitted.
    supports, by_cell, groupby
        As in :func:`attribute_pathways_df`.
    key
        Where :func:`scdrug.tl.attribute_genes` stored its results.

    Returns
    -------
    One row per gene, cell and gene, or group and gene, in the columns of :func:`attribute_pathways_df`, with `gene` for `pathway`.

    Raises
    ------
    KeyError, ValueError
        As :func:`attribute_pathways_df`.

    Examples
    --------
    >>> import scdrug
    >>> reference, cells = scdrug.datasets.toy(), scdrug.datasets.toy_cells()
    >>> scdrug.model.KernelRidge.setup_anndata(reference)
    >>> model = scdrug.model.KernelRidge(reference)
    >>> model.train()
    >>> scdrug.tl.attribute_genes(cells, model, "trametinib")
    >>> scdrug.get.attribute_genes_df(cells, groupby="clone").columns.tolist()
    ['group', 'drug', 'gene', 'towards_sensitive', 'sd', 'n_cells']
    """
    return _contributions(adata, drug, genes, supports=supports, by_cell=by_cell, groupby=groupby, key=key)


def _contributions(
    adata: AnnData,
    drug: str | None,
    features: str | Sequence[str] | None,
    *,
    supports: str | None,
    by_cell: bool,
    groupby: str | None,
    key: str,
) -> pd.DataFrame:
    """Rows of pathways or genes, of cells and these, or of groups and these."""
    if supports is not None:
        check_choice("supports", supports, ("sensitive", "resistant"))
    if by_cell and groupby is not None:
        raise ValueError("`by_cell` asks for each cell and `groupby` for means of groups. Leave one of them out.")
    stored = read_attribution(adata, key, drug)
    table = stored.table if supports is None else stored.table[stored.table["supports"].astype(str) == supports]
    names = list(table[stored.what].astype(str))
    if features is not None:
        kept = set(names)
        names = [
            name
            for name in select_features(features, list(stored.table[stored.what].astype(str)), stored.what)
            if name in kept
        ]
    if not by_cell and groupby is None:
        return table.set_index(stored.what, drop=False).loc[names].reset_index(drop=True)
    values = stored.cells[names]
    return _by_cell(stored, values) if by_cell else _by_group(stored, values, group_labels(adata, str(groupby)))


def _by_cell(stored: Stored, values: pd.DataFrame) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "cell": np.repeat(values.index.to_numpy(), values.shape[1]),
            "drug": stored.drug,
            stored.what: np.tile(values.columns.to_numpy(dtype=object), len(values)),
            "towards_sensitive": values.to_numpy().ravel(),
        }
    )


def _by_group(stored: Stored, values: pd.DataFrame, labels: pd.Categorical) -> pd.DataFrame:
    parts = []
    for code, group in enumerate(labels.categories):
        chosen = values.to_numpy()[labels.codes == code].astype(float)
        parts.append(
            pd.DataFrame(
                {
                    "group": group,
                    "drug": stored.drug,
                    stored.what: list(values.columns),
                    "towards_sensitive": chosen.mean(axis=0),
                    "sd": chosen.std(axis=0, ddof=1) if len(chosen) > 1 else np.nan,
                    "n_cells": len(chosen),
                }
            )
        )
    return pd.concat(parts, ignore_index=True)


@checked
def rank_pathways_df(
    adata: AnnData,
    group: Label | Sequence[Label] | None = None,
    *,
    fdr_max: float | None = None,
    supports: str | None = None,
    key: str = KEYS.RANKED_PATHWAYS,
) -> pd.DataFrame:
    """Get the pathways that :func:`scdrug.tl.rank_pathways` ranked.

    Parameters
    ----------
    adata
        Cells with the results of :func:`scdrug.tl.rank_pathways`.
    group
        One or several groups; all if omitted.
    fdr_max
        Keep pathways with at most this false discovery rate; those without p-value are dropped then.
    supports
        Keep what makes the group more ``"sensitive"`` or more ``"resistant"`` than its reference.
    key
        Where :func:`scdrug.tl.rank_pathways` stored its results.

    Returns
    -------
    A copy of the rows, by group and rank; for the columns see :func:`scdrug.tl.rank_pathways`.

    Raises
    ------
    KeyError
        If no pathways were ranked, or a group is unknown; the nearest one is offered.
    ValueError
        If `supports` or `fdr_max` is none of those that are possible.

    Examples
    --------
    >>> import scdrug
    >>> reference, cells = scdrug.datasets.toy(), scdrug.datasets.toy_cells()
    >>> scdrug.model.KernelRidge.setup_anndata(reference)
    >>> model = scdrug.model.KernelRidge(reference)
    >>> model.train()
    >>> scdrug.tl.attribute_genes(cells, model, "trametinib")
    >>> scdrug.tl.rank_pathways(cells, "clone", sample_key="sample", key="gene_ig")
    >>> table = scdrug.get.rank_pathways_df(cells, "clone-a", supports="resistant")
    >>> bool((table["score"] < 0).all())
    True
    """
    if supports is not None:
        check_choice("supports", supports, ("sensitive", "resistant"))
    rows, _ = read_pathway_ranking(adata, key, group)
    keep = np.ones(len(rows), dtype=bool)
    if fdr_max is not None:
        keep &= (rows["fdr"] <= fdr_max).to_numpy()
    if supports is not None:
        keep &= (rows["supports"].astype(str) == supports).to_numpy()
    return rows[keep].reset_index(drop=True)
