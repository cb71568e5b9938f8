"""How PathwayTransfer is trained: cells beside the lines, phases, and what is read from the network at the end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ..._arguments import checked
from ...pp._domains import BULK, CELLS
from .._network import _given, check_devices
from ._cells import harmonized_cells
from ._phases import Phases
from ._training import make_module, set_gate, summarise_codes

if TYPE_CHECKING:
    from anndata import AnnData

    from .._batches import TrainingTask
    from .._network import TrainOptions
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

    @checked
    def train(
        self,
        max_epochs: int | None = None,
        *,
        cells: AnnData | None = None,
        cells_layer: str | None = None,
        cells_scale: str = "auto",
        cells_method: str = "quantile",
        accelerator: str = "auto",
        devices: int | str | list[int] = 1,
        batch_size: int | None = None,
        early_stopping: bool = True,
        validation: float | pd.DataFrame | None = None,
        patience: int | None = None,
        lr: float | None = None,
        seed: int = 0,
    ) -> None:
        """Train the network from scratch.

        Parameters
        ----------
        max_epochs
            Most epochs of each phase.
        cells
            Unlabelled cells to learn from, raw; they are harmonized as :func:`scdrug.tl.predict_response` does by default. For
            other ways, join them with :func:`scdrug.pp.join_domains` before. New cells are predicted without training
            again.
        cells_layer, cells_scale, cells_method
            Layer of `cells` to read, its scale, and how cells are brought onto the scale of the lines, see
            :func:`scdrug.pp.harmonize`; ``cells_method="none"`` takes cells that were harmonized already.
        accelerator, devices
            Where to train, as scvi-tools takes them: ``"auto"``, ``"cpu"``, ``"gpu"``, ….
        batch_size
            Lines a step; as many cells go with them.
        early_stopping
            Stop when the loss on validation responses has not improved for `patience` epochs, and keep the best epoch.
        validation
            Responses that are held out of the loss and decide when to stop: a share of lines to draw, or a boolean DataFrame
            of lines × drug ids. If omitted, a tenth of the lines is drawn when `early_stopping` is on.
        patience
            Epochs without improvement before training stops.
        lr
            Learning rate.
        seed
            Seed of the weights, the order of batches, dropout and the drawn validation lines. The caller's random
            state is left as it was.

        Raises
        ------
        ValueError, TypeError, KeyError
            If there are too few lines or only one class, cells are needed and missing, or data do not fit; the message
            says where.
        RuntimeError
            If the model was loaded without its reference, or training diverges.

        Warns
        -----
        UserWarning
            If there are no cells, or drugs that have too few lines, or lines of one class only.
        """
        check_devices(accelerator, devices)
        if self.settings.monitor == "train_loss" and validation is None:
            validation = 0.0
        if self.adata is not None:
            bulk = self._bulk_rows()
            self._cells = harmonized_cells(self, bulk, cells, method=cells_method, layer=cells_layer, scale=cells_scale)
            self.n_cells_ = 0 if self._cells is None else len(self._cells)
            self.domain = BULK if self._cells is None else CELLS
        try:
            self._train(
                _given(max_epochs=max_epochs, batch_size=batch_size, lr=lr, patience=patience),
                accelerator=accelerator,
                devices=devices,
                early_stopping=early_stopping,
                validation=validation,
                seed=seed,
            )
        finally:
            self._cells = None  # the model keeps no data

    _cells: np.ndarray | None = None

    def _make_module(self, task: TrainingTask) -> PathwayModule:
        module, self.pathways_, self._targets = make_module(self, task, self._cells)
        return module

    def _phases(self, task: TrainingTask, options: TrainOptions) -> list[Any]:
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
