"""What data a configuration names: a loader of :mod:`scdrug.datasets` with its arguments, or a file."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .._validate import check_choice, examples, nearest

if TYPE_CHECKING:
    from anndata import AnnData

#: Loaders of references, and of screens without expression.
REFERENCES = ("gdsc", "deepcdr", "mtigcn", "ccle", "toy")
SCREENS = (*REFERENCES, "nci60")


def check_keys(entry: Mapping[str, Any], known: Sequence[str], where: str) -> None:
    """Raise if a mapping of a configuration has a key that is not known; the nearest is offered.

    Parameters
    ----------
    entry
        Mapping.
    known
        Keys that there are.
    where
        Where it stands, for the message.
    """
    unknown = [str(key) for key in entry if key not in known]
    if not unknown:
        return
    near = nearest(unknown[0], known, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    raise ValueError(f"Unknown key {examples(unknown)} in {where}.{hint} Known: {', '.join(known)}.")


def check_data(data: Any, where: str = "data", loaders: Sequence[str] = REFERENCES) -> dict[str, Any]:
    """The entry as a dictionary, if it names a loader and arguments that this has, or a file.

    Parameters
    ----------
    data
        Entry of a configuration.
    where
        Its key, for messages.
    loaders
        Loaders that may be named.

    Raises
    ------
    ValueError
        If not.
    """
    if not isinstance(data, dict) or ("dataset" in data) == ("file" in data):
        found = list(map(str, data)) if isinstance(data, dict) else [type(data).__name__]
        near = [key for key in ("dataset", "file") if key not in found and nearest(key, found, n=1)]
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise ValueError(
            f"`{where}` needs either `dataset`, the name of a loader of scdrug.datasets, or `file`; "
            f"found {examples(found) if found else 'nothing'}.{hint}"
        )
    if "dataset" in data:
        from .. import datasets

        check_choice(f"{where}.dataset", data["dataset"], [name for name in loaders if name in datasets.__all__])
        known = ["dataset", *inspect.signature(getattr(datasets, data["dataset"])).parameters]
        check_keys(data, known, where)
    return dict(data)


def load_data(entry: Mapping[str, Any], folder: Path, data: Path | None, where: str = "data") -> AnnData:
    """Load what an entry names.

    Parameters
    ----------
    entry
        As :func:`check_data` returns it.
    folder
        Folder that relative file names start from.
    data
        Folder that holds a folder for each data set; by default data sets are fetched.
    where
        Key of the entry, for messages.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    """
    options = dict(entry)
    if "file" in options:
        from anndata import read_h5ad

        path = folder / str(options["file"])
        if not path.is_file():
            raise FileNotFoundError(f"No reference at {path}, which `{where}.file` of the configuration names.")
        return read_h5ad(path)
    from .. import datasets

    name = options.pop("dataset")
    loader = getattr(datasets, name)
    if data is not None and "path" in inspect.signature(loader).parameters:
        options.setdefault("path", data / name)
    return loader(**options)
