"""How MTIGCN is trained: what is held out, the phase of the network, and what held-out pairs decide."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch

from .._batches import TrainingTask
from .._options import PhaseOptions
from .._plan import Phase, Stopping
from ._blend import DEFAULT_SLOPES, LOGIT_SLOPES, N_CONTEXTS
from ._build import Built, build
from ._finish import finish, hold_out_each, left_out_predictions
from ._training import GraphBatches, Objective

if TYPE_CHECKING:
    from ._posterior import Posterior
    from ._settings import Settings


class TrainingMixin:
    """Training of the network on the graph, and of the process."""

    if TYPE_CHECKING:
        drugs: pd.DataFrame
        settings: Settings
        predicts: str
        network_shares_: list[float]
        sensitivity_slopes_: list[list[float]]
        _built: Built | None
        _posterior: Posterior | None

    _validates_on_new_drugs = True

    _without_effect = {"batch_size": "each step sees the whole graph. Leave it out."}

    def _training_task(
        self, validation: float | pd.DataFrame | None, *, early_stopping: bool, seed: int
    ) -> TrainingTask:
        if not self.settings.network and self.predicts == "response":
            validation, early_stopping = None, False  # nothing to decide: all responses are fitted
        elif validation is None and early_stopping and self.settings.process:
            _, response = self._training_arrays()
            marked = hold_out_each(np.isfinite(response), self.drugs["smiles"].tolist(), seed=seed)
            if marked.any():
                validation = pd.DataFrame(marked, index=self._training_names(), columns=self.drugs.index)
        return super()._training_task(validation, early_stopping=early_stopping, seed=seed)

    def _make_module(self, task: TrainingTask) -> torch.nn.Module:
        self._posterior = None
        self._built = build(self, task)
        return self._built.module

    def _phases(self, task: TrainingTask, options: PhaseOptions) -> Sequence[Phase | Callable[[], Phase]]:
        built, settings = self._built, self.settings
        assert built is not None
        if not settings.network:
            return []
        assert built.data is not None
        assert built.module.net is not None
        objective = Objective(built.module.net, settings)

        def optimizer(parameters: list[torch.nn.Parameter]) -> torch.optim.Optimizer:
            kind = torch.optim.AdamW if settings.decoupled else torch.optim.Adam
            return kind(parameters, lr=options.lr, weight_decay=settings.weight_decay)

        held_out = built.held_out_data(task)
        return [
            Phase(
                batches=GraphBatches(
                    built.data,
                    edge_dropout=settings.edge_dropout,
                    node_dropout=settings.node_dropout,
                    generator=options.generator,
                ),
                loss=objective,
                max_epochs=options.max_epochs,
                validation=None if held_out is None else GraphBatches(held_out, steps=1),
                validation_loss=objective.validation,
                stopping=Stopping(patience=options.patience) if options.early_stopping else None,
                optimizer=optimizer,
            )
        ]

    def _finish_training(self, expression: np.ndarray, response: np.ndarray) -> None:
        assert self._built is not None
        neutral = [0.0, 1.0][int(not self.settings.process)]
        self.network_shares_ = [neutral] * N_CONTEXTS
        slopes = DEFAULT_SLOPES if self.settings.process else LOGIT_SLOPES
        self.sensitivity_slopes_ = [list(slopes)] * N_CONTEXTS
        finish(self, self._built, expression, response)
        super()._finish_training(expression, response)
        self._built = None  # it holds the training data

    def _reference_predictions(self, expression: np.ndarray, response: np.ndarray) -> tuple[np.ndarray, bool]:
        assert self._built is not None
        return left_out_predictions(self, self._built, expression)
