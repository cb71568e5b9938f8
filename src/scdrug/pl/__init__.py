"""Plots of what :mod:`scdrug.tl` stored; each returns its Axes and shows nothing by itself."""

from __future__ import annotations

from ._heatmap import heatmap
from ._rank import rank_drugs
from ._response import response

__all__ = ["heatmap", "rank_drugs", "response"]
