"""The life cycle of every model, from setup to the end of training. The only file that touches scvi-tools."""

from __future__ import annotations

import logging
import warnings
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import numpy as np
import pandas as pd
import torch
from scvi import REGISTRY_KEYS
from scvi.data import AnnDataManager
from scvi.data.fields import LayerField, ObsmField
from scvi.model._utils import parse_device_args
from scvi.model.base import BaseModelClass
from scvi.train import TrainRunner

from .._arguments import checked
from .._audit import check_unseen
from .._constants import KEYS
from .._settings import settings
from ..pp._profile import ReferenceProfile
from ._card import MethodCard
from ._data import Calibration, ReferenceInfo, check_reference, dense_expression, release_data
from ._explain import Explained, explain_linear
from ._model_files import load, save
from ._nearest import NEAREST
from ._options import TrainOptions, retrain, train
from ._prediction import get_latent_representation, predict
from ._results import provenance
from ._schema import NoState
from ._unseen import nearest_drugs, select_drugs

if TYPE_CHECKING:
    from anndata import AnnData

    from ._arrays import Array
    from ._plan import NetworkPlan

T = TypeVar("T")

__all__ = ["DrugResponseModel", "move_to_device", "register", "run_plan"]


class DrugResponseModel(BaseModelClass):
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

    # what users call stands in the files of its topics
    train, retrain = train, retrain
    predict, get_latent_representation = predict, get_latent_representation
    select_drugs, nearest_drugs = select_drugs, nearest_drugs
    save, load = save, classmethod(load)
    provenance, release_data = provenance, release_data

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
        register(cls, adata, cls._get_setup_method_args(**locals()), layer=layer, response_key=response_key)

    def _setup_arg(self, name: str) -> Any:
        return self.registry_["setup_args"][name]

    @property
    def _class_name(self) -> str:
        """Name of the class in messages and in what is stored with predictions."""
        return type(self).__name__

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
        return _trained(self.profile_)

    @property
    def calibration(self) -> Calibration:
        """Distribution of predictions over the reference, drug by drug."""
        return _trained(self.calibration_)

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

    #: Arguments of `train` that this model makes no use of: why, and what to do instead.
    _without_effect: ClassVar[Mapping[str, str]] = {}

    @abstractmethod
    def _fit_to(self, options: TrainOptions) -> None:
        """Fit to the reference, end with :meth:`_finish_training`, and leave losses by epoch in `history_`."""

    def _finish_training(self, expression: np.ndarray, response: np.ndarray) -> None:
        """Summarise the reference and calibrate: every model calls this at the end of training."""
        self.profile_ = ReferenceProfile.fit(expression, self.genes, n_components=self._n_profile_components)
        self.is_trained_ = True
        predicted, held_out = self._reference_predictions(expression, response)
        self.calibration_ = Calibration.fit(predicted, response, held_out=held_out)
        self.reference_ = self.reference.with_held_out_r(predicted, response) if held_out else self.reference
        if self.train_indices_ is None:
            self.train_indices_ = np.arange(len(expression))

    def _reference_predictions(self, expression: np.ndarray, response: np.ndarray) -> tuple[np.ndarray, bool]:
        """Predictions for the lines of the reference, and whether each was left out of its own prediction."""
        return np.asarray(self._predict_rows(expression, np.arange(response.shape[1])), dtype=np.float64), False

    # ------------------------------------------------------------------ what a subclass brings to predict

    @property
    def _takes_unseen_drugs(self) -> bool:
        """Whether this model, as it was set up, predicts drugs from their structure."""
        return self.card.unseen_drugs

    #: Whether the arrays hold the expression or responses of single training lines.
    _holds_lines: bool = False
    #: Whether new drugs need a structure, and whether nothing follows :meth:`_linear_weights`.
    _needs_structures, _predicts_linearly = False, True

    #: Directions of variation that the profile of the reference keeps.
    _n_profile_components: ClassVar[int] = 300

    @abstractmethod
    def _predict_rows(self, expression: np.ndarray, drugs: np.ndarray, names: np.ndarray | None = None) -> np.ndarray:
        """Predict from expression on the reference's scale (rows × genes) for drugs by position (rows × drugs).

        `names` are the names of samples, for models that complete what is missing for lines that they know; rows
        without names are new to every model.
        """

    def _sample_inputs(self, adata: AnnData) -> np.ndarray | None:
        """What a model reads of samples beside expression, such as an embedding (samples × features).

        Where it is not `None`, its rows are handed to `_predict_rows` as a fourth argument.
        """
        return None

    def _latent_rows(self, expression: np.ndarray) -> np.ndarray:
        return self.profile.scores(expression)

    def _activity_of(self, code: np.ndarray) -> pd.DataFrame | None:
        """Activity of pathways that codes of samples stand for (samples × pathways); `None` where they stand for none."""
        return None

    def _drug_notes(self) -> pd.DataFrame | None:
        """Further columns on the drugs for what is stored with predictions, by id: their nearest training drugs."""
        return pd.DataFrame(self.notes_[NEAREST], index=self.drugs.index) if NEAREST in self.notes_ else None

    def _network_share(self, names: np.ndarray | None, n: int, drugs: np.ndarray) -> float:
        """Share of a network in predictions of `n` samples, with or without names, for drugs by position (0-1)."""
        return 0.0

    def _part(self, part: str) -> DrugResponseModel:
        """Return the model with predictions of its network, or of its prior, alone."""
        raise ValueError(
            f"`part={part!r}` is for a network that stands on a prior, and {type(self).__name__} is no such model. Omit `part`; "
            "MTIGCN, CSG2A, DeepCDR and PathwayTransfer take a `prior`."
        )

    def _linear_weights(self, drugs: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
        """Weights (genes × drugs) and intercepts of a model that is linear in expression, else `None`."""
        return None

    def _first_layer(self, drugs: np.ndarray, *, complete: bool) -> tuple[np.ndarray, np.ndarray] | None:
        """Weights (genes × units) and intercepts of what a model computes from expression itself, else `None`.

        It is evaluated together with the harmonization, in one product per block; :meth:`_after_first_layer` does the rest.
        `complete` tells that no gene has to be filled: a layer that reads few genes is then better left to the rest.
        """
        return self._linear_weights(drugs)

    def _after_first_layer(self, values: np.ndarray, drugs: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Turn values of the first layer (rows × units) into predictions (rows × drugs).

        `rows` are the rows themselves (rows × genes); genes that were to be filled are not.
        """
        return values

    def _explained(self, drugs: np.ndarray, *, baseline: str, of: str = "genes") -> Explained:
        """Take the model apart for attribution to its genes or pathways.

        Linear models have this from here. A network on expression returns `Explained.of_expression`, with what it computes
        as `network`, and is then explained by :func:`scdrug.tl.attribute_genes`; one with pathways as inputs answers
        ``of="pathways"`` too.

        Parameters
        ----------
        drugs
            Drugs by position.
        baseline
            What contributions are counted from: ``"lines"``, the mean of the training lines, or ``"zero"``.
        of
            ``"genes"`` or ``"pathways"``.

        Raises
        ------
        TypeError
            If the model has no such parts; the message says which models have.
        """
        return explain_linear(self, drugs, baseline=baseline, of=of)

    def _for_unseen(self, drugs: pd.DataFrame) -> DrugResponseModel:
        """Return a trained model of drugs that were not in training, given as a table of drugs with canonical SMILES.

        A subclass whose card says `unseen_drugs` brings this; `_unseen.hand_over` does what all of them need.
        """
        raise NotImplementedError(
            f"The card of {type(self).__name__} promises unseen drugs, but it has no `_for_unseen`."
        )

    # ------------------------------------------------------------------ what its files hold beside the arrays of the module

    #: What `_state` looks like, as pydantic takes it.
    _state_schema: ClassVar[Any] = NoState

    def _state(self) -> dict[str, Any]:
        """What a model keeps beside its arrays, in JSON types."""
        return {}

    def _load_state(self, state: dict[str, Any]) -> None:
        """Take back what :meth:`_state` returned."""

    def _sizes(self) -> dict[str, int]:
        """Sizes that arrays share, by name, beside the numbers of genes and drugs; asked after :meth:`_load_state`."""
        return {}

    @abstractmethod
    def _wanted_arrays(self) -> dict[str, Array]:
        """Arrays that :meth:`_load_module_arrays` needs, as they stand in a file; asked after :meth:`_load_state`."""

    @abstractmethod
    def _load_module_arrays(self, arrays: dict[str, np.ndarray]) -> None:
        """Take back what :meth:`_module_arrays` returned."""

    def _module_arrays(self) -> dict[str, np.ndarray]:
        return {key: value.detach().cpu().numpy() for key, value in self.module.state_dict().items()}

    def _card_lines(self) -> list[str]:
        """Further lines of CARD.md."""
        return []


def _trained(value: T | None) -> T:
    if value is None:
        raise RuntimeError("The model was not trained: call train() first.")
    return value


def register(
    model: type[DrugResponseModel],
    adata: AnnData,
    arguments: dict[str, Any],
    *,
    layer: str | None,
    response_key: str,
) -> None:
    """Check a reference and register it with scvi-tools for a class of models, under the arguments of its `setup_anndata`."""
    if adata.is_view:
        raise ValueError("The reference is a view of another AnnData. Call `adata = adata.copy()` first.")
    check_reference(adata, layer=layer, response_key=response_key)
    # the formats that scvi-tools would make of them are not needed: models read their own copies
    fields = [
        LayerField(REGISTRY_KEYS.X_KEY, layer, is_count_data=False, correct_data_format=False),
        ObsmField(KEYS.RESPONSE, response_key, correct_data_format=False),
    ]
    manager = AnnDataManager(fields=fields, setup_method_args=arguments)
    with _quiet_scvi():
        manager.register_fields(adata)
    model.register_manager(manager)


def run_plan(model: DrugResponseModel, plan: NetworkPlan, options: TrainOptions, *, checkpoint: Path | None) -> None:
    """Carry out a plan with scvi-tools' runner, from a checkpoint if that file exists."""
    from ._checkpoints import PlainFiles

    benchmark = torch.backends.cudnn.benchmark
    with _quiet_scvi():
        runner = TrainRunner(
            model,
            training_plan=plan,
            data_splitter=plan.phase.batches,
            max_epochs=plan.phase.max_epochs,
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
