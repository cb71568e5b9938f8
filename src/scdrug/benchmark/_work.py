"""Tasks, one model on one fold each, worked off in parallel processes and saved one by one."""

from __future__ import annotations

import math
import os
import traceback
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .._audit import LeakError
from .._constants import KEYS
from .._validate import examples
from ..pp._measures import DIRECTIONS, read_description
from ._fit import Answer, answer
from ._fold import Fold, make_fold
from ._scores import check_predictions, drug_levels, score_fold, sensitive_share
from ._search import Search
from ._spec import ModelSpec
from ._splits import Splits
from ._store import FoldFile, Store, jsonable, now, versions
from ._workers import end_with

if TYPE_CHECKING:
    from anndata import AnnData

#: Called with the numbers of finished and of all folds, and what was finished last.
Progress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class Task:
    """One model on one fold of a split."""

    split: str
    fold: str
    spec: ModelSpec


@dataclass(frozen=True)
class Options:
    """Arguments of :func:`scdrug.benchmark.run` that each task needs."""

    labels: Mapping[str, Any] | None
    search: Search
    seed: int
    n_jobs: int
    response_key: str


def work_off(
    adata: AnnData,
    named: Mapping[str, Splits],
    tasks: Sequence[Task],
    store: Store,
    options: Options,
    progress: bool | Progress,
) -> None:
    """Run the tasks that the store does not hold yet; failures are raised when all others are saved."""
    todo = [task for task in tasks if task.fold not in store.finished(task.split, task.spec.id)]
    report, close = _reporter(progress, len(tasks))
    done = len(tasks) - len(todo)
    report(done, len(tasks), "found finished" if done else "start")
    failures: list[tuple[Task, BaseException, str]] = []
    try:
        for task, fold, outcome in _outcomes(adata, named, todo, store, options):
            if isinstance(outcome, Answer):
                try:
                    _save(store, task, fold, outcome, options)
                except ValueError as error:
                    failures.append((task, error, ""))
            else:
                error, where = outcome
                if isinstance(error, LeakError):
                    raise error
                failures.append((task, error, where))
            done += 1
            report(done, len(tasks), f"{task.spec.name}, {task.split} {task.fold}")
    finally:
        close()
    if failures:
        _raise(failures, store)


def _outcomes(
    adata: AnnData, named: Mapping[str, Splits], todo: Sequence[Task], store: Store, options: Options
) -> Iterator[tuple[Task, Fold, Answer | tuple[BaseException, str]]]:
    """Answers as they come in. Workers receive training data and question; truth stays here."""
    from joblib import Parallel, cpu_count, delayed, parallel_config

    folds: dict[tuple[str, str], Fold] = {}

    def fold_of(task: Task) -> Fold:
        key = task.split, task.fold
        if key not in folds:
            while len(folds) > 2 * abs(options.n_jobs):
                folds.pop(next(iter(folds)))
            roles = named[task.split].roles(task.fold, adata, response_key=options.response_key)
            folds[key] = make_fold(adata, roles, response_key=options.response_key, name=f"{task.split} {task.fold}")
        return folds[key]

    def work(task: Task) -> tuple[ModelSpec, Any, Any, Path]:
        fold = fold_of(task)
        return task.spec, fold.training, fold.question, store.checkpoints(task.split, task.spec.id, task.fold)

    n_jobs = cpu_count() if options.n_jobs == -1 else options.n_jobs
    if n_jobs == 1 or len(todo) <= 1:
        for task in todo:
            yield task, fold_of(task), _attempt(*work(task), options)
        return
    calls = (delayed(_numbered)(number, *work(task), options) for number, task in enumerate(todo))
    with parallel_config(backend="loky", inner_max_num_threads=max(1, cpu_count() // n_jobs)):
        # copies of a fold are small; mapped files would make the expression read-only and fill shared memory
        parallel = Parallel(
            n_jobs=n_jobs,
            return_as="generator_unordered",
            pre_dispatch="n_jobs",
            max_nbytes=None,
            initializer=end_with,
            initargs=(os.getpid(),),
        )
        try:
            for number, outcome in parallel(calls):
                yield todo[number], fold_of(todo[number]), outcome
        except OSError:
            raise
        except Exception as error:
            if type(error).__name__ != "TerminatedWorkerError":
                raise
            raise RuntimeError(
                "A worker process was killed, most often because memory ran out. Finished folds are saved: run again "
                "to go on, with a smaller `n_jobs` if memory is short."
            ) from error


def _numbered(
    number: int, spec: ModelSpec, training: Any, question: Any, checkpoints: Path, options: Options
) -> tuple[int, Any]:
    return number, _attempt(spec, training, question, checkpoints, options)


def _attempt(
    spec: ModelSpec, training: Any, question: Any, checkpoints: Path, options: Options
) -> Answer | tuple[BaseException, str]:
    """An answer, or what went wrong: one failing model must not take the others down."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return answer(
                spec,
                training,
                question,
                search=options.search,
                labels=options.labels,
                seed=options.seed,
                checkpoint_dir=checkpoints,
            )
    except Exception as error:  # noqa: BLE001 - reported, with its place, when the others are finished
        return error, traceback.format_exc(limit=-6)


def _save(store: Store, task: Task, fold: Fold, outcome: Answer, options: Options) -> None:
    training = fold.training.adata
    observed = fold.observed.to_numpy(dtype=float)
    predicted = check_predictions(outcome.predicted, fold.observed, name=task.spec.name)
    described = read_description(training.uns)
    lower = described["direction"] == DIRECTIONS[0]
    levels = drug_levels(
        training.obsm[KEYS.RESPONSE], fold.observed.columns, labels=options.labels, lower_is_sensitive=lower
    )
    same_unit = outcome.measure == described["measure"]
    scores = score_fold(
        predicted,
        observed,
        levels,
        same_unit=same_unit,
        lower_is_sensitive=lower,
        predicted_lower_is_sensitive=outcome.lower_is_sensitive,
    )
    row, column = np.nonzero(~np.isnan(observed))
    counts = {
        f"n_{name}": int((fold.training.roles == code)[training.obsm[KEYS.RESPONSE].notna().to_numpy()].sum())
        for name, code in (("train", 1), ("validation", 2), ("mixed", 4))
    }
    meta = {
        "scores": scores,
        **counts,
        "n_test": len(row),
        "params": jsonable(outcome.params),
        "validation_score": None if math.isnan(outcome.validation_score) else outcome.validation_score,
        "same_unit": same_unit,
        "sign": 1 if outcome.lower_is_sensitive == lower else -1,
        "transductive": outcome.transductive,
        "fit_seconds": round(outcome.fit_seconds, 3),
        "predict_seconds": round(outcome.predict_seconds, 3),
        "peak_mb": None if math.isnan(outcome.peak_mb) else round(outcome.peak_mb, 1),
        "new_drugs": bool(levels.new.any()),
        "prevalence": sensitive_share(observed, levels, lower_is_sensitive=lower),
        "finished": now(),
        "versions": versions(),
    }
    content = FoldFile(
        lines=np.array([str(line) for line in fold.observed.index]),
        drugs=np.array([str(drug) for drug in fold.observed.columns]),
        row=row,
        column=column,
        predicted=predicted[row, column],
        observed=observed[row, column],
        drug_mean=levels.mean,
        meta=meta,
    )
    store.write_fold(task.split, task.spec.id, task.fold, content)


def _raise(failures: Sequence[tuple[Task, BaseException, str]], store: Store) -> None:
    task, error, where = failures[0]
    models: Iterable[str] = dict.fromkeys(item.spec.name for item, _, _ in failures)
    text = (
        f"{len(failures)} folds failed, of {examples(models)}; all others are saved in {store.folder}. "
        f"The first, {task.spec.name!r} on {task.split} {task.fold}: {type(error).__name__}: {error}"
    )
    kind = ValueError if isinstance(error, ValueError) else RuntimeError
    raise kind(f"{text}\n{where}".rstrip()) from error


def _reporter(progress: bool | Progress, total: int) -> tuple[Progress, Callable[[], None]]:
    if callable(progress):
        return progress, lambda: None
    if not progress:
        return (lambda done, total, label: None), lambda: None
    from tqdm.auto import tqdm

    bar = tqdm(total=total, unit="fold")

    def report(done: int, total: int, label: str) -> None:
        bar.n = done
        bar.set_postfix_str(label, refresh=False)
        bar.refresh()

    return report, bar.close
