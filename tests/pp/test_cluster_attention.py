"""The attention autoencoder on cells with planted clusters."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.sparse import csr_matrix
from sklearn.metrics import adjusted_rand_score

import scdrug
from scdrug.pp._attention_training import (
    AttentionSettings,
    CellInput,
    _Trainer,
    cluster_with_attention,
    gaussian_edges,
    kernel_widths,
)


@pytest.fixture(scope="module")
def cells():
    return scdrug.datasets.toy_cells(n_cells=160, n_genes=200)


def test_edges_are_a_gaussian_of_the_distance_and_one_for_the_cell_itself():
    points, widths = np.array([[0.0, 0.0], [3.0, 4.0]]), np.array([1.0, 2.0])
    edges = gaussian_edges(points, widths, points, widths)
    across = np.sqrt(2 * 1 * 2 / (1 + 4)) * np.exp(-25 / (1 + 4))
    np.testing.assert_allclose(edges, [[1, across], [across, 1]])


def test_widths_are_half_the_distance_to_the_nth_landmark():
    points, landmarks = np.array([[0.0], [10.0]]), np.array([[1.0], [2.0], [6.0]])
    np.testing.assert_allclose(kernel_widths(points, landmarks, 2), [1.0, 4.0])
    np.testing.assert_allclose(kernel_widths(points, landmarks, 99), [3.0, 4.5])


def arrays(n: int = 60, *, counts: bool = True, seed: int = 0) -> CellInput:
    rng = np.random.default_rng(seed)
    truth = np.arange(n) % 3
    values = rng.poisson(1 + 4 * (np.arange(30) % 3 == truth[:, None])).astype(np.float32)
    logged = csr_matrix(np.log1p(values))
    points = np.linalg.qr(rng.normal(size=(3, 3)))[0][truth] + 0.1 * rng.normal(size=(n, 3))
    return CellInput(logged, csr_matrix(values) if counts else None, np.ones(n), points.astype(np.float32))


def test_the_same_seed_gives_the_same_codes_and_the_global_state_is_left_alone():
    settings = AttentionSettings(max_epochs=3, batch_size=32)
    torch.manual_seed(7)
    expected = torch.rand(1)
    torch.manual_seed(7)
    first = cluster_with_attention(arrays(), settings)
    assert torch.equal(torch.rand(1), expected)
    second = cluster_with_attention(arrays(), settings)
    np.testing.assert_array_equal(first.latent, second.latent)
    other = cluster_with_attention(arrays(), AttentionSettings(max_epochs=3, batch_size=32, seed=1))
    assert not np.allclose(first.latent, other.latent)


def test_no_matrix_over_all_pairs_of_cells_is_made(monkeypatch):
    shapes = []
    trainer = _Trainer(arrays(100), AttentionSettings(max_epochs=1, batch_size=20))
    encode = trainer.network.encode
    monkeypatch.setattr(
        trainer.network,
        "encode",
        lambda x, edges, context=None: shapes.append(edges.shape) or encode(x, edges, context),
    )
    trainer.pretrain()
    assert trainer.embed().shape == (100, 16)
    assert {tuple(shape) for shape in shapes} == {(20, 20)}


def test_every_cell_is_seen_once_an_epoch_in_batches_of_like_size():
    trainer = _Trainer(arrays(61), AttentionSettings(batch_size=30))
    batches = trainer._batches()
    assert sorted(np.concatenate(batches)) == list(range(61))
    assert {len(batch) for batch in batches} == {20, 21}


def test_steps_stay_those_of_the_paper_until_cells_are_many():
    assert _Trainer(arrays(60), AttentionSettings(batch_size=60))._epochs(200) == 200
    assert _Trainer(arrays(60), AttentionSettings(batch_size=15))._epochs(200) == 50
    assert _Trainer(arrays(60), AttentionSettings(batch_size=2))._epochs(200) == 10
    assert _Trainer(arrays(60), AttentionSettings(max_epochs=3))._epochs(200) == 3


def test_codes_come_from_the_landmarks_whatever_the_other_cells():
    trainer = _Trainer(arrays(50), AttentionSettings(max_epochs=1, batch_size=25))
    trainer.pretrain()
    together = trainer.embed()
    trainer.n_batches = 10
    np.testing.assert_allclose(trainer.embed(), together, atol=1e-5)


@pytest.mark.parametrize("counts", [True, False], ids=["zinb", "mse"])
def test_training_lowers_the_loss(counts):
    history = cluster_with_attention(arrays(counts=counts), AttentionSettings(max_epochs=30)).history
    assert history["reconstruction"][-1] < 0.9 * history["reconstruction"][0]


def test_the_state_of_the_best_epoch_is_kept_as_a_copy(monkeypatch):
    trainer = _Trainer(arrays(), AttentionSettings(max_epochs=6))
    step, states = trainer._step, []

    def scripted(optimizer, loss):
        step(optimizer, loss)
        states.append({name: value.clone() for name, value in trainer.network.state_dict().items()})
        return [3.0, 1.0, 2.0, 2.5, 4.0, 5.0][len(states) - 1]

    monkeypatch.setattr(trainer, "_step", scripted)
    assert trainer.pretrain()[:3] == [3.0, 1.0, 2.0]
    kept = trainer.network.state_dict()
    assert all(torch.equal(kept[name], value) for name, value in states[1].items())
    assert not torch.equal(kept["mean.weight"], states[-1]["mean.weight"])


def test_a_loss_that_is_no_number_is_an_error(monkeypatch):
    trainer = _Trainer(arrays(), AttentionSettings(max_epochs=6))
    step = trainer._step
    monkeypatch.setattr(trainer, "_step", lambda optimizer, loss: step(optimizer, loss) * float("nan"))
    with pytest.raises(RuntimeError, match="became nan in epoch 1. Lower `lr`"):
        trainer.pretrain()


@pytest.mark.parametrize("batch_size", [512, 60], ids=["all cells", "batches"])
def test_planted_clones_are_found(cells, batch_size):
    found = cells.copy()
    scdrug.pp.cluster_attention(found, batch_size=batch_size, max_epochs=40)
    assert adjusted_rand_score(found.obs["clone"], found.obs["attention"]) > 0.95
    assert found.obsm["X_attention"].shape == (160, 16)
    report = found.uns["attention"]
    assert report["silhouette"] > report["silhouette_pca"] + 0.2  # its own space flatters
    assert report["params"]["batch_size"] == batch_size


def test_squares_do_where_there_are_no_counts(cells):
    scaled = cells.copy()
    dense = np.log1p(scaled.X.toarray())
    scaled.X = (dense - dense.mean(axis=0)) / (dense.std(axis=0) + 1e-6)
    with pytest.raises(ValueError, match="needs counts"):
        scdrug.pp.cluster_attention(scaled, scale="scaled")
    found = scdrug.pp.cluster_attention(scaled, scale="scaled", likelihood="mse", max_epochs=40, copy=True)
    assert adjusted_rand_score(found.obs["clone"], found.obs["attention"]) > 0.95
    assert "attention" not in scaled.obs


def test_labels_can_rest_on_the_attention_autoencoder(cells, monkeypatch):
    from scdrug.pp import _attention_training

    monkeypatch.setattr(_attention_training._Trainer, "_epochs", lambda self, published: 40)
    treated = cells.copy()
    treated.obs["arm"] = np.where(treated.obs["clone"] == "clone-b", "drug", "none")
    scdrug.pp.label_cells(treated, treatment_key="arm", control="none", method="attention")
    assert treated.uns["sensitive"]["space"] == "codes of the attention autoencoder"
    clusters = pd.crosstab(treated.obs["sensitive_cluster"], treated.obs["clone"].astype(str))
    assert clusters.to_numpy().max(axis=0).sum() >= 155


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"likelihood": "nb"}, "'zinb', 'mse'"),
        ({"batch_size": 1}, "`batch_size` must be at least 2"),
        ({"max_epochs": 0}, "`max_epochs` must be at least 1"),
    ],
)
def test_impossible_arguments_are_refused(cells, options, message):
    with pytest.raises(ValueError, match=message):
        scdrug.pp.cluster_attention(cells.copy(), **options)


def test_too_few_cells_are_refused(cells):
    with pytest.raises(ValueError, match="at least 20 cells; found 12"):
        scdrug.pp.cluster_attention(cells[:12].copy())
