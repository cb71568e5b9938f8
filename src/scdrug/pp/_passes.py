"""Passes over the rows of expression: the same work in one process and on the workers of a cluster."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Protocol, TypeVar

from .._progress import progress
from ._row_matrix import row_matrix
from ._rows import Blocks, block_size
from ._workers import Workers

if TYPE_CHECKING:
    from anndata import AnnData

R = TypeVar("R")
S = TypeVar("S")


class Work(Protocol[R]):
    """What is made of rows: a function of their blocks, with all that it needs to know, which pickle can hand to a worker.

    Results of neighbouring stretches are joined in any grouping, but in order.
    """

    def __call__(self, blocks: Blocks) -> R:
        """Make something of a stretch of rows."""

    def join(self, parts: Sequence[R]) -> R:
        """Make one of the results of neighbouring stretches."""


def over_rows(
    adata: AnnData,
    work: Work[R],
    *,
    layer: str | None = None,
    chunk_size: int | None = None,
    check: bool = True,
    what: str = "Reading",
) -> R:
    """Make one result of all rows.

    Where a client of `dask.distributed` is there and its workers can read the matrix themselves, each makes results of the rows it
    reads, and these are joined in a tree; otherwise rows are read here, block by block.

    Parameters
    ----------
    adata
        Cells × genes.
    work
        What to make of rows.
    layer, chunk_size, check
        As in :func:`~scdrug.pp._rows.iter_row_blocks`.
    what
        What is being done, for the progress bar.
    """
    matrix, size = row_matrix(adata, layer), block_size(chunk_size)
    workers = Workers.of(matrix)
    with progress(what, adata.n_obs) as advance:
        if workers is not None:
            return workers.total(work, size=size, check=check, advance=advance)
        return work(Blocks(matrix, slice(0, adata.n_obs), size=size, check=check, on_read=advance))


def by_stretches(
    adata: AnnData,
    work: Work[R],
    then: Callable[[slice, R], S],
    *,
    rows: int | None = None,
    skip: Callable[[slice], bool] = lambda stretch: False,
    layer: str | None = None,
    chunk_size: int | None = None,
    check: bool = True,
    what: str = "Reading",
) -> Iterator[tuple[slice, S]]:
    """Make a result of each stretch of rows, in any order.

    Parameters
    ----------
    adata, work, layer, chunk_size, check, what
        As in :func:`over_rows`.
    then
        What is done with the result of each stretch, where it was made; its value is what comes back.
    rows
        Rows of a stretch. If omitted, all rows are one, or as many as workers should take at a time.
    skip
        Whether a stretch was done before.

    Yields
    ------
    Stretches, and what `then` returned for them.
    """
    matrix, size = row_matrix(adata, layer), block_size(chunk_size)
    workers = Workers.of(matrix)
    n_rows = adata.n_obs
    step = rows or (n_rows if workers is None else workers.rows_of_task)
    stretches = [slice(start, min(start + step, n_rows)) for start in range(0, n_rows, step)]
    wanted = [stretch for stretch in stretches if not skip(stretch)]
    done = n_rows - sum(stretch.stop - stretch.start for stretch in wanted)
    with progress(what, n_rows, done) as advance:
        if workers is not None:
            yield from workers.each(work, then, wanted, step=step, size=size, check=check, advance=advance)
            return
        for stretch in wanted:
            yield stretch, then(stretch, work(Blocks(matrix, stretch, size=size, check=check, on_read=advance)))


def rows_of_stretch(adata: AnnData, layer: str | None, about: int) -> int:
    """About so many rows that end where a chunk of a dask array does, if its chunks are alike."""
    from ._row_matrix import chunk_rows

    chunk = chunk_rows(row_matrix(adata, layer))
    return about if chunk is None else chunk * max(1, about // chunk)
