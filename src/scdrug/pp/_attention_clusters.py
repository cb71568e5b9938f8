"""Cluster cells with the attention autoencoder: AnnData at the edge."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import scipy.sparse as sp

from .._arguments import checked
from .._former import formerly
from .._store import holds, reserve, store
from .._validate import check_choice, plain
from ._attention_training import AttentionClusters, AttentionSettings, CellInput, cluster_with_attention
from ._checks import check_cells
from ._cluster import principal_components, read_expression, silhouette, variable_genes
from ._embed_common import resolve_device
from ._rows import iter_row_blocks

if TYPE_CHECKING:
    from anndata import AnnData

LIKELIHOODS = ("zinb", "mse")
_MIN_CELLS = 20


@checked
@formerly(learning_rate="lr")
def cluster_attention(
    adata: AnnData,
    *,
    layer: str | None = None,
    scale: str = "auto",
    likelihood: str = "zinb",
    n_top_genes: int = 2500,
    n_latent: int = 16,
    n_heads: int = 8,
    n_neighbors: int = 15,
    resolution: float = 0.1,
    batch_size: int = 512,
    max_epochs: int | None = None,
    lr: float = 1e-3,
    seed: int = 0,
    device: str = "cpu",
    key_added: str = "attention",
    copy: bool = False,
) -> AnnData | None:
    """Cluster cells with an autoencoder whose codes attend to similar cells.

    The network of AttentionAE-sc, with which He et al. (2025) clustered their cells: a denoising autoencoder of counts, a
    graph of similar cells, and attention that fuses the two. Training reconstructs counts and graph, then sharpens
    clusters that start from Leiden's (deep embedded clustering).

    Parameters
    ----------
    adata
        Cells × genes, at least 20 cells. Counts, unless ``likelihood="mse"``.
    layer
        Layer to read; `X` if omitted.
    scale
        Scale of the values: ``"counts"``, ``"linear"``, ``"log"``, ``"scaled"``, or ``"auto"`` to find out.
    likelihood
        ``"zinb"``: zero-inflated negative binomial of counts. ``"mse"``: squares of standardised values, for data
        without counts.
    n_top_genes
        Variable genes to use; all of scaled values.
    n_latent
        Length of the code.
    n_heads
        Attention heads.
    n_neighbors
        Neighbours that set the width of the graph's kernel, among `batch_size` random cells.
    resolution
        Of the Leiden clusters to start from. 0.1 finds few, large clusters.
    batch_size
        Cells that attend to each other in a training step, and landmarks that all cells attend to in the end. With no
        more cells than that, every cell attends to every other, as in the paper.
    max_epochs
        Epochs of each phase. By default as many steps as the paper's 200 and 100 epochs of one batch have, but at
        least 10 epochs.
    lr
        Of Adam; halved five times in the first phase.
    seed
        Of everything random. Results repeat on the same machine.
    device
        Device of torch, such as ``"cpu"`` or ``"cuda"``.
    key_added
        Name of the results.
    copy
        Return a copy instead of changing `adata`.

    Returns
    -------
    `None`, or the changed copy if ``copy=True``. Sets:

    `adata.obs[key_added]`
        Cluster, categorical, numbered by size from ``"0"``.
    `adata.obsm["X_" + key_added]`
        Code of each cell (cells × `n_latent`, float32).
    `adata.uns[key_added]`
        Settings, mean loss by epoch, and the average silhouette width twice: ``silhouette`` in the space of the codes,
        which were trained to be separated, and ``silhouette_pca`` in that of principal components, which were not.

    Raises
    ------
    ValueError
        If there are too few cells, no counts where counts are needed, or values contradict `scale`.
    KeyError
        If the layer is missing.
    RuntimeError
        If the loss becomes NaN or infinite.

    Notes
    -----
    Departures from the released AttentionAE-sc: cells attend to a batch or to landmarks and not to all cells; the graph
    is decoded to its weights and not to distances; assignments are not squared; the best state is copied and not
    referred to.

    Sources: Li et al. 2023 (doi:10.1371/journal.pcbi.1011641), Xie et al. 2016 (arXiv:1511.06335), He et al. 2025
    (doi:10.3390/ijms26094365).

    Examples
    --------
    >>> import scdrug
    >>> cells = scdrug.datasets.toy_cells(n_cells=80)
    >>> scdrug.pp.cluster_attention(cells, n_top_genes=100, max_epochs=2)
    >>> cells.obsm["X_attention"].shape
    (80, 16)
    """
    check_cells(adata)
    reserve(
        adata,
        [("obs", key_added), ("obsm", f"X_{key_added}"), ("uns", key_added)],
        report=key_added,
        recognise=holds("params", "silhouette", "loss"),
        function="scdrug.pp.cluster_attention",
    )
    settings = AttentionSettings(
        n_latent=n_latent,
        n_heads=n_heads,
        resolution=resolution,
        n_neighbors=n_neighbors,
        batch_size=batch_size,
        max_epochs=max_epochs,
        lr=lr,
        seed=seed,
        device=str(resolve_device(device)),
    )
    result, points = attention_clusters(
        adata, settings, layer=layer, scale=scale, likelihood=likelihood, n_top_genes=n_top_genes
    )
    report = plain(
        {
            "params": {**asdict(settings), "likelihood": likelihood, "n_top_genes": n_top_genes, "layer": layer},
            "silhouette": silhouette(result.latent, result.labels, seed=seed)[0],
            "silhouette_pca": silhouette(points, result.labels, seed=seed)[0],
            "loss": {phase: np.array(losses) for phase, losses in result.history.items()},
        }
    )
    values = {
        ("obs", key_added): pd.Categorical([str(k) for k in result.labels]),
        ("obsm", f"X_{key_added}"): result.latent,
        ("uns", key_added): report,
    }
    adata = store(adata, values, report=key_added, copy=copy)
    return adata if copy else None


def attention_clusters(
    adata: AnnData,
    settings: AttentionSettings,
    *,
    layer: str | None = None,
    scale: str = "auto",
    likelihood: str = "zinb",
    n_top_genes: int = 2500,
) -> tuple[AttentionClusters, np.ndarray]:
    """Codes and clusters of all cells of `adata`, and their principal components; see :func:`cluster_attention`."""
    check_choice("likelihood", likelihood, LIKELIHOODS)
    for name, value, low in (
        ("batch_size", settings.batch_size, 2),
        ("n_top_genes", n_top_genes, 2),
        ("n_latent", settings.n_latent, 1),
        ("n_heads", settings.n_heads, 1),
        ("max_epochs", settings.max_epochs if settings.max_epochs is not None else 1, 1),
    ):
        if value < low:
            raise ValueError(f"`{name}` must be at least {low}; found {value}.")
    if adata.n_obs < _MIN_CELLS:
        raise ValueError(f"The autoencoder needs at least {_MIN_CELLS} cells; found {adata.n_obs}. Use Leiden instead.")
    values, found, totals = read_expression(adata, layer=layer, scale=scale)
    if likelihood == "zinb" and found != "counts":
        where = "adata.X" if layer is None else f"adata.layers[{layer!r}]"
        raise ValueError(
            f"`likelihood='zinb'` needs counts; `{where}` is on the scale {found!r}. Name the layer with counts "
            "(`layer=`), or choose `likelihood='mse'`."
        )
    genes = variable_genes(values, n_top_genes, scale=found)
    values = values[:, genes].tocsr()
    components = principal_components(values, seed=settings.seed)
    length = np.linalg.norm(components, axis=1, keepdims=True)
    counts = None
    if likelihood == "zinb":
        counts = sp.vstack([block[:, genes] for _, block in iter_row_blocks(adata, layer=layer)], format="csr")
    cells = CellInput(
        values=values,
        counts=counts,
        size_factor=np.maximum(totals / np.median(totals[totals > 0]), 1e-3) if counts is not None else totals,
        points=components / np.maximum(length, 1e-12),  # Euclidean between unit vectors ranks as cosine does
    )
    return cluster_with_attention(cells, settings), components
