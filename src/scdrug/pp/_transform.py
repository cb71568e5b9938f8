"""Row-wise transforms of sparse expression, compiled: the one place where time per cell is spent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numba
import numpy as np
import scipy.sparse as sp

#: Codes of the row transforms, as the compiled code knows them.
QUANTILE, ZSCORE_LINEAR, ZSCORE_LOG, IDENTITY = 0, 1, 2, 3
_TARGET_SUM = 1e4
#: Whole numbers up to here are ranked by counting.
_MAX_COUNTED = 4096.0


@numba.njit(nogil=True, cache=True)
def _map_counts(values, n_genes, highest, cumulated):  # pragma: no cover - compiled
    """Quantile-map small whole numbers by counting instead of sorting; the same result, several times faster."""
    n = len(values)
    table = np.zeros(highest + 1, dtype=np.float64)
    for k in range(n):
        table[int(values[k])] += 1.0
    low = n_genes - n
    zero = cumulated[low] / low if low > 0 else 0.0
    for value in range(1, highest + 1):
        count = int(table[value])
        if count > 0:
            table[value] = (cumulated[low + count] - cumulated[low]) / count
            low += count
    for k in range(n):
        values[k] = table[int(values[k])]
    return zero


@numba.njit(nogil=True, cache=True)
def _transform_row(values, n_genes, total, mode, cumulated):  # pragma: no cover - compiled
    """Transform the panel values of one cell in place; return the value that its zeros take.

    `values` are the entries that are not zero, `n_genes` counts the measured panel genes, `total` is the sum over
    these, `cumulated` the running sum of the sorted target profile.
    """
    n = len(values)
    if mode == IDENTITY:
        return 0.0
    if mode == QUANTILE:
        highest = 0.0
        whole = True
        for k in range(n):
            if values[k] < 0 or values[k] != np.floor(values[k]):
                whole = False
                break
            highest = max(highest, values[k])
        if whole and highest <= _MAX_COUNTED:
            return _map_counts(values, n_genes, int(highest), cumulated)
        order = np.argsort(values)
        n_negative = 0
        while n_negative < n and values[order[n_negative]] < 0:
            n_negative += 1
        n_zero = n_genes - n
        zero = 0.0
        if n_zero > 0:
            zero = (cumulated[n_negative + n_zero] - cumulated[n_negative]) / n_zero
        mapped = np.empty(n, dtype=np.float32)
        start = 0
        while start < n:
            stop = start + 1
            while stop < n and values[order[stop]] == values[order[start]]:
                stop += 1
            # ties share the mean of the target values that they span, so no order among them is invented
            low = start if start < n_negative else start + n_zero
            high = low + (stop - start)
            value = (cumulated[high] - cumulated[low]) / (high - low)
            for k in range(start, stop):
                mapped[order[k]] = value
            start = stop
        values[:] = mapped
        return zero
    if mode == ZSCORE_LINEAR:
        factor = _TARGET_SUM / total if total > 0 else 0.0
        for k in range(n):
            values[k] = np.log1p(values[k] * factor)
    mean = 0.0
    square = 0.0
    for k in range(n):
        mean += values[k]
        square += values[k] * values[k]
    mean /= n_genes
    sd = np.sqrt(max(square / n_genes - mean * mean, 0.0))
    if sd < 1e-12:
        values[:] = 0.0
        return 0.0
    for k in range(n):
        values[k] = (values[k] - mean) / sd
    return -mean / sd


@numba.njit(nogil=True, cache=True)
def _gather_row(indices, data, start, stop, position, columns, values):  # pragma: no cover - compiled
    """Copy the panel entries of one CSR row; return their number and their sum.

    The sum leaves out other columns, so that antibodies, peaks and genes unknown to the model move no cell.
    """
    n = 0
    total = 0.0
    for k in range(start, stop):
        value = data[k]
        gene = position[indices[k]]
        if gene >= 0 and value != 0:
            total += value
            columns[n] = gene
            values[n] = value
            n += 1
    return n, total


@numba.njit(parallel=True, nogil=True, cache=True)
def _fill(
    indptr, indices, data, position, n_genes, min_entries, mode, cumulated, gain, shift, target, out, similarity
):  # pragma: no cover - compiled
    n_panel = len(gain)
    target_sum = target.sum()
    for row in numba.prange(len(indptr) - 1):
        start, stop = indptr[row], indptr[row + 1]
        columns = np.empty(stop - start, dtype=np.int32)
        values = np.empty(stop - start, dtype=np.float32)
        n, total = _gather_row(indices, data, start, stop, position, columns, values)
        zero = _transform_row(values[:n], n_genes, total, mode, cumulated)
        for gene in range(n_panel):
            out[row, gene] = zero * gain[gene] + shift[gene]
        for k in range(n):
            gene = columns[k]
            out[row, gene] = values[k] * gain[gene] + shift[gene]
        # correlation with the (centred, unit-length) target before gain and shift, from the entries alone
        n_zero = n_genes - n
        first = n_zero * zero
        second = n_zero * zero * zero
        product = zero * target_sum
        for k in range(n):
            first += values[k]
            second += values[k] * values[k]
            product += (values[k] - zero) * target[columns[k]]
        variance = second - first * first / max(n_genes, 1)
        similarity[row] = product / np.sqrt(variance) if variance > 1e-8 else 0.0
        if n < min_entries:
            similarity[row] = np.nan


@numba.njit(parallel=True, nogil=True, cache=True)
def _moments(
    indptr, indices, data, position, n_genes, min_entries, mode, cumulated, group, counts, sums, squares, zeros
):  # pragma: no cover - compiled
    """Sums of transformed values by part, group and gene; entries at zero are added up once a cell, in `zeros`."""
    n_parts = len(sums)
    n_rows = len(indptr) - 1
    for part in numba.prange(n_parts):
        for row in range(part * n_rows // n_parts, (part + 1) * n_rows // n_parts):
            g = group[row]
            if g < 0:
                continue
            start, stop = indptr[row], indptr[row + 1]
            columns = np.empty(stop - start, dtype=np.int32)
            values = np.empty(stop - start, dtype=np.float32)
            n, total = _gather_row(indices, data, start, stop, position, columns, values)
            if n < min_entries:
                continue
            counts[part, g] += 1
            zero = _transform_row(values[:n], n_genes, total, mode, cumulated)
            zeros[part, g, 0] += zero
            zeros[part, g, 1] += zero * zero
            for k in range(n):
                sums[part, g, columns[k]] += values[k] - zero
                squares[part, g, columns[k]] += values[k] * values[k] - zero * zero


@numba.njit(parallel=True, nogil=True, cache=True)
def _inspect(indptr, indices, data, n_columns, facts):  # pragma: no cover - compiled
    """Facts by part: lowest and highest value, sum, fractions, disorder within rows, columns outside the matrix."""
    n_parts = len(facts)
    n_rows = len(indptr) - 1
    for part in numba.prange(n_parts):
        first, last = part * n_rows // n_parts, (part + 1) * n_rows // n_parts
        disorder = 0
        outside = 0
        for row in range(first, last):
            previous = -1
            for k in range(indptr[row], indptr[row + 1]):
                column = indices[k]
                disorder += column <= previous
                outside += column < 0 or column >= n_columns
                previous = column
        lowest = data[0]
        highest = data[0]
        total = 0.0
        fractions = 0
        for k in range(indptr[first], indptr[last]):
            value = data[k]
            lowest = min(lowest, value)
            highest = max(highest, value)
            total += value
            fractions += value != np.floor(value)
        facts[part, 0] = lowest
        facts[part, 1] = highest
        facts[part, 2] = total
        facts[part, 3] = fractions
        facts[part, 4] = disorder
        facts[part, 5] = outside


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
    facts = np.empty((max(numba.get_num_threads(), 1), 6))
    _inspect(block.indptr.astype(np.int64, copy=False), block.indices, block.data, np.int64(block.shape[1]), facts)
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
    # kernels take one index width; anything else would compile a second time
    _fill(
        block.indptr.astype(np.int64, copy=False),
        block.indices.astype(np.int32, copy=False),
        block.data,
        position.astype(np.int32, copy=False),
        n_genes,
        least_entries(n_genes),
        mode,
        cumulated,
        np.where(unmeasured, 0, gain).astype(np.float32),
        shift.astype(np.float32, copy=False),
        target.astype(np.float64, copy=False),
        out,
        similarity,
    )
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
    parts = max(numba.get_num_threads(), 1)
    sums = np.zeros((parts, n_groups, n_panel))
    squares = np.zeros((parts, n_groups, n_panel))
    zeros = np.zeros((parts, n_groups, 2))
    counts = np.zeros((parts, n_groups), dtype=np.int64)
    _moments(
        block.indptr.astype(np.int64, copy=False),
        block.indices.astype(np.int32, copy=False),
        block.data,
        position.astype(np.int32, copy=False),
        n_genes,
        least_entries(n_genes),
        mode,
        cumulated,
        group.astype(np.int64, copy=False),
        counts,
        sums,
        squares,
        zeros,
    )
    total = zeros.sum(axis=0)
    return Moments(counts.sum(axis=0), sums.sum(axis=0) + total[:, :1], squares.sum(axis=0) + total[:, 1:])
