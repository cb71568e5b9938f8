"""Tidy tables of what :mod:`scdrug.tl` stored.

Functions are imported on first use, so that importing this namespace stays cheap.
"""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
