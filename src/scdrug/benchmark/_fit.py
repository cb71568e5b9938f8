"""Train a model on one fold and ask it: runs in a worker that never holds a test response."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from .._audit import check_unseen, holding_out, predicting
from .._constants import KEYS
from ..pp._measures import DIRECTIONS, read_description
from ._fold import Fold, Question, Training, make_fold
from ._scores import check_predictions, drug_levels, score_fold
from ._search import Search, choose
from ._spec import ModelSpec
from ._splits import TEST, TRAIN, UNUSED, VALIDATION


@dataclass(frozen=True)
class Answer:
    """What came out of one fold."""

    #: Lines × drug ids.
    predicted: pd.DataFrame
    #: Chosen parameters, if any were tuned.
    params: dict[str, Any]
    #: Score of the chosen parameters on validation data; NaN if nothing was tuned.
    validation_score: float
    measure: str
    lower_is_sensitive: bool
    transductive: bool
    fit_seconds: float
    predict_seconds: float
    peak_mb: float


def answer(
    spec: ModelSpec,
    training: Training,
    question: Question,
    *,
    search: Search,
    labels: Mapping[str, Any] | None,
    seed: int,
    checkpoint_dir: Path | None = None,
) -> Answer:
    """Choose parameters on validation data, train, and predict what is asked.

    Models that stop on validation pairs keep them apart; all others are trained on training and validation data once
    their parameters are chosen. In `checkpoint_dir` the last training keeps its state, and goes on from there after it was
    killed; what was tuned before is tuned again.

    Raises
    ------
    LeakError
        If test data reach the training.
    """
    start = time.perf_counter()
    model_class = spec.model_class
    validates = getattr(model_class.card, "validates", False)
    transductive = getattr(model_class.card, "transductive", False)
    with holding_out(question.held_out):
        spec, chosen, score = tuned(spec, training, search, labels, seed)
        if validates:
            part = training.without_mixed()
            model = spec.fit(part.adata, validation=part.validation, seed=seed, checkpoint_dir=checkpoint_dir)
        else:
            model = spec.fit(training.adata, seed=seed, checkpoint_dir=checkpoint_dir)
        audit_model(model)
    fitted = time.perf_counter()
    with predicting():
        predicted = ask(model, training, question)
    model.release_data()
    response = model.reference.response
    return Answer(
        predicted=predicted,
        params=chosen,
        validation_score=score,
        measure=str(response["measure"]),
        lower_is_sensitive=str(response["direction"]).startswith("lower"),
        transductive=transductive,
        fit_seconds=fitted - start,
        predict_seconds=time.perf_counter() - fitted,
        peak_mb=peak_memory(),
    )


def tuned(
    spec: ModelSpec, training: Training, search: Search, labels: Mapping[str, Any] | None, seed: int
) -> tuple[ModelSpec, dict[str, Any], float]:
    """The model with what validation pairs choose, the chosen values, and their score; NaN where nothing is tuned."""
    if not spec.tune:
        return spec, {}, float("nan")
    score = lambda values: validate(spec.with_values(values), training, search, labels, seed)
    chosen, best = choose(spec.tune, score, search, seed)
    return spec.with_values(chosen), chosen, best


def ask(model: Any, training: Training, question: Question) -> pd.DataFrame:
    """Predict lines and drugs of a question; lines × drug ids."""
    lines = question.lines
    if lines is None:
        lines = training.adata.copy()
        del lines.obsm[KEYS.RESPONSE]
    return model.predict(lines, drugs=question.drugs, key_added=None)


def validate(spec: ModelSpec, training: Training, search: Search, labels: Mapping[str, Any] | None, seed: int) -> float:
    """Score on validation pairs of a model that was trained on training pairs."""
    fold = validation_fold(training)
    if getattr(spec.model_class.card, "validates", False):
        part = training.without_mixed()
        model = spec.fit(part.adata, validation=part.validation, seed=seed)
    else:
        model = spec.fit(fold.training.adata, seed=seed)
    with predicting():
        predicted = ask(model, fold.training, fold.question)
    model.release_data()
    values = check_predictions(predicted, fold.observed, name=spec.name)
    described = read_description(training.adata.uns)
    lower = described["direction"] == DIRECTIONS[0]
    response = model.reference.response
    levels = drug_levels(
        fold.training.adata.obsm[KEYS.RESPONSE], fold.observed.columns, labels=labels, lower_is_sensitive=lower
    )
    scores = score_fold(
        values,
        fold.observed.to_numpy(dtype=float),
        levels,
        same_unit=response["measure"] == described["measure"],
        lower_is_sensitive=lower,
        predicted_lower_is_sensitive=str(response["direction"]).startswith("lower"),
    )
    return scores.get(search.select_by, float("nan"))


def validation_fold(training: Training) -> Fold:
    """The inner fold: validation pairs in the place of test pairs."""
    import numpy as np

    roles = np.full_like(training.roles, UNUSED)
    roles[training.roles == TRAIN] = TRAIN
    roles[training.roles == VALIDATION] = TEST
    return make_fold(training.adata, roles, name="of validation", validated=False)


def audit_model(model: Any) -> None:
    """Look once more at the data that a trained model holds on to."""
    if model.adata is not None:
        key = model._setup_arg("response_key") if "response_key" in model.registry_["setup_args"] else KEYS.RESPONSE
        check_unseen(model.adata.obs_names, model.adata.obsm.get(key), where=f"{type(model).__name__}.adata")


def peak_memory() -> float:
    """Largest resident memory of this process so far, in MB; NaN where the system does not tell."""
    try:
        import resource
    except ImportError:
        return float("nan")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1024**2 if sys.platform == "darwin" else peak / 1024
