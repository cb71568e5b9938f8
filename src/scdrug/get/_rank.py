"""Ranked drugs as a table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from .._arguments import checked
from .._constants import KEYS
from .._labels import Label
from .._validate import check_choice
from ..tl._stored import groups_of, read_ranking, rows_of_groups

if TYPE_CHECKING:
    from anndata import AnnData


@checked
def rank_drugs_df(
    adata: AnnData,
    group: Label | Sequence[Label] | None = None,
    *,
    fdr_max: float | None = None,
    direction: str | None = None,
    key: str = KEYS.RANKED,
) -> pd.DataFrame:
    """Get the drugs that :func:`scdrug.tl.rank_drugs` ranked.

    Parameters
    ----------
    adata
        Cells with the results of :func:`scdrug.tl.rank_drugs`.
    group
        One or several groups; all if omitted.
    fdr_max
        Keep drugs with at most this false discovery rate; drugs without p-value are dropped then.
    direction
        Keep ``"sensitive"`` (group more sensitive than its reference) or ``"resistant"`` drugs.
    key
        Where :func:`scdrug.tl.rank_drugs` stored its results.

    Returns
    -------
    A copy of the rows, by group and rank; for the columns see :func:`scdrug.tl.rank_drugs` (rankings of earlier versions lack
    `evidence`, `phase` and `outranks_better`). Positive `score`: the
    group is more sensitive than its reference.

    Raises
    ------
    KeyError
        If no drugs were ranked, or a group is unknown; the nearest one is offered.
    ValueError
        If `direction` or `fdr_max` is none of those that are possible.

    Examples
    --------
    >>> import scdrug
    >>> cells, reference = scdrug.datasets.toy_cells(), scdrug.datasets.toy()
    >>> scdrug.model.KernelRidge.setup_anndata(reference)
    >>> model = scdrug.model.KernelRidge(reference)
    >>> model.train()
    >>> scdrug.tl.predict_response(cells, model)
    >>> scdrug.tl.rank_drugs(cells, groupby="clone", sample_key="sample")
    >>> scdrug.get.rank_drugs_df(cells, "clone-a")["rank"].tolist()[:3]
    [1, 2, 3]
    """
    if direction is not None:
        check_choice("direction", direction, ("sensitive", "resistant"))
    table, params = read_ranking(adata, key)
    rows = rows_of_groups(table, group, groups_of(key, params))
    keep = np.ones(len(rows), dtype=bool)
    if fdr_max is not None:
        keep &= (rows["fdr"] <= fdr_max).to_numpy()
    if direction is not None:
        keep &= (rows["direction"].astype(str) == direction).to_numpy()
    return rows[keep].reset_index(drop=True)
