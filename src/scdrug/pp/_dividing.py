"""Do cells divide? The share of transcripts from genes of the cell cycle, in cohorts, groups and cells, and how deep cells are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import scipy.sparse as sp

from .._compiled import compiled, over_rows

#: Cells of a group from which on its share is believed.
MIN_CELLS = 10
#: Share of all transcripts from genes of the cell cycle below which cells do not divide, and from which on they divide as lines do:
#: 42 to 206 per 10,000 in 20 lines on two platforms, 10 in healthy blood.
RESTING, DIVIDING = 12e-4, 30e-4
#: Genes of the cell cycle that must be measured to judge.
_MIN_CYCLE_GENES = 20
#: How far a value may lie from a whole multiple of the smallest one, relative to it, to be a count; and how many may not.
_ROUNDING, _FEW_FRACTIONS = 0.02, 0.05
#: Genes of S phase, and of G2 and M (Tirosh et al. 2016, doi:10.1126/science.aad0501).
CYCLE_GENES = (
    "MCM5 PCNA TYMS FEN1 MCM2 MCM4 RRM1 UNG GINS2 MCM6 CDCA7 DTL PRIM1 UHRF1 CENPU HELLS RFC2 RPA2 NASP RAD51AP1 GMNN WDR76 "
    "SLBP CCNE2 UBR7 POLD3 MSH2 ATAD2 RAD51 RRM2 CDC45 CDC6 EXO1 TIPIN DSCC1 BLM CASP8AP2 USP1 CLSPN POLA1 CHAF1B BRIP1 E2F8 "
    "HMGB2 CDK1 NUSAP1 UBE2C BIRC5 TPX2 TOP2A NDC80 CKS2 NUF2 CKS1B MKI67 TMPO CENPF TACC3 PIMREG SMC4 CCNB2 CKAP2L CKAP2 AURKB "
    "BUB1 KIF11 ANP32E TUBB4B GTSE1 KIF20B HJURP CDCA3 JPT1 CDC20 TTK CDC25C KIF2C RANGAP1 NCAPD2 DLGAP5 CDCA2 CDCA8 ECT2 "
    "KIF23 HMMR AURKA PSRC1 ANLN LBR CKAP5 CENPE CTCF NEK2 G2E3 GAS2L3 CBX5 CENPA"
).split()


def growth(share: float) -> float:
    """Factor for cells of which this share of transcripts is from genes of the cell cycle; 1 where it is not known."""
    return float(np.clip((share - RESTING) / (DIVIDING - RESTING), 0, 1)) if np.isfinite(share) else 1.0


def log_unit(sample: sp.csr_matrix) -> float:
    """Natural logarithm of the base of logarithms, e or 2: that under which cells have the more equal totals."""
    units = (1.0, float(np.log(2.0)))
    totals = [np.asarray(sample._with_data(np.expm1(sample.data * unit)).sum(axis=1)).ravel() for unit in units]
    return units[int(np.argmin([total.std() / max(total.mean(), 1e-12) for total in totals]))]


@compiled
def _totals(first, last, indptr, indices, data, is_cycle, unit, total, cycle, least):  # pragma: no cover - compiled
    for row in range(first, last):
        whole, part, lowest = 0.0, 0.0, np.inf
        for k in range(indptr[row], indptr[row + 1]):
            value = np.expm1(data[k] * unit) if unit > 0 else data[k]
            if value > 0:
                whole += value
                part += value * is_cycle[indices[k]]
                lowest = min(lowest, value)
        total[row], cycle[row], least[row] = whole, part, lowest


class CellTotals(NamedTuple):
    """What the entries of cells add up to."""

    #: Counts of each cell; of values that were normalised, the total in multiples of its smallest value (cells).
    depth: np.ndarray
    #: Share of all transcripts from genes of the cell cycle; NaN where it cannot be told (cells).
    dividing: np.ndarray


@dataclass(frozen=True, eq=False)
class TotalsReader:
    """Reads depth and share of the cell cycle of each cell."""

    #: Which columns are genes of the cell cycle (columns, bool).
    is_cycle: np.ndarray
    #: 0 for values that are no logarithms, else see :func:`log_unit`.
    unit: float
    #: Whether values are counts.
    counts: bool

    @classmethod
    def of(cls, sample: sp.csr_matrix, columns: np.ndarray, *, scale: str) -> TotalsReader:
        """Prepare to read rows like those of `sample`, with genes of the cell cycle at `columns`."""
        is_cycle = np.zeros(sample.shape[1], dtype=bool)
        is_cycle[columns] = True
        return cls(is_cycle, log_unit(sample) if scale == "log" else 0.0, scale == "counts")

    def __call__(self, block: sp.csr_matrix) -> CellTotals:
        total, cycle, least = np.empty((3, block.shape[0]))
        indptr, indices = block.indptr.astype(np.int64, copy=False), block.indices.astype(np.int32, copy=False)
        over_rows(
            block.shape[0],
            lambda _, first, last: _totals(
                first, last, indptr, indices, block.data, self.is_cycle, self.unit, total, cycle, least
            ),
        )
        known = (total > 0) & (self.is_cycle.sum() >= _MIN_CYCLE_GENES)
        share = np.divide(cycle, total, out=np.full(len(total), np.nan), where=known)
        return CellTotals(total if self.counts else np.where(total > 0, total / least, 0.0), share)

    def thin(self, block: sp.csr_matrix, rng: np.random.Generator) -> sp.csr_matrix | None:
        """Keep each count with a probability of one half, on the scale of the block; `None` if values hold no counts.

        Normalised values are counts in multiples of the smallest value of their cell, as long as most are whole multiples.
        """
        rows = np.repeat(np.arange(block.shape[0]), np.diff(block.indptr))
        values = np.expm1(block.data.astype(np.float64) * self.unit) if self.unit > 0 else block.data.astype(np.float64)
        if not len(values) or values.min() < 0:
            return None
        least = np.ones(block.shape[0])
        if not self.counts:
            least = np.full(block.shape[0], np.inf)
            np.minimum.at(least, rows[values > 0], values[values > 0])
        counts = values / least[rows]
        whole = np.round(counts)
        if (np.abs(counts - whole) > _ROUNDING * np.maximum(counts, 1)).mean() > _FEW_FRACTIONS:
            return None
        thinned = rng.binomial(whole.astype(np.int64), 0.5) * 2.0 * least[rows]
        if self.counts:
            thinned /= 2  # whole numbers are ranked faster
        data = np.log1p(thinned) / self.unit if self.unit > 0 else thinned
        result = block._with_data(data.astype(np.float32))
        result.eliminate_zeros()
        return result


def group_shares(totals: CellTotals, codes: np.ndarray, n_groups: int) -> np.ndarray:
    """Share of transcripts from genes of the cell cycle in each group; NaN for groups of fewer than ten cells (groups).

    Parameters
    ----------
    totals
        Depth and share of each cell; cells of which one is not known do not count.
    codes
        Group of each cell, −1 for none.
    n_groups
        How many groups there are.
    """
    known = np.isfinite(totals.dividing) & (totals.depth > 0) & (codes >= 0)
    depth, at = totals.depth[known], codes[known]
    n, total, cycle = (
        np.bincount(at, weights=weights, minlength=n_groups)
        for weights in (None, depth, totals.dividing[known] * depth)
    )
    return np.where(n >= MIN_CELLS, cycle / np.maximum(total, 1e-12), np.nan)
