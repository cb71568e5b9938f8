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
    assert tidy.columns.tolist() == ["cell", "drug", "name", "value"]
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
