"""Marker genes of any spelling, and whether treatment and batch can be told apart."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
from scipy.sparse import csr_matrix
from scipy.stats.contingency import association

from scdrug.pp._confounding import check_batch_columns, confounding, cramers_v, find_batch_columns, warn_if_confounded
from scdrug.pp._markers import check_marker_sets, find_markers, score_markers

# markers --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "names",
    [
        ["MYC", "CD3D", "PTPRC"],
        ["Myc", "Cd3d", "Ptprc"],
        ["myc", "cd3d", "ptprc"],
        ["MYC", "ENSG00000167286.10", "CD45"],
    ],
    ids=["human", "mouse", "fish", "Ensembl id and synonym"],
)
def test_markers_are_found_whatever_the_species_and_spelling(names):
    assert find_markers(names, {"immune": ["PTPRC", "CD3D"]})["immune"].tolist() == [1, 2]


def test_a_gene_of_the_very_name_goes_before_one_of_another_case():
    assert find_markers(["cd3d", "CD3D"], {"T": ["CD3D"]})["T"].tolist() == [1]


def test_a_marker_never_takes_another_genes_name():
    # CD8A is not CD8B, and digits of one gene are not part of another
    with pytest.raises(ValueError, match="None of the 1 marker genes"):
        find_markers(["CD8B", "CD8A2", "CD"], {"T": ["CD8A"]})


def test_no_marker_at_all_is_an_error_that_says_what_the_names_are():
    with pytest.raises(ValueError, match="'ENSMUSG00000032094'.*mouse ensembl.*mouse Ensembl ids"):
        find_markers(["ENSMUSG00000032094", "ENSMUSG00000026395"], {"T": ["CD3D"]})


def test_a_set_without_any_marker_is_left_out_with_a_warning():
    with pytest.warns(UserWarning, match="No marker of 'B cell'"):
        found = find_markers(["CD3D", "MYC"], {"T cell": ["CD3D"], "B cell": ["MS4A1"]})
    assert list(found) == ["T cell"]


@pytest.mark.parametrize("markers", ["CD3D", {"T cell": "CD3D"}])
def test_a_string_is_not_a_list_of_genes(markers):
    with pytest.raises(TypeError, match="found a string"):
        check_marker_sets(markers)


@pytest.mark.parametrize("markers", [[], {}, {"T cell": []}])
def test_empty_sets_are_refused(markers):
    with pytest.raises(ValueError, match="at least one gene"):
        check_marker_sets(markers)


def test_a_score_is_the_mean_of_markers_minus_that_of_genes_of_the_same_level():
    # 50 genes sorted by level make 25 bins of two: 4 and 5 share one, 10 and 11 another
    values = np.arange(50, dtype=np.float32) + np.random.default_rng(0).uniform(0, 0.1, size=(6, 50)).astype(np.float32)
    markers = np.array([4, 11])
    scores = score_markers(csr_matrix(values), {"kind": markers})["kind"]
    np.testing.assert_allclose(scores, values[:, [4, 11]].mean(axis=1) - values[:, [5, 10]].mean(axis=1), atol=1e-5)


def test_markers_of_any_set_are_not_background_and_a_marker_without_background_counts_as_it_is():
    values = np.arange(50, dtype=np.float32) + np.zeros((3, 50), dtype=np.float32)
    scores = score_markers(csr_matrix(values), {"a": np.array([4]), "b": np.array([5])})
    np.testing.assert_allclose(scores["a"], 4, atol=1e-5)
    np.testing.assert_allclose(scores["b"], 5, atol=1e-5)


def test_scores_do_not_depend_on_how_high_the_markers_are_expressed():
    rng = np.random.default_rng(0)
    base = np.sort(rng.uniform(0, 6, size=500))
    values = base + rng.normal(scale=0.2, size=(200, 500))
    low, high = np.arange(20, 30), np.arange(460, 470)
    values[:20, low] += 1.0
    values[:20, high] += 1.0
    scores = score_markers(csr_matrix(values.astype(np.float32)), {"low": low, "high": high})
    for score in scores.values():
        assert abs(score[20:].mean()) < 0.15
        assert score[:20].mean() == pytest.approx(0.95, abs=0.15)


# confounding ----------------------------------------------------------------------------------------------------------


def test_cramers_v_is_corrected_for_bias_as_bergsma_does():
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 2, 60), rng.integers(0, 4, 60)
    plain = association(pd.crosstab(a, b).to_numpy(), method="cramer")
    n, r, k = 60, 2, 4
    phi2 = plain**2 * min(r - 1, k - 1)
    least = min(r - (r - 1) ** 2 / (n - 1), k - (k - 1) ** 2 / (n - 1)) - 1
    assert cramers_v(a, b) == pytest.approx(np.sqrt(max(0, phi2 - (r - 1) * (k - 1) / (n - 1)) / least))


def test_cramers_v_of_many_small_classes_is_not_taken_for_association():
    rng = np.random.default_rng(0)
    treated, batch = np.repeat([True, False], 100), rng.integers(0, 60, 200)
    assert association(pd.crosstab(treated, batch).to_numpy(), method="cramer") > 0.5
    assert cramers_v(treated, batch) < 0.25


def test_cramers_v_is_symmetric_and_ignores_names():
    rng = np.random.default_rng(1)
    a = rng.integers(0, 3, 90)
    b = np.where(rng.random(90) < 0.6, a, rng.integers(0, 3, 90))
    renamed = np.array(["x", "y", "z"])[b]
    assert 0.3 < cramers_v(a, b) < 0.9
    assert cramers_v(a, b) == pytest.approx(cramers_v(renamed, a))


def test_cramers_v_of_one_class_or_of_none_that_repeats_is_not_defined():
    assert np.isnan(cramers_v([True, False], ["a", "a"]))
    assert np.isnan(cramers_v(np.repeat([True, False], 50), np.arange(100)))


def design(n: int, batches: dict[bool, list[str]]) -> tuple[np.ndarray, pd.DataFrame]:
    treated = np.repeat([False, True], n)
    names = [batches[t][i % len(batches[t])] for i, t in enumerate(treated)]
    return treated, pd.DataFrame({"batch": pd.Categorical(names)})


def test_nested_batches_without_replicates_are_named_as_hopeless():
    treated, obs = design(40, {False: ["a"], True: ["b"]})
    table = confounding(treated, obs, ["batch"])
    assert table.loc["batch", "nested"]
    assert table.loc["batch", "cramers_v"] == pytest.approx(1)
    with pytest.warns(UserWarning, match="Nothing can separate the effect of the treatment"):
        warn_if_confounded(table)


def test_nested_batches_with_replicates_ask_for_batches_left_out():
    treated, obs = design(40, {False: ["a", "b"], True: ["c", "d"]})
    table = confounding(treated, obs, ["batch"])
    assert table.loc["batch", ["n_control", "n_treated", "n_both"]].tolist() == [2, 2, 0]
    with pytest.warns(UserWarning, match="on batches left out"):
        warn_if_confounded(table)


def test_crossed_batches_are_silent():
    treated, obs = design(40, {False: ["a", "b"], True: ["a", "b"]})
    table = confounding(treated, obs, ["batch"])
    assert table.loc["batch", "cramers_v"] == 0 and not table.loc["batch", "nested"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_if_confounded(table)


def test_unbalanced_batches_are_warned_of():
    treated, obs = design(40, {False: ["a"] * 9 + ["b"], True: ["b"] * 9 + ["a"]})
    with pytest.warns(UserWarning, match="Treatment is associated with 'batch'"):
        warn_if_confounded(confounding(treated, obs, ["batch"]))


def test_a_single_batch_is_neither_nested_nor_associated():
    treated, obs = design(20, {False: ["a"], True: ["a"]})
    table = confounding(treated, obs, ["batch"])
    assert not table.loc["batch", "nested"] and np.isnan(table.loc["batch", "cramers_v"])


def test_missing_batches_are_left_out():
    treated, obs = design(20, {False: ["a"], True: ["b"]})
    obs.loc[[0, 39], "batch"] = np.nan
    assert confounding(treated, obs, ["batch"]).loc["batch", "n_batches"] == 2


def test_a_column_with_a_name_for_each_cell_is_no_batch():
    treated = np.repeat([False, True], 30)
    obs = pd.DataFrame({"sample": [f"cell {i}" for i in range(60)], "lane": np.nan, "plate": ["a", "b"] * 30})
    assert find_batch_columns(obs) == ["plate"]
    assert not confounding(treated, obs, ["sample"]).loc["sample", "nested"]
    with pytest.raises(ValueError, match="'sample' must group .* it has 60 values for 60 of 60 cells"):
        check_batch_columns(obs, "sample")
    with pytest.raises(ValueError, match="'lane' must group .* it has 0 values for 0 of 60 cells"):
        check_batch_columns(obs, ["plate", "lane"])


def test_batches_are_known_by_their_names():
    obs = pd.DataFrame("x", index=range(4), columns=["orig.ident", "Sample_ID", "clone", "n_counts", "patient", "arm"])
    assert find_batch_columns(obs, leave_out=["arm", "patient"]) == ["orig.ident", "Sample_ID"]
    assert confounding(np.array([True]), obs, []).empty
