"""Read expression row block by row block, whatever holds it, so that memory stays constant."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse as sp

from .._settings import settings
from ._row_matrix import broken, check_sparse, is_dask, is_on_gpu, row_matrix, sliceable
from ._transform import BlockFacts, inspect_block

if TYPE_CHECKING:
    from anndata import AnnData

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
    yield from Blocks(
        row_matrix(adata, layer), slice(0, adata.n_obs), size=block_size(chunk_size), check=check, facts=facts
    )


def block_size(chunk_size: int | None) -> int:
    """Rows a block, `scdrug.settings.chunk_size` if omitted."""
    size = int(chunk_size or settings.chunk_size)
    if size < 1:
        raise ValueError(f"`chunk_size` must be a positive number of rows; found {chunk_size}.")
    return size


class Blocks:
    """Rows of a stretch of a matrix, block by block: what every pass over rows reads, in one process or on a worker.

    Chunks of a dask array are read once each and divided, whatever their size.

    Parameters
    ----------
    matrix
        What :func:`row_matrix` returned, or a part of it in memory.
    rows
        Stretch to read, as positions among all rows.
    first
        Position among all rows of the matrix's first one.
    size
        Rows a block at most.
    check
        Look at values and columns before anything else reads them.
    facts
        List that what was seen of each block is appended to.
    on_read
        Called with the number of rows of each block when the next one is asked for.
    """

    def __init__(
        self,
        matrix: Any,
        rows: slice,
        *,
        first: int = 0,
        size: int,
        check: bool = True,
        facts: list[BlockFacts] | None = None,
        on_read: Callable[[int], object] | None = None,
    ) -> None:
        self.rows, self._matrix, self._first, self._size = rows, matrix, first, size
        self._check, self.facts, self._on_read = check, [] if facts is None else facts, on_read

    def __iter__(self) -> Iterator[tuple[slice, sp.csr_matrix]]:
        for read in _reads(
            self._matrix, slice(self.rows.start - self._first, self.rows.stop - self._first), self._size
        ):
            part = self._matrix[read]
            n_rows = read.stop - read.start
            if n_rows > self._size:
                part = sliceable(_loaded(part))
            for start in range(0, n_rows, self._size):
                stop = min(start + self._size, n_rows)
                rows = slice(self._first + read.start + start, self._first + read.start + stop)
                block = part if n_rows <= self._size else part[start:stop]
                yield rows, _as_csr(block, rows, check=self._check, seen=self.facts)
                if self._on_read is not None:
                    self._on_read(stop - start)


def _reads(matrix: Any, rows: slice, size: int) -> Iterator[slice]:
    """Slices to read at a time: blocks, or whole chunks of a dask array, since part of one costs as much as all of it."""
    start = rows.start
    ends = np.cumsum(matrix.chunks[0]) if is_dask(matrix) else range(start + size, rows.stop, size)
    for end in ends:
        if start < end < rows.stop and end - start >= size:
            yield slice(start, int(end))
            start = int(end)
    if start < rows.stop:
        yield slice(start, rows.stop)


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
    matrix = row_matrix(adata, layer)
    # neighbours are read together, as files are fast at that and slow at rows by number
    runs = np.split(positions, np.flatnonzero(np.diff(positions) != 1) + 1)
    slices = [slice(int(run[0]), int(run[-1]) + 1) for run in runs]
    parts = (matrix[rows] for rows in slices)
    if is_dask(matrix):
        import dask

        parts = dask.compute(*parts)  # together, so that a chunk is read once for all of its rows
    return sp.vstack([_as_csr(part, rows) for part, rows in zip(parts, slices, strict=True)], format="csr")


def _loaded(block: Any) -> Any:
    if hasattr(block, "compute"):  # dask
        block = block.compute()
    if is_on_gpu(block):
        block = block.get()
    return block.to_memory() if hasattr(block, "to_memory") else block


def _as_csr(block: Any, rows: slice, *, check: bool = True, seen: list[BlockFacts] | None = None) -> sp.csr_matrix:
    block = _loaded(block)
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
        raise ValueError(broken(f"column indices outside 0-{csr.shape[1] - 1} in rows {rows.start}-{rows.stop - 1}"))
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
