"""The graph network of Hu et al. 2020, whose weights pretrained by context prediction are public."""

from __future__ import annotations

import os

import torch
from torch import Tensor, nn

from ._checkpoint import load_exactly, read_checkpoint
from ._geometric import MessagePassing
from ._graph_batch import GraphBatch
from ._molecule_graph import pool_atoms

#: Sizes of the vocabulary: elements, chirality, bond orders (with self-loop and mask), bond directions.
_N_ELEMENTS, _N_CHIRALITY, _N_ORDERS, _N_DIRECTIONS = 120, 3, 6, 3
_SELF_LOOP = 4


class _Layer(MessagePassing):
    """Â (X W + b + embedded bonds), with bonds of their own for self-loops."""

    def __init__(self, width: int) -> None:
        super().__init__(aggr="sum")
        self.linear = nn.Linear(width, width)
        self.edge_embedding1 = nn.Embedding(_N_ORDERS, width)
        self.edge_embedding2 = nn.Embedding(_N_DIRECTIONS, width)

    def forward(self, x: Tensor, batch: GraphBatch) -> Tensor:
        loop = self.edge_embedding1.weight[_SELF_LOOP] + self.edge_embedding2.weight[0]
        bonds = self.edge_embedding1(batch.edge_attr[:, 0]) + self.edge_embedding2(batch.edge_attr[:, 1])
        edges, weight = batch.normalised  # self-loops stand last
        carried = torch.cat([bonds, loop.expand(len(x), -1)])
        return self.propagate(edges, x=self.linear(x), carried=carried, weight=weight)

    def message(self, x_j: Tensor, carried: Tensor, weight: Tensor) -> Tensor:
        return weight[:, None] * (x_j + carried)


class ContextPredEncoder(nn.Module):
    """Graph convolutions on codes of atoms and bonds, as pretrained by Hu et al. 2020.

    Parameters
    ----------
    width
        Width of all layers.
    n_layers
        Number of layers.
    pool
        How atoms are summarised, see :func:`scdrug.nn._molecule_graph.pool_atoms`.
    dropout
        Share of units that are dropped in training.

    Notes
    -----
    Names of the parameters are those of the public file ``gcn_contextpred.pth``, which :meth:`load_file` reads.
    """

    def __init__(self, *, width: int = 300, n_layers: int = 5, pool: str = "mean", dropout: float = 0.0) -> None:
        super().__init__()
        self.x_embedding1 = nn.Embedding(_N_ELEMENTS, width)
        self.x_embedding2 = nn.Embedding(_N_CHIRALITY, width)
        self.gnns = nn.ModuleList(_Layer(width) for _ in range(n_layers))
        self.batch_norms = nn.ModuleList(nn.BatchNorm1d(width) for _ in range(n_layers))
        self.dropout, self.pool, self.n_out = nn.Dropout(dropout), pool, width * (2 if pool == "max_mean" else 1)

    def load_file(self, path: str | os.PathLike[str]) -> None:
        """Load pretrained weights.

        Parameters
        ----------
        path
            ``gcn_contextpred.pth`` or another file of the same network.

        Raises
        ------
        FileNotFoundError, ValueError
            If it is not there, not readable without running code, or of another architecture.
        """
        load_exactly(self, dict(read_checkpoint(path)), where=str(path))

    def forward(self, batch: GraphBatch) -> Tensor:
        """Encode molecules (molecules × n_out)."""
        atoms = self.x_embedding1(batch.x[:, 0]) + self.x_embedding2(batch.x[:, 1])
        last = len(self.gnns) - 1
        for i, (layer, norm) in enumerate(zip(self.gnns, self.batch_norms, strict=True)):
            atoms = norm(layer(atoms, batch))
            atoms = self.dropout(atoms if i == last else torch.relu(atoms))
        return pool_atoms(atoms, batch, self.pool)
