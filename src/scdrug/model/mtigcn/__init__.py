"""A bipartite graph network on cell lines and drugs with several tasks (Liu et al. 2024)."""

from ._model import MTIGCN

__all__ = ["MTIGCN"]
