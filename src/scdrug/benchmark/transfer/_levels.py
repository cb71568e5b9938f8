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
_CORRELATIONS = ("flat", "contrast")
#: Defined for predictions in the unit of the response only.
_ERRORS = ("rmse_z", "bias_z")
_CONSTANT = "the prediction does not differ between lines"
_ONE_LINE = "no drug was measured in two of the lines"
_NOT_IN_UNIT = "predictions are not in the unit of the response"
_NO_BOUND = "the upper bound is not positive"


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


@dataclass(frozen=True)
class Scored:
    """Predictions of one model at each level, as z scores, and the truth of the drugs that it predicts."""

    units: dict[str, Units]
    truth: np.ndarray
    same_unit: bool


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
    return Scored(units, assay.truth[drugs].to_numpy(), standard.same_unit)


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
    truth = scored.truth
    weights = bootstrap_weights(*truth.shape, n_resamples=n_bootstrap, seed=0)
    values = {level: score_units(units, truth) for level, units in scored.units.items()}
    draws = {
        level: np.array([score_units(units, truth, line_weight=w, drug_weight=d) for w, d in weights]).reshape(
            -1, len(LineScore._fields)
        )
        for level, units in scored.units.items()
    }
    rows = []
    for level, score in values.items():
        rows.append(Row(name, seed, level, "n", int(scored.units[level].weight.sum())))
        for position, (metric, value) in enumerate(score._asdict().items()):
            if metric in _ERRORS and not scored.same_unit:
                rows.append(Row(name, seed, level, metric, math.nan, note=_NOT_IN_UNIT))
                continue
            low, high = percentile_interval(draws[level][:, position])
            note = "" if math.isfinite(value) else _reason(truth)
            rows.append(Row(name, seed, level, metric, value, low, high, note))
        if level != "bulk" and "bulk" in values:
            rows += _share_rows(name, seed, level, score, values["bulk"], draws[level], draws["bulk"])
    return rows


def _share_rows(
    name: str, seed: int, level: str, score: LineScore, bound: LineScore, draws: np.ndarray, bound_draws: np.ndarray
) -> list[Row]:
    """Share of the upper bound, on the same resamples of lines and drugs."""
    rows = []
    for position, metric in enumerate(_CORRELATIONS):
        if not bound[position] > 0:
            rows.append(Row(name, seed, level, f"{metric}_share", math.nan, note=_NO_BOUND))
            continue
        positive = bound_draws[:, position] > 0
        ratio = np.full(len(draws), math.nan)
        ratio[positive] = draws[positive, position] / bound_draws[positive, position]
        low, high = percentile_interval(ratio)
        rows.append(Row(name, seed, level, f"{metric}_share", score[position] / bound[position], low, high))
    return rows


def _chance_rows(units: Units, truth: np.ndarray, name: str, seed: int) -> list[Row]:
    chance = permuted_scores(units, truth, n_permutations=200, seed=0)
    rows = []
    for metric in _CORRELATIONS:
        mean, low, high, p_value = (getattr(part, metric) for part in chance)
        note = "" if math.isfinite(mean) else _reason(truth)
        rows.append(Row(name, seed, "shuffled lines", metric, mean, low, high, note))
        rows.append(Row(name, seed, "shuffled lines", f"{metric}_p", p_value, note=note))
    return rows


def _reason(truth: np.ndarray) -> str:
    several = ((~np.isnan(truth)).sum(axis=0) > 1).any()
    return _CONSTANT if several else _ONE_LINE
