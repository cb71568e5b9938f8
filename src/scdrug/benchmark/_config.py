"""Benchmarks as configuration files."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from .._arguments import checked
from .._own_files import write_atomically
from .._validate import check_choice, slug
from ..model.baseline._class_labels import check_label_rule
from ._config_data import SCREENS, check_data, check_keys, load_data
from ._config_types import Options, Seed, Text, check_types
from ._division import make_splits
from ._results import Results
from ._runner import run
from ._screens import check_line_splits, score_screens
from ._search import MOST_CHOICES, Search, check_grid
from ._spec import ModelSpec
from ._splits import KINDS, Splits, read_splits
from ._store import SCREENS_FILE
from ._work import Progress
from ._yaml import read_yaml

if TYPE_CHECKING:
    from anndata import AnnData

_SPLIT_KEYS = (
    "name",
    "kind",
    "file",
    "n_folds",
    "first",
    "n_repeats",
    "validation",
    "seed",
    "line_key",
    "tissue_key",
    "label_key",
)
_MODEL_KEYS = ("name", "model", "params", "train", "tune", "splits")
#: Folds of one split; each is a training.
MOST_FOLDS = 10_000
_FOLDS = Annotated[int, Field(ge=2, le=MOST_FOLDS)]
_SPLIT_TYPES = {
    "name": Text, "kind": str, "file": str, "n_folds": _FOLDS | None, "first": Annotated[int, Field(ge=1, le=MOST_FOLDS)] | None,
    "n_repeats": Annotated[int, Field(ge=1, le=MOST_FOLDS)], "validation": Annotated[float, Field(gt=0, lt=1)], "seed": Seed,
    "line_key": str | None, "tissue_key": str, "label_key": str,
}  # fmt: skip
_MODEL_TYPES = {
    "name": Text, "model": str, "params": Options, "train": Options, "tune": Options, "splits": list[str] | None,
}  # fmt: skip
_TASK_TYPES = {
    "name": Text, "task": str, "models": list[str] | None, "release": str, "measure": str, "screen": str | None, "accession": str | None,
    "exclude": list[str] | None, "one_drug": bool, "seeds": list[Seed], "options": Options,
    "n_bootstrap": Annotated[int, Field(ge=0, le=100_000)],
}  # fmt: skip
_KEYS = ("name", "data", "screens", "splits", "models", "labels", "search", "seed", "single_cell")


@checked
@dataclass(frozen=True)
class Config:
    """A benchmark as it stands in a file."""

    #: Title.
    name: str
    #: ``{"dataset": …, arguments of its loader}`` or ``{"file": reference.h5ad}``.
    data: Mapping[str, Any]
    #: Arguments of :func:`make_splits` by name, or ``{"file": …}``; ``"first": n`` runs only the first folds of each repeat.
    splits: Mapping[str, Mapping[str, Any]]
    models: Sequence[ModelSpec]
    labels: Mapping[str, Any] | None = None
    search: Search = field(default_factory=Search)
    seed: int = 0
    #: Single-cell tasks: ``{"task": …}`` and what it takes.
    single_cell: Sequence[Mapping[str, Any]] = ()
    #: Other screens of the same lines that predictions for held-out lines are judged by, by name: entries like `data`.
    screens: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    #: Folder that relative file names start from.
    folder: Path = field(default_factory=Path)

    @property
    def n_folds(self) -> dict[str, int]:
        """Folds of each split, where the file tells."""
        return {
            name: 0
            if "file" in part
            else int(part.get("first") or part.get("n_folds") or 0) * int(part.get("n_repeats", 1))
            for name, part in self.splits.items()
        }

    @checked
    def load_data(self, data: str | os.PathLike[str] | None = None) -> AnnData:
        """Load the reference.

        Parameters
        ----------
        data
            Folder that holds a folder for each data set, with files fetched by hand; by default data sets are fetched.
        """
        return load_data(self.data, self.folder, None if data is None else Path(data))

    @checked
    def load_screens(self, data: str | os.PathLike[str] | None = None) -> dict[str, AnnData]:
        """Load the screens that predictions are judged by, by name.

        Parameters
        ----------
        data
            As for :meth:`load_data`.
        """
        folder = None if data is None else Path(data)
        return {name: load_data(entry, self.folder, folder, "screens") for name, entry in self.screens.items()}

    @checked
    def make_splits(self, adata: AnnData) -> dict[str, Splits]:
        """Make or read the splits."""
        made = {}
        for name, part in self.splits.items():
            options = dict(part)
            first = options.pop("first", None)
            found = (
                read_splits(self.folder / str(options["file"]))
                if "file" in options
                else make_splits(adata, options.pop("kind"), **options)
            )
            made[name] = found if first is None else found.first(int(first))
        return made


@checked
def read_config(path: str | os.PathLike[str]) -> Config:
    """Read a configuration file and check all that can be checked without data.

    Parameters
    ----------
    path
        YAML file; see the user guide.

    Returns
    -------
    The configuration.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is not YAML, or holds an unknown key, model, parameter or split; the nearest name is offered.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"No configuration at {path}.")
    content = read_yaml(path)
    if not isinstance(content, dict):
        raise ValueError(f"{path} must hold the keys {', '.join(_KEYS)}; found {type(content).__name__}.")
    check_keys(content, _KEYS, str(path))
    lacking = [key for key in ("data", "splits", "models") if not content.get(key)]
    if lacking:
        raise ValueError(f"{path} lacks {', '.join(map(repr, lacking))}. A benchmark needs data, splits and models.")
    splits = _splits(_entries(content["splits"], "splits"))
    models = [_model(entry, splits) for entry in _entries(content["models"], "models")]
    search = _search(content.get("search"))
    for spec in models:
        check_grid(spec.tune, search, name=repr(spec.name))
    check_types(content, "", name=Text, labels=str | dict | None, seed=Seed)
    return Config(
        name=str(content.get("name", path.stem)),
        data=check_data(content["data"]),
        splits=splits,
        models=models,
        labels=_labels(content.get("labels")),
        search=search,
        seed=content.get("seed", 0),
        screens=_screens(_entries(content.get("screens") or [], "screens")),
        single_cell=_tasks(_entries(content.get("single_cell") or [], "single_cell"), models),
        folder=path.parent,
    )


@checked
def run_config(
    config: str | os.PathLike[str] | Config,
    out: str | os.PathLike[str],
    *,
    data: str | os.PathLike[str] | None = None,
    models: Sequence[str] | None = None,
    splits: Sequence[str] | None = None,
    n_jobs: int = 1,
    progress: bool | Progress = True,
    overwrite: bool = False,
) -> Results:
    """Run the benchmark of a configuration file, or go on with one.

    Parameters
    ----------
    config
        File, or what :func:`read_config` returned.
    out
        Folder for results.
    data
        Folder with a folder for each data set; by default data sets are fetched.
    models, splits
        Names to restrict the run to.
    n_jobs
        Parallel processes; −1 for one a core.
    progress
        Show a bar, or a function that is called with finished folds, all folds, and a label.
    overwrite
        Delete what the folder holds of an earlier run; refused if it holds any other file.

    Returns
    -------
    Results of all folds in the folder.

    Raises
    ------
    FileNotFoundError, ValueError, RuntimeError
        As :func:`read_config` and :func:`run`.
    """
    if not isinstance(config, Config):
        config = read_config(config)
    for argument, names, known in (
        ("models", models, [spec.name for spec in config.models]),
        ("splits", splits, list(config.splits)),
    ):
        for name in names or ():
            check_choice(argument, name, known)
    adata = config.load_data(data)
    wanted = {name: part for name, part in config.splits.items() if splits is None or name in splits}
    made = replace(config, splits=wanted).make_splits(adata)
    screens = config.load_screens(data)
    if screens:
        check_line_splits({name: part.kind for name, part in made.items()})
    specs = _restricted([spec for spec in config.models if models is None or spec.name in models], list(made))
    results = run(
        adata,
        made,
        specs,
        out=out,
        labels=config.labels,
        search=config.search,
        seed=config.seed,
        n_jobs=n_jobs,
        name=config.name,
        progress=progress,
        overwrite=overwrite,
    )
    if screens:
        table = score_screens(results, adata, screens)
        write_atomically(results.folder / SCREENS_FILE, table.to_csv(index=False, lineterminator="\n"))
    if config.single_cell:
        from .transfer._run import run_tasks

        chosen = [spec for spec in config.models if models is None or spec.name in models]
        run_tasks(config.single_cell, chosen, adata, out=out, data=data, search=config.search)
    return Results(out)


def _restricted(specs: Sequence[ModelSpec], splits: Sequence[str]) -> list[ModelSpec]:
    """Models whose own choice of splits is cut down to those that are run."""
    kept = []
    for spec in specs:
        if spec.splits is None:
            kept.append(spec)
            continue
        left = [name for name in spec.splits if name in splits]
        if left:
            kept.append(replace(spec, splits=left))
    return kept


def _entries(value: Any, what: str) -> list[dict[str, Any]]:
    if not isinstance(value, list) or not all(isinstance(entry, dict) for entry in value):
        raise ValueError(f"`{what}` must be a list of mappings; found {type(value).__name__}.")
    return value


def _labels(rule: Any) -> dict[str, Any] | None:
    try:
        return check_label_rule(rule)
    except (TypeError, ValueError) as error:
        raise ValueError(f"`labels` cannot be used: {error}") from error


def _search(search: Any) -> Search:
    search = {} if search is None else search
    if not isinstance(search, dict):
        raise ValueError(f"`search` must be a mapping; found {type(search).__name__}.")
    check_keys(search, ("method", "n_trials", "select_by"), "search")
    check_types(search, "search", method=str, n_trials=Annotated[int, Field(ge=1, le=MOST_CHOICES)], select_by=str)
    return Search(**search)


def _screens(entries: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    named: dict[str, dict[str, Any]] = {}
    for entry in entries:
        check_types(entry, "screens", name=Text)
        part = dict(entry)
        name = str(part.pop("name", part.get("release") or part.get("dataset") or part.get("file")))
        if name in named:
            raise ValueError(f"Screens need different names; found {name!r} twice.")
        named[name] = check_data(part, "screens", SCREENS)
    return named


def _splits(entries: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    named: dict[str, dict[str, Any]] = {}
    for entry in entries:
        check_keys(entry, _SPLIT_KEYS, "splits")
        check_types(entry, "splits", **_SPLIT_TYPES)
        part = dict(entry)
        if ("kind" in part) == ("file" in part):
            raise ValueError(f"A split needs either `kind`, one of {', '.join(KINDS)}, or `file`; found {dict(entry)}.")
        if "kind" in part:
            check_choice("kind", part["kind"], KINDS)
        name = str(part.pop("name", part.get("kind") or Path(str(part.get("file"))).name.split(".")[0]))
        if name != slug(name) or name in named:
            raise ValueError(
                f"Splits need different names of lower-case letters, digits and dashes; found {name!r}"
                f"{' twice' if name in named else ''}."
            )
        if "kind" in part:
            part.setdefault("n_folds", 5)
            n_folds = (part.get("first") or part["n_folds"] or 1) * part.get("n_repeats", 1)
            if n_folds > MOST_FOLDS:
                raise ValueError(
                    f"The split {name!r} asks for {n_folds:,} folds, and at most {MOST_FOLDS:,} are run. Lower `n_repeats` or "
                    "`n_folds`."
                )
        named[name] = part
    return named


def _tasks(entries: Sequence[Mapping[str, Any]], models: Sequence[ModelSpec]) -> list[dict[str, Any]]:
    from .transfer._run import KEYS
    from .transfer._tasks import TASKS

    names = []
    for entry in entries:
        check_keys(entry, KEYS, "single_cell")
        check_types(entry, "single_cell", **_TASK_TYPES)
        check_choice("single_cell.task", entry.get("task"), (*TASKS, "he2025"))
        for name in entry.get("models") or ():
            check_choice("single_cell.models", name, [spec.name for spec in models])
        names.append(str(entry.get("name", entry["task"])))
        if slug(names[-1]) != names[-1].replace("_", "-") or names[-1] in names[:-1]:
            raise ValueError(f"Single-cell tasks need different names of lower-case letters; found {names}.")
    return [dict(entry) for entry in entries]


def _model(entry: Mapping[str, Any], splits: Mapping[str, Any]) -> ModelSpec:
    check_keys(entry, _MODEL_KEYS, "models")
    check_types(entry, "models", **_MODEL_TYPES)
    if "model" not in entry:
        raise ValueError(f"A model needs `model`, the name of a class; found {dict(entry)}.")
    for name in entry.get("splits") or ():
        check_choice(f"splits of {entry.get('name', entry['model'])!r}", name, list(splits))
    options = {key: entry.get(key) or {} for key in ("params", "train", "tune")}
    if "cells" in options["params"] and entry.get("splits") != []:
        raise ValueError(
            f"{entry.get('name', entry['model'])!r} learns from the cells of a single-cell task, and splits of lines have none. "
            "Give it `splits: []`."
        )
    return ModelSpec(str(entry.get("name", entry["model"])), entry["model"], splits=entry.get("splits"), **options)
