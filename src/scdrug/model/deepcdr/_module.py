"""The network of DeepCDR: cells and drugs are encoded once, pairs are gathered from their codes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from ..._validate import examples
from ...nn._contextpred import ContextPredEncoder
from ...nn._graph_batch import FeatureBatch, GraphBatch
from ...nn._mlp import MLP
from ...nn._molecule_graph import MoleculeGraphEncoder
from .._blend import BlendedState
from .._schema import Count, Part, Share, Size, Widths
from ._branches import CellEncoder, ConvHead, PlainHead
from ._settings import Settings


class NetConfig(Part):
    """All that decides the architecture, as it stands in a model file."""

    #: Features of each block of columns of a cell, by name.
    cell_widths: Annotated[dict[str, Size], Field(min_length=1)]
    #: Atom and bond features of graphs, or the length of fingerprints and zero.
    drug_widths: Annotated[list[Count], Field(min_length=2, max_length=2)]
    drug_features: str = "rich"
    drug_encoder: str = "gin"
    drug_layers: Annotated[Widths, Field(min_length=1)] = [64, 64, 64]
    drug_pool: str = "max"
    drug_norm: str = "batch"
    #: Widths of a cell branch; none for the published one.
    cell_layers: Widths = [256, 64]
    head: str = "plain"
    head_width: Size = 128
    dropout: Share = 0.2
    standardise: bool = True

    @classmethod
    def of(cls, settings: Settings, cell_widths: dict[str, int], molecules: GraphBatch | FeatureBatch) -> NetConfig:
        """The architecture for settings, the features of each block of a cell's columns, and the molecules of the training."""
        n_bond = molecules.edge_attr.shape[1] if isinstance(molecules, GraphBatch) else 0
        shared = {name: value for name, value in asdict(settings).items() if name in cls.model_fields}
        layers = {name: list(shared[name]) for name in ("drug_layers", "cell_layers")}
        return cls(cell_widths=cell_widths, drug_widths=[molecules.x.shape[1], n_bond], **shared | layers)

    def check_blocks(self, blocks: Sequence[str]) -> NetConfig:
        """Return the same; raise :class:`ValueError` if the blocks of a cell's columns have other names."""
        found = list(self.cell_widths)
        if found != list(blocks):
            raise ValueError(f"`cell_widths` names {examples(found)}, and the model reads {examples(blocks)}")
        return self


class NetworkPart(Part):
    """The network in a model file."""

    net: NetConfig
    #: Number of training lines whose features are kept.
    n_typical: Count


class DeepCDRState(BlendedState):
    """What the model keeps beside its arrays."""

    network: NetworkPart  # type: ignore[assignment]


class DeepCDRNet(nn.Module):
    """Cell branches, drug branch and head, with what prediction needs beside weights."""

    #: What outputs are turned into the unit of the response with.
    mean: Tensor
    scale: Tensor
    #: Codes of the drugs (drugs × width), so that no molecule is read again.
    codes: Tensor
    #: Features of some training lines, NaN rows of blocks that were not measured (lines × all features).
    typical: Tensor

    def __init__(self, config: NetConfig, *, n_drugs: int = 0, n_typical: int = 0) -> None:
        super().__init__()
        self.config = config
        self.cells = CellEncoder(
            config.cell_widths,
            hidden=config.cell_layers or None,
            dropout=config.dropout,
            standardise=config.standardise,
        )
        self.drugs, n_code = _drug_encoder(config)
        #: Stands for the code of a drug whose structure is not known.
        self.no_structure = nn.Parameter(torch.zeros(n_code))
        if config.head == "conv":
            self.head: nn.Module = ConvHead(self.cells.n_out, n_code)
            _glorot(self)
        else:
            self.head = PlainHead(self.cells.n_out, n_code, width=config.head_width, dropout=config.dropout)
        self.register_buffer("mean", torch.zeros(1))
        self.register_buffer("scale", torch.ones(1))
        self.register_buffer("codes", torch.zeros(n_drugs, n_code))
        self.register_buffer("typical", torch.zeros(n_typical, sum(config.cell_widths.values())))

    def set_scale(self, response: np.ndarray) -> None:
        """Standardise by these responses (lines × drugs, NaN where not measured), once for all drugs."""
        spread = float(np.nanstd(response))
        self.mean.fill_(float(np.nanmean(response)))
        self.scale.fill_(spread if spread > 0 else 1.0)

    def encode_drugs(self, molecules: GraphBatch | FeatureBatch) -> Tensor:
        """Codes of molecules (molecules × width)."""
        return self.drugs(molecules)

    def forward(self, cells: Tensor, drugs: Tensor, row: Tensor, column: Tensor) -> Tensor:
        """Standardised output of each pair of a row of the codes of cells and a row of those of drugs."""
        return self.head(cells, drugs, row, column)

    def respond(self, features: Tensor, drugs: Tensor) -> Tensor:
        """Output for all pairs (rows × drugs), in the unit of the response; logits where that is a label.

        Parameters
        ----------
        features
            Rows × all features.
        drugs
            Positions of drugs.
        """
        cells, codes = self.cells(features), self.codes[drugs]
        row = torch.arange(len(cells), device=cells.device).repeat_interleave(len(codes))
        column = torch.arange(len(codes), device=cells.device).repeat(len(cells))
        return self.mean + self.scale * self(cells, codes, row, column).view(len(cells), len(codes))


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
    n_out = config.drug_layers[-1]
    if config.drug_features in ("morgan", "minimol"):
        return _FingerprintEncoder(config.drug_widths[0], config.drug_layers, config.dropout), n_out
    if config.drug_features == "contextpred":
        return _Projected(ContextPredEncoder(pool=config.drug_pool, dropout=config.dropout), n_out), n_out
    encoder = MoleculeGraphEncoder(
        *config.drug_widths,
        hidden=config.drug_layers,
        conv=config.drug_encoder,
        pool=config.drug_pool,
        norm=config.drug_norm,
        dropout=0.1,
    )
    return encoder, encoder.n_out


def _glorot(net: nn.Module) -> None:
    """Initialise as Keras does."""
    for module in net.modules():
        if isinstance(module, nn.Linear | nn.Conv1d):
            nn.init.xavier_uniform_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
