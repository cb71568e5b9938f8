"""Judge models of drug response without leaks, beside baselines that are hard to beat.

Functions are imported on first use, so that importing this namespace stays cheap.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .._audit import LeakError
    from ._config import Config, read_config, run_config
    from ._division import make_splits
    from ._results import Results, read_results
    from ._runner import run
    from ._search import Search
    from ._spec import ModelSpec
    from ._splits import Splits, read_splits
    from .report._write import write_report
    from .transfer._score_labels import score_labels
    from .transfer._score_lines import score_lines
    from .transfer._simulate import simulate_cells
    from .transfer._tasks import run_single_cell

_MODULES = {
    "Config": "._config",
    "LeakError": ".._audit",
    "ModelSpec": "._spec",
    "Results": "._results",
    "Search": "._search",
    "Splits": "._splits",
    "make_splits": "._division",
    "read_config": "._config",
    "read_results": "._results",
    "read_splits": "._splits",
    "run": "._runner",
    "run_config": "._config",
    "run_single_cell": ".transfer._tasks",
    "score_labels": ".transfer._score_labels",
    "score_lines": ".transfer._score_lines",
    "simulate_cells": ".transfer._simulate",
    "write_report": ".report._write",
}
__all__ = [
    "Config",
    "LeakError",
    "ModelSpec",
    "Results",
    "Search",
    "Splits",
    "make_splits",
    "read_config",
    "read_results",
    "read_splits",
    "run",
    "run_config",
    "run_single_cell",
    "score_labels",
    "score_lines",
    "simulate_cells",
    "write_report",
]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return getattr(importlib.import_module(_MODULES[name], __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
