"""The drugs that were predicted, as a table."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from .._arguments import checked
from .._constants import KEYS
from ..tl._stored import read_predictions

if TYPE_CHECKING:
    from anndata import AnnData


@checked
def drugs_df(adata: AnnData, *, key: str = KEYS.PREDICTED) -> pd.DataFrame:
    """Get the table of the predicted drugs.

    Parameters
    ----------
    adata
        Cells with the results of :func:`scdrug.tl.predict_response`.
    key
        Where :func:`scdrug.tl.predict_response` stored its results.

    Returns
    -------
    A copy, by drug id in the order of the predictions: `name`, `targets`, `pathway`, what else the model knows of its
    drugs (`smiles`, `pubchem_cid`), and, in the unit of the response, `half_width`, half the width of the prediction interval of a new
    line (NaN if the model states none), and `median_of_lines`, the median prediction over lines. Of cells, also what makes intervals
    wider: `cohort_shift`, `missing_variance` and `noise_variance` of one cell, see :func:`group_response_df`.

    Raises
    ------
    KeyError
        If there are no predictions.

    Examples
    --------
    >>> import scdrug
    >>> cells, reference = scdrug.datasets.toy_cells(), scdrug.datasets.toy()
    >>> scdrug.model.KernelRidge.setup_anndata(reference)
    >>> model = scdrug.model.KernelRidge(reference)
    >>> model.train()
    >>> scdrug.tl.predict_response(cells, model)
    >>> str(scdrug.get.drugs_df(cells).loc["trametinib", "name"])
    'Trametinib'
    """
    predictions = read_predictions(adata, key)
    return predictions.drugs.assign(half_width=predictions.half_width)
