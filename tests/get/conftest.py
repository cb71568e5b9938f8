"""The stored predictions and contributions of tests/tl, here too."""

from __future__ import annotations

import importlib.util
from pathlib import Path

_spec = importlib.util.spec_from_file_location("tl_conftest", Path(__file__).parents[1] / "tl" / "conftest.py")
_module = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_module)
make_attributed = _module.make_attributed
make_predicted = _module.make_predicted
