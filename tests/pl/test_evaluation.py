"""Plots of how well models do."""

from __future__ import annotations

import matplotlib
import numpy as np
import pandas as pd
import pytest

matplotlib.use("Agg")

import matplotlib.pyplot as plt

import scdrug


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    plt.close("all")


def test_groups_stand_at_their_correlations_and_the_share_above_is_counted() -> None:
    model = pd.Series({"a": 0.9, "b": 0.5, "c": 0.8, "only": 0.1})
    baseline = {"a": 0.7, "b": 0.6, "c": 0.75}
    ax = scdrug.pl.group_correlations(model, baseline, model_name="DeepCDR", baseline_name="SoftImpute", level="drug")
    points = ax.collections[0].get_offsets()
    np.testing.assert_allclose(points, [[0.7, 0.9], [0.6, 0.5], [0.75, 0.8]])
    texts = [text.get_text() for text in ax.texts]
    assert "67% of 3 above" in texts
    assert {"a", "b", "c"} <= set(texts)
    assert ax.get_xlim() == ax.get_ylim()
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("PCC, SoftImpute", "PCC, DeepCDR")
    with pytest.raises(ValueError, match="no group in common"):
        scdrug.pl.group_correlations({"x": 1.0}, baseline)


@pytest.mark.parametrize("n", [50, 5000])
def test_pairs_are_drawn_with_their_scores(n: int) -> None:
    rng = np.random.default_rng(0)
    observed = rng.normal(size=n)
    predicted = observed + 0.5 * rng.normal(size=n)
    observed[0] = np.nan
    ax = scdrug.pl.predicted_observed(predicted, observed, title="LGG")
    correlation = np.corrcoef(predicted[1:], observed[1:])[0, 1]
    assert f"PCC {correlation:.3f}" in ax.texts[0].get_text()
    assert f"n = {n - 1:,}" in ax.texts[0].get_text()
    assert "observed" in ax.get_xlabel()
    with pytest.raises(ValueError, match="at least two"):
        scdrug.pl.predicted_observed([1.0, 2.0], [np.nan, 1.0])
    with pytest.raises(ValueError, match="values"):
        scdrug.pl.predicted_observed([1.0, 2.0], [1.0])


def test_training_is_drawn_by_epoch_from_a_model_s_history() -> None:
    frame = pd.DataFrame({"validation_pearson": [0.5, 0.7, 0.8]})
    ax = scdrug.pl.compare_training({"a": frame, "b": {"validation_pearson": frame}})
    assert [list(line.get_ydata()) for line in ax.lines] == [[0.5, 0.7, 0.8]] * 2
    assert list(ax.lines[0].get_xdata()) == [1, 2, 3]
    with pytest.raises(KeyError, match="no 'validation_loss'"):
        scdrug.pl.compare_training({"a": frame}, quantity="validation_loss")
