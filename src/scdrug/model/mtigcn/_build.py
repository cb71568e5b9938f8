"""From a reference to what the network and the process are fitted to, and back to arrays that predict."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from ..._validate import examples
from .._batches import TrainingTask
from ..prior._decomposition import KernelDecomposition, decompose_kernel
from ..prior._drug_kernels import drug_similarity
from ..prior._kernels import FIVE_KERNELS, fit_kernel
from ._features import (
    LineFactors,
    drug_similarity_target,
    feature_matrix,
    line_similarity,
    structure_features,
    table_features,
)
from ._labels import response_thresholds, sensitive_labels
from ._module import MTIGCNModule, MTIGCNNet, NetConfig
from ._process import SQUASHED_RIDGE, DrugProcess, Process, fit_drug_process, fit_process, squash
from ._training import GraphData, sensitive_edges

if TYPE_CHECKING:
    from ._model import MTIGCN

#: Quantities with a process of their own.
QUANTITIES = ("response", "squashed")


@dataclass(eq=False)
class Built:
    """What training needs until it is done."""

    module: MTIGCNModule
    #: Features of drugs by name, and which drugs have them.
    features: dict[str, np.ndarray]
    usable: np.ndarray
    thresholds: np.ndarray
    #: Mean and standard deviation by which responses are scaled for the network (drugs).
    mean: np.ndarray
    scale: np.ndarray
    data: GraphData | None
    kernel: KernelDecomposition | None
    #: Lines and drugs with a training response.
    trained_lines: np.ndarray
    trained_drugs: np.ndarray
    #: Standard deviation of each drug over lines (drugs).
    spread: np.ndarray
    task: TrainingTask
    #: Direction of the response.
    lower: bool
    #: Processes of all responses, once they are fitted.
    processes: dict[str, Process] = field(default_factory=dict)

    def held_out_data(self, task: TrainingTask) -> GraphData | None:
        """The graph with held-out pairs as targets; `None` if nothing is held out."""
        if not task.has_validation or self.data is None:
            return None
        held = task.validation_response
        labels = sensitive_labels(held, self.thresholds, lower_is_sensitive=self.lower)
        return replace(self.data, labels=_tensor(labels), response=_tensor((held - self.mean) / self.scale))


def build(model: MTIGCN, task: TrainingTask) -> Built:
    """Compute features, graph and targets of a task, and make a fresh network.

    Parameters
    ----------
    model
        Model with its settings.
    task
        Lines and responses.
    """
    settings, lower = model.settings, model._lower
    response = task.train_response
    table = model._drug_table()
    if settings.drug_features == "table":
        features, usable = table_features(table)
    else:
        features, usable = structure_features(model.drugs["smiles"].tolist(), settings.drug_features)
    if settings.network:
        _check_structures(usable, model)
    _check_lines(task)
    thresholds = response_thresholds(response, table, model.drugs.index, lower_is_sensitive=lower)
    mean, scale = response_moments(response, scaled=settings.scale_response)
    kernel = decompose_kernel(fit_kernel(task.expression, FIVE_KERNELS)[1]) if settings.process else None
    module, data = MTIGCNModule(None), None
    if settings.network:
        factors = LineFactors.fit(task.expression, rank=settings.rank)
        module.keep(gene_mean=factors.mean, gene_scale=factors.scale, loadings=factors.loadings)
        scores = factors.transform(task.expression)
        labels = sensitive_labels(response, thresholds, lower_is_sensitive=lower)
        edges, weights = sensitive_edges(labels, response, thresholds, weighted=settings.edges == "weighted")
        drugs = feature_matrix(features, usable)
        similar = settings.has_similarity
        data = GraphData(
            _tensor(scores),
            _tensor(drugs),
            edges,
            weights,
            _tensor(labels),
            _tensor((response - mean) / scale),
            _tensor(
                line_similarity(scores, kind=settings.line_similarity, epsilon=settings.epsilon)
                if similar
                else np.zeros((0, 0))
            ),
            _tensor(drug_similarity_target(features, usable) if similar else np.zeros((0, 0))),
        )
        module.net = MTIGCNNet(NetConfig.of(settings, scores.shape[1], drugs.shape[1], len(factors.mean)))
    measured = np.isfinite(response)
    spread = response_moments(response, scaled=True)[1]
    known = measured.any(axis=1), measured.any(axis=0)
    return Built(module, features, usable, thresholds, mean, scale, data, kernel, *known, spread, task, lower)


def response_moments(response: np.ndarray, *, scaled: bool) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of each drug; typical ones for drugs without responses or spread.

    Parameters
    ----------
    response
        Training responses (lines × drugs, NaN = not measured).
    scaled
        Whether the network predicts deviations from the mean at all; zeros and ones otherwise.
    """
    n_drugs = response.shape[1]
    if not scaled:
        return np.zeros(n_drugs), np.ones(n_drugs)
    count = np.isfinite(response).sum(axis=0)
    known = count > 0
    mean, spread = np.zeros(n_drugs), np.zeros(n_drugs)
    mean[known], spread[known] = np.nanmean(response[:, known], axis=0), np.nanstd(response[:, known], axis=0)
    typical = float(np.median(spread[spread > 0])) if (spread > 0).any() else 1.0
    mean[~known] = mean[known].mean()
    # ten lines' worth of the typical variance
    return mean, np.sqrt((count * spread**2 + 10 * typical**2) / (count + 10))


def _check_lines(task: TrainingTask) -> None:
    lacking = task.lines[~np.isfinite(task.response).any(axis=1)]
    if len(lacking):
        warnings.warn(
            f"{len(lacking)} lines have no response and are predicted from their expression alone, like new ones: "
            f"{examples(lacking)}.",
            stacklevel=2,
        )


def _check_structures(usable: np.ndarray, model: MTIGCN) -> None:
    if not usable.any():
        raise ValueError(
            "None of the drugs has a structure that can be read, so the network has no features of drugs. Put SMILES into "
            "`adata.uns['drugs']['smiles']` (scdrug.pp.featurize_drugs checks them), or set `network=False`."
        )
    if not usable.all():
        lacking = model.drugs["name"].to_numpy()[~usable]
        warnings.warn(
            f"{len(lacking)} drugs have no structure that can be read and are known by their responses alone: "
            f"{examples(lacking)}.",
            stacklevel=2,
        )


def _tensor(values: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.asarray(values, dtype=np.float32))


# ---------------------------------------------------------------------- the process


def quantities(response: np.ndarray, thresholds: np.ndarray, *, lower: bool) -> dict[str, np.ndarray]:
    """What the processes are fitted to, by name (lines × drugs, NaN = not measured)."""
    return {"response": response, "squashed": squash(response, thresholds, lower_is_sensitive=lower)}


def fit_processes(
    response: np.ndarray, thresholds: np.ndarray, kernel: KernelDecomposition, *, lower: bool
) -> dict[str, Process]:
    """Fit the process to responses and to squashed responses; all drugs must have a response."""
    values = quantities(response, thresholds, lower=lower)
    return {
        "response": fit_process(values["response"], kernel),
        "squashed": fit_process(values["squashed"], kernel, refine=False, ridge=SQUASHED_RIDGE),
    }


def fit_drug_processes(processes: dict[str, Process], built: Built, drugs: np.ndarray) -> dict[str, DrugProcess] | None:
    """Fit what predicts new drugs from the posterior of known ones.

    Parameters
    ----------
    processes
        Fitted to the drugs chosen by `drugs`.
    built
        Features of drugs, and the kernel of the lines.
    drugs
        Which drugs they were fitted to (bool).
    """
    assert built.kernel is not None
    usable = built.usable & drugs
    if usable.sum() < 3:
        return None
    rows = usable[built.usable]
    kernel = drug_similarity({name: part[rows] for name, part in built.features.items()})
    fits = {}
    for name, process in processes.items():
        fit = fit_drug_process(process.fitted[:, usable[drugs]], kernel, built.kernel)
        assert fit is not None
        fits[name] = fit
    return fits


def new_drug_process(fit: DrugProcess, cross: np.ndarray) -> Process:
    """The process for new drugs by their similarity to the training drugs (new × training drugs with a structure)."""
    effect = cross @ fit.effect + fit.intercept
    fitted = fit.line[:, None] + effect + (cross @ fit.residual).T
    alpha = fit.alpha @ cross.T + fit.line_alpha[:, None]
    return Process(alpha, effect + fit.line_intercept, fitted, fitted)
