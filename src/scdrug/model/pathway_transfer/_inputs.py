"""What the network is fitted to: genes it reads, pathways, targets of the head."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd
import scipy.sparse as sp

from ..._arguments import checked
from ..._constants import KEYS
from ..._validate import check_key, examples
from ...pp._gene_sets import build_mask
from ...pp._pathways import read_gene_sets
from ...pp._response import binarize
from .._base import register
from .._two_domains import check_domains

if TYPE_CHECKING:
    from anndata import AnnData

    from .._base import DrugResponseModel

#: Drugs with fewer responses cannot be learned; they are named in a warning.
MIN_LINES = 10
#: Rows that genes are ranked by.
_RANKED = 5000


class Nodes(NamedTuple):
    """Connections of the pathway decoder."""

    #: Genes read × nodes, bool; free nodes come last.
    mask: np.ndarray
    #: Names of the nodes.
    names: list[str]


class Targets(NamedTuple):
    """What the head learns, in its own unit."""

    #: Lines × drugs, NaN where unknown.
    train: np.ndarray
    validation: np.ndarray
    #: Added to the head's output, after its factor (drugs).
    mean: np.ndarray
    sd: np.ndarray


@checked
def setup_anndata(
    cls: type[DrugResponseModel],
    adata: AnnData,
    *,
    layer: str | None = None,
    response_key: str = KEYS.RESPONSE,
    domain_key: str = KEYS.DOMAIN,
    pathway_key: str = KEYS.PATHWAYS,
) -> None:
    """Register a bulk reference, or lines and cells together, for training.

    Parameters
    ----------
    adata
        Bulk reference, or what :func:`scdrug.pp.join_domains` made of it and of cells.
    layer
        Layer that holds expression; `X` if omitted.
    response_key
        Key of `obsm`: DataFrame of rows × drug ids, NaN = not measured, and NaN for all cells.
    domain_key
        Column of `obs` that tells ``"bulk"`` from ``"cells"``; without that column all rows are lines.
    pathway_key
        Key of `varm` and `uns` with the mask of :func:`scdrug.pp.pathway_mask`.

    Raises
    ------
    KeyError, TypeError, ValueError
        If `adata` does not follow the data contract, has cells only, or has responses of cells; the message says
        where.
    """
    check_domains(adata, domain_key, response_key)
    register(cls, adata, cls._get_setup_method_args(**locals()), layer=layer, response_key=response_key)


def select_genes(lines: np.ndarray, cells: np.ndarray | None, n_top_genes: int) -> np.ndarray:
    """Positions of the most variable genes of lines and of cells, each on its own: the union, in order.

    Non-negative expression is ranked by dispersion, as scanpy's default does; what was centred already by variance.
    Many cells are ranked by a sample at equal distances, which keeps memory small and takes no random numbers.
    """
    n_genes = lines.shape[1]
    if not 0 < n_top_genes < n_genes:
        return np.arange(n_genes)
    chosen = [
        _most_variable(part[:: -(-len(part) // _RANKED)], n_top_genes) for part in (lines, cells) if part is not None
    ]
    return np.unique(np.concatenate(chosen))


def _most_variable(expression: np.ndarray, n: int) -> np.ndarray:
    if expression.min() < 0:
        score = expression.var(axis=0, dtype=np.float64)
        return np.sort(np.argsort(-score, kind="stable")[:n])
    import scanpy as sc
    from anndata import AnnData

    ranked = AnnData(np.asarray(expression, dtype=np.float32))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        sc.pp.highly_variable_genes(ranked, n_top_genes=n, flavor="seurat")
    return np.flatnonzero(ranked.var["highly_variable"].to_numpy())


def read_pathways(
    adata: AnnData, genes: np.ndarray, pathways: str | None, *, key: str, exact: bool
) -> tuple[sp.csr_matrix, list[str]]:
    """Read pathways, before anything is left out for having too few genes.

    Parameters
    ----------
    adata
        Reference, which may hold a mask of :func:`scdrug.pp.pathway_mask`.
    genes
        Panel.
    pathways
        Name or path of a collection; the mask if omitted.
    key
        Key of the mask.
    exact
        Keep sets that cover the same genes as another one, as a published preset does.

    Returns
    -------
    Genes × pathways, and names.

    Raises
    ------
    KeyError
        If there is neither a mask nor a name.
    """
    if pathways is None:
        check_key(
            dict(adata.varm),
            key,
            where="adata.varm",
            hint="Run scdrug.pp.pathway_mask(adata, 'hallmark') first, or pass `pathways='hallmark'`.",
        )
        names = adata.uns[key]["pathways"].index.astype(str)
        return sp.csr_matrix(adata.varm[key]), _as_keys(names)
    _, sets = read_gene_sets(pathways)
    mask = build_mask(list(genes), sets, min_genes=1, max_jaccard=None if exact else 1.0)
    return mask.matrix, _as_keys(mask.table.index)


def _as_keys(names: pd.Index) -> list[str]:
    return [name.replace("/", "|") for name in names]  # no file takes "/" in keys


def make_nodes(
    pathways: sp.csr_matrix, names: list[str], genes: np.ndarray, *, min_genes: int, strictly: bool, n_free: int
) -> Nodes:
    """Restrict pathways to the genes that the network reads, and add free nodes.

    Raises
    ------
    ValueError
        If no pathway is left.
    """
    mask = pathways[genes].toarray() > 0
    n_genes = mask.sum(axis=0)
    kept = np.flatnonzero(n_genes > min_genes if strictly else n_genes >= max(min_genes, 1))
    if not len(kept):
        raise ValueError(
            f"No pathway has {'more than' if strictly else 'at least'} {min_genes} of the {len(genes):,} genes that the "
            f"network reads; the fullest has {int(n_genes.max(initial=0))}. Lower `min_genes`, raise `n_top_genes`, or "
            "choose another collection."
        )
    free = np.ones((len(genes), n_free), dtype=bool)
    labels = [names[i] for i in kept] + [f"free {number}" for number in range(1, n_free + 1)]
    return Nodes(np.hstack([mask[:, kept], free]), labels)


def regression_targets(train: np.ndarray, validation: np.ndarray) -> Targets:
    """Responses of each drug around its mean, over its standard deviation."""
    mean = np.nanmean(train, axis=0)
    sd = np.nanstd(train, axis=0)
    sd = np.where(sd > 1e-6, sd, 1.0)
    return Targets((train - mean) / sd, (validation - mean) / sd, mean, sd)


def classification_targets(
    train: np.ndarray, validation: np.ndarray, *, method: str, fraction: float, lower_is_sensitive: bool
) -> Targets:
    """Labels from responses, 1 = sensitive; thresholds are found on training responses alone."""
    n_drugs = train.shape[1]
    unit = np.zeros(n_drugs), np.ones(n_drugs)
    if is_binary(train):
        return Targets(train, validation, *unit)
    labels, held_out = np.full(train.shape, np.nan), np.full(train.shape, np.nan)
    for drug in range(n_drugs):
        found = binarize(train[:, drug], method=method, fraction=fraction, lower_is_sensitive=lower_is_sensitive)
        labels[:, drug] = found.labels
        if found.status == "ok":
            sign = 1.0 if lower_is_sensitive else -1.0
            oriented = sign * validation[:, drug]
            held_out[oriented < sign * found.sensitive_threshold, drug] = 1
            held_out[oriented >= sign * found.resistant_threshold, drug] = 0
    return Targets(labels, held_out, *unit)


def is_binary(response: np.ndarray) -> bool:
    """Whether responses are labels already: nothing but 0, 1 and NaN."""
    known = response[np.isfinite(response)]
    return bool(np.isin(known, (0.0, 1.0)).all())


def check_targets(targets: Targets, drugs: pd.Index, *, target: str) -> None:
    """Raise if no drug can be learned, and warn of those that cannot.

    Raises
    ------
    ValueError
        If every drug has too few lines, or in a classification one class only.
    """
    known = np.isfinite(targets.train)
    few = known.sum(axis=0) < MIN_LINES
    one_class = np.zeros(len(drugs), dtype=bool)
    if target == "sensitivity":
        one_class = ~few & ((targets.train == 1).sum(axis=0) * (targets.train == 0).sum(axis=0) == 0)
    if (few | one_class).all():
        counts = known.sum(axis=0)
        raise ValueError(
            f"No drug can be learned: {int(few.sum())} of {len(drugs)} have fewer than {MIN_LINES} lines to train on "
            f"(the most is {int(counts.max(initial=0))}), and {int(one_class.sum())} have lines of one class only. "
            "Add lines, hold out fewer, or choose other `labels`."
        )
    for what, bad in ((f"fewer than {MIN_LINES} lines to train on", few), ("lines of one class only", one_class)):
        if bad.any():
            warnings.warn(
                f"{int(bad.sum())} drugs have {what}, and their predictions mean little: {examples(drugs[bad])}.",
                UserWarning,
                stacklevel=2,
            )
