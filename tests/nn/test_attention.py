"""Gene attention: the factorised form equals explicit matrices, and never makes them."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from scdrug.nn import GeneAttention

EDGES = torch.tensor([[0, 1, 2, 0], [3, 4, 5, 5]])


def make(propagation: str, edges: Tensor | None = EDGES, n_genes: int = 7, n_hidden: int = 5) -> GeneAttention:
    torch.manual_seed(0)
    return GeneAttention(n_genes, n_hidden, edges=edges, propagation=propagation).double()


def inputs(n_genes: int = 7, n: int = 4) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    basal = torch.randn(n, n_genes, generator=generator, dtype=torch.float64)
    condition = torch.rand(n, n_genes, generator=generator, dtype=torch.float64)
    return basal.requires_grad_(), condition.requires_grad_()


def explicit(layer: GeneAttention, basal: Tensor, condition: Tensor) -> Tensor:
    """The equations, one sample and one matrix at a time."""
    prior = torch.zeros(layer.n_genes, layer.n_genes, dtype=torch.float64)
    if layer.edges is not None:
        prior[layer.edges[0], layer.edges[1]] = prior[layer.edges[1], layer.edges[0]] = 1.0
        prior += torch.eye(layer.n_genes)
    rows = []
    for g, c in zip(basal, condition, strict=True):
        q = torch.diag(g) @ layer.basal_weight + torch.diag(c) @ layer.condition_weight
        attention = q @ q.T / layer.n_hidden**0.5 + prior
        rows.append(attention @ g if layer.propagation == "matmul" else g * attention.sum(1))
    return torch.stack(rows)


@pytest.mark.parametrize("edges", [EDGES, EDGES[:, :0], None], ids=["prior", "empty prior", "no prior"])
@pytest.mark.parametrize("propagation", ["matmul", "rowsum"])
def test_the_factorised_form_and_its_gradients_equal_explicit_matrices(propagation: str, edges: Tensor | None) -> None:
    layer = make(propagation, edges)
    basal, condition = inputs()
    sources = [basal, condition, layer.basal_weight, layer.condition_weight]
    got, expected = layer(basal, condition), explicit(layer, basal, condition)
    torch.testing.assert_close(got, expected, rtol=1e-12, atol=1e-12)
    weight = torch.randn(got.shape, dtype=torch.float64)
    ours = torch.autograd.grad((got * weight).sum(), sources)
    theirs = torch.autograd.grad((expected * weight).sum(), sources)
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-11, atol=1e-11)


def test_the_two_propagations_differ() -> None:
    basal, condition = inputs()
    assert (make("matmul")(basal, condition) - make("rowsum")(basal, condition)).abs().max() > 0.1


def test_only_matmul_lets_other_genes_expression_act_through_the_prior() -> None:
    basal, condition = inputs()
    changes = {}
    for propagation in ("matmul", "rowsum"):
        layer = make(propagation)
        with torch.no_grad():
            layer.basal_weight.zero_(), layer.condition_weight.zero_()
        (gradient,) = torch.autograd.grad(layer(basal, condition)[0, 3], basal)
        changes[propagation] = gradient[0]
    assert changes["matmul"].tolist() == [1, 0, 0, 1, 0, 0, 0]  # itself and its neighbour 0
    assert changes["rowsum"].tolist() == [0, 0, 0, 2, 0, 0, 0]


@pytest.mark.parametrize("propagation", ["matmul", "rowsum"])
def test_the_order_of_genes_changes_nothing_but_the_order(propagation: str) -> None:
    layer, order = make(propagation), torch.tensor([3, 0, 6, 2, 5, 1, 4])
    place = torch.argsort(order)
    other = GeneAttention(7, 5, edges=place[layer.edges], propagation=propagation).double()
    with torch.no_grad():
        other.basal_weight.copy_(layer.basal_weight[order])
        other.condition_weight.copy_(layer.condition_weight[order])
    basal, condition = inputs()
    torch.testing.assert_close(other(basal[:, order], condition[:, order]), layer(basal, condition)[:, order])


def test_samples_do_not_see_each_other() -> None:
    layer = make("matmul")
    basal, condition = inputs()
    torch.testing.assert_close(layer(basal[1:2], condition[1:2]), layer(basal, condition)[1:2])


@pytest.mark.parametrize("prior", [True, False])
def test_the_mean_matrix_is_the_mean_of_the_matrices(prior: bool) -> None:
    layer = make("matmul")
    basal, condition = inputs()
    expected = layer.matrices(basal, condition, prior=prior).mean(0)
    torch.testing.assert_close(layer.mean_matrix(basal, condition, prior=prior), expected)
    shared = condition[:1]
    expected = layer.matrices(basal, shared.expand(4, 7), prior=prior).mean(0)
    torch.testing.assert_close(layer.mean_matrix(basal, shared, prior=prior), expected)


def test_no_tensor_is_as_large_as_samples_times_genes_times_hidden() -> None:
    sizes: list[int] = []

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            out = function(*args, **(kwargs or {}))
            items = out if isinstance(out, tuple | list) else [out]
            sizes.extend(item.numel() for item in items if torch.is_tensor(item) and not item.is_sparse)
            return out

    n_samples, n_genes, n_hidden = 8, 40, 16
    for propagation in ("matmul", "rowsum"):
        layer = make(propagation, EDGES, n_genes, n_hidden)
        basal, condition = inputs(n_genes, n_samples)
        layer(basal, condition)  # the prior is made once
        with Watch():
            layer(basal, condition).square().sum().backward()
    assert max(sizes) <= n_genes * n_hidden < n_samples * n_genes * n_hidden


def test_without_attention_expression_and_condition_are_added() -> None:
    layer = GeneAttention(7, propagation="none")
    basal, condition = inputs()
    torch.testing.assert_close(layer(basal, condition), basal + condition)
    assert not list(layer.parameters())
    with pytest.raises(ValueError, match="no attention"):
        layer.mean_matrix(basal, condition)


def test_the_prior_survives_files_and_changes_of_precision() -> None:
    layer = make("matmul")
    basal, condition = inputs()
    again = GeneAttention(7, 5, edges=EDGES).double()
    again.load_state_dict(layer.state_dict())
    torch.testing.assert_close(again(basal, condition), layer(basal, condition))
    single = again.float()(basal.float(), condition.float())
    torch.testing.assert_close(single.double(), layer(basal, condition), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("edges", "message"),
    [
        (torch.tensor([[0, 7]]), "2 × edges"),
        (torch.tensor([[0], [7]]), "positions of the 7 genes"),
        (torch.tensor([[1], [1]]), "once"),
        (torch.tensor([[0, 1], [1, 0]]), "once"),
    ],
)
def test_edges_that_do_not_fit_are_refused(edges: Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        GeneAttention(7, edges=edges)
    with pytest.raises(ValueError, match="must be one of"):
        GeneAttention(7, propagation="matrix")
