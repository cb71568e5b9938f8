"""Base of models that are trained by gradient descent."""

from __future__ import annotations

import logging
from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from .._constants import KEYS
from ._arrays import Array, skeleton
from ._base import DrugResponseModel, move_to_device, run_plan
from ._batches import TrainingTask, hold_out
from ._checkpoints import Checkpoints, digest, phase_state, restore_phase
from ._options import PhaseOptions, TrainOptions, check_devices, given
from ._plan import DivergenceError, NetworkPlan, Phase, seeded

if TYPE_CHECKING:
    from anndata import AnnData

logger = logging.getLogger(__name__)


#: Arguments of `train` that each model has a default of its own for.
_DEFAULTS = ("max_epochs", "batch_size", "lr", "patience")


class NetworkModel(DrugResponseModel):
    """Base of models that are trained in epochs and stop on validation responses.

    A subclass brings :meth:`_make_module`, :meth:`_phases` and `_predict_rows`, its defaults, and a card with
    ``validates=True``; it inherits `train`, the split into training and validation, seeds, the best state, checkpoints,
    and files.
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
    def _phases(self, task: TrainingTask, options: PhaseOptions) -> Sequence[Phase | Callable[[], Phase]]:
        """Return the phases of training `self.module`; a function is called when the phases before it are done."""

    # ------------------------------------------------------------------ training

    def _fit_to(self, options: TrainOptions) -> None:
        """Run all phases, or those that are left of a training that was killed."""
        check_devices(options.accelerator, options.devices)
        task = self._training_task(options.validation, early_stopping=options.early_stopping, seed=options.seed)
        self.history_, self.is_trained_, self.best_epoch_ = {}, False, None
        history: dict[str, pd.DataFrame] = {}
        with seeded(options.seed) as generator:
            chosen = self._phase_options(options, generator)
            self.module = self._make_module(task)
            checkpoints = None
            if options.checkpoint_dir is not None:
                checkpoints = Checkpoints(options.checkpoint_dir, self._training_identity(task, options, chosen))
            for number, item in enumerate(self._phases(task, chosen)):
                phase = item if isinstance(item, Phase) else item()
                records, self.best_epoch_ = self._run(phase, number, options, generator, checkpoints)
                history |= history_of(records, phase.name)
        self.history_ = history  # the runner leaves a history of its own
        self.module.eval()
        rows = np.arange(len(task.response))
        self.train_indices_ = np.intersect1d(rows, task.train_rows)
        self.validation_indices_ = task.validation_rows
        self._finish_training(task.expression, task.response)
        if checkpoints is not None:
            checkpoints.clear()

    def _take_defaults(self, settings: Any) -> None:
        """Take what `settings` say of the defaults of `train`."""
        for name in _DEFAULTS:
            setattr(self, f"_{name}", getattr(settings, name, getattr(self, f"_{name}")))

    def _phase_options(self, options: TrainOptions, generator: torch.Generator) -> PhaseOptions:
        chosen = {name: getattr(self, f"_{name}") for name in _DEFAULTS}
        chosen |= given(**{name: getattr(options, name) for name in _DEFAULTS})
        return PhaseOptions(**chosen, early_stopping=options.early_stopping, seed=options.seed, generator=generator)

    def _run(
        self,
        phase: Phase,
        number: int,
        options: TrainOptions,
        generator: torch.Generator,
        checkpoints: Checkpoints | None,
    ) -> tuple[list[dict[str, float]], int | None]:
        """Losses by epoch and best epoch of a phase, which is trained, or read where it was trained before."""
        seed = int(torch.randint(2**31, (1,), generator=generator))
        if checkpoints is None:
            return run_phase(self, phase, options, seed=seed)
        critic = None if phase.critic is None else phase.critic.module
        done = checkpoints.read_finished(number)
        if done is not None:
            self.module.load_state_dict(done["module"])
            restore_phase(done, phase.batches, critic, generator)
            move_to_device(self, options)
            return done["records"], done["best_epoch"]
        file = checkpoints.running(number)
        try:
            records, best = run_phase(self, phase, options, seed=seed, generator=generator, checkpoint=file)
        except DivergenceError:
            checkpoints.clear()  # it would diverge again
            raise
        state = {"module": self.module.state_dict(), "records": records, "best_epoch": best}
        checkpoints.write_finished(number, state | phase_state(phase.batches, critic, generator))
        return records, best

    def _training_inputs(self, task: TrainingTask) -> dict[str, Any]:
        """All data that decide the result of training, by what they are called in messages."""
        return {
            "lines": task.lines,
            "genes": self.genes,
            "drugs": self.adata.uns.get(KEYS.DRUGS, self.drugs).to_csv(),
            "expression": task.expression,
            "responses": task.response,
            "held-out responses": task.validation,
        }

    def _training_identity(
        self, task: TrainingTask, options: TrainOptions, chosen: PhaseOptions
    ) -> dict[str, dict[str, Any]]:
        """All that decides the result of training, for :class:`Checkpoints`."""
        arguments = {item.name: getattr(options, item.name) for item in fields(options)}
        arguments |= {name: getattr(chosen, name) for name in arguments if hasattr(chosen, name)}
        for name in ("validation", "checkpoint_dir"):  # what is held out stands in the data
            arguments.pop(name)
        settings = {**self.init_params_["non_kwargs"], **self.init_params_["kwargs"]}
        data = {name: digest(value) for name, value in self._training_inputs(task).items()}
        return {
            "model": {"class": type(self).__name__},
            "arguments": arguments,
            "settings": settings,
            "data": {**data, "what the network is made from": digest(self.module.state_dict())},
        }

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

    def _network_share(self, names: np.ndarray | None, n: int, drugs: np.ndarray) -> float:
        return 1.0

    # ------------------------------------------------------------------ files

    def _wanted_arrays(self) -> dict[str, Array]:
        return skeleton(self.module.state_dict())

    def _load_module_arrays(self, arrays: dict[str, np.ndarray]) -> None:
        # the module was made without memory, so that it takes the arrays over
        empty = self.module.state_dict()
        tensors = {key: torch.from_numpy(np.array(value)).to(empty[key].dtype) for key, value in arrays.items()}
        self.module.load_state_dict(tensors, assign=True)

    # ------------------------------------------------------------------ evaluation

    def _evaluate(self, function: Callable[..., Tensor], *arrays: np.ndarray) -> np.ndarray:
        return evaluate(self.module, function, *arrays)


def run_phase(
    model: DrugResponseModel,
    phase: Phase,
    options: TrainOptions,
    *,
    seed: int,
    generator: torch.Generator | None = None,
    checkpoint: Path | None = None,
) -> tuple[list[dict[str, float]], int | None]:
    """Train a model's module through one phase with scvi-tools' runner.

    Parameters
    ----------
    model
        Model whose `module` is trained, in place.
    phase
        What to do.
    options
        Where to train, how precisely, and whether compiled.
    seed
        Seed of dropout and noise; to be called where torch's random state may be changed.
    generator
        What orders the batches.
    checkpoint
        File of the phase's last epoch: training goes on from there if it exists, and writes it.

    Returns
    -------
    Losses of each epoch, and the epoch whose state was kept (`None` for the last).

    Raises
    ------
    DivergenceError
        If the loss is not finite.
    ValueError
        If the checkpoint is damaged.
    """
    model.module.train()
    compile_kwargs = options.plan_kwargs.get("compile_kwargs") or {} if options.plan_kwargs.get("compile") else None
    plan = NetworkPlan(
        model.module, phase, seed, generator=generator, checkpoint=checkpoint, compile_kwargs=compile_kwargs
    )
    run_plan(model, plan, options, checkpoint=checkpoint)
    if plan.diverged:
        model.is_trained_ = False
        raise DivergenceError(
            f"Training diverged in epoch {len(plan.records) - 1}: the loss is not finite. Lower `lr`, and check that "
            "expression and responses are on the scale that the model expects."
        )
    plan.restore_best()
    return plan.records, plan.best_epoch


@torch.inference_mode()
def evaluate(module: nn.Module, function: Callable[..., Tensor], *arrays: np.ndarray) -> np.ndarray:
    """Call `function` on arrays as tensors, with a module in evaluation mode and on its device."""
    module.eval()
    device = next((p.device for p in module.parameters()), torch.device("cpu"))
    return function(*(torch.from_numpy(np.ascontiguousarray(a)).to(device) for a in arrays)).cpu().numpy()


def history_of(records: list[dict[str, float]], name: str) -> dict[str, pd.DataFrame]:
    """Loss by epoch, one DataFrame a quantity, as scvi-tools keeps it."""
    table = pd.DataFrame(records, index=pd.RangeIndex(len(records), name="epoch"))
    prefix = f"{name}_" if name else ""
    return {f"{prefix}{column}": table[[column]].rename(columns=lambda c: f"{prefix}{c}") for column in table}
