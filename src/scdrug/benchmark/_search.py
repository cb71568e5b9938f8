"""Choose hyper-parameters on validation data."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from .._arguments import checked
from .._validate import check_choice, import_optional
from ..metrics import METRICS

#: Combinations of parameters that are tried for one fold.
MOST_CHOICES = 10_000


@checked
@dataclass(frozen=True)
class Search:
    """How to choose hyper-parameters.

    Parameters
    ----------
    method
        ``"grid"`` tries all combinations, ``"random"`` draws `n_trials` of them, ``"optuna"`` lets Optuna suggest
        `n_trials` (extra ``benchmark``) and also takes ranges, ``{low: 0.1, high: 10, log: true}``.
    n_trials
        Trials of ``"random"`` and ``"optuna"``.
    select_by
        Metric on validation data; see :data:`scdrug.metrics.METRICS`.

    Examples
    --------
    >>> from scdrug.benchmark import Search
    >>> Search(select_by="per_drug_pearson").method
    'grid'
    """

    method: str = "grid"
    n_trials: int = 20
    select_by: str = "rmse"

    def __post_init__(self) -> None:
        check_choice("search method", self.method, ("grid", "random", "optuna"))
        check_choice("select_by", self.select_by, [metric.name for metric in METRICS])
        if self.n_trials < 1:
            raise ValueError(f"`n_trials` must be at least 1; found {self.n_trials}.")


def check_grid(space: Mapping[str, Any], search: Search, *, name: str = "A model") -> None:
    """Raise if so many combinations are asked for that they would never be tried.

    Parameters
    ----------
    space
        Values to choose from by name.
    search
        How to search.
    name
        Model, for the message.

    Raises
    ------
    ValueError
        If a grid has more than `MOST_CHOICES` combinations.
    """
    size = math.prod(len(values) for values in space.values() if not isinstance(values, Mapping))
    all_are_tried = search.method == "grid" or (search.method == "random" and search.n_trials >= size)
    if all_are_tried and size > MOST_CHOICES:
        raise ValueError(
            f"{name} tunes over a grid of {size:,} combinations, and at most {MOST_CHOICES:,} are tried. List fewer values, "
            "or let the search draw them (`method: random` with `n_trials`)."
        )


def choose(
    space: Mapping[str, Any], objective: Callable[[Mapping[str, Any]], float], search: Search, seed: int
) -> tuple[dict[str, Any], float]:
    """Find the values with the best score.

    Parameters
    ----------
    space
        Values to choose from by name; for ``"optuna"`` also ranges.
    objective
        Score of a choice; NaN if it is not defined.
    search
        How to search.
    seed
        Seed of the draws.

    Returns
    -------
    Chosen values and their score. Of equal scores the first wins.

    Raises
    ------
    ValueError
        If no choice has a defined score, or a range is given to a method that takes lists only.
    """
    higher = next(metric.higher_is_better for metric in METRICS if metric.name == search.select_by)
    if search.method == "optuna":
        tried = _optuna(space, objective, search, seed, higher)
    else:
        tried = [(values, objective(values)) for values in _candidates(space, search, seed)]
    defined = [(values, score) for values, score in tried if math.isfinite(score)]
    if not defined:
        raise ValueError(
            f"None of {len(tried)} choices has a defined {search.select_by} on the validation data. "
            "Raise `validation`, or select by another metric."
        )
    return (max if higher else min)(defined, key=lambda item: item[1])


def _candidates(space: Mapping[str, Any], search: Search, seed: int) -> list[dict[str, Any]]:
    from sklearn.model_selection import ParameterGrid, ParameterSampler

    ranges = [name for name, values in space.items() if isinstance(values, Mapping)]
    if ranges:
        raise ValueError(
            f"Search by {search.method!r} takes lists of values; {ranges[0]!r} is a range. List values, or choose "
            "the method 'optuna'."
        )
    check_grid(space, search)
    lists = {name: list(values) for name, values in space.items()}
    grid = ParameterGrid(lists)
    if search.method == "random" and search.n_trials < len(grid):
        return list(ParameterSampler(lists, search.n_trials, random_state=seed))
    return list(grid)


def _optuna(
    space: Mapping[str, Any],
    objective: Callable[[Mapping[str, Any]], float],
    search: Search,
    seed: int,
    higher: bool,
) -> list[tuple[dict[str, Any], float]]:
    optuna = import_optional("optuna", extra="benchmark", purpose="Search by 'optuna'")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    tried: list[tuple[dict[str, Any], float]] = []

    def suggest(trial: Any) -> float:
        values = {name: _suggestion(trial, name, what) for name, what in space.items()}
        score = objective(values)
        tried.append((values, score))
        return score

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        study = optuna.create_study(
            direction="maximize" if higher else "minimize", sampler=optuna.samplers.TPESampler(seed=seed)
        )
        study.optimize(suggest, n_trials=search.n_trials)
    return tried


def _suggestion(trial: Any, name: str, what: Any) -> Any:
    if not isinstance(what, Mapping):
        return trial.suggest_categorical(name, list(what))
    low, high, log = what["low"], what["high"], bool(what.get("log", False))
    if isinstance(low, int) and isinstance(high, int):
        return trial.suggest_int(name, low, high, log=log)
    return trial.suggest_float(name, float(low), float(high), log=log)
