"""Find the lines of an assay in a reference, under whatever name, so that none is trained on."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ..._audit import LeakError
from ..._validate import examples, nearest
from .._identity import line_name

if TYPE_CHECKING:
    from anndata import AnnData

#: What separates a line's name from a tissue, batch or screen, as in A549_LUNG or GDSC1:A549.
_PARTS = re.compile(r"[_:|/;]")
#: Words that a name of a line can have, as NCI-H1975 has two.
_LONGEST_RUN = 4


@dataclass(frozen=True)
class AssayedLines:
    """Where the lines of an assay stand in a reference."""

    #: Rows of the reference that hold each line's response, by name in the assay.
    rows: dict[str, np.ndarray]
    #: Rows that must not be trained on: these, replicates, and rows that resemble them (lines, bool).
    held_out: np.ndarray


def simple_name(name: object) -> str:
    """Name without case, punctuation and the prefix of the NCI: NCI-H1975, NCIH1975 and H1975 are one line."""
    return re.sub(r"^NCI(?=H\d)", "", line_name(name))


def find_lines(
    reference: AnnData,
    lines: Iterable[str],
    *,
    names: Mapping[str, str] | None = None,
    exclude: Sequence[str] = (),
    must_exist: bool = True,
) -> AssayedLines:
    """Find lines in the names of a reference and in every column of text of its `obs`.

    Parameters
    ----------
    reference
        Bulk reference.
    lines
        Names of the lines as the assay spells them.
    names
        Name in the reference by name in the assay, where case, punctuation and the prefix NCI do not explain the
        difference.
    exclude
        Further lines that must not be trained on.
    must_exist
        Whether every line must be found.

    Returns
    -------
    Rows by line, and all rows that must not be trained on.

    Raises
    ------
    KeyError
        If a line is not found, or `names` speaks of one that the cells do not have; the nearest names are offered.
    ValueError
        If two lines of the assay are one line of the reference.

    Warns
    -----
    UserWarning
        If further rows are left out because their name contains the name of a line, such as a resistant derivative.
    """
    tables = _Names.of(reference)
    tested = list(dict.fromkeys(map(str, lines)))
    names = dict(names or {})
    for name in names:
        if name not in tested:
            near = nearest(name, tested, n=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise KeyError(f"`names` speaks of {name!r}, which the cells do not have.{hint} Lines: {examples(tested)}.")
    found: dict[str, np.ndarray] = {}
    missing = []
    held_out = np.zeros(reference.n_obs, dtype=bool)
    for line in dict.fromkeys([*tested, *map(str, exclude)]):
        named = names.get(line, line)
        found[line] = tables.rows_of(named)
        if not len(found[line]):
            missing.append(line)
        for name in {named, line}:
            held_out |= tables.same(name)
    if missing and must_exist:
        raise KeyError(_missing_message(missing, names, reference, assayed=bool(tested)))
    _check_distinct({line: found[line] for line in tested}, reference)
    similar = tables.resembling([names.get(line, line) for line in found], ~held_out)
    if similar.any():
        warnings.warn(
            f"{int(similar.sum())} further rows of the reference are named after the lines that are held out and are not "
            f"trained on either: {examples(reference.obs_names[similar])}.",
            stacklevel=4,
        )
    return AssayedLines({line: rows for line, rows in found.items() if len(rows)}, held_out | similar)


def check_excluded(training: AnnData, lines: Iterable[str]) -> None:
    """Raise if one of the lines, or one that is named after it, is among the training lines.

    Parameters
    ----------
    training
        Reference that is about to be trained on.
    lines
        Names of the lines that are tested.

    Raises
    ------
    LeakError
        If so.
    """
    tables = _Names.of(training)
    lines = list(lines)
    remains = np.zeros(training.n_obs, dtype=bool)
    for line in lines:
        remains |= tables.same(line)
    remains |= tables.resembling(lines, ~remains)
    if remains.any():
        raise LeakError(
            f"{int(remains.sum())} lines of the assay are still in the training reference: "
            f"{examples(training.obs_names[remains])}. Leave them out of training."
        )


@dataclass(frozen=True)
class _Names:
    """Names of the rows: of samples, and in columns of text."""

    #: The names as they are written.
    raw: list[np.ndarray]
    simple: list[np.ndarray]

    @classmethod
    def of(cls, reference: AnnData) -> _Names:
        columns = [reference.obs_names.astype(str).to_numpy(dtype=object)]
        for _, column in reference.obs.items():
            values = column.dropna().unique()
            if len(values) and all(isinstance(value, str) for value in values):
                columns.append(column.astype(object).where(column.notna(), "").to_numpy(dtype=object))
        return cls(columns, [np.array(_map(column, simple_name), dtype=object) for column in columns])

    def rows_of(self, name: str) -> np.ndarray:
        """Rows of a line: equal names of samples first, then of other columns, then parts of a name."""
        wanted = simple_name(name)
        for column, raw in zip(self.simple, self.raw):
            rows = np.flatnonzero((column == wanted) & (column != ""))
            if len(rows):
                # TT and T-T are two lines that only punctuation tells apart
                exact = rows[[str(raw[row]).upper() == name.upper() for row in rows]]
                return exact if len(exact) else rows
        return np.flatnonzero(self._with_part(name))

    def _with_part(self, name: str) -> np.ndarray:
        """Samples that are called the line with a tissue, batch or screen before or after it (bool)."""
        wanted = {simple_name(name), simple_name(_PARTS.split(name)[0])} - {""}
        outer = _map(self.raw[0], _outer_parts)
        return np.array([bool(wanted & {*parts, own}) for parts, own in zip(outer, self.simple[0])], dtype=bool)

    def same(self, name: str) -> np.ndarray:
        """Rows of a line in any column (bool)."""
        wanted = simple_name(name)
        equal = np.any([(column == wanted) & (column != "") for column in self.simple], axis=0).astype(bool)
        return equal | self._with_part(name)

    def resembling(self, names: Iterable[str], among: np.ndarray) -> np.ndarray:
        """Rows with a name that contains one of the names as a word, as replicates and derivatives do (bool)."""
        wanted = {simple_name(name) for name in names} - {""}
        hit = np.zeros(len(among), dtype=bool)
        for raw in self.raw:
            hit |= np.array([bool(wanted & words) for words in _map(raw, _words)], dtype=bool)
        return hit & among


def _map(column: np.ndarray, function: Callable[[str], Any]) -> list[Any]:
    """Apply a function once for each different value: columns of text repeat themselves."""
    results = {value: function(value) for value in pd.unique(column)}
    return [results[value] for value in column]


def _outer_parts(name: str) -> set[str]:
    parts = _PARTS.split(name)
    return {simple_name(parts[0]), simple_name(parts[-1])} - {""} if len(parts) > 1 else set()


def _words(name: str) -> set[str]:
    """Words of a name, and runs of them: MDA-MB-231-BR holds MDA-MB-231."""
    words = [word for word in re.split(r"[^A-Za-z0-9]+", name) if word]
    runs = ("".join(words[i:j]) for i in range(len(words)) for j in range(i + 1, min(i + _LONGEST_RUN, len(words)) + 1))
    return {simple_name(run) for run in runs}


def _missing_message(missing: Sequence[str], names: Mapping[str, str], reference: AnnData, *, assayed: bool) -> str:
    parts = []
    for line in missing[:5]:
        near = nearest(names.get(line, line), reference.obs_names)
        parts.append(f"{line!r}" + (f" (nearest: {', '.join(map(repr, near))})" if near else ""))
    more = f" and {len(missing) - 5} more" if len(missing) > 5 else ""
    advice = (
        "Measured responses of these lines are the truth, and they must be kept out of training: say what the reference calls "
        "them with `names={'name in the cells': 'name in the reference'}`, or leave these cells out."
        if assayed
        else "It cannot be left out of training: correct the name, or drop it from the lines to leave out."
    )
    return (
        f"The reference has no line called {', '.join(parts)}{more}. {advice} "
        f"The {reference.n_obs} lines of the reference have names such as {examples(reference.obs_names)}."
    )


def _check_distinct(found: Mapping[str, np.ndarray], reference: AnnData) -> None:
    owner: dict[int, str] = {}
    for line, rows in found.items():
        for row in rows.tolist():
            other = owner.setdefault(row, line)
            if other != line:
                raise ValueError(
                    f"{other!r} and {line!r} both are {reference.obs_names[row]!r} in the reference. Give each line of the "
                    "cells one name, or say with `names` which line of the reference each is."
                )
