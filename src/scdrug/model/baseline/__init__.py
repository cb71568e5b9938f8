"""Models without a network: closed forms that deep ones must beat."""

import lazy_loader as lazy

# the linear model of a file is read without the classes that train, and so without torch
__getattr__, __dir__, __all__ = lazy.attach(
    __name__,
    submod_attrs={
        "_bulk_classifier": ["BulkClassifier"],
        "_completion": ["AdditiveMean", "SoftImpute"],
        "_kernel_ridge": ["KernelRidge"],
    },
)
