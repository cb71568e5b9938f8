"""The fitted map from a cohort of cells to the scale of a bulk reference."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp

from .._validate import plain
from ._dividing import TotalsReader
from ._evidence import CohortEvidence
from ._profile import N_TYPICAL, ReferenceProfile
from ._row_loops import IDENTITY, QUANTILE, ZSCORE_LINEAR, ZSCORE_LOG
from ._transform import target_cumulated, transform_rows


class HarmonizedRows(NamedTuple):
    """Rows on the reference's scale, and what they say about how far to trust them."""

    #: Cells × panel, float32.
    values: np.ndarray
    #: Correlation over measured genes of each cell with the reference's mean, before any shift; NaN for cells that show
    #: too few genes (cells).
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
    #: Layer that was read; `X` if `None`.
    layer: str | None = None
    #: What says so of the scale.
    scale_reason: str = ""
    #: How genes were found, see :meth:`GeneMatch.summary`.
    gene_names: dict[str, Any] = field(default_factory=dict)
    #: Whether rows have to be looked at when they are read again: those of a fitted map were, unless they were out of order.
    check_again: bool = True
    #: How far the cohort resembles the reference; `None` if nothing was fitted.
    evidence: CohortEvidence | None = None
    #: Reads depth and share of the cell cycle of each cell; `None` for values that hold neither.
    totals: TotalsReader | None = None

    @property
    def coverage(self) -> float:
        """Share of the panel that the query measures."""
        return float(1 - self.unmeasured.mean())

    @cached_property
    def _cumulated(self) -> np.ndarray:
        return target_cumulated(self.profile.quantiles, int((~self.unmeasured).sum()))

    @cached_property
    def _unit_mean(self) -> np.ndarray:
        # the mean of the reference is fixed; an anchor that follows the cohort resembles it whatever it holds
        measured = ~self.unmeasured
        centred = np.where(measured, self.profile.mean - self.profile.mean[measured].mean(), 0.0)
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
        return HarmonizedRows(values, similarity, self.profile.typicality(self.fill(values)))

    def fill(self, values: np.ndarray) -> np.ndarray:
        """Fill the unmeasured genes of placed rows (rows × panel) with what is expected of them, in place; return scores."""
        weights, offset = self._score_map
        if not self.unmeasured.any():
            return values @ weights[:, :N_TYPICAL] - offset[:N_TYPICAL]
        scores = values[:, ~self.unmeasured] @ weights - offset
        loadings = self.profile.loadings[:, self.unmeasured] * self.profile.sd[self.unmeasured]
        values[:, self.unmeasured] = scores @ loadings + self.profile.mean[self.unmeasured]
        return scores

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
            mode=row_mode(self.method, self.scale),
            cumulated=self._cumulated,
            gain=self.gain[index],
            shift=self.shift[index],
            unmeasured=self.unmeasured,
            target=self._unit_mean,
            out=out,
        )

    def summary(self) -> dict[str, Any]:
        """Fitted parameters in plain types, as stored in ``uns``."""
        return plain(
            {
                "method": self.method,
                "anchor": self.anchor,
                "layer": self.layer or "",
                "input_scale": self.scale,
                "scale_reason": self.scale_reason,
                "gene_coverage": self.coverage,
                "gene_names": self.gene_names,
                "evidence": {} if self.evidence is None else self.evidence.summary(),
                "groups": np.asarray(self.groups, dtype=str),
                "genes": np.asarray(self.profile.genes, dtype=str),
                "measured": ~self.unmeasured,
                "gain": self.gain,
                "shift": self.shift,
                "target": self.target,
            }
        )


def row_mode(method: str, scale: str) -> int:
    if method == "none" or scale == "scaled":
        return IDENTITY
    if method == "quantile":
        return QUANTILE
    return ZSCORE_LOG if scale == "log" else ZSCORE_LINEAR
