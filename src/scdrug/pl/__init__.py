"""Plots of what :mod:`scdrug.tl` stored and of how well models do; each returns its Axes and shows nothing by itself."""

from __future__ import annotations

from ._evaluation import correlation_by_group, predicted_observed, training
from ._heatmap import heatmap
from ._rank import rank_drugs
from ._response import response

__all__ = ["correlation_by_group", "heatmap", "predicted_observed", "rank_drugs", "response", "training"]
