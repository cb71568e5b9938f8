"""Write results beside a copy of the input: what scdrug does not know of stays as it is."""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .._constants import KEYS
from .._validate import examples
from ._files import size_of, whole_file
from ._formats import CellFile

if TYPE_CHECKING:
    from anndata import AnnData

#: What the copy of an input of each kind ends in; any other output is written anew.
_COPY = {"h5ad": ".h5ad", "h5mu": ".h5mu", "zarr": ".zarr"}
#: Where results are stored.
_SLOTS = ("obs", "obsm", "uns")
_OURS = {
    "obs": (KEYS.RELIABILITY,),
    "obsm": (KEYS.PREDICTED, KEYS.PERCENTILE),
    "uns": (KEYS.PREDICTED, KEYS.RANKED),
}
Keys = dict[str, list[str]]


def endings(file: CellFile) -> tuple[str, ...]:
    """What the output's name may end in."""
    return (".h5ad", ".zarr", ".h5mu") if file.kind == "h5mu" else (".h5ad", ".zarr")


def present_keys(adata: AnnData) -> Keys:
    """Keys of the places where results are stored."""
    return {slot: [str(key) for key in getattr(adata, slot).keys()] for slot in _SLOTS}


def result_keys(adata: AnnData, before: Mapping[str, list[str]], *, ranked: bool) -> Keys:
    """Keys that scdrug stored: those that were not there, and its own that it replaced."""
    old = {slot: set(before[slot]) - set(_OURS[slot]) for slot in _SLOTS}
    if not ranked:
        old["uns"] |= {KEYS.RANKED}
    return {slot: [key for key in keys if key not in old[slot]] for slot, keys in present_keys(adata).items()}


def space_needed(file: CellFile, target: Path, adata: AnnData, n_drugs: int) -> int:
    """About how many bytes the output takes: the copy, and two tables of cells × drugs."""
    matrix = adata.X
    size = getattr(matrix, "nbytes", 0) or getattr(getattr(matrix, "data", None), "nbytes", 0) or 0
    base = size_of(file.path) if _is_copy(file, target) else max(int(size), size_of(file.path))
    return base + adata.n_obs * n_drugs * 4 * 2


def write_cells(adata: AnnData, file: CellFile, target: Path, keys: Keys, *, modality: str | None = None) -> None:
    """Write cells with their results, whole or not at all.

    Parameters
    ----------
    adata
        Cells with results.
    file
        Where they come from. An output of the same format is a copy with the new keys; any other is written anew.
    target
        Output.
    keys
        What is new, by slot.
    modality
        Of an ``.h5mu`` file: which one the cells are.
    """
    with whole_file(target) as part:
        if not _is_copy(file, target):
            _write_anew(adata, part)
        elif file.kind == "zarr":
            shutil.copytree(file.path, part)
            _add_to_zarr(adata, part, keys)
        else:
            import h5py

            shutil.copyfile(file.path, part)
            with h5py.File(part, "r+") as copy:
                _add(adata, copy[f"mod/{modality}"] if modality else copy, keys)


def _is_copy(file: CellFile, target: Path) -> bool:
    return _COPY.get(file.kind) == target.suffix.lower()


def _add_to_zarr(adata: AnnData, path: Path, keys: Keys) -> None:
    import zarr

    group = zarr.open_group(path, mode="r+", use_consolidated=False)
    consolidated = (path / ".zmetadata").is_file() or zarr.open_group(path, mode="r").metadata.consolidated_metadata
    _add(adata, group, keys)
    if consolidated:  # readers look there for what the store holds
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            zarr.consolidate_metadata(path)


def _add(adata: AnnData, group: Any, keys: Keys) -> None:
    from anndata.io import write_elem

    for name in keys["obs"]:
        _add_column(adata, group, name)
    for slot in ("obsm", "uns"):
        if not keys[slot]:
            continue
        if slot in group and not hasattr(group[slot], "keys"):  # one compound table, as anndata wrote before 0.7
            write_elem(group, slot, dict(getattr(adata, slot)))
            continue
        if slot not in group:
            write_elem(group, slot, {})
        for key in keys[slot]:
            write_elem(group[slot], key, getattr(adata, slot)[key])


def _add_column(adata: AnnData, group: Any, name: str) -> None:
    """Add a column to `obs` without touching the others, some of which anndata may not be able to write."""
    from anndata.io import write_elem

    obs = group["obs"]
    if not hasattr(obs, "keys") or "column-order" not in obs.attrs:
        write_elem(group, "obs", adata.obs)
        return
    write_elem(obs, name, adata.obs[name].to_numpy() if adata.obs[name].dtype.kind in "fiub" else adata.obs[name].array)
    order = [str(column) for column in obs.attrs["column-order"]]
    if name not in order:
        obs.attrs["column-order"] = [*order, name]


def _write_anew(adata: AnnData, part: Path) -> None:
    """Write the whole object; parts that anndata cannot write are left out with a warning, since results matter more."""
    try:
        _write_whole(adata, part)
        return
    except (OSError, MemoryError):
        raise
    except Exception:
        if part.is_dir():
            shutil.rmtree(part)
        else:
            part.unlink(missing_ok=True)
    import h5py
    import zarr
    from anndata.io import write_elem

    dropped: list[str] = []
    store = zarr.open_group(part, mode="w") if part.suffix.lower() == ".zarr" else h5py.File(part, "w")
    try:
        write_elem(store, "/", _bare(adata))
        for slot in ("layers", "obsm", "varm", "obsp", "varp", "uns"):
            for key, value in getattr(adata, slot).items():
                try:
                    write_elem(store[slot], key, value)
                except (OSError, MemoryError):
                    raise
                except Exception:
                    dropped.append(f"{slot}/{key}")
                    if key in store[slot]:
                        del store[slot][key]
    finally:
        if hasattr(store, "close"):
            store.close()
    warnings.warn(
        f"{len(dropped)} parts of the input cannot be written to {part.name} and are left out: {examples(dropped)}.",
        stacklevel=2,
    )


def _write_whole(adata: AnnData, part: Path) -> None:
    if part.suffix.lower() == ".zarr":
        adata.write_zarr(part)
    else:
        adata.write_h5ad(part)


def _bare(adata: AnnData) -> AnnData:
    """Expression, cells and genes, with the columns that can be written."""
    import h5py
    from anndata import AnnData
    from anndata.io import write_elem

    frames = {}
    with (
        h5py.File.in_memory()
        if hasattr(h5py.File, "in_memory")
        else h5py.File("trial", "w", driver="core", backing_store=False) as trial
    ):
        for slot in ("obs", "var"):
            table, kept = getattr(adata, slot), []
            for position in range(table.shape[1]):
                try:
                    write_elem(trial, "column", table.iloc[:, [position]])
                    kept.append(position)
                except Exception:
                    continue
            frames[slot] = table.iloc[:, kept]
    return AnnData(adata.X, **frames)
