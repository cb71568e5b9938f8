"""Hand rows to the workers of a `dask.distributed` cluster: the only file that knows of one."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import __version__
from .._validate import examples
from ._row_matrix import chunk_rows, is_dask, opened_by_others, sliceable
from ._rows import Blocks

if TYPE_CHECKING:
    from ._passes import Work

#: Rows of a task, about: with 2,000 entries each, 130 MB.
_ROWS = 8192
#: Results that are joined at a time, and how often rows are handed out whose data were lost with a worker.
_FAN_IN, _ATTEMPTS = 8, 3
#: Compiled code takes all threads of a process for one block, and some of its schedulers know one caller only.
_COMPILED = threading.RLock()


class Workers:
    """Workers of a cluster, which read the rows of a matrix where it lies."""

    def __init__(self, client: Any, matrix: Any) -> None:
        self._client, self._matrix = client, matrix
        chunk = chunk_rows(matrix)
        #: Rows that a worker should take at a time.
        self.rows_of_task = _ROWS if chunk is None else chunk * max(1, _ROWS // chunk)

    @classmethod
    def of(cls, matrix: Any) -> Workers | None:
        """Workers of the present client; `None` without one, or where the matrix lies in the memory of this process.

        Raises
        ------
        RuntimeError
            If workers cannot import scdrug, or have another version of it.
        """
        client = _present_client()
        lazy = None if client is None else matrix if is_dask(matrix) else opened_by_others(matrix, _ROWS)
        if lazy is None:
            return None
        _check_versions(client)
        return cls(client, lazy)

    def total(self, work: Work, *, size: int, check: bool, advance: Callable[[int], None]) -> Any:
        """One result of all rows: those of tasks are joined in a tree, on the workers."""
        stretches = _stretches(self._matrix.shape[0], self.rows_of_task * _FAN_IN)
        parts = {}
        for rows, part in self.each(
            work, _kept, stretches, step=self.rows_of_task * _FAN_IN, size=size, check=check, advance=advance
        ):
            parts[rows.start] = part
        return work.join([parts[rows.start] for rows in stretches])

    def each(
        self,
        work: Work,
        then: Callable[[slice, Any], Any],
        stretches: Sequence[slice],
        *,
        step: int,
        size: int,
        check: bool,
        advance: Callable[[int], None],
    ) -> Iterator[tuple[slice, Any]]:
        """Results of stretches as they are done; what a worker took with it when it died is done again.

        Parameters
        ----------
        work, then
            What to make of rows, and what to do with the result of a stretch, both on a worker.
        stretches
            Those to do, of `step` rows each but the last.
        size, check
            As in :class:`~scdrug.pp._rows.Blocks`.
        advance
            Told of rows that are done.
        """
        from concurrent.futures import CancelledError

        import distributed

        left = list(stretches)
        for _ in range(_ATTEMPTS):
            lost = []
            pending = self._submit(work, then, left, step=step, size=size, check=check)
            try:
                for future in distributed.as_completed(list(pending)):
                    rows = pending.pop(future)
                    try:
                        done = future.result()
                    except CancelledError:  # what it needed lay on a worker that is gone
                        lost.append(rows)
                        continue
                    except distributed.KilledWorker as error:
                        raise RuntimeError(
                            f"Rows {rows.start:,}-{rows.stop - 1:,} were given to several workers, and each of them died: most likely "
                            "they ran out of memory. Give workers more memory or fewer threads, or lower `chunk_size` and the "
                            "rows of a chunk of the matrix."
                        ) from error
                    advance(rows.stop - rows.start)
                    yield rows, done
            finally:
                self._client.cancel(list(pending))
            left = lost
            if not left:
                return
        raise RuntimeError(
            f"{len(left)} stretches of rows were lost {_ATTEMPTS} times with the workers that held their data. Look at the logs of the "
            "workers (`client.get_worker_logs()`)."
        )

    def _submit(
        self,
        work: Work,
        then: Callable[[slice, Any], Any],
        stretches: Sequence[slice],
        *,
        step: int,
        size: int,
        check: bool,
    ) -> dict[Any, slice]:
        """Futures of stretches."""
        import dask

        # weights travel once, not with each task
        work, then = self._client.scatter([work, then], broadcast=True, hash=False)
        matrix = self._rechunked(step)
        ends = np.cumsum(matrix.chunks[0])
        starts, parts = ends - matrix.chunks[0], matrix.to_delayed()[:, 0]
        make, finish = dask.delayed(_make, pure=False), dask.delayed(_finish, pure=False)
        tasks = []
        for rows in stretches:
            inside = np.flatnonzero((starts >= rows.start) & (ends <= rows.stop))
            made = [make(work, parts[i], int(starts[i]), size, check) for i in inside]
            tasks.append(finish(work, then, rows, made))
        return dict(zip(self._client.compute(tasks), stretches, strict=True))

    def _rechunked(self, step: int) -> Any:
        """The matrix in chunks of whole rows, of which several make up each stretch of `step` rows."""
        n_rows, task = self._matrix.shape[0], min(self.rows_of_task, step)
        chunks = [
            min(start + task, rows.stop) - start
            for rows in _stretches(n_rows, step)
            for start in range(rows.start, rows.stop, task)
        ]
        return self._matrix.rechunk({0: tuple(chunks), 1: -1})


def _stretches(n_rows: int, step: int) -> list[slice]:
    return [slice(start, min(start + step, n_rows)) for start in range(0, n_rows, step)]


def _kept(rows: slice, result: Any) -> Any:
    return result


def _make(work: Work, part: Any, first: int, size: int, check: bool) -> Any:
    """Result of a chunk, on a worker."""
    rows = slice(first, first + part.shape[0])
    with _compiled():
        return work(Blocks(sliceable(part), rows, first=first, size=size, check=check))


def _finish(work: Work, then: Callable[[slice, Any], Any], rows: slice, parts: list[Any]) -> Any:
    """Result of a stretch from those of its chunks, on a worker."""
    with _compiled():
        return then(rows, work.join(parts))


@contextmanager
def _compiled() -> Iterator[None]:
    """One block at a time in compiled code, with as many threads as the worker was given: others have theirs."""
    import distributed
    import numba

    n_threads = int(distributed.get_worker().state.nthreads)
    torch = sys.modules.get("torch")
    with _COMPILED:
        before = numba.get_num_threads(), None if torch is None else torch.get_num_threads()
        numba.set_num_threads(min(n_threads, numba.config.NUMBA_NUM_THREADS))
        if torch is not None:
            torch.set_num_threads(n_threads)
        try:
            yield
        finally:
            numba.set_num_threads(before[0])
            if before[1] is not None:
                torch.set_num_threads(before[1])


def _present_client() -> Any:
    """Client of `dask.distributed` that was made last and is open, if any."""
    distributed = sys.modules.get("distributed")
    if distributed is None:
        return None
    try:
        return distributed.default_client()
    except ValueError:
        return None


def _check_versions(client: Any) -> None:
    def version() -> str:  # travels by value, so that it arrives where scdrug is not
        from importlib import import_module

        return import_module("scdrug").__version__

    found = client.run(version, on_error="return")
    lacking = [str(worker) for worker, answer in found.items() if isinstance(answer, ImportError)]
    if lacking:
        raise RuntimeError(
            f"{len(lacking)} of {len(found)} workers cannot import scdrug ({examples(lacking, 3)}). Install scdrug {__version__} where "
            "workers run, for example by `client.register_plugin(distributed.PipInstall(['scdrug']))`, or close the client to "
            "compute here."
        )
    others = {str(worker): answer for worker, answer in found.items() if answer != __version__}
    if others:
        raise RuntimeError(
            f"Workers have other versions of scdrug than {__version__}: {examples(f'{w}: {v}' for w, v in others.items())}. Install "
            "the same one there, or results may differ."
        )
