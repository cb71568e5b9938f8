"""From bulk to single cells through pathways (He et al. 2025)."""

from ._model import PathwayTransfer

__all__ = ["PathwayTransfer"]
