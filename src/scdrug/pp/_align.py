"""Pick the genes of a panel from an object, whatever the order and kind of its gene names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import scipy.sparse as sp

from .._arguments import checked
from .._validate import check_key, plain
from ._checks import check_cells
from ._gene_table import as_names
from ._match_cells import match_cells
from ._row_matrix import check_indices
from ._rows import iter_row_blocks

if TYPE_CHECKING:
    from anndata import AnnData


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
    match = match_cells(adata, genes, layer=layer, min_coverage=min_coverage, synonyms=synonyms)

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
            **match.summary(),
            "missing": np.array(match.missing, dtype=str),
            "fill_value": float(fill_value),
        }
    )
    return aligned


def _select(adata: AnnData, layer: str | None, columns: np.ndarray, fill_value: float) -> Any:
    """Columns of expression, with a constant where the column is −1."""
    check_indices(adata, layer)
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
