"""DeepCDR: cells and molecular graphs in one network, over a Gaussian process."""

from ._model import DeepCDR

__all__ = ["DeepCDR"]
