"""Read cells and write results, so that no file is ever half written."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from anndata import AnnData

#: Files above this size are read block by block.
BACKED_ABOVE = 2_000_000_000


def check_output(target: Path, source: Path | None = None, *, overwrite: bool) -> None:
    """Raise unless `target` can be written, before anything is computed."""
    if source is not None and target.exists() and target.resolve() == source.resolve():
        raise ValueError(
            f"Output and input are the same file, {target}. Choose another output: the input is never changed."
        )
    if target.exists() and not overwrite:
        raise FileExistsError(f"{target} exists. Choose another name, or pass --overwrite to replace it.")
    folder = target.parent
    if not folder.is_dir():
        raise FileNotFoundError(f"The folder {folder} does not exist. Create it first.")
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise PermissionError(
            f"Cannot write to the folder {folder} ({error.strerror}). Choose another output."
        ) from error


@contextmanager
def whole_file(target: Path) -> Iterator[Path]:
    """Give a temporary path beside `target` that replaces it in one step when all went well."""
    handle, name = tempfile.mkstemp(prefix=f".{target.name}-", suffix=target.suffix, dir=target.parent)
    os.close(handle)
    part = Path(name)
    try:
        yield part
        part.chmod(0o644)
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)


def read_cells(path: Path, *, backed: bool | None) -> AnnData:
    """Read an h5ad file, on disk if it is large or `backed` says so."""
    import anndata

    if not path.is_file():
        raise FileNotFoundError(f"No file at {path}. Expected cells × genes in an .h5ad file.")
    on_disk = path.stat().st_size > BACKED_ABOVE if backed is None else backed
    try:
        return anndata.read_h5ad(path, backed="r" if on_disk else None)
    except Exception as error:
        raise ValueError(
            f"{path} cannot be read as an .h5ad file; it may be truncated or of another format ({type(error).__name__}: "
            f"{str(error).splitlines()[0] if str(error) else 'no details'}). Copy or download it again."
        ) from error


def write_cells(adata: AnnData, target: Path, source: Path, *, obs: list[str], obsm: list[str], uns: list[str]) -> None:
    """Write cells with their results.

    In memory the object is written as it is. Backed, the input file is copied and only the new keys are written into the
    copy, so that memory stays constant.
    """
    with whole_file(target) as part:
        if not adata.isbacked:
            adata.write_h5ad(part)
            return
        import h5py
        from anndata.io import write_elem

        shutil.copyfile(source, part)
        with h5py.File(part, "r+") as file:
            if obs:
                write_elem(file, "obs", adata.obs)
            for key in obsm:
                write_elem(file.require_group("obsm"), key, adata.obsm[key])
            for key in uns:
                write_elem(file.require_group("uns"), key, adata.uns[key])
