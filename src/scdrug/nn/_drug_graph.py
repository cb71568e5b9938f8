"""Networks on molecular graphs: all molecules in one graph, encoded once, and gathered by pair."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ._graph_batch import GraphBatch
from ._graph_conv import GATConv, GCNConv, GINConv

_CONVS = {"gat": GATConv, "gcn": GCNConv, "gin": GINConv}
POOLS = ("max", "max_mean", "mean", "mean_padded", "sum")


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
    out = atoms.new_zeros((len(batch), atoms.shape[1]))
    if pool == "max":
        return out.scatter_reduce(0, graph[:, None].expand_as(atoms), atoms, "amax", include_self=False)
    out = out.index_add(0, graph, atoms)
    if pool == "sum":
        return out
    return out / torch.bincount(graph, minlength=len(batch)).clamp(min=1)[:, None]


class DrugGraphEncoder(nn.Module):
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
        See :func:`pool_atoms`.
    norm
        ``"batch"``, ``"keras"`` (batch norm with the constants of Keras) or `None`.
    dropout
        Share of units that are dropped in training.

    Raises
    ------
    ValueError
        If a choice is unknown.

    Notes
    -----
    With the defaults and 75 atom features this is the drug branch of Liu et al. 2020 with the masked max pooling of
    Rössner et al. 2025; the code of the former averages over 100 atoms, filling included (``pool="mean_padded"``).

    Examples
    --------
    >>> import torch
    >>> from scdrug.nn._drug_graph import DrugGraphEncoder
    >>> from scdrug.nn._graph_batch import GraphBatch
    >>> bond = torch.tensor([[0, 1], [1, 0]])
    >>> batch = GraphBatch(
    ...     torch.eye(3), bond, torch.zeros(2, 0), torch.tensor([2, 1]), torch.zeros(3, dtype=torch.bool)
    ... )
    >>> DrugGraphEncoder(3, 0, hidden=(8, 4)).eval()(batch).shape
    torch.Size([2, 4])
    """

    def __init__(
        self,
        n_atom_features: int,
        n_bond_features: int,
        *,
        hidden: Sequence[int] = (256, 256, 256, 100),
        conv: str = "gcn",
        pool: str = "max",
        norm: str | None = "batch",
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        for name, value, known in (("conv", conv, tuple(_CONVS)), ("pool", pool, POOLS)):
            if value not in known:
                raise ValueError(f"`{name}` must be one of {', '.join(map(repr, known))}; found {value!r}.")
        widths = [n_atom_features, *hidden]
        self.convs = nn.ModuleList(
            _CONVS[conv](a, b, n_bond_features) for a, b in zip(widths[:-1], widths[1:], strict=True)
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


def atom_norm(norm: str | None, width: int) -> nn.Module:
    """Batch norm, batch norm with the constants of Keras (``"keras"``), or none."""
    if norm is None:
        return nn.Identity()
    if norm not in ("batch", "keras"):
        raise ValueError(f"`norm` must be 'batch', 'keras' or None; found {norm!r}.")
    # Keras keeps 0.99 of its running mean where torch keeps 0.9
    return nn.BatchNorm1d(width) if norm == "batch" else nn.BatchNorm1d(width, eps=1e-3, momentum=0.01)
