"""Contributions as tidy tables."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest

import scdrug


def test_attribution_has_a_row_for_each_cell_and_pathway(make_attributed) -> None:
    adata = make_attributed()
    table = scdrug.get.attribute_pathways_df(adata, "Alpha-1", by_cell=True)
    assert list(table) == ["cell", "drug", "pathway", "towards_sensitive"]
    wide = table.pivot(index="cell", columns="pathway", values="towards_sensitive")
    stored = adata.obsm["pathway_ig_alpha-1"]
    np.testing.assert_array_equal(wide.loc[stored.index, stored.columns], stored)


def test_attribution_of_groups_is_the_mean_of_their_cells(make_attributed) -> None:
    adata = make_attributed()
    table = scdrug.get.attribute_pathways_df(adata, "beta-2", pathways="HALLMARK_DNA_REPAIR", groupby="group")
    assert table["group"].tolist() == ["T/B cells", "normal", "tumour"]
    cells = adata.obsm["pathway_ig_beta-2"].loc[(adata.obs["group"] == "tumour").to_numpy(), "HALLMARK_DNA_REPAIR"]
    row = table.set_index("group").loc["tumour"]
    assert row["towards_sensitive"] == pytest.approx(cells.mean(), rel=1e-5)
    assert row["sd"] == pytest.approx(cells.std(), rel=1e-5) and row["n_cells"] == len(cells)


def test_importance_is_filtered_by_direction_and_is_a_copy(make_attributed) -> None:
    adata = make_attributed()
    whole = scdrug.get.attribute_pathways_df(adata, "alpha-1")
    assert whole["importance"].is_monotonic_decreasing and len(whole) == 6
    resistant = scdrug.get.attribute_pathways_df(adata, "alpha-1", supports="resistant")
    assert "HALLMARK_DNA_REPAIR" in resistant["pathway"].tolist()
    assert (resistant["towards_sensitive"] < 0).all()
    resistant["importance"] = 0
    assert (scdrug.get.attribute_pathways_df(adata, "alpha-1")["importance"] > 0).all()


def test_pathways_come_in_the_order_asked_for_and_a_direction_holds_for_cells_and_groups_too(make_attributed) -> None:
    adata = make_attributed()
    names = scdrug.get.attribute_pathways_df(adata, "alpha-1")["pathway"].tolist()[::-1]
    assert scdrug.get.attribute_pathways_df(adata, "alpha-1", pathways=names)["pathway"].tolist() == names
    resistant = scdrug.get.attribute_pathways_df(adata, "alpha-1", supports="resistant")["pathway"].tolist()
    for options in ({"by_cell": True}, {"groupby": "group"}):
        table = scdrug.get.attribute_pathways_df(adata, "alpha-1", supports="resistant", **options)
        assert list(dict.fromkeys(table["pathway"])) == resistant


def test_ranked_pathways_are_filtered_and_ordered_as_asked(make_attributed) -> None:
    adata = make_attributed()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scdrug.tl.rank_pathways(adata, "group", "alpha-1")
    table = scdrug.get.rank_pathways_df(adata, ["tumour", "normal"], fdr_max=0.05)
    assert list(dict.fromkeys(table["group"].astype(str))) == ["tumour", "normal"]
    assert (table["fdr"] <= 0.05).all()
    first = table.groupby("group", observed=True).head(1).set_index("group")["supports"]
    assert first["tumour"] == "resistant" and first["normal"] == "sensitive"


def test_what_is_unknown_is_named(make_attributed) -> None:
    adata = make_attributed()
    with pytest.raises(KeyError, match="Did you mean 'HALLMARK_HYPOXIA'"):
        scdrug.get.attribute_pathways_df(adata, "alpha-1", pathways=["HALLMARK_HYPOXYA"])
    with pytest.raises(ValueError, match="`by_cell` asks for each cell and `groupby` for means"):
        scdrug.get.attribute_pathways_df(adata, "alpha-1", by_cell=True, groupby="group")
    with pytest.raises(ValueError, match="supports"):
        scdrug.get.attribute_pathways_df(adata, "alpha-1", supports="up")
    with pytest.raises(KeyError, match="rank_pathways"):
        scdrug.get.rank_pathways_df(adata)
    adata.uns["rank_pathways"] = adata.uns["pathway_ig"]
    with pytest.raises(ValueError, match="rank_pathways"):
        scdrug.get.rank_pathways_df(adata)
    with pytest.raises(KeyError, match="attribute_genes"):
        scdrug.get.attribute_genes_df(adata)


def test_tables_of_0_1_come_from_the_functions_that_took_their_place(make_attributed) -> None:
    adata, get = make_attributed(n_cells=30), scdrug.get
    adata.uns["responders"] = {"table": pd.DataFrame({"auroc": [0.7]}, index=["x"])}
    with pytest.warns(FutureWarning, match="Call scdrug.get.attribute_pathways_df with `by_cell=True`"):
        cells = get.attribution_df(adata, "alpha-1")
    pd.testing.assert_frame_equal(cells, get.attribute_pathways_df(adata, "alpha-1", by_cell=True))
    with pytest.warns(FutureWarning):
        groups = get.attribution_df(adata, "alpha-1", features="HALLMARK_HYPOXIA", groupby="group")
    assert groups["pathway"].unique().tolist() == ["HALLMARK_HYPOXIA"]
    with pytest.warns(FutureWarning, match="Call scdrug.get.compare_responders_df") as caught:
        pd.testing.assert_frame_equal(
            get.perturbation_df(adata, "compare_responders"), get.compare_responders_df(adata)
        )
    assert caught[0].filename == __file__
