"""What a cohort of cells itself says against a prediction: genes that are zero everywhere, cells that do not differ."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import scipy.sparse as sp

from .._validate import examples, warn_caller
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
#: Share of all transcripts from genes of the cell cycle below which cells do not divide, and from which on they divide as lines do:
#: 42 to 206 per 10,000 in 20 lines on two platforms, 10 in healthy blood.
_RESTING, _DIVIDING = 12e-4, 30e-4
#: Genes of the cell cycle that must be measured to judge.
_MIN_CYCLE_GENES = 20
#: Genes of S phase, and of G2 and M (Tirosh et al. 2016, doi:10.1126/science.aad0501).
CYCLE_GENES = (
    "MCM5 PCNA TYMS FEN1 MCM2 MCM4 RRM1 UNG GINS2 MCM6 CDCA7 DTL PRIM1 UHRF1 CENPU HELLS RFC2 RPA2 NASP RAD51AP1 GMNN WDR76 "
    "SLBP CCNE2 UBR7 POLD3 MSH2 ATAD2 RAD51 RRM2 CDC45 CDC6 EXO1 TIPIN DSCC1 BLM CASP8AP2 USP1 CLSPN POLA1 CHAF1B BRIP1 E2F8 "
    "HMGB2 CDK1 NUSAP1 UBE2C BIRC5 TPX2 TOP2A NDC80 CKS2 NUF2 CKS1B MKI67 TMPO CENPF TACC3 PIMREG SMC4 CCNB2 CKAP2L CKAP2 AURKB "
    "BUB1 KIF11 ANP32E TUBB4B GTSE1 KIF20B HJURP CDCA3 JPT1 CDC20 TTK CDC25C KIF2C RANGAP1 NCAPD2 DLGAP5 CDCA2 CDCA8 ECT2 "
    "KIF23 HMMR AURKA PSRC1 ANLN LBR CKAP5 CENPE CTCF NEK2 G2E3 GAS2L3 CBX5 CENPA"
).split()
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
    for name in adata.obs.columns:
        column = adata.obs[name]
        if not isinstance(column, pd.Series) or column.dtype.kind in "fiubc":
            continue
        sampled = column.iloc[rows].astype(str).where(column.iloc[rows].notna())
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
    #: Share of all transcripts that come from genes of the cell cycle; NaN where that cannot be told.
    dividing: float = np.nan
    #: The same of each group of `groupby`, by name; NaN where few of its cells were looked at. Empty without groups.
    dividing_by_group: Mapping[str, float] = field(default_factory=dict)

    @property
    def factor(self) -> float:
        """Share from 0 (no better than exchanged genes) to 1 that reliabilities of the cohort are multiplied by."""
        return self._resemblance * _growth(self.dividing)

    def factor_of(self, groups: np.ndarray | None) -> float | np.ndarray:
        """The factor of each cell, given the number of its group (cells); groups are judged each by whether they divide."""
        if groups is None or not self.dividing_by_group:
            return self.factor
        shares = [share if np.isfinite(share) else self.dividing for share in self.dividing_by_group.values()]
        return self._resemblance * np.array([_growth(share) for share in shares])[groups]

    @property
    def resting_groups(self) -> list[str]:
        """Groups that hardly divide, with their share."""
        named = self.dividing_by_group.items()
        return [f"{name} ({1e4 * share:.0f} of 10,000)" for name, share in named if share <= _RESTING]

    @property
    def _resemblance(self) -> float:
        factor = 1.0
        if np.isfinite(self.level):
            low = max(0.1, 3 * self.level_error)
            factor *= float(np.clip((self.level - low) / max(0.1, low), 0, 1))
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
        if self.dividing < (_RESTING + _DIVIDING) / 2:
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
        stated: dict[str, Any] = {"level": self.level, "differences": self.differences, "dividing": self.dividing}
        if self.dividing_by_group:  # as two lists, since names may hold what keys of files may not
            stated["groups"] = list(self.dividing_by_group)
            stated["dividing_by_group"] = list(self.dividing_by_group.values())
        return {**stated, "factor": self.factor}


def _growth(share: float) -> float:
    """Factor for cells of which this share of transcripts is from genes of the cell cycle; 1 where it is not known."""
    return float(np.clip((share - _RESTING) / (_DIVIDING - _RESTING), 0, 1)) if np.isfinite(share) else 1.0


def share_dividing(
    sample: sp.csr_matrix, columns: np.ndarray, codes: np.ndarray, n_groups: int, *, logarithms: bool
) -> tuple[float, np.ndarray]:
    """Share of all transcripts that come from genes of the cell cycle, in all cells and in each group.

    Parameters
    ----------
    sample
        Some cells, as they were passed (cells × genes).
    columns
        Those of :data:`CYCLE_GENES`.
    codes
        Group of each cell (cells).
    n_groups
        How many groups there are.
    logarithms
        Whether values are logarithms, of base e or 2: that under which cells have the more equal totals.

    Returns
    -------
    The share over all cells together, and by group; NaN if too few of the genes are measured, nothing is expressed, or a group has
    fewer than ten cells in the sample.
    """
    if len(columns) < _MIN_CYCLE_GENES:
        return np.nan, np.full(n_groups, np.nan)
    candidates = [sample]
    if logarithms:
        candidates = [sample._with_data(np.expm1(sample.data * unit)) for unit in (1.0, np.log(2.0))]
    totals = [np.asarray(values.sum(axis=1), dtype=np.float64).ravel() for values in candidates]
    best = int(np.argmin([total.std() / max(total.mean(), 1e-12) for total in totals]))
    cycle = np.asarray(candidates[best][:, columns].sum(axis=1), dtype=np.float64).ravel()
    total, of_group = totals[best], np.full(n_groups, np.nan)
    for group in range(n_groups):
        rows = codes == group
        if rows.sum() >= _MIN_CELLS and total[rows].sum() > 0:
            of_group[group] = cycle[rows].sum() / total[rows].sum()
    return (float(cycle.sum() / total.sum()) if total.sum() > 0 else np.nan), of_group


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
