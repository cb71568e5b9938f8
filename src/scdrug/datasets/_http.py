"""Downloads with bounds: on their size, on how slow they may be, and on what they may hold."""

from __future__ import annotations

import time
from pathlib import Path
from typing import BinaryIO

from .._settings import settings
from ._content import WORDS, content_of

#: Longest wait for a server to answer or to go on.
_TIMEOUT_SECONDS = 30
#: Least number of bytes in a window of so many seconds; a server that sends less is given up.
_WINDOW_SECONDS, _LEAST_BYTES = 30, 15_000
#: No file whose size is not known is larger.
MAX_BYTES = 3_000_000_000
_BLOCK = 1 << 16
#: What a file of each ending holds.
_EXPECTED = {
    ".gz": "gzip", ".zip": "zip", ".xlsx": "xlsx", ".h5ad": "HDF5", ".h5": "HDF5", ".gctx": "HDF5", ".parquet": "Parquet",
    ".bz2": "bzip2", ".xz": "xz",
}  # fmt: skip
_TEXT = (".csv", ".tsv", ".txt", ".gmt", ".json")


class DownloadError(RuntimeError):
    """A download failed."""

    def __init__(self, message: str, *, final: bool) -> None:
        super().__init__(message)
        #: Whether trying again is useless.
        self.final = final


def download(
    url: str, target: BinaryIO, *, size: int | None = None, limit: int | None = None, progress: bool = False
) -> None:
    """Write what an address sends.

    Parameters
    ----------
    url
        Address.
    target
        Where to write.
    size
        Bytes that are expected: another number is an error, and no more are read.
    limit
        Most bytes that are read where `size` is not known; :data:`MAX_BYTES` if omitted.
    progress
        Show a bar if ``scdrug.settings.progress`` says so.

    Raises
    ------
    DownloadError
        If the server does not answer, refuses, breaks off, sends too much, too little, or next to nothing for half a minute.
    OSError
        If `target` cannot be written.
    """
    import requests
    import urllib3

    try:
        # compressed transfer would hide the size
        with requests.get(
            url, stream=True, timeout=_TIMEOUT_SECONDS, headers={"Accept-Encoding": "identity"}
        ) as answer:
            status = answer.status_code
            if status >= 400:
                final = status < 500 and status not in (408, 429)
                raise DownloadError(f"the server answered {status}", final=final)
            plain = answer.headers.get("Content-Encoding", "identity") == "identity"
            announced = int(answer.headers.get("Content-Length") or 0) if plain else 0
            if size is not None and announced and announced != size:
                raise DownloadError(f"the server announces {announced:,} bytes, expected {size:,}", final=True)
            written = _copy(
                answer.raw, target, limit=size or limit or MAX_BYTES, total=size or announced, progress=progress
            )
    except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
        # a connection that breaks off is one too: fewer bytes than announced are an error
        raise DownloadError(f"{type(error).__name__}: {error}", final=False) from error
    if size is not None and written != size:
        raise DownloadError(f"{written:,} bytes came, expected {size:,}", final=False)


def _copy(source: object, target: BinaryIO, *, limit: int, total: int, progress: bool) -> int:
    """Copy as it comes; return the number of bytes."""
    from tqdm.auto import tqdm

    written, window, since = 0, 0, time.monotonic()
    with tqdm(total=total or None, unit="B", unit_scale=True, disable=not (progress and settings.progress)) as bar:
        while True:
            # `read` would wait for a whole block, and a server that drips would never be noticed
            block = source.read1(_BLOCK, decode_content=True)
            if not block:
                return written
            written += len(block)
            if written > limit:
                raise DownloadError(f"more than the {limit:,} bytes expected came", final=True)
            target.write(block)
            bar.update(len(block))
            window += len(block)
            now = time.monotonic()
            if now - since > _WINDOW_SECONDS:
                if window < _LEAST_BYTES:
                    raise DownloadError(
                        f"only {window:,} bytes came in {now - since:.0f} seconds, too slow to go on", final=True
                    )
                window, since = 0, now


def check_content(path: Path, name: str) -> str | None:
    """Say what is wrong if a file does not hold what its name says, such as a login page in place of a workbook.

    Parameters
    ----------
    path
        The file.
    name
        What it will be called.
    """
    found, ending = content_of(path), Path(name).suffix.lower()
    if found == "web page" and ending not in (".html", ".htm"):
        return "a web page came instead of the file; the server may ask for a login"
    expected = _EXPECTED.get(ending)
    if (expected is not None and found != expected) or (ending in _TEXT and found != "text"):
        return f"{WORDS[found]} came, expected {WORDS[expected or 'text']}"
    return None
