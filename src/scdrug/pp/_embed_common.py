"""What all encoders of cells share: which rows to read, minibatches of similar length, a cache on disk."""

from __future__ import annotations

import hashlib
import io
import os
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse as sp

from .._own_files import write_atomically
from .._settings import settings
from .._validate import examples
from ._match_cells import match_cells
from ._rows import iter_row_blocks

if TYPE_CHECKING:
    from anndata import AnnData


def vocabulary_columns(
    adata: AnnData, genes: Sequence[str], *, what: str, min_genes: int, layer: str | None = None
) -> np.ndarray:
    """Column of `adata` for each gene of a vocabulary, −1 where it lacks the gene.

    Parameters
    ----------
    adata
        Cells × genes.
    genes
        Vocabulary.
    what
        Name of the encoder, for messages.
    min_genes
        Fewest genes that must be found.
    layer
        Layer that will be read; `X` if omitted.

    Raises
    ------
    ValueError
        If fewer genes are found.
    """
    columns = match_cells(adata, genes, layer=layer, min_coverage=None).columns
    n_found = int((columns >= 0).sum())
    if n_found < min_genes:
        raise ValueError(
            f"Only {n_found} genes of `adata` are in the vocabulary of {what} ({len(genes):,} human genes); at least "
            f"{min_genes} are needed. Found names such as {examples(adata.var_names, 3)}. Set `adata.var_names` to human "
            "symbols or Ensembl ids, and pass all genes, not only variable ones."
        )
    return columns


def aligned_rows(
    adata: AnnData, columns: np.ndarray, *, layer: str | None, what: str
) -> Iterator[tuple[slice, sp.csr_matrix]]:
    """Blocks of rows with a column for each gene of a vocabulary (cells × vocabulary, sparse).

    Raises
    ------
    ValueError
        If values are negative, or cells have no expressed gene of the vocabulary; they are named.
    """
    found = np.flatnonzero(columns >= 0)
    place = sp.csr_matrix(
        (np.ones(len(found), dtype=np.float32), (columns[found], found)), shape=(adata.n_vars, len(columns))
    )
    for rows, block in iter_row_blocks(adata, layer=layer):
        if block.data.size and block.data.min() < 0:
            raise ValueError(
                f"{what} reads counts or logarithms, which are not negative; found {block.data.min():.3g}. Pass the values "
                "before they were centred, for example with `layer='counts'`."
            )
        aligned = sp.csr_matrix(block @ place)
        aligned.eliminate_zeros()
        aligned.sort_indices()
        empty = np.flatnonzero(np.diff(aligned.indptr) == 0)
        if empty.size:
            raise ValueError(
                f"{empty.size} cells express no gene of the vocabulary of {what}: "
                f"{examples(adata.obs_names[rows.start + empty])}. Remove empty cells, for example with "
                "`scanpy.pp.filter_cells(adata, min_genes=200)`."
            )
        yield rows, aligned


def by_length(lengths: np.ndarray, batch_size: int, max_tokens: int) -> Iterator[np.ndarray]:
    """Divide cells into minibatches of similar length, so that little is spent on filling.

    Parameters
    ----------
    lengths
        Number of tokens of each cell.
    batch_size
        Most cells per batch.
    max_tokens
        Most tokens per batch, filling included, so that memory stays bounded; a single cell may have more.
    """
    order = np.argsort(-lengths, kind="stable")
    start = 0
    while start < len(order):
        fitting = max(int(max_tokens // max(lengths[order[start]], 1)), 1)
        stop = start + min(batch_size, fitting)
        yield order[start:stop]
        start = stop


def fingerprint(adata: AnnData, *, layer: str | None, parts: Iterable[object]) -> str:
    """Hash of expression, gene names and settings.

    Parameters
    ----------
    adata
        Cells × genes.
    layer
        Layer that is read.
    parts
        All else that decides the result.
    """
    digest = hashlib.sha256()
    for part in (*parts, adata.shape, "\n".join(map(str, adata.var_names))):
        digest.update(repr(part).encode())
    for _, block in iter_row_blocks(adata, layer=layer, check=False):
        for array in (block.indptr, block.indices, block.data):
            digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()[:32]


def file_hash(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def cached(
    key: str, compute: Callable[[], np.ndarray], *, cache: bool | str | os.PathLike[str]
) -> tuple[np.ndarray, bool]:
    """Read an array from the cache, or compute and store it.

    Parameters
    ----------
    key
        Name of the entry.
    compute
        What to do if it is not there.
    cache
        A folder, or whether to use ``embeddings`` in `scdrug.settings.data_dir`.

    Returns
    -------
    The array, and whether it was found.
    """
    if cache is False:
        return compute(), False
    folder = settings.data_dir / "embeddings" if cache is True else Path(cache).expanduser()
    path = folder / f"{key}.npy"
    if path.is_file():
        try:
            return np.load(path, allow_pickle=False), True
        except (ValueError, EOFError, OSError):
            warnings.warn(f"{path} is damaged and is rebuilt.", stacklevel=4)
    array, content = compute(), io.BytesIO()
    np.save(content, array)
    write_atomically(path, content.getbuffer())
    return array, False


def resolve_device(device: str) -> Any:
    """A torch device; ``"auto"`` takes a GPU if there is one."""
    import torch

    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(device)


def require_files(folder: Path, files: Sequence[str], *, what: str, source: str) -> dict[str, Path]:
    """Files of a checkpoint folder.

    Raises
    ------
    FileNotFoundError
        If the folder or a file is missing; the message says what an official folder holds.
    """
    if not folder.is_dir():
        raise FileNotFoundError(
            f"No folder {folder}. `checkpoint` must be the official folder of {what} with {', '.join(files)}; {source}"
        )
    missing = [name for name in files if not (folder / name).is_file()]
    if missing:
        there = sorted(path.name for path in folder.iterdir())
        raise FileNotFoundError(
            f"{folder} is no complete checkpoint of {what}: {', '.join(missing)} is missing; it holds "
            f"{examples(there, 8) if there else 'nothing'}. {source}"
        )
    return {name: folder / name for name in files}
