"""Find the genes of a panel among gene names, and say why too few of them are there."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from .._validate import examples, plain
from ._gene_ids import MOUSE_HINT, panel_rows
from ._gene_table import NO_NAMES, are_entrez_ids, are_row_numbers, as_names, detect_gene_ids, gene_table

#: When several columns are synonyms of one panel gene, the kind of name that goes first.
_PRECEDENCE = {"symbol": 0, "ensembl": 1, "entrez": 2, "alias": 3}


@dataclass(frozen=True, eq=False)
class GeneMatch:
    """Where the genes of a panel stand in a query."""

    #: Column of the query for each gene of the panel, −1 where the query lacks it (panel, int).
    columns: np.ndarray
    #: Share of the panel that the query has, 0–1.
    coverage: float
    #: Panel genes that the query lacks.
    missing: tuple[str, ...]
    #: Query columns left out because another one names the same gene of the panel.
    n_duplicated: int
    #: Panel genes found under another name.
    n_synonyms: int
    #: Which query columns are expression of human genes, in the panel or not (query, bool).
    is_gene: np.ndarray
    #: Whose names were read.
    source: str = "adata.var_names"
    #: What was taken off the names, in words.
    stripped: str = ""
    #: Query columns that measure something else than expression (antibodies, peaks, …), and what they are.
    n_other_features: int = 0
    other_features: str = ""
    #: Query columns of genes of other species.
    n_other_species: int = 0
    #: Panel genes whose values were filtered out of the query (``var["feature_is_filtered"]``).
    n_filtered: int = 0
    #: Panel genes that are in the query, but hold no measurement.
    n_undetected: int = 0

    def without(self, lost: np.ndarray, genes: Iterable[object]) -> GeneMatch:
        """The same match of a panel (`genes`), but for genes (positions) that hold no measurement."""
        columns = self.columns.copy()
        columns[lost] = -1
        return replace(self, **measured_part(as_names(genes), columns), n_undetected=self.n_undetected + len(lost))

    def summary(self) -> dict[str, Any]:
        """What was found, in plain types: counts and words, nothing by gene."""
        return plain(
            {
                "coverage": self.coverage,
                "n_genes": len(self.columns),
                "n_synonyms": self.n_synonyms,
                "n_duplicated": self.n_duplicated,
                "source": self.source,
                "stripped": self.stripped,
                "n_other_features": self.n_other_features,
                "n_other_species": self.n_other_species,
                "n_filtered": self.n_filtered,
                "n_undetected": self.n_undetected,
            }
        )


def match_genes(
    var_names: Iterable[object], panel: Iterable[object], *, synonyms: bool = True, warn: bool = True
) -> GeneMatch:
    """Find each gene of a panel among the names of a query.

    Equal names go first, then what the bundled table of genes says: Ensembl ids, Entrez ids and synonyms. No column of
    the query is used twice. The result does not depend on the order of the query's genes, except between columns of
    the very same name, of which the first is used; :func:`scdrug.pp._match_cells.match_cells` looks at their values.

    Parameters
    ----------
    var_names
        Gene names of the query.
    panel
        Gene names of the model, without repeats.
    synonyms
        Whether to look beyond equal names.
    warn
        Whether to warn of columns that name a gene of the panel that another column names too.

    Returns
    -------
    The match.

    Raises
    ------
    ValueError
        If the panel is empty or repeats a name.

    Warns
    -----
    UserWarning
        If several columns name one gene of the panel.

    Examples
    --------
    >>> from scdrug.pp._genes import match_genes
    >>> match = match_genes(["HER2", "ENSG00000146648.19", "MYC"], ["EGFR", "ERBB2", "KRAS"])
    >>> match.columns.tolist(), match.missing
    ([1, 0, -1], ('KRAS',))
    """
    names, genes = as_names(var_names), as_names(panel)
    found = FoundGenes(names, panel_positions(genes), synonyms=synonyms)
    if warn and found.repeated:
        warnings.warn(say_repeated(found.repeated, "the first of each"), stacklevel=2)
    return make_match(genes, found, np.ones(len(names), dtype=bool))


def panel_positions(genes: list[str]) -> dict[str, int]:
    """Place of each gene of a panel that has a name; each must be there once."""
    position = {gene: i for i, gene in enumerate(genes)}
    if not genes or len(position) < len(genes):
        found = (
            "none"
            if not genes
            else f"repeated: {examples(gene for i, gene in enumerate(genes) if position[gene] != i)}"
        )
        raise ValueError(f"A gene panel must name each gene once; found {found}.")
    return {gene: i for gene, i in position.items() if gene not in NO_NAMES}


class FoundGenes:
    """The column of each gene of a panel, and the columns that lost it to another one."""

    def __init__(self, names: Sequence[str], position: dict[str, int], *, synonyms: bool = True) -> None:
        table = gene_table()
        wanted = {row: position[gene] for row, gene in panel_rows(list(position)).items()} if synonyms else {}
        entrez = synonyms and are_entrez_ids(names)
        #: Best rank of each panel gene, and the columns that have it.
        self.best: dict[int, tuple[tuple[int, str], list[int]]] = {}
        #: Names of columns that were not needed.
        self.repeated: list[str] = []
        for column, name in enumerate(names):
            i, kind = position.get(name), -1
            if i is None and synonyms and name not in NO_NAMES:
                row, what = table.by_symbol.get(name, -1), "symbol"
                if row < 0:
                    row, what = table.lookup(name, entrez=entrez)
                i = wanted.get(row) if row >= 0 else None
                # copies of genes on the Y chromosome are part of every annotation, and empty
                kind = _PRECEDENCE.get(what, 0) + 9 * name.endswith("_PAR_Y")
            if i is None:
                continue
            rank, held = (kind, name), self.best.get(i)
            if held is None:
                self.best[i] = rank, [column]
                continue
            loser = max(rank, held[0])
            if loser[0] < 9:
                self.repeated.append(loser[1])
            if rank < held[0]:
                self.best[i] = rank, [column]
            elif rank == held[0]:
                held[1].append(column)

    @property
    def ties(self) -> list[list[int]]:
        """Columns of the very same name, by panel gene."""
        return [columns for _, columns in self.best.values() if len(columns) > 1]


def make_match(genes: list[str], found: FoundGenes, is_gene: np.ndarray, **notes: Any) -> GeneMatch:
    """The match of a panel, with what else is known of the columns."""
    columns = np.full(len(genes), -1, dtype=np.int64)
    for i, (_, of) in found.best.items():
        columns[i] = of[0]
    return GeneMatch(
        **measured_part(genes, columns),
        n_duplicated=len(found.repeated),
        n_synonyms=sum(rank[0] >= 0 for rank, _ in found.best.values()),
        is_gene=is_gene,
        **notes,
    )


def measured_part(genes: list[str], columns: np.ndarray) -> dict[str, Any]:
    """The fields of a match that follow from the columns."""
    missing = tuple(gene for gene, column in zip(genes, columns) if column < 0)
    return {"columns": columns, "coverage": 1 - len(missing) / len(genes), "missing": missing}


def say_repeated(repeated: Sequence[str], used: str) -> str:
    """What to tell of columns that were not needed."""
    return (
        f"{len(repeated)} columns repeat the name of another gene, such as {examples(sorted(set(repeated)), 3)} (synonyms and "
        f"ids count as names); {used} is used. `scdrug.pp.map_gene_ids(adata, duplicates='sum')` adds up "
        "counts instead."
    )


# ------------------------------------------------------------------ too few genes


def check_share(min_coverage: float) -> None:
    if not 0 <= min_coverage <= 1:
        raise ValueError(f"`min_coverage` must be a share between 0 and 1; found {min_coverage!r}.")


def check_coverage(
    match: GeneMatch, *, min_coverage: float, names: Iterable[object], hints: Sequence[str] = ()
) -> None:
    """Raise if too little of a panel was found, saying what the names are instead and what to do.

    Parameters
    ----------
    match
        Result of :func:`match_genes`.
    min_coverage
        Share of the panel that is needed, 0–1.
    names
        Gene names of the query.
    hints
        What is known about the cause; used instead of general advice.

    Raises
    ------
    ValueError
        If the coverage is below `min_coverage`, or if that is not between 0 and 1.
    """
    check_share(min_coverage)
    n_panel = len(match.columns)
    if match.coverage >= min_coverage and len(match.missing) < n_panel:
        return
    texts = as_names(names)
    found, advice = _explain(texts)
    raise ValueError(
        f"Only {n_panel - len(match.missing):,} of {n_panel:,} model genes ({match.coverage:.1%}) are in "
        f"`adata.var_names`; at least {min_coverage:.0%} are needed. The model expects human genes (symbols, Ensembl or "
        f"Entrez ids); found {len(texts):,} {found}{f' such as {examples(texts, 3)}' if texts else ''}. "
        f"{' '.join(hints) or advice}"
    )


def _explain(names: list[str]) -> tuple[str, str]:
    """Say what gene names are, and what to do when they do not match."""
    kind = detect_gene_ids(names)
    if kind.startswith("mouse"):
        return ("mouse Ensembl ids" if kind == "mouse_ensembl" else "mouse symbols"), MOUSE_HINT
    if kind == "unknown" and detect_gene_ids(name.upper() for name in names) == "symbol":
        return "symbols in lower case", (
            "Zebrafish and frog genes are written so too. If these are human genes, write them as such: "
            "`adata.var_names = adata.var_names.str.upper()`."
        )
    if kind == "unknown":
        what = "row numbers" if are_row_numbers(names) else "names that are not of human genes"
        return what, "Set `adata.var_names` to gene symbols or Ensembl ids, often kept in a column of `adata.var`."
    what = {"symbol": "human symbols", "ensembl": "human Ensembl ids", "entrez": "Entrez ids"}[kind]
    return what, (
        "Pass all measured genes, not only highly variable ones (for example `adata.raw.to_adata()`), "
        "or lower `min_coverage` and trust the result less."
    )
