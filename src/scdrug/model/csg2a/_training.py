"""What a network is made from, and how it is trained on responses: batches of pairs, their loss, and the phase."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from .._batches import TableBatches, TrainingTask
from .._options import PhaseOptions
from .._plan import Phase, Stopping
from ._module import CSG2ANetwork
from ._panel import Panel, choose_panel, prior_edges
from ._perturb import PretrainedCore, Profiles, read_core
from ._settings import Settings, settings_of
from ._structures import Structures

#: Largest table of perturbed profiles that is kept, in bytes.
_MOST_KEPT = 1_000_000_000


@dataclass(frozen=True, eq=False)
class Blueprint:
    """What a network is made from, see :class:`~scdrug.model.CSG2A`."""

    settings: Settings
    genes: str | Sequence[str]
    n_genes: int
    ppi: Any
    pretrained_drugs: str | None = None
    #: A pretrained core, which brings panel and prior network.
    core: PretrainedCore | None = None

    @classmethod
    def of(
        cls, preset: str, settings: Mapping[str, Any] | None, changes: Mapping[str, Any], *, genes: Any, n_genes: int, ppi: Any,
        pretrained_drugs: str | os.PathLike[str] | None, core: str | os.PathLike[str] | None,
    ) -> Blueprint:  # fmt: skip
        """From the arguments of the constructor; `changes` are settings that have arguments of their own."""
        own = preset == "default"
        return cls(
            settings_of(preset, {**(settings or {}), **changes}),
            ("auto" if own else "landmarks") if genes is None else genes,
            n_genes,
            ("none" if own else "string") if ppi is None else os.fspath(ppi) if isinstance(ppi, os.PathLike) else ppi,
            None if pretrained_drugs is None else os.fspath(pretrained_drugs),
            None if core is None else read_core(core),
        )

    def __post_init__(self) -> None:
        if self.pretrained_drugs is not None and self.settings.encoder != "mat":
            raise ValueError(
                f"`pretrained_drugs` are weights for drug_features='mat'; this model has {self.settings.encoder!r}."
            )
        if self.n_genes < 2:
            raise ValueError(f"`n_genes` must be 2 or more; found {self.n_genes}.")

    def panel(self, genes: Sequence[str], expression: np.ndarray, rows: np.ndarray) -> Panel:
        """Genes to read of a reference, and their scale over the lines that may be looked at."""
        if self.core is not None:
            return self.core.panel_in(genes, expression[rows])
        return choose_panel(genes, expression, rows, wanted=self.genes, n_genes=self.n_genes)

    def network(self, panel: Panel, n_drugs: int, n_features: int) -> CSG2ANetwork:
        """A fresh network, with the pretrained core if there is one."""
        if self.core is not None:
            self.core.check(self.settings, n_features)
            edges = self.core.edges
        else:
            found = prior_edges(self.ppi, panel.genes)
            edges = None if found is None else torch.from_numpy(found)
        network = CSG2ANetwork(self.settings, len(panel.genes), n_drugs, n_features=n_features, edges=edges)
        network.panel = list(panel.genes)
        for name in ("columns", "center", "scale"):
            getattr(network, name).copy_(torch.from_numpy(getattr(panel, name)))
        if self.core is not None:
            network.core.load_state_dict(self.core.state)
        elif self.pretrained_drugs is not None:
            network.core.encoder.load_file(self.pretrained_drugs)
        return network

    def for_responses(self, genes: Sequence[str], task: TrainingTask, structures: Structures) -> CSG2ANetwork:
        """A fresh network for responses, its scales fitted to those of training."""
        panel = self.panel(genes, task.expression, task.train_rows)
        network = self.network(panel, task.response.shape[1], structures.n_features)
        trained = np.isfinite(task.train_response)
        if self.settings.standardize:
            values = task.train_response[trained]
            network.response_center.fill_(float(values.mean()))
            network.response_scale.fill_(max(float(values.std()), 1e-6))
        if self.core is None:
            self._scale_fingerprints(network, structures, structures.known & trained.any(axis=0))
        return network

    def for_profiles(self, panel: Panel, profiles: Profiles) -> CSG2ANetwork:
        """A fresh network for perturbed profiles, without drugs of its own."""
        network = self.network(panel, 0, profiles.structures.n_features)
        self._scale_fingerprints(network, profiles.structures, profiles.trained_structures)
        return network

    def _scale_fingerprints(self, network: CSG2ANetwork, structures: Structures, rows: np.ndarray) -> None:
        """Scale pretrained fingerprints by those of training (bool)."""
        if self.settings.encoder == "minimol" and rows.sum() > 1:
            values = structures.features[rows]  # type: ignore[index]
            network.core.feature_center.copy_(torch.from_numpy(values.mean(axis=0)))
            network.core.feature_scale.copy_(torch.from_numpy(np.maximum(values.std(axis=0), 1e-3)))

    @property
    def freeze(self) -> str:
        """What happens to the core in training on responses: ``"frozen"``, ``"released"`` or ``"none"``."""
        wanted = self.settings.freeze
        if self.core is None:
            return "frozen" if wanted == "frozen" else "none"
        return "frozen" if wanted == "auto" else wanted

    @property
    def drug_kernel(self) -> str:
        """By what a prior compares structures: by MiniMol too where the network reads it."""
        return "mean" if self.settings.encoder == "minimol" else "tanimoto"

    def in_plain_types(self, params: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
        """The arguments of the constructor, as scvi-tools groups them, in a form that a file can hold.

        Weights and edges stand in the file of the model; to train it anew they have to be given again.
        """
        plain = {
            "genes": self.genes if isinstance(self.genes, str) else [str(gene) for gene in self.genes],
            "ppi": "(table)" if isinstance(self.ppi, pd.DataFrame) else self.ppi,
            "pretrained_drugs": None if self.pretrained_drugs is None else "(file)",
            "core": None,
        }
        found = {
            group: {**arguments, **{k: plain[k] for k in arguments if k in plain}}
            for group, arguments in params.items()
        }
        for arguments in found.values():
            if isinstance(arguments.get("settings"), Mapping):
                arguments["settings"] = dict(arguments["settings"])
        return found


class GridBatches:
    """Pairs in blocks of lines × drugs, so that what belongs to a line or a drug is computed once per block.

    Parameters
    ----------
    response
        Lines × drugs, NaN for pairs that are left out.
    n_pairs
        About how many pairs a block has.
    generator
        Shuffles lines and drugs anew for each epoch.
    n_drugs
        Drugs a block.
    """

    def __init__(self, response: Tensor, n_pairs: int, *, generator: torch.Generator, n_drugs: int = 64) -> None:
        self.response, self.generator = response, generator
        measured = torch.isfinite(response)
        self.lines = torch.nonzero(measured.any(1))[:, 0]
        self.drugs = torch.nonzero(measured.any(0))[:, 0]
        share = float(measured[self.lines][:, self.drugs].float().mean())
        n_drugs = min(n_drugs, len(self.drugs))
        self._parts_drugs = -(-len(self.drugs) // n_drugs)
        self._parts_lines = -(-len(self.lines) // max(int(n_pairs / (n_drugs * share)), 2))

    def __len__(self) -> int:
        return self._parts_lines * self._parts_drugs

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        def shuffle(items: Tensor, parts: int) -> tuple[Tensor, ...]:
            return items[torch.randperm(len(items), generator=self.generator)].tensor_split(parts)

        lines = shuffle(self.lines, self._parts_lines)
        drugs = shuffle(self.drugs, self._parts_drugs)
        for number in torch.randperm(len(self), generator=self.generator).tolist():
            rows, columns = lines[number // self._parts_drugs], drugs[number % self._parts_drugs]
            block = self.response[rows[:, None], columns]
            row, column = torch.nonzero(torch.isfinite(block), as_tuple=True)
            if len(row):
                yield {"line": rows[row], "drug": columns[column], "y": block[row, column]}


def table_batches(response: Tensor, n_pairs: int, *, generator: torch.Generator | None = None) -> TableBatches:
    """Pairs in random order, as published, or in the order of the table."""
    line, drug = torch.nonzero(torch.isfinite(response), as_tuple=True)
    return TableBatches({"line": line, "drug": drug, "y": response[line, drug]}, n_pairs, generator=generator)


class PairLoss:
    """Squared error of the responses of pairs.

    Parameters
    ----------
    network
        What is trained.
    basal
        Lines × genes, z scores.
    structures
        Of the drugs.
    settings
        Of the network.
    frozen
        Whether the core stays as it is: conditions, and with fixed scaling perturbed profiles too, are then computed once.
    """

    def __init__(
        self, network: CSG2ANetwork, basal: Tensor, structures: Structures, settings: Settings, *, frozen: bool
    ) -> None:
        self.network, self.settings, self.structures = network, settings, structures
        self.basal = basal
        self.conditions = network.conditions(structures) if frozen else None
        self.perturbed: Tensor | None = None
        if frozen and settings.scaling == "fixed":
            self.perturbed = _perturbed_table(network, self.basal, self.conditions)

    def __call__(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Loss of a batch with `line`, `drug` and `y`."""
        device, rows = batch["y"].device, batch["line"].cpu()
        drugs, drug = torch.unique(batch["drug"], return_inverse=True)
        lines, line = torch.unique(rows, return_inverse=True)
        condition = self._conditions(drugs.cpu(), device)
        if self.settings.norm == "batch" and self.conditions is None:
            condition, drug = self._by_pair(condition, drug)
        elif self.conditions is None:
            condition = self._encode(condition, drugs)
        kept = None
        if self.perturbed is not None:
            kept = self.perturbed[rows, batch["drug"].cpu()].to(device, torch.float32)
        found = self.network(self.basal[lines].to(device), condition, line.to(device), drug, kept)
        target = (batch["y"] - self.network.response_center) / self.network.response_scale
        return {"loss": (found - target).square().mean(), "n": torch.tensor(len(target))}

    def _conditions(self, drugs: Tensor, device: torch.device) -> Tensor:
        """Conditions where they are known, else vectors of structures."""
        if self.conditions is not None:
            return self.conditions[drugs].to(device)
        inputs, known = self.structures.inputs(drugs.numpy(), device)
        return self.network.core.structures(inputs, known)

    def _by_pair(self, structures: Tensor, drug: Tensor) -> tuple[Tensor, Tensor]:
        """Conditions pair by pair, so that batch norm counts a drug as often as it stands in the batch."""
        return self._encode(structures[drug], drug), torch.arange(len(drug), device=drug.device)

    def _encode(self, structures: Tensor, like: Tensor) -> Tensor:
        dose = torch.full((len(structures),), self.settings.dose, device=like.device)
        return self.network.core.condition(structures, dose, torch.full_like(dose, self.settings.time))


@torch.no_grad()
def _perturbed_table(network: CSG2ANetwork, basal: Tensor, conditions: Tensor) -> Tensor | None:
    """Perturbed expression of every pair (lines × drugs × genes, half precision), unless that is too large."""
    if 2 * len(basal) * len(conditions) * basal.shape[1] > _MOST_KEPT:
        return None
    network.eval()
    table = torch.empty(len(basal), len(conditions), basal.shape[1], dtype=torch.float16)
    scaled = network.scaling(basal)
    for row in range(len(basal)):
        table[row] = network.core(scaled[row].expand(len(conditions), -1), conditions)
    return table


def optimizer_of(settings: Settings, lr: float) -> Any:
    """Function that makes the optimiser of some parameters."""
    kind = torch.optim.Adam if settings.coupled_decay else torch.optim.AdamW
    return lambda parameters: kind(parameters, lr=lr, weight_decay=settings.weight_decay)


def schedule_of(settings: Settings, lr: float) -> Any:
    """Function that makes the schedule: a cosine over the first epochs, constant after it; `None` for a constant rate."""
    if not settings.cosine_epochs:
        return None
    low = min(settings.final_lr / lr, 1.0)

    def factor(epoch: int) -> float:
        done = min(epoch / settings.cosine_epochs, 1.0)
        return low + (1 - low) * (1 + np.cos(np.pi * done)) / 2

    return lambda optimizer: torch.optim.lr_scheduler.LambdaLR(optimizer, factor)


def frozen_parts(network: CSG2ANetwork, freeze: str) -> tuple[list[nn.Module] | None, bool]:
    """Which parts are trained (`None`: all), and whether the core is in evaluation mode."""
    network.core.requires_grad_(freeze == "none")
    if freeze == "frozen":
        return [network.scaling, network.head], True
    return None, False


def response_phase(
    network: CSG2ANetwork, task: TrainingTask, structures: Structures, freeze: str, options: PhaseOptions
) -> Phase:
    """Training on the responses of a task that are not held out, until those that stop it improve no more."""
    settings = network.settings
    trained, frozen = frozen_parts(network, freeze)
    with torch.no_grad():
        basal = network.basal(torch.from_numpy(task.expression))
    response = torch.from_numpy(task.train_response.astype(np.float32))
    held = torch.from_numpy(task.validation_response.astype(np.float32))
    make = GridBatches if settings.norm == "layer" else table_batches
    return Phase(
        batches=make(response, options.batch_size, generator=options.generator),
        loss=PairLoss(network, basal, structures, settings, frozen=frozen),
        max_epochs=options.max_epochs,
        trained=trained,
        validation=table_batches(held, max(options.batch_size, 1024)) if task.has_validation else None,
        stopping=Stopping(patience=options.patience) if options.early_stopping and task.has_validation else None,
        optimizer=optimizer_of(settings, options.lr),
        schedule=schedule_of(settings, options.lr),
    )
