"""Predict stretches of rows, and note what their cells show of themselves; here or on a worker."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ..pp._dividing import CellTotals, TotalsReader
from ..pp._passes import by_stretches
from ..pp._place import Placed
from ..pp._rows import Blocks
from ._cell_evidence import CellEvidence

if TYPE_CHECKING:
    from ..model._predictor import RowPredictor


#: What is wrong with a model that predicts no numbers.
NOT_FINITE = (
    "The model predicted values that are not finite. Nothing was stored. Please report this with the model's name and, if possible, a "
    "few of the cells."
)


class PredictedRows(NamedTuple):
    """Predictions of a stretch of rows."""

    #: Rows × drugs, float32; NaN for cells that show too few genes.
    values: np.ndarray
    #: Similarity, typicality, depth and share of the cell cycle (4 × rows).
    seen: np.ndarray


@dataclass(frozen=True, eq=False)
class PredictRows:
    """Place rows on the reference's scale and predict them."""

    predictor: RowPredictor
    totals: TotalsReader | None
    #: Number of each cell's group, `None` without groups (cells).
    groups: np.ndarray | None
    #: What the model reads beside expression, if anything (cells × features).
    inputs: np.ndarray | None
    n_drugs: int

    @classmethod
    def of(cls, placed: Placed, predictor: RowPredictor, n_drugs: int) -> PredictRows:
        """For cells whose map was fitted."""
        return cls(
            predictor, placed.harmonization.totals, placed.groups, predictor.sample_inputs(placed.adata), n_drugs
        )

    def blocks(self, blocks: Blocks) -> Iterator[tuple[slice, np.ndarray, np.ndarray]]:
        """Yield rows of each block with their predictions (rows × drugs) and what was seen of them (4 × rows)."""
        for rows, block in blocks:
            seen = np.full((4, rows.stop - rows.start), np.nan)
            values, seen[0], seen[1] = self.predictor(
                block,
                None if self.groups is None else self.groups[rows],
                None if self.inputs is None else self.inputs[rows],
            )
            if self.totals is not None:
                seen[2], seen[3] = self.totals(block)
            yield rows, values, seen

    def __call__(self, blocks: Blocks) -> PredictedRows:
        first, n_rows = blocks.rows.start, blocks.rows.stop - blocks.rows.start
        values, seen = np.empty((n_rows, self.n_drugs), dtype=np.float32), np.empty((4, n_rows))
        for rows, *of_block in self.blocks(blocks):
            at = slice(rows.start - first, rows.stop - first)
            values[at], seen[:, at] = of_block
        # one sum instead of a mask as large as a quarter of the values
        if not np.isfinite(values.sum(dtype=np.float64)):
            raise RuntimeError(NOT_FINITE)
        # a value would pull along every mean that is taken over cells
        values[~np.isfinite(seen[0])] = np.nan
        return PredictedRows(values, seen)

    def join(self, parts: Sequence[PredictedRows]) -> PredictedRows:
        if len(parts) == 1:
            return parts[0]
        return PredictedRows(np.concatenate([p.values for p in parts]), np.concatenate([p.seen for p in parts], axis=1))


def predict_rows(placed: Placed, work: PredictRows) -> tuple[np.ndarray, CellEvidence]:
    """Predictions of all cells (cells × drugs), and what was seen of them."""
    n_cells, fitted = placed.adata.n_obs, placed.harmonization
    whole: PredictedRows | None = None
    for rows, part in by_stretches(
        placed.adata, work, _as_it_is, layer=fitted.layer, chunk_size=placed.chunk_size, check=fitted.check_again, what="Predicting"
    ):  # fmt: skip
        if rows == slice(0, n_cells):
            return part.values, evidence_of(part.seen)
        if whole is None:
            whole = PredictedRows(np.empty((n_cells, work.n_drugs), dtype=np.float32), np.empty((4, n_cells)))
        whole.values[rows], whole.seen[:, rows] = part
    assert whole is not None
    return whole.values, evidence_of(whole.seen)


def _as_it_is(rows: slice, part: PredictedRows) -> PredictedRows:
    return part


def evidence_of(seen: np.ndarray) -> CellEvidence:
    """What was seen of cells (4 × cells), by name."""
    similarity, typicality, depth, dividing = seen
    return CellEvidence(similarity, typicality, CellTotals(depth, dividing))
