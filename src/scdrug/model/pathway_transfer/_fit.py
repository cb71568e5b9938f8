"""How PathwayTransfer is trained: cells beside the lines, phases, and what is read from the network at the end."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ...pp._domains import BULK, CELLS
from ._cells import CellSource, harmonized_cells
from ._phases import Phases
from ._training import make_module, set_gate, summarise_codes

if TYPE_CHECKING:
    from anndata import AnnData

    from .._batches import TrainingTask
    from .._options import PhaseOptions, TrainOptions
    from ._module import PathwayModule
    from ._settings import Settings


class TrainingMixin:
    """Training on lines and cells."""

    if TYPE_CHECKING:
        adata: AnnData | None
        module: PathwayModule
        settings: Settings
        n_cells_: int
        domain: str
        pathways_: list[str]
        pathway_table_: pd.DataFrame | None
        _cell_source: CellSource
        _cells: np.ndarray | None

    def _fit_to(self, options: TrainOptions) -> None:
        if self.settings.monitor == "train_loss" and options.validation is None:
            options = replace(options, validation=0.0)
        if self.adata is not None:
            self._cells = harmonized_cells(self, self._bulk_rows(), self._cell_source)
            self.n_cells_ = 0 if self._cells is None else len(self._cells)
            self.domain = BULK if self._cells is None else CELLS
        try:
            super()._fit_to(options)  # type: ignore[misc]
        finally:
            self._cells = None
        self._cell_source = replace(self._cell_source, cells=None, released=self._cell_source.cells is not None)

    def _training_inputs(self, task: TrainingTask) -> dict[str, Any]:
        cells = {} if self._cells is None else {"cells": self._cells}
        return super()._training_inputs(task) | cells  # type: ignore[misc]

    def _make_module(self, task: TrainingTask) -> PathwayModule:
        module, self.pathways_, self._targets = make_module(self, task, self._cells)
        return module

    def _phases(self, task: TrainingTask, options: PhaseOptions) -> list[Any]:
        self._task = task
        phases = Phases(self, task, options, cells=self._cells, targets=self._targets)
        self._cells = None  # the phases hold what of them is read
        return list(phases.of(self.settings.schedule))

    def _finish_training(self, expression: np.ndarray, response: np.ndarray) -> None:
        if self.module.sizes.linear:
            set_gate(self, self._task)
        del self._targets, self._task
        self.pathway_table_ = summarise_codes(self, expression)
        super()._finish_training(expression, response)
