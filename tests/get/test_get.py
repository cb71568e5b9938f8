"""Tables of what tl stored."""

from __future__ import annotations

import anndata as ad
import numpy as np
import pandas as pd
import pytest

import scdrug


@pytest.fixture
def ranked(make_predicted) -> ad.AnnData:
    adata = make_predicted()
    scdrug.tl.rank_drugs(adata, "group", sample_key="donor")
    return adata


def test_response_df_gives_the_stored_values(ranked):
    pd.testing.assert_frame_equal(scdrug.get.response_df(ranked), ranked.obsm["predicted_response"])
    found = scdrug.get.response_df(ranked, drugs=["Gamma C", "alpha-1"], use="percentile")
    pd.testing.assert_frame_equal(found, ranked.obsm["response_percentile"][["gamma-c", "alpha-1"]])


def test_response_df_is_a_copy(ranked):
    before = ranked.obsm["predicted_response"].copy()
    scdrug.get.response_df(ranked).iloc[:] = 0
    pd.testing.assert_frame_equal(ranked.obsm["predicted_response"], before)


def test_tidy_response_holds_each_pair_once(ranked):
    tidy = scdrug.get.response_df(ranked, drugs=["delta", "Beta/2"], tidy=True)
    assert tidy.columns.tolist() == ["cell", "drug", "name", "value", "lower", "upper"]
    wide = tidy.pivot(index="cell", columns="drug", values="value").loc[ranked.obs_names, ["delta", "beta-2"]]
    np.testing.assert_array_equal(wide.to_numpy(), ranked.obsm["predicted_response"][["delta", "beta-2"]].to_numpy())
    assert set(tidy.loc[tidy["drug"] == "beta-2", "name"]) == {"Beta/2"}


def test_unknown_drug_offers_the_nearest(ranked):
    with pytest.raises(KeyError, match="gamma-c"):
        scdrug.get.response_df(ranked, drugs="Gama C")


def test_drugs_df_is_in_the_order_of_the_predictions(ranked):
    ranked.uns["predicted_response"]["drugs"] = ranked.uns["predicted_response"]["drugs"].iloc[::-1]
    table = scdrug.get.drugs_df(ranked)
    assert table.index.tolist() == ranked.obsm["predicted_response"].columns.tolist()
    assert table.loc["zeta-hcl", "name"] == "Zeta (HCl)"
    assert table["half_width"].tolist() == ranked.uns["predicted_response"]["half_width"].tolist()


def test_drugs_without_table_are_named_by_id(ranked):
    del ranked.uns["predicted_response"]["drugs"], ranked.uns["predicted_response"]["half_width"]
    table = scdrug.get.drugs_df(ranked)
    assert table["name"].tolist() == table.index.tolist()
    assert table["half_width"].isna().all()


def test_rank_drugs_df_filters(ranked):
    table = ranked.uns["rank_drugs"]["table"]
    assert len(scdrug.get.rank_drugs_df(ranked)) == 24
    tumour = scdrug.get.rank_drugs_df(ranked, "tumour")
    assert tumour["rank"].tolist() == list(range(1, 9))
    sensitive = scdrug.get.rank_drugs_df(ranked, direction="sensitive")
    assert (sensitive["score"] > 0).all()
    assert len(sensitive) == (table["score"] > 0).sum()
    assert scdrug.get.rank_drugs_df(ranked, "tumour", fdr_max=0.05, direction="sensitive")["drug"].tolist() == [
        "gamma-c"
    ]


def test_rank_drugs_df_keeps_the_order_of_groups_asked_for(ranked):
    found = scdrug.get.rank_drugs_df(ranked, ["tumour", "normal"])
    assert found["group"].astype(str).drop_duplicates().tolist() == ["tumour", "normal"]


def test_rank_drugs_df_drops_untested_drugs_when_fdr_is_limited(ranked):
    ranked.uns["rank_drugs"]["table"]["fdr"] = np.nan
    assert len(scdrug.get.rank_drugs_df(ranked, fdr_max=1.0)) == 0


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"group": "tumor"}, KeyError, "Did you mean 'tumour'"),
        ({"direction": "up"}, ValueError, "direction"),
        ({"fdr_max": 5}, ValueError, "between 0 and 1"),
        ({"key": "rank_drug"}, KeyError, "Did you mean 'rank_drugs'"),
        ({"key": "predicted_response"}, ValueError, "not a result"),
    ],
)
def test_rank_drugs_df_refuses_bad_arguments(ranked, arguments, error, message):
    with pytest.raises(error, match=message):
        scdrug.get.rank_drugs_df(ranked, **arguments)


def test_missing_results_say_what_to_run(make_predicted):
    with pytest.raises(KeyError, match=r"Run scdrug\.tl\.rank_drugs"):
        scdrug.get.rank_drugs_df(make_predicted())
    empty = ad.AnnData(np.zeros((2, 2), dtype=np.float32))
    for function in (scdrug.get.response_df, scdrug.get.drugs_df):
        with pytest.raises(KeyError, match=r"Run scdrug\.tl\.predict_response"):
            function(empty)


# ---------------------------------------------------------------------- groups


def test_group_response_is_the_mean_with_the_interval_of_a_line_and_of_the_mean(ranked):
    ranked.obs["part"] = pd.Categorical(
        ["b", "a", "a", None] * (ranked.n_obs // 4) + ["a"] * (ranked.n_obs % 4), ["b", "a"]
    )
    ranked.uns["predicted_response"]["interval_level"] = 0.9
    table = scdrug.get.group_response_df(ranked, "part")
    response = scdrug.get.response_df(ranked)
    width = scdrug.get.drugs_df(ranked)["half_width"]
    rows = {name: response[(ranked.obs["part"] == name).to_numpy()] for name in ("b", "a")}
    squares = sum(((part - part.mean()) ** 2).sum() for part in rows.values())
    spread = np.sqrt(squares / (sum(map(len, rows.values())) - 2))
    assert table["group"].drop_duplicates().tolist() == ["b", "a"]
    for name, part in rows.items():
        found = table[table["group"] == name].set_index("drug")
        np.testing.assert_allclose(found["response"], part.mean(), rtol=1e-5)
        half = np.sqrt(width**2 + (1.6448536 * spread) ** 2 / len(part))
        np.testing.assert_allclose(found["upper"] - found["response"], half[found.index], rtol=1e-5)
        np.testing.assert_allclose(found["response"] - found["lower"], half[found.index], rtol=1e-5)
        assert (found["n_cells"] == len(part)).all()


def test_intervals_of_groups_shrink_to_that_of_a_line_and_no_further(ranked):
    ranked.uns["predicted_response"]["interval_level"] = 0.9
    ranked.obs["one"], ranked.obs["each"] = "all", [f"c{i}" for i in range(ranked.n_obs)]
    ranked.obs["two"] = ["x", "y"] * (ranked.n_obs // 2) + ["x"] * (ranked.n_obs % 2)
    width = scdrug.get.drugs_df(ranked)["half_width"].to_numpy()
    one, two = (scdrug.get.group_response_df(ranked, column) for column in ("one", "two"))
    half = {
        name: (table["upper"] - table["lower"]).to_numpy()[: len(width)] / 2
        for name, table in (("one", one), ("two", two))
    }
    assert (half["one"] > width * (1 - 1e-6)).all() and (half["two"] > half["one"] * 0.99).all()
    single = scdrug.get.group_response_df(ranked, "each", drugs=one["drug"][0])
    assert single["lower"].isna().all() and single["response"].notna().all(), "no group tells its spread"


def test_groups_of_nothing_are_refused(ranked):
    ranked.obs["none"] = pd.Categorical([None] * ranked.n_obs, ["a"])
    with pytest.raises(ValueError, match="No cell"):
        scdrug.get.group_response_df(ranked, "none")
    with pytest.raises(KeyError, match="column of labels"):
        scdrug.get.group_response_df(ranked, "clon")
