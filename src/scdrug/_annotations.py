"""Types of arguments, read from the text of their annotations.

Annotations are read as text, so that what they name, such as `AnnData` or `Axes`, need not be imported to be recognised.
"""

from __future__ import annotations

import functools
import os
import re
import types
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np


class Kind(NamedTuple):
    """One of the alternatives of an annotation."""

    words: str
    accepts: Callable[[Any], bool]
    #: Name of the class, for what is known of the mistakes that are made with it.
    name: str = ""
    choices: tuple[str, ...] = ()
    #: Whether values, or what they hold, are numbers that must lie within the range of the argument.
    numeric: bool = False


def kinds_of(annotation: Any, scope: Mapping[str, Any]) -> tuple[Kind, ...] | None:
    """Alternatives of an annotation; `None` if it allows anything."""
    found: list[Kind] = []
    for part in _split(annotation if isinstance(annotation, str) else _text(annotation), "|"):
        kinds = _alternative(part, scope)
        if kinds is None:
            return None
        found += kinds
    by_words = {kind.words: kind for kind in found}
    if _PLAIN["float"].words in by_words:
        by_words.pop(_PLAIN["int"].words, None)
    return tuple(by_words.values())


def _alternative(part: str, scope: Mapping[str, Any]) -> tuple[Kind, ...] | None:
    """Kinds of what stands between two bars."""
    if part[0] in "'\"":
        return kinds_of(part[1:-1], scope)
    if part in _PLAIN:
        return (_PLAIN[part],)
    head, _, inside = part.partition("[")
    head, inside = head.split(".")[-1], inside.removesuffix("]")
    if head in ("Any", "object", "TypeVar"):
        return None
    if head == "Literal":
        return (_literal(tuple(item.strip("'\"") for item in _split(inside, ","))),)
    if head in ("Mapping", "dict"):
        return (Kind("a mapping", lambda value: isinstance(value, Mapping)),)
    if head == "Callable":
        return (Kind("a function", callable),)
    if head == "type":
        return (Kind("a class", lambda value: isinstance(value, type)),)
    if head == "PathLike":
        return (Kind("a path", lambda value: isinstance(value, os.PathLike)),)
    if head == "ndarray":
        return (Kind("an array", _is_array),)
    if head == "tuple":
        return (_tuple(_split(inside, ","), scope),)
    if head in ("Sequence", "Collection", "Iterable", "list"):
        return (_sequence(head, kinds_of(inside, scope)),)
    alias = scope.get(part)
    if alias is not None and not isinstance(alias, type):
        return kinds_of(alias, scope)
    article = "an" if head[0] in "AEIOU" else "a"
    return (Kind(f"{article} {head}", lambda value: value is not None and _is_a(type(value), head), name=head),)


#: Classes of other packages, which nothing but themselves can stand for.
_FOREIGN = frozenset({"AnnData", "Axes", "DataFrame", "Figure", "MuData", "Path", "Series", "ndarray"})


@functools.lru_cache(maxsize=1024)
def _is_a(cls: type, name: str) -> bool:
    """Whether a class has that name or is derived from one; for scdrug's own classes another one may stand in."""
    found = {base.__name__ for base in cls.__mro__}
    if name in found or name in _FOREIGN:
        return name in found
    return cls.__module__ != "builtins" and not found & _FOREIGN


def _text(annotation: Any) -> str:
    """Annotation that is an object, such as an alias, as text."""
    if isinstance(annotation, types.UnionType):
        return " | ".join(_text(item) for item in typing.get_args(annotation))
    if annotation is type(None):
        return "None"
    return annotation.__name__ if isinstance(annotation, type) else re.sub(r"\btyping\.", "", str(annotation))


def _split(text: str, separator: str) -> list[str]:
    """Parts of `text` between separators that stand outside of brackets."""
    parts, depth = [""], 0
    for letter in text:
        depth += (letter in "[(") - (letter in "])")
        if letter == separator and not depth:
            parts.append("")
        else:
            parts[-1] += letter
    return [part.strip() for part in parts]


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float, np.number)) and not isinstance(value, bool)


def _is_whole(value: Any) -> bool:
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)


_PLAIN = {
    "None": Kind("None", lambda value: value is None),
    "str": Kind("text", lambda value: isinstance(value, str)),
    "bool": Kind("True or False", lambda value: isinstance(value, (bool, np.bool_))),
    "int": Kind("a whole number", _is_whole, numeric=True),
    "float": Kind("a number", _is_number, numeric=True),
}
_PLURALS = {
    "text": "texts",
    "a whole number": "whole numbers",
    "a number": "numbers",
    "True or False": "booleans",
    "a path": "paths",
}


def _literal(choices: tuple[str, ...]) -> Kind:
    words = f"one of {', '.join(map(repr, choices))}"
    return Kind(words, lambda value: isinstance(value, str) and value in choices, choices=choices)


def _is_array(value: Any) -> bool:
    """Whether numpy can make an array of it; what is in it is checked where its shape is known."""
    return hasattr(value, "__len__") and not isinstance(value, str | bytes | Mapping | set | frozenset)


def _sequence(head: str, kinds: tuple[Kind, ...] | None) -> Kind:
    attribute = "__iter__" if head == "Iterable" else "__len__"

    def accepts(value: Any) -> bool:
        if not hasattr(value, attribute) or isinstance(value, str | bytes | Mapping) or hasattr(value, "columns"):
            return False
        if kinds is None or not hasattr(value, "__len__"):  # an iterator can be read only once
            return True
        return all(any(kind.accepts(item) for kind in kinds) for item in value)

    if kinds is None:
        return Kind("a list", accepts)
    parts = [_PLURALS.get(kind.words, f"{kind.name} objects" if kind.name else kind.words) for kind in kinds]
    choices = tuple(choice for kind in kinds for choice in kind.choices)
    return Kind(
        f"a list of {' or '.join(parts)}", accepts, choices=choices, numeric=any(kind.numeric for kind in kinds)
    )


def _tuple(parts: Sequence[str], scope: Mapping[str, Any]) -> Kind:
    kinds = [kinds_of(part, scope) for part in parts]

    def accepts(value: Any) -> bool:
        return (
            _is_array(value)
            and len(value) == len(kinds)
            and all(
                allowed is None or any(kind.accepts(item) for kind in allowed)
                for allowed, item in zip(kinds, value, strict=True)
            )
        )

    return Kind(f"{len(parts)} numbers", accepts, numeric=True)


def numbers_in(value: Any) -> Iterable[float]:
    """The number itself, or those in a list."""
    items = value if hasattr(value, "__len__") and not isinstance(value, str) else [value]
    return (item for item in items if not isinstance(item, str | bool))
