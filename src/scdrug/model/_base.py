"""The life cycle of every model: set up, train, predict, save, load. The only file that touches scvi-tools."""

from __future__ import annotations

import inspect
import logging
import os
import warnings
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import pandas as pd
import torch
from scvi import REGISTRY_KEYS
from scvi.data import AnnDataManager
from scvi.data.fields import LayerField, ObsmField
from scvi.model.base import BaseModelClass, UnsupervisedTrainingMixin
from scvi.module.base import BaseModuleClass, LossOutput, auto_move_data
from scvi.train import TrainRunner

from .. import __version__
from .._audit import check_unseen
from .._constants import KEYS
from .._settings import settings
from .._validate import plain, unique_slugs
from ..pp._genes import check_coverage, match_genes
from ..pp._harmonization import fit_harmonization
from ..pp._profile import ReferenceProfile
from ..pp._rows import iter_row_blocks
from ._card import MethodCard
from ._data import DRUG_COLUMNS, Calibration, ReferenceInfo, check_reference, dense_expression
from ._storage import read_arrays, read_config, write_model
from ._unseen import JoinedModel, choose_drugs

if TYPE_CHECKING:
    from anndata import AnnData

    from ._plan import Phase

__all__ = ["REGISTRY_KEYS", "BaseModuleClass", "DrugResponseModel", "LossOutput", "auto_move_data", "run_phase"]


class DrugResponseModel(UnsupervisedTrainingMixin, BaseModelClass):
    """Base of all models of drug response.

    A subclass brings its `card`, a module, and :meth:`_predict_rows`; it inherits setup, prediction by gene name and
    row block, calibration, and files that open without running code.

    Parameters
    ----------
    adata
        Bulk reference that :meth:`setup_anndata` was called on.
    registry
        Registry of an earlier setup, for loading without data.
    """

    card: ClassVar[MethodCard]

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
    def setup_anndata(
        cls, adata: AnnData, *, layer: str | None = None, response_key: str = KEYS.RESPONSE, **kwargs: Any
    ) -> None:
        """Register a bulk reference for training.

        Parameters
        ----------
        adata
            Bulk reference (see :func:`scdrug.pp.build_reference`): lines × genes, responses in `obsm`, drugs in `uns`.
        layer
            Layer that holds expression; `X` if omitted.
        response_key
            Key of `obsm`: DataFrame of lines × drug ids, NaN = not measured.
        **kwargs
            Passed on to scvi-tools' registration.

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
            **kwargs,
        )

    @classmethod
    def _register(
        cls,
        adata: AnnData,
        *,
        setup_method_args: dict[str, Any],
        layer: str | None,
        response_key: str,
        **kwargs: Any,
    ) -> None:
        """Check a reference and register it with scvi-tools, under the arguments of the caller's `setup_anndata`."""
        if adata.is_view:
            raise ValueError("The reference is a view of another AnnData. Call `adata = adata.copy()` first.")
        check_reference(adata, layer=layer, response_key=response_key)
        fields = [LayerField(REGISTRY_KEYS.X_KEY, layer, is_count_data=False), ObsmField(KEYS.RESPONSE, response_key)]
        manager = AnnDataManager(fields=fields, setup_method_args=setup_method_args)
        with _quiet_scvi():
            manager.register_fields(adata, **kwargs)
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
        return expression, response.to_numpy(dtype=np.float64)

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

    # ------------------------------------------------------------------ prediction

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

    def _drug_notes(self) -> pd.DataFrame | None:
        """Further columns on the drugs for what :func:`scdrug.tl.predict_response` stores, by id, such as applicability."""
        return None

    def _linear_weights(self, drugs: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
        """Weights (genes × drugs) and intercepts of a model that is linear in expression, else `None`.

        Linear models are evaluated together with the harmonization, in one product a block.
        """
        return None

    def _link(self, values: np.ndarray, drugs: np.ndarray) -> np.ndarray:
        """Turn the linear values of drugs by position (rows × drugs) into predictions, as a logistic regression does."""
        return values

    def _first_layer(self, drugs: np.ndarray, *, complete: bool) -> tuple[np.ndarray, np.ndarray] | None:
        """Weights (genes × units) and intercepts of what a model computes from expression itself, else `None`.

        Like a linear model, this is evaluated together with the harmonization; :meth:`_after_first_layer` does the rest.
        `complete` tells that no gene has to be filled: a layer that reads few genes is then better left to the rest.
        """
        return self._linear_weights(drugs)

    def _after_first_layer(self, values: np.ndarray, drugs: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Turn values of the first layer (rows × units) into predictions (rows × drugs).

        `rows` are the rows themselves (rows × genes); genes that were to be filled are not.
        """
        return self._link(values, drugs)

    def predict(
        self,
        adata: AnnData | None = None,
        *,
        drugs: Sequence[str] | Mapping[str, str] | None = None,
        layer: str | None = None,
        batch_size: int | None = None,
        min_coverage: float = 0.3,
        key_added: str | None = KEYS.PREDICTED,
    ) -> pd.DataFrame:
        """Predict responses of samples that are on the reference's expression scale.

        Cells must be harmonized first: :func:`scdrug.tl.predict_response` does both in one pass.

        Parameters
        ----------
        adata
            Samples × genes; genes are matched by name. The training reference if omitted.
        drugs
            Names or ids of drugs; all if omitted. Models whose card says `unseen_drugs` also take SMILES, or a mapping of
            names to SMILES, which are then predicted from structure.
        layer
            Layer to read; `X` if omitted.
        batch_size
            Rows a block; results do not depend on it.
        min_coverage
            Least share of the model's genes that must be measured; the others get their expected value.
        key_added
            Key of `obsm` to store the predictions under; ``None`` stores nothing.

        Returns
        -------
        Samples × drug ids, in the unit of the reference's response.

        Raises
        ------
        RuntimeError
            If the model was not trained.
        ValueError
            If too few genes are measured or values are not finite.
        KeyError
            If a drug is not known; the nearest names are offered.
        """
        self._check_if_trained(warn=False)
        if adata is None:
            expression, _ = self._training_arrays()
            adata, layer = self.adata, self._setup_arg("layer")
        model, ids, columns = self.select_drugs(drugs)
        match = match_genes(adata.var_names, self.genes)
        check_coverage(match, min_coverage=min_coverage, names=adata.var_names)
        fitted = fit_harmonization(adata, self.profile, match, method="none", layer=layer)
        values = np.empty((adata.n_obs, len(ids)), dtype=np.float32)
        names = np.asarray(adata.obs_names.astype(str), dtype=object)
        inputs = model._sample_inputs(adata)
        for rows, block in iter_row_blocks(adata, layer=layer, chunk_size=batch_size):
            extra = () if inputs is None else (inputs[rows],)
            values[rows] = model._predict_rows(fitted.transform(block).values, columns, names[rows], *extra)
        table = pd.DataFrame(values, index=adata.obs_names, columns=pd.Index(ids))
        if key_added is not None:
            adata.obsm[key_added] = table
            adata.uns[key_added] = self.provenance(coverage=match.coverage)
        return table

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

    def select_drugs(
        self, drugs: Sequence[str] | Mapping[str, str] | None
    ) -> tuple[DrugResponseModel | JoinedModel, list[str], np.ndarray]:
        """Find drugs by name or id, and predict others from their structure.

        Parameters
        ----------
        drugs
            Names, ids or SMILES; all drugs of the model if omitted. A mapping of names to SMILES asks for prediction from
            structure, for drugs of the training too; its keys, as slugs, are the ids of the result.

        Returns
        -------
        The model that predicts them (another one only where drugs are predicted from structure), their ids in the order
        of the query, and their columns in the model.

        Raises
        ------
        KeyError
            If a name is not known; the nearest names are offered.
        ValueError
            If a structure cannot be read, or the model cannot predict drugs that were not in training; the message says
            which models can.
        """
        if drugs is None:
            return self, list(self.drugs.index), np.arange(len(self.drugs))
        return choose_drugs(self, drugs)

    def _for_unseen(self, smiles: dict[str, str]) -> DrugResponseModel:
        """Return a trained model of drugs that were not in training, given as name → canonical SMILES, in this order.

        A subclass whose card says `unseen_drugs` brings this; :meth:`_hand_over` does what all of them need.
        """
        raise NotImplementedError(
            f"The card of {type(self).__name__} says that it predicts unseen drugs, but it has no `_for_unseen`."
        )

    def _hand_over(self, other: DrugResponseModel, smiles: dict[str, str]) -> None:
        """Give a model of unseen drugs this model's genes, profile and notes, and the table of its own drugs."""
        table = pd.DataFrame(
            {"name": list(smiles), "smiles": list(smiles.values())}, index=pd.Index(unique_slugs(smiles), dtype=object)
        ).reindex(columns=list(DRUG_COLUMNS), fill_value="")
        other.reference_ = replace(self.reference, drugs=table)
        other.profile_, other.notes_, other.is_trained_ = self.profile_, self.notes_, True

    def get_latent_representation(
        self, adata: AnnData | None = None, *, layer: str | None = None, batch_size: int | None = None
    ) -> np.ndarray:
        """Coordinates of samples along the reference's leading directions of variation (samples × K).

        Parameters
        ----------
        adata
            Samples × genes on the reference's scale; the training reference if omitted.
        layer
            Layer to read; `X` if omitted.
        batch_size
            Rows a block.
        """
        self._check_if_trained(warn=False)
        if adata is None:
            self._training_arrays()
            adata, layer = self.adata, self._setup_arg("layer")
        match = match_genes(adata.var_names, self.genes)
        check_coverage(match, min_coverage=0.0, names=adata.var_names)
        fitted = fit_harmonization(adata, self.profile, match, method="none", layer=layer)
        inputs = self._sample_inputs(adata)
        blocks = [
            self._latent_rows(fitted.transform(block).values, *(() if inputs is None else (inputs[rows],)))
            for rows, block in iter_row_blocks(adata, layer=layer, chunk_size=batch_size)
        ]
        return np.vstack(blocks)

    def _latent_rows(self, expression: np.ndarray) -> np.ndarray:
        return self.profile.scores(expression)

    def provenance(self, **extra: Any) -> dict[str, Any]:
        """Model, version, unit and direction of predictions, in plain types for ``uns``."""
        return plain(
            {
                "model": self.notes_.get("name", type(self).__name__),
                "model_class": type(self).__name__,
                "scdrug_version": __version__,
                **self.reference.response,
                **extra,
            }
        )

    # ------------------------------------------------------------------ files

    def _state(self) -> dict[str, Any]:
        """What a model keeps beside its arrays, in JSON types."""
        return {}

    def _load_state(self, state: dict[str, Any]) -> None:
        """Take back what :meth:`_state` returned."""

    def _module_arrays(self) -> dict[str, np.ndarray]:
        return {key: value.detach().cpu().numpy() for key, value in self.module.state_dict().items()}

    def _load_module_arrays(self, arrays: dict[str, np.ndarray]) -> None:
        self.module.load_state_dict({key: torch.from_numpy(np.array(value)) for key, value in arrays.items()})

    def save(
        self,
        dir_path: str | os.PathLike[str],
        *,
        overwrite: bool = False,
        dtype: str = "float32",
    ) -> None:
        """Write the model to a folder: ``model.safetensors``, ``model.json`` and ``CARD.md``.

        The folder opens without running code, and appears whole or not at all. It holds no training data, unless the
        model compares new samples with its training lines; CARD.md says so then.

        Parameters
        ----------
        dir_path
            Folder to create.
        overwrite
            Replace an existing folder.
        dtype
            ``"float32"``, or ``"float16"`` or ``"int8"`` to store large matrices in fewer bits.

        Raises
        ------
        RuntimeError
            If the model was not trained.
        FileExistsError
            If the folder exists and `overwrite` is off.
        """
        self._check_if_trained(warn=False)
        assert self.calibration_ is not None
        arrays = {f"module.{key}": value for key, value in self._module_arrays().items()}
        arrays |= {f"profile.{key}": value for key, value in self.profile.to_arrays().items()}
        arrays |= {
            "calibration.quantiles": self.calibration_.quantiles,
            "calibration.half_width": self.calibration_.half_width,
        }
        config = {
            "class": type(self).__name__,
            "scdrug_version": __version__,
            "init": {**self.init_params_["non_kwargs"], **self.init_params_["kwargs"]},
            "reference": self.reference.to_json(),
            "calibration": {"level": self.calibration_.level, "held_out": self.calibration_.held_out},
            "unseen_drugs": self._takes_unseen_drugs,
            "notes": self.notes_,
            "state": self._state(),
            "registry": _to_plain(self.registry_),
        }
        write_model(dir_path, arrays, config, self._card_text(), overwrite=overwrite, dtype=dtype)

    def _card_text(self) -> str:
        response = self.reference.response
        lines = [
            f"# {self.notes_.get('name', type(self).__name__)}",
            "",
            self.card.summary,
            "",
            f"- Model: `{type(self).__name__}` ({self.card.source})",
            f"- Trained on: {self.reference.n_lines} cell lines, {len(self.drugs)} drugs, {len(self.genes)} genes",
            f"- Predicts: {response['measure']} in {response['unit']}; {response['direction']}",
            f"- Training lines inside the file: {'yes' if self._holds_lines else 'no'}",
            f"- Written by scdrug {__version__}",
        ]
        return "\n".join(lines) + "\n" + str(self.notes_.get("card", ""))

    @classmethod
    def load(cls, dir_path: str | os.PathLike[str], *, adata: AnnData | None = None) -> Self:
        """Load a model that :meth:`save` wrote.

        Parameters
        ----------
        dir_path
            Folder of the model.
        adata
            Reference to attach, for training further; must have the model's genes and drugs. Not needed to predict.

        Raises
        ------
        FileNotFoundError, ValueError
            If the folder is not a readable model of this class.
        """
        config = read_config(dir_path)
        if config["class"] != cls.__name__:
            raise ValueError(
                f"{dir_path} holds a {config['class']}, not a {cls.__name__}. "
                "Use scdrug.model.load_pretrained, which finds the class by itself."
            )
        registry = _from_plain(config["registry"])
        init = {key: value for key, value in config["init"].items() if key not in ("adata", "registry")}
        if adata is not None:
            known = inspect.signature(cls.setup_anndata).parameters
            cls.setup_anndata(adata, **{k: v for k, v in registry["setup_args"].items() if k in known})
            model = cls(adata, **init)
            if (
                list(model.genes) != config["reference"]["genes"]
                or list(model.drugs.index) != (config["reference"]["drugs"]["id"])
            ):
                raise ValueError(
                    "The reference passed as `adata` has other genes or drugs than the model was trained on. "
                    "Pass the same reference, or omit `adata` to predict only."
                )
        else:
            model = cls(registry=registry, **init)
        model._restore(config, read_arrays(dir_path))
        return model

    def _restore(self, config: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
        def part(prefix: str) -> dict[str, np.ndarray]:
            return {key.removeprefix(prefix): value for key, value in arrays.items() if key.startswith(prefix)}

        self.reference_ = ReferenceInfo.from_json(config["reference"])
        self.profile_ = ReferenceProfile.from_arrays(part("profile."), self.reference_.genes)
        self.calibration_ = Calibration(**part("calibration."), **config["calibration"])  # type: ignore[arg-type]
        self.notes_ = config["notes"]
        self._load_state(config["state"])
        self._load_module_arrays(part("module."))
        self.module.eval()
        self.is_trained_ = True


def run_phase(
    model: DrugResponseModel, phase: Phase, *, accelerator: str, devices: int | str | list[int], seed: int
) -> tuple[list[dict[str, float]], int | None]:
    """Train a model's module through one phase with scvi-tools' runner.

    Parameters
    ----------
    model
        Model whose `module` is trained, in place.
    phase
        What to do.
    accelerator, devices
        Where to train, as scvi-tools takes them.
    seed
        Seed of dropout and noise; to be called where torch's random state may be changed.

    Returns
    -------
    Losses of each epoch, and the epoch whose state was kept (`None` for the last).

    Raises
    ------
    RuntimeError
        If the loss is not finite.
    """
    from ._plan import NetworkPlan

    model.module.train()
    plan = NetworkPlan(model.module, phase, seed)
    benchmark = torch.backends.cudnn.benchmark
    with _quiet_scvi():
        runner = TrainRunner(
            model,
            training_plan=plan,
            data_splitter=phase.batches,
            max_epochs=phase.max_epochs,
            accelerator=accelerator,
            devices=devices,
            enable_progress_bar=settings.progress,
            log_every_n_steps=1,
        )
        torch.backends.cudnn.benchmark = benchmark  # a global flag, which is the caller's
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*LeafSpec.*", category=FutureWarning)  # lightning on new torch
            runner()
    model.trainer = None  # it holds the training data
    if plan.diverged:
        model.is_trained_ = False
        raise RuntimeError(
            f"Training diverged in epoch {len(plan.records) - 1}: the loss is not finite. Lower `lr`, and check that "
            "expression and responses are on the scale that the model expects."
        )
    plan.restore_best()
    return plan.records, plan.best_epoch


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


def _to_plain(value: Any) -> Any:
    """Registry of scvi-tools in JSON types; arrays are marked so that they come back as arrays."""
    if isinstance(value, np.ndarray | pd.Index):
        return {"__array__": [str(item) for item in value]}
    if isinstance(value, dict):
        return {str(key): _to_plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_to_plain(item) for item in value]
    if isinstance(value, np.generic):
        return value.item()
    return value


def _from_plain(value: Any) -> Any:
    if isinstance(value, dict):
        if set(value) == {"__array__"}:
            return np.asarray(value["__array__"], dtype=object)
        return {key: _from_plain(item) for key, item in value.items()}
    return value
