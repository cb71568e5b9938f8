"""Predict how single cells respond to drugs, inside the scverse.

Namespaces are imported on first use, so that ``import scdrug`` is instant and loads neither torch nor scvi-tools.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from ._settings import settings

if TYPE_CHECKING:
    from . import benchmark, datasets, get, metrics, model, pl, pp, tl

__version__ = "0.1.0"

_NAMESPACES = ("benchmark", "datasets", "get", "metrics", "model", "pl", "pp", "tl")
__all__ = ["__version__", "benchmark", "datasets", "get", "metrics", "model", "pl", "pp", "settings", "tl"]


def __getattr__(name: str) -> Any:
    if name in _NAMESPACES:
        return importlib.import_module(f".{name}", __name__)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
