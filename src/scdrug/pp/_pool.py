"""Pool the expression of similar cells, to trade resolution for depth."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import scipy.sparse as sp

from ._rows import iter_row_blocks

if TYPE_CHECKING:
    from anndata import AnnData

_N_COMPONENTS = 50


def pool_neighbors(
    adata: AnnData,
    n_neighbors: int,
    *,
    layer: str | None = None,
    is_gene: np.ndarray | None = None,
) -> AnnData:
    """Sum each cell's expression with that of its nearest neighbours.

    Neighbours are found by Euclidean distance in the leading components of log-normalised expression.

    Parameters
    ----------
    adata
        Cells × genes: counts or linear values.
    n_neighbors
        Cells to pool, the cell itself included.
    layer
        Layer to read; `X` if omitted.
    is_gene
        Columns to find neighbours by, so that antibodies or peaks do not decide; all if omitted (n_vars, bool).

    Returns
    -------
    New AnnData with pooled values (CSR) and the same names; it is held in memory.
    """
    from anndata import AnnData as _AnnData
    from sklearn.decomposition import TruncatedSVD
    from sklearn.neighbors import NearestNeighbors

    if not 1 <= n_neighbors <= adata.n_obs:
        raise ValueError(f"`n_pool` must be between 1 and the number of cells, {adata.n_obs}; found {n_neighbors}.")
    counts = sp.vstack([block for _, block in iter_row_blocks(adata, layer=layer)], format="csr")
    if counts.data.size and counts.data.min() < 0:
        raise ValueError("Only counts or linear values can be pooled; found negative ones. Drop `n_pool`.")
    genes = counts if is_gene is None or is_gene.all() else counts[:, np.flatnonzero(is_gene)]
    total = np.asarray(genes.sum(axis=1)).ravel()
    logged = genes.multiply((1e4 / np.maximum(total, 1e-12))[:, None]).tocsr()
    logged.data = np.log1p(logged.data)
    n_components = int(min(_N_COMPONENTS, min(logged.shape) - 1))
    scores = TruncatedSVD(n_components, random_state=0).fit_transform(logged)
    neighbours = NearestNeighbors(n_neighbors=n_neighbors).fit(scores).kneighbors_graph(scores, mode="connectivity")
    pooled = (neighbours.astype(np.float32) @ counts).tocsr()
    return _AnnData(pooled, obs=adata.obs, var=adata.var)
