"""From a task to a network, and the phases of its training: the autoencoder, the head on its frozen code, or both together."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp
import torch

from .._batches import TableBatches, TrainingTask
from .._network import evaluate
from .._options import PhaseOptions
from .._plan import Critic, Phase, Stopping
from .._share import cautious_share, warn_of_no_share
from ..prior._linear import LinearPrior
from ._inputs import (
    Targets,
    check_targets,
    classification_targets,
    make_nodes,
    regression_targets,
    select_genes,
)
from ._losses import DomainBatches, Objective
from ._module import PathwayModule, Sizes, make_critic
from ._settings import Settings

#: Validation lines are few: they go through in one batch.
_ALL = 1 << 20
#: Rows that are standardised at once.
_BLOCK = 4096


def make_targets(task: TrainingTask, settings: Settings, *, drugs: pd.Index, lower_is_sensitive: bool) -> Targets:
    """What the head learns.

    Raises
    ------
    ValueError
        If no drug can be learned.
    """
    train, validation = task.train_response, task.validation_response
    if settings.target == "response":
        targets = regression_targets(train, validation)
    else:
        targets = classification_targets(
            train,
            validation,
            method=settings.labels,
            fraction=settings.fraction,
            lower_is_sensitive=lower_is_sensitive,
        )
    check_targets(targets, drugs, target=settings.target)
    return targets


def make_module(
    task: TrainingTask,
    targets: Targets,
    settings: Settings,
    *,
    cells: np.ndarray | None,
    gene_sets: tuple[sp.csr_matrix, list[str]] | None,
) -> tuple[PathwayModule, list[str]]:
    """Return a fresh network with everything that is fitted in closed form, and the names of its nodes."""
    lines = task.expression[task.train_rows]
    genes = select_genes(lines, cells, settings.n_top_genes)
    negative = bool(lines.min() < 0)
    if negative and (settings.relu or settings.standardize is None):
        warnings.warn(
            "Expression of the reference holds negative values, on which the preset is not defined: genes are standardised, and "
            "the pathway decoder stays linear.",
            UserWarning,
            stacklevel=2,
        )
    nodes = None
    if gene_sets is not None:
        nodes = make_nodes(
            *gene_sets, genes, min_genes=settings.min_genes, strictly=settings.strictly, n_free=settings.n_free
        )
    sizes = Sizes(
        n_panel=task.expression.shape[1],
        n_genes=len(genes),
        n_latent=settings.n_latent if nodes is None else len(nodes.names),
        n_drugs=task.response.shape[1],
        n_hidden=settings.n_hidden,
        n_head=list(settings.n_head),
        dropout=settings.dropout,
        norm=settings.norm,
        # without a shared encoder each domain has its own; without cells nothing is shared with another domain
        private=not settings.is_shared or cells is not None,
        shared=settings.is_shared,
        pathways=nodes is not None,
        relu=settings.relu and not negative,
        linear=settings.prior is not None,
    )
    module = PathwayModule(sizes, None if nodes is None else torch.from_numpy(nodes.mask))
    standardize = negative if settings.standardize is None else settings.standardize
    _fill_buffers(module, lines, genes, targets, standardize=standardize)
    return module, [] if nodes is None else nodes.names


def _fill_buffers(
    module: PathwayModule, lines: np.ndarray, genes: np.ndarray, targets: Targets, *, standardize: bool
) -> None:
    values = {"genes": genes, "drug_mean": targets.mean, "drug_sd": targets.sd}
    if standardize:
        sd = lines[:, genes].std(axis=0)
        values |= {"mean": lines[:, genes].mean(axis=0), "sd": np.where(sd > 1e-6, sd, 1.0)}
    module.fill(**values)


def fit_prior(module: PathwayModule, task: TrainingTask, *, ridge: float) -> dict[str, Any]:
    """A linear model beside a trained network, and the network's share, as buffers of the module by name.

    The share is chosen on held-out lines that stopped nothing, beside a prior that has not seen them either; then the prior is
    fitted to all responses.
    """

    def fit(response: np.ndarray) -> LinearPrior:
        lines = np.isfinite(response).any(axis=1)
        return LinearPrior.fit(task.expression[lines], response[lines], ridge=ridge)

    share, observed = 0.0, task.reserved_response
    rows = np.flatnonzero(np.isfinite(observed).any(axis=1))
    if len(rows):
        network = evaluate(module, lambda x: module.respond(module.encode(x, "bulk")), task.expression[rows])
        share = cautious_share(network, fit(task.train_response).predict(task.expression[rows]), observed[rows])
    else:
        warn_of_no_share("PathwayTransfer")
    prior = fit(task.response)
    return {"gate": share, "linear": prior.weights, "intercept": prior.intercept}


class Phases:
    """Phases of a model's training.

    Parameters
    ----------
    module
        Fresh network.
    settings
        How it is trained.
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
        module: PathwayModule,
        settings: Settings,
        task: TrainingTask,
        options: PhaseOptions,
        *,
        cells: np.ndarray | None,
        targets: Targets,
    ) -> None:
        self._module, self._settings = module, settings
        self._task, self._options, self._targets = task, options, targets
        critic = None
        if self._settings.is_adversarial:
            critic = make_critic(self._module.sizes.n_latent, dropout=self._settings.dropout)
        self._objective = Objective(self._module, self._settings, critic)
        self._critic = None if critic is None else Critic(critic, self._objective.against)
        self._trained = np.flatnonzero(np.isfinite(targets.train).any(axis=1))
        self._checked = np.flatnonzero(np.isfinite(targets.validation).any(axis=1))
        self._cells = None if cells is None else self._read(cells)
        self._batches = self._with_cells(self._trained, _tensor(targets.train[self._trained]))

    def of(self, schedule: str) -> list[Phase | Callable[[], Phase]]:
        """Phases of a schedule; those that need the ones before them come as functions."""
        if schedule == "joint":
            return [self.joint]
        return [self.autoencoder(), self.head if schedule == "two_phase" else self.joint]

    def autoencoder(self) -> Phase:
        """Reconstruction without responses: of all lines, labelled or not, but those that are held out whole."""
        task = self._task
        held_out = task.validation.any(axis=1) & ~np.isfinite(task.train_response).any(axis=1)
        rows = np.flatnonzero(~held_out)
        clip = self._settings.clip_autoencoder
        # a critic's score has no lower end, and says nothing of how far the autoencoder is
        monitor = "train_loss" if self._critic is None else "train_reconstruction_loss"
        return Phase(
            self._with_cells(rows, torch.full((len(rows), 1), torch.nan)),
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

    def _with_cells(self, rows: np.ndarray, response: torch.Tensor) -> DomainBatches:
        """Batches of lines, each beside cells where there are any."""
        return DomainBatches(
            self._read(self._task.expression[rows]),
            response,
            self._cells,
            self._options.batch_size,
            generator=self._options.generator,
            n_passes=1 if self._critic is None else self._critic.steps,
        )

    def _read(self, expression: np.ndarray) -> torch.Tensor:
        """Standardised genes that the network reads: once for all epochs."""
        values = torch.empty(len(expression), self._module.sizes.n_genes)
        for start in range(0, len(values), _BLOCK):
            values[start : start + _BLOCK] = torch.from_numpy(
                evaluate(self._module, self._module.read, expression[start : start + _BLOCK])
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
        code = evaluate(self._module, lambda x: self._module.encode(x, "bulk"), self._task.expression[rows])
        tensors = {"code": torch.from_numpy(code), "response": _tensor(response[rows])}
        return TableBatches(tensors, batch_size, generator=generator)


def _tensor(values: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32))
