"""Labels of treated and control cells: rules on arrays, then the whole on cells with a planted truth."""

from __future__ import annotations

import warnings

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy.sparse import csr_matrix

import scdrug
from scdrug.pp import _label_rules as rules
from scdrug.pp._cluster import (
    leiden_clusters,
    neighbor_graph,
    number_by_size,
    read_expression,
    silhouette,
    variable_genes,
)

# rules ----------------------------------------------------------------------------------------------------------------


def table(control: list[int], treated: list[int], **options) -> pd.DataFrame:
    """Cluster table of so many control and treated cells in each cluster."""
    clusters = np.repeat(np.tile(np.arange(len(control)), 2), [*control, *treated])
    is_treated = np.repeat([False, True], [sum(control), sum(treated)])
    options = {"max_treated_share": 0.5, "min_cells": 5} | options
    return rules.cluster_table(clusters, is_treated, np.zeros(len(clusters), dtype=bool), **options)


def test_the_treated_share_is_balanced_for_the_size_of_the_groups():
    found = table([90, 10], [150, 150])
    np.testing.assert_allclose(found["treated_share"], [0.5 / (0.5 + 0.9), 0.5 / (0.5 + 0.1)])
    assert found["treated_like"].tolist() == [False, True]
    # ten times as many treated cells of the same mixture change nothing
    np.testing.assert_allclose(found["treated_share"], table([90, 10], [1500, 1500])["treated_share"])


def test_one_cluster_of_all_cells_is_not_treated_like():
    assert table([40], [17])["treated_like"].tolist() == [False]


def test_small_clusters_are_not_judged():
    found = table([90, 1], [90, 3])
    assert found["judged"].tolist() == [True, False]
    assert found["treated_like"].tolist() == [False, False]


def test_with_a_threshold_of_one_no_control_cell_is_dropped():
    found = table([90, 1, 0], [90, 3, 40], max_treated_share=1)
    clusters, treated = np.array([0, 1, 2, 2]), np.array([False, False, True, False])
    labels, reasons = rules.decide(clusters, treated, np.full(4, "", dtype=object), found)
    assert labels.tolist() == [1, 1, 0, 1]
    assert set(reasons[~treated]) == {"control"}


def test_normal_cells_have_no_part_in_the_share():
    clusters = np.repeat([0, 1, 2], 20)
    treated = np.tile([True, False], 30)
    normal = clusters == 2
    treated[normal] = True
    found = rules.cluster_table(clusters, treated, normal, max_treated_share=0.5, min_cells=5)
    np.testing.assert_allclose(found["treated_share"], [0.5, 0.5, np.nan])
    assert found["n_normal"].tolist() == [0, 0, 20]


def test_each_cell_gets_the_label_and_the_reason_of_its_case():
    found = table([50, 10, 2], [10, 50, 1])
    clusters = np.array([0, 1, 2, 0, 1, 2, 0])
    treated = np.array([False, False, False, True, True, True, False])
    normal = np.array(["", "", "", "", "", "", "T cell"], dtype=object)
    labels, reasons = rules.decide(clusters, treated, normal, found)
    np.testing.assert_array_equal(labels, [1, np.nan, np.nan, 0, 0, 0, np.nan])
    assert reasons.tolist() == [
        "control",
        "control, cluster treated-like",
        "control, cluster too small",
        "treated, cluster not treated-like",
        "treated",
        "treated",
        "normal: T cell",
    ]


def test_a_cluster_is_normal_when_its_median_score_is_above_the_threshold():
    clusters = np.array([0, 0, 0, 1, 1, 1])
    scores = {"T": np.array([3.0, 2, -9, 0.4, 0.4, 9]), "B": np.array([1.0, 1, 1, 0, 0, 0])}
    kinds, medians = rules.normal_clusters(clusters, scores, threshold=0.5)
    assert kinds.tolist() == ["T", ""]
    assert medians.loc["1", "T"] == 0.4


def override(mapping, *, protected=None):
    labels, reasons = np.array([1.0, 0.0, np.nan]), np.array(["control", "treated", "control"], dtype=object)
    obs = pd.DataFrame({"clone": pd.Categorical(["a", "b", "b"]), "braf": [True, True, False]})
    protected = np.zeros(3, dtype=bool) if protected is None else protected
    n = rules.apply_overrides(labels, reasons, obs, rules.check_overrides(mapping), protected=protected)
    return labels.tolist(), reasons.tolist(), n


def test_overrides_replace_labels_and_name_their_source():
    labels, reasons, n = override({"clone": {"b": ("sensitive", "Ho 2018")}})
    assert (labels, n) == ([1.0, 1.0, 1.0], 2)
    assert reasons == ["control", "override: clone = b (Ho 2018)", "override: clone = b (Ho 2018)"]


def test_overrides_can_take_labels_away_and_match_other_types_by_text():
    labels, reasons, _ = override({"braf": {True: None}})
    np.testing.assert_array_equal(labels, [np.nan, np.nan, np.nan])
    assert reasons[:2] == ["override: braf = True"] * 2


def test_overrides_leave_normal_cells_alone():
    labels, reasons, n = override({"clone": {"b": 1}}, protected=np.array([False, True, False]))
    assert (labels, n) == ([1.0, 0.0, 1.0], 1)
    assert reasons[1] == "treated"


def test_overrides_that_agree_are_fine_and_those_that_contradict_are_not():
    assert override({"clone": {"a": 1}, "braf": {True: 1}})[0][:2] == [1.0, 1.0]
    with pytest.raises(ValueError, match="contradict each other for 1 cells with braf = 'True'"):
        override({"clone": {"a": 0}, "braf": {True: 1}})


@pytest.mark.parametrize("label", ["dead", 2, (1, "a", "b")])
def test_other_labels_are_refused(label):
    with pytest.raises(ValueError, match="must be a label"):
        rules.check_overrides({"clone": {"a": label}})


def test_overrides_of_another_form_are_refused():
    with pytest.raises(TypeError, match="column of obs"):
        rules.check_overrides({"clone": 1})


def test_an_override_of_a_value_that_does_not_occur_offers_the_nearest():
    with pytest.raises(ValueError, match="Did you mean 'b'"):
        override({"clone": {"B": 1}})


def groups(names, **options) -> rules.Groups:
    options = {"control": "DMSO", "treated": None, "min_cells": 2} | options
    return rules.find_groups(pd.Series(names, name="arm"), **options)


def test_all_but_the_controls_are_treated_unless_named():
    names = ["DMSO", "DMSO", "x", "x", "y", "y", None]
    assert groups(names).treated.tolist() == [False, False, True, True, True, True, False]
    assert groups(names, treated="y").used.tolist() == [True, True, False, False, True, True, False]
    assert groups(names).unknown.tolist() == [False] * 6 + [True]
    assert groups(pd.Categorical(names), treated=["x", "y"]).treated.sum() == 4


@pytest.mark.parametrize("form", [list, tuple, set, np.array, pd.Index])
def test_names_come_in_any_collection(form):
    assert groups(["a", "a", "b", "b", "x", "x"], control=form(["a", "b"])).control.sum() == 4


def test_treatments_need_not_be_strings():
    assert groups([0, 0, 5, 5], control=0).control.tolist() == [True, True, False, False]


@pytest.mark.parametrize(
    ("names", "options", "message"),
    [
        (["DMSO"] * 4, {}, "must hold control and treated cells; found 'DMSO'"),
        ([None, None], {}, "missing values only"),
        (["DMSO", "DMSO", "x", "x"], {"control": "dsmo"}, "Did you mean 'DMSO'"),
        (["DMSO", "DMSO", "x", "x"], {"treated": ["z"]}, "'z' is not in"),
        (["DMSO", "DMSO", "x", "x"], {"treated": ["x", "DMSO"]}, "'DMSO' cannot be in `control` and in `treated`"),
        (["DMSO", "DMSO", "x", "x"], {"control": ["DMSO", "x"]}, "none is left as treated"),
        (["DMSO", "DMSO", "x", "x"], {"control": []}, "must name at least one"),
        (["DMSO", "DMSO", "x"], {}, "at least 2 treated cells .* found 1"),
    ],
)
def test_impossible_groups_are_refused(names, options, message):
    with pytest.raises(ValueError, match=message):
        groups(names, **options)


# clusters -------------------------------------------------------------------------------------------------------------


def test_clusters_are_numbered_by_size_without_gaps():
    assert number_by_size(np.array([7, 7, 2, 2, 2, 5])).tolist() == [1, 1, 0, 0, 0, 2]


def test_leiden_finds_separate_groups_and_repeats_itself():
    rng = np.random.default_rng(0)
    truth = np.repeat([0, 1, 2], [60, 40, 30])
    points = rng.normal(size=(130, 5)) + 12 * np.eye(5)[truth]
    found = leiden_clusters(points, resolution=0.1)
    np.testing.assert_array_equal(found, truth)
    np.testing.assert_array_equal(leiden_clusters(points, resolution=0.1), found)


def test_edges_are_a_gaussian_of_the_distance_to_the_nearest_cells():
    graph = neighbor_graph(np.array([[0.0], [1.0], [3.0], [7.0]]), 3).toarray()
    width = np.array([(1 + 9) / 2, (1 + 4) / 2, (4 + 9) / 2, (16 + 36) / 2])  # median of two squared distances
    total = width[0] + width[1]
    assert graph[0, 1] == pytest.approx(np.sqrt(2 * np.sqrt(width[0] * width[1]) / total) * np.exp(-1 / total))
    np.testing.assert_allclose(graph, graph.T)
    np.testing.assert_array_equal(graph > 0, [[0, 1, 1, 0], [1, 0, 1, 1], [1, 1, 0, 1], [0, 1, 1, 0]])


def test_cells_that_are_the_same_are_one_cluster():
    points = np.random.default_rng(0).normal(size=(100, 5))
    points[:40], points[60:] = 0, points[60:] + 12
    found = leiden_clusters(points, resolution=0.1)
    assert len(set(found[:40])) == 1 and len(set(found)) <= 3


def test_cells_without_counts_are_warned_of(experiment):
    emptied = experiment.copy()
    emptied.X[:25] = 0
    with pytest.warns(UserWarning, match="25 cells such as .* have no counts at all"):
        labelled(emptied)


@pytest.fixture
def torch_threads():
    """Restore the number of threads: numba, inside scanpy, raises that of torch, which slows the tests that follow."""
    torch = pytest.importorskip("torch")
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("n_top", [40, 150])
def test_variable_genes_are_those_of_scanpy(n_top, torch_threads):
    sc = pytest.importorskip("scanpy")
    cells = scdrug.datasets.toy_cells(n_cells=200, n_genes=400)
    values, scale, totals = read_expression(cells)
    np.testing.assert_allclose(np.expm1(values.toarray()).sum(axis=1), 1e4, rtol=1e-3)
    np.testing.assert_array_equal(totals, np.asarray(cells.X.sum(axis=1)).ravel())
    table = sc.pp.highly_variable_genes(ad.AnnData(values), n_top_genes=n_top, inplace=False)
    np.testing.assert_array_equal(variable_genes(values, n_top, scale=scale), np.flatnonzero(table["highly_variable"]))


def test_genes_of_scaled_values_are_not_chosen_by_rounding_errors():
    values = np.random.default_rng(0).normal(size=(50, 30))
    values = (values - values.mean(axis=0)) / values.std(axis=0)
    values[:, 3] = 0
    expected = [gene for gene in range(30) if gene != 3]
    assert variable_genes(csr_matrix(values), 5, scale="scaled").tolist() == expected


def test_the_silhouette_is_rousseeuws():
    points = np.array([[0.0], [1.0], [10.0], [12.0]])
    labels = np.array([0, 0, 1, 1])
    a, b = np.array([1, 1, 2, 2.0]), np.array([11, 10, 9.5, 11.5])
    width, by_cluster = silhouette(points, labels)
    assert width == pytest.approx(np.mean((b - a) / b))
    assert by_cluster[1] == pytest.approx(np.mean(((b - a) / b)[2:]))
    assert np.isnan(silhouette(points, np.zeros(4, dtype=int))[0])


# the whole ------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def experiment() -> ad.AnnData:
    """Clone b survives treatment, and some of it is in the control; normal cells are in both, alone in expressing CD3D."""
    cells = scdrug.datasets.toy_cells(n_cells=400, seed=3)
    clone = cells.obs["clone"].astype(str).to_numpy()
    number = np.arange(cells.n_obs) // 4  # the clones alternate
    arm = np.where((clone == "clone-b") & (number % 5 != 0), "drug", "DMSO")
    arm[(clone == "normal") & (number % 2 == 0)] = "drug"
    cells.obs["arm"] = pd.Categorical(arm)
    counts = cells.X.toarray()
    marker = np.flatnonzero(cells.var_names.str.startswith("TOY") | (cells.var["pathway"] == ""))[0]
    counts[:, marker] = np.where(clone == "normal", 60, 0)
    cells.X = counts
    cells.var_names = [*cells.var_names[:marker], "Cd3d", *cells.var_names[marker + 1 :]]
    return cells


def labelled(experiment: ad.AnnData, **options) -> ad.AnnData:
    options = {"treatment_key": "arm", "control": "DMSO"} | options
    return scdrug.pp.label_cells(experiment, copy=True, **options)


def test_control_cells_of_a_resistant_clone_lose_their_label(experiment):
    found = labelled(experiment, normal_markers={"T cell": ["CD3D"]}).obs
    clone, arm = found["clone"].astype(str), found["arm"].astype(str)
    expected = np.where(arm == "drug", 0.0, np.where(clone == "clone-b", np.nan, 1.0))
    expected[clone == "normal"] = np.nan
    np.testing.assert_array_equal(found["sensitive"], expected)
    reasons = found["sensitive_reason"].astype(str)
    assert set(reasons[clone == "normal"]) == {"normal: T cell"}
    assert set(reasons[(clone == "clone-b") & (arm == "DMSO")]) == {"control, cluster treated-like"}
    assert reasons.notna().all()


def test_the_report_says_what_was_done(experiment):
    report = labelled(experiment, normal_markers=["CD3D"]).uns["sensitive"]
    assert report["clusters"]["n_normal"].sum() == 100
    assert (report["n_sensitive"], report["n_resistant"], report["n_unlabelled"]) == (200, 80, 120)
    assert report["params"]["control"] == ["DMSO"] and report["params"]["treated"] == ["drug"]
    assert report["label_is_treatment"]
    assert report["markers"]["normal"].tolist() == ["Cd3d"]
    assert 0 < report["silhouette"] < 1 and report["space"] == "principal components"
    assert list(report["confounding"].index) == ["sample"]
    assert report["confounding"].loc["sample", "cramers_v"] < 0.3


def test_without_markers_normal_cells_are_labelled(experiment):
    found = labelled(experiment).obs
    assert not found["sensitive_reason"].astype(str).str.startswith("normal").any()


def test_labels_do_not_depend_on_the_order_of_cells_and_genes(experiment):
    rng = np.random.default_rng(0)
    mixed = experiment[rng.permutation(experiment.n_obs), rng.permutation(experiment.n_vars)].copy()
    first, second = labelled(experiment).obs, labelled(mixed).obs.loc[experiment.obs_names]
    np.testing.assert_array_equal(first["sensitive"], second["sensitive"])


def test_labels_are_the_same_from_counts_and_their_logarithms(experiment):
    logged = experiment.copy()
    logged.X = np.log1p(logged.X / logged.X.sum(axis=1, keepdims=True) * 1e4)
    np.testing.assert_array_equal(labelled(experiment).obs["sensitive"], labelled(logged).obs["sensitive"])


def test_any_representation_and_any_clusters_can_be_used(experiment):
    given = experiment.copy()
    given.obsm["X_scVI"] = pd.DataFrame(
        given.obsm["true_pathway_activity"].to_numpy(), index=given.obs_names, columns=list("abcdefgh")
    )
    given.X = np.full(given.shape, np.nan)  # expression is not needed
    by_rep = labelled(given, use_rep="X_scVI")
    assert by_rep.uns["sensitive"]["space"] == "X_scVI"
    by_clone = labelled(given, cluster_key="clone")
    assert set(by_clone.obs["sensitive_cluster"]) == {"normal", "clone-a", "clone-b", "clone-c"}
    assert np.isnan(by_clone.uns["sensitive"]["silhouette"])
    np.testing.assert_array_equal(by_rep.obs["sensitive"], by_clone.obs["sensitive"])


def test_the_clusters_found_can_be_overridden(experiment):
    first = labelled(experiment)
    cluster = first.obs.loc[first.obs["clone"] == "clone-c", "sensitive_cluster"].mode()[0]
    found = labelled(experiment, overrides={"sensitive_cluster": {cluster: (0, "Ho 2018")}})
    of_cluster = found.obs["sensitive_cluster"] == cluster
    assert (found.obs.loc[of_cluster, "sensitive"] == 0).all()
    assert set(found.obs.loc[of_cluster, "sensitive_reason"]) == {f"override: sensitive_cluster = {cluster} (Ho 2018)"}
    assert not found.uns["sensitive"]["label_is_treatment"]


def test_cells_of_other_or_unknown_treatment_have_no_label(experiment):
    other = experiment.copy()
    arm = other.obs["arm"].astype(object)
    arm.iloc[:20], arm.iloc[20:40] = "washout", None
    other.obs["arm"] = pd.Categorical(arm)
    found = labelled(other, treated="drug").obs
    assert found["sensitive"].iloc[:40].isna().all() and found["sensitive_cluster"].iloc[:40].isna().all()
    assert set(found["sensitive_reason"].iloc[:20]) == {"other treatment"}
    assert set(found["sensitive_reason"].iloc[20:40]) == {"treatment unknown"}


def test_a_batch_for_each_arm_is_warned_of(experiment):
    nested = experiment.copy()
    nested.obs["plate"] = nested.obs["arm"].map({"DMSO": "p1", "drug": "p2"})
    with pytest.warns(UserWarning, match="Nothing can separate") as caught:
        labelled(nested)
    assert caught[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        labelled(nested, batch_key="sample")


def test_unknown_batches_are_warned_of_unless_there_are_none(experiment):
    bare = experiment.copy()
    del bare.obs["sample"]
    with pytest.warns(UserWarning, match="confounded is not known") as caught:
        labelled(bare)
    assert caught[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = labelled(bare, batch_key=[])
    assert found.uns["sensitive"]["confounding"].empty


def test_measured_labels_are_not_overwritten_but_a_second_run_replaces_the_first(experiment):
    measured = experiment.copy()
    measured.obs["sensitive"] = 1.0
    with pytest.raises(ValueError, match="would be lost. Choose another `key_added`"):
        labelled(measured)
    first = labelled(measured, key_added="label")
    second = labelled(first, key_added="label", max_treated_share=1)
    assert first.obs["label"].isna().any() and second.obs["label"].notna().all()


def test_one_cluster_of_all_cells_is_warned_of(experiment):
    experiment = experiment.copy()
    experiment.obs["one"] = "all"
    with pytest.warns(UserWarning, match="one cluster: labels are the treatment"):
        found = labelled(experiment, cluster_key="one")
    assert found.uns["sensitive"]["label_is_treatment"]


def test_clusters_near_the_threshold_are_named(experiment):
    experiment = experiment.copy()
    even = np.random.default_rng(0).integers(0, 2, experiment.n_obs)
    experiment.obs["even"] = np.array(["a", "b"])[even]
    with pytest.warns(UserWarning, match="Clusters 'a', 'b' hold nearly as large a part"):
        labelled(experiment, cluster_key="even")


def test_nothing_else_of_the_object_changes_and_views_stay_views_of_the_same(experiment):
    before = experiment.copy()
    labelled(experiment, normal_markers=["CD3D"])
    pd.testing.assert_frame_equal(experiment.obs, before.obs)
    assert set(experiment.uns) == set(before.uns)
    view = experiment[:200]
    assert scdrug.pp.label_cells(view, treatment_key="arm", control="DMSO") is None
    assert view.obs["sensitive"].notna().any() and "sensitive" not in experiment.obs


@pytest.mark.parametrize("form", ["h5ad", "zarr"])
def test_results_survive_writing(experiment, tmp_path, form):
    found = labelled(experiment, normal_markers={"T/NK cell": ["CD3D"]}, overrides={"clone": {"clone-a": None}})
    path = tmp_path / f"cells.{form}"
    getattr(found, f"write_{form}")(path)
    back = getattr(ad, f"read_{form}")(path)
    np.testing.assert_array_equal(back.obs["sensitive"], found.obs["sensitive"])
    assert back.uns["sensitive"]["clusters"]["n_normal"].sum() == 100
    assert "normal: T/NK cell" in set(back.obs["sensitive_reason"])


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"treatment_key": "arms"}, KeyError, "Did you mean 'arm'"),
        ({"control": "dms"}, ValueError, "Did you mean 'DMSO'"),
        ({"min_cells": 300}, ValueError, "at least 300"),
        ({"use_rep": "X_scVI"}, KeyError, "X_scVI"),
        ({"cluster_key": "leiden"}, KeyError, "leiden"),
        ({"batch_key": ["donor"]}, KeyError, "donor"),
        ({"key_added": "clone"}, ValueError, "would be lost"),
        ({"layer": "counts"}, KeyError, "counts"),
        ({"method": "kmeans"}, ValueError, "'leiden', 'attention'"),
        ({"method": "attention", "use_rep": "true_response"}, ValueError, "drop `use_rep`"),
        ({"normal_markers": ["NOSUCHGENE"]}, ValueError, "None of the 1 marker genes"),
        ({"normal_markers": "CD3D"}, TypeError, "found 'CD3D'. Pass a list of genes"),
        ({"max_normal_score": -50.0, "normal_markers": ["CD3D"]}, ValueError, "Only 0 of .* control cells are left"),
        ({"max_treated_share": 1.5}, ValueError, "between 0 and 1"),
        ({"resolution": 0}, ValueError, "must be positive"),
        ({"scale": "log"}, ValueError, "non-negative integers"),
        ({"overrides": {"clones": {"a": 1}}}, KeyError, "Did you mean 'clone'"),
    ],
)
def test_impossible_arguments_are_refused_and_nothing_is_stored(experiment, options, error, message):
    cells = experiment.copy()
    with pytest.raises(error, match=message):
        scdrug.pp.label_cells(cells, **({"treatment_key": "arm", "control": "DMSO"} | options))
    assert set(cells.obs) == set(experiment.obs)


def test_scaled_values_must_be_announced(experiment):
    scaled = experiment.copy()
    scaled.X = (scaled.X - scaled.X.mean(axis=0)) / (scaled.X.std(axis=0) + 1e-6)
    with pytest.raises(ValueError, match="negative values"):
        labelled(scaled)
    assert labelled(scaled, scale="scaled").obs["sensitive"].notna().any()


def test_values_without_counts_are_refused_by_the_attention_autoencoder(experiment):
    logged = experiment.copy()
    logged.X = np.log1p(logged.X) * 1.1
    with pytest.raises(ValueError, match="needs counts"):
        labelled(logged, method="attention")


def test_missing_clusters_and_broken_representations_are_refused(experiment):
    broken = experiment.copy()
    broken.obs["part"] = broken.obs["clone"].astype(object).where(np.arange(broken.n_obs) > 5)
    with pytest.raises(ValueError, match="missing for 6"):
        labelled(broken, cluster_key="part")
    broken.obsm["X_bad"] = np.full((broken.n_obs, 2), np.nan)
    with pytest.raises(ValueError, match="must be finite"):
        labelled(broken, use_rep="X_bad")


# real cells -----------------------------------------------------------------------------------------------------------


def test_normal_cells_of_a_tumour_are_removed_by_their_markers():
    pytest.importorskip("infercnvpy")
    tumour = scdrug.datasets.oligodendroglioma()
    tumour.obs["arm"] = np.where(np.arange(tumour.n_obs) % 2, "drug", "none")  # nobody treated them
    markers = {
        "microglia": ["CD14", "AIF1", "FCER1G", "FCGR3A", "TYROBP", "CSF1R"],
        "oligodendrocyte": ["MBP", "TF", "PLP1", "MAG", "MOG", "CLDN11"],
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # all clusters are mixed
        scdrug.pp.label_cells(tumour, treatment_key="arm", control="none", normal_markers=markers)
    removed = tumour.obs["sensitive_reason"].astype(str).str.startswith("normal")
    np.testing.assert_array_equal(removed, ~tumour.obs["malignant"])


def test_on_a375_label_culture_and_treatment_are_one(shared_data):
    cells = scdrug.datasets.a375_plx4720(path=shared_data / "sc" / "a375")
    truth = cells.obs["sensitive"].to_numpy(dtype=float)
    cells.obs["culture"] = np.where(truth == 1, "parental", "resistant")
    with pytest.warns(UserWarning, match="Nothing can separate"):
        scdrug.pp.label_cells(
            cells, treatment_key="culture", control="parental", scale="scaled", batch_key="culture", key_added="label"
        )
    assert cells.uns["label"]["label_is_treatment"]
    labels = cells.obs["label"].to_numpy()
    assert np.array_equal(labels[np.isfinite(labels)], truth[np.isfinite(labels)])
