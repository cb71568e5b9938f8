"""Align cells to the gene panel of a model, by name."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import scipy.sparse as sp

from .._arguments import checked
from .._validate import check_key, examples, plain
from ._checks import check_cells
from ._gene_ids import MOUSE_HINT, panel_rows
from ._gene_table import are_row_numbers, as_names, detect_gene_ids, gene_table
from ._rows import iter_row_blocks

if TYPE_CHECKING:
    from anndata import AnnData

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
    #: Query columns left out because an earlier one has the same name.
    n_duplicated: int
    #: Panel genes found under another name.
    n_synonyms: int


def match_genes(var_names: Iterable[object], panel: Iterable[object], *, synonyms: bool = True) -> GeneMatch:
    """Find each gene of a panel among the names of a query.

    Equal names are matched first. What is left is matched through the bundled table of genes: Ensembl ids, Entrez
    ids and synonyms. No column of the query is used twice. The result does not depend on the order of the query's
    genes, except between columns of the very same name, of which the first is used.

    Parameters
    ----------
    var_names
        Gene names of the query.
    panel
        Gene names of the model, without repeats.
    synonyms
        Whether to look beyond equal names.

    Returns
    -------
    The match; a warning is given if names of panel genes are repeated in the query.

    Raises
    ------
    ValueError
        If the panel is empty or repeats a name.

    Examples
    --------
    >>> from scdrug.pp._genes import match_genes
    >>> match = match_genes(["HER2", "ENSG00000146648.19", "MYC"], ["EGFR", "ERBB2", "KRAS"])
    >>> match.columns.tolist(), match.missing
    ([1, 0, -1], ('KRAS',))
    """
    names, genes = as_names(var_names), as_names(panel)
    position = {gene: i for i, gene in enumerate(genes)}
    if not genes or len(position) < len(genes):
        found = (
            "none"
            if not genes
            else f"repeated: {examples(gene for i, gene in enumerate(genes) if position[gene] != i)}"
        )
        raise ValueError(f"A gene panel must name each gene once; found {found}.")
    columns = np.full(len(genes), -1, dtype=np.int64)
    repeated = []
    for column, name in enumerate(names):
        i = position.get(name)
        if i is not None:
            if columns[i] < 0:
                columns[i] = column
            else:
                repeated.append(name)
    direct = int((columns >= 0).sum())
    if synonyms and direct < len(genes):
        _match_synonyms(names, position, columns)
    if repeated:
        warnings.warn(
            f"{len(repeated)} columns repeat the name of another gene, such as {examples(dict.fromkeys(repeated), 3)}; "
            "the first of each is used. `scdrug.pp.map_gene_ids(adata, duplicates='sum')` adds up counts instead.",
            stacklevel=2,
        )
    matched = columns >= 0
    return GeneMatch(
        columns=columns,
        coverage=float(matched.mean()),
        missing=tuple(gene for gene, there in zip(genes, matched) if not there),
        n_duplicated=len(repeated),
        n_synonyms=int(matched.sum()) - direct,
    )


def _match_synonyms(names: list[str], position: dict[str, int], columns: np.ndarray) -> None:
    """Fill what `columns` lacks with columns whose name is another name of the gene."""
    table = gene_table()
    wanted = {row: position[gene] for row, gene in panel_rows(list(position)).items() if columns[position[gene]] < 0}
    used = set(columns[columns >= 0].tolist())
    entrez = detect_gene_ids(names) == "entrez"
    best: dict[int, tuple[int, str, int]] = {}
    for column, name in enumerate(names):
        if column in used:
            continue
        row, what = table.lookup(name, entrez=entrez)
        i = wanted.get(row, -1) if row >= 0 else -1
        if i >= 0:
            rank = (_PRECEDENCE[what] + 9 * name.endswith("_PAR_Y"), name, column)
            if i not in best or rank < best[i]:
                best[i] = rank
    for i, (_, _, column) in best.items():
        columns[i] = column


def check_coverage(match: GeneMatch, *, min_coverage: float, names: Iterable[object]) -> None:
    """Raise if too little of a panel was found, saying what the names are instead and what to do.

    Parameters
    ----------
    match
        Result of :func:`match_genes`.
    min_coverage
        Share of the panel that is needed, 0–1.
    names
        Gene names of the query.

    Raises
    ------
    ValueError
        If the coverage is below `min_coverage`, or if that is not between 0 and 1.
    """
    if not 0 <= min_coverage <= 1:
        raise ValueError(f"`min_coverage` must be a share between 0 and 1; found {min_coverage!r}.")
    n_panel = len(match.columns)
    if match.coverage >= min_coverage and len(match.missing) < n_panel:
        return
    texts = as_names(names)
    found, advice = _explain(texts)
    raise ValueError(
        f"Only {n_panel - len(match.missing):,} of {n_panel:,} model genes ({match.coverage:.1%}) are in "
        f"`adata.var_names`; at least {min_coverage:.0%} are needed. The model expects human genes (symbols, Ensembl or "
        f"Entrez ids); found {len(texts):,} {found}{f' such as {examples(texts, 3)}' if texts else ''}. {advice}"
    )


def _explain(names: list[str]) -> tuple[str, str]:
    """Say what gene names are, and what to do when they do not match."""
    kind = detect_gene_ids(names)
    if kind.startswith("mouse"):
        return ("mouse Ensembl ids" if kind == "mouse_ensembl" else "mouse symbols"), MOUSE_HINT
    if kind == "unknown":
        what = "row numbers" if are_row_numbers(names) else "names that are not of human genes"
        return what, "Set `adata.var_names` to gene symbols or Ensembl ids, often kept in a column of `adata.var`."
    what = {"symbol": "human symbols", "ensembl": "human Ensembl ids", "entrez": "Entrez ids"}[kind]
    return what, (
        "Pass all measured genes, not only highly variable ones (for example `adata.raw.to_adata()`), "
        "or lower `min_coverage` and trust the result less."
    )


@checked
def align_genes(
    adata: AnnData,
    genes: Sequence[str],
    *,
    layer: str | None = None,
    min_coverage: float = 0.5,
    fill_value: float = 0.0,
    synonyms: bool = True,
) -> AnnData:
    """Pick the genes of a panel, in its order, whatever the order and kind of names in `adata`.

    Parameters
    ----------
    adata
        Cells × genes; not altered.
    genes
        Panel: gene names, each once.
    layer
        Layer to read; `X` if omitted.
    min_coverage
        Share of the panel that `adata` must have.
    fill_value
        Value of genes that `adata` lacks. The default is right for counts and logarithms of them, where it says "not
        detected"; ``np.nan`` says "not measured". Sparse, backed and dask matrices take 0 only.
    synonyms
        Whether Ensembl ids, Entrez ids and synonyms stand for the genes of the panel.

    Returns
    -------
    A new AnnData, cells × panel, with `obs` and `obsm` of `adata`. Dense and sparse expression keep their container
    and type (integers become floats for a NaN); backed and dask expression is read row block by row block into CSR.
    Contains `var["in_query"]` (whether measured), `var["query_name"]` (name in `adata`, empty if not measured) and
    `uns["gene_alignment"]` (coverage and missing genes).

    Raises
    ------
    ValueError
        If `adata` is empty, if too few genes are there, if the panel repeats a name, or for a fill value that the matrix cannot take.
    KeyError
        If the layer is missing.

    Examples
    --------
    >>> import anndata, numpy as np, pandas as pd, scdrug
    >>> adata = anndata.AnnData(np.array([[1.0, 2.0]]), var=pd.DataFrame(index=["HER2", "ENSG00000146648"]))
    >>> aligned = scdrug.pp.align_genes(adata, ["EGFR", "ERBB2", "KRAS"])
    >>> aligned.X.tolist(), aligned.var["in_query"].tolist()
    ([[2.0, 1.0, 0.0]], [True, True, False])
    """
    from anndata import AnnData as _AnnData

    check_cells(adata)
    if layer is not None:
        check_key({key: 0 for key in adata.layers if key is not None}, layer, where="adata.layers")
    match = match_genes(adata.var_names, genes, synonyms=synonyms)
    check_coverage(match, min_coverage=min_coverage, names=adata.var_names)

    expression = _select(adata, layer, match.columns, fill_value)

    measured = match.columns >= 0
    query_name = np.full(len(measured), "", dtype=object)
    query_name[measured] = adata.var_names[match.columns[measured]].astype(str)
    var = pd.DataFrame({"in_query": measured, "query_name": query_name}, index=pd.Index(as_names(genes)))
    aligned = _AnnData(X=expression, obs=adata.obs.copy(), var=var)
    for key in adata.obsm:
        aligned.obsm[key] = adata.obsm[key].copy()
    aligned.uns["gene_alignment"] = plain(
        {
            "coverage": match.coverage,
            "n_genes": len(measured),
            "n_synonyms": match.n_synonyms,
            "n_duplicated": match.n_duplicated,
            "missing": np.array(match.missing, dtype=str),
            "fill_value": float(fill_value),
        }
    )
    return aligned


def _select(adata: AnnData, layer: str | None, columns: np.ndarray, fill_value: float) -> Any:
    """Columns of expression, with a constant where the column is −1."""
    matrix = adata.X if layer is None else adata.layers[layer]
    if matrix is None:
        raise ValueError("`adata.X` is empty (None): expected cells × genes expression. Name the layer with `layer=`.")
    measured = columns >= 0
    if isinstance(matrix, np.ndarray) and not adata.isbacked:
        out_type = matrix.dtype if fill_value == 0 else np.result_type(matrix.dtype, np.float32)
        out = np.full((matrix.shape[0], len(columns)), fill_value, dtype=out_type)
        out[:, measured] = matrix[:, columns[measured]]
        return out
    if fill_value != 0 and not measured.all():
        raise ValueError(
            f"`fill_value={fill_value}` would fill a sparse, backed or dask matrix; it takes 0 only. "
            "Make expression dense first (`adata.X = adata.X.toarray()`), or leave `fill_value` at 0."
        )
    positions = np.flatnonzero(measured)
    selector = sp.csr_matrix(
        (np.ones(len(positions), dtype=np.float32), (columns[positions], positions)),
        shape=(adata.n_vars, len(columns)),
    )
    if sp.issparse(matrix) and not adata.isbacked:
        return type(matrix)((matrix @ selector.astype(matrix.dtype)).asformat(matrix.format))
    blocks = [block @ selector for _, block in iter_row_blocks(adata, layer=layer)]
    return sp.vstack(blocks, format="csr") if blocks else sp.csr_matrix((0, len(columns)), dtype=np.float32)
