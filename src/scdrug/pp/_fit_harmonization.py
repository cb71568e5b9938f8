"""Fit the map from a cohort of cells to the scale of a bulk reference, in one pass over the cells."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial, reduce
from operator import add
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import scipy.sparse as sp

from .._validate import check_choice, warn_caller
from ._dividing import CYCLE_GENES, TotalsReader, group_shares
from ._evidence import (
    grouping_columns,
    judge_cohort,
    share_absent,
    shown_genes,
    warn_of_absent_groups,
)
from ._genes import GeneMatch, check_coverage
from ._harmonization import Harmonization, row_mode
from ._housekeeping import HOUSEKEEPING_GENES, share_misplaced
from ._match_cells import match_cells
from ._passes import over_rows
from ._profile import ReferenceProfile
from ._rows import Blocks, read_rows, sampled_rows
from ._scale import Scale, refused_scaled, revise_scale, settle_scale, warn_if_assumed
from ._transform import BlockFacts, Moments, group_moments, least_entries, target_cumulated

if TYPE_CHECKING:
    from anndata import AnnData

METHODS = ("quantile", "zscore", "gene_zscore", "none")
ANCHORS = ("similar", "nearest", "mean", "none")
#: Cells below which a cohort's mean cannot be told from the cells themselves.
_MIN_COHORT = 10
_SCALED_NOTE = (
    "Expression was scaled by gene, so nothing in it says where these cells lie among the cell lines: they are placed around "
    "the average line. Only contrasts between cells of this object mean something, not levels or percentiles of one cell. "
    "Pass counts or logarithms for more."
)


def fit_harmonization(
    adata: AnnData,
    profile: ReferenceProfile,
    match: GeneMatch,
    *,
    method: str = "quantile",
    anchor: str = "similar",
    scale: str = "auto",
    layer: str | None = None,
    groups: pd.Categorical | None = None,
    shift_by_group: bool = False,
    fit_mask: np.ndarray | None = None,
    lines: np.ndarray | None = None,
    n_lines: int = 30,
    min_coverage: float = 0.0,
    chunk_size: int | None = None,
) -> Harmonization:
    """Fit a :class:`Harmonization` in one pass over the rows; see :func:`harmonize` for the parameters."""
    check_choice("method", method, METHODS)
    check_choice("anchor", anchor, ANCHORS)
    if anchor == "nearest" and lines is None:
        raise ValueError(
            "`anchor='nearest'` averages named lines and needs their expression: pass the reference AnnData. "
            "`anchor='similar'` does without."
        )
    if method == "none":
        as_is = Scale("scaled", "values were taken as they are", True)
        return _unfitted(profile, match, adata.n_vars, as_is, method, anchor, layer)
    rows = sampled_rows(adata.n_obs)
    sample = read_rows(adata, rows, layer=layer)
    found = settle_scale(adata, _thinned(sample), layer=layer, scale=scale, may_be_scaled=True)
    match = _leave_out_undetected(adata, match, profile, sample, layer=layer, chunk_size=chunk_size, scale=found.name)
    check_coverage(match, min_coverage=min_coverage, names=adata.var_names)
    if method != "quantile" or found.name == "scaled":
        warn_if_assumed(found, layer=layer)
    if found.name == "scaled":
        # values that were centred by gene can only be placed, not transformed, and where is not known
        method, anchor = "gene_zscore", anchor if anchor == "none" else "mean"
        warn_caller(_SCALED_NOTE)
    unfitted = _unfitted(profile, match, adata.n_vars, found, method, anchor, layer)
    if anchor == "none":
        return unfitted
    _check_groups(adata, rows, sample, unfitted)

    names = ("all",) if groups is None else tuple(map(str, groups.categories))
    codes = np.zeros(adata.n_obs, dtype=np.int8) if groups is None else np.asarray(groups.codes)
    fitted = codes if fit_mask is None else np.where(fit_mask, codes, -1)
    sum_up = partial(over_rows, adata, layer=layer, chunk_size=chunk_size, what="Fitting")
    moments, facts = sum_up(_Moments(unfitted, fitted, len(names)))
    revised = revise_scale(found, facts.lowest, facts.highest, facts.whole)
    if revised.name == "scaled" != found.name:
        raise ValueError(refused_scaled("adata.X" if layer is None else f"adata.layers[{layer!r}]", revised.reason))
    if scale == "auto" and row_mode(method, revised.name) != row_mode(method, found.name):
        warn_if_assumed(revised, layer=layer)
        unfitted = replace(unfitted, scale=revised.name, scale_reason=revised.reason)
        moments, _ = sum_up(_Moments(unfitted, fitted, len(names)))
    _check_cohort(moments.counts, names, int((fitted >= 0).sum()))

    placed = _place(unfitted, moments, names, shift_by_group=shift_by_group, lines=lines, n_lines=n_lines)
    centre = moments.sums.sum(axis=0) / moments.counts.sum()
    some = placed.place(_thinned(sample))
    evidence = judge_cohort(
        some[0][np.isfinite(some[1])], centre, profile, ~placed.unmeasured, has_profile=found.name != "scaled"
    )
    totals = None
    if placed.scale != "scaled":
        cycle, housekeeping = _columns(adata, (CYCLE_GENES, HOUSEKEEPING_GENES), layer)
        totals = TotalsReader.of(sample, cycle, scale=placed.scale)
        evidence = replace(
            evidence,
            misplaced=share_misplaced(sample, housekeeping),
            dividing=float(group_shares(totals(sample), np.zeros(len(rows), dtype=int), 1)[0]),
        )
    return replace(placed, evidence=evidence, totals=totals, check_again=not facts.canonical)


def _columns(adata: AnnData, panels: Sequence[Sequence[str]], layer: str | None) -> list[np.ndarray]:
    """Columns of the measured genes of each panel; they are looked up together, as reading the names takes longest."""
    genes = list(dict.fromkeys(gene for panel in panels for gene in panel))
    match = match_cells(adata, genes, layer=layer, min_coverage=None, warn=False)
    place = dict(zip(genes, match.columns, strict=True))
    of_panels = (np.array([place[gene] for gene in panel]) for panel in panels)
    return [columns[columns >= 0] for columns in of_panels]


def refit(fitted: Harmonization, counts: np.ndarray, sums: np.ndarray) -> Harmonization:
    """Place another sample of the same cells, from sums that are known already.

    Parameters
    ----------
    fitted
        Map of all cells, of a method that leaves the spread of genes as it is (``"quantile"``, ``"zscore"``), with one shift.
    counts
        Cells of the sample, by group that the shift is estimated in (groups).
    sums
        Their sums of transformed values, before any shift (groups × panel).

    Returns
    -------
    The map that :func:`fit_harmonization` would fit to the sample.
    """
    if fitted.anchor == "none":
        return fitted
    moments = Moments(counts, sums, np.zeros_like(sums))
    return _place(fitted, moments, ("all",), shift_by_group=False, lines=None, n_lines=0)


def _unfitted(
    profile: ReferenceProfile,
    match: GeneMatch,
    n_vars: int,
    scale: Scale,
    method: str,
    anchor: str,
    layer: str | None,
) -> Harmonization:
    """Transform each cell on its own and shift nothing."""
    unmeasured = match.columns < 0
    position = np.full(n_vars, -1, dtype=np.int32)
    position[match.columns[~unmeasured]] = np.flatnonzero(~unmeasured)
    return Harmonization(
        profile=profile,
        method=method,
        anchor=anchor,
        scale=scale.name,
        position=position,
        unmeasured=unmeasured,
        groups=("all",),
        gain=np.ones((1, len(unmeasured)), dtype=np.float32),
        shift=np.where(unmeasured, profile.mean, 0.0).astype(np.float32)[None],
        target=profile.mean,
        layer=layer,
        scale_reason=scale.reason,
        gene_names=match.summary(),
    )


@dataclass(frozen=True)
class _Moments:
    """Sums over the cells of each group, and what was seen of the blocks on the way."""

    unfitted: Harmonization
    #: Group of each cell, −1 for none.
    group: np.ndarray
    n_groups: int

    def __call__(self, blocks: Blocks) -> tuple[Moments, BlockFacts]:
        unfitted = self.unfitted
        n_panel, n_genes = len(unfitted.unmeasured), int((~unfitted.unmeasured).sum())
        total = Moments(np.zeros(self.n_groups, dtype=np.int64), *np.zeros((2, self.n_groups, n_panel)))
        for rows, block in blocks:
            total += group_moments(
                block,
                position=unfitted.position,
                n_panel=n_panel,
                n_genes=n_genes,
                mode=row_mode(unfitted.method, unfitted.scale),
                cumulated=target_cumulated(unfitted.profile.quantiles, n_genes),
                group=self.group[rows],
                n_groups=self.n_groups,
            )
        return total, BlockFacts.join(blocks.facts)

    def join(self, parts: Sequence[tuple[Moments, BlockFacts]]) -> tuple[Moments, BlockFacts]:
        totals, facts = zip(*parts)
        return reduce(add, totals), BlockFacts.join(facts)


def _place(
    unfitted: Harmonization,
    moments: Moments,
    names: tuple[str, ...],
    *,
    shift_by_group: bool,
    lines: np.ndarray | None,
    n_lines: int,
) -> Harmonization:
    """Gene-wise gains and shifts that put each group's mean where it belongs."""
    profile, unmeasured, counts = unfitted.profile, unfitted.unmeasured, moments.counts
    present = counts > 0
    centre = moments.sums / np.maximum(counts, 1)[:, None]
    gain = np.ones(centre.shape)
    if unfitted.method == "gene_zscore":
        spread = np.sqrt(np.maximum(moments.squares / np.maximum(counts, 1)[:, None] - centre**2, 0))
        gain = np.where(spread > 1e-8, profile.sd / np.maximum(spread, 1e-8), 0.0)
    targets = np.stack([_anchor(unfitted.anchor, profile, c, ~unmeasured, lines, n_lines) for c in centre])
    shift = targets - centre * gain
    target = targets[present].mean(axis=0)
    if not shift_by_group:
        # a platform shifts all cells alike: groups only help to find by how much, so their estimates are averaged
        shift, gain = shift[present].mean(axis=0, keepdims=True), gain[present].mean(axis=0, keepdims=True)
        names = ("all",)
    else:
        # groups without a cell to fit on share what the others have
        shift[~present], gain[~present] = shift[present].mean(axis=0), gain[present].mean(axis=0)
    shift = np.where(unmeasured, target, shift)
    return replace(unfitted, groups=names, gain=gain.astype(np.float32), shift=shift.astype(np.float32), target=target)


def _leave_out_undetected(
    adata: AnnData,
    match: GeneMatch,
    profile: ReferenceProfile,
    sample: sp.csr_matrix,
    *,
    layer: str | None,
    chunk_size: int | None,
    scale: str,
) -> GeneMatch:
    """Take genes for not measured that no cell shows, where a program rather than sequencing made them so."""
    measured = match.columns >= 0
    columns, typical = match.columns[measured], profile.mean[measured]
    if scale == "scaled":
        lowest, highest = _Extremes(columns)([(slice(0, sample.shape[0]), sample)])
        undetected = ~(highest > lowest)
        if undetected.any():
            lowest, highest = over_rows(adata, _Extremes(columns), layer=layer, chunk_size=chunk_size)
            undetected &= ~(highest > lowest)
    else:
        shown = shown_genes(sample, columns)
        shown = shown[shown.getnnz(axis=1) >= least_entries(len(columns))]  # empty droplets do not tell
        if not share_absent(shown.getnnz(axis=0), shown.shape[0], typical):
            return match
        n_showing = over_rows(adata, _Shown(columns), layer=layer, chunk_size=chunk_size)
        if not share_absent(n_showing, adata.n_obs, typical):
            return match
        undetected = n_showing == 0
    if not undetected.any():
        return match
    left = match.without(np.flatnonzero(measured)[undetected], profile.genes)
    if scale != "scaled":
        warn_caller(
            f"{int(undetected.sum()):,} of the model's genes are zero in every cell, commonly expressed ones among them: they "
            f"were not measured, or filtered out and filled with zeros, and are taken for missing (coverage {left.coverage:.0%} "
            f"instead of {match.coverage:.0%}). Pass the measured values of all genes where there are any, for example "
            "`adata.raw.to_adata()` or `layer='counts'`; join samples with `join='inner'`."
        )
    return left


@dataclass(frozen=True)
class _Shown:
    """How many cells show each of the named columns."""

    columns: np.ndarray

    def __call__(self, blocks: Blocks) -> np.ndarray:
        n_showing = np.zeros(len(self.columns), dtype=np.int64)
        for _, block in blocks:
            n_showing += shown_genes(block, self.columns).getnnz(axis=0)
        return n_showing

    def join(self, parts: Sequence[np.ndarray]) -> np.ndarray:
        return np.sum(parts, axis=0)


@dataclass(frozen=True)
class _Extremes:
    """Lowest and highest value of each of the named columns (2 × columns)."""

    columns: np.ndarray

    def __call__(self, blocks: Iterable[tuple[slice, sp.csr_matrix]]) -> np.ndarray:
        return self.join([np.full((2, len(self.columns)), np.nan), *(self._of(block) for _, block in blocks)])

    def _of(self, block: sp.csr_matrix) -> np.ndarray:
        part = block[:, self.columns]
        return np.stack([extreme(axis=0).toarray().ravel() for extreme in (part.min, part.max)])

    def join(self, parts: Sequence[np.ndarray]) -> np.ndarray:
        return np.stack([
            reduce(np.fmin, (part[0] for part in parts)),
            reduce(np.fmax, (part[1] for part in parts)),
        ])  # fmt: skip


def _check_groups(adata: AnnData, rows: np.ndarray, sample: sp.csr_matrix, unfitted: Harmonization) -> None:
    """Warn, for the first column of `obs` where it is so, of groups in which genes were not measured."""
    if unfitted.scale == "scaled":
        return
    columns = np.flatnonzero(unfitted.position >= 0)
    typical = unfitted.profile.mean[unfitted.position[columns]]
    found = grouping_columns(adata, rows)
    shown = shown_genes(sample, columns) if found else sample
    for labels in found:
        if warn_of_absent_groups(labels, shown, typical):
            return


def _thinned(rows: sp.csr_matrix, n_rows: int = 512) -> sp.csr_matrix:
    """Every so many rows, about `n_rows` of them."""
    return rows[:: max(1, rows.shape[0] // n_rows)]


def _check_cohort(counts: np.ndarray, names: tuple[str, ...], n_named: int) -> None:
    if n_named == 0:
        raise ValueError("No cell is left to fit the harmonization on. `fit_on` must mark at least one cell.")
    if counts.sum() == 0:
        raise ValueError(
            f"None of the {n_named} cells shows enough of the model's genes to be placed. They may be empty droplets, or the "
            "matrix may hold other features than expression. Remove empty cells, or pass the right layer."
        )
    small = [name for name, count in zip(names, counts, strict=True) if 0 < count < _MIN_COHORT]
    if small:
        of = "The cohort" if len(names) == 1 else f"Groups {small[:5]}"
        warn_caller(
            f"{of} of fewer than {_MIN_COHORT} cells: the offset between platforms cannot be told from what is special "
            "about these cells, and predictions will look like those of an average tumour. Predict them together with "
            "more cells of the same experiment."
        )


def _anchor(
    anchor: str,
    profile: ReferenceProfile,
    centre: np.ndarray,
    measured: np.ndarray,
    lines: np.ndarray | None,
    n_lines: int,
) -> np.ndarray:
    if anchor == "mean":
        return profile.mean
    if anchor == "similar":
        return profile.anchor(centre, measured)
    assert lines is not None
    part = lines[:, measured]
    deviations = part - part.mean(axis=1, keepdims=True)
    similarity = deviations @ (centre[measured] - centre[measured].mean()) / np.linalg.norm(deviations, axis=1)
    nearest = np.argsort(-similarity, kind="stable")[:n_lines]
    return lines[nearest].mean(axis=0)
