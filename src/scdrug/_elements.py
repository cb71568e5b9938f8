"""Parts of an AnnData in a file: what is added to it, without touching what else stands there."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd


def add_element(group: Any, slot: str, key: str, value: Any) -> None:
    """Write an entry of ``obsm``, ``uns`` and the like into the group of an AnnData."""
    if slot not in group:
        write_quietly(group, slot, {})
    write_quietly(group[slot], key, value)


def write_quietly(group: Any, key: str, value: Any) -> None:
    """Write what anndata writes, without its warnings of what zarr has not settled yet."""
    from anndata.io import write_elem

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="(?is).*zarr v[23]|.*zarr format 3")
        write_elem(group, key, value)


def add_column(group: Any, name: str, values: pd.Series | np.ndarray) -> bool:
    """Add a column to `obs` without touching the others, some of which anndata may not be able to write.

    Returns
    -------
    Whether it could be added: not to a table in one piece, as anndata wrote before 0.7.
    """
    obs = group["obs"]
    if not hasattr(obs, "keys") or "column-order" not in obs.attrs:
        return False
    if isinstance(values, pd.Series):
        values = values.to_numpy() if values.dtype.kind in "fiub" else values.array
    write_quietly(obs, name, values)
    order = [str(column) for column in obs.attrs["column-order"]]
    if name not in order:
        obs.attrs["column-order"] = [*order, name]
    return True


def has_names(group: Any, slot: str, names: pd.Index, *, step: int = 100_000) -> bool:
    """Whether cells or genes of an AnnData in a file have these names, in this order; they are read a part at a time."""
    node = group.get(slot)
    index = None if node is None else node.attrs.get("_index")
    if index is None:
        return False
    held = node[index]
    held = held["values"] if hasattr(held, "keys") else held  # newer releases of anndata keep text with a mask
    if held.shape != (len(names),):
        return False
    texts = lambda part: [value.decode() if isinstance(value, bytes) else str(value) for value in part]
    return all(
        texts(held[start : start + step]) == texts(names[start : start + step]) for start in range(0, len(names), step)
    )


def consolidate(path: Path) -> None:
    """Renew the list of what a zarr store holds, where readers look for it."""
    import zarr

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        zarr.consolidate_metadata(path)


def is_consolidated(path: Path) -> bool:
    """Whether a zarr store has a list of what it holds."""
    import zarr

    return (path / ".zmetadata").is_file() or bool(zarr.open_group(path, mode="r").metadata.consolidated_metadata)


def open_results(group: Any, key: str) -> Any:
    """An array of ``obsm`` of a zarr store that is read when it is asked for: by dask where it is installed."""
    node: Mapping[str, Any] = group["obsm"][key]
    try:
        from anndata.experimental import read_elem_lazy

        return read_elem_lazy(node)
    except ImportError:
        return node
