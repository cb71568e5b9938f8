"""Sums of rows by class, a block of columns at a time."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import scipy.sparse as sp

#: Numbers that a block of drugs may take, so that memory does not grow with cells × drugs.
_BLOCK = 4_000_000


def membership(codes: np.ndarray, n: int) -> sp.csr_matrix:
    """Indicator matrix (classes × rows); rows with a negative code belong nowhere."""
    rows = np.flatnonzero(codes >= 0)
    return sp.csr_matrix((np.ones(len(rows)), (codes[rows], rows)), shape=(n, len(codes)))


def class_sums(values: Callable[[slice], np.ndarray], n_drugs: int, codes: np.ndarray, n: int) -> np.ndarray:
    """Sum rows by class in double precision (classes × drugs), a block of drugs at a time."""
    indicator = membership(codes, n)
    sums = np.empty((n, n_drugs))
    for block in blocks(n_drugs, len(codes)):
        sums[:, block] = indicator @ values(block).astype(float)
    return sums


def blocks(n_drugs: int, n_cells: int) -> list[slice]:
    """Slices of drugs small enough to be held in double precision."""
    step = int(np.clip(_BLOCK // max(n_cells, 1), 1, n_drugs))
    return [slice(start, min(start + step, n_drugs)) for start in range(0, n_drugs, step)]
