"""Attention, likelihood and clustering losses against explicit computations."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from scdrug.nn import AttentionAutoencoder, CrossAttention, soft_assignment, target_distribution, zinb_loss
from scdrug.nn._attention_autoencoder import Reconstruction


def normalised(n: int, m: int, seed: int = 0) -> torch.Tensor:
    edges = torch.rand(n, m, generator=torch.Generator().manual_seed(seed))
    return edges / edges.sum(dim=1, keepdim=True)


def test_attention_is_what_each_head_and_each_pair_of_cells_give():
    torch.manual_seed(0)
    block = CrossAttention(3, n_heads=2).eval()
    graph, code, context = torch.randn(4, 3), torch.randn(4, 3), torch.randn(5, 3)
    weights = {name: w.detach().numpy() for name, w in block.named_parameters()}
    expected = code.numpy().copy()
    for cell in range(4):
        heads = []
        for head in range(2):
            rows = slice(3 * head, 3 * head + 3)
            q = weights["queries.weight"][rows] @ graph[cell].numpy()
            k = context.numpy() @ weights["keys.weight"][rows].T
            v = context.numpy() @ weights["values.weight"][rows].T
            score = np.exp(k @ q / np.sqrt(3))
            heads.append((score / score.sum()) @ v)
        expected[cell] += weights["output.weight"] @ np.concatenate(heads)
    np.testing.assert_allclose(block(graph, code, context).detach(), expected, atol=1e-5)


def test_attention_has_no_biases_and_full_width_heads():
    block = CrossAttention(16, n_heads=8)
    assert sum(p.numel() for p in block.parameters()) == 4 * 16 * 8 * 16


def test_queries_alone_are_dropped_in_training():
    torch.manual_seed(0)
    block = CrossAttention(4, n_heads=2, dropout=1.0)
    context = torch.randn(6, 4)
    # without queries all keys score the same: each cell gets the mean of the values
    mean = block.output(block.values(context).mean(dim=0))
    torch.testing.assert_close(block(torch.randn(3, 4), torch.zeros(3, 4), context), mean.expand(3, 4))


def test_graph_stream_is_edges_times_hidden_layer():
    torch.manual_seed(0)
    network = AttentionAutoencoder(10, n_latent=3, n_heads=2).eval()
    edges = normalised(6, 6)
    codes = network.encode(torch.randn(6, 10), edges).codes
    expected = torch.tanh(edges @ codes.first @ network.graph_first.weight.T)
    torch.testing.assert_close(codes.graph, expected)


def test_a_context_of_the_same_cells_changes_nothing():
    torch.manual_seed(0)
    network = AttentionAutoencoder(10, n_latent=3, n_heads=2).eval()
    x, edges = torch.randn(6, 10), normalised(6, 6)
    alone = network.encode(x, edges)
    torch.testing.assert_close(network.encode(x, edges, alone.codes).latent, alone.latent)


def test_codes_do_not_depend_on_the_batch_when_landmarks_are_given():
    torch.manual_seed(0)
    network = AttentionAutoencoder(10, n_latent=3, n_heads=2).eval()
    context = network.encode(torch.randn(5, 10), normalised(5, 5)).codes
    x, edges = torch.randn(7, 10), normalised(7, 5)
    together = network.encode(x, edges, context).latent
    apart = torch.cat([network.encode(x[i : i + 1], edges[i : i + 1], context).latent for i in range(7)])
    torch.testing.assert_close(together, apart, atol=1e-5, rtol=1e-5)


def test_noise_acts_in_training_only():
    torch.manual_seed(0)
    network = AttentionAutoencoder(10, n_latent=3, n_heads=2, dropout=0.0)
    x, edges = torch.randn(6, 10), normalised(6, 6)
    assert not torch.equal(network.encode(x, edges).latent, network.encode(x, edges).latent)
    network.eval()
    assert torch.equal(network.encode(x, edges).latent, network.encode(x, edges).latent)


def test_decoded_mean_grows_with_the_size_factor_and_stays_in_its_range():
    torch.manual_seed(0)
    network = AttentionAutoencoder(8, n_latent=3).eval()
    latent = 1e4 * torch.randn(5, 3)
    once, twice = network.decode(latent, torch.ones(5)), network.decode(latent, 2 * torch.ones(5))
    torch.testing.assert_close(twice.mean, 2 * once.mean)
    assert once.mean.min() >= 0.999e-5 and once.mean.max() <= 1.001e4
    assert once.dispersion.min() >= 1e-4 and once.dispersion.max() <= 1e3


def test_without_counts_only_a_mean_is_decoded():
    network = AttentionAutoencoder(8, n_latent=3, counts=False)
    decoded = network.decode(torch.randn(2, 3), torch.ones(2))
    assert decoded.dispersion is None and decoded.dropout_logits is None
    with pytest.raises(ValueError, match="counts=True"):
        zinb_loss(torch.zeros(2, 8), decoded)


@settings(deadline=None, max_examples=30)
@given(
    count=st.integers(0, 40),
    mean=st.floats(0.01, 50),
    theta=st.floats(0.05, 50),
    dropout=st.floats(0.01, 0.99),
)
def test_zinb_is_the_textbook_likelihood(count, mean, theta, dropout):
    nb = stats.nbinom.pmf(count, theta, theta / (theta + mean))
    expected = -np.log(dropout * (count == 0) + (1 - dropout) * nb)
    one = torch.ones(1, 1, dtype=torch.float64)
    decoded = Reconstruction(mean * one, theta * one, np.log(dropout / (1 - dropout)) * one)
    assert float(zinb_loss(count * one, decoded)) == pytest.approx(expected, rel=1e-6, abs=1e-9)


def test_zinb_is_averaged_over_all_entries_and_has_finite_gradients():
    counts = torch.tensor([[0.0, 3.0], [1.0, 0.0]])
    mean = torch.tensor([[1e-5, 1e4], [2.0, 0.5]], requires_grad=True)
    theta = torch.tensor([[1e-4, 1e3], [1.0, 2.0]], requires_grad=True)
    logits = torch.tensor([[-90.0, 90.0], [0.0, 1.0]], requires_grad=True)
    loss = zinb_loss(counts, Reconstruction(mean, theta, logits))
    single = [
        zinb_loss(counts[i, j].reshape(1, 1), Reconstruction(*(t[i, j].reshape(1, 1) for t in (mean, theta, logits))))
        for i in range(2)
        for j in range(2)
    ]
    torch.testing.assert_close(loss, torch.stack(single).mean())
    loss.backward()
    assert all(torch.isfinite(t.grad).all() for t in (mean, theta, logits))


def test_soft_assignment_is_students_t():
    latent, centers = np.array([[0.0, 0.0], [3.0, 4.0]]), np.array([[0.0, 0.0], [0.0, 1.0], [3.0, 4.0]])
    weight = 1 / (1 + ((latent[:, None] - centers) ** 2).sum(-1))
    expected = weight / weight.sum(axis=1, keepdims=True)
    found = soft_assignment(torch.tensor(latent), torch.tensor(centers))
    np.testing.assert_allclose(found, expected)
    np.testing.assert_allclose(found[0], np.array([1, 1 / 2, 1 / 26]) / (1 + 1 / 2 + 1 / 26))


def test_target_distribution_squares_and_divides_by_cluster_size():
    q = np.array([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8]])
    weight = q**2 / q.sum(axis=0)
    np.testing.assert_allclose(target_distribution(torch.tensor(q)), weight / weight.sum(axis=1, keepdims=True))


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 1000))
def test_targets_are_sharper_than_assignments_of_balanced_clusters(seed):
    q = torch.softmax(torch.randn(20, 3, generator=torch.Generator().manual_seed(seed)), dim=1)
    q = torch.cat([q, q.roll(1, dims=1), q.roll(2, dims=1)])  # clusters of equal size
    p = target_distribution(q)
    torch.testing.assert_close(p.sum(dim=1), torch.ones(60))
    assert (p.max(dim=1).values >= q.max(dim=1).values - 1e-6).all()


def test_kl_pulls_codes_to_the_nearest_centre():
    centers = torch.tensor([[0.0], [10.0]])
    latent = torch.tensor([[2.0], [8.0]], requires_grad=True)
    q = soft_assignment(latent, centers)
    p = target_distribution(q.detach())
    loss = torch.nn.functional.kl_div(q.log(), p, reduction="batchmean")
    explicit = float((p * (p / q.detach()).log()).sum()) / 2
    assert float(loss.detach()) == pytest.approx(explicit, rel=1e-5)
    loss.backward()
    assert latent.grad[0] > 0 > latent.grad[1]
