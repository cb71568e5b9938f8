"""Intervals by resampling, and paired tests between two models."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

import numpy as np
from scipy import stats

from .._arguments import checked
from .._validate import check_choice


class Interval(NamedTuple):
    """An estimate with its bootstrap interval."""

    estimate: float
    low: float
    high: float


class PairedTest(NamedTuple):
    """Comparison of two models on the same folds or units."""

    #: Mean of first minus second.
    difference: float
    statistic: float
    #: Two-sided.
    p_value: float
    #: Pairs that were compared.
    n: int


@checked
def bootstrap_interval(
    values: np.ndarray,
    *,
    statistic: Callable[[np.ndarray], float] = np.mean,
    level: float = 0.95,
    n_resamples: int = 2000,
    seed: int = 0,
) -> Interval:
    """Percentile bootstrap of a statistic over independent units, such as drugs.

    Parameters
    ----------
    values
        One value per unit; NaN are left out.
    statistic
        Function of a vector.
    level
        Coverage wanted.
    n_resamples
        Number of resamples.
    seed
        Makes the draw reproducible.

    Returns
    -------
    The statistic of all values and its interval, NaN if it is defined in fewer than half of the resamples.

    Raises
    ------
    ValueError
        If fewer than two values are defined, or `level` lies outside 0 to 1.

    Examples
    --------
    >>> import numpy as np
    >>> interval = bootstrap_interval(np.array([0.1, 0.2, 0.3, np.nan]))
    >>> interval.low <= interval.estimate <= interval.high
    True
    """
    values = np.asarray(values, dtype=np.float64)
    values = values[~np.isnan(values)]
    if values.size < 2:
        raise ValueError(f"An interval needs at least two values; found {values.size}.")
    rng = np.random.default_rng(seed)
    draws = [statistic(values[rng.integers(values.size, size=values.size)]) for _ in range(n_resamples)]
    return Interval(float(statistic(values)), *percentile_interval(draws, level=level))


@checked
def bootstrap_matrix_interval(
    metric: Callable[..., float],
    predicted: np.ndarray,
    observed: np.ndarray,
    *,
    per_drug: Sequence[np.ndarray] = (),
    resample: Literal["both", "lines", "drugs"] = "both",
    level: float = 0.95,
    n_resamples: int = 500,
    seed: int = 0,
) -> Interval:
    """Percentile bootstrap of a metric over lines, drugs, or both at once.

    Pairs of one line or one drug are not independent, so whole rows and columns are drawn, not entries.

    Parameters
    ----------
    metric
        Called as ``metric(predicted, observed, *per_drug)``.
    predicted, observed
        Lines × drugs, NaN in `observed` where not measured. `predicted` may have a third axis, such as several predictors that
        `metric` compares.
    per_drug
        Further arguments of `metric` with one value per drug, drawn together with the drugs.
    resample
        What to draw with replacement.
    level, n_resamples, seed
        As for :func:`bootstrap_interval`.

    Returns
    -------
    The metric on all data and its interval. Resamples in which the metric is undefined are left out.

    Raises
    ------
    ValueError
        If `resample` is unknown, or the metric is undefined in more than half of the resamples.

    Examples
    --------
    >>> import numpy as np
    >>> from scdrug.metrics import per_drug_pearson
    >>> rng = np.random.default_rng(0)
    >>> observed = rng.normal(size=(30, 8))
    >>> interval = bootstrap_matrix_interval(per_drug_pearson, observed + rng.normal(size=(30, 8)), observed)
    >>> 0 < interval.low < interval.high < 1
    True
    """
    check_choice("resample", resample, ("both", "lines", "drugs"))
    predicted, observed = np.asarray(predicted), np.asarray(observed)
    n_lines, n_drugs = observed.shape
    rng = np.random.default_rng(seed)
    draws = []
    for _ in range(n_resamples):
        lines = rng.integers(n_lines, size=n_lines) if resample != "drugs" else np.arange(n_lines)
        drugs = rng.integers(n_drugs, size=n_drugs) if resample != "lines" else np.arange(n_drugs)
        block = np.ix_(lines, drugs)
        if np.isnan(observed[block]).all():
            continue
        value = metric(predicted[block], observed[block], *(np.asarray(v)[drugs] for v in per_drug))
        if np.isfinite(value):
            draws.append(value)
    if len(draws) * 2 < n_resamples:
        raise ValueError(
            f"The metric is defined in {len(draws)} of {n_resamples} resamples only; there are too few lines or drugs."
        )
    return Interval(float(metric(predicted, observed, *per_drug)), *percentile_interval(draws, level=level))


@checked
def paired_test(
    first: np.ndarray,
    second: np.ndarray,
    *,
    method: Literal["t", "wilcoxon", "nadeau_bengio"] = "t",
    test_fraction: float | None = None,
) -> PairedTest:
    """Test whether two models differ on the same folds, drugs or lines.

    Parameters
    ----------
    first, second
        One score per fold or unit and model, in the same order; pairs with a NaN are left out.
    method
        ``"t"`` for independent units such as drugs; ``"wilcoxon"`` for the same without normality (signed ranks);
        ``"nadeau_bengio"`` for folds or repeats whose training sets overlap: the variance is enlarged, without which
        small differences look significant.
    test_fraction
        Share of the data in each test fold (0.2 in five folds); for ``"nadeau_bengio"``.

    Returns
    -------
    Mean difference, statistic, two-sided p and number of pairs. Equal scores everywhere give p = 1.

    Raises
    ------
    ValueError
        If lengths differ, fewer than two pairs are left, or `test_fraction` is missing or out of range.

    Notes
    -----
    Corrected resampled t test: Nadeau and Bengio 2003 (doi:10.1023/A:1024068626366), with variance factor
    ``1/n + test / (1 − test)``.

    Examples
    --------
    >>> import numpy as np
    >>> a, b = np.array([0.58, 0.57, 0.59, 0.56, 0.6]), np.array([0.55, 0.55, 0.56, 0.52, 0.58])
    >>> plain = paired_test(a, b)
    >>> corrected = paired_test(a, b, method="nadeau_bengio", test_fraction=0.2)
    >>> plain.p_value < corrected.p_value
    True
    """
    check_choice("method", method, ("t", "wilcoxon", "nadeau_bengio"))
    first, second = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if first.shape != second.shape or first.ndim != 1:
        raise ValueError(f"Expected two vectors of one length; found shapes {first.shape} and {second.shape}.")
    if method == "nadeau_bengio" and (test_fraction is None or not 0 < test_fraction < 1):
        raise ValueError(f"`test_fraction` must lie between 0 and 1 for method 'nadeau_bengio'; found {test_fraction}.")
    difference = first - second
    difference = difference[~np.isnan(difference)]
    n = difference.size
    if n < 2:
        raise ValueError(f"A paired test needs at least two pairs; found {n}.")
    mean = float(difference.mean())
    if np.all(difference == 0):
        return PairedTest(0.0, 0.0, 1.0, n)
    if method == "wilcoxon":
        result = stats.wilcoxon(difference)
        return PairedTest(mean, float(result.statistic), float(result.pvalue), n)
    factor = 1 / n if method == "t" else 1 / n + test_fraction / (1 - test_fraction)
    spread = float(difference.std(ddof=1))
    # Differences that are all alike have no spread: the statistic is infinite and p zero.
    statistic = mean / np.sqrt(factor * spread**2) if spread > 1e-12 * abs(mean) else float(np.copysign(np.inf, mean))
    return PairedTest(mean, float(statistic), float(2 * stats.t.sf(abs(statistic), n - 1)), n)


def percentile_interval(draws: Sequence[float] | np.ndarray, *, level: float = 0.95) -> tuple[float, float]:
    """Percentile interval of the defined draws; NaN if fewer than half are defined.

    Parameters
    ----------
    draws
        Value of a statistic in each resample.
    level
        Coverage.
    """
    if not 0 < level < 1:
        raise ValueError(f"`level` must lie between 0 and 1; found {level}.")
    draws = np.asarray(draws, dtype=np.float64)
    defined = draws[np.isfinite(draws)]
    if len(defined) < max(2, len(draws) / 2):
        return float("nan"), float("nan")
    low, high = np.quantile(defined, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
