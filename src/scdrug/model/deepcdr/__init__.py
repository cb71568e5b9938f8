"""DeepCDR: cells and molecular graphs in one network, alone or beside a Gaussian process."""

from ._model import DeepCDR

__all__ = ["DeepCDR"]
