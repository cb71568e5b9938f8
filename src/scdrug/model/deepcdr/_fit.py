"""How DeepCDR is trained: what is held out, the phase of the network, its share, and the process on all responses."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch

from .._batches import TableBatches, TrainingTask
from .._options import PhaseOptions
from .._plan import Phase, Stopping
from ._build import Built, build
from ._crossfit import N_CONTEXTS
from ._drugs import readable
from ._posterior import Posterior
from ._training import PairLoss, hold_out_each, network_weights, pair_tensors

if TYPE_CHECKING:
    from ._presets import Settings


class TrainingMixin:
    """Training of the network on what the process leaves."""

    if TYPE_CHECKING:
        drugs: pd.DataFrame
        module: torch.nn.Module
        settings: Settings
        task: str
        network_weights_: list[float]
        posterior: Posterior
        _built: Built | None
        _posterior: Posterior | None
        _pretrained_drugs: str | os.PathLike[str] | None

    _validates_on_new_drugs = True

    def _training_task(
        self, validation: float | pd.DataFrame | None, *, early_stopping: bool, seed: int
    ) -> TrainingTask:
        if not self.settings.network:
            validation, early_stopping = None, False  # nothing to stop: all responses are fitted
        elif validation is None and early_stopping and self.settings.offset == "process":
            _, response = self._training_arrays()
            marked = hold_out_each(np.isfinite(response), readable(self.drugs["smiles"].tolist())[1], seed=seed)
            validation = pd.DataFrame(marked, index=self._training_names(), columns=self.drugs.index)
        return super()._training_task(validation, early_stopping=early_stopping, seed=seed)

    def _make_module(self, task: TrainingTask) -> torch.nn.Module:
        self._posterior = None
        self._built = build(self, task, pretrained_drugs=self._pretrained_drugs)
        return self._built.module

    def _phases(self, task: TrainingTask, options: PhaseOptions) -> Sequence[Phase | Callable[[], Phase]]:
        assert self._built is not None
        if not self.settings.network:
            return []
        self._built.validation = pair_tensors(task.validation_response, trained=task.train_response)
        loss = self._loss()
        training = pair_tensors(task.train_response, trained=task.train_response)
        return [
            Phase(
                batches=TableBatches(training, options.batch_size, generator=options.generator),
                loss=loss,
                max_epochs=options.max_epochs,
                validation=TableBatches(self._built.validation, 1 << 14) if task.has_validation else None,
                stopping=Stopping(patience=options.patience) if options.early_stopping else None,
                lr=options.lr,
                weight_decay=self.settings.weight_decay,
            )
        ]

    def _training_inputs(self, task: TrainingTask) -> dict[str, Any]:
        assert self._built is not None
        return super()._training_inputs(task) | {"features of the lines": self._built.features}  # type: ignore[misc]

    def _loss(self) -> PairLoss:
        assert self._built is not None
        contexts = self.settings.offset == "process" or self.settings.identities
        classification = self.task == "classification"
        return PairLoss(self.module.net, self._built.data, classification=classification, contexts=contexts)

    def _finish_training(self, expression: np.ndarray, response: np.ndarray) -> None:
        assert self._built is not None
        self.network_weights_ = [float(self.settings.network)] * N_CONTEXTS
        if self.settings.network and self.settings.offset == "process" and len(self._built.validation["line"]):
            device = next(self.module.parameters()).device
            batches = TableBatches({k: v.to(device) for k, v in self._built.validation.items()}, 1 << 14)
            self.network_weights_ = network_weights(self._loss(), list(batches))
        self._posterior = Posterior.fit(self, self._built, response)
        super()._finish_training(expression, response)
        self._built = None  # it holds the training data

    def _reference_predictions(self, expression: np.ndarray, response: np.ndarray) -> tuple[np.ndarray, bool]:
        assert self._built is not None
        return self.posterior.for_lines_left_out(self._built), False
