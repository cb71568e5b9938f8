"""The network: chemical conditions, gene attention, perturbed profiles, and the response they lead to."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...nn import ConditionEncoder, GeneAttention, GraphBatch, MoleculeAttention, MoleculeGraphEncoder
from ...pp._graphs import feature_widths
from .._schema import MAX_LAYERS
from ._settings import Settings
from ._structures import GRAPH_FEATURES, Structures

#: Lines and drugs whose pairs are evaluated at once.
_BLOCK = 64, 32
#: Samples that are propagated at once, and structures that are read at once.
_CHUNK, _STRUCTURES = 256, 32


class Core(nn.Module):
    """What perturbation data teach: structure, dose and time → condition → attention → perturbed expression.

    Parameters
    ----------
    settings
        Shape of the network.
    n_genes
        Genes of the panel.
    n_features
        Length of a fingerprint; not used where an encoder reads molecules.
    edges
        Prior network, 2 × edges, or `None`.
    """

    def __init__(self, settings: Settings, n_genes: int, *, n_features: int = 0, edges: Tensor | None = None) -> None:
        super().__init__()
        self.encoder = _encoder(settings)
        n_structure = n_features if self.encoder is None else self.encoder.n_out
        self.condition = ConditionEncoder(n_structure, n_genes)
        self.attention = GeneAttention(n_genes, settings.n_hidden, edges=edges, propagation=settings.propagation)
        self.output = nn.Sequential(
            nn.LayerNorm(n_genes), nn.ReLU(), nn.Dropout(0.1), nn.Linear(n_genes, n_genes, bias=False)
        )
        self.register_buffer("feature_center", torch.zeros(n_features))
        self.register_buffer("feature_scale", torch.ones(n_features))

    def structures(self, inputs: tuple[Tensor | GraphBatch, ...], known: Tensor) -> Tensor:
        """Vectors of structures; zeros for drugs whose structure is not known.

        Parameters
        ----------
        inputs
            Fingerprints; or atoms, adjacency, distances and mask, see :class:`scdrug.nn.MoleculeAttention`; or graphs.
        known
            Whether each drug has a structure.

        Returns
        -------
        Drugs × length of the vector.
        """
        if self.encoder is None:
            vectors = (inputs[0] - self.feature_center) / self.feature_scale
        else:
            vectors = self.encoder(*inputs)
        return vectors * known[:, None]

    def conditions(self, inputs: tuple[Tensor | GraphBatch, ...], known: Tensor, dose: Tensor, time: Tensor) -> Tensor:
        """Conditions of drugs at doses (µM) and times (h); drugs × genes."""
        return self.condition(self.structures(inputs, known), dose, time)

    def hidden(self, basal: Tensor, condition: Tensor) -> Tensor:
        """What the last linear layer turns into perturbed expression; samples × genes."""
        return self.output[:-1](self.attention(basal, condition))

    def forward(self, basal: Tensor, condition: Tensor) -> Tensor:
        """Perturbed expression; samples × genes."""
        return self.output[-1](self.hidden(basal, condition))


def _encoder(settings: Settings) -> MoleculeAttention | MoleculeGraphEncoder | None:
    if settings.encoder == "mat":
        return MoleculeAttention(
            settings.encoder_width, n_layers=settings.encoder_layers, n_heads=settings.encoder_heads
        )
    if settings.encoder == "graph":
        widths = [settings.encoder_width] * settings.encoder_layers
        # layer norm: a batch of profiles may hold few structures
        return MoleculeGraphEncoder(
            *feature_widths(GRAPH_FEATURES), hidden=widths, conv="gin", pool="mean", norm="layer"
        )
    return None


class Scaling(nn.Module):
    """Linear scaling of expression before the core, (g + b) s, learned unless fixed.

    Parameters
    ----------
    kind
        ``"fixed"`` (s = 1, b = 0), ``"scalar"``, ``"per_gene"``, or ``"released"``: scalars with the random start of the
        authors' code.
    n_genes
        Genes of the panel.
    """

    def __init__(self, kind: str, n_genes: int) -> None:
        super().__init__()
        n = n_genes if kind == "per_gene" else 1
        scale, shift = torch.ones(n), torch.zeros(n)
        if kind == "released":
            scale, shift = torch.randn(1).abs() + 1e-8, torch.randn(1)
        if kind == "fixed":
            self.register_buffer("scale", scale)
            self.register_buffer("shift", shift)
        else:
            self.scale, self.shift = nn.Parameter(scale), nn.Parameter(shift)

    def forward(self, basal: Tensor) -> Tensor:
        """Scale samples × genes."""
        return (basal + self.shift) * self.scale


class ResponseHead(nn.Module):
    """From basal expression, perturbed expression and condition to a response.

    Each has a branch, Linear → norm → ReLU → dropout; the three are joined and pass an MLP.
    """

    def __init__(self, settings: Settings, n_genes: int) -> None:
        super().__init__()
        self.by_sample = settings.norm == "batch"
        width = settings.n_branch
        self.branches = nn.ModuleList(nn.Linear(n_genes, width) for _ in range(3))
        self.after = nn.ModuleList(_after(settings, width) for _ in range(3))
        self.join = nn.Linear(3 * width, settings.head[0])
        layers: list[nn.Module] = [_after(settings, settings.head[0])]
        for before, size in zip(settings.head, settings.head[1:]):
            layers += [nn.Linear(before, size), _after(settings, size)]
        self.layers = nn.Sequential(*layers)
        self.out = nn.Linear(settings.head[-1], 1)

    def forward(self, basal: Tensor, perturbed: Tensor, condition: Tensor, line: Tensor, drug: Tensor) -> Tensor:
        """Respond.

        Parameters
        ----------
        basal, condition
            Lines × genes and drugs × genes.
        perturbed
            Pairs × width: perturbed expression after the weights of its branch, without their bias.
        line, drug
            Positions in `basal` and `condition`, by pair.

        Returns
        -------
        Pairs.
        """
        perturbed = perturbed + self.branches[1].bias
        parts = [self.branches[0](basal), perturbed, self.branches[2](condition)]
        if self.by_sample:  # batch norm counts a line as often as it stands in the batch
            parts = [parts[0][line], parts[1], parts[2][drug]]
            return self._finish(self.join(torch.cat([after(x) for after, x in zip(self.after, parts)], dim=1)))
        parts = [after(x) for after, x in zip(self.after, parts)]
        weights = self.join.weight.split(parts[1].shape[1], dim=1)
        by_line, by_pair, by_drug = (F.linear(x, weight) for x, weight in zip(parts, weights))
        return self._finish(by_line[line] + by_pair + by_drug[drug] + self.join.bias)

    def _finish(self, joined: Tensor) -> Tensor:
        return self.out(self.layers(joined))[:, 0]


def _after(settings: Settings, width: int) -> nn.Sequential:
    norm = nn.BatchNorm1d(width) if settings.norm == "batch" else nn.LayerNorm(width)
    return nn.Sequential(norm, nn.ReLU(), nn.Dropout(settings.dropout))


class CSG2ANetwork(nn.Module):
    """Core, scaling and head, with the scale of its genes and the conditions of the drugs that it knows.

    Parameters
    ----------
    settings
        Shape of the network.
    n_genes
        Genes of the panel.
    n_drugs
        Drugs whose conditions are kept.
    n_features
        Length of a fingerprint.
    edges
        Prior network, 2 × edges, or `None`.
    """

    def __init__(
        self, settings: Settings, n_genes: int, n_drugs: int, *, n_features: int = 0, edges: Tensor | None = None
    ) -> None:
        super().__init__()
        self.settings = settings
        #: Names of the genes.
        self.panel: list[str] = []
        self.core = Core(settings, n_genes, n_features=n_features, edges=edges)
        self.scaling = Scaling(settings.scaling, n_genes)
        self.head = ResponseHead(settings, n_genes)
        #: Column of the reference for each gene of the panel, −1 where it lacks the gene, and how the gene is scaled.
        self.register_buffer("columns", torch.arange(n_genes))
        self.register_buffer("center", torch.zeros(n_genes))
        self.register_buffer("scale", torch.ones(n_genes))
        self.register_buffer("known_conditions", torch.zeros(n_drugs, n_genes))
        #: Mean and deviation of responses; the network works on a scale of one.
        self.register_buffer("response_center", torch.zeros(()))
        self.register_buffer("response_scale", torch.ones(()))

    def basal(self, expression: Tensor) -> Tensor:
        """Robust z scores of the panel (rows × panel) from expression (rows × genes of the reference); 0 where a gene is lacking."""
        z = (expression[:, self.columns.clamp(min=0)].float() - self.center) / self.scale
        z = torch.where(self.columns >= 0, z, 0.0)
        clip = self.settings.clip
        return z.clamp(-clip, clip) if clip else z

    def perturb(self, expression: Tensor, conditions: Tensor) -> Tensor:
        """Basal and perturbed expression of the panel (2 × rows × panel) from expression (rows × genes of the reference)."""
        basal = self.basal(expression)
        parts = zip(basal.split(_CHUNK), conditions.expand_as(basal).split(_CHUNK))
        return torch.stack([basal, torch.cat([self.core(self.scaling(g), c) for g, c in parts])])

    @torch.no_grad()
    def conditions(self, structures: Structures, *, dose: float | None = None, time: float | None = None) -> Tensor:
        """Conditions of structures in evaluation mode; drugs × genes.

        Parameters
        ----------
        structures
            Of the drugs.
        dose, time
            µM and hours; those of the responses if omitted.
        """
        training, device = self.training, self.center.device
        self.eval()
        parts = [torch.zeros(0, len(self.center))]
        for start in range(0, len(structures), _STRUCTURES):
            rows = np.arange(start, min(start + _STRUCTURES, len(structures)))
            inputs, known = structures.inputs(rows, device)
            doses = torch.full((len(rows),), float(self.settings.dose if dose is None else dose), device=device)
            times = torch.full((len(rows),), float(self.settings.time if time is None else time), device=device)
            parts.append(self.core.conditions(inputs, known, doses, times).cpu())
        self.train(training)
        return torch.cat(parts)

    def perturbed_branch(self, basal: Tensor, condition: Tensor) -> Tensor:
        """Perturbed expression after the weights of its branch; pairs × width.

        The last layer of the core and the branch are both linear: their product is one thin layer.
        """
        hidden = self.core.hidden(basal, condition)
        weight, last = self.head.branches[1].weight, self.core.output[-1].weight
        if len(hidden) > 2 * len(weight):
            return F.linear(hidden, weight @ last)
        return F.linear(F.linear(hidden, last), weight)

    def forward(
        self, basal: Tensor, condition: Tensor, line: Tensor, drug: Tensor, perturbed: Tensor | None = None
    ) -> Tensor:
        """Responses of pairs, on the network's scale.

        Parameters
        ----------
        basal, condition
            Lines × genes and drugs × genes.
        line, drug
            Positions in them, by pair.
        perturbed
            Perturbed expression if it is known already; pairs × genes.

        Returns
        -------
        Pairs.
        """
        if perturbed is None:
            branch = self.perturbed_branch(self.scaling(basal)[line], condition[drug])
        else:
            branch = F.linear(perturbed, self.head.branches[1].weight)
        return self.head(basal, branch, condition, line, drug)

    def attention(self, expression: Tensor, condition: Tensor, *, prior: bool = True) -> Tensor:
        """Attention between genes under a condition, averaged over samples; panel × panel."""
        return self.core.attention.mean_matrix(self.scaling(self.basal(expression)), condition, prior=prior)

    def respond(self, expression: Tensor, drugs: Tensor) -> Tensor:
        """Responses in the unit of the reference, of all lines (rows × genes of the reference) to drugs by position; rows × drugs."""
        basal, condition = self.basal(expression), self.known_conditions[drugs]
        return self.grid(basal, condition) * self.response_scale + self.response_center

    def grid(self, basal: Tensor, condition: Tensor) -> Tensor:
        """Responses of all lines to all conditions on the network's scale, a block of pairs at a time; lines × drugs."""
        device, out = basal.device, basal.new_empty(len(basal), len(condition))
        for rows in torch.arange(len(basal)).split(_BLOCK[0]):
            for columns in torch.arange(len(condition)).split(_BLOCK[1]):
                line = torch.arange(len(rows), device=device).repeat_interleave(len(columns))
                drug = torch.arange(len(columns), device=device).repeat(len(rows))
                found = self(basal[rows], condition[columns], line, drug)
                out[rows[:, None], columns] = found.view(len(rows), len(columns))
        return out

    # ------------------------------------------------------------------ files

    def describe(self) -> dict[str, Any]:
        """What :meth:`of` needs beside settings, in JSON types; −1 edges for no prior network."""
        edges = self.core.attention.edges
        return {
            "panel": list(self.panel),
            "n_features": len(self.core.feature_center),
            "n_edges": -1 if edges is None else edges.shape[1],
        }

    @classmethod
    def of(cls, settings: Settings, n_drugs: int, described: dict[str, Any]) -> CSG2ANetwork:
        """A network to load weights into, for what :meth:`describe` returned."""
        if max(settings.encoder_layers, len(settings.head)) > MAX_LAYERS:
            raise ValueError(f"a network of more than {MAX_LAYERS} layers is asked for")
        network = cls(settings, len(described["panel"]), n_drugs, n_features=described["n_features"])
        network.panel = list(described["panel"])
        if described["n_edges"] >= 0:
            network.core.attention.edges = torch.zeros((2, described["n_edges"]), dtype=torch.int64)
        return network

    def check_positions(self, n_genes: int) -> None:
        """Raise unless all positions, as read from a file, lie within a reference of `n_genes` genes and the panel.

        Raises
        ------
        ValueError
            Naming the array.
        """
        if self.columns.numel() and not -1 <= int(self.columns.min()) <= int(self.columns.max()) < n_genes:
            raise ValueError(f"`network.columns` must name positions among {n_genes} genes, or −1")
        edges = self.core.attention.edges
        if edges is not None and edges.numel() and not 0 <= int(edges.min()) <= int(edges.max()) < len(self.columns):
            raise ValueError("`network.core.attention.edges` must name positions of the panel")
