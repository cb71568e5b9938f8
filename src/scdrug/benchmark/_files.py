"""Files that appear whole or not at all."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path

from .._own_files import writing


def write_atomically(path: str | os.PathLike[str], content: bytes | str) -> Path:
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
