"""Files and folders that scdrug writes: whole or not at all, which are its own, what a killed run left, and full disks."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

#: Seconds after which a part file belongs to no run that still goes on.
STALE_AFTER = 3600
#: What training writes into a folder of checkpoints, and what a killed run leaves of it.
CHECKPOINT_MANIFEST = "scdrug-training.json"
CHECKPOINT_FILES = tuple(
    pattern for name in ("scdrug-phase-*.ckpt", CHECKPOINT_MANIFEST) for pattern in (f".{name}-????????", name)
)  # the manifest last: files without it are not taken for scdrug's
_FULL = (errno.ENOSPC, errno.EDQUOT)


def foreign_files(folder: Path, own: Sequence[str]) -> list[str]:
    """Files below a folder that scdrug did not write, relative to it.

    Parameters
    ----------
    folder
        Folder.
    own
        Patterns of scdrug's files, part by part: ``"splits/*.csv.gz"``. Links to folders are never followed.
    """
    return [name for name, is_own in _listed(folder, own) if not is_own]


def remove_own(folder: Path, own: Sequence[str]) -> None:
    """Delete scdrug's files below a folder, and folders that hold nothing else then; see :func:`foreign_files`."""
    emptied = set()
    for name, is_own in _listed(folder, own):
        if is_own:
            (folder / name).unlink()
            emptied.update(parent for parent in Path(name).parents if parent.parts)
    for parent in sorted(emptied, key=lambda path: -len(path.parts)):
        with contextlib.suppress(OSError):  # something else stands in it
            (folder / parent).rmdir()


def _listed(folder: Path, own: Sequence[str]) -> list[tuple[str, bool]]:
    patterns = [pattern.split("/") for pattern in own]
    found = []
    for place, folders, files in os.walk(folder):
        links = [name for name in folders if Path(place, name).is_symlink()]
        for name in sorted(files + links):
            parts = Path(place, name).relative_to(folder).parts
            is_own = name not in links and any(
                len(parts) == len(pattern) and all(map(fnmatchcase, parts, pattern)) for pattern in patterns
            )
            found.append(("/".join(parts), is_own))
    return found


def remove_stale(folder: Path, pattern: str, own: Sequence[str] = ()) -> None:
    """Delete part files, and part folders that hold nothing but `own`, that a killed run left an hour ago or earlier.

    Parameters
    ----------
    folder
        Where they stand.
    pattern
        Their names.
    own
        What part folders may hold, as for :func:`foreign_files`.
    """
    for path in folder.glob(pattern):
        with contextlib.suppress(OSError):  # another run was faster
            if path.is_symlink() or time.time() - path.stat().st_mtime < STALE_AFTER:
                continue
            if not path.is_dir():
                path.unlink()
            elif not foreign_files(path, own):
                shutil.rmtree(path)


@contextlib.contextmanager
def writing(target: Path, *, kept: str) -> Iterator[None]:
    """Say in one sentence why a file or folder cannot be written.

    Parameters
    ----------
    target
        What is written.
    kept
        What is true of what was there before, as a clause.

    Raises
    ------
    OSError
        Of the class and with the number that the system gave.
    """
    try:
        yield
    except Exception as error:
        # the writer of safetensors names the system's number in its text
        named = re.search(r"os error (\d+)", str(error))
        number = error.errno if isinstance(error, OSError) else int(named[1]) if named else None
        if number is None:
            raise
        if number in _FULL:
            text = f"No space left for {target}; {kept}. Free some space, or choose another folder"
        else:
            text = f"Cannot write {target} ({os.strerror(number)}); {kept}. Choose another folder"
        raise OSError(number, text) from error


def write_atomically(path: str | os.PathLike[str], content: bytes | memoryview | str) -> Path:
    """Write a file in one step: a full disk or a killed process leaves the old file, or none.

    Raises
    ------
    OSError
        If it cannot be written; the message says so in one sentence.
    """
    path = Path(path)
    with writing(path, kept="files that were there are as they were"):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
        staging = Path(name)
        try:
            with os.fdopen(handle, "wb") as stream:
                stream.write(content.encode() if isinstance(content, str) else content)
                stream.flush()
                os.fsync(stream.fileno())
            staging.chmod(0o644)
            staging.replace(path)
        finally:
            with contextlib.suppress(FileNotFoundError):
                staging.unlink()
    return path
