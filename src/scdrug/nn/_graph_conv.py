"""Layers that pass messages along the bonds of molecules."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ._graph_batch import GraphBatch


class GCNConv(nn.Module):
    """Graph convolution Â (X W + b).

    The bias stands before propagation, as in DeepCDR; elsewhere it often stands behind it.

    Parameters
    ----------
    n_in, n_out
        Widths.
    n_bond_features
        Not used.
    """

    def __init__(self, n_in: int, n_out: int, n_bond_features: int = 0) -> None:
        super().__init__()
        self.linear = nn.Linear(n_in, n_out)
        nn.init.xavier_uniform_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def forward(self, x: Tensor, batch: GraphBatch) -> Tensor:
        """Map atoms × n_in to atoms × n_out."""
        return batch.normalised @ self.linear(x)


class GINConv(nn.Module):
    """Graph isomorphism layer with bond features: MLP((1 + ε) xᵢ + Σⱼ ReLU(xⱼ + E eᵢⱼ)).

    Parameters
    ----------
    n_in, n_out
        Widths.
    n_bond_features
        Width of the bond features; with none, messages are the atoms' own features.
    """

    def __init__(self, n_in: int, n_out: int, n_bond_features: int = 0) -> None:
        super().__init__()
        self.bond = nn.Linear(n_bond_features, n_in) if n_bond_features else None
        self.eps = nn.Parameter(torch.zeros(()))
        self.mlp = nn.Sequential(nn.Linear(n_in, n_out), nn.BatchNorm1d(n_out), nn.ReLU(), nn.Linear(n_out, n_out))

    def forward(self, x: Tensor, batch: GraphBatch) -> Tensor:
        """Map atoms × n_in to atoms × n_out."""
        message = batch.gather @ x
        if self.bond is not None:
            message = torch.relu(message + self.bond(batch.edge_attr))
        return self.mlp((1 + self.eps) * x + batch.collect @ message)


class GATConv(nn.Module):
    """Graph attention (Brody et al. 2022) with bond features, and a linear path past it.

    αᵢⱼ = softmaxⱼ(a · LeakyReLU(W_l xⱼ + W_r xᵢ + W_e eᵢⱼ)); the heads stand side by side.

    Parameters
    ----------
    n_in, n_out
        Widths.
    n_bond_features
        Width of the bond features.
    n_heads
        Number of heads; must divide `n_out`.
    """

    def __init__(self, n_in: int, n_out: int, n_bond_features: int = 0, n_heads: int = 4) -> None:
        super().__init__()
        if n_out % n_heads:
            raise ValueError(f"The width of a layer must be a multiple of its {n_heads} heads; found {n_out}.")
        self.n_heads, self.width = n_heads, n_out // n_heads
        self.source, self.target = nn.Linear(n_in, n_out), nn.Linear(n_in, n_out)
        self.bond = nn.Linear(n_bond_features, n_out, bias=False) if n_bond_features else None
        self.attention = nn.Parameter(torch.empty(n_heads, self.width))
        nn.init.xavier_uniform_(self.attention)
        self.skip = nn.Linear(n_in, n_out)

    def forward(self, x: Tensor, batch: GraphBatch) -> Tensor:
        """Map atoms × n_in to atoms × n_out."""
        values = batch.gather @ self.source(x)
        key = values + batch.gather_target @ self.target(x)
        if self.bond is not None:
            key = key + self.bond(batch.edge_attr)
        key = torch.nn.functional.leaky_relu(key, 0.2).view(-1, self.n_heads, self.width)
        alpha = softmax_by((key * self.attention).sum(-1), batch.edge_index[1], len(x))
        weighted = (values.view(-1, self.n_heads, self.width) * alpha[..., None]).flatten(1)
        return self.skip(x) + batch.collect @ weighted


def softmax_by(logits: Tensor, group: Tensor, n_groups: int) -> Tensor:
    """Softmax over the rows of each group.

    Parameters
    ----------
    logits
        Rows × columns.
    group
        Group of each row.
    n_groups
        Number of groups.

    Returns
    -------
    Rows × columns; columns add up to one within each group.
    """
    index = group[:, None].expand_as(logits)
    highest = logits.new_zeros((n_groups, logits.shape[1])).scatter_reduce(
        0, index, logits.detach(), "amax", include_self=False
    )
    weight = (logits - highest[group]).exp()
    total = torch.zeros_like(highest).index_add(0, group, weight)
    return weight / total[group]
