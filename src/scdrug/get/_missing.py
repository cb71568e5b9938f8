"""Pairs that a screen did not measure, ranked by what a model says of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import pandas as pd

from .._arguments import checked
from .._constants import KEYS
from ..tl._missing import rank_missing

if TYPE_CHECKING:
    from anndata import AnnData


@checked
def missing_pairs_df(
    adata: AnnData,
    *,
    drugs: str | Sequence[str] | None = None,
    n_lines: int | None = 10,
    response_key: str = KEYS.RESPONSE,
    key: str = KEYS.PREDICTED,
) -> pd.DataFrame:
    """Rank the lines that were not tested with a drug, those predicted to be most sensitive first.

    Parameters
    ----------
    adata
        Screen with predictions of its own lines: ``model.predict(adata)`` of a model that completes pairs
        (:func:`scdrug.model.list_models` says which).
    drugs
        Names or ids of drugs; all if omitted.
    n_lines
        Lines shown for each drug; all if `None`.
    response_key
        Key of `obsm` with what was measured.
    key
        Key of `obsm` that `predict` stored its results under.

    Returns
    -------
    A row for each pair, drug by drug:

    ``drug``, ``name``, ``line``
        Id and name of the drug, name of the line.
    ``rank``
        1 for the line predicted to be most sensitive among those that were not tested.
    ``predicted``
        In the unit of the model.
    ``among_tested``
        Share of the lines tested with the drug whose prediction is less sensitive, 0-1. Predictions are compared with
        predictions, because these spread less than measurements.

    Raises
    ------
    KeyError
        If there are no responses or predictions, or a drug is unknown.

    Examples
    --------
    >>> import scdrug
    >>> screen = scdrug.datasets.toy()
    >>> scdrug.model.KernelRidge.setup_anndata(screen)
    >>> model = scdrug.model.KernelRidge(screen, couple_drugs=True)
    >>> model.train()
    >>> model.predict(screen).shape
    (120, 12)
    >>> scdrug.get.missing_pairs_df(screen, drugs="trametinib", n_lines=3)["rank"].tolist()
    [1, 2, 3]
    """
    return rank_missing(adata, drugs, n_lines=n_lines, response_key=response_key, key=key)
