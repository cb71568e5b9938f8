"""Phases of training: the autoencoder, the head on its frozen code, or both together."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from .._batches import TableBatches, TrainingTask
from .._options import PhaseOptions
from .._plan import Critic, Phase, Stopping
from ._inputs import Targets
from ._losses import DomainBatches, Objective
from ._module import make_critic

if TYPE_CHECKING:
    from ._model import PathwayTransfer

#: Validation lines are few: they go through in one batch.
_ALL = 1 << 20
#: Rows that are standardised at once.
_BLOCK = 4096


class Phases:
    """Phases of a model's training.

    Parameters
    ----------
    model
        Model with a fresh module.
    task
        Lines with responses.
    options
        Arguments of `train`.
    cells
        Cells × panel, or `None`.
    targets
        What the head learns.
    """

    def __init__(
        self,
        model: PathwayTransfer,
        task: TrainingTask,
        options: PhaseOptions,
        *,
        cells: np.ndarray | None,
        targets: Targets,
    ) -> None:
        self._model, self._task, self._options, self._targets = model, task, options, targets
        self._settings, self._module = model.settings, model.module
        critic = None
        if self._settings.is_adversarial:
            critic = make_critic(self._module.sizes.n_latent, dropout=self._settings.dropout)
        self._objective = Objective(self._module, self._settings, critic)
        self._critic = None if critic is None else Critic(critic, self._objective.against)
        self._trained = np.flatnonzero(np.isfinite(targets.train).any(axis=1))
        self._checked = np.flatnonzero(np.isfinite(targets.validation).any(axis=1))
        self._batches = DomainBatches(
            self._read(task.expression[self._trained]),
            _tensor(targets.train[self._trained]),
            None if cells is None else self._read(cells),
            options.batch_size,
            generator=options.generator,
            n_passes=1 if self._critic is None else self._critic.steps,
        )

    def of(self, schedule: str) -> list[Phase | Callable[[], Phase]]:
        """Phases of a schedule; those that need the ones before them come as functions."""
        if schedule == "joint":
            return [self.joint]
        return [self.autoencoder(), self.head if schedule == "two_phase" else self.joint]

    def autoencoder(self) -> Phase:
        """Reconstruction without responses."""
        clip = self._settings.clip_autoencoder
        # a critic's score has no lower end, and says nothing of how far the autoencoder is
        monitor = "train_loss" if self._critic is None else "train_reconstruction_loss"
        return Phase(
            self._batches,
            self._objective.autoencoder,
            trained=[self._module.autoencoder],
            clip=((self._module.autoencoder, clip),) if clip else (),
            critic=self._critic,
            name="pretraining",
            **self._common(monitor),
        )

    def joint(self) -> Phase:
        """Autoencoder and head together."""
        rows = self._checked
        validation = None
        if len(rows):
            response = _tensor(self._targets.validation[rows])
            validation = DomainBatches(self._read(self._task.expression[rows]), response, None, _ALL)
        return Phase(
            self._batches,
            self._objective.joint,
            validation=validation,
            validation_loss=self._objective.validation,
            clip=self._clip_head(),
            critic=self._critic,
            **self._common(self._settings.monitor),
        )

    def head(self) -> Phase:
        """Head on the code of the frozen encoder, which is computed once."""
        rows = self._checked
        return Phase(
            self._codes(self._trained, self._targets.train, self._options.batch_size, self._options.generator),
            lambda batch: self._objective.response(batch["code"], batch["response"]),
            trained=[self._module.head],
            validation=self._codes(rows, self._targets.validation, _ALL, None) if len(rows) else None,
            clip=self._clip_head(),
            **self._common(self._settings.monitor),
        )

    def _read(self, expression: np.ndarray) -> torch.Tensor:
        """Standardised genes that the network reads: once for all epochs."""
        values = torch.empty(len(expression), self._module.sizes.n_genes)
        for start in range(0, len(values), _BLOCK):
            values[start : start + _BLOCK] = torch.from_numpy(
                self._model._evaluate(self._module.read, expression[start : start + _BLOCK])
            )
        return values

    def _common(self, monitor: str) -> dict[str, Any]:
        options, settings = self._options, self._settings
        stopping = Stopping(options.patience, settings.min_delta, settings.warm_up, monitor)
        return {
            "max_epochs": options.max_epochs,
            "optimizer": partial(torch.optim.AdamW, lr=options.lr, weight_decay=settings.weight_decay, fused=True),
            "stopping": stopping if options.early_stopping else None,
        }

    def _clip_head(self) -> tuple[tuple[torch.nn.Module, float], ...]:
        return ((self._module.head, self._settings.clip_head),) if self._settings.clip_head else ()

    def _codes(
        self, rows: np.ndarray, response: np.ndarray, batch_size: int, generator: torch.Generator | None
    ) -> TableBatches:
        code = self._model._evaluate(lambda x: self._module.encode(x, "bulk"), self._task.expression[rows])
        tensors = {"code": torch.from_numpy(code), "response": _tensor(response[rows])}
        return TableBatches(tensors, batch_size, generator=generator)


def _tensor(values: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32))
