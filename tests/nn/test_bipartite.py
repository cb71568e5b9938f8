"""The graph convolution of NIHGCN and the correlation of embeddings against computations by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from scdrug.nn import BipartiteEncoder, BipartiteGraph, CorrelationDecoder, row_correlation
from scdrug.nn._bipartite import PopulationNorm

#: Three lines and two drugs: line 2 has no edge.
EDGES = torch.tensor([[0, 0, 1], [0, 1, 1]])
ADJACENCY = np.array([[1.0, 1.0], [0.0, 1.0], [0.0, 0.0]])


@pytest.fixture(autouse=True)
def _own_random_state():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


def embed_by_hand(side, own, other, adjacency, alpha):
    """Equations 1-4 of Liu et al. 2024, node by node, with the batch norm of the released code."""
    degree, other_degree = adjacency.sum(axis=1) + 1, adjacency.sum(axis=0) + 1
    rows = []
    for node in range(len(adjacency)):
        gathered = sum(
            adjacency[node, k] / np.sqrt(degree[node] * other_degree[k]) * other[k] for k in range(len(other_degree))
        )
        total = (1 / degree[node] + 1) * own[node] + gathered
        mixed = (1 - alpha) * total + alpha * total * own[node]
        rows.append(np.maximum(side.output.weight.numpy() @ mixed + side.output.bias.numpy(), 0))
    return np.array(rows)


def project_by_hand(side, features):
    projected = features @ side.projection.weight.numpy().T + side.projection.bias.numpy()
    if side.norm is None:
        return projected
    scaled = (projected - projected.mean(axis=0)) / np.sqrt(projected.var(axis=0) + 1e-5)
    return scaled * side.norm.weight.numpy() + side.norm.bias.numpy()


@pytest.mark.parametrize("norm", [True, False])
@pytest.mark.parametrize("weights", [None, [0.5, 2.0, 1.5]])
@torch.no_grad()
def test_the_encoder_is_the_paper_s_equations(norm, weights) -> None:
    encoder = BipartiteEncoder(5, 4, hidden=6, width=3, alpha=0.25, norm=norm).double()
    lines, drugs = torch.randn(3, 5, dtype=torch.double), torch.randn(2, 4, dtype=torch.double)
    adjacency = ADJACENCY.copy()
    if weights is not None:
        adjacency[tuple(EDGES.numpy())] = weights
    graph = BipartiteGraph(EDGES, 3, 2, weights=None if weights is None else torch.tensor(weights).double())
    found_lines, found_drugs = encoder(lines, drugs, graph)
    c, d = project_by_hand(encoder.lines, lines.numpy()), project_by_hand(encoder.drugs, drugs.numpy())
    np.testing.assert_allclose(found_lines, embed_by_hand(encoder.lines, c, d, adjacency, 0.25), atol=1e-6)
    np.testing.assert_allclose(found_drugs, embed_by_hand(encoder.drugs, d, c, adjacency.T, 0.25), atol=1e-6)


@torch.no_grad()
def test_a_node_without_edges_is_embedded_as_a_new_one() -> None:
    encoder = BipartiteEncoder(5, 4, hidden=6, width=3)
    lines, drugs = torch.randn(3, 5), torch.randn(2, 4)
    embedded, _ = encoder(lines, drugs, BipartiteGraph(EDGES, 3, 2))
    np.testing.assert_allclose(encoder.new_lines(lines[2:]), embedded[2:], atol=1e-6)
    assert not np.allclose(encoder.new_lines(lines[:1]), embedded[:1], atol=1e-3)


@torch.no_grad()
def test_new_nodes_do_not_depend_on_what_is_embedded_with_them() -> None:
    encoder = BipartiteEncoder(5, 4, hidden=6, width=3)
    encoder(torch.randn(3, 5), torch.randn(2, 4), BipartiteGraph(EDGES, 3, 2))
    new = torch.randn(4, 4)
    np.testing.assert_allclose(encoder.new_drugs(new)[:1], encoder.new_drugs(new[:1]), atol=1e-6)


def test_the_order_of_edges_and_nodes_does_not_matter() -> None:
    values = torch.randn(2, 3)
    graph = BipartiteGraph(EDGES, 3, 2, weights=torch.tensor([1.0, 2.0, 3.0]))
    order = torch.tensor([2, 0, 1])
    shuffled = BipartiteGraph(EDGES[:, order], 3, 2, weights=torch.tensor([3.0, 1.0, 2.0]))
    torch.testing.assert_close(graph.to_lines(values), shuffled.to_lines(values))
    flipped = BipartiteGraph(torch.stack([2 - EDGES[0], EDGES[1]]), 3, 2, weights=graph.weights)
    torch.testing.assert_close(flipped.to_lines(values), graph.to_lines(values).flip(0))


def test_a_graph_without_edges_sends_nothing() -> None:
    graph = BipartiteGraph(torch.zeros(2, 0, dtype=torch.long), 3, 2)
    assert graph.to_lines(torch.ones(2, 4)).tolist() == torch.zeros(3, 4).tolist()
    assert graph.line_self().flatten().tolist() == [2.0, 2.0, 2.0]


def test_kept_edges_make_the_graph_of_these_edges() -> None:
    kept = BipartiteGraph(EDGES, 3, 2).keep(torch.tensor([True, False, True]))
    fresh = BipartiteGraph(EDGES[:, [0, 2]], 3, 2)
    torch.testing.assert_close(kept.to_drugs(torch.eye(3)), fresh.to_drugs(torch.eye(3)))


def test_population_norm_keeps_the_population_for_later() -> None:
    norm = PopulationNorm(3)
    population = torch.randn(50, 3) * 4 + 2
    scaled = norm(population)
    torch.testing.assert_close(scaled.mean(dim=0), torch.zeros(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(scaled.std(dim=0, correction=0), torch.ones(3), atol=1e-3, rtol=0)
    torch.testing.assert_close(norm.eval()(population[:2], population=False), scaled[:2])


def test_correlation_is_pearson_s() -> None:
    a, b = torch.randn(4, 7), torch.randn(3, 7)
    np.testing.assert_allclose(row_correlation(a, b), np.corrcoef(a, b)[:4, 4:], atol=1e-6)


def test_embeddings_without_variance_give_zero_and_no_gradient() -> None:
    a = torch.tensor([[0.0, 0.0, 0.0], [1.0, 2.0, 4.0]], requires_grad=True)
    correlation = row_correlation(a, torch.randn(2, 3))
    assert correlation[0].tolist() == [0.0, 0.0]
    correlation.sum().backward()
    assert a.grad[0].tolist() == [0.0, 0.0, 0.0]
    assert torch.isfinite(a.grad).all()


def test_correlation_has_the_gradient_of_finite_differences() -> None:
    a, b = (torch.randn(3, 5, dtype=torch.double, requires_grad=True) for _ in range(2))
    assert torch.autograd.gradcheck(row_correlation, (a, b))


def test_the_encoder_has_the_gradient_of_finite_differences() -> None:
    encoder = BipartiteEncoder(4, 3, hidden=3, width=2).double()
    lines, drugs = torch.randn(3, 4).double(), torch.randn(2, 3).double()
    graph = BipartiteGraph(EDGES, 3, 2)
    names, values = zip(*encoder.named_parameters(), strict=True)

    def embed(*parameters: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        given = dict(zip(names, parameters, strict=True))
        return torch.func.functional_call(encoder, given, (lines, drugs, graph))

    assert torch.autograd.gradcheck(embed, tuple(value.detach().requires_grad_() for value in values))


def test_a_tied_decoder_maps_both_sides_alike() -> None:
    tied, free = CorrelationDecoder(4, scale=15.0, tied=True), CorrelationDecoder(4, scale=15.0)
    x = torch.randn(6, 4)
    decoded = tied(x, x)
    torch.testing.assert_close(decoded, decoded.T)
    torch.testing.assert_close(decoded.diagonal(), torch.full((6,), 15.0))
    assert not torch.allclose(free(x, x), free(x, x).T)
    assert sum(p.numel() for p in free.parameters()) == 2 * sum(p.numel() for p in tied.parameters())
