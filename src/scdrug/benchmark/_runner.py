"""Every model over every fold, in parallel processes, resumable."""

from __future__ import annotations

import math
import os
import traceback
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from .._audit import LeakError
from .._constants import KEYS
from .._validate import check_key, examples, slug
from ._fit import Answer, answer
from ._fold import Fold, make_fold
from ._results import Results
from ._scores import check_predictions, drug_levels, score_fold, sensitive_share
from ._search import Search
from ._spec import ModelSpec
from ._splits import Splits
from ._store import FoldFile, Store, data_fingerprint, jsonable, now, table_fingerprint, versions

if TYPE_CHECKING:
    from anndata import AnnData

#: Called with the numbers of finished and of all folds, and what was finished last.
Progress = Callable[[int, int, str], None]


@dataclass(frozen=True)
class _Task:
    split: str
    fold: str
    spec: ModelSpec


def run(
    adata: AnnData,
    splits: Splits | Sequence[Splits] | Mapping[str, Splits],
    models: ModelSpec | Sequence[ModelSpec],
    *,
    out: str | os.PathLike[str],
    labels: Mapping[str, Any] | None = None,
    search: Search | None = None,
    seed: int = 0,
    n_jobs: int = 1,
    name: str = "benchmark",
    progress: bool | Progress = True,
    overwrite: bool = False,
    response_key: str = KEYS.RESPONSE,
) -> Results:
    """Train and test models over the folds of splits.

    A model is handed a reference without test responses, in splits by line without test lines, and in splits by drug without
    test drugs; the answers stay behind. Everything that reaches its training is audited by name. Parameters to tune are
    chosen on validation data only. Each finished fold is saved at once, and a run into the same folder goes on where the
    last one ended.

    Parameters
    ----------
    adata
        Bulk reference; see the data contract.
    splits
        Folds of :func:`make_splits`; several as a list, or by name.
    models
        What to train.
    out
        Folder for results: new, or of an earlier run on the same data.
    labels
        Rule of :func:`scdrug.pp.binarize_response`, e.g. ``{"method": "extreme", "fraction": 0.3}``, to score
        classification too. Thresholds are fitted to training responses, unless the method is ``"threshold"``: then
        `threshold` is a number, a mapping by drug id, or the name of a column of ``uns["drugs"]``.
    search
        How to choose what models tune.
    seed
        Seed of training.
    n_jobs
        Parallel processes; −1 for one a core.
    name
        Title of the benchmark.
    progress
        Show a bar, or a function that is called with finished folds, all folds, and a label.
    overwrite
        Delete what the folder holds of an earlier run.
    response_key
        Key of `obsm` with the responses.

    Returns
    -------
    Results of all folds in the folder.

    Raises
    ------
    LeakError
        If test data reach the training of a model.
    ValueError
        Before any training: for a fold without data or a drug without training data, a model that cannot do what a
        split asks, or a folder that holds something else. After it: for NaN predictions.
    RuntimeError
        If a model failed; the folds of all others are finished and saved.

    Examples
    --------
    >>> import scdrug, tempfile
    >>> reference = scdrug.datasets.toy()
    >>> splits = scdrug.benchmark.make_splits(reference, "line")
    >>> models = [scdrug.benchmark.ModelSpec("drug mean", "AdditiveMean")]
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     results = scdrug.benchmark.run(reference, splits, models, out=folder + "/toy", progress=False)
    ...     skill = results.summary(["skill"])["skill", "mean"].iloc[0]
    >>> print(f"{skill:.2f}")
    0.00
    """
    from ..model._data import check_reference

    check_key(adata.obsm, response_key, where="adata.obsm", hint="scdrug.pp.build_reference makes a reference.")
    check_reference(adata, layer=None, response_key=response_key)
    labels = _with_thresholds(labels, adata)
    named = _named_splits(splits)
    specs = _named_models(models)
    for fold_name, fold in _all_folds(adata, named, response_key):
        _check_labels(fold, labels, fold_name)
    tasks = _tasks(adata, named, specs, response_key)
    store = Store(out)
    manifest = {
        "format": 1,
        "name": name,
        "created": now(),
        "data": data_fingerprint(adata, response_key),
        "dataset": jsonable(adata.uns.get(KEYS.DATASET)),
        "splits": {
            key: {"kind": part.kind, **jsonable(part.settings), "folds": part.folds, "test_fraction": part.test_fraction,
                  "sha256": table_fingerprint(part.table)}
            for key, part in named.items()
        },
        "models": {spec.id: {"name": spec.name, **spec.fingerprint} for spec in specs},
        "labels": jsonable(labels),
        "search": jsonable(vars(search or Search())),
        "seed": seed,
        "versions": versions(),
    }  # fmt: skip
    store.open(manifest, overwrite=overwrite)
    for key, part in named.items():
        part.save(store.folder / "splits" / f"{key}.csv.gz")
    _work(adata, named, tasks, store, _Options(labels, search or Search(), seed, n_jobs, response_key), progress)
    return Results(store.folder)


@dataclass(frozen=True)
class _Options:
    labels: Mapping[str, Any] | None
    search: Search
    seed: int
    n_jobs: int
    response_key: str


# ---------------------------------------------------------------------- checks before any training


def _with_thresholds(labels: Mapping[str, Any] | None, adata: AnnData) -> Mapping[str, Any] | None:
    """Rule of labels with the thresholds themselves in the place of the name of their column."""
    if labels is None or not isinstance(labels.get("threshold"), str):
        return labels
    column = labels["threshold"]
    check_key(adata.uns[KEYS.DRUGS], column, where="adata.uns['drugs']", hint="`labels` names it for thresholds.")
    values = adata.uns[KEYS.DRUGS][column].dropna().astype(float)
    return {**labels, "threshold": {str(drug): value for drug, value in values.items()}}


def _named_splits(splits: Splits | Sequence[Splits] | Mapping[str, Splits]) -> dict[str, Splits]:
    if isinstance(splits, Splits):
        splits = [splits]
    named = dict(splits) if isinstance(splits, Mapping) else {}
    if not isinstance(splits, Mapping):
        for part in splits:
            if part.kind in named:
                raise ValueError(f"There are two splits of kind {part.kind!r}. Give a mapping of names to splits.")
            named[part.kind] = part
    if not named:
        raise ValueError("There is no split to run. Make one with scdrug.benchmark.make_splits.")
    bad = [key for key in named if key != slug(key)]
    if bad:
        raise ValueError(f"Names of splits are lower-case letters, digits and dashes; found {examples(bad)}.")
    return named


def _named_models(models: ModelSpec | Sequence[ModelSpec]) -> list[ModelSpec]:
    specs = [models] if isinstance(models, ModelSpec) else list(models)
    if not specs:
        raise ValueError("There is no model to run. Describe one with scdrug.benchmark.ModelSpec.")
    ids = [spec.id for spec in specs]
    twice = sorted({spec.name for spec in specs if ids.count(spec.id) > 1})
    if twice:
        raise ValueError(f"Models need different names; found more than once: {examples(twice)}.")
    return specs


def _all_folds(adata: AnnData, named: Mapping[str, Splits], response_key: str) -> Iterator[tuple[str, Fold]]:
    """Every fold once, so that a bad one is found before hours of training."""
    for key, part in named.items():
        for fold in part:
            yield (
                f"{key} {fold}",
                make_fold(
                    adata,
                    part.roles(fold, adata, response_key=response_key),
                    response_key=response_key,
                    name=f"{key} {fold}",
                ),
            )


def _check_labels(fold: Fold, labels: Mapping[str, Any] | None, name: str) -> None:
    if labels is None:
        return
    training = fold.training.adata
    lower = str(training.uns["response"]["direction"]).startswith("lower")
    levels = drug_levels(training.obsm[KEYS.RESPONSE], fold.observed.columns, labels=labels, lower_is_sensitive=lower)
    known = ~np.isnan(levels.sensitive)
    if levels.new.all() and not known.any():
        return  # thresholds are found per drug, and these drugs are new: no labels, which the results show
    sign = 1.0 if lower else -1.0
    observed = sign * fold.observed.to_numpy(dtype=float)
    with np.errstate(invalid="ignore"):
        counts = (observed < sign * levels.sensitive).sum(), (observed >= sign * levels.resistant).sum()
    if min(counts) == 0:
        raise ValueError(
            f"Fold {name} tests one class only: {counts[0]} sensitive and {counts[1]} resistant pairs under the rule "
            f"{dict(labels)}. Use fewer folds, another rule, or no labels."
        )


def _tasks(adata: AnnData, named: Mapping[str, Splits], specs: Sequence[ModelSpec], response_key: str) -> list[_Task]:
    tasks = []
    needs_structure = {key for key, part in named.items() if part.kind in ("drug", "disjoint")}
    for spec in specs:
        unknown = set(spec.splits or ()) - set(named)
        if unknown:
            raise ValueError(f"{spec.name!r} asks for the splits {examples(unknown)}; there are {examples(named)}.")
        wanted = [key for key in named if spec.splits is None or key in spec.splits]
        if needs_structure.intersection(wanted) and not _takes_unseen_drugs(spec, adata, response_key):
            if spec.splits is not None:
                raise ValueError(
                    f"{spec.name!r} ({spec.model_name}) cannot predict drugs that were not in training, as the splits "
                    f"{examples(needs_structure.intersection(wanted))} ask. Leave them out of its `splits`, or give it "
                    "features of drugs (for KernelRidge and AdditiveMean `drug_kernel='tanimoto'`)."
                )
            warnings.warn(
                f"{spec.name!r} cannot predict drugs that were not in training and is left out of "
                f"{examples(sorted(needs_structure))}.",
                stacklevel=3,
            )
            wanted = [key for key in wanted if key not in needs_structure]
        tasks += [_Task(key, fold, spec) for key in wanted for fold in named[key]]
    if not tasks:
        raise ValueError("No model can run on any of the splits; see the warnings.")
    order = {key: position for position, key in enumerate(named)}
    # fold by fold, so that models share the work of dividing the reference
    return sorted(tasks, key=lambda task: (order[task.split], named[task.split].folds.index(task.fold)))


def _takes_unseen_drugs(spec: ModelSpec, adata: AnnData, response_key: str) -> bool:
    """Whether the model, with these parameters, takes drugs from their structure."""
    model_class = spec.model_class
    if not model_class.card.unseen_drugs:
        return False
    small = adata.copy()
    model_class.setup_anndata(small, response_key=response_key)
    model = model_class(small, **spec.params)
    model.release_data()
    return bool(model._takes_unseen_drugs)


# ---------------------------------------------------------------------- work


def _work(
    adata: AnnData,
    named: Mapping[str, Splits],
    tasks: Sequence[_Task],
    store: Store,
    options: _Options,
    progress: bool | Progress,
) -> None:
    todo = [task for task in tasks if task.fold not in store.finished(task.split, task.spec.id)]
    report, close = _reporter(progress, len(tasks))
    done = len(tasks) - len(todo)
    report(done, len(tasks), "found finished" if done else "start")
    failures: list[tuple[_Task, BaseException, str]] = []
    try:
        for task, fold, outcome in _outcomes(adata, named, todo, options):
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
    adata: AnnData, named: Mapping[str, Splits], todo: Sequence[_Task], options: _Options
) -> Iterator[tuple[_Task, Fold, Answer | tuple[BaseException, str]]]:
    """Answers as they come in. Workers receive training data and question; truth stays here."""
    from joblib import Parallel, cpu_count, delayed, parallel_config

    folds: dict[tuple[str, str], Fold] = {}

    def fold_of(task: _Task) -> Fold:
        key = task.split, task.fold
        if key not in folds:
            while len(folds) > 2 * abs(options.n_jobs):
                folds.pop(next(iter(folds)))
            roles = named[task.split].roles(task.fold, adata, response_key=options.response_key)
            folds[key] = make_fold(adata, roles, response_key=options.response_key, name=f"{task.split} {task.fold}")
        return folds[key]

    def work(number: int, task: _Task) -> tuple[_Task, tuple[ModelSpec, Any, Any]]:
        fold = fold_of(task)
        return task, (task.spec, fold.training, fold.question)

    n_jobs = cpu_count() if options.n_jobs == -1 else options.n_jobs
    if n_jobs == 1 or len(todo) <= 1:
        for task in todo:
            fold = fold_of(task)
            yield task, fold, _attempt(task.spec, fold.training, fold.question, options)
        return
    calls = (delayed(_numbered)(number, *work(number, task)[1], options) for number, task in enumerate(todo))
    with parallel_config(backend="loky", inner_max_num_threads=max(1, cpu_count() // n_jobs)):
        # copies of a fold are small; mapped files would make the expression read-only and fill shared memory
        parallel = Parallel(n_jobs=n_jobs, return_as="generator_unordered", pre_dispatch="n_jobs", max_nbytes=None)
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


def _numbered(number: int, spec: ModelSpec, training: Any, question: Any, options: _Options) -> tuple[int, Any]:
    return number, _attempt(spec, training, question, options)


def _attempt(spec: ModelSpec, training: Any, question: Any, options: _Options) -> Answer | tuple[BaseException, str]:
    """An answer, or what went wrong: one failing model must not take the others down."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return answer(spec, training, question, search=options.search, labels=options.labels, seed=options.seed)
    except Exception as error:  # noqa: BLE001 - reported, with its place, when the others are finished
        return error, traceback.format_exc(limit=-6)


def _save(store: Store, task: _Task, fold: Fold, outcome: Answer, options: _Options) -> None:
    training = fold.training.adata
    observed = fold.observed.to_numpy(dtype=float)
    predicted = check_predictions(outcome.predicted, fold.observed, name=task.spec.name)
    described = training.uns["response"]
    lower = str(described["direction"]).startswith("lower")
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


def _raise(failures: Sequence[tuple[_Task, BaseException, str]], store: Store) -> None:
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
