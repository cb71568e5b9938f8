"""CSG2A: what drugs do to gene interactions, learned from perturbations and carried over to responses (Bang et al. 2024)."""

from __future__ import annotations

from ._model import CSG2A

__all__ = ["CSG2A"]
