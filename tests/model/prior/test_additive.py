from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scdrug.model.prior import fit_additive


def _with_gaps(seed: int, shape: tuple[int, int] = (15, 6), share: float = 0.3) -> np.ndarray:
    rng = np.random.default_rng(seed)
    response = rng.normal(size=shape) + rng.normal(scale=3, size=shape[1])
    response[rng.random(shape) < share] = np.nan
    response[0] = rng.normal(size=shape[1])  # every drug is measured somewhere
    return response


def test_sequential_fit_is_drug_means_then_line_means_of_the_residuals() -> None:
    response = _with_gaps(0)
    effects = fit_additive(response)
    np.testing.assert_allclose(effects.drug, np.nanmean(response, axis=0))
    np.testing.assert_allclose(effects.line, np.nanmean(response - effects.drug, axis=1))


@pytest.mark.parametrize("shrinkage", [0.0, 2.5])
def test_least_squares_fit_equals_a_regression_on_indicators(shrinkage: float) -> None:
    response = _with_gaps(1)
    n_lines, n_drugs = response.shape
    line, drug = np.nonzero(~np.isnan(response))
    design = np.zeros((line.size, n_lines + n_drugs))
    design[np.arange(line.size), line] = 1
    design[np.arange(line.size), n_lines + drug] = 1
    penalty = np.sqrt(shrinkage) * np.eye(n_lines, n_lines + n_drugs)
    coefficients = np.linalg.lstsq(
        np.vstack([design, penalty]), np.append(response[line, drug], np.zeros(n_lines)), rcond=None
    )[0]
    fitted = fit_additive(response, method="least_squares", shrinkage=shrinkage).matrix
    np.testing.assert_allclose(fitted[line, drug], design @ coefficients, atol=1e-8)


@pytest.mark.parametrize("method", ["sequential", "least_squares"])
def test_additive_matrix_without_gaps_is_recovered_exactly(method: str) -> None:
    truth = np.add.outer([-1.0, 0.0, 2.0], [5.0, 1.0])
    np.testing.assert_allclose(fit_additive(truth, method=method).matrix, truth, atol=1e-12)


def test_only_least_squares_recovers_an_additive_matrix_with_gaps() -> None:
    truth = np.add.outer([-3.0, 0.0, 2.0, 4.0], [5.0, 1.0, 0.0])
    response = truth.copy()
    response[0, 1] = response[3, 2] = np.nan
    np.testing.assert_allclose(fit_additive(response, method="least_squares").matrix, truth, atol=1e-9)
    assert np.abs(fit_additive(response).matrix - truth).max() > 0.1


@pytest.mark.parametrize("method", ["sequential", "least_squares"])
def test_line_without_responses_gets_no_effect(method: str) -> None:
    response = np.vstack([_with_gaps(2), np.full(6, np.nan)])
    effects = fit_additive(response, method=method)
    assert effects.line[-1] == 0
    np.testing.assert_allclose(effects.drug, fit_additive(response[:-1], method=method).drug)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000), method=st.sampled_from(["sequential", "least_squares"]))
def test_order_of_lines_and_drugs_does_not_matter(seed: int, method: str) -> None:
    response = _with_gaps(seed)
    rng = np.random.default_rng(seed)
    block = np.ix_(rng.permutation(15), rng.permutation(6))
    fitted = fit_additive(response, method=method).matrix
    np.testing.assert_allclose(fit_additive(response[block], method=method).matrix, fitted[block], atol=1e-8)


def test_shrinkage_pulls_lines_with_few_responses_most() -> None:
    response = np.full((2, 4), 3.0)
    response[:, 3] = np.nan
    response[1, 1:] = np.nan
    response = np.vstack([response, np.zeros((8, 4))])
    free, shrunk = fit_additive(response), fit_additive(response, shrinkage=2.0)
    assert shrunk.line[1] / free.line[1] < shrunk.line[0] / free.line[0] < 1


def test_bad_responses_are_refused_with_the_reason() -> None:
    with pytest.raises(ValueError, match="1 of 2 drugs have no response.*'1'"):
        fit_additive(np.array([[1.0, np.nan], [2.0, np.nan]]))
    with pytest.raises(ValueError, match="infinite"):
        fit_additive(np.array([[1.0, np.inf]]))
    with pytest.raises(ValueError, match="lines × drugs"):
        fit_additive(np.ones(3))
    with pytest.raises(ValueError, match="must not be negative"):
        fit_additive(np.ones((2, 2)), shrinkage=-1)
    with pytest.raises(ValueError, match="least_squares"):
        fit_additive(np.ones((2, 2)), method="least squares")
