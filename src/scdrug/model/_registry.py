"""The model classes by name, known without loading them, and therefore without torch."""

from __future__ import annotations

import importlib
from typing import Any

#: Folder of each model class, by its name, which is how files refer to it.
CLASSES = {
    "AdditiveMean": "baseline",
    "BulkClassifier": "baseline",
    "CSG2A": "csg2a",
    "DeepCDR": "deepcdr",
    "KernelRidge": "baseline",
    "MTIGCN": "mtigcn",
    "PathwayTransfer": "pathway_transfer",
    "SoftImpute": "baseline",
}
#: Those whose card says that they predict drugs from structure; the others name them when they are asked to.
PREDICT_UNSEEN_DRUGS = ("AdditiveMean", "CSG2A", "DeepCDR", "KernelRidge", "MTIGCN")


def load_class(name: str) -> Any:
    """Load the class of a model; this is where torch comes in."""
    return getattr(importlib.import_module(f".{CLASSES[name]}", __package__), name)
