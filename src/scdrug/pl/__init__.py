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
    from ._evaluation import compare_training, correlation_by_group, predicted_observed
    from ._heatmap import heatmap
    from ._interactions import enrich_interactions, gene_interactions
    from ._missing import missing_pairs
    from ._pathways import pathway_heatmap, pathway_importance
    from ._perturbed import mechanism_similarity, perturbation_distance, perturbed_markers, predict_expression
    from ._rank import rank_drugs
    from ._rank_pathways import rank_pathways
    from ._responders import compare_responders
    from ._response import response
    from ._training import similarity, training_curves

_MODULES = {
    "benchmark_calibration": "_benchmark_calibration",
    "benchmark_per_drug": "_benchmark",
    "benchmark_scores": "_benchmark",
    "benchmark_single_cell": "_benchmark_cells",
    "benchmark_skill": "_benchmark",
    "compare_responders": "_responders",
    "compare_training": "_evaluation",
    "correlation_by_group": "_evaluation",
    "domains_umap": "_domains",
    "enrich_interactions": "_interactions",
    "gene_interactions": "_interactions",
    "heatmap": "_heatmap",
    "mechanism_similarity": "_perturbed",
    "missing_pairs": "_missing",
    "pathway_heatmap": "_pathways",
    "pathway_importance": "_pathways",
    "perturbation_distance": "_perturbed",
    "perturbed_markers": "_perturbed",
    "predict_expression": "_perturbed",
    "predicted_observed": "_evaluation",
    "rank_drugs": "_rank",
    "rank_pathways": "_rank_pathways",
    "response": "_response",
    "similarity": "_training",
    "training_curves": "_training",
}
__all__ = [
    "benchmark_calibration",
    "benchmark_per_drug",
    "benchmark_scores",
    "benchmark_single_cell",
    "benchmark_skill",
    "compare_responders",
    "compare_training",
    "correlation_by_group",
    "domains_umap",
    "enrich_interactions",
    "gene_interactions",
    "heatmap",
    "mechanism_similarity",
    "missing_pairs",
    "pathway_heatmap",
    "pathway_importance",
    "perturbation_distance",
    "perturbed_markers",
    "predict_expression",
    "predicted_observed",
    "rank_drugs",
    "rank_pathways",
    "response",
    "similarity",
    "training_curves",
]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return getattr(importlib.import_module(f".{_MODULES[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
