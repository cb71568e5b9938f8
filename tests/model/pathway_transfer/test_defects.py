"""What the released code of He et al. 2025 gets wrong, and this model must not, and what masks and networks must obey."""

from __future__ import annotations

from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from scdrug import datasets, pp, tl
from scdrug.model import PathwayTransfer
from scdrug.model.pathway_transfer._losses import DomainBatches, Objective
from scdrug.model.pathway_transfer._module import PathwayModule, Sizes, make_critic
from scdrug.model.pathway_transfer._settings import Settings
from scdrug.nn import masked_bce, masked_mse

SIZES = Sizes(
    n_panel=9, n_genes=7, n_latent=4, n_drugs=3, n_hidden=5, n_head=[6], dropout=0.3, norm="batch", private=True,
    shared=True, pathways=True, relu=False, linear=False,
)  # fmt: skip


def make(reference: ad.AnnData, cells: ad.AnnData | None, *, train: dict[str, Any] | None = None, **options: Any):
    adata = reference.copy()
    PathwayTransfer.setup_anndata(adata)
    model = PathwayTransfer(adata, cells=cells, **{"n_hidden": 16, "n_head": (8,), **options})
    model.train(**{"max_epochs": 4, **(train or {})})
    return model


@pytest.fixture(scope="module")
def classifier(reference, cells) -> PathwayTransfer:
    """The paper's model, with its dropout of 0.4 and batch norm."""
    return make(reference, cells, preset="he2025", min_genes=4)


# ---------------------------------------------------------------------- defects


def test_dropout_and_batch_statistics_are_off_in_prediction(classifier, reference) -> None:
    assert not any(part.training for part in classifier.module.modules())
    x = np.random.default_rng(0).normal(6, 2, size=(12, reference.n_vars)).astype(np.float32)
    statistics = {name: v.clone() for name, v in classifier.module.state_dict().items() if "running" in name}
    assert statistics
    first, again = classifier._predict_rows(x, np.arange(12)), classifier._predict_rows(x, np.arange(12))
    np.testing.assert_array_equal(first, again)
    np.testing.assert_allclose(classifier._predict_rows(x[3:4], np.arange(12)), first[3:4], atol=1e-6)
    for name, value in statistics.items():
        torch.testing.assert_close(classifier.module.state_dict()[name], value, rtol=0, atol=0)


def test_cells_that_were_not_in_training_are_predicted(classifier) -> None:
    new = datasets.toy_cells(n_cells=30, seed=0)
    new.obs_names = "new-" + new.obs_names
    tl.predict_response(new, classifier)
    predicted = new.obsm["predicted_response"]
    assert ((predicted > 0) & (predicted < 1)).all(axis=None)
    assert new.uns["predicted_response"]["n_training_cells"] == 80


@pytest.mark.parametrize("target", ["response", "sensitivity"])
def test_the_state_of_the_best_epoch_is_kept_not_a_reference_to_the_last(reference, cells, target) -> None:
    train = {"max_epochs": 80, "patience": 3, "lr": 0.05, "validation": 0.3}
    model = make(reference, cells, train=train, target=target, schedule="joint")
    losses = model.history["validation_loss"].iloc[:, 0]
    assert model.best_epoch_ == losses.idxmin() < losses.index[-1]
    rows = model.validation_indices_
    expression, response = model._training_arrays()
    with torch.inference_mode():
        out = model.module(torch.from_numpy(expression[rows]), "bulk")
        scale = model.module.drug_mean, model.module.drug_sd
        if target == "response":
            loss = masked_mse((out - scale[0]) / scale[1], (torch.from_numpy(response[rows]) - scale[0]) / scale[1])
        else:
            labels = _labels(response, rows)
            loss = masked_bce(out, torch.from_numpy(labels).float())
    assert float(loss) == pytest.approx(losses.min(), rel=1e-3)


def _labels(response: np.ndarray, rows: np.ndarray) -> np.ndarray:
    known = response.copy()
    known[rows] = np.nan
    low, high = np.nanquantile(known, [0.3, 0.7], axis=0)
    values = response[rows]
    return np.where(values < low, 1.0, np.where(values >= high, 0.0, np.nan))


def test_nodes_do_not_depend_on_the_order_of_sets(reference) -> None:
    sets = datasets.gene_sets("toy")
    first, second = (reference.copy() for _ in range(2))
    pp.pathway_mask(first, sets)
    pp.pathway_mask(second, {name: sets[name][::-1] for name in reversed(sets)})
    assert list(first.uns["pathway_mask"]["pathways"].index) == list(second.uns["pathway_mask"]["pathways"].index)
    assert (first.varm["pathway_mask"] != second.varm["pathway_mask"]).nnz == 0


def test_both_domains_are_standardised_by_the_same_numbers(reference, cells) -> None:
    model = make(reference, cells)
    lines = model._training_arrays()[0][model.train_indices_][:, model.module.genes]
    np.testing.assert_allclose(model.module.mean, lines.mean(axis=0), rtol=1e-4)
    np.testing.assert_allclose(model.module.sd, lines.std(axis=0), rtol=1e-3)


def test_labels_of_cells_change_nothing(reference, cells) -> None:
    relabelled = cells.copy()
    relabelled.obs["clone"] = relabelled.obs["clone"].to_numpy()[::-1]
    relabelled.obs["sensitive"] = 1
    relabelled.obsm["response"] = pd.DataFrame(1.0, index=cells.obs_names, columns=reference.obsm["response"].columns)
    states = [make(reference, part).module.state_dict() for part in (cells, relabelled)]
    for name in states[0]:
        torch.testing.assert_close(states[0][name], states[1][name], rtol=0, atol=0)


# ---------------------------------------------------------------------- mask


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**16), relu=st.booleans())
def test_masked_connections_have_no_weight_and_no_gradient(seed: int, relu: bool) -> None:
    torch.manual_seed(seed)
    mask = torch.rand(7, 4) < torch.rand(())
    module = PathwayModule(Sizes(**{**vars(SIZES), "relu": relu}), mask)
    objective = Objective(module, Settings())
    optimizer = torch.optim.AdamW(module.parameters(), lr=0.1, weight_decay=0.1)
    weight = module.autoencoder.sparse.weight
    for _ in range(3):
        batch = {"bulk": torch.randn(6, 7), "cells": torch.randn(5, 7), "response": torch.randn(6, 3)}
        optimizer.zero_grad()
        objective.joint(batch)["loss"].backward()
        assert (weight.grad[~mask] == 0).all()
        optimizer.step()
        assert (weight[~mask] == 0).all()
    if mask.any() and not relu:
        assert (weight.grad[mask] != 0).any()


@settings(max_examples=10, deadline=None)
@given(gene=st.integers(0, 6), seed=st.integers(0, 1000))
def test_a_gene_is_reconstructed_from_its_own_pathways_alone(gene: int, seed: int) -> None:
    torch.manual_seed(seed)
    mask = torch.rand(7, 4) < 0.5
    module = PathwayModule(SIZES, mask)
    code = torch.randn(3, 4)
    other = code + torch.randn(3, 4) * ~mask[gene]  # nodes that the gene does not belong to
    before, after = module.autoencoder.decode_sparse(code), module.autoencoder.decode_sparse(other)
    torch.testing.assert_close(before[:, gene], after[:, gene])


# ---------------------------------------------------------------------- invariances


@settings(max_examples=6, deadline=None)
@given(seed=st.integers(0, 1000))
def test_prediction_does_not_depend_on_the_order_of_genes_or_cells(classifier, reference, seed: int) -> None:
    rng = np.random.default_rng(seed)
    rows, columns = rng.permutation(20), rng.permutation(reference.n_vars)
    part = ad.AnnData(reference.X[:20].copy(), obs=reference.obs[[]].iloc[:20], var=reference.var[[]])
    shuffled = part[rows][:, columns].copy()
    for call in (
        lambda adata, **options: classifier.predict(adata, key_added=None, **options),
        classifier.get_pathway_activity,
    ):
        expected = call(part)
        pd.testing.assert_frame_equal(call(shuffled, batch_size=7).loc[expected.index], expected, atol=1e-4)


def test_cells_in_another_order_train_a_model_of_the_same_kind(reference, cells) -> None:
    """Batches differ, so weights do; what is fitted in closed form does not."""
    order = np.random.default_rng(0).permutation(cells.n_obs)
    first, second = make(reference, cells), make(reference, cells[order].copy())
    assert first.pathways_ == second.pathways_
    for name in ("genes", "mean", "sd", "drug_mean", "drug_sd", "linear"):
        torch.testing.assert_close(getattr(first.module, name), getattr(second.module, name))


# ---------------------------------------------------------------------- domains


def test_alignment_brings_the_codes_of_both_domains_together(reference, cells) -> None:
    def gap(**options: Any) -> float:
        train = {"max_epochs": 40, "validation": 0.1}
        model = make(reference, shifted, train=train, cells_method="none", schedule="joint", **options)
        lines = model.get_latent_representation(reference)
        codes = model.get_latent_representation(shifted)
        return float(np.abs((lines.mean(0) - codes.mean(0)) / lines.std(0).clip(1e-3)).mean())

    shifted = pp.harmonize(cells, reference)
    shifted.X = shifted.X + np.random.default_rng(0).normal(0, 2, size=reference.n_vars).astype(np.float32)
    apart = gap(align="none")
    assert gap(align="mmd", w_align=10.0) < 0.5 * apart
    assert gap(align="coral", w_align=10.0) > 0.5 * apart, "covariances say nothing of the means"


def test_a_critic_trains_as_many_steps_of_the_network_as_none_does() -> None:
    rows, response = torch.randn(10, 9), torch.randn(10, 3)
    plain = DomainBatches(rows, response, rows, 5)
    passes = DomainBatches(rows, response, rows, 5, n_passes=5)
    assert len(passes) == 5 * len(plain) == len(list(passes)) == 10


def test_the_critic_tells_cells_from_lines_and_the_encoder_works_against_it() -> None:
    torch.manual_seed(0)
    module = PathwayModule(Sizes(**{**vars(SIZES), "dropout": 0.0, "norm": "none"}), torch.ones(7, 4, dtype=bool))
    critic = make_critic(4, dropout=0.0).eval()
    batch = {"bulk": torch.randn(8, 7), "cells": torch.randn(8, 7), "response": torch.randn(8, 3)}
    codes = {domain: module.autoencoder.code(batch[domain], domain) for domain in ("bulk", "cells")}
    torch.manual_seed(1)
    loss = Objective(module, Settings(align="adversarial"), critic).against(batch)["loss"]
    torch.manual_seed(1)
    share = torch.rand(8, 1)
    between = (share * codes["bulk"] + (1 - share) * codes["cells"]).detach().requires_grad_(True)
    (slope,) = torch.autograd.grad(critic(between).sum(), between)
    penalty = (slope.norm(dim=1) - 1).square().mean()
    torch.testing.assert_close(loss, critic(codes["cells"]).mean() - critic(codes["bulk"]).mean() + 10 * penalty)
    parts = Objective(module, Settings(align="adversarial", noise=0.0, w_align=0.5), critic).autoencoder(batch)
    torch.testing.assert_close(parts["loss"] - parts["reconstruction_loss"], -0.5 * critic(codes["cells"]).mean())


def test_adversarial_alignment_is_an_option_of_the_full_model(reference, cells) -> None:
    model = make(reference, cells, align="adversarial")
    assert model.settings.variant == "full"
    assert model.pathways_
    assert not any("critic" in name for name in model.module.state_dict())
    assert len(model.history["pretraining_train_reconstruction_loss"]) == 4


def test_a_domain_s_own_encoder_reads_its_samples_where_none_is_shared(reference, cells) -> None:
    model = make(reference, cells, variant="base")
    x = reference.X[:5].astype(np.float32)
    own = model.module.autoencoder.private
    with torch.inference_mode():
        expected = {domain: own[domain](model.module.read(torch.from_numpy(x))).numpy() for domain in own}
    np.testing.assert_allclose(model._latent_rows(x), expected["cells"], atol=1e-5)
    assert np.abs(expected["cells"] - expected["bulk"]).max() > 1e-3
    bulk, _ = model._reference_predictions(x, reference.obsm["response"].to_numpy()[:5])
    assert np.abs(bulk - model._predict_rows(x, np.arange(12))).max() > 1e-3
    assert model.domain == "cells"
