"""The matrix behind `X` or a layer, whatever holds it, in a form whose rows can be sliced cheaply and safely."""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse as sp

from .._validate import check_key, warn_caller

if TYPE_CHECKING:
    from anndata import AnnData

logger = logging.getLogger(__name__)

#: Rows of chunks that messages advise.
_ROWS_ADVISED = 8000


def row_matrix(adata: AnnData, layer: str | None) -> Any:
    """Find the matrix behind `X` or a layer, in a form whose rows can be sliced cheaply."""
    if layer is not None:
        check_key({key: 0 for key in adata.layers if key is not None}, layer, where="adata.layers")
    matrix = None if adata.is_view and not is_dask(_whole(adata, layer)) else _values(adata, layer)
    if is_dask(matrix):
        return _divided_by_rows(matrix)
    if adata.is_view:
        check_indices(adata, layer)  # anndata picks columns in compiled code that trusts them
        return _ViewRows(adata, layer)
    if is_on_gpu(matrix):
        logger.info("Expression lies on a GPU and is copied to memory block by block.")
        return matrix.tocsr() if getattr(matrix, "format", None) == "csc" else matrix
    if matrix is None:
        raise ValueError(
            "`adata.X` is empty (None): expected cells × genes expression. Name the layer with "
            "`layer=`, or pass `adata.raw.to_adata()`."
        )
    if getattr(matrix, "format", None) == "csc":
        # slicing rows of CSC costs a pass over all of it for each block; one conversion is cheaper than dozens
        matrix = matrix.to_memory() if hasattr(matrix, "to_memory") else matrix
        check_sparse(matrix)
        matrix = matrix.tocsr()
    return sliceable(matrix)


def sliceable(matrix: Any) -> Any:
    if sp.issparse(matrix) and matrix.format == "csr":
        _check_pointers(matrix)
        return _CsrRows(matrix)
    return matrix


def _values(adata: AnnData, layer: str | None) -> Any:
    return adata.X if layer is None else adata.layers[layer]


def _whole(adata: AnnData, layer: str | None) -> Any:
    """Expression of an object or, of a view, of the whole that it shows a part of; `None` for what lies in a file."""
    whole = adata._adata_ref if adata.is_view else adata
    return None if whole.isbacked else _values(whole, layer)


def _divided_by_rows(matrix: Any) -> Any:
    """A dask array of which a few rows can be had without computing all of it."""
    if matrix.numblocks[0] > 1 or getattr(matrix._meta, "format", None) != "csc":
        return matrix
    # each block of rows of CSC costs a pass over all of it; one conversion is cheaper than dozens
    return sliceable(sp.csr_matrix(matrix.compute()))


def check_indices(adata: AnnData, layer: str | None = None) -> None:
    """Check sparse expression in memory, of a view the whole that it shows a part of, before compiled code reads it."""
    matrix = _whole(adata, layer)
    if sp.issparse(matrix):
        check_sparse(matrix)


def check_sparse(matrix: Any) -> None:
    """Raise :class:`ValueError` for a sparse matrix whose indices would make compiled code read outside its memory."""
    _check_pointers(matrix)
    n_minor = matrix.shape[1] if matrix.format == "csr" else matrix.shape[0]
    if matrix.indices.size and not 0 <= matrix.indices.min() <= matrix.indices.max() < n_minor:
        raise ValueError(broken(f"indices outside 0-{n_minor - 1}"))


def _check_pointers(matrix: Any) -> None:
    pointers, n_entries = matrix.indptr, min(len(matrix.indices), len(matrix.data))
    if pointers[0] != 0 or pointers[-1] > n_entries or (np.diff(pointers) < 0).any():
        raise ValueError(broken(f"row pointers that do not ascend from 0 to its {n_entries} entries"))


def broken(what: str) -> str:
    return (
        f"The sparse expression matrix is broken: it has {what}. The file or the program that wrote it damaged the matrix: "
        "read the original file again, or rebuild the matrix from (row, column, value) with scipy.sparse.coo_matrix."
    )


class _ViewRows:
    """Rows of a view, without materialising the whole view."""

    def __init__(self, adata: AnnData, layer: str | None) -> None:
        self._adata, self._layer = adata, layer

    def __getitem__(self, rows: slice) -> Any:
        if self._adata.isbacked:  # anndata makes no view of such a view: ask the file for these rows
            parent = self._adata._adata_ref
            part = parent[np.arange(parent.n_obs)[self._adata._oidx][rows], self._adata._vidx]
        else:
            part = self._adata[rows]
        return part.X if self._layer is None else part.layers[self._layer]


class _CsrRows:
    """Rows of an in-memory CSR matrix as matrices that share its memory; scipy's own slicing copies them."""

    def __init__(self, matrix: Any) -> None:
        self._matrix = matrix

    def __getitem__(self, rows: slice) -> sp.csr_matrix:
        indptr = self._matrix.indptr[rows.start : rows.stop + 1]
        first, last = indptr[0], indptr[-1]
        block = sp.csr_matrix((rows.stop - rows.start, self._matrix.shape[1]), dtype=self._matrix.dtype)
        block.data = self._matrix.data[first:last]
        block.indices = self._matrix.indices[first:last]
        block.indptr = indptr - first
        return block


def is_on_gpu(matrix: Any) -> bool:
    """Whether a matrix is one of cupy's, as rapids-singlecell keeps them."""
    return type(matrix).__module__.partition(".")[0] in ("cupy", "cupyx")


def is_dask(matrix: Any) -> bool:
    """Whether a matrix is a dask array; dask is not loaded to find out."""
    array = sys.modules.get("dask.array")
    return array is not None and isinstance(matrix, array.Array)


def check_chunks(adata: AnnData, layer: str | None) -> None:
    """Look at the chunks of a dask array before anything is read.

    Raises
    ------
    ValueError
        If it does not know how many rows its chunks have.

    Warns
    -----
    UserWarning
        If chunks divide the genes, of which every cell is needed at once.
    """
    matrix = adata.X if layer is None else adata.layers.get(layer)
    if not is_dask(matrix):
        return
    where = "adata.X" if layer is None else f"adata.layers[{layer!r}]"
    if np.isnan(matrix.shape).any() or any(np.isnan(axis).any() for axis in matrix.chunks):
        raise ValueError(
            f"`{where}` is a dask array whose chunks do not know their number of rows, as after a selection by a condition. Call "
            f"`{where}.compute_chunk_sizes()` first."
        )
    if matrix.numblocks[1] > 1:
        tall = f"chunks=({_ROWS_ADVISED}, -1)"
        warn_caller(
            f"`{where}` is divided along genes into {matrix.numblocks[1]} chunks, and all genes of a cell are needed at once: it is "
            f"rechunked, which reads more and needs more memory. Chunk it along cells alone, such as `{tall}`, and store it like that."
        )


def chunk_rows(matrix: Any) -> int | None:
    """Rows of the chunks of a dask array, if all but the last are alike."""
    if not is_dask(matrix):
        return None
    sizes = matrix.chunks[0]
    return int(sizes[0]) if len(set(sizes[:-1])) <= 1 and sizes[-1] <= sizes[0] else None


def opened_by_others(matrix: Any, rows: int) -> Any:
    """A matrix in a file that may be read by several processes, as a dask array with chunks of so many rows; `None` for any other."""
    node = getattr(matrix, "group", matrix)
    if type(node).__module__.split(".")[0] not in ("h5py", "zarr"):
        return None
    if getattr(getattr(node, "file", None), "mode", "r") != "r":
        return None  # HDF5 lets nobody else read what is open for writing
    from anndata.experimental import read_elem_lazy

    return read_elem_lazy(node, chunks=(rows, -1))
