"""Models of drug response, bundled and to train; the first class that is used loads torch and scvi-tools."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ._base import DrugResponseModel
    from ._card import MethodCard
    from ._pretrained import list_models, load_pretrained
    from .baseline import AdditiveMean, BulkClassifier, KernelRidge, SoftImpute
    from .deepcdr import DeepCDR

_MODULES = {
    "AdditiveMean": "baseline",
    "BulkClassifier": "baseline",
    "DeepCDR": "deepcdr",
    "DrugResponseModel": "_base",
    "KernelRidge": "baseline",
    "MethodCard": "_card",
    "SoftImpute": "baseline",
    "list_models": "_pretrained",
    "load_pretrained": "_pretrained",
}
#: Names of the model classes, as files refer to them.
MODEL_CLASSES = ("AdditiveMean", "BulkClassifier", "DeepCDR", "KernelRidge", "SoftImpute")

__all__ = [
    "AdditiveMean",
    "BulkClassifier",
    "DeepCDR",
    "DrugResponseModel",
    "KernelRidge",
    "MethodCard",
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
