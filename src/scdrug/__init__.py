"""Predict how single cells respond to drugs, inside the scverse.

Namespaces are imported on first use, so that ``import scdrug`` is instant and loads neither torch nor scvi-tools.
"""

import lazy_loader as lazy

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
__all__ = ["__version__", *__all__]
