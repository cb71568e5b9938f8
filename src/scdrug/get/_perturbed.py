"""Results of the analyses of perturbed expression as tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import pandas as pd

from .._arguments import checked
from .._labels import Label, select_groups
from .._validate import check_choice
from ..tl._perturbed import stored

if TYPE_CHECKING:
    from anndata import AnnData

#: Functions of `tl` whose result holds a table, with the keys that they write to by default.
_TABLES = {
    "perturbation_distance": "perturbation_distance",
    "mechanism_similarity": "mechanism_similarity",
    "perturbed_markers": "perturbed_markers",
    "gene_interactions": "gene_interactions",
    "enrich_interactions": "enriched_interactions",
    "compare_responders": "responders",
}


@checked
def expression_df(
    adata: AnnData,
    *,
    groups: Label | Sequence[Label] | None = None,
    tidy: bool = False,
    key: str = "predicted_expression",
) -> pd.DataFrame:
    """Get predicted shifts of expression as a table.

    Parameters
    ----------
    adata
        What :func:`scdrug.tl.predict_expression` was run on.
    groups
        Groups to return; all if omitted.
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
    >>> scdrug.get.expression_df(adata, tidy=True)["shift"].tolist()
    [0.5, -1.0]
    """
    found = stored(adata, key, function="predict_expression", tables={"table": ("group", "drug"), "shift": ()})
    table = found["table"]
    wanted = select_groups(groups, list(dict.fromkeys(table["group"])), where=f"adata.uns[{key!r}]")
    rows = table["group"].isin(wanted).to_numpy()
    shift = found["shift"][rows].copy()
    shift.index = pd.MultiIndex.from_frame(table.loc[rows, ["group", "drug"]])
    if not tidy:
        return shift
    return shift.rename_axis(columns="gene").stack().rename("shift").reset_index()


@checked
def perturbation_df(adata: AnnData, of: str, *, key: str | None = None) -> pd.DataFrame:
    """Get the table of an analysis.

    Parameters
    ----------
    adata
        What the function of :mod:`scdrug.tl` was run on.
    of
        Its name: ``"gene_interactions"`` (pairs of genes), ``"enrich_interactions"``, ``"mechanism_similarity"``,
        ``"perturbation_distance"``, ``"perturbed_markers"`` or ``"compare_responders"``.
    key
        Where the results are; the default key of the function if omitted.

    Returns
    -------
    A copy of the table that the function describes.

    Raises
    ------
    ValueError
        If the function is not known.
    KeyError
        If there are no results.

    Examples
    --------
    >>> import anndata, numpy as np, pandas as pd, scdrug
    >>> adata = anndata.AnnData(np.zeros((1, 1)))
    >>> adata.uns["responders"] = {"table": pd.DataFrame({"auroc": [0.7]}, index=["drug-x"])}
    >>> print(scdrug.get.perturbation_df(adata, "compare_responders").loc["drug-x", "auroc"])
    0.7
    """
    check_choice("of", of, tuple(_TABLES))
    name = "pairs" if of == "gene_interactions" else "table"
    return stored(adata, _TABLES[of] if key is None else key, function=of, tables={name: ()})[name].copy()
