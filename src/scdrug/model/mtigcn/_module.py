"""The network: one encoder of the bipartite graph, and a decoder for each task."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from ...nn._bipartite import BipartiteEncoder, BipartiteGraph
from ...nn._correlation import CorrelationDecoder
from .._arrays import Array
from .._schema import Declared, Four, LinesState, Never, Part, Share, Size
from ._settings import Settings


@dataclass(frozen=True)
class NetConfig:
    """Sizes and scales of a network, all that loading needs."""

    n_line_features: int
    n_drug_features: int
    #: Genes behind the features of lines: first weights are drawn as if the layer had read them.
    n_genes: int
    hidden: int
    width: int
    alpha: float
    norm: bool
    dropout: float
    tasks: tuple[str, ...]
    gamma: float
    regression_scale: float
    tie_similarity_heads: bool

    @classmethod
    def of(cls, settings: Settings, n_line_features: int, n_drug_features: int, n_genes: int) -> NetConfig:
        """The configuration that settings ask for."""
        return cls(
            n_line_features,
            n_drug_features,
            n_genes,
            settings.hidden,
            settings.width,
            settings.alpha,
            settings.norm,
            settings.dropout,
            settings.tasks,
            settings.gamma,
            settings.regression_scale,
            settings.tie_similarity_heads,
        )

    def to_json(self) -> dict[str, Any]:
        """Plain types."""
        return asdict(self) | {"tasks": list(self.tasks)}

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> NetConfig:
        """Rebuild what :meth:`to_json` returned."""
        return cls(**{**stored, "tasks": tuple(stored["tasks"])})


class NetPart(Part):
    """:class:`NetConfig` in a model file."""

    n_line_features: Size
    n_drug_features: Size
    n_genes: Size
    hidden: Size
    width: Size
    alpha: float
    norm: bool
    dropout: Share
    tasks: list[Literal["classification", "regression", "similarity"]]
    gamma: float
    regression_scale: float
    tie_similarity_heads: bool


class ModulePart(Part):
    """:class:`MTIGCNModule` in a model file."""

    net: NetPart | None
    arrays: Declared


class MTIGCNState(LinesState):
    """What the model keeps beside its arrays."""

    module: ModulePart
    network_shares: Four[Share] | Never
    sensitivity_slopes: Four[Four[float]] | Never
    lower_is_sensitive: bool


class Codes(NamedTuple):
    """Embeddings of lines and drugs (rows × width)."""

    lines: Tensor
    drugs: Tensor


class MTIGCNNet(nn.Module):
    """NIHGCN encoder with the decoders of MTIGCN.

    Parameters
    ----------
    config
        Sizes.

    Notes
    -----
    Liu et al. 2024, eq. 1-19. Sensitivity is γ times the correlation of the embeddings, as a logit, ln IC50 fifteen times the
    correlation after a linear map of each side, similarity of two lines or two drugs the sigmoid of fifteen times their
    correlation after another map.
    """

    def __init__(self, config: NetConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = BipartiteEncoder(
            config.n_line_features,
            config.n_drug_features,
            hidden=config.hidden,
            width=config.width,
            alpha=config.alpha,
            norm=config.norm,
            dropout=config.dropout,
        )
        # rotating the genes into factors leaves the spread of a weight as it was
        bound = config.n_genes**-0.5
        nn.init.uniform_(self.encoder.lines.projection.weight, -bound, bound)
        self.sensitivity = CorrelationDecoder(config.width, scale=config.gamma, linear=False)
        self.response = (
            CorrelationDecoder(config.width, scale=config.regression_scale) if "regression" in config.tasks else None
        )
        self.line_similarity = self.drug_similarity = None
        if "similarity" in config.tasks:
            self.line_similarity = CorrelationDecoder(config.width, scale=15.0, tied=True)
            self.drug_similarity = (
                self.line_similarity
                if config.tie_similarity_heads
                else CorrelationDecoder(config.width, scale=15.0, tied=True)
            )

    def forward(self, lines: Tensor, drugs: Tensor, graph: BipartiteGraph) -> Codes:
        """Embed the training population from its features and edges."""
        return Codes(*self.encoder(lines, drugs, graph))

    def logits(self, codes: Codes) -> Tensor:
        """Logits of sensitivity (lines × drugs)."""
        return self.sensitivity(codes.lines, codes.drugs)

    def responses(self, codes: Codes) -> Tensor:
        """Responses in the unit of training (lines × drugs); without a task of its own, minus the logits."""
        return -self.logits(codes) if self.response is None else self.response(codes.lines, codes.drugs)

    def similarities(self, codes: Codes) -> tuple[Tensor, Tensor]:
        """Similarity of lines and of drugs, 0-1."""
        assert self.line_similarity is not None
        assert self.drug_similarity is not None
        lines = torch.sigmoid(self.line_similarity(codes.lines, codes.lines))
        return lines, torch.sigmoid(self.drug_similarity(codes.drugs, codes.drugs))


class MTIGCNModule(nn.Module):
    """A network, if there is one, and the arrays that prediction needs beside it."""

    def __init__(self, net: MTIGCNNet | None) -> None:
        super().__init__()
        self.net = net
        self.kept: list[str] = []

    def keep(self, **arrays: np.ndarray) -> None:
        """Add or replace arrays."""
        for name, value in arrays.items():
            value = np.asarray(value)
            value = value if value.dtype == np.uint8 else value.astype(np.float32)
            self.register_buffer(name, torch.from_numpy(np.array(value)))
            if name not in self.kept:
                self.kept.append(name)

    def array(self, name: str) -> np.ndarray:
        """One array."""
        return self.get_buffer(name).cpu().numpy()

    def arrays(self) -> dict[str, np.ndarray]:
        """All arrays."""
        return {name: self.array(name) for name in self.kept}

    def to_json(self) -> dict[str, Any]:
        """Sizes, in JSON types."""
        return {
            "net": None if self.net is None else self.net.config.to_json(),
            "arrays": {name: [list(value.shape), str(value.dtype)] for name, value in self.arrays().items()},
        }

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> MTIGCNModule:
        """A module of the same sizes, to load weights into."""
        module = cls(None if stored["net"] is None else MTIGCNNet(NetConfig.from_json(stored["net"])))
        for name, (shape, dtype) in stored["arrays"].items():  # without memory: loading puts the arrays in their place
            module.register_buffer(name, torch.empty(shape, dtype=getattr(torch, dtype), device="meta"))
            module.kept.append(name)
        return module


_BY_DRUG, _BY_LINE = Array(("drugs",)), Array(("lines",))
_NEW = {
    "effect": Array(("usable drugs",)), "intercept": Array(()), "line": _BY_LINE, "residual": Array(("usable drugs", "lines")),
    "alpha": Array(("lines", "usable drugs")), "line_alpha": _BY_LINE, "line_intercept": Array(()),
}  # fmt: skip
#: Arrays beside the network. Which of them there are, the settings decide.
KEPT = {
    "mean": _BY_DRUG, "scale": _BY_DRUG, "scale_of_drug": _BY_DRUG, "drug_means": _BY_DRUG, "thresholds": _BY_DRUG,
    "known_lines": Array(("lines",), "uint8"), "known_drugs": Array(("drugs",), "uint8"),
    "usable": Array(("drugs",), "uint8"), "lines": Array(("lines", "genes")),
    "feature_fingerprints": Array(("usable drugs", "bits"), "uint8"), "feature_minimol": Array(("usable drugs", "features")),
    "feature_table": Array(("usable drugs", "entries"), "uint8"),
    "gene_mean": Array(("genes",)), "gene_scale": Array(("genes",)), "loadings": Array(("genes", "factors")),
    "line_codes": Array(("lines", "width")), "drug_codes": Array(("drugs", "width")),
    **{f"{name}_alpha": Array(("lines", "drugs")) for name in ("response", "squashed")},
    **{f"{name}_fitted": Array(("lines", "drugs")) for name in ("response", "squashed")},
    **{f"{name}_intercept": _BY_DRUG for name in ("response", "squashed")},
    **{f"{name}_drug_{part}": array for name in ("response", "squashed") for part, array in _NEW.items()},
}  # fmt: skip
