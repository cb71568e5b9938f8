"""Networks on molecular graphs: what must not change the code of a molecule, and layers against their formulas."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from scdrug.nn import GraphBatch, MoleculeGraphEncoder
from scdrug.nn._checkpoint import read_checkpoint
from scdrug.nn._contextpred import ContextPredEncoder, _Layer
from scdrug.nn._graph_batch import FeatureBatch
from scdrug.nn._molecule_graph import POOLS, GATLayer, GCNLayer, GINLayer, pool_atoms
from scdrug.pp._graphs import MolecularGraphs, molecular_graphs

DRUGS = ["CC(=O)Oc1ccccc1C(=O)O", "C", "CN1C=NC2=C1C(=O)N(C(=O)N2C)C", "C[C@H](N)C(=O)O"]


tensors = GraphBatch.from_arrays


def encoder(graphs: MolecularGraphs, **options) -> MoleculeGraphEncoder:
    torch.manual_seed(0)
    net = MoleculeGraphEncoder(graphs.x.shape[1], graphs.edge_attr.shape[1], hidden=(16, 8), **options)
    for module in net.modules():  # an untrained norm would hide what it does to padding
        if isinstance(module, torch.nn.BatchNorm1d):
            module.running_mean.normal_()
            module.bias.data.normal_()
    return net.eval()


def permuted(graphs: MolecularGraphs, seed: int) -> MolecularGraphs:
    """The same molecules with the atoms of each in another order, and the bonds in another order."""
    rng = np.random.default_rng(seed)
    ends = np.cumsum(graphs.n_atoms)
    order = np.concatenate([start + rng.permutation(end - start) for start, end in zip(ends - graphs.n_atoms, ends)])
    place = np.argsort(order)
    bonds = rng.permutation(graphs.edge_index.shape[1])
    return replace(
        graphs,
        x=graphs.x[order],
        edge_index=place[graphs.edge_index[:, bonds]],
        edge_attr=graphs.edge_attr[bonds],
        padding=graphs.padding[order],
    )


@pytest.mark.parametrize("conv", ["gcn", "gin", "gat"])
@pytest.mark.parametrize("pool", POOLS)
@settings(max_examples=5, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_codes_do_not_depend_on_the_order_of_atoms_and_bonds(conv: str, pool: str, seed: int) -> None:
    graphs = molecular_graphs(DRUGS, features="rich").padded(20)
    net = encoder(graphs, conv=conv, pool=pool)
    torch.testing.assert_close(net(tensors(permuted(graphs, seed))), net(tensors(graphs)), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("conv", ["gcn", "gin", "gat"])
@pytest.mark.parametrize("pool", ["max", "mean", "sum", "max_mean"])
def test_masked_pooling_does_not_see_padding(conv: str, pool: str) -> None:
    graphs = molecular_graphs(DRUGS, features="deepcdr")
    net = encoder(graphs, conv=conv, pool=pool)
    expected = net(tensors(graphs))
    for size in (14, 40):
        torch.testing.assert_close(net(tensors(graphs.padded(size))), expected, atol=1e-5, rtol=1e-5)


def test_padded_mean_does_see_padding_as_the_released_code_does() -> None:
    graphs = molecular_graphs(DRUGS)
    net = encoder(graphs, pool="mean_padded")
    small, large = net(tensors(graphs.padded(14))), net(tensors(graphs.padded(40)))
    assert (small - large).abs().max() > 1e-3
    atoms = torch.arange(8.0).reshape(4, 2)
    batch = GraphBatch(
        atoms,
        torch.zeros(2, 0, dtype=torch.long),
        torch.zeros(0, 0),
        torch.tensor([4]),
        torch.tensor([False] + [True] * 3),
    )
    assert pool_atoms(atoms, batch, "mean_padded").tolist() == [[3.0, 4.0]]
    assert pool_atoms(atoms, batch, "mean").tolist() == [[0.0, 1.0]]


@pytest.mark.parametrize("conv", ["gcn", "gin", "gat"])
def test_molecules_do_not_see_each_other(conv: str) -> None:
    graphs = molecular_graphs(DRUGS, features="rich")
    net = encoder(graphs, conv=conv)
    together = net(tensors(graphs))
    alone = torch.cat([net(tensors(molecular_graphs([smiles], features="rich"))) for smiles in DRUGS])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-5)
    chosen = torch.tensor([3, 0])
    torch.testing.assert_close(net(tensors(graphs).select(chosen)), together[chosen], atol=1e-5, rtol=1e-5)


def dense(graphs: MolecularGraphs) -> np.ndarray:
    """Adjacency with self-loops (target × source)."""
    adjacency = np.eye(len(graphs.x))
    adjacency[graphs.edge_index[1], graphs.edge_index[0]] = 1
    return adjacency


def test_graph_convolution_is_the_dense_formula() -> None:
    graphs = molecular_graphs(DRUGS[2:])
    layer = GCNLayer(graphs.x.shape[1], 5)
    layer.linear.bias.data.normal_()
    adjacency = dense(graphs)
    scale = np.diag(adjacency.sum(axis=1) ** -0.5)
    weight, bias = (p.detach().numpy() for p in (layer.linear.weight, layer.linear.bias))
    expected = scale @ adjacency @ scale @ (graphs.x @ weight.T + bias)
    batch = tensors(graphs)
    got = layer(batch.x, batch)
    np.testing.assert_allclose(got.detach().numpy(), expected, atol=1e-5)
    one_by_one = layer.propagate(layer.linear(batch.x), *batch.normalised)  # as on devices without sparse products
    torch.testing.assert_close(got, one_by_one)


@pytest.mark.parametrize("features", ["deepcdr", "rich"])
def test_graph_isomorphism_adds_what_neighbours_and_bonds_send(features: str) -> None:
    graphs = molecular_graphs(DRUGS, features=features)
    n_bond = graphs.edge_attr.shape[1]
    layer = GINLayer(graphs.x.shape[1], 6, n_bond, "batch").eval()
    layer.conv.eps.data.fill_(0.3)
    batch = tensors(graphs)
    expected = 1.3 * batch.x
    for k, (source, target) in enumerate(batch.edge_index.T.tolist()):
        sent = torch.relu(batch.x[source] + layer.conv.lin(batch.edge_attr[k])) if n_bond else batch.x[source]
        expected[target] = expected[target] + sent
    torch.testing.assert_close(layer(batch.x, batch), layer.conv.nn(expected))


def test_graph_attention_weighs_neighbours_by_head() -> None:
    batch = tensors(molecular_graphs(DRUGS[3:], features="rich"))
    layer = GATLayer(batch.x.shape[1], 8, batch.edge_attr.shape[1])
    conv = layer.conv
    expected = conv.res(batch.x) + conv.bias
    for atom in range(len(batch.x)):
        here = (batch.edge_index[1] == atom).nonzero()[:, 0]
        values = conv.lin_l(batch.x[batch.edge_index[0, here]])
        key = values + conv.lin_r(batch.x[atom]) + conv.lin_edge(batch.edge_attr[here])
        logits = (torch.nn.functional.leaky_relu(key, 0.2).view(-1, 4, 2) * conv.att).sum(-1)
        expected[atom] = expected[atom] + (logits.softmax(0)[..., None] * values.view(-1, 4, 2)).sum(0).flatten()
    torch.testing.assert_close(layer(batch.x, batch), expected)
    with pytest.raises(ValueError, match="multiple of its 4 heads"):
        GATLayer(5, 6, 0)


def test_pretrained_layers_carry_bonds_and_self_loops_with_the_weights_of_atoms() -> None:
    graphs = molecular_graphs(DRUGS[3:], features="contextpred")
    layer, batch = _Layer(6), tensors(graphs)
    adjacency = dense(graphs)
    scale = adjacency.sum(axis=1) ** -0.5
    x = torch.randn(len(graphs.x), 6)
    mapped = layer.linear(x)
    order, direction = layer.edge_embedding1.weight, layer.edge_embedding2.weight
    expected = [(mapped[i] + order[4] + direction[0]) * scale[i] ** 2 for i in range(len(x))]
    for (source, target), (a, b) in zip(graphs.edge_index.T, graphs.edge_attr):
        expected[target] = expected[target] + (mapped[source] + order[a] + direction[b]) * scale[source] * scale[target]
    torch.testing.assert_close(layer(x, batch), torch.stack(expected).to(x.dtype))


def test_some_of_the_molecules_are_those_molecules() -> None:
    batch = tensors(molecular_graphs(DRUGS, features="rich"))
    part, alone = batch.select(torch.tensor([3, 0])), tensors(molecular_graphs([DRUGS[3], DRUGS[0]], features="rich"))
    for name in ("x", "n_atoms", "graph", "padding"):
        assert torch.equal(getattr(part, name), getattr(alone, name)), name
    assert sorted(map(tuple, part.edge_index.T.tolist())) == sorted(map(tuple, alone.edge_index.T.tolist()))


@pytest.mark.slow
def test_importing_the_layers_warns_of_nothing() -> None:
    code = "import torch, warnings; warnings.simplefilter('error'); import scdrug.nn._molecule_graph"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def test_fingerprints_have_the_interface_of_graphs() -> None:
    batch = FeatureBatch(torch.eye(3))
    assert len(batch) == 3
    assert batch.select(torch.tensor([2, 0])).x.tolist() == [[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]]


@pytest.mark.parametrize("options", [{"conv": "sage"}, {"pool": "median"}, {"norm": "group"}])
def test_unknown_choices_are_refused(options: dict) -> None:
    with pytest.raises(ValueError, match=f"`{next(iter(options))}` must be"):
        MoleculeGraphEncoder(4, 0, **options)


def test_pretrained_network_is_read_and_separates_molecules(shared_data: Path) -> None:
    net = ContextPredEncoder().eval()
    net.load_file(shared_data / "molecule" / "gcn_contextpred.pth")
    similar = ["CCCCCCCC", "CCCCCCCCC", "c1ccc2ccccc2c1"]
    with torch.inference_mode():
        codes = net(tensors(molecular_graphs(similar, features="contextpred")))
    distance = torch.cdist(codes, codes)
    assert distance[0, 1] < 0.3 * distance[0, 2]


def test_files_that_hold_code_or_another_network_are_refused(tmp_path: Path) -> None:
    torch.save({"model": torch.nn.Linear(2, 2)}, tmp_path / "module.pth")
    with pytest.raises(ValueError, match="could run code"):
        read_checkpoint(tmp_path / "module.pth")
    (tmp_path / "text.pth").write_text("not a checkpoint")
    with pytest.raises(ValueError, match="text.pth"):
        read_checkpoint(tmp_path / "text.pth")
    with pytest.raises(FileNotFoundError):
        read_checkpoint(tmp_path / "absent.pth")
    torch.save(ContextPredEncoder(width=12).state_dict(), tmp_path / "small.pth")
    with pytest.raises(ValueError, match="another architecture.*of another size"):
        ContextPredEncoder(width=8).load_file(tmp_path / "small.pth")
    with pytest.raises(ValueError, match="another architecture.*missing"):
        ContextPredEncoder(width=12, n_layers=6).load_file(tmp_path / "small.pth")
