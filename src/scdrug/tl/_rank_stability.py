"""Which drugs stay on top when donors, cells and depth are drawn again."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from .._arguments import checked
from .._labels import Label, marked_cells
from .._store import holds_table, reserve, store
from .._validate import plain
from ..model._predictor import RowPredictor
from ..pp._checks import check_cells
from ..pp._place import Placed, place_cells
from ..pp._reference import MIN_LINES
from ._predict import resolve_predictor
from ._rank_design import Design, read_design
from ._rank_stats import REST
from ._resample import Plan, draw_plan, resampled_means

if TYPE_CHECKING:
    from anndata import AnnData

    from ..model._base import DrugResponseModel

#: Bounds of the ranks that are stated.
_RANK_RANGE = (0.05, 0.95)


@checked
def rank_stability(
    adata: AnnData,
    groupby: str,
    model: str | os.PathLike[str] | DrugResponseModel = "default",
    *,
    groups: Label | Sequence[Label] = "all",
    reference: Label = "rest",
    sample_key: str | None = None,
    top: int = 10,
    threshold: float = 0.75,
    n_resamples: int = 100,
    depths: Sequence[float] = (1.0, 0.75, 0.5),
    drugs: str | Sequence[str] | None = None,
    layer: str | None = None,
    scale: str = "auto",
    method: str = "quantile",
    anchor: str = "similar",
    shift_groupby: str | None = None,
    fit_on: str | None = None,
    min_cells: int = 10,
    min_lines: int = MIN_LINES,
    min_coverage: float = 0.3,
    seed: int = 0,
    key_added: str = "rank_stability",
    copy: bool = False,
) -> AnnData | None:
    """Ask how often each drug is among the top ones when donors, cells and sequencing depth are drawn again.

    Parameters
    ----------
    adata
        Cells × genes, as for :func:`scdrug.tl.predict_response`: it is expression that is drawn again, not predictions.
    groupby
        Column of `obs` with the groups, e.g. clusters, clones or cell types.
    model
        Name of a bundled model, folder of a saved one, or a trained model.
    groups
        Groups to rank drugs for; ``"all"`` but the reference by default.
    reference
        ``"rest"`` for all other cells, or the name of a group.
    sample_key
        Column of `obs` with the donor of each cell.
    top
        How many drugs are picked in each resample.
    threshold
        Share of the resamples from which a drug counts as stable, above 0.5 and at most 1.
    n_resamples
        How often to draw.
    depths
        Shares of the molecules of each cell that are kept, in turn, for counts; other values are not thinned.
    drugs
        Names or ids of drugs; all of the model if omitted.
    layer, scale, method, anchor, fit_on, min_coverage
        As in :func:`scdrug.tl.predict_response`.
    shift_groupby
        What was `groupby` there: column of `obs` to estimate the platform's shift in.
    min_cells
        Least number of cells of a group; in a resample, of each donor's share, at least half of it.
    min_lines
        Least number of cell lines that a drug was trained on, where the model knows it; drugs with fewer are not ranked.
    seed
        Seed of all that is drawn.
    key_added
        Key of `uns` for the result.
    copy
        Return a copy instead of writing to `adata`.

    Returns
    -------
    `None`, or a copy of `adata`, with

    ``adata.uns["rank_stability" | key_added]["table"]`` : DataFrame
        One row per group and drug, the most stable first:

        - `group`, `drug` (id), `name`;
        - `stability`: share of the resamples in which the drug is among the `top`, 0-1; `stable`: at least `threshold`;
        - `rank`, `score`: with all cells; `score` is the percentile of the group minus that of the reference, **positive = group is more
          sensitive**;
        - `rank_median`, `rank_low`, `rank_high`: median and 5-95 % range of the rank over resamples;
        - `expected_false`: bound on the expected number of false picks if all drugs that are as stable are picked; NaN where there is none.
    ``adata.uns["rank_stability" | key_added]["params"]`` : dict
        Arguments, `expected_false` at `threshold`, numbers of resamples by group, and whether cells were harmonized anew.

    Raises
    ------
    KeyError
        If a column, group or drug does not exist.
    ValueError
        If there is one group, `top` is not less than the number of drugs, or a number is out of its range.

    Warns
    -----
    UserWarning
        If values are no counts and cannot be thinned, or groups are left out.

    See Also
    --------
    scdrug.get.rank_stability_df : the table, filtered.
    scdrug.pl.rank_stability : the most stable drugs of each group.

    Notes
    -----
    A resample takes half of the donors (rounded up), of these half of the cells of each group, at one of the `depths` (each molecule is
    kept or not: binomial thinning), harmonizes them anew, and ranks drugs by the percentile of the group's mean response minus that of the
    reference's, paired within donors that have both.

    Picks that chance alone makes are few among those that are stable: with q picks among p drugs, the expected number V of false ones
    that reach the share π is at most q² / ((2π - 1) p), if picks of useless drugs are exchangeable and no worse than random
    (Meinshausen and Bühlmann 2010, theorem 1). Drugs of one mechanism are not exchangeable, so take the bound as a guide. Stability is
    about sampling: a model that is wrong in the same way each time is stable, too.

    For a linear model, as the bundled one, the prediction of a group follows from sums over its cells, so cells are transformed once for
    each depth. For other models the harmonization of all cells stands in all resamples.

    Examples
    --------
    >>> import scdrug
    >>> cells, reference = scdrug.datasets.toy_cells(), scdrug.datasets.toy()
    >>> scdrug.model.KernelRidge.setup_anndata(reference)
    >>> model = scdrug.model.KernelRidge(reference)
    >>> model.train()
    >>> scdrug.tl.rank_stability(cells, "clone", model, reference="normal", sample_key="sample", top=3, n_resamples=20)
    >>> best = scdrug.get.rank_stability_df(cells, "clone-a").iloc[0]
    >>> bool(best["stability"] > 0.5)
    True
    """
    if not 0.5 < threshold <= 1:
        raise ValueError(f"`threshold` is a share above 0.5 and at most 1: no bound holds below; found {threshold}.")
    if not len(depths):
        raise ValueError("`depths` is empty: name shares of molecules to keep, such as (1.0, 0.5).")
    check_cells(adata)
    recognise = holds_table("group", "drug", "stability")
    reserve(adata, [("uns", key_added)], report=key_added, recognise=recognise, function="scdrug.tl.rank_stability")
    trained = resolve_predictor(model)
    asked, ids, columns = trained.select_drugs(drugs)
    ranked = _enough_lines(asked.drugs.loc[ids], min_lines)
    if top >= ranked.sum():
        raise ValueError(
            f"`top={top}` drugs cannot stand out among {int(ranked.sum())} that are ranked. Lower `top`, or name more drugs."
        )
    design = read_design(adata, groupby, groups, reference, sample_key).leave_out_small(min_cells)
    placed = place_cells(
        adata,
        trained.profile,
        method=method,
        anchor=anchor,
        scale=scale,
        layer=layer,
        groupby=shift_groupby,
        fit_on=fit_on,
        min_coverage=min_coverage,
    )
    strata = Strata.of(design, adata.n_obs)
    depths = _depths_for(placed, depths)
    means, counts, anew = _means(placed, asked, columns, strata, adata, depths, n_resamples, fit_on, seed)

    flat = means.reshape(-1, means.shape[2]).astype(np.float32)
    lower = asked.reference.lower_is_sensitive
    percentile = asked.calibration.percentile(flat, columns, lower_is_sensitive=lower)
    table, n_used = _table(
        design, strata, percentile.reshape(means.shape), counts, asked.drugs.loc[ids], ranked, top, threshold, min_cells
    )
    params = {
        "groupby": groupby,
        "groups": [design.names[g] for g in design.groups],
        "reference": design.reference_name,
        "sample_key": sample_key,
        "top": top,
        "threshold": float(threshold),
        "n_drugs": int(ranked.sum()),
        "expected_false": float(false_picks(threshold, top, int(ranked.sum()))),
        "n_resamples": n_resamples,
        "n_used": n_used,
        "depths": list(depths),
        "harmonized": "in each resample" if anew else "once",
        "seed": seed,
        "model": str(asked.provenance()["model"]),
    }
    adata = store(adata, {("uns", key_added): {"params": plain(params), "table": table}}, report=key_added, copy=copy)
    return adata if copy else None


def false_picks(share: np.ndarray | float, top: int, n_drugs: int) -> np.ndarray:
    """Bound on the expected number of false picks among drugs of at least this stability; NaN up to one half.

    Examples
    --------
    >>> from scdrug.tl._rank_stability import false_picks
    >>> float(false_picks(0.75, 10, 100))
    2.0
    """
    share = np.asarray(share, dtype=float)
    return np.where(share > 0.5, top**2 / (np.maximum(2 * share - 1, 1e-12) * n_drugs), np.nan)


@dataclass(frozen=True)
class Strata:
    """Groups within donors."""

    #: Stratum and donor of each cell of the object, -1 for none (cells).
    codes: np.ndarray
    donors: np.ndarray
    n_donors: int
    n_groups: int

    @classmethod
    def of(cls, design: Design, n_cells: int) -> Strata:
        """Number the groups of a design within its donors."""
        samples = np.zeros(len(design.rows), dtype=np.int64) if design.samples is None else design.samples
        codes, donors = np.full((2, n_cells), -1, dtype=np.int64)
        codes[design.rows], donors[design.rows] = samples * len(design.names) + design.codes, samples
        return cls(codes, donors, max(design.n_samples, 1), len(design.names))


def _enough_lines(drugs: pd.DataFrame, min_lines: int) -> np.ndarray:
    if "n_lines" not in drugs:
        return np.ones(len(drugs), dtype=bool)
    return ~(pd.to_numeric(drugs["n_lines"], errors="coerce") < min_lines).to_numpy(dtype=bool)


def _depths_for(placed: Placed, depths: Sequence[float]) -> tuple[float, ...]:
    """The depths for counts; the full one for other values, with a warning."""
    if placed.harmonization.scale == "counts" or all(depth == 1 for depth in depths):
        return tuple(float(depth) for depth in depths)
    warnings.warn(
        f"Values are {placed.harmonization.scale}, not counts, so no shallower sequencing can be drawn from them: donors and cells are "
        "resampled, depth is not. Pass the layer that holds counts.",
        UserWarning,
        stacklevel=3,
    )
    return (1.0,)


def _means(
    placed: Placed,
    model: Any,
    columns: np.ndarray,
    strata: Strata,
    adata: AnnData,
    depths: tuple[float, ...],
    n_resamples: int,
    fit_on: str | None,
    seed: int,
) -> tuple[np.ndarray, np.ndarray, bool]:
    """Mean response of strata in all cells, at full depth, and then in each resample; numbers of cells; and whether anew harmonized."""
    predictor = RowPredictor(model, placed.harmonization, columns)
    plan = draw_plan(strata.codes, strata.donors, n_resamples, depths, np.random.default_rng(seed))
    everything = Plan(
        np.vstack([strata.codes >= 0, plan.taken]),
        np.concatenate([[len(depths)], plan.depth]),
        (*depths, 1.0),
    )
    if 1.0 in depths:  # one pass less
        everything = Plan(everything.taken, np.concatenate([[depths.index(1.0)], plan.depth]), depths)
    fitted_on = np.zeros(adata.n_obs, dtype=np.int64) if placed.groups is None else placed.groups.astype(np.int64)
    if fit_on is not None:
        fitted_on = np.where(marked_cells(adata, fit_on, argument="fit_on"), fitted_on, -1)
    anew = (
        predictor.linear is not None
        and placed.harmonization.method in ("quantile", "zscore")
        and placed.harmonization.scale != "scaled"
    )
    inputs = predictor.sample_inputs(placed.adata)
    means, counts = resampled_means(
        placed, predictor, everything, strata.codes, fitted_on, reharmonize=anew, seed=seed, inputs=inputs
    )
    return means, counts, anew


def _table(
    design: Design,
    strata: Strata,
    percentile: np.ndarray,
    counts: np.ndarray,
    drugs: pd.DataFrame,
    ranked: np.ndarray,
    top: int,
    threshold: float,
    min_cells: int,
) -> tuple[pd.DataFrame, list[int]]:
    shape = (len(counts), strata.n_donors, strata.n_groups)
    counts, percentile = counts.reshape(shape), percentile.reshape(*shape, -1)[..., ranked]
    ids, names = drugs.index.to_numpy(dtype=str)[ranked], drugs["name"].to_numpy(dtype=str)[ranked]
    parts, n_used = [], []
    for group in design.groups:
        scores = _scores(percentile, counts, group, design.reference, max(1, min_cells // 2))
        order = np.argsort(-scores, axis=1, kind="stable")
        rank = np.empty_like(order)
        np.put_along_axis(rank, order, np.arange(1, scores.shape[1] + 1)[None], axis=1)
        compared = np.isfinite(scores).all(axis=1)
        drawn = rank[1:][compared[1:]]
        n_used.append(len(drawn))
        if not len(drawn):
            warnings.warn(
                f"No resample has a donor with cells of both {design.names[group]!r} and its reference, so its drugs are not ranked. Lower "
                "`min_cells`, or omit `sample_key`.",
                UserWarning,
                stacklevel=3,
            )
            continue
        stability = (drawn <= top).mean(axis=0)
        low, median, high = np.quantile(drawn, [_RANK_RANGE[0], 0.5, _RANK_RANGE[1]], axis=0)
        part = pd.DataFrame(
            {
                "group": design.names[group],
                "drug": ids,
                "name": names,
                "stability": stability,
                "stable": stability >= threshold,
                "rank": rank[0] if compared[0] else 0,
                "score": scores[0],
                "rank_median": median,
                "rank_low": low,
                "rank_high": high,
                "expected_false": false_picks(stability, top, len(ids)),
            }
        )
        parts.append(
            part.sort_values(["stability", "rank_median", "drug"], ascending=[False, True, True], kind="stable")
        )
    if not parts:
        raise ValueError(
            "No group can be compared with its reference in any resample. Lower `min_cells`, or omit `sample_key`."
        )
    return pd.concat(parts, ignore_index=True), n_used


def _scores(percentile: np.ndarray, counts: np.ndarray, group: int, reference: int, least: int) -> np.ndarray:
    """Percentile of a group minus that of its reference, mean over donors that have both (resamples × drugs, NaN without)."""
    if reference == REST:
        n = counts.sum(axis=2) - counts[:, :, group]
        weights = counts.astype(float).copy()
        weights[:, :, group] = 0
        other = np.einsum("rsg,rsgd->rsd", weights, np.nan_to_num(percentile)) / np.maximum(n, 1)[..., None]
    else:
        n, other = counts[:, :, reference], percentile[:, :, reference]
    enough = [counts[:, :, group] >= least, n >= least]
    both = enough[0] & enough[1]
    if both.any(axis=1).mean() >= 0.5:  # paired wherever donors mostly can be
        enough = [both, both]
    sides = [
        np.where(ok[..., None], np.nan_to_num(values), 0.0).sum(axis=1)
        / np.where(ok.any(axis=1), ok.sum(axis=1), np.nan)[:, None]
        for ok, values in zip(enough, (percentile[:, :, group], other))
    ]
    return sides[0] - sides[1]
