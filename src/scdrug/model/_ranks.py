"""Where predictions stand among those of the reference's lines, compiled: hundreds of drugs for every cell."""

from __future__ import annotations

import numpy as np

from .._compiled import compiled, over_rows

#: Bins of the grid on which a value's place among the quantiles is looked up.
_N_BINS = 256


@compiled
def _bin(value, lowest, scale):  # pragma: no cover - compiled
    """Bin of a value on an even grid from the lowest quantile to the highest."""
    return min(int((value - lowest) * scale), _N_BINS - 1)


@compiled
def _below_bins(quantiles):  # pragma: no cover - compiled
    """Scale of each column's grid, and for each of its bins the last quantile that lies in a lower one (columns × bins), at least 0."""
    n_columns, n_steps = quantiles.shape
    scales = np.zeros(n_columns, dtype=np.float32)
    below = np.zeros((n_columns, _N_BINS), dtype=np.int16)
    for j in range(n_columns):
        steps = quantiles[j]
        width = steps[n_steps - 1] - steps[0]
        # widths so small that their inverse overflows leave all quantiles in one bin, which is slower and as exact
        if width > 1e-30:
            scales[j] = _N_BINS / width
        k = 0
        for number in range(_N_BINS):
            while k + 1 < n_steps and _bin(steps[k + 1], steps[0], scales[j]) < number:
                k += 1
            below[j, number] = k
    return scales, below


@compiled
def _ranks(start, stop, values, quantiles, scales, below, out):  # pragma: no cover - compiled
    """Interpolated probability of each value in its column's quantile function (rows × columns, 0-1)."""
    last = quantiles.shape[1] - 1
    for i in range(start, stop):
        for j in range(values.shape[1]):
            value, steps = values[i, j], quantiles[j]
            if np.isnan(value):  # not predicted
                out[i, j] = np.nan
            elif value < steps[0]:
                out[i, j] = 0.0
            elif value > steps[last]:
                out[i, j] = 1.0
            else:
                # a search that starts in the value's bin ends after a step or two
                low = int(below[j, _bin(value, steps[0], scales[j])])
                while low < last and steps[low + 1] <= value:
                    low += 1
                if steps[low] == value:  # the middle of equal quantiles, in whichever direction they are read
                    first = low
                    while first > 0 and steps[first - 1] == value:
                        first -= 1
                    out[i, j] = (low + first) / (2.0 * last)
                else:
                    width = steps[low + 1] - steps[low]
                    out[i, j] = (low + (value - steps[low]) / width) / last


def rank_in_quantiles(values: np.ndarray, quantiles: np.ndarray) -> np.ndarray:
    """Interpolated probability of each value in the quantile function of its column.

    Parameters
    ----------
    values
        Rows × columns.
    quantiles
        At evenly spaced probabilities, ascending (columns × probabilities).

    Returns
    -------
    Rows × columns, 0-1, float32; the middle of equal quantiles, and NaN for NaN.
    """
    steps = np.ascontiguousarray(quantiles, dtype=np.float32)
    rows, grid = np.ascontiguousarray(values, dtype=np.float32), _below_bins(steps)
    out = np.empty(rows.shape, dtype=np.float32)
    over_rows(len(rows), lambda _, start, stop: _ranks(start, stop, rows, steps, *grid, out))
    return out
