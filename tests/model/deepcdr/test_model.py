"""DeepCDR as a user meets it: with and without a prior, embeddings, modalities, new molecules, labels, and what is refused."""

from __future__ import annotations

import anndata as ad
import numpy as np
import pandas as pd
import pytest

from scdrug import datasets, get, pp, tl
from scdrug.model import DeepCDR, KernelRidge, load_pretrained
from scdrug.model._batches import hold_out

ASPIRIN, LACTONE = "CC(=O)Oc1ccccc1C(=O)O", "O=C1CCCCCCCCCCCCCCO1"
SMALL = {"drug_layers": (8, 8), "cell_layers": (16, 8)}


@pytest.fixture
def lines() -> ad.AnnData:
    return datasets.toy(n_lines=50)


def fitted(adata: ad.AnnData, *, train: dict | None = None, **options) -> DeepCDR:
    DeepCDR.setup_anndata(adata)
    model = DeepCDR(adata, **(SMALL | options))
    model.train(**({"max_epochs": 2} | (train or {})))
    return model


@pytest.fixture(scope="module")
def process() -> DeepCDR:
    return fitted(datasets.toy(n_lines=60), prior="process")


# ---------------------------------------------------------------------- new molecules


def test_a_smiles_is_predicted_with_its_nearest_drugs_and_a_flag(process: DeepCDR, tmp_path) -> None:
    cells = datasets.toy_cells(n_cells=40)
    known, twin = process.drugs["name"].iloc[0], process.drugs["smiles"].iloc[1] + "C"
    with pytest.warns(UserWarning, match=r"1 of 2 structures are unlike all drugs of the training.*nearest_drugs"):
        tl.predict_response(cells, process, drugs=[LACTONE, known, twin])
    table = get.drugs_df(cells)
    assert list(table["applicable"]) == [False, True, True]
    assert table["similarity"].iloc[1] == 1
    assert table["nearest"].iloc[1] == known
    assert table["nearest"].iloc[2].split("; ")[0] == process.drugs["name"].iloc[1]
    assert np.isfinite(cells.obsm["predicted_response"].to_numpy()).all()
    cells.write_h5ad(tmp_path / "cells.h5ad")
    again = get.drugs_df(ad.read_h5ad(tmp_path / "cells.h5ad"))
    pd.testing.assert_frame_equal(again[["similarity", "applicable"]], table[["similarity", "applicable"]])


def test_nearest_drugs_are_the_ones_of_tanimoto_similarity(process: DeepCDR) -> None:
    own = process.drugs["smiles"].iloc[3]
    table = process.nearest_drugs({"the same": own, "strange": LACTONE}, n=2)
    assert table.loc["the same", "nearest"].split("; ")[0] == process.drugs["name"].iloc[3]
    assert table["similarity"].iloc[0] == pytest.approx(1.0)
    assert list(table["applicable"]) == [True, False]
    assert table["nearest"].str.count(";").tolist() == [1, 1]
    with pytest.raises(ValueError, match=r"given for 'bad' cannot be read as SMILES"):
        process.nearest_drugs({"bad": "C1CC(("})


def test_a_saved_model_of_new_molecules_keeps_their_flags_and_takes_no_others(process: DeepCDR, tmp_path) -> None:
    process.select_drugs({"aspirin": ASPIRIN})[0].save(tmp_path / "aspirin")
    again = load_pretrained(tmp_path / "aspirin")
    cells = datasets.toy_cells(n_cells=30)
    tl.predict_response(cells, again)
    expected = process.nearest_drugs({"aspirin": ASPIRIN})
    assert get.drugs_df(cells)["nearest"].tolist() == expected["nearest"].tolist()
    with pytest.raises(ValueError, match="cannot predict drugs from their structure"):
        again.select_drugs({"lactone": LACTONE})


def test_to_the_network_a_twin_of_a_training_drug_is_that_drug(lines: ad.AnnData) -> None:
    model = fitted(lines)
    twin = model.predict(lines, drugs={"twin": model.drugs["smiles"].iloc[2]}, key_added=None)
    np.testing.assert_allclose(twin["twin"], model.predict(lines, key_added=None).iloc[:, 2], atol=1e-4)


# ---------------------------------------------------------------------- prior and network


def test_without_a_prior_all_is_the_network_s(lines: ad.AnnData) -> None:
    model = fitted(lines)
    table = model.predict(lines)
    assert lines.uns["predicted_response"]["network_share"] == 1
    pd.testing.assert_frame_equal(model.predict(lines, part="network", key_added=None), table)
    with pytest.raises(ValueError, match="has no prior"):
        model.predict(lines, part="prior")
    renamed = lines.copy()
    renamed.obs_names = [f"new-{i}" for i in range(lines.n_obs)]
    np.testing.assert_array_equal(model.predict(renamed, key_added=None), table)  # it knows no line by name


def test_the_network_is_trained_on_the_responses_themselves(lines: ad.AnnData) -> None:
    train = {"max_epochs": 12, "batch_size": 128, "lr": 1e-2, "early_stopping": False}
    alone = fitted(lines, prior="process", train=train).predict(lines, part="network", key_added=None)
    response = lines.obsm["response"]
    error = np.sqrt(np.nanmean((alone - response).to_numpy() ** 2))
    assert error < 0.7 * np.nanstd(response.to_numpy())


def test_responses_are_standardised_once_for_all_drugs(lines: ad.AnnData) -> None:
    first = fitted(lines).predict(lines, key_added=None)
    other = lines.copy()
    other.obsm["response"] = 0.5 * other.obsm["response"] + 3
    second = fitted(other).predict(lines, key_added=None)
    np.testing.assert_allclose(second, 0.5 * first + 3, atol=1e-3)


def test_the_prior_is_the_process_that_kernel_ridge_fits(process: DeepCDR) -> None:
    lines = datasets.toy(n_lines=60)
    KernelRidge.setup_anndata(lines)
    ridge = KernelRidge(lines, kernel="mean", couple_drugs=True)
    ridge.train()
    prior = process.predict(lines, part="prior", key_added=None)
    assert np.corrcoef(prior.to_numpy().ravel(), ridge.predict(lines, key_added=None).to_numpy().ravel())[0, 1] > 0.99


def test_the_network_counts_only_where_held_out_responses_showed_that_it_helps(lines: ad.AnnData) -> None:
    rows = pd.DataFrame(False, index=lines.obs_names, columns=lines.obsm["response"].columns)
    rows.iloc[:8] = True
    by_line = fitted(lines, prior="process", train={"validation": rows})
    assert by_line.shares_.known == by_line.shares_.new_drug == by_line.shares_.new_both == 0, (
        "no such pair was checked"
    )
    columns = pd.DataFrame(False, index=rows.index, columns=rows.columns)
    columns.iloc[:, :2] = True
    by_drug = fitted(lines.copy(), prior="process", train={"validation": columns})
    assert by_drug.shares_.known == by_drug.shares_.new_line == by_drug.shares_.new_both == 0
    assert np.isfinite(by_drug.predict(lines, key_added=None).to_numpy()).all()


def test_validation_on_new_drugs_is_for_models_that_learn_structures() -> None:
    response = pd.DataFrame(np.ones((4, 3)), columns=list("abc"))
    table = pd.DataFrame(False, index=response.index, columns=response.columns).assign(b=True)
    with pytest.raises(ValueError, match="leaves 1 drugs without a response"):
        hold_out(response, table)
    np.testing.assert_array_equal(hold_out(response, table, new_drugs=True), table)
    with pytest.raises(ValueError, match="leaves 3 drugs"):
        hold_out(response, table | True, new_drugs=True)


@pytest.mark.parametrize("encoder", ["gcn", "gin", "gat"])
def test_every_encoder_learns_a_screen(encoder: str, lines: ad.AnnData) -> None:
    train = {"max_epochs": 8, "batch_size": 128, "lr": 1e-2, "patience": 8}
    model = fitted(lines, drug_encoder=encoder, train=train)
    loss = model.history["validation_loss"].to_numpy(dtype=float).ravel()
    assert loss.min() < 0.8 * loss[0]


# ---------------------------------------------------------------------- embeddings


def test_any_embedding_can_stand_for_expression(lines: ad.AnnData) -> None:
    pp.embed_cells(lines, "factors", n_components=8)
    model = fitted(lines, cell_input="X_factors")
    cells = datasets.toy_cells(n_cells=30)
    with pytest.raises(KeyError, match="X_factors.*embed_cells"):
        tl.predict_response(cells, model)
    pp.embed_cells(cells, "factors", reference=lines, n_components=5, key_added="X_factors")
    with pytest.raises(ValueError, match="has 5 features, but the model was trained on 8"):
        tl.predict_response(cells, model)
    pp.embed_cells(cells, "factors", reference=lines, n_components=8)
    tl.predict_response(cells, model)
    assert np.isfinite(cells.obsm["predicted_response"].to_numpy()).all()
    assert model.get_latent_representation(lines).shape == (lines.n_obs, 8)
    lines.obsm["X_factors"][2] = np.nan
    with pytest.raises(ValueError, match="NaN or infinite values for 1 samples"):
        fitted(lines, cell_input="X_factors")


def test_an_embedding_may_be_reordered_mirrored_and_shifted(lines: ad.AnnData) -> None:
    pp.embed_cells(lines, "pca", n_components=6, key_added="X_one")
    lines.obsm["X_one"] = (lines.obsm["X_one"] / lines.obsm["X_one"].std(axis=0)).astype(np.float32)
    lines.obsm["X_two"] = (lines.obsm["X_one"][:, ::-1] * [1, -1, 1, -1, 1, -1] + 3).astype(np.float32)
    first, second = (fitted(lines.copy(), prior="process", cell_input=key) for key in ("X_one", "X_two"))
    new = lines[:10].copy()
    new.obs_names = [f"new-{i}" for i in range(10)]
    one, two = (model.predict(new, part="prior", key_added=None) for model in (first, second))
    np.testing.assert_allclose(one, two, atol=1e-3)
    assert one.to_numpy().std(axis=0).max() > 0.01


@pytest.mark.parametrize("options", [{"prior": "process"}, {}])
@pytest.mark.parametrize("cell_input", ["X_factors", "scores"])
def test_percentiles_of_new_drugs_are_those_of_lines_with_their_embedding(
    cell_input: str, options: dict, lines: ad.AnnData, tmp_path
) -> None:
    pp.embed_cells(lines, "factors", n_components=8)
    model = fitted(lines, cell_input=cell_input, **options)
    new = lines.copy()
    new.obs_names = [f"new-{i}" for i in range(lines.n_obs)]
    model.save(tmp_path / "model")
    for one in (model, load_pretrained(tmp_path / "model")):
        one.predict(new, drugs={"aspirin": ASPIRIN})
        percentile = np.sort(new.obsm["response_percentile"]["aspirin"])
        np.testing.assert_allclose(percentile, np.linspace(0, 1, len(percentile)), atol=0.25)


# ---------------------------------------------------------------------- modalities


def measured_lines(lines: ad.AnnData, n_methylated: int):
    mudata = pytest.importorskip("mudata")
    rng = np.random.default_rng(0)
    names = lines.obs_names[:n_methylated]
    methylation = ad.AnnData(rng.random((n_methylated, 7)).astype(np.float32), obs=pd.DataFrame(index=names))
    methylation.var_names = [f"promoter-{i}" for i in range(7)]
    return mudata.MuData({"rna": lines, "methylation": methylation})


def test_modalities_that_cover_other_lines_are_masked_counted_and_reported(lines: ad.AnnData) -> None:
    mdata = measured_lines(lines, 30)
    with pytest.warns(UserWarning, match=r"'methylation' covers 30 of 50 samples of 'rna'; the other 20 are masked"):
        DeepCDR.setup_mudata(mdata)
    model = DeepCDR(mdata, prior="process", **SMALL)
    assert model.modalities == ("X_methylation",)
    model.train(max_epochs=2)
    new = DeepCDR.join_modalities(measured_lines(lines[:20].copy(), 20))
    assert np.isfinite(model.predict(new, key_added=None).to_numpy()).all()
    bare = datasets.toy(n_lines=50)[:5].copy()
    with pytest.warns(UserWarning, match="lacks 'X_methylation'.*all 5 samples"):
        assert np.isfinite(model.predict(bare, key_added=None).to_numpy()).all()
    bare.obsm["X_methylation"] = np.ones((5, 3))
    with pytest.raises(ValueError, match="has 3 features, but the model was trained on 7"):
        model.predict(bare)


@pytest.mark.parametrize("dtype", ["float32", "int8"])
@pytest.mark.parametrize("options", [{"prior": "process"}, {}])
def test_a_model_of_masked_modalities_comes_back_from_its_file(
    options: dict, dtype: str, lines: ad.AnnData, tmp_path, monkeypatch
) -> None:
    monkeypatch.setattr("scdrug.model._storage._MIN_QUANTISED", 100)
    lines.obsm["X_methylation"] = np.random.default_rng(0).random((50, 7)).astype(np.float32)
    lines.obsm["X_methylation"][20:] = np.nan
    model = fitted(lines, modalities="X_methylation", **options)
    model.save(tmp_path / "model", dtype=dtype)
    again = load_pretrained(tmp_path / "model")
    for drugs in (None, {"aspirin": ASPIRIN}):
        expected, found = (one.predict(lines, drugs=drugs, key_added=None).to_numpy() for one in (model, again))
        np.testing.assert_allclose(found, expected, atol=1e-4 if dtype == "float32" else 0.2)
    assert "Training lines inside the file: yes" in (tmp_path / "model" / "CARD.md").read_text()


def test_a_modality_does_not_replace_what_the_user_keeps_under_its_key(lines: ad.AnnData) -> None:
    mdata = measured_lines(lines, 50)
    mdata["rna"].obsm["X_methylation"] = mine = np.ones((50, 2))
    with pytest.raises(ValueError, match=r"adata.obsm\['X_methylation'\].*would be lost"):
        DeepCDR.setup_mudata(mdata)
    np.testing.assert_array_equal(mdata["rna"].obsm["X_methylation"], mine)
    assert DeepCDR.join_modalities(mdata).obsm["X_methylation"].shape == (50, 7)
    del mdata["rna"].obsm["X_methylation"]
    DeepCDR.setup_mudata(mdata)
    DeepCDR.setup_mudata(mdata)


def test_modalities_without_a_common_line_are_refused(lines: ad.AnnData) -> None:
    mdata = measured_lines(lines, 10)
    mdata.mod["methylation"].obs_names = [f"other-{i}" for i in range(10)]
    with pytest.raises(ValueError, match="No sample of modality 'methylation' is in 'rna'"):
        DeepCDR.setup_mudata(mdata)
    with pytest.raises(KeyError, match="rnaseq"):
        DeepCDR.setup_mudata(mdata, rna="rnaseq")
    with pytest.raises(KeyError, match=r"'copy_number' is not in `mdata.mod`.*scdrug.datasets.deepcdr\(omics="):
        DeepCDR.setup_mudata(mdata, modalities=["copy_number"])
    with pytest.raises(ValueError, match="was not set up"):
        DeepCDR(measured_lines(datasets.toy(n_lines=50), 10))


def test_the_published_branches_take_methylation(lines: ad.AnnData) -> None:
    lines = lines[:30].copy()
    lines.obsm["X_methylation"] = np.random.default_rng(0).random((30, 9)).astype(np.float32)
    model = fitted(
        lines,
        preset="rossner2025",
        modalities=["X_methylation"],
        drug_layers=None,
        cell_layers=None,
        train={"max_epochs": 1},
    )
    assert model.get_latent_representation(lines).shape == (30, 200)
    assert np.isfinite(model.predict(lines, key_added=None).to_numpy()).all()


# ---------------------------------------------------------------------- labels, and what is refused


def test_labels_give_probabilities_that_rise_with_sensitivity(lines: ad.AnnData) -> None:
    response = lines.obsm["response"]
    lines.obsm["response"] = (response < response.median()).astype(float).where(response.notna())
    model = fitted(lines, target="sensitivity", train={"max_epochs": 8, "batch_size": 128, "lr": 1e-2})
    predicted = model.predict(lines, key_added=None)
    assert predicted.to_numpy().min() >= 0
    assert predicted.to_numpy().max() <= 1
    labels = lines.obsm["response"].to_numpy()
    assert predicted.to_numpy()[labels == 1].mean() > predicted.to_numpy()[labels == 0].mean() + 0.1
    assert model.reference.response["direction"] == "higher is more sensitive"
    lines.obsm["response"].iloc[0, 0] = 0.4
    with pytest.raises(ValueError, match="Classification needs labels"):
        DeepCDR(lines, target="sensitivity")
    with pytest.raises(ValueError, match="prior='process'.*labels"):
        DeepCDR(lines, target="sensitivity", prior="process")


def test_molecules_beyond_the_padding_are_named(lines: ad.AnnData) -> None:
    lines.uns["drugs"]["smiles"] = lines.uns["drugs"]["smiles"].astype(object)
    lines.uns["drugs"].iloc[1, lines.uns["drugs"].columns.get_loc("smiles")] = "C" * 101
    name = lines.uns["drugs"]["name"].iloc[1]
    with pytest.raises(ValueError, match=rf"1 molecules have more than the 100 heavy atoms.*{name}"):
        fitted(lines, preset="deepcdr_released", drug_layers=None, cell_layers=None)


def test_drugs_without_structure_are_counted_and_a_screen_without_any_is_refused(lines: ad.AnnData) -> None:
    lines.uns["drugs"]["smiles"] = ["", *lines.uns["drugs"]["smiles"].iloc[1:]]
    with pytest.warns(UserWarning, match="1 of 12 drugs have no structure"):
        model = fitted(lines)
    assert np.isfinite(model.predict(lines, key_added=None).to_numpy()).all()
    lines.uns["drugs"]["smiles"] = ""
    with pytest.raises(ValueError, match="No drug of .* has a SMILES"):
        fitted(lines)


def test_options_that_exclude_each_other_are_refused(lines: ad.AnnData) -> None:
    DeepCDR.setup_anndata(lines)
    with pytest.raises(ValueError, match="prior"):
        DeepCDR(lines, prior="linear")
    for removed in ("offset", "network", "identities"):
        with pytest.raises(TypeError, match=f"unexpected argument `{removed}`"):
            DeepCDR(lines, **{removed: "none"})
    with pytest.raises(ValueError, match="drug_kernel"):
        DeepCDR(lines, prior="process", drug_kernel="morgan")
    with pytest.raises(ValueError, match="`drug_kernel` is an option of the prior, and this DeepCDR has none"):
        DeepCDR(lines, drug_kernel="tanimoto")
    with pytest.raises(ValueError, match="drug_features='contextpred'"):
        DeepCDR(lines, pretrained_drugs="gcn_contextpred.pth")


def test_the_public_pretrained_drug_network_is_read_without_running_code(lines: ad.AnnData, shared_data) -> None:
    weights = shared_data / "molecule" / "gcn_contextpred.pth"
    model = fitted(
        lines, drug_features="contextpred", drug_pool="mean", pretrained_drugs=weights, train={"max_epochs": 1}
    )
    assert np.isfinite(model.predict(lines, key_added=None).to_numpy()).all()
