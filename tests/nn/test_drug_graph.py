"""Networks on molecular graphs: what must not change the code of a molecule, and agreement with torch-geometric."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from scdrug.nn._checkpoint import read_checkpoint
from scdrug.nn._contextpred import ContextPredEncoder
from scdrug.nn._drug_graph import POOLS, DrugGraphEncoder, pool_atoms
from scdrug.nn._graph_batch import FeatureBatch, GraphBatch, SparseMap
from scdrug.nn._graph_conv import GATConv, GCNConv, GINConv, softmax_by
from scdrug.pp._graphs import MolecularGraphs, molecular_graphs

DRUGS = ["CC(=O)Oc1ccccc1C(=O)O", "C", "CN1C=NC2=C1C(=O)N(C(=O)N2C)C", "C[C@H](N)C(=O)O"]


def tensors(graphs: MolecularGraphs) -> GraphBatch:
    arrays = (graphs.x, graphs.edge_index, graphs.edge_attr, graphs.n_atoms, graphs.padding)
    return GraphBatch(*(torch.from_numpy(np.ascontiguousarray(array)) for array in arrays))


def encoder(graphs: MolecularGraphs, **options) -> DrugGraphEncoder:
    torch.manual_seed(0)
    net = DrugGraphEncoder(graphs.x.shape[1], graphs.edge_attr.shape[1], hidden=(16, 8), **options)
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


def test_graph_convolution_is_the_dense_formula() -> None:
    graphs = molecular_graphs(DRUGS[2:3])
    layer = GCNConv(graphs.x.shape[1], 5)
    layer.linear.bias.data.normal_()
    n = len(graphs.x)
    adjacency = np.eye(n)
    adjacency[tuple(graphs.edge_index)] = 1
    scale = np.diag(adjacency.sum(axis=1) ** -0.5)
    weight, bias = (p.detach().numpy() for p in (layer.linear.weight, layer.linear.bias))
    expected = scale @ adjacency @ scale @ (graphs.x @ weight.T + bias)
    batch = tensors(graphs)
    got = layer(batch.x, batch).detach().numpy()
    np.testing.assert_allclose(got, expected, atol=1e-5)


def test_layers_agree_with_torch_geometric() -> None:
    pyg = pytest.importorskip("torch_geometric.nn")
    batch = tensors(molecular_graphs(DRUGS, features="rich"))
    n_atom, n_bond = batch.x.shape[1], batch.edge_attr.shape[1]
    ours = GCNConv(n_atom, 8)
    theirs = pyg.GCNConv(n_atom, 8)
    theirs.lin.weight.data = ours.linear.weight.data
    torch.testing.assert_close(ours(batch.x, batch), theirs(batch.x, batch.edge_index))

    ours = GINConv(n_atom, 8, n_bond).eval()
    theirs = pyg.GINEConv(ours.mlp, edge_dim=n_bond)
    theirs.lin.load_state_dict(ours.bond.state_dict())
    expected = theirs(batch.x, batch.edge_index, batch.edge_attr)
    torch.testing.assert_close(ours(batch.x, batch), expected)

    ours = GATConv(n_atom, 8, n_bond)
    theirs = pyg.GATv2Conv(n_atom, 2, heads=4, edge_dim=n_bond, add_self_loops=False)
    theirs.bias.data.zero_()
    theirs.lin_l.load_state_dict(ours.source.state_dict())
    theirs.lin_r.load_state_dict(ours.target.state_dict())
    theirs.lin_edge.load_state_dict(ours.bond.state_dict())
    theirs.att.data = ours.attention.data[None]
    expected = theirs(batch.x, batch.edge_index, batch.edge_attr) + ours.skip(batch.x)
    torch.testing.assert_close(ours(batch.x, batch), expected)


def test_a_sparse_map_multiplies_also_where_there_are_no_sparse_products() -> None:
    batch = tensors(molecular_graphs(DRUGS))
    dense = torch.zeros(batch.normalised.shape)
    dense[batch.normalised.rows, batch.normalised.columns] = batch.normalised.values
    torch.testing.assert_close(dense, dense.T)
    x = torch.randn(len(batch.x), 3, requires_grad=True)
    torch.testing.assert_close(batch.normalised @ x, dense @ x)
    (gradient,) = torch.autograd.grad((batch.normalised @ x).square().sum(), x)
    torch.testing.assert_close(gradient, 2 * dense.T @ dense @ x)
    meta = SparseMap(torch.zeros(1, dtype=torch.long), torch.zeros(1, dtype=torch.long), torch.ones(1), (2, 1))
    moved = SparseMap(*(part.to("meta") for part in (meta.rows, meta.columns, meta.values)), (2, 1))
    assert (moved @ torch.ones(1, 4, device="meta")).shape == (2, 4)


def test_attention_adds_up_to_one_and_survives_large_logits() -> None:
    alpha = softmax_by(torch.tensor([[1000.0], [1000.0], [-5.0]]), torch.tensor([0, 0, 1]), 3)
    assert alpha.flatten().tolist() == [0.5, 0.5, 1.0]


def test_fingerprints_have_the_interface_of_graphs() -> None:
    batch = FeatureBatch(torch.eye(3))
    assert len(batch) == 3
    assert batch.select(torch.tensor([2, 0])).x.tolist() == [[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]]


@pytest.mark.parametrize("options", [{"conv": "sage"}, {"pool": "median"}, {"norm": "group"}])
def test_unknown_choices_are_refused(options: dict) -> None:
    with pytest.raises(ValueError, match=f"`{next(iter(options))}` must be"):
        DrugGraphEncoder(4, 0, **options)


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
