"""Score cells by marker genes, whatever the spelling of gene names and the species."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import scipy.sparse as sp

from .._validate import examples
from ._gene_table import as_names, detect_gene_ids
from ._genes import match_genes

_N_BINS = 25


def check_marker_sets(markers: Mapping[str, Sequence[str]] | Sequence[str]) -> dict[str, list[str]]:
    """Bring marker genes into one form: names of cell types to genes, each once.

    Raises
    ------
    TypeError
        If a string stands where a list of genes is expected.
    ValueError
        If there are no sets, or one has no genes.
    """
    if isinstance(markers, str) or (isinstance(markers, Mapping) and any(isinstance(g, str) for g in markers.values())):
        raise TypeError(
            "`normal_markers` must be a list of genes, or a mapping of cell types to lists of genes; found a string. "
            f"Write [{'...' if not isinstance(markers, str) else repr(markers)}]."
        )
    sets = dict(markers) if isinstance(markers, Mapping) else {"normal": markers}
    sets = {str(name): list(dict.fromkeys(as_names(genes))) for name, genes in sets.items()}
    empty = [name for name, genes in sets.items() if not genes]
    if not sets or empty:
        found = f"no genes for {examples(empty)}" if empty else "no cell type"
        raise ValueError(f"`normal_markers` must name at least one gene for each cell type; found {found}.")
    return sets


def find_markers(var_names: Iterable[object], sets: Mapping[str, Sequence[str]]) -> dict[str, np.ndarray]:
    """Find the columns of marker genes.

    Names are compared as they are, then ignoring case (human CD3D finds mouse Cd3d), then through the bundled table of
    human genes (Ensembl ids, Entrez ids, synonyms).

    Parameters
    ----------
    var_names
        Gene names of the cells.
    sets
        Marker genes by cell type.

    Returns
    -------
    Sorted columns by cell type; sets without any are left out with a warning.

    Raises
    ------
    ValueError
        If no marker of any set is found.

    Examples
    --------
    >>> from scdrug.pp._markers import find_markers
    >>> find_markers(["Cd3d", "ENSG00000167286", "MYC"], {"T cell": ["CD3D", "CD3E"]})
    {'T cell': array([0])}
    """
    names = as_names(var_names)
    exact: dict[str, int] = {}
    folded: dict[str, int] = {}
    for i, name in enumerate(names):
        exact.setdefault(name, i)
        folded.setdefault(name.upper(), i)
    wanted = list(dict.fromkeys(gene for genes in sets.values() for gene in genes))
    column = {gene: exact.get(gene, folded.get(gene.upper(), -1)) for gene in wanted}
    rest = [gene for gene in wanted if column[gene] < 0]
    if rest:
        column.update(zip(rest, match_genes(names, rest, warn=False).columns.tolist()))
    found = {name: np.unique([column[gene] for gene in genes if column[gene] >= 0]) for name, genes in sets.items()}
    lost = [name for name, columns in found.items() if len(columns) == 0]
    if len(lost) == len(found):
        raise ValueError(
            f"None of the {len(wanted)} marker genes, such as {examples(wanted, 3)}, is in `adata.var_names`: "
            f"{len(names):,} names such as {examples(names, 3)} ({_describe(names)}). {_advice(names)}"
        )
    if lost:
        warnings.warn(
            f"No marker of {examples(lost)} is in `adata.var_names`; these cells cannot be removed.", stacklevel=3
        )
    return {name: columns.astype(np.int64) for name, columns in found.items() if len(columns)}


def _describe(names: list[str]) -> str:
    kind = detect_gene_ids(names)
    return "of no known kind" if kind == "unknown" else kind.replace("_", " ")


def _advice(names: list[str]) -> str:
    if detect_gene_ids(names) == "mouse_ensembl":
        return "Give markers as the mouse Ensembl ids of the data, or set symbols as `adata.var_names`."
    return "Give markers by the names that the data have, and pass all measured genes, not only variable ones."


def score_markers(values: sp.csr_matrix, columns: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Score each cell by each marker set: mean of the markers minus mean of other genes of the same level.

    Genes are ranked by mean expression and put into 25 bins; a marker is compared with all genes of its bin that are in
    no marker set (as in Tirosh et al. 2016, with all genes of the bin instead of a random choice).

    Parameters
    ----------
    values
        Log expression, or scaled values (cells × genes).
    columns
        Columns of the markers by cell type.

    Returns
    -------
    Scores by cell type, in the unit of `values` (cells).
    """
    n_genes = values.shape[1]
    mean = np.asarray(values.mean(axis=0)).ravel()
    rank = np.empty(n_genes, dtype=np.int64)
    rank[np.argsort(mean, kind="stable")] = np.arange(n_genes)
    bins = rank * min(_N_BINS, n_genes) // n_genes
    is_marker = np.zeros(n_genes, dtype=bool)
    for genes in columns.values():
        is_marker[genes] = True
    weights = np.zeros((n_genes, len(columns)), dtype=np.float32)
    for j, genes in enumerate(columns.values()):
        weights[genes, j] = 1 / len(genes)
        for gene in genes:
            background = np.flatnonzero((bins == bins[gene]) & ~is_marker)
            weights[background, j] -= 1 / (len(genes) * max(len(background), 1))
    scores = np.asarray(values @ weights)
    return {name: scores[:, j] for j, name in enumerate(columns)}
