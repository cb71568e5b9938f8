"""How a network is optimised: phases, each with its loss, its rule for stopping, and the memory of its best state."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor, nn

from ..nn._mlp import detach_state
from ._batches import Batches
from ._checkpoints import Pace, phase_state, restore_phase

#: A loss takes a batch and returns ``"loss"`` and any other scalars for the history. ``"n"`` weighs a batch in the epoch's
#: mean: the number of responses, if that differs between batches.
Loss = Callable[[dict[str, Tensor]], dict[str, Tensor]]


@dataclass(frozen=True)
class Stopping:
    """When to stop, and which state to keep."""

    #: Epochs without improvement.
    patience: int = 20
    #: Decrease that counts as improvement.
    min_delta: float = 0.0
    #: Epochs before which neither improvement nor patience counts.
    warm_up: int = 0
    #: ``"validation_loss"`` or ``"train_loss"``.
    monitor: str = "validation_loss"


@dataclass(frozen=True)
class Critic:
    """The other side of an adversarial phase."""

    module: nn.Module
    loss: Loss
    lr: float = 1e-4
    #: Steps of the critic for one step of the network.
    steps: int = 5


@dataclass(frozen=True)
class Phase:
    """One phase of training."""

    batches: Batches
    loss: Loss
    max_epochs: int
    #: What is optimised; the whole module if omitted.
    trained: Sequence[nn.Module] | None = None
    validation: Batches | None = None
    #: Loss on validation batches; `loss` if omitted.
    validation_loss: Loss | None = None
    stopping: Stopping | None = None
    lr: float = 1e-3
    weight_decay: float = 0.0
    #: Makes the optimiser from the parameters; Adam with `lr`, decoupled decay, if omitted.
    optimizer: Callable[[list[nn.Parameter]], torch.optim.Optimizer] | None = None
    #: Makes a schedule that is stepped once per epoch.
    schedule: Callable[[torch.optim.Optimizer], Any] | None = None
    #: Largest gradient norm by part of the module.
    clip: Sequence[tuple[nn.Module, float]] = ()
    critic: Critic | None = None
    #: Prefix of its columns in the history.
    name: str = ""


@dataclass
class _EpochMeans:
    """Means over an epoch, weighted by the size of each batch."""

    sums: dict[str, float] = field(default_factory=dict)
    weight: float = 0.0

    def add(self, parts: dict[str, Tensor], batch: dict[str, Tensor]) -> None:
        n = float(parts["n"]) if "n" in parts else float(len(next(iter(batch.values()))))
        self.weight += n
        for name, value in parts.items():
            if name != "n":
                self.sums[name] = self.sums.get(name, 0.0) + n * float(value.detach())

    def means(self) -> dict[str, float]:
        return {name: value / max(self.weight, 1e-12) for name, value in self.sums.items()}


class NetworkPlan(pl.LightningModule):
    """Optimises a module through one :class:`Phase`.

    Parameters
    ----------
    module
        The network.
    phase
        What to do with it.
    seed
        Seed of dropout and noise.
    generator
        What orders the batches, to be kept in checkpoints.
    checkpoint
        File that epochs are kept in, each in the place of the last; none if omitted.
    compile_kwargs
        Arguments of :func:`torch.compile` for the loss, the network in it; it is not compiled if omitted.
    """

    def __init__(
        self,
        module: nn.Module,
        phase: Phase,
        seed: int,
        *,
        generator: torch.Generator | None = None,
        checkpoint: Path | None = None,
        compile_kwargs: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.module, self.phase, self._seed = module, phase, seed
        self._generator, self._checkpoint, self._pace = generator, checkpoint, Pace()
        # networks are called part by part: what they are called from is what can be compiled
        self._loss = phase.loss if compile_kwargs is None else torch.compile(_as_function(phase.loss), **compile_kwargs)
        self.records: list[dict[str, float]] = []
        self.best_epoch: int | None = None
        self.diverged = False
        self._best_value, self._best_state, self._waited = float("inf"), None, 0
        self._n_steps = 0
        self._resumed: dict[str, Any] | None = None

    # ------------------------------------------------------------------ optimisers

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        """One optimiser of the network, and one of the critic if there is one."""
        phase = self.phase
        parameters = self._trained_parameters()
        if phase.optimizer is not None:
            optimizers = [phase.optimizer(parameters)]
        else:
            optimizers = [torch.optim.AdamW(parameters, lr=phase.lr, weight_decay=phase.weight_decay)]
        self._schedule = phase.schedule(optimizers[0]) if phase.schedule is not None else None
        if phase.critic is not None:
            optimizers.append(torch.optim.RMSprop(phase.critic.module.parameters(), lr=phase.critic.lr))
        return optimizers

    def _trained_parameters(self) -> list[nn.Parameter]:
        trained = [self.module] if self.phase.trained is None else self.phase.trained
        critic = set() if self.phase.critic is None else {id(p) for p in self.phase.critic.module.parameters()}
        unique = {id(p): p for part in trained for p in part.parameters() if p.requires_grad and id(p) not in critic}
        return list(unique.values())

    # ------------------------------------------------------------------ epochs

    def on_train_epoch_start(self) -> None:
        """Put what is trained into training mode, and everything else into evaluation mode."""
        self._set_modes()
        self._means = _EpochMeans()

    def _set_modes(self) -> None:
        if self.phase.trained is None:
            self.module.train()
            return
        self.module.eval()  # frozen parts neither drop units nor update running statistics
        for part in self.phase.trained:
            part.train()
        if self.phase.critic is not None:
            self.phase.critic.module.train()

    def training_step(self, batch: dict[str, Tensor], batch_idx: int) -> None:
        """One step of the network, or in an adversarial phase of the critic and, every few steps, of the network."""
        phase = self.phase
        # anew for each step: what is loaded on first use, and callbacks, draw random numbers too
        torch.manual_seed(self._seed + self._n_steps)
        self._n_steps += 1
        optimizers = self.optimizers()
        optimizers = optimizers if isinstance(optimizers, list) else [optimizers]
        if phase.critic is not None:
            critic_loss = phase.critic.loss(batch)["loss"]
            optimizers[1].zero_grad()
            self.manual_backward(critic_loss)
            optimizers[1].step()
            if self._n_steps % phase.critic.steps:
                return
        parts = self._loss(batch)
        optimizers[0].zero_grad()
        self.manual_backward(parts["loss"])
        for part, norm in phase.clip:
            nn.utils.clip_grad_norm_(part.parameters(), norm)
        optimizers[0].step()
        self._means.add(parts, batch)

    def on_train_epoch_end(self) -> None:
        """Validate, record the epoch, and decide whether to go on."""
        record = {f"train_{name}": value for name, value in self._means.means().items()}
        if self.phase.validation is not None:
            record |= {f"validation_{name}": value for name, value in self._validate().items()}
        self.records.append(record)
        if not all(value < float("inf") for name, value in record.items() if name.endswith("_loss")):
            self.diverged = self.trainer.should_stop = True
            return
        if self._schedule is not None:
            self._schedule.step()
        if self.trainer.progress_bar_callback is not None:
            self.log_dict({name: record[name] for name in record if name.endswith("_loss")}, prog_bar=True)
        self._decide(record)
        over = self.trainer.should_stop or len(self.records) >= self.phase.max_epochs
        if self._checkpoint is not None and not over and self._pace.is_due():
            start = time.monotonic()
            self.trainer.save_checkpoint(self._checkpoint)
            self._pace.wrote(time.monotonic() - start)

    @torch.no_grad()
    def _validate(self) -> dict[str, float]:
        loss = self.phase.validation_loss or self.phase.loss
        self.module.eval()
        means = _EpochMeans()
        for batch in self.phase.validation:
            means.add(loss({name: value.to(self.device) for name, value in batch.items()}), batch)
        self._set_modes()
        return means.means()

    def _decide(self, record: dict[str, float]) -> None:
        stopping, epoch = self.phase.stopping, len(self.records) - 1
        if stopping is None or stopping.monitor not in record or epoch < stopping.warm_up:
            return
        value = record[stopping.monitor]
        if value < self._best_value - stopping.min_delta:
            # a copy: the tensors of the module itself go on changing
            self._best_value, self._best_state, self._waited = value, detach_state(self.module), 0
            self.best_epoch = epoch
            return
        self._waited += 1
        if self._waited >= stopping.patience:
            self.trainer.should_stop = True

    # ------------------------------------------------------------------ checkpoints

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add to lightning's checkpoint, of weights and optimisers, what else decides how training goes on."""
        checkpoint["scdrug"] = {
            "records": self.records,
            "best": {"epoch": self.best_epoch, "value": self._best_value, "state": self._best_state},
            "waited": self._waited,
            "n_steps": self._n_steps,
            "schedule": None if self._schedule is None else self._schedule.state_dict(),
            **phase_state(self.phase.batches, self._critic, self._generator),
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take back what :meth:`on_save_checkpoint` added, all but what lightning has not made yet."""
        state = self._resumed = checkpoint["scdrug"]
        self.records, self._waited, self._n_steps = state["records"], state["waited"], state["n_steps"]
        best = state["best"]
        self.best_epoch, self._best_value, self._best_state = best["epoch"], best["value"], best["state"]

    def on_train_start(self) -> None:
        """Take back the rest, when nothing is drawn any more before the first step."""
        if self._resumed is not None:
            if self._schedule is not None:
                self._schedule.load_state_dict(self._resumed["schedule"])
            restore_phase(self._resumed, self.phase.batches, self._critic, self._generator)
            self._resumed = None

    @property
    def _critic(self) -> nn.Module | None:
        return None if self.phase.critic is None else self.phase.critic.module

    def restore_best(self) -> None:
        """Put the module back into the state of its best epoch."""
        if self._best_state is not None:
            self.module.load_state_dict(self._best_state)
            self._best_state = None


class DivergenceError(RuntimeError):
    """The loss is not finite."""


def _as_function(loss: Loss) -> Loss:
    """The same as a plain function, which is what can be compiled."""

    def call(batch: dict[str, Tensor]) -> dict[str, Tensor]:
        return loss(batch)

    # code of its own: torch compiles the same code a few times only, whichever loss it then calls
    call.__code__ = call.__code__.replace()
    return call


@contextmanager
def seeded(seed: int) -> Iterator[torch.Generator]:
    """Seed torch within the context and put the caller's random state back; yields a generator of its own."""
    devices = list(range(torch.cuda.device_count())) if torch.cuda.is_available() else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        yield torch.Generator().manual_seed(seed)
