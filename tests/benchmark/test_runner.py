"""The runner: sees only what it may, loses nothing, and says what is wrong before it starts."""

from __future__ import annotations

import json
import os
import threading

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData

from scdrug import datasets, metrics
from scdrug.benchmark import LeakError, ModelSpec, Results, Search, make_splits, read_results, run
from scdrug.benchmark._fold import make_fold
from scdrug.model import AdditiveMean, KernelRidge

ADDITIVE = ModelSpec("additive", "AdditiveMean")
RIDGE = ModelSpec("ridge", "KernelRidge")


def quiet(*args, **options) -> Results:
    return run(*args, progress=False, **options)


def columns(results: Results) -> pd.DataFrame:
    return results.scores.drop(columns="value")


# ---------------------------------------------------------------------- what comes out


@pytest.mark.parametrize("kind", ["pair", "line", "drug", "disjoint", "tissue"])
def test_every_test_pair_is_predicted_once(kind: str, screen: AnnData, tmp_path) -> None:
    spec = ModelSpec("kronecker", "KernelRidge", params={"drug_kernel": "tanimoto"})
    splits = make_splits(screen, kind, n_folds=3)
    results = quiet(screen, splits, spec, out=tmp_path)
    table = results.predictions(kind, "kronecker")
    tested = sum((splits.roles(fold, screen) == 3) & screen.obsm["response"].notna().to_numpy() for fold in splits)
    assert len(table) == tested.sum()
    assert not table.duplicated(["line", "drug"]).any()
    truth = screen.obsm["response"].stack().loc[list(zip(table["line"], table["drug"]))]
    np.testing.assert_allclose(table["observed"], truth, rtol=1e-5)


def test_scores_are_those_of_the_metrics(screen: AnnData, tmp_path) -> None:
    splits = make_splits(screen, "line", n_folds=4)
    results = quiet(screen, splits, RIDGE, out=tmp_path)
    for fold in splits:
        held = splits.roles(fold, screen)[:, 0] == 3
        train, test = screen[~held].copy(), screen[held].copy()
        KernelRidge.setup_anndata(train)
        model = KernelRidge(train)
        model.train()
        predicted = model.predict(test, key_added=None).to_numpy()
        observed = test.obsm["response"].to_numpy(dtype=float)
        mean = train.obsm["response"].mean(axis=0).to_numpy()
        expected = {
            "rmse": metrics.rmse(predicted, observed),
            "per_drug_pearson": metrics.per_drug_pearson(predicted, observed),
            "skill": metrics.skill(predicted, observed, mean),
            "per_line_pearson_centered": metrics.per_line_pearson_centered(predicted, observed, mean),
        }
        got = results.scores[results.scores["fold"] == int(fold.split(".")[1])].set_index("metric")["value"]
        for name, value in expected.items():
            assert got[name] == pytest.approx(value, rel=1e-4), name


def test_a_drug_mean_has_no_skill_and_ranks_nothing(screen: AnnData, tmp_path) -> None:
    results = quiet(screen, make_splits(screen, "line"), ADDITIVE, out=tmp_path)
    table = results.summary(["skill", "per_drug_pearson", "pearson"])
    assert table["skill", "mean"].iloc[0] == pytest.approx(0, abs=1e-6)
    assert table["per_drug_pearson", "mean"].iloc[0] == pytest.approx(0, abs=1e-6)
    assert table["pearson", "mean"].iloc[0] > 0.3, "which is why pooled correlation says little"


def test_per_drug_table_agrees_with_the_scores(screen: AnnData, tmp_path) -> None:
    results = quiet(screen, make_splits(screen, "line"), RIDGE, out=tmp_path)
    by_fold = results.per_drug.groupby("fold")["pearson"].mean()
    scores = results.scores[results.scores["metric"] == "per_drug_pearson"].set_index("fold")["value"]
    np.testing.assert_allclose(by_fold, scores.loc[by_fold.index], rtol=1e-5)
    skill = 1 - np.sqrt(
        (results.per_drug["rmse"] ** 2 * results.per_drug["n"]).sum()
        / (results.per_drug["baseline_rmse"] ** 2 * results.per_drug["n"]).sum()
    )
    assert abs(skill - results.summary(["skill"])["skill", "mean"].iloc[0]) < 0.05


def test_models_are_compared_on_the_same_folds(screen: AnnData, tmp_path) -> None:
    results = quiet(screen, make_splits(screen, "line"), [ADDITIVE, RIDGE], out=tmp_path)
    table = results.compare("additive", "rmse").set_index("model").loc["ridge"]
    summary = results.summary(["rmse"])["rmse", "mean"]
    assert table["difference"] == pytest.approx(summary["line", "additive"] - summary["line", "ridge"], rel=1e-6)
    assert table["low"] < table["difference"] < table["high"]
    assert table["n"] == 5


@pytest.mark.slow
def test_processes_give_the_same_numbers_as_one_and_end_with_it(screen: AnnData, tmp_path) -> None:
    caller = os.getpid()

    class Watched(KernelRidge):
        """Refuses to work in a process that would outlive its run; see test_workers.py for the watching itself."""

        def _fit(self, expression, response):
            watched = any(thread.name == "end-with-parent" for thread in threading.enumerate())
            assert watched == (os.getpid() != caller)
            return super()._fit(expression, response)

    splits = make_splits(screen, "line", n_folds=3)
    models = [ADDITIVE, ModelSpec("ridge", Watched)]
    one = quiet(screen, splits, models, out=tmp_path / "one")
    two = quiet(screen, splits, models, out=tmp_path / "two", n_jobs=2)
    by = ["model", "fold", "metric"]
    pd.testing.assert_frame_equal(
        one.scores.sort_values(by, ignore_index=True), two.scores.sort_values(by, ignore_index=True), rtol=1e-4
    )


def test_labels_are_fitted_to_training_responses(screen: AnnData, tmp_path) -> None:
    splits = make_splits(screen, "line", n_folds=3)
    labels = {"method": "median"}
    results = quiet(screen, splits, RIDGE, out=tmp_path, labels=labels)
    held = splits.roles("1.1", screen)[:, 0] == 3
    response = screen.obsm["response"]
    thresholds = response[~held].median()
    table = results.predictions("line", "ridge").query("fold == 1")
    predicted = table.pivot(index="line", columns="drug", values="predicted")
    truth = response.loc[predicted.index, predicted.columns]
    classes = (truth < thresholds[predicted.columns]).where(truth.notna()).astype(float).to_numpy()
    scores = (thresholds[predicted.columns] - predicted).to_numpy()
    got = results.scores.query("fold == 1").set_index("metric")["value"]
    assert got["auroc"] == pytest.approx(metrics.auroc(scores, classes), abs=1e-3)
    assert results.folds["prevalence"].iloc[0] == pytest.approx(metrics.prevalence(classes), abs=1e-6)
    assert got["accuracy"] == pytest.approx(metrics.accuracy((scores > 0).astype(float), classes), abs=1e-2)


def test_thresholds_can_stand_in_the_table_of_drugs(screen: AnnData, tmp_path) -> None:
    adata = screen.copy()
    medians = adata.obsm["response"].median()
    adata.uns["drugs"]["cut"] = medians.to_numpy()
    adata.uns["drugs"].iloc[0, -1] = np.nan
    splits = make_splits(adata, "drug", n_folds=3)
    results = quiet(adata, splits, ADDITIVE, out=tmp_path, labels={"method": "threshold", "threshold": "cut"})
    table = results.predictions("drug", "additive").query("fold == 1 and drug != @medians.index[0]")
    scores = (table["drug"].map(medians) - table["predicted"]).to_numpy()
    classes = (table["observed"].to_numpy() < table["drug"].map(medians).astype(np.float32).to_numpy()).astype(float)
    got = results.scores.query("fold == 1").set_index("metric")["value"]["auroc"]
    assert got == pytest.approx(metrics.auroc(scores[:, None], classes[:, None]), abs=0.02), "new drugs have labels too"
    with pytest.raises(KeyError, match="Did you mean 'cut'"):
        quiet(adata, splits, ADDITIVE, out=tmp_path / "b", labels={"method": "threshold", "threshold": "cuts"})


# ---------------------------------------------------------------------- leaks


class FetchesTheWholeScreen(KernelRidge):
    """Leaks on purpose: trains on data that it fetches by itself."""

    def train(self, max_epochs: int | None = None, **trainer_kwargs: object) -> None:
        datasets.toy(n_lines=60)


class KeepsTheWholeScreen(KernelRidge):
    """Leaks on purpose: trains on data that it was not handed."""

    screen: AnnData

    def train(self, max_epochs: int | None = None, **trainer_kwargs: object) -> None:
        everything = self.screen.copy()
        type(self).setup_anndata(everything)
        self._adata = everything
        super().train(max_epochs, **trainer_kwargs)


class SwapsItsData(AdditiveMean):
    """Leaks on purpose: replaces its training data after it was set up."""

    screen: AnnData

    def train(self, max_epochs: int | None = None, **trainer_kwargs: object) -> None:
        self.adata.obsm["response"] = self.screen.obsm["response"].loc[
            self.adata.obs_names, self.adata.obsm["response"].columns
        ]
        super().train(max_epochs, **trainer_kwargs)


@pytest.mark.parametrize("kind", ["pair", "line", "drug", "disjoint"])
@pytest.mark.parametrize(
    ("leaking", "where"), [(FetchesTheWholeScreen, "build_reference"), (KeepsTheWholeScreen, "setup_anndata")]
)
def test_a_model_that_reads_test_data_is_caught(leaking, where: str, kind: str, screen: AnnData, tmp_path) -> None:
    KeepsTheWholeScreen.screen = screen
    spec = ModelSpec("leak", leaking, params={"drug_kernel": "tanimoto"})
    with pytest.raises(LeakError, match=f"reached {where}"):
        quiet(screen, make_splits(screen, kind, n_folds=3), spec, out=tmp_path)
    assert not list(tmp_path.rglob("*.npz"))


def test_a_model_that_swaps_its_responses_is_caught(screen: AnnData, tmp_path) -> None:
    SwapsItsData.screen = screen
    with pytest.raises(LeakError, match="test pairs reached SwapsItsData.train"):
        quiet(screen, make_splits(screen, "pair", n_folds=3), ModelSpec("leak", SwapsItsData), out=tmp_path)


@pytest.mark.parametrize("kind", ["pair", "line", "drug", "disjoint", "tissue"])
@pytest.mark.parametrize(
    "spec",
    [
        ModelSpec("model", "KernelRidge", params={"drug_kernel": "tanimoto", "denoise": 0.5}),
        ModelSpec("model", "KernelRidge", params={"drug_kernel": "tanimoto"}, tune={"ridge": [0.1, 1.0]}),
        ModelSpec("model", "SoftImpute", params={"threshold": 2.0, "kernel": "rbf"}),
    ],
    ids=["denoised", "tuned", "completed"],
)
def test_predictions_do_not_depend_on_the_answers(spec: ModelSpec, kind: str, screen: AnnData, tmp_path) -> None:
    if kind in ("drug", "disjoint") and spec.model == "SoftImpute":
        pytest.skip("cannot predict new drugs")
    splits = make_splits(screen, kind, n_folds=3).first(1)
    expected = quiet(screen, splits, spec, out=tmp_path / "a").predictions(kind, "model")
    roles = splits.roles("1.1", screen)
    other = screen.copy()
    noise = np.random.default_rng(0).normal(size=roles.shape)
    values = np.array(other.obsm["response"], dtype=float)
    values[roles == 3] = np.where(np.isnan(values), np.nan, noise)[roles == 3]
    other.obsm["response"] = pd.DataFrame(values, index=screen.obs_names, columns=screen.obsm["response"].columns)
    got = quiet(other, splits, spec, out=tmp_path / "b").predictions(kind, "model")
    assert not np.allclose(got["observed"], expected["observed"])
    np.testing.assert_array_equal(got["predicted"], expected["predicted"])


def test_training_data_hold_no_trace_of_the_test(screen: AnnData) -> None:
    adata = screen.copy()
    adata.obsm["labels"] = adata.obsm["response"] < 0
    adata.uns["everything"] = adata.obsm["response"].to_numpy()
    fold = make_fold(adata, make_splits(adata, "disjoint", n_folds=3).roles("1.1", adata))
    training, question = fold.training.adata, fold.question
    assert set(training.obsm) == {"response", *(k for k, v in adata.obsm.items() if isinstance(v, np.ndarray))}
    assert not {"everything", "truth"} & set(training.uns)
    assert not set(training.obs_names) & set(fold.observed.index)
    assert not set(training.uns["drugs"].index) & set(fold.observed.columns)
    assert "response" not in question.lines.obsm
    assert set(question.drugs) == set(fold.observed.columns)


# ---------------------------------------------------------------------- tuning


def test_parameters_are_chosen_on_validation_data(screen: AnnData, tmp_path) -> None:
    splits = make_splits(screen, "line", n_folds=3, validation=0.3)
    ridges = [0.01, 0.5, 300.0]
    spec = ModelSpec("tuned", "KernelRidge", tune={"ridge": ridges})
    results = quiet(screen, splits, spec, out=tmp_path)
    for _, fold in results.folds.iterrows():
        roles = splits.roles(f"1.{fold['fold']}", screen)[:, 0]
        train, validation = screen[roles == 1].copy(), screen[roles == 2].copy()
        errors = []
        for ridge in ridges:
            KernelRidge.setup_anndata(train)
            model = KernelRidge(train, ridge=ridge)
            model.train()
            errors.append(
                metrics.rmse(
                    model.predict(validation, key_added=None).to_numpy(),
                    validation.obsm["response"].to_numpy(dtype=float),
                )
            )
        assert json.loads(fold["params"]) == {"ridge": ridges[int(np.argmin(errors))]}
        assert fold["validation_score"] == pytest.approx(min(errors), rel=1e-4)


def test_the_chosen_model_is_trained_on_training_and_validation_data(screen: AnnData, tmp_path) -> None:
    splits = make_splits(screen, "line", n_folds=3)
    tuned = ModelSpec("tuned", "KernelRidge", tune={"ridge": [0.5]})
    fixed = ModelSpec("fixed", "KernelRidge", params={"ridge": 0.5})
    results = quiet(screen, splits, [tuned, fixed], out=tmp_path)
    np.testing.assert_array_equal(
        results.predictions("line", "tuned")["predicted"], results.predictions("line", "fixed")["predicted"]
    )


def test_optuna_searches_ranges(screen: AnnData, tmp_path) -> None:
    pytest.importorskip("optuna", reason="needs the extra `benchmark`")
    spec = ModelSpec("tuned", "KernelRidge", tune={"ridge": {"low": 0.01, "high": 100.0, "log": True}})
    search = Search("optuna", n_trials=4)
    splits = make_splits(screen, "line", n_folds=2)
    chosen = [quiet(screen, splits, spec, out=tmp_path / name, search=search).folds["params"].tolist() for name in "ab"]
    assert chosen[0] == chosen[1], "seeded"
    assert all(0.01 <= json.loads(value)["ridge"] <= 100 for value in chosen[0])


def test_a_range_needs_optuna(screen: AnnData, tmp_path) -> None:
    spec = ModelSpec("tuned", "KernelRidge", tune={"ridge": {"low": 0.01, "high": 100.0}})
    with pytest.raises(ValueError, match="'optuna'"):
        quiet(screen, make_splits(screen, "line", n_folds=2), spec, out=tmp_path)


# ---------------------------------------------------------------------- stopping and going on


class Stopped(Exception):
    """Stands for whatever ends a run."""


def stop_after(n: int):
    def progress(done: int, total: int, label: str) -> None:
        if done == n:
            raise Stopped

    return progress


def test_a_run_that_was_ended_goes_on_where_it_stopped(screen: AnnData, tmp_path) -> None:
    splits = make_splits(screen, "line")
    with pytest.raises(Stopped):
        run(screen, splits, [ADDITIVE, RIDGE], out=tmp_path, progress=stop_after(3))
    half = read_results(tmp_path)
    assert len(half.folds) == 3
    assert len(half.missing) == 7
    assert "7 folds missing" in repr(half)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.npz")}
    seen = []
    results = run(
        screen, splits, [ADDITIVE, RIDGE], out=tmp_path, progress=lambda done, total, label: seen.append(done)
    )
    assert seen == list(range(3, 11))
    assert {path: path.stat().st_mtime_ns for path in before} == before
    whole = quiet(screen, splits, [ADDITIVE, RIDGE], out=tmp_path.parent / "whole")
    pd.testing.assert_frame_equal(results.scores, whole.scores)


def test_a_full_disk_keeps_finished_folds_and_leaves_no_half_file(screen: AnnData, tmp_path, monkeypatch) -> None:
    splits = make_splits(screen, "line")
    real = os.fsync
    written = []

    def fsync(handle: int) -> None:
        if len(written) == 5:  # the manifest, the splits, three folds
            raise OSError(28, "No space left on device")
        written.append(handle)
        real(handle)

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(OSError, match="No space left"):
        quiet(screen, splits, RIDGE, out=tmp_path)
    monkeypatch.undo()
    assert len(read_results(tmp_path).folds) == 3
    assert not [path for path in tmp_path.rglob(".*") if path.is_file()]


def test_one_failing_model_does_not_take_the_others_down(screen: AnnData, tmp_path) -> None:
    class Fails(AdditiveMean):
        def _fit(self, expression, response):
            raise ZeroDivisionError("on purpose")

    with pytest.raises(RuntimeError, match="'fails'.*on purpose"):
        quiet(screen, make_splits(screen, "line"), [ModelSpec("fails", Fails), RIDGE], out=tmp_path)
    assert set(read_results(tmp_path).folds["model"]) == {"ridge"}
    assert len(read_results(tmp_path).folds) == 5


def test_tables_keep_the_order_in_which_models_were_given(screen: AnnData, tmp_path) -> None:
    splits = make_splits(screen, "line", n_folds=3)
    results = quiet(screen, splits, [RIDGE, ADDITIVE], out=tmp_path)
    assert results.summary().index.get_level_values("model").tolist() == ["ridge", "additive"]


def test_more_models_can_be_added_to_a_folder(screen: AnnData, tmp_path) -> None:
    splits = make_splits(screen, "line")
    quiet(screen, splits, RIDGE, out=tmp_path)
    results = quiet(screen, splits, ADDITIVE, out=tmp_path)
    assert set(results.folds["model"]) == {"ridge", "additive"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"adata": datasets.toy(n_lines=60, seed=5)}, "another reference"),
        ({"splits": 7}, "other splits for 'line'"),
        ({"models": ModelSpec("ridge", "KernelRidge", params={"ridge": 3.0})}, "other parameters for 'ridge'"),
        ({"labels": {"method": "median"}}, "other labels"),
        ({"seed": 9}, "seed 0, not 9"),
        ({"search": Search(select_by="skill")}, "another search"),
    ],
)
def test_results_of_something_else_are_not_mixed_in(change: dict, message: str, screen: AnnData, tmp_path) -> None:
    quiet(screen, make_splits(screen, "line"), RIDGE, out=tmp_path)
    before = sorted(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    adata = change.pop("adata", screen)
    splits = make_splits(adata, "line", seed=change.pop("splits", 0))
    with pytest.raises(ValueError, match=message):
        quiet(adata, splits, change.pop("models", RIDGE), out=tmp_path, **change)
    assert before == sorted(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())


def test_provenance_says_what_was_run(screen: AnnData, tmp_path) -> None:
    results = quiet(screen, make_splits(screen, "line", seed=4), RIDGE, out=tmp_path, seed=8)
    provenance = results.provenance
    assert provenance["seed"] == 8
    assert provenance["splits"]["line"]["seed"] == 4
    assert provenance["data"]["n_lines"] == 60
    assert len(provenance["data"]["sha256"]) == 64
    assert {"scdrug", "torch", "python"} <= set(provenance["versions"])
    assert (results.folds["n_train"] + results.folds["n_validation"] + results.folds["n_test"]).nunique() == 1


# ---------------------------------------------------------------------- what is wrong, before any training


class NeverTrained(KernelRidge):
    def train(self, max_epochs=None, **trainer_kwargs):
        raise AssertionError("training started")


def test_a_model_without_structures_is_refused_before_training(screen: AnnData, tmp_path) -> None:
    splits = make_splits(screen, "drug", n_folds=3)
    with pytest.raises(ValueError, match=r"cannot predict drugs.*drug_kernel='tanimoto'"):
        quiet(screen, splits, ModelSpec("never", NeverTrained, splits=["drug"]), out=tmp_path)
    line = make_splits(screen, "line", n_folds=3)
    with pytest.warns(UserWarning, match="left out of 'drug'"):
        results = quiet(screen, [splits, line], RIDGE, out=tmp_path)
    assert set(results.folds["split"]) == {"line"}


def test_a_drug_without_training_data_is_refused_before_training(screen: AnnData, tmp_path) -> None:
    adata = screen.copy()
    splits = make_splits(adata, "line", n_folds=3)
    tested = splits.roles("1.2", adata)[:, 0] == 3
    adata.obsm["response"].iloc[~tested, 4] = np.nan
    with pytest.raises(ValueError, match=f"without training data: '{adata.obsm['response'].columns[4]}'"):
        quiet(adata, splits, ModelSpec("never", NeverTrained), out=tmp_path)


def test_an_empty_and_a_one_class_fold_are_refused_before_training(screen: AnnData, tmp_path) -> None:
    adata = screen.copy()
    splits = make_splits(adata, "line", n_folds=3)
    tested = splits.roles("1.2", adata)[:, 0] == 3
    with pytest.raises(ValueError, match="one class only"):
        quiet(
            adata,
            splits,
            ModelSpec("never", NeverTrained),
            out=tmp_path,
            labels={"method": "threshold", "threshold": 1e6},
        )
    adata.obsm["response"].loc[tested] = np.nan
    with pytest.raises(ValueError, match=r"Fold line 1\.2 has no measured response to test"):
        quiet(adata, splits, ModelSpec("never", NeverTrained), out=tmp_path)


def test_nan_predictions_are_refused_with_their_place(screen: AnnData, tmp_path) -> None:
    class SaysNothing(AdditiveMean):
        def _predict_rows(self, expression, drugs, names=None):
            out = super()._predict_rows(expression, drugs, names)
            if len(out) < 50:  # only when asked about test lines
                out[2, 3] = np.nan
            return out

    with pytest.raises(ValueError, match="predicted NaN"):
        quiet(screen, make_splits(screen, "line"), ModelSpec("silent", SaysNothing), out=tmp_path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"model": "KernelRigde"}, "Did you mean 'KernelRidge'"),
        ({"model": "KernelRidge", "params": {"rigde": 1}}, "Did you mean 'ridge'"),
        ({"model": "KernelRidge", "tune": {"kernl": ["rbf"]}}, "Did you mean 'kernel'"),
        ({"model": "KernelRidge", "tune": {"kernel": "rbf"}}, "list of values"),
    ],
)
def test_unknown_models_and_parameters_are_refused(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ModelSpec("name", **options)


def test_names_are_unique_and_splits_known(screen: AnnData, tmp_path) -> None:
    splits = make_splits(screen, "line")
    with pytest.raises(ValueError, match="more than once: 'a B', 'a b'"):
        quiet(screen, splits, [ModelSpec("a b", "AdditiveMean"), ModelSpec("a B", "KernelRidge")], out=tmp_path)
    with pytest.raises(ValueError, match="two splits of kind"):
        quiet(screen, [splits, splits], RIDGE, out=tmp_path)
    with pytest.raises(ValueError, match="asks for the splits 'pair'"):
        quiet(screen, splits, ModelSpec("x", "AdditiveMean", splits=["pair"]), out=tmp_path)
    with pytest.raises(ValueError, match="no model"):
        quiet(screen, splits, [], out=tmp_path)
    with pytest.raises(ValueError, match="no split"):
        quiet(screen, [], RIDGE, out=tmp_path)


def test_foreign_and_damaged_folders_are_refused_with_the_reason(screen: AnnData, tmp_path) -> None:
    with pytest.raises(FileNotFoundError, match="does not exist"):
        read_results(tmp_path / "none")
    with pytest.raises(FileNotFoundError, match="not a folder of benchmark results"):
        read_results(tmp_path)
    (tmp_path / "mine.txt").write_text("precious")
    splits = make_splits(screen, "line")
    for overwrite in (False, True):
        with pytest.raises(ValueError, match="not written among them"):
            quiet(screen, splits, RIDGE, out=tmp_path, overwrite=overwrite)
    assert (tmp_path / "mine.txt").read_text() == "precious"
    quiet(screen, splits, RIDGE, out=tmp_path / "results")
    file = next((tmp_path / "results").rglob("1.2.npz"))
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(ValueError, match=r"1\.2\.npz is damaged"):
        read_results(tmp_path / "results").scores  # noqa: B018
    (tmp_path / "results" / "benchmark.json").write_text('{"format": 99}')
    with pytest.raises(ValueError, match="format 99"):
        read_results(tmp_path / "results")
    (tmp_path / "results" / "benchmark.json").write_text("{")
    with pytest.raises(ValueError, match="cannot be read"):
        read_results(tmp_path / "results")
