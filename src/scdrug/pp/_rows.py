"""Read expression row block by row block, whatever holds it, so that memory stays constant."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse as sp

from .._settings import settings
from .._validate import check_key

if TYPE_CHECKING:
    from anndata import AnnData


def iter_row_blocks(
    adata: AnnData, *, layer: str | None = None, chunk_size: int | None = None, check: bool = True
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
        Look for values that are not finite; a second pass over the same rows need not.

    Yields
    ------
    The slice of rows, and these rows as a CSR matrix (rows × genes).

    Raises
    ------
    ValueError
        If there is no expression, or it holds NaN or infinite values.
    """
    size = int(chunk_size or settings.chunk_size)
    if size < 1:
        raise ValueError(f"`chunk_size` must be a positive number of rows; found {chunk_size}.")
    matrix = _row_sliceable(adata, layer)
    for start in range(0, adata.n_obs, size):
        rows = slice(start, min(start + size, adata.n_obs))
        yield rows, _as_csr(matrix[rows], rows, check=check)


def sample_rows(adata: AnnData, *, layer: str | None = None, n_blocks: int = 8, block: int = 64) -> sp.csr_matrix:
    """Return a few evenly spaced blocks of rows, to look at the scale of the data without reading all of it."""
    matrix = _row_sliceable(adata, layer)
    starts = np.unique(np.linspace(0, max(adata.n_obs - block, 0), n_blocks).astype(int))
    blocks = []
    for start in starts:
        rows = slice(int(start), min(int(start) + block, adata.n_obs))
        blocks.append(_as_csr(matrix[rows], rows))
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
        return _ViewRows(adata, layer)
    matrix = adata.X if layer is None else adata.layers[layer]
    if matrix is None:
        raise ValueError(
            "`adata.X` is empty (None): expected cells × genes expression. Name the layer with "
            "`layer=`, or pass `adata.raw.to_adata()`."
        )
    if getattr(matrix, "format", None) == "csc":
        # slicing rows of CSC costs a pass over all of it for each block; one conversion is cheaper than dozens
        matrix = matrix.to_memory() if hasattr(matrix, "to_memory") else matrix
        matrix = matrix.tocsr()
    return _CsrRows(matrix) if sp.issparse(matrix) and matrix.format == "csr" else matrix


def _as_csr(block: Any, rows: slice, *, check: bool = True) -> sp.csr_matrix:
    if hasattr(block, "compute"):  # dask
        block = block.compute()
    if hasattr(block, "to_memory"):
        block = block.to_memory()
    # scipy's constructor copies what is already right
    right = sp.issparse(block) and block.format == "csr" and block.dtype == np.float32
    csr = block if right else sp.csr_matrix(block, dtype=np.float32)
    # one sum finds both NaN and infinity, in a fraction of the time of an element-wise test
    if check and csr.data.size and not np.isfinite(csr.data.sum(dtype=np.float64)):
        n_bad = int((~np.isfinite(csr.data)).sum())
        if n_bad:
            raise ValueError(
                f"Expression must be finite; found {n_bad} NaN or infinite values in rows {rows.start}-{rows.stop - 1}. "
                "Remove these cells or genes, or fill the values, before predicting."
            )
    return csr
