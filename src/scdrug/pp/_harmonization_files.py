"""A fitted map in two plain files, so that a run that goes on need not fit it again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from .._validate import plain
from ._dividing import TotalsReader
from ._evidence import CohortEvidence
from ._harmonization import Harmonization
from ._profile import ReferenceProfile

_ARRAYS = ("position", "unmeasured", "gain", "shift", "target")
_TEXTS = ("method", "anchor", "scale", "groups", "layer", "scale_reason", "gene_names", "check_again")
_ARRAYS_FILE, _TEXTS_FILE = "harmonization.npz", "harmonization.json"
HARMONIZATION_FILES = (_ARRAYS_FILE, f"{_TEXTS_FILE}.part", _TEXTS_FILE)


def write_harmonization(fitted: Harmonization, folder: Path) -> None:
    """Write a map but for the reference that it leads to; the file that :func:`read_harmonization` looks for comes last."""
    arrays = {name: getattr(fitted, name) for name in _ARRAYS}
    texts: dict[str, Any] = {name: getattr(fitted, name) for name in _TEXTS}
    texts["evidence"] = None if fitted.evidence is None else vars(fitted.evidence)
    if fitted.totals is not None:
        arrays["is_cycle"] = fitted.totals.is_cycle
        texts["totals"] = {"unit": fitted.totals.unit, "counts": fitted.totals.counts}
    np.savez(folder / _ARRAYS_FILE, **arrays)
    part = folder / f"{_TEXTS_FILE}.part"
    part.write_text(json.dumps(_plain(texts)), encoding="utf-8")
    part.replace(folder / _TEXTS_FILE)


def read_harmonization(folder: Path, profile: ReferenceProfile) -> Harmonization | None:
    """Read a map to a reference; `None` where none was written."""
    if not (folder / _TEXTS_FILE).is_file():
        return None
    texts = json.loads((folder / _TEXTS_FILE).read_text(encoding="utf-8"))
    with np.load(folder / _ARRAYS_FILE, allow_pickle=False) as file:
        arrays = dict(file)
    totals, evidence = texts.pop("totals", None), texts.pop("evidence")
    is_cycle = arrays.pop("is_cycle", None)
    return Harmonization(
        profile=profile,
        **arrays,
        **{**texts, "groups": tuple(texts["groups"])},
        evidence=None if evidence is None else CohortEvidence(**evidence),
        totals=None if totals is None else TotalsReader(is_cycle, **totals),
    )


def _plain(value: Any) -> Any:
    if value is None:
        return None
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return value.tolist() if isinstance(value, np.ndarray) else plain(value)
