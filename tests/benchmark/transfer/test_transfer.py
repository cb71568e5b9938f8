"""Transfer to single cells: what the harness keeps apart, what it scores, and what it refuses."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

import scdrug
from scdrug._audit import LeakError
from scdrug.benchmark._spec import ModelSpec
from scdrug.benchmark.transfer._cells import cluster_cells, majority, pseudobulk
from scdrug.benchmark.transfer._score_control import score_control
from scdrug.benchmark.transfer._score_labels import score_labels
from scdrug.benchmark.transfer._score_lines import score_lines
from scdrug.benchmark.transfer._simulate import simulate_cells
from scdrug.benchmark.transfer._tasks import run_single_cell

RIDGE = ModelSpec("ridge", "KernelRidge", params={"kernel": "linear", "ridge": 0.3})
LINES = ["TOY0003", "TOY0010", "TOY0021", "TOY0034", "TOY0050"]


@pytest.fixture(scope="module")
def reference() -> ad.AnnData:
    return scdrug.datasets.toy()


@pytest.fixture(scope="module")
def cells(reference: ad.AnnData) -> ad.AnnData:
    """Counts of cells drawn from the profiles of five lines, each gene with a factor of its own."""
    rng = np.random.default_rng(1)
    profile = np.exp2(reference[LINES].X + rng.normal(scale=0.5, size=reference.n_vars))
    line = np.repeat(np.arange(len(LINES)), 16)
    counts = rng.poisson(profile[line] / profile[line].sum(axis=1, keepdims=True) * 4000)
    adata = ad.AnnData(
        sp.csr_matrix(counts.astype(np.float32)),
        obs=pd.DataFrame(
            {"cell_line": [f"toy-{LINES[i][3:]}" for i in line]}, index=[f"c{i}" for i in range(len(line))]
        ),
        var=pd.DataFrame(index=reference.var_names),
    )
    adata.obs["batch"] = ["a", "b"] * (len(line) // 2)
    return adata


@dataclass
class Spy:
    """A specification that keeps what it is handed."""

    name: str = "spy"
    seen: list[ad.AnnData] = field(default_factory=list)
    tune: dict = field(default_factory=dict)
    model_class: type = None  # type: ignore[assignment]

    def __post_init__(self) -> None:
        self.model_class = scdrug.model.KernelRidge

    def fit(self, adata: ad.AnnData, *, validation: pd.DataFrame | None = None, seed: int = 0):
        self.seen.append(adata.copy())
        return RIDGE.fit(adata, seed=seed)


class Leaking(Spy):
    """Trains on a reference that it kept from somewhere else."""

    def __init__(self, kept: ad.AnnData) -> None:
        super().__init__()
        self.kept = kept

    def fit(self, adata: ad.AnnData, *, validation: pd.DataFrame | None = None, seed: int = 0):
        return RIDGE.fit(self.kept, seed=seed)


class Flipped(Spy):
    """Predicts sensitivity: higher means more sensitive, in a unit of its own."""

    def fit(self, adata: ad.AnnData, *, validation: pd.DataFrame | None = None, seed: int = 0):
        adata = adata.copy()
        adata.obsm["response"] = -adata.obsm["response"]
        adata.uns["response"] = {"measure": "score", "unit": "", "direction": "higher is more sensitive"}
        return RIDGE.fit(adata, seed=seed)


def value(table: pd.DataFrame, level: str, metric: str, model: str = "ridge", column: str = "value"):
    rows = table[(table["level"] == level) & (table["metric"] == metric) & (table["model"] == model)]
    assert len(rows) == 1, (level, metric, model, len(rows))
    return rows[column].iloc[0]


# ---------------------------------------------------------------------- known lines


@pytest.fixture(scope="module")
def scores(reference: ad.AnnData, cells: ad.AnnData) -> pd.DataFrame:
    return score_lines(RIDGE, reference, cells, n_bootstrap=50)


def test_the_table_is_tidy_and_holds_every_level(scores: pd.DataFrame) -> None:
    assert list(scores.columns) == ["task", "model", "seed", "level", "metric", "value", "low", "high", "note"]
    assert not scores.duplicated(["task", "model", "seed", "level", "metric"]).any()
    for level in ("cell", "line mean", "cluster", "pseudobulk", "bulk"):
        assert {"flat", "contrast", "rmse_z"} <= set(scores.loc[scores["level"] == level, "metric"])


def test_cells_of_lines_are_predicted_and_intervals_hold_the_value(scores: pd.DataFrame) -> None:
    for level in ("line mean", "cluster", "pseudobulk", "bulk"):
        assert value(scores, level, "flat") > 0.5
        low, high = value(scores, level, "contrast", column="low"), value(scores, level, "contrast", column="high")
        assert low < value(scores, level, "contrast") < high
    assert value(scores, "cell", "flat") < value(scores, "line mean", "flat")  # noise of single cells


def test_share_of_the_upper_bound_is_the_ratio_of_the_scores(scores: pd.DataFrame) -> None:
    expected = value(scores, "pseudobulk", "contrast") / value(scores, "bulk", "contrast")
    assert value(scores, "pseudobulk", "contrast_share") == pytest.approx(expected)
    assert not ((scores["level"] == "bulk") & scores["metric"].str.endswith("_share")).any()


def test_a_second_screen_is_scored_like_a_prediction_on_the_pairs_of_both(reference, cells) -> None:
    other = reference.copy()
    rng = np.random.default_rng(2)
    noisy = reference.obsm["response"] + rng.normal(scale=0.6, size=(reference.n_obs, 12))
    noisy.loc["TOY0010", noisy.columns[0]] = np.nan
    other.obsm["response"] = noisy[noisy.columns[:-2]]
    other.uns["drugs"] = reference.uns["drugs"].iloc[:-2]
    table = score_lines(RIDGE, reference, cells, screen=other, levels=["line mean", "bulk"], n_bootstrap=10)

    training = ~reference.obs_names.isin(LINES)
    z = {}
    for name, response in (("truth", reference.obsm["response"]), ("second", noisy)):
        known = response.iloc[:, :-2].astype(float)
        z[name] = ((known - known[training].mean()) / known[training].std(ddof=0)).loc[LINES].to_numpy()
    both = np.where(np.isfinite(z["second"]), z["truth"], np.nan)
    expected = scdrug.metrics.transfer_correlation(z["second"], both, train_mean=np.zeros(10), train_sd=np.ones(10))
    assert value(table, "second screen", "flat") == pytest.approx(expected.flat, abs=1e-5)
    assert value(table, "second screen", "contrast") == pytest.approx(expected.contrast, abs=1e-5)
    assert value(table, "second screen", "per_drug") == pytest.approx(
        scdrug.metrics.per_drug_pearson(z["second"], both), abs=1e-5
    )
    for metric in ("flat", "contrast", "per_drug"):
        bound = value(table, "second screen", metric)
        assert value(table, "line mean", f"{metric}_screen_share") == pytest.approx(
            value(table, "line mean", metric) / bound
        )
        assert value(table, "bulk", f"{metric}_across_share") == pytest.approx(
            value(table, "bulk", f"{metric}_across") / bound
        )
    other.obsm["response"] = noisy.loc[~noisy.index.isin(LINES)].reindex(reference.obs_names)
    with pytest.raises(ValueError, match="`screen` has no response of the lines"):
        score_lines(RIDGE, reference, cells, screen=other)


def test_the_drug_mean_stands_beside_with_a_reason_for_what_is_undefined(scores: pd.DataFrame) -> None:
    assert value(scores, "line mean", "flat", "drug mean") == 0
    assert np.isnan(value(scores, "line mean", "contrast", "drug mean"))
    assert "does not differ" in value(scores, "line mean", "contrast", "drug mean", "note")
    assert value(scores, "line mean", "rmse_z", "drug mean") > 0
    undefined = scores[scores["value"].isna()]
    assert (undefined["note"] != "").all()


def test_chance_is_far_below_the_score_and_no_p_value_is_below_what_five_lines_allow(scores: pd.DataFrame) -> None:
    assert value(scores, "shuffled lines", "contrast", column="high") < value(scores, "line mean", "contrast")
    assert value(scores, "shuffled lines", "contrast_p") == pytest.approx(1 / 120)


@pytest.mark.parametrize("with_replicate", [False, True])
def test_no_line_of_the_assay_reaches_the_model(reference, cells, with_replicate: bool) -> None:
    spy = Spy()
    given = reference.copy()
    if with_replicate:
        names = given.obs_names.to_list()
        names[60] = "GDSC1:TOY-0003"
        given.obs_names = given.obsm["response"].index = pd.Index(names)
        given.obs["alias"] = ["TOY 0010" if i == 70 else "" for i in range(given.n_obs)]
    score_lines(spy, given, cells, levels=["line mean"], n_bootstrap=0)
    gone = set(given.obs_names) - set(spy.seen[0].obs_names)
    expected = set(LINES) | ({"GDSC1:TOY-0003", given.obs_names[70]} if with_replicate else set())
    assert gone == expected


def test_measured_truth_is_used_for_scoring_only(reference, cells) -> None:
    first, second = Spy(), Spy()
    altered = reference.copy()
    altered.obsm["response"].loc[LINES] = altered.obsm["response"].loc[LINES[::-1]].to_numpy() + 1
    tables = [
        score_lines(spy, given, cells, levels=["line mean", "bulk"], n_bootstrap=0)
        for spy, given in ((first, reference), (second, altered))
    ]
    pd.testing.assert_frame_equal(first.seen[0].obsm["response"], second.seen[0].obsm["response"])
    np.testing.assert_array_equal(first.seen[0].X, second.seen[0].X)
    assert value(tables[0], "line mean", "flat", "spy") != value(tables[1], "line mean", "flat", "spy")


def test_a_model_that_reads_the_lines_from_elsewhere_is_caught(reference, cells) -> None:
    with pytest.raises(LeakError, match="TOY0003"):
        score_lines(Leaking(reference), reference, cells, levels=["line mean"], n_bootstrap=0)


def test_another_unit_of_the_response_gives_the_same_correlations(reference, cells) -> None:
    other = reference.copy()
    other.obsm["response"] = other.obsm["response"] * 0.1 + 3
    other.uns["response"]["measure"] = "AUC"
    first, second = (
        score_lines(RIDGE, given, cells, levels=["line mean", "bulk"], n_bootstrap=0) for given in (reference, other)
    )
    np.testing.assert_allclose(first["value"], second["value"], atol=1e-3)


def test_predictions_whose_high_values_mean_sensitive_are_turned_round(reference, cells) -> None:
    table = score_lines(Flipped("turned"), reference, cells, levels=["line mean", "bulk"], n_bootstrap=0)
    assert value(table, "line mean", "flat", "turned") > 0.5
    assert np.isnan(value(table, "line mean", "rmse_z", "turned"))
    assert "unit" in value(table, "line mean", "rmse_z", "turned", "note")


def test_order_of_cells_does_not_matter_and_cells_are_not_changed(reference, cells) -> None:
    before = cells.copy()
    order = np.random.default_rng(0).permutation(cells.n_obs)
    tables = [
        score_lines(RIDGE, reference, given, levels=["cell", "line mean", "pseudobulk"], n_bootstrap=20)
        for given in (cells, cells[order])
    ]
    np.testing.assert_allclose(tables[0][["value", "low", "high"]], tables[1][["value", "low", "high"]], atol=1e-4)
    assert sp.issparse(cells.X) and (cells.X != before.X).nnz == 0
    assert list(cells.obsm) == list(before.obsm) and list(cells.obs) == list(before.obs)


def test_expression_stays_sparse_on_its_way_to_the_model(reference, cells, monkeypatch) -> None:
    import scdrug.tl._predict as predict

    original, kinds = predict.predict_response, []

    def watch(adata, *args, **kwargs):
        kinds.append(sp.issparse(adata.X))
        return original(adata, *args, **kwargs)

    watch.__signature__ = __import__("inspect").signature(original)
    monkeypatch.setattr(predict, "predict_response", watch)
    score_lines(RIDGE, reference, cells, levels=["line mean", "pseudobulk"], n_bootstrap=0)
    assert kinds == [True, True]


def test_clusters_of_a_column_are_compared_with_their_majority_line(reference, cells) -> None:
    given = cells.copy()
    given.obs["cluster"] = given.obs["cell_line"].to_numpy()
    given.obs.iloc[:4, given.obs.columns.get_loc("cluster")] = "toy-0050"
    table = score_lines(RIDGE, reference, given, cluster_key="cluster", levels=["line mean", "cluster"], n_bootstrap=0)
    assert value(table, "cluster", "purity") == pytest.approx(76 / 80)
    assert value(table, "cluster", "n") == 5


def test_leiden_finds_the_lines_without_their_labels(cells) -> None:
    line = pd.factorize(cells.obs["cell_line"])[0]
    cluster = cluster_cells(cells)
    assert majority(cluster, line)[1] > 0.9
    np.testing.assert_array_equal(cluster, cluster_cells(cells))


def test_a_missing_package_for_clusters_costs_only_the_clusters(reference, cells, monkeypatch) -> None:
    import scdrug.benchmark.transfer._levels as levels

    def missing(*args, **kwargs):
        raise ImportError("igraph is not installed")

    monkeypatch.setattr(levels, "cluster_cells", missing)
    with pytest.warns(UserWarning, match="igraph"):
        table = score_lines(RIDGE, reference, cells, levels=["line mean", "cluster"], n_bootstrap=0)
    assert value(table, "line mean", "flat") > 0.5
    assert np.isnan(value(table, "cluster", "flat"))
    assert "igraph" in value(table, "cluster", "flat", column="note")


@pytest.mark.parametrize("scale", ["counts", "log", "scaled"])
def test_pseudobulk_adds_up_on_a_linear_scale(scale: str) -> None:
    values = np.array([[1.0, 0.0, 3.0], [2.0, 1.0, 0.0], [5.0, 4.0, 1.0]], dtype=np.float32)
    stored = {"counts": values, "log": np.log1p(values) * 0.999, "scaled": values - 2}[scale]
    adata = ad.AnnData(sp.csr_matrix(stored), var=pd.DataFrame(index=list("abc")))
    options = {"scale": scale, "groupby": "x", "method": "zscore"}
    sums, own = pseudobulk(adata, np.array([0, 0, 1]), names=["p", "q"], options=options)
    expected = {"counts": values[:2].sum(0), "log": np.expm1(stored[:2]).mean(0), "scaled": stored[:2].mean(0)}[scale]
    np.testing.assert_allclose(sums.X.toarray()[0], expected, rtol=1e-5)
    assert own == {"method": "zscore", "scale": "linear" if scale == "log" else scale}


def test_cells_without_a_line_are_left_out_with_a_warning(reference, cells) -> None:
    given = cells.copy()
    given.obs["cell_line"] = given.obs["cell_line"].astype(object)
    given.obs.iloc[:3, 0] = [np.nan, None, " "]
    with pytest.warns(UserWarning, match="3 of 80 cells"):
        table = score_lines(RIDGE, reference, given, levels=["line mean"], n_bootstrap=0)
    assert value(table, "data", "cells", "drug mean") == 77


def test_one_line_has_no_contrast_and_says_why(reference, cells) -> None:
    one = cells[cells.obs["cell_line"] == "toy-0003"].copy()
    table = score_lines(RIDGE, reference, one, levels=["cell", "line mean"], n_bootstrap=20)
    assert np.isfinite(value(table, "line mean", "flat"))
    for level in ("cell", "line mean", "shuffled lines"):
        assert np.isnan(value(table, level, "contrast"))
        assert "two of the lines" in value(table, level, "contrast", column="note")


def test_each_seed_is_scored_and_what_is_tuned_is_chosen_without_cells(reference, cells) -> None:
    spec = ModelSpec("tuned", "KernelRidge", params={"kernel": "linear"}, tune={"ridge": [0.3, 1000.0]})
    table = score_lines(spec, reference, cells, levels=["line mean"], seeds=(3, 4), n_bootstrap=0)
    assert sorted(table.loc[table["model"] == "tuned", "seed"].unique()) == [3, 4]
    fixed = score_lines(RIDGE, reference, cells, levels=["line mean"], n_bootstrap=0)
    flat = table.loc[
        (table["model"] == "tuned") & (table["level"] == "line mean") & (table["metric"] == "flat"), "value"
    ]
    np.testing.assert_allclose(flat, value(fixed, "line mean", "flat"), rtol=1e-6)


def test_shared_genes_train_on_what_the_cells_measure(reference, cells) -> None:
    spy = Spy()
    score_lines(spy, reference, cells[:, :150].copy(), genes="shared", levels=["line mean"], n_bootstrap=0)
    assert list(spy.seen[0].var_names) == list(reference.var_names[:150])


def _renamed(cells: ad.AnnData, name: str) -> ad.AnnData:
    cells = cells.copy()
    cells.obs["cell_line"] = cells.obs["cell_line"].astype(str).replace("toy-0003", name)
    return cells


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda c: {"cells": c, "line_key": "cel_line"}, KeyError, "Did you mean 'cell_line'"),
        (lambda c: {"cells": _renamed(c, "TOY0003X")}, KeyError, "nearest: .*TOY0003"),
        (lambda c: {"cells": _renamed(c, "toy 0010")}, ValueError, "both are 'TOY0010'"),
        (lambda c: {"cells": c, "names": {"toy-3": "TOY0003"}}, KeyError, "Lines: 'toy-0003'"),
        (lambda c: {"cells": c, "exclude": ["HELA"]}, KeyError, "no line called 'HELA'"),
        (lambda c: {"cells": c, "options": {"anchors": "mean"}}, ValueError, "Did you mean 'anchor'"),
        (lambda c: {"cells": c, "options": {"drugs": ["x"]}}, ValueError, "options"),
        (lambda c: {"cells": c, "levels": ["cells"]}, ValueError, "Did you mean 'cell'"),
        (lambda c: {"cells": c, "cluster_key": "clusters"}, KeyError, "cluster_key"),
        (lambda c: {"cells": c, "genes": "share"}, ValueError, "shared"),
        (lambda c: {"cells": c, "seeds": ()}, ValueError, "at least one seed"),
    ],
)
def test_bad_input_is_refused_before_training(reference, cells, change, error, message) -> None:
    spy = Spy()
    with pytest.raises(error, match=message):
        score_lines(spy, reference, n_bootstrap=0, **change(cells))
    assert not spy.seen


def test_a_line_without_responses_is_refused(reference, cells) -> None:
    given = reference.copy()
    given.obsm["response"].loc["TOY0003"] = np.nan
    with pytest.raises(ValueError, match="no response of 1 lines of the assay: 'toy-0003'"):
        score_lines(RIDGE, given, cells, levels=["line mean"], n_bootstrap=0)


def test_a_model_for_known_samples_only_is_refused(reference, cells) -> None:
    spy = Spy()
    spy.model_class = type("M", (), {"card": type("C", (), {"unseen_cells": False, "name": "M"})})
    with pytest.raises(ValueError, match="cannot predict samples that were not in training"):
        score_lines(spy, reference, cells, levels=["line mean"], n_bootstrap=0)


def test_a_drug_that_no_training_line_tells_apart_is_left_out(reference, cells) -> None:
    given, spy = reference.copy(), Spy()
    dropped = given.obsm["response"].columns[0]
    given.obsm["response"].loc[~given.obs_names.isin(LINES), dropped] = np.nan
    table = score_lines(spy, given, cells, levels=["line mean"], n_bootstrap=0)
    assert dropped not in spy.seen[0].obsm["response"]
    assert value(table, "data", "drugs", "spy") == given.obsm["response"].shape[1] - 1


# ---------------------------------------------------------------------- labelled cells


@pytest.fixture(scope="module")
def labelled() -> ad.AnnData:
    cells = scdrug.datasets.toy_cells(n_cells=120)
    cells.obs["sensitive"] = cells.obsm["true_response"]["trametinib"] < np.median(
        cells.obsm["true_response"]["trametinib"]
    )
    cells.obs["culture"] = np.where(cells.obs["sensitive"], "parental", "treated")
    cells.obs["line"] = "TOY0007"
    return cells


@pytest.fixture(scope="module")
def label_scores(reference, labelled) -> pd.DataFrame:
    return score_labels(
        RIDGE, reference, labelled, drug="Trametinib", exclude="TOY-0001", treatment_key="culture",
        line_key="line", control_drugs=["erlotinib"], n_bootstrap=50,
    )  # fmt: skip


def test_labels_are_told_apart_beside_prevalence_and_the_all_sensitive_baseline(label_scores) -> None:
    assert value(label_scores, "cell", "auroc") > 0.8
    assert value(label_scores, "cell", "auprc") > value(label_scores, "cell", "prevalence") == pytest.approx(0.5)
    assert value(label_scores, "cell", "auroc", column="low") < value(label_scores, "cell", "auroc")
    assert value(label_scores, "cell", "auroc", "all sensitive") == 0.5
    assert value(label_scores, "cell", "accuracy", "all sensitive") == pytest.approx(0.5)
    assert value(label_scores, "cell", "mcc", "all sensitive") == 0
    for metric in ("mcc", "balanced_accuracy", "f1", "accuracy"):
        assert np.isfinite(value(label_scores, "cell", metric))


def test_a_label_that_treatment_decides_is_called_a_confound(label_scores) -> None:
    assert value(label_scores, "confound", "overlap", "all sensitive") == pytest.approx(1)
    assert "coincide" in value(label_scores, "confound", "overlap", "all sensitive", "note")
    assert np.isnan(value(label_scores, "within treatment", "auroc"))
    assert "both classes" in value(label_scores, "within treatment", "auroc", column="note")


def test_any_predictor_is_scored_on_the_same_labels(label_scores) -> None:
    assert value(label_scores, "principal component 1", "auroc", "expression") >= 0.5
    assert value(label_scores, "total signal", "auroc", "expression") >= 0.5
    low, high = (value(label_scores, "other drugs", "auroc", column=name) for name in ("low", "high"))
    assert low <= value(label_scores, "other drugs", "auroc") <= high
    assert value(label_scores, "other drugs", "n") == value(label_scores, "data", "drugs") - 1
    assert 0.5 < value(label_scores, "other drugs", "percentile") <= 1
    assert value(label_scores, "shuffled labels", "auroc") == pytest.approx(0.5, abs=0.02)
    assert 0 <= value(label_scores, "control drug: erlotinib", "auroc") <= 1


def test_lines_of_labelled_cells_are_excluded_by_name_and_by_column(reference, labelled) -> None:
    spy = Spy()
    score_labels(spy, reference, labelled, drug="trametinib", exclude=["toy 0001"], line_key="line", n_bootstrap=0)
    assert set(reference.obs_names) - set(spy.seen[0].obs_names) == {"TOY0001", "TOY0007"}


def test_scores_within_treatments_are_given_where_groups_allow(reference, labelled) -> None:
    table = score_labels(
        RIDGE, reference, labelled, drug="trametinib", exclude=[], treatment_key="sample", n_bootstrap=0
    )
    assert value(table, "within treatment", "auroc") > 0.7
    assert value(table, "confound", "overlap", "all sensitive") < 0.5


def test_without_a_treatment_the_confound_is_said_to_be_unknown(reference, labelled) -> None:
    table = score_labels(RIDGE, reference, labelled, drug="trametinib", exclude=[], n_bootstrap=0)
    assert np.isnan(value(table, "confound", "overlap", "all sensitive"))
    assert "not known" in value(table, "confound", "overlap", "all sensitive", "note")


def test_scores_do_not_depend_on_the_direction_that_a_model_counts_in(reference, labelled) -> None:
    arguments = {"drug": "trametinib", "exclude": [], "n_bootstrap": 0}
    plain = score_labels(RIDGE, reference, labelled, **arguments)
    turned = score_labels(Flipped("turned"), reference, labelled, **arguments)
    assert value(turned, "cell", "auroc", "turned") == pytest.approx(value(plain, "cell", "auroc"), abs=1e-6)
    assert value(turned, "cell", "threshold", "turned") == 0.5  # a unit of its own is taken for a probability


def test_a_regression_is_cut_between_the_thresholds_of_the_training_lines(reference, labelled) -> None:
    table = score_labels(RIDGE, reference, labelled, drug="trametinib", exclude=["TOY0001"], n_bootstrap=0)
    response = reference.obsm["response"].drop(index="TOY0001")["trametinib"].dropna().to_numpy(dtype=float)
    expected = np.quantile(response, [0.3, 0.7]).mean()
    assert value(table, "cell", "threshold") == pytest.approx(expected, rel=1e-6)
    median = score_labels(
        RIDGE, reference, labelled, drug="trametinib", exclude=["TOY0001"], rule={"method": "median"}, n_bootstrap=0
    )
    assert value(median, "cell", "threshold") == pytest.approx(np.median(response), rel=1e-6)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"drug": "trametinob"}, KeyError, "nearest: .*trametinib"),
        ({"exclude": "TOY00001"}, KeyError, "nearest: .*TOY0001"),
        ({"label_key": "sensitiv"}, KeyError, "Did you mean 'sensitive'"),
        ({"label_key": "clone"}, ValueError, "must hold True or 1"),
        ({"label_key": "line"}, ValueError, "must hold True or 1"),
        ({"treatment_key": "cultur"}, KeyError, "Did you mean 'culture'"),
        ({"control_drugs": ["nothing"]}, KeyError, "No drug is called 'nothing'"),
    ],
)
def test_bad_labels_and_names_are_refused_before_training(reference, labelled, change, error, message) -> None:
    spy = Spy()
    with pytest.raises(error, match=message):
        score_labels(spy, reference, labelled, n_bootstrap=0, **{"drug": "trametinib", "exclude": [], **change})
    assert not spy.seen


def test_one_class_is_refused(reference, labelled) -> None:
    one = labelled[labelled.obs["sensitive"]].copy()
    with pytest.raises(ValueError, match="one class: 60 sensitive and 0 resistant"):
        score_labels(RIDGE, reference, one, drug="trametinib", exclude=[])


# ---------------------------------------------------------------------- tasks


def test_an_unknown_task_or_two_models_of_one_name_are_refused() -> None:
    with pytest.raises(ValueError, match="Did you mean 'a375'"):
        run_single_cell(RIDGE, task="A375_")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="different names"):
        run_single_cell([RIDGE, RIDGE])


def test_a_folder_without_the_cells_says_what_is_missing(reference, tmp_path) -> None:
    with pytest.raises(FileNotFoundError, match="sc/sc_mixology"):
        run_single_cell(RIDGE, data=tmp_path, reference=reference)


@pytest.mark.slow
def test_five_lung_lines_give_the_published_figures_of_the_default_recipe(shared_data, gdsc2) -> None:
    """Figures of docs/guide/harmonization.md."""
    spec = ModelSpec("default", "KernelRidge", params={"kernel": "linear", "ridge": 0.5, "denoise": 1.0})
    cells = scdrug.datasets.sc_mixology(path=shared_data / "sc" / "sc_mixology")
    cells = cells[cells.obs["singlet"].to_numpy(dtype=bool)].copy()
    table = score_lines(spec, gdsc2, cells, levels=["cell", "line mean", "bulk"], n_bootstrap=0)
    assert value(table, "data", "training lines", "drug mean") == gdsc2.n_obs - 5
    assert value(table, "line mean", "flat", "default") == pytest.approx(0.465, abs=0.002)
    assert value(table, "line mean", "contrast", "default") == pytest.approx(0.416, abs=0.002)
    assert value(table, "bulk", "flat", "default") == pytest.approx(0.427, abs=0.002)
    assert value(table, "cell", "flat", "default") < value(table, "line mean", "flat", "default")


@pytest.mark.slow
def test_a375_gives_the_published_auroc_and_its_confound(shared_data) -> None:
    specs = [ModelSpec("ridge", "KernelRidge"), ModelSpec("mean", "AdditiveMean")]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        table = run_single_cell(specs, task="a375", data=shared_data, measure="AUC", n_bootstrap=0)
    assert value(table, "cell", "auroc") == pytest.approx(0.903, abs=0.002)
    assert value(table, "data", "genes") == 1425
    assert value(table, "confound", "overlap", "all sensitive") == pytest.approx(1)
    assert value(table, "principal component 1", "auroc", "expression") > 0.95
    assert value(table, "cell", "auroc", "mean") == 0.5
    assert not table.duplicated(["model", "seed", "level", "metric"]).any()


# ------------------------------------------------------------------ simulated cells


def test_simulated_cells_are_counts_of_the_lines_drawn_and_the_same_for_a_seed(reference: ad.AnnData) -> None:
    cells = simulate_cells(reference, n_lines=6, n_cells=40, depth=5000, seed=3)
    counts = cells.X.toarray()
    assert (counts == np.round(counts)).all() and counts.min() == 0
    assert cells.obs["cell_line"].value_counts().tolist() == [40] * 6
    tissue = reference.obs.loc[cells.obs["cell_line"].astype(str), "tissue"]
    assert tissue.nunique() == 1
    np.testing.assert_allclose(counts.sum(axis=1).mean(), 5000, rtol=0.1)
    again = simulate_cells(reference, n_lines=6, n_cells=40, depth=5000, seed=3)
    assert (again.X != cells.X).nnz == 0
    assert (simulate_cells(reference, n_lines=6, n_cells=40, depth=5000, seed=4).X != cells.X).nnz


def test_simulated_cells_without_noise_of_the_platform_follow_their_own_line(reference: ad.AnnData) -> None:
    cells = simulate_cells(reference, n_lines=5, n_cells=50, depth=1e5, platform_sd=0.0, dispersion=0.0)
    lines = cells.obs["cell_line"].cat.categories
    pooled = np.log1p([np.asarray(cells[cells.obs["cell_line"] == line].X.sum(axis=0)).ravel() for line in lines])
    bulk = reference[lines].X
    similarity = np.corrcoef(pooled - pooled.mean(axis=0), bulk - bulk.mean(axis=0))[:5, 5:]
    assert (similarity.argmax(axis=1) == np.arange(5)).all()
    one = simulate_cells(reference, n_lines=5, n_cells=50, depth=1e5, platform_sd=2.0, dispersion=0.0)
    moved = np.asarray(one.X.sum(axis=0)).ravel() / np.asarray(cells.X.sum(axis=0)).ravel().clip(1)
    assert np.log(moved[moved > 0]).std() > 1


def test_excluded_lines_are_never_simulated(reference: ad.AnnData) -> None:
    tissue = str(reference.obs["tissue"].value_counts().index[0])
    names = list(reference.obs_names[reference.obs["tissue"] == tissue])
    kept = set(names[:4])
    cells = simulate_cells(reference, n_lines=4, n_cells=1, tissue=tissue, exclude=names[4:])
    assert set(cells.obs["cell_line"].astype(str)) == kept
    with pytest.raises(ValueError, match="4 lines of tissue .* can be drawn, and `n_lines` is 5"):
        simulate_cells(reference, n_lines=5, n_cells=1, tissue=tissue, exclude=names[4:])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n_lines": 1}, "`n_lines` must be at least 2"),
        ({"n_cells": 0}, "`n_cells` must be at least 1"),
        ({"depth": 0}, "`depth` must be positive"),
        ({"dispersion": -1}, "`dispersion` must be at least 0"),
    ],
)
def test_simulations_that_make_no_sense_are_refused(reference: ad.AnnData, arguments, message) -> None:
    with pytest.raises(ValueError, match=message):
        simulate_cells(reference, **arguments)
    with pytest.raises(KeyError, match="tissue_key"):
        simulate_cells(reference, tissue_key="organ")


def test_the_simulated_task_neither_draws_nor_trains_on_lines_of_the_real_tasks(reference: ad.AnnData) -> None:
    adata = reference.copy()
    names = adata.obs_names.to_numpy(dtype=object).copy()
    names[:2] = ["NCI-H1975", "A-375"]
    adata.obs_names = names
    adata.obsm["response"].index = names
    adata.obs["tissue"] = "lung"
    spy = Spy()
    scores = run_single_cell(spy, task="simulated", reference=adata, n_bootstrap=0)
    assert not {"NCI-H1975", "A-375"} & set(spy.seen[0].obs_names)
    assert len(spy.seen[0]) == len(adata) - 42
    flat = scores[(scores["level"] == "line mean") & (scores["metric"] == "flat") & (scores["model"] == "spy")]
    assert flat["value"].item() > 0


# ---------------------------------------------------------------------- negative controls


def test_a_control_tells_how_many_cells_are_refused_and_what_is_said_of_them(reference, cells) -> None:
    table = score_control(RIDGE, reference, cells, exclude=LINES, n_bootstrap=20)
    model = RIDGE.fit(reference[~reference.obs_names.isin(LINES)].copy())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        placed = scdrug.tl.predict_response(cells, model, copy=True)
    assert value(table, "cell", "reliability") == pytest.approx(placed.obs["response_reliability"].mean(), abs=1e-4)
    percentile = placed.obsm["response_percentile"]
    assert value(table, "drug", "above_90") == pytest.approx((percentile.mean() > 0.9).mean())
    assert value(table, "drug", "percentile") == pytest.approx(percentile.to_numpy().mean(), abs=1e-3)
    refused = (
        1.0
        if placed.uns["predicted_response"]["verdict"] != "ok"
        else (placed.obs["response_reliability"] < 0.05).mean()
    )
    assert value(table, "cell", "refused") == pytest.approx(refused)
    noise = cells.copy()
    noise.X = sp.random(*cells.shape, density=0.1, format="csr", dtype=np.float32, random_state=0).ceil()
    table = score_control(RIDGE, reference, noise, n_bootstrap=0)
    assert value(table, "cell", "refused") == 1
    assert "No drug can be ranked" in value(table, "cell", "refused", column="note")


def test_healthy_blood_is_a_control_and_takes_no_second_screen(gdsc2, shared_data) -> None:
    table = run_single_cell(RIDGE, task="pbmc", reference=gdsc2, data=shared_data, n_bootstrap=0)
    assert value(table, "cell", "refused") == 1
    assert value(table, "cell", "n") == 80
    with pytest.raises(ValueError, match="'pbmc' has none"):
        run_single_cell(RIDGE, task="pbmc", reference=gdsc2, data=shared_data, screen="GDSC1")
    with pytest.raises(ValueError, match="another release"):
        run_single_cell(RIDGE, task="breast_atlas", reference=gdsc2, data=shared_data, screen="GDSC2")
