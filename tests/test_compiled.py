"""Compiled loops: every row once in whatever number of threads, and no folder that can be written is no reason to fail."""

from __future__ import annotations

import numba
import numpy as np
import pytest

from scdrug._compiled import compiled, over_rows


@pytest.mark.parametrize("n_threads", [1, 3, 64])
@pytest.mark.parametrize("n_rows", [0, 1, 255, 1000])
def test_each_row_is_worked_on_once(n_rows: int, n_threads: int, monkeypatch) -> None:
    monkeypatch.setattr(numba.config, "NUMBA_NUM_THREADS", n_threads)
    seen, parts = np.zeros(n_rows, dtype=int), []

    def work(part: int, start: int, stop: int) -> None:
        seen[start:stop] += 1
        parts.append(part)

    over_rows(n_rows, work)
    assert (seen == 1).all()
    assert sorted(parts) == list(range(len(parts)))


def test_what_fails_in_a_thread_fails_for_the_caller(monkeypatch) -> None:
    monkeypatch.setattr(numba.config, "NUMBA_NUM_THREADS", 4)

    def work(part: int, start: int, stop: int) -> None:
        if part == 2:
            raise ValueError("of part 2")

    with pytest.raises(ValueError, match="of part 2"):
        over_rows(4000, work)


def test_loops_are_compiled_anew_where_no_folder_can_be_written(monkeypatch) -> None:
    njit = numba.njit

    def without_folder(*function, **options):
        if options.get("cache"):
            raise RuntimeError("cannot cache function: no locator available")
        return njit(*function, **options)

    monkeypatch.setattr(numba, "njit", without_folder)
    assert compiled(lambda number: number + 1)(1) == 2
