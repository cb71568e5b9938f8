"""Pathways as a mask of genes, for networks whose nodes are pathways."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from .._arguments import checked
from .._constants import KEYS
from .._store import holds, reserve, store
from .._validate import check_key, examples, plain
from ._gene_sets import build_mask

if TYPE_CHECKING:
    from anndata import AnnData

logger = logging.getLogger(__name__)


@checked
def pathway_mask(
    adata: AnnData,
    gene_sets: str | os.PathLike[str] | Mapping[str, Sequence[str]],
    *,
    min_genes: int = 10,
    strictly: bool = False,
    max_genes: int | None = 1000,
    max_jaccard: float | None = 1.0,
    gene_subset: str | None = None,
    key_added: str = KEYS.PATHWAYS,
    copy: bool = False,
) -> AnnData | None:
    """Mark which genes belong to which pathway.

    Parameters
    ----------
    adata
        Bulk reference, or any object with human genes.
    gene_sets
        Name of a collection (see :func:`scdrug.datasets.gene_sets`: ``"hallmark"``, ``"reactome"``, ``"wikipathways"``,
        ``"go_bp"``, ``"go_cc"``, ``"go_mf"``), path of a ``.gmt`` file, or a mapping of names to genes. Genes are matched
        by symbol, Ensembl id, Entrez id or synonym.
    min_genes
        Genes of `adata` that a set needs to be kept.
    strictly
        Keep sets with more than `min_genes` instead of at least as many, as He et al. 2025 do.
    max_genes
        Sets with more genes than this, in `adata` or not, are left out; `None` keeps all. He et al. 2025: 1,000.
    max_jaccard
        Sets that share at least this much of their union with a set before them in the alphabet, counting genes of
        `adata` alone, are left out: a network cannot tell them apart. 1 leaves out the second of two equal sets, `None`
        keeps all.
    gene_subset
        Boolean column of `var`, such as ``"highly_variable"``: only these genes count for `min_genes`.
    key_added
        Key of `varm` and `uns`.
    copy
        Return a copy instead of writing to `adata`.

    Returns
    -------
    `None`, or a copy of `adata`, with

    ``adata.varm["pathway_mask" | key_added]`` : CSR matrix
        Genes × pathways, 1 where the gene is in the set. Pathways are in alphabetical order.
    ``adata.uns["pathway_mask" | key_added]`` : dict
        ``"pathways"``, a DataFrame by name of the pathway: genes of the set, genes found, the set that shares most with
        it and how much (Jaccard index); ``"dropped"``, names of sets that were left out, by reason; the parameters.

    Raises
    ------
    ValueError
        If there is no set, a set is empty, none of its genes is found (another species, or another kind of id), or no
        set is left.
    KeyError
        If `gene_subset` is no column of `var`.

    Warns
    -----
    UserWarning
        If sets are left out because they equal or nearly equal another one.

    Notes
    -----
    This is the mask M of He et al. 2025 (eq. 8-10) without its free nodes, which the model adds.

    Examples
    --------
    >>> import scdrug
    >>> reference = scdrug.datasets.toy()
    >>> scdrug.pp.pathway_mask(reference, "toy")
    >>> reference.varm["pathway_mask"].shape
    (300, 8)
    >>> int(reference.uns["pathway_mask"]["pathways"].loc["HYPOXIA", "n_genes"])
    25
    """
    reserve(
        adata,
        [("varm", key_added), ("uns", key_added)],
        report=key_added,
        recognise=holds("pathways", "source"),
        function="scdrug.pp.pathway_mask",
    )
    counted = None
    if gene_subset is not None:
        check_key(adata.var, gene_subset, where="adata.var")
        counted = adata.var[gene_subset].to_numpy(dtype=bool)
    source, sets = read_gene_sets(gene_sets)

    mask = build_mask(
        list(adata.var_names),
        sets,
        min_genes=min_genes,
        strictly=strictly,
        max_genes=max_genes,
        max_jaccard=max_jaccard,
        counted=counted,
    )
    logger.info("%d of %d gene sets are kept", mask.matrix.shape[1], len(sets))
    redundant = mask.dropped["redundant"]
    if redundant:
        warnings.warn(
            f"{len(redundant)} gene sets are left out because another one covers the same genes of `adata`, such as "
            f"{examples(redundant, 3)}.",
            UserWarning,
            stacklevel=2,
        )

    report = plain(
        {
            "pathways": mask.table,
            "dropped": {reason: list(names) for reason, names in mask.dropped.items() if names},
            "source": source,
            "min_genes": min_genes,
            "strictly": strictly,
            "max_genes": max_genes,
            "max_jaccard": max_jaccard,
        }
    )
    adata = store(adata, {("varm", key_added): mask.matrix, ("uns", key_added): report}, report=key_added, copy=copy)
    return adata if copy else None


def read_gene_sets(
    gene_sets: str | os.PathLike[str] | Mapping[str, Sequence[str]],
) -> tuple[str, Mapping[str, Sequence[str]]]:
    """Name and content of gene sets given by name, by path, or as they are."""
    if isinstance(gene_sets, str | os.PathLike):
        from ..datasets._gene_sets import gene_sets as fetch_gene_sets

        name = os.path.basename(os.fspath(gene_sets))  # noqa: PTH119 - also takes plain names
        return name, fetch_gene_sets(gene_sets)
    return "custom", gene_sets
