"""Preparation of cells, bulk references, responses and drugs.

Functions are imported on first use, so that importing this namespace stays cheap.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ._align import align_genes
    from ._attention_clusters import cluster_attention
    from ._domains import join_domains
    from ._drugs import featurize_drugs
    from ._embed import embed_cells
    from ._gene_ids import map_gene_ids
    from ._harmonize import harmonize
    from ._label_cells import label_cells
    from ._pathways import pathway_mask
    from ._perturbation import pair_controls
    from ._reference import build_reference
    from ._response import binarize_response

_MODULES = {
    "align_genes": "_align",
    "binarize_response": "_response",
    "build_reference": "_reference",
    "cluster_attention": "_attention_clusters",
    "embed_cells": "_embed",
    "featurize_drugs": "_drugs",
    "harmonize": "_harmonize",
    "join_domains": "_domains",
    "label_cells": "_label_cells",
    "map_gene_ids": "_gene_ids",
    "pair_controls": "_perturbation",
    "pathway_mask": "_pathways",
}
__all__ = [
    "align_genes",
    "binarize_response",
    "build_reference",
    "cluster_attention",
    "embed_cells",
    "featurize_drugs",
    "harmonize",
    "join_domains",
    "label_cells",
    "map_gene_ids",
    "pair_controls",
    "pathway_mask",
]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return getattr(importlib.import_module(f".{_MODULES[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
