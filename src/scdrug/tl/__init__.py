"""Tools: predicted responses of cells, drugs ranked by them, and what in a cell they come from.

Functions are imported on first use, so that importing this namespace stays cheap.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ._attribute import attribute_pathways
    from ._attribute_genes import attribute_genes
    from ._predict import predict_response
    from ._rank import rank_drugs
    from ._rank_pathways import rank_pathways

_MODULES = {
    "attribute_genes": "_attribute_genes",
    "attribute_pathways": "_attribute",
    "predict_response": "_predict",
    "rank_drugs": "_rank",
    "rank_pathways": "_rank_pathways",
}
__all__ = ["attribute_genes", "attribute_pathways", "predict_response", "rank_drugs", "rank_pathways"]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return getattr(importlib.import_module(f".{_MODULES[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
