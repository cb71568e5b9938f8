"""Predicted responses as a table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from .._arguments import checked
from .._constants import KEYS
from .._labels import group_labels
from .._lazy import in_memory
from ..pp._drugs import resolve_drugs
from ..tl._group_response import summarise_groups
from ..tl._group_sums import Strata, read_samples
from ..tl._grouped import read_grouped
from ..tl._stored import check_use, read_predictions
from ..tl._width import cell_half_width

if TYPE_CHECKING:
    from anndata import AnnData


@checked
def response_df(
    adata: AnnData,
    *,
    drugs: str | Sequence[str] | None = None,
    use: str = "response",
    tidy: bool = False,
    key: str = KEYS.PREDICTED,
) -> pd.DataFrame:
    """Get predicted responses of cells as a table.

    Parameters
    ----------
    adata
        Cells with the results of :func:`scdrug.tl.predict_response`.
    drugs
        Names or ids of drugs, in the order wanted; all if omitted.
    use
        ``"response"`` in the unit of the reference (lower ln IC50 = more sensitive), or ``"percentile"`` (0-1,
        share of reference lines that are less sensitive; 1 = more sensitive than all).
    tidy
        Return one row per cell and drug instead of one column per drug, with the interval of each response.
    key
        Where :func:`scdrug.tl.predict_response` stored its results.

    Returns
    -------
    A copy: cells × drug ids; or, if `tidy`, with the columns `cell`, `drug` (id), `name`, `value` and, for responses, `lower` and
    `upper` (NaN where the model states no interval, see :func:`group_response_df`).

    Raises
    ------
    KeyError
        If there are no predictions, or a drug is unknown; the nearest names are offered.

    See Also
    --------
    drugs_df : what the drug ids stand for.

    Examples
    --------
    >>> import scdrug
    >>> cells, reference = scdrug.datasets.toy_cells(), scdrug.datasets.toy()
    >>> scdrug.model.KernelRidge.setup_anndata(reference)
    >>> model = scdrug.model.KernelRidge(reference)
    >>> model.train()
    >>> scdrug.tl.predict_response(cells, model)
    >>> scdrug.get.response_df(cells, drugs=["trametinib", "paclitaxel"]).columns.tolist()
    ['trametinib', 'paclitaxel']
    """
    check_use(use)
    predictions = read_predictions(adata, key)
    table = predictions.table(use)
    ids = list(table.columns) if drugs is None else resolve_drugs(drugs, predictions.drugs)
    values = in_memory(table[ids]).copy()
    if not tidy:
        return values
    names = predictions.drugs.loc[ids, "name"].to_numpy()
    rows = pd.DataFrame(
        {
            "cell": np.repeat(values.index.to_numpy(), len(ids)),
            "drug": np.tile(np.asarray(ids, dtype=object), len(values)),
            "name": np.tile(names, len(values)),
            "value": values.to_numpy().ravel(),
        }
    )
    if use == "percentile":
        return rows
    half_width = cell_half_width(predictions, predictions.response.columns.get_indexer(ids)).ravel()
    return rows.assign(lower=rows["value"] - half_width, upper=rows["value"] + half_width)


@checked
def group_response_df(
    adata: AnnData,
    groupby: str,
    *,
    drugs: str | Sequence[str] | None = None,
    sample_key: str | None = None,
    key: str = KEYS.PREDICTED,
) -> pd.DataFrame:
    """Get the predicted response of groups of cells, such as clones or donors, with the interval of each.

    Parameters
    ----------
    adata
        Cells with the results of :func:`scdrug.tl.predict_response`.
    groupby
        Column of `obs` with the groups. Cells without a label, and cells that show too few genes, are left out.
    drugs
        Names or ids of drugs, in the order wanted; all if omitted.
    sample_key
        Column of `obs` with donors: each group in each donor then has a row of its own, with the column `sample`.
    key
        Where :func:`scdrug.tl.predict_response` stored its results, or :func:`scdrug.tl.predict_groups` (``"group_response"``).

    Returns
    -------
    A row for each group and drug, in the order of the groups: `group`, `drug` (id), `name`, `n_cells`, `response` (mean over the
    cells, in the unit of the reference; lower ln IC50 = more sensitive), `lower` and `upper` (NaN where the model states no
    interval, or no group has two cells), `percentile` (mean, 0-1; 1 = more sensitive than all reference lines) and `reliability`
    (0-1, see :func:`group_reliability_df`). Results of :func:`scdrug.tl.predict_groups` have the column `spread` too.

    Raises
    ------
    KeyError
        If there are no predictions or no such column, or a drug is unknown; the nearest names are offered.
    ValueError
        If no cell has a label, the column holds measurements, or groups or donors are not those that were predicted.

    Notes
    -----
    A group is to the model what a line is: many cells of one kind do not make a drug more predictable, so that the line is the unit that
    intervals are made for (Dunn, Wasserman and Ramdas 2018; Lee, Barber and Willett 2023). The interval is that of a new line (split
    conformal, at the level in ``uns[key]["interval_level"]``), scaled by how hard the group is: by the flatness of its profiles, which
    depth makes; by how far the cohort lies from the average line; by what unmeasured genes hold of the prediction; and by the
    standard error of the mean over cells, of which the spread within groups is taken over all of them. For a single cell, the last
    is the noise of its own counts, found by thinning the counts of some cells.

    Examples
    --------
    >>> import scdrug
    >>> cells, reference = scdrug.datasets.toy_cells(), scdrug.datasets.toy()
    >>> scdrug.model.KernelRidge.setup_anndata(reference)
    >>> model = scdrug.model.KernelRidge(reference)
    >>> model.train()
    >>> scdrug.tl.predict_response(cells, model)
    >>> table = scdrug.get.group_response_df(cells, "clone", drugs="trametinib")
    >>> bool((table["lower"] < table["response"]).all())
    True
    """
    grouped = read_grouped(adata, key, groupby)
    if grouped is not None:
        return grouped.responses(drugs, sample_key)
    predictions = read_predictions(adata, key)
    ids = list(predictions.response.columns) if drugs is None else resolve_drugs(drugs, predictions.drugs)
    labels = group_labels(adata, groupby)
    if not (predictions.predicted & (labels.codes >= 0)).any():
        raise ValueError(
            f"No cell with a prediction has a label in `adata.obs[{groupby!r}]`. Choose another column, or name the groups."
        )
    if sample_key is None:
        return summarise_groups(predictions, labels, ids)
    strata = Strata.of(labels, read_samples(adata, sample_key, groupby))
    return strata.name(summarise_groups(predictions, strata.within_samples, ids))
