"""Checks whose messages say what was expected, what was found and what to do next."""

from __future__ import annotations

import difflib
import importlib
import re
import sys
import warnings
from collections.abc import Iterable, Mapping, Sequence
from enum import Enum
from pathlib import Path, PurePath
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd


def examples(items: Iterable[Any], n: int = 5) -> str:
    """Quote the first `n` items for use in a message, with ``…`` when there are more."""
    items = list(items)
    return ", ".join(repr(str(item)) for item in items[:n]) + (", …" if len(items) > n else "")


def nearest(name: str, candidates: Iterable[str], n: int = 3) -> list[str]:
    """Return up to `n` candidates that are spelled like `name`, ignoring case and punctuation, best first."""

    def simple(text: str) -> str:
        return re.sub(r"[^a-z0-9]", "", str(text).lower())

    by_simple: dict[str, str] = {}
    for candidate in candidates:
        by_simple.setdefault(simple(candidate), str(candidate))
    matches = difflib.get_close_matches(simple(name), by_simple, n=n, cutoff=0.6)
    return [by_simple[match] for match in matches]


def check_choice(argument: str, value: Any, choices: Sequence[str]) -> None:
    """Raise :class:`ValueError` unless `value` is one of `choices`; the nearest choice is offered."""
    if value in choices:
        return
    near = nearest(str(value), choices, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    raise ValueError(f"`{argument}` must be one of {', '.join(map(repr, choices))}; found {value!r}.{hint}")


def check_key(container: Mapping[str, Any] | pd.DataFrame, key: str, *, where: str, hint: str = "") -> None:
    """Raise :class:`KeyError` when `key` is missing from e.g. ``adata.obs``, naming what is there."""
    if key in container:
        return
    present = [str(k) for k in container.keys() if k is not None]
    near = nearest(key, present, n=1)
    suggestion = f" Did you mean {near[0]!r}?" if near else ""
    found = f"It has: {examples(present, 8)}." if present else "It is empty."
    raise KeyError(" ".join(part for part in (f"{key!r} is not in `{where}`.{suggestion}", found, hint) if part))


def warn_caller(message: str) -> None:
    """Warn at the line that called scdrug, however deep inside the cause was found."""
    package = str(Path(__file__).parent)
    frame, level = sys._getframe(1), 2
    while frame is not None and (frame.f_code.co_filename.startswith(package) or _is_skipped(frame.f_code.co_filename)):
        level += not _is_skipped(frame.f_code.co_filename)  # type: ignore[operator]
        frame = frame.f_back  # type: ignore[assignment]
    warnings.warn(message, UserWarning, stacklevel=level)


def _is_skipped(file: str) -> bool:
    """Whether Python leaves a frame out when it counts the `stacklevel` of a warning."""
    return "importlib" in file and "_bootstrap" in file


def import_optional(module: str, *, extra: str, purpose: str) -> ModuleType:
    """Import a module of an optional dependency, or say which extra installs it."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ImportError(
            f"{purpose} needs the package '{module.split('.')[0]}', which is not installed. "
            f"Install it with: pip install 'scdrug[{extra}]'"
        ) from error


def slug(name: str) -> str:
    """Make an id that any file format takes as a key: lower-case letters, digits and single dashes."""
    return re.sub(r"[^a-z0-9]+", "-", str(name).lower()).strip("-") or "unnamed"


def unique_slugs(names: Iterable[str]) -> list[str]:
    """Slugs of `names` in order; a slug that is taken gets ``-2``, ``-3``, … appended."""
    taken: set[str] = set()
    result = []
    for name in names:
        base = candidate = slug(name)
        number = 2
        while candidate in taken:
            candidate, number = f"{base}-{number}", number + 1
        taken.add(candidate)
        result.append(candidate)
    return result


def plain(value: Any) -> Any:
    """Turn parameters into what every AnnData file format can hold in ``uns``.

    Tuples and sets become lists, paths and enums strings, integer keys strings, and keys lose their slashes;
    arrays, DataFrames, strings, numbers and booleans pass through. ``None`` becomes the string ``"None"``,
    which older readers can open.
    """
    if value is None:
        return "None"
    if isinstance(value, Enum):
        return plain(value.value)
    if isinstance(value, PurePath):
        return str(value)
    if isinstance(value, Mapping):
        return {str(key).replace("/", "|"): plain(item) for key, item in value.items()}
    if isinstance(value, set | frozenset):
        return [plain(item) for item in sorted(value, key=str)]
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, pd.Series | pd.Index):
        return value.to_numpy()
    if isinstance(value, np.generic):
        return value.item()
    return value
