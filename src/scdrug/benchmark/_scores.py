"""Scores of one fold: every metric that its predictions and its labels allow."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from .._validate import examples
from ..metrics import METRICS, Metric


@dataclass(frozen=True)
class DrugLevels:
    """What training says of each test drug; drugs × values."""

    #: Mean training response; the mean over all drugs where `new`.
    mean: np.ndarray
    #: Whether the drug was not in training.
    new: np.ndarray
    #: Responses at which a line is called sensitive and resistant; NaN where there are no labels.
    sensitive: np.ndarray
    resistant: np.ndarray


def drug_levels(
    training: pd.DataFrame, drugs: pd.Index, *, labels: Mapping[str, Any] | None, lower_is_sensitive: bool
) -> DrugLevels:
    """Means and thresholds of drugs, from training responses only.

    Parameters
    ----------
    training
        Lines × drug ids, training and validation responses.
    drugs
        Test drugs.
    labels
        Rule of :func:`scdrug.pp.binarize_response`: `method` and what it takes. `None` for no labels.
    lower_is_sensitive
        Direction of the response.
    """
    from ..pp._response import binarize

    values = training.reindex(columns=drugs)
    mean = values.mean(axis=0).to_numpy()
    new = ~np.isin(drugs, training.columns)
    mean = np.where(np.isnan(mean), training.mean(axis=0).mean(), mean)
    sensitive = np.full(len(drugs), np.nan)
    resistant = np.full(len(drugs), np.nan)
    if labels is not None:
        options = dict(labels)
        threshold = options.pop("threshold", None)
        for j, drug in enumerate(drugs):
            given = threshold.get(drug) if isinstance(threshold, Mapping) else threshold
            if given is not None:  # known beforehand, so that new drugs have labels too
                sensitive[j] = resistant[j] = float(given)
                continue
            if new[j] or isinstance(threshold, Mapping):
                continue
            rule = binarize(
                values[drug].to_numpy(dtype=float),
                **options,
                lower_is_sensitive=lower_is_sensitive,
            )
            if rule.status == "ok":
                sensitive[j], resistant[j] = rule.sensitive_threshold, rule.resistant_threshold
    return DrugLevels(mean, new, sensitive, resistant)


def check_predictions(predicted: pd.DataFrame, observed: pd.DataFrame, *, name: str) -> np.ndarray:
    """Predictions in the order of the observations.

    Raises
    ------
    ValueError
        If a test line or drug is missing, or a prediction is not finite.
    """
    lines, drugs = observed.index.difference(predicted.index), observed.columns.difference(predicted.columns)
    if len(lines) or len(drugs):
        raise ValueError(
            f"{name} predicted {predicted.shape[0]} lines and {predicted.shape[1]} drugs, without "
            f"{len(lines)} lines and {len(drugs)} drugs of the test set: {examples([*lines, *drugs])}. "
            "`predict` must return every line and drug that it is asked for, under their own names."
        )
    values = predicted.loc[observed.index, observed.columns].to_numpy(dtype=np.float64)
    bad = ~np.isfinite(values) & observed.notna().to_numpy()
    if bad.any():
        row, column = np.argwhere(bad)[0]
        raise ValueError(
            f"{name} predicted NaN or infinity for {int(bad.sum())} test pairs, the first of them "
            f"{observed.index[row]} with {observed.columns[column]}. A model must answer every pair, with the mean of "
            "training where it knows nothing better."
        )
    return np.where(np.isfinite(values), values, 0.0)


def score_fold(
    predicted: np.ndarray,
    observed: np.ndarray,
    levels: DrugLevels,
    *,
    same_unit: bool = True,
    lower_is_sensitive: bool = True,
    predicted_lower_is_sensitive: bool = True,
) -> dict[str, float]:
    """All metrics that apply.

    Parameters
    ----------
    predicted, observed
        Lines × drugs, NaN in `observed` except for test pairs.
    levels
        What training says of the drugs.
    same_unit
        Whether predictions are in the unit of the response; else, as for probabilities, errors are not defined.
    lower_is_sensitive, predicted_lower_is_sensitive
        Direction of the response and of the predictions.

    Returns
    -------
    Value by name of the metric; metrics that are not defined, as with one class only, are left out.
    """
    oriented = predicted if lower_is_sensitive == predicted_lower_is_sensitive else -predicted
    drug_mean = None if levels.new.any() or not same_unit else levels.mean
    scores, decisions, labels = _classes(
        predicted,
        observed,
        levels,
        same_unit=same_unit,
        observed_lower=lower_is_sensitive,
        lower=predicted_lower_is_sensitive,
    )
    has_labels = not np.isnan(labels).all()
    result = {}
    for metric in METRICS:
        if metric.kind in ("score", "decision"):
            if not has_labels:
                continue
            arguments: tuple[Any, ...] = (scores if metric.kind == "score" else decisions, labels)
        elif metric.name in ("rmse", "skill") and not same_unit:
            continue
        elif metric.name == "skill":
            arguments = (oriented, observed, levels.mean)
        elif metric.kind == "drug_centered":
            arguments = (oriented, observed, drug_mean)
        else:
            arguments = (oriented, observed)
        value = _defined(metric, arguments)
        if math.isfinite(value):
            result[metric.name] = value
    return result


def sensitive_share(observed: np.ndarray, levels: DrugLevels, *, lower_is_sensitive: bool) -> float | None:
    """Share of the labelled test pairs that are sensitive, what a precision is to be compared with; None without labels."""
    zeros = np.zeros_like(observed)
    labels = _classes(zeros, observed, levels, same_unit=True, observed_lower=lower_is_sensitive, lower=True)[2]
    return None if np.isnan(labels).all() else float(np.nanmean(labels))


def _classes(
    predicted: np.ndarray,
    observed: np.ndarray,
    levels: DrugLevels,
    *,
    same_unit: bool,
    observed_lower: bool,
    lower: bool,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scores (higher = more sensitive), calls and labels; lines × drugs."""
    sign = 1.0 if observed_lower else -1.0
    with np.errstate(invalid="ignore"):
        sensitive, resistant = sign * observed < sign * levels.sensitive, sign * observed >= sign * levels.resistant
    labels = np.where(sensitive, 1.0, np.where(resistant, 0.0, np.nan))
    labels[np.isnan(observed) | np.isnan(levels.sensitive)[None, :]] = np.nan
    if same_unit:
        middle = np.nan_to_num((levels.sensitive + levels.resistant) / 2)
        scores = middle - predicted if lower else predicted - middle
        return scores, (scores > 0).astype(float), labels
    scores = -predicted if lower else predicted
    return scores, (scores >= 0.5).astype(float), labels


def _defined(metric: Metric, arguments: tuple[Any, ...]) -> float:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return float(metric.fn(*arguments))
    except ValueError:  # e.g. one class, or constant predictions where a correlation is asked
        return math.nan
