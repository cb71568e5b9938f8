"""Which cell line a name stands for: one line is spelled in many ways, and has ids in every resource."""

from __future__ import annotations

import re
import warnings
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import pandas as pd

from .._validate import examples, nearest

#: Sites that CCLE appends to names, as in ``A549_LUNG``.
_CCLE_SITES = frozenset(
    "ADRENAL_CORTEX AUTONOMIC_GANGLIA BILIARY_TRACT BONE BREAST CENTRAL_NERVOUS_SYSTEM CERVIX ENDOMETRIUM FIBROBLAST "
    "HAEMATOPOIETIC_AND_LYMPHOID_TISSUE KIDNEY LARGE_INTESTINE LIVER LUNG MATCHED_NORMAL_TISSUE OESOPHAGUS OVARY PANCREAS "
    "PLACENTA PLEURA PROSTATE SALIVARY_GLAND SKIN SMALL_INTESTINE SOFT_TISSUE STOMACH TESTIS THYROID "
    "UPPER_AERODIGESTIVE_TRACT URINARY_TRACT UVEA VULVA".split()
)
#: Simplified names that two different lines share (TT and T-T, KMH-2 and KM-H2).
_HOMONYMS = frozenset({"tt", "kmh2"})
_ID_KINDS = (
    (re.compile(r"ACH-\d{6}"), "DepMap ids"),
    (re.compile(r"SIDM\d{5}"), "ids of the Sanger Cell Model Passports"),
    (re.compile(r"CVCL_[A-Z0-9]{4}"), "RRIDs of Cellosaurus"),
    (re.compile(r"\d{6,7}"), "COSMIC ids"),
    (re.compile(r"[A-Z0-9]+_(?:" + "|".join(sorted(_CCLE_SITES)) + ")"), "names of CCLE"),
)


@dataclass(frozen=True)
class LineMatch:
    """Names on one side and what they are called on the other."""

    #: Names that were found, and what they are called.
    found: dict[str, str] = field(default_factory=dict)
    #: Of these, the ones that are spelled differently or are ids.
    respelled: dict[str, str] = field(default_factory=dict)
    #: Names that could be several lines, or that share one line with another name, and the lines.
    ambiguous: dict[str, list[str]] = field(default_factory=dict)
    unknown: list[str] = field(default_factory=list)


def simple_line(name: object) -> str:
    """Name of a line without case, punctuation, the site that CCLE appends, and the prefix NCI of its H numbers.

    Examples
    --------
    >>> from scdrug.pp._line_names import simple_line
    >>> [simple_line(name) for name in ("NCI-H1975", "H1975_LUNG", "T.T", "MDA-MB-231")]
    ['h1975', 'h1975', 'tt', 'mdamb231']
    """
    text = str(name).strip().upper()
    head, _, site = text.partition("_")
    if head and site in _CCLE_SITES:
        text = head
    text = re.sub(r"[^a-z0-9]", "", text.lower())
    return text[3:] if re.fullmatch(r"ncih\d{2,}", text) else text


def match_lines(wanted: Iterable[str], known: Iterable[str], *tables: pd.DataFrame | None) -> LineMatch:
    """Find lines by name, by other spellings of it, and by ids that stand in tables of lines.

    Parameters
    ----------
    wanted
        Names to look up.
    known
        Names of the lines that there are, each once.
    *tables
        Tables of lines: the names in the index and in each column of ids stand for the same line.

    Returns
    -------
    What was found. An exact name wins; no two names are joined to one line.

    Examples
    --------
    >>> from scdrug.pp._line_names import match_lines
    >>> match = match_lines(["A549", "nci-h1975", "HELA"], ["A549", "NCIH1975"])
    >>> match.found, match.unknown
    ({'A549': 'A549', 'nci-h1975': 'NCIH1975'}, ['HELA'])
    """
    wanted, known = list(dict.fromkeys(wanted)), list(dict.fromkeys(known))
    there = set(known)
    found = {name: name for name in wanted if name in there}
    taken = set(found.values())
    by_key = _aliases(known, [table for table in tables if table is not None])
    guesses: dict[str, list[str]] = defaultdict(list)
    ambiguous: dict[str, list[str]] = {}
    unknown = []
    for name in wanted:
        if name in found:
            continue
        key = simple_line(name)
        lines = by_key.get(key, [])
        if not lines or not key:
            unknown.append(name)
        elif len(lines) > 1 or lines[0] in taken or key in _HOMONYMS:
            ambiguous[name] = lines
        else:
            guesses[lines[0]].append(name)
    respelled = {names[0]: line for line, names in guesses.items() if len(names) == 1}
    for line, names in guesses.items():
        if len(names) > 1:
            ambiguous.update({name: [line] for name in names})
    return LineMatch({**found, **respelled}, respelled, ambiguous, unknown)


def _aliases(known: Sequence[str], tables: Sequence[pd.DataFrame]) -> dict[str, list[str]]:
    """Lines by simplified name or id."""
    by_key: dict[str, dict[str, None]] = defaultdict(dict)
    for name in known:
        by_key[simple_line(name)][name] = None
    named_lines = {key: list(lines) for key, lines in by_key.items()}
    for table in tables:
        columns = [table.index.to_series().reset_index(drop=True), *(table[c].reset_index(drop=True) for c in table)]
        named = [[simple_line(_text(value)) for value in column] for column in columns if _are_ids(column)]
        for aliases in zip(*named):
            lines = [line for alias in aliases if alias for line in named_lines.get(alias, ())]
            if len(set(lines)) == 1:
                for alias in filter(None, aliases):
                    by_key[alias][lines[0]] = None
    return {key: list(lines) for key, lines in by_key.items()}


def _text(value: object) -> str:
    if value is None or value is pd.NA or (isinstance(value, float) and value != value):
        return ""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _are_ids(column: pd.Series) -> bool:
    """Whether a column tells lines apart, as names and ids do and tissues do not."""
    if pd.api.types.is_bool_dtype(column):
        return False
    present = column.dropna()
    if pd.api.types.is_numeric_dtype(column) and not (present == present.round()).all():
        return False
    return len(present) > 0 and present.astype(str).nunique() >= 0.9 * len(present)


def id_kind(names: Iterable[str]) -> str | None:
    """Say whose ids most names are, `None` if they are none."""
    names = [str(name) for name in names]
    for pattern, kind in _ID_KINDS:
        if names and sum(pattern.fullmatch(name) is not None for name in names) > len(names) / 2:
            return kind
    return None


def describe_match(match: LineMatch, known: Sequence[str], *, what: str) -> list[str]:
    """Sentences on what was joined under another spelling and what was not found, for a warning."""
    parts = []
    if match.respelled:
        pairs = [f"{name!r} = {line!r}" for name, line in match.respelled.items()]
        shown = ", ".join(pairs[:5]) + (", …" if len(pairs) > 5 else "")
        parts.append(f"{len(pairs)} {what} were joined under another spelling or id: {shown}.")
    if match.ambiguous:
        pairs = [f"{name!r} ({' or '.join(map(repr, lines[:3]))})" for name, lines in match.ambiguous.items()]
        shown = ", ".join(pairs[:5]) + (", …" if len(pairs) > 5 else "")
        parts.append(
            f"{len(pairs)} {what} were not joined, because more than one name or line has that spelling: {shown}. Use one name for each line."
        )
    if match.unknown:
        shown = ", ".join(_with_nearest(name, known) for name in match.unknown[:5]) + (
            ", …" if len(match.unknown) > 5 else ""
        )
        parts.append(f"{len(match.unknown)} {what} are not there and were left out: {shown}.")
    return parts


def _with_nearest(name: str, known: Sequence[str]) -> str:
    # another number is another line: only the rest of a name is misspelled
    near = [line for line in nearest(name, known) if re.sub(r"\D", "", line) == re.sub(r"\D", "", name)]
    return f"{name!r} (nearest: {near[0]!r})" if near else repr(name)


def warn_lost(wanted: Sequence[str], known: Sequence[str], *, what: str) -> None:
    """Warn of names that a join leaves out, each with the nearest name that there is."""
    there = set(map(str, known))
    lost = [str(name) for name in wanted if str(name) not in there]
    if lost:
        (note,) = describe_match(LineMatch(unknown=lost), [str(name) for name in known], what=what)
        warnings.warn(note, UserWarning, stacklevel=3)


def nothing_shared(left: Sequence[str], right: Sequence[str]) -> str:
    """Say what lines are called on the two sides, and which ids these are."""
    kinds = [id_kind(left), id_kind(right)]
    described = [f"{examples(names)}{f' ({kind})' if kind else ''}" for names, kind in zip((left, right), kinds)]
    hint = "Use the same names on both sides"
    if kinds[0] != kinds[1]:
        hint += ", or pass a table that holds both, one row per line, as `lines`"
    return (
        f"No line has both expression and response: lines with expression are called {described[0]}, lines with response "
        f"{described[1]}. {hint}."
    )
