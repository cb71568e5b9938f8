"""Which responses count as sensitive: the edges of the graph and the labels of the classification."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd

from ..._validate import examples

#: Column of ``uns["drugs"]`` with the response below which a line is sensitive.
THRESHOLD_COLUMN = "threshold"
#: Share of the training lines that is called sensitive where there are no thresholds: that of GDSC's own.
SENSITIVE_SHARE = 0.12


def response_thresholds(
    response: np.ndarray, drugs: pd.DataFrame | None, names: pd.Index, *, lower_is_sensitive: bool
) -> np.ndarray:
    """Response at which a line counts as sensitive to each drug.

    Parameters
    ----------
    response
        Training responses (lines × drugs, NaN = not measured).
    drugs
        Table of drugs, by id; its column ``threshold`` is taken if there is one, else the 12 % most sensitive
        training lines of each drug.
    names
        Ids of the drugs.
    lower_is_sensitive
        Direction of the response.

    Returns
    -------
    Thresholds (drugs), NaN for drugs that have none.

    Raises
    ------
    ValueError
        If no threshold joins any drug.

    Warns
    -----
    UserWarning
        If thresholds lack some drugs, or a drug is sensitive or resistant in all lines.
    """
    share = SENSITIVE_SHARE if lower_is_sensitive else 1 - SENSITIVE_SHARE
    known = np.isfinite(response).any(axis=0)
    found = np.full(response.shape[1], np.nan)
    if drugs is not None and THRESHOLD_COLUMN in drugs:
        given = pd.to_numeric(drugs[THRESHOLD_COLUMN], errors="coerce")
        found = given.reindex(names).to_numpy(dtype=float)
        if not np.isfinite(found).any():
            raise ValueError(
                f"`adata.uns['drugs'][{THRESHOLD_COLUMN!r}]` has no threshold for any drug of the responses, such as "
                f"{examples(names, 3)}. Join it by drug id, or drop the column to use the {SENSITIVE_SHARE:.0%} most sensitive lines."
            )
        lacking = names[~np.isfinite(found)]
        if len(lacking):
            warnings.warn(
                f"{len(lacking)} drugs have no threshold and give no edges and labels: {examples(lacking)}.",
                stacklevel=2,
            )
    else:
        found[known] = np.nanquantile(response[:, known], share, axis=0)
    _warn_of_one_class(sensitive_labels(response, found, lower_is_sensitive=lower_is_sensitive), names)
    return found


def sensitive_labels(response: np.ndarray, thresholds: np.ndarray, *, lower_is_sensitive: bool) -> np.ndarray:
    """Label each response.

    Parameters
    ----------
    response
        Lines × drugs, NaN = not measured.
    thresholds
        Drugs, NaN = none.
    lower_is_sensitive
        Direction of the response.

    Returns
    -------
    1 sensitive, 0 resistant, NaN neither (lines × drugs).
    """
    with np.errstate(invalid="ignore"):
        sensitive = response < thresholds if lower_is_sensitive else response > thresholds
    return np.where(np.isnan(response) | np.isnan(thresholds), np.nan, sensitive.astype(float))


def _warn_of_one_class(labels: np.ndarray, names: pd.Index) -> None:
    some = np.isfinite(labels).any(axis=0)
    rate = np.nansum(labels, axis=0) / np.maximum(np.isfinite(labels).sum(axis=0), 1)
    for what, chosen in (("sensitive", some & (rate == 1)), ("resistant", some & (rate == 0))):
        if chosen.any():
            warnings.warn(
                f"All training lines are {what} to {int(chosen.sum())} drugs ({examples(names[chosen])}): their labels "
                "teach nothing about lines. Check the thresholds, or drop these drugs.",
                stacklevel=3,
            )
