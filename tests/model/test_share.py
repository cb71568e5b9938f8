"""The share of a network beside another predictor."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scdrug.model._share import cautious_share


def draw(seed: int, *, truth: float, n_lines: int = 40, noise: float = 1.0) -> tuple[np.ndarray, ...]:
    """Responses to which `truth` of the network's difference from the other predictor leads."""
    rng = np.random.default_rng(seed)
    other, apart = rng.normal(size=(2, n_lines, 5))
    observed = other + truth * apart + noise * rng.normal(size=other.shape)
    return other + apart, other, observed


def test_it_is_least_squares_less_the_error_over_lines() -> None:
    network, other, observed = draw(0, truth=0.8)
    scale = np.array([1.0, 2.0, 0.5, 1.0, 3.0])
    apart, left = (network - other) / scale, (observed - other) / scale
    best = np.linalg.lstsq(apart.reshape(-1, 1), left.ravel(), rcond=None)[0][0]
    # the sandwich with lines as clusters, and the usual correction for their number
    meat = sum((row @ rest) ** 2 for row, rest in zip(apart, left - best * apart, strict=True)) * 40 / 39
    expected = best - np.sqrt(meat) / (apart**2).sum()
    assert cautious_share(network, other, observed, scale=scale) == pytest.approx(expected)


def test_standard_error_is_that_of_repeated_draws() -> None:
    from_below = [cautious_share(*draw(seed, truth=0.5), scale=np.ones(5)) for seed in range(1000)]
    spread = np.std(from_below)
    assert np.mean(from_below) == pytest.approx(0.5 - spread, abs=0.15 * spread)


def test_drugs_that_err_together_do_not_count_as_evidence_of_their_own() -> None:
    network, other, observed = draw(1, truth=0.5)
    copied = [np.repeat(values, 10, axis=1) for values in (network, other, observed)]
    once = cautious_share(network, other, observed, scale=np.ones(5))
    assert cautious_share(*copied, scale=np.ones(50)) == pytest.approx(once)


def test_missing_responses_and_lines_without_any_do_not_count() -> None:
    network, other, observed = draw(2, truth=0.5)
    observed[:, 3] = np.nan
    observed[30:] = np.nan
    kept = np.s_[:30, [0, 1, 2, 4]]
    expected = cautious_share(network[kept], other[kept], observed[kept], scale=np.ones(4))
    assert cautious_share(network, other, observed, scale=np.ones(5)) == pytest.approx(expected)


@given(seed=st.integers(0, 2**16), truth=st.floats(-2, 3), n_lines=st.integers(0, 20))
def test_it_is_a_share(seed: int, truth: float, n_lines: int) -> None:
    network, other, observed = draw(seed, truth=truth, n_lines=n_lines)
    share = cautious_share(network, other, observed, scale=np.ones(5))
    assert 0 <= share <= 1
    assert share == 0 or n_lines >= 3


def test_predictors_that_agree_leave_nothing_to_share() -> None:
    _, other, observed = draw(3, truth=0.5)
    assert cautious_share(other, other, observed, scale=np.ones(5)) == 0
