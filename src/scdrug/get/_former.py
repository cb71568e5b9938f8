"""Tables of 0.1 that other functions return now."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import pandas as pd

from .._arguments import checked
from .._constants import KEYS
from .._former import warn_of_former
from .._validate import check_choice
from ._attribution import attribute_pathways_df
from ._perturbed import (
    compare_responders_df,
    enrich_interactions_df,
    gene_interactions_df,
    mechanism_similarity_df,
    perturbation_distance_df,
    perturbed_markers_df,
)

if TYPE_CHECKING:
    from anndata import AnnData

_TABLES: dict[str, Callable[..., pd.DataFrame]] = {
    "perturbation_distance": perturbation_distance_df,
    "mechanism_similarity": mechanism_similarity_df,
    "perturbed_markers": perturbed_markers_df,
    "gene_interactions": gene_interactions_df,
    "enrich_interactions": enrich_interactions_df,
    "compare_responders": compare_responders_df,
}


@checked
def attribution_df(
    adata: AnnData,
    drug: str | None = None,
    *,
    features: str | Sequence[str] | None = None,
    groupby: str | None = None,
    key: str = KEYS.PATHWAY_IG,
) -> pd.DataFrame:
    """Contributions by cell, or by group; call :func:`attribute_pathways_df` or :func:`attribute_genes_df` instead."""
    name = "attribute_genes_df" if key.startswith("gene") else "attribute_pathways_df"
    warn_of_former("scdrug.get.attribution_df", f"scdrug.get.{name} with `by_cell=True` or `groupby`")
    return attribute_pathways_df(adata, drug, pathways=features, by_cell=groupby is None, groupby=groupby, key=key)


@checked
def perturbation_df(adata: AnnData, of: str, *, key: str | None = None) -> pd.DataFrame:
    """Table of an analysis; call the function that is named after it instead, such as :func:`gene_interactions_df`."""
    check_choice("of", of, tuple(_TABLES))
    warn_of_former("scdrug.get.perturbation_df", f"scdrug.get.{of}_df")
    return _TABLES[of](adata) if key is None else _TABLES[of](adata, key=key)
