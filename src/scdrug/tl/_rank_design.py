"""Which cells :func:`scdrug.tl.rank_drugs` compares with which."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from .._labels import Label, group_labels, select_groups
from .._lazy import LazyTable
from .._validate import examples
from ._rank_stats import REST

if TYPE_CHECKING:
    from anndata import AnnData


@dataclasses.dataclass(frozen=True)
class Design:
    """Which cells are compared with which; arrays are over the labelled cells only."""

    groupby: str
    names: list[str]
    #: Positions of the labelled cells in the AnnData.
    rows: np.ndarray
    codes: np.ndarray
    #: Codes of the groups to rank drugs for.
    groups: list[int]
    #: Code of the reference, or `REST`.
    reference: int
    samples: np.ndarray | None
    n_samples: int

    @property
    def reference_name(self) -> str:
        """Name of the reference, ``"rest"`` for all other cells."""
        return "rest" if self.reference == REST else self.names[self.reference]

    def values(self, frame: pd.DataFrame | LazyTable) -> Callable[[slice], np.ndarray]:
        """Return a function that gives the labelled cells' values of a slice of drugs."""
        whole = len(self.rows) == len(frame)

        def read(block: slice) -> np.ndarray:
            values = frame.iloc[:, block].to_numpy()
            return values if whole else values[self.rows]

        return read

    def only(self, kept: np.ndarray) -> Design:
        """Keep some of the cells (bool over all cells of the AnnData)."""
        inside = kept[self.rows]
        samples = None if self.samples is None else self.samples[inside]
        return dataclasses.replace(self, rows=self.rows[inside], codes=self.codes[inside], samples=samples)

    def leave_out_small(self, min_cells: int) -> Design:
        """Drop groups with fewer cells, with a warning; a reference or nothing but small groups is an error."""
        counts = np.bincount(self.codes, minlength=len(self.names))
        listed = lambda codes: examples(f"{self.names[code]} ({counts[code]})" for code in codes)
        if self.reference != REST and counts[self.reference] < min_cells:
            raise ValueError(
                f"The reference {listed([self.reference])} has fewer than {min_cells} cells. Name another one, or "
                "lower `min_cells`."
            )
        others = {g: len(self.codes) - counts[g] if self.reference == REST else min_cells for g in self.groups}
        kept = [g for g in self.groups if counts[g] >= min_cells and others[g] >= min_cells]
        small = [g for g in self.groups if g not in kept]
        if not kept:
            raise ValueError(
                f"No group of `adata.obs[{self.groupby!r}]` and its reference have {min_cells} cells each; found "
                f"{listed(self.groups)}. Join small groups, or lower `min_cells`."
            )
        if small:
            warnings.warn(
                f"Left out {len(small)} groups, because they or their reference have fewer than "
                f"min_cells={min_cells} cells: {listed(small)}.",
                UserWarning,
                stacklevel=3,
            )
        return dataclasses.replace(self, groups=kept)


def read_design(
    adata: AnnData, groupby: str, groups: Label | Sequence[Label], reference: Label, sample_key: str | None
) -> Design:
    where = f"`adata.obs[{groupby!r}]`"
    if sample_key == groupby:
        raise ValueError(
            f"`groupby` and `sample_key` are the same column, {where}: each donor would be a group of its own, without "
            "replicates. Name the column of donors as `sample_key`, or leave it out to compare donors cell by cell."
        )
    labels = group_labels(adata, groupby)
    names = list(labels.categories)
    if len(names) < 2:
        raise ValueError(
            f"{where} has {'one group' if names else 'no group'}{f' ({names[0]!r})' if names else ''}, so there is "
            "nothing to compare with. Name a column with at least two groups, e.g. malignant and normal cells."
        )
    if reference == "rest" and "rest" in names:
        raise ValueError(f"{where} has a group called 'rest', which stands for all other cells. Rename the group.")
    code = {name: position for position, name in enumerate(names)}
    target = REST if reference == "rest" else code[select_groups(reference, names, where=where)[0]]
    wanted = select_groups(None if isinstance(groups, str) and groups == "all" else groups, names, where=where)
    chosen = [code[name] for name in wanted if code[name] != target]
    if not chosen:
        raise ValueError(f"`groups` names nothing but the reference {reference!r}. Name another group.")

    usable, samples = labels.codes >= 0, None
    if sample_key is not None:
        samples = group_labels(adata, sample_key, argument="sample_key")
        usable = usable & (samples.codes >= 0)
    if not usable.all():
        missing = f"{where}{'' if sample_key is None else f' or `adata.obs[{sample_key!r}]`'}"
        warnings.warn(
            f"Left out {int((~usable).sum())} of {len(usable)} cells without label in {missing}.",
            UserWarning,
            stacklevel=3,
        )
    rows = np.flatnonzero(usable)
    return Design(
        groupby=groupby,
        names=names,
        rows=rows,
        codes=labels.codes[rows].astype(np.int64),
        groups=chosen,
        reference=target,
        samples=None if samples is None else samples.codes[rows].astype(np.int64),
        n_samples=0 if samples is None else len(samples.categories),
    )
