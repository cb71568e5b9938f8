"""Networks on molecular graphs, with the layers of torch-geometric: all molecules in one graph, encoded once."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ._geometric import (
    GATv2Conv,
    GINConv,
    GINEConv,
    SimpleConv,
    global_add_pool,
    global_max_pool,
    global_mean_pool,
)
from ._graph_batch import GraphBatch

POOLS = ("max", "max_mean", "mean", "mean_padded", "sum")
_POOLING = {"max": global_max_pool, "mean": global_mean_pool, "mean_padded": global_mean_pool, "sum": global_add_pool}
_N_HEADS = 4


def pool_atoms(atoms: Tensor, batch: GraphBatch, pool: str) -> Tensor:
    """Summarise the atoms of each molecule.

    Parameters
    ----------
    atoms
        Atoms × width.
    batch
        Which molecule each atom belongs to.
    pool
        ``"max"``, ``"mean"``, ``"sum"`` or ``"max_mean"`` (both, side by side) over the atoms of a molecule, filling left
        out; ``"mean_padded"`` also averages over the filling, as DeepCDR as released does.

    Returns
    -------
    Molecules × width (twice the width for ``"max_mean"``).
    """
    if pool == "max_mean":
        return torch.cat([pool_atoms(atoms, batch, "max"), pool_atoms(atoms, batch, "mean")], dim=1)
    graph = batch.graph
    if pool != "mean_padded" and batch.has_padding:
        atoms, graph = atoms[~batch.padding], graph[~batch.padding]
    return _POOLING[pool](atoms, graph, len(batch))


class GCNLayer(nn.Module):
    """Graph convolution Â (X W + b).

    The bias stands before propagation, as in DeepCDR; in ``torch_geometric.nn.GCNConv`` it stands behind it.

    Parameters
    ----------
    n_in, n_out
        Widths.
    """

    def __init__(self, n_in: int, n_out: int) -> None:
        super().__init__()
        self.linear = nn.Linear(n_in, n_out)
        nn.init.xavier_uniform_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)
        self.propagate = SimpleConv(aggr="sum")

    def forward(self, x: Tensor, batch: GraphBatch) -> Tensor:
        """Map atoms × n_in to atoms × n_out."""
        x = self.linear(x)
        if x.device.type in ("cpu", "cuda"):
            return self.propagate(x, batch.adjacency.to(x.dtype))
        return self.propagate(x, *batch.normalised)  # devices without sparse products


class GINLayer(nn.Module):
    """Graph isomorphism layer (Xu et al. 2019), with bond features as in Hu et al. 2020.

    Parameters
    ----------
    n_in, n_out
        Widths.
    n_bond_features
        Width of the bond features; with none, messages are the atoms' own features.
    norm
        Norm within the layer, see :func:`atom_norm`.
    """

    def __init__(self, n_in: int, n_out: int, n_bond_features: int, norm: str | None) -> None:
        super().__init__()
        mlp = nn.Sequential(nn.Linear(n_in, n_out), atom_norm(norm, n_out), nn.ReLU(), nn.Linear(n_out, n_out))
        self.with_bonds = n_bond_features > 0
        self.conv = (
            GINEConv(mlp, train_eps=True, edge_dim=n_bond_features) if self.with_bonds else GINConv(mlp, train_eps=True)
        )

    def forward(self, x: Tensor, batch: GraphBatch) -> Tensor:
        """Map atoms × n_in to atoms × n_out."""
        if self.with_bonds:
            return self.conv(x, batch.edge_index, batch.edge_attr.to(x.dtype))
        return self.conv(x, batch.edge_index)


class GATLayer(nn.Module):
    """Graph attention of four heads (Brody et al. 2022) with bond features, and a linear path past it.

    Parameters
    ----------
    n_in, n_out
        Widths; `n_out` must be a multiple of four.
    n_bond_features
        Width of the bond features.
    """

    def __init__(self, n_in: int, n_out: int, n_bond_features: int) -> None:
        super().__init__()
        if n_out % _N_HEADS:
            raise ValueError(f"The width of a layer must be a multiple of its {_N_HEADS} heads; found {n_out}.")
        self.with_bonds = n_bond_features > 0
        self.conv = GATv2Conv(
            n_in,
            n_out // _N_HEADS,
            heads=_N_HEADS,
            edge_dim=n_bond_features or None,
            add_self_loops=False,
            residual=True,
        )

    def forward(self, x: Tensor, batch: GraphBatch) -> Tensor:
        """Map atoms × n_in to atoms × n_out."""
        return self.conv(x, batch.edge_index, batch.edge_attr.to(x.dtype) if self.with_bonds else None)


class MoleculeGraphEncoder(nn.Module):
    """Graph convolutions, each followed by ReLU, norm and dropout; then pooling over atoms.

    Parameters
    ----------
    n_atom_features, n_bond_features
        Widths of the input; graph convolution (``"gcn"``) does not use bond features.
    hidden
        Widths of the layers.
    conv
        ``"gcn"`` (Kipf and Welling 2017), ``"gin"`` (Xu et al. 2019, with bond features as in Hu et al. 2020) or
        ``"gat"`` (Brody et al. 2022).
    pool
        ``"max"``, ``"mean"``, ``"sum"`` or ``"max_mean"`` over the atoms of a molecule, filling left out, or
        ``"mean_padded"``, filling included.
    norm
        ``"batch"``, ``"keras"`` (batch norm with the constants of Keras), ``"layer"`` or `None`.
    dropout
        Share of units that are dropped in training.

    Raises
    ------
    ValueError
        If a choice is unknown, or a width is not a multiple of the heads of ``"gat"``.

    Notes
    -----
    With the defaults and 75 atom features this is the drug branch of Liu et al. 2020 with the masked max pooling of
    Rössner et al. 2025; the code of the former averages over 100 atoms, filling included (``pool="mean_padded"``).

    Examples
    --------
    >>> import torch
    >>> from scdrug.nn import GraphBatch, MoleculeGraphEncoder
    >>> bonds = torch.tensor([[0, 1], [1, 0]])
    >>> sizes, padding = torch.tensor([2, 1]), torch.zeros(3, dtype=torch.bool)
    >>> batch = GraphBatch(torch.eye(3), bonds, torch.zeros(2, 0), sizes, padding)
    >>> MoleculeGraphEncoder(3, hidden=(8, 4)).eval()(batch).shape
    torch.Size([2, 4])
    """

    def __init__(
        self,
        n_atom_features: int,
        n_bond_features: int = 0,
        *,
        hidden: Sequence[int] = (256, 256, 256, 100),
        conv: str = "gcn",
        pool: str = "max",
        norm: str | None = "batch",
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        for name, value, known in (("conv", conv, ("gat", "gcn", "gin")), ("pool", pool, POOLS)):
            if value not in known:
                raise ValueError(f"`{name}` must be one of {', '.join(map(repr, known))}; found {value!r}.")
        widths = [n_atom_features, *hidden]
        self.convs = nn.ModuleList(
            _layer(conv, a, b, n_bond_features, norm) for a, b in zip(widths[:-1], widths[1:], strict=True)
        )
        self.norms = nn.ModuleList(atom_norm(norm, width) for width in hidden)
        self.dropout, self.pool = nn.Dropout(dropout), pool
        self.n_out = widths[-1] * (2 if pool == "max_mean" else 1)

    def forward(self, batch: GraphBatch) -> Tensor:
        """Encode molecules (molecules × n_out)."""
        atoms = batch.x
        for conv, norm in zip(self.convs, self.norms, strict=True):
            atoms = self.dropout(norm(torch.relu(conv(atoms, batch))))
        return pool_atoms(atoms, batch, self.pool)


def _layer(conv: str, n_in: int, n_out: int, n_bond_features: int, norm: str | None) -> nn.Module:
    if conv == "gcn":
        return GCNLayer(n_in, n_out)
    if conv == "gin":
        return GINLayer(n_in, n_out, n_bond_features, norm)
    return GATLayer(n_in, n_out, n_bond_features)


def atom_norm(norm: str | None, width: int) -> nn.Module:
    """Batch norm, batch norm with the constants of Keras (``"keras"``), layer norm, or none."""
    if norm is None:
        return nn.Identity()
    if norm == "layer":
        return nn.LayerNorm(width)
    if norm not in ("batch", "keras"):
        raise ValueError(f"`norm` must be 'batch', 'keras', 'layer' or None; found {norm!r}.")
    # Keras keeps 0.99 of its running mean where torch keeps 0.9
    return nn.BatchNorm1d(width) if norm == "batch" else nn.BatchNorm1d(width, eps=1e-3, momentum=0.01)
