"""The therapeutic window: paired within donors, with an interval that holds both levels, and said to be relative."""

from __future__ import annotations

import warnings

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy import stats

import scdrug


def window(adata: ad.AnnData, malignant="tumour", normal="normal", **kwargs) -> pd.DataFrame:
    kwargs = {"groupby": "group", "sample_key": "donor"} | kwargs
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="One donor has both kinds")
        scdrug.tl.therapeutic_window(adata, malignant, normal, **kwargs)
    return scdrug.get.therapeutic_window_df(adata).set_index("drug")


def test_values_equal_those_by_hand(make_predicted):
    adata = make_predicted()
    table = window(adata, threshold=0.7)
    assert table.index[0] == "gamma-c"
    cells = adata.obs.assign(value=adata.obsm["response_percentile"]["delta"].astype(float))
    cells["above"] = cells["value"] >= 0.7
    mean = cells.groupby(["donor", "group"])[["value", "above"]].mean().unstack()
    apart = mean["value"]["tumour"] - mean["value"]["normal"]
    found = table.loc["delta"]
    assert found["window"] == pytest.approx(apart.mean())
    assert found["sd"] == pytest.approx(apart.std())
    assert found["share_malignant_above"] == pytest.approx(mean["above"]["tumour"].mean())
    assert found["share_normal_below"] == pytest.approx(1 - mean["above"]["normal"].mean())
    by_sample = scdrug.get.therapeutic_window_df(adata, by_sample=True)
    np.testing.assert_allclose(by_sample.loc[by_sample["drug"] == "delta", "window"], apart)


def test_the_interval_of_one_donor_is_recovered_from_the_intervals_of_its_groups(make_predicted):
    adata = make_predicted()
    adata.obs["all"] = "one"
    found = window(adata, sample_key="all")
    used = adata[adata.obs["group"].isin(["tumour", "normal"])].copy()
    groups = scdrug.get.group_response_df(used, "group").set_index(["drug", "group"])
    lines = adata.uns["predicted_response"]["line_quantiles"].iloc[0].to_numpy()
    share = lambda response: 1 - np.interp(response, lines, np.linspace(0, 1, 21))
    for drug, row in found.iterrows():
        tumour, normal = groups.loc[drug, "tumour"], groups.loc[drug, "normal"]
        down = tumour["percentile"] - share(tumour["upper"]), share(normal["lower"]) - normal["percentile"]
        assert row["lower"] == pytest.approx(max(row["window"] - np.hypot(*down), -1), abs=1e-5)
    assert found["sd"].isna().all()


def test_the_interval_over_donors_holds_both_levels(make_predicted):
    adata = make_predicted(donor_sd=0.5)
    both = window(adata)
    adata.uns["predicted_response"]["half_width"][:] = np.nan
    with pytest.warns(UserWarning, match="over donors only"):
        donors = window(adata)
    half = stats.t.ppf(0.95, 3) * donors["sd"] / 2
    np.testing.assert_allclose(donors["upper"], np.minimum(donors["window"] + half, 1))
    both = both.loc[donors.index]
    assert (both["upper"] - both["lower"] > donors["upper"] - donors["lower"]).all()
    assert ((both["lower"] <= both["window"]) & (both["window"] <= both["upper"])).all()
    assert (both["lower"] >= -1).all()


def test_exchanging_the_sides_turns_the_window_round(make_predicted):
    one, other = window(make_predicted()), window(make_predicted(), "normal", "tumour")
    other = other.loc[one.index]
    np.testing.assert_allclose(one["window"], -other["window"])
    np.testing.assert_allclose(one["lower"], -other["upper"])


def test_higher_is_more_sensitive_keeps_the_bounds_around_the_window(make_predicted):
    adata = make_predicted()
    for frame in (adata.obsm["predicted_response"], adata.uns["predicted_response"]["line_quantiles"]):
        frame[:] = -frame.to_numpy()[:, ::-1] if frame.shape[1] == 21 else -frame.to_numpy()
    adata.uns["predicted_response"]["direction"] = "higher is more sensitive"
    pd.testing.assert_frame_equal(window(adata), window(make_predicted()), rtol=1e-5)


def test_boolean_columns_mark_the_sides(make_predicted):
    adata = make_predicted()
    expected = window(adata)
    adata.obs["is_tumour"], adata.obs["is_normal"] = adata.obs["group"] == "tumour", adata.obs["group"] == "normal"
    pd.testing.assert_frame_equal(window(adata, "is_tumour", "is_normal", groupby=None), expected)


def test_resting_normal_cells_are_computed_and_said_to_be_no_measure_of_safety(make_predicted):
    adata = make_predicted()
    expected = window(adata)
    adata.obs.loc[adata.obs["group"] == "normal", "response_reliability"] = 0.0
    with pytest.warns(UserWarning, match="normal cells have a median reliability of 0.00.*no measure of"):
        found = window(adata)
    pd.testing.assert_frame_equal(found, expected)
    params = adata.uns["therapeutic_window"]["params"]
    assert params["reliability_normal"] == 0
    assert "relative" in params["note"]


def test_donors_with_one_side_are_left_out_by_name(make_predicted):
    adata = make_predicted()
    adata = adata[(adata.obs["donor"] != "d0") | (adata.obs["group"] != "normal")].copy()
    with pytest.warns(UserWarning, match=r"Left out 1 donors.*d0 \(20 malignant, 0 normal\)"):
        assert (window(adata)["n_samples"] == 3).all()


@pytest.mark.parametrize(
    ("kwargs", "error", "match"),
    [
        ({"normal": "stroma"}, KeyError, "no group 'stroma'"),
        ({"normal": "tumour"}, ValueError, "both malignant and normal"),
        ({"groupby": None}, KeyError, "pass `groupby='group'`"),
        ({"malignant": "none", "groupby": None}, ValueError, "No cell is malignant"),
        ({"min_cells": 50}, ValueError, "No donor of .*50 malignant and 50 normal cells"),
        ({"min_cells": 500, "sample_key": None}, ValueError, r"The cells do not have 500.*80 malignant, 80 normal"),
        ({"threshold": 1.5}, ValueError, "between 0 and 1"),
    ],
)
def test_what_cannot_be_compared_is_said_and_nothing_is_stored(make_predicted, kwargs, error, match):
    adata = make_predicted()
    adata.obs["none"], adata.obs["normal"] = False, adata.obs["group"] == "normal"
    with pytest.raises(error, match=match):
        window(adata, **kwargs)
    assert "therapeutic_window" not in adata.uns
