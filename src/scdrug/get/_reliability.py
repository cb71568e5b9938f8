"""How far to believe the predictions of groups of cells, as a table."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from .._arguments import checked
from .._constants import KEYS
from .._labels import group_labels
from ..tl._group_reliability import judge_groups
from ..tl._grouped import read_grouped
from ..tl._stored import read_predictions

if TYPE_CHECKING:
    from anndata import AnnData


@checked
def group_reliability_df(adata: AnnData, groupby: str, *, key: str = KEYS.PREDICTED) -> pd.DataFrame:
    """Get one number and one sentence for each group: how far its predictions are to be believed, and what limits that.

    Parameters
    ----------
    adata
        Cells with the results of :func:`scdrug.tl.predict_response`.
    groupby
        Column of `obs` with the groups; any, whether cells were predicted with it or not. Cells without a label are left out.
    key
        Where :func:`scdrug.tl.predict_response` stored its results, or :func:`scdrug.tl.predict_groups` (``"group_response"``).

    Returns
    -------
    A row for each group, in their order: `group`; `n_cells` with a prediction; `reliability` (0-1, median over the cells, of which
    the group as a whole is asked whether it divides); `refused`, below 0.05, which leaves the group out of rankings and greys it in
    plots; `depth` (median counts per cell; NaN if not known); `dividing` (share of transcripts from genes of the cell cycle; NaN for
    fewer than ten cells); and `reason`, a sentence.

    Raises
    ------
    KeyError
        If there are no predictions or no such column.
    ValueError
        If the column holds measurements rather than labels.

    See Also
    --------
    group_response_df : predictions of the groups with their intervals.

    Examples
    --------
    >>> import scdrug
    >>> cells, reference = scdrug.datasets.toy_cells(), scdrug.datasets.toy()
    >>> scdrug.model.KernelRidge.setup_anndata(reference)
    >>> model = scdrug.model.KernelRidge(reference)
    >>> model.train()
    >>> scdrug.tl.predict_response(cells, model)
    >>> scdrug.get.group_reliability_df(cells, "clone")["refused"].any()
    np.False_
    """
    grouped = read_grouped(adata, key, groupby)
    if grouped is not None:
        return grouped.reliability.copy()
    return judge_groups(read_predictions(adata, key), group_labels(adata, groupby))
