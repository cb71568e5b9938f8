"""Analyses of perturbed expression, on a core that was pretrained on planted perturbations."""

from __future__ import annotations

import anndata as ad
import matplotlib
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from scipy import stats

from scdrug import datasets, get, model, pl, settings, tl
from scdrug.tl._distance import compare_distances
from scdrug.tl._enrichment import enrich
from scdrug.tl._interactions import top_pairs
from scdrug.tl._mechanism import class_tests
from scdrug.tl._perturbed_markers import compare_groups

matplotlib.use("agg")


@pytest.fixture(scope="module")
def reference() -> ad.AnnData:
    return datasets.toy(n_lines=60)


@pytest.fixture(scope="module")
def trained(reference: ad.AnnData):
    settings.progress, before = False, settings.progress
    adata = reference.copy()
    model.CSG2A.setup_anndata(adata)
    edges = pd.DataFrame({"source": list(adata.var_names[:100]), "target": list(adata.var_names[100:200])})
    trained = model.CSG2A(adata, drug_features="morgan", genes="reference", ppi=edges)
    trained.pretrain(datasets.toy_perturbations(), max_epochs=60, lr=3e-3, patience=60)
    trained.train(max_epochs=1, early_stopping=False)
    settings.progress = before
    return trained


@pytest.fixture(scope="module")
def untaught(reference: ad.AnnData):
    settings.progress, before = False, settings.progress
    adata = reference.copy()
    model.CSG2A.setup_anndata(adata)
    untaught = model.CSG2A(adata, drug_features="morgan", n_genes=40, propagation="none")
    untaught.train(max_epochs=1, early_stopping=False)
    settings.progress = before
    return untaught


def test_a_drug_is_predicted_to_lower_the_pathway_it_lowers(trained) -> None:
    cells = datasets.toy_cells(n_cells=60)
    tl.predict_expression(cells, trained, drugs=list(trained.drugs.index), groupby="clone", time=24.0)
    shift = get.predict_expression_df(cells).groupby("drug").mean()
    assert list(get.predict_expression_df(cells).index.unique("group")) == sorted(cells.obs["clone"].unique())
    # beside the other drugs: what all drugs do to these cells is not planted
    own = shift.loc["trametinib"] - shift.drop("trametinib").mean()
    truth = cells.uns["truth"].loc["trametinib"]
    pathway = cells.var["pathway"].reindex(shift.columns)
    assert own[pathway == truth.index[truth.to_numpy().argmin()]].mean() < own[pathway == ""].mean() - 0.1
    distance = cells.obsm["predicted_expression_distance"][["trametinib"]]
    cells.uns["predicted_expression"]["table"] = cells.uns["predicted_expression"]["table"].query(
        "drug == 'trametinib'"
    )
    table = cells.uns["predicted_expression"]["table"].set_index("group")
    assert table.loc["clone-a", "distance"] == pytest.approx(distance[cells.obs["clone"] == "clone-a"].mean().iloc[0])
    assert table["n_cells"].sum() == 60


def test_shifts_are_returned_wide_or_tidy(trained) -> None:
    cells = datasets.toy_cells(n_cells=12)
    tl.predict_expression(cells, trained, drugs=["trametinib"], groupby="clone")
    tidy = get.predict_expression_df(cells, groups="normal", tidy=True)
    assert len(tidy) == 300
    assert set(tidy["group"]) == {"normal"}
    assert get.predict_expression_df(cells).shape == (4, 300)
    with pytest.raises(KeyError, match="clone-z"):
        get.predict_expression_df(cells, groups="clone-z")


def test_results_do_not_depend_on_the_order_of_genes_and_survive_files(trained, tmp_path) -> None:
    cells = datasets.toy_cells(n_cells=30)
    order = np.random.default_rng(0).permutation(cells.n_vars)
    other = cells[:, order].copy()
    for adata in (cells, other):
        tl.predict_expression(adata, trained, drugs={"my/drug": "CCO"}, groupby="clone")
        tl.gene_interactions(adata, trained, "trametinib", n_pairs=30)
        tl.enrich_interactions(adata, {"x/y": list(trained.module.panel[:50])})
    key = "predicted_expression"
    pd.testing.assert_frame_equal(cells.uns[key]["shift"], other.uns[key]["shift"], rtol=1e-3, atol=1e-3)
    pd.testing.assert_frame_equal(
        cells.uns["gene_interactions"]["pairs"], other.uns["gene_interactions"]["pairs"], rtol=1e-3
    )
    same = cells.varp["gene_interactions"].toarray()[order][:, order]
    np.testing.assert_allclose(other.varp["gene_interactions"].toarray(), same, rtol=1e-3)
    cells.write_h5ad(tmp_path / "cells.h5ad")
    again = ad.read_h5ad(tmp_path / "cells.h5ad")
    assert sp.issparse(again.varp["gene_interactions"])
    pd.testing.assert_frame_equal(get.predict_expression_df(again), get.predict_expression_df(cells))
    cells.uns[key]["shift"] = cells.uns[key]["shift"].iloc[:, :9]  # zarr writes each column as a folder
    cells.write_zarr(tmp_path / "cells.zarr")


def test_interactions_leave_out_the_diagonal_and_say_what_the_prior_knew(trained, reference) -> None:
    adata = reference.copy()
    adata.obs["some"] = np.arange(60) < 5
    tl.gene_interactions(adata, trained, "trametinib", n_pairs=200, subset="some", method="none")
    pairs = adata.uns["gene_interactions"]["pairs"]
    assert (pairs["gene_a"] != pairs["gene_b"]).all()
    assert not pairs[["gene_a", "gene_b"]].apply(frozenset, axis=1).duplicated().any()
    assert pairs["attention"].is_monotonic_decreasing
    known = set(zip(reference.var_names[:100], reference.var_names[100:200]))
    assert [((a, b) in known or (b, a) in known) for a, b in zip(pairs["gene_a"], pairs["gene_b"])] == list(
        pairs["in_prior"]
    )
    matrix = adata.varp["gene_interactions"]
    assert (matrix != matrix.T).nnz == 0
    assert matrix.diagonal().sum() == 0
    a, b = (adata.var_names.get_loc(pairs[c].iloc[0]) for c in ("gene_a", "gene_b"))
    assert matrix[a, b] == pytest.approx(pairs["attention"].iloc[0])
    bare = tl.gene_interactions(
        adata, trained, "trametinib", n_pairs=200, subset="some", method="none", ppi=False, copy=True
    )
    joined = pairs.merge(bare.uns["gene_interactions"]["pairs"], on=["gene_a", "gene_b"])
    np.testing.assert_allclose(
        joined["attention_x"] - joined["attention_y"], joined["in_prior_x"].astype(float), atol=1e-3
    )
    for wrong, error in (("none", KeyError), ("tissue", ValueError)):
        with pytest.raises(error):
            tl.gene_interactions(adata, trained, "trametinib", subset=wrong, method="none")


def test_top_pairs_by_value_or_by_size() -> None:
    attention = np.array([[9, 1, -8], [1, 9, 3], [-8, 3, 9.0]])
    genes = np.array(["A", "B", "C"], dtype=object)
    assert top_pairs(attention, genes, n_pairs=1)[["gene_a", "gene_b"]].to_numpy().tolist() == [["B", "C"]]
    assert top_pairs(attention, genes, n_pairs=1, absolute=True)["attention"].tolist() == [-8]


def test_enrichment_is_against_the_panel_and_equals_fisher() -> None:
    panel = [f"TOYGENE{i}" for i in range(100)]
    chosen = set(panel[:20])
    table = enrich(chosen, panel, {"hit": [*panel[10:30], "ELSEWHERE"], "miss": panel[50:70], "few": panel[:2]})
    assert list(table.index) == ["hit", "miss"]
    assert (table.loc["hit", "n_set"], table.loc["hit", "n_overlap"], table.loc["hit", "expected"]) == (20, 10, 4.0)
    fisher = stats.fisher_exact([[10, 10], [10, 70]], alternative="greater")
    assert table.loc["hit", "p_value"] == pytest.approx(fisher.pvalue)
    assert table.loc["hit", "odds_ratio"] == pytest.approx(7.0)
    assert table.loc["hit", "fdr"] == pytest.approx(2 * fisher.pvalue)
    everything = enrich(set(panel), panel, {"any": panel[:10]})
    assert everything.loc["any", "p_value"] == 1.0, "a panel is not enriched in itself"
    with pytest.raises(ValueError, match="No gene set has 5 genes"):
        enrich(chosen, panel, {"few": panel[:2]})


def test_distance_that_is_only_potency_vanishes_with_the_drug_means() -> None:
    rng = np.random.default_rng(0)
    potency, pair = 3 * rng.normal(size=30), rng.normal(size=(80, 30))
    response = potency + pair
    only = compare_distances(np.tile(-potency, (80, 1)) + 0.3 * rng.normal(size=(80, 30)), response)
    assert only.loc["raw", "auroc"] > 0.9
    assert abs(only.loc["both", "auroc"] - 0.5) < 0.06
    real = compare_distances(-pair + 0.3 * rng.normal(size=(80, 30)), response)
    assert real.loc["both", "auroc"] > 0.6
    assert real.loc["drug mean alone", "auroc"] > 0.9
    missing = np.where(rng.random(response.shape) < 0.3, np.nan, response)
    assert compare_distances(-pair, missing)["auroc"].notna().all()


def test_classes_are_tested_against_permutations_and_fingerprints() -> None:
    rng = np.random.default_rng(0)
    classes = np.repeat(["a", "b", "c", "d"], 6)
    same = classes[:, None] == classes[None, :]
    noise = rng.normal(scale=0.1, size=(24, 24))
    noise = noise + noise.T
    planted = class_tests(0.5 * same + noise, noise, classes, n_permutations=200, rng=rng)
    assert planted.loc["attention", "p_value"] < 0.01
    assert planted.loc["attention", "difference"] == pytest.approx(0.5, abs=0.05)
    assert planted.loc["fingerprints", "p_value"] > 0.05
    copied = class_tests(0.5 * same + noise, 0.5 * same + noise, classes, n_permutations=200, rng=rng)
    assert copied.loc["attention beyond fingerprints", "p_value"] > 0.05, "fingerprints explain all of it"


def test_markers_are_those_that_differ_and_have_the_sign_of_the_sensitive() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(30, 50)), rng.normal(size=(25, 50))
    a[:, 3] -= 2
    table = compare_groups(a, b, [f"g{i}" for i in range(50)])
    assert table.index[0] == "g3"
    assert table.loc["g3", "difference"] < -1.5
    assert (table["fdr"] < 0.05).sum() == 1
    assert table.loc["g3", "p_value"] == pytest.approx(stats.ttest_ind(a[:, 3], b[:, 3], equal_var=False).pvalue)


def test_all_analyses_of_a_pretrained_core_are_stored_read_and_drawn(trained, reference, tmp_path) -> None:
    adata = reference.copy()
    tl.perturbation_distance(adata, trained)
    tl.perturbed_markers(adata, trained, "trametinib", response_key="response", method="none")
    classes = {name: "ab"[number % 2] for number, name in enumerate(trained.drugs.index)}
    tl.mechanism_similarity(adata, trained, classes, n_permutations=50, n_samples=20)
    tl.gene_interactions(adata, trained, "trametinib", n_pairs=40, method="none")
    tl.enrich_interactions(adata, {"first": list(adata.var_names[:150]), "second": list(adata.var_names[150:])})
    tl.predict_expression(adata, trained, drugs=["trametinib", "paclitaxel"], groupby="tissue", method="none")
    similarity = adata.uns["mechanism_similarity"]["similarity"]
    np.testing.assert_allclose(np.diag(similarity), 1)
    distance = adata.obsm["perturbation_distance"]
    basal, perturbed = trained.perturb(np.asarray(adata.X[:2]), trained.conditions([trained.drugs["smiles"].iloc[0]]))
    expected = np.linalg.norm(perturbed - basal, axis=1)
    np.testing.assert_allclose(distance.iloc[:2][trained.drugs.index[0]], expected, rtol=1e-3)
    adata.write_h5ad(tmp_path / "all.h5ad")
    again = ad.read_h5ad(tmp_path / "all.h5ad")
    for of in (
        "gene_interactions",
        "enrich_interactions",
        "mechanism_similarity",
        "perturbation_distance",
        "perturbed_markers",
    ):
        table = getattr(get, f"{of}_df")
        pd.testing.assert_frame_equal(table(again), table(adata), check_dtype=False)
        assert getattr(pl, of)(again).get_figure() is not None
    assert "Expression under" in pl.predict_expression(again, drug="paclitaxel", n_genes=5).get_title(loc="left")
    with pytest.raises(ValueError, match="several drugs"):
        pl.predict_expression(again)
    with pytest.raises(KeyError, match=r"Run scdrug.tl.compare_responders"):
        get.compare_responders_df(again)
    matplotlib.pyplot.close("all")


def test_a_core_without_pretraining_predicts_no_expression(untaught, reference) -> None:
    with pytest.raises(RuntimeError, match="has not seen perturbation data"):
        tl.predict_expression(reference.copy(), untaught, drugs=["trametinib"])
    with (
        pytest.warns(UserWarning, match="learned from responses alone"),
        pytest.raises(ValueError, match="no attention"),
    ):
        tl.gene_interactions(reference.copy(), untaught, "trametinib", method="none")


def test_other_models_and_drugs_are_refused_with_the_reason(trained, reference) -> None:
    adata = reference.copy()
    model.KernelRidge.setup_anndata(adata)
    ridge = model.KernelRidge(adata)
    ridge.train()
    with pytest.raises(TypeError, match="needs a model of class CSG2A; found KernelRidge"):
        tl.predict_expression(adata, ridge, drugs=["trametinib"])
    with pytest.raises(KeyError, match="trametinib"):
        tl.predict_expression(adata, trained, drugs=["trametinibb"])
    with pytest.raises(ValueError, match="name one drug"):
        tl.gene_interactions(adata, trained, {"a": "CCO", "b": "CCN"}, method="none")
    with pytest.raises(KeyError, match="predict_response"):
        tl.perturbed_markers(adata, trained, "trametinib", method="none")
    with pytest.raises(ValueError, match="two classes"):
        tl.mechanism_similarity(adata, trained, dict.fromkeys(trained.drugs.index, "one"))
