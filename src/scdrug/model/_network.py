"""Base of models that are trained by gradient descent."""

from __future__ import annotations

import logging
from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from .._arguments import checked
from ._base import DrugResponseModel, run_phase
from ._batches import TrainingTask, hold_out
from ._plan import Phase, seeded

if TYPE_CHECKING:
    from anndata import AnnData

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainOptions:
    """Arguments of `train` with the model's defaults filled in, for :meth:`NetworkModel._phases`."""

    max_epochs: int
    batch_size: int
    lr: float
    patience: int
    early_stopping: bool
    seed: int
    #: Source of the order of batches.
    generator: torch.Generator


class NetworkModel(DrugResponseModel):
    """Base of models that are trained in epochs and stop on validation responses.

    A subclass brings :meth:`_make_module`, :meth:`_phases` and `_predict_rows`, its defaults, and a card with
    ``validates=True``; it inherits `train`, the split into training and validation, seeds, the best state, and files.
    """

    #: Defaults of `train`.
    _max_epochs: int = 200
    _batch_size: int = 128
    _lr: float = 1e-3
    _patience: int = 20
    #: Share that is held out when early stopping is on and the caller names no validation responses.
    _validation_share: float = 0.1
    #: Whether validation may hold out all responses of a drug, for models that learn from structures.
    _validates_on_new_drugs: bool = False

    def __init__(self, adata: AnnData | None = None, registry: dict[str, Any] | None = None) -> None:
        super().__init__(adata, registry)
        self.module = nn.Module()  # made by training or loading, when all sizes are known
        self.best_epoch_: int | None = None

    # ------------------------------------------------------------------ what a subclass brings

    @abstractmethod
    def _make_module(self, task: TrainingTask) -> nn.Module:
        """Return a fresh network for a task; weights are drawn from torch's generator, which is seeded."""

    @abstractmethod
    def _phases(self, task: TrainingTask, options: TrainOptions) -> Sequence[Phase | Callable[[], Phase]]:
        """Return the phases of training `self.module`; a function is called when the phases before it are done."""

    # ------------------------------------------------------------------ training

    @checked
    def train(
        self,
        max_epochs: int | None = None,
        *,
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
        accelerator, devices
            Where to train, as scvi-tools takes them: ``"auto"``, ``"cpu"``, ``"gpu"``, ….
        batch_size
            Rows a step.
        early_stopping
            Stop when the loss on validation responses has not improved for `patience` epochs, and keep the best epoch.
        validation
            Responses that are held out of the loss and decide when to stop: a share of lines to draw (of pairs, for
            models that complete pairs), or a boolean DataFrame of lines × drug ids. If omitted, a tenth is drawn when
            `early_stopping` is on, and nothing is held out when it is off.
        patience
            Epochs without improvement before training stops.
        lr
            Learning rate.
        seed
            Seed of the weights, the order of batches, dropout and the drawn validation responses. The caller's random
            state is left as it was.

        Raises
        ------
        ValueError, TypeError, KeyError
            If `validation` does not fit the reference; the message says where.
        RuntimeError
            If the model was loaded without its reference, or training diverges.
        """
        self._train(
            _given(max_epochs=max_epochs, batch_size=batch_size, lr=lr, patience=patience),
            accelerator=accelerator,
            devices=devices,
            early_stopping=early_stopping,
            validation=validation,
            seed=seed,
        )

    def _train(
        self,
        given: dict[str, Any],
        *,
        accelerator: str,
        devices: int | str | list[int],
        early_stopping: bool,
        validation: float | pd.DataFrame | None,
        seed: int,
    ) -> None:
        """Run all phases; `given` are the arguments of `train` that replace the model's defaults."""
        check_devices(accelerator, devices)
        task = self._training_task(validation, early_stopping=early_stopping, seed=seed)
        defaults = {name: getattr(self, f"_{name}") for name in ("max_epochs", "batch_size", "lr", "patience")}
        self.history_, self.is_trained_, self.best_epoch_ = {}, False, None
        with seeded(seed) as generator:
            options = TrainOptions(
                **{**defaults, **given}, early_stopping=early_stopping, seed=seed, generator=generator
            )
            self.module = self._make_module(task)
            for item in self._phases(task, options):
                phase = item if isinstance(item, Phase) else item()
                drawn = int(torch.randint(2**31, (1,), generator=generator))
                records, self.best_epoch_ = run_phase(self, phase, accelerator=accelerator, devices=devices, seed=drawn)
                self.history_ |= _history(records, phase.name)
        self.module.eval()
        rows = np.arange(len(task.response))
        self.train_indices_ = np.intersect1d(rows, task.train_rows)
        self.validation_indices_ = task.validation_rows
        self._finish_training(task.expression, task.response)

    def _training_task(
        self, validation: float | pd.DataFrame | None, *, early_stopping: bool, seed: int
    ) -> TrainingTask:
        expression, response = self._training_arrays()
        names = self._training_names()
        share = self._validation_share if validation is None and early_stopping else validation
        table = pd.DataFrame(response, index=names, columns=self.drugs.index)
        marked = hold_out(table, share, pairs=self.card.completes, new_drugs=self._validates_on_new_drugs, seed=seed)
        return TrainingTask(expression, response, marked, np.asarray(names, dtype=object))

    def _training_names(self) -> pd.Index:
        """Names of the rows of :meth:`_training_arrays`."""
        return self.adata.obs_names.astype(str)

    # ------------------------------------------------------------------ evaluation

    @torch.inference_mode()
    def _evaluate(self, function: Callable[..., Tensor], *arrays: np.ndarray) -> np.ndarray:
        """Call `function` on arrays as tensors, in evaluation mode and on the module's device."""
        self.module.eval()
        device = next((p.device for p in self.module.parameters()), torch.device("cpu"))
        return function(*(torch.from_numpy(np.ascontiguousarray(a)).to(device) for a in arrays)).cpu().numpy()


def _given(**arguments: Any) -> dict[str, Any]:
    """Arguments that were given, that is, are not `None`."""
    return {name: value for name, value in arguments.items() if value is not None}


def check_devices(accelerator: str, devices: int | str | list[int]) -> None:
    """Refuse more devices than there are, before anything is trained.

    Raises
    ------
    ValueError
        If there are not as many, or several processes would be started on a CPU.
    """
    if devices in ("auto", 1, "1"):
        return
    n_devices = torch.cuda.device_count() if accelerator in ("auto", "gpu", "cuda") else 0
    if not n_devices:
        if devices not in (-1, "-1", [0], "0,"):
            raise ValueError(
                f"`devices` must be 1 on a CPU, whose cores are used by one process; found {devices!r}. Leave it out."
            )
        return
    parts = [int(item) for item in devices.split(",") if item.strip()] if isinstance(devices, str) else devices
    wanted = parts if isinstance(devices, list) or "," in str(devices) else [int(np.max(parts)) - 1]
    if max(wanted) >= n_devices:
        raise ValueError(
            f"`devices` asks for GPU {max(wanted)}, counted from 0; PyTorch finds {n_devices}: {devices!r}."
        )


def _history(records: list[dict[str, float]], name: str) -> dict[str, pd.DataFrame]:
    """Loss by epoch, one DataFrame a quantity, as scvi-tools keeps it."""
    table = pd.DataFrame(records, index=pd.RangeIndex(len(records), name="epoch"))
    prefix = f"{name}_" if name else ""
    return {f"{prefix}{column}": table[[column]].rename(columns=lambda c: f"{prefix}{c}") for column in table}
