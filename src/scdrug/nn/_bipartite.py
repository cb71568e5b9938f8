"""Graph convolution between two kinds of nodes: cell lines, and the drugs that they are sensitive to."""

from __future__ import annotations

from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class BipartiteGraph:
    """Edges between lines and drugs, with the normalised sums over neighbours.

    Parameters
    ----------
    edges
        Positions of line and drug of each edge (2 × edges), no pair twice.
    n_lines, n_drugs
        Numbers of nodes.
    weights
        Weight of each edge, positive; one if omitted.

    Notes
    -----
    With A the weighted adjacency and d the sum of a node's weights plus one, a line receives
    d_line^-1/2 A d_drug^-1/2 times the drugs' values, and a drug the transpose (Liu et al. 2024, below eq. 4). Nodes
    without an edge receive nothing.

    Examples
    --------
    >>> import torch
    >>> from scdrug.nn import BipartiteGraph
    >>> graph = BipartiteGraph(torch.tensor([[0, 1], [0, 0]]), 3, 2)
    >>> graph.line_degree.tolist(), graph.drug_degree.tolist()
    ([1.0, 1.0, 0.0], [2.0, 0.0])
    >>> graph.to_lines(torch.ones(2, 1)).flatten().round(decimals=3).tolist()
    [0.408, 0.408, 0.0]
    """

    def __init__(self, edges: Tensor, n_lines: int, n_drugs: int, *, weights: Tensor | None = None) -> None:
        self.edges, self.n_lines, self.n_drugs = edges, n_lines, n_drugs
        self.weights = torch.ones(edges.shape[1], device=edges.device) if weights is None else weights
        lines, drugs = edges
        #: Sums of the weights at each node.
        self.line_degree = self.weights.new_zeros(n_lines).index_add(0, lines, self.weights)
        self.drug_degree = self.weights.new_zeros(n_drugs).index_add(0, drugs, self.weights)
        values = self.weights * ((self.line_degree + 1)[lines] * (self.drug_degree + 1)[drugs]).rsqrt()
        matrix = torch.sparse_coo_tensor(edges, values, (n_lines, n_drugs), check_invariants=False)
        self._to_lines, self._to_drugs = matrix.coalesce(), matrix.t().coalesce()

    def to_lines(self, values: Tensor) -> Tensor:
        """Sum over a line's drugs (lines × width) of values of drugs (drugs × width)."""
        return torch.sparse.mm(self._to_lines.to(values.dtype), values)

    def to_drugs(self, values: Tensor) -> Tensor:
        """Sum over a drug's lines (drugs × width) of values of lines (lines × width)."""
        return torch.sparse.mm(self._to_drugs.to(values.dtype), values)

    def line_self(self) -> Tensor:
        """Weight of a line's own value, 1/d + 1 with d its degree plus one (lines × 1)."""
        return (1 / (self.line_degree + 1) + 1).unsqueeze(1)

    def drug_self(self) -> Tensor:
        """Weight of a drug's own value (drugs × 1)."""
        return (1 / (self.drug_degree + 1) + 1).unsqueeze(1)

    def keep(self, chosen: Tensor) -> Self:
        """The graph with some of its edges only.

        Parameters
        ----------
        chosen
            Which edges stay (edges, boolean).
        """
        return type(self)(self.edges[:, chosen], self.n_lines, self.n_drugs, weights=self.weights[chosen])


class PopulationNorm(nn.Module):
    """Batch norm whose batch is the whole training population, also at evaluation.

    The published network is trained on all nodes at once and never leaves training mode. Nodes that come later are
    normalised with the mean and variance of that population.

    Parameters
    ----------
    width
        Number of features.
    eps
        Added to the variance.
    """

    def __init__(self, width: int, *, eps: float = 1e-5) -> None:
        super().__init__()
        self.eps = eps
        self.weight, self.bias = nn.Parameter(torch.ones(width)), nn.Parameter(torch.zeros(width))
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("variance", torch.ones(width))

    def forward(self, x: Tensor, *, population: bool = True) -> Tensor:
        """Normalise (rows, width).

        Parameters
        ----------
        x
            Values.
        population
            Whether these rows are the population: its mean and variance are then taken from them, and kept.
        """
        if population:
            variance, mean = torch.var_mean(x, dim=0, correction=0)
            with torch.no_grad():
                self.mean.copy_(mean)
                self.variance.copy_(variance)
        else:
            mean, variance = self.mean, self.variance
        return (x - mean) * (variance + self.eps).rsqrt() * self.weight + self.bias


class NodeEncoder(nn.Module):
    """One side of the bipartite network: features → projection → mix with neighbours → embedding.

    Parameters
    ----------
    n_features
        Width of the node's features.
    hidden
        Width of the projection.
    width
        Width of the embedding.
    alpha
        Weight of the interaction term, the element-wise product of what a node gathered with its own projection; the
        plain sum has weight 1 − alpha.
    norm
        Whether projections are normalised over the population.
    dropout
        Share of the gathered values that are dropped in training.
    """

    def __init__(
        self, n_features: int, hidden: int, width: int, *, alpha: float, norm: bool = True, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.alpha = alpha
        self.projection = nn.Linear(n_features, hidden)
        self.norm = PopulationNorm(hidden) if norm else None
        self.dropout = nn.Dropout(dropout)
        self.output = nn.Linear(hidden, width)

    def project(self, features: Tensor, *, population: bool) -> Tensor:
        """Project features (nodes × hidden)."""
        projected = self.projection(features)
        return projected if self.norm is None else self.norm(projected, population=population)

    def embed(self, projected: Tensor, self_weight: Tensor | float, gathered: Tensor | float) -> Tensor:
        """Embed nodes (nodes × width), eq. 3 and 4 of Liu et al. 2024.

        Parameters
        ----------
        projected
            Nodes × hidden.
        self_weight
            Weight of the node's own projection (nodes × 1); 2 for nodes without edges.
        gathered
            What the neighbours send (nodes × hidden); 0 for nodes without edges.
        """
        total = self_weight * projected + gathered
        mixed = (1 - self.alpha) * total + self.alpha * total * projected
        return F.relu(self.output(self.dropout(mixed)))


class BipartiteEncoder(nn.Module):
    """Encoder of NIHGCN, which MTIGCN uses: parallel graph convolution with neighbourhood interaction, one layer.

    Parameters
    ----------
    n_line_features, n_drug_features
        Widths of the features.
    hidden
        Width of the projections.
    width
        Width of the embeddings.
    alpha
        Weight of the interaction term.
    norm
        Whether projections are normalised over the training population: in the released code, not in the paper.
    dropout
        Share of mixed values that are dropped in training.

    Notes
    -----
    Peng et al. 2022 (doi:10.1093/bioinformatics/btac574), Liu et al. 2024, eq. 1-4.

    Examples
    --------
    >>> import torch
    >>> from scdrug.nn import BipartiteEncoder, BipartiteGraph
    >>> encoder = BipartiteEncoder(5, 4, hidden=8, width=6)
    >>> graph = BipartiteGraph(torch.tensor([[0, 1], [0, 0]]), 3, 2)
    >>> lines, drugs = encoder(torch.randn(3, 5), torch.randn(2, 4), graph)
    >>> lines.shape, drugs.shape
    (torch.Size([3, 6]), torch.Size([2, 6]))
    """

    def __init__(
        self,
        n_line_features: int,
        n_drug_features: int,
        *,
        hidden: int = 1024,
        width: int = 1024,
        alpha: float = 0.25,
        norm: bool = True,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.lines = NodeEncoder(n_line_features, hidden, width, alpha=alpha, norm=norm, dropout=dropout)
        self.drugs = NodeEncoder(n_drug_features, hidden, width, alpha=alpha, norm=norm, dropout=dropout)

    def forward(self, lines: Tensor, drugs: Tensor, graph: BipartiteGraph) -> tuple[Tensor, Tensor]:
        """Embed the training population.

        Parameters
        ----------
        lines, drugs
            Features of all training lines and drugs.
        graph
            Edges between them.

        Returns
        -------
        Embeddings of the lines (lines × width) and the drugs (drugs × width).
        """
        c, d = self.lines.project(lines, population=True), self.drugs.project(drugs, population=True)
        return (
            self.lines.embed(c, graph.line_self(), graph.to_lines(d)),
            self.drugs.embed(d, graph.drug_self(), graph.to_drugs(c)),
        )

    def new_lines(self, features: Tensor) -> Tensor:
        """Embed lines that were not in training, from their features alone: nodes of degree zero."""
        return self.lines.embed(self.lines.project(features, population=False), 2.0, 0.0)

    def new_drugs(self, features: Tensor) -> Tensor:
        """Embed drugs that were not in training, from their features alone."""
        return self.drugs.embed(self.drugs.project(features, population=False), 2.0, 0.0)
