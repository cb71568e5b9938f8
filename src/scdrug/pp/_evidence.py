"""What a cohort of cells itself says against a prediction: genes that are zero everywhere, cells that do not differ."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import scipy.sparse as sp

from .._lazy import rows_of
from .._validate import examples, warn_caller
from ._dividing import DIVIDING, RESTING, growth
from ._housekeeping import RIGHT_NAMES, WRONG_NAMES
from ._profile import N_TYPICAL

if TYPE_CHECKING:
    from anndata import AnnData

    from ._profile import ReferenceProfile

#: Cells from which on zeros of a gene can be told from chance, and differences between cells from noise.
_MIN_CELLS = 10
#: Genes never seen, for each gene seen in one cell only: sequencing leaves up to 3.5 (80 shallow blood cells), files in
#: which genes were filled with zeros hundreds.
_UNSEEN_PER_SINGLETON = 5
_MIN_ABSENT = 0.02
_N_PERMUTATIONS = 4
_N_STRATA = 40


def share_absent(n_showing: np.ndarray, n_cells: int, typical: np.ndarray) -> float:
    """Estimate which share of genes a file fills with zeros, although they were not measured.

    Sequencing misses genes gradually: where many commonly expressed genes are seen in no cell, others are seen in one
    cell only (as in Chao's estimate of unseen species). Zeros without such neighbours were written by a program.

    Parameters
    ----------
    n_showing
        Number of cells that show each gene (G).
    n_cells
        Number of cells looked at.
    typical
        Expression of the genes in an average reference line (G), to tell commonly expressed genes.

    Returns
    -------
    Share among the commonly expressed fifth of the genes, 0 if it can be chance.
    """
    if n_cells < _MIN_CELLS or len(typical) < 20:
        return 0.0
    common = typical >= np.quantile(typical, 0.8)
    never, once = int((n_showing[common] == 0).sum()), int((n_showing[common] == 1).sum())
    excess = never - _UNSEEN_PER_SINGLETON * once
    n_common = int(common.sum())
    return excess / n_common if excess > max(3.0, _MIN_ABSENT * n_common) else 0.0


def shown_genes(block: sp.csr_matrix, columns: np.ndarray) -> sp.csr_matrix:
    """Entries that are not zero of the named columns (rows × columns)."""
    shown = block[:, columns]
    shown.eliminate_zeros()
    return shown


def warn_of_absent_groups(labels: pd.Series, shown: sp.csr_matrix, typical: np.ndarray) -> bool:
    """Warn if a group of cells has zeros in place of genes that were not measured in it.

    Parameters
    ----------
    labels
        Group of each row, with the name of its column (rows).
    shown
        Measured panel genes, see :func:`shown_genes` (rows × G).
    typical
        Expression of these genes in an average reference line (G).

    Returns
    -------
    Whether it warned.
    """
    absent = {}
    for group, rows in labels.groupby(labels, observed=True).indices.items():
        share = share_absent(shown[rows].getnnz(axis=0), len(rows), typical)
        if share > 0:
            absent[f"{group} ({share:.0%})"] = share
    if not absent:
        return False
    worst = sorted(absent, key=absent.__getitem__, reverse=True)
    warn_caller(
        f"Genes that are commonly expressed are zero in every cell of some groups of `adata.obs[{labels.name!r}]`: "
        f"{examples(worst)}. They look not measured there, as after joining samples with other genes "
        "(`anndata.concat(..., join='outer')` fills with zeros), and zeros in their place make these groups differ in "
        "drug response where they do not. Join with `join='inner'`, or predict each sample by itself; "
        "`shift_by_group=True` removes the worst of it."
    )
    return True


def grouping_columns(
    adata: AnnData, rows: np.ndarray, *, max_groups: int = 50, max_columns: int = 10
) -> list[pd.Series]:
    """Columns of `obs` that divide the sampled rows into a few groups large enough to judge, such as samples."""
    found = []
    table = rows_of(adata.obs, rows)
    for _, column in table.items():
        if not isinstance(column, pd.Series) or column.dtype.kind in "fiubc":
            continue
        sampled = column.astype(str).where(column.notna())
        sizes = sampled.value_counts()
        if 2 <= len(sizes) <= max_groups and sizes.iloc[1] >= _MIN_CELLS:
            found.append(sampled.reset_index(drop=True))
    return found[:max_columns]


@dataclass(frozen=True)
class CohortEvidence:
    """How far a cohort as a whole resembles the reference it is placed on."""

    #: Correlation over genes of the cohort's mean profile with the reference's; NaN where values hold no profile.
    level: float
    #: Chance level of `level`: one over the root of the number of genes.
    level_error: float
    #: Spread of the cells along the reference's directions, relative to genes exchanged for others of like spread; 1 for
    #: cells that differ by noise only, NaN for too few cells.
    differences: float
    #: Spread of `differences` by chance.
    differences_error: float
    #: Share of housekeeping genes that the cohort shows less than its median gene; NaN where that cannot be told.
    misplaced: float = np.nan
    #: Share of all transcripts that come from genes of the cell cycle; NaN where that cannot be told.
    dividing: float = np.nan

    @property
    def factor(self) -> float:
        """Share from 0 (no better than exchanged genes) to 1 that reliabilities of the cohort are multiplied by."""
        return self.resemblance * growth(self.dividing)

    @property
    def resemblance(self) -> float:
        """The same, whether the cells divide left aside."""
        factor = 1.0
        if np.isfinite(self.level):
            low = max(0.1, 3 * self.level_error)
            factor *= float(np.clip((self.level - low) / max(0.1, low), 0, 1))
        if np.isfinite(self.misplaced):
            factor *= float(np.clip((WRONG_NAMES - self.misplaced) / (WRONG_NAMES - RIGHT_NAMES), 0, 1))
        if np.isfinite(self.differences):
            low = 1 + max(0.1, 2 * self.differences_error)
            factor *= float(np.clip((self.differences - low) / max(0.1, 2 * self.differences_error), 0, 1))
        return factor

    @property
    def weakness(self) -> str | None:
        """What speaks against the cohort, as the end of a sentence; `None` if nothing does."""
        if self.factor >= 0.5:
            return None
        if np.isfinite(self.level) and self.level < max(0.2, 6 * self.level_error):
            return (
                f"their mean profile hardly correlates with that of the reference (r = {self.level:.2f}): the names of the "
                "genes may be wrong, or the cells of another kind"
            )
        if self.misplaced > (RIGHT_NAMES + WRONG_NAMES) / 2:
            return (
                f"{self.misplaced:.0%} of the genes that every human cell expresses are below their median gene, as if names of genes were "
                "exchanged: sorted apart from the values, or mapped to other genes"
            )
        if self.dividing < (RESTING + DIVIDING) / 2:
            return (
                f"they hardly divide: {1e4 * self.dividing:.0f} of 10,000 transcripts come from genes of the cell cycle, at least 42 "
                "in every cell line looked at. The screen measured how drugs stop lines from growing, which says nothing of "
                "resting cells such as healthy blood"
            )
        return (
            f"they differ from one another along the reference's directions only {self.differences:.2f} times as much as "
            "noise would: they may be empty droplets, carry wrong gene names, or be one kind of cell at little depth"
        )

    def summary(self) -> dict[str, Any]:
        """Plain types for ``uns``."""
        return {
            "level": self.level, "misplaced": self.misplaced, "differences": self.differences, "dividing": self.dividing,
            "factor": self.factor,
        }  # fmt: skip


def judge_cohort(
    rows: np.ndarray, centre: np.ndarray, profile: ReferenceProfile, measured: np.ndarray, *, has_profile: bool
) -> CohortEvidence:
    """Compare a cohort with the reference, and with the same cohort under other gene names.

    Parameters
    ----------
    rows
        Some cells, transformed but not shifted (cells × panel).
    centre
        Mean transformed profile of the cohort (G).
    profile
        The reference.
    measured
        Which genes of the panel the cohort has (G, bool).
    has_profile
        Whether values still tell high genes from low ones, as centred ones do not.
    """
    n_genes = int(measured.sum())
    level = np.nan
    if has_profile and n_genes > 2:
        pair = np.corrcoef(centre[measured], profile.mean[measured])
        level = float(np.nan_to_num(pair[0, 1]))
    differences = error = np.nan
    if len(rows) >= _MIN_CELLS:
        deviations = rows[:, measured].astype(np.float64)
        deviations -= deviations.mean(axis=0)
        weights = profile.score_weights(measured)[:, :N_TYPICAL] / profile.sd[measured, None]
        differences, error = _relative_spread(deviations, weights)
    return CohortEvidence(level, 1 / max(n_genes, 1) ** 0.5, differences, error)


def _relative_spread(deviations: np.ndarray, weights: np.ndarray) -> tuple[float, float]:
    """Variance of scores relative to their variance with genes exchanged within strata of like spread, and its error."""
    strata = np.array_split(np.argsort(deviations.std(axis=0), kind="stable"), _N_STRATA)
    rng = np.random.default_rng(0)
    exchanged = []
    for _ in range(_N_PERMUTATIONS):
        order = np.arange(len(weights))
        for stratum in strata:
            order[stratum] = rng.permutation(stratum)
        exchanged.append(float(((deviations @ weights[order]) ** 2).sum()))
    chance = float(np.mean(exchanged))
    if chance <= 0:
        return np.nan, np.nan
    return float(((deviations @ weights) ** 2).sum()) / chance, float(np.std(exchanged, ddof=1)) / chance
