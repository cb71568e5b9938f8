"""What must be the same for a run that was stopped to go on."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from .. import __version__
from .._lazy import column_of
from .._validate import plain
from ..pp._rows import read_rows, sampled_rows

if TYPE_CHECKING:
    from anndata import AnnData

    from ..model._base import DrugResponseModel


def describe_run(
    adata: AnnData, *, layer: str | None, columns: Sequence[str | None], **settings: Any
) -> dict[str, Any]:
    """What must be the same for a run to go on: arguments, and digests of names, labels and some of the expression."""
    sample = read_rows(adata, sampled_rows(adata.n_obs), layer=layer)
    names = {
        axis: pd.util.hash_pandas_object(pd.Index(getattr(adata, axis)), index=False)
        for axis in ("obs_names", "var_names")
    }
    labels = {
        f"adata.obs[{name!r}]": pd.util.hash_pandas_object(column_of(adata.obs, name).astype(str), index=False)
        for name in columns
        if name is not None
    }
    return {
        **{name: plain(value) for name, value in settings.items()},
        "layer": str(layer),
        "shape": list(adata.shape),
        **{name: _digest(np.asarray(values)) for name, values in {**names, **labels}.items()},
        "expression": _digest(sample.data, sample.indices, sample.indptr),
    }


def _digest(*arrays: np.ndarray) -> str:
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def describe_model(model: DrugResponseModel, ids: list[str], columns: np.ndarray) -> dict[str, Any]:
    """What tells a model from another one: its class, and what it predicts for three profiles."""
    try:
        drawn = np.asarray(model._predict_rows(model.profile.draw(3, seed=0), columns), dtype=float)
    except Exception:  # noqa: BLE001 - a model that reads more than expression predicts nothing from a profile alone
        drawn = np.zeros((0, len(ids)))
    return {"class": type(model).__name__, "version": __version__, "predictions": drawn.ravel().tolist()}


def other_settings(stored: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Names of the settings that differ; predictions may, by rounding."""
    return [name for name, value in now.items() if not _alike(stored.get(name), value)]


def _alike(stored: Any, value: Any) -> bool:
    if isinstance(value, Mapping) and isinstance(stored, Mapping):
        return not other_settings(stored, value)
    if isinstance(value, list) and value and isinstance(value[0], float) and isinstance(stored, list):
        return len(stored) == len(value) and bool(np.allclose(stored, value, rtol=1e-3, atol=1e-3))
    return stored == value
