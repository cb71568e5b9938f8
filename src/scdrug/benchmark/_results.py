"""Results of a benchmark as tidy tables, read from the files of its folds."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from .._arguments import checked
from .._validate import check_choice, nearest
from ..metrics import METRICS, drug_correlations, paired_test
from ._store import SCREEN_COLUMNS, SCREENS_FILE, FoldFile, Store

_FOLD = ["split", "model", "repeat", "fold"]


class Results:
    """Results of a benchmark.

    Tables are tidy: a row for each split, model, repeat and fold, by the names that the models were given.

    Parameters
    ----------
    folder
        Folder that :func:`run` wrote.

    Raises
    ------
    FileNotFoundError, ValueError
        If the folder holds no readable results.
    """

    @checked
    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self._store = Store(folder)
        self.provenance: dict[str, Any] = self._store.read_manifest()

    @property
    def folder(self) -> Path:
        """Where the results are."""
        return self._store.folder

    @property
    def name(self) -> str:
        """Title of the benchmark."""
        return str(self.provenance["name"])

    @property
    def models(self) -> dict[str, str]:
        """Names of the models by id."""
        return {key: str(value["name"]) for key, value in self.provenance["models"].items()}

    @property
    def splits(self) -> list[str]:
        """Names of the splits."""
        return list(self.provenance["splits"])

    def __repr__(self) -> str:
        unfinished = f", {len(self.missing)} folds missing" if len(self.missing) else ""
        return f"Results({self.name!r}: {len(self.splits)} splits, {len(self.models)} models{unfinished})"

    # ------------------------------------------------------------------ files of folds

    def _finished(self) -> list[tuple[str, str, str]]:
        return [
            (split, model, fold)
            for split in self.splits
            for model in self.models
            for fold in self._store.finished(split, model)
        ]

    @cached_property
    def _meta(self) -> pd.DataFrame:
        rows = []
        for split, model, fold in self._finished():
            meta = self._store.read_fold(split, model, fold).meta
            repeat, number = fold.split(".")
            rows.append(
                {"split": split, "model": self.models[model], "repeat": int(repeat), "fold": int(number), **meta}
            )
        return pd.DataFrame(rows, columns=None if rows else [*_FOLD, "scores"])

    @cached_property
    def folds(self) -> pd.DataFrame:
        """Sizes, chosen parameters, seconds and memory of each fold.

        `n_train`, `n_validation` and `n_test` count measured pairs; `params` is JSON; `peak_mb` is the largest memory of
        the process so far; `prevalence` is the share of sensitive pairs among labelled test pairs.
        """
        columns = [
            *_FOLD, "n_train", "n_validation", "n_mixed", "n_test", "fit_seconds", "predict_seconds", "peak_mb", "params",
            "validation_score", "transductive", "prevalence",
        ]  # fmt: skip
        table = self._meta.reindex(columns=columns)
        table["params"] = [json.dumps(value or {}, sort_keys=True) for value in table["params"]]
        return table

    @cached_property
    def scores(self) -> pd.DataFrame:
        """Value of each metric in each fold: split, model, repeat, fold, metric, value."""
        rows = [
            {**{column: row[column] for column in _FOLD}, "metric": metric.name, "value": row["scores"][metric.name]}
            for row in self._meta.to_dict("records")
            for metric in METRICS
            if metric.name in row["scores"]
        ]
        return pd.DataFrame(rows, columns=[*_FOLD, "metric", "value"])

    @property
    def missing(self) -> pd.DataFrame:
        """Folds of started models that are not finished: split, model, fold."""
        rows = []
        for split, described in self.provenance["splits"].items():
            for model, name in self.models.items():
                finished = self._store.finished(split, model)
                if finished:
                    rows += [(split, name, fold) for fold in described["folds"] if fold not in finished]
        return pd.DataFrame(rows, columns=["split", "model", "fold"])

    @checked
    def predictions(self, split: str, model: str) -> pd.DataFrame:
        """Test pairs of all folds.

        Parameters
        ----------
        split
            Name of the split.
        model
            Name of the model.

        Returns
        -------
        Columns repeat, fold, line, drug, predicted, observed; in the unit of the response, or of the model's own output
        (a probability, say).

        Raises
        ------
        ValueError
            If there is no such split or model, or no finished fold.
        """
        check_choice("split", split, self.splits)
        key = self._model_id(model)
        parts = []
        for fold in self._store.finished(split, key):
            repeat, number = fold.split(".")
            table = self._store.read_fold(split, key, fold).to_frame()
            table.insert(0, "repeat", int(repeat))
            table.insert(1, "fold", int(number))
            parts.append(table)
        if not parts:
            raise ValueError(f"No fold of {model!r} on {split!r} is finished. Run the benchmark again to go on.")
        return pd.concat(parts, ignore_index=True)

    def _model_id(self, name: str) -> str:
        for key, value in self.models.items():
            if name in (key, value):
                return key
        near = nearest(name, self.models.values(), n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise ValueError(f"There is no model {name!r}.{hint} There are: {', '.join(map(repr, self.models.values()))}.")

    @cached_property
    def per_drug(self) -> pd.DataFrame:
        """Each drug in each fold: number of lines, correlations, and errors beside those of the drug mean.

        Correlations are signed so that positive is right; they are NaN for drugs with fewer than three test lines. `rmse`
        is NaN for models that predict in another unit. `baseline_rmse` is that of the drug's mean in training, or of the
        mean over drugs if it was not in training.
        """
        parts = []
        for split, model, fold in self._finished():
            table = _drug_scores(self._store.read_fold(split, model, fold))
            repeat, number = fold.split(".")
            for position, (column, value) in enumerate(
                zip(_FOLD, (split, self.models[model], int(repeat), int(number)))
            ):
                table.insert(position, column, value)
            parts.append(table)
        columns = [*_FOLD, "drug", "n", "pearson", "spearman", "rmse", "baseline_rmse"]
        return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=columns)

    @cached_property
    def single_cell(self) -> pd.DataFrame:
        """Transfer to single cells: task, model, seed, level, metric, value, low, high, note; empty if none was run."""
        return _single_cell(self.folder)

    @cached_property
    def screens(self) -> pd.DataFrame:
        """Scores by other screens, as :func:`score_screens` returns them; empty if the configuration names none."""
        path = self.folder / SCREENS_FILE
        return pd.read_csv(path) if path.is_file() else pd.DataFrame(columns=list(SCREEN_COLUMNS))

    # ------------------------------------------------------------------ summaries

    @checked
    def summary(self, metrics: Sequence[str] | None = None) -> pd.DataFrame:
        """Mean, standard deviation and number of folds.

        Parameters
        ----------
        metrics
            Names of metrics; all that were computed if omitted.

        Returns
        -------
        A row for each split and model, in the order of the configuration; columns (metric, ``"mean"``, ``"sd"`` or
        ``"n"``).
        """
        known = list(dict.fromkeys(self.scores["metric"]))
        chosen = [metric.name for metric in METRICS if metric.name in known] if metrics is None else list(metrics)
        for metric in chosen:
            check_choice("metrics", metric, [item.name for item in METRICS])
        grouped = self.scores.groupby(["split", "model", "metric"], sort=False)["value"]
        table = pd.DataFrame({"mean": grouped.mean(), "sd": grouped.std(ddof=1), "n": grouped.count()})
        table = table.unstack("metric").swaplevel(axis=1)
        table = table.reindex(columns=pd.MultiIndex.from_product([chosen, ["mean", "sd", "n"]]))
        started = [(split, name) for split in self.splits for name in self.models.values()]
        return table.reindex([key for key in started if key in table.index])

    @checked
    def compare(self, baseline: str, metric: str = "per_drug_pearson") -> pd.DataFrame:
        """Compare all models with one, on the same folds.

        Parameters
        ----------
        baseline
            Name of the model to compare with.
        metric
            Name of the metric.

        Returns
        -------
        Columns split, model, difference (positive = better than the baseline), low and high (95 % interval), p_value
        and n (folds). Folds share training data, so variances are enlarged after Nadeau and Bengio 2003.

        Raises
        ------
        ValueError
            If there is no such model or metric.
        """
        from scipy import stats

        check_choice("metric", metric, [item.name for item in METRICS])
        better = 1 if next(item.higher_is_better for item in METRICS if item.name == metric) else -1
        name = self.models[self._model_id(baseline)]
        chosen = self.scores[self.scores["metric"] == metric]
        rows = []
        for split, part in chosen.groupby("split", sort=False):
            wide = part.pivot_table(index=["repeat", "fold"], columns="model", values="value")
            if name not in wide:
                continue
            fraction = min(0.9, max(0.01, float(self.provenance["splits"][split]["test_fraction"])))
            for model in [value for value in self.models.values() if value in wide and value != name]:
                pairs = wide[[model, name]].dropna()
                difference = better * (pairs[model] - pairs[name]).to_numpy()
                row = {"split": split, "model": model, "difference": difference.mean() if len(pairs) else np.nan}
                row |= {"low": np.nan, "high": np.nan, "p_value": np.nan, "n": len(pairs)}
                if len(pairs) > 1:
                    test = paired_test(difference, np.zeros(len(pairs)), method="nadeau_bengio", test_fraction=fraction)
                    factor = 1 / len(pairs) + fraction / (1 - fraction)
                    margin = stats.t.ppf(0.975, len(pairs) - 1) * np.sqrt(factor) * difference.std(ddof=1)
                    row |= {"low": row["difference"] - margin, "high": row["difference"] + margin}
                    row["p_value"] = test.p_value
                rows.append(row)
        return pd.DataFrame(rows, columns=["split", "model", "difference", "low", "high", "p_value", "n"])


@checked
def read_results(folder: str | os.PathLike[str]) -> Results:
    """Read the results of a benchmark, finished or not.

    Parameters
    ----------
    folder
        Folder that :func:`run` or ``scdrug benchmark run`` wrote.

    Returns
    -------
    The results.

    Raises
    ------
    FileNotFoundError
        If the folder holds no results.
    ValueError
        If they are damaged, or were written by another version.
    """
    return Results(folder)


def _single_cell(folder: Path) -> pd.DataFrame:
    files = sorted((folder / "single_cell").glob("*/*.csv"))
    columns = ["task", "model", "seed", "level", "metric", "value", "low", "high", "note"]
    parts = [pd.read_csv(path) for path in files if not path.name.startswith(".")]
    if not parts:
        return pd.DataFrame(columns=columns)
    # the naive baseline of a task stands in the file of each model
    return pd.concat(parts).drop_duplicates(["task", "model", "seed", "level", "metric"]).reset_index(drop=True)


def _drug_scores(fold: FoldFile) -> pd.DataFrame:
    predicted, observed = fold.matrices()
    known = ~np.isnan(observed)
    oriented = fold.meta["sign"] * np.where(known, predicted, 0.0)
    counts = known.sum(axis=0)

    def errors(values: np.ndarray) -> np.ndarray:
        squared = np.where(known, (values - observed) ** 2, 0.0).sum(axis=0)
        return np.sqrt(squared / np.maximum(counts, 1))

    table = pd.DataFrame(
        {
            "drug": fold.drugs,
            "n": counts,
            "pearson": drug_correlations(oriented, observed),
            "spearman": drug_correlations(oriented, observed, method="spearman"),
            "rmse": errors(predicted) if fold.meta["same_unit"] else np.nan,
            "baseline_rmse": errors(np.broadcast_to(fold.drug_mean, observed.shape)),
        }
    )
    return table[table["n"] > 0]
