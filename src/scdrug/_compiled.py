"""Compiled loops over rows: how they are compiled, kept, and shared among threads."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import numba

F = TypeVar("F", bound=Callable)

#: Rows below which a second thread costs more than it saves.
_FEWEST = 256


def compiled(function: F) -> F:
    """Compile a loop at its first call, and keep the result on disk.

    Notes
    -----
    Loops are compiled for one thread and let go of Python's lock, so that :func:`over_rows` runs them in several: numba's own parallel
    loops take several times as long to compile, and their threads must not be started from threads, as those of dask are.

    Results are kept beside the source, in the user's cache folder where that cannot be written, or in ``NUMBA_CACHE_DIR``; where no folder
    can be written, each process compiles anew.
    """
    try:
        return numba.njit(nogil=True, cache=True)(function)
    except RuntimeError:  # no folder can be written
        return numba.njit(nogil=True)(function)


def n_parts(n_rows: int) -> int:
    """Parts that :func:`over_rows` makes of rows: one for each thread of numba's (``NUMBA_NUM_THREADS``), fewer for few rows."""
    return max(1, min(int(numba.config.NUMBA_NUM_THREADS), n_rows // _FEWEST))


def over_rows(n_rows: int, work: Callable[[int, int, int], None]) -> None:
    """Call ``work(part, start, stop)`` on consecutive parts of rows, each in a thread.

    Parameters
    ----------
    n_rows
        Number of rows.
    work
        What is done to a part; it spends its time in compiled loops.
    """
    n = n_parts(n_rows)
    parts = [(part, part * n_rows // n, (part + 1) * n_rows // n) for part in range(n)]
    if n == 1:
        work(*parts[0])
        return
    # threads are made anew each time, which takes little: a process that was forked has none of its parent's
    with ThreadPoolExecutor(n - 1) as pool:
        others = [pool.submit(work, *part) for part in parts[1:]]
        work(*parts[0])
        for other in others:
            other.result()
