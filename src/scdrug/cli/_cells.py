"""Cells of any format that is read, as one AnnData."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from .._validate import check_choice, examples
from ._files import size_of
from ._formats import CellFile, open_zarr, unreadable

if TYPE_CHECKING:
    from anndata import AnnData

#: Files above this size are read block by block.
BACKED_ABOVE = 2_000_000_000
#: Least share of the model's genes in a modality that nobody named.
_MIN_COVERAGE = 0.3


def read_cells(file: CellFile, *, backed: bool | None, modality: str | None = None) -> AnnData:
    """Read cells, on disk if the file is large or `backed` says so.

    Parts that anndata cannot read are left out with a warning; expression, cells and genes are needed.

    Parameters
    ----------
    file
        What :func:`~scdrug.cli._formats.identify` found.
    backed
        Read block by block; by size if omitted. Files of Cell Ranger are read into memory.
    modality
        For ``.h5mu``: which.

    Raises
    ------
    ValueError
        If the file is damaged or holds no expression of genes.
    """
    lazy = is_backed(file, backed)
    with unreadable(file.path), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*without encoding metadata")
        warnings.filterwarnings("ignore", message=".*names are not unique")
        if file.kind == "10x":
            return _read_10x(file.path)
        if file.kind == "h5ad":
            return _read_h5ad(file.path, lazy)
        if file.kind == "h5mu":
            return _read_parts(file.path, _open_hdf5(file.path)[f"mod/{modality}"], lazy)
        return _read_parts(file.path, open_zarr(file), lazy)


def is_backed(file: CellFile, backed: bool | None) -> bool:
    """Whether cells are read block by block: by size where nothing was said."""
    return size_of(file.path) > BACKED_ABOVE if backed is None else backed


def find_modality(path: Path, wanted: str | None, genes: Sequence[str]) -> tuple[str, str]:
    """Modality of an ``.h5mu`` file: the one that is wanted, or the one whose genes are most of the model's.

    Returns
    -------
    Its name, and how it was found, in words.
    """
    import h5py
    from anndata.io import read_elem

    from ..pp._genes import match_genes

    with unreadable(path), h5py.File(path, "r") as file:
        names = list(file.get("mod", ()))
        if wanted is None and names:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                names_of = {name: read_elem(file[f"mod/{name}/var"]).index for name in names}
                share = {name: (match_genes(index, genes).columns >= 0).mean() for name, index in names_of.items()}
    if not names:
        raise ValueError(f"{path} holds no modality (its group 'mod' is missing or empty).")
    if wanted is not None:
        check_choice("modality", wanted, names)
        return wanted, f"Modality {wanted!r} of {examples(names)}"
    best = max(names, key=lambda name: share[name])
    if share[best] < _MIN_COVERAGE:
        found = ", ".join(f"{name!r} {share[name]:.0%}" for name in names)
        raise ValueError(
            f"No modality of {path} holds the model's genes ({found}). Name the one with gene expression by --modality."
        )
    return best, f"Modality {best!r} of {examples(names)}: it holds {share[best]:.0%} of the model's genes"


def _open_hdf5(path: Path) -> Any:
    import h5py

    return h5py.File(path, "r")


def _read_10x(path: Path) -> AnnData:
    import scanpy

    with _open_hdf5(path) as file:
        genomes = [] if "matrix" in file else sorted(file)
    genome = _human(genomes, path) if len(genomes) > 1 else None
    adata = scanpy.read_10x_h5(path, genome=genome)
    if "genome" in adata.var and genome is None:
        present = [name for name in adata.var["genome"].astype(str).unique() if name]
        if len(present) > 1:
            kept = _human(present, path)
            adata = adata[:, (adata.var["genome"] == kept).to_numpy()].copy()
            adata.var_names = adata.var_names.str.removeprefix(f"{kept}_")
    if adata.n_vars == 0:
        raise ValueError(f"{path} has no feature of the type 'Gene Expression': there is nothing to predict from.")
    return adata


def _human(genomes: Sequence[str], path: Path) -> str:
    """The human one of several genomes."""
    human = [name for name in genomes if any(mark in name.lower() for mark in ("grch", "hg19", "hg38", "human"))]
    if len(human) != 1:
        raise ValueError(f"{path} holds the genomes {examples(genomes)}; expected one that is human.")
    left = examples([name for name in genomes if name != human[0]])
    warnings.warn(f"Only the genome {human[0]!r} of {path} is used; {left} is left out.", stacklevel=4)
    return human[0]


def _read_h5ad(path: Path, lazy: bool) -> AnnData:
    import anndata

    try:
        return anndata.read_h5ad(path, backed="r" if lazy else None)
    except MemoryError:
        raise
    except Exception as error:  # noqa: BLE001 - a part that we do not need may be the reason
        try:
            return _read_parts(path, _open_hdf5(path), lazy)
        except MemoryError:
            raise
        except Exception:  # noqa: BLE001 - whatever another library raises over it
            raise error from None


def _read_parts(path: Path, group: Any, lazy: bool) -> AnnData:
    """Cells of an AnnData in a group of HDF5 or zarr, part by part."""
    from anndata import AnnData
    from anndata.io import read_elem

    skipped: list[str] = []
    frames = {slot: _read_frame(group[slot], slot, skipped) for slot in ("obs", "var")}
    adata = AnnData(_matrix(group["X"], lazy) if "X" in group else None, **frames)
    for slot in ("layers", "obsm", "varm", "obsp", "varp", "uns"):
        for key in _keys(group, slot):
            try:
                value = group[slot][key]
                getattr(adata, slot)[key] = _matrix(value, lazy) if slot == "layers" else read_elem(value)
            except MemoryError:
                raise
            except Exception:  # noqa: BLE001 - whatever another library raises over it
                skipped.append(f"{slot}/{key}")
    if "X" in _keys(group, "raw") and not lazy:
        try:
            raw = AnnData(_matrix(group["raw/X"], lazy), obs=frames["obs"][[]], var=read_elem(group["raw/var"]))
            adata.raw = raw
        except MemoryError:
            raise
        except Exception:  # noqa: BLE001 - whatever another library raises over it
            skipped.append("raw")
    if skipped:
        warnings.warn(
            f"{len(skipped)} parts of {path} cannot be read and are not looked at: {examples(skipped)}.", stacklevel=4
        )
    return adata


def _keys(group: Any, slot: str) -> list[str]:
    node = group.get(slot)
    return list(node) if hasattr(node, "keys") else []


def _matrix(node: Any, lazy: bool) -> Any:
    from anndata.io import read_elem, sparse_dataset

    if not lazy:
        return read_elem(node)
    return sparse_dataset(node) if hasattr(node, "keys") else node


def _read_frame(group: Any, slot: str, skipped: list[str]) -> pd.DataFrame:
    """A table of cells or genes, without the columns that cannot be read."""
    from anndata.io import read_elem

    try:
        return read_elem(group)
    except MemoryError:
        raise
    except Exception:
        if "_index" not in getattr(group, "attrs", {}):
            raise
    table = pd.DataFrame(index=pd.Index(read_elem(group[group.attrs["_index"]])))
    for name in group.attrs.get("column-order", ()):
        try:
            table[name] = read_elem(group[name])
        except MemoryError:
            raise
        except Exception:  # noqa: BLE001 - whatever another library raises over it
            skipped.append(f"{slot}/{name}")
    return table
