"""Plots show what was stored, in the right direction, with labels that can be read."""

from __future__ import annotations

import subprocess
import sys

import anndata as ad
import matplotlib
import numpy as np
import pytest

matplotlib.use("Agg")

import matplotlib.pyplot as plt
from matplotlib.axes import Axes

import scdrug


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    plt.close("all")


@pytest.fixture
def ranked(make_predicted) -> ad.AnnData:
    adata = make_predicted()
    scdrug.tl.rank_drugs(adata, "group", sample_key="donor")
    return adata


def overlaps(texts) -> list[tuple[str, str]]:
    """Pairs of visible texts whose boxes overlap in the drawn figure."""
    texts = [text for text in texts if text.get_visible() and text.get_text()]
    texts[0].figure.canvas.draw()
    boxes = [text.get_window_extent() for text in texts]
    return [
        (texts[i].get_text(), texts[j].get_text())
        for i in range(len(texts))
        for j in range(i)
        if boxes[i].x0 < boxes[j].x1 - 1 and boxes[j].x0 < boxes[i].x1 - 1
        if boxes[i].y0 < boxes[j].y1 - 1 and boxes[j].y0 < boxes[i].y1 - 1
    ]


def _in_view(tick_labels, limits, axis: int) -> list:
    """Leave out the labels that matplotlib keeps for ticks beyond the axis and does not draw."""
    return [label for label in tick_labels if min(limits) <= label.get_position()[axis] <= max(limits)]


def all_texts(figure) -> list:
    figure.canvas.draw()  # tick labels come into being
    return [
        text
        for ax in figure.axes
        for text in (
            *ax.texts,
            *_in_view(ax.get_xticklabels(), ax.get_xlim(), 0),
            *_in_view(ax.get_yticklabels(), ax.get_ylim(), 1),
            ax.title,
            ax._left_title,
            ax.xaxis.label,
            ax.yaxis.label,
        )
    ]


def labels(axis_labels) -> list[str]:
    return [label.get_text() for label in axis_labels]


def test_rank_drugs_shows_effects_in_the_order_of_ranks(ranked):
    axes = scdrug.pl.rank_drugs(ranked, n_drugs=5)
    assert [ax.get_title(loc="left") for ax in axes] == ["T/B cells", "normal", "tumour"]
    best = scdrug.get.rank_drugs_df(ranked, "tumour").head(5)
    assert labels(axes[2].get_yticklabels()) == best["name"].tolist()
    dots = axes[2].collections[-1]
    np.testing.assert_allclose(dots.get_offsets()[:, 0], best["effect"])
    np.testing.assert_allclose(dots.get_array(), best["percentile"])
    assert axes[2].get_ylim()[0] > axes[2].get_ylim()[1]  # the best on top


@pytest.mark.parametrize(
    ("use", "expected"),
    [("percentile", "less sensitive  ←  →  more sensitive"), ("response", "more sensitive  ←  →  less sensitive")],
)
def test_rank_drugs_states_the_direction_and_the_unit(ranked, use, expected):
    scdrug.tl.rank_drugs(ranked, "group", reference="normal", sample_key="donor", use=use)
    label = scdrug.pl.rank_drugs(ranked, groups="tumour").get_xlabel()
    assert expected in label
    assert "vs normal" in label
    assert ("ln(µM)" in label) == (use == "response")


def test_rank_drugs_marks_false_discovery_rates(ranked):
    table = ranked.uns["rank_drugs"]["table"]
    table["fdr"] = np.tile([0.0001, 0.005, 0.03, 0.2, np.nan, 1, 1, 1], 3)
    ax = scdrug.pl.rank_drugs(ranked, groups="tumour", n_drugs=5)
    marks = [text.get_text() for text in ax.texts if set(text.get_text()) <= {"*"}]
    assert marks == ["***", "**", "*", "", ""]
    assert any("samples as replicates" in text.get_text() for text in ax.texts)


def test_rank_drugs_shows_resistant_drugs_and_pathways(ranked):
    ax = scdrug.pl.rank_drugs(ranked, groups="tumour", n_drugs=3, direction="resistant", color="pathway")
    worst = scdrug.get.rank_drugs_df(ranked, "tumour").tail(3).iloc[::-1]
    assert labels(ax.get_yticklabels()) == worst["name"].tolist()
    named = set(worst["pathway"]) - {""}
    assert named <= {text.get_text() for text in ax.get_legend().get_texts()}


def test_rank_drugs_takes_one_group_into_own_axes(ranked):
    figure, ax = plt.subplots()
    assert scdrug.pl.rank_drugs(ranked, groups="tumour", ax=ax) is ax
    with pytest.raises(ValueError, match="one group"):
        scdrug.pl.rank_drugs(ranked, ax=ax)
    with pytest.raises(KeyError, match="Did you mean 'tumour'"):
        scdrug.pl.rank_drugs(ranked, groups="tumor", ax=ax)
    with pytest.raises(ValueError, match="n_drugs"):
        scdrug.pl.rank_drugs(ranked, n_drugs=0)


def test_response_shows_each_cell_at_its_place_and_colour(ranked):
    ax = scdrug.pl.response(ranked, "gamma c")
    dots = ax.collections[0]
    values = ranked.obsm["response_percentile"]["gamma-c"].to_numpy()
    where = {tuple(point): value for point, value in zip(ranked.obsm["X_umap"].round(6), values)}
    drawn = [where[tuple(np.round(point, 6))] for point in dots.get_offsets()]
    np.testing.assert_allclose(drawn, dots.get_array(), rtol=1e-6)
    assert dots.get_clim() == (0.0, 1.0)
    assert ax.get_title(loc="left") == "Gamma C"


def _brightness(color) -> float:
    return float(np.dot(color[:3], [0.299, 0.587, 0.114]))


def test_colours_mean_the_same_for_percentile_and_response(ranked):
    sensitive = scdrug.pl.response(ranked, "delta").collections[0].cmap(1.0)
    resistant = scdrug.pl.response(ranked, "delta").collections[0].cmap(0.0)
    assert sensitive[0] > sensitive[2]  # orange
    assert resistant[2] > resistant[0]  # blue
    response = scdrug.pl.response(ranked, "delta", use="response").collections[0].cmap
    assert _brightness(response(0.0)) < _brightness(response(1.0))  # low ln IC50 is sensitive, hence dark


def test_response_colour_bar_states_unit_direction_and_cut_ends(ranked):
    ax = scdrug.pl.response(ranked, "delta", use="response")
    bar = ax.figure.axes[1]
    assert "ln IC50 [ln(µM)]" in bar.get_ylabel()
    assert "more sensitive  ←  →  less sensitive" in bar.get_ylabel()
    assert ax.collections[0].colorbar.extend == "both"
    assert scdrug.pl.response(ranked, "delta").collections[0].colorbar.extend == "neither"


def test_response_names_the_embeddings_that_exist(ranked):
    with pytest.raises(KeyError, match="X_umap"):
        scdrug.pl.response(ranked, "delta", basis="tsne")
    del ranked.obsm["X_umap"]
    with pytest.raises(KeyError, match=r"scanpy\.tl\.umap"):
        scdrug.pl.response(ranked, "delta")
    ranked.obsm["spatial"] = np.random.default_rng(0).normal(size=(ranked.n_obs, 2))
    assert isinstance(scdrug.pl.response(ranked, "delta", basis="spatial"), Axes)


def test_response_refuses_a_name_of_several_drugs(ranked):
    ranked.uns["predicted_response"]["drugs"].loc[["delta", "eta"], "name"] = "Twin"
    with pytest.raises(ValueError, match="'delta', 'eta'|'eta', 'delta'"):
        scdrug.pl.response(ranked, "twin")


@pytest.mark.parametrize("cluster", [True, False])
def test_heatmap_shows_the_mean_of_each_group_and_drug(ranked, cluster):
    ax = scdrug.pl.response_heatmap(ranked, "group", cluster=cluster)
    shown = np.asarray(ax.collections[0].get_array()).reshape(3, 8)
    ids = {name: i for i, name in ranked.uns["predicted_response"]["drugs"]["name"].items()}
    drugs = [ids[name] for name in labels(ax.get_xticklabels())]
    means = ranked.obsm["response_percentile"].groupby(ranked.obs["group"].to_numpy()).mean()
    np.testing.assert_allclose(shown, means.loc[labels(ax.get_yticklabels()), drugs], rtol=1e-5)
    assert ax.collections[0].get_clim() == (0.0, 1.0)
    if not cluster:
        assert labels(ax.get_yticklabels()) == ["T/B cells", "normal", "tumour"]


def test_heatmap_puts_similar_groups_side_by_side(make_predicted):
    adata = make_predicted()
    adata.obs["pair"] = np.array(["a", "b", "c", "d"])[np.arange(240) % 4]
    high = np.isin(adata.obs["pair"], ["a", "c"])
    adata.obsm["response_percentile"].loc[:] = np.where(high, 0.9, 0.1).astype(np.float32)[:, None].repeat(8, axis=1)
    order = labels(scdrug.pl.response_heatmap(adata, "pair").get_yticklabels())
    assert abs(order.index("a") - order.index("c")) == 1
    assert abs(order.index("b") - order.index("d")) == 1


def test_heatmap_selects_the_drugs_that_differ_most(ranked):
    means = ranked.obsm["response_percentile"].groupby(ranked.obs["group"].to_numpy()).mean()
    spread = (means.max() - means.min()).sort_values(ascending=False)
    names = ranked.uns["predicted_response"]["drugs"]["name"]
    shown = labels(scdrug.pl.response_heatmap(ranked, "group", n_drugs=3).get_xticklabels())
    assert set(shown) == set(names[spread.index[:3]])
    named = scdrug.pl.response_heatmap(ranked, "group", drugs=["eta", "Beta/2"], cluster=False)
    assert labels(named.get_xticklabels()) == ["Eta", "Beta/2"]


def test_heatmap_of_no_drug_is_refused(ranked):
    with pytest.raises(ValueError, match="`drugs` is empty"):
        scdrug.pl.response_heatmap(ranked, "group", drugs=[])


def test_heatmap_of_responses_is_centred_by_drug(ranked):
    ax = scdrug.pl.response_heatmap(ranked, "group", use="response")
    shown = np.asarray(ax.collections[0].get_array()).reshape(3, 8)
    np.testing.assert_allclose(shown.mean(axis=0), 0, atol=1e-6)
    low, high = ax.collections[0].get_clim()
    assert low == -high


def test_heatmap_annotates_cells_and_reliability(ranked):
    texts = [text.get_text() for text in scdrug.pl.response_heatmap(ranked, "group").texts]
    assert texts.count("80") == 3
    assert texts.count("0.60") == 3
    assert not scdrug.pl.response_heatmap(ranked, "group", annotate=False).texts


def test_heatmap_leaves_out_cells_without_label(ranked):
    ranked.obs.loc[ranked.obs["group"] == "normal", "group"] = np.nan
    with pytest.warns(UserWarning, match="Left out 80 of 240"):
        ax = scdrug.pl.response_heatmap(ranked, "group")
    assert set(labels(ax.get_yticklabels())) == {"T/B cells", "tumour"}


def test_refused_groups_are_greyed_and_do_not_choose_drugs(ranked):
    ranked.obs.loc[ranked.obs["group"] == "normal", "response_reliability"] = 0.01
    ranked.obsm["response_percentile"].loc[ranked.obs["group"] == "normal", "delta"] = 1.0
    ax = scdrug.pl.response_heatmap(ranked, "group", n_drugs=1)
    assert labels(ax.get_yticklabels())[-1] == "normal"
    assert labels(ax.get_xticklabels()) == ["Gamma C"], "delta differs in the refused group only"
    assert np.ma.getmaskarray(ax.collections[0].get_array()).reshape(3, 1).ravel().tolist() == [False, False, True]
    shown = scdrug.pl.response_heatmap(ranked, "group", n_drugs=1, include_refused=True)
    assert not np.ma.getmaskarray(shown.collections[0].get_array()).any()
    assert labels(shown.get_xticklabels()) == ["Delta"]
    coloured = [len(part.get_offsets()) for part in scdrug.pl.response(ranked, "delta").collections]
    assert coloured == [80, 160]
    assert len(scdrug.pl.response(ranked, "delta", include_refused=True).collections) == 1
    with pytest.warns(UserWarning, match="not to be believed"):
        scdrug.tl.rank_drugs(ranked, "group", sample_key="donor", include_refused=True)
    axes = scdrug.pl.rank_drugs(ranked)
    said = {
        ax.get_title(loc="left"): "not to be believed" in " ".join(text.get_text() for text in ax.texts) for ax in axes
    }
    assert said == {"normal": True, "tumour": False, "T/B cells": False}


def test_rank_drugs_draws_the_interval_of_responses(ranked):
    ranked.uns["predicted_response"]["interval_level"] = 0.9
    scdrug.tl.rank_drugs(ranked, "group", sample_key="donor", use="response")
    table = scdrug.get.rank_drugs_df(ranked, "tumour").set_index("drug")
    own = scdrug.get.group_response_df(ranked, "group")
    own = own[own["group"] == "tumour"].set_index("drug").loc[table.index]
    np.testing.assert_allclose(table["half_width"], (own["upper"] - own["lower"]) / 2)
    ax = scdrug.pl.rank_drugs(ranked, groups="tumour", n_drugs=3)
    ends = [lines for lines in ax.collections if lines.get_label() == "interval"][0].get_paths()
    expected = table["effect"].to_numpy()[:3, None] + np.outer(table["half_width"][:3], [-1, 1])
    np.testing.assert_allclose([path.vertices[:, 0] for path in ends], expected)
    assert ax.get_xlim()[0] < expected.min() and ax.get_xlim()[1] > expected.max()
    bare = scdrug.pl.rank_drugs(ranked, groups="tumour", n_drugs=3, intervals=False)
    assert not [lines for lines in bare.collections if lines.get_label() == "interval"]


def test_heatmap_marks_intervals_that_exclude_the_median_line(ranked):
    stored = ranked.uns["predicted_response"]
    stored["interval_level"] = 0.9
    stored["drugs"]["median_of_lines"] = np.where(stored["drugs"].index == "eta", 5.0, 0.0)
    ax = scdrug.pl.response_heatmap(ranked, "group")
    column = labels(ax.get_xticklabels()).index("Eta") + 0.5
    marks = np.vstack([part.get_offsets() for part in ax.collections[1:] if len(part.get_offsets())])
    table = scdrug.get.group_response_df(ranked, "group")
    outside = (table["upper"] < stored["drugs"]["median_of_lines"].loc[table["drug"]].to_numpy()) | (
        table["lower"] > stored["drugs"]["median_of_lines"].loc[table["drug"]].to_numpy()
    )
    assert len(marks) == outside.sum() >= 3
    assert (marks[:, 0] == column).sum() == 3


@pytest.mark.parametrize("plot", ["rank", "pathway", "response", "heatmap"])
def test_labels_do_not_overlap(make_predicted, plot):
    adata = make_predicted(480, 40)
    adata.uns["predicted_response"]["drugs"]["name"] = [f"Rather long name of drug {i}" for i in range(40)]
    adata.obs["group"] = (
        adata.obs["group"].map({"tumour": "Malignant cells of the first clone"}).fillna(adata.obs["group"])
    )
    scdrug.tl.rank_drugs(adata, "group", sample_key="donor")
    if plot in ("rank", "pathway"):
        color = "percentile" if plot == "rank" else plot
        figure = scdrug.pl.rank_drugs(adata, n_drugs=15, color=color)[0].figure
    elif plot == "response":
        figure = scdrug.pl.response(adata, "drug-12").figure
    else:
        figure = scdrug.pl.response_heatmap(adata, "group", n_drugs=40).figure
    assert overlaps(all_texts(figure)) == []


def test_plots_are_saved_and_never_shown(ranked, tmp_path, monkeypatch):
    monkeypatch.setattr(plt, "show", lambda *a, **k: pytest.fail("plt.show was called"))
    before = dict(matplotlib.rcParams)
    plots = [
        scdrug.pl.rank_drugs(ranked)[0],
        scdrug.pl.response(ranked, "eta"),
        scdrug.pl.response_heatmap(ranked, "group"),
    ]
    for number, ax in enumerate(plots):
        assert isinstance(ax, Axes)
        ax.figure.savefig(tmp_path / f"{number}.png")
    assert dict(matplotlib.rcParams) == before


def test_importing_plots_loads_neither_matplotlib_nor_torch():
    code = "import sys, scdrug.pl, scdrug.get, scdrug.tl; print([m for m in ('matplotlib.pyplot', 'torch', 'scvi') if m in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
