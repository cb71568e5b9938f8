"""What each cell shows of itself, and how far its prediction is to be believed for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ..pp._dividing import CellTotals, group_shares, growth
from ..pp._harmonization import Harmonization
from ..pp._place import Placed
from ._keys import MIN_RELIABILITY

#: Squared error that cells add to that of lines, in multiples of the variance of predictions over lines: of a profile that is all
#: flat, for each squared shift of the cohort, and for each share of the predictions that unmeasured genes held. From simulated
#: cells of tissues that training lacked, see `scripts/check_single_cell.py`.
FLAT, SHIFTED, MISSING = 1.7, 0.8, 1.5
#: Similarity below which a cell resembles no human cell, relative to that of lines.
_NO_CELL = 0.1


@dataclass(frozen=True)
class CellEvidence:
    """What was seen of each cell when it was predicted; rows stand in the order of the cells."""

    #: Correlation with the reference's mean; NaN for cells that show too few genes.
    similarity: np.ndarray
    #: Share of reference lines that lie at least as far from the average line.
    typicality: np.ndarray
    #: Counts, and share of them from genes of the cell cycle.
    totals: CellTotals

    @property
    def informative(self) -> np.ndarray:
        """Whether each cell shows enough genes to be predicted."""
        return np.isfinite(self.similarity)

    def sharpness(self, fitted: Harmonization, of_lines: float) -> np.ndarray:
        """How clearly profiles show, 0-1: their similarity relative to that of lines (cells).

        Shallow cells show a flat profile, and predictions from it lie close to the average. Centred values, and samples on the
        reference's scale, hold no profile that could be compared.
        """
        if fitted.scale == "scaled" or fitted.method == "none":
            return self.informative.astype(float)
        return np.clip(np.where(self.informative, self.similarity, 0) / max(of_lines, 1e-6), 0, 1)

    def resemblance(self, fitted: Harmonization, of_lines: float, *, shift: float, missing: float) -> np.ndarray:
        """Reliability of each cell, whether it divides left aside (cells, 0-1).

        Parameters
        ----------
        fitted
            Map of the cohort.
        of_lines
            Similarity of lines.
        shift
            Mean squared shift of the cohort's predictions, in multiples of their variance over lines.
        missing
            Share of the variance of predictions that unmeasured genes held.
        """
        sharpness = self.sharpness(fitted, of_lines)
        added = FLAT * (1 - sharpness) ** 2 + SHIFTED * shift + MISSING * missing
        human = np.clip(sharpness / _NO_CELL - 1, 0, 1)
        cohort = 1.0 if fitted.evidence is None else fitted.evidence.resemblance
        return np.exp(-added) * human * np.clip(self.typicality, 0, 1) * cohort * self.informative

    def growing(self, groups: np.ndarray | None, whole: float) -> np.ndarray:
        """Factor for whether the group of each cell divides, 0-1 (cells).

        Parameters
        ----------
        groups
            Number of each cell's group; `None` without groups.
        whole
            Share of the cohort, for groups of which it is not known.
        """
        if groups is None:
            return np.full(len(self.similarity), growth(whole))
        shares = group_shares(self.totals, groups, int(groups.max()) + 1)
        return np.array([growth(share if np.isfinite(share) else whole) for share in shares])[groups]


class Appraisal(NamedTuple):
    """How far the predictions of a cohort are to be believed."""

    #: Of each cell, 0-1 (cells).
    reliability: np.ndarray
    #: What reliability and width follow from, by name (cells).
    evidence: dict[str, np.ndarray]
    #: ``"ok"``, or why no drug can be ranked.
    verdict: str


def appraise(cells: CellEvidence, placed: Placed, of_lines: float, *, shift: float, missing: float) -> Appraisal:
    """Say how far predictions are to be believed; the arguments are those of :meth:`CellEvidence.resemblance`."""
    fitted = placed.harmonization
    resemblance = cells.resemblance(fitted, of_lines, shift=shift, missing=missing)
    growing = cells.growing(placed.groups, np.nan if fitted.evidence is None else fitted.evidence.dividing)
    informative, reliability = cells.informative, resemblance * growing
    # where some groups divide, the others are refused by themselves
    judged = informative & (growing > 0) if (growing > 0).any() else informative
    evidence = {
        "resemblance": resemblance,
        "sharpness": cells.sharpness(fitted, of_lines),
        "depth": cells.totals.depth,
        "dividing": cells.totals.dividing,
    }
    return Appraisal(reliability, evidence, _verdict(reliability[judged], fitted))


def _verdict(reliability: np.ndarray, fitted: Harmonization) -> str:
    median = float(np.median(reliability)) if len(reliability) else 0.0
    if median >= MIN_RELIABILITY:
        return "ok"
    # what speaks against the cells is told before how few genes there are: that alone refuses few
    weakness = None if fitted.evidence is None else fitted.evidence.weakness
    few = f"only {fitted.coverage:.0%} of the model's genes are measured" if fitted.coverage < 0.5 else None
    reason = ". Beside that, ".join(filter(None, (weakness, few))) or "the cells do not resemble the model's reference"
    return f"No drug can be ranked for these cells: median reliability is {median:.2f}, since {reason}."
