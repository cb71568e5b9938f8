"""What to train: a model by name, with its parameters, as plain data that a configuration file can hold."""

from __future__ import annotations

import inspect
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from .._arguments import checked
from .._former import current_arguments
from .._validate import nearest, plain, slug

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData

    from ..model._base import DrugResponseModel

#: Arguments of a constructor that are not hyper-parameters.
_NOT_PARAMETERS = ("self", "adata", "registry")


@checked
@dataclass(frozen=True)
class ModelSpec:
    """A model to benchmark, with its parameters.

    Parameters
    ----------
    name
        Label in tables.
    model
        Name of a class in :data:`scdrug.model.MODEL_CLASSES`, or a class of your own that derives from
        `DrugResponseModel`.
    params
        Arguments of the constructor.
    train
        Arguments of `train`.
    tune
        Values to choose from on validation data, by name of the parameter; names of arguments of `train` are written
        ``train.name``.
    splits
        Names of the splits that it runs on; all that it can if omitted.

    Raises
    ------
    ValueError
        If the model or a parameter is not known; the nearest name is offered.

    Examples
    --------
    >>> from scdrug.benchmark import ModelSpec
    >>> ModelSpec("RBF ridge", "KernelRidge", params={"kernel": "rbf"}, tune={"ridge": [0.1, 0.3, 1.0]}).id
    'rbf-ridge'
    """

    name: str
    model: str | type[DrugResponseModel]
    params: Mapping[str, Any] = field(default_factory=dict)
    train: Mapping[str, Any] = field(default_factory=dict)
    tune: Mapping[str, Any] = field(default_factory=dict)
    splits: Sequence[str] | None = None

    def __post_init__(self) -> None:
        for argument in ("params", "tune"):  # as the constructor would take them
            given = getattr(self, argument)
            object.__setattr__(self, argument, current_arguments(self.model_class.__init__, given))
        known = _parameters(self.model_class.__init__)
        for argument, names in (("params", self.params), ("tune", self.tune)):
            for name in names:
                if not name.startswith("train."):
                    self._check_known(name, known, argument, "parameter")
        trained = inspect.signature(self.model_class.train).parameters.values()
        if not any(item.kind is inspect.Parameter.VAR_KEYWORD for item in trained):
            arguments = _parameters(self.model_class.train)
            for name in self.train:
                self._check_known(name, arguments, "train", "argument of train()", known)
            for name in self.tune:
                if name.startswith("train."):
                    self._check_known(name.removeprefix("train."), arguments, "tune", "argument of train()", known)
        for name, values in self.tune.items():
            if not isinstance(values, Mapping) and (
                isinstance(values, str) or not hasattr(values, "__len__") or not len(values)
            ):
                raise ValueError(
                    f"`tune` of {self.name!r} needs a list of values to choose from for {name!r}; found {values!r}."
                )

    def _check_known(
        self, name: str, known: Sequence[str], argument: str, what: str, elsewhere: Sequence[str] = ()
    ) -> None:
        if name in known:
            return
        near = nearest(name, known, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        if name in elsewhere:
            hint = " It is a parameter of the model: give it in `params`."
        raise ValueError(
            f"{self.model_name} has no {what} {name!r}, given in `{argument}` of {self.name!r}.{hint} "
            f"It has: {', '.join(known)}."
        )

    @property
    def id(self) -> str:
        """Name of its files."""
        return slug(self.name)

    @property
    def model_class(self) -> type[DrugResponseModel]:
        """The class."""
        from .. import model

        if not isinstance(self.model, str):
            return self.model
        if self.model not in model.MODEL_CLASSES:
            near = nearest(self.model, model.MODEL_CLASSES, n=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise ValueError(
                f"There is no model {self.model!r}, asked for by {self.name!r}.{hint} "
                f"There are: {', '.join(sorted(model.MODEL_CLASSES))}."
            )
        return getattr(model, self.model)

    @property
    def model_name(self) -> str:
        """Name of the class."""
        return self.model if isinstance(self.model, str) else self.model.__name__

    @property
    def fingerprint(self) -> dict[str, Any]:
        """All that decides the result, in plain types, without the label."""
        parts = {"model": self.model_name, "params": self.params, "train": self.train, "tune": self.tune}
        return json.loads(json.dumps(plain(parts), sort_keys=True, default=str))

    @checked
    def with_values(self, values: Mapping[str, Any]) -> ModelSpec:
        """The same with chosen values in the place of what is tuned.

        Parameters
        ----------
        values
            Chosen value by name, as in `tune`.
        """
        train = {name.removeprefix("train."): value for name, value in values.items() if name.startswith("train.")}
        params = {name: value for name, value in values.items() if not name.startswith("train.")}
        return replace(self, params={**self.params, **params}, train={**self.train, **train}, tune={})

    @checked
    def fit(
        self,
        adata: AnnData,
        *,
        validation: pd.DataFrame | None = None,
        seed: int = 0,
        checkpoint_dir: str | os.PathLike[str] | None = None,
    ) -> DrugResponseModel:
        """Train the model.

        Parameters
        ----------
        adata
            Reference with nothing but what training may see. It is copied.
        validation
            Lines × drug ids, true where a response is for early stopping; only for models whose card says `validates`.
        seed
            Seed of random numbers in training.
        checkpoint_dir
            Folder in which training keeps its state, for models that are trained in epochs; see
            :meth:`DrugResponseModel.train`.

        Returns
        -------
        The trained model.
        """
        import torch

        model_class = self.model_class
        adata = adata.copy()
        model_class.setup_anndata(adata)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            params, train = dict(self.params), dict(self.train)
            if isinstance(params.get("cells"), str):
                raise ValueError(
                    f"{self.name!r} asks for `cells: {params['cells']}` in training, which only single-cell tasks have. Leave "
                    "it out of splits of lines with `splits: []`, and run it in a task."
                )
            if "seed" in _parameters(model_class.__init__):
                params.setdefault("seed", seed)
            trained = model_class(adata, **params)
            taken = set(_parameters(model_class.train)) - set(model_class._without_effect)
            if "seed" in taken:
                train.setdefault("seed", seed)
            if "checkpoint_dir" in taken and checkpoint_dir is not None:
                train.setdefault("checkpoint_dir", checkpoint_dir)
            if validation is not None and getattr(model_class.card, "validates", False):
                train["validation"] = validation
            trained.train(**train)
        return trained


def _parameters(function: Any) -> list[str]:
    parameters = inspect.signature(function).parameters.values()
    named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return [item.name for item in parameters if item.kind in named and item.name not in _NOT_PARAMETERS]
