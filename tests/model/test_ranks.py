"""Where predictions stand among those of lines: the same as a search through all quantiles says."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from scdrug.model._ranks import rank_in_quantiles

_numbers = st.floats(-1e6, 1e6, width=32) | st.sampled_from([0.0, 1.0, 1.0000001])


def _searched(values: np.ndarray, steps: np.ndarray) -> np.ndarray:
    left, right = np.searchsorted(steps, values, side="left"), np.searchsorted(steps, values, side="right")
    low = np.clip(right - 1, 0, len(steps) - 2)
    with np.errstate(invalid="ignore", divide="ignore"):
        between = low + (values - steps[low]) / (steps[low + 1] - steps[low])
    rank = np.where(right > left, (left + right - 1) / 2, between) / (len(steps) - 1)
    rank = np.where(values < steps[0], 0.0, np.where(values > steps[-1], 1.0, rank))
    return np.where(np.isnan(values), np.nan, rank)


@settings(max_examples=60, deadline=None)
@given(
    steps=arrays(np.float32, (3, 11), elements=_numbers),
    values=arrays(np.float32, (6, 3), elements=_numbers | st.just(np.nan)),
)
def test_ranks_are_those_of_a_search_through_all_quantiles(steps: np.ndarray, values: np.ndarray) -> None:
    steps = np.sort(steps, axis=1)
    asked = np.vstack([values, steps.T])  # also at the quantiles themselves
    found = rank_in_quantiles(asked, steps)
    expected = np.column_stack([_searched(asked[:, j].astype(float), steps[j].astype(float)) for j in range(3)])
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_quantiles_bunched_far_from_an_outlier_are_told_apart() -> None:
    steps = np.append(np.linspace(0, 1, 100), 1e7).astype(np.float32)[None]
    found = rank_in_quantiles(np.array([[0.25], [0.5], [0.999]], dtype=np.float32), steps)
    np.testing.assert_allclose(found[:, 0], [0.25, 0.5, 0.99], atol=0.01)


def test_ranks_of_one_drug_do_not_depend_on_the_others() -> None:
    rng = np.random.default_rng(0)
    steps, values = np.sort(rng.normal(size=(4, 101)), axis=1), rng.normal(size=(50, 4))
    together = rank_in_quantiles(values, steps)
    alone = np.hstack([rank_in_quantiles(values[:, [j]], steps[[j]]) for j in range(4)])
    np.testing.assert_array_equal(together, alone)
