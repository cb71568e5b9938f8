"""The statistics behind rank_drugs against scipy, drug by drug."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from scdrug.tl._class_sums import class_sums
from scdrug.tl._rank_stats import REST, adjust, compare_cells, compare_samples, rank_sum, welch


@pytest.fixture
def cells() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    values = np.round(rng.normal(size=(60, 5)), 1)  # rounded, so that there are ties
    values[:, 4] = np.clip(values[:, 4], 0, 0.2)  # saturated, as percentiles are
    return values, np.arange(60) % 3


def _sides(values: np.ndarray, codes: np.ndarray, group: int, reference: int) -> tuple[np.ndarray, np.ndarray]:
    return values[codes == group], values[codes != group if reference == REST else codes == reference]


@pytest.mark.parametrize("reference", [REST, 0])
def test_cells_welch_equals_scipy(cells, reference):
    values, codes = cells
    results = compare_cells(lambda b: values[:, b], 5, codes, [1, 2], reference=reference, method="t-test")
    for group, result in zip([1, 2], results):
        mine, other = _sides(values, codes, group, reference)
        expected = stats.ttest_ind(mine, other, axis=0, equal_var=False)
        np.testing.assert_allclose(result.statistic, expected.statistic, rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(result.p_value, expected.pvalue, rtol=1e-9)
        pooled = (len(mine) - 1) * mine.var(0, ddof=1) + (len(other) - 1) * other.var(0, ddof=1)
        d = (mine.mean(0) - other.mean(0)) / np.sqrt(pooled / (len(mine) + len(other) - 2))
        np.testing.assert_allclose(result.effect_size, d, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("reference", [REST, 0])
def test_cells_rank_sum_equals_scipy_with_ties(cells, reference):
    values, codes = cells
    results = compare_cells(lambda b: values[:, b], 5, codes, [1, 2], reference=reference, method="wilcoxon")
    for group, result in zip([1, 2], results):
        mine, other = _sides(values, codes, group, reference)
        expected = stats.mannwhitneyu(mine, other, axis=0, method="asymptotic")
        np.testing.assert_allclose(result.p_value, expected.pvalue, rtol=1e-9)
        wins = (mine[:, None] > other).mean((0, 1)) - (mine[:, None] < other).mean((0, 1))
        np.testing.assert_allclose(result.effect_size, wins, atol=1e-12)
        assert np.all(np.sign(result.statistic) == np.sign(wins))


@pytest.mark.parametrize("method", ["t-test", "wilcoxon"])
def test_blocks_of_drugs_change_nothing(cells, method, monkeypatch):
    values, codes = cells
    whole = compare_cells(lambda b: values[:, b], 5, codes, [0], reference=REST, method=method)[0]
    monkeypatch.setattr("scdrug.tl._class_sums._BLOCK", 1)
    single = compare_cells(lambda b: values[:, b], 5, codes, [0], reference=REST, method=method)[0]
    np.testing.assert_allclose(single.p_value, whole.p_value, rtol=1e-12)
    np.testing.assert_array_equal(class_sums(lambda b: values[:, b], 5, codes, 3).shape, (3, 5))


def test_welch_of_constant_values_is_not_called_certain():
    codes = np.repeat([0, 1], 10)
    values = np.column_stack([np.where(codes == 0, 0.1, 0.7), np.full(20, 1 / 3)])
    result = compare_cells(lambda b: values[:, b], 2, codes, [0], reference=REST, method="t-test")[0]
    assert np.isnan(result.p_value).all()
    assert np.isnan(result.effect_size).all()


def test_rank_sum_of_constant_values_finds_nothing():
    size, z, p = rank_sum(np.array([10 * 10.5]), np.array([0.0]), 10, 10)
    assert (size[0], z[0], p[0]) == (0.0, 0.0, 1.0)


def test_welch_by_hand():
    # means 1 and 3, variances 1 and 1, n = 3 and 3: t = -2 / sqrt(2/3), d = -2, 4 degrees of freedom
    one = np.ones(1)
    d, t, p = welch(3, one, one, 3, 3 * one, one)
    assert d[0] == pytest.approx(-2.0)
    assert t[0] == pytest.approx(-2 / np.sqrt(2 / 3))
    assert p[0] == pytest.approx(2 * stats.t.sf(2 / np.sqrt(2 / 3), 4))


def _samples(n: int, absent: list[int], shift: float, seed: int) -> np.ndarray:
    values = np.random.default_rng(seed).normal(size=(n, 4)) + shift
    values[absent] = np.nan
    return values


def test_samples_with_both_sides_are_paired():
    group, reference = _samples(6, [0], 1.0, 1), _samples(6, [], 0.0, 2)
    result, paired = compare_samples(group, reference, method="t-test")
    assert paired.tolist() == [False, True, True, True, True, True]
    expected = stats.ttest_rel(group[1:], reference[1:])
    np.testing.assert_allclose(result.statistic, expected.statistic)
    np.testing.assert_allclose(result.p_value, expected.pvalue)
    difference = group[1:] - reference[1:]
    np.testing.assert_allclose(result.effect_size, difference.mean(0) / difference.std(0, ddof=1))
    ranked, _ = compare_samples(group, reference, method="wilcoxon")
    np.testing.assert_allclose(ranked.p_value, stats.wilcoxon(difference, axis=0).pvalue)
    ranks = stats.rankdata(np.abs(difference), axis=0)
    np.testing.assert_allclose(ranked.effect_size, (np.sign(difference) * ranks).sum(0) / ranks.sum(0))


def test_samples_with_one_side_are_compared_unpaired():
    group, reference = _samples(8, [4, 5, 6, 7], 1.0, 1), _samples(8, [0, 1, 2], 0.0, 2)
    result, paired = compare_samples(group, reference, method="t-test")
    assert not paired.any()
    expected = stats.ttest_ind(group[:4], reference[3:], equal_var=False)
    np.testing.assert_allclose(result.p_value, expected.pvalue)
    ranked, _ = compare_samples(group, reference, method="wilcoxon")
    expected = stats.mannwhitneyu(group[:4], reference[3:], axis=0)
    np.testing.assert_allclose(ranked.p_value, expected.pvalue)
    np.testing.assert_allclose(ranked.effect_size, 2 * expected.statistic / (4 * 5) - 1)


@pytest.mark.parametrize("absent", [[0, 1, 2], [1, 2, 3, 4]])
def test_too_few_samples_give_no_p_value(absent):
    result, paired = compare_samples(_samples(5, absent, 1.0, 1), _samples(5, [3, 4], 0.0, 2), method="t-test")
    assert np.isnan(result.p_value).all()
    assert "fewer than 3 samples" in result.test
    assert not paired.any()


def test_pairs_without_variance_give_no_p_value():
    result, _ = compare_samples(np.ones((4, 2)), np.zeros((4, 2)), method="t-test")
    assert np.isnan(result.p_value).all()
    result, _ = compare_samples(np.ones((4, 2)), np.ones((4, 2)), method="wilcoxon")
    assert np.isnan(result.p_value).all()


def test_adjust_follows_benjamini_and_hochberg_and_skips_nan():
    p = np.array([0.01, np.nan, 0.04, 0.03])
    # sorted 0.01, 0.03, 0.04 of 3 tests: 0.03, 0.045, 0.04, made monotone from the right
    np.testing.assert_allclose(adjust(p), [0.03, np.nan, 0.04, 0.04])
    assert np.isnan(adjust(np.array([np.nan, np.nan]))).all()
