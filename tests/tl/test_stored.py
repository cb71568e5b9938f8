"""Stored results that are not as they were stored: every reader says so, and what to run."""

from __future__ import annotations

import anndata as ad
import numpy as np
import pandas as pd
import pytest

from scdrug import get, pl, tl

PREDICT = r"Run scdrug\.tl\.predict_response"
READERS = {
    "get.response_df": get.response_df,
    "get.drugs_df": get.drugs_df,
    "tl.rank_drugs": lambda adata: tl.rank_drugs(adata, "group", key_added="again"),
    "pl.response_heatmap": lambda adata: pl.response_heatmap(adata, "group"),
    "pl.response": lambda adata: pl.response(adata, "delta"),
}


def _set(part: str, key: str, value) -> None:
    return lambda adata: getattr(adata, part).__setitem__(key, value(adata))


def _drop(name: str):
    return lambda adata: adata.uns["predicted_response"].pop(name)


def _rename(adata: ad.AnnData) -> None:
    for key in ("predicted_response", "response_percentile"):
        adata.obsm[key] = adata.obsm[key].rename(columns={"delta": "Delta"})


def _percentile(adata: ad.AnnData) -> pd.DataFrame:
    return adata.obsm["response_percentile"]


DAMAGE = {
    "provenance is text": (_set("uns", "predicted_response", lambda a: "mine"), PREDICT),
    "provenance is a number": (_set("uns", "predicted_response", lambda a: 3), PREDICT),
    "provenance is empty": (_set("uns", "predicted_response", lambda a: {}), PREDICT),
    "no unit": (_drop("unit"), "lacks 'unit'"),
    "no direction": (_drop("direction"), "lacks 'direction'"),
    "direction sideways": (
        lambda a: a.uns["predicted_response"].__setitem__("direction", "sideways"),
        "must begin with 'lower' or 'higher'",
    ),
    "percentile is an array of other drugs": (
        _set("obsm", "response_percentile", lambda a: _percentile(a).to_numpy()[:, 1:]),
        PREDICT,
    ),
    "percentile of other drugs": (
        _set("obsm", "response_percentile", lambda a: _percentile(a).rename(columns={"eta": "x"})),
        "hold different drugs",
    ),
    "percentile is text": (
        _set("obsm", "response_percentile", lambda a: _percentile(a).astype(str)),
        "must hold numbers",
    ),
    "drugs twice": (
        _set("obsm", "response_percentile", lambda a: pd.concat([_percentile(a)] * 2, axis=1)),
        "holds drugs twice",
    ),
    "renamed drugs": (_rename, r"does not know 'Delta'.*renamed after prediction"),
    "reliability is text": (_set("obs", "response_reliability", lambda a: ["high"] * a.n_obs), "must hold numbers"),
    "drugs are a list": (lambda a: a.uns["predicted_response"].__setitem__("drugs", ["a"]), "must be a DataFrame"),
}


@pytest.mark.parametrize("reader", list(READERS))
@pytest.mark.parametrize("name", list(DAMAGE))
def test_predictions_of_a_wrong_form_are_named_with_what_to_run(name: str, reader: str, make_predicted) -> None:
    adata = make_predicted(n_cells=60)
    damage, message = DAMAGE[name]
    damage(adata)
    with pytest.raises((KeyError, TypeError, ValueError), match=message):
        READERS[reader](adata)
    assert "again" not in adata.uns


def test_percentiles_in_another_order_are_put_in_that_of_the_responses(make_predicted) -> None:
    adata = make_predicted(n_cells=60)
    expected = adata.obsm["response_percentile"].copy()
    adata.obsm["response_percentile"] = expected[expected.columns[::-1]]
    pd.testing.assert_frame_equal(get.response_df(adata, use="percentile"), expected)


def test_drugs_that_were_taken_out_of_old_results_leave_no_half_width_to_guess(make_predicted) -> None:
    adata = make_predicted(n_cells=60)
    for key in ("predicted_response", "response_percentile"):
        adata.obsm[key] = adata.obsm[key].iloc[:, 2:]
    with pytest.raises(ValueError, match=rf"half_width.*8 values for 6 drugs.*{PREDICT}"):
        get.drugs_df(adata)


def test_a_verdict_that_a_join_lost_is_read_from_reliability(make_predicted) -> None:
    adata = make_predicted(n_cells=60)
    del adata.uns["predicted_response"]["verdict"]
    adata.obs["response_reliability"] = 0.01
    with pytest.warns(UserWarning, match="No drug can be ranked"):
        tl.rank_drugs(adata, "group", include_refused=True)


RANKINGS = {
    "text": (lambda a: a.uns.__setitem__("rank_drugs", "mine"), "not a result"),
    "no fdr": (lambda a: a.uns["rank_drugs"]["table"].pop("fdr"), "lacks 'fdr'"),
    "no rank": (lambda a: a.uns["rank_drugs"]["table"].pop("rank"), "lacks 'rank'"),
    "fdr in words": (lambda a: a.uns["rank_drugs"]["table"].__setitem__("fdr", "low"), "must hold numbers in 'fdr'"),
    "table is a dict": (lambda a: a.uns["rank_drugs"].__setitem__("table", {"fdr": [1]}), "not a result"),
    "params is text": (lambda a: a.uns["rank_drugs"].__setitem__("params", "none"), "must be what scdrug stored"),
    "no unit": (lambda a: a.uns["rank_drugs"]["params"].pop("unit"), "lacks 'unit'"),
}


@pytest.mark.parametrize("reader", [get.rank_drugs_df, pl.rank_drugs])
@pytest.mark.parametrize("name", list(RANKINGS))
def test_rankings_of_a_wrong_form_are_named_with_what_to_run(name: str, reader, make_predicted) -> None:
    adata = make_predicted()
    tl.rank_drugs(adata, "group", sample_key="donor")
    damage, message = RANKINGS[name]
    damage(adata)
    with pytest.raises(ValueError, match=rf"{message}.*Run scdrug\.tl\.rank_drugs"):
        reader(adata)


def test_rankings_with_numbers_as_text_are_read(make_predicted) -> None:
    adata = make_predicted()
    tl.rank_drugs(adata, "group", sample_key="donor")
    expected = get.rank_drugs_df(adata, fdr_max=0.5)
    table = adata.uns["rank_drugs"]["table"]
    adata.uns["rank_drugs"]["table"] = table.assign(fdr=table["fdr"].astype(str), group=table["group"].astype(str))
    assert get.rank_drugs_df(adata, fdr_max=0.5)["drug"].tolist() == expected["drug"].tolist()


def test_another_kind_of_ranking_is_not_replaced(make_predicted) -> None:
    adata = make_predicted()
    other = pd.DataFrame({"group": ["a"], "rank": [1], "supports": ["sensitive"]})
    adata.uns["rank_drugs"] = {"params": {}, "table": other}
    with pytest.raises(ValueError, match="did not make"):
        tl.rank_drugs(adata, "group", sample_key="donor")


ATTRIBUTED = {
    "summary is text": lambda a: a.uns["pathway_ig"].__setitem__("summary", "x"),
    "table without importance": lambda a: a.uns["pathway_ig"]["table"].pop("importance"),
    "params is text": lambda a: a.uns["pathway_ig"].__setitem__("params", "x"),
    "no report": lambda a: a.uns.__setitem__("pathway_ig", 1),
}


@pytest.mark.parametrize("reader", [get.attribute_pathways_df, pl.attribute_pathways])
@pytest.mark.parametrize("name", list(ATTRIBUTED))
def test_contributions_of_a_wrong_form_are_named_with_what_to_run(name: str, reader, make_attributed) -> None:
    adata = make_attributed(n_cells=30)
    ATTRIBUTED[name](adata)
    with pytest.raises(ValueError, match=r"Run scdrug\.tl\.attribute_pathways"):
        reader(adata, "alpha-1")


def test_cells_of_contributions_as_array_are_refused(make_attributed) -> None:
    adata = make_attributed(n_cells=30)
    adata.obsm["pathway_ig_alpha-1"] = adata.obsm["pathway_ig_alpha-1"].to_numpy()
    for call in (
        lambda: get.attribute_pathways_df(adata, "alpha-1", by_cell=True),
        lambda: tl.rank_pathways(adata, "group", "alpha-1"),
        lambda: pl.attribute_pathways_heatmap(adata, "group", drug="alpha-1"),
    ):
        with pytest.raises(ValueError, match=r"must be a DataFrame.*Run scdrug\.tl\.attribute_pathways"):
            call()


@pytest.mark.parametrize(
    ("function", "read"),
    [
        ("predict_expression", get.predict_expression_df),
        ("predict_expression", pl.predict_expression),
        ("gene_interactions", pl.gene_interactions),
        ("gene_interactions", lambda a: tl.enrich_interactions(a, {"x": ["A"]})),
        ("enrich_interactions", pl.enrich_interactions),
        ("perturbed_markers", pl.perturbed_markers),
        ("perturbation_distance", pl.perturbation_distance),
        ("mechanism_similarity", pl.mechanism_similarity),
        ("compare_responders", pl.compare_responders),
        *((name, getattr(get, f"{name}_df")) for name in (
            "gene_interactions", "perturbed_markers", "perturbation_distance", "mechanism_similarity",
            "enrich_interactions", "compare_responders",
        )),
    ],
)  # fmt: skip
@pytest.mark.parametrize("value", ["mine", {"table": "x"}, {"shift": [1]}, 5])
def test_analyses_of_a_wrong_form_are_named_with_what_to_run(function: str, read, value) -> None:
    adata = ad.AnnData(np.zeros((3, 2), dtype=np.float32))
    keys = {"predict_expression": "predicted_expression", "enrich_interactions": "enriched_interactions"}
    key = {**keys, "compare_responders": "responders"}.get(function, function)
    with pytest.raises(KeyError, match=rf"Run scdrug\.tl\.{function}"):
        read(adata)
    adata.uns[key] = value
    with pytest.raises(ValueError, match=rf"Run scdrug\.tl\.{function}"):
        read(adata)
