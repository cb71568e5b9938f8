"""Find the address of a file in a figshare article by its name."""

from __future__ import annotations

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
        File with `figshare`: number of the article and pattern of the name.
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
    article, pattern = entry.figshare
    files = _list_files(article, timeout=timeout)
    file = choose_file(files, pattern, article=article)
    return replace(
        entry,
        urls=(file["download_url"],),
        size=file.get("size") or entry.size,
        md5=file.get("computed_md5") or file.get("supplied_md5") or None,
    )


def choose_file(files: list[dict[str, Any]], pattern: str, *, article: int) -> dict[str, Any]:
    """The one file whose name matches a pattern, ignoring case; of several the one called preprocessed.

    Raises
    ------
    FigshareError
        If none or several match.
    """
    matching = [file for file in files if fnmatch(file["name"].lower(), pattern.lower())]
    if len(matching) > 1:
        preferred = [file for file in matching if fnmatch(file["name"].lower(), _PREFERRED)]
        matching = preferred if len(preferred) == 1 else matching
    if len(matching) == 1:
        return matching[0]
    names = [file["name"] for file in (matching or files)]
    found = (
        f"{len(matching)} do: {examples(names)}" if matching else f"it has {examples(names, 8) if names else 'none'}"
    )
    raise FigshareError(
        f"One file of figshare article {article} must match {pattern!r}; {found}. The article may have changed.",
        final=True,
    )


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
