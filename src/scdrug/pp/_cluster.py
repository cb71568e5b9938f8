"""Expression for clustering, clusters of it, and how well they are separated."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import scipy.sparse as sp

from .._validate import check_key, examples
from ._rows import iter_row_blocks
from ._scale import check_scale

if TYPE_CHECKING:
    from anndata import AnnData

_TARGET_SUM = 1e4
#: Cells from which the silhouette is computed; it compares each of them with all others.
_MAX_SILHOUETTE = 5000


def read_expression(
    adata: AnnData, *, layer: str | None = None, scale: str = "auto"
) -> tuple[sp.csr_matrix, str, np.ndarray]:
    """Read expression as logarithms, whatever holds it.

    Parameters
    ----------
    adata
        Cells × genes.
    layer
        Layer to read; `X` if omitted.
    scale
        ``"counts"``, ``"linear"``, ``"log"``, ``"scaled"``, or ``"auto"`` to find out.

    Returns
    -------
    values
        log1p of expression per 10,000 for counts and linear values; the values themselves otherwise (CSR, float32).
    scale
        Scale of what was read.
    totals
        Sum of each cell as read (cells).
    """
    scale = check_scale(adata, layer=layer, scale=scale)
    values = sp.vstack([block for _, block in iter_row_blocks(adata, layer=layer)], format="csr")
    totals = np.asarray(values.sum(axis=1, dtype=np.float64)).ravel()
    if scale in ("counts", "linear"):
        factor = (_TARGET_SUM / np.where(totals > 0, totals, 1.0)).astype(np.float32)
        values = sp.csr_matrix(
            (np.log1p(values.data * np.repeat(factor, np.diff(values.indptr))), values.indices, values.indptr),
            shape=values.shape,
        )
    return values, scale, totals


def variable_genes(values: sp.csr_matrix, n_top: int, *, scale: str) -> np.ndarray:
    """Columns of the most variable genes: by normalised dispersion of logarithms, by variance of scaled values.

    Parameters
    ----------
    values
        Cells × genes, from :func:`read_expression`.
    n_top
        Number of genes.
    scale
        Scale of what was read.

    Returns
    -------
    Sorted positions of genes that vary at all, at most `n_top`.

    Raises
    ------
    ValueError
        If fewer than two genes vary.
    """
    mean = np.asarray(values.mean(axis=0)).ravel()
    variance = np.asarray(values.multiply(values).mean(axis=0)).ravel() - mean**2
    varies = np.flatnonzero(variance > 1e-10)
    if len(varies) < 2:
        raise ValueError(
            f"Clustering needs genes that vary between cells; found {len(varies)} of {values.shape[1]:,}. "
            "Check which layer is read (`layer=`)."
        )
    if len(varies) <= n_top:
        return varies
    if scale == "scaled":
        return np.sort(varies[np.argsort(-variance[varies], kind="stable")[:n_top]])
    import scanpy as sc
    from anndata import AnnData as _AnnData

    part = _AnnData(values[:, varies], var=pd.DataFrame(index=[str(i) for i in varies]))
    table = sc.pp.highly_variable_genes(part, n_top_genes=n_top, inplace=False)
    return varies[table["highly_variable"].to_numpy()]


def principal_components(values: sp.csr_matrix, *, n_components: int = 50, seed: int = 0) -> np.ndarray:
    """Scores of the leading components of centred values (cells × components, float32)."""
    from sklearn.decomposition import PCA

    n = min(n_components, min(values.shape) - 1)
    solver = "arpack" if sp.issparse(values) and n < min(values.shape) else "auto"
    return PCA(n, svd_solver=solver, random_state=seed).fit_transform(values).astype(np.float32)


def read_representation(adata: AnnData, key: str) -> np.ndarray:
    """Read an entry of `obsm` as finite numbers (cells × dimensions).

    Raises
    ------
    KeyError
        If there is none of that name.
    ValueError
        If it holds values that are not finite.
    """
    check_key(adata.obsm, key, where="adata.obsm")
    entry = adata.obsm[key]
    values = entry.toarray() if sp.issparse(entry) else np.asarray(entry)
    values = np.asarray(values, dtype=np.float32)
    bad = ~np.isfinite(values).all(axis=1)
    if bad.any():
        raise ValueError(
            f"`adata.obsm[{key!r}]` must be finite; found NaN or infinite values in {int(bad.sum())} cells such as "
            f"{examples(adata.obs_names[bad])}. Compute it for all cells with a known treatment."
        )
    return values


def leiden_clusters(
    representation: np.ndarray, *, resolution: float, n_neighbors: int = 15, seed: int = 0
) -> np.ndarray:
    """Leiden clusters of a graph of nearest neighbours with a Gaussian kernel.

    Parameters
    ----------
    representation
        Cells × dimensions.
    resolution
        Of the modularity; higher gives more clusters.
    n_neighbors
        Neighbours in the graph.
    seed
        Of the clustering.

    Returns
    -------
    Cluster of each cell, numbered by size, largest 0 (cells, int).
    """
    import scanpy as sc
    from anndata import AnnData as _AnnData

    cells = _AnnData(np.ascontiguousarray(representation))
    n_neighbors = max(2, min(n_neighbors, len(representation) - 1))
    sc.pp.neighbors(cells, n_neighbors=n_neighbors, use_rep="X", method="gauss", random_state=seed)
    sc.tl.leiden(cells, resolution=resolution, flavor="igraph", n_iterations=-1, directed=False, random_state=seed)
    return number_by_size(cells.obs["leiden"].astype(int).to_numpy())


def number_by_size(labels: np.ndarray) -> np.ndarray:
    """Renumber clusters from the largest (0) to the smallest, without gaps; ties keep their order."""
    found, inverse, counts = np.unique(labels, return_inverse=True, return_counts=True)
    position = np.empty(len(found), dtype=np.int64)
    position[np.argsort(-counts, kind="stable")] = np.arange(len(found))
    return position[inverse]


def silhouette(representation: np.ndarray, labels: np.ndarray, *, seed: int = 0) -> tuple[float, pd.Series]:
    """Average silhouette width (Rousseeuw 1987), Euclidean.

    Parameters
    ----------
    representation
        Cells × dimensions.
    labels
        Cluster of each cell.
    seed
        Of the 5,000 cells that stand for more.

    Returns
    -------
    Mean over cells, −1 to 1, NaN with one cluster or none but single cells; and the mean by cluster.
    """
    from sklearn.metrics import silhouette_samples

    labels = np.asarray(labels)
    if len(labels) > _MAX_SILHOUETTE:
        chosen = np.sort(np.random.default_rng(seed).choice(len(labels), _MAX_SILHOUETTE, replace=False))
        representation, labels = representation[chosen], labels[chosen]
    found = np.unique(labels)
    if not 1 < len(found) < len(labels):
        return float("nan"), pd.Series(np.nan, index=found)
    widths = silhouette_samples(representation, labels)
    return float(widths.mean()), pd.Series(widths).groupby(labels).mean()
