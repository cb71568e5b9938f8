"""Models without a network: closed forms that deep ones must beat."""

from ._bulk_classifier import BulkClassifier
from ._completion import AdditiveMean, SoftImpute
from ._kernel_ridge import KernelRidge

__all__ = ["AdditiveMean", "BulkClassifier", "KernelRidge", "SoftImpute"]
