"""`train` and its arguments, which are the same for all models."""

from __future__ import annotations

import inspect
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import pandas as pd
import torch

from .._arguments import checked
from .._validate import check_choice

if TYPE_CHECKING:
    from anndata import AnnData

    from ._base import DrugResponseModel

Model = TypeVar("Model", bound="DrugResponseModel")

#: What `plan_kwargs` may hold.
_PLAN = ("compile", "compile_kwargs")


@dataclass(frozen=True, eq=False)
class TrainOptions:
    """Arguments of :meth:`DrugResponseModel.train`; `None` where the model's own default holds."""

    max_epochs: int | None = None
    accelerator: str = "auto"
    devices: int | str | list[int] = 1
    precision: str = "32-true"
    batch_size: int | None = None
    lr: float | None = None
    patience: int | None = None
    early_stopping: bool = True
    validation: float | pd.DataFrame | None = None
    seed: int = 0
    checkpoint_dir: str | os.PathLike[str] | None = None
    plan_kwargs: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in self.plan_kwargs:
            check_choice("plan_kwargs", name, _PLAN)
        if not isinstance(self.plan_kwargs.get("compile", False), bool):
            raise TypeError(
                f"`plan_kwargs['compile']` must be True or False; found {self.plan_kwargs['compile']!r}. Arguments of "
                "torch.compile go into `plan_kwargs['compile_kwargs']`."
            )

    def refuse(self, without_effect: Mapping[str, str], model: str) -> None:
        """Refuse what a model makes no use of, and say what to do instead.

        Parameters
        ----------
        without_effect
            Reason and remedy by name of the argument.
        model
            Name of the model.

        Raises
        ------
        TypeError
            If one of these arguments was given, that is, is not the default.
        """
        default = TrainOptions()
        for item in fields(self):
            value = getattr(self, item.name)
            given = isinstance(value, pd.DataFrame) or value != getattr(default, item.name)
            if given and item.name in without_effect:
                raise TypeError(f"`{item.name}` has no effect on {model}: {without_effect[item.name]}")


@checked
def train(
    self: DrugResponseModel,
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


@checked
def retrain(self: DrugResponseModel, reference: AnnData, **options: Any) -> DrugResponseModel:
    """Train the same recipe on another reference: an own screen, or the same one without some lines.

    Parameters
    ----------
    reference
        Bulk reference (see :func:`scdrug.pp.build_reference`), with whatever the model reads beside expression. Not changed.
    **options
        Arguments of :meth:`train`.

    Returns
    -------
    A new, trained model of the same class and with the same arguments. Nothing is taken over from this one: no weights, genes,
    drugs or notes.

    Raises
    ------
    KeyError, TypeError, ValueError
        If `reference` does not follow the data contract or lacks what the model reads, or an argument does not fit; the
        message says where.

    Notes
    -----
    Choices that the recipe stands for, such as the ridge of the bundled model, were made on GDSC and stay as they are.

    Examples
    --------
    >>> import scdrug
    >>> reference = scdrug.datasets.toy()
    >>> own = scdrug.model.load_pretrained("gdsc-ridge").retrain(reference)
    >>> own.drugs.index.equals(reference.obsm["response"].columns)
    True
    """
    init = {**self.init_params_["non_kwargs"], **self.init_params_["kwargs"]}
    again = set_up_again(
        type(self), reference.copy(), self.registry_, {k: v for k, v in init.items() if k not in ("adata", "registry")}
    )
    again.train(**options)
    return again


def set_up_again(cls: type[Model], adata: AnnData, registry: Mapping[str, Any], init: Mapping[str, Any]) -> Model:
    """Make an untrained model on a reference, as another was set up and created."""
    known = inspect.signature(cls.setup_anndata).parameters
    cls.setup_anndata(adata, **{k: v for k, v in registry["setup_args"].items() if k in known})
    return cls(adata, **init)


@dataclass(frozen=True, eq=False)
class PhaseOptions:
    """What phases are made with: arguments of `train`, the model's defaults filled in."""

    max_epochs: int
    batch_size: int
    lr: float
    patience: int
    early_stopping: bool
    seed: int
    #: Source of the order of batches.
    generator: torch.Generator


def given(**arguments: Any) -> dict[str, Any]:
    """Arguments that were given, that is, are not `None`."""
    return {name: value for name, value in arguments.items() if value is not None}


def refuse_without_prior(model: str, prior: str | None, *, example: str = "process", **options: Any) -> None:
    """Refuse options of a prior, `None` where not given, for a model that has none.

    Raises
    ------
    ValueError
        Naming the option.
    """
    for name in given(**options) if prior is None else ():
        raise ValueError(
            f"`{name}` is an option of the prior, and this {model} has none. Leave it out, or add `prior={example!r}`."
        )


def preset_settings(presets: Mapping[str, Any], preset: str, **given: Any) -> Any:
    """Settings of a preset with what was given instead.

    Parameters
    ----------
    presets
        Settings by name; they bring `with_values`.
    preset
        Name.
    **given
        Settings by name; `None` leaves the preset's.

    Raises
    ------
    ValueError
        If a name or value is unknown or out of range.
    """
    check_choice("preset", preset, tuple(presets))
    return presets[preset].with_values(**given)


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
