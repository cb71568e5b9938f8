"""Gene sets as connections between pathways and genes: which sets are kept, and which say the same."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import scipy.sparse as sp

from .._validate import examples
from ._gene_table import as_names, detect_gene_ids
from ._genes import match_genes

_BLOCK = 512


@dataclass(frozen=True, eq=False)
class PathwayMask:
    """Gene sets restricted to a panel of genes."""

    #: Genes × pathways, 1 where the gene is in the set.
    matrix: sp.csr_matrix
    #: By name of the set: `n_set` (genes of the set), `n_genes` (those in the panel), `nearest` (the other set that
    #: shares most), `jaccard` (genes shared with it, as a share of the union).
    table: pd.DataFrame
    #: Sets that were left out, by reason.
    dropped: dict[str, list[str]]


def build_mask(
    genes: Sequence[str],
    gene_sets: Mapping[str, Sequence[str]],
    *,
    min_genes: int = 10,
    strictly: bool = False,
    max_genes: int | None = 1000,
    max_jaccard: float | None = 1.0,
    counted: np.ndarray | None = None,
) -> PathwayMask:
    """Restrict gene sets to a panel; see :func:`scdrug.pp.pathway_mask` for the parameters.

    Parameters
    ----------
    genes
        Panel.
    gene_sets
        Genes by name of the set.
    min_genes, strictly, max_genes, max_jaccard
        Which sets are kept.
    counted
        Which genes of the panel count for `min_genes` (bool); all if omitted.

    Returns
    -------
    The mask, with sets in alphabetical order: it does not depend on the order of the sets.

    Raises
    ------
    ValueError
        If a set is empty, no gene is found, genes are of another species, or no set is left.
    """
    names, members = _check_sets(gene_sets)
    sizes = np.array([len(set(item)) for item in members])
    matrix = _match(as_names(genes), names, members)
    n_genes = np.asarray(matrix.sum(axis=0)).ravel().astype(int)
    n_counted = n_genes if counted is None else np.asarray(matrix[counted].sum(axis=0)).ravel().astype(int)
    large = sizes > max_genes if max_genes is not None else np.zeros(len(names), dtype=bool)
    small = ~large & ((n_counted <= min_genes) if strictly else (n_counted < min_genes))
    kept = np.flatnonzero(~large & ~small)
    if not len(kept):
        raise ValueError(
            f"No gene set is left: of {len(names)}, {int(large.sum())} have more than {max_genes} genes (`max_genes`) and "
            f"{int(small.sum())} fewer than {min_genes + strictly} genes of the panel (`min_genes`); the fullest has "
            f"{int(n_counted.max())}. Lower `min_genes`, or choose other sets."
        )
    redundant: list[int] = []
    nearest, jaccard = most_alike(matrix[:, kept])
    if max_jaccard is not None:
        redundant = _redundant(matrix[:, kept], max_jaccard)
        if redundant:
            dropped_names = [names[i] for i in kept[redundant]]
            kept = np.delete(kept, redundant)
            nearest, jaccard = most_alike(matrix[:, kept])
    table = pd.DataFrame(
        {
            "n_set": sizes[kept],
            "n_genes": n_genes[kept],
            "nearest": [names[kept[i]] if i >= 0 else "" for i in nearest],
            "jaccard": jaccard,
        },
        index=pd.Index([names[i] for i in kept], name="pathway"),
    )
    dropped = {
        "large": [names[i] for i in np.flatnonzero(large)],
        "small": [names[i] for i in np.flatnonzero(small)],
        "redundant": dropped_names if redundant else [],
    }
    return PathwayMask(sp.csr_matrix(matrix[:, kept], dtype=np.float32), table, dropped)


def _check_sets(gene_sets: Mapping[str, Sequence[str]]) -> tuple[list[str], list[list[str]]]:
    if not isinstance(gene_sets, Mapping):
        raise TypeError(
            f"Gene sets must be a mapping of names to genes, or the name of a collection; found {type(gene_sets).__name__}."
        )
    if not gene_sets:
        raise ValueError("There is no gene set. Expected a mapping of names to lists of genes.")
    texts = [name for name, genes in gene_sets.items() if isinstance(genes, str)]
    if texts:
        raise TypeError(f"Genes of a set must be a list, not one string: {examples(texts)}.")
    sets = {str(name): as_names(genes) for name, genes in gene_sets.items()}
    if len(sets) < len(gene_sets):
        raise ValueError("Two gene sets have the same name once names are made strings. Rename one of them.")
    empty = [name for name, genes in sets.items() if not genes]
    if empty:
        raise ValueError(f"{len(empty)} gene sets are empty: {examples(empty)}. Remove them.")
    names = sorted(sets)
    return names, [sets[name] for name in names]


def _match(panel: list[str], names: list[str], members: list[list[str]]) -> sp.csr_matrix:
    """Panel × sets, 1 where a gene is in a set, under any of its names."""
    universe = sorted({gene for genes in members for gene in genes})
    columns = match_genes(universe, panel, warn=False).columns
    if (columns < 0).all():
        raise ValueError(
            f"None of the {len(universe):,} genes of the sets ({_kind(universe)}, such as {examples(universe, 3)}) is in the "
            f"panel ({_kind(panel)}, such as {examples(panel, 3)}). Both must be human genes; sets of another species need "
            "their human orthologues."
        )
    row_of = {universe[column]: row for row, column in enumerate(columns) if column >= 0}
    pairs = [(row_of[gene], j) for j, genes in enumerate(members) for gene in set(genes) if gene in row_of]
    rows, sets = np.array(sorted(pairs)).T
    return sp.csr_matrix((np.ones(len(rows), dtype=np.float32), (rows, sets)), shape=(len(panel), len(names)))


def _kind(names: Sequence[str]) -> str:
    return {
        "symbol": "human symbols",
        "ensembl": "human Ensembl ids",
        "entrez": "Entrez ids",
        "mouse_ensembl": "mouse Ensembl ids",
        "mouse_symbol": "mouse symbols",
        "unknown": "names that are not of human genes",
    }[detect_gene_ids(names)]


def _jaccard_blocks(matrix: sp.csr_matrix) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield rows and their Jaccard index with all sets, −1 with themselves."""
    sizes = np.asarray(matrix.sum(axis=0)).ravel()
    by_set = matrix.T.tocsr()
    for start in range(0, matrix.shape[1], _BLOCK):
        rows = np.arange(start, min(start + _BLOCK, matrix.shape[1]))
        shared = np.asarray((by_set[rows] @ matrix).todense())
        index = shared / np.maximum(sizes[rows, None] + sizes[None] - shared, 1)
        index[np.arange(len(rows)), rows] = -1
        yield rows, index


def most_alike(matrix: sp.csr_matrix) -> tuple[np.ndarray, np.ndarray]:
    """The other set that shares most with each set, −1 if there is none, and how much it shares."""
    nearest = np.full(matrix.shape[1], -1)
    jaccard = np.zeros(matrix.shape[1])
    if matrix.shape[1] < 2:
        return nearest, jaccard
    for rows, index in _jaccard_blocks(matrix):
        nearest[rows] = index.argmax(axis=1)
        jaccard[rows] = index.max(axis=1)
    return np.where(jaccard > 0, nearest, -1), jaccard


def _redundant(matrix: sp.csr_matrix, max_jaccard: float) -> list[int]:
    """Positions of sets that share at least `max_jaccard` with one that is kept and stands before them."""
    close: dict[int, np.ndarray] = {}
    for rows, index in _jaccard_blocks(matrix):
        for row, values in zip(rows, index):
            close[int(row)] = np.flatnonzero(values >= max_jaccard - 1e-9)
    left_out: set[int] = set()
    for row in range(matrix.shape[1]):
        if row not in left_out:
            left_out.update(int(other) for other in close[row] if other > row)
    return sorted(left_out)
