from __future__ import annotations

import hashlib

import numpy as np
import pandas as pd
import pytest

from scdrug.datasets import gene_sets, toy, toy_cells


def digest(adata) -> str:
    matrix = adata.X.toarray() if hasattr(adata.X, "toarray") else adata.X
    parts = [matrix.tobytes(), *(adata.obsm[key].to_numpy().tobytes() for key in sorted(adata.obsm))]
    return hashlib.sha256(b"".join(parts)).hexdigest()


@pytest.mark.parametrize("make", [toy, toy_cells])
def test_the_same_seed_gives_the_same_bytes_and_another_does_not(make):
    assert digest(make()) == digest(make())
    assert digest(make()) != digest(make(seed=1))


def test_making_data_leaves_the_global_generator_alone():
    np.random.seed(3)  # noqa: NPY002
    expected = np.random.random()  # noqa: NPY002
    np.random.seed(3)  # noqa: NPY002
    toy()
    toy_cells()
    assert np.random.random() == expected  # noqa: NPY002


def test_toy_follows_the_data_contract():
    reference = toy()
    assert reference.shape == (120, 300)
    assert reference.X.dtype == np.float32
    response = reference.obsm["response"]
    assert response.shape == (120, 12)
    assert 0.12 < response.isna().to_numpy().mean() < 0.18
    assert list(response.columns) == list(reference.uns["drugs"].index) == list(reference.uns["truth"].index)
    assert (reference.uns["drugs"] != "").all().all()
    assert reference.obs["tissue"].nunique() == 4
    assert reference.var_names.is_unique


def test_pathways_are_eight_and_share_no_gene():
    sets = gene_sets("toy")
    genes = [gene for members in sets.values() for gene in members]
    assert [len(members) for members in sets.values()] == [25] * 8
    assert len(set(genes)) == 200
    reference = toy(n_genes=210)
    assert list(reference.uns["truth"].columns) == list(sets)
    for pathway, members in sets.items():
        assert list(reference.var_names[reference.var["pathway"] == pathway]) == members


def test_structures_can_be_parsed_and_differ():
    chem = pytest.importorskip("rdkit.Chem")
    smiles = toy(n_drugs=20).uns["drugs"]["smiles"]
    canonical = {chem.MolToSmiles(chem.MolFromSmiles(text)) for text in smiles}
    assert len(canonical) == 20


def test_planted_effects_can_be_recovered_by_least_squares():
    reference = toy(n_lines=400, n_drugs=20)
    activity = reference.obsm["true_pathway_activity"].to_numpy()
    design = np.column_stack([activity, np.ones(len(activity))])
    for drug, truth in reference.uns["truth"].iterrows():
        response = reference.obsm["response"][drug].to_numpy()
        measured = np.isfinite(response)
        effects = np.linalg.lstsq(design[measured], response[measured], rcond=None)[0][:-1]
        np.testing.assert_allclose(effects, truth, atol=0.17)


def test_genes_follow_their_pathway():
    reference = toy()
    for pathway, members in gene_sets("toy").items():
        score = reference[:, members].X.mean(axis=1)
        assert np.corrcoef(score, reference.obsm["true_pathway_activity"][pathway])[0, 1] > 0.95


def test_each_drug_has_one_or_two_pathways():
    assert set((toy(n_drugs=20).uns["truth"] != 0).sum(axis=1)) == {1, 2}


def test_asking_for_fewer_drugs_does_not_change_the_others():
    few, many = toy(n_drugs=5).obsm["response"], toy(n_drugs=20).obsm["response"]
    pd.testing.assert_frame_equal(many[list(few.columns)], few)


def test_cells_are_counts_of_clones_in_patients():
    cells = toy_cells(n_cells=240)
    counts = cells.X.toarray()
    assert (counts == counts.round()).all() and counts.min() == 0
    assert (pd.crosstab(cells.obs["clone"], cells.obs["sample"]) == 20).all().all()
    assert (cells.obs["malignant"] == (cells.obs["clone"] != "normal")).all()


def test_true_response_of_cells_obeys_the_truth_of_the_reference():
    reference, cells = toy(), toy_cells()
    pd.testing.assert_frame_equal(reference.uns["truth"], cells.uns["truth"])
    effects = cells.obsm["true_pathway_activity"].to_numpy() @ cells.uns["truth"].to_numpy().T
    potency = cells.obsm["true_response"].to_numpy() - effects
    np.testing.assert_allclose(potency, np.broadcast_to(potency[0], potency.shape), atol=1e-3)
    means = reference.obsm["response"].mean()[cells.obsm["true_response"].columns]
    np.testing.assert_allclose(potency[0], means, atol=0.8)


def test_clones_differ_in_their_response():
    cells = toy_cells()
    trametinib = cells.obsm["true_response"]["trametinib"].groupby(cells.obs["clone"], observed=True).mean()
    assert trametinib["clone-a"] < trametinib["normal"] - 1


def test_platform_differs_by_gene_but_not_by_cell():
    reference, cells = toy(n_lines=500), toy_cells(n_cells=2000)
    bulk = reference.X.mean(axis=0)
    normalised = cells.X.toarray() / cells.X.toarray().sum(axis=1, keepdims=True)
    offset = np.log2(normalised.mean(axis=0)) - bulk
    assert offset.std() > 0.5
    assert np.array_equal(reference.var_names, cells.var_names)


@pytest.mark.parametrize(
    ("make", "arguments", "message"),
    [
        (toy, {"n_lines": 1}, "`n_lines` must be at least 2"),
        (toy, {"n_drugs": 21}, "`n_drugs` must be between 1 and 20"),
        (toy, {"n_genes": 199}, "`n_genes` must be at least 200"),
        (toy_cells, {"n_cells": 3}, "`n_cells` must be at least 12"),
    ],
)
def test_numbers_out_of_range_are_refused(make, arguments, message):
    with pytest.raises(ValueError, match=message):
        make(**arguments)


def test_more_genes_than_there_are_symbols_are_made_up():
    reference = toy(n_genes=500)
    assert reference.n_vars == 500
    assert reference.var_names.is_unique
