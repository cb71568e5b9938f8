"""What training may not see: set by the benchmark, checked where data reach a model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from ._validate import examples


class LeakError(RuntimeError):
    """Test data reached the training of a model."""


@dataclass(frozen=True)
class HeldOut:
    """Test data of a fold, by name: no values."""

    #: Lines whose responses may not be seen, nor, unless `transductive`, their expression.
    lines: frozenset[str] = frozenset()
    #: Drugs that may not be seen.
    drugs: frozenset[str] = frozenset()
    #: Drugs that may not be seen for a line.
    pairs: Mapping[str, frozenset[str]] = field(default_factory=dict)
    #: Whether the model's card declares that it sees unlabelled test expression.
    transductive: bool = False


_HELD_OUT: ContextVar[HeldOut | None] = ContextVar("held_out", default=None)


@contextmanager
def holding_out(held_out: HeldOut) -> Iterator[None]:
    """Make every model that is set up or trained in this context fail if it sees what is held out."""
    token = _HELD_OUT.set(held_out)
    try:
        yield
    finally:
        _HELD_OUT.reset(token)


@contextmanager
def predicting() -> Iterator[None]:
    """Lift the audit while a trained model predicts test data."""
    token = _HELD_OUT.set(None)
    try:
        yield
    finally:
        _HELD_OUT.reset(token)


def check_unseen(names: pd.Index, response: pd.DataFrame | None, *, where: str) -> None:
    """Raise if a table of lines, with or without responses, holds something that is held out.

    Parameters
    ----------
    names
        Names of the lines.
    response
        Lines × drug ids, NaN where not measured; `None` for expression alone.
    where
        What received the data, for the message.

    Raises
    ------
    LeakError
        If a test line, drug or pair is among them.
    """
    held_out = _HELD_OUT.get()
    if held_out is None:
        return
    names = names.astype(str)
    if response is None:
        seen = [] if held_out.transductive else sorted(held_out.lines.intersection(names))
        _fail(seen, "expression of the test lines", where)
        return
    measured = response.notna().to_numpy()
    rows = measured.any(axis=1) if held_out.transductive else np.ones(len(names), dtype=bool)
    _fail(sorted(held_out.lines.intersection(names[rows])), "test lines", where)
    drugs = response.columns.astype(str)
    _fail(sorted(held_out.drugs.intersection(drugs)), "test drugs", where)
    if held_out.pairs:
        for line, row in zip(names, measured):
            leaked = held_out.pairs.get(line, frozenset()).intersection(drugs[row])
            _fail([f"{line} with {drug}" for drug in sorted(leaked)], "test pairs", where)


def _fail(leaked: list[str], what: str, where: str) -> None:
    if leaked:
        raise LeakError(
            f"{len(leaked)} {what} reached {where}: {examples(leaked)}. Training may only use the reference that the "
            "benchmark hands over; a model that reads data from anywhere else cannot be judged by it."
        )
