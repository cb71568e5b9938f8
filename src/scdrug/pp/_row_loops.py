"""Loops over rows of sparse expression, compiled: the one place where time per cell is spent.

What is written here in place of one line of NumPy saves seconds at the first run: sorting by NumPy's function, or an assignment to a slice,
takes longer to compile than all the rest.
"""

from __future__ import annotations

import numpy as np

from .._compiled import compiled

#: Codes of the row transforms, as the compiled code knows them.
QUANTILE, ZSCORE_LINEAR, ZSCORE_LOG, IDENTITY = 0, 1, 2, 3
_TARGET_SUM = 1e4
#: Whole numbers up to here are ranked by counting.
_MAX_COUNTED = 4096.0


@compiled
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


@compiled
def _ascending(values):  # pragma: no cover - compiled
    """Positions that sort numbers (float32, none of them NaN), by their bits in three steps of eleven."""
    n = len(values)
    bits = values.view(np.uint32)
    keys = np.empty(n, dtype=np.uint32)
    order = np.empty(n, dtype=np.int32)
    counts = np.zeros(3 * 2048, dtype=np.int32)
    for k in range(n):
        # so turned, bits are in the order of the numbers
        key = bits[k] ^ (np.uint32(0xFFFFFFFF) if values[k] < 0 else np.uint32(0x80000000))
        keys[k] = key
        order[k] = k
        for step in range(3):
            counts[step * 2048 + ((key >> np.uint32(11 * step)) & np.uint32(2047))] += 1
    other = np.empty(n, dtype=np.int32)
    for step in range(3):
        start = 0
        for digit in range(step * 2048, (step + 1) * 2048):
            count = counts[digit]
            counts[digit] = start
            start += count
        for k in range(n):
            digit = step * 2048 + ((keys[order[k]] >> np.uint32(11 * step)) & np.uint32(2047))
            other[counts[digit]] = order[k]
            counts[digit] += 1
        order, other = other, order
    return order


@compiled
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
        order = _ascending(values)
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
        for k in range(n):  # an assignment to all of them takes seconds to compile
            values[k] = mapped[k]
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
        for k in range(n):
            values[k] = 0.0
        return 0.0
    for k in range(n):
        values[k] = (values[k] - mean) / sd
    return -mean / sd


@compiled
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


@compiled
def _longest(indptr, first, last):  # pragma: no cover - compiled
    """Entries of the longest of some rows."""
    longest = 0
    for row in range(first, last):
        longest = max(longest, indptr[row + 1] - indptr[row])
    return longest


@compiled
def fill_rows(
    first_row,
    last_row,
    indptr,
    indices,
    data,
    position,
    n_genes,
    min_entries,
    mode,
    cumulated,
    gain,
    shift,
    target,
    target_sum,
    out,
    similarity,
):  # pragma: no cover - compiled
    n_panel = len(gain)
    longest = _longest(indptr, first_row, last_row)
    columns = np.empty(longest, dtype=np.int32)
    values = np.empty(longest, dtype=np.float32)
    for row in range(first_row, last_row):
        start, stop = indptr[row], indptr[row + 1]
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


@compiled
def add_moments(
    first_row,
    last_row,
    indptr,
    indices,
    data,
    position,
    n_genes,
    min_entries,
    mode,
    cumulated,
    group,
    counts,
    sums,
    squares,
    zeros,
):  # pragma: no cover - compiled
    """Add up transformed values of rows by group and gene; entries at zero are added up once a cell, in `zeros`."""
    longest = _longest(indptr, first_row, last_row)
    columns = np.empty(longest, dtype=np.int32)
    values = np.empty(longest, dtype=np.float32)
    for row in range(first_row, last_row):
        g = group[row]
        if g < 0:
            continue
        start, stop = indptr[row], indptr[row + 1]
        n, total = _gather_row(indices, data, start, stop, position, columns, values)
        if n < min_entries:
            continue
        counts[g] += 1
        zero = _transform_row(values[:n], n_genes, total, mode, cumulated)
        zeros[g, 0] += zero
        zeros[g, 1] += zero * zero
        for k in range(n):
            sums[g, columns[k]] += values[k] - zero
            squares[g, columns[k]] += values[k] * values[k] - zero * zero


@compiled
def inspect_rows(first_row, last_row, indptr, indices, data, n_columns, facts):  # pragma: no cover - compiled
    """Facts of rows: lowest and highest value, sum, fractions, disorder within rows, columns outside the matrix."""
    disorder = 0
    outside = 0
    for row in range(first_row, last_row):
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
    for k in range(indptr[first_row], indptr[last_row]):
        value = data[k]
        lowest = min(lowest, value)
        highest = max(highest, value)
        total += value
        fractions += value != np.floor(value)
    facts[0] = lowest
    facts[1] = highest
    facts[2] = total
    facts[3] = fractions
    facts[4] = disorder
    facts[5] = outside
