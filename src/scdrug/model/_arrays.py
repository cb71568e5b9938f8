"""Arrays of a model file: what the header promises is checked before any array is made, and values after."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np

#: Kinds of arrays by their name in the header, and what each comes back as.
_KINDS = {
    "F16": "float", "F32": "float", "F64": "float", "I8": "int8", "I16": "int", "I32": "int", "I64": "int",
    "U8": "uint8", "BOOL": "bool",
}  # fmt: skip
_SCALE = ":scale"
T = TypeVar("T")
_ADVICE = "Fetch or save the model again."


class Stored(NamedTuple):
    """An array as the header describes it, after quantisation is undone."""

    shape: tuple[int, ...]
    kind: str
    #: Whether it is stored as int8 with a scale for each row.
    scaled: bool = False


class Array(NamedTuple):
    """An array that a model needs.

    Sizes are numbers, or names of sizes that must be the same wherever they occur.
    """

    shape: tuple[int | str, ...]
    #: ``"float"``, ``"int"``, ``"uint8"`` or ``"bool"``.
    kind: str = "float"
    optional: bool = False
    #: Whether numbers may be NaN or infinite.
    finite: bool = True


def read_header(path: Path) -> dict[str, Stored]:
    """Names, shapes and kinds of the arrays of a file; no array is read.

    Raises
    ------
    ValueError
        If the file is damaged, holds what no model holds, or its scales do not fit.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            parts = {name: file.get_slice(name) for name in file.keys()}
            found = {name: (tuple(part.get_shape()), str(part.get_dtype())) for name, part in parts.items()}
    except (SafetensorError, OSError, ValueError) as error:
        raise ValueError(f"{path} is damaged or incomplete ({error}). {_ADVICE}") from error
    stored = {}
    for name, (shape, dtype) in found.items():
        if dtype not in _KINDS:
            raise ValueError(f"{path}: `{name}` has numbers of type {dtype}, which no model of scdrug has. {_ADVICE}")
        scale = found.get(name + _SCALE)
        if name.endswith(_SCALE):
            if name.removesuffix(_SCALE) not in found:
                raise ValueError(f"{path}: `{name}` scales no array. {_ADVICE}")
        elif scale is None:
            stored[name] = Stored(shape, _KINDS[dtype])
        elif dtype != "I8" or len(shape) != 2 or scale != ((shape[0], 1), "F32"):
            raise ValueError(
                f"{path}: `{name}{_SCALE}` must have one float32 a row of `{name}`, a matrix of int8; found shape "
                f"{scale[0]} of {scale[1]} for shape {shape} of {dtype}. {_ADVICE}"
            )
        else:
            stored[name] = Stored(shape, "float", scaled=True)
    return stored


def check_header(
    path: Path, found: Mapping[str, Stored], wanted: Mapping[str, Array], sizes: Mapping[str, int] | None = None
) -> dict[str, int]:
    """Raise unless a file holds the arrays that a model needs, and no others.

    Parameters
    ----------
    path
        File, for the message.
    found
        What :func:`read_header` returned.
    wanted
        What the model needs, by name.
    sizes
        Sizes that are known, by name.

    Returns
    -------
    All sizes by name.

    Raises
    ------
    ValueError
        Naming file and array.
    """
    known, first = dict(sizes or {}), dict.fromkeys(sizes or {}, "model.json")
    missing = [name for name, array in wanted.items() if name not in found and not array.optional]
    more = [name for name in found if name not in wanted]
    if missing or more:
        what, name = ("lacks", missing[0]) if missing else ("holds", more[0])
        rest = "" if missing else ", which this model does not have"
        raise ValueError(f"{path} {what} the array `{name}`{rest}. {_ADVICE}")
    for name, array in wanted.items():
        if name not in found:
            continue
        shape, kind, _ = found[name]
        if kind != array.kind:
            raise ValueError(f"{path}: `{name}` must hold numbers of kind {array.kind}; found {kind}. {_ADVICE}")
        if len(shape) != len(array.shape):
            raise ValueError(f"{path}: `{name}` must have {len(array.shape)} axes; found shape {shape}. {_ADVICE}")
        for size, expected in zip(shape, array.shape):
            if isinstance(expected, str):
                first.setdefault(expected, f"`{name}`")
                said = f"{first[expected]} has {known.setdefault(expected, size)} {expected}"
                expected = known[expected]
            else:
                said = f"{expected} were expected"
            if size != expected:
                raise ValueError(f"{path}: `{name}` has shape {shape}, but {said}. {_ADVICE}")
    return known


def check_values(path: Path, arrays: Mapping[str, np.ndarray], wanted: Mapping[str, Array]) -> None:
    """Raise if numbers that must be finite are not."""
    for name, value in arrays.items():
        if wanted[name].finite and value.dtype.kind == "f" and not np.isfinite(value).all():
            raise ValueError(f"{path}: `{name}` holds NaN or infinite numbers. {_ADVICE}")


def require(path: Path, name: str, condition: Any, what: str) -> None:
    """Raise unless an array is as it must be; `what` completes "must …"."""
    if not condition:
        raise ValueError(f"{path}: `{name}` must {what}. {_ADVICE}")


def check_positions(name: str, positions: np.ndarray, n: int) -> None:
    """Raise unless an array names positions among `n`, each once.

    Raises
    ------
    ValueError
        Naming the array.
    """
    if positions.size and (positions.min() < 0 or positions.max() >= n or len(np.unique(positions)) < positions.size):
        raise ValueError(f"`{name}` must name positions among {n}, each once")


def with_prefix(prefix: str, arrays: Mapping[str, T]) -> dict[str, T]:
    """Arrays, or descriptions of them, with a prefix before their names."""
    return {prefix + name: array for name, array in arrays.items()}


def under_prefix(prefix: str, arrays: Mapping[str, T]) -> dict[str, T]:
    """What :func:`with_prefix` was given."""
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}


def skeleton(state: Mapping[str, Any], *, may_be_nan: frozenset[str] = frozenset()) -> dict[str, Array]:
    """What a network without weights needs, from its ``state_dict()``."""
    kinds = {"f": "float", "i": "int", "u": "uint8", "b": "bool"}
    wanted = {}
    for name, value in state.items():
        text = str(value.dtype).removeprefix("torch.")
        kind = "float" if text == "bfloat16" else kinds[np.dtype(text).kind]
        wanted[name] = Array(tuple(value.shape), kind, finite=name not in may_be_nan)
    return wanted
