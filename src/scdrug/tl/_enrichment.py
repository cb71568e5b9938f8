"""Gene sets that the genes of the strongest interactions are enriched in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import pandas as pd
from scipy import stats

from .._arguments import checked
from .._store import holds_table, reserve, store
from ..pp._genes import match_genes
from ._perturbed import stored

if TYPE_CHECKING:
    from anndata import AnnData


@checked
def enrich_interactions(
    adata: AnnData,
    gene_sets: Mapping[str, Sequence[str]],
    *,
    min_genes: int = 5,
    key: str = "gene_interactions",
    key_added: str = "enriched_interactions",
    copy: bool = False,
) -> AnnData | None:
    """Test which gene sets the genes of the strongest interactions are enriched in, against the panel as background.

    With the genome as background any set of landmark genes looks enriched in the processes that landmarks were chosen
    for; the panel is the only background that asks about the drug.

    Parameters
    ----------
    adata
        What :func:`gene_interactions` was run on.
    gene_sets
        Names of genes by set, see :func:`scdrug.datasets.gene_sets`.
    min_genes
        Least number of panel genes in a set.
    key
        Where the interactions are.
    key_added
        Key of `uns` for the result.
    copy
        Return a copy instead of writing to `adata`.

    Returns
    -------
    `None`, or a copy of `adata`, with ``adata.uns[key_added]``: ``table`` by gene set, with `n_set` and `n_overlap` (panel genes
    in the set, and those among the pairs), `expected`, `odds_ratio`, `p_value` (one-sided hypergeometric), `fdr` (Benjamini and
    Hochberg) and `genes`, smallest p first; ``params``.

    Raises
    ------
    KeyError
        If there are no interactions.
    ValueError
        If no set has enough genes of the panel.

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
    >>> sets = {"first": list(model.genes[:150]), "last": list(model.genes[150:])}
    >>> scdrug.tl.enrich_interactions(reference, sets)
    >>> sorted(reference.uns["enriched_interactions"]["table"].index)
    ['first', 'last']
    """
    reserve(
        adata,
        [("uns", key_added)],
        report=key_added,
        recognise=holds_table("n_set", "n_overlap", "odds_ratio"),
        function="scdrug.tl.enrich_interactions",
    )
    found = stored(adata, key, function="gene_interactions", entries=("genes",), tables={"pairs": ("gene_a", "gene_b")})
    pairs, panel = found["pairs"], [str(gene) for gene in found["genes"]]
    chosen = set(pairs["gene_a"]) | set(pairs["gene_b"])
    result = enrich(chosen, panel, gene_sets, min_genes=min_genes)
    report = {"table": result, "params": {"min_genes": min_genes, "key": key}}
    adata = store(adata, {("uns", key_added): report}, report=key_added, copy=copy)
    return adata if copy else None


def enrich(
    chosen: set[str], background: Sequence[str], gene_sets: Mapping[str, Sequence[str]], *, min_genes: int = 5
) -> pd.DataFrame:
    """One-sided hypergeometric test of each gene set; see :func:`enrich_interactions`."""
    n_chosen, rows = len(chosen & set(background)), []
    for name, members in gene_sets.items():
        columns = match_genes([str(gene) for gene in members], list(background), synonyms=False).columns
        inside = {gene for gene, column in zip(background, columns) if column >= 0}
        if len(inside) < min_genes:
            continue
        overlap = sorted(chosen & inside)
        n, k, total = len(inside), len(overlap), len(background)
        test = stats.fisher_exact([[k, n - k], [n_chosen - k, total - n - n_chosen + k]], alternative="greater")
        rows.append(
            (str(name), n, k, n * n_chosen / total, float(test.statistic), float(test.pvalue), " ".join(overlap))
        )
    if not rows:
        raise ValueError(
            f"No gene set has {min_genes} genes of the panel ({len(background)} genes). Pass sets of human gene symbols, "
            "or lower `min_genes`."
        )
    columns = ["set", "n_set", "n_overlap", "expected", "odds_ratio", "p_value", "genes"]
    table = pd.DataFrame(rows, columns=columns).set_index("set").sort_values("p_value", kind="stable")
    table.insert(5, "fdr", stats.false_discovery_control(table["p_value"]))
    return table.rename_axis(None)
