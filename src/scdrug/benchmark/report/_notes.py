"""What a reader must know before the numbers: warnings, and where the numbers come from."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd

from ...model._registry import CLASSES
from ._scores import SplitScores

if TYPE_CHECKING:
    from .._results import Results

#: Methods of `BulkClassifier` that learn nothing but a rate; all others count as strong.
_NAIVE_METHODS = ("sensitive", "drug_rate")


def find_baselines(results: Results) -> list[str]:
    """Names of the models whose class is a baseline of scdrug.

    Parameters
    ----------
    results
        Results of a benchmark.
    """
    return [name for name, model in _classes(results).items() if _is_baseline(model)]


def _classes(results: Results) -> dict[str, str]:
    """Class by label of each model."""
    models = results.provenance.get("models", {}).values()
    return {str(model.get("name", "")): str(model.get("model", "")) for model in models}


def _naive(results: Results) -> set[str]:
    """Names of the models that learn nothing but means or rates."""
    return {
        str(model.get("name", ""))
        for model in results.provenance.get("models", {}).values()
        if model.get("model") == "AdditiveMean" or (model.get("params") or {}).get("method") in _NAIVE_METHODS
    }


def _is_baseline(model: str) -> bool:
    return CLASSES.get(model) == "baseline"  # asking the class itself would load torch


def warnings_of(results: Results, splits: Sequence[SplitScores]) -> list[str]:
    """What limits the figures: missing folds, transductive models, drugs without a correlation, missing baselines.

    Parameters
    ----------
    results
        Results of a benchmark.
    splits
        Scores of its splits.
    """
    return [
        *_unfinished(splits),
        *_transductive(results.folds),
        *_few_lines(results.per_drug),
        *_without_baseline(results, splits),
        *_other_units(splits),
    ]


def _unfinished(splits: Sequence[SplitScores]) -> list[str]:
    notes = []
    for scores in splits:
        lacking = scores.finished[scores.finished < scores.n_folds]
        if len(lacking):
            models = ", ".join(f"{name} ({scores.n_folds - int(n)} of {scores.n_folds})" for name, n in lacking.items())
            notes.append(
                f"The run is unfinished. Split {scores.split} lacks folds of {models}. "
                "Give the same command again to go on."
            )
    return notes


def _transductive(folds: pd.DataFrame) -> list[str]:
    if "transductive" not in folds:
        return []
    seen = folds[folds["transductive"].fillna(False).astype(bool)]
    models = ", ".join(dict.fromkeys(seen["model"].astype(str)))
    splits = ", ".join(dict.fromkeys(seen["split"].astype(str)))
    return [
        f"Transductive on {splits}: {models}. Training saw the expression of test lines, without their responses, which "
        "all other models did not."
    ] * bool(models)


def _few_lines(per_drug: pd.DataFrame) -> list[str]:
    from ...metrics._regression import MIN_COUNT

    notes = []
    for split, part in per_drug.groupby("split", sort=False):
        one = part[["repeat", "fold", "drug", "n"]].drop_duplicates(["repeat", "fold", "drug"])
        few = one[one["n"] < MIN_COUNT]
        if len(few):
            notes.append(
                f"Split {split}: {few['drug'].nunique()} of {one['drug'].nunique()} drugs had fewer than {MIN_COUNT} test "
                f"lines in at least one fold, {len(few)} of {len(one)} times in all, and are left out of per-drug means there."
            )
    return notes


def _without_baseline(results: Results, splits: Sequence[SplitScores]) -> list[str]:
    naive = _naive(results)
    lacking = [scores.split for scores in splits if not set(scores.baselines) - naive]
    if not lacking:
        return []
    return [
        f"No strong baseline was run on {', '.join(lacking)}. Add KernelRidge or SoftImpute: a model that only beats means "
        "has shown little."
    ]


def _other_units(splits: Sequence[SplitScores]) -> list[str]:
    names = {
        str(name)
        for scores in splits
        if "rmse" in scores.mean and scores.mean["rmse"].notna().any()
        for name in scores.mean.index[scores.mean["rmse"].isna()]
    }
    if not names:
        return []
    return [
        f"{', '.join(sorted(names))}: predictions are not in the unit of the response, such as probabilities of a "
        "classifier, so errors and skill are not defined."
    ]


# ---------------------------------------------------------------------- provenance


def provenance_of(results: Results) -> list[tuple[str, list[tuple[str, str]]]]:
    """Sections of facts, each a list of names and texts.

    Parameters
    ----------
    results
        Results of a benchmark.
    """
    found = results.provenance
    run = {
        "begun": found.get("created"),
        "training seed": found.get("seed"),
        "labels": found.get("labels"),
        "search": found.get("search"),
    }
    data = {
        **_flat(found.get("data")),
        **{f"dataset {name}": value for name, value in _flat(found.get("dataset")).items()},
    }
    splits = {name: _described(part) for name, part in (found.get("splits") or {}).items()}
    models = {
        str(part.get("name", key)): _described({name: value for name, value in part.items() if name != "name"})
        for key, part in (found.get("models") or {}).items()
    }
    sections = {
        "Run": run,
        "Data": data,
        "Splits": splits,
        "Models": models,
        "Versions": found.get("versions") or {},
    }
    return [
        (title, [(str(name), _text(value)) for name, value in facts.items() if value not in (None, "", {}, [])])
        for title, facts in sections.items()
        if any(value not in (None, "", {}, []) for value in facts.values())
    ]


def _flat(value: Any) -> dict[str, Any]:
    return dict(value) if isinstance(value, Mapping) else {}


def _described(part: Mapping[str, Any]) -> str:
    """One line: ``kind line, seed 42, 5 folds, …``."""
    texts = []
    for name, value in part.items():
        if name == "folds":
            texts.append(f"{len(value)} folds")
        elif value not in (None, {}, []) and name != "n_folds":
            texts.append(f"{name.replace('_', ' ')} {_text(value)}")
    return ", ".join(texts)


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, Mapping | list | tuple):
        return json.dumps(value, ensure_ascii=False, default=str, sort_keys=True)
    return str(value)
