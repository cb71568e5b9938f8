"""Predictions for the cells of known lines, scored at several levels."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ..._validate import check_key, examples
from ...metrics._bootstrap import percentile_interval
from ._cells import cluster_cells, majority, pseudobulk
from ._data import Standard, TransferData
from ._fit import predict_bulk, predict_cells
from ._scores import LineScore, Units, bootstrap_weights, permuted_scores, score_units
from ._table import DRUG_MEAN, Row

if TYPE_CHECKING:
    from anndata import AnnData

    from ...model._base import DrugResponseModel

#: What is scored; "bulk" is the upper bound.
LEVELS = ("cell", "line mean", "cluster", "pseudobulk", "bulk")
_CORRELATIONS = ("flat", "contrast", "per_drug")
#: The response of the lines in another screen, as if it were a prediction; and the metric that sets a level beside each bound.
SECOND_SCREEN = "second screen"
_BOUNDS = {"bulk": "share", SECOND_SCREEN: "screen_share"}
#: Defined for predictions in the unit of the response only.
_ERRORS = ("rmse_z", "bias_z")
_CONSTANT = "the prediction does not differ between lines"
_ONE_LINE = "no drug was measured in two of the lines"
_NOT_IN_UNIT = "predictions are not in the unit of the response"
_NO_BOUND = "the upper bound is not positive"
_FEW_LINES = "no drug was measured in three of the lines"


@dataclass(frozen=True)
class LineAssay:
    """Cells of lines whose response was measured."""

    data: TransferData
    cells: AnnData
    lines: list[str]
    #: Row of `truth` of each cell.
    line: np.ndarray
    #: Measured response as z scores of the training lines, for drugs with any (lines × drug ids).
    truth: pd.DataFrame
    #: Number of each cell's cluster; `None` if clusters are not wanted or could not be made.
    cluster: np.ndarray | None
    #: Why clusters that are wanted could not be made.
    without_clusters: str = ""
    #: Response of the same lines and drugs in another screen, as z scores of its other lines.
    second: pd.DataFrame | None = None


@dataclass(frozen=True)
class Scored:
    """Predictions of one model at each level, as z scores, and the truth of the drugs that it predicts."""

    units: dict[str, Units]
    truth: np.ndarray
    same_unit: bool
    #: Truth of another screen, of the same lines and drugs; `None` without one.
    second: np.ndarray | None = None


def standard_truth(data: TransferData, lines: list[str]) -> pd.DataFrame:
    """Measured response as z scores of the training lines (lines × drugs with any).

    Raises
    ------
    ValueError
        If a line was not screened.
    """
    sign = 1.0 if data.lower_is_sensitive else -1.0
    values = data.by_line(data.response.to_numpy(dtype=float), lines)
    truth = pd.DataFrame(sign * (values - data.mean) / data.sd, index=lines, columns=data.drugs)
    empty = truth.index[truth.isna().all(axis=1)]
    if len(empty):
        raise ValueError(
            f"The reference has no response of {len(empty)} lines of the assay: {examples(empty)}. Leave their cells out, "
            "or use a reference in which they were screened."
        )
    return truth.dropna(axis=1, how="all")


def second_truth(data: TransferData, screen: pd.DataFrame, lines: Sequence[str], names: pd.Index) -> pd.DataFrame:
    """Response of the lines in another screen as z scores of the lines that are trained on (lines × drugs of `data`).

    Parameters
    ----------
    data
        The reference, divided.
    screen
        Response in the other screen, low = sensitive, by lines and drugs of the reference.
    lines
        Lines of the assay.
    names
        Names in the reference of the rows of `data.bulk`.
    """
    drugs = data.drugs[data.drugs.isin(screen.columns)]
    others = screen.loc[screen.index.isin(data.training.obs_names), drugs]
    values = data.by_line(screen.reindex(index=names, columns=drugs).to_numpy(dtype=float), lines)
    sd = others.std(ddof=0).to_numpy()
    usable = (others.notna().sum().to_numpy() > 1) & (sd > 0)
    scores = (values - others.mean().to_numpy())[:, usable] / sd[usable]
    return pd.DataFrame(scores, index=list(lines), columns=drugs[usable])


def find_clusters(cells: AnnData, cluster_key: str | None, options: Mapping[str, Any]) -> tuple[np.ndarray | None, str]:
    """Clusters of a column, or of Leiden; `None`, with a warning and the reason, if a package for that is missing."""
    if cluster_key is not None:
        check_key(cells.obs, cluster_key, where="cells.obs", hint="Name the column of clusters with `cluster_key`.")
        return pd.factorize(cells.obs[cluster_key].astype(str))[0], ""
    try:
        return cluster_cells(cells, layer=options.get("layer"), scale=options.get("scale", "auto")), ""
    except ImportError as error:
        warnings.warn(f"Clusters are not scored: {error}", UserWarning, stacklevel=3)
        return None, str(error)


def predict_levels(
    model: DrugResponseModel, assay: LineAssay, levels: Sequence[str], options: Mapping[str, Any]
) -> Scored:
    """Predict cells and bulk profiles with a trained model."""
    standard = Standard.of(model, assay.data, assay.truth.columns)
    drugs = list(standard.drugs)
    units: dict[str, Units] = {}
    if {"cell", "line mean", "cluster"}.intersection(levels):
        cells = predict_cells(model, assay.cells, drugs=drugs, options=options)
        by_line = _units(cells, assay.line, len(assay.lines), standard)
        if "cell" in levels:
            units["cell"] = by_line
        if "line mean" in levels:
            units["line mean"] = Units.of_rows(by_line.mean)
        if assay.cluster is not None:
            means = _units(cells, assay.cluster, assay.cluster.max() + 1, standard).mean
            units["cluster"] = Units.of_rows(means, majority(assay.cluster, assay.line)[0])
    if "pseudobulk" in levels:
        sums, own = pseudobulk(assay.cells, assay.line, names=assay.lines, options=dict(options))
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="The cohort of fewer than")  # lines are few by nature
            units["pseudobulk"] = Units.of_rows(standard(predict_cells(model, sums, drugs=drugs, options=own)))
    if "bulk" in levels:
        bulk = standard(predict_bulk(model, assay.data, drugs=drugs))
        units["bulk"] = Units.of_rows(assay.data.by_line(bulk, assay.lines))
    second = None if assay.second is None else assay.second[drugs].to_numpy()
    if second is not None:
        units[SECOND_SCREEN] = Units.of_rows(np.nan_to_num(second))
    return Scored(units, assay.truth[drugs].to_numpy(), standard.same_unit, second)


def _units(cells: np.ndarray, group: np.ndarray, n_groups: int, standard: Standard) -> Units:
    """Cells by group; standardised afterwards, so that no copy of all cells is made in double precision."""
    units = Units.of_cells(cells, group, n_groups)
    variance = np.where(standard.varies, units.variance / np.where(standard.varies, standard.sd, 1.0) ** 2, 0.0)
    return Units(standard(units.mean), variance, units.line, units.weight)


def baseline_rows(assay: LineAssay, *, seed: int, n_bootstrap: int) -> list[Row]:
    """Size of the assay, and scores of the drug mean, which sees no cell."""
    truth = assay.truth.to_numpy()
    scored = Scored({"line mean": Units.of_rows(np.zeros_like(truth))}, truth, same_unit=True)
    return [
        Row(DRUG_MEAN, seed, "data", "lines", len(truth)),
        Row(DRUG_MEAN, seed, "data", "cells", len(assay.line)),
        Row(DRUG_MEAN, seed, "data", "training lines", assay.data.training.n_obs),
        *_level_rows(scored, DRUG_MEAN, seed, n_bootstrap),
    ]


def model_rows(scored: Scored, assay: LineAssay, name: str, seed: int, n_bootstrap: int) -> list[Row]:
    """Scores of one model."""
    rows = [Row(name, seed, "data", "drugs", scored.truth.shape[1])]
    rows += _level_rows(scored, name, seed, n_bootstrap)
    if assay.cluster is not None and "cluster" in scored.units:
        rows.append(Row(name, seed, "cluster", "purity", majority(assay.cluster, assay.line)[1]))
    if assay.without_clusters:
        rows += [Row(name, seed, "cluster", metric, math.nan, note=assay.without_clusters) for metric in _CORRELATIONS]
    headline = scored.units.get("line mean")
    if headline is not None:
        rows += _chance_rows(headline, scored.truth, name, seed)
    return rows


def _level_rows(scored: Scored, name: str, seed: int, n_bootstrap: int) -> list[Row]:
    weights = bootstrap_weights(*scored.truth.shape, n_resamples=n_bootstrap, seed=0)
    values, draws = _resampled(scored.units, scored.truth, weights)
    rows = []
    for level, score in values.items():
        rows.append(Row(name, seed, level, "n", int(scored.units[level].weight.sum())))
        for position, (metric, value) in enumerate(score._asdict().items()):
            if metric in _ERRORS and not scored.same_unit and level != SECOND_SCREEN:
                rows.append(Row(name, seed, level, metric, math.nan, note=_NOT_IN_UNIT))
                continue
            low, high = percentile_interval(draws[level][:, position])
            note = "" if math.isfinite(value) else _reason(scored.truth, metric)
            rows.append(Row(name, seed, level, metric, value, low, high, note))
        for bound, suffix in _BOUNDS.items():
            if bound in values and level not in (bound, SECOND_SCREEN):
                shares = score, values[bound], draws[level], draws[bound]
                rows += _share_rows(name, seed, level, suffix, *shares)
    if scored.second is not None:
        rows += _across_rows(scored, values[SECOND_SCREEN], draws[SECOND_SCREEN], weights, name, seed)
    return rows


def _resampled(
    units: Mapping[str, Units], truth: np.ndarray, weights: Sequence[tuple[np.ndarray, np.ndarray]]
) -> tuple[dict[str, LineScore], dict[str, np.ndarray]]:
    """Scores of each level, and those on the resamples (resamples × metrics)."""
    values = {level: score_units(part, truth) for level, part in units.items()}
    draws = {
        level: np.array([score_units(part, truth, line_weight=w, drug_weight=d) for w, d in weights]).reshape(
            -1, len(LineScore._fields)
        )
        for level, part in units.items()
    }
    return values, draws


def _across_rows(
    scored: Scored,
    bound: LineScore,
    bound_draws: np.ndarray,
    weights: Sequence[tuple[np.ndarray, np.ndarray]],
    name: str,
    seed: int,
) -> list[Row]:
    """Predictions against the other screen, beside the screen that was trained on, whose agreement with it is the same both ways."""
    units = {level: part for level, part in scored.units.items() if level != SECOND_SCREEN}
    values, draws = _resampled(units, np.where(np.isnan(scored.truth), np.nan, scored.second), weights)
    rows = []
    for level, score in values.items():
        for position, metric in enumerate(_CORRELATIONS):
            low, high = percentile_interval(draws[level][:, position])
            note = "" if math.isfinite(score[position]) else _reason(scored.truth, metric)
            rows.append(Row(name, seed, level, f"{metric}_across", score[position], low, high, note))
        rows += _share_rows(name, seed, level, "across_share", score, bound, draws[level], bound_draws)
    return rows


def _share_rows(
    name: str,
    seed: int,
    level: str,
    suffix: str,
    score: LineScore,
    bound: LineScore,
    draws: np.ndarray,
    bound_draws: np.ndarray,
) -> list[Row]:
    """Share of an upper bound, on the same resamples of lines and drugs."""
    rows = []
    for position, metric in enumerate(_CORRELATIONS):
        if not bound[position] > 0:
            rows.append(Row(name, seed, level, f"{metric}_{suffix}", math.nan, note=_NO_BOUND))
            continue
        positive = bound_draws[:, position] > 0
        ratio = np.full(len(draws), math.nan)
        ratio[positive] = draws[positive, position] / bound_draws[positive, position]
        low, high = percentile_interval(ratio)
        rows.append(Row(name, seed, level, f"{metric}_{suffix}", score[position] / bound[position], low, high))
    return rows


def _chance_rows(units: Units, truth: np.ndarray, name: str, seed: int) -> list[Row]:
    chance = permuted_scores(units, truth, n_permutations=200, seed=0)
    rows = []
    for metric in _CORRELATIONS:
        mean, low, high, p_value = (getattr(part, metric) for part in chance)
        note = "" if math.isfinite(mean) else _reason(truth, metric)
        rows.append(Row(name, seed, "shuffled lines", metric, mean, low, high, note))
        rows.append(Row(name, seed, "shuffled lines", f"{metric}_p", p_value, note=note))
    return rows


def _reason(truth: np.ndarray, metric: str) -> str:
    most = (~np.isnan(truth)).sum(axis=0).max(initial=0)
    if metric == "per_drug" and most == 2:
        return _FEW_LINES
    return _CONSTANT if most > 1 else _ONE_LINE
