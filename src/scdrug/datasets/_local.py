"""Find the files of a data set, fetched or in a folder of the user, and describe where data came from."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from .._validate import examples
from ._fetch import _sha256, fetch
from ._registry import DatasetEntry, registry


def existing(path: str | os.PathLike[str]) -> Path:
    """The path, checked to be there.

    Raises
    ------
    FileNotFoundError
        If it is not.
    """
    path = Path(path).expanduser()
    if not path.exists():
        raise FileNotFoundError(f"`path` must be a file or folder of the data set; there is nothing at {path}.")
    return path


def find(folder: Path, patterns: Iterable[str]) -> Path | None:
    """The first file in `folder` (or `folder` itself, if it is a file) whose name matches one of `patterns`."""
    candidates = [folder] if folder.is_file() else sorted(folder.iterdir())
    for pattern in patterns:
        for candidate in candidates:
            if candidate.is_file() and candidate.match(pattern):
                return candidate
    return None


def require(folder: Path, patterns: Iterable[str], *, what: str) -> Path:
    """Like :func:`find`, but a missing file is an error that says what was looked for and what is there."""
    patterns = list(patterns)
    found = find(folder, patterns)
    if found is None:
        names = [folder.name] if folder.is_file() else sorted(item.name for item in folder.iterdir())
        raise FileNotFoundError(
            f"`path` must hold {what}, a file called {' or '.join(patterns)}; "
            f"{folder} has {examples(names, 8) if names else 'nothing'}."
        )
    return found


def obtain(dataset: str, files: Iterable[str], path: str | os.PathLike[str] | None) -> Path:
    """Folder (or file) with the data: `path` if given, else the named files are fetched into the cache."""
    if path is not None:
        return existing(path)
    fetched = [fetch(f"{dataset}/{file}") for file in files]
    return fetched[0].parent


def card(dataset: str, files: Iterable[Path]) -> dict[str, Any]:
    """What goes into ``uns["dataset"]``: name, terms of use, citation, and address and hash of each file read.

    The address is empty for files that are not those of the registry, by hash where one is known, else by name.
    """
    entry = registry()[dataset]
    files = list(files)
    hashes = [_sha256(file) for file in files]
    return {
        "name": dataset,
        "description": entry.description,
        "licence": entry.licence,
        "citation": entry.citation,
        "file": [file.name for file in files],
        "url": [_address(entry, file.name, found) for file, found in zip(files, hashes)],
        "sha256": hashes,
    }


def _address(entry: DatasetEntry, name: str, sha256: str) -> str:
    for file in entry.files:
        known = file.sha256 == sha256 if file.sha256 else file.file == name
        if known and file.address:
            return file.address
    return ""
