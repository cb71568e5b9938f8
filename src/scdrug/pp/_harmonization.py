"""The fitted map from a cohort of cells to the scale of a bulk reference."""

from __future__ import annotations

import logging
import warnings
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd
import scipy.sparse as sp

from .._labels import group_labels, marked_cells
from .._validate import check_choice, plain
from ._profile import N_TYPICAL, ReferenceProfile
from ._rows import iter_row_blocks
from ._scale import check_scale
from ._transform import IDENTITY, QUANTILE, ZSCORE_LINEAR, ZSCORE_LOG, group_moments, target_cumulated, transform_rows

if TYPE_CHECKING:
    from anndata import AnnData

    from ._genes import GeneMatch

logger = logging.getLogger(__name__)

METHODS = ("quantile", "zscore", "gene_zscore", "none")
ANCHORS = ("similar", "nearest", "mean", "none")
#: Cells below which a cohort's mean cannot be told from the cells themselves.
_MIN_COHORT = 10


class HarmonizedRows(NamedTuple):
    """Rows on the reference's scale, and what they say about how far to trust them."""

    #: Cells × panel, float32.
    values: np.ndarray
    #: Correlation over measured genes of each cell with the cohort's anchor, before any shift (cells).
    similarity: np.ndarray
    #: Share of reference lines that lie at least as far from the reference mean (cells).
    typicality: np.ndarray


@dataclass(frozen=True)
class Harmonization:
    """Fitted map from one cohort of cells to the scale of a bulk reference.

    Each cell is transformed on its own (`method`), each gene gets a gain and a shift that the whole cohort, or the
    cell's group, shares, and genes that the cohort lacks are filled with their expected value given the measured ones.
    """

    profile: ReferenceProfile
    method: str
    anchor: str
    scale: str
    #: Panel position of each query gene, −1 if not in the panel.
    position: np.ndarray
    #: Panel genes that the query lacks (G, bool).
    unmeasured: np.ndarray
    #: Name of each group of cells with a shift of its own.
    groups: tuple[str, ...]
    #: Gene-wise gain and shift by group (groups × G).
    gain: np.ndarray
    shift: np.ndarray
    #: Where the cohort is placed (G).
    target: np.ndarray

    @property
    def coverage(self) -> float:
        """Share of the panel that the query measures."""
        return float(1 - self.unmeasured.mean())

    @property
    def is_unfitted(self) -> bool:
        """Whether it was made without a pass over the cells."""
        return self.method == "none" or self.anchor == "none"

    @cached_property
    def _cumulated(self) -> np.ndarray:
        return target_cumulated(self.profile.quantiles, int((~self.unmeasured).sum()))

    @cached_property
    def _unit_target(self) -> np.ndarray:
        measured = ~self.unmeasured
        centred = np.where(measured, self.target - self.target[measured].mean(), 0.0)
        return centred / max(np.linalg.norm(centred), 1e-12)

    @cached_property
    def _score_map(self) -> tuple[np.ndarray, np.ndarray]:
        """Weights (measured × K) and offset that turn values of the measured genes into scores."""
        measured = ~self.unmeasured
        weights = self.profile.score_weights(measured) / self.profile.sd[measured, None]
        return np.ascontiguousarray(weights), self.profile.mean[measured] @ weights

    @cached_property
    def leading_scores(self) -> tuple[np.ndarray, np.ndarray]:
        """Weights (panel × leading scores) and offset that turn placed rows into scores; zero for unmeasured genes."""
        weights, offset = self._score_map
        padded = np.zeros((len(self.unmeasured), min(N_TYPICAL, weights.shape[1])), dtype=np.float32)
        padded[~self.unmeasured] = weights[:, :N_TYPICAL]
        return padded, offset[:N_TYPICAL]

    def fold(self, weights: np.ndarray, intercept: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Hand the weights of unmeasured genes to the measured ones.

        Filled values are linear in the measured ones, so a linear model of filled rows is a linear model of the
        measured genes alone.

        Parameters
        ----------
        weights
            Genes × outputs.
        intercept
            Outputs.

        Returns
        -------
        Weights (zero for unmeasured genes) and intercept that give the same outputs from rows of :meth:`place`.
        """
        if not self.unmeasured.any():
            return weights, intercept
        to_scores, offset = self._score_map
        lacking = weights[self.unmeasured]
        through = (self.profile.loadings[:, self.unmeasured] * self.profile.sd[self.unmeasured]) @ lacking
        folded = np.zeros_like(weights)
        folded[~self.unmeasured] = weights[~self.unmeasured] + to_scores @ through
        constant = self.profile.mean[self.unmeasured] @ lacking - offset @ through
        return folded, (intercept + constant).astype(np.float32)

    def transform(
        self, block: sp.csr_matrix, group: np.ndarray | None = None, *, out: np.ndarray | None = None
    ) -> HarmonizedRows:
        """Harmonize rows of query expression.

        Parameters
        ----------
        block
            Cells × query genes.
        group
            Index of each cell's group, for a map with a shift by group.
        out
            Array to write into, to spare fresh memory for each block.
        """
        values, similarity = self.place(block, group, out=out)
        weights, offset = self._score_map
        if self.unmeasured.any():
            scores = values[:, ~self.unmeasured] @ weights - offset
            loadings = self.profile.loadings[:, self.unmeasured] * self.profile.sd[self.unmeasured]
            values[:, self.unmeasured] = scores @ loadings + self.profile.mean[self.unmeasured]
        else:
            scores = values @ weights[:, :N_TYPICAL] - offset[:N_TYPICAL]
        return HarmonizedRows(values, similarity, self.profile.typicality(scores))

    def place(
        self, block: sp.csr_matrix, group: np.ndarray | None = None, *, out: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Transform, scale and shift rows without filling the genes that they lack.

        Parameters
        ----------
        block, group, out
            As in :meth:`transform`.

        Returns
        -------
        Rows × panel, where unmeasured genes hold the same value in each row, and each row's similarity.
        """
        if len(self.groups) == 1 or group is None:
            return self._affine(block, 0, out)
        values = np.empty((block.shape[0], len(self.unmeasured)), dtype=np.float32)
        similarity = np.empty(block.shape[0])
        for index in np.unique(group):
            rows = np.flatnonzero(group == index)
            values[rows], similarity[rows] = self._affine(block[rows], int(index))
        return values, similarity

    def _affine(self, block: sp.csr_matrix, index: int, out: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        return transform_rows(
            block,
            position=self.position,
            mode=_row_mode(self.method, self.scale),
            cumulated=self._cumulated,
            gain=self.gain[index],
            shift=self.shift[index],
            unmeasured=self.unmeasured,
            target=self._unit_target,
            out=out,
        )

    def summary(self) -> dict[str, Any]:
        """Fitted parameters in plain types, as stored in ``uns``."""
        return plain(
            {
                "method": self.method,
                "anchor": self.anchor,
                "input_scale": self.scale,
                "gene_coverage": self.coverage,
                "groups": np.asarray(self.groups, dtype=str),
                "genes": np.asarray(self.profile.genes, dtype=str),
                "measured": ~self.unmeasured,
                "gain": self.gain,
                "shift": self.shift,
                "target": self.target,
            }
        )


def _row_mode(method: str, scale: str) -> int:
    if method == "none" or scale == "scaled":
        return IDENTITY
    if method == "quantile":
        return QUANTILE
    return ZSCORE_LOG if scale == "log" else ZSCORE_LINEAR


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
    scale = "scaled" if method == "none" else check_scale(adata, layer=layer, scale=scale)
    if scale == "scaled" and method != "none":
        method = "gene_zscore"  # values that were centred by gene can only be placed, not transformed
    unmeasured = match.columns < 0
    position = np.full(adata.n_vars, -1, dtype=np.int32)
    position[match.columns[~unmeasured]] = np.flatnonzero(~unmeasured)
    n_genes, n_panel = int((~unmeasured).sum()), len(unmeasured)
    common = {
        "profile": profile,
        "method": method,
        "anchor": anchor,
        "scale": scale,
        "position": position,
        "unmeasured": unmeasured,
    }
    if method == "none" or anchor == "none":
        shift = np.where(unmeasured, profile.mean, 0.0).astype(np.float32)[None]
        gain = np.ones((1, n_panel), dtype=np.float32)
        return Harmonization(**common, groups=("all",), gain=gain, shift=shift, target=profile.mean)

    names = ("all",) if groups is None else tuple(map(str, groups.categories))
    codes = np.zeros(adata.n_obs, dtype=np.int64) if groups is None else np.asarray(groups.codes, dtype=np.int64)
    fitted = codes if fit_mask is None else np.where(fit_mask, codes, -1)
    counts = np.bincount(fitted[fitted >= 0], minlength=len(names))
    _check_cohort(counts, names)
    sums, squares = np.zeros((2, len(names), n_panel))
    mode = _row_mode(method, scale)
    cumulated = target_cumulated(profile.quantiles, n_genes)
    for rows, block in iter_row_blocks(adata, layer=layer, chunk_size=chunk_size):
        part = group_moments(
            block,
            position=position,
            n_panel=n_panel,
            n_genes=n_genes,
            mode=mode,
            cumulated=cumulated,
            group=fitted[rows],
            n_groups=len(names),
        )
        sums += part[0]
        squares += part[1]
    present = counts > 0
    centre = sums / np.maximum(counts, 1)[:, None]
    gain = np.ones((len(names), n_panel))
    if method == "gene_zscore":
        spread = np.sqrt(np.maximum(squares / np.maximum(counts, 1)[:, None] - centre**2, 0))
        gain = np.where(spread > 1e-8, profile.sd / np.maximum(spread, 1e-8), 0.0)
    targets = np.stack([_anchor(anchor, profile, c, ~unmeasured, lines, n_lines) for c in centre])
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
    return Harmonization(
        **common, groups=names, gain=gain.astype(np.float32), shift=shift.astype(np.float32), target=target
    )


def _check_cohort(counts: np.ndarray, names: tuple[str, ...]) -> None:
    if counts.sum() == 0:
        raise ValueError("No cell is left to fit the harmonization on. `fit_on` must mark at least one cell.")
    small = [name for name, count in zip(names, counts, strict=True) if 0 < count < _MIN_COHORT]
    if small:
        of = "The cohort" if len(names) == 1 else f"Groups {small[:5]}"
        warnings.warn(
            f"{of} of fewer than {_MIN_COHORT} cells: the offset between platforms cannot be told from what is special "
            "about these cells, and predictions will look like those of an average tumour. Predict them together with "
            "more cells of the same experiment.",
            UserWarning,
            stacklevel=5,
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


def cell_groups(
    adata: AnnData, *, groupby: str | None, fit_on: str | None
) -> tuple[pd.Categorical | None, np.ndarray | None]:
    """Read the columns that :func:`harmonize` groups and fits by; missing group labels are an error."""
    groups, mask = None, None
    if groupby is not None:
        groups = group_labels(adata, groupby)
        if (groups.codes < 0).any():
            n = int((groups.codes < 0).sum())
            raise ValueError(f"`adata.obs[{groupby!r}]` has {n} missing labels. Label these cells, or leave them out.")
    if fit_on is not None:
        mask = marked_cells(adata, fit_on, argument="fit_on")
    return groups, mask
