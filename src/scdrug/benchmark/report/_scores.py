"""What is known of a split: means over folds, the strongest baseline, and tests against it."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from ...metrics import METRICS

if TYPE_CHECKING:
    from .._results import Results

#: Metric that drug and line effects cannot fill, by kind of split; it decides which model is strongest.
HEADLINES = {
    "line": "per_drug_pearson",
    "tissue": "per_drug_pearson",
    "pair": "per_line_pearson_centered",
    "drug": "per_line_pearson_centered",
    "disjoint": "per_line_pearson_centered",
}
#: Metrics whose best value is the lowest.
LOWER_IS_BETTER = {metric.name for metric in METRICS if not metric.higher_is_better}


@dataclass(frozen=True)
class SplitScores:
    """What a split's table is made of."""

    split: str
    kind: str
    #: Mean and standard deviation, number of folds (models × metrics).
    mean: pd.DataFrame
    sd: pd.DataFrame
    n: pd.DataFrame
    #: Finished folds of each model, and all folds.
    finished: pd.Series
    n_folds: int
    baselines: Sequence[str]
    headline: str
    #: Mean and standard deviation of the drug mean, by metric; empty if it cannot be told.
    reference: dict[str, tuple[float, float]]
    #: Differences to the strongest baseline, by model: difference, low, high, p_value, holm, n.
    tests: pd.DataFrame

    @property
    def complete(self) -> list[str]:
        """Models with as many folds as any: only these are compared."""
        return list(self.finished.index[self.finished == self.finished.max()])

    @property
    def strongest(self) -> str | None:
        """The baseline that is best by the headline."""
        return self._best([name for name in self.complete if name in self.baselines])

    @property
    def winner(self) -> str | None:
        """The model that is best by the headline."""
        return self._best(self.complete)

    def ranked(self, metric: str | None = None) -> list[str]:
        """Models by a metric, the headline by default, the best first."""
        metric = metric or self.headline
        order = self.mean[metric].sort_values(ascending=metric in LOWER_IS_BETTER, kind="stable")
        return [str(name) for name in order.index]

    def _best(self, names: Sequence[str]) -> str | None:
        if self.headline not in self.mean:
            return None
        values = self.mean.loc[list(names), self.headline].dropna()
        if values.empty:
            return None
        return str(values.idxmin() if self.headline in LOWER_IS_BETTER else values.idxmax())


def split_scores(results: Results, split: str, baselines: Collection[str]) -> SplitScores:
    """Collect what is known of a split.

    Parameters
    ----------
    results
        Results of a benchmark.
    split
        Name of the split.
    baselines
        Names of models that are baselines.
    """
    summary = results.summary().xs(split, level=0)
    mean, sd, n = (summary.xs(part, axis=1, level=1) for part in ("mean", "sd", "n"))
    scores = results.scores[results.scores["split"] == split]
    folds = scores[["model", "repeat", "fold"]].drop_duplicates()
    described = results.provenance.get("splits", {}).get(split, {})
    kind = str(described.get("kind", split))
    headline = HEADLINES.get(kind, "per_drug_pearson")
    if headline not in mean or mean[headline].isna().all():
        headline = next(str(name) for name in mean.columns if mean[name].notna().any())
    known = folds[["repeat", "fold"]].drop_duplicates()
    found = SplitScores(
        split=split,
        kind=kind,
        mean=mean,
        sd=sd,
        n=n,
        finished=folds["model"].value_counts().reindex(mean.index),
        n_folds=max(len(described.get("folds", ())), len(known)),
        baselines=[name for name in mean.index if name in baselines],
        headline=headline,
        reference=_drug_mean(results.per_drug, split),
        tests=pd.DataFrame(),
    )
    if found.strongest is None or len(found.mean) < 2:
        return found
    return replace(found, tests=_tests(results, split, found.strongest, headline))


def _tests(results: Results, split: str, baseline: str, metric: str) -> pd.DataFrame:
    """Paired differences to a baseline, with p values of all models of the split corrected after Holm."""
    from statsmodels.stats.multitest import multipletests

    table = results.compare(baseline, metric)
    table = table[table["split"] == split].set_index("model")
    defined = table["p_value"].notna()
    table["holm"] = math.nan
    if defined.any():
        table.loc[defined, "holm"] = multipletests(table.loc[defined, "p_value"], method="holm")[1]
    return table


def _drug_mean(per_drug: pd.DataFrame, split: str) -> dict[str, tuple[float, float]]:
    """What the mean training response reaches: correlations within drugs and skill are zero, only RMSE is measured."""
    part = per_drug[(per_drug["split"] == split) & per_drug["baseline_rmse"].notna() & (per_drug["n"] > 0)]
    if part.empty:
        return {}
    # the same in the file of each model; the one with most folds tells most
    part = part[part["model"] == part["model"].value_counts().index[0]]
    squares = part["n"] * part["baseline_rmse"] ** 2
    by_fold = squares.groupby([part["repeat"], part["fold"]]).sum() / part.groupby(["repeat", "fold"])["n"].sum()
    rmse = np.sqrt(by_fold)
    zero = dict.fromkeys(
        ["per_drug_pearson", "per_drug_spearman", "per_line_pearson_centered", "skill"], (0.0, math.nan)
    )
    return {**zero, "rmse": (float(rmse.mean()), float(rmse.std(ddof=1)) if len(rmse) > 1 else math.nan)}
