"""Plots that a decision rests on show what was stored."""

from __future__ import annotations

import anndata as ad
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


@pytest.fixture
def decided(make_predicted) -> ad.AnnData:
    adata = make_predicted()
    scdrug.tl.therapeutic_window(adata, "tumour", "normal", groupby="group", sample_key="donor")
    scdrug.tl.suggest_combinations(adata, "group", normal="normal", k=3, distinct=(), min_percentile=0.0)
    return adata


def test_the_window_shows_drugs_with_interval_donors_and_shares(decided):
    ax = scdrug.pl.therapeutic_window(decided, n_drugs=4)
    table = scdrug.get.therapeutic_window_df(decided).head(4)
    assert [text.get_text() for text in ax.get_yticklabels()] == table["name"].tolist()
    segments, windows, donors = ax.collections[0].get_segments(), ax.collections[1], ax.collections[2]
    np.testing.assert_allclose([segment[:, 0] for segment in segments], table[["lower", "upper"]])
    np.testing.assert_allclose(windows.get_offsets()[:, 0], table["window"])
    assert len(donors.get_offsets()) == 4 * 4
    assert f"{table['share_malignant_above'].iloc[0]:.0%}" in [text.get_text() for text in ax.texts]


def test_combinations_show_the_kill_of_each_clone_and_the_gain(decided):
    clones, gain = scdrug.pl.suggest_combinations(decided, n_combinations=2)
    table = scdrug.get.suggest_combinations_df(decided).head(2)
    kill = scdrug.get.suggest_combinations_df(decided, by_group=True)
    rows = kill[kill["rank"] <= 2].drop_duplicates(["rank", "drugs"])
    assert [text.get_text().strip() for text in clones.get_yticklabels()] == rows["names"].tolist()
    drawn = np.vstack([mesh.get_array().ravel() for mesh in clones.collections])
    np.testing.assert_allclose(drawn.ravel(), kill.loc[kill["rank"] <= 2, "kill"])
    shown = [scatter.get_offsets()[:, 0] for scatter in gain.collections[1:]]
    np.testing.assert_allclose(np.array(shown).T, table[["best_single_lower", "null_lower", "worst_lower"]])
    weights = [text.get_fontweight() for text in clones.get_yticklabels()]
    assert weights == (["bold"] + ["normal"] * 3) * 2


def test_stability_shows_shares_the_threshold_and_ranks():
    adata = ad.AnnData(np.zeros((1, 1)))
    table = pd.DataFrame(
        {
            "group": ["a", "a", "b"],
            "drug": ["x", "y", "x"],
            "name": ["X", "Y", "X"],
            "stability": [0.9, 0.3, 0.6],
            "stable": [True, False, False],
            "rank_median": [1.0, 4.0, 2.0],
            "rank_low": [1.0, 2.0, 1.0],
            "rank_high": [2.0, 7.0, 9.0],
        }
    )
    adata.uns["rank_stability"] = {"params": {"threshold": 0.75, "top": 3, "expected_false": 1.5}, "table": table}
    axes = scdrug.pl.rank_stability(adata)
    assert [bar.get_width() for bar in axes[0].patches] == [0.9, 0.3]
    assert axes[0].patches[0].get_facecolor() != axes[0].patches[1].get_facecolor()
    assert "4 (2-7)" in [text.get_text() for text in axes[0].texts]
    with pytest.raises(ValueError, match="`ax` takes one group; found 2"):
        scdrug.pl.rank_stability(adata, ax=plt.subplots()[1])
    assert len(scdrug.pl.rank_stability(adata, groups="b").patches) == 1
