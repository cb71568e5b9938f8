"""The network: one encoder of the bipartite graph, and a decoder for each task."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from ...nn._bipartite import BipartiteEncoder, BipartiteGraph
from ...nn._correlation import CorrelationDecoder
from .._blend import BlendedState
from .._schema import Count, Part, Share, Size
from ..prior._drug_kernels import DrugFeatures
from ._features import LineFactors, feature_matrix
from ._settings import Settings

_FEATURE = "feature_"


class NetConfig(Part):
    """Sizes and scales of a network, all that loading needs, as it stands in a model file."""

    n_line_features: Size
    #: Features of drugs, by kind.
    drug_features: dict[Literal["fingerprints", "minimol"], Size]
    #: Genes behind the features of lines: first weights are drawn as if the layer had read them.
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

    @classmethod
    def of(cls, settings: Settings, **sizes: Any) -> NetConfig:
        """The configuration that settings ask for, with the sizes that they do not say."""
        shared = cls.model_fields.keys() - sizes.keys() - {"tasks"}
        return cls(**sizes, **{name: getattr(settings, name) for name in shared}, tasks=list(settings.tasks))


class ModulePart(Part):
    """:class:`MTIGCNModule` in a model file."""

    net: NetConfig
    n_structures: Count


class MTIGCNState(BlendedState):
    """What the model keeps beside its arrays."""

    network: ModulePart


class Codes(NamedTuple):
    """Embeddings of lines and drugs (rows × width)."""

    lines: Tensor
    drugs: Tensor


class MTIGCNNet(nn.Module):
    """NIHGCN encoder with the decoders of MTIGCN.

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
            sum(config.drug_features.values()),
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
        """Responses in the unit of training (lines × drugs)."""
        assert self.response is not None
        return self.response(codes.lines, codes.drugs)

    def similarities(self, codes: Codes) -> tuple[Tensor, Tensor]:
        """Similarity of lines and of drugs, 0-1."""
        assert self.line_similarity is not None
        assert self.drug_similarity is not None
        lines = torch.sigmoid(self.line_similarity(codes.lines, codes.lines))
        return lines, torch.sigmoid(self.drug_similarity(codes.drugs, codes.drugs))


class MTIGCNModule(nn.Module):
    """A network with the features and embeddings of the population that it knows, and the unit of its responses."""

    def __init__(self, net: MTIGCNNet, *, n_lines: int, n_drugs: int, n_structures: int) -> None:
        super().__init__()
        self.net = net
        config = net.config
        shapes = {
            "gene_mean": (config.n_genes,), "gene_scale": (config.n_genes,),
            "loadings": (config.n_genes, config.n_line_features),
            "line_scores": (n_lines, config.n_line_features), "line_codes": (n_lines, config.width),
            "drug_codes": (n_drugs, config.width), "mean": (n_drugs,), "scale": (n_drugs,),
        }  # fmt: skip
        for name, shape in shapes.items():
            self.register_buffer(name, torch.zeros(shape))
        self.register_buffer("usable", torch.zeros(n_drugs, dtype=torch.uint8))
        for name, n in config.drug_features.items():
            dtype = torch.uint8 if name == "fingerprints" else torch.float32
            self.register_buffer(_FEATURE + name, torch.zeros((n_structures, n), dtype=dtype))

    @torch.no_grad()
    def fill(self, **arrays: np.ndarray | Tensor) -> None:
        """Set buffers, in their own type and where they are."""
        for name, value in arrays.items():
            self.get_buffer(name).copy_(torch.as_tensor(value))

    def fill_features(self, factors: LineFactors, scores: np.ndarray, drugs: DrugFeatures) -> None:
        """Set the features of the population."""
        self.fill(gene_mean=factors.mean, gene_scale=factors.scale, loadings=factors.loadings, line_scores=scores)
        self.fill(usable=drugs.usable, **{_FEATURE + name: values for name, values in drugs.values.items()})

    @torch.no_grad()
    def fill_codes(self, lines: Tensor, drugs: Tensor, graph: BipartiteGraph) -> None:
        """Embed the population with its edges."""
        self.net.eval()
        codes = self.net(lines, drugs, graph)
        self.fill(line_codes=codes.lines, drug_codes=codes.drugs)

    @property
    def n_structures(self) -> int:
        """Number of drugs that have features."""
        return len(self.get_buffer(_FEATURE + next(iter(self.net.config.drug_features))))

    @property
    def drug_features(self) -> DrugFeatures:
        """Features of the drugs that have any."""
        values = {name: self.get_buffer(_FEATURE + name).cpu().numpy() for name in self.net.config.drug_features}
        return DrugFeatures(values, self.usable.cpu().numpy().astype(bool))

    # ------------------------------------------------------------------ prediction

    def embed(self, expression: Tensor, lines: Tensor) -> Tensor:
        """Embeddings of samples (samples × width).

        Parameters
        ----------
        expression
            Samples × genes.
        lines
            Positions among the lines of the population, which are embedded with their edges; −1 for new samples.
        """
        codes, new = self.line_codes[lines], lines < 0
        if new.any():
            features = ((expression[new] - self.gene_mean) / self.gene_scale) @ self.loadings
            codes[new] = self.net.encoder.new_lines(features)
        return codes

    def responses(self, expression: Tensor, lines: Tensor, drugs: Tensor) -> Tensor:
        """Responses of samples to drugs by position (samples × drugs)."""
        codes = Codes(self.embed(expression, lines), self.drug_codes[drugs])
        return self.mean[drugs] + self.scale[drugs] * self.net.responses(codes)

    def probabilities(self, expression: Tensor, lines: Tensor, drugs: Tensor) -> Tensor:
        """Probabilities of sensitivity (samples × drugs)."""
        return torch.sigmoid(self.net.logits(Codes(self.embed(expression, lines), self.drug_codes[drugs])))

    @torch.no_grad()
    def similarities(self) -> tuple[np.ndarray, np.ndarray]:
        """Similarity of the lines and of the drugs of the population, as the network recovers it."""
        lines, drugs = self.net.eval().similarities(Codes(self.line_codes, self.drug_codes))
        return lines.cpu().numpy(), drugs.cpu().numpy()

    @torch.no_grad()
    def for_drugs(self, drugs: DrugFeatures) -> MTIGCNModule:
        """The same network for drugs that were not in training, whose unit is that of the typical training drug."""
        n = len(drugs.usable)
        other = MTIGCNModule(self.net, n_lines=len(self.line_codes), n_drugs=n, n_structures=int(drugs.usable.sum()))
        other.to(self.loadings.device)
        for name in ("gene_mean", "gene_scale", "loadings", "line_scores", "line_codes"):
            other.register_buffer(name, self.get_buffer(name))
        matrix = torch.from_numpy(feature_matrix(drugs, training=self.drug_features)).to(self.loadings.device)
        other.fill(
            usable=drugs.usable,
            drug_codes=self.net.eval().encoder.new_drugs(matrix),
            mean=self.mean.mean().expand(n),
            scale=self.scale.median().expand(n),
            **{_FEATURE + name: values for name, values in drugs.values.items()},
        )
        return other
