"""Types of what a configuration holds, checked entry by entry."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

Seed = Annotated[int, Field(ge=0, lt=1 << 32)]
#: Names may look like numbers: ``name: 2025``.
Text = str | int | float
Options = dict[str, Any] | None
#: What YAML 1.1 takes for text although it looks like a number.
_LOOKS_LIKE_A_NUMBER = re.compile(r"[-+]?[\d._]+(e[-+]?\d+)?", re.IGNORECASE)


def check_types(entry: Mapping[str, Any], where: str, **types: Any) -> None:
    """Raise unless the values of an entry are of the types that are known.

    Parameters
    ----------
    entry
        Entry of a configuration.
    where
        Name of the entry; empty for the file itself.
    **types
        Type by key, as pydantic takes it. Keys that the entry lacks are not checked.

    Raises
    ------
    ValueError
        Naming entry, key and value.
    """
    for key, kind in types.items():
        if key not in entry:
            continue
        value = entry[key]
        try:
            TypeAdapter(kind, config=ConfigDict(strict=True, allow_inf_nan=False)).validate_python(value)
        except ValidationError as error:
            # of a choice of types, the last is None
            what = error.errors(include_url=False)[0]["msg"]
            place = f"`{key}` of `{where}`" if where else f"`{key}`"
            hint = ""
            if isinstance(value, str) and _LOOKS_LIKE_A_NUMBER.fullmatch(value):
                hint = " YAML takes this for text; write a number with its digits, or with a point as in 1.0e+3."
            text = repr(value) if len(repr(value)) < 60 else f"{repr(value)[:59]}…"
            raise ValueError(f"{place}: {what[:1].lower()}{what[1:]}; found {text}.{hint}") from error
