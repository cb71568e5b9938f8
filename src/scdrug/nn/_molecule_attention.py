"""Encoders of molecules: atoms, bonds and distances in, one vector per molecule out."""

from __future__ import annotations

import math
import os
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

#: Nodes, padding included, that are encoded at once: what training keeps for them grows with this and not with the batch.
_MOST_NODES = 1024


class MoleculeAttention(nn.Module):
    """Molecule attention transformer (Maziarka et al. 2020): self-attention that also looks at distances and bonds.

    In each layer nodes attend with weights 0.33 softmax(QKᵀ/√d) + 0.33 exp(−distance) + 0.34 bonds, where a row of the
    bonds sums to one. Layers are normalised first. The vector of a molecule is the mean over its nodes, the dummy node
    included.

    Parameters
    ----------
    width
        Length of the vectors.
    n_layers, n_heads
        Layers, and heads in each.
    n_features
        Features of a node.
    mixture
        Weights of attention, distances and bonds.
    slope
        Slope of the leaky ReLU after the dense layer.

    Raises
    ------
    ValueError
        If `width` is not a multiple of `n_heads`.

    Notes
    -----
    The defaults are the sizes of the pretrained network, whose weights :meth:`load_file` reads from the authors' file.

    Examples
    --------
    >>> import torch
    >>> from scdrug.nn import MoleculeAttention
    >>> encoder = MoleculeAttention(16, n_layers=2, n_heads=4)
    >>> atoms, mask = torch.zeros(1, 3, 28), torch.ones(1, 3, dtype=torch.bool)
    >>> encoder(atoms, torch.eye(3)[None], torch.zeros(1, 3, 3), mask).shape
    torch.Size([1, 16])
    """

    def __init__(
        self,
        width: int = 1024,
        *,
        n_layers: int = 8,
        n_heads: int = 16,
        n_features: int = 28,
        mixture: tuple[float, float, float] = (0.33, 0.33, 0.34),
        slope: float = 0.1,
    ) -> None:
        super().__init__()
        if width % n_heads:
            raise ValueError(f"`width` must be a multiple of `n_heads`; found {width} and {n_heads}.")
        self.n_out = width
        self.embedding = nn.Linear(n_features, width)
        self.layers = nn.ModuleList(_Layer(width, n_heads, mixture, slope) for _ in range(n_layers))
        self.norm = _Norm(width)
        for parameter in self.parameters():
            if parameter.ndim > 1:
                nn.init.xavier_uniform_(parameter)

    def forward(self, atoms: Tensor, adjacency: Tensor, distances: Tensor, mask: Tensor) -> Tensor:
        """Encode molecules.

        Parameters
        ----------
        atoms
            Molecules × nodes × features.
        adjacency, distances
            Molecules × nodes × nodes.
        mask
            Molecules × nodes, true for nodes that exist; the others have no effect.

        Returns
        -------
        Molecules × width.
        """
        chunks = _chunks(mask)
        if len(chunks) < 2:
            return self._encode(atoms, adjacency, distances, mask)
        # a chunk at a time, of molecules of like size; its layers are computed again in the backward pass, not kept
        parts = []
        for rows, n in chunks:
            part = (atoms[rows, :n], adjacency[rows, :n, :n], distances[rows, :n, :n], mask[rows, :n])
            again = torch.is_grad_enabled()
            parts.append(checkpoint(self._encode, *part, use_reentrant=False) if again else self._encode(*part))
        return torch.cat(parts)[torch.argsort(torch.cat([rows for rows, _ in chunks]))]

    def _encode(self, atoms: Tensor, adjacency: Tensor, distances: Tensor, mask: Tensor) -> Tensor:
        bonds = adjacency / (adjacency.sum(-1, keepdim=True) + 1e-6)
        near = torch.exp(-distances).masked_fill(~mask[:, None, :], 0.0)
        nodes = self.embedding(atoms)
        for layer in self.layers:
            nodes = layer(nodes, near, bonds, mask)
        nodes = self.norm(nodes) * mask[:, :, None]
        return nodes.sum(1) / mask.sum(1, keepdim=True)

    def load_file(self, path: str | os.PathLike[str]) -> None:
        """Read pretrained weights from the file that the authors of the transformer distribute.

        Parameters
        ----------
        path
            File of a state dict. It is opened without running code.

        Raises
        ------
        FileNotFoundError
            If there is no such file.
        ValueError
            If it is not a state dict of this network, or has other sizes.
        """
        self.load_state_dict(_translate(_read_state(path), self.state_dict(), path))


def _chunks(mask: Tensor) -> list[tuple[Tensor, int]]:
    """Molecules in chunks of like size, and the nodes that the largest of each chunk needs."""
    position = torch.arange(1, mask.shape[1] + 1, device=mask.device)
    sizes = (mask * position).amax(1)
    order = torch.argsort(sizes, stable=True)
    chunks: list[list[int]] = [[]]
    listed = sizes.tolist()
    for row in order.tolist():  # sizes rise, so the newest is the largest
        if chunks[-1] and (len(chunks[-1]) + 1) * listed[row] > _MOST_NODES:
            chunks.append([])
        chunks[-1].append(row)
    return [(torch.tensor(rows, device=mask.device), listed[rows[-1]]) for rows in chunks if rows]


class _Norm(nn.Module):
    """Layer norm as in the pretrained network: sample standard deviation, to which epsilon is added."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.scale, self.shift = nn.Parameter(torch.ones(width)), nn.Parameter(torch.zeros(width))

    def forward(self, x: Tensor) -> Tensor:
        deviation = x.std(-1, keepdim=True) + 1e-6
        return self.scale * (x - x.mean(-1, keepdim=True)) / deviation + self.shift


class _Layer(nn.Module):
    def __init__(self, width: int, n_heads: int, mixture: tuple[float, float, float], slope: float) -> None:
        super().__init__()
        self.n_heads, self.mixture, self.slope = n_heads, mixture, slope
        self.norm_attention, self.norm_dense = _Norm(width), _Norm(width)
        self.query, self.key = nn.Linear(width, width), nn.Linear(width, width)
        self.value, self.out = nn.Linear(width, width), nn.Linear(width, width)
        self.dense = nn.Linear(width, width)

    def forward(self, nodes: Tensor, near: Tensor, bonds: Tensor, mask: Tensor) -> Tensor:
        x = self.norm_attention(nodes)
        query, key, value = (self._split(part(x)) for part in (self.query, self.key, self.value))
        scores = query @ key.mT / math.sqrt(query.shape[-1])
        attention = scores.masked_fill(~mask[:, None, None, :], -1e12).softmax(-1)
        by_attention, by_distance, by_bond = self.mixture
        mixed = by_attention * attention + (by_distance * near + by_bond * bonds)[:, None]
        nodes = nodes + self.out((mixed @ value).transpose(1, 2).flatten(2))
        return nodes + F.leaky_relu(self.dense(self.norm_dense(nodes)), self.slope)

    def _split(self, x: Tensor) -> Tensor:
        """Molecules × heads × nodes × width of a head."""
        return x.unflatten(-1, (self.n_heads, -1)).transpose(1, 2)


#: Names of parts in the authors' file, by name here.
_PARTS = {
    "query": "self_attn.linears.0",
    "key": "self_attn.linears.1",
    "value": "self_attn.linears.2",
    "out": "self_attn.linears.3",
    "dense": "feed_forward.linears.0",
    "norm_attention": "sublayer.0.norm",
    "norm_dense": "sublayer.1.norm",
}
_LEAVES = {"scale": "a_2", "shift": "b_2", "weight": "weight", "bias": "bias"}


def _their_name(name: str) -> str:
    *parts, leaf = name.split(".")
    if parts[0] == "embedding":
        return f"src_embed.lut.{leaf}"
    if parts[0] == "norm":
        return f"encoder.norm.{_LEAVES[leaf]}"
    return f"encoder.layers.{parts[1]}.{_PARTS[parts[2]]}.{_LEAVES[leaf]}"


def _translate(state: dict[str, Tensor], wanted: dict[str, Tensor], path: str | os.PathLike[str]) -> dict[str, Tensor]:
    theirs = {name: _their_name(name) for name in wanted}
    missing = [name for name in theirs.values() if name not in state]
    if missing:
        raise ValueError(
            f"{path} lacks {len(missing)} of {len(wanted)} weights of a molecule attention transformer, such as "
            f"{missing[0]!r}. Pass the file of pretrained weights that its authors distribute."
        )
    wrong = [name for name, other in theirs.items() if state[other].shape != wanted[name].shape]
    if wrong:
        found, expected = tuple(state[theirs[wrong[0]]].shape), tuple(wanted[wrong[0]].shape)
        raise ValueError(
            f"{path} is a molecule attention transformer of another size: {theirs[wrong[0]]!r} has shape {found}, and "
            f"{expected} was expected. The pretrained network has width 1024, 8 layers, 16 heads and 28 features."
        )
    return {name: state[other] for name, other in theirs.items()}


def _read_state(path: str | os.PathLike[str]) -> dict[str, Tensor]:
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(
            f"No file of weights at {path}. Those of the molecule attention transformer are `pretrained_weights.pt` of github.com/ardigen/MAT, "
            "which you have to get yourself; without them it starts at random."
        )
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise ValueError(
            f"{path} cannot be opened as plain weights ({type(error).__name__}). Files that hold more than tensors are "
            "refused, since opening them could run code."
        ) from error
    state = state.get("state_dict", state) if isinstance(state, dict) else state
    if not isinstance(state, dict) or not all(torch.is_tensor(value) for value in state.values()):
        raise ValueError(f"{path} is not a state dict: expected tensors by name.")
    return state
