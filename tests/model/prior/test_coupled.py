from __future__ import annotations

import numpy as np
import pytest

from scdrug.model.prior import (
    ProcessOptions,
    complete_response,
    fit_coupled,
    linear_kernel,
    residual_scale,
    solve_ridge,
)

#: One fit, with one noise, whose answer can be written out.
PLAIN = ProcessOptions(noise=0.3, line_share=0.7, drug_noise=False, response_share=0)


def _data(share: float = 0.2, n: int = 20, m: int = 6) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Kernel of all lines, responses of the first `n`, and their true values."""
    rng = np.random.default_rng(0)
    features = rng.normal(size=(n + 4, 8))
    truth = (features[:, :3] + rng.normal(size=(n + 4, 3))) @ rng.normal(size=(3, m)) * np.arange(1, m + 1)
    response = truth[:n] + 0.2 * rng.normal(size=(n, m))
    gaps = rng.random(response.shape) < share
    gaps[0] = False
    return linear_kernel(features), np.where(gaps, np.nan, response), truth


def _parts(response: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean, scale and covariance of the drugs, as the method states them."""
    completed = complete_response(response).completed
    mean = completed.mean(axis=0)
    scale = residual_scale(response - mean)
    standard = (completed - mean) / scale
    return mean, scale, standard.T @ standard / len(standard)


def _explicit(kernel: np.ndarray, n: int, response: np.ndarray, parts, ridge: float, share: float) -> np.ndarray:
    """Condition the Gaussian process over all lines of the kernel on the measured pairs, written out."""
    mean, scale, drugs = parts
    lines = share * kernel
    lines[np.arange(n), np.arange(n)] += 1 - share
    product = np.kron(lines, drugs)
    seen = np.zeros((len(kernel), len(mean)), dtype=bool)
    seen[:n] = ~np.isnan(response)
    seen = seen.ravel()
    target = ((response - mean) / scale).ravel()
    weights = np.linalg.solve(product[np.ix_(seen, seen)] + ridge * np.eye(seen.sum()), target[~np.isnan(target)])
    return mean + (product[:, seen] @ weights).reshape(len(kernel), -1) * scale


@pytest.mark.parametrize("gaps", [0.0, 0.3])
def test_predictions_condition_the_gaussian_process_on_the_measured_pairs(gaps: float) -> None:
    kernel, response, _ = _data(gaps)
    fit = fit_coupled(kernel[:20, :20], response, PLAIN, tol=1e-11)
    expected = _explicit(kernel, 20, response, _parts(response), 0.3, 0.7)
    np.testing.assert_allclose(fit.fitted, expected[:20], atol=1e-6)
    np.testing.assert_allclose(kernel[20:, :20] @ fit.alpha + fit.intercept, expected[20:], atol=1e-6)


def test_left_out_predictions_are_those_without_the_line() -> None:
    kernel, response, _ = _data(0.0)
    fit = fit_coupled(kernel[:20, :20], response, PLAIN)
    order = np.r_[1:20, 0]  # what is fitted on all lines but the first, around the same mean and covariance
    expected = _explicit(kernel[np.ix_(order, order)], 19, response[1:], _parts(response), 0.3, 0.7)[-1]
    np.testing.assert_allclose(fit.left_out[0], expected, atol=1e-8)


def test_a_line_s_other_responses_fill_its_gaps_better_than_expression_alone() -> None:
    kernel, response, truth = _data(0.25, n=80)
    hidden = np.isnan(response)
    coupled = fit_coupled(kernel[:80, :80], response).fitted
    alone = solve_ridge(kernel[:80, :80], response, ridge=0.1).predict(kernel[:80, :80])
    assert np.std((coupled - truth[:80])[hidden]) < 0.8 * np.std((alone - truth[:80])[hidden])


def test_offsets_of_drugs_and_the_unit_of_responses_do_not_matter() -> None:
    kernel, response, _ = _data()
    offset = np.array([0, 4, -2, 0, 9, 1])
    plain = fit_coupled(kernel[:20, :20], response, tol=1e-10)
    moved = fit_coupled(kernel[:20, :20], 10 * response + offset, tol=1e-10)
    for name in ("fitted", "left_out"):
        np.testing.assert_allclose((getattr(moved, name) - offset) / 10, getattr(plain, name), atol=1e-6)


@pytest.mark.parametrize(
    ("name", "value"),
    [("line_share", 0), ("line_share", 1.5), ("noise", 0), ("response_share", 1), ("kernel", "cubic")],
)
def test_options_out_of_range_are_refused(name: str, value: float | str) -> None:
    with pytest.raises(ValueError, match=name):
        ProcessOptions(**{name: value})


def test_a_kernel_of_other_lines_is_refused() -> None:
    kernel, response, _ = _data()
    with pytest.raises(ValueError, match="compares 24 lines"):
        fit_coupled(kernel, response)
