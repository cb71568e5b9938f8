"""Read expression row block by row block, whatever holds it, so that memory stays constant."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse as sp

from .._settings import settings
from .._validate import check_key
from ._transform import BlockFacts, inspect_block

if TYPE_CHECKING:
    from anndata import AnnData

logger = logging.getLogger(__name__)

#: Largest value that expression takes: sums over the reads of a whole sequencing run stay far below.
_MAX_VALUE = 1e12


def iter_row_blocks(
    adata: AnnData,
    *,
    layer: str | None = None,
    chunk_size: int | None = None,
    check: bool = True,
    facts: list[BlockFacts] | None = None,
) -> Iterator[tuple[slice, sp.csr_matrix]]:
    """Yield row slices of expression as CSR blocks in float32.

    Dense, CSR, CSC, backed (h5ad, zarr) and dask arrays, and views of them, all come out the same.

    Parameters
    ----------
    adata
        Cells × genes.
    layer
        Layer to read; `X` if omitted.
    chunk_size
        Rows a block, `scdrug.settings.chunk_size` if omitted.
    check
        Look at values and columns before anything else reads them; a second pass over the same rows need not.
    facts
        List that what was seen of each block is appended to.

    Yields
    ------
    The slice of rows, and these rows as a CSR matrix (rows × genes) in which each entry stands once.

    Raises
    ------
    ValueError
        If there is no expression, if it holds NaN, infinite values or fill values, or if a sparse matrix is broken.
    TypeError
        If the values are not real numbers.
    """
    size = int(chunk_size or settings.chunk_size)
    if size < 1:
        raise ValueError(f"`chunk_size` must be a positive number of rows; found {chunk_size}.")
    matrix = _row_sliceable(adata, layer)
    for start in range(0, adata.n_obs, size):
        rows = slice(start, min(start + size, adata.n_obs))
        yield rows, _as_csr(matrix[rows], rows, check=check, seen=facts)


def sample_rows(adata: AnnData, *, layer: str | None = None) -> sp.csr_matrix:
    """Return a few evenly spaced blocks of rows, to look at the scale of the data without reading all of it."""
    return read_rows(adata, sampled_rows(adata.n_obs), layer=layer)


def sampled_rows(n_obs: int, *, n_blocks: int = 32, block: int = 32) -> np.ndarray:
    """Positions of evenly spaced blocks of rows, ascending; all rows where there are few."""
    if n_obs <= n_blocks * block:
        return np.arange(n_obs)
    starts = np.unique(np.linspace(0, n_obs - block, n_blocks).astype(int))
    return np.unique((starts[:, None] + np.arange(block)).ravel())


def read_rows(adata: AnnData, positions: np.ndarray, *, layer: str | None = None) -> sp.csr_matrix:
    """Read ascending rows as CSR (rows × genes)."""
    matrix = _row_sliceable(adata, layer)
    # neighbours are read together, as files are fast at that and slow at rows by number
    runs = np.split(positions, np.flatnonzero(np.diff(positions) != 1) + 1)
    blocks = [
        _as_csr(matrix[slice(int(run[0]), int(run[-1]) + 1)], slice(int(run[0]), int(run[-1]) + 1)) for run in runs
    ]
    return sp.vstack(blocks, format="csr")


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


def _row_sliceable(adata: AnnData, layer: str | None) -> Any:
    """Find the matrix behind `X` or a layer, in a form whose rows can be sliced cheaply."""
    if layer is not None:
        check_key({key: 0 for key in adata.layers if key is not None}, layer, where="adata.layers")
    if adata.is_view:
        check_indices(adata, layer)  # anndata picks columns in compiled code that trusts them
        return _ViewRows(adata, layer)
    matrix = adata.X if layer is None else adata.layers[layer]
    if _is_on_gpu(matrix):
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
    if sp.issparse(matrix) and matrix.format == "csr":
        _check_pointers(matrix)
        return _CsrRows(matrix)
    return matrix


def _is_on_gpu(matrix: Any) -> bool:
    """Whether a matrix is one of cupy's, as rapids-singlecell keeps them."""
    return type(matrix).__module__.partition(".")[0] in ("cupy", "cupyx")


def check_indices(adata: AnnData, layer: str | None = None) -> None:
    """Check sparse expression in memory, of a view the whole that it shows a part of, before compiled code reads it."""
    whole = adata._adata_ref if adata.is_view else adata
    matrix = None if whole.isbacked else whole.X if layer is None else whole.layers[layer]
    if sp.issparse(matrix):
        check_sparse(matrix)


def check_sparse(matrix: Any) -> None:
    """Raise :class:`ValueError` for a sparse matrix whose indices would make compiled code read outside its memory."""
    _check_pointers(matrix)
    n_minor = matrix.shape[1] if matrix.format == "csr" else matrix.shape[0]
    if matrix.indices.size and not 0 <= matrix.indices.min() <= matrix.indices.max() < n_minor:
        raise ValueError(_broken(f"indices outside 0-{n_minor - 1}"))


def _check_pointers(matrix: Any) -> None:
    pointers, n_entries = matrix.indptr, min(len(matrix.indices), len(matrix.data))
    if pointers[0] != 0 or pointers[-1] > n_entries or (np.diff(pointers) < 0).any():
        raise ValueError(_broken(f"row pointers that do not ascend from 0 to its {n_entries} entries"))


def _broken(what: str) -> str:
    return (
        f"The sparse expression matrix is broken: it has {what}. The file or the program that wrote it damaged the matrix: "
        "read the original file again, or rebuild the matrix from (row, column, value) with scipy.sparse.coo_matrix."
    )


def _as_csr(block: Any, rows: slice, *, check: bool = True, seen: list[BlockFacts] | None = None) -> sp.csr_matrix:
    if hasattr(block, "compute"):  # dask
        block = block.compute()
    if _is_on_gpu(block):
        block = block.get()
    if hasattr(block, "to_memory"):
        block = block.to_memory()
    _check_numbers(block)
    if sp.issparse(block) and block.format == "csr":
        # scipy's constructor copies what is already right
        csr = block if block.dtype == np.float32 else _csr_like(block, _to_float32(block.data))
    elif sp.issparse(block):
        check_sparse(block)
        csr = sp.csr_matrix(block, dtype=np.float32)
    else:
        csr = sp.csr_matrix(_to_float32(np.asarray(block)))
    if not check or not csr.data.size:
        return csr
    facts = inspect_block(csr)
    if seen is not None:
        seen.append(facts)
    if not facts.inside:
        raise ValueError(_broken(f"column indices outside 0-{csr.shape[1] - 1} in rows {rows.start}-{rows.stop - 1}"))
    if not facts.finite:
        n_bad = int((~np.isfinite(csr.data)).sum())
        if n_bad:
            raise ValueError(
                f"Expression must be finite; found {n_bad} NaN or infinite values in rows {rows.start}-{rows.stop - 1}. "
                "Remove these cells or genes, or fill the values, before predicting."
            )
    extreme = max(facts.highest, -facts.lowest)
    if extreme > _MAX_VALUE:
        raise ValueError(
            f"Expression in rows {rows.start}-{rows.stop - 1} reaches {extreme:.3g}, more than any measurement does. "
            "Programs write such numbers where a value is missing: remove these cells or genes, or fill the values."
        )
    if not facts.canonical:
        # repeated entries stand for their sum; what belongs to the user is not put in order for them
        csr = csr.copy()
        csr.sum_duplicates()
    return csr


def _csr_like(block: Any, data: np.ndarray) -> sp.csr_matrix:
    csr = sp.csr_matrix(block.shape, dtype=data.dtype)
    csr.data, csr.indices, csr.indptr = data, block.indices, block.indptr
    return csr


def _check_numbers(block: Any) -> None:
    """Raise :class:`TypeError` unless values are real numbers, none of them hidden by a mask."""
    dtype = getattr(block, "dtype", np.dtype(object))
    if np.ma.isMaskedArray(block):
        raise TypeError(
            "Expression is a masked array, and its mask would be ignored. Fill it first, for example with "
            "`adata.X = adata.X.filled(0)` if masked means not detected."
        )
    if dtype.kind not in "buif":
        raise TypeError(
            f"Expression must be real numbers; found values of type {dtype}. Convert them, for example with "
            "`adata.X = adata.X.astype('float32')`, and check what they were."
        )


def _to_float32(values: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):  # what overflows is infinite, and is reported as that
        return values.astype(np.float32, copy=False)
