"""Place cells on the scale of a bulk reference: their genes are found, the map is fitted, and rows are read through it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import scipy.sparse as sp

from .._labels import group_labels, marked_cells
from ._fit_harmonization import fit_harmonization
from ._genes import GeneMatch
from ._harmonization import Harmonization, HarmonizedRows
from ._match_cells import match_cells
from ._pool import pool_neighbors
from ._profile import ReferenceProfile
from ._row_matrix import check_chunks
from ._rows import iter_row_blocks

if TYPE_CHECKING:
    from anndata import AnnData


@dataclass(frozen=True, eq=False)
class Placed:
    """Cells with the fitted map that brings them onto a reference's scale; rows are read when they are asked for."""

    #: What rows are read from.
    adata: AnnData
    #: Where the genes of the reference were found.
    match: GeneMatch
    harmonization: Harmonization
    #: Index of each cell's group of `groupby`, `None` without groups (cells).
    groups: np.ndarray | None = None
    #: Rows a block.
    chunk_size: int | None = None

    @property
    def coverage(self) -> float:
        """Share of the reference's genes that the cells measure."""
        return self.harmonization.coverage

    def raw_blocks(self, chunk_size: int | None = None) -> Iterator[tuple[slice, sp.csr_matrix, np.ndarray | None]]:
        """Yield rows as they are (rows × query genes), with their groups, for what harmonizes and predicts in one step."""
        fitted = self.harmonization
        for rows, block in iter_row_blocks(
            self.adata, layer=fitted.layer, chunk_size=chunk_size or self.chunk_size, check=fitted.check_again
        ):
            yield rows, block, None if self.groups is None else self.groups[rows]

    def blocks(self, chunk_size: int | None = None) -> Iterator[tuple[slice, HarmonizedRows]]:
        """Yield rows on the reference's scale (rows × genes of the reference)."""
        for rows, block, groups in self.raw_blocks(chunk_size):
            yield rows, self.harmonization.transform(block, groups)

    def values(self, cells: np.ndarray | None = None, *, out: np.ndarray | None = None) -> np.ndarray:
        """Return cells on the reference's scale, in one array.

        Parameters
        ----------
        cells
            Ascending positions of the cells; all if omitted.
        out
            Array to write into (cells × genes of the reference).
        """
        chosen = np.arange(self.adata.n_obs) if cells is None else cells
        if out is None:
            out = np.empty((len(chosen), len(self.harmonization.unmeasured)), dtype=np.float32)
        for rows, block, groups in self.raw_blocks():
            first, last = np.searchsorted(chosen, [rows.start, rows.stop])
            if last == first:
                continue
            if last - first < block.shape[0]:
                part = chosen[first:last] - rows.start
                block, groups = block[part], None if groups is None else groups[part]
            out[first:last] = self.harmonization.transform(block, groups).values
        return out


def place_cells(
    adata: AnnData,
    profile: ReferenceProfile,
    *,
    min_coverage: float,
    method: str = "quantile",
    anchor: str = "similar",
    scale: str = "auto",
    layer: str | None = None,
    groupby: str | None = None,
    shift_by_group: bool = False,
    fit_on: str | None = None,
    lines: np.ndarray | None = None,
    n_lines: int = 30,
    n_pool: int = 1,
    chunk_size: int | None = None,
    match: GeneMatch | None = None,
    fitted: Harmonization | None = None,
) -> Placed:
    """Find the genes of a reference in an object, and fit the map from its cells to the reference's scale.

    Parameters
    ----------
    adata
        Cells × genes.
    profile
        Summary of the reference.
    min_coverage
        Least share of the reference's genes that must be measured. Genes that no cell shows where a program rather than
        sequencing made them so do not count.
    method, anchor, scale, layer, groupby, shift_by_group, fit_on, n_lines, n_pool, chunk_size
        As in :func:`harmonize`.
    lines
        Expression of the reference's lines, for ``anchor="nearest"`` (lines × genes).
    match
        Where the genes are, if they were found before.
    fitted
        Map, if it was fitted to these cells before.

    Returns
    -------
    The cells with their map. Of pooled cells it holds the pool.

    Raises
    ------
    KeyError, ValueError
        As :func:`harmonize`.
    """
    check_chunks(adata, layer)
    if match is None:
        match = match_cells(adata, profile.genes, layer=layer, min_coverage=min_coverage)
    groups, mask = _cell_groups(adata, groupby=groupby, fit_on=fit_on)
    if n_pool != 1:
        adata, layer = pool_neighbors(adata, n_pool, layer=layer, is_gene=match.is_gene), None
    fitted = fitted or fit_harmonization(
        adata,
        profile,
        match,
        method=method,
        anchor=anchor,
        scale=scale,
        layer=layer,
        groups=groups,
        shift_by_group=shift_by_group,
        fit_mask=mask,
        lines=lines,
        n_lines=n_lines,
        min_coverage=min_coverage,
        chunk_size=chunk_size,
    )
    return Placed(adata, match, fitted, None if groups is None else np.asarray(groups.codes), chunk_size)


def _cell_groups(
    adata: AnnData, *, groupby: str | None, fit_on: str | None
) -> tuple[pd.Categorical | None, np.ndarray | None]:
    """Read the columns that cells are grouped and fitted by; missing group labels are an error."""
    groups, mask = None, None
    if groupby is not None:
        groups = group_labels(adata, groupby)
        if (groups.codes < 0).any():
            n = int((groups.codes < 0).sum())
            raise ValueError(f"`adata.obs[{groupby!r}]` has {n} missing labels. Label these cells, or leave them out.")
    if fit_on is not None:
        mask = marked_cells(adata, fit_on, argument="fit_on")
    return groups, mask
