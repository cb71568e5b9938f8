"""Files of every model: a folder that opens without running code."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch

from .. import __version__
from .._arguments import checked
from .._former import current_arguments
from .._validate import check_choice
from ._data import ReferenceInfo
from ._options import Model, set_up_again
from ._parts import read_parts
from ._schema import blaming, check_part
from ._storage import CONFIG, DTYPES, Weights, read_config, write_model

if TYPE_CHECKING:
    from anndata import AnnData

    from ._base import DrugResponseModel


@checked
def save(
    self: DrugResponseModel,
    dir_path: str | os.PathLike[str],
    *,
    overwrite: bool = False,
    dtype: str = "float32",
) -> None:
    """Write the model to a folder: ``model.safetensors``, ``model.json`` and ``CARD.md``.

    The folder opens without running code. It holds no training data, unless the model compares new samples with its
    training lines; CARD.md says so then. At each moment the folder holds a whole model, the old or the new one, also if
    the process is killed or the disk is full.

    Parameters
    ----------
    dir_path
        Folder to create.
    overwrite
        Replace the model that the folder holds. A folder that is no model, or holds other files, is never replaced.
    dtype
        ``"float32"``, or ``"float16"`` or ``"int8"`` to store large matrices in fewer bits.

    Raises
    ------
    RuntimeError
        If the model was not trained.
    FileExistsError
        If the folder exists and `overwrite` is off, or a file has that name.
    ValueError
        If the folder to replace is no model or holds other files, or `dtype` is not known.
    OSError
        If the folder cannot be written, or the disk is full; a model that was there is intact.
    """
    self._check_if_trained(warn=False)
    check_choice("dtype", dtype, DTYPES)
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
    write_model(dir_path, arrays, config, _card_text(self), overwrite=overwrite, dtype=dtype)


@checked
def load(cls: type[Model], dir_path: str | os.PathLike[str], *, adata: AnnData | None = None) -> Model:
    """Load a model that :meth:`save` wrote.

    The files are checked before anything is made of them: ``model.json`` against its schema, shapes and types of all
    arrays against ``model.json``, and both against the hashes that were stored with them.

    Parameters
    ----------
    dir_path
        Folder of the model.
    adata
        Reference to attach, for training further; must have the model's genes and drugs. Not needed to predict.

    Raises
    ------
    FileNotFoundError
        If there is no such folder, or a file is missing.
    ValueError
        If the folder is not a readable model of this class; the message names the file and the field or array.
    """
    directory = Path(dir_path).expanduser()
    config = read_config(directory)
    if config["class"] != cls.__name__:
        raise ValueError(
            f"{directory} holds a {config['class']}, not a {cls.__name__}. "
            "Use scdrug.model.load_pretrained, which finds the class by itself."
        )
    weights = Weights(directory, config)
    _refuse_former(cls, config, weights)
    init = {key: value for key, value in config["init"].items() if key not in ("adata", "registry")}
    init = current_arguments(cls.__init__, init, warn=False)
    with blaming(directory / CONFIG, "init"):
        model = cls(registry=_from_plain(config["registry"]), **init)
    if adata is not None:
        model = set_up_again(cls, adata, model.registry_, init)
        reference = config["reference"]
        if list(model.genes) != reference["genes"] or list(model.drugs.index) != reference["drugs"]["id"]:
            raise ValueError(
                "The reference passed as `adata` has other genes or drugs than the model was trained on. "
                "Pass the same reference, or omit `adata` to predict only."
            )
    _restore(model, config, weights, directory / CONFIG)
    return model


def _card_text(model: DrugResponseModel) -> str:
    """What CARD.md says."""
    response = model.reference.response
    lines = [
        f"# {model.notes_.get('name', type(model).__name__)}",
        "",
        model.card.summary,
        "",
        f"- Model: `{type(model).__name__}` ({model.card.source})",
        f"- Trained on: {model.reference.n_lines} cell lines, {len(model.drugs)} drugs, {len(model.genes)} genes",
        f"- Predicts: {response['measure']} in {response['unit']}; {response['direction']}",
        f"- Training lines inside the file: {'yes' if model._holds_lines else 'no'}",
        f"- Written by scdrug {__version__}",
        *model._card_lines(),
    ]
    return "\n".join(lines) + "\n" + str(model.notes_.get("card", ""))


def _restore(model: DrugResponseModel, config: dict[str, Any], weights: Weights, path: Path) -> None:
    model.reference_ = ReferenceInfo.from_json(config["reference"])
    model.notes_ = config["notes"]
    check_part(model._state_schema, config["state"], path, "state")
    with blaming(path, "state"), torch.device("meta"):  # sizes without memory
        model._load_state(config["state"])
        wanted, sizes = model._wanted_arrays(), model._sizes()
    parts = read_parts(weights, config, model.reference_, wanted, sizes)
    model.profile_, model.calibration_ = parts.profile, parts.calibration
    with blaming(weights.path, "module"):
        model._load_module_arrays(parts.module)
    weights.check_intact()
    model.module.eval()
    model.is_trained_ = True


def _refuse_former(cls: type[DrugResponseModel], config: dict[str, Any], weights: Weights) -> None:
    """Raise for models that version 0.1 wrote in a form of their own: blended ones, and regressions that know structures."""
    init, fields = config["init"], getattr(cls._state_schema, "model_fields", {})
    blended = "shares" in fields and "shares" not in config["state"]
    parts = ("module.process.", "module.new_drugs.")
    regression = cls.__name__ == "KernelRidge" and (init.get("couple_drugs") or init.get("drug_kernel"))
    if blended or (regression and not any(name.startswith(parts) for name in weights.header)):
        options = "" if blended else " with `couple_drugs` or `drug_kernel`"
        raise ValueError(
            f"{weights.path.parent} holds a {cls.__name__}{options} that scdrug 0.1 saved. Such models have changed and must be "
            "trained again, on the same reference."
        )


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
