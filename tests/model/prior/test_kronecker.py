from __future__ import annotations

import logging

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scdrug.model.prior import (
    EFFECT_RIDGES,
    decompose_kernel,
    fit_additive,
    fit_unseen_drugs,
    kronecker_ridge,
    linear_kernel,
    select_effect_ridge,
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


def test_new_drugs_are_predicted_in_known_and_in_new_lines() -> None:
    response, lines, drugs = _screen()
    old, new = np.arange(30), np.arange(30, 40)
    known, fresh = np.arange(40), np.arange(40, 50)
    fit = fit_unseen_drugs(
        response[np.ix_(known, old)], drugs[np.ix_(old, old)], lines[np.ix_(known, known)],
        drug_ridge=0.1, line_ridge=0.1, ridge=0.1,
    )  # fmt: skip
    cross = drugs[np.ix_(new, old)]
    for truth, predicted in (
        (response[np.ix_(known, new)], fit.predict(cross)),
        (response[np.ix_(fresh, new)], fit.predict(cross, lines[np.ix_(fresh, known)])),
    ):
        seen = ~np.isnan(truth)
        assert predicted.shape == truth.shape
        assert np.corrcoef(predicted[seen], truth[seen])[0, 1] > 0.95
        additive = predicted.mean(axis=1, keepdims=True) + predicted.mean(axis=0) - predicted.mean()
        assert np.std((predicted - truth)[seen]) < 0.6 * np.std((additive - truth)[seen])


def test_line_without_responses_takes_part_without_breaking_the_fit() -> None:
    response, lines, drugs = _screen()
    response[7] = np.nan
    fit = fit_unseen_drugs(response, drugs, lines)
    kept = np.delete(np.arange(50), 7)
    without = fit_unseen_drugs(response[kept], drugs, lines[np.ix_(kept, kept)])
    np.testing.assert_allclose(
        fit.predict(drugs[:3], lines[:4]),
        without.predict(drugs[:3], lines[np.ix_(range(4), kept)]),
        atol=1e-2,
    )


def test_dissimilar_drug_gets_the_mean_drug() -> None:
    response, _, drugs = _screen()
    fit = fit_unseen_drugs(response, drugs)
    predicted = fit.predict(np.zeros((1, 40)))
    np.testing.assert_allclose(predicted[:, 0], fit.effects.drug.mean() + fit.effects.line)


def test_bad_input_is_refused_with_the_reason() -> None:
    lines, drugs, response = _data()
    with pytest.raises(ValueError, match="14 lines and 6 drugs"):
        kronecker_ridge(lines, drugs, response.T)
    with pytest.raises(ValueError, match="positive"):
        kronecker_ridge(lines, drugs, response, ridge=0)
    with pytest.raises(ValueError, match="not only NaN"):
        kronecker_ridge(lines, drugs, response * np.nan)
    with pytest.raises(ValueError, match="kernel_lines"):
        fit_unseen_drugs(response, drugs).predict(drugs, lines)


def test_drug_ridge_auto_is_the_best_when_each_drug_is_left_out() -> None:
    response, lines, drugs = _screen()
    effect = fit_additive(response).drug
    errors = []
    for ridge in EFFECT_RIDGES:
        residuals = []
        for drug in range(len(effect)):
            kept = np.arange(len(effect)) != drug
            fit = solve_ridge(drugs[np.ix_(kept, kept)], effect[kept, None], ridge=ridge)
            residuals.append(fit.predict(drugs[drug, kept]) - effect[drug])
        errors.append(np.mean(np.square(residuals)))
    best = EFFECT_RIDGES[int(np.argmin(errors))]
    assert select_effect_ridge(drugs, effect) == best
    auto = fit_unseen_drugs(response, drugs, lines, drug_ridge="auto")
    np.testing.assert_allclose(
        auto.drug_effect.alpha, fit_unseen_drugs(response, drugs, drug_ridge=best).drug_effect.alpha
    )


def test_scattered_gaps_need_few_steps(caplog: pytest.LogCaptureFixture) -> None:
    response, lines, drugs = _screen()
    with caplog.at_level(logging.WARNING):
        kronecker_ridge(lines, drugs, response - np.nanmean(response), ridge=0.2, tol=1e-4, max_iter=40)
    assert not caplog.records
