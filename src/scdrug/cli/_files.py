"""Check where results go before anything is computed, and write them so that no file is ever half written."""

from __future__ import annotations

import errno
import gc
import glob
import io
import json
import os
import shutil
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from itertools import combinations
from pathlib import Path

#: What the rooms are called in which files are made before they take their place.
_PREFIX, _SUFFIX = ".scdrug-", ".part"
#: A room without a lock, or a file of an earlier version, is left alone for so long: its owner may just be making it.
_GRACE_SECONDS, _GRACE_SECONDS_OLD = 60, 3600
#: Names at the top of a zarr store.
_ZARR_FILES = frozenset({".zgroup", ".zattrs", ".zmetadata", ".zarray", "zarr.json"})
_FULL = {
    errno.ENOSPC: "No space left on device",
    errno.EDQUOT: "Disk quota exceeded",
    errno.EFBIG: "File too large for the disk or its quota",
    errno.EROFS: "The disk is read-only",
    errno.EIO: "The disk reports an error",
}


def check_distinct(**paths: Path | None) -> None:
    """Raise if two of the paths, given by what they are, mean the same file, or one lies inside another.

    Links are followed, hard links too, and names that differ only in case are taken for one: on many systems they are.
    """
    given = {what: path for what, path in paths.items() if path is not None}
    for (first, one), (second, other) in combinations(given.items(), 2):
        if _same(one, other):
            kept = " The input is never changed." if "input" in (first, second) else ""
            raise ValueError(
                f"{first.capitalize()} and {second} are the same file, {other}. Choose another {second}.{kept}"
            )
        a, b = one.resolve(), other.resolve()
        if a in b.parents or b in a.parents:
            raise ValueError(
                f"{first.capitalize()} and {second} lie inside one another, {one} and {other}. Choose another {second}."
            )


def _same(one: Path, other: Path) -> bool:
    if str(one.resolve()).casefold() == str(other.resolve()).casefold():
        return True
    try:
        return one.samefile(other)
    except OSError:
        return False  # one of them is not there


def check_output(target: Path, *, overwrite: bool, endings: tuple[str, ...] = ()) -> None:
    """Raise unless `target` can be written, before anything is computed.

    Parameters
    ----------
    target
        File or zarr folder.
    overwrite
        Whether an existing one is replaced.
    endings
        What its name may end in; anything if empty.
    """
    if endings and target.suffix.lower() not in endings:
        raise ValueError(f"The name of the output must end in {' or '.join(endings)}; found {target}.")
    folder = target.parent
    if not folder.is_dir():
        if folder.exists():
            raise NotADirectoryError(f"{folder} is a file, not a folder. Choose another output.")
        raise FileNotFoundError(f"The folder {folder} does not exist. Create it first.")
    store = next((parent for parent in target.absolute().parents if _has_zarr(parent)), None)
    if store is not None:
        raise ValueError(f"{target} would lie inside the zarr store {store}. Choose another output.")
    if target.is_dir() and not (target.suffix.lower() == ".zarr" and _is_only_zarr(target)):
        raise IsADirectoryError(
            f"{target} is a folder that holds other things. Choose another name: it is not replaced."
        )
    if os.path.lexists(target) and not overwrite:
        raise FileExistsError(f"{target} exists. Choose another name, or pass --overwrite to replace it.")
    if target.exists() and not (target.is_file() or target.is_dir()):
        raise ValueError(f"{target} is neither a file nor a folder. Choose another output.")
    if target.exists() and not os.access(target, os.W_OK):
        raise PermissionError(f"{target} is write-protected. Choose another output.")
    sweep(folder)
    sweep_earlier(target)
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise PermissionError(
            f"Cannot write to the folder {folder} ({error.strerror}). Choose another output."
        ) from error


def _is_only_zarr(folder: Path) -> bool:
    """Whether a folder holds a zarr store and nothing beside it, or is empty."""
    items = list(folder.iterdir())
    return all(item.name in _ZARR_FILES if item.is_file() else _has_zarr(item) for item in items)


def _has_zarr(folder: Path) -> bool:
    return any((folder / name).is_file() for name in _ZARR_FILES)


def check_space(folder: Path, needed: int) -> None:
    """Raise unless about so many bytes can be written into `folder`."""
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise OSError(
            errno.ENOSPC,
            f"The result needs about {needed / 1e6:,.0f} MB, but the disk of {folder} has {free / 1e6:,.0f} MB left. "
            "Nothing was written. Free some space, choose another output, or name fewer --drugs.",
        )


def size_of(path: Path) -> int:
    """Bytes of a file, or of all files in a folder."""
    if path.is_file():
        return path.stat().st_size
    return sum(item.stat().st_size for item in path.rglob("*") if item.is_file())


@contextmanager
def whole_file(target: Path) -> Iterator[Path]:
    """Give a temporary path that becomes `target`, file or folder, in one step when all went well.

    It lies in a room of its own beside `target`, under a lock. What a killed run left is known by a lock that nobody
    holds, and is removed by the next run that writes into the same folder.

    Raises
    ------
    OSError
        If the disk is full, in one sentence.
    """
    from filelock import FileLock

    room = Path(tempfile.mkdtemp(prefix=_PREFIX, suffix=_SUFFIX, dir=target.parent))
    lock = FileLock(room / "lock")
    try:
        with lock, _one_sentence(target):
            part = room / target.name
            yield part
            _put_in_place(part, target, room)
    finally:
        shutil.rmtree(room, ignore_errors=True)


def _put_in_place(part: Path, target: Path, room: Path) -> None:
    if not (target.is_dir() or (part.is_dir() and target.exists())):
        part.replace(target)
        return
    # a folder cannot be replaced in one step; a kill between the two leaves the old one where `sweep` finds it
    old = room / "replaced" / target.name
    old.parent.mkdir()
    target.rename(old)
    try:
        part.rename(target)
    except OSError:
        old.rename(target)
        raise


@contextmanager
def staged_copy(source: Path, target: Path) -> Iterator[Path]:
    """Give a copy of a folder, which becomes `target` in one step when all went well, and which a later run finds when not.

    Unlike that of :func:`whole_file` it keeps its name, so that what a stopped run added to it is not lost.
    """
    stage, told = (target.with_name(f".{target.stem}-unfinished{ending}") for ending in (target.suffix, ".json"))
    origin = {"source": str(source.resolve()), "bytes": size_of(source), "changed": source.stat().st_mtime_ns}
    if not (stage.is_dir() and told.is_file() and json.loads(told.read_text(encoding="utf-8")) == origin):
        shutil.rmtree(stage, ignore_errors=True)
        with whole_file(stage) as part:
            shutil.copytree(source, part)
        told.write_text(json.dumps(origin), encoding="utf-8")
    yield stage
    with whole_file(target) as part:
        stage.rename(part)
    told.unlink(missing_ok=True)


def sweep(folder: Path) -> None:
    """Remove what killed runs left in a folder, and put back what they were just replacing."""
    from filelock import FileLock, Timeout

    for room in folder.glob(f"{_PREFIX}*{_SUFFIX}"):
        if not (room / "lock").exists() and not _is_older(room, _GRACE_SECONDS):
            continue
        try:
            with FileLock(room / "lock", timeout=0):
                for old in room.glob("replaced/*"):
                    if not os.path.lexists(folder / old.name):
                        old.rename(folder / old.name)
        except (Timeout, OSError):
            continue  # at work, or not ours to remove
        shutil.rmtree(room, ignore_errors=True)


def sweep_earlier(target: Path) -> None:
    """Remove what killed runs of versions without locks left of this target."""
    for part in target.parent.glob(f".{glob.escape(target.name)}-????????{glob.escape(target.suffix)}"):
        if part.is_file() and _is_older(part, _GRACE_SECONDS_OLD):
            part.unlink(missing_ok=True)


def _is_older(path: Path, seconds: float) -> bool:
    try:
        return time.time() - path.stat().st_mtime > seconds
    except OSError:
        return False


@contextmanager
def _one_sentence(target: Path) -> Iterator[None]:
    """Say in one sentence that a disk is full; HDF5 would print hundreds of lines when its files are closed."""
    said = io.StringIO()
    try:
        with redirect_stderr(said):
            yield
    except (OSError, RuntimeError, ValueError) as error:
        code = _disk_error(error)
        if code is None:
            sys.stderr.write(said.getvalue())
            raise
        with redirect_stderr(io.StringIO()):
            traceback.clear_frames(error.__traceback__)
            gc.collect()  # closes what is open while nobody listens
        raise OSError(
            code, f"{_FULL[code]}: {target} could not be written, and nothing was left behind. Choose another output"
        ) from None
    sys.stderr.write(said.getvalue())


def reserve(path: Path, extra: int) -> None:
    """Lengthen a file, so that a full disk shows now: HDF5 may crash over it later, and cuts off what it does not use.

    Raises
    ------
    OSError
        If the disk is full.
    """
    if not hasattr(os, "posix_fallocate"):
        return
    with path.open("ab") as file:
        try:
            os.posix_fallocate(file.fileno(), file.tell(), extra)
        except OSError as error:
            if error.errno in _FULL:
                raise


def _disk_error(error: BaseException) -> int | None:
    """Number of the disk's error behind an exception, also where HDF5 only tells of it in words."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, OSError) and seen.errno in _FULL:
            return seen.errno
        for code in _FULL:
            if f"errno = {code}," in str(seen) or os.strerror(code) in str(seen):
                return code
        seen = seen.__cause__ or seen.__context__
    return None
