"""What a drug acts on: targets and pathway as words, brought to HGNC symbols and to families of genes."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from functools import cache
from importlib.resources import files

#: Pathways that say nothing of a mechanism.
_VAGUE = frozenset({"", "OTHER", "UNCLASSIFIED", "OTHER, KINASES", "UNKNOWN", "NAN", "NONE"})
#: Words that stand for no target.
_EMPTY = frozenset({"", "NAN", "NONE", "UNKNOWN", "NOT DEFINED", "OTHERS", "N/A", "-"})
#: Shortest stem that makes a family.
_MIN_STEM = 3


def split_words(text: object) -> list[str]:
    """Words for targets in a field, or in a list of them: parts between commas, semicolons and bars."""
    parts = [text] if isinstance(text, str) or not isinstance(text, Iterable) else list(text)
    words = [word.strip() for part in parts for word in re.split(r"[,;|]", str(part))]
    return [word for word in words if word.upper() not in _EMPTY]


def gene_family(symbol: str) -> str:
    """Stem that the members of a family of genes share: their symbol without its last number and letter.

    Examples
    --------
    >>> from scdrug.pp._targets import gene_family
    >>> [gene_family(symbol) for symbol in ("CDK4", "PIK3CA", "MAP2K1", "EGFR", "KDR")]
    ['CDK', 'PIK3C', 'MAP2K', 'ERBB', 'KDR']
    """
    if symbol == "EGFR":  # the one member whose symbol hides it
        return "ERBB"
    stem = re.sub(r"(\d+[A-Z]?|[A-Z])$", "", symbol)
    return stem if len(stem) >= _MIN_STEM else symbol


def target_symbols(targets: object) -> frozenset[str]:
    """HGNC symbols of a drug's targets.

    Parameters
    ----------
    targets
        Words for targets, in a list or in one text with commas: symbols, names that the field uses (``"MEK1"``,
        ``"PI3Kalpha"``) or families (``"VEGFR"``). What is not known stays as it is, in capitals.

    Examples
    --------
    >>> from scdrug.pp._targets import target_symbols
    >>> sorted(target_symbols("MEK1, MEK2")), sorted(target_symbols(["VEGFR"]))
    (['MAP2K1', 'MAP2K2'], ['FLT1', 'FLT4', 'KDR'])
    """
    found: set[str] = set()
    known = _symbols()
    for word in split_words(targets):
        outside = re.sub(r"\s*\(.*?\)", "", word).strip()
        spelled = [word.upper(), outside.upper(), *(inner.upper() for inner in re.findall(r"\((.*?)\)", word))]
        hits = [known[name] for name in spelled if name in known]
        found |= set().union(*hits) if hits else {outside.upper() or word.upper()}
    return frozenset(found)


def mechanism_words(targets: object, pathway: object) -> tuple[frozenset[str], frozenset[str]]:
    """What a drug acts on, to be compared with other drugs: symbols with their families, and the pathway; both may be empty."""
    symbols = target_symbols(targets)
    name = str(pathway).strip().upper()
    return symbols | {
        f"family {gene_family(symbol)}" for symbol in symbols
    }, frozenset() if name in _VAGUE else frozenset({name})


@cache
def _symbols() -> dict[str, list[str]]:
    stored = json.loads((files("scdrug.pp") / "_data" / "targets.json").read_text(encoding="utf-8"))
    return stored["symbols"]
