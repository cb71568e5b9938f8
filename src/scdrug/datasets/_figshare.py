"""Find the address of a file in a figshare article by its name."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable
from dataclasses import replace
from fnmatch import fnmatch
from typing import Any

from .._validate import examples
from ._http import DownloadError, download
from ._registry import FileEntry

_API = "https://api.figshare.com/v2"
#: The server lists ten files unless asked for more.
_PAGE_SIZE = 1000
_MAX_LIST_BYTES = 20_000_000
#: When several files match, the one called so is meant.
_PREFERRED = "*preprocessed*"


class FigshareError(RuntimeError):
    """The list of files could not be had, or no file in it is the one."""

    def __init__(self, message: str, *, final: bool) -> None:
        super().__init__(message)
        #: Whether asking again is useless.
        self.final = final


def locate(entry: FileEntry) -> FileEntry:
    """Fill address, size and hash of a file from the list of its article.

    Parameters
    ----------
    entry
        File with `figshare`: number of the article and patterns of the name.

    Returns
    -------
    The entry with `urls`, `size` and `md5`.

    Raises
    ------
    FigshareError
        If the server does not answer, or not one file matches.
    """
    article, patterns = entry.figshare
    files = _list_files(article)
    name = choose_name([file["name"] for file in files], patterns, where=f"figshare article {article}")
    file = next(file for file in files if file["name"] == name)
    return replace(
        entry,
        urls=(file["download_url"],),
        size=file.get("size") or entry.size,
        md5=file.get("computed_md5") or file.get("supplied_md5") or None,
    )


def choose_name(names: Iterable[str], patterns: Iterable[str], *, where: str) -> str:
    """The one name that matches the first pattern that any name matches, ignoring case.

    Parameters
    ----------
    names
        Names of files.
    patterns
        Patterns in the order in which they are tried; of several matches the one called preprocessed is meant.
    where
        What holds the files, for the error.

    Returns
    -------
    The name.

    Raises
    ------
    FigshareError
        If none matches any pattern, or several match one.
    """
    names, patterns = list(names), list(patterns)
    for pattern in patterns:
        matching = _matching(names, pattern)
        if len(matching) > 1:
            matching = _matching(matching, _PREFERRED) or matching
        if len(matching) == 1:
            return matching[0]
        if matching:
            break
    found = f"{len(matching)} do: {examples(matching)}" if matching else f"it has {examples(names, 8) or 'nothing'}"
    raise FigshareError(f"One file of {where} must match {' or '.join(map(repr, patterns))}; {found}.", final=True)


def _matching(names: list[str], pattern: str) -> list[str]:
    return [name for name in names if fnmatch(name.lower(), pattern.lower())]


def _list_files(article: int) -> list[dict[str, Any]]:
    url = f"{_API}/articles/{article}/files?page_size={_PAGE_SIZE}"
    answer = io.BytesIO()
    try:
        download(url, answer, limit=_MAX_LIST_BYTES)
        files = json.loads(answer.getvalue())
    except DownloadError as error:
        raise FigshareError(f"{url}: {error}.", final=error.final) from error
    except ValueError as error:
        raise FigshareError(f"{url}: the answer is not JSON ({error}).", final=False) from error
    if not isinstance(files, list) or not all(
        isinstance(f, dict) and isinstance(f.get("name"), str) and isinstance(f.get("download_url"), str) for f in files
    ):
        raise FigshareError(f"{url}: expected a list of files with `name` and `download_url`.", final=True)
    return files
