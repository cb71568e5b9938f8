"""The bundled table of human genes, and what each of their names stands for."""

from __future__ import annotations

import gzip
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import numpy as np

#: What :func:`detect_gene_ids` tells apart.
GENE_ID_KINDS = ("symbol", "ensembl", "entrez", "mouse_ensembl", "mouse_symbol", "unknown")
#: Share of names that must be of a kind before a list of names is said to be of it.
_MIN_SHARE = 0.1
#: Entrez ids of any few hundred human genes go beyond this; row numbers do not.
_MAX_ROW_NUMBER = 100_000
#: What files write where a gene has no name; "NA" and "NaN" are also synonyms of genes, but nobody means those.
NO_NAMES = frozenset({"", "-", ".", "nan", "NaN", "NAN", "None", "none", "NA", "N/A", "n/a", "<NA>", "null", "NULL"})
_OPEN_READING_FRAME = re.compile(r"C(?:\d+|X|Y)ORF\d+[A-Z]?")


@dataclass(frozen=True, eq=False)
class GeneTable:
    """Human genes, and dictionaries from each kind of name to the row of the gene."""

    symbols: tuple[str, ...]
    by_symbol: dict[str, int]
    by_ensembl: dict[str, int]
    by_entrez: dict[str, int]
    #: Synonyms; −1 where several genes have the same one.
    by_alias: dict[str, int]

    def lookup(self, name: str, *, entrez: bool = False) -> tuple[int, str]:
        """Find the gene that a name stands for.

        Parameters
        ----------
        name
            Symbol, synonym, Ensembl id with or without version, or Entrez id.
        entrez
            Whether digits are Entrez ids. Not by default, as they may be row numbers.

        Returns
        -------
        Row of the gene, −1 if there is none or more than one, and what the name is: ``"symbol"``, ``"alias"``,
        ``"ensembl"``, ``"entrez"``, ``"ambiguous"`` or ``"unknown"``. Approved symbols win over synonyms.
        """
        row = self.by_symbol.get(name)
        if row is not None:
            return row, "symbol"
        if name.startswith("ENSG"):
            row = self.by_ensembl.get(name[:15], -1)
            return row, "unknown" if row < 0 else "ensembl"
        if entrez and name.isdecimal():
            row = self.by_entrez.get(name, -1)
            return row, "unknown" if row < 0 else "entrez"
        row = self.by_alias.get(name)
        if row is None:
            row = self._lookup_spelling(name)
        if row is None:
            return -1, "unknown"
        return row, "ambiguous" if row < 0 else "alias"

    def _lookup_spelling(self, name: str) -> int | None:
        """Undo what other programs do to symbols: R turns dashes to dots, some turn all to upper case."""
        if "." in name:
            respelled = name.replace(".", "-")
        elif _OPEN_READING_FRAME.fullmatch(name):
            respelled = name.replace("ORF", "orf")
        else:
            return None
        return self.by_symbol.get(respelled, self.by_alias.get(respelled))


@cache
def gene_table() -> GeneTable:
    """Read the bundled table (once)."""
    content = (files("scdrug.pp") / "_data" / "genes.tsv.gz").read_bytes()
    rows = [line.split("\t") for line in gzip.decompress(content).decode().splitlines()[1:]]
    by_symbol: dict[str, int] = {}
    by_entrez: dict[str, int] = {}
    by_ensembl: dict[str, int] = {}
    by_alias: dict[str, int] = {}
    for row, (symbol, entrez, _, ensembl, aliases) in enumerate(rows):
        by_symbol.setdefault(symbol, row)
        by_entrez[entrez] = row
        if ensembl:
            for ensembl_id in ensembl.split("|"):
                by_ensembl[ensembl_id] = row
        if aliases:
            for alias in set(aliases.split("|")) - NO_NAMES:
                by_alias[alias] = -1 if alias in by_alias else row
    return GeneTable(
        symbols=tuple(row[0] for row in rows),
        by_symbol=by_symbol,
        by_ensembl=by_ensembl,
        by_entrez=by_entrez,
        by_alias=by_alias,
    )


def as_names(names: Iterable[object]) -> list[str]:
    """Names as plain strings without surrounding blanks."""
    return [str(name).strip() for name in names]


def are_row_numbers(names: Sequence[str]) -> bool:
    """Tell row numbers, which a table without gene names gets, from Entrez ids."""
    if not names or not all(name.isdecimal() for name in names):
        return False
    numbers = np.array([int(name) for name in names])
    consecutive = len(numbers) > 1 and numbers[0] <= 1 and bool(np.all(np.diff(numbers) == 1))
    return consecutive or (len(numbers) >= 200 and int(numbers.max()) < _MAX_ROW_NUMBER)


def are_entrez_ids(names: Sequence[str]) -> bool:
    """Whether digits among names are Entrez ids; most lists of names have none, and are not looked at further."""
    return any(map(str.isdecimal, names)) and detect_gene_ids(names) == "entrez"


def detect_gene_ids(names: Iterable[object]) -> str:
    """Say what kind of gene ids most names are.

    Parameters
    ----------
    names
        Gene names, such as ``adata.var_names``.

    Returns
    -------
    ``"symbol"`` (human, synonyms included), ``"ensembl"``, ``"entrez"``, ``"mouse_ensembl"``, ``"mouse_symbol"``
    (or of another rodent) or ``"unknown"``, when less than a tenth of the names are of any kind, or when they are
    row numbers.

    Examples
    --------
    >>> from scdrug.pp._gene_table import detect_gene_ids
    >>> detect_gene_ids(["ENSG00000141510.18", "ENSG00000146648.19"]), detect_gene_ids(["Trp53", "Egfr"])
    ('ensembl', 'mouse_symbol')
    """
    texts = as_names(names)
    if not texts or are_row_numbers(texts):
        return "unknown"
    table = gene_table()
    counts = dict.fromkeys(GENE_ID_KINDS[:-1], 0)
    for name in texts:
        if name.startswith("ENSG"):
            counts["ensembl"] += 1
        elif name.startswith("ENSMUSG"):
            counts["mouse_ensembl"] += 1
        elif name.isdecimal():
            counts["entrez"] += name in table.by_entrez
        elif table.lookup(name)[1] in ("symbol", "alias", "ambiguous"):
            counts["symbol"] += 1
        elif name[0:1].isupper() and any(c.islower() for c in name):
            counts["mouse_symbol"] += table.lookup(name.upper())[1] in ("symbol", "alias", "ambiguous")
    kind = max(counts, key=counts.__getitem__)
    return kind if counts[kind] >= _MIN_SHARE * len(texts) else "unknown"
