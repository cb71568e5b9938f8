"""Batches of pairs and their loss."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from .._batches import TableBatches
from ._module import CSG2ANetwork
from ._settings import Settings
from ._structures import Structures

#: Largest table of perturbed profiles that is kept, in bytes.
_MOST_KEPT = 1_000_000_000


class GridBatches:
    """Pairs in blocks of lines × drugs, so that what belongs to a line or a drug is computed once a block.

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
        self, network: CSG2ANetwork, basal: np.ndarray, structures: Structures, settings: Settings, *, frozen: bool
    ) -> None:
        self.network, self.settings, self.structures = network, settings, structures
        self.basal = torch.from_numpy(basal)
        self.conditions = drug_conditions(network, structures, settings) if frozen else None
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
def drug_conditions(
    network: CSG2ANetwork,
    structures: Structures,
    settings: Settings,
    *,
    dose: float | None = None,
    time: float | None = None,
) -> Tensor:
    """Conditions of drugs in evaluation mode; drugs × genes.

    Parameters
    ----------
    network
        Trained network.
    structures
        Of the drugs.
    settings
        Dose and time, unless given.
    dose, time
        µM and hours.
    """
    training = network.training
    network.eval()
    device = next(network.parameters()).device
    parts = []
    for rows in np.array_split(np.arange(len(structures)), -(-max(len(structures), 1) // 32)):
        if len(rows):
            inputs, known = structures.inputs(rows, device)
            doses = torch.full((len(rows),), float(settings.dose if dose is None else dose), device=device)
            times = torch.full((len(rows),), float(settings.time if time is None else time), device=device)
            parts.append(network.core.conditions(inputs, known, doses, times))
    network.train(training)
    return torch.cat(parts).cpu()


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
