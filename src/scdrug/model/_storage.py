"""Model files: safetensors for numbers, JSON for everything else; opening one never runs code."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from .._own_files import foreign_files, remove_stale, writing
from .._validate import check_choice, examples
from ._arrays import Stored, read_header
from ._schema import FORMAT_VERSION, check_manifest, file_sha256, manifest_sha256, parse_json

WEIGHTS, CONFIG, CARD = "model.safetensors", "model.json", "CARD.md"
#: Ways to store large matrices.
DTYPES = ("float32", "float16", "int8")
#: Matrices below this size are kept as they are: quantising them saves nothing.
_MIN_QUANTISED = 50_000
#: Tables of percentiles must rise from row to row, which scales of their own would break.
_NEVER_QUANTISED = "calibration."
_FILES = (CONFIG, WEIGHTS, CARD)
#: Folder, inside that of a model, in which its successor is made.
_STAGING = ".new-"


def quantise(arrays: dict[str, np.ndarray], dtype: str) -> dict[str, np.ndarray]:
    """Store large matrices in fewer bits: ``"float32"`` (as they are), ``"float16"`` or ``"int8"`` (a scale per row).

    The error of an int8 entry is at most half of its row's largest absolute value divided by 127.

    Raises
    ------
    ValueError
        If `dtype` is none of these.
    """
    check_choice("dtype", dtype, DTYPES)
    if dtype == "float32":
        return arrays
    packed: dict[str, np.ndarray] = {}
    for key, value in arrays.items():
        is_large = value.ndim == 2 and value.size >= _MIN_QUANTISED and value.dtype == np.float32
        if not is_large or key.startswith(_NEVER_QUANTISED):
            packed[key] = value
        elif dtype == "float16" or not np.isfinite(value).all():  # one missing value would take its row along
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


# ---------------------------------------------------------------------- writing


def write_model(
    directory: str | os.PathLike[str],
    arrays: dict[str, np.ndarray],
    config: dict[str, Any],
    card: str,
    *,
    overwrite: bool = False,
    dtype: str = "float32",
) -> None:
    """Write a model folder so that at each moment a whole model stands there, or none yet.

    Notes
    -----
    A new folder is made beside its place and renamed. An existing one is replaced from a folder inside it, file by file,
    ``model.json`` first. It names the weights that belong to it by their hash, so that renaming it is what replaces the
    model: until the weights have followed, they are read from where they were made.

    Raises
    ------
    FileExistsError
        If the folder exists and `overwrite` is off, or there is something else at its place.
    ValueError
        If the folder is no model or holds other files, the content has not the declared form, or `dtype` is not known.
    OSError
        If it cannot be written; what was there is as it was.
    """
    check_choice("dtype", dtype, DTYPES)
    target = Path(directory).expanduser().absolute()
    check_target(target, overwrite=overwrite)
    replaces = target.is_dir()
    with writing(target, kept="what was there is as it was" if replaces else "nothing was written"):
        target.parent.mkdir(parents=True, exist_ok=True)
        home, prefix = (target, _STAGING) if replaces else (target.parent, f".{target.name}-")
        if replaces:
            _finish(target)
        remove_stale(home, f"{prefix}????????", _FILES)
        staging = Path(tempfile.mkdtemp(prefix=prefix, dir=home))
        try:
            _fill(staging, quantise(arrays, dtype), config, card, target)
            if replaces:
                for name in _FILES:  # model.json first, see the notes
                    (staging / name).replace(target / name)
            else:
                staging.rename(target)
        finally:
            if (staging / CONFIG).exists() or not (
                staging / WEIGHTS
            ).exists():  # else model.json in its place needs them
                shutil.rmtree(staging, ignore_errors=True)


def _finish(target: Path) -> None:
    """Finish a replacement that was cut short between ``model.json`` and its weights."""
    if (target / CONFIG).is_file():
        path = _fitting_weights(target, parse_json(target / CONFIG))
        if path is not None:
            path.replace(target / WEIGHTS)


def check_target(target: Path, *, overwrite: bool) -> None:
    """Raise unless a model may be written to a path: nothing but a model of scdrug is ever replaced."""
    if not target.is_dir():
        if os.path.lexists(target):
            what = "a link to nowhere" if target.is_symlink() else "a file"
            raise FileExistsError(f"{target} is {what}, and a model needs a folder. Choose another name.")
        return
    if not overwrite:
        raise FileExistsError(f"{target} exists. Choose another folder, or pass overwrite=True to replace it.")
    foreign = foreign_files(target, [*_FILES, *(f"{_STAGING}*/{name}" for name in _FILES)])
    if foreign:
        raise ValueError(
            f"{target} holds files that are not of a model ({examples(foreign)}), and is not replaced. Move them away, or "
            "choose another folder."
        )
    if any(target.iterdir()):
        try:
            is_model = {"format", "class"} <= set(parse_json(target / CONFIG))
        except (OSError, ValueError):
            is_model = False
        if not is_model:
            raise ValueError(
                f"{target} is not a model of scdrug, since it has no {CONFIG} that scdrug wrote, and is not replaced. "
                "Choose another folder."
            )


def _fill(staging: Path, packed: dict[str, np.ndarray], config: dict[str, Any], card: str, target: Path) -> None:
    """Write the files of a model, manifest last since it holds the hash of the weights."""
    from safetensors.numpy import save_file

    ordered = {key: np.array(value, order="C") for key, value in sorted(packed.items())}
    save_file(ordered, staging / WEIGHTS, metadata={"format": f"scdrug-{FORMAT_VERSION}"})
    # JSON has no tuples: what is hashed is what will be read
    config = json.loads(json.dumps({"format": FORMAT_VERSION, **config}))
    config["weights_sha256"] = file_sha256(staging / WEIGHTS)
    config["manifest_sha256"] = manifest_sha256(config)
    check_manifest(config, target / CONFIG)
    (staging / CONFIG).write_text(json.dumps(config, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    (staging / CARD).write_text(card, encoding="utf-8")
    staging.chmod(0o755)
    for name in _FILES:  # some writers leave files that only their owner can read
        (staging / name).chmod(0o644)
        with (staging / name).open("rb") as stream:
            os.fsync(stream.fileno())


# ---------------------------------------------------------------------- reading


def read_config(directory: str | os.PathLike[str]) -> dict[str, Any]:
    """Read and check the JSON of a model folder.

    Raises
    ------
    FileNotFoundError
        If it is no folder, or a file is missing.
    ValueError
        If the JSON has not the declared form; the message names file and field.
    """
    path = Path(directory)
    if not path.is_dir():
        what = f"{path} is a file, not a model folder" if path.is_file() else f"No model folder at {path}"
        raise FileNotFoundError(f"{what}. Expected a folder that holds {CONFIG} and {WEIGHTS}.")
    missing = [CONFIG] * (not (path / CONFIG).is_file()) + [WEIGHTS] * (not _weights_in(path))
    if missing:
        raise FileNotFoundError(f"{path} is not a model of scdrug: {', '.join(missing)} is missing.")
    config = parse_json(path / CONFIG)
    check_manifest(config, path / CONFIG)
    return config


def _weights_in(folder: Path) -> list[Path]:
    """Files of weights: the one in its place first, then those that a save was killed beside."""
    return [path for path in (folder / WEIGHTS, *sorted(folder.glob(f"{_STAGING}*/{WEIGHTS}"))) if path.is_file()]


def _fitting_weights(folder: Path, config: dict[str, Any]) -> Path | None:
    """File of weights that ``model.json`` names by its hash; `None` if there is none, or it names none."""
    wanted = config.get("weights_sha256")
    return next((path for path in _weights_in(folder) if file_sha256(path) == wanted), None)


class Weights:
    """The arrays of a model folder: first what they look like, then the numbers.

    Raises
    ------
    ValueError
        If the file is damaged.
    """

    def __init__(self, directory: str | os.PathLike[str], config: dict[str, Any]) -> None:
        folder = Path(directory)
        fitting = _fitting_weights(folder, config)
        self.path = fitting or _weights_in(folder)[0]
        self._intact = fitting is not None or config.get("weights_sha256") is None
        self._manifest = folder / CONFIG
        self._manifest_intact = config.get("manifest_sha256") in (None, manifest_sha256(config))
        self.header: dict[str, Stored] = read_header(self.path)

    def read(self) -> dict[str, np.ndarray]:
        """Read all arrays; to be called when the header was found to be right.

        Raises
        ------
        ValueError
            If the file is damaged.
        """
        from safetensors import SafetensorError
        from safetensors.numpy import load_file

        try:
            return restore(load_file(self.path))
        except (SafetensorError, OSError) as error:
            raise ValueError(
                f"{self.path} is damaged or incomplete ({error}). Fetch or save the model again."
            ) from error

    def check_intact(self) -> None:
        """Compare both files with their hashes; to be called last, since any other check says more of what is wrong.

        Raises
        ------
        ValueError
            If the files are not those that were saved together.
        """
        for path, intact in ((self.path, self._intact), (self._manifest, self._manifest_intact)):
            if not intact:
                raise ValueError(
                    f"{path} was changed after it was saved: its content does not have the SHA-256 that {CONFIG} states. "
                    "Fetch or save the model again."
                )
