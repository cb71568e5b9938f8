"""Predicted responses as a table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy.stats import norm

from .._arguments import checked
from .._constants import KEYS
from .._labels import group_labels
from ..pp._drugs import resolve_drugs
from ..tl._stored import check_use, read_predictions

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
        Return one row per cell and drug instead of one column per drug.
    key
        Where :func:`scdrug.tl.predict_response` stored its results.

    Returns
    -------
    A copy: cells × drug ids; or, if `tidy`, with the columns `cell`, `drug` (id), `name` and `value`.

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
    values = table[ids].copy()
    if not tidy:
        return values
    names = predictions.drugs.loc[ids, "name"].to_numpy()
    return pd.DataFrame(
        {
            "cell": np.repeat(values.index.to_numpy(), len(ids)),
            "drug": np.tile(np.asarray(ids, dtype=object), len(values)),
            "name": np.tile(names, len(values)),
            "value": values.to_numpy().ravel(),
        }
    )


@checked
def group_response_df(
    adata: AnnData,
    groupby: str,
    *,
    drugs: str | Sequence[str] | None = None,
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
    key
        Where :func:`scdrug.tl.predict_response` stored its results.

    Returns
    -------
    A row for each group and drug, in the order of the groups: `group`, `drug` (id), `name`, `n_cells`, `response` (mean over the
    cells, in the unit of the reference; lower ln IC50 = more sensitive), `lower` and `upper` (NaN where the model states no
    interval, or no group has two cells), `percentile` (mean, 0-1; 1 = more sensitive than all reference lines) and `reliability` (median over the cells, 0-1).

    Raises
    ------
    KeyError
        If there are no predictions or no such column, or a drug is unknown; the nearest names are offered.
    ValueError
        If no cell has a label, or the column holds measurements.

    Notes
    -----
    A group is to the model what a line is: many cells of one kind do not make a drug more predictable. The interval is therefore that of a
    new line (split conformal, at the level in ``uns[key]["interval_level"]``), widened by the standard error of the mean over cells;
    the spread within groups, by counting noise and by biology, is taken over all of them.

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
    predictions = read_predictions(adata, key)
    ids = list(predictions.response.columns) if drugs is None else resolve_drugs(drugs, predictions.drugs)
    labels = group_labels(adata, groupby)
    codes = np.where(predictions.predicted, labels.codes, -1)
    if (codes < 0).all():
        raise ValueError(
            f"No cell with a prediction has a label in `adata.obs[{groupby!r}]`. Choose another column, or name the groups."
        )
    columns = predictions.response.columns.get_indexer(ids)
    known = np.flatnonzero(codes >= 0)
    grouped = predictions.response.iloc[known, columns].astype(float).groupby(codes[known])
    n_cells, mean = grouped.size().to_numpy(), grouped.mean()
    # the spread within groups is taken over all of them: a few cells do not tell their own
    freedom = len(known) - len(n_cells)
    squares = np.nan_to_num(grouped.var().to_numpy() * (n_cells[:, None] - 1)).sum(axis=0)
    variance = squares / freedom if freedom else np.full(len(ids), np.nan)
    level = float(predictions.provenance.get("interval_level", np.nan))
    error = norm.ppf((1 + level) / 2) * np.sqrt(variance / n_cells[:, None])
    half_width = np.hypot(predictions.half_width[columns], error)
    percentile = predictions.percentile.iloc[known, columns].astype(float).groupby(codes[known]).mean()
    reliability = pd.Series(predictions.reliability[known]).groupby(codes[known]).median()
    n_drugs = len(ids)
    return pd.DataFrame(
        {
            "group": np.repeat(np.asarray(labels.categories, dtype=object)[mean.index], n_drugs),
            "drug": np.tile(np.asarray(ids, dtype=object), len(n_cells)),
            "name": np.tile(predictions.drugs.loc[ids, "name"].to_numpy(), len(n_cells)),
            "n_cells": np.repeat(n_cells, n_drugs),
            "response": mean.to_numpy().ravel(),
            "lower": (mean - half_width).to_numpy().ravel(),
            "upper": (mean + half_width).to_numpy().ravel(),
            "percentile": percentile.to_numpy().ravel(),
            "reliability": np.repeat(reliability, n_drugs),
        }
    )
