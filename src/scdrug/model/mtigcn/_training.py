"""From a task to a fresh network, what one step of its training sees, and its losses."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from ..._validate import examples
from ...nn._bipartite import BipartiteGraph
from ...nn._losses import masked_bce, masked_mse, ranking_error
from .._batches import TrainingTask
from .._options import PhaseOptions
from .._plan import Phase, Stopping
from ..prior._drug_kernels import DrugFeatures
from ._features import LineFactors, drug_similarity_target, feature_matrix, line_similarity
from ._labels import Labelling, Moments, response_moments
from ._module import Codes, MTIGCNModule, MTIGCNNet, NetConfig
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

    def to(self, device: torch.device) -> tuple[Tensor, Tensor, BipartiteGraph]:
        """Features of lines and of drugs, and the graph, on a device."""
        parts = {name: value.to(device) for name, value in self.batch().items()}
        return parts["lines"], parts["drugs"], graph_of(parts)

    def with_targets(self, labels: np.ndarray, response: np.ndarray) -> GraphData:
        """The same graph with other labels and responses (lines × drugs)."""
        return replace(self, labels=_tensor(labels), response=_tensor(response))


def prepare(
    task: TrainingTask, drugs: DrugFeatures, labelling: Labelling, settings: Settings
) -> tuple[MTIGCNModule, GraphData, GraphData | None]:
    """Make a fresh network for a task, and what it is trained on.

    Returns
    -------
    The network with the features of its population, the graph of the training pairs, and the same graph with the pairs as targets
    that decide when to stop; `None` if there are none.
    """
    response, held_out = task.train_response, task.validation_response
    labels = labelling.labels(response)
    labelling.warn(labels, response)
    factors = LineFactors.fit(task.expression, rank=settings.rank)
    scores = factors.transform(task.expression)
    unit = response_moments(response) if settings.scale_response else Moments.unscaled(response.shape[1])
    edges = sensitive_edges(labels, response, labelling.thresholds(response), weighted=settings.edges == "weighted")
    similarities = similarity_targets(scores, drugs, settings) if settings.has_similarity else [np.zeros((0, 0))] * 2
    targets = (labels, unit.standardise(response), *similarities)
    graph = GraphData(_tensor(scores), _tensor(feature_matrix(drugs)), *edges, *map(_tensor, targets))
    held = graph.with_targets(labelling.labels(held_out, task.response), unit.standardise(held_out))
    kinds = {name: values.shape[1] for name, values in drugs.values.items()}
    net = MTIGCNNet(
        NetConfig.of(settings, n_line_features=scores.shape[1], drug_features=kinds, n_genes=task.expression.shape[1])
    )
    sizes = dict(zip(("n_lines", "n_drugs"), response.shape, strict=True))
    module = MTIGCNModule(net, **sizes, n_structures=int(drugs.usable.sum()))
    module.fill_features(factors, scores, drugs)
    module.fill(mean=unit.mean, scale=unit.scale)
    return module, graph, held if task.has_validation else None


def similarity_targets(scores: np.ndarray, drugs: DrugFeatures, settings: Settings) -> tuple[np.ndarray, np.ndarray]:
    """Similarities of lines and of drugs that the network has to recover, NaN for drugs without a structure."""
    lines = line_similarity(scores, kind=settings.line_similarity, epsilon=settings.epsilon)
    return lines, drug_similarity_target(drugs)


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
    """The weighted losses of all tasks, and the error of the one that predicts.

    Parameters
    ----------
    net
        Network.
    settings
        Tasks and their weights.
    predicts
        Task whose error on held-out pairs decides when to stop.
    """

    def __init__(self, net: MTIGCNNet, settings: Settings, *, predicts: str) -> None:
        self.net, self.settings, self.predicts = net, settings, predicts
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
        """Errors of held-out pairs: 1 − AUROC and squared error; the loss is that of the task that predicts.

        A sum of both would be the squared error's, which is larger and falls when the other has long stopped to.
        """
        codes = self.codes(batch)
        parts = self._pairs(batch, codes)
        if parts.pop("classification_loss", None) is not None:
            parts["ranking_loss"] = ranking_error(self.net.logits(codes), batch["labels"])
        return {"loss": parts["ranking_loss" if self.predicts == "classification" else "regression_loss"], **parts}

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
        weights = self.settings.weights
        total = sum(weights[name.removesuffix("_loss")] * value for name, value in parts.items())
        assert isinstance(total, Tensor)
        return {"loss": total, **parts}


def training_phase(
    net: MTIGCNNet,
    graph: GraphData,
    held_out: GraphData | None,
    settings: Settings,
    options: PhaseOptions,
    *,
    predicts: str,
) -> Phase:
    """The one phase of training.

    Parameters
    ----------
    net
        Network.
    graph
        What it is trained on.
    held_out
        The same with held-out pairs as targets, which decide when to stop; `None` without.
    settings
        Losses, dropout and optimiser.
    options
        Arguments of `train`.
    predicts
        Task whose error on held-out pairs decides when to stop.
    """
    objective = Objective(net, settings, predicts=predicts)

    def optimizer(parameters: list[torch.nn.Parameter]) -> torch.optim.Optimizer:
        kind = torch.optim.AdamW if settings.decoupled else torch.optim.Adam
        return kind(parameters, lr=options.lr, weight_decay=settings.weight_decay)

    dropout = {"edge_dropout": settings.edge_dropout, "node_dropout": settings.node_dropout}
    return Phase(
        batches=GraphBatches(graph, **dropout, generator=options.generator),
        loss=objective,
        max_epochs=options.max_epochs,
        validation=None if held_out is None else GraphBatches(held_out, steps=1),
        validation_loss=objective.validation,
        stopping=Stopping(patience=options.patience) if options.early_stopping else None,
        optimizer=optimizer,
    )


def _tensor(values: np.ndarray) -> Tensor:
    return torch.from_numpy(np.asarray(values, dtype=np.float32))


def warn_of_gaps(task: TrainingTask, usable: np.ndarray, names: np.ndarray) -> None:
    """Warn of lines without responses and drugs without features, and raise if no drug has any."""
    lacking = task.lines[~np.isfinite(task.response).any(axis=1)]
    if len(lacking):
        warnings.warn(
            f"{len(lacking)} lines have no response and are predicted from their expression alone, like new ones: "
            f"{examples(lacking)}.",
            stacklevel=2,
        )
    if not usable.any():
        raise ValueError(
            "None of the drugs has a structure that can be read, so the network has no features of drugs. Put SMILES into "
            "`adata.uns['drugs']['smiles']` (scdrug.pp.featurize_drugs checks them), or train "
            "KernelRidge(couple_drugs=True), which needs none."
        )
    if not usable.all():
        warnings.warn(
            f"{(~usable).sum()} drugs have no structure that can be read and are known by their responses alone: "
            f"{examples(names[~usable])}.",
            stacklevel=2,
        )
