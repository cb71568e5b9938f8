"""Tools: predicted responses of cells, drugs ranked by them, what in a cell they come from, and expression under treatment.

Functions are imported on first use, so that importing this namespace stays cheap.
"""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
