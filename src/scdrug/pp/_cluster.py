"""Expression for clustering, clusters of it, and how well they are separated."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

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
_BLOCK = 4096


_N_BINS = 20


class Expression(NamedTuple):
    """Result of :func:`read_expression`."""

    #: log1p of expression per 10,000 for counts and linear values, the values themselves otherwise (CSR, float32).
    values: sp.csr_matrix
    #: Scale of what was read.
    scale: str
    #: Sum of each cell as read (cells).
    totals: np.ndarray


def read_expression(adata: AnnData, *, layer: str | None = None, scale: str = "auto") -> Expression:
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
    Values, scale and totals.
    """
    scale = check_scale(adata, layer=layer, scale=scale)
    blocks, totals = [], np.zeros(adata.n_obs)
    for rows, block in iter_row_blocks(adata, layer=layer):
        totals[rows] = np.asarray(block.sum(axis=1, dtype=np.float64)).ravel()
        if scale in ("counts", "linear"):
            factor = (_TARGET_SUM / np.where(totals[rows] > 0, totals[rows], 1.0)).astype(np.float32)
            logs = np.log1p(block.data * np.repeat(factor, np.diff(block.indptr)))
            block = sp.csr_matrix((logs, block.indices, block.indptr), shape=block.shape)
        blocks.append(block)
    return Expression(sp.vstack(blocks, format="csr"), scale, totals)


def variable_genes(values: sp.csr_matrix, n_top: int, *, scale: str) -> np.ndarray:
    """Columns of the most variable genes, by normalised dispersion.

    Of scaled values all genes that vary: their variances are the same but for rounding, and choosing by them is chance.

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
    Sorted positions of genes that vary at all, at most `n_top` unless scaled.

    Raises
    ------
    ValueError
        If fewer than two genes vary.
    """
    from sklearn.utils.sparsefuncs import mean_variance_axis

    _, variance = mean_variance_axis(values, axis=0)
    varies = np.flatnonzero(variance > 1e-10)
    if len(varies) < 2:
        raise ValueError(
            f"Clustering needs genes that vary between cells; found {len(varies)} of {values.shape[1]:,}. "
            "Check which layer is read (`layer=`)."
        )
    if len(varies) <= n_top or scale == "scaled":
        return varies
    score = normalised_dispersion(*_linear_moments(values, varies))
    return np.sort(varies[np.argsort(-score, kind="stable")[:n_top]])


def normalised_dispersion(mean: np.ndarray, variance: np.ndarray) -> np.ndarray:
    """Dispersion of genes relative to those of the same level (Satija et al. 2015), as scanpy computes it by default.

    Parameters
    ----------
    mean, variance
        Of expression, not of its logarithm, of genes with a positive variance (genes).

    Returns
    -------
    log(variance / mean), standardised within 20 bins of log(1 + mean) (genes). A gene alone in its bin has 1.
    """
    dispersion = pd.Series(np.log(variance / mean))
    bins = dispersion.groupby(pd.cut(np.log1p(mean), bins=_N_BINS, labels=False))
    center, spread = bins.transform("mean"), bins.transform("std")
    return ((dispersion - center) / spread).where(spread.notna(), 1.0).fillna(0.0).to_numpy()


def _linear_moments(values: sp.csr_matrix, genes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and variance of expm1 of columns, block by block: a copy of all cells would double the memory."""
    total, square = np.zeros(values.shape[1]), np.zeros(values.shape[1])
    for start in range(0, values.shape[0], _BLOCK):
        block = values[start : start + _BLOCK]
        linear = np.expm1(block.data.astype(np.float64))
        total += np.bincount(block.indices, weights=linear, minlength=len(total))
        square += np.bincount(block.indices, weights=linear**2, minlength=len(total))
    n = values.shape[0]
    mean = total[genes] / n
    return mean, (square[genes] - n * mean**2) / (n - 1)


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

    cells = _AnnData(np.zeros((len(representation), 1), dtype=np.float32))
    sc.tl.leiden(
        cells,
        resolution=resolution,
        adjacency=neighbor_graph(representation, n_neighbors),
        flavor="igraph",
        n_iterations=-1,
        directed=False,
        random_state=seed,
    )
    return number_by_size(cells.obs["leiden"].astype(int).to_numpy())


def neighbor_graph(representation: np.ndarray, n_neighbors: int) -> sp.csr_matrix:
    """Graph of nearest neighbours with a Gaussian kernel of adaptive width (Haghverdi et al. 2016).

    Exact neighbours, so that the graph does not depend on the order of cells; widths are positive also where many cells
    are the same.

    Parameters
    ----------
    representation
        Cells × dimensions.
    n_neighbors
        Neighbours of each cell, itself among them.

    Returns
    -------
    Symmetric weights √(2σσ′ / (σ² + σ′²)) exp(−d² / (σ² + σ′²)), where σ² is the median squared distance to the neighbours
    (cells × cells, CSR).
    """
    from sklearn.neighbors import NearestNeighbors

    n = len(representation)
    k = max(1, min(n_neighbors, n) - 1)
    search = NearestNeighbors(n_neighbors=k, algorithm="brute").fit(np.ascontiguousarray(representation))
    distances, indices = search.kneighbors()  # of the fitted cells: without the cell itself
    squared = distances.astype(np.float64) ** 2
    width = np.median(squared, axis=1)
    width = np.maximum(width, max(1e-6 * np.median(width), 1e-12))
    total = width[:, None] + width[indices]
    weights = np.sqrt(2 * np.sqrt(width[:, None] * width[indices]) / total) * np.exp(-squared / total)
    graph = sp.csr_matrix((weights.ravel(), indices.ravel(), np.arange(0, n * k + 1, k)), shape=(n, n))
    return graph.maximum(graph.T).tocsr()


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
