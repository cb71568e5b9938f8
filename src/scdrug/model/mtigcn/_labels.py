"""Which responses count as sensitive: the edges of the graph and the labels of the classification; and the unit of responses."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd

from ..._validate import examples

#: Column of ``uns["drugs"]`` with the response below which a line is sensitive.
THRESHOLD_COLUMN = "threshold"
#: Share of the training lines that is called sensitive where there are no thresholds: that of GDSC's own.
SENSITIVE_SHARE = 0.12


@dataclass(frozen=True, eq=False)
class Labelling:
    """What decides which responses are sensitive.

    A column ``threshold`` of the table of drugs is taken if there is one, else the 12 % most sensitive lines of each drug are
    sensitive to it.
    """

    #: Table of drugs, by id.
    drugs: pd.DataFrame | None
    #: Ids of the drugs of the response.
    names: pd.Index
    #: Whether low responses are sensitive.
    lower: bool

    def thresholds(self, response: np.ndarray) -> np.ndarray:
        """Response at which a line counts as sensitive to each drug (drugs), NaN for drugs that have none.

        Parameters
        ----------
        response
            Lines × drugs, NaN = not measured.

        Raises
        ------
        ValueError
            If no threshold joins any drug.
        """
        if self.drugs is None or THRESHOLD_COLUMN not in self.drugs:
            found, known = np.full(response.shape[1], np.nan), np.isfinite(response).any(axis=0)
            share = SENSITIVE_SHARE if self.lower else 1 - SENSITIVE_SHARE
            found[known] = np.nanquantile(response[:, known], share, axis=0)
            return found
        given = pd.to_numeric(self.drugs[THRESHOLD_COLUMN], errors="coerce")
        found = given.reindex(self.names).to_numpy(dtype=float)
        if not np.isfinite(found).any():
            raise ValueError(
                f"`adata.uns['drugs'][{THRESHOLD_COLUMN!r}]` has no threshold for any drug of the responses, such as "
                f"{examples(self.names, 3)}. Join it by drug id, or drop the column to use the {SENSITIVE_SHARE:.0%} most "
                "sensitive lines."
            )
        return found

    def labels(self, response: np.ndarray, of: np.ndarray | None = None) -> np.ndarray:
        """Label responses by the thresholds of these, or of others: 1 sensitive, 0 resistant, NaN neither.

        Parameters
        ----------
        response
            Lines × drugs, NaN = not measured.
        of
            Responses that have the thresholds, such as those of the training; `response` if omitted.
        """
        thresholds = self.thresholds(response if of is None else of)
        with np.errstate(invalid="ignore"):
            sensitive = response < thresholds if self.lower else response > thresholds
        return np.where(np.isnan(response) | np.isnan(thresholds), np.nan, sensitive.astype(float))

    def warn(self, labels: np.ndarray, response: np.ndarray) -> None:
        """Warn if thresholds lack some drugs, or a drug is sensitive or resistant in all lines (lines × drugs)."""
        some = np.isfinite(labels).any(axis=0)
        lacking = self.names[np.isfinite(response).any(axis=0) & ~some]
        if len(lacking):
            warnings.warn(
                f"{len(lacking)} drugs have no threshold and give no edges and labels: {examples(lacking)}.",
                stacklevel=3,
            )
        rate = np.nansum(labels, axis=0) / np.maximum(np.isfinite(labels).sum(axis=0), 1)
        for what, chosen in (("sensitive", some & (rate == 1)), ("resistant", some & (rate == 0))):
            if chosen.any():
                warnings.warn(
                    f"All training lines are {what} to {int(chosen.sum())} drugs ({examples(self.names[chosen])}): their labels "
                    "teach nothing about lines. Check the thresholds, or drop these drugs.",
                    stacklevel=3,
                )


class Moments(NamedTuple):
    """Mean and standard deviation of each drug (drugs)."""

    mean: np.ndarray
    scale: np.ndarray

    @classmethod
    def unscaled(cls, n_drugs: int) -> Moments:
        """Those that leave responses as they are."""
        return cls(np.zeros(n_drugs), np.ones(n_drugs))

    def standardise(self, response: np.ndarray) -> np.ndarray:
        """Responses in standard deviations of the drug around its mean (lines × drugs)."""
        return (response - self.mean) / self.scale


def response_moments(response: np.ndarray) -> Moments:
    """Mean and standard deviation of each drug; typical ones for drugs without responses or spread.

    Parameters
    ----------
    response
        Lines × drugs, NaN = not measured.
    """
    n_drugs = response.shape[1]
    count = np.isfinite(response).sum(axis=0)
    known = count > 0
    mean, spread = np.zeros(n_drugs), np.zeros(n_drugs)
    mean[known], spread[known] = np.nanmean(response[:, known], axis=0), np.nanstd(response[:, known], axis=0)
    typical = float(np.median(spread[spread > 0])) if (spread > 0).any() else 1.0
    mean[~known] = mean[known].mean()
    # ten lines' worth of the typical variance
    return Moments(mean, np.sqrt((count * spread**2 + 10 * typical**2) / (count + 10)))
