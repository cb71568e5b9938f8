"""The life cycle of every model, from setup to the end of training. The only file that touches scvi-tools."""

from __future__ import annotations

import logging
import os
import warnings
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pandas as pd
import torch
from scvi import REGISTRY_KEYS
from scvi.data import AnnDataManager
from scvi.data.fields import LayerField, ObsmField
from scvi.model._utils import parse_device_args
from scvi.model.base import BaseModelClass
from scvi.module.base import BaseModuleClass, LossOutput, auto_move_data
from scvi.train import TrainRunner

from .._arguments import checked
from .._audit import check_unseen
from .._constants import KEYS
from .._settings import settings
from ..pp._profile import ReferenceProfile
from ._card import MethodCard
from ._data import Calibration, ReferenceInfo, check_reference, dense_expression
from ._model_files import ModelFilesMixin
from ._options import TrainOptions
from ._prediction import PredictionMixin

if TYPE_CHECKING:
    from anndata import AnnData

    from ._plan import Phase

__all__ = [
    "REGISTRY_KEYS",
    "BaseModuleClass",
    "DrugResponseModel",
    "LossOutput",
    "auto_move_data",
    "move_to_device",
    "run_phase",
]


class DrugResponseModel(ModelFilesMixin, PredictionMixin, BaseModelClass):
    """Base of all models of drug response.

    A subclass brings its `card`, a module, :meth:`_fit_to` and :meth:`_predict_rows`; it inherits setup, `train`, prediction
    by gene name and row block, calibration, and files that open without running code.

    Parameters
    ----------
    adata
        Bulk reference that :meth:`setup_anndata` was called on.
    registry
        Registry of an earlier setup, for loading without data.
    """

    card: ClassVar[MethodCard]

    @checked
    def __init__(self, adata: AnnData | None = None, registry: dict[str, Any] | None = None) -> None:
        super().__init__(adata, registry)
        self.reference_: ReferenceInfo | None = None
        self.profile_: ReferenceProfile | None = None
        self.calibration_: Calibration | None = None
        self.notes_: dict[str, Any] = {}
        if adata is not None:
            self.reference_ = ReferenceInfo.from_anndata(adata, response_key=self._setup_arg("response_key"))

    # ------------------------------------------------------------------ setup

    @classmethod
    @checked
    def setup_anndata(cls, adata: AnnData, *, layer: str | None = None, response_key: str = KEYS.RESPONSE) -> None:
        """Register a bulk reference for training.

        Parameters
        ----------
        adata
            Bulk reference (see :func:`scdrug.pp.build_reference`): lines × genes, responses in `obsm`, drugs in `uns`.
        layer
            Layer that holds expression; `X` if omitted.
        response_key
            Key of `obsm`: DataFrame of lines × drug ids, NaN = not measured.

        Raises
        ------
        KeyError, TypeError, ValueError
            If `adata` does not follow the data contract; the message says where.
        """
        cls._register(
            adata,
            setup_method_args=cls._get_setup_method_args(**locals()),
            layer=layer,
            response_key=response_key,
        )

    @classmethod
    def _register(
        cls, adata: AnnData, *, setup_method_args: dict[str, Any], layer: str | None, response_key: str
    ) -> None:
        """Check a reference and register it with scvi-tools, under the arguments of the caller's `setup_anndata`."""
        if adata.is_view:
            raise ValueError("The reference is a view of another AnnData. Call `adata = adata.copy()` first.")
        check_reference(adata, layer=layer, response_key=response_key)
        # the formats that scvi-tools would make of them are not needed: models read their own copies
        fields = [
            LayerField(REGISTRY_KEYS.X_KEY, layer, is_count_data=False, correct_data_format=False),
            ObsmField(KEYS.RESPONSE, response_key, correct_data_format=False),
        ]
        manager = AnnDataManager(fields=fields, setup_method_args=setup_method_args)
        with _quiet_scvi():
            manager.register_fields(adata)
        cls.register_manager(manager)

    def _setup_arg(self, name: str) -> Any:
        return self.registry_["setup_args"][name]

    # ------------------------------------------------------------------ what the reference was

    @property
    def reference(self) -> ReferenceInfo:
        """Genes, drugs and units of the training reference."""
        if self.reference_ is None:
            raise RuntimeError("This model has no reference yet: create it with an AnnData, or load a saved model.")
        return self.reference_

    @property
    def genes(self) -> np.ndarray:
        """Gene panel, in the order of the model's weights."""
        return self.reference.genes

    @property
    def drugs(self) -> pd.DataFrame:
        """Drugs that the model was trained on, by id."""
        return self.reference.drugs

    @property
    def profile(self) -> ReferenceProfile:
        """Summary of the training reference's expression."""
        if self.profile_ is None:
            raise RuntimeError("The model was not trained: call train() first.")
        return self.profile_

    @property
    def calibration(self) -> Calibration:
        """Distribution of predictions over the reference, drug by drug."""
        if self.calibration_ is None:
            raise RuntimeError("The model was not trained: call train() first.")
        return self.calibration_

    def _training_arrays(self) -> tuple[np.ndarray, np.ndarray]:
        """Expression (lines × genes, float32) and responses (lines × drugs, float64, NaN = not measured)."""
        if self.adata is None:
            raise RuntimeError(
                f"{type(self).__name__} was loaded without its training data and cannot be trained further. "
                "Call setup_anndata on a reference and create a new model."
            )
        expression = dense_expression(self.adata, self._setup_arg("layer"))
        response = self.adata.obsm[self._setup_arg("response_key")]
        check_unseen(self.adata.obs_names, response, where=f"{type(self).__name__}.train")
        return expression, response.to_numpy(dtype=np.float64, na_value=np.nan)

    # ------------------------------------------------------------------ training

    @checked
    def train(
        self,
        max_epochs: int | None = None,
        *,
        accelerator: str = "auto",
        devices: int | str | list[int] = 1,
        precision: str = "32-true",
        batch_size: int | None = None,
        lr: float | None = None,
        patience: int | None = None,
        early_stopping: bool = True,
        validation: float | pd.DataFrame | None = None,
        seed: int = 0,
        checkpoint_dir: str | os.PathLike[str] | None = None,
        plan_kwargs: Mapping[str, Any] | None = None,
    ) -> None:
        """Train the model from scratch.

        All models take the same arguments. An argument that has no effect on a model, such as epochs of an exact fit, is
        refused unless it is left at its default.

        Parameters
        ----------
        max_epochs
            Most epochs of each phase.
        accelerator, devices
            Where to train, as scvi-tools takes them: ``"auto"``, ``"cpu"``, ``"gpu"``, …, and how many.
        precision
            ``"32-true"``, or ``"bf16-mixed"``, which is faster on GPUs that have it.
        batch_size
            Rows a step: lines, or pairs for models that complete pairs.
        lr
            Learning rate.
        patience
            Epochs without improvement before training stops.
        early_stopping
            Stop when the loss on validation responses has not improved for `patience` epochs, and keep the best epoch.
        validation
            Responses that are held out of the loss and decide when to stop: a share of lines to draw (of pairs, for
            models that complete pairs), or a boolean DataFrame of lines × drug ids. If omitted, the model draws some when
            `early_stopping` is on, a tenth unless its class says otherwise, and nothing is held out when it is off.
        seed
            Seed of the weights, the order of batches, dropout and the drawn validation responses. The caller's random
            state is left as it was.
        checkpoint_dir
            Folder for the state of training after an epoch. A training that was killed, started again on the same data with
            the same arguments, goes on from there, and its result is that of an unbroken one. The files are deleted when
            training is done.
        plan_kwargs
            ``{"compile": True, "compile_kwargs": {...}}`` compiles the loss with :func:`torch.compile`, the network in it.

        Raises
        ------
        TypeError
            If an argument is unknown, has no effect on this model, or is of another type.
        ValueError, KeyError
            If `validation` or the reference do not fit, or `checkpoint_dir` holds another training; the message says where.
        RuntimeError
            If the model was loaded without its reference, or training diverges.
        """
        options = TrainOptions(
            max_epochs, accelerator, devices, precision, batch_size, lr, patience, early_stopping, validation, seed,
            checkpoint_dir, dict(plan_kwargs or {}),
        )  # fmt: skip
        options.refuse(self._without_effect, type(self).__name__)
        self._fit_to(options)

    #: Arguments of `train` that this model makes no use of: why, and what to do instead.
    _without_effect: ClassVar[Mapping[str, str]] = {}

    @abstractmethod
    def _fit_to(self, options: TrainOptions) -> None:
        """Fit to the reference, end with :meth:`_finish_training`, and leave losses by epoch in `history_`."""

    def release_data(self) -> None:
        """Let go of the training data; the model still predicts.

        scvi-tools keeps every AnnData that was set up for as long as the process runs. Where many models are trained one
        after another, this is what keeps memory flat.
        """
        if self._adata_manager is not None:
            type(self)._setup_adata_manager_store.pop(self._adata_manager.adata_uuid, None)
        type(self)._per_instance_manager_store.pop(self.id, None)
        self._adata = None
        self._adata_manager = None

    def _finish_training(self, expression: np.ndarray, response: np.ndarray) -> None:
        """Summarise the reference and calibrate: every model calls this at the end of training."""
        self.profile_ = ReferenceProfile.fit(expression, self.genes, n_components=self._n_profile_components)
        self.is_trained_ = True
        predicted, held_out = self._reference_predictions(expression, response)
        self.calibration_ = Calibration.fit(predicted, response, held_out=held_out)
        if self.train_indices_ is None:
            self.train_indices_ = np.arange(len(expression))

    @property
    def _takes_unseen_drugs(self) -> bool:
        """Whether this model, as it was set up, predicts drugs from their structure."""
        return self.card.unseen_drugs

    #: Whether the arrays hold the expression or responses of single training lines.
    _holds_lines: bool = False

    #: Directions of variation that the profile of the reference keeps.
    _n_profile_components: ClassVar[int] = 300

    def _reference_predictions(self, expression: np.ndarray, response: np.ndarray) -> tuple[np.ndarray, bool]:
        """Predictions for the lines of the reference, and whether each was left out of its own prediction."""
        return np.asarray(self._predict_rows(expression, np.arange(response.shape[1])), dtype=np.float64), False


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
    from ._checkpoints import PlainFiles
    from ._plan import DivergenceError, NetworkPlan

    model.module.train()
    compile_kwargs = options.plan_kwargs.get("compile_kwargs") or {} if options.plan_kwargs.get("compile") else None
    plan = NetworkPlan(
        model.module, phase, seed, generator=generator, checkpoint=checkpoint, compile_kwargs=compile_kwargs
    )
    benchmark = torch.backends.cudnn.benchmark
    with _quiet_scvi():
        runner = TrainRunner(
            model,
            training_plan=plan,
            data_splitter=phase.batches,
            max_epochs=phase.max_epochs,
            accelerator=options.accelerator,
            devices=options.devices,
            precision=options.precision,
            plugins=[PlainFiles()],
            ckpt_path=checkpoint if checkpoint is not None and checkpoint.is_file() else None,
            enable_progress_bar=settings.progress,
            log_every_n_steps=1,
        )
        torch.backends.cudnn.benchmark = benchmark  # a global flag, which is the caller's
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*LeafSpec.*", category=FutureWarning)  # lightning on new torch
            try:
                runner()
            except SystemExit as stopped:
                if isinstance(stopped.__context__, KeyboardInterrupt):  # which lightning turns into the end of Python
                    raise KeyboardInterrupt from stopped
                raise
    model.trainer = None  # it holds the training data
    if plan.diverged:
        model.is_trained_ = False
        raise DivergenceError(
            f"Training diverged in epoch {len(plan.records) - 1}: the loss is not finite. Lower `lr`, and check that "
            "expression and responses are on the scale that the model expects."
        )
    plan.restore_best()
    return plan.records, plan.best_epoch


def move_to_device(model: DrugResponseModel, options: TrainOptions) -> None:
    """Put the network where training would have left it."""
    _, _, device = parse_device_args(options.accelerator, options.devices, return_device="torch")
    model.to_device(device)


@contextmanager
def _quiet_scvi() -> Iterator[None]:
    """Keep scvi-tools and lightning from announcing what they do; their warnings still come through."""
    loggers = [logging.getLogger(name) for name in ("scvi", "lightning.pytorch", "lightning.fabric")]
    levels = [item.level for item in loggers]
    for item, level in zip(loggers, levels, strict=True):
        item.setLevel(max(level, logging.WARNING))
    try:
        yield
    finally:
        for item, level in zip(loggers, levels, strict=True):
            item.setLevel(level)
