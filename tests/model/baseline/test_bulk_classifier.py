"""One classifier a drug: the same as the libraries' own, oriented as sensitivity, safe to save."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy.special import expit

from scdrug import datasets, model, pp, tl
from scdrug.metrics import auroc, per_drug_auroc
from scdrug.model.baseline._classifiers import drug_seed

DRUG = "trametinib"
FAST = {"n_estimators": 15}


@pytest.fixture(scope="module")
def reference() -> ad.AnnData:
    return datasets.toy(n_lines=100)


@pytest.fixture(scope="module")
def labelled(reference: ad.AnnData) -> tuple[np.ndarray, np.ndarray]:
    """Labelled lines of one drug, and their labels."""
    labels = pp.binarize_response(reference, copy=True).obsm["response_binary"][DRUG].to_numpy()
    lines = np.flatnonzero(np.isfinite(labels))
    return lines, labels[lines].astype(int)


def _trained(reference: ad.AnnData, *, n_jobs: int = 1, calibration_folds: int = 0, seed: int = 0, **options):
    adata = reference.copy()
    model.BulkClassifier.setup_anndata(adata)
    trained = model.BulkClassifier(adata, n_jobs=n_jobs, calibration_folds=calibration_folds, **options)
    trained.train(seed=seed)
    return trained


def _one_drug(reference: ad.AnnData, drugs: list[str]) -> ad.AnnData:
    adata = reference.copy()
    adata.obsm["response"] = adata.obsm["response"][drugs]
    return adata


# ------------------------------------------------------------------ the same as the libraries' own


@pytest.mark.parametrize("method", ["logistic", "svm"])
def test_linear_methods_equal_scikit_learn_on_all_genes(method: str, reference: ad.AnnData, labelled) -> None:
    from sklearn.linear_model import LogisticRegression
    from sklearn.svm import SVC

    lines, labels = labelled
    predicted = _trained(reference, method=method).predict(reference.copy(), key_added=None)[DRUG]
    z = (reference.X - reference.X.mean(axis=0)) / reference.X.std(axis=0) / np.sqrt(reference.n_vars)
    if method == "logistic":
        own = LogisticRegression(C=3, tol=1e-8, max_iter=10_000).fit(z[lines], labels)
        expected = own.predict_proba(z)[:, 1]
    else:
        expected = expit(SVC(C=1, kernel="linear").fit(z[lines], labels).decision_function(z))
    np.testing.assert_allclose(predicted, expected, atol=1e-3)
    assert predicted.std() > 0.05


@pytest.mark.parametrize("method", ["tree", "forest", "boosting", "xgboost"])
def test_trees_equal_those_of_their_library(method: str, reference: ad.AnnData, labelled) -> None:
    from sklearn.ensemble import GradientBoostingClassifier, RandomForestClassifier
    from sklearn.tree import DecisionTreeClassifier

    lines, labels = labelled
    seed = drug_seed(0, DRUG)
    makers = {
        "tree": lambda: DecisionTreeClassifier(random_state=seed),
        "forest": lambda: RandomForestClassifier(n_estimators=15, random_state=seed),
        "boosting": lambda: GradientBoostingClassifier(n_estimators=15, max_features="sqrt", random_state=seed),
        "xgboost": lambda: pytest.importorskip("xgboost").XGBClassifier(
            n_estimators=15, colsample_bytree=0.1, max_bin=64, random_state=seed, n_jobs=1
        ),
    }
    variable = np.argsort(-reference.X.astype(float).var(axis=0), kind="stable")[:150]
    features = np.asarray(reference.X[:, variable], dtype=np.float32)
    own = makers[method]().fit(features[lines], labels)
    trained = _trained(reference, method=method, n_genes=150, **FAST)
    predicted = trained.predict(reference.copy(), key_added=None)[DRUG]
    np.testing.assert_allclose(predicted, own.predict_proba(features)[:, 1], atol=1e-5)
    assert predicted.std() > 0.05


def test_arguments_of_the_estimator_are_passed_on(reference: ad.AnnData) -> None:
    stump = _trained(_one_drug(reference, [DRUG]), method="tree", params={"max_depth": 1})
    assert stump.predict(reference.copy(), key_added=None)[DRUG].nunique() == 2
    weak, strong = (_trained(reference, C=c).predict(reference.copy(), key_added=None) for c in (0.01, 10.0))
    assert weak[DRUG].std() < 0.5 * strong[DRUG].std()


def test_constant_methods_say_what_they_are_named_after(reference: ad.AnnData) -> None:
    everything = _trained(reference, method="sensitive").predict(reference.copy(), key_added=None)
    assert (everything == 1).all(axis=None)
    rule = {"method": "threshold", "threshold": 0.0}
    rate = _trained(reference, method="drug_rate", label=rule).predict(reference.copy(), key_added=None)
    response = reference.obsm["response"]
    np.testing.assert_allclose(rate.iloc[0], (response < 0).sum() / response.notna().sum(), atol=1e-6)
    assert (rate.nunique() == 1).all()


# ------------------------------------------------------------------ labels


def test_thresholds_come_from_the_training_lines_alone(reference: ad.AnnData) -> None:
    part = reference[:60].copy()
    table = _trained(part, method="drug_rate", label={"method": "extreme", "fraction": 0.2}).labels_
    values = part.obsm["response"][DRUG].dropna()
    expected = np.quantile(values, [0.2, 0.8])
    np.testing.assert_allclose(table.loc[DRUG, ["sensitive_threshold", "resistant_threshold"]].astype(float), expected)
    assert table.loc[DRUG, "n_sensitive"] == (values < expected[0]).sum()
    assert table.loc[DRUG, "n_discarded"] == ((values >= expected[0]) & (values < expected[1])).sum()


def test_given_labels_train_the_same_model_as_the_rule_that_made_them(reference: ad.AnnData) -> None:
    labelled = pp.binarize_response(reference, fraction=0.25, copy=True)
    model.BulkClassifier.setup_anndata(labelled, response_key="response_binary")
    given = model.BulkClassifier(labelled, label=None)
    given.train()
    expected = _trained(reference, label={"method": "extreme", "fraction": 0.25})
    pd.testing.assert_frame_equal(
        given.predict(reference.copy(), key_added=None), expected.predict(reference.copy(), key_added=None)
    )
    assert given.reference.response["direction"] == "higher is more sensitive"


def test_thresholds_by_drug_are_joined_by_id(reference: ad.AnnData) -> None:
    drugs = list(reference.obsm["response"].columns)
    threshold = {drug: float(reference.obsm["response"][drug].median()) for drug in reversed(drugs)}
    by_drug = _trained(reference, label={"method": "threshold", "threshold": {**threshold, "another": 1.0}})
    median = _trained(reference, label="median")
    pd.testing.assert_frame_equal(
        by_drug.predict(reference.copy(), key_added=None), median.predict(reference.copy(), key_added=None)
    )
    threshold["trametinb"] = threshold.pop(DRUG)
    with pytest.raises(KeyError, match=r"no value for 1 of 12 drugs: 'trametinib'.*'trametinb'"):
        _trained(reference, label={"method": "threshold", "threshold": threshold})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "forrest"}, "Did you mean 'forest'"),
        ({"label": "extrem"}, "Did you mean 'extreme'"),
        ({"label": {"fraction": 0.3}}, "needs a `method`"),
        ({"label": {"method": "extreme", "fraktion": 0.3}}, "Did you mean 'fraction'"),
        ({"label": {"method": "extreme", "fraction": 0.7}}, "less than 0.5"),
        ({"label": {"method": "median", "threshold": 1.0}}, "finds its own"),
        ({"label": {"method": "threshold"}}, "needs a finite `threshold`"),
        ({"params": {"kernel": "rbf"}, "method": "svm"}, "cannot set 'kernel'"),
        ({"params": {"max_dept": 3}, "method": "forest"}, "Did you mean 'max_depth'"),
        ({"n_genes": 0}, "at least 1"),
        ({"C": -1.0}, "must be positive"),
    ],
)
def test_wrong_arguments_are_refused_before_any_fit(reference: ad.AnnData, options: dict, message: str) -> None:
    adata = reference.copy()
    model.BulkClassifier.setup_anndata(adata)
    with pytest.raises(ValueError, match=message):
        model.BulkClassifier(adata, **options)


def test_labels_that_are_none_and_rules_for_labels_are_refused(reference: ad.AnnData) -> None:
    with pytest.raises(ValueError, match=r"must be 1 \(sensitive\), 0 \(resistant\) or NaN"):
        _trained(reference, label=None)
    adata = pp.binarize_response(reference, copy=True)
    adata.obsm["response"] = adata.obsm["response_binary"]
    with pytest.raises(ValueError, match="labels already.*label=None"):
        _trained(adata)
    with pytest.raises(ValueError, match="at least 2"):
        _trained(reference, calibration_folds=1)


# ------------------------------------------------------------------ drugs that cannot be trained


@pytest.mark.parametrize("method", ["logistic", "svm", "tree", "forest", "boosting"])
def test_drugs_with_one_class_or_few_lines_get_their_rate_and_a_warning(method: str, reference: ad.AnnData) -> None:
    adata = pp.binarize_response(reference, copy=True)
    labels = adata.obsm["response_binary"].iloc[:, :4].copy()
    labels.columns = ["good", "all sensitive", "two sensitive", "all resistant"]
    labels["all sensitive"] = 1.0
    labels["all resistant"] = np.where(labels["good"].notna(), 0.0, np.nan)
    labels["two sensitive"] = np.where(np.arange(100) < 2, 1.0, np.where(np.arange(100) < 10, 0.0, np.nan))
    adata.obsm["response"], adata.uns = labels, {}
    with pytest.warns(UserWarning, match=r"3 of 4 drugs .*one class: 'all sensitive', 'all resistant'; too few lines"):
        trained = _trained(adata, method=method, label=None, calibration_folds=3, **FAST)
    predicted = trained.predict(reference.copy(), key_added=None)
    np.testing.assert_allclose(predicted["all sensitive"], 1)
    np.testing.assert_allclose(predicted["all resistant"], 0)
    np.testing.assert_allclose(predicted["two sensitive"], 0.2)
    assert predicted["good"].nunique() > 1
    assert np.isfinite(trained.calibration.quantiles).all()


def test_a_drug_whose_responses_give_no_labels_gets_the_rate_of_all(reference: ad.AnnData) -> None:
    adata = reference.copy()
    response = adata.obsm["response"]
    response.iloc[9:, 0] = np.nan
    response.iloc[:, 1] = 3.0
    with pytest.warns(UserWarning, match="2 of 12 drugs cannot be trained.*no labels"):
        trained = _trained(adata)
    counts = trained.labels_[["n_sensitive", "n_resistant"]].sum()
    expected = counts["n_sensitive"] / counts.sum()
    np.testing.assert_allclose(trained.predict(reference.copy(), key_added=None).iloc[:, :2], expected, atol=1e-6)


# ------------------------------------------------------------------ invariance


@pytest.mark.parametrize("method", ["logistic", "svm", "forest", "boosting"])
def test_a_drug_s_model_depends_on_its_own_labels_only(method: str, reference: ad.AnnData) -> None:
    expected = _trained(reference, method=method, **FAST).predict(reference.copy(), key_added=None)
    genes = np.random.default_rng(0).permutation(reference.n_vars)
    other = reference[:, genes].copy()
    response = other.obsm["response"].iloc[:, [7, 3, 0]].copy()
    response.iloc[:30, 0] = np.nan
    other.obsm["response"] = response
    got = _trained(other, method=method, n_jobs=2, **FAST).predict(reference.copy(), key_added=None)
    unchanged = list(response.columns[1:])
    np.testing.assert_allclose(got[unchanged], expected[unchanged], atol=1e-4)
    assert np.abs(got.iloc[:, 0] - expected[response.columns[0]]).max() > 1e-3


def test_lines_of_a_forest_are_left_out_as_in_scikit_learn(reference: ad.AnnData, labelled) -> None:
    from sklearn.ensemble import RandomForestClassifier

    from scdrug.model.baseline._classifiers import Recipe, fit_drug

    lines, labels = labelled
    features = np.asarray(reference.X[lines], dtype=np.float32)
    fit = fit_drug(Recipe("forest", 1.0, 60, {}), features, labels, seed=3, n_folds=3, n_jobs=2)
    own = RandomForestClassifier(n_estimators=60, oob_score=True, random_state=3).fit(features, labels)
    np.testing.assert_allclose(fit.left_out, own.oob_decision_function_[:, 1], atol=1e-12)


def test_the_seed_decides_what_is_random(reference: ad.AnnData) -> None:
    one, same, other = (
        _trained(reference, method="forest", seed=seed, **FAST).predict(reference.copy(), key_added=None)
        for seed in (1, 1, 2)
    )
    pd.testing.assert_frame_equal(one, same)
    assert not np.allclose(one, other)


# ------------------------------------------------------------------ orientation


def _silently(cells: ad.AnnData, trained) -> ad.AnnData:
    adata = cells.copy()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tl.predict_response(adata, trained)
        tl.rank_drugs(adata, groupby="clone", reference="normal", sample_key="sample")
    return adata


@pytest.mark.parametrize("method", ["logistic", "forest"])
def test_high_probability_means_sensitive_in_percentiles_and_rankings(method: str, reference: ad.AnnData) -> None:
    cells = datasets.toy_cells(n_cells=150)
    trained = _trained(reference, method=method, calibration_folds=3, n_estimators=40)
    model.KernelRidge.setup_anndata(ic50 := reference.copy())
    ridge = model.KernelRidge(ic50)
    ridge.train()
    ours, theirs = _silently(cells, trained), _silently(cells, ridge)
    probability, percentile = (ours.obsm[key][DRUG] for key in ("predicted_response", "response_percentile"))
    assert np.corrcoef(probability, percentile)[0, 1] > 0.9
    assert np.corrcoef(probability, theirs.obsm["predicted_response"][DRUG])[0, 1] < -0.7
    stored = ours.uns["predicted_response"]
    assert (stored["measure"], stored["unit"]) == ("sensitivity", "probability")
    assert stored["direction"] == "higher is more sensitive"
    assert np.isnan(stored["half_width"]).all()
    effect = {key: adata.uns["rank_drugs"]["table"] for key, adata in (("ours", ours), ("theirs", theirs))}
    both = effect["ours"].merge(effect["theirs"], on=["group", "drug"])
    assert np.corrcoef(both["score_x"], both["score_y"])[0, 1] > 0.7
    tl.rank_drugs(ours, groupby="clone", reference="normal", sample_key="sample", use="response")
    table, params = ours.uns["rank_drugs"]["table"], ours.uns["rank_drugs"]["params"]
    assert params["more_sensitive_is"] == "higher"
    assert (np.sign(table["score"]) == np.sign(table["response"] - table["response_reference"])).all()


def test_negated_responses_with_their_direction_train_the_same_model(reference: ad.AnnData) -> None:
    negated = reference.copy()
    negated.obsm["response"] = -negated.obsm["response"]
    negated.uns["response"] = {**negated.uns["response"], "direction": "higher is more sensitive"}
    rule = {"method": "extreme", "fraction": 0.4}
    np.testing.assert_allclose(
        _trained(negated, label=rule).predict(reference.copy(), key_added=None),
        _trained(reference, label=rule).predict(reference.copy(), key_added=None),
        atol=1e-5,
    )


def test_equal_predictions_stand_in_the_middle_in_either_direction() -> None:
    from scdrug.model._data import Calibration

    predicted = np.array([[0.0, 0.3], [0.0, 0.3], [1.0, 0.3], [1.0, 0.3]])
    calibration = Calibration.fit(predicted, np.full((4, 2), np.nan), held_out=True)
    asked = np.array([[0.0, 0.3], [1.0, 0.3], [0.5, 0.2], [2.0, 0.4]])
    lower, higher = (calibration.percentile(asked, np.array([0, 1]), lower_is_sensitive=low) for low in (True, False))
    np.testing.assert_allclose(lower + higher, 1, atol=1e-6)
    np.testing.assert_allclose(higher[:, 0], [0.25, 0.75, 0.5, 1.0], atol=0.1)
    np.testing.assert_allclose(higher[:, 1], [0.5, 0.5, 0.0, 1.0], atol=1e-6)


@pytest.mark.parametrize("method", ["tree", "forest", "logistic"])
def test_percentiles_compare_with_lines_that_were_left_out(method: str, reference: ad.AnnData) -> None:
    noise = reference.copy()
    noise.X = np.random.default_rng(0).normal(size=noise.shape).astype(np.float32)
    fitted, held = (_trained(noise, method=method, calibration_folds=folds, n_estimators=25) for folds in (0, 3))
    pd.testing.assert_frame_equal(fitted.predict(key_added=None), held.predict(key_added=None))
    labels = pp.binarize_response(noise, copy=True).obsm["response_binary"].to_numpy()
    sure = per_drug_auroc(fitted.predict(key_added=None).to_numpy(), labels)
    everything = held.adata.X, held.adata.obsm["response"].to_numpy()
    held._left_out = np.full(labels.shape, np.nan)
    held._fit(*everything)
    left_out, is_held_out = held._reference_predictions(*everything)
    assert sure > 0.99
    assert is_held_out
    assert 0.35 < per_drug_auroc(left_out, labels) < 0.65


def test_cells_without_some_genes_are_predicted_the_same_on_the_fast_path(reference: ad.AnnData) -> None:
    cells = datasets.toy_cells(n_cells=80)[:, 40:].copy()
    trained = _trained(reference, n_genes=200)
    fast = cells.copy()
    tl.predict_response(fast, trained)
    slow = trained.predict(pp.harmonize(cells, trained.profile), key_added=None)
    np.testing.assert_allclose(slow, fast.obsm["predicted_response"], atol=1e-3)


# ------------------------------------------------------------------ files


@pytest.mark.parametrize("method", ["logistic", "svm", "tree", "forest", "boosting", "xgboost", "drug_rate"])
def test_saved_models_open_without_the_library_that_fitted_them(
    method: str, reference: ad.AnnData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if method == "xgboost":
        pytest.importorskip("xgboost")
    trained = _trained(reference, method=method, **FAST)
    expected = trained.predict(reference.copy(), key_added=None)
    trained.save(tmp_path / "a")
    _trained(reference, method=method, n_jobs=2, **FAST).save(tmp_path / "b")
    for name in ("model.safetensors", "CARD.md"):  # scvi-tools gives each registered reference its own id
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    monkeypatch.setitem(sys.modules, "xgboost", None)
    monkeypatch.setattr("pickle.loads", lambda *_: pytest.fail("a file was unpickled"))
    again = model.load_pretrained(tmp_path / "a")
    pd.testing.assert_frame_equal(again.predict(reference.copy(), key_added=None), expected)
    pd.testing.assert_frame_equal(again.labels_, trained.labels_, check_dtype=False, check_names=False)
    card = (tmp_path / "a" / "CARD.md").read_text()
    assert all(text in card for text in (f"Classifier: {method}", "method extreme", "higher is more sensitive"))


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("feature", lambda a: np.where(a >= 0, 999, a), "gene that the model does not have"),
        ("left", lambda a: np.zeros_like(a), "outside of its tree"),
        ("right", lambda a: a + 10_000, "outside of its tree"),
        ("value", lambda a: a[:-1], "differ in number"),
        ("tree_starts", lambda a: a[:-1], "nodes are missing"),
        ("drug_starts", lambda a: a[1:], "drugs overlap"),
    ],
)
def test_damaged_trees_are_refused(reference: ad.AnnData, tmp_path: Path, name: str, change, message: str) -> None:
    from safetensors.numpy import load_file, save_file

    _trained(reference, method="tree").save(tmp_path / "model")
    path = tmp_path / "model" / "model.safetensors"
    arrays = load_file(path)
    arrays[f"module.{name}"] = np.ascontiguousarray(change(arrays[f"module.{name}"]))
    save_file(arrays, path)
    with pytest.raises(ValueError, match=message):
        model.load_pretrained(tmp_path / "model")


def test_thresholds_between_two_floats_send_both_the_same_way() -> None:
    from types import SimpleNamespace

    from scdrug.model.baseline._tree_arrays import from_sklearn, pack_trees, sum_leaves

    below = np.float32(1.0)
    above = np.nextafter(below, np.float32(2))
    for threshold in (np.float64(below) + 1e-9, np.float64(above) - 1e-9, np.float64(below)):
        node = SimpleNamespace(
            children_left=np.array([1, -1, -1]),
            children_right=np.array([2, -1, -1]),
            feature=np.array([0, -2, -2]),
            threshold=np.array([threshold, -2.0, -2.0]),
        )
        packed = pack_trees([[from_sklearn(node, np.array([0.5, 0.0, 1.0]))]])
        features = np.array([[below], [above]])
        np.testing.assert_array_equal(sum_leaves(packed, features, np.array([0]))[:, 0], features[:, 0] > threshold)


def test_xgboost_that_is_not_installed_is_named_with_its_extra(reference: ad.AnnData, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "xgboost", None)
    with pytest.raises(ImportError, match=r"pip install 'scdrug\[boosting\]'"):
        _trained(reference, method="xgboost")


# ------------------------------------------------------------------ judged by the benchmark, and on a real screen


def test_the_benchmark_reads_probabilities_in_their_direction(reference: ad.AnnData, tmp_path: Path) -> None:
    from scdrug import benchmark

    adata = datasets.toy(n_lines=80)
    splits = benchmark.make_splits(adata, kind="line", n_folds=2)
    specs = [
        benchmark.ModelSpec("logistic", "BulkClassifier", params={"calibration_folds": 0}),
        benchmark.ModelSpec("rate", "BulkClassifier", params={"method": "drug_rate"}),
    ]
    results = benchmark.run(adata, splits, specs, out=tmp_path, labels={"method": "extreme"})
    scores = results.scores.groupby(["model", "metric"])["value"].mean()
    assert scores["logistic", "per_drug_auroc"] > 0.75
    assert scores["rate", "per_drug_auroc"] == pytest.approx(0.5)
    assert scores["logistic", "per_drug_pearson"] > 0.3, "turned into the direction of the response"
    assert ("logistic", "rmse") not in scores


@pytest.fixture(scope="module")
def halves(shared_data: Path) -> tuple[ad.AnnData, ad.AnnData]:
    """Training and test lines of three drugs of GDSC2."""
    screen = datasets.gdsc("GDSC2", path=shared_data / "gdsc")
    screen.obsm["response"] = screen.obsm["response"][["trametinib", "venetoclax", "dabrafenib"]]
    held = np.random.default_rng(0).permutation(screen.n_obs) % 5 == 0
    return screen[~held].copy(), screen[held].copy()


@pytest.mark.parametrize("method", ["logistic", "svm", "forest", "boosting", "xgboost"])
def test_held_out_lines_of_a_real_screen_are_ranked(method: str, halves: tuple[ad.AnnData, ad.AnnData]) -> None:
    """Mean AUROC of three targeted drugs; the drug rate reaches 0.5 by definition."""
    if method == "xgboost":
        pytest.importorskip("xgboost")
    train, test = halves
    trained = _trained(train, method=method, n_estimators=30)
    predicted = trained.predict(test, key_added=None)
    found = []
    for drug, row in trained.labels_.iterrows():
        truth = test.obsm["response"][drug].to_numpy()
        sensitive, resistant = truth < row["sensitive_threshold"], truth >= row["resistant_threshold"]
        labels = np.where(sensitive, 1.0, np.where(resistant, 0.0, np.nan))
        found.append(auroc(predicted[drug].to_numpy(), labels))
    assert np.mean(found) > 0.8
