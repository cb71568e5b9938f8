"""Which model to take for which question, by what was measured."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .._arguments import checked
from .._validate import check_choice
from ._registry import load_class


@dataclass(frozen=True)
class Recommendation:
    """A model for a task, how to make it, and why."""

    #: Name of the class in :mod:`scdrug.model`.
    model: str
    #: Arguments of its constructor.
    params: dict[str, Any]
    why: str
    #: Bundled model that is this one, trained, if there is one.
    pretrained: str | None = None

    def create(self, adata: Any) -> Any:
        """Make the model on a reference, ready for `train`; the reference is set up for it."""
        model_class = load_class(self.model)
        model_class.setup_anndata(adata)
        return model_class(adata, **self.params)


_PROCESS = {"kernel": "mean", "couple_drugs": True}
_TASKS = {
    "cells": Recommendation(
        "KernelRidge",
        {"kernel": "linear", "ridge": 0.5, "denoise": 1.0, "drug_kernel": "auto", "drug_ridge": 0.5},
        "Cells of unseen lines are ranked as well by a linear model as by any other here, it holds no training line, and it is the "
        "fastest by far.",
        "gdsc-ridge",
    ),
    "pathways": Recommendation(
        "PathwayTransfer",
        {"pathways": "hallmark"},
        "Its predictions are sums over pathways, which is what is asked; it ranks a little worse than a linear model. Train several "
        "seeds, and believe what they agree on.",
        "gdsc2-pathways-1",
    ),
    "pair": Recommendation(
        "KernelRidge",
        _PROCESS,
        "Missing responses of known lines follow from the others. The Gaussian process predicts them best, and no network here adds "
        "to it.",
    ),
    "line": Recommendation(
        "KernelRidge",
        _PROCESS,
        "For bulk profiles of new lines the process is the strongest of the baselines, and no network here adds to it.",
    ),
    "drug": Recommendation(
        "KernelRidge",
        _PROCESS | {"drug_kernel": "mean", "drug_ridge": "auto"},
        "New drugs follow from similar structures, targets and pathways. Which lines respond is told fairly well where the target is "
        "known, the mean response to about two natural logarithms. Needs the extra `molecule`; without it take "
        "`drug_kernel='tanimoto'`.",
    ),
    "sensitivity": Recommendation(
        "MTIGCN",
        {"target": "sensitivity", "prior": "process"},
        "Probabilities of being sensitive come from the process and are calibrated on held-out pairs; the network has a share where it "
        "helps.",
    ),
}
_TASKS["disjoint"] = _TASKS["drug"]
TASKS = tuple(_TASKS)


@checked
def recommended(task: str) -> Recommendation:
    """Name the best honest choice for a task, and why.

    Parameters
    ----------
    task
        ``"cells"`` of tumours, or ``"pathways"`` behind their predictions; missing responses of known lines (``"pair"``), bulk
        profiles of new lines (``"line"``), drugs that were not screened (``"drug"``), both new (``"disjoint"``), or
        ``"sensitivity"`` as a probability.

    Returns
    -------
    Class, arguments and reason; ``create(reference)`` makes the model, and ``pretrained`` names a bundled one.

    Raises
    ------
    ValueError
        If there is no such task.

    Examples
    --------
    >>> import scdrug
    >>> choice = scdrug.model.recommended("pair")
    >>> choice.model, choice.params
    ('KernelRidge', {'kernel': 'mean', 'couple_drugs': True})
    """
    check_choice("task", task, TASKS)
    return _TASKS[task]
