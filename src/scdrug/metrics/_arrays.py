"""Checks and correlations that all metrics share."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.stats import rankdata

#: Differences below this share of the values are rounding: models predict in single precision.
ROUNDING = 1e-6


def paired(predicted: np.ndarray, observed: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return both arrays in double precision after checking that every observed entry has a prediction.

    Parameters
    ----------
    predicted, observed
        Arrays of one shape; NaN in `observed` means not measured, and what `predicted` holds there is ignored.

    Returns
    -------
    Both as float64.

    Raises
    ------
    ValueError
        If shapes differ, nothing was observed, or a prediction is missing where there is an observation.
    """
    predicted, observed = np.asarray(predicted, dtype=np.float64), np.asarray(observed, dtype=np.float64)
    if predicted.shape != observed.shape:
        raise ValueError(f"Predictions have shape {predicted.shape}, but observations {observed.shape}.")
    known = ~np.isnan(observed)
    if not known.any():
        raise ValueError("Nothing was observed: there is no entry to score.")
    if np.isinf(observed).any():
        raise ValueError("The observations hold infinite values. Replace them by NaN (not measured) or by a bound.")
    bad = int((~np.isfinite(predicted[known])).sum())
    if bad:
        raise ValueError(
            f"{bad} of {int(known.sum())} observed entries have no finite prediction. "
            "A model must predict every pair it is scored on: set the observation to NaN to leave a pair out."
        )
    return predicted, observed


def matrices(predicted: np.ndarray, observed: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """As :func:`paired`, for matrices lines × drugs."""
    predicted, observed = paired(predicted, observed)
    if observed.ndim != 2:
        raise ValueError(f"Expected matrices lines × drugs; found arrays of shape {observed.shape}.")
    return predicted, observed


def known_labels(scores: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Scores (or decisions) and labels of the known entries, flat.

    Parameters
    ----------
    scores
        Finite wherever a label is known.
    labels
        1 = sensitive, 0 = resistant, NaN = unknown, in the same shape.

    Returns
    -------
    Two vectors.

    Raises
    ------
    ValueError
        As :func:`paired` does, or if a known label is neither 0 nor 1.
    """
    scores, labels = paired(scores, labels)
    known = ~np.isnan(labels)
    found = np.unique(labels[known])
    if not np.isin(found, (0.0, 1.0)).all():
        raise ValueError(
            f"Labels must be 1 (sensitive), 0 (resistant) or NaN (unknown); found {found[:5].tolist()}. "
            "Turn a continuous response into labels first, for example with scdrug.pp.binarize_response."
        )
    return scores[known], labels[known]


def correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Pearson correlation of two complete vectors; zero if `a` is constant, NaN if `b` is or there are fewer than two."""
    if a.size < 2 or _constant(b):
        return float("nan")
    if _constant(a):
        return 0.0
    a, b = a - a.mean(), b - b.mean()
    # Scaling first keeps the products away from underflow.
    a, b = a / np.linalg.norm(a), b / np.linalg.norm(b)
    return float(np.clip(a @ b, -1.0, 1.0))


def correlations(a: np.ndarray, b: np.ndarray, *, min_count: int) -> np.ndarray:
    """:func:`correlation` of each column over the entries observed in `b`; NaN for columns with fewer than `min_count`."""
    known = ~np.isnan(b)
    count = known.sum(axis=0)
    centred, constant = [], []
    for values in (a, b):
        values = np.where(known, values, 0.0)
        size = np.abs(values).max(axis=0, initial=0.0)
        spread = values.max(axis=0, initial=-np.inf, where=known) - values.min(axis=0, initial=np.inf, where=known)
        constant.append(~(spread > ROUNDING * size))
        values = np.where(known, values - values.sum(axis=0) / np.maximum(count, 1), 0.0)
        # Scaling first keeps the squares away from underflow.
        values /= np.where(constant[-1], 1.0, np.abs(values).max(axis=0, initial=0.0))
        centred.append(values / np.where(constant[-1], 1.0, np.linalg.norm(values, axis=0)))
    result = np.where(constant[0], 0.0, np.clip((centred[0] * centred[1]).sum(axis=0), -1.0, 1.0))
    return np.where(constant[1] | (count < max(min_count, 2)), np.nan, result)


def rank_correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Spearman correlation, with the conventions of :func:`correlation`; ties get mean ranks."""
    if a.size < 2:
        return float("nan")
    # Differences of rounding size are no ranking: a constant predictor must not be ranked by its last bits.
    return correlation(np.zeros_like(a) if _constant(a) else rankdata(a), rankdata(b))


def by_column(
    statistic: Callable[[np.ndarray, np.ndarray], float], a: np.ndarray, b: np.ndarray, *, min_count: int
) -> np.ndarray:
    """Apply a statistic to each column over the entries observed in `b`; NaN for columns with fewer than `min_count`."""
    result = np.full(b.shape[1], np.nan)
    for column in range(b.shape[1]):
        known = ~np.isnan(b[:, column])
        if known.sum() >= min_count:
            result[column] = statistic(a[known, column], b[known, column])
    return result


def mean_of(values: np.ndarray) -> float:
    """Mean of the values that are defined; NaN if there is none."""
    defined = values[~np.isnan(values)]
    return float(defined.mean()) if defined.size else float("nan")


def _constant(values: np.ndarray) -> bool:
    return bool(np.ptp(values) <= ROUNDING * np.abs(values).max())
