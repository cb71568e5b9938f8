"""Gene interactions under a drug: attention averaged over samples, and its strongest pairs."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import scipy.sparse as sp

from .._arguments import checked
from .._former import formerly
from .._labels import marked_cells
from .._store import holds, reserve, store
from .._validate import plain
from ..pp._match_cells import match_cells
from ._perturbed import perturbing_model, reference_rows, structure_of

if TYPE_CHECKING:
    from anndata import AnnData

    from ..model import CSG2A


@checked
@formerly(prior="ppi")
def gene_interactions(
    adata: AnnData,
    model: str | os.PathLike[str] | CSG2A,
    drug: str | Mapping[str, str],
    *,
    n_pairs: int = 1000,
    ppi: bool = True,
    absolute: bool = False,
    subset: str | None = None,
    dose: float | None = None,
    time: float | None = None,
    layer: str | None = None,
    scale: str = "auto",
    method: str = "quantile",
    anchor: str = "similar",
    min_coverage: float = 0.3,
    key_added: str = "gene_interactions",
    copy: bool = False,
) -> AnnData | None:
    """Average the attention between genes under a drug over samples, and keep the strongest pairs.

    The mean over samples is exact, and no matrix is made for a single sample. A gene with itself does not count, and a pair
    counts once.

    Parameters
    ----------
    adata
        Cells, pseudobulks or lines × genes.
    model
        A trained :class:`scdrug.model.CSG2A`.
    drug
        Name or id of a drug, SMILES, or a mapping of one name to its SMILES.
    n_pairs
        Pairs to keep; 1,000 in the paper.
    ppi
        Whether the prior network between genes is a part of the attention. Without it the result is what was learned beside the prior.
    absolute
        Rank pairs by absolute attention; otherwise, as in the paper, by attention.
    subset
        Boolean column of `obs`: the samples to average over, for example the most sensitive ones.
    dose, time
        µM and hours; those of the model's responses if omitted.
    layer, scale, method, anchor, min_coverage
        How samples are brought onto the reference's scale, see :func:`scdrug.tl.predict_response`.
    key_added
        Key of the results.
    copy
        Return a copy instead of writing to `adata`.

    Returns
    -------
    `None`, or a copy of `adata`, with

    ``adata.uns["gene_interactions" | key_added]`` : dict
        ``pairs``: DataFrame with `gene_a`, `gene_b`, `attention` and `in_prior`, strongest first; ``genes``: the panel, which
        is the background of any enrichment; ``drug``; ``params``.
    ``adata.varp["gene_interactions" | key_added]`` : CSR
        Attention of the pairs kept, symmetric, for genes that `adata` has.

    Raises
    ------
    TypeError, RuntimeError
        If the model is of another class or was not trained.
    KeyError, ValueError
        If a drug or column is not known, no sample is chosen, or the model has no attention.

    Warns
    -----
    UserWarning
        If the core was not pretrained: its attention was then learned from responses alone.

    Notes
    -----
    Bang et al. 2024, section 4.3. Attention is not causal: compare with another drug before reading it as a mechanism.

    Examples
    --------
    >>> import scdrug, warnings
    >>> scdrug.settings.progress = False
    >>> reference = scdrug.datasets.toy()
    >>> scdrug.model.CSG2A.setup_anndata(reference)
    >>> model = scdrug.model.CSG2A(reference, drug_features="morgan", n_genes=50)
    >>> model.train(max_epochs=1)
    >>> with warnings.catch_warnings(action="ignore"):
    ...     scdrug.tl.gene_interactions(reference, model, "trametinib", n_pairs=20, method="none")
    >>> len(reference.uns["gene_interactions"]["pairs"])
    20
    """
    if n_pairs < 1:
        raise ValueError(f"`n_pairs` must be at least 1; found {n_pairs}.")
    reserve(
        adata,
        [("varp", key_added), ("uns", key_added)],
        report=key_added,
        recognise=holds("pairs", "genes", "drug"),
        function="scdrug.tl.gene_interactions",
    )
    trained = perturbing_model(model, pretrained=False)
    table = structure_of(trained, drug)
    if not trained.is_pretrained:
        warnings.warn(
            "The core of this model was not pretrained: its attention was learned from responses alone.", stacklevel=2
        )
    chosen = np.ones(adata.n_obs, dtype=bool) if subset is None else _chosen(adata, subset)
    condition = trained.conditions(list(table["smiles"]), dose=dose, time=time)[0]
    total, n = 0.0, 0
    blocks = reference_rows(
        adata, trained, layer=layer, scale=scale, method=method, anchor=anchor, min_coverage=min_coverage
    )
    for rows, values in blocks:
        inside = values[chosen[rows]]
        if len(inside):
            total = total + len(inside) * trained.attention(inside, condition, ppi=ppi).astype(np.float64)
            n += len(inside)
    genes = np.asarray(trained.module.panel, dtype=object)
    edges = trained.module.core.attention.edges
    pairs = top_pairs(
        total / n, genes, n_pairs=n_pairs, absolute=absolute, edges=None if edges is None else edges.cpu().numpy()
    )

    report = {
        "pairs": pairs,
        "genes": genes,
        "drug": str(table.index[0]),
        "name": str(table["name"].iloc[0]),
        "params": plain({"n_samples": n, "ppi": ppi, "absolute": absolute, "subset": subset, "n_pairs": n_pairs}),
    }
    values = {("varp", key_added): _sparse(pairs, adata, layer), ("uns", key_added): report}
    adata = store(adata, values, report=key_added, copy=copy)
    return adata if copy else None


def _chosen(adata: AnnData, subset: str) -> np.ndarray:
    chosen = marked_cells(adata, subset, argument="subset")
    if not chosen.any():
        raise ValueError(f"`adata.obs[{subset!r}]` chooses no sample.")
    return chosen


def top_pairs(
    attention: np.ndarray, genes: np.ndarray, *, n_pairs: int, absolute: bool = False, edges: np.ndarray | None = None
) -> pd.DataFrame:
    """Pairs of different genes with the strongest attention.

    Parameters
    ----------
    attention
        Genes × genes, symmetric.
    genes
        Names.
    n_pairs
        Pairs to keep.
    absolute
        Rank by absolute value.
    edges
        Prior network, 2 × edges, smaller position first.

    Returns
    -------
    `gene_a`, `gene_b`, `attention`, `in_prior`; strongest first.

    Examples
    --------
    >>> import numpy as np
    >>> from scdrug.tl._interactions import top_pairs
    >>> attention = np.array([[9.0, 1.0, 3.0], [1.0, 9.0, 2.0], [3.0, 2.0, 9.0]])
    >>> top_pairs(attention, np.array(["A", "B", "C"]), n_pairs=1)[["gene_a", "gene_b"]].to_numpy().tolist()
    [['A', 'C']]
    """
    low, high = np.triu_indices(len(genes), 1)
    values = attention[low, high]
    order = np.argsort(-np.abs(values) if absolute else -values, kind="stable")[:n_pairs]
    known = set() if edges is None else set(zip(edges[0].tolist(), edges[1].tolist()))
    a, b = low[order], high[order]
    return pd.DataFrame(
        {
            "gene_a": genes[a],
            "gene_b": genes[b],
            "attention": values[order],
            "in_prior": [pair in known for pair in zip(a.tolist(), b.tolist())],
        }
    )


def _sparse(pairs: pd.DataFrame, adata: AnnData, layer: str | None) -> sp.csr_matrix:
    """Pairs as a matrix between the genes of `adata`."""
    names = pd.unique(pd.concat([pairs["gene_a"], pairs["gene_b"]]))
    match = match_cells(adata, names, layer=layer, min_coverage=None, warn=False)
    place = dict(zip(names, match.columns))
    rows, columns = (pairs[column].map(place).to_numpy() for column in ("gene_a", "gene_b"))
    there = (rows >= 0) & (columns >= 0)
    shape = (adata.n_vars, adata.n_vars)
    half = sp.csr_matrix((pairs["attention"].to_numpy()[there], (rows[there], columns[there])), shape=shape)
    return (half + half.T).tocsr()
