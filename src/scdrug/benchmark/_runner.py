"""Every model over every fold, in parallel processes, resumable."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .._arguments import checked
from .._constants import KEYS
from .._validate import check_key, examples, slug
from ..model.baseline._class_labels import with_thresholds
from ..pp._measures import lower_is_sensitive
from ._fold import Fold, make_fold
from ._results import Results
from ._scores import drug_levels
from ._search import Search
from ._spec import ModelSpec
from ._splits import Splits
from ._store import Store, data_fingerprint, jsonable, now, table_fingerprint, versions
from ._work import Options, Progress, Task, work_off

if TYPE_CHECKING:
    from anndata import AnnData


@checked
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
        Delete what the folder holds of an earlier run; refused if it holds any other file.
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
    labels = with_thresholds(labels, adata.uns[KEYS.DRUGS])
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
    work_off(adata, named, tasks, store, Options(labels, search or Search(), seed, n_jobs, response_key), progress)
    return Results(store.folder)


# ---------------------------------------------------------------------- checks before any training


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
    lower = lower_is_sensitive(training.uns)
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


def _tasks(adata: AnnData, named: Mapping[str, Splits], specs: Sequence[ModelSpec], response_key: str) -> list[Task]:
    tasks = []
    needs_structure = {key for key, part in named.items() if part.kind in ("drug", "disjoint")}
    for spec in specs:
        unknown = set(spec.splits or ()) - set(named)
        if unknown:
            raise ValueError(f"{spec.name!r} asks for the splits {examples(unknown)}; there are {examples(named)}.")
        wanted = [key for key in named if spec.splits is None or key in spec.splits]
        if needs_structure.intersection(wanted) and not takes_unseen_drugs(spec, adata, response_key):
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
        tasks += [Task(key, fold, spec) for key in wanted for fold in named[key]]
    if not tasks:
        raise ValueError("No model can run on any of the splits; see the warnings.")
    order = {key: position for position, key in enumerate(named)}
    # fold by fold, so that models share the work of dividing the reference
    return sorted(tasks, key=lambda task: (order[task.split], named[task.split].folds.index(task.fold)))


def takes_unseen_drugs(spec: ModelSpec, adata: AnnData, response_key: str) -> bool:
    """Whether the model, with these parameters, takes drugs from their structure."""
    model_class = spec.model_class
    if not model_class.card.unseen_drugs:
        return False
    small = adata.copy()
    model_class.setup_anndata(small, response_key=response_key)
    model = model_class(small, **spec.params)
    model.release_data()
    return bool(model._takes_unseen_drugs)
