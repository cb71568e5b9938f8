"""Agreement of predictions for cells with the response of their lines, with intervals: arrays in, numbers out."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ...metrics._bootstrap import percentile_interval

#: z scores that differ by less are one prediction: models predict in single precision.
_ROUNDING = 1e-5
#: Permutations of lines that are all listed, instead of drawn.
_ALL_PERMUTATIONS = 5040
#: Lines that a correlation of one drug needs.
_LEAST_LINES = 3


class LineScore(NamedTuple):
    """Agreement of predicted with measured response, both as z scores per drug."""

    #: Correlation over all pairs of a unit and a drug.
    flat: float
    #: The same after taking each drug's mean over the units out: which line responds more.
    contrast: float
    #: Mean over drugs of the correlation over units, of drugs that were measured in three lines.
    per_drug: float
    #: Root mean squared error of the z scores.
    rmse_z: float
    #: Mean error of the z scores; positive = predicted to be more resistant than measured.
    bias_z: float


@dataclass(frozen=True)
class Units:
    """Predictions for what is scored: cells, lines or clusters.

    Many cells of one line share their truth, so that only their number, mean and variance matter. They are kept in
    that form, which makes scores and resampling independent of the number of cells.
    """

    #: Mean prediction, as z score (units × drugs).
    mean: np.ndarray
    #: Variance of the predictions within the unit, in the same scale; zero for units that are scored by their mean.
    variance: np.ndarray
    #: Row of the truth that each unit is compared with (units, int).
    line: np.ndarray
    #: How often each unit counts (units).
    weight: np.ndarray

    @classmethod
    def of_rows(cls, rows: np.ndarray, line: np.ndarray | None = None) -> Units:
        """Units that count once each, by default one per line."""
        line = np.arange(len(rows)) if line is None else line
        return cls(rows, np.zeros_like(rows), line, np.ones(len(rows)))

    @classmethod
    def of_cells(cls, cells: np.ndarray, line: np.ndarray, n_lines: int) -> Units:
        """All cells, gathered by line.

        Parameters
        ----------
        cells
            Predictions as z scores (cells × drugs).
        line
            Line of each cell, as row of the truth.
        n_lines
            Number of lines, each of which has cells.
        """
        mean, variance = np.empty((2, n_lines, cells.shape[1]))
        count = np.bincount(line, minlength=n_lines).astype(np.float64)
        for row in range(n_lines):
            part = cells[line == row]
            mean[row], variance[row] = part.mean(axis=0, dtype=np.float64), part.var(axis=0, dtype=np.float64)
        return cls(mean, variance, np.arange(n_lines), count)

    def with_permuted_lines(self, order: np.ndarray) -> Units:
        """Compare each unit with the truth of another line."""
        return Units(self.mean, self.variance, order[self.line], self.weight)


def score_units(
    units: Units, truth: np.ndarray, *, line_weight: np.ndarray | None = None, drug_weight: np.ndarray | None = None
) -> LineScore:
    """Correlate predictions with the truth of their lines.

    Parameters
    ----------
    units
        Predictions as z scores.
    truth
        Measured response as z scores, NaN where not measured (lines × drugs).
    line_weight, drug_weight
        How often each line and each drug counts; once if omitted.

    Returns
    -------
    The scores. `flat` is zero if all predictions are equal; `contrast` and `per_drug` are NaN if no line is predicted to differ
    from another, or no drug was measured in two lines, or three.
    """
    lines = np.ones(len(truth)) if line_weight is None else line_weight
    drugs = np.ones(truth.shape[1]) if drug_weight is None else drug_weight
    known = ~np.isnan(truth)
    target = np.where(known, truth, 0.0)[units.line]
    weight = (units.weight * lines[units.line])[:, None] * known[units.line] * drugs  # units × drugs
    guess = np.where(weight > 0, units.mean, 0.0)
    within = np.where(weight > 0, units.variance, 0.0)
    flat = _correlation(guess, within, target, weight, constant=0.0)
    total = weight.sum()
    rmse = math.sqrt((((guess - target) ** 2 + within) * weight).sum() / total) if total else math.nan
    bias = float(((guess - target) * weight).sum() / total) if total else math.nan

    count = ((lines > 0)[:, None] & known).sum(axis=0)
    weight = weight * (count > 1)
    per_drug = np.maximum(weight.sum(axis=0), 1e-300)
    guess, target = (values - (weight * values).sum(axis=0) / per_drug for values in (guess, target))
    contrast = _correlation(guess, within, target, weight, constant=math.nan)
    per_drug = math.nan if math.isnan(contrast) else _mean_correlation(guess, within, target, weight, count, drugs)
    return LineScore(flat, contrast, per_drug, rmse, bias)


def _correlation(
    guess: np.ndarray, within: np.ndarray, target: np.ndarray, weight: np.ndarray, *, constant: float
) -> float:
    """Weighted Pearson correlation; `within` is variance of the guess inside a unit. `constant`: result for equal guesses."""
    used = weight > 0
    if not used.any() or np.ptp(target[used]) == 0:
        return math.nan
    total = weight.sum()
    guess, target = guess - (weight * guess).sum() / total, target - (weight * target).sum() / total
    if np.abs(guess[used]).max() <= _ROUNDING and within[used].max() <= _ROUNDING**2:
        return constant
    spread = (weight * (guess**2 + within)).sum() * (weight * target**2).sum()
    return float(np.clip((weight * guess * target).sum() / math.sqrt(spread), -1.0, 1.0))


def _mean_correlation(
    guess: np.ndarray, within: np.ndarray, target: np.ndarray, weight: np.ndarray, count: np.ndarray, drugs: np.ndarray
) -> float:
    """Mean over drugs, each as often as it counts, of the correlation over units; values are centred within drugs."""
    spread = (weight * (guess**2 + within)).sum(axis=0) * (weight * target**2).sum(axis=0)
    used = (count >= _LEAST_LINES) & (drugs > 0) & ((weight * target**2).sum(axis=0) > 0)
    if not used.any():
        return math.nan
    product = (weight * guess * target).sum(axis=0)
    values = np.where(spread > 0, product / np.sqrt(np.where(spread > 0, spread, 1.0)), 0.0)
    return float(np.average(values[used], weights=drugs[used]))


def bootstrap_weights(
    n_lines: int, n_drugs: int, *, n_resamples: int, seed: int
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Draw lines and drugs with replacement; every level is scored on the same draws, so that ratios are paired.

    Parameters
    ----------
    n_lines, n_drugs
        What there is to draw from.
    n_resamples
        Number of draws. Those in which a single line remains say nothing about lines and are left out.
    seed
        Makes the draws reproducible.

    Returns
    -------
    How often each line and each drug was drawn.
    """
    rng = np.random.default_rng(seed)
    weights = []
    for _ in range(n_resamples):
        rows, columns = rng.integers(n_lines, size=n_lines), rng.integers(n_drugs, size=n_drugs)
        if n_lines == 1 or len(set(rows.tolist())) > 1:
            counts = np.bincount(rows, minlength=n_lines), np.bincount(columns, minlength=n_drugs)
            weights.append((counts[0].astype(np.float64), counts[1].astype(np.float64)))
    return weights


class Permuted(NamedTuple):
    """Scores when the lines' truths are handed out at random."""

    mean: LineScore
    low: LineScore
    high: LineScore
    #: Share of the assignments, with the true one among them, that score at least as high as the true one.
    p_value: LineScore


def permuted_scores(units: Units, truth: np.ndarray, *, n_permutations: int, seed: int) -> Permuted:
    """Score the same predictions against the truth of other lines: what chance gives with so few lines.

    Parameters
    ----------
    units
        Predictions as z scores.
    truth
        Measured response as z scores (lines × drugs).
    n_permutations
        Assignments to draw; all are listed where there are few lines.
    seed
        Seed of the draws.
    """
    n_lines = len(truth)
    if math.factorial(min(n_lines, 20)) <= _ALL_PERMUTATIONS:
        orders = [np.array(order) for order in itertools.permutations(range(n_lines))]  # the first is the true one
    else:
        rng = np.random.default_rng(seed)
        orders = [np.arange(n_lines), *(rng.permutation(n_lines) for _ in range(n_permutations))]
    scores = np.array([score_units(units.with_permuted_lines(order), truth) for order in orders])
    others = scores[1:] if len(scores) > 1 else np.full_like(scores, np.nan)
    low, high = np.array([percentile_interval(column) for column in others.T]).T
    higher = np.where(np.isfinite(scores), scores, -np.inf) >= scores[0] - 1e-12
    p_value = np.where(np.isfinite(scores[0]) & (len(scores) > 1), higher.mean(axis=0), np.nan)
    defined = np.isfinite(others)
    mean = np.where(defined, others, 0.0).sum(axis=0) / np.where(defined.any(axis=0), defined.sum(axis=0), np.nan)
    return Permuted(*(LineScore(*map(float, row)) for row in (mean, low, high, p_value)))
