"""Scores of a benchmark by model: over folds, and over drugs."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from .._arguments import checked
from .._validate import check_choice
from ..metrics import METRICS
from ._benchmark_draw import (
    BASELINE,
    MODEL,
    check_columns,
    draw_distribution,
    draw_mean,
    draw_reference,
    model_axes,
    name_models,
    one_split,
    write_beside,
)
from ._style import FONT

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Names of metrics as they stand on axes.
METRIC_LABELS = {
    "per_drug_pearson": "mean per-drug Pearson r",
    "per_drug_spearman": "mean per-drug Spearman ρ",
    "per_line_pearson_centered": "mean per-line drug-centred Pearson r",
    "skill": "skill: share of the drug mean's RMSE removed",
    "rmse": "RMSE",
    "pearson": "pooled Pearson r",
    "spearman": "pooled Spearman ρ",
    "per_drug_auroc": "mean per-drug AUROC",
    "per_drug_auprc": "mean per-drug AUPRC",
    "auroc": "pooled AUROC",
    "auprc": "pooled AUPRC",
    "mcc": "Matthews correlation",
    "balanced_accuracy": "balanced accuracy",
    "f1": "F1",
    "accuracy": "accuracy",
}
#: Skills below this would hide all others; they are drawn at the edge.
_LOWEST_SKILL = -1.0
_BOX_KEY = "box: middle half, line: median, diamond: mean"


@checked
def benchmark_scores(
    scores: pd.DataFrame,
    *,
    metric: str = "per_drug_pearson",
    split: str | None = None,
    baselines: Collection[str] = (),
    figsize: tuple[float, float] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Plot the score of each model in each fold, and its mean, the best model on top.

    Parameters
    ----------
    scores
        `scores` of :class:`scdrug.benchmark.Results`: split, model, repeat, fold, metric, value.
    metric
        Name of a metric of :data:`scdrug.metrics.METRICS`.
    split
        Name of the split; can be omitted if there is one only.
    baselines
        Names of models to draw in grey. A dashed line marks the best of them.
    figsize
        Width and height of a new figure in inches.
    ax
        Where to plot; best in a figure with ``layout="constrained"``.

    Returns
    -------
    The Axes. Mean, standard deviation and number of folds stand beside each row.

    Raises
    ------
    KeyError
        If a column is missing.
    ValueError
        If the metric or split is unknown or was not scored, or several splits are to be plotted at once.

    Examples
    --------
    >>> import pandas as pd, scdrug
    >>> scores = pd.DataFrame(
    ...     {
    ...         "split": "line",
    ...         "model": ["ridge", "ridge", "mean"],
    ...         "repeat": 1,
    ...         "fold": [1, 2, 1],
    ...         "metric": "per_drug_pearson",
    ...         "value": [0.5, 0.6, 0.0],
    ...     }
    ... )
    >>> ax = scdrug.pl.benchmark_scores(scores, baselines=["mean"])
    >>> [label.get_text() for label in ax.get_yticklabels()]
    ['ridge', 'mean']
    """
    check_columns(scores, ["split", "model", "metric", "value"], argument="scores")
    known = {item.name: item for item in METRICS}
    check_choice("metric", metric, list(known))
    part = one_split(scores, split)
    part = part[(part["metric"] == metric) & part["value"].notna()]
    if part.empty:
        raise ValueError(
            f"No model has a value of {metric!r} here. There are: {', '.join(pd.unique(scores['metric']))}."
        )
    higher = known[metric].higher_is_better

    grouped = part.groupby("model", sort=False)["value"]
    table = pd.DataFrame({"mean": grouped.mean(), "sd": grouped.std(ddof=1), "n": grouped.count()})
    table = table.sort_values("mean", ascending=not higher, kind="stable")
    ax = model_axes(ax, len(table), figsize)
    for row, name in enumerate(table.index):
        values = part.loc[part["model"] == name, "value"].to_numpy(dtype=float)
        color = BASELINE if name in baselines else MODEL
        ax.plot([values.min(), values.max()], [row, row], color=color, linewidth=1.2, alpha=0.5, zorder=2)
        ax.scatter(values, np.full(len(values), row), s=17, color=color, alpha=0.55, linewidths=0, zorder=3)
        draw_mean(ax, row, table.loc[name, "mean"], baseline=name in baselines)
    strongest = [name for name in table.index if name in baselines][:1]
    for name in strongest:
        draw_reference(ax, table.loc[name, "mean"], dashed=True)
    name_models(ax, list(table.index), baselines)
    write_beside(ax, [_mean_text(*row) for row in table.itertuples(index=False)], "mean ± SD (folds)")
    direction = "" if higher else ", lower is better"
    key = "dots: folds, diamond: mean" + ("; grey: baselines, dashed: the best of them" if strongest else "")
    ax.set_xlabel(f"{METRIC_LABELS[metric]}{direction}\n{key}", fontsize=FONT)
    return ax


@checked
def benchmark_per_drug(
    per_drug: pd.DataFrame,
    *,
    split: str | None = None,
    metric: str = "pearson",
    baselines: Collection[str] = (),
    figsize: tuple[float, float] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Plot how well each drug is predicted, as a distribution over drugs for each model.

    Parameters
    ----------
    per_drug
        `per_drug` of :class:`scdrug.benchmark.Results`: split, model, drug, and correlations over test lines. Folds of a
        drug are averaged.
    split
        Name of the split; can be omitted if there is one only.
    metric
        ``"pearson"`` or ``"spearman"``.
    baselines
        Names of models to draw in grey.
    figsize
        Width and height of a new figure in inches.
    ax
        Where to plot; best in a figure with ``layout="constrained"``.

    Returns
    -------
    The Axes: a dot for each drug, a box for the middle half of them, a line for the median and a diamond for the mean.

    Raises
    ------
    KeyError
        If a column is missing.
    ValueError
        If the split is unknown, or no drug has enough test lines for a correlation.

    Examples
    --------
    >>> import pandas as pd, scdrug
    >>> per_drug = pd.DataFrame(
    ...     {
    ...         "split": "line",
    ...         "model": ["ridge", "ridge", "mean", "mean"],
    ...         "drug": ["a", "b", "a", "b"],
    ...         "pearson": [0.4, 0.7, 0.0, 0.0],
    ...     }
    ... )
    >>> ax = scdrug.pl.benchmark_per_drug(per_drug, baselines=["mean"])
    >>> [label.get_text() for label in ax.get_yticklabels()]
    ['ridge', 'mean']
    """
    check_choice("metric", metric, ("pearson", "spearman"))
    check_columns(per_drug, ["split", "model", "drug", metric], argument="per_drug")
    part = one_split(per_drug, split)
    values = part.groupby(["model", "drug"], sort=False, observed=True)[metric].mean().dropna()
    if values.empty:
        raise ValueError("No drug has enough test lines for a correlation.")
    name = "Pearson r" if metric == "pearson" else "Spearman ρ"
    rows = _by_model(values)
    ax = _draw_by_drug(ax, rows, baselines, figsize)
    draw_reference(ax, 0.0)
    write_beside(ax, [f"{row.mean():.3f} ({len(row)})".replace("-", "−") for row in rows.values()], "mean (drugs)")
    ax.set_xlabel(f"{name} over test lines, one dot per drug\n{_BOX_KEY}", fontsize=FONT)
    return ax


@checked
def benchmark_skill(
    per_drug: pd.DataFrame,
    *,
    split: str | None = None,
    baselines: Collection[str] = (),
    figsize: tuple[float, float] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Plot the share of the drug mean's error that each model removes, drug by drug.

    Skill is ``1 − RMSE / RMSE of the drug mean`` over all test lines of a drug: 1 is perfect, 0 as good as the mean of
    training responses, negative worse. For drugs that were not in training the mean over all drugs takes its place.

    Parameters
    ----------
    per_drug
        `per_drug` of :class:`scdrug.benchmark.Results`: split, model, drug, n (test lines), rmse, baseline_rmse. Squared
        errors of the folds of a drug are pooled.
    split
        Name of the split; can be omitted if there is one only.
    baselines
        Names of models to draw in grey.
    figsize
        Width and height of a new figure in inches.
    ax
        Where to plot; best in a figure with ``layout="constrained"``.

    Returns
    -------
    The Axes. Models whose predictions are in another unit than the response have no errors and are left out.

    Raises
    ------
    KeyError
        If a column is missing.
    ValueError
        If the split is unknown, or no model predicts in the unit of the response.

    Examples
    --------
    >>> import pandas as pd, scdrug
    >>> per_drug = pd.DataFrame(
    ...     {"split": "line", "model": "ridge", "drug": ["a", "b"], "n": 9, "rmse": [1.0, 1.5], "baseline_rmse": 2.0}
    ... )
    >>> ax = scdrug.pl.benchmark_skill(per_drug)
    >>> [text.get_text() for text in ax.texts]
    ['0.375, 100 %', 'median, drugs above 0']
    """
    check_columns(per_drug, ["split", "model", "drug", "n", "rmse", "baseline_rmse"], argument="per_drug")
    rows = _by_model(drug_skill(one_split(per_drug, split)), np.median)
    if not rows:
        raise ValueError("No model predicts in the unit of the response, so there are no errors to compare.")
    cut = any((row < _LOWEST_SKILL).any() for row in rows.values())
    shown = {name: np.maximum(row, _LOWEST_SKILL) for name, row in rows.items()}
    ax = _draw_by_drug(ax, shown, baselines, figsize, mean=False)
    draw_reference(ax, 0.0, dashed=True)
    beside = [f"{np.median(row):.3f}, {(row > 1e-9).mean():.0%}" for row in rows.values()]
    beside = [text.replace("-", "−").replace("%", " %") for text in beside]
    write_beside(ax, beside, "median, drugs above 0")
    edge = f"; below {_LOWEST_SKILL:.0f} drawn at the edge".replace("-", "−") if cut else ""
    ax.set_xlabel(
        f"skill = 1 − RMSE / RMSE of the drug mean, one dot per drug{edge}\nbox: middle half, line: median; 0 = drug mean",
        fontsize=FONT,
    )
    return ax


def drug_skill(per_drug: pd.DataFrame) -> pd.Series:
    """Skill of each model for each drug, from squared errors pooled over folds; indexed by model and drug."""
    n = per_drug["n"].astype(float)
    squares = pd.DataFrame(
        {
            "model": per_drug["model"],
            "drug": per_drug["drug"],
            "own": n * per_drug["rmse"] ** 2,
            "mean": n * per_drug["baseline_rmse"] ** 2,
        }
    ).dropna()
    sums = squares.groupby(["model", "drug"], sort=False, observed=True)[["own", "mean"]].sum()
    sums = sums[sums["mean"] > 0]
    return 1 - np.sqrt(sums["own"] / sums["mean"])


def _by_model(values: pd.Series, center: Callable[[np.ndarray], float] = np.mean) -> dict[str, np.ndarray]:
    """Values over drugs by model, the highest first."""
    rows = {str(name): part.to_numpy(dtype=float) for name, part in values.groupby(level=0, sort=False)}
    return dict(sorted(rows.items(), key=lambda item: -center(item[1])))


def _draw_by_drug(
    ax: Axes | None,
    rows: dict[str, np.ndarray],
    baselines: Collection[str],
    figsize: tuple[float, float] | None,
    *,
    mean: bool = True,
) -> Axes:
    ax = model_axes(ax, len(rows), figsize)
    for row, (name, values) in enumerate(rows.items()):
        draw_distribution(ax, row, values, baseline=name in baselines, mean=mean)
    name_models(ax, list(rows), baselines)
    return ax


def _mean_text(mean: float, sd: float, n: int) -> str:
    spread = "" if np.isnan(sd) else f" ± {sd:.3f}"
    return f"{mean:.3f}{spread} ({n})".replace("-", "−")
