"""Results of the analyses of perturbed expression as tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import pandas as pd

from .._arguments import checked
from .._former import formerly
from .._labels import Label, select_groups
from ..tl._perturbed import stored

if TYPE_CHECKING:
    from anndata import AnnData


@checked
@formerly(groups="group")
def predict_expression_df(
    adata: AnnData,
    group: Label | Sequence[Label] | None = None,
    *,
    tidy: bool = False,
    key: str = "predicted_expression",
) -> pd.DataFrame:
    """Get predicted shifts of expression as a table.

    Parameters
    ----------
    adata
        What :func:`scdrug.tl.predict_expression` was run on.
    group
        One or several groups; all if omitted.
    tidy
        Return one row per group, drug and gene.
    key
        Where the results are.

    Returns
    -------
    A copy: groups and drugs (a MultiIndex) × genes, in robust standard deviations of the reference; or, if `tidy`, with
    the columns `group`, `drug`, `gene` and `shift`.

    Raises
    ------
    KeyError
        If there are no results, or a group is not known.

    Examples
    --------
    >>> import anndata, numpy as np, pandas as pd, scdrug
    >>> adata = anndata.AnnData(np.zeros((1, 1)))
    >>> rows = ["a | x"]
    >>> adata.uns["predicted_expression"] = {
    ...     "shift": pd.DataFrame([[0.5, -1.0]], index=rows, columns=["EGFR", "KRAS"]),
    ...     "table": pd.DataFrame({"group": "a", "drug": "x"}, index=rows),
    ... }
    >>> scdrug.get.predict_expression_df(adata, tidy=True)["shift"].tolist()
    [0.5, -1.0]
    """
    found = stored(adata, key, function="predict_expression", tables={"table": ("group", "drug"), "shift": ()})
    table = found["table"]
    wanted = select_groups(group, list(dict.fromkeys(table["group"])), where=f"adata.uns[{key!r}]")
    rows = table["group"].isin(wanted).to_numpy()
    shift = found["shift"][rows].copy()
    shift.index = pd.MultiIndex.from_frame(table.loc[rows, ["group", "drug"]])
    if not tidy:
        return shift
    return shift.rename_axis(columns="gene").stack().rename("shift").reset_index()


@checked
def gene_interactions_df(adata: AnnData, *, key: str = "gene_interactions") -> pd.DataFrame:
    """Get the pairs of genes that attend to each other most under a drug.

    Parameters
    ----------
    adata
        Samples with the results of :func:`scdrug.tl.gene_interactions`.
    key
        Where :func:`scdrug.tl.gene_interactions` stored its results.

    Returns
    -------
    A copy, strongest first: `gene_a`, `gene_b`, `attention`, and `in_prior`, whether the prior network joins them.

    Raises
    ------
    KeyError
        If there are no results.
    ValueError
        If `key` holds something else.

    Examples
    --------
    >>> import anndata, numpy as np, pandas as pd, scdrug
    >>> adata = anndata.AnnData(np.zeros((1, 1)))
    >>> table = pd.DataFrame({"gene_a": ["EGFR"], "gene_b": ["KRAS"], "attention": [0.1], "in_prior": [True]})
    >>> adata.uns["gene_interactions"] = {"pairs": table}
    >>> scdrug.get.gene_interactions_df(adata)["gene_b"].tolist()
    ['KRAS']
    """
    return stored(adata, key, function="gene_interactions", tables={"pairs": ()})["pairs"].copy()


@checked
def enrich_interactions_df(adata: AnnData, *, key: str = "enriched_interactions") -> pd.DataFrame:
    """Get the gene sets that the genes of the strongest interactions are enriched in.

    Parameters
    ----------
    adata
        Samples with the results of :func:`scdrug.tl.enrich_interactions`.
    key
        Where :func:`scdrug.tl.enrich_interactions` stored its results.

    Returns
    -------
    A copy, by gene set, smallest p first, with the columns that :func:`scdrug.tl.enrich_interactions` describes (`n_overlap`, `odds_ratio`,
    `p_value`, `fdr`, `genes`).

    Raises
    ------
    KeyError
        If there are no results.
    ValueError
        If `key` holds something else.

    Examples
    --------
    >>> import anndata, numpy as np, pandas as pd, scdrug
    >>> adata = anndata.AnnData(np.zeros((1, 1)))
    >>> table = pd.DataFrame({"odds_ratio": [3.0], "fdr": [0.01]}, index=["HALLMARK_APOPTOSIS"])
    >>> adata.uns["enriched_interactions"] = {"table": table}
    >>> scdrug.get.enrich_interactions_df(adata).index.tolist()
    ['HALLMARK_APOPTOSIS']
    """
    return stored(adata, key, function="enrich_interactions", tables={"table": ()})["table"].copy()


@checked
def mechanism_similarity_df(adata: AnnData, *, key: str = "mechanism_similarity") -> pd.DataFrame:
    """Get how much more alike drugs of one mechanism are than others.

    Parameters
    ----------
    adata
        Samples with the results of :func:`scdrug.tl.mechanism_similarity`.
    key
        Where :func:`scdrug.tl.mechanism_similarity` stored its results.

    Returns
    -------
    A copy with the rows ``"attention"``, ``"fingerprints"`` and ``"attention beyond fingerprints"``: mean similarity of drugs with the `same`
    and with `different` mechanisms, their `difference`, and its `p_value` (one-sided, permutation).

    Raises
    ------
    KeyError
        If there are no results.
    ValueError
        If `key` holds something else.

    Examples
    --------
    >>> import anndata, numpy as np, pandas as pd, scdrug
    >>> adata = anndata.AnnData(np.zeros((1, 1)))
    >>> table = pd.DataFrame({"difference": [0.1], "p_value": [0.5]}, index=["attention"])
    >>> adata.uns["mechanism_similarity"] = {"table": table}
    >>> float(scdrug.get.mechanism_similarity_df(adata).loc["attention", "p_value"])
    0.5
    """
    return stored(adata, key, function="mechanism_similarity", tables={"table": ()})["table"].copy()


@checked
def perturbation_distance_df(adata: AnnData, *, key: str = "perturbation_distance") -> pd.DataFrame:
    """Get how far drugs are predicted to move sensitive and resistant lines.

    Parameters
    ----------
    adata
        Lines with the results of :func:`scdrug.tl.perturbation_distance`.
    key
        Where :func:`scdrug.tl.perturbation_distance` stored its results.

    Returns
    -------
    A copy with a row for the distance itself (``"raw"``) and for what is left of it after taking out the means of drugs and lines: `auroc`
    (above 0.5: sensitive pairs are moved farther), `difference`, `p_value`, `n_sensitive`, `n_resistant`.

    Raises
    ------
    KeyError
        If there are no results.
    ValueError
        If `key` holds something else.

    Examples
    --------
    >>> import anndata, numpy as np, pandas as pd, scdrug
    >>> adata = anndata.AnnData(np.zeros((1, 1)))
    >>> table = pd.DataFrame({"auroc": [0.6]}, index=["raw"])
    >>> adata.uns["perturbation_distance"] = {"table": table}
    >>> float(scdrug.get.perturbation_distance_df(adata).loc["raw", "auroc"])
    0.6
    """
    return stored(adata, key, function="perturbation_distance", tables={"table": ()})["table"].copy()


@checked
def perturbed_markers_df(adata: AnnData, *, key: str = "perturbed_markers") -> pd.DataFrame:
    """Get the genes whose expression under a drug tells sensitive from resistant samples.

    Parameters
    ----------
    adata
        Samples with the results of :func:`scdrug.tl.perturbed_markers`.
    key
        Where :func:`scdrug.tl.perturbed_markers` stored its results.

    Returns
    -------
    A copy, by gene, smallest p first: `difference` (sensitive − resistant, in robust standard deviations of the reference), `t`, `p_value`,
    `fdr`.

    Raises
    ------
    KeyError
        If there are no results.
    ValueError
        If `key` holds something else.

    Examples
    --------
    >>> import anndata, numpy as np, pandas as pd, scdrug
    >>> adata = anndata.AnnData(np.zeros((1, 1)))
    >>> table = pd.DataFrame({"difference": [1.5], "fdr": [0.01]}, index=["EGFR"])
    >>> adata.uns["perturbed_markers"] = {"table": table}
    >>> scdrug.get.perturbed_markers_df(adata).index.tolist()
    ['EGFR']
    """
    return stored(adata, key, function="perturbed_markers", tables={"table": ()})["table"].copy()


@checked
def compare_responders_df(adata: AnnData, *, key: str = "responders") -> pd.DataFrame:
    """Get whether patients who responded to a drug were predicted to be more sensitive to it.

    Parameters
    ----------
    adata
        Patients with the results of :func:`scdrug.tl.compare_responders`.
    key
        Where :func:`scdrug.tl.compare_responders` stored its results.

    Returns
    -------
    A copy, by drug id, smallest p first: `name`, `n_responders`, `n_others`, `difference`, `auroc` (above 0.5: responders predicted more
    sensitive), `p_value`, `fdr`.

    Raises
    ------
    KeyError
        If there are no results.
    ValueError
        If `key` holds something else.

    Examples
    --------
    >>> import anndata, numpy as np, pandas as pd, scdrug
    >>> adata = anndata.AnnData(np.zeros((1, 1)))
    >>> table = pd.DataFrame({"auroc": [0.7]}, index=["drug-x"])
    >>> adata.uns["responders"] = {"table": table}
    >>> float(scdrug.get.compare_responders_df(adata).loc["drug-x", "auroc"])
    0.7
    """
    return stored(adata, key, function="compare_responders", tables={"table": ()})["table"].copy()
