"""Correlation within groups of pairs."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from scdrug.metrics import group_correlations


def test_each_group_has_the_correlation_of_its_own_pairs() -> None:
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"p": rng.normal(size=90), "o": rng.normal(size=90), "g": rng.integers(3, size=90)})
    expected = table.groupby("g").apply(lambda part: part["p"].corr(part["o"]))
    got = group_correlations(table["p"].to_numpy(), table["o"].to_numpy(), table["g"])
    assert list(got) == ["0", "1", "2"]
    np.testing.assert_allclose(list(got.values()), expected, atol=1e-12)


def test_small_unnamed_and_unmeasured_groups_are_left_out() -> None:
    predicted = np.arange(10.0)
    observed = np.array([0, 1, 2, 0, 1, 5, 6, 7, np.nan, 3])
    groups = ["a"] * 3 + ["b"] * 2 + ["", None, float("nan")] + ["c", "c"]
    assert group_correlations(predicted, observed, groups) == {"a": pytest.approx(1.0)}
    assert set(group_correlations(predicted, observed, groups, min_count=2)) == {"a", "b"}


def test_constant_predictions_score_zero_and_constant_observations_do_not_count() -> None:
    got = group_correlations(np.ones(6), np.array([1.0, 2, 3, 4, 4, 4]), list("aaabbb"))
    assert got == {"a": 0.0}
    with pytest.raises(ValueError, match="one group for each pair"):
        group_correlations(np.ones(2), np.arange(2.0), ["a"])
