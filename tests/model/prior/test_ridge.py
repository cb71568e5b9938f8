from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import Ridge

from scdrug.model.prior import decompose_kernel, leave_one_out, linear_kernel, primal_weights, select_ridge, solve_ridge


def _data(seed: int = 0, n_lines: int = 30, n_drugs: int = 8) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Features, their kernel, and responses: complete, few missing, most missing, one line only, two alike patterns."""
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(n_lines, 50))
    response = features[:, :n_drugs] + rng.normal(size=(n_lines, n_drugs)) + 5
    response[rng.permutation(n_lines)[:5], 1] = np.nan
    response[rng.permutation(n_lines)[:25], 2] = np.nan
    response[1:, 3] = np.nan
    response[np.isnan(response[:, 1]), 4] = np.nan
    return features, linear_kernel(features), response


def _per_drug(kernel: np.ndarray, response: np.ndarray, cross: np.ndarray, ridge: float, center: bool) -> np.ndarray:
    """Regress each drug with scikit-learn on its measured lines alone."""
    predicted = np.empty((len(cross), response.shape[1]))
    for drug in range(response.shape[1]):
        seen = ~np.isnan(response[:, drug])
        mean = response[seen, drug].mean() if center else 0.0
        model = KernelRidge(alpha=ridge, kernel="precomputed")
        model.fit(kernel[np.ix_(seen, seen)], response[seen, drug] - mean)
        predicted[:, drug] = model.predict(cross[:, seen]) + mean
    return predicted


@pytest.mark.parametrize("center", [True, False])
@pytest.mark.parametrize("ridge", [1e-3, 0.2, 10.0])
def test_fit_equals_a_separate_regression_on_the_measured_lines(ridge: float, center: bool) -> None:
    features, kernel, response = _data()
    cross = linear_kernel(np.random.default_rng(1).normal(size=(7, 50)), features)
    fit = solve_ridge(kernel, response, ridge=ridge, center=center)
    expected = _per_drug(kernel, response, cross, ridge, center)
    np.testing.assert_allclose(fit.predict(cross), expected, rtol=1e-7, atol=1e-7)
    assert np.all(fit.alpha[np.isnan(response)] == 0)


def test_nearly_singular_systems_are_still_exact() -> None:
    features, _, response = _data()
    kernel = linear_kernel(features[:, :3])  # rank three of thirty
    fit = solve_ridge(kernel, response, ridge=1e-9)
    np.testing.assert_allclose(fit.predict(kernel), _per_drug(kernel, response, kernel, 1e-9, True), rtol=1e-4)


def test_ridge_per_drug_equals_one_fit_per_drug() -> None:
    _, kernel, response = _data()
    ridges = np.array([0.1, 0.1, 0.5, 0.5, 0.1, 2.0, 0.5, 0.1])
    together = solve_ridge(kernel, response, ridge=ridges)
    for drug, ridge in enumerate(ridges):
        alone = solve_ridge(kernel, response[:, [drug]], ridge=ridge)
        np.testing.assert_allclose(together.alpha[:, [drug]], alone.alpha, atol=1e-10)


@pytest.mark.parametrize("center", [True, False])
def test_leave_one_out_equals_refitting_without_each_line(center: bool) -> None:
    _, kernel, response = _data()
    found = leave_one_out(kernel, response, ridge=0.3, center=center)
    for line in range(len(response)):
        left = np.delete(np.arange(len(response)), line)
        usable = ~np.isnan(response[left]).all(axis=0)
        fit = solve_ridge(kernel[np.ix_(left, left)], response[np.ix_(left, usable)], ridge=0.3, center=center)
        expected = np.full(response.shape[1], np.nan)
        expected[usable] = fit.predict(kernel[line, left])
        expected[np.isnan(response[line])] = np.nan
        if not center:  # nothing is left to fit, and without centring nothing is predicted as zero
            expected[~usable & ~np.isnan(response[line])] = 0.0
        np.testing.assert_allclose(found[line], expected, atol=1e-9)


def test_linear_kernel_has_the_same_fit_in_primal_form() -> None:
    features, kernel, response = _data()
    fit = solve_ridge(kernel, response, ridge=0.5)
    weights = primal_weights(features, fit.alpha)
    assert weights.shape == (50, 8)
    new = np.random.default_rng(3).normal(size=(5, 50))
    np.testing.assert_allclose(new @ weights, linear_kernel(new, features) @ fit.alpha, atol=1e-12)
    direct = Ridge(alpha=0.5 * 50, fit_intercept=False).fit(features, response[:, 0] - response[:, 0].mean())
    np.testing.assert_allclose(weights[:, 0], direct.coef_, atol=1e-8)


def test_decomposition_can_be_shared() -> None:
    _, kernel, response = _data()
    decomposition = decompose_kernel(kernel)
    for ridge in (0.1, 1.0):
        shared, own = solve_ridge(decomposition, response, ridge=ridge), solve_ridge(kernel, response, ridge=ridge)
        np.testing.assert_array_equal(shared.alpha, own.alpha)


def test_smoothing_equals_the_fit_in_the_training_lines() -> None:
    _, kernel, response = _data()
    complete = response[:, [0, 5]]
    fit = solve_ridge(kernel, complete, ridge=0.3, center=False)
    np.testing.assert_allclose(decompose_kernel(kernel).smooth(complete, 0.3), fit.predict(kernel), atol=1e-10)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_line_that_was_not_screened_changes_nothing(seed: int) -> None:
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(16, 12))
    response = rng.normal(size=(16, 4))
    response[rng.random((16, 4)) < 0.3] = np.nan
    response[0] = 1.0
    response[15] = np.nan
    kernel = linear_kernel(features)
    more, fewer = solve_ridge(kernel, response), solve_ridge(kernel[:15, :15], response[:15])
    np.testing.assert_allclose(more.alpha[:15], fewer.alpha, atol=1e-9)
    np.testing.assert_allclose(more.intercept, fewer.intercept)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_hiding_one_response_leaves_all_other_drugs_alone(seed: int) -> None:
    _, kernel, response = _data(seed)
    drug, line = 5, seed % 30
    less = response.copy()
    less[line, drug] = np.nan
    others = np.arange(8) != drug
    np.testing.assert_allclose(
        solve_ridge(kernel, less).alpha[:, others], solve_ridge(kernel, response).alpha[:, others], atol=1e-9
    )
    assert not np.allclose(solve_ridge(kernel, less).alpha[:, drug], solve_ridge(kernel, response).alpha[:, drug])


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_order_of_lines_and_drugs_does_not_matter(seed: int) -> None:
    _, kernel, response = _data(seed)
    rng = np.random.default_rng(seed)
    lines, drugs = rng.permutation(30), rng.permutation(8)
    fit = solve_ridge(kernel, response)
    shuffled = solve_ridge(kernel[np.ix_(lines, lines)], response[np.ix_(lines, drugs)])
    np.testing.assert_allclose(shuffled.alpha, fit.alpha[np.ix_(lines, drugs)], atol=1e-9)


def test_selection_prefers_strong_ridge_for_noise_and_weak_for_signal() -> None:
    rng = np.random.default_rng(0)
    features = rng.normal(size=(80, 5))
    kernel = features @ features.T
    response = np.column_stack([features[:, 0] + 0.01 * rng.normal(size=80), rng.normal(size=80)])
    ridges = [1e-2, 1e4]
    choice = select_ridge(kernel, response, ridges=ridges, per_drug=True)
    assert choice.ridge.tolist() == ridges
    assert choice.errors.shape == (2, 2)
    assert select_ridge(kernel, response[:, :1], ridges=ridges).ridge == 1e-2


def test_bad_input_is_refused_with_the_reason() -> None:
    _, kernel, response = _data()
    for ridge in (0.0, -1.0, np.nan):
        with pytest.raises(ValueError, match="positive and finite"):
            solve_ridge(kernel, response, ridge=ridge)
    with pytest.raises(ValueError, match="one for each of 8 drugs"):
        solve_ridge(kernel, response, ridge=np.ones(3))
    with pytest.raises(ValueError, match="30 lines, but the response has 10 rows"):
        solve_ridge(kernel, np.ones((10, 2)))
    with pytest.raises(ValueError, match="no response"):
        solve_ridge(kernel, np.where(np.arange(8) == 2, np.nan, response))
    with pytest.raises(ValueError, match="square"):
        decompose_kernel(kernel[:3])
    with pytest.raises(ValueError, match="not symmetric"):
        decompose_kernel(np.arange(9.0).reshape(3, 3))
    with pytest.raises(ValueError, match="negative eigenvalue"):
        decompose_kernel(np.array([[0.0, 1.0], [1.0, 0.0]]))
    with pytest.raises(ValueError, match="NaN"):
        decompose_kernel(np.full((2, 2), np.nan))
    with pytest.raises(ValueError, match="empty"):
        select_ridge(kernel, response, ridges=[])
