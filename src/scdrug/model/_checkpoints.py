"""Checkpoints: from where a training that was killed goes on, with the result of an unbroken one."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import time
import zipfile
from collections.abc import Iterator, Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch.plugins.io import TorchCheckpointIO
from torch import nn

from .. import __version__
from .._own_files import CHECKPOINT_FILES, CHECKPOINT_MANIFEST, write_atomically
from .._validate import examples
from ._batches import Batches, ResumableBatches

#: Time that writing may take, relative to the time between two checkpoints.
_MOST_TIME = 0.05
_START_ANEW = "Delete it to start anew, or choose another `checkpoint_dir`."


class Checkpoints:
    """Folder with the state of one training that is not finished.

    Parameters
    ----------
    folder
        The folder; made if there is none. Files of others in it are left alone.
    identity
        All that decides the result, in JSON types: groups, and what is in them by name.

    Raises
    ------
    ValueError
        If the folder holds the checkpoints of another training; the message says what differs.
    OSError
        If it cannot be written.
    """

    def __init__(self, folder: str | os.PathLike[str], identity: Mapping[str, Mapping[str, Any]]) -> None:
        self.folder = Path(folder).expanduser()
        if os.path.lexists(self.folder) and not self.folder.is_dir():
            raise ValueError(f"`checkpoint_dir` must be a folder; {self.folder} is a file. Choose another name.")
        manifest = self.folder / CHECKPOINT_MANIFEST
        content = json.loads(json.dumps({"scdrug_version": {"scdrug": __version__}, **identity}, default=str))
        if manifest.is_file():
            _check_same(_read_manifest(manifest), content, self.folder)
        elif next(self._files(), None) is not None:
            raise ValueError(
                f"`checkpoint_dir` {self.folder} holds {next(self._files()).name}, but no {CHECKPOINT_MANIFEST} that says of which "
                "training. Choose another folder."
            )
        else:
            write_atomically(manifest, json.dumps(content, indent=1, ensure_ascii=False) + "\n")

    def running(self, phase: int) -> Path:
        """File with the last epoch of a phase that goes on."""
        return self.folder / f"scdrug-phase-{phase}-epoch.ckpt"

    def read_finished(self, phase: int) -> dict[str, Any] | None:
        """State at the end of a phase; `None` if that was not reached."""
        path = self._finished(phase)
        return read_state(path) if path.is_file() else None

    def write_finished(self, phase: int, state: dict[str, Any]) -> None:
        """Keep the state at the end of a phase in the place of its last epoch."""
        write_state(self._finished(phase), state)
        self.running(phase).unlink(missing_ok=True)

    def clear(self) -> None:
        """Delete what scdrug wrote, when nothing is left to go on from."""
        for path in self._files():
            path.unlink(missing_ok=True)

    def _finished(self, phase: int) -> Path:
        return self.folder / f"scdrug-phase-{phase}.ckpt"

    def _files(self) -> Iterator[Path]:
        for pattern in CHECKPOINT_FILES:
            yield from (path for path in self.folder.glob(pattern) if path.is_file() and not path.is_symlink())


class PlainFiles(TorchCheckpointIO):
    """How lightning reads and writes checkpoints: in one step, and without running code."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        """Write a checkpoint."""
        write_state(path, checkpoint)

    def load_checkpoint(self, path: Any, *_: Any, **__: Any) -> dict[str, Any]:
        """Read a checkpoint, onto the CPU."""
        return read_state(path)


class Pace:
    """Says when the next checkpoint is due, so that writing takes a small part of the time."""

    def __init__(self) -> None:
        self._due = 0.0

    def is_due(self) -> bool:
        """Whether enough time has passed since the last one."""
        return time.monotonic() >= self._due

    def wrote(self, seconds: float) -> None:
        """Take note of how long writing took."""
        self._due = time.monotonic() + seconds / _MOST_TIME


def write_state(path: str | os.PathLike[str], state: dict[str, Any]) -> None:
    """Write a state in one step: tensors, numbers, text, and lists and mappings of them."""
    stream = BytesIO()
    torch.save(_plain(state), stream)
    write_atomically(path, stream.getvalue())


def read_state(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read a state without running code.

    Raises
    ------
    ValueError
        If the file is damaged.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, ValueError, EOFError, KeyError, pickle.UnpicklingError, zipfile.BadZipFile) as error:
        reason = str(error).partition("\n")[0]
        raise ValueError(f"The checkpoint {path} cannot be read ({reason}). {_advice(path)}") from error
    if not isinstance(state, dict):
        raise ValueError(f"The checkpoint {path} is damaged: it holds a {type(state).__name__}. {_advice(path)}")
    return state


def _advice(path: str | os.PathLike[str]) -> str:
    return f"Delete this file to go on from the phase before it, or the folder {Path(path).parent} to start anew."


def phase_state(
    batches: Batches, critic: nn.Module | None, generator: torch.Generator | None
) -> dict[str, dict[str, Any] | torch.Tensor | None]:
    """What training changes beside the network: the order of batches, a critic, and random numbers.

    Every step seeds the generators of all devices anew; between steps only that of the CPU is drawn from.
    """
    return {
        "batches": batches.get_state() if isinstance(batches, ResumableBatches) else None,
        "critic": None if critic is None else critic.state_dict(),
        "generator": None if generator is None else generator.get_state(),
        "random_state": torch.get_rng_state(),
    }


def restore_phase(
    state: Mapping[str, Any], batches: Batches, critic: nn.Module | None, generator: torch.Generator | None
) -> None:
    """Take back what :func:`phase_state` returned."""
    if isinstance(batches, ResumableBatches):
        batches.set_state(state["batches"])
    if critic is not None:
        critic.load_state_dict(state["critic"])
    if generator is not None:
        generator.set_state(state["generator"])
    torch.set_rng_state(state["random_state"])


def digest(value: Any) -> str:
    """Hash of an array, of the state of a module, or of anything else by its text."""
    found = hashlib.sha256()
    parts = value.items() if isinstance(value, Mapping) else [("", value)]
    for name, part in parts:
        part = part.detach().cpu().numpy() if isinstance(part, torch.Tensor) else part
        if not isinstance(part, np.ndarray) or part.dtype.hasobject:
            found.update(f"{name}\n{list(part) if isinstance(part, np.ndarray) else part}".encode())
            continue
        found.update(f"{name}\n{part.dtype.str}{part.shape}".encode())
        found.update(np.ascontiguousarray(part).data.cast("B") if part.size else b"")
    return found.hexdigest()


def _plain(value: Any) -> Any:
    """Numbers of NumPy as Python's own: they do not open without code."""
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Mapping):
        return {_plain(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(map(_plain, value)) if type(value) in (list, tuple) else [_plain(item) for item in value]
    return value


def _read_manifest(path: Path) -> dict[str, dict[str, Any]]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(content, dict) and all(isinstance(part, dict) for part in content.values()):
            return content
        reason = "it is no mapping of mappings"
    except (OSError, ValueError) as error:
        reason = str(error)
    raise ValueError(f"{path} cannot be read ({reason}). {_START_ANEW}")


def _check_same(old: dict[str, dict[str, Any]], new: dict[str, dict[str, Any]], folder: Path) -> None:
    """Raise unless both speak of the same training."""
    for group, words in _GROUPS.items():
        before, now = old.get(group, {}), new.get(group, {})
        changed = [name for name in {**before, **now} if before.get(name) != now.get(name)]
        if not changed:
            continue
        if group == "data":
            what = examples(changed, 10)
        else:
            what = ", ".join(
                f"`{name}` was {_short(before.get(name))} and is {_short(now.get(name))}" for name in changed[:5]
            )
        raise ValueError(
            f"The checkpoints in {folder} are of another training, and it cannot go on from them: {words}: {what}. Train as "
            f"before, on the same data, to go on. {_START_ANEW}"
        )


#: What differs, in words; the first that does is said.
_GROUPS = {
    "scdrug_version": "they are of another version",
    "model": "the model differs",
    "arguments": "arguments of train() differ",
    "settings": "settings of the model differ",
    "data": "the data differ",
}


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}…"
