"""Features, labels and settings; input that cannot work is refused with what to do instead."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest

from scdrug.model import MTIGCN
from scdrug.model.mtigcn._features import (
    LineFactors,
    drug_similarity_target,
    line_similarity,
    network_features,
    table_features,
)
from scdrug.model.mtigcn._labels import Labelling

# ---------------------------------------------------------------------- features


def test_factors_stand_for_all_genes() -> None:
    rng = np.random.default_rng(0)
    expression = rng.normal(3, 2, (15, 200)).astype(np.float32)
    factors = LineFactors.fit(expression)
    scores = factors.transform(expression)
    standard = (expression - expression.mean(axis=0)) / expression.std(axis=0)
    assert scores.shape[1] == 14  # centred lines
    np.testing.assert_allclose(scores @ factors.loadings.T, standard, atol=1e-3)
    # any layer on genes is a layer on factors
    weight = rng.normal(size=(200, 4))
    np.testing.assert_allclose(scores @ (factors.loadings.T @ weight), standard @ weight, atol=1e-2)


def test_new_lines_are_placed_by_the_training_lines() -> None:
    rng = np.random.default_rng(0)
    expression = rng.normal(size=(15, 50)).astype(np.float32)
    factors = LineFactors.fit(expression, rank=5)
    np.testing.assert_allclose(factors.transform(expression)[3:4], factors.transform(expression[3:4]), atol=1e-4)
    assert factors.transform(expression).shape == (15, 5)


def test_the_published_similarity_of_lines_is_nearly_the_identity() -> None:
    scores = np.random.default_rng(0).normal(size=(10, 5000))
    published = line_similarity(scores, kind="published", epsilon=3.0)
    off = ~np.eye(10, dtype=bool)
    assert published[off].max() < 0.01
    first, second = scores[:2]
    assert published[0, 1] == pytest.approx(np.exp(-np.linalg.norm(first - second) / 18), rel=1e-4)
    assert 0.2 < np.median(line_similarity(scores)[off]) < 0.5


def test_similarity_of_structures_is_jaccard_s() -> None:
    drugs = network_features(["CCO", "CCN", None], None, "morgan")
    bits = drugs.values["fingerprints"].astype(bool)
    target = drug_similarity_target(drugs)
    assert drugs.usable.tolist() == [True, True, False]
    assert target[0, 1] == pytest.approx((bits[0] & bits[1]).sum() / (bits[0] | bits[1]).sum())
    assert np.isnan(target[2]).all()


def test_fingerprints_of_the_reference_are_read() -> None:
    features, usable = table_features(pd.DataFrame({"fingerprint": ["0110", None, "1000"]}))
    assert features["fingerprints"].tolist() == [[0, 1, 1, 0], [1, 0, 0, 0]]
    assert usable.tolist() == [True, False, True]


@pytest.mark.parametrize(
    ("table", "error"),
    [
        (None, KeyError),
        (pd.DataFrame({"smiles": ["C"]}), KeyError),
        (pd.DataFrame({"fingerprint": ["01", "011"]}), ValueError),
        (pd.DataFrame({"fingerprint": ["01", "21"]}), ValueError),
    ],
)
def test_fingerprints_that_are_none_are_refused(table, error) -> None:
    with pytest.raises(error, match="0 and 1"):
        table_features(table)


# ---------------------------------------------------------------------- labels


@pytest.mark.parametrize("lower", [True, False])
def test_labels_are_strictly_beyond_the_threshold_on_the_sensitive_side(lower) -> None:
    sign = 1.0 if lower else -1.0
    response = sign * np.array([[-1.0, 2.0], [0.0, np.nan], [1.0, 1.0]])
    table = pd.DataFrame({"threshold": [0.0, np.nan]}, index=["a", "b"])
    labels = Labelling(table, table.index, lower).labels(response)
    np.testing.assert_array_equal(labels, [[1.0, np.nan], [0.0, np.nan], [0.0, np.nan]])


@pytest.mark.parametrize("lower", [True, False])
def test_without_thresholds_the_most_sensitive_lines_are_sensitive(lower) -> None:
    response = np.random.default_rng(0).normal(size=(500, 3))
    labelling = Labelling(None, pd.Index(["a", "b", "c"]), lower)
    assert labelling.labels(response).mean() == pytest.approx(0.12, abs=0.005)
    few = labelling.labels(response[:10], response)  # by the thresholds of all
    np.testing.assert_array_equal(few, labelling.labels(response)[:10])


def test_thresholds_join_by_drug_and_not_by_position() -> None:
    response = np.array([[0.0, 10.0], [2.0, 12.0]])
    table = pd.DataFrame({"threshold": [11.0, 1.0]}, index=["b", "a"])
    found = Labelling(table, pd.Index(["a", "b"]), lower=True).thresholds(response)
    assert found.tolist() == [1.0, 11.0]


# ---------------------------------------------------------------------- bad input


def with_thresholds(adata, value):
    adata = adata.copy()
    adata.uns["drugs"] = adata.uns["drugs"].assign(threshold=value)
    return adata


@pytest.mark.parametrize("value", [np.nan, "low"])
def test_thresholds_that_do_not_join_are_refused(screen, make, value) -> None:
    with pytest.raises(ValueError, match="no threshold for any drug.*Join it by drug id"):
        make(with_thresholds(screen, value))


def test_drugs_without_a_threshold_are_named(screen, make) -> None:
    middle = screen.obsm["response"].median()
    middle.iloc[0] = np.nan
    with pytest.warns(UserWarning, match=f"1 drugs have no threshold.*{middle.index[0]}"):
        model = make(with_thresholds(screen, middle), target="sensitivity")
    assert np.isfinite(model.predict(key_added=None).to_numpy()).all()


@pytest.mark.parametrize(("value", "what"), [(1e9, "sensitive"), (-1e9, "resistant")])
@pytest.mark.parametrize("prior", [None, "process"])
def test_one_class_alone_is_named_and_gives_no_nan(screen, make, value, what, prior) -> None:
    with pytest.warns(UserWarning, match=f"All training lines are {what} to 12 drugs"):
        model = make(with_thresholds(screen, value), prior=prior, target="sensitivity")
    assert np.isfinite(model.predict(key_added=None).to_numpy()).all()
    assert np.isfinite(model.predict(drugs={"ethanol": "CCO"}, key_added=None).to_numpy()).all()


@pytest.mark.parametrize("prior", [None, "process"])
def test_a_line_without_responses_is_named_and_predicted_like_a_new_one(screen, make, prior) -> None:
    adata = screen.copy()
    adata.obsm["response"].iloc[3] = np.nan
    name = adata.obs_names[3]
    with pytest.warns(UserWarning, match=f"1 lines have no response.*{name}"):
        model = make(adata, prior=prior)
    line = screen[[3]].copy()
    known = model.predict(line, key_added=None)
    line.obs_names = ["stranger"]
    np.testing.assert_allclose(model.predict(line, key_added=None), known, atol=1e-4)


def test_a_drug_without_responses_is_refused(screen, make) -> None:
    adata = screen.copy()
    adata.obsm["response"].iloc[:, 2] = np.nan
    with pytest.raises(ValueError, match="without any measured response"):
        make(adata)


@pytest.mark.parametrize("text", ["", "not a molecule"])
def test_drugs_without_a_readable_structure_are_named(screen, make, text) -> None:
    adata = screen.copy()
    adata.uns["drugs"].iloc[0, adata.uns["drugs"].columns.get_loc("smiles")] = text
    with pytest.warns(UserWarning, match="1 drugs have no structure that can be read"):
        model = make(adata)
    assert np.isfinite(model.predict(key_added=None).to_numpy()).all()


def test_no_structure_at_all_is_refused_with_what_needs_none(screen, make) -> None:
    adata = screen.copy()
    adata.uns["drugs"]["smiles"] = ""
    with pytest.raises(ValueError, match=r"None of the drugs has a structure.*KernelRidge\(couple_drugs=True\)"):
        make(adata)


def test_lines_that_are_all_alike_are_refused(screen, make) -> None:
    adata = screen.copy()
    adata.X[:] = adata.X[0]
    with pytest.raises(ValueError, match="same expression"):
        make(adata)


@pytest.mark.parametrize("options", [{}, {"prior": "process", "target": "sensitivity"}])
def test_a_constant_drug_gives_no_nan(screen, make, options) -> None:
    adata = screen.copy()
    adata.obsm["response"].iloc[:, 0] = 1.0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = make(adata, **options)
    assert np.isfinite(model.predict(key_added=None).to_numpy()).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"preset": "mtigcnn"}, "Did you mean 'mtigcn'"),
        ({"tasks": ["similarity"]}, "needs 'classification' or 'regression'"),
        ({"tasks": "regresion"}, "regression"),
        ({"weights": {"line": 1.0}}, "lines"),
        ({"weights": {"lines": -1.0}}, "negative"),
        ({"edges": "all"}, "binary"),
        ({"alpha": 1.5}, "between 0 and 1"),
        ({"edge_dropout": 1.0}, "less than 1"),
        ({"rank": -1}, "at least 0"),
        ({"n_latent": 0}, "at least 1"),
    ],
)
def test_settings_out_of_range_are_refused(screen, options, message) -> None:
    adata = screen.copy()
    MTIGCN.setup_anndata(adata)
    with pytest.raises(ValueError, match=message):
        MTIGCN(adata, **options)


@pytest.mark.parametrize("prior", [None, "process"])
def test_what_the_tasks_cannot_predict_is_refused(screen, prior) -> None:
    adata = screen.copy()
    MTIGCN.setup_anndata(adata)
    assert MTIGCN(adata, preset="nihgcn", prior=prior).target == "sensitivity"
    with pytest.raises(ValueError, match=r"needs the task 'regression'.*target='sensitivity'"):
        MTIGCN(adata, preset="nihgcn", target="response", prior=prior)
    with pytest.raises(ValueError, match="needs the task 'classification'"):
        MTIGCN(adata, tasks="regression", target="sensitivity", prior=prior)


@pytest.mark.parametrize("name", ["process", "network"])
def test_names_of_earlier_versions_are_refused(screen, name) -> None:
    adata = screen.copy()
    MTIGCN.setup_anndata(adata)
    with pytest.raises(TypeError, match=f"unexpected argument `{name}`"):
        MTIGCN(adata, **{name: False})
