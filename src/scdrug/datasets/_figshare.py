"""Find the address of a file in a figshare article by its name."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from fnmatch import fnmatch
from typing import Any

from .._validate import examples
from ._registry import FileEntry

_API = "https://api.figshare.com/v2"
#: The server lists ten files unless asked for more.
_PAGE_SIZE = 1000
#: When several files match, the one called so is meant.
_PREFERRED = "*preprocessed*"


class FigshareError(RuntimeError):
    """The list of files could not be had, or no file in it is the one."""

    def __init__(self, message: str, *, final: bool) -> None:
        super().__init__(message)
        #: Whether asking again is useless.
        self.final = final


def locate(entry: FileEntry, *, timeout: float) -> FileEntry:
    """Fill address, size and hash of a file from the list of its article.

    Parameters
    ----------
    entry
        File with `figshare`: number of the article and patterns of the name.
    timeout
        Seconds to wait for the server.

    Returns
    -------
    The entry with `urls`, `size` and `md5`.

    Raises
    ------
    FigshareError
        If the server does not answer, or not one file matches.
    """
    article, patterns = entry.figshare
    files = _list_files(article, timeout=timeout)
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


def _list_files(article: int, *, timeout: float) -> list[dict[str, Any]]:
    import requests

    url = f"{_API}/articles/{article}/files?page_size={_PAGE_SIZE}"
    try:
        answer = requests.get(url, timeout=timeout)
        answer.raise_for_status()
        files = answer.json()
    except requests.HTTPError as error:
        status = error.response.status_code
        final = 400 <= status < 500 and status not in (408, 429)
        raise FigshareError(f"{url}: the server answered {status}.", final=final) from error
    except requests.RequestException as error:  # includes an answer that is not JSON
        raise FigshareError(f"{url}: {type(error).__name__}: {error}.", final=False) from error
    if not isinstance(files, list) or not all(
        isinstance(f, dict) and {"name", "download_url"} <= set(f) for f in files
    ):
        raise FigshareError(f"{url}: expected a list of files with `name` and `download_url`.", final=True)
    return files
