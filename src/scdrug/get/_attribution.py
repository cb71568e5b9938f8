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
from ..tl._attribution_stored import read_attribution, read_pathway_ranking, select_features

if TYPE_CHECKING:
    from anndata import AnnData


@checked
def attribution_df(
    adata: AnnData,
    drug: str | None = None,
    *,
    features: str | Sequence[str] | None = None,
    groupby: str | None = None,
    key: str = KEYS.PATHWAY_IG,
) -> pd.DataFrame:
    """Get what each pathway or gene contributes to each cell's predicted response, as a tidy table.

    Parameters
    ----------
    adata
        Cells with the results of :func:`scdrug.tl.attribute_pathways` or :func:`scdrug.tl.attribute_genes`.
    drug
        Name or id of the drug; may be omitted if there is only one.
    features
        Pathways or genes, in the order wanted; all, most important first, if omitted.
    groupby
        Column of `obs`: return means of groups instead of cells. Cells without label are left out.
    key
        Where the contributions are stored; ``"gene_ig"`` for genes.

    Returns
    -------
    One row per cell and pathway: `cell`, `drug`, `pathway` (or `gene`), `towards_sensitive`: the contribution, positive =
    supports sensitive, negative = supports resistant. With `groupby`, `group`, `n_cells` and `sd` over cells instead of
    `cell`.

    Raises
    ------
    KeyError
        If nothing was attributed, or a drug, pathway or column is unknown; the nearest one is offered.

    Examples
    --------
    >>> import scdrug
    >>> reference, cells = scdrug.datasets.toy(), scdrug.datasets.toy_cells()
    >>> scdrug.model.KernelRidge.setup_anndata(reference)
    >>> model = scdrug.model.KernelRidge(reference)
    >>> model.train()
    >>> scdrug.tl.attribute_genes(cells, model, "trametinib")
    >>> scdrug.get.attribution_df(cells, groupby="clone", key="gene_ig").columns.tolist()
    ['group', 'drug', 'gene', 'towards_sensitive', 'sd', 'n_cells']
    """
    stored = read_attribution(adata, key, drug)
    names = select_features(features, list(stored.table[stored.what].astype(str)), stored.what)
    values = stored.cells[names]
    if groupby is None:
        return pd.DataFrame(
            {
                "cell": np.repeat(values.index.to_numpy(), len(names)),
                "drug": stored.drug,
                stored.what: np.tile(np.asarray(names, dtype=object), len(values)),
                "towards_sensitive": values.to_numpy().ravel(),
            }
        )
    labels = group_labels(adata, groupby)
    parts = []
    for code, group in enumerate(labels.categories):
        chosen = values.to_numpy()[labels.codes == code].astype(float)
        parts.append(
            pd.DataFrame(
                {
                    "group": group,
                    "drug": stored.drug,
                    stored.what: names,
                    "towards_sensitive": chosen.mean(axis=0),
                    "sd": chosen.std(axis=0, ddof=1) if len(chosen) > 1 else np.nan,
                    "n_cells": len(chosen),
                }
            )
        )
    return pd.concat(parts, ignore_index=True)


@checked
def importance_df(
    adata: AnnData, drug: str | None = None, *, supports: str | None = None, key: str = KEYS.PATHWAY_IG
) -> pd.DataFrame:
    """Get pathways or genes by their importance for a predicted response.

    Parameters
    ----------
    adata
        Cells with the results of :func:`scdrug.tl.attribute_pathways` or :func:`scdrug.tl.attribute_genes`.
    drug
        Name or id of the drug; may be omitted if there is only one.
    supports
        Keep what supports ``"sensitive"`` or ``"resistant"`` in the mean over cells.
    key
        Where the contributions are stored; ``"gene_ig"`` for genes.

    Returns
    -------
    A copy of the rows, most important first; for the columns see :func:`scdrug.tl.attribute_pathways`.

    Raises
    ------
    KeyError
        If nothing was attributed, or the drug is unknown.
    ValueError
        If `supports` is none of those that are possible.

    Examples
    --------
    >>> import scdrug
    >>> reference, cells = scdrug.datasets.toy(), scdrug.datasets.toy_cells()
    >>> scdrug.model.KernelRidge.setup_anndata(reference)
    >>> model = scdrug.model.KernelRidge(reference)
    >>> model.train()
    >>> scdrug.tl.attribute_genes(cells, model, "trametinib")
    >>> table = scdrug.get.importance_df(cells, supports="resistant", key="gene_ig")
    >>> bool((table["towards_sensitive"] < 0).all())
    True
    """
    if supports is not None:
        check_choice("supports", supports, ("sensitive", "resistant"))
    table = read_attribution(adata, key, drug).table
    kept = table if supports is None else table[table["supports"].astype(str) == supports]
    return kept.reset_index(drop=True)


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
