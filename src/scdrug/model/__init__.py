"""Models of drug response, bundled and to train; the first class that is used loads torch and scvi-tools."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from ._registry import CLASSES

if TYPE_CHECKING:
    from ._base import DrugResponseModel
    from ._card import MethodCard
    from ._pretrained import list_models, load_pretrained
    from .baseline import AdditiveMean, BulkClassifier, KernelRidge, SoftImpute
    from .csg2a import CSG2A
    from .deepcdr import DeepCDR
    from .mtigcn import MTIGCN
    from .pathway_transfer import PathwayTransfer

_MODULES = CLASSES | {
    "DrugResponseModel": "_base",
    "MethodCard": "_card",
    "list_models": "_pretrained",
    "load_pretrained": "_pretrained",
}
#: Names of the model classes, as files refer to them.
MODEL_CLASSES = tuple(CLASSES)

__all__ = [
    "AdditiveMean",
    "BulkClassifier",
    "CSG2A",
    "DeepCDR",
    "DrugResponseModel",
    "KernelRidge",
    "MTIGCN",
    "MethodCard",
    "PathwayTransfer",
    "SoftImpute",
    "list_models",
    "load_pretrained",
]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return getattr(importlib.import_module(f".{_MODULES[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
