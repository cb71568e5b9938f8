from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import root_mean_squared_error

from scdrug.metrics import (
    drug_correlations,
    pearson,
    per_drug_pearson,
    per_drug_spearman,
    per_line_pearson_centered,
    rmse,
    skill,
    spearman,
)


def _screen(seed: int = 0, shape: tuple[int, int] = (25, 9)) -> tuple[np.ndarray, np.ndarray]:
    """Predictions and observations with gaps and ties."""
    rng = np.random.default_rng(seed)
    observed = np.round(rng.normal(size=shape) + rng.normal(scale=3, size=shape[1]), 1)
    predicted = observed + rng.normal(size=shape)
    observed[rng.random(shape) < 0.3] = np.nan
    observed[:4] = np.round(rng.normal(size=(4, shape[1])), 1)
    return predicted, observed


def test_pooled_metrics_agree_with_scipy_and_scikit_learn() -> None:
    predicted, observed = _screen()
    seen = ~np.isnan(observed)
    a, b = predicted[seen], observed[seen]
    assert rmse(predicted, observed) == pytest.approx(root_mean_squared_error(b, a))
    assert pearson(predicted, observed) == pytest.approx(stats.pearsonr(a, b).statistic)
    assert spearman(predicted, observed) == pytest.approx(stats.spearmanr(a, b).statistic)


def test_per_drug_correlations_agree_with_scipy() -> None:
    predicted, observed = _screen()
    for method, reference, mean in (
        ("pearson", stats.pearsonr, per_drug_pearson),
        ("spearman", stats.spearmanr, per_drug_spearman),
    ):
        expected = []
        for drug in range(observed.shape[1]):
            seen = ~np.isnan(observed[:, drug])
            expected.append(reference(predicted[seen, drug], observed[seen, drug]).statistic)
        np.testing.assert_allclose(drug_correlations(predicted, observed, method=method), expected)
        assert mean(predicted, observed) == pytest.approx(np.mean(expected))


def test_per_line_correlation_is_taken_after_removing_the_training_mean() -> None:
    predicted, observed = _screen()
    drug_mean = np.random.default_rng(1).normal(size=9)
    expected = []
    for line in range(len(observed)):
        seen = ~np.isnan(observed[line])
        a, b = (predicted - drug_mean)[line, seen], (observed - drug_mean)[line, seen]
        expected.append(stats.pearsonr(a, b).statistic)
    assert per_line_pearson_centered(predicted, observed, drug_mean) == pytest.approx(np.mean(expected))


def test_per_line_correlation_without_means_ignores_the_potency_of_drugs() -> None:
    predicted, observed = _screen()
    shift = 10 * np.random.default_rng(2).normal(size=9)
    alone = per_line_pearson_centered(predicted, observed)
    assert per_line_pearson_centered(predicted + shift, observed - shift) == pytest.approx(alone)
    assert alone < 0.95


def test_drug_mean_scores_zero_where_drug_identity_must_not_count() -> None:
    _, observed = _screen()
    drug_mean = np.nanmean(observed, axis=0)
    constant = np.broadcast_to(drug_mean, observed.shape)
    assert pearson(constant, observed) > 0.5  # the reason why pooled correlation misleads
    assert per_drug_pearson(constant, observed) == 0
    assert per_drug_spearman(constant, observed) == 0
    assert per_line_pearson_centered(constant, observed, drug_mean) == 0
    assert per_line_pearson_centered(constant, observed) == 0
    assert skill(constant, observed, drug_mean) == 0


@pytest.mark.parametrize("rounding", [1e-15, 3e-8])
def test_noise_of_rounding_size_is_no_prediction(rounding: float) -> None:
    _, observed = _screen()
    drug_mean = np.nanmean(observed, axis=0)
    noisy = drug_mean * (1 + rounding * np.random.default_rng(0).normal(size=observed.shape))
    assert per_drug_pearson(noisy, observed) == 0
    assert per_drug_spearman(noisy, observed) == 0
    assert per_line_pearson_centered(noisy, observed, drug_mean) == 0
    assert per_line_pearson_centered(noisy, observed) == 0


def test_skill_is_the_share_of_error_removed() -> None:
    predicted, observed = _screen()
    drug_mean = np.nanmean(observed, axis=0)
    expected = 1 - rmse(predicted, observed) / rmse(np.broadcast_to(drug_mean, observed.shape), observed)
    assert skill(predicted, observed, drug_mean) == pytest.approx(expected)
    assert skill(np.nan_to_num(observed), observed, drug_mean) == 1


def test_drugs_that_cannot_be_correlated_do_not_count() -> None:
    predicted, observed = _screen()
    observed[:, 0] = 2.0  # constant
    observed[2:, 1] = np.nan  # two lines only
    found = drug_correlations(predicted, observed)
    assert np.isnan(found[:2]).all()
    assert per_drug_pearson(predicted, observed) == pytest.approx(found[2:].mean())


def test_nothing_to_correlate_is_nan_not_a_number_made_up() -> None:
    assert np.isnan(per_drug_pearson(np.ones((2, 3)), np.ones((2, 3))))
    assert np.isnan(pearson(np.arange(3.0), np.ones(3)))


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_order_and_what_stands_at_missing_entries_do_not_matter(seed: int) -> None:
    predicted, observed = _screen(seed)
    rng = np.random.default_rng(seed)
    block = np.ix_(rng.permutation(25), rng.permutation(9))
    garbled = np.where(np.isnan(observed), np.nan, predicted)
    for metric in (rmse, pearson, spearman, per_drug_pearson, per_drug_spearman, per_line_pearson_centered):
        value = metric(predicted, observed)
        assert metric(predicted[block], observed[block]) == pytest.approx(value)
        assert metric(garbled, observed) == pytest.approx(value)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), factor=st.floats(0.1, 100), shift=st.floats(-100, 100))
def test_correlations_do_not_depend_on_unit_or_origin(seed: int, factor: float, shift: float) -> None:
    predicted, observed = _screen(seed)
    for metric in (pearson, spearman, per_drug_pearson, per_drug_spearman):
        assert metric(predicted * factor + shift, observed) == pytest.approx(metric(predicted, observed), abs=1e-7)


def test_bad_input_is_refused_with_the_reason() -> None:
    predicted, observed = _screen()
    with pytest.raises(ValueError, match="no finite prediction"):
        rmse(np.where(observed > 0, np.nan, predicted), observed)
    with pytest.raises(ValueError, match="shape"):
        rmse(predicted[:3], observed)
    with pytest.raises(ValueError, match="Nothing was observed"):
        rmse(predicted, observed * np.nan)
    with pytest.raises(ValueError, match="infinite"):
        rmse(predicted, np.full_like(observed, np.inf))
    with pytest.raises(ValueError, match="lines × drugs"):
        per_drug_pearson(predicted[0], observed[0])
    with pytest.raises(ValueError, match="'pearson', 'spearman'"):
        drug_correlations(predicted, observed, method="kendall")
    with pytest.raises(ValueError, match="each of 9 drugs"):
        skill(predicted, observed, np.zeros(3))
    with pytest.raises(ValueError, match="NaN or infinite"):
        skill(predicted, observed, np.full(9, np.nan))
    with pytest.raises(ValueError, match="no error to remove"):
        skill(np.ones((2, 2)), np.ones((2, 2)), np.ones(2))
