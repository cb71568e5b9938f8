"""Read checkpoints of other projects without running code that they may hold."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn


def read_checkpoint(path: str | os.PathLike[str]) -> Any:
    """Read a file that `torch.save` wrote, allowing tensors and plain Python types only.

    Parameters
    ----------
    path
        The file.

    Returns
    -------
    What was saved, tensors on the CPU.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is damaged, or holds anything that would have to be executed.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"No checkpoint at {path}.")
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        reason = str(error).splitlines()[0][:200]
        raise ValueError(
            f"{path} is not a checkpoint of tensors and plain values, or is damaged. It was not opened, since that could "
            f"run code. Get the file anew from its official source. ({reason})"
        ) from error
    except (RuntimeError, EOFError, ValueError) as error:
        raise ValueError(f"{path} is damaged or not a checkpoint of PyTorch ({str(error)[:200]}).") from error


def load_exactly(module: nn.Module, state: dict[str, Tensor], *, where: str) -> None:
    """Load all weights of a module, and say which are missing or of another size.

    Parameters
    ----------
    module
        Receives the weights.
    state
        Weights by name; names that the module lacks are an error too.
    where
        What the weights come from, for the message.

    Raises
    ------
    ValueError
        If a weight is missing, unknown, or of another size.
    """
    wanted = module.state_dict()
    missing, extra = sorted(set(wanted) - set(state)), sorted(set(state) - set(wanted))
    shapes = [
        f"{name} {tuple(state[name].shape)} instead of {tuple(wanted[name].shape)}"
        for name in sorted(set(wanted) & set(state))
        if state[name].shape != wanted[name].shape
    ]
    if missing or extra or shapes:
        parts = [
            f"{len(items)} {what}: {', '.join(items[:3])}{', …' if len(items) > 3 else ''}"
            for what, items in (("missing", missing), ("unknown", extra), ("of another size", shapes))
            if items
        ]
        raise ValueError(f"{where} is of another architecture. Its weights do not fit: {'; '.join(parts)}.")
    module.load_state_dict(state)
