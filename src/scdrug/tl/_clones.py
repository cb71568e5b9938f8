"""Clones of a tumour, and the normal cells that are to be spared."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from .._labels import Label, group_labels, select_groups
from .._validate import examples
from ._group_intervals import GroupResponse, group_response
from ._group_reliability import judge_groups
from ._keys import MIN_RELIABILITY
from ._stored import Predictions

if TYPE_CHECKING:
    from anndata import AnnData


@dataclass(frozen=True)
class Clones:
    """Groups of cells that a combination is asked about."""

    names: list[str]
    #: Positions of malignant and of normal groups.
    malignant: np.ndarray
    normal: np.ndarray
    #: Group of each cell, -1 for none (cells).
    codes: np.ndarray
    response: GroupResponse

    def weights(self, of: np.ndarray) -> np.ndarray:
        """Shares of the cells of some groups."""
        n = self.response.n_cells[of]
        return n / n.sum()


def read_clones(
    adata: AnnData,
    predictions: Predictions,
    groupby: str,
    groups: Label | Sequence[Label],
    normal: Label | Sequence[Label] | None,
    min_cells: int,
) -> Clones:
    """Read the groups that a combination is asked about, those with enough cells whose predictions can be relied on.

    Raises
    ------
    KeyError
        If a column or group does not exist.
    ValueError
        If no clone is left, or a group is both malignant and normal.

    Warns
    -----
    UserWarning
        If groups are left out, normal cells are unreliable, or one clone is left.
    """
    labels = group_labels(adata, groupby)
    present, where = list(labels.categories), f"`adata.obs[{groupby!r}]`"
    spared = [] if normal is None else select_groups(normal, present, where=where)
    wanted = select_groups(None if isinstance(groups, str) and groups == "all" else groups, present, where=where)
    both = [name for name in wanted if name in spared]
    if both and not (isinstance(groups, str) and groups == "all"):
        raise ValueError(f"{examples(both)} cannot be both in `groups` and `normal`.")
    wanted = [name for name in wanted if name not in spared]
    codes = np.where(predictions.predicted, labels.codes, -1)
    counts = dict(zip(present, np.bincount(codes[codes >= 0], minlength=len(present))))
    judged = judge_groups(predictions, labels)
    reliable = dict(zip(present, judged["reliability"].astype(float)))
    small = [f"{name} ({counts[name]})" for name in [*wanted, *spared] if counts[name] < min_cells]
    enough = [name for name in wanted if counts[name] >= min_cells]
    kept = [name for name in enough if not reliable[name] < MIN_RELIABILITY]
    if not kept:
        found = examples(
            f"{name} ({counts[name]:,} cells, reliability {reliable.get(name, np.nan):.2f})" for name in wanted
        )
        raise ValueError(
            f"No clone of {where} has {min_cells} cells with predictions to rely on (reliability of at least {MIN_RELIABILITY}): "
            f"{found or 'all are normal'}. Nothing can be suggested for them."
        )
    spared_kept = [name for name in spared if counts[name] >= min_cells]
    if spared and not spared_kept:
        raise ValueError(f"No group of `normal` has {min_cells} cells with predictions: {examples(small)}.")
    refused = [f"{name} ({reliable[name]:.2f})" for name in enough if name not in kept]
    unsure = [f"{name} ({reliable[name]:.2f})" for name in spared_kept if reliable[name] < MIN_RELIABILITY]
    for said, text in (
        (small, f"Left out {len(small)} groups of fewer than {min_cells} cells: {examples(small)}."),
        (
            refused,
            f"Left out clones whose predictions are unreliable (reliability): {examples(refused)}. A combination may leave them alone.",
        ),
        (
            unsure,
            f"Predictions of normal cells are unreliable (reliability): {examples(unsure)}. Most do not divide, and the screen says "
            "nothing of resting cells: what is said of them orders combinations, and is no measure of safety.",
        ),
        (
            kept if len(kept) == 1 else [],
            f"There is one clone, {kept[0]!r}: no combination can cover what another drug leaves, and its gain is that of the "
            "assumption of independence alone.",
        ),
    ):
        if said:
            warnings.warn(text, UserWarning, stacklevel=4)
    names = [*kept, *spared_kept]
    place = np.array([names.index(name) if name in names else -1 for name in present] + [-1])
    codes = place[codes]
    malignant = np.arange(len(kept))
    return Clones(
        names, malignant, np.arange(len(kept), len(names)), codes, group_response(predictions, codes, len(names))
    )
