"""Plots of a report as PNG."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ... import pl
from ..transfer._table import ALL_SENSITIVE, DRUG_MEAN, EXPRESSION
from ._scores import SplitScores

if TYPE_CHECKING:
    from .._results import Results

_DPI = 140


@dataclass(frozen=True)
class Figure:
    """A plot."""

    #: Of its file, without ending.
    name: str
    caption: str
    png: bytes
    #: In pixels of a page, 96 an inch.
    width: int


def split_figures(results: Results, scores: SplitScores) -> list[Figure]:
    """Draw scores, distribution over drugs, skill and calibration of a split, as far as they are defined.

    Parameters
    ----------
    results
        Results of a benchmark.
    scores
        A split.
    """
    split, grey = scores.split, scores.baselines
    figures = [
        _figure(
            f"{split}-scores",
            "Each model over the folds, by what is to be read first on this split.",
            lambda: pl.benchmark_scores(results.scores, metric=scores.headline, split=split, baselines=grey),
        )
    ]
    per_drug = results.per_drug[results.per_drug["split"] == split]
    if per_drug["pearson"].notna().any():
        caption = "Correlation of predicted and observed response over test lines, drug by drug."
        figures.append(_figure(f"{split}-per-drug", caption, lambda: pl.benchmark_per_drug(per_drug, baselines=grey)))
    if (per_drug["rmse"].notna() & (per_drug["baseline_rmse"] > 0)).any():
        caption = "Share of the drug mean's error that each model removes, drug by drug."
        figures.append(_figure(f"{split}-skill", caption, lambda: pl.benchmark_skill(per_drug, baselines=grey)))
    ranked = scores.ranked()
    in_unit = [name for name in ranked if "rmse" in scores.mean and pd.notna(scores.mean.loc[name, "rmse"])]
    if in_unit:
        table = _predictions(results, split, in_unit)
        caption = "Calibration within drugs: slope 1 is right in size, below 1 over-confident, above 1 timid."
        figures.append(
            _figure(f"{split}-calibration", caption, lambda: pl.benchmark_calibration(table, baselines=grey))
        )
    return figures


def cell_figures(single_cell: pd.DataFrame, baselines: Collection[str]) -> list[Figure]:
    """Draw each single-cell task that was run.

    Parameters
    ----------
    single_cell
        Tidy table of :class:`Results`.
    baselines
        Names of models that are baselines.
    """
    shown = single_cell[single_cell["metric"].isin(["flat", "contrast", "auroc"]) & single_cell["value"].notna()]
    grey = [*baselines, DRUG_MEAN, ALL_SENSITIVE, EXPRESSION]
    return [
        _figure(
            f"single-cell-{task}",
            f"{task}: models that were trained on bulk lines, tested on single cells.",
            lambda part=part: pl.benchmark_single_cell(part, baselines=grey),
        )
        for task, part in shown.groupby("task", sort=False)
    ]


def _predictions(results: Results, split: str, models: Collection[str]) -> pd.DataFrame:
    """Test pairs of all models, without the names that the plot does not need."""
    parts = []
    for code, name in enumerate(models):
        table = results.predictions(split, name)
        part = table[["repeat", "fold", "predicted", "observed"]].astype(
            {"repeat": np.int16, "fold": np.int16, "predicted": np.float32, "observed": np.float32}
        )
        parts.append(part.assign(model=np.int16(code), drug=table["drug"].astype("category")))
    drugs = pd.api.types.union_categoricals([part["drug"] for part in parts]).categories
    joined = pd.concat([part.assign(drug=part["drug"].cat.set_categories(drugs)) for part in parts], ignore_index=True)
    return joined.assign(model=pd.Categorical.from_codes(joined["model"], list(models)))


def _figure(name: str, caption: str, draw: Callable[[], Any]) -> Figure:
    import matplotlib.pyplot as plt

    # the report looks the same under any style that the session has set
    with plt.style.context("default"):
        drawn = np.ravel(np.array(draw(), dtype=object))[0].figure
        stream = BytesIO()
        drawn.savefig(stream, format="png", dpi=_DPI, facecolor="white", metadata={"Software": None})
        width = round(96 * drawn.get_figwidth())
        plt.close(drawn)
    return Figure(name, caption, stream.getvalue(), width)
