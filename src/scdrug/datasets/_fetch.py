"""Download, check and keep the files of the registry."""

from __future__ import annotations

import errno
import json
import logging
import os
import shutil
import tempfile
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .._arguments import checked
from .._own_files import write_atomically
from .._settings import settings
from ._http import DownloadError, check_content, download
from ._registry import FileEntry, find_files

logger = logging.getLogger(__name__)

#: How often one address is tried, and the pause before the second try; it doubles with each.
_TRIES = 3
_PAUSE_SECONDS = 1.0
_PINS = "pinned.json"


class FetchError(RuntimeError):
    """A file could not be had, or is not what it should be."""


@checked
def fetch(name: str, *, offline: bool = False, force: bool = False) -> Path:
    """Fetch a data set, or one file of it, into the cache and check it by its hash.

    The cache is ``scdrug.settings.data_dir``: the user's cache folder unless set there or in the environment variable
    ``SCDRUG_DATA_DIR``. What is there already, and intact, is not fetched again. A failed or interrupted download
    leaves the cache as it was, and several processes may fetch the same file at once.

    Parameters
    ----------
    name
        A data set, such as ``"sc_mixology"``, or one file, such as ``"gdsc/screened_compounds_rel_8.5.csv"``;
        :func:`scdrug.datasets.list` names all.
    offline
        Never touch the network: return what is cached, or say how to place it by hand. The environment variable
        ``SCDRUG_OFFLINE=1`` does the same.
    force
        Download even what is cached.

    Returns
    -------
    The file; for a data set of several files, their folder.

    Raises
    ------
    KeyError
        If no data set or file has that name.
    RuntimeError
        If the file is neither cached nor to be had, or its hash is not the expected one. Of files marked `unverified`
        no trusted hash is known: the first one that comes is accepted with a warning and its hash pinned.
    OSError
        If the cache cannot be written, for example because the disk is full.

    Examples
    --------
    >>> import scdrug
    >>> folder = scdrug.datasets.fetch("sc_mixology")  # doctest: +SKIP
    """
    entries = find_files(name)
    offline = offline or os.environ.get("SCDRUG_OFFLINE", "").strip().lower() in {"1", "true", "yes", "on"}
    for entry in entries:
        path = _fetch_file(entry, settings.data_dir, offline=offline, force=force)
    return path if len(entries) == 1 else path.parent


def _fetch_file(entry: FileEntry, cache: Path, *, offline: bool, force: bool) -> Path:
    path = cache / entry.dataset / entry.file
    if path.is_file() and not force and (_expected_hash(entry, cache) is not None) and _is_intact(entry, path, cache):
        return path
    if offline and not path.is_file():
        raise FetchError(f"{entry.name!r} is not cached, and downloads are switched off. {_by_hand(entry, path)}")
    if not entry.downloadable and not path.is_file():
        raise FetchError(f"{entry.name!r} cannot be downloaded by a program. {_by_hand(entry, path)}")
    with _locked(entry, cache):
        # Another process may have done the work while this one waited for the lock.
        if path.is_file() and not (force and entry.downloadable and not offline):
            if _is_intact(entry, path, cache, pin=True):
                return path
            if offline:
                raise FetchError(
                    f"{path} is damaged or of another version: its sha256 is {_sha256(path)}, expected {entry.sha256}. "
                    f"Downloads are switched off. {_by_hand(entry, path)}"
                )
            logger.warning("%s does not have the expected hash and is downloaded again.", path)
        _download(entry, path, cache)
    return path


def _expected_hash(entry: FileEntry, cache: Path) -> str | None:
    return entry.sha256 or _read_pins(cache).get(entry.name)


def _is_intact(entry: FileEntry, path: Path, cache: Path, *, pin: bool = False) -> bool:
    """Compare a cached file with its hash; a change of an unverified file is an error, not a reason to fetch."""
    found, expected = _sha256(path), _expected_hash(entry, cache)
    if expected is None and pin:
        _pin(entry, found, cache, how=f"was placed at {path} by hand")
        return True
    if entry.unverified and found != expected:
        raise FetchError(_changed(entry, found, expected, cache, what=str(path)))
    return found == expected


def _download(entry: FileEntry, path: Path, cache: Path) -> None:
    """Download to a temporary file beside `path`, check it, and only then put it in place."""
    if entry.figshare is not None and not entry.urls:
        entry = _locate(entry, path)
    path.parent.mkdir(parents=True, exist_ok=True)
    _check_space(entry, path)
    logger.info("Downloading %s (%s) to %s.", entry.name, _size(entry.size), path.parent)
    prefix = f".part-{entry.file}-"
    for leftover in path.parent.glob(f"{prefix}*"):  # of a killed process: the lock says that nobody writes it now
        leftover.unlink(missing_ok=True)
    handle, name = tempfile.mkstemp(prefix=prefix, dir=path.parent)
    os.close(handle)
    part = Path(name)
    try:
        expected = _expected_hash(entry, cache)
        found = _try_addresses(entry, part, path, pinned=expected if entry.unverified else None)
        if entry.unverified and expected is not None and found != expected:
            raise FetchError(_changed(entry, found, expected, cache, what="what the server sent now"))
        part.chmod(0o644)  # mkstemp makes files that only their owner can read, and caches are shared
        part.replace(path)
        if expected is None:
            _pin(entry, found, cache, how="was downloaded for the first time")
    except OSError as error:
        raise type(error)(
            error.errno,
            f"Could not write {entry.name!r} ({_size(entry.size)}) to {path.parent}: {error.strerror}. "
            "Free some space, or choose another folder with SCDRUG_DATA_DIR",
        ) from error
    finally:
        part.unlink(missing_ok=True)


def _locate(entry: FileEntry, path: Path) -> FileEntry:
    """Ask figshare for the address; a failure says how to go on by hand."""
    from ._figshare import FigshareError, locate

    failures = []
    for attempt in range(_TRIES):
        if attempt:
            time.sleep(_PAUSE_SECONDS * 2 ** (attempt - 1))
        try:
            return locate(entry)
        except FigshareError as error:
            failures.append(str(error))
            if error.final:
                break
    raise FetchError(f"{entry.name!r} could not be found. {failures[-1]} {_by_hand(entry, path)}")


def _try_addresses(entry: FileEntry, part: Path, path: Path, *, pinned: str | None) -> str:
    """Fill `part`, which becomes `path`, from the first address that gives the right bytes; return their hash."""
    failures = []
    for url in entry.urls:
        for attempt in range(_TRIES):
            if attempt:
                time.sleep(_PAUSE_SECONDS * 2 ** (attempt - 1))
            failure, final = _try_once(url, part, entry, pinned=pinned)
            if failure is None:
                return _sha256(part)
            logger.info("Try %d of %s failed: %s.", attempt + 1, url, failure)
            if final or attempt == _TRIES - 1:
                failures.append(f"{url}: {failure}")
                break
    raise FetchError(f"{entry.name!r} could not be downloaded. " + "; ".join(failures) + f". {_by_hand(entry, path)}")


def _try_once(url: str, part: Path, entry: FileEntry, *, pinned: str | None) -> tuple[str | None, bool]:
    """Download once; return what went wrong, and whether trying again is useless."""
    try:
        with part.open("wb") as file:
            download(url, file, size=entry.size, progress=True)
    except DownloadError as error:
        return str(error), error.final
    found = _sha256(part)
    if entry.sha256 not in (None, found):
        return f"the sha256 of what came is {found}, expected {entry.sha256}", False
    if entry.md5 is not None and (md5 := _md5(part)) != entry.md5:
        return f"the md5 of what came is {md5}, the server states {entry.md5}", False
    if entry.unverified and found != pinned:
        return check_content(part, entry.file), False
    return None, False


def _check_space(entry: FileEntry, path: Path) -> None:
    free = shutil.disk_usage(path.parent).free
    if entry.size is not None and free < entry.size:
        raise OSError(
            errno.ENOSPC,
            f"{entry.name!r} needs {_size(entry.size)}, but {path.parent} has {_size(free)} left. "
            "Free some space, or choose another folder with SCDRUG_DATA_DIR",
        )


@contextmanager
def _locked(entry: FileEntry, cache: Path) -> Iterator[None]:
    from filelock import FileLock

    folder = cache / ".locks"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / f"{entry.name.replace('/', '--')}.lock")
        lock.acquire()
    except OSError as error:
        raise type(error)(
            error.errno,
            f"The cache {cache} cannot be written: {error.strerror}. Choose another folder with SCDRUG_DATA_DIR",
        ) from error
    try:
        yield
    finally:
        lock.release()


def _read_pins(cache: Path) -> dict[str, str]:
    """Hashes of the files of which none was known; none where the list is damaged, which is said."""
    pins = _parse_pins(cache / _PINS)
    if pins is None:
        logger.warning("%s is damaged and is not used: files without a trusted hash are pinned anew.", cache / _PINS)
    return pins or {}


def _parse_pins(path: Path) -> dict[str, str] | None:
    """The list of pins; None where it is damaged."""
    try:
        pins = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError):
        return None
    good = isinstance(pins, dict) and all(isinstance(value, str) for value in pins.values())
    return pins if good else None


def _pin(entry: FileEntry, sha256: str, cache: Path, *, how: str) -> None:
    """Remember the hash of a file of which none was known."""
    from filelock import FileLock

    # All files share the list of pins, so a lock of its own guards reading and writing it.
    with FileLock(cache / ".locks" / "pins.lock"):
        pins = _read_pins(cache) | {entry.name: sha256}
        if _parse_pins(cache / _PINS) is None:
            (cache / _PINS).replace(cache / f"{_PINS}.damaged")
        write_atomically(cache / _PINS, json.dumps(pins, indent=1, sort_keys=True))
    warnings.warn(
        f"{entry.name!r} {how}, and no trusted hash of it is known. Its sha256 {sha256} is now pinned in "
        f"{cache / _PINS}; a later file that differs will be refused.",
        stacklevel=5,  # whoever called fetch
    )


def _changed(entry: FileEntry, found: str, expected: str | None, cache: Path, *, what: str) -> str:
    return (
        f"{entry.name!r} is not what it was when it was first fetched: the sha256 of {what} is {found}, pinned is "
        f"{expected}. If you trust the new one, remove the line of {entry.name!r} from {cache / _PINS} and fetch again "
        "with force=True."
    )


def _by_hand(entry: FileEntry, path: Path) -> str:
    source = f"Download it from {' or '.join(entry.urls) or entry.address}" if entry.downloadable else "Get it by hand"
    expected = f" Its sha256 must be {entry.sha256}." if entry.sha256 else ""
    note = f" {entry.note}" if entry.note else ""
    return f"{source}, and place it at {path}.{expected}{note}"


def _sha256(path: Path) -> str:
    import pooch

    return pooch.file_hash(str(path), alg="sha256")


def _md5(path: Path) -> str:
    import pooch

    return pooch.file_hash(str(path), alg="md5")


def _size(size: int | None) -> str:
    if size is None:
        return "size unknown"
    for unit in ("B", "kB", "MB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} GB"
