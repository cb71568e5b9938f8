from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from scdrug.metrics import (
    METRICS,
    bootstrap_interval,
    bootstrap_matrix_interval,
    paired_test,
    per_drug_pearson,
    rmse,
    skill,
)


def test_interval_of_a_mean_agrees_with_its_standard_error() -> None:
    values = np.random.default_rng(0).normal(size=200)
    interval = bootstrap_interval(values)
    half = 1.96 * values.std(ddof=1) / np.sqrt(200)
    assert interval.estimate == values.mean()
    assert interval.high - interval.low == pytest.approx(2 * half, rel=0.1)
    narrow = bootstrap_interval(values, level=0.5)
    assert interval.low < narrow.low < narrow.high < interval.high


def test_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(1)
    covered = 0
    for repeat in range(200):
        interval = bootstrap_interval(rng.normal(size=40), n_resamples=200, level=0.9, seed=repeat)
        covered += interval.low <= 0 <= interval.high
    assert 160 <= covered <= 196


def test_same_seed_gives_the_same_interval_and_leaves_the_global_state_alone() -> None:
    values = np.random.default_rng(0).normal(size=30)
    np.random.seed(3)  # noqa: NPY002
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    assert bootstrap_interval(values, seed=5) == bootstrap_interval(values, seed=5)
    assert bootstrap_interval(values, seed=5) != bootstrap_interval(values, seed=6)
    np.testing.assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002


def test_resampling_lines_is_wider_than_entries_would_suggest() -> None:
    """Errors that lines share make pairs dependent; whole lines must be drawn."""
    rng = np.random.default_rng(2)
    observed = rng.normal(size=(20, 50))
    predicted = observed + np.abs(rng.normal(scale=2, size=(20, 1)))
    by_line = bootstrap_matrix_interval(rmse, predicted, observed, resample="lines")
    by_drug = bootstrap_matrix_interval(rmse, predicted, observed, resample="drugs")
    assert by_line.high - by_line.low > 5 * (by_drug.high - by_drug.low)
    assert by_line.estimate == rmse(predicted, observed)


def test_values_per_drug_are_drawn_together_with_the_drugs() -> None:
    rng = np.random.default_rng(3)
    mean = rng.normal(scale=100, size=12)
    observed = mean + rng.normal(size=(30, 12))
    interval = bootstrap_matrix_interval(skill, observed + 0.5, observed, per_drug=[mean], n_resamples=100)
    assert 0.4 < interval.low < interval.high < 0.6  # wrong pairs would give an error of some hundred


def test_several_predictors_are_drawn_together() -> None:
    rng = np.random.default_rng(3)
    observed = rng.normal(size=(20, 5))
    both = np.stack([observed + rng.normal(size=observed.shape), observed], axis=-1)
    share = lambda both, observed: per_drug_pearson(both[..., 0], observed) / per_drug_pearson(both[..., 1], observed)
    found = bootstrap_matrix_interval(share, both, observed, n_resamples=50)
    alone = bootstrap_matrix_interval(per_drug_pearson, both[..., 0], observed, n_resamples=50)
    assert found == pytest.approx(alone)


def test_undefined_resamples_are_left_out_and_too_many_are_an_error() -> None:
    observed = np.full((4, 3), np.nan)
    observed[:, 0] = [1.0, 2.0, 3.0, 5.0]
    predicted = np.random.default_rng(0).normal(size=(4, 3))
    assert np.isfinite(bootstrap_matrix_interval(per_drug_pearson, predicted, observed, n_resamples=100)).all()
    observed[:, 0] = 1.0
    with pytest.raises(ValueError, match="too few lines or drugs"):
        bootstrap_matrix_interval(per_drug_pearson, predicted, observed, n_resamples=20)


def test_plain_paired_tests_agree_with_scipy() -> None:
    rng = np.random.default_rng(4)
    first, second = rng.normal(size=20) + 0.5, rng.normal(size=20)
    t, expected = paired_test(first, second), stats.ttest_rel(first, second)
    assert (t.statistic, t.p_value) == pytest.approx((expected.statistic, expected.pvalue))
    assert t.difference == pytest.approx((first - second).mean())
    w, expected = paired_test(first, second, method="wilcoxon"), stats.wilcoxon(first, second)
    assert (w.statistic, w.p_value) == pytest.approx((expected.statistic, expected.pvalue))


def test_corrected_test_enlarges_the_variance_by_the_stated_factor() -> None:
    rng = np.random.default_rng(5)
    first, second = rng.normal(size=10) + 1, rng.normal(size=10)
    plain = paired_test(first, second)
    corrected = paired_test(first, second, method="nadeau_bengio", test_fraction=0.2)
    assert plain.statistic / corrected.statistic == pytest.approx(np.sqrt((1 / 10 + 0.25) / (1 / 10)))
    assert corrected.p_value > plain.p_value


def test_swapping_models_changes_the_sign_only() -> None:
    rng = np.random.default_rng(6)
    first, second = rng.normal(size=10), rng.normal(size=10)
    one, other = paired_test(first, second), paired_test(second, first)
    assert one.difference == pytest.approx(-other.difference)
    assert one.p_value == pytest.approx(other.p_value)


def test_equal_models_do_not_differ_and_missing_folds_are_left_out() -> None:
    values = np.array([0.1, 0.5, np.nan, 0.3])
    for method in ("t", "wilcoxon", "nadeau_bengio"):
        assert paired_test(values, values, method=method, test_fraction=0.2) == (0.0, 0.0, 1.0, 3)
    assert paired_test(np.array([0.5, 0.75]), np.array([0.25, 0.5])).p_value == 0.0


def test_bad_input_is_refused_with_the_reason() -> None:
    with pytest.raises(ValueError, match="at least two values"):
        bootstrap_interval(np.array([1.0, np.nan]))
    with pytest.raises(ValueError, match="level"):
        bootstrap_interval(np.arange(5.0), level=95)
    with pytest.raises(ValueError, match="'both', 'lines', 'drugs'"):
        bootstrap_matrix_interval(rmse, np.ones((2, 2)), np.ones((2, 2)), resample="pairs")
    with pytest.raises(ValueError, match="one length"):
        paired_test(np.ones(3), np.ones(4))
    with pytest.raises(ValueError, match="at least two pairs"):
        paired_test(np.ones(1), np.ones(1))
    with pytest.raises(ValueError, match="test_fraction"):
        paired_test(np.ones(3), np.zeros(3), method="nadeau_bengio")
    with pytest.raises(ValueError, match="wilcoxon"):
        paired_test(np.ones(3), np.zeros(3), method="wilcox")


def test_every_registered_metric_prefers_the_better_prediction() -> None:
    rng = np.random.default_rng(7)
    observed = rng.normal(size=(60, 10))
    labels = (observed > 0).astype(float)
    good, poor = (observed + scale * rng.normal(size=observed.shape) for scale in (0.3, 3.0))
    arguments = {
        "regression": lambda guess: (guess, observed),
        "drug_centered": lambda guess: (guess, observed, observed.mean(axis=0)),
        "score": lambda guess: (guess, labels),
        "decision": lambda guess: ((guess > 0).astype(float), labels),
    }
    assert len({metric.name for metric in METRICS}) == len(METRICS)
    for metric in METRICS:
        better, worse = metric.fn(*arguments[metric.kind](good)), metric.fn(*arguments[metric.kind](poor))
        assert (better > worse) == metric.higher_is_better, metric.name
        assert isinstance(better, float)
