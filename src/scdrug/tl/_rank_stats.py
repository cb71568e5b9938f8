"""Statistics of :func:`scdrug.tl.rank_drugs`: arrays in, arrays out.

Everything here compares plain numbers, higher minus lower; which direction means "sensitive" is not known here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from ._class_sums import blocks, membership

#: Fewer samples a side give no variance worth a p-value.
MIN_SAMPLES = 3
#: Stands for "all other cells" where a reference is asked for.
REST = -1


@dataclass(frozen=True)
class Comparison:
    """One group against its reference, drug by drug."""

    #: Cohen's d or rank-biserial correlation, positive where the group is higher (drugs).
    effect_size: np.ndarray
    statistic: np.ndarray
    p_value: np.ndarray
    test: str


def compare_cells(
    values: Callable[[slice], np.ndarray],
    n_drugs: int,
    codes: np.ndarray,
    groups: Sequence[int],
    *,
    reference: int,
    method: str,
) -> list[Comparison]:
    """Compare the cells of each group with those of the reference.

    Parameters
    ----------
    values
        Returns the values of a slice of drugs (cells × drugs of the slice).
    n_drugs
        Number of drugs.
    codes
        Group of each cell; every cell must have one (cells).
    groups
        Codes of the groups to compare.
    reference
        Code of the reference group, or `REST` for all other cells.
    method
        ``"t-test"`` (Welch) or ``"wilcoxon"`` (rank sum, normal approximation with tie and continuity correction).
    """
    result = np.full((3, len(groups), n_drugs), np.nan)
    compare = _welch_cells if method == "t-test" else _rank_sum_cells
    for block in blocks(n_drugs, len(codes)):
        result[:, :, block] = compare(values(block).astype(float), codes, groups, reference)
    test = "Welch t-test of cells" if method == "t-test" else "rank-sum test of cells"
    return [Comparison(*result[:, i], test) for i in range(len(groups))]


def _welch_cells(values: np.ndarray, codes: np.ndarray, groups: Sequence[int], reference: int) -> np.ndarray:
    """Effect size, statistic and p (3 × groups × drugs) from moments, so that all groups cost one pass."""
    n_classes = int(codes.max()) + 1
    indicator = membership(codes, n_classes)
    values = values - values.mean(axis=0)  # sums of squares of centred numbers lose no digits
    counts = np.bincount(codes, minlength=n_classes)
    sums, squares = indicator @ values, indicator @ values**2
    out = np.empty((3, len(groups), values.shape[1]))
    for i, group in enumerate(groups):
        if reference == REST:
            other = (len(codes) - counts[group], sums.sum(axis=0) - sums[group], squares.sum(axis=0) - squares[group])
        else:
            other = (counts[reference], sums[reference], squares[reference])
        mine, other = _moments(counts[group], sums[group], squares[group]), _moments(*other)
        out[:, i] = welch(*mine, *other)
    return out


def _moments(n: int, total: np.ndarray, squares: np.ndarray) -> tuple[int, np.ndarray, np.ndarray]:
    """Size, mean and unbiased variance from sums."""
    mean = total / n
    variance = np.maximum(squares - n * mean**2, 0) / (n - 1)
    # what rounding leaves of a constant column is not a variance
    return n, mean, np.where(variance < 1e-14 * np.maximum(squares / n, 1e-300), 0.0, variance)


def welch(
    n_1: int, mean_1: np.ndarray, var_1: np.ndarray, n_2: int, mean_2: np.ndarray, var_2: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Cohen's d (pooled SD), Welch's t and its two-sided p; NaN where neither side varies."""
    with np.errstate(divide="ignore", invalid="ignore"):
        pooled = np.sqrt(((n_1 - 1) * var_1 + (n_2 - 1) * var_2) / (n_1 + n_2 - 2))
        part_1, part_2 = var_1 / n_1, var_2 / n_2
        freedom = (part_1 + part_2) ** 2 / (part_1**2 / (n_1 - 1) + part_2**2 / (n_2 - 1))
        t = (mean_1 - mean_2) / np.sqrt(part_1 + part_2)
        d = (mean_1 - mean_2) / pooled
    usable = np.isfinite(t) & np.isfinite(d)
    p = 2 * stats.t.sf(np.abs(t), freedom)
    return tuple(np.where(usable, array, np.nan) for array in (d, t, p))  # type: ignore[return-value]


def _rank_sum_cells(values: np.ndarray, codes: np.ndarray, groups: Sequence[int], reference: int) -> np.ndarray:
    """Effect size, statistic and p (3 × groups × drugs); against the rest, cells are ranked once for all groups."""
    out = np.empty((3, len(groups), values.shape[1]))
    if reference == REST:
        ranks = stats.rankdata(values, axis=0)
        sums = membership(codes, int(codes.max()) + 1) @ ranks
        spread = ranks.var(axis=0, ddof=1)
        for i, group in enumerate(groups):
            n = int((codes == group).sum())
            out[:, i] = rank_sum(sums[group], spread, n, len(codes) - n)
        return out
    others = values[codes == reference]
    for i, group in enumerate(groups):
        mine = values[codes == group]
        ranks = stats.rankdata(np.concatenate([mine, others]), axis=0)
        out[:, i] = rank_sum(ranks[: len(mine)].sum(axis=0), ranks.var(axis=0, ddof=1), len(mine), len(others))
    return out


def rank_sum(
    rank_sums: np.ndarray, rank_variance: np.ndarray, n_1: int, n_2: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rank-biserial correlation, z and two-sided p from the rank sums of the first side (Mann & Whitney 1947).

    The unbiased variance of the ranks holds the correction for ties: it shrinks with every tie by just as much as the
    variance of U does.
    """
    u = rank_sums - n_1 * (n_1 + 1) / 2
    distance = u - n_1 * n_2 / 2
    with np.errstate(divide="ignore", invalid="ignore"):
        sd = np.sqrt(n_1 * n_2 / (n_1 + n_2) * rank_variance)
        # half a step of U, as scipy.stats.mannwhitneyu does
        z = np.sign(distance) * (np.abs(distance) - 0.5) / sd
    z = np.where((rank_variance == 0) | (distance == 0), 0.0, z)
    p = np.minimum(2 * stats.norm.sf(np.sign(distance) * z), 1.0)
    return 2 * u / (n_1 * n_2) - 1, z, p


def compare_samples(group: np.ndarray, reference: np.ndarray, *, method: str) -> tuple[Comparison, np.ndarray]:
    """Compare pseudobulks of a group with those of its reference, samples being the replicates.

    Parameters
    ----------
    group, reference
        Means of each sample; a row of NaN where a sample has none (samples × drugs).
    method
        ``"t-test"`` or ``"wilcoxon"``.

    Returns
    -------
    The comparison, and which samples have both sides and were paired (all False if the test is not paired). Samples
    are paired if at least `MIN_SAMPLES`, and at least half of them all, have both sides.
    """
    has_group, has_reference = ~np.isnan(group).all(axis=1), ~np.isnan(reference).all(axis=1)
    pairs = has_group & has_reference
    if pairs.sum() >= MIN_SAMPLES and 2 * pairs.sum() >= (has_group | has_reference).sum():
        return _compare_paired(group[pairs] - reference[pairs], method), pairs
    group, reference = group[has_group], reference[has_reference]
    nothing = np.full((3, group.shape[1]), np.nan)
    none = np.zeros_like(pairs)
    if min(len(group), len(reference)) < MIN_SAMPLES:
        return Comparison(*nothing, f"none (fewer than {MIN_SAMPLES} samples)"), none
    if method == "t-test":
        sides = [(len(side), side.mean(axis=0), _variance(side)) for side in (group, reference)]
        return Comparison(*welch(*sides[0], *sides[1]), "Welch t-test of samples"), none
    found = stats.mannwhitneyu(group, reference, axis=0)
    middle = len(group) * len(reference) / 2  # of U, if there is no difference
    distance = found.statistic - middle
    return Comparison(distance / middle, distance, found.pvalue, "rank-sum test of samples"), none


def _compare_paired(differences: np.ndarray, method: str) -> Comparison:
    n = len(differences)
    if method == "t-test":
        mean, variance = differences.mean(axis=0), _variance(differences)
        with np.errstate(divide="ignore", invalid="ignore"):
            d = np.where(variance > 0, mean / np.sqrt(variance), np.nan)
        t = d * np.sqrt(n)
        return Comparison(d, t, 2 * stats.t.sf(np.abs(t), n - 1), "paired t-test of samples")
    size, statistic, p = np.full((3, differences.shape[1]), np.nan)
    for drug, column in enumerate(differences.T):
        if not column.any():
            continue
        column = column[column != 0]
        ranks = stats.rankdata(np.abs(column))
        statistic[drug] = np.sum(ranks * np.sign(column))  # W+ minus W-
        size[drug] = statistic[drug] / np.sum(ranks)
        p[drug] = stats.wilcoxon(column).pvalue
    return Comparison(size, statistic, p, "signed-rank test of samples")


def _variance(values: np.ndarray) -> np.ndarray:
    """Unbiased variance over rows, exactly 0 for constant columns."""
    return np.where(np.ptp(values, axis=0) == 0, 0.0, values.var(axis=0, ddof=1))


def adjust(p_values: np.ndarray) -> np.ndarray:
    """Benjamini-Hochberg false discovery rates; NaN stays NaN and does not count as a test."""
    fdr = np.full(len(p_values), np.nan)
    tested = ~np.isnan(p_values)
    if tested.any():
        fdr[tested] = stats.false_discovery_control(p_values[tested])
    return fdr
