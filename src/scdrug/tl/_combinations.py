"""Drugs that together leave no clone alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from .._arguments import checked
from .._constants import KEYS
from .._labels import Label
from .._store import holds_table, reserve, store
from .._validate import check_choice, plain
from ..pp._reference import MIN_LINES
from ._clones import Clones, read_clones
from ._combination_pool import drug_pool, families
from ._combination_tables import combination_table, dose_table, kill_table
from ._combine import Problem, best_sets, fewest_drugs
from ._drug_evidence import LEVELS
from ._group_intervals import interval_level
from ._kill import Doses, Kills, dose_of, kills_of_groups, read_doses
from ._rank import _leave_out_few_lines
from ._rank_stats import blocks
from ._stored import Predictions, read_predictions

if TYPE_CHECKING:
    from anndata import AnnData

_LARGEST_K = 4
#: Percentile that a drug must reach in some clone where every drug kills half of an ordinary line.
_MIN_PERCENTILE = 0.75
#: Cells of each side that are looked at for a cover: integer programs of more take minutes.
_CELLS_LOOKED_AT = 200
NOTE = (
    "Kills of drugs are multiplied as if drugs acted independently of one another on each cell. Nothing is said of synergy or antagonism, "
    "toxicity, or whether the concentrations are reached together."
)


@checked
def suggest_combinations(
    adata: AnnData,
    groupby: str,
    *,
    k: int = 2,
    groups: Label | Sequence[Label] = "all",
    normal: Label | Sequence[Label] | None = None,
    objective: str = "worst",
    exclude: str | Sequence[str] = (),
    distinct: str | Sequence[str] = ("target", "pathway"),
    concentrations: Mapping[str, float] | pd.Series | pd.DataFrame | None = None,
    concentration_unit: str = "µM",
    max_dose: Mapping[str, float] | pd.Series | pd.DataFrame | None = None,
    hill: float | Mapping[str, float] | pd.Series = 1.0,
    min_percentile: float | None = None,
    min_covered: float = 0.8,
    max_normal: float | None = None,
    n_combinations: int = 20,
    min_cells: int = 10,
    min_lines: int = MIN_LINES,
    min_evidence: str = "weak",
    key: str = KEYS.PREDICTED,
    key_added: str = "combinations",
    copy: bool = False,
) -> AnnData | None:
    """Suggest drugs that together leave as little as possible of every clone.

    Parameters
    ----------
    adata
        Cells with the results of :func:`scdrug.tl.predict_response`, by a model of IC50 or another concentration of half an effect.
    groupby
        Column of `obs` with the clones, or clusters. Cells without label are left out.
    k
        Drugs in a combination, 2 to 4; with ``objective="cover"`` the most that are allowed.
    groups
        The malignant clones; all but `normal` by default.
    normal
        Groups of normal cells, which are to be spared.
    objective
        ``"worst"``: kill most of the clone that is killed least, at the lower bound of the interval. ``"cover"``: the fewest drugs that
        each hit, that is kill half or more of, at least `min_covered` of the malignant cells, and at most `max_normal` of the normal ones.
    exclude
        Names or ids of drugs to leave out.
    distinct
        What two drugs of a combination must not share: ``"target"``, ``"pathway"``, both, or nothing (``()``).
    concentrations
        Concentration that each drug reaches, by name or id, such as the peak in plasma: a mapping, Series, or table with the
        columns `drug` and `concentration`. Drugs that it does not name are left out. If omitted, the median IC50 of the screen.
    concentration_unit
        ``"M"``, ``"mM"``, ``"µM"``, ``"nM"`` or ``"pM"``, of `concentrations` and `max_dose`.
    max_dose
        Highest dose that was tested, by drug; a column `max_dose` of the stored table of drugs, in µM, if omitted. Concentrations beyond are
        lowered to it.
    hill
        Slope of the dose-response curve, one for all or by drug; drugs that are not named have 1.
    min_percentile
        Percentile that a drug must reach in at least one clone, 0-1, to be combined at all. If omitted, 0.75 at the median IC50 of the screen,
        where any drug kills half of an ordinary line, and 0 at `concentrations` of yours.
    min_covered, max_normal
        Least share of malignant, greatest of normal cells that is hit, 0-1, for ``"cover"`` (0.1 if `max_normal` is omitted). With
        ``"worst"``, combinations that kill more than `max_normal` of the normal cells are left out.
    n_combinations
        How many to keep.
    min_cells
        Least number of cells of a group.
    min_lines
        Least number of cell lines that a drug was trained on, where the model knows it.
    min_evidence
        Least evidence of a drug, in the words of :func:`scdrug.get.drug_evidence_df`: ``"none"``, ``"weak"``, ``"some"`` or ``"strong"``.
        Drugs with less are left out, with a warning; those of models that state none (``"unknown"``) stay.
    key
        Where :func:`scdrug.tl.predict_response` stored its results.
    key_added
        Key of `uns` for the result.
    copy
        Return a copy instead of writing to `adata`.

    Returns
    -------
    `None`, or a copy of `adata`, with

    ``adata.uns["combinations" | key_added]["table"]`` : DataFrame
        One row per combination, best first: `rank`, `drugs` (ids, joined by ``" + "``), `names`, `n_drugs`;

        - `worst_group`, `worst`, `worst_lower`: the clone that is killed least at the lower bound, its kill, 0-1, and the kill at that bound;
        - `mean`: kill of all malignant cells, clones weighted by size;
        - `median_line`: kill of a line in the middle of the screen for every drug, to compare with `worst`: a clone that is killed no more
          is an ordinary one (NaN where predictions do not tell);
        - `null_lower`: what is expected without any joint effect, **each clone being killed by its best single drug of the combination**;
          the worst clone, at the lower bound; `gain_over_null` = `worst_lower` - `null_lower`;
        - `best_single`, `best_single_lower`: the drug of the combination whose worst clone is killed most, and that kill;
          `gain` = `worst_lower` - `best_single_lower`;
        - `normal`: kill of the normal cells (NaN without); `n_beyond`: clones for which the IC50 of one of the drugs lies beyond the
          doses that were tested (NaN where these are not known);
        - `covered`, `covered_normal`: shares of all malignant and normal cells that one of the drugs hits (``"cover"`` only).
    ``adata.uns["combinations" | key_added]["kill"]`` : DataFrame
        Kill of each group by each combination and by each of its drugs: `rank`, `drugs`, `names`, `n_drugs`, `group`, `n_cells`, `kill`,
        `lower`, `upper`.
    ``adata.uns["combinations" | key_added]["doses"]`` : DataFrame
        By drug id: `name`, `concentration` (µM), `max_dose`, the highest dose that was tested (µM, NaN where it is not known), `capped`,
        `hill`.
    ``adata.uns["combinations" | key_added]["params"]`` : dict
        Arguments, where concentrations come from, and whether all combinations were looked at (`search`).

    Raises
    ------
    KeyError
        If there are no predictions, or a column, group or drug does not exist.
    ValueError
        If predictions have no dose, no clone is left, `k` is larger than the number of drugs, concentrations are not positive or in another
        unit, or no combination does what is asked.

    Warns
    -----
    UserWarning
        If there is one clone, clones or drugs are left out, normal cells are unreliable, concentrations are capped, or the model states
        no interval.

    See Also
    --------
    scdrug.get.suggest_combinations_df : the tables.
    scdrug.get.doses_df : the concentrations.
    scdrug.pl.suggest_combinations : clones × drugs, and the gain over the best single drug.

    Notes
    -----
    A drug at concentration C kills the share 1 / (1 + (IC50 / C)^h) of a clone. With C the median IC50 of the screen and h = 1 this is the
    kill of CaDRReS-Sc (Suphavilai et al. 2021), 100 / (1 + 2^δ) percent with δ = log2 IC50 - log2 median IC50. Two
    drugs kill 1 - (1 - a)(1 - b). **This is independence, not synergy**; the null beside it is the independent action of Palmer and Sorger
    (2017), in which each clone has the benefit of its best drug only. The lower bound of a combination takes that of all its drugs at once.

    At the median IC50 of the screen, the lower bound favours drugs whose response varies little between lines: what they kill is certain,
    and ordinary. Concentrations that are reached say more; without them compare `worst` with `median_line`.

    All combinations are looked at up to 300,000, as all pairs of 414 drugs; beyond that the best pairs are extended, and drugs exchanged as long
    as that helps. ``"cover"`` is the hitting set of MadHitter (Ahmadi et al. 2022) by integer programming, of 200 cells of each side
    spread evenly over the groups; shares are of all cells. Predicted IC50 beyond the doses that were tested are extrapolations; kills
    at a tested dose stay below one half for them.

    Examples
    --------
    >>> import scdrug
    >>> cells, reference = scdrug.datasets.toy_cells(), scdrug.datasets.toy()
    >>> scdrug.model.KernelRidge.setup_anndata(reference)
    >>> model = scdrug.model.KernelRidge(reference)
    >>> model.train()
    >>> scdrug.tl.predict_response(cells, model)
    >>> scdrug.tl.suggest_combinations(cells, "clone", normal="normal", k=2)
    >>> best = scdrug.get.suggest_combinations_df(cells).iloc[0]
    >>> bool(best["worst_lower"] >= best["null_lower"] >= best["best_single_lower"])
    True
    """
    check_choice("objective", objective, ("worst", "cover"))
    distinct = (distinct,) if isinstance(distinct, str) else tuple(distinct)
    for name in distinct:
        check_choice("distinct", name, ("target", "pathway"))
    check_choice("min_evidence", min_evidence, LEVELS[1:])
    if not 2 <= k <= _LARGEST_K:
        raise ValueError(
            f"`k`, the drugs in a combination, must be 2 to {_LARGEST_K}; found {k}. scdrug.tl.rank_drugs ranks single drugs."
        )
    if max_normal is not None and normal is None:
        raise ValueError("`max_normal` is about normal cells: name their groups as `normal`.")
    reserve(
        adata,
        [("uns", key_added)],
        report=key_added,
        recognise=holds_table("drugs", "worst_lower", "null_lower"),
        function="scdrug.tl.suggest_combinations",
    )
    predictions, few_lines = _leave_out_few_lines(read_predictions(adata, key), min_lines)
    dose_of(predictions)
    clones = read_clones(adata, predictions, groupby, groups, normal, min_cells)
    doses = read_doses(predictions, concentrations, unit=concentration_unit, max_dose=max_dose, hill=hill)
    if min_percentile is None:
        min_percentile = _MIN_PERCENTILE if concentrations is None else 0.0
    acts = clones.response.percentile[clones.malignant].max(axis=0) >= min_percentile
    pool, weak = drug_pool(predictions, doses, exclude, acts, k, min_evidence)
    kills = kills_of_groups(clones.response, predictions, doses)
    apart = families(predictions.drugs.iloc[pool], distinct)
    if objective == "worst":
        sets, search = _worst(kills, clones, pool, apart, k=k, n=n_combinations, max_normal=max_normal)
        hits = None
    else:
        ceiling = 0.1 if max_normal is None else max_normal
        hits = _hits(predictions, doses)
        sets = _cover(hits, clones, pool, apart, k=k, min_covered=min_covered, max_normal=ceiling)
        search = "integer program"

    table = combination_table(sets, kills, clones, predictions, doses, hits)
    params = {
        "groupby": groupby,
        "groups": [clones.names[i] for i in clones.malignant],
        "normal": [clones.names[i] for i in clones.normal],
        "k": k,
        "objective": objective,
        "distinct": list(distinct),
        "exclude": [exclude] if isinstance(exclude, str) else list(exclude),
        "concentrations": doses.source,
        "tested_doses": "known" if doses.are_tested else "not known",
        "min_percentile": min_percentile,
        "min_covered": min_covered,
        "max_normal": max_normal,
        "search": search,
        "n_drugs": len(pool),
        "left_out_few_lines": few_lines,
        "min_evidence": min_evidence,
        "left_out_evidence": weak,
        "level": interval_level(predictions),
        "key": key,
        "note": NOTE,
    }
    report = {
        "params": plain(params),
        "table": table,
        "kill": kill_table(sets, kills, clones, predictions),
        "doses": dose_table(doses, predictions, pool),
    }
    adata = store(adata, {("uns", key_added): report}, report=key_added, copy=copy)
    return adata if copy else None


def _worst(
    kills: Kills,
    clones: Clones,
    pool: np.ndarray,
    apart: list[np.ndarray],
    *,
    k: int,
    n: int,
    max_normal: float | None,
) -> tuple[list[np.ndarray], str]:
    allowed = np.ones((len(pool), len(pool)), dtype=bool)
    for family in apart:
        allowed[np.ix_(family, family)] = False
    lower = np.where(np.isfinite(kills.lower), kills.lower, kills.estimate)[:, pool]
    problem = Problem(
        survival=np.log1p(-lower[clones.malignant]),
        allowed=allowed,
        weights=clones.weights(clones.malignant),
        normal=None if max_normal is None else np.log1p(-kills.estimate[clones.normal][:, pool]),
        normal_weights=None if max_normal is None else clones.weights(clones.normal),
        least_normal=0.0 if max_normal is None else 1 - max_normal,
    )
    sets, is_exact = best_sets(problem, k, n)
    if not len(sets):
        spare = "" if max_normal is None else f", or each kills more than {max_normal:.0%} of the normal cells"
        raise ValueError(
            f"No combination of {k} of {len(pool)} drugs is left: two of the drugs share a target or pathway{spare}. Lower `k`, raise "
            "`max_normal`, or ask for less in `distinct`."
        )
    return [pool[one] for one in sets], "all combinations" if is_exact else "best pairs extended, drugs exchanged"


def _hits(predictions: Predictions, doses: Doses) -> np.ndarray:
    """Whether a drug kills half or more of a cell's kind (cells × drugs, bool)."""
    table, to_ln = predictions.response, dose_of(predictions)
    hits = np.empty(table.shape, dtype=bool)
    for block in blocks(table.shape[1], len(table)):
        with np.errstate(invalid="ignore"):
            hits[:, block] = to_ln(table.iloc[:, block].to_numpy()) <= doses.ln_concentration[block]
    return hits


def _cover(
    hits: np.ndarray,
    clones: Clones,
    pool: np.ndarray,
    apart: list[np.ndarray],
    *,
    k: int,
    min_covered: float,
    max_normal: float,
) -> list[np.ndarray]:
    looked = [_spread_over(clones.codes, groups) for groups in (clones.malignant, clones.normal)]
    malignant, normal = (hits[rows][:, pool] for rows in looked)
    asked = {"min_covered": min_covered, "max_normal": max_normal, "k": k, "exclusive": apart}
    found = fewest_drugs(malignant, normal, **asked)
    if found is None:
        alone = fewest_drugs(malignant, normal[:0], **asked)
        why = "none covers the malignant cells alone" if alone is None else "the malignant cells alone could be covered"
        raise ValueError(
            f"No {k} or fewer of {len(pool)} drugs hit {min_covered:.0%} of the malignant and at most {max_normal:.0%} of the normal cells; "
            f"{why}. Lower `min_covered`, raise `max_normal` or `k`, or ask for less in `distinct`."
        )
    return [pool[found]]


def _spread_over(codes: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Cells of some groups, evenly spaced within each in proportion to its size, so that each group is seen."""
    rows = np.flatnonzero(np.isin(codes, groups))
    if len(rows) <= _CELLS_LOOKED_AT:
        return rows
    rows = rows[np.argsort(codes[rows], kind="stable")]
    return rows[np.linspace(0, len(rows) - 1, _CELLS_LOOKED_AT).astype(int)]
