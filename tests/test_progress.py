"""A bar for whoever looks at a terminal, and not a character for anybody else."""

from __future__ import annotations

import io
import sys

import numpy as np
import pytest

from scdrug import datasets, model, settings, tl
from scdrug._progress import progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def _look(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """Look at standard error; not a fixture, since pytest puts its own in place between fixtures and test."""
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setattr(settings, "progress", True)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    return terminal


def test_a_terminal_sees_cells_their_speed_and_what_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = _look(monkeypatch)
    with progress("Predicting", 4000, done=1000) as advance:
        advance(1500)
        advance(1500)
    for text in ("Predicting", "1,000 of 4,000 cells", "cells/s", "4,000 of 4,000 cells"):
        assert text in terminal.getvalue()


@pytest.mark.parametrize("why", ["no terminal", "switched off"])
def test_nobody_else_sees_anything(monkeypatch: pytest.MonkeyPatch, why: str) -> None:
    terminal = _look(monkeypatch)
    if why == "no terminal":
        monkeypatch.setattr(terminal, "isatty", lambda: False)
    else:
        monkeypatch.setattr(settings, "progress", False)
    with progress("Predicting", 10) as advance:
        advance(10)
    assert terminal.getvalue() == ""


def test_every_cell_is_counted_once_in_each_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    counted: dict[str, list[int]] = {}

    class Counter:
        def __init__(self, what: str, n_cells: int, done: int = 0) -> None:
            self.counts = counted.setdefault(what, [])

        def __enter__(self):
            return self.counts.append

        def __exit__(self, *_: object) -> None:
            pass

    monkeypatch.setattr("scdrug.pp._passes.progress", Counter)
    reference = datasets.toy(n_lines=60)
    model.KernelRidge.setup_anndata(reference)
    trained = model.KernelRidge(reference)
    trained.train()
    cells = datasets.toy_cells(n_cells=90)
    tl.predict_response(cells, trained, chunk_size=40)
    assert counted == {"Fitting": [40, 40, 10], "Predicting": [40, 40, 10]}
    assert np.isfinite(cells.obsm["predicted_response"]).all(axis=None)
