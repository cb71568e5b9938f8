"""Which of the formats of single cells a file or folder is, by its content: endings lie."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from .._validate import examples

READ = ".h5ad, .zarr (a folder, or zipped), .h5mu, or .h5 of Cell Ranger"
_ZARR = ("zarr.json", ".zgroup")
#: How to come from a format that is not read to one that is.
_ADVICE = {
    "loom": "a loom file. Convert it in Python: `anndata.io.read_loom(PATH).write_h5ad('cells.h5ad')`",
    "h5seurat": "a Seurat object (.h5seurat). Convert it in R: `SeuratDisk::Convert(PATH, dest = 'h5ad')`",
    "rds": "an R object. Convert it in R: `zellkonverter::writeH5AD(as.SingleCellExperiment(readRDS(PATH)), 'cells.h5ad')`",
    "mtx": "a matrix in text. Read it in Python together with its genes and barcodes, "
    "`scanpy.read_10x_mtx(FOLDER).write_h5ad('cells.h5ad')`",
    "table": "a table in text. Convert it in Python: `anndata.io.read_csv(PATH).write_h5ad('cells.h5ad')`, with `.T` before "
    "`.write_h5ad` where genes are rows; `delimiter='\\t'` reads tabs",
}
_ENDINGS = {
    ".loom": "loom", ".h5seurat": "h5seurat", ".rds": "rds", ".rda": "rds", ".rdata": "rds", ".mtx": "mtx",
    ".csv": "table", ".tsv": "table", ".txt": "table",
}  # fmt: skip


@dataclass(frozen=True)
class CellFile:
    """Cells on disk, and in which format."""

    path: Path
    kind: Literal["h5ad", "h5mu", "10x", "zarr", "zarr.zip"]


def identify(path: Path) -> CellFile:
    """Find out the format.

    Raises
    ------
    FileNotFoundError
        If there is nothing at the path.
    ValueError
        If it is of none of the formats that are read; where a way leads to one of them, it is said.
    """
    if not path.exists():
        raise FileNotFoundError(f"No file at {path}. Expected cells × genes in {READ}.")
    if path.is_dir():
        return CellFile(path, _folder(path))
    import h5py

    if h5py.is_hdf5(path):
        return CellFile(path, _hdf5(path))
    from ..datasets._content import WORDS, content_of

    content = content_of(path)
    if content == "zip" and _zip_root(path) is not None:
        return CellFile(path, "zarr.zip")
    advised = _advice(path)
    if advised is not None:
        raise ValueError(_not_read(path, _ADVICE[advised]))
    torn = (
        " It may be truncated: copy or download it again." if path.suffix.lower() in (".h5ad", ".h5mu", ".h5") else ""
    )
    raise ValueError(f"{path} holds {WORDS[content]}; expected cells × genes in {READ}.{torn}")


def _not_read(path: Path, advice: str) -> str:
    what = advice.replace("PATH", repr(path.name)).replace("FOLDER", repr(path.parent.name or "."))
    return f"{path} is {what}. scdrug reads {READ}."


def _advice(path: Path) -> str | None:
    from ..datasets._content import kind_of, unpacked_head

    head = unpacked_head(path)
    if head.startswith(b"%%MatrixMarket"):
        return "mtx"
    content = kind_of(head)
    if content in ("RDS", "RData"):
        return "rds"
    if content == "HDF5":
        raise ValueError(f"{path} is compressed. Unpack it first, and pass the file that comes out.")
    ending = next((_ENDINGS[s.lower()] for s in reversed(path.suffixes) if s.lower() in _ENDINGS), None)
    if content == "text" and path.suffix.lower() not in (".h5ad", ".h5mu", ".h5"):
        return ending or "table"
    return ending


def _folder(path: Path) -> Literal["zarr"]:
    if any((path / name).is_file() for name in _ZARR):
        import zarr

        with unreadable(path):
            _check_zarr(path, zarr.open_group(path, mode="r"))
        return "zarr"
    names = sorted(item.name for item in path.iterdir())
    if any(name.removesuffix(".gz") == "matrix.mtx" for name in names):
        raise ValueError(_not_read(path / "matrix.mtx", _ADVICE["mtx"]))
    raise ValueError(
        f"{path} is a folder without the metadata of zarr; it has {examples(names) if names else 'nothing'}. "
        f"Expected cells × genes in {READ}."
    )


def _check_zarr(path: Path, group: Any) -> None:
    kind, parts = str(group.attrs.get("encoding-type", "")), sorted(group)
    if kind.lower() == "mudata" or "mod" in parts:
        inner = [f"{path}/mod/{name}" for name in sorted(group["mod"])] if "mod" in parts else []
        raise ValueError(f"{path} holds several modalities. Pass one of them: {examples(inner)}.")
    if "tables" in parts and "obs" not in parts:
        inner = [f"{path}/tables/{name}" for name in sorted(group["tables"])]
        raise ValueError(f"{path} is a SpatialData object. Pass one of its tables: {examples(inner)}.")
    if not {"obs", "var"} <= set(parts):
        raise ValueError(
            f"{path} is a zarr store, but no AnnData: it lacks 'obs' and 'var', and has {examples(parts, 8) or 'nothing'}."
        )


def _zip_root(path: Path) -> str | None:
    """Where in a zip archive the zarr store begins; None if there is none."""
    try:
        with zipfile.ZipFile(path) as archive:
            roots = [PurePosixPath(name).parent for name in archive.namelist() if PurePosixPath(name).name in _ZARR]
    except zipfile.BadZipFile:
        return None
    return str(min(roots, key=lambda root: len(root.parts))) if roots else None


def open_zarr(file: CellFile) -> Any:
    """Group of an AnnData kept as zarr."""
    import zarr

    if file.kind == "zarr":
        return zarr.open_group(file.path, mode="r")
    root = _zip_root(file.path)
    group = zarr.open_group(zarr.storage.ZipStore(file.path, mode="r"), path="" if root == "." else root, mode="r")
    _check_zarr(file.path, group)
    return group


def _hdf5(path: Path) -> Literal["h5ad", "h5mu", "10x"]:
    import h5py

    with unreadable(path), h5py.File(path, "r") as file:
        names, kind = set(file), str(file.attrs.get("encoding-type", ""))
        groups = [file[name] for name in names if isinstance(file.get(name), h5py.Group)]
        tenx = any({"barcodes", "data", "indptr"} <= set(group) for group in groups)
    if kind.lower() == "mudata" or "mod" in names:
        return "h5mu"
    if kind == "anndata" or {"obs", "var"} <= names:
        return "h5ad"
    if tenx:
        return "10x"
    if {"row_attrs", "col_attrs"} <= names:
        raise ValueError(_not_read(path, _ADVICE["loom"]))
    if {"assays", "cell.names"} <= names:
        raise ValueError(_not_read(path, _ADVICE["h5seurat"]))
    found = examples(sorted(names), 8) if names else "nothing"
    raise ValueError(f"{path} is an HDF5 file of no known layout: it has {found}. Expected cells × genes in {READ}.")


class unreadable:
    """Context in which an error of a library that reads a file becomes a ValueError that names the file."""

    def __init__(self, path: Path, *, only: type[Exception] = Exception) -> None:
        self._path, self._only = path, only

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: Any) -> None:
        if not isinstance(error, self._only) or isinstance(error, MemoryError | PermissionError):
            return
        if str(self._path) in str(error) and isinstance(error, ValueError):
            return  # ours
        lines = str(error).splitlines()
        raise ValueError(
            f"{self._path} cannot be read; it may be truncated, damaged or of another format ({type(error).__name__}: "
            f"{lines[0] if lines else 'no details'}). Copy or download it again."
        ) from error
