"""Plots of what :mod:`scdrug.tl` stored and :mod:`scdrug.benchmark` scored; each returns its Axes and shows nothing by itself.

Functions are imported on first use, so that importing this namespace stays cheap.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ._benchmark import benchmark_per_drug, benchmark_scores, benchmark_skill
    from ._benchmark_calibration import benchmark_calibration
    from ._benchmark_cells import benchmark_single_cell
    from ._domains import domains_umap
    from ._evaluation import correlation_by_group, predicted_observed, training
    from ._heatmap import heatmap
    from ._pathways import pathway_heatmap, pathway_importance
    from ._rank import rank_drugs
    from ._rank_pathways import rank_pathways
    from ._response import response

_MODULES = {
    "benchmark_calibration": "_benchmark_calibration",
    "benchmark_per_drug": "_benchmark",
    "benchmark_scores": "_benchmark",
    "benchmark_single_cell": "_benchmark_cells",
    "benchmark_skill": "_benchmark",
    "correlation_by_group": "_evaluation",
    "domains_umap": "_domains",
    "heatmap": "_heatmap",
    "pathway_heatmap": "_pathways",
    "pathway_importance": "_pathways",
    "predicted_observed": "_evaluation",
    "rank_drugs": "_rank",
    "rank_pathways": "_rank_pathways",
    "response": "_response",
    "training": "_evaluation",
}
__all__ = [
    "benchmark_calibration",
    "benchmark_per_drug",
    "benchmark_scores",
    "benchmark_single_cell",
    "benchmark_skill",
    "correlation_by_group",
    "domains_umap",
    "heatmap",
    "pathway_heatmap",
    "pathway_importance",
    "predicted_observed",
    "rank_drugs",
    "rank_pathways",
    "response",
    "training",
]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return getattr(importlib.import_module(f".{_MODULES[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
