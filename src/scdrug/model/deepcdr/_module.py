"""The network of DeepCDR: cells and drugs are encoded once, pairs are gathered from their codes."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor, nn

from ...nn._contextpred import ContextPredEncoder
from ...nn._graph_batch import FeatureBatch, GraphBatch
from ...nn._mlp import MLP
from ...nn._molecule_graph import MoleculeGraphEncoder
from .._schema import Count, Declared, Four, LinesState, Part, Share, Size, Widths
from ._branches import CellEncoder, ConvHead, PlainHead


@dataclass(frozen=True)
class NetConfig:
    """All that decides the architecture, in JSON types."""

    #: Features of each block of columns of a cell, by name.
    cell_widths: dict[str, int]
    #: Atom and bond features of graphs, or the length of fingerprints and zero.
    drug_widths: tuple[int, int]
    drug_features: str = "rich"
    drug_encoder: str = "gin"
    drug_hidden: tuple[int, ...] = (64, 64, 64)
    drug_pool: str = "max"
    drug_norm: str = "batch"
    #: Widths of a cell branch; none for the published one.
    cell_hidden: tuple[int, ...] | None = (256, 64)
    head: str = "plain"
    head_width: int = 128
    dropout: float = 0.2
    standardise: bool = True
    #: Number of training lines and drugs with a code of their own; zero for none.
    n_lines: int = 0
    n_drugs: int = 0

    def to_json(self) -> dict[str, Any]:
        """Return plain types."""
        return asdict(self)

    @classmethod
    def from_json(cls, stored: dict[str, Any]) -> NetConfig:
        """Rebuild what :meth:`to_json` returned."""
        lists = {key: tuple(value) if isinstance(value, list) else value for key, value in stored.items()}
        return cls(**lists)


class NetPart(Part):
    """:class:`NetConfig` in a model file."""

    cell_widths: Annotated[dict[str, Size], Field(min_length=1)]
    drug_widths: Annotated[list[Count], Field(min_length=2, max_length=2)]
    drug_features: str
    drug_encoder: str
    drug_hidden: Annotated[Widths, Field(min_length=1)]
    drug_pool: str
    drug_norm: str
    cell_hidden: Widths | None
    head: str
    head_width: Size
    dropout: Share
    standardise: bool
    n_lines: Count
    n_drugs: Count


class PosteriorPart(LinesState):
    """What predicts, in a model file."""

    net: NetPart
    arrays: Declared


class DeepCDRState(Part):
    """What the model keeps beside its arrays."""

    posterior: PosteriorPart
    network_weights: Four[Share]
    applicability: dict[str, list[Any]] | None


@dataclass(frozen=True, eq=False)
class Pairs:
    """Pairs of rows of two tables of codes, and whether the identity of each side is known."""

    row: Tensor
    column: Tensor
    #: Position of the line and the drug among those of the training; used where they are known.
    line: Tensor
    drug: Tensor
    line_known: Tensor = field(default_factory=lambda: torch.zeros(0))
    drug_known: Tensor = field(default_factory=lambda: torch.zeros(0))


class DeepCDRNet(nn.Module):
    """Cell branches, drug branch and head.

    Parameters
    ----------
    config
        The architecture.
    """

    def __init__(self, config: NetConfig) -> None:
        super().__init__()
        self.config = config
        self.cells = CellEncoder(
            config.cell_widths, hidden=config.cell_hidden, dropout=config.dropout, standardise=config.standardise
        )
        self.drugs, n_code = _drug_encoder(config)
        #: Stands for the code of a drug whose structure is not known.
        self.no_structure = nn.Parameter(torch.zeros(n_code))
        if config.head == "conv":
            self.head: nn.Module = ConvHead(self.cells.n_out, n_code)
            _glorot(self)
        else:
            self.head = PlainHead(self.cells.n_out, n_code, width=config.head_width, dropout=config.dropout)
        self.line_codes = _identities(config.n_lines, self.cells.n_out)
        self.drug_codes = _identities(config.n_drugs, n_code)
        self.line_bias, self.drug_bias = _identities(config.n_lines, 1), _identities(config.n_drugs, 1)

    @property
    def has_identities(self) -> bool:
        """Whether training lines and drugs have codes of their own."""
        return self.line_codes is not None

    def encode_drugs(self, molecules: GraphBatch | FeatureBatch) -> Tensor:
        """Codes of molecules (molecules × width)."""
        return self.drugs(molecules)

    def forward(self, cells: Tensor, drugs: Tensor, pairs: Pairs) -> Tensor:
        """Output of each pair, from codes of cells and drugs."""
        if not self.has_identities:
            return self.head(cells, drugs, pairs.row, pairs.column)
        line, drug = pairs.line_known.to(cells.dtype), pairs.drug_known.to(cells.dtype)
        left = cells[pairs.row] + self.line_codes(pairs.line) * line[:, None]
        right = drugs[pairs.column] + self.drug_codes(pairs.drug) * drug[:, None]
        each = torch.arange(len(left), device=left.device)
        bias = self.line_bias(pairs.line)[:, 0] * line + self.drug_bias(pairs.drug)[:, 0] * drug
        return self.head(left, right, each, each) + bias


class _FingerprintEncoder(nn.Module):
    def __init__(self, n_in: int, hidden: tuple[int, ...], dropout: float) -> None:
        super().__init__()
        self.layers = MLP(n_in, hidden[:-1], hidden[-1], activation="gelu", dropout=dropout)

    def forward(self, molecules: FeatureBatch) -> Tensor:
        return self.layers(molecules.x)


class _Projected(nn.Module):
    """An encoder with fixed output width, and a linear map to the width that is wanted."""

    def __init__(self, encoder: nn.Module, n_out: int) -> None:
        super().__init__()
        self.encoder, self.linear = encoder, nn.Linear(encoder.n_out, n_out)

    def forward(self, molecules: GraphBatch) -> Tensor:
        return self.linear(self.encoder(molecules))


def _drug_encoder(config: NetConfig) -> tuple[nn.Module, int]:
    n_out = config.drug_hidden[-1]
    if config.drug_features in ("morgan", "minimol"):
        return _FingerprintEncoder(config.drug_widths[0], config.drug_hidden, config.dropout), n_out
    if config.drug_features == "contextpred":
        return _Projected(ContextPredEncoder(pool=config.drug_pool, dropout=config.dropout), n_out), n_out
    encoder = MoleculeGraphEncoder(
        *config.drug_widths,
        hidden=config.drug_hidden,
        conv=config.drug_encoder,
        pool=config.drug_pool,
        norm=config.drug_norm,
        dropout=0.1,
    )
    return encoder, encoder.n_out


def _identities(n: int, width: int) -> nn.Embedding | None:
    if n == 0:
        return None
    table = nn.Embedding(n, width)
    nn.init.normal_(table.weight, std=0.1 if width > 1 else 1e-3)
    return table


def _glorot(net: nn.Module) -> None:
    """Initialise as Keras does."""
    for module in net.modules():
        if isinstance(module, nn.Linear | nn.Conv1d):
            nn.init.xavier_uniform_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
