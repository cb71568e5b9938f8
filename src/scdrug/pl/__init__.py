"""Plots of what :mod:`scdrug.tl` stored and :mod:`scdrug.benchmark` scored; each returns its Axes and shows nothing by itself.

A plot is named after the function whose result it draws; those of predicted responses after what they show.

Functions are imported on first use, so that importing this namespace stays cheap.
"""

import lazy_loader as lazy

from .._former import former_names

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
__getattr__ = former_names(
    __name__,
    __getattr__,
    {
        "correlation_by_group": "group_correlations",
        "heatmap": "response_heatmap",
        "pathway_heatmap": "attribute_pathways_heatmap",
        "pathway_importance": "attribute_pathways",
        "similarity": "similarities",
    },
)
