"""Models of drug response, bundled and to train; importing this namespace loads torch and scvi-tools."""

from ._base import DrugResponseModel
from ._card import MethodCard
from ._pretrained import list_models, load_pretrained
from .baseline import AdditiveMean, KernelRidge, SoftImpute

#: Names of the model classes, as files refer to them.
MODEL_CLASSES = ("AdditiveMean", "KernelRidge", "SoftImpute")

__all__ = [
    "AdditiveMean",
    "DrugResponseModel",
    "KernelRidge",
    "MethodCard",
    "SoftImpute",
    "list_models",
    "load_pretrained",
]
