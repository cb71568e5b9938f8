"""Model files: safetensors for numbers, JSON for everything else; opening one never runs code."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

FORMAT_VERSION = 1
WEIGHTS, CONFIG, CARD = "model.safetensors", "model.json", "CARD.md"
#: Matrices below this size are kept as they are: quantising them saves nothing.
_MIN_QUANTISED = 50_000


def quantise(arrays: dict[str, np.ndarray], dtype: str) -> dict[str, np.ndarray]:
    """Store large matrices in fewer bits: ``"float32"`` (as they are), ``"float16"`` or ``"int8"`` (a scale per row).

    The error of an int8 entry is at most half of its row's largest absolute value divided by 127.
    """
    if dtype == "float32":
        return arrays
    packed: dict[str, np.ndarray] = {}
    for key, value in arrays.items():
        if value.ndim != 2 or value.size < _MIN_QUANTISED or value.dtype != np.float32:
            packed[key] = value
        elif dtype == "float16":
            packed[key] = value.astype(np.float16)
        else:
            scale = np.maximum(np.abs(value).max(axis=1, keepdims=True), 1e-12) / 127
            packed[key] = np.rint(value / scale).astype(np.int8)
            packed[f"{key}:scale"] = scale.astype(np.float32)
    return packed


def restore(packed: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Undo :func:`quantise`."""
    arrays = {}
    for key, value in packed.items():
        if key.endswith(":scale"):
            continue
        if value.dtype == np.float16:
            value = value.astype(np.float32)
        if f"{key}:scale" in packed:
            value = value.astype(np.float32) * packed[f"{key}:scale"]
        arrays[key] = value
    return arrays


def write_model(
    directory: str | os.PathLike[str],
    arrays: dict[str, np.ndarray],
    config: dict[str, Any],
    card: str,
    *,
    overwrite: bool = False,
    dtype: str = "float32",
) -> None:
    """Write a model folder in one step: it appears whole or not at all.

    Raises
    ------
    FileExistsError
        If the folder exists and `overwrite` is off.
    """
    from safetensors.numpy import save_file

    target = Path(directory)
    if target.exists() and not overwrite:
        raise FileExistsError(f"{target} exists. Choose another folder, or pass overwrite=True to replace it.")
    target.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    try:
        packed = {key: np.array(value, order="C") for key, value in sorted(quantise(arrays, dtype).items())}
        save_file(packed, staging / WEIGHTS, metadata={"format": f"scdrug-{FORMAT_VERSION}"})
        config = {"format": FORMAT_VERSION, **config}
        (staging / CONFIG).write_text(json.dumps(config, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        (staging / CARD).write_text(card, encoding="utf-8")
        staging.chmod(0o755)
        for path in staging.iterdir():  # some writers leave files that only their owner can read
            path.chmod(0o644)
        if target.exists():
            retired = Path(tempfile.mkdtemp(prefix=f".{target.name}-old-", dir=target.parent)) / target.name
            target.replace(retired)
            staging.replace(target)
            shutil.rmtree(retired.parent)
        else:
            staging.replace(target)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def read_config(directory: str | os.PathLike[str]) -> dict[str, Any]:
    """Read the JSON of a model folder, with errors that say what is wrong with it."""
    path = Path(directory)
    if not path.is_dir():
        raise FileNotFoundError(f"No model folder at {path}. Expected a folder that holds {CONFIG} and {WEIGHTS}.")
    missing = [name for name in (CONFIG, WEIGHTS) if not (path / name).is_file()]
    if missing:
        raise FileNotFoundError(f"{path} is not a model of scdrug: {', '.join(missing)} is missing.")
    try:
        config = json.loads((path / CONFIG).read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise ValueError(f"{path / CONFIG} is not readable JSON ({error}). Save the model again.") from error
    version = config.get("format")
    if version != FORMAT_VERSION:
        raise ValueError(
            f"{path} was written in format {version!r}; this version of scdrug reads format {FORMAT_VERSION}. "
            "Install the version of scdrug named in its model.json, or train again."
        )
    return config


def read_arrays(directory: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """Read the arrays of a model folder."""
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    path = Path(directory) / WEIGHTS
    try:
        return restore(load_file(path))
    except SafetensorError as error:
        raise ValueError(f"{path} is damaged or incomplete ({error}). Fetch or save the model again.") from error
