"""Molecules as tensors: several graphs in one."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class GraphBatch:
    """Molecules as one graph, in the layout of torch-geometric: atoms of one molecule stand together.

    Examples
    --------
    >>> import torch
    >>> from scdrug.nn import GraphBatch
    >>> bonds = torch.tensor([[0, 1], [1, 0]])  # of the first molecule; the second is a single atom
    >>> sizes, padding = torch.tensor([2, 1]), torch.zeros(3, dtype=torch.bool)
    >>> batch = GraphBatch(torch.eye(3), bonds, torch.zeros(2, 0), sizes, padding)
    >>> len(batch), batch.graph.tolist(), batch.select(torch.tensor([1])).x.tolist()
    (2, [0, 0, 1], [[0.0, 0.0, 1.0]])
    """

    #: Atoms × features.
    x: Tensor
    #: Source and target atom of each bond, which is listed in both directions (2 × bonds).
    edge_index: Tensor
    #: Bonds × features.
    edge_attr: Tensor
    #: Number of atoms by molecule.
    n_atoms: Tensor
    #: Atoms that only fill a molecule up to a fixed size (bool).
    padding: Tensor

    @classmethod
    def from_arrays(cls, graphs: Any) -> GraphBatch:
        """Take over numpy arrays that are attributes of the same names."""
        return cls(
            *(torch.from_numpy(np.ascontiguousarray(getattr(graphs, name))) for name in cls.__dataclass_fields__)
        )

    def __len__(self) -> int:
        return len(self.n_atoms)

    @cached_property
    def graph(self) -> Tensor:
        """Molecule of each atom, what torch-geometric calls `batch`."""
        return torch.repeat_interleave(torch.arange(len(self), device=self.x.device), self.n_atoms)

    @cached_property
    def has_padding(self) -> bool:
        """Whether any atom only fills."""
        return bool(self.padding.any())

    @cached_property
    def normalised(self) -> tuple[Tensor, Tensor]:
        """Bonds with self-loops, and their weights D^-½ (A + I) D^-½ (Kipf and Welling 2017, eq. 2).

        Self-loops stand behind the bonds.
        """
        from ._geometric import gcn_norm

        return gcn_norm(self.edge_index, None, len(self.x), dtype=torch.get_default_dtype())

    @cached_property
    def adjacency(self) -> Tensor:
        """The same as a sparse matrix, target × source, whose products are faster than messages one by one."""
        from ._geometric import to_torch_csr_tensor

        edges, weights = self.normalised
        with warnings.catch_warnings():  # torch's notes on sparse tensors, which are built by torch-geometric
            warnings.filterwarnings("ignore", message="Sparse", category=UserWarning)
            return to_torch_csr_tensor(edges.flip(0), weights, size=(len(self.x), len(self.x)))

    def to(self, device: torch.device | str) -> GraphBatch:
        """The same on another device; itself if it is there already."""
        if self.x.device == torch.device(device):
            return self
        return GraphBatch(*(getattr(self, name).to(device) for name in self.__dataclass_fields__))

    def select(self, molecules: Tensor) -> GraphBatch:
        """Some of the molecules, in the order given.

        Parameters
        ----------
        molecules
            Positions of molecules, each at most once.
        """
        from ._geometric import subgraph

        sizes = self.n_atoms[molecules]
        start = self.n_atoms.cumsum(0) - self.n_atoms
        shift = torch.repeat_interleave(start[molecules] - (sizes.cumsum(0) - sizes), sizes)
        atoms = torch.arange(len(shift), device=self.x.device) + shift
        bonds, attributes = subgraph(atoms, self.edge_index, self.edge_attr, relabel_nodes=True, num_nodes=len(self.x))
        return GraphBatch(self.x[atoms], bonds, attributes, sizes, self.padding[atoms])


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
