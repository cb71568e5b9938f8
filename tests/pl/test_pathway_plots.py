"""Plots of contributions show what was stored, with the direction written on the axis."""

from __future__ import annotations

import warnings

import anndata as ad
import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex

import scdrug
from scdrug.pl._pathways import readable_names
from scdrug.pl._style import OTHER, RESISTANT, SENSITIVE


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    plt.close("all")


@pytest.fixture
def attributed(make_attributed) -> ad.AnnData:
    return make_attributed()


def texts(labels) -> list[str]:
    return [label.get_text() for label in labels]


def overlapping(ax) -> list[tuple[str, str]]:
    ax.figure.canvas.draw()
    drawn = [*ax.get_yticklabels(), *ax.get_xticklabels(), ax.xaxis.label, ax._left_title, ax._right_title]
    drawn = [text for text in drawn if text.get_text() and text.get_visible()]
    boxes = [text.get_window_extent() for text in drawn]
    return [
        (drawn[i].get_text(), drawn[j].get_text())
        for i in range(len(boxes))
        for j in range(i)
        if boxes[i].x0 < boxes[j].x1 - 1 and boxes[j].x0 < boxes[i].x1 - 1
        if boxes[i].y0 < boxes[j].y1 - 1 and boxes[j].y0 < boxes[i].y1 - 1
    ]


def test_importance_shows_means_by_colour_and_sizes_as_circles(attributed) -> None:
    ax = scdrug.pl.attribute_pathways(attributed, "alpha-1")
    table = scdrug.get.attribute_pathways_df(attributed, "alpha-1")
    table = pd.concat([table[table["kind"] == "pathway"], table[table["kind"] != "pathway"]])
    bars = ax.patches
    np.testing.assert_allclose([bar.get_width() for bar in bars], table["towards_sensitive"] * table["stability"])
    shown = [to_hex(bar.get_facecolor()) for bar in bars]
    wanted = np.where(table["towards_sensitive"] >= 0, SENSITIVE, RESISTANT)
    assert shown[:4] == wanted[:4].tolist() and shown[4:] == [OTHER, OTHER]
    circles = ax.containers[1][0].get_xdata()
    np.testing.assert_allclose(np.abs(circles), table["importance"] * table["stability"])
    assert texts(ax.get_yticklabels())[0] == str(table["pathway"].iloc[0]).removeprefix("HALLMARK_").replace("_", " ")
    assert "supports resistant  ←  →  supports sensitive" in ax.get_xlabel() and "ln(µM)" in ax.get_xlabel()
    assert ax.get_title(loc="left") == "Alpha-1"
    assert not overlapping(ax)


def test_importance_greys_names_that_are_not_identified(attributed) -> None:
    ax = scdrug.pl.attribute_pathways(attributed, "alpha-1")
    colors = {label.get_text(): label.get_color() for label in ax.get_yticklabels()}
    assert colors["TNFA SIGNALING VIA NFKB"] != colors["DNA REPAIR"] == "black"


def test_heatmap_shows_each_cell_from_resistant_to_sensitive_within_its_group(attributed) -> None:
    ax = scdrug.pl.attribute_pathways_heatmap(attributed, "group", drug="alpha-1", n_pathways=3)
    mesh = ax.collections[0]
    top = scdrug.get.attribute_pathways_df(attributed, "alpha-1").query("kind == 'pathway'")["pathway"].head(3)
    table = attributed.obsm["pathway_ig_alpha-1"]
    order = table.sum(axis=1).to_frame("sum").assign(group=attributed.obs["group"]).sort_values(["group", "sum"]).index
    np.testing.assert_allclose(np.asarray(mesh.get_array()).reshape(3, -1), table.loc[order, list(top)].to_numpy().T)
    assert texts(ax.get_xticklabels()) == [f"{name}\n40 cells" for name in ("T/B cells", "normal", "tumour")]
    low, high = mesh.get_clim()
    assert low == -high
    assert not overlapping(ax)


def test_heatmap_takes_named_pathways_and_leaves_out_cells_without_label(attributed) -> None:
    attributed.obs["some"] = attributed.obs["group"].where(attributed.obs["group"] != "normal")
    names = ["HALLMARK_HYPOXIA", "HALLMARK_APOPTOSIS"]
    ax = scdrug.pl.attribute_pathways_heatmap(attributed, "some", drug="alpha-1", pathways=names)
    assert texts(ax.get_yticklabels()) == ["HYPOXIA", "APOPTOSIS"]
    assert ax.collections[0].get_array().size == 2 * 80
    assert scdrug.pl.attribute_pathways_heatmap(attributed, drug="alpha-1").get_xlabel().startswith("120 cells")


def test_rank_pathways_shows_differences_that_come_back_shrunk_by_their_stability(attributed) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scdrug.tl.rank_pathways(attributed, "group", "alpha-1", reference="normal")
    axes = scdrug.pl.rank_pathways(attributed, n_pathways=4)
    assert [ax.get_title(loc="left") for ax in axes] == ["T/B cells", "tumour"]
    table = scdrug.get.rank_pathways_df(attributed, "tumour")
    shown = table[table["repeats"] | (table["kind"] != "pathway")].head(4)
    assert 0 < len(shown) < len(table)
    np.testing.assert_allclose([bar.get_width() for bar in axes[1].patches], shown["score"] * shown["stability"])
    written = texts(axes[1].texts)
    assert written == [f"{value:.2f}" for value in shown["stability"]] + ["stability"]
    named = table[table["kind"] == "pathway"]
    assert axes[1].get_xlabel() == f"{named['repeats'].sum()} of {len(named)} come back from training to training"
    assert "difference to normal" in axes[0].figure._supxlabel.get_text()


def test_importance_leaves_out_what_does_not_come_back(attributed) -> None:
    table = attributed.uns["pathway_ig"]["table"]
    table["stability"] = np.where(table["pathway"] == "HALLMARK_HYPOXIA", 0.3, 0.9)
    table["repeats"] = table["stability"] >= 0.8
    ax = scdrug.pl.attribute_pathways(attributed, "alpha-1")
    names = texts(ax.get_yticklabels())
    assert "HYPOXIA" not in names and "DNA REPAIR" in names
    rows = scdrug.get.attribute_pathways_df(attributed, "alpha-1").set_index("pathway")
    bar = ax.patches[names.index("DNA REPAIR")]
    assert bar.get_width() == pytest.approx(0.9 * rows.loc["HALLMARK_DNA_REPAIR", "towards_sensitive"])
    assert texts(ax.texts)[0] == "0.90" and "of 4 come back" in ax.get_xlabel()
    table["repeats"] = False
    ax = scdrug.pl.attribute_pathways(attributed, "alpha-1")
    assert "0 of 4 come back" in ax.get_xlabel() and len(ax.patches) == 2  # what no pathway explains is always shown


def test_names_lose_the_prefix_that_they_share() -> None:
    assert readable_names(["HALLMARK_A_B", "HALLMARK_C", "free nodes"]) == ["A B", "C", "free nodes"]
    assert readable_names(["REACTOME_A", "GOCC_A"]) == ["REACTOME A", "GOCC A"]
    assert readable_names(["HYPOXIA", "KRAS_SIGNALING_UP"]) == ["HYPOXIA", "KRAS SIGNALING UP"]


@pytest.fixture
def joined() -> ad.AnnData:
    rng = np.random.default_rng(0)
    obs = pd.DataFrame({"domain": ["bulk"] * 30 + ["cells"] * 50, "clone": [None] * 30 + ["a", "b"] * 25})
    obs.index = [f"row-{i}" for i in range(80)]
    adata = ad.AnnData(np.zeros((80, 2), dtype=np.float32), obs=obs)
    adata.obsm["X_umap"] = rng.normal(size=(80, 2))
    return adata


def test_domains_are_rings_and_dots(joined) -> None:
    ax = scdrug.pl.domains_umap(joined, "clone")
    assert texts(ax.get_legend().get_texts()) == ["30 lines", "a", "b"]
    rings, a, _ = ax.collections
    assert len(rings.get_facecolor()) == 0 or rings.get_facecolor()[0][3] == 0
    np.testing.assert_allclose(rings.get_offsets(), joined.obsm["X_umap"][:30])
    np.testing.assert_allclose(a.get_offsets(), joined.obsm["X_umap"][30::2])
    plain = scdrug.pl.domains_umap(joined)
    assert texts(plain.get_legend().get_texts()) == ["30 lines", "50 cells"]


def test_wrong_arguments_are_named(attributed, joined) -> None:
    with pytest.raises(ValueError, match="n_pathways"):
        scdrug.pl.attribute_pathways(attributed, "alpha-1", n_pathways=0)
    with pytest.raises(KeyError, match="attribute_pathways"):
        scdrug.pl.attribute_pathways_heatmap(joined)
    with pytest.raises(KeyError, match="rank_pathways"):
        scdrug.pl.rank_pathways(attributed)
    with pytest.raises(ValueError, match="must hold both"):
        scdrug.pl.domains_umap(joined[:30].copy())
    del joined.obsm["X_umap"]
    with pytest.raises(KeyError, match="scanpy"):
        scdrug.pl.domains_umap(joined)
