"""How CSG2A is trained on responses: what is held out, phases, and the share of the network."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch

from ..._validate import examples
from .._batches import TrainingTask, hold_out
from .._options import PhaseOptions
from .._plan import Phase, Stopping
from ._blend import DEFAULT_SHARES, choose_shares, kinds_of, mixed_hold_out
from ._kernel_path import KernelPath
from ._module import CSG2ANetwork
from ._structures import Structures
from ._training import (
    GridBatches,
    PairLoss,
    drug_conditions,
    frozen_parts,
    optimizer_of,
    schedule_of,
    table_batches,
)


class TrainingMixin:
    """Training on responses."""

    @property
    def _max_epochs(self) -> int:  # type: ignore[override]
        return self.settings.max_epochs

    @property
    def _batch_size(self) -> int:  # type: ignore[override]
        return self.settings.batch_size

    @property
    def _lr(self) -> float:  # type: ignore[override]
        return self.settings.lr

    @property
    def _patience(self) -> int:  # type: ignore[override]
        return self.settings.patience

    def _training_task(
        self, validation: float | pd.DataFrame | None, *, early_stopping: bool, seed: int
    ) -> TrainingTask:
        self._shares = None
        expression, response = self._training_arrays()
        names = self._training_names()
        self._structures = Structures.read(list(self.drugs["smiles"]), self.settings.encoder)
        self._warn_structures()
        share = self._validation_share if validation is None and early_stopping else validation
        table = pd.DataFrame(response, index=names, columns=self.drugs.index)
        if self.settings.kernel_path and isinstance(share, int | float):
            marked = mixed_hold_out(response, share, structures=self._structures.canonical, seed=seed)
        else:
            marked = hold_out(table, share, pairs=True, seed=seed)
        return TrainingTask(expression, response, marked, np.asarray(names, dtype=object))

    def _warn_structures(self) -> None:
        assert self._structures is not None
        unknown = self.drugs["name"][~self._structures.known]
        if len(unknown):
            warnings.warn(
                f"{len(unknown)} of {len(self.drugs)} drugs have no structure that can be read: {examples(unknown)}. The "
                "network sees zeros for them, and cannot tell them apart. Add SMILES to `adata.uns['drugs']`.",
                stacklevel=5,
            )

    def _make_module(self, task: TrainingTask) -> CSG2ANetwork:
        assert self._structures is not None
        self._panel = self._panel_for(task.expression, task.train_rows)
        network = self._new_network(self._panel, task.response.shape[1], self._structures.n_features)
        trained = np.isfinite(task.train_response)
        if self.settings.standardize:
            network.response_center.fill_(float(task.train_response[trained].mean()))
            network.response_scale.fill_(max(float(task.train_response[trained].std()), 1e-6))
        if self._core is None and self._structures.features is not None and self.settings.encoder == "minimol":
            rows = self._structures.features[self._structures.known & trained.any(axis=0)]
            if len(rows) > 1:
                network.core.feature_center.copy_(torch.from_numpy(rows.mean(axis=0)))
                network.core.feature_scale.copy_(torch.from_numpy(np.maximum(rows.std(axis=0), 1e-3)))
        self._network_inputs = self._panel.transform(task.expression)
        return network

    def _phases(self, task: TrainingTask, options: PhaseOptions) -> Sequence[Phase | Callable[[], Phase]]:
        self._task = task
        if not self.settings.network:
            self._shares = dict.fromkeys(DEFAULT_SHARES, 0.0)
            self._chosen_epoch = None
            return []
        first = self._phase(task, options, options.max_epochs)
        if not (self.settings.kernel_path and self.settings.refit and task.has_validation):
            return [first]

        def again() -> Phase:
            self._shares = self._choose_shares(task)
            self._chosen_epoch = self.best_epoch_
            everything = TrainingTask(task.expression, task.response, np.zeros_like(task.validation), task.lines)
            torch.manual_seed(options.seed)
            self.module = self._make_module(everything)
            epochs = options.max_epochs if self.best_epoch_ is None else self.best_epoch_ + 1
            return self._phase(everything, options, epochs, name="refit")

        return [first, again]

    def _phase(self, task: TrainingTask, options: PhaseOptions, epochs: int, name: str = "") -> Phase:
        """Training on the responses of a task that are not held out."""
        assert isinstance(self.module, CSG2ANetwork)
        assert self._structures is not None
        trained, frozen = frozen_parts(self.module, self._frozen)
        loss = PairLoss(self.module, self._network_inputs, self._structures, self.settings, frozen=frozen)
        response = torch.from_numpy(task.train_response.astype(np.float32))
        if self.settings.norm == "layer":
            batches: Any = GridBatches(response, options.batch_size, generator=options.generator)
        else:
            batches = table_batches(response, options.batch_size, generator=options.generator)
        held = torch.from_numpy(task.validation_response.astype(np.float32))
        return Phase(
            batches=batches,
            loss=loss,
            max_epochs=epochs,
            trained=trained,
            validation=table_batches(held, max(options.batch_size, 1024)) if task.has_validation else None,
            stopping=Stopping(patience=options.patience) if options.early_stopping and task.has_validation else None,
            optimizer=optimizer_of(self.settings, options.lr),
            schedule=schedule_of(self.settings, options.lr),
            name=name,
        )

    # ------------------------------------------------------------------ kernel path

    @property
    def _drug_kernel(self) -> str:
        return "mean" if self.settings.encoder == "minimol" else "tanimoto"

    def _choose_shares(self, task: TrainingTask) -> dict[str, float]:
        """Share of the network for known and for new lines, by the responses that were held out."""
        trained = np.isfinite(task.train_response)
        rows = trained.any(axis=1)
        path = KernelPath.fit(task.expression[rows], task.train_response[rows])
        held = np.flatnonzero(task.validation.any(axis=1))
        drugs = np.arange(trained.shape[1])
        kernel = path.predict(task.expression[held], drugs, np.where(rows, np.cumsum(rows) - 1, -1)[held])
        self._keep_conditions()
        network = self._network_rows(task.expression[held], drugs)
        kinds = {kind: mask[held] for kind, mask in kinds_of(task.validation, trained).items()}
        return choose_shares(kernel, network, task.response[held], kinds)

    def _finish_training(self, expression: np.ndarray, response: np.ndarray) -> None:
        task = self._task
        if self.settings.kernel_path:
            if self._shares is None:
                self._shares = self._choose_shares(task) if task.has_validation else dict(DEFAULT_SHARES)
            else:
                self.best_epoch_ = self._chosen_epoch
            used = response if self.settings.refit else task.train_response
            rows = np.isfinite(used).any(axis=1)
            self._kernel = KernelPath.fit(
                expression[rows], used[rows], smiles=list(self.drugs["smiles"]), drug_kernel=self._drug_kernel
            )
            self._lines = {str(name): row for row, name in enumerate(task.lines[rows])}
        self._keep_conditions()
        self.history_ = {**self.pretrain_history_, **self.history_}
        self._task, self._network_inputs = None, None
        super()._finish_training(expression, response)
        if self._kernel is not None:
            self._kernel.arrays.pop("left_out", None)

    def _keep_conditions(self) -> None:
        assert isinstance(self.module, CSG2ANetwork)
        assert self._structures is not None
        found = drug_conditions(self.module, self._structures, self.settings)
        self.module.known_conditions = found.to(self.module.known_conditions.device)

    def _reference_predictions(self, expression: np.ndarray, response: np.ndarray) -> tuple[np.ndarray, bool]:
        drugs = np.arange(response.shape[1])
        if self._kernel is None or len(self._kernel.arrays["left_out"]) != len(expression):
            return self._predict_rows(expression, drugs).astype(np.float64), False
        left_out, share = self._kernel.arrays["left_out"], self._shares["line"]
        return left_out + share * (self._network_rows(expression, drugs) - left_out), False
