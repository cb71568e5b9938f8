"""Names that earlier versions had: arguments, their values, and functions still work under them, with a warning.

What is renamed stands at its place: arguments in a decorator of the function, functions in the ``__init__`` of their namespace.
Nothing else of the package knows the former names.
"""

from __future__ import annotations

import functools
import importlib
import warnings
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeVar

F = TypeVar("F", bound=Callable[..., Any])

#: Version in which former names will be gone.
GONE_IN = "0.4"


class Former(NamedTuple):
    """What a former argument is called now, and what those of its values are called that have changed, too."""

    name: str
    values: Mapping[Any, Any] = {}

    def value(self, value: Any) -> Any:
        """The value of today that stands for a former one."""
        known = value is None or isinstance(value, str)
        return self.values.get(value, value) if known else value


def formerly(_positional: tuple[str, ...] = (), /, **arguments: str | Former) -> Callable[[F], F]:
    """Tell :func:`scdrug._arguments.checked`, which stands above, what arguments of a function were called.

    Parameters
    ----------
    _positional
        Arguments that are given by name alone now, in the order in which they followed the others.
    **arguments
        Present name by the former one; or `Former`, where values have changed. Under the same name values alone change.
    """

    def mark(function: F) -> F:
        function.former_arguments = {  # type: ignore[attr-defined]
            old: new if isinstance(new, Former) else Former(new) for old, new in arguments.items()
        }
        function.former_positional = _positional  # type: ignore[attr-defined]
        return function

    return mark


def current_arguments(function: Callable[..., Any], given: Mapping[str, Any], *, warn: bool = True) -> dict[str, Any]:
    """Arguments under their present names, with a warning where they were given under former ones.

    Parameters
    ----------
    function
        What they are arguments of.
    given
        Arguments by name, such as a file holds them.
    warn
        Say what has changed. Files that earlier versions wrote are nobody's to correct.
    """
    former: Mapping[str, Former] = getattr(function, "former_arguments", {})
    found: dict[str, Any] = {}
    for name, value in given.items():
        change = former.get(name)
        if change is None:
            found[name] = value
            continue
        now = change.value(value)
        if change.name != name and change.name in given:
            raise TypeError(f"`{name}` is called `{change.name}` now, and both were given. Leave `{name}` out.")
        if warn and (change.name != name or now is not value):
            warnings.warn(
                f"`{name}={value!r}` is written `{change.name}={now!r}` now; the former way will be gone in scdrug {GONE_IN}.",
                FutureWarning,
                stacklevel=3,
            )
        found[change.name] = now
    return found


def named_arguments(
    function: Callable[..., Any], args: tuple[Any, ...], n: int
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The first `n` arguments, and by name those after them that could once be given by position."""
    former: tuple[str, ...] = getattr(function, "former_positional", ())
    extra = args[n:]
    if not extra or len(extra) > len(former):
        return args, {}
    names = former[: len(extra)]
    warnings.warn(
        f"Give {', '.join(f'`{name}`' for name in names)} by name; by position they will be refused in scdrug {GONE_IN}.",
        FutureWarning,
        stacklevel=3,
    )
    return args[:n], dict(zip(names, extra, strict=True))


def former_names(
    namespace: str, find: Callable[[str], Any], names: Mapping[str, str], kept: Mapping[str, str] | None = None
) -> Callable[[str], Any]:
    """``__getattr__`` of a namespace that also finds what it has under a former name.

    Parameters
    ----------
    namespace
        Its ``__name__``.
    find
        Its ``__getattr__``.
    names
        Present name by the former one.
    kept
        Module, by name, of functions that have no successor of the same form; they say themselves what to call instead.
    """

    @functools.wraps(find)
    def __getattr__(name: str) -> Any:
        if name in names:
            warnings.warn(
                f"`{namespace}.{name}` is called `{namespace}.{names[name]}` now; the former name will be gone in scdrug {GONE_IN}.",
                FutureWarning,
                stacklevel=2,
            )
            return find(names[name])
        if kept and name in kept:
            return getattr(importlib.import_module(f"{namespace}.{kept[name]}"), name)
        return find(name)

    return __getattr__


def warn_of_former(name: str, instead: str, *, stacklevel: int = 3) -> None:
    """Warn that a function is gone, and say what to call instead."""
    warnings.warn(f"`{name}` will be gone in scdrug {GONE_IN}. Call {instead}.", FutureWarning, stacklevel=stacklevel)
