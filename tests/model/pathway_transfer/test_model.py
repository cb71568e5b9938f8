"""PathwayTransfer: what the network is, what it learns from, and what it must not depend on."""

from __future__ import annotations

from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import torch

from scdrug import datasets, pp, tl
from scdrug.model import PathwayTransfer, load_pretrained
from scdrug.model.pathway_transfer._losses import DomainBatches, Objective
from scdrug.model.pathway_transfer._module import PathwayModule, Sizes
from scdrug.model.pathway_transfer._settings import Settings
from scdrug.model.pathway_transfer._training import Phases
from scdrug.model.prior import LinearPrior
from scdrug.nn import masked_mse, orthogonality

SMALL = {"n_hidden": 24, "n_head": (16,)}


def make(adata: ad.AnnData, *, train: dict[str, Any] | None = None, **options: Any) -> PathwayTransfer:
    adata = adata.copy()
    PathwayTransfer.setup_anndata(adata)
    model = PathwayTransfer(adata, **{**SMALL, **options})
    model.train(**{"max_epochs": 3, **(train or {})})
    return model


def network(**changes: Any) -> PathwayModule:
    sizes = {
        "n_panel": 9, "n_genes": 7, "n_latent": 4, "n_drugs": 3, "n_hidden": 5, "n_head": [6, 4], "dropout": 0.3,
        "norm": "batch", "private": True, "shared": True, "pathways": True, "relu": False, "linear": False,
    }  # fmt: skip
    sizes = Sizes(**{**sizes, **changes})
    torch.manual_seed(0)
    mask = torch.rand(sizes.n_genes, sizes.n_latent) < 0.5 if sizes.pathways else None
    return PathwayModule(sizes, mask)


# ---------------------------------------------------------------------- network and losses


def test_the_network_has_the_parts_and_parameters_of_the_paper() -> None:
    module = network()

    def mlp(n_in: int, n_out: int) -> int:
        return n_in * 5 + 5 + 2 * 5 + 5 * n_out + n_out  # with the scale and shift of batch norm

    encoders, dense, sparse = 3 * mlp(7, 4), mlp(8, 7), 7 * 4 + 7
    head = 4 * 6 + 6 + 6 * 4 + 4 + 4 * 3 + 3
    assert sum(p.numel() for p in module.parameters()) == encoders + dense + sparse + head
    layers = [type(layer).__name__ for block in module.autoencoder.shared.hidden for layer in block]
    assert layers == ["Linear", "ReLU", "BatchNorm1d", "Dropout"]
    assert [type(layer).__name__ for block in module.head.hidden for layer in block] == [
        "Linear", "ReLU", "Dropout", "Linear", "ReLU",
    ]  # fmt: skip


def test_the_loss_is_the_sum_of_its_parts_over_both_domains() -> None:
    module = network(dropout=0.0, norm="none")
    settings = Settings(w_dense=2.0, w_sparse=3.0, w_diff=5.0, noise=0.0, align="none")
    batch = {"bulk": torch.randn(8, 7), "cells": torch.randn(6, 7), "response": torch.randn(8, 3)}
    batch["response"][0] = float("nan")
    parts = Objective(module, settings).joint(batch)
    expected = 0.0
    for domain in ("bulk", "cells"):
        x = batch[domain]
        shared, private = module.autoencoder.shared(x), module.autoencoder.private[domain](x)
        dense = module.autoencoder.dense(torch.cat([private, shared], dim=1))
        sparse = module.autoencoder.sparse(shared)
        expected += 2 * ((dense - x) ** 2).mean() + 3 * ((sparse - x) ** 2).mean() + 5 * orthogonality(private, shared)
    head = masked_mse(module.head(module.autoencoder.code(batch["bulk"], "bulk")), batch["response"])
    torch.testing.assert_close(parts["autoencoder_loss"], expected)
    torch.testing.assert_close(parts["loss"], expected + head)


def test_cells_without_labels_give_the_head_no_gradient() -> None:
    module = network(dropout=0.0)
    batch = {"bulk": torch.randn(8, 7), "cells": torch.randn(6, 7), "response": torch.full((8, 3), float("nan"))}
    Objective(module, Settings()).joint(batch)["loss"].backward()
    assert all((p.grad == 0).all() for p in module.head.parameters())
    assert all((p.grad != 0).any() for p in module.autoencoder.shared.parameters() if p.ndim > 1)


def test_masked_connections_stay_zero_through_training(reference, cells) -> None:
    model = make(reference, cells=cells, schedule="joint")
    layer = model.module.autoencoder.sparse
    assert (layer.weight[~layer.mask] == 0).all()
    names = reference.uns["pathway_mask"]["pathways"].index
    assert model.pathways_ == [*names, *(f"free {number}" for number in range(1, 6))]
    expected = reference.varm["pathway_mask"].toarray().astype(bool)
    np.testing.assert_array_equal(layer.mask[:, :8].numpy(), expected[model.module.genes.numpy()])
    assert layer.mask[:, 8:].all()


def test_each_cell_is_drawn_once_before_any_comes_again() -> None:
    generator = torch.Generator().manual_seed(0)
    cells = torch.arange(7.0)[:, None]
    batches = DomainBatches(torch.zeros(10, 1), torch.zeros(10, 1), cells, 5, generator=generator)
    drawn = torch.cat([batch["cells"] for _ in range(7) for batch in batches])[:, 0].reshape(-1, 7)
    assert (drawn.sort(dim=1).values == torch.arange(7.0)).all()
    assert len({tuple(row.tolist()) for row in drawn}) > 1


@pytest.mark.parametrize("norm", ["batch", "layer"])
def test_a_row_s_prediction_does_not_depend_on_its_batch(reference, cells, norm: str) -> None:
    model = make(reference, cells=cells, norm=norm)
    expression = np.random.default_rng(0).normal(6, 2, size=(20, reference.n_vars)).astype(np.float32)
    drugs = np.arange(12)
    everything = model._predict_rows(expression, drugs)
    alone = np.vstack([model._predict_rows(row[None], drugs) for row in expression])
    np.testing.assert_allclose(alone, everything, atol=1e-4)
    np.testing.assert_array_equal(everything, model._predict_rows(expression, drugs))


# ---------------------------------------------------------------------- training


def weights(model: PathwayTransfer) -> np.ndarray:
    return np.concatenate([value.numpy().ravel().astype(float) for value in model.module.state_dict().values()])


@pytest.mark.parametrize("options", [{}, {"schedule": "joint", "align": "coral"}, {"variant": "adversarial_shared"}])
def test_the_seed_decides_the_network(reference, cells, options) -> None:
    first, again, other = (
        weights(make(reference, train={"seed": seed, "max_epochs": 6}, cells=cells, **options)) for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 1e-3


@pytest.mark.parametrize("target", ["response", "sensitivity"])
@pytest.mark.parametrize("variant", ["base", "adversarial", "shared", "adversarial_shared", "full"])
def test_every_variant_trains_predicts_saves_and_loads(reference, cells, variant, target, tmp_path) -> None:
    model = make(reference, cells=cells, variant=variant, target=target)
    adata = cells.copy()
    tl.predict_response(adata, model)
    expected = adata.obsm["predicted_response"].to_numpy()
    assert np.isfinite(expected).all()
    model.save(tmp_path / "model")
    tl.predict_response(adata, load_pretrained(tmp_path / "model"))
    np.testing.assert_array_equal(adata.obsm["predicted_response"], expected)
    if target == "sensitivity":
        assert ((expected >= 0) & (expected <= 1)).all()
        assert adata.uns["predicted_response"]["direction"] == "higher is more sensitive"
    if variant != "full":
        with pytest.raises(ValueError, match="has no pathways"):
            model.get_pathway_activity(adata)


@pytest.mark.parametrize("preset", ["he2025", "he2025_released"])
def test_presets_run_and_may_be_changed(reference, cells, preset) -> None:
    model = make(reference, train={"max_epochs": 2}, cells=cells, preset=preset, min_genes=4)
    assert model.settings.target == "sensitivity"
    assert model.settings.n_hidden == 24
    assert ("pretraining_train_loss" in model.history) == (preset == "he2025")
    assert len(model.validation_indices_) == (6 if preset == "he2025" else 0)


def test_validation_responses_reach_nothing_that_is_fitted(reference, cells) -> None:
    marked = pd.DataFrame(False, index=reference.obs_names, columns=reference.obsm["response"].columns)
    marked.iloc[:10] = True
    changed = reference.copy()
    changed.obsm["response"].iloc[:10] = np.full((10, 12), 50.0, dtype=np.float32)
    train = {"validation": marked, "early_stopping": False}
    first, second = (make(adata, train=train, cells=cells) for adata in (reference, changed))
    states = first.module.state_dict(), second.module.state_dict()
    differ = {name for name in states[0] if not torch.equal(states[0][name], states[1][name])}
    assert differ <= {"gate"}, "only the share of the network is chosen on validation responses"


def test_new_cells_are_mapped_without_training_again(reference, cells, tmp_path) -> None:
    model = make(reference, cells=cells)
    before = weights(model)
    new = datasets.toy_cells(n_cells=40, seed=0)
    new.obs_names = "new-" + new.obs_names
    tl.predict_response(new, model)
    harmonized = pp.harmonize(new, model.profile)
    code = model.get_latent_representation(harmonized)
    activity = model.get_pathway_activity(harmonized)
    assert code.shape == (40, 13) == activity.shape
    assert activity.columns[-1] == "free 5"
    np.testing.assert_array_equal(before, weights(model))
    order = np.random.default_rng(0).permutation(reference.n_vars)
    shuffled = harmonized[:, order].copy()
    np.testing.assert_allclose(model.get_pathway_activity(shuffled, batch_size=7), activity, atol=1e-4)


@pytest.mark.parametrize("options", [{}, {"target": "sensitivity"}, {"variant": "base", "norm": "none"}])
def test_missing_genes_are_folded_into_the_first_layer(reference, cells, options) -> None:
    model = make(reference, cells=cells, **options)
    part = cells[:, np.random.default_rng(0).permutation(cells.n_vars)[:240]].copy()
    for drugs in (None, list(model.drugs.index[[7, 2]])):
        tl.predict_response(part, model, drugs=drugs, key_added="folded")
        expected = model.predict(pp.harmonize(part, model.profile), drugs=drugs, key_added=None)
        pd.testing.assert_frame_equal(part.obsm["folded"], expected, atol=1e-3, check_dtype=False)


def test_dense_sparse_and_backed_cells_are_predicted_alike(reference, cells, tmp_path) -> None:
    model = make(reference, cells=cells)
    sparse = cells.copy()
    sparse.X = sp.csr_matrix(np.asarray(cells.X.toarray() if sp.issparse(cells.X) else cells.X, dtype=np.float32))
    dense = sparse.copy()
    dense.X = sparse.X.toarray()
    sparse.write_h5ad(tmp_path / "cells.h5ad")
    tl.predict_response(dense, model)
    expected = dense.obsm["predicted_response"]
    backed = ad.read_h5ad(tmp_path / "cells.h5ad", backed="r")
    for adata, chunk_size in ((sparse, 7), (backed, 33)):
        tl.predict_response(adata, model, chunk_size=chunk_size)
        np.testing.assert_allclose(adata.obsm["predicted_response"], expected, atol=1e-4)
    backed.file.close()


def test_activity_is_in_standard_deviations_of_the_lines_and_oriented_by_its_genes(reference) -> None:
    model = make(reference, train={"max_epochs": 40})
    activity = model.get_pathway_activity()
    np.testing.assert_allclose(activity.mean(), 0, atol=1e-4)
    np.testing.assert_allclose(activity.std(ddof=0), 1, atol=1e-3)
    layer = model.module.autoencoder.sparse
    for column, name in enumerate(model.pathways_):
        total = float(layer.masked_weight[:, column].detach().sum())
        assert np.sign(total) == float(model.module.orientation[column])
        assert name in activity


def test_planted_pathways_are_found_and_the_table_says_so(cells) -> None:
    reference = datasets.toy()
    pp.pathway_mask(reference, "toy")
    model = make(reference, train={"max_epochs": 60}, cells=cells, n_free=0, n_hidden=64)
    activity = model.get_pathway_activity(reference.copy())
    truth = reference.obsm["true_pathway_activity"]
    found = pd.Series({name: np.corrcoef(activity[name], truth[name])[0, 1] for name in truth})
    assert found.median() > 0.8
    table = model.get_pathway_table()
    assert table["identified"].mean() > 0.7
    assert table["r2"].median() > 0.4
    assert (table["n_genes"] == 25).all()


def test_network_and_linear_prior_share_the_prediction(reference) -> None:
    model = make(reference, train={"max_epochs": 40, "validation": 0.3}, prior="linear")
    share = model.shares_.new_line
    both, network, prior = (model.predict(part=part, key_added=None) for part in (None, "network", "prior"))
    np.testing.assert_allclose(both, prior + share * (network - prior), atol=1e-4)
    assert 0 <= share <= 1
    expression, response = model._training_arrays()
    fitted = LinearPrior.fit(expression, response, ridge=1.0)
    np.testing.assert_allclose(prior, fitted.predict(expression), atol=1e-3, err_msg="fitted to all lines in the end")
    with pytest.raises(ValueError, match="`part` must be one of"):
        model.predict(part="half", key_added=None)
    with pytest.raises(ValueError, match="`part='prior'` is for a network that stands on a prior"):
        make(reference).predict(part="prior", key_added=None)


def test_the_prior_is_left_alone_where_nothing_can_choose_a_share(reference) -> None:
    with pytest.warns(UserWarning, match="those of its prior alone"):
        model = make(reference, train={"max_epochs": 1, "early_stopping": False}, prior="linear")
    pd.testing.assert_frame_equal(model.predict(key_added=None), model.predict(part="prior", key_added=None))


def test_cells_come_joined_or_by_themselves_with_the_same_result(reference, cells) -> None:
    # validation lines are drawn from the same lines either way
    by_itself = make(reference, cells=cells)
    joined = make(pp.join_domains(reference, cells))
    np.testing.assert_allclose(weights(by_itself), weights(joined), atol=1e-3)
    assert joined.reference.n_lines == 60
    assert joined.predict(key_added=None).shape == (140, 12)


@pytest.mark.parametrize("preset", ["he2025", "he2025_released"])
def test_presets_of_the_paper_standardise_negative_expression_and_say_so(reference, preset: str) -> None:
    centred = reference.copy()
    centred.X = centred.X - centred.X.mean(axis=1, keepdims=True)
    with pytest.warns(UserWarning, match="standardised, and the pathway decoder stays linear"):
        model = make(centred, preset=preset, min_genes=4)
    read = model.module.read(torch.from_numpy(model._training_arrays()[0].astype(np.float32)))
    trained = np.setdiff1d(np.arange(60), model.validation_indices_)
    np.testing.assert_allclose(read[trained].mean(dim=0), 0, atol=1e-4)
    assert not model.module.sizes.relu
    positive = make(reference, preset=preset, min_genes=4)
    assert positive.module.sizes.relu == (preset == "he2025")
    assert torch.equal(positive.module.sd, torch.ones_like(positive.module.sd))


def test_pathways_can_be_named_instead_of_stored(reference) -> None:
    plain = reference.copy()
    del plain.varm["pathway_mask"], plain.uns["pathway_mask"]
    named = make(plain, pathways="toy")
    stored = make(reference)
    assert named.pathways_ == stored.pathways_
    np.testing.assert_array_equal(weights(named), weights(stored))


def test_the_autoencoder_learns_from_lines_without_labels_too(reference, cells, monkeypatch) -> None:
    adata, seen = reference.copy(), []
    drug = adata.obsm["response"].columns[:1]
    adata.obsm["response"] = adata.obsm["response"][drug]
    adata.uns["drugs"] = adata.uns["drugs"].loc[drug]
    adata.obsm["response"].iloc[:20] = float(
        "nan"
    )  # 20 of 60 lines without a response, and 40 % of the others without a label
    PathwayTransfer.setup_anndata(adata)
    model = PathwayTransfer(adata, preset="he2025", min_genes=2, cells=cells)
    whole = Phases.autoencoder

    def watched(self):
        phase = whole(self)
        seen.append((phase.batches.expression, phase.batches.response))
        return phase

    monkeypatch.setattr(Phases, "autoencoder", watched)
    model.train(max_epochs=1)
    expression, response = seen[0]
    assert len(expression) == 60 - len(model.validation_indices_)
    assert not response.isfinite().any()
