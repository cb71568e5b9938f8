"""Networks on molecular graphs: all molecules in one graph, encoded once, and gathered by pair."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from ._graph_conv import GATConv, GCNConv, GINConv

_CONVS = {"gat": GATConv, "gcn": GCNConv, "gin": GINConv}
POOLS = ("max", "max_mean", "mean", "mean_padded", "sum")


@dataclass(frozen=True, eq=False)
class GraphBatch:
    """Molecules as tensors: atoms of one molecule stand together, bonds are listed in both directions."""

    #: Atoms × features.
    x: Tensor
    #: Source and target atom of each bond (2 × bonds).
    edge_index: Tensor
    #: Bonds × features.
    edge_attr: Tensor
    #: Number of atoms by molecule.
    n_atoms: Tensor
    #: Atoms that only fill a molecule up to a fixed size (bool).
    padding: Tensor

    def __len__(self) -> int:
        return len(self.n_atoms)

    @property
    def graph(self) -> Tensor:
        """Molecule of each atom."""
        return torch.repeat_interleave(torch.arange(len(self), device=self.x.device), self.n_atoms)

    def to(self, device: torch.device | str) -> GraphBatch:
        """The same on another device."""
        return GraphBatch(*(getattr(self, name).to(device) for name in self.__dataclass_fields__))

    def select(self, molecules: Tensor) -> GraphBatch:
        """Some of the molecules, in the order given.

        Parameters
        ----------
        molecules
            Positions of molecules, each at most once.
        """
        device = self.x.device
        start = self.n_atoms.cumsum(0) - self.n_atoms
        sizes = self.n_atoms[molecules]
        offset = torch.repeat_interleave(start[molecules] - (sizes.cumsum(0) - sizes), sizes)
        atoms = torch.arange(int(sizes.sum()), device=device) + offset
        place = torch.full((len(self.x),), -1, dtype=torch.long, device=device)
        place[atoms] = torch.arange(len(atoms), device=device)
        bonds = place[self.edge_index]
        kept = bonds[0] >= 0
        return GraphBatch(self.x[atoms], bonds[:, kept], self.edge_attr[kept], sizes, self.padding[atoms])


@dataclass(frozen=True, eq=False)
class FeatureBatch:
    """Molecules as vectors of fixed length, such as fingerprints, with the interface of :class:`GraphBatch`."""

    #: Molecules × features.
    x: Tensor

    def __len__(self) -> int:
        return len(self.x)

    def to(self, device: torch.device | str) -> FeatureBatch:
        """The same on another device."""
        return replace(self, x=self.x.to(device))

    def select(self, molecules: Tensor) -> FeatureBatch:
        """Some of the molecules, in the order given."""
        return replace(self, x=self.x[molecules])


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
    if pool != "mean_padded" and bool(batch.padding.any()):
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
    >>> from scdrug.nn._drug_graph import DrugGraphEncoder, GraphBatch
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
            atoms = self.dropout(norm(torch.relu(conv(atoms, batch.edge_index, batch.edge_attr))))
        return pool_atoms(atoms, batch, self.pool)


def atom_norm(norm: str | None, width: int) -> nn.Module:
    """Batch norm, batch norm with the constants of Keras (``"keras"``), or none."""
    if norm is None:
        return nn.Identity()
    if norm not in ("batch", "keras"):
        raise ValueError(f"`norm` must be 'batch', 'keras' or None; found {norm!r}.")
    # Keras keeps 0.99 of its running mean where torch keeps 0.9
    return nn.BatchNorm1d(width) if norm == "batch" else nn.BatchNorm1d(width, eps=1e-3, momentum=0.01)
