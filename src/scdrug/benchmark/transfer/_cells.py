"""Cells of an assay: their labels, clusters and sums."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import scipy.sparse as sp

from ..._labels import MISSING
from ..._validate import check_key, examples, import_optional

if TYPE_CHECKING:
    from anndata import AnnData

_N_COMPONENTS = 30
_N_NEIGHBORS = 15
_N_VARIABLE_GENES = 2000


def labelled_cells(cells: AnnData, key: str, *, argument: str) -> tuple[AnnData, pd.Series]:
    """Cells that have a value in a column of `obs`, and the values.

    Parameters
    ----------
    cells
        Cells × genes.
    key
        Column.
    argument
        Name of the argument that gives the column, for messages.

    Raises
    ------
    KeyError
        If there is no such column.
    ValueError
        If it is empty.
    """
    check_key(cells.obs, key, where="cells.obs", hint=f"Name the column with `{argument}`.")
    labels = cells.obs[key]
    known = labels.notna().to_numpy() & ~labels.astype(str).str.strip().isin(MISSING).to_numpy()
    if not known.any():
        raise ValueError(f"`cells.obs[{key!r}]` names nothing: all {cells.n_obs} cells have an empty value.")
    if known.all():
        return cells, labels
    warnings.warn(
        f"{int((~known).sum())} of {cells.n_obs} cells have no {key!r} and are left out.", UserWarning, stacklevel=3
    )
    return cells[known], labels[known]


def principal_components(
    cells: AnnData, *, layer: str | None = None, scale: str = "auto", n_components: int = _N_COMPONENTS, seed: int = 0
) -> np.ndarray:
    """Leading principal components of variable genes, after normalising counts (cells × components).

    Parameters
    ----------
    cells
        Cells × genes; sparse expression stays sparse.
    layer
        Layer to read.
    scale
        Scale of expression, as for :func:`scdrug.tl.predict_response`.
    n_components
        Components, fewer if there are few cells or genes.
    seed
        Seed of the decomposition.
    """
    import scanpy as sc
    from anndata import AnnData as New

    from ...pp._scale import check_scale

    scale = check_scale(cells, layer=layer, scale=scale)
    matrix = cells.X if layer is None else cells.layers[layer]
    shell = New(matrix.copy(), obs=pd.DataFrame(index=cells.obs_names), var=pd.DataFrame(index=cells.var_names))
    shell.var_names_make_unique()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if scale in ("counts", "linear"):
            sc.pp.normalize_total(shell, target_sum=1e4)
            sc.pp.log1p(shell)
        if scale != "scaled" and shell.n_vars > _N_VARIABLE_GENES:
            sc.pp.highly_variable_genes(shell, n_top_genes=_N_VARIABLE_GENES)
            shell = shell[:, shell.var["highly_variable"]].copy()
        sc.pp.pca(shell, n_comps=min(n_components, min(shell.shape) - 1), random_state=seed)
    return shell.obsm["X_pca"]


def cluster_cells(cells: AnnData, *, layer: str | None = None, scale: str = "auto") -> np.ndarray:
    """Cluster cells without their labels: principal components, neighbours, Leiden.

    Parameters
    ----------
    cells, layer, scale
        As for :func:`principal_components`.

    Returns
    -------
    Number of each cell's cluster.

    Raises
    ------
    ImportError
        If igraph, which Leiden needs, is not installed.
    """
    import_optional("igraph", extra="benchmark", purpose="Clustering of cells by Leiden")
    import scanpy as sc
    from anndata import AnnData as New

    if cells.n_obs < 2 * _N_NEIGHBORS:
        return np.zeros(cells.n_obs, dtype=int)
    components = principal_components(cells, layer=layer, scale=scale)
    shell = New(obs=pd.DataFrame(index=cells.obs_names), obsm={"X_pca": components})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        sc.pp.neighbors(shell, n_neighbors=_N_NEIGHBORS, use_rep="X_pca", method="gauss")
        sc.tl.leiden(shell, flavor="igraph", n_iterations=2, directed=False)
    return shell.obs["leiden"].astype(int).to_numpy()


def pseudobulk(cells: AnnData, group: np.ndarray, *, names: list[str], options: dict[str, Any]) -> tuple[AnnData, dict]:
    """Add the cells of each group up, as one deep sample.

    Counts and linear values are summed, logarithms averaged after turning them back, centred values averaged.

    Parameters
    ----------
    cells
        Cells × genes.
    group
        Number of each cell's group.
    names
        Name of each group.
    options
        Arguments of :func:`scdrug.tl.predict_response` for the cells.

    Returns
    -------
    Groups × genes, and the arguments to predict them with.
    """
    from anndata import AnnData as New

    from ...pp._rows import iter_row_blocks
    from ...pp._scale import check_scale

    layer = options.get("layer")
    scale = check_scale(cells, layer=layer, scale=options.get("scale", "auto"))
    total = np.zeros((len(names), cells.n_vars))
    for rows, block in iter_row_blocks(cells, layer=layer):
        if scale == "log":
            block = sp.csr_matrix((np.expm1(block.data), block.indices, block.indptr), shape=block.shape)
        count = block.shape[0]
        member = sp.csr_matrix((np.ones(count), (group[rows], np.arange(count))), shape=(len(names), count))
        total += (member @ block).toarray()
    if scale in ("log", "scaled"):
        total /= np.bincount(group, minlength=len(names))[:, None]
    sums = New(
        sp.csr_matrix(total.astype(np.float32)), obs=pd.DataFrame(index=names), var=pd.DataFrame(index=cells.var_names)
    )
    # what refers to single cells has no meaning here
    kept = {key: value for key, value in options.items() if key in ("method", "anchor", "min_coverage")}
    return sums, {**kept, "scale": "linear" if scale == "log" else scale}


def total_signal(cells: AnnData, *, layer: str | None = None) -> np.ndarray:
    """Sum of each cell's expression: its depth, if that is counts.

    Parameters
    ----------
    cells
        Cells × genes.
    layer
        Layer to read.
    """
    from ...pp._rows import iter_row_blocks

    return np.concatenate([np.asarray(block.sum(axis=1)).ravel() for _, block in iter_row_blocks(cells, layer=layer)])


def majority(cluster: np.ndarray, line: np.ndarray) -> tuple[np.ndarray, float]:
    """Most frequent line of each cluster, and the share of cells that belong to it.

    Parameters
    ----------
    cluster, line
        Number of each cell's cluster and line, both from zero without gaps.
    """
    table = np.zeros((cluster.max() + 1, line.max() + 1), dtype=int)
    np.add.at(table, (cluster, line), 1)
    return table.argmax(axis=1), float(table.max(axis=1).sum() / len(line))


def binary_labels(labels: pd.Series, *, key: str) -> np.ndarray:
    """Labels as booleans, true = sensitive.

    Raises
    ------
    ValueError
        If values are not boolean or 0 and 1, or there is one class only.
    """
    try:
        values = labels.astype(object).map(lambda value: float(value)).to_numpy(dtype=float)
    except (TypeError, ValueError):
        values = np.array([np.nan])
    if not np.isin(values, (0.0, 1.0)).all():
        raise ValueError(
            f"`cells.obs[{key!r}]` must hold True or 1 (sensitive) and False or 0 (resistant); found "
            f"{examples(pd.unique(labels))}. Make such a column, e.g. cells.obs['sensitive'] = cells.obs[{key!r}] == 'S'."
        )
    counts = int(values.sum()), int((1 - values).sum())
    if min(counts) == 0:
        raise ValueError(
            f"`cells.obs[{key!r}]` holds one class: {counts[0]} sensitive and {counts[1]} resistant cells. Nothing can be "
            "told apart: pass cells of both classes."
        )
    return values == 1
