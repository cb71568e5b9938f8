from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scdrug.model.prior import ProcessOptions, ResponseProcess, apply_kernel, contexts

PLAIN = ProcessOptions(noise=0.3, line_share=0.7, drug_noise=False, response_share=0, kernel="rbf")


def _screen(share: float = 0.2, n: int = 24, m: int = 12, seed: int = 0):
    """Expression of lines, responses with gaps, and features of drugs that say what the drugs share."""
    rng = np.random.default_rng(seed)
    factors, loadings = rng.normal(size=(n, 3)), rng.normal(size=(3, m))
    expression = np.hstack([factors, 0.3 * rng.normal(size=(n, 4))])
    response = factors @ loadings + 2 * loadings[0] + 0.2 * rng.normal(size=(n, m))
    response[rng.random(response.shape) < share] = np.nan
    response[0] = np.where(np.isnan(response[0]), 0.0, response[0])
    drugs = {"minimol": (loadings.T + 0.05 * rng.normal(size=(m, 3))).astype(np.float32)}
    return expression, response, drugs


def test_known_lines_are_recognised_and_others_compared() -> None:
    expression, response, drugs = _screen()
    process = ResponseProcess.fit(expression, response, drugs)
    lines = np.array([3, -1, 0])
    mixed = process.predict(expression[[3, 3, 0]], lines, np.array([5, 2]))
    np.testing.assert_allclose(mixed[[0, 2]], process.fitted[np.ix_([3, 0], [5, 2])])
    np.testing.assert_allclose(mixed[1], process.predict(expression[3:4])[0, [5, 2]])
    assert not np.allclose(mixed[0], mixed[1])
    np.testing.assert_array_equal(process.is_known(lines), [True, False, True])


def test_a_line_without_responses_is_predicted_like_a_new_one() -> None:
    expression, response, _ = _screen()
    response[4] = np.nan
    process = ResponseProcess.fit(expression, response)
    np.testing.assert_allclose(process.predict(expression[4:5], np.array([4])), process.predict(expression[4:5]))


@pytest.mark.parametrize("gaps", [0.0, 0.3])
def test_variance_is_that_of_the_gaussian_process(gaps: float) -> None:
    """Against the posterior covariance over all pairs, written out."""
    expression, response, _ = _screen(gaps, n=16, m=5)
    process = ResponseProcess.fit(expression[:12], response[:12], options=PLAIN)
    lines = np.r_[np.arange(12), [-1] * 4]
    mean, variance = process.predict(expression, lines, variance=True)
    kernel = apply_kernel(process.kernel, expression, expression)
    covariance = PLAIN.line_share * kernel
    covariance[np.arange(16), np.arange(16)] += 1 - PLAIN.line_share
    product = np.kron(covariance, process.covariance)
    seen = np.zeros((16, 5), dtype=bool)
    seen[:12] = np.isfinite(response[:12])
    seen = seen.ravel()
    system = product[np.ix_(seen, seen)] + PLAIN.noise * np.eye(seen.sum())
    posterior = product - product[:, seen] @ np.linalg.solve(system, product[seen])
    expected = np.diag(posterior).reshape(16, 5) * process.scale**2
    assert mean.shape == variance.shape == (16, 5)
    if gaps == 0:
        np.testing.assert_allclose(variance, expected, rtol=1e-6)
    else:  # gaps are spread evenly
        ratio = variance / expected
        assert 0.4 < ratio.min() and ratio.max() < 1.6
        assert abs(np.log(ratio).mean()) < 0.15
    assert (variance[12:] > variance[:12].mean(axis=0)).all(), "new lines are known less well"


def test_drugs_without_responses_are_told_by_their_structure_or_typical() -> None:
    expression, response, drugs = _screen(0.0, n=60, m=30)
    truth = response.copy()
    response[:, [4, 7]] = np.nan
    drugs["minimol"][7] = 0
    process = ResponseProcess.fit(expression, response, drugs)
    others = {"minimol": np.delete(drugs["minimol"], [4, 7], axis=0)}
    alone = ResponseProcess.fit(expression, np.delete(response, [4, 7], axis=1), others)
    asked = {"minimol": drugs["minimol"][4:5]}
    np.testing.assert_allclose(process.fitted[:, 4], alone.for_drugs(asked).fitted[:, 0], atol=1e-9)
    np.testing.assert_allclose(process.for_drugs(asked).fitted, alone.for_drugs(asked).fitted, atol=1e-9)
    np.testing.assert_allclose(process.predict(expression)[:, 7], alone.predict(expression).mean(axis=1), atol=1e-9)
    assert np.corrcoef(process.fitted[:, 4], truth[:, 4])[0, 1] > 0.8


def test_new_drugs_need_drugs_of_which_anything_is_known() -> None:
    expression, response, drugs = _screen()
    with pytest.raises(ValueError, match="fewer than 3 drugs"):
        ResponseProcess.fit(expression, response).for_drugs(drugs)
    new = ResponseProcess.fit(expression, response, drugs).for_drugs(drugs)
    with pytest.raises(ValueError, match="drugs of the training alone"):
        new.predict(expression, variance=True)


def test_arrays_come_back_as_the_same_process() -> None:
    expression, response, drugs = _screen()
    process = ResponseProcess.fit(expression, response, drugs)
    arrays = process.to_arrays()
    assert set(arrays) == set(ResponseProcess.wanted_arrays(("minimol",)))
    assert all(array.dtype in (np.float32, np.int64, np.int32, np.uint8) for array in arrays.values())
    again = ResponseProcess.from_arrays(arrays, process.options)
    lines = np.r_[np.arange(20), [-1] * 4]
    for one, two in zip(
        process.predict(expression, lines, variance=True), again.predict(expression, lines, variance=True), strict=True
    ):
        np.testing.assert_allclose(two, one, atol=1e-4)
    np.testing.assert_allclose(again.for_drugs(drugs).fitted, process.for_drugs(drugs).fitted, atol=1e-4)


def test_nothing_measured_is_refused() -> None:
    expression, response, _ = _screen()
    with pytest.raises(ValueError, match="nothing to fit"):
        ResponseProcess.fit(expression, np.full_like(response, np.nan))


@settings(max_examples=15, deadline=None)
@given(st.permutations(range(12)), st.floats(0.1, 10), st.floats(-5, 5))
def test_order_and_unit_of_drugs_do_not_matter(order: list[int], unit: float, offset: float) -> None:
    expression, response, drugs = _screen()
    plain = ResponseProcess.fit(expression, response, drugs)
    moved = ResponseProcess.fit(
        expression,
        unit * response[:, order] + offset,
        {"minimol": drugs["minimol"][order]},
    )
    np.testing.assert_allclose((moved.fitted - offset) / unit, plain.fitted[:, order], atol=0.02)


def test_contexts_combine_lines_and_drugs() -> None:
    np.testing.assert_array_equal(contexts(np.array([True, False]), np.array([True, False])), [[0, 2], [1, 3]])
