from __future__ import annotations

import logging

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scdrug.model.prior import (
    decompose_kernel,
    kronecker_ridge,
    linear_kernel,
    solve_ridge,
)


def _data(seed: int = 0, share: float = 0.25) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    lines, drugs = linear_kernel(rng.normal(size=(14, 30))), linear_kernel(rng.normal(size=(6, 20)))
    response = rng.normal(size=(14, 6))
    response[rng.random((14, 6)) < share] = np.nan
    response[0] = rng.normal(size=6)
    return lines, drugs, response


def _explicit(lines: np.ndarray, drugs: np.ndarray, response: np.ndarray, ridge: float) -> np.ndarray:
    """Form the product kernel over the measured pairs and solve it."""
    seen = ~np.isnan(response.ravel())
    product = np.kron(lines, drugs)[np.ix_(seen, seen)]
    weights = np.zeros(response.size)
    weights[seen] = np.linalg.solve(product + ridge * np.eye(seen.sum()), response.ravel()[seen])
    return weights.reshape(response.shape)


@pytest.mark.parametrize("ridge", [0.01, 0.3, 5.0])
@pytest.mark.parametrize("share", [0.0, 0.25, 0.8])
def test_weights_equal_the_explicit_product_kernel(ridge: float, share: float) -> None:
    lines, drugs, response = _data(share=share)
    found = kronecker_ridge(lines, drugs, response, ridge=ridge, tol=1e-11)
    np.testing.assert_allclose(found, _explicit(lines, drugs, response, ridge), atol=1e-8)
    np.testing.assert_allclose(found[np.isnan(response)], 0, atol=1e-9)


def test_identity_over_drugs_is_one_ridge_per_drug() -> None:
    lines, _, response = _data()
    weights = kronecker_ridge(lines, np.eye(6), response, ridge=0.2, tol=1e-11)
    np.testing.assert_allclose(weights, solve_ridge(lines, response, ridge=0.2, center=False).alpha, atol=1e-8)


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_order_of_lines_and_drugs_does_not_matter(seed: int) -> None:
    lines, drugs, response = _data(seed)
    rng = np.random.default_rng(seed)
    i, j = rng.permutation(14), rng.permutation(6)
    weights = kronecker_ridge(lines, drugs, response, tol=1e-10)
    shuffled = kronecker_ridge(lines[np.ix_(i, i)], drugs[np.ix_(j, j)], response[np.ix_(i, j)], tol=1e-10)
    np.testing.assert_allclose(shuffled, weights[np.ix_(i, j)], atol=1e-7)


def test_decompositions_can_be_shared() -> None:
    lines, drugs, response = _data()
    np.testing.assert_array_equal(
        kronecker_ridge(decompose_kernel(lines), decompose_kernel(drugs), response),
        kronecker_ridge(lines, drugs, response),
    )


def test_all_zero_response_gets_zero_weights() -> None:
    lines, drugs, response = _data()
    assert np.all(kronecker_ridge(lines, drugs, response * 0) == 0)


def test_too_few_steps_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    lines, drugs, response = _data()
    with caplog.at_level(logging.WARNING):
        kronecker_ridge(lines, drugs, response, ridge=1e-4, tol=1e-12, max_iter=1)
    assert "stopped after 1 steps" in caplog.text


def _screen(seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Response that depends on features of lines and drugs, and the two kernels."""
    rng = np.random.default_rng(seed)
    lines, drugs = rng.normal(size=(50, 4)), rng.normal(size=(40, 3))
    response = 2 * drugs[:, 0] + lines[:, :1] + 1.5 * lines[:, 1:2] * drugs[:, 1] + 0.1 * rng.normal(size=(50, 40))
    response[rng.random(response.shape) < 0.2] = np.nan
    return response, linear_kernel(lines), linear_kernel(drugs)


def test_bad_input_is_refused_with_the_reason() -> None:
    lines, drugs, response = _data()
    with pytest.raises(ValueError, match="14 lines and 6 drugs"):
        kronecker_ridge(lines, drugs, response.T)
    with pytest.raises(ValueError, match="positive"):
        kronecker_ridge(lines, drugs, response, ridge=0)
    with pytest.raises(ValueError, match="not only NaN"):
        kronecker_ridge(lines, drugs, response * np.nan)


def test_scattered_gaps_need_few_steps(caplog: pytest.LogCaptureFixture) -> None:
    response, lines, drugs = _screen()
    with caplog.at_level(logging.WARNING):
        kronecker_ridge(lines, drugs, response - np.nanmean(response), ridge=0.2, tol=1e-4, max_iter=40)
    assert not caplog.records
