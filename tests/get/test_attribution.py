"""Contributions as tidy tables."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

import scdrug


def test_attribution_has_a_row_for_each_cell_and_pathway(make_attributed) -> None:
    adata = make_attributed()
    table = scdrug.get.attribution_df(adata, "Alpha-1")
    assert list(table) == ["cell", "drug", "pathway", "towards_sensitive"]
    wide = table.pivot(index="cell", columns="pathway", values="towards_sensitive")
    stored = adata.obsm["pathway_ig_alpha-1"]
    np.testing.assert_array_equal(wide.loc[stored.index, stored.columns], stored)


def test_attribution_of_groups_is_the_mean_of_their_cells(make_attributed) -> None:
    adata = make_attributed()
    table = scdrug.get.attribution_df(adata, "beta-2", features="HALLMARK_DNA_REPAIR", groupby="group")
    assert table["group"].tolist() == ["T/B cells", "normal", "tumour"]
    cells = adata.obsm["pathway_ig_beta-2"].loc[(adata.obs["group"] == "tumour").to_numpy(), "HALLMARK_DNA_REPAIR"]
    row = table.set_index("group").loc["tumour"]
    assert row["towards_sensitive"] == pytest.approx(cells.mean(), rel=1e-5)
    assert row["sd"] == pytest.approx(cells.std(), rel=1e-5) and row["n_cells"] == len(cells)


def test_importance_is_filtered_by_direction_and_is_a_copy(make_attributed) -> None:
    adata = make_attributed()
    whole = scdrug.get.importance_df(adata, "alpha-1")
    assert whole["importance"].is_monotonic_decreasing and len(whole) == 6
    resistant = scdrug.get.importance_df(adata, "alpha-1", supports="resistant")
    assert "HALLMARK_DNA_REPAIR" in resistant["pathway"].tolist()
    assert (resistant["towards_sensitive"] < 0).all()
    resistant["importance"] = 0
    assert (scdrug.get.importance_df(adata, "alpha-1")["importance"] > 0).all()


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
        scdrug.get.attribution_df(adata, "alpha-1", features=["HALLMARK_HYPOXYA"])
    with pytest.raises(ValueError, match="supports"):
        scdrug.get.importance_df(adata, "alpha-1", supports="up")
    with pytest.raises(KeyError, match="rank_pathways"):
        scdrug.get.rank_pathways_df(adata)
    adata.uns["rank_pathways"] = adata.uns["pathway_ig"]
    with pytest.raises(ValueError, match="rank_pathways"):
        scdrug.get.rank_pathways_df(adata)
    with pytest.raises(KeyError, match="attribute_genes"):
        scdrug.get.importance_df(adata, key="gene_ig")
