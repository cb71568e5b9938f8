from __future__ import annotations

import logging

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scdrug.model.prior import (
    complete_response,
    decompose_kernel,
    residual_scale,
    select_threshold,
    shrink_singular_values,
    soft_impute,
)


def _low_rank_with_gaps(
    seed: int, shape: tuple[int, int] = (40, 12), share: float = 0.3, noise: float = 0.3
) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    truth = rng.normal(size=(shape[0], 2)) @ rng.normal(size=(2, shape[1]))
    values = truth + noise * rng.normal(size=shape)
    values[rng.random(shape) < share] = np.nan
    return truth, values


def _objective(values: np.ndarray, completed: np.ndarray, threshold: float) -> float:
    nuclear = np.linalg.svd(completed, compute_uv=False).sum()
    return 0.5 * np.nansum((values - completed) ** 2) + threshold * nuclear


@pytest.mark.parametrize("shape", [(20, 8), (8, 20), (9, 9)])
def test_shrinkage_agrees_with_the_singular_value_decomposition(shape: tuple[int, int]) -> None:
    matrix = np.random.default_rng(0).normal(size=shape)
    u, s, v = np.linalg.svd(matrix, full_matrices=False)
    expected = (u * np.maximum(s - 2.0, 0)) @ v
    a, b, c = shrink_singular_values(matrix, 2.0)
    np.testing.assert_allclose((a * b) @ c, expected, atol=1e-10)
    np.testing.assert_allclose(b, s[s > 2] - 2, atol=1e-10)
    np.testing.assert_allclose(a.T @ a, np.eye(len(b)), atol=1e-10)
    np.testing.assert_allclose(c @ c.T, np.eye(len(b)), atol=1e-10)


def test_threshold_above_all_singular_values_leaves_nothing() -> None:
    _, values = _low_rank_with_gaps(0)
    result = soft_impute(values, threshold=1e4)
    assert result.s.size == 0
    np.testing.assert_array_equal(result.matrix, np.zeros_like(values))


@pytest.mark.parametrize("seed", range(3))
def test_result_satisfies_the_optimality_conditions(seed: int) -> None:
    """The gradient on the observed entries is threshold × a subgradient of the nuclear norm."""
    _, values = _low_rank_with_gaps(seed)
    threshold = 1.5
    fit = soft_impute(values, threshold=threshold, tol=1e-12, max_iter=5000)
    gradient = np.where(np.isnan(values), 0.0, values - fit.matrix)
    np.testing.assert_allclose(gradient @ fit.v.T, threshold * fit.u, atol=1e-6)
    np.testing.assert_allclose(fit.u.T @ gradient, threshold * fit.v, atol=1e-6)
    assert np.linalg.norm(gradient, 2) <= threshold * (1 + 1e-6)


def test_no_nearby_matrix_has_a_lower_objective() -> None:
    _, values = _low_rank_with_gaps(3)
    fit = soft_impute(values, threshold=2.0, tol=1e-12, max_iter=5000).matrix
    rng = np.random.default_rng(0)
    best = _objective(values, fit, 2.0)
    for scale in (1e-3, 1e-1):
        for _ in range(20):
            assert _objective(values, fit + scale * rng.normal(size=fit.shape), 2.0) > best


def test_hidden_entries_of_a_low_rank_matrix_are_recovered() -> None:
    truth, values = _low_rank_with_gaps(4, shape=(80, 30), noise=0.1)
    hidden = np.isnan(values)
    fit = soft_impute(values, threshold=1.0).matrix
    assert np.corrcoef(fit[hidden], truth[hidden])[0, 1] > 0.98


def test_starting_point_does_not_change_the_optimum() -> None:
    _, values = _low_rank_with_gaps(5)
    cold = soft_impute(values, threshold=1.0, tol=1e-10, max_iter=5000)
    warm = soft_impute(values, threshold=1.0, tol=1e-10, max_iter=5000, warm_start=soft_impute(values, threshold=2.0))
    far = soft_impute(values, threshold=1.0, tol=1e-10, max_iter=5000, warm_start=np.full(values.shape, 5.0))
    np.testing.assert_allclose(warm.matrix, cold.matrix, atol=1e-6)
    np.testing.assert_allclose(far.matrix, cold.matrix, atol=1e-6)


def test_two_runs_agree_to_the_last_bit() -> None:
    _, values = _low_rank_with_gaps(6)
    first, second = soft_impute(values, threshold=1.0), soft_impute(values.copy(), threshold=1.0)
    np.testing.assert_array_equal(first.matrix, second.matrix)


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_order_and_orientation_do_not_matter(seed: int) -> None:
    _, values = _low_rank_with_gaps(seed, shape=(20, 8))
    rng = np.random.default_rng(seed)
    block = np.ix_(rng.permutation(20), rng.permutation(8))
    fit = soft_impute(values, threshold=1.5, tol=1e-10, max_iter=5000).matrix
    shuffled = soft_impute(values[block], threshold=1.5, tol=1e-10, max_iter=5000).matrix
    turned = soft_impute(values.T, threshold=1.5, tol=1e-10, max_iter=5000).matrix
    np.testing.assert_allclose(shuffled, fit[block], atol=1e-6)
    np.testing.assert_allclose(turned, fit.T, atol=1e-6)


def test_line_without_values_gets_zeros_and_changes_no_other() -> None:
    _, values = _low_rank_with_gaps(7)
    alone = soft_impute(values, threshold=1.0, tol=1e-10, max_iter=5000).matrix
    more = soft_impute(np.vstack([values, np.full(12, np.nan)]), threshold=1.0, tol=1e-10, max_iter=5000).matrix
    np.testing.assert_allclose(more[:-1], alone, atol=1e-7)
    np.testing.assert_allclose(more[-1], 0.0, atol=1e-7)


def test_too_few_steps_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    _, values = _low_rank_with_gaps(8)
    with caplog.at_level(logging.WARNING):
        soft_impute(values, threshold=0.1, max_iter=2)
    assert "max_iter" in caplog.text


def test_validation_finds_a_threshold_between_noise_and_nothing() -> None:
    _, values = _low_rank_with_gaps(9, shape=(60, 20), noise=1.0)
    choice = select_threshold(values)
    assert choice.thresholds[0] > choice.threshold > choice.thresholds[-1]
    assert choice.errors.min() == choice.errors[list(choice.thresholds).index(choice.threshold)]
    assert select_threshold(values).threshold == choice.threshold


def test_validation_never_sees_what_it_scores() -> None:
    _, values = _low_rank_with_gaps(10)
    hidden = np.zeros(values.shape, dtype=bool)
    hidden[:5, :3] = True
    garbled = np.where(hidden, 1e6, values)
    large = soft_impute(np.where(hidden, np.nan, values), threshold=3.0, tol=1e-4)
    small = soft_impute(np.where(hidden, np.nan, values), threshold=1.0, tol=1e-4, warm_start=large)
    expected = [np.sqrt(np.mean((fit.matrix[hidden] - 1e6) ** 2)) for fit in (large, small)]
    errors = select_threshold(garbled, thresholds=[1.0, 3.0], holdout=hidden).errors
    np.testing.assert_allclose(errors, expected, rtol=1e-12)


def test_bad_input_is_refused_with_the_reason() -> None:
    _, values = _low_rank_with_gaps(11)
    for threshold in (0.0, -1.0, np.nan):
        with pytest.raises(ValueError, match="must be positive"):
            soft_impute(values, threshold=threshold)
    with pytest.raises(ValueError, match="no value at all"):
        soft_impute(np.full((3, 2), np.nan), threshold=1.0)
    with pytest.raises(ValueError, match="infinite"):
        soft_impute(np.full((3, 2), np.inf), threshold=1.0)
    with pytest.raises(ValueError, match="warm_start"):
        soft_impute(values, threshold=1.0, warm_start=np.zeros((2, 2)))
    with pytest.raises(ValueError, match="holdout"):
        select_threshold(values, holdout=np.zeros(values.shape, dtype=bool))
    with pytest.raises(ValueError, match="between 0 and 1"):
        select_threshold(values, holdout=1.5)


def _screen(seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Response with drug, line, feature and low-rank effects; its truth; and the line features' kernel."""
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(60, 40))
    truth = rng.normal(size=15) * 3 + rng.normal(size=(60, 1)) + features @ rng.normal(size=(40, 15)) / 6
    response = truth + 0.2 * rng.normal(size=truth.shape)
    response[rng.random(truth.shape) < 0.3] = np.nan
    return response, truth, features @ features.T / 40


def test_completed_response_keeps_what_was_measured() -> None:
    response, _, kernel = _screen()
    measured = ~np.isnan(response)
    for result in (complete_response(response), complete_response(response, kernel=kernel)):
        np.testing.assert_array_equal(result.completed[measured], response[measured])
        np.testing.assert_array_equal(result.completed[~measured], result.fitted[~measured])
        np.testing.assert_allclose(result.denoised(0.5), (result.completed + result.fitted) / 2)


def test_a_kernel_that_matters_improves_the_hidden_entries() -> None:
    response, truth, kernel = _screen()
    hidden = np.isnan(response)
    plain = complete_response(response, threshold=4.0).fitted
    informed = complete_response(response, threshold=4.0, kernel=decompose_kernel(kernel)).fitted
    assert np.std((informed - truth)[hidden]) < 0.95 * np.std((plain - truth)[hidden])


def test_per_drug_scale_makes_units_of_drugs_irrelevant() -> None:
    response, _, _ = _screen()
    factor = np.linspace(0.01, 100, 15)
    centred = response - np.nanmean(response, axis=0)
    sd = residual_scale(centred)
    np.testing.assert_allclose(residual_scale(centred * factor), sd * factor)


def test_drug_measured_once_is_completed_without_nan() -> None:
    response, _, _ = _screen()
    response[1:, 0] = np.nan
    response[0, 0] = 2.0
    assert np.isfinite(complete_response(response).fitted).all()


def test_new_line_is_predicted_from_similar_lines() -> None:
    response, truth, kernel = _screen()
    response[:5] = np.nan
    fitted = complete_response(response, kernel=kernel, threshold=4.0).fitted
    centred = truth[:5] - np.nanmean(response, axis=0)
    assert np.corrcoef((fitted[:5] - np.nanmean(response, axis=0)).ravel(), centred.ravel())[0, 1] > 0.4


def test_bad_recipes_are_refused() -> None:
    response, _, kernel = _screen()
    with pytest.raises(ValueError, match="60 rows"):
        complete_response(response, kernel=kernel[:10, :10])
    with pytest.raises(ValueError, match="scale"):
        complete_response(response, scale="drugs")
