"""Single-cell tasks of a configuration: one file per task and model, so that a run can go on."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..._own_files import write_atomically
from .._search import Search
from .._store import jsonable
from ._tasks import run_single_cell

if TYPE_CHECKING:
    from anndata import AnnData

    from .._spec import ModelSpec

#: What an entry of `single_cell` in a configuration may hold.
KEYS = (
    "name",
    "task",
    "models",
    "release",
    "measure",
    "screen",
    "genes",
    "seeds",
    "options",
    "n_bootstrap",
    "accession",
    "exclude",
    "one_drug",
)


def run_tasks(
    tasks: Sequence[Mapping[str, Any]],
    specs: Sequence[ModelSpec],
    adata: AnnData,
    *,
    out: str | os.PathLike[str],
    data: str | os.PathLike[str] | None = None,
    search: Search | None = None,
) -> None:
    """Score models on single-cell tasks, and save each table as it is finished.

    Parameters
    ----------
    tasks
        Entries of a configuration, with the keys of `KEYS`.
    specs
        Models.
    adata
        Reference to train on, unless a task names another release or measure.
    out
        Folder of results.
    data
        Folder with a folder for each data set.
    search
        How to choose what models tune.

    Raises
    ------
    ValueError
        If the folder holds tables of a task or model of that name with other settings.
    """
    for task in tasks:
        options = dict(task)
        name = str(options.pop("name", options["task"]))
        chosen = options.pop("models", None)
        for spec in specs:
            if chosen is not None and spec.name not in chosen:
                continue
            path = Path(out) / "single_cell" / name / f"{spec.id}.csv"
            settings = {"task": jsonable(task), "model": spec.fingerprint, "search": jsonable(vars(search or Search()))}
            if _is_finished(path, settings):
                continue
            own = {"reference": adata} if not {"release", "measure"} & set(options) else {}
            table = run_single_cell(spec, data=data, search=search, **own, **options)
            table["task"] = name
            write_atomically(path.with_suffix(".json"), json.dumps(settings, indent=1, sort_keys=True) + "\n")
            write_atomically(path, table.to_csv(index=False, lineterminator="\n"))


def _is_finished(path: Path, settings: Mapping[str, Any]) -> bool:
    if not path.is_file():
        return False
    described = path.with_suffix(".json")
    found = json.loads(described.read_text(encoding="utf-8")) if described.is_file() else None
    if found != jsonable(settings):
        raise ValueError(
            f"{path} was made with other settings. Choose another folder, another name, or `overwrite` to start anew."
        )
    return True
