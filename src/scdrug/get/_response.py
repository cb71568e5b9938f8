"""Predicted responses as a table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from .._arguments import checked
from .._constants import KEYS
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
