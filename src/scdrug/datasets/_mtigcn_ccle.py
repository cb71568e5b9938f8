"""The CCLE screen in the form in which MTIGCN's authors keep it."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from .._arguments import checked
from .._constants import KEYS
from .._validate import examples
from ._mtigcn import _read

if TYPE_CHECKING:
    from anndata import AnnData

#: A line is sensitive if its IC50 is this many standard deviations below the mean of the drug.
_CUT = 0.8


@checked
def mtigcn_ccle(
    response: str | os.PathLike[str] | pd.DataFrame,
    expression: str | os.PathLike[str] | pd.DataFrame,
    *,
    smiles: Mapping[str, str] | None = None,
) -> AnnData:
    """CCLE as MTIGCN was tested on it, from the authors' table of responses and expression of your own.

    Parameters
    ----------
    response
        Table (or CSV file) lines × drugs of IC50 in µM, 0 where a pair was not measured.
    expression
        Table (CSV or Parquet file) lines × genes, log scale, lines named as in `response`.
    smiles
        Structure of each drug, by its name in `response`.

    Returns
    -------
    The reference of :func:`scdrug.pp.build_reference` with ln IC50 in ln(µM), labels in ``obsm['response_binary']`` (1 sensitive), and
    ``threshold`` in ``uns['drugs']``: ln IC50 below which a line is sensitive, NaN if no IC50 can be as low.

    Raises
    ------
    ValueError
        If an IC50 is negative, or no line has both response and expression.

    Notes
    -----
    A line is sensitive if the z-score of its IC50 among the lines of the drug is below −0.8. The paper says so of ln IC50; its labels
    follow from IC50 itself, which is what is done here. The authors' table holds zeros, and their training takes them for
    measured responses, of the most sensitive kind; here they are missing, and no part of mean and standard deviation.

    Source: Liu et al. 2024, on CCLE (Barretina et al. 2012, doi:10.1038/nature11003).

    Examples
    --------
    >>> import pandas as pd
    >>> import scdrug
    >>> ic50 = pd.DataFrame({"Lapatinib": [0.1, 8.0, 8.0, 0.0]}, index=list("abcd"))
    >>> genes = pd.DataFrame({"TP53": [5.0, 6.0, 7.0, 8.0], "EGFR": [1.0, 2.0, 0.0, 3.0]}, index=list("abcd"))
    >>> reference = scdrug.datasets.mtigcn_ccle(ic50, genes)
    >>> reference.obsm["response_binary"]["lapatinib"].tolist()
    [1.0, 0.0, 0.0]
    """
    from ..pp._line_names import describe_match, match_lines
    from ..pp._reference import build_reference
    from ..pp._response import binarize_response

    ic50, values = _read(response).astype(float), _read(expression).select_dtypes("number")
    if (ic50 < 0).any(axis=None):
        raise ValueError(f"IC50 must not be negative; found {examples(np.unique(ic50[ic50 < 0].stack()), 3)}.")
    match = match_lines(ic50.index, values.index)
    ic50 = ic50.rename(index=match.respelled)
    notes = describe_match(match, list(values.index), what="lines with response")
    if match.found and notes:
        warnings.warn(" ".join(notes), UserWarning, stacklevel=2)
    common = ic50.index[ic50.index.isin(values.index)]
    if not len(common):
        raise ValueError(
            f"No line has both response and expression: they are called {examples(ic50.index, 3)} and "
            f"{examples(values.index, 3)}."
        )
    ic50 = ic50.loc[common].where(ic50.loc[common] > 0)
    ic50 = ic50.loc[:, ic50.notna().any(axis=0)]
    drugs = pd.DataFrame(
        {"smiles": [(smiles or {}).get(name, "") for name in ic50.columns]}, index=pd.Index(ic50.columns)
    )
    adata = build_reference(values.loc[common], np.log(ic50), drugs=drugs, expression_scale="log")
    table = adata.uns[KEYS.DRUGS]
    cut = (ic50.mean() - _CUT * ic50.std(ddof=0)).reindex(table["name"]).to_numpy()
    table["threshold"] = np.log(np.where(cut > 0, cut, np.nan))
    labelled = table.index[table["threshold"].notna()]
    labels = pd.DataFrame(np.nan, index=adata.obs_names, columns=table.index)
    if len(labelled):
        binarize_response(adata, method="threshold", threshold=table["threshold"])
        labels.update(adata.obsm["response_binary"])
    adata.obsm["response_binary"] = labels
    return adata
