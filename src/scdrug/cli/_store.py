"""Write results beside a copy of the input: what scdrug does not know of stays as it is."""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .._constants import KEYS
from .._elements import add_column, add_element, consolidate, is_consolidated, open_results
from .._validate import examples
from ._files import reserve, size_of, whole_file
from ._formats import CellFile

if TYPE_CHECKING:
    from anndata import AnnData

#: What the copy of an input of each kind ends in; any other output is written anew.
_COPY = {"h5ad": ".h5ad", "h5mu": ".h5mu", "zarr": ".zarr"}
#: Where results are stored.
_SLOTS = ("obs", "obsm", "uns")
_OURS = {
    "obs": (KEYS.RELIABILITY,),
    "obsm": (KEYS.PREDICTED, KEYS.PERCENTILE, KEYS.EVIDENCE),
    "uns": (KEYS.PREDICTED, KEYS.RANKED),
}
#: Room for what is small: the drugs, their ranking, metadata of HDF5.
_SLACK = 4_000_000
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
    base = size_of(file.path) if _is_copy(file, target) else max(_matrix_size(adata), size_of(file.path))
    return base + adata.n_obs * n_drugs * 4 * 2 + _SLACK


def _matrix_size(adata: AnnData) -> int:
    """Bytes of the expression in memory, 0 where it lies on disk."""
    matrix = adata.X
    size = getattr(matrix, "nbytes", None) or getattr(getattr(matrix, "data", None), "nbytes", None) or 0
    return int(size)


def _size(adata: AnnData, keys: Keys) -> int:
    """Bytes that results take at most, names and the overhead of each column included."""
    tables = [adata.obsm[key] for key in keys["obsm"]]
    names = int(adata.obs_names.memory_usage(deep=True)) * (len(tables) + 1)
    return sum(table.size * 4 + table.shape[1] * 2048 for table in tables) + 2 * names + _SLACK


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
            space = part.with_name("space")
            reserve(space, _size(adata, keys) + _matrix_size(adata))
            space.unlink(missing_ok=True)
            _write_anew(adata, part)
        elif file.kind == "zarr":
            shutil.copytree(file.path, part)
            _add_to_zarr(adata, part, keys)
        else:
            import h5py

            shutil.copyfile(file.path, part)
            reserve(part, _size(adata, keys))
            with h5py.File(part, "r+") as copy:
                _add(adata, copy[f"mod/{modality}"] if modality else copy, keys)


def add_report(adata: AnnData, path: Path, keys: Keys) -> None:
    """Add what is new in ``uns`` to a store that holds the predictions."""
    _add_to_zarr(adata, path, {"obs": [], "obsm": [], "uns": [key for key in keys["uns"] if key != KEYS.PREDICTED]})


def reopen(adata: AnnData, path: Path) -> None:
    """Read tables of predictions where they are now."""
    import zarr

    group = zarr.open_group(path, mode="r")
    for key in _OURS["obsm"]:
        if key in adata.obsm:
            adata.obsm[key] = open_results(group, key)


def _is_copy(file: CellFile, target: Path) -> bool:
    return _COPY.get(file.kind) == target.suffix.lower()


def _add_to_zarr(adata: AnnData, path: Path, keys: Keys) -> None:
    import zarr

    group = zarr.open_group(path, mode="r+", use_consolidated=False)
    consolidated = is_consolidated(path)
    _add(adata, group, keys)
    if consolidated:
        consolidate(path)


def _add(adata: AnnData, group: Any, keys: Keys) -> None:
    from anndata.io import write_elem

    for name in keys["obs"]:
        if not add_column(group, name, adata.obs[name]):
            write_elem(group, "obs", adata.obs)
    for slot in ("obsm", "uns"):
        if (
            keys[slot] and slot in group and not hasattr(group[slot], "keys")
        ):  # one compound table, as anndata wrote before 0.7
            write_elem(group, slot, dict(getattr(adata, slot)))
            continue
        for key in keys[slot]:
            add_element(group, slot, key, getattr(adata, slot)[key])


def _write_anew(adata: AnnData, part: Path) -> None:
    """Write the whole object; parts that anndata cannot write are left out with a warning, since results matter more."""
    is_zarr = part.suffix.lower() == ".zarr"
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="(?i).*zarr v[23]|.*forward slashes")
        try:
            adata.write_zarr(part) if is_zarr else adata.write_h5ad(part)
        except (OSError, MemoryError):
            raise
        except Exception:  # noqa: BLE001 - whatever another library raises over it
            dropped = _write_parts(adata, part, is_zarr=is_zarr)
        else:
            return
    warnings.warn(
        f"{len(dropped)} parts of the input cannot be written to a {part.suffix} file and are left out: "
        f"{examples(dropped)}.",
        stacklevel=2,
    )


def _write_parts(adata: AnnData, part: Path, *, is_zarr: bool) -> list[str]:
    """Write part by part; return what cannot be written."""
    import h5py
    import zarr
    from anndata import AnnData as New

    shutil.rmtree(part) if part.is_dir() else part.unlink(missing_ok=True)
    store = zarr.open_group(part, mode="w") if is_zarr else h5py.File(part, "w")
    dropped = [] if adata.raw is None else ["raw"]
    try:
        frames = {slot: getattr(adata, slot) for slot in ("obs", "var")}
        for slot, table in frames.items():
            bad = [name for name in table.columns if not _written(store, f"trial_{slot}", table[[name]])]
            frames[slot] = table.drop(columns=bad)
            dropped += [f"{slot}/{name}" for name in bad]
        if not _written(store, "/", New(adata.X, **frames)):
            raise ValueError(f"Neither expression nor names of the cells can be written to a {part.suffix} file.")
        for slot in ("layers", "obsm", "varm", "obsp", "varp", "uns"):
            values = getattr(adata, slot)
            names = [key for key in values if key is not None]  # anndata 0.13 counts X among the layers
            dropped += [f"{slot}/{key}" for key in names if not _written(store[slot], key, values[key])]
    finally:
        if not is_zarr:
            store.close()
    return dropped


def _written(store: Any, key: str, value: Any) -> bool:
    """Write an element; whether anndata could."""
    from anndata.io import write_elem

    try:
        write_elem(store, key, value)
    except (OSError, MemoryError):
        raise
    except Exception:  # noqa: BLE001 - whatever another library raises over it
        if key in store:
            del store[key]
        return False
    return True
