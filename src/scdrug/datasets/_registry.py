"""What can be fetched: files with address, hash, terms of use and citation, read from ``registry.yaml``."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any

import yaml

from .._settings import settings
from .._validate import examples, nearest

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True)
class FileEntry:
    """One file of a data set."""

    dataset: str
    file: str
    #: Addresses in the order in which they are tried; empty when no program can fetch the file.
    urls: tuple[str, ...]
    sha256: str | None
    size: int | None
    unverified: bool
    note: str
    #: Number of a figshare article and patterns of the file's name in it, tried in this order, where the address must be
    #: asked for.
    figshare: tuple[int, tuple[str, ...]] | None = None
    #: Hash that the server states for the file, where it does.
    md5: str | None = None

    @property
    def downloadable(self) -> bool:
        """Whether a program can fetch the file."""
        return bool(self.urls) or self.figshare is not None

    @property
    def address(self) -> str:
        """First address, or the page of the figshare article; empty when no program can fetch the file."""
        if self.urls:
            return self.urls[0]
        return f"https://doi.org/10.6084/m9.figshare.{self.figshare[0]}" if self.figshare else ""

    @property
    def name(self) -> str:
        """Name under which the file is fetched, and its path inside the cache."""
        return f"{self.dataset}/{self.file}"


@dataclass(frozen=True, slots=True)
class DatasetEntry:
    """A data set: its files, terms of use and citation."""

    name: str
    description: str
    #: Name of the function of :mod:`scdrug.datasets` that reads it, or ``None``.
    loader: str | None
    licence: str
    citation: str
    files: tuple[FileEntry, ...]


def parse_registry(text: str) -> dict[str, DatasetEntry]:
    """Read the text of a registry file.

    Parameters
    ----------
    text
        YAML with the single key ``datasets``: data sets by name.

    Returns
    -------
    Entries by name.

    Raises
    ------
    ValueError
        If an entry lacks a field, or a file has neither a hash nor the mark `unverified`.
    """
    content = yaml.safe_load(text)
    if not isinstance(content, dict) or not isinstance(content.get("datasets"), dict):
        raise ValueError("A registry must be a mapping with the key 'datasets'.")
    return {name: _dataset(name, fields) for name, fields in content["datasets"].items()}


def _dataset(name: str, fields: dict[str, Any]) -> DatasetEntry:
    missing = {"description", "loader", "licence", "citation", "files"} - set(fields)
    if missing:
        raise ValueError(f"Data set {name!r} of the registry lacks {examples(sorted(missing))}.")
    return DatasetEntry(
        name=name,
        description=fields["description"],
        loader=fields["loader"],
        licence=fields["licence"],
        citation=fields["citation"],
        files=tuple(_file(name, file) for file in fields["files"]),
    )


def _file(dataset: str, fields: dict[str, Any]) -> FileEntry:
    url, mirrors, figshare = fields.get("url"), fields.get("mirrors", []), fields.get("figshare")
    entry = FileEntry(
        dataset=dataset,
        file=fields["file"],
        urls=tuple([url] if url else []) + tuple(mirrors),
        sha256=fields.get("sha256"),
        size=fields.get("size"),
        unverified=bool(fields.get("unverified", False)),
        note=fields.get("note", ""),
        figshare=(int(figshare["article"]), tuple(figshare["patterns"])) if figshare else None,
    )
    if (entry.sha256 is None) != entry.unverified:
        raise ValueError(f"{entry.name!r} of the registry must have either a sha256 or the mark `unverified`.")
    return entry


@cache
def registry() -> dict[str, DatasetEntry]:
    """Data sets that come with the package, by name."""
    return parse_registry(resources.files(__package__).joinpath("registry.yaml").read_text(encoding="utf-8"))


def find_files(name: str) -> tuple[FileEntry, ...]:
    """Files of a data set, or the one file called ``dataset/file``.

    Raises
    ------
    KeyError
        If nothing has that name; the nearest names are offered.
    """
    entries = registry()
    if name in entries:
        return entries[name].files
    by_name = {file.name: file for entry in entries.values() for file in entry.files}
    if name in by_name:
        return (by_name[name],)
    near = nearest(name, [*entries, *by_name])
    hint = f" Did you mean {examples(near)}?" if near else ""
    raise KeyError(f"No data set or file is called {name!r}.{hint} scdrug.datasets.list() names all.")


def list_datasets() -> pd.DataFrame:
    """List the files that can be fetched.

    Synthetic data (:func:`~scdrug.datasets.toy`, :func:`~scdrug.datasets.toy_cells`) and the tumour that comes with a
    package (:func:`~scdrug.datasets.oligodendroglioma`) need no fetching and are not listed.

    Returns
    -------
    One row for each file, indexed by the name under which :func:`~scdrug.datasets.fetch` takes it, with the columns
    ``dataset``, ``description``, ``loader`` (function of ``scdrug.datasets`` that reads it, or empty), ``size`` (bytes,
    missing where unknown), ``verified`` (whether a trusted hash is known), ``cached``, ``licence``, ``citation``,
    ``url`` (empty where the file must be placed by hand) and ``sha256``.

    Examples
    --------
    >>> import scdrug
    >>> scdrug.datasets.list().loc["hallmark/h.all.v7.0.symbols.gmt", "loader"]
    'gene_sets'
    """
    import pandas as pd

    cache = settings.data_dir
    rows = {
        file.name: {
            "dataset": entry.name,
            "description": entry.description,
            "loader": entry.loader or "",
            "size": file.size,
            "verified": not file.unverified,
            "cached": (cache / entry.name / file.file).is_file(),
            "licence": entry.licence,
            "citation": entry.citation,
            "url": file.address,
            "sha256": file.sha256 or "",
        }
        for entry in registry().values()
        for file in entry.files
    }
    table = pd.DataFrame.from_dict(rows, orient="index")
    return table.astype({"size": "Int64"}).rename_axis("name")
