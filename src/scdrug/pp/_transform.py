"""Row-wise transforms of blocks of sparse expression."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import scipy.sparse as sp

from .._compiled import n_parts, over_rows
from ._row_loops import (
    add_moments,
    fill_rows,
    inspect_rows,
)


class BlockFacts(NamedTuple):
    """What one pass over the entries of a CSR block says."""

    lowest: float
    highest: float
    #: Whether no value is NaN or infinite.
    finite: bool
    #: Whether all values are whole numbers.
    whole: bool
    #: Whether columns ascend within each row, without repeats.
    canonical: bool
    #: Whether all columns are within the matrix.
    inside: bool

    @classmethod
    def join(cls, facts: Sequence[BlockFacts]) -> BlockFacts:
        """What they say of all blocks; nothing against blocks without entries, of which there are none."""
        if not facts:
            return cls(0.0, 0.0, True, True, True, True)
        lowest, highest, *always = zip(*facts)
        return cls(min(lowest), max(highest), *(all(one) for one in always))


def inspect_block(block: sp.csr_matrix) -> BlockFacts:
    """Look at values and columns of a CSR block, in one pass and before anything else reads them."""
    if block.data.size == 0:
        return BlockFacts(0.0, 0.0, True, True, True, True)
    indices = block.indices
    if indices.dtype != np.int32:  # loops take one index width; what does not fit into it is no column
        highest = np.iinfo(np.int32).max
        indices = np.where((indices < 0) | (indices > highest), -1, indices).astype(np.int32)
    indptr, n_rows = block.indptr.astype(np.int64, copy=False), block.shape[0]
    facts = np.empty((n_parts(n_rows), 6))
    over_rows(
        n_rows,
        lambda part, first, last: inspect_rows(first, last, indptr, indices, block.data, block.shape[1], facts[part]),
    )
    return BlockFacts(
        lowest=float(facts[:, 0].min()),
        highest=float(facts[:, 1].max()),
        finite=bool(np.isfinite(facts[:, 2].sum())),
        whole=not facts[:, 3].any(),
        canonical=not facts[:, 4].any(),
        inside=not facts[:, 5].any(),
    )


def least_entries(n_genes: int) -> int:
    """Number of measured panel genes that a cell must show: with fewer, ranks are those of ties.

    Parameters
    ----------
    n_genes
        Measured genes of the panel.

    Returns
    -------
    A hundredth of them, 50 at most.
    """
    return max(1, min(50, -(-n_genes // 100)))


def target_cumulated(quantiles: np.ndarray, n_genes: int) -> np.ndarray:
    """Running sum of the target profile at `n_genes` ranks, from a quantile function (n_genes + 1, float64)."""
    grid = np.linspace(0, 1, len(quantiles))
    target = np.interp((np.arange(n_genes) + 0.5) / max(n_genes, 1), grid, quantiles)
    return np.concatenate([[0.0], np.cumsum(target)])


def transform_rows(
    block: sp.csr_matrix,
    *,
    position: np.ndarray,
    mode: int,
    cumulated: np.ndarray,
    gain: np.ndarray,
    shift: np.ndarray,
    unmeasured: np.ndarray,
    target: np.ndarray,
    out: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Transform each row over the panel and apply a gene-wise gain and shift.

    Parameters
    ----------
    block
        Rows × query genes.
    position
        Panel position of each query gene, −1 if not in the panel (query genes).
    mode
        Row transform, one of the codes of this file.
    cumulated
        What :func:`target_cumulated` returned.
    gain, shift
        Gene-wise affine map after the row transform (panel).
    unmeasured
        Panel genes that the query lacks: they take `shift` (panel, bool).
    target
        Profile to compare each transformed row with before gain and shift; zero mean and unit length over the measured
        genes, zero elsewhere (panel).
    out
        Array to write into, at least as long as the block; fresh memory costs more than the arithmetic.

    Returns
    -------
    Rows × panel in float32, and the correlation of each row with `target`; NaN for rows that show fewer genes than
    :func:`least_entries` asks for.
    """
    out = np.empty((block.shape[0], len(gain)), dtype=np.float32) if out is None else out[: block.shape[0]]
    similarity = np.empty(block.shape[0], dtype=np.float64)
    n_genes = int((~unmeasured).sum())
    # loops take one index width; anything else would compile a second time
    indptr, indices = block.indptr.astype(np.int64, copy=False), block.indices.astype(np.int32, copy=False)
    position, gain = position.astype(np.int32, copy=False), np.where(unmeasured, 0, gain).astype(np.float32)
    shift, target = shift.astype(np.float32, copy=False), target.astype(np.float64, copy=False)
    target_sum = float(target.sum())
    over_rows(
        block.shape[0],
        lambda _, first, last: fill_rows(
            first, last, indptr, indices, block.data, position, n_genes, least_entries(n_genes), mode, cumulated, gain, shift,
            target, target_sum, out, similarity,
        ),
    )  # fmt: skip
    return out, similarity


class Moments(NamedTuple):
    """Sums over the cells of each group that show enough genes."""

    #: Cells (groups).
    counts: np.ndarray
    #: Sum of transformed values (groups × panel, float64).
    sums: np.ndarray
    #: Sum of their squares (groups × panel, float64).
    squares: np.ndarray

    def __add__(self, other: Moments) -> Moments:  # type: ignore[override]
        return Moments(self.counts + other.counts, self.sums + other.sums, self.squares + other.squares)


def group_moments(
    block: sp.csr_matrix,
    *,
    position: np.ndarray,
    n_panel: int,
    n_genes: int,
    mode: int,
    cumulated: np.ndarray,
    group: np.ndarray,
    n_groups: int,
) -> Moments:
    """Sums over cells of transformed values, by group and panel gene.

    Rows whose `group` is −1 are left out, and rows that show fewer genes than :func:`least_entries` asks for.
    """
    n_rows = block.shape[0]
    parts = n_parts(n_rows)
    sums, squares = np.zeros((2, parts, n_groups, n_panel))
    zeros = np.zeros((parts, n_groups, 2))
    counts = np.zeros((parts, n_groups), dtype=np.int64)
    indptr, indices = block.indptr.astype(np.int64, copy=False), block.indices.astype(np.int32, copy=False)
    position, group = position.astype(np.int32, copy=False), group.astype(np.int64, copy=False)
    over_rows(
        n_rows,
        lambda part, first, last: add_moments(
            first, last, indptr, indices, block.data, position, n_genes, least_entries(n_genes), mode, cumulated, group,
            counts[part], sums[part], squares[part], zeros[part],
        ),
    )  # fmt: skip
    total = zeros.sum(axis=0)
    return Moments(counts.sum(axis=0), sums.sum(axis=0) + total[:, :1], squares.sum(axis=0) + total[:, 1:])
