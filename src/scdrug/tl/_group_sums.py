"""Sums of predictions over groups of cells: blocks of cells add up, so that no table of cells × drugs is needed."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd

from .._labels import group_labels
from .._validate import warn_caller
from ._class_sums import membership

if TYPE_CHECKING:
    from anndata import AnnData


class GroupSums(NamedTuple):
    """Sums over the cells of each group; those of other cells are added with ``+``."""

    #: Cells (groups).
    n_cells: np.ndarray
    #: Sum of what predictions lie above the pivot, and of its square (groups × drugs).
    response: np.ndarray
    squares: np.ndarray
    #: Sum of percentiles (groups × drugs).
    percentile: np.ndarray
    #: What predictions are counted from, so that squares lose no digits (drugs).
    pivot: np.ndarray

    @classmethod
    def none(cls, n_groups: int, pivot: np.ndarray) -> GroupSums:
        """Sums over no cell."""
        shape = n_groups, len(pivot)
        return cls(np.zeros(n_groups, dtype=np.int64), *np.zeros((3, *shape)), pivot.astype(float))

    @classmethod
    def of(
        cls, response: np.ndarray, percentile: np.ndarray, codes: np.ndarray, n_groups: int, pivot: np.ndarray
    ) -> GroupSums:
        """Add up a block of cells.

        Parameters
        ----------
        response, percentile
            Cells × drugs.
        codes
            Group of each cell, −1 for cells that do not count.
        n_groups
            How many groups there are.
        pivot
            About the middle of the predictions (drugs).
        """
        counted = codes >= 0
        if not counted.all():
            response, percentile, codes = response[counted], percentile[counted], codes[counted]
        member = membership(codes, n_groups)
        above = response - pivot
        sums = member @ above
        above *= above
        return cls(
            np.bincount(codes, minlength=n_groups), sums, member @ above, member @ percentile.astype(float), pivot
        )

    def add(self, response: np.ndarray, percentile: np.ndarray, codes: np.ndarray) -> None:
        """Add up a block of cells in place; a block has few of many groups."""
        present, place = np.unique(codes[codes >= 0], return_inverse=True)
        within = np.full(len(codes), -1)
        within[codes >= 0] = place
        part = self.of(response, percentile, within, len(present), self.pivot)
        for total, added in zip(self[:4], part[:4], strict=True):
            total[present] += added

    def __add__(self, other: GroupSums) -> GroupSums:  # type: ignore[override]
        return self._replace(
            n_cells=self.n_cells + other.n_cells,
            response=self.response + other.response,
            squares=self.squares + other.squares,
            percentile=self.percentile + other.percentile,
        )

    def join(self, codes: np.ndarray, n_groups: int) -> GroupSums:
        """Sums over groups of groups: `codes` is the larger group of each (groups)."""
        member = membership(codes, n_groups)
        return self._replace(
            n_cells=np.rint(member @ self.n_cells).astype(np.int64),
            response=member @ self.response,
            squares=member @ self.squares,
            percentile=member @ self.percentile,
        )

    def take(self, groups: np.ndarray) -> GroupSums:
        """Sums of some groups, by position."""
        return self._replace(
            n_cells=self.n_cells[groups],
            response=self.response[groups],
            squares=self.squares[groups],
            percentile=self.percentile[groups],
        )

    @property
    def mean(self) -> np.ndarray:
        """Mean prediction (groups × drugs); every group must have a cell."""
        return self.pivot + self.response / self.n_cells[:, None]

    @property
    def deviations(self) -> np.ndarray:
        """Sum of squared deviations from the mean of the group (groups × drugs)."""
        return np.maximum(self.squares - self.response**2 / self.n_cells[:, None], 0.0)

    @property
    def spread(self) -> np.ndarray:
        """Standard deviation over cells (groups × drugs); NaN for single cells."""
        freedom = (self.n_cells - 1)[:, None]
        return np.sqrt(np.divide(self.deviations, freedom, out=np.full(self.response.shape, np.nan), where=freedom > 0))

    @property
    def squared_error(self) -> np.ndarray:
        """Squared standard error of the mean (groups × drugs), of which the spread is taken over all groups: a few cells do not tell their own."""
        freedom = int(self.n_cells.sum()) - len(self.n_cells)
        within = self.deviations.sum(axis=0)
        variance = within / freedom if freedom else np.full(len(within), np.nan)
        return variance / self.n_cells[:, None]


@dataclass(frozen=True, eq=False)
class Strata:
    """Groups within donors, those that have cells; the groups themselves where there are no donors."""

    #: Stratum of each cell, −1 for none (cells).
    codes: np.ndarray
    #: Group of each stratum, and its donor, −1 for none (strata).
    groups: np.ndarray
    samples: np.ndarray
    group_names: np.ndarray
    sample_names: np.ndarray

    @classmethod
    def of(cls, labels: pd.Categorical, samples: pd.Categorical | None) -> Strata:
        """Cross groups with donors."""
        names = np.asarray(labels.categories, dtype=object)
        if samples is None:
            groups = np.arange(len(names))
            return cls(
                labels.codes.astype(np.int64), groups, np.full(len(groups), -1), names, np.empty(0, dtype=object)
            )
        n = len(samples.categories) + 1
        both = np.where(labels.codes < 0, -1, labels.codes.astype(np.int64) * n + samples.codes + 1)
        found = np.unique(both[both >= 0])
        codes = np.where(both < 0, -1, np.searchsorted(found, both))
        return cls(codes, found // n, found % n - 1, names, np.asarray(samples.categories, dtype=object))

    @cached_property
    def known(self) -> np.ndarray:
        """Positions of the strata that have a donor."""
        return np.flatnonzero(self.samples >= 0)

    @property
    def within_samples(self) -> pd.Categorical:
        """Stratum of each cell among those that have a donor, as a group of its own called by its number."""
        place = np.full(len(self.groups) + 1, -1)  # the last one is for cells without stratum
        place[self.known] = np.arange(len(self.known))
        return pd.Categorical.from_codes(place[self.codes], categories=np.arange(len(self.known)))

    def name(self, table: pd.DataFrame) -> pd.DataFrame:
        """Say group and donor in a table whose column `group` numbers strata as :attr:`within_samples` does."""
        stratum = self.known[table["group"].to_numpy(dtype=int)]
        named = table.assign(group=self.group_names[self.groups[stratum]])
        named.insert(1, "sample", self.sample_names[self.samples[stratum]])
        return named


def read_samples(adata: AnnData, sample_key: str, groupby: str) -> pd.Categorical:
    """Donor of each cell.

    Raises
    ------
    KeyError
        If there is no such column.
    ValueError
        If it is that of the groups, or no cell has a donor.

    Warns
    -----
    UserWarning
        If some cells have no donor.
    """
    where = f"`adata.obs[{sample_key!r}]`"
    if sample_key == groupby:
        raise ValueError(
            f"`groupby` and `sample_key` are the same column, {where}. Name the column of donors as `sample_key`, or leave it out."
        )
    samples = group_labels(adata, sample_key, argument="sample_key")
    n_missing = int((samples.codes < 0).sum())
    if n_missing == adata.n_obs:
        raise ValueError(f"No cell has a donor in {where}. Name another column as `sample_key`, or leave it out.")
    if n_missing:
        warn_caller(
            f"{n_missing:,} of {adata.n_obs:,} cells have no donor in {where}: they count for the groups alone."
        )
    return samples
