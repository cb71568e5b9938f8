"""Plots of what :mod:`scdrug.tl` stored; each returns its Axes and shows nothing by itself."""

from __future__ import annotations

from ._heatmap import heatmap
from ._pathways import pathway_heatmap, pathway_importance
from ._rank import rank_drugs
from ._response import response

__all__ = ["heatmap", "pathway_heatmap", "pathway_importance", "rank_drugs", "response"]
