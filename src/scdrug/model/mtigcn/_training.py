"""What one step of training sees, and its losses."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ...nn._bipartite import BipartiteGraph
from ...nn._losses import masked_bce, masked_mse, ranking_error
from ._module import Codes, MTIGCNNet
from ._settings import Settings

#: Steps an epoch: all pairs are in each step, so validating after every one would cost as much as training.
STEPS = 10
_LIGHTEST, _HEAVIEST = 0.25, 3.0


@dataclass(frozen=True, eq=False)
class GraphData:
    """All that the network is trained on; a line or drug without training pairs is a node without edges."""

    #: Lines × factors, drugs × features.
    lines: Tensor
    drugs: Tensor
    #: Positions of line and drug of each sensitive pair (2 × edges), and weights (edges).
    edges: Tensor
    weights: Tensor
    #: Lines × drugs, NaN = none: 1 sensitive and 0 resistant; responses in the unit of training.
    labels: Tensor
    response: Tensor
    #: Lines × lines, drugs × drugs; empty without that task.
    line_similarity: Tensor
    drug_similarity: Tensor

    def batch(self) -> dict[str, Tensor]:
        """As a batch."""
        return dict(vars(self))


def sensitive_edges(
    labels: np.ndarray, response: np.ndarray, thresholds: np.ndarray, *, weighted: bool
) -> tuple[Tensor, Tensor]:
    """Edges of the graph: the sensitive training pairs.

    Parameters
    ----------
    labels, response
        Lines × drugs, NaN = none.
    thresholds
        Drugs.
    weighted
        Weigh an edge by how far beyond the threshold the response lies, in standard deviations of the drug, on average
        one; else all weigh one.

    Returns
    -------
    Positions (2 × edges) and weights (edges).
    """
    lines, drugs = np.nonzero(labels == 1)
    weights = np.ones(len(lines), dtype=np.float32)
    if weighted and len(lines):
        spread = np.nanstd(response[:, drugs], axis=0) + 1e-6
        beyond = np.abs(response[lines, drugs] - thresholds[drugs]) / spread
        weights = np.clip(beyond / max(beyond.mean(), 1e-6), _LIGHTEST, _HEAVIEST).astype(np.float32)
    return torch.from_numpy(np.stack([lines, drugs])), torch.from_numpy(weights)


def graph_of(batch: dict[str, Tensor]) -> BipartiteGraph:
    """The graph of a batch."""
    return BipartiteGraph(batch["edges"], len(batch["lines"]), len(batch["drugs"]), weights=batch["weights"])


class GraphBatches:
    """The whole graph in each step, with some edges and the edges of some nodes left out.

    Parameters
    ----------
    data
        The graph.
    edge_dropout
        Share of edges that a step leaves out.
    node_dropout
        Share of lines, and of drugs, that a step leaves without edges.
    steps
        Steps an epoch.
    generator
        Source of the draws.
    """

    def __init__(
        self,
        data: GraphData,
        *,
        edge_dropout: float = 0.0,
        node_dropout: float = 0.0,
        steps: int = STEPS,
        generator: torch.Generator | None = None,
    ) -> None:
        self.data, self.edge_dropout, self.node_dropout = data, edge_dropout, node_dropout
        self.steps, self.generator = steps, generator

    def __len__(self) -> int:
        return self.steps

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        for _ in range(self.steps):
            batch = self.data.batch()
            if self.edge_dropout or self.node_dropout:
                chosen = self._draw()
                batch |= {"edges": batch["edges"][:, chosen], "weights": batch["weights"][chosen]}
            yield batch

    def _draw(self) -> Tensor:
        lines, drugs = self.data.edges

        def kept(n: int, share: float) -> Tensor:
            return torch.rand(n, generator=self.generator) >= share

        chosen = kept(len(lines), self.edge_dropout)
        return (
            chosen
            & kept(len(self.data.lines), self.node_dropout)[lines]
            & kept(len(self.data.drugs), self.node_dropout)[drugs]
        )


class Objective:
    """The weighted losses of all tasks.

    Parameters
    ----------
    net
        Network.
    settings
        Tasks and weights of their losses.
    """

    def __init__(self, net: MTIGCNNet, settings: Settings) -> None:
        self.net, self.settings = net, settings
        self._last: tuple[Tensor, BipartiteGraph] | None = None

    def __call__(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Losses of a training batch."""
        codes = self.codes(batch)
        parts = self._pairs(batch, codes)
        if self.settings.has_similarity:
            lines, drugs = self.net.similarities(codes)
            parts["lines_loss"] = masked_mse(lines, batch["line_similarity"])
            parts["drugs_loss"] = masked_mse(drugs, batch["drug_similarity"])
        return self._sum(parts)

    def validation(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Errors of held-out pairs: 1 − AUROC and squared error; similarities play no part in when to stop."""
        codes = self.codes(batch)
        parts = self._pairs(batch, codes)
        if parts.pop("classification_loss", None) is not None:
            parts["ranking_loss"] = ranking_error(self.net.logits(codes), batch["labels"])
        return self._sum(parts)

    def codes(self, batch: dict[str, Tensor]) -> Codes:
        """Embeddings of all lines and drugs."""
        return self.net(batch["lines"], batch["drugs"], self._graph(batch))

    def _graph(self, batch: dict[str, Tensor]) -> BipartiteGraph:
        edges = batch["edges"]
        if self._last is None or self._last[0] is not edges:  # the same object where nothing is left out
            self._last = edges, graph_of(batch)
        return self._last[1]

    def _pairs(self, batch: dict[str, Tensor], codes: Codes) -> dict[str, Tensor]:
        parts = {}
        if "classification" in self.settings.tasks:
            parts["classification_loss"] = masked_bce(self.net.logits(codes), batch["labels"])
        if "regression" in self.settings.tasks:
            parts["regression_loss"] = masked_mse(self.net.responses(codes), batch["response"])
        return parts

    def _sum(self, parts: dict[str, Tensor]) -> dict[str, Tensor]:
        weights = {**self.settings.weights, "ranking": self.settings.weights["classification"]}
        total = sum(weights[name.removesuffix("_loss")] * value for name, value in parts.items())
        assert isinstance(total, Tensor)
        return {"loss": total, **parts}
