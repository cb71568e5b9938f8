"""After the network: choose its share on held-out pairs, fit the process to everything, keep what predicts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch

from ...pp._molecules import canonical_smiles
from ..prior._drug_kernels import drug_similarity
from ._blend import contexts, network_shares, sensitivity_slopes
from ._build import QUANTITIES, Built, fit_drug_processes, fit_processes, new_drug_process
from ._features import drug_similarity_target, line_similarity
from ._labels import sensitive_labels
from ._module import Codes, MTIGCNModule
from ._posterior import Posterior, Sources
from ._process import Process
from ._training import graph_of

if TYPE_CHECKING:
    from ._model import MTIGCN

_HELD_OUT = 0.05
#: Parts of what predicts new drugs.
DRUG_ARRAYS = ("effect", "intercept", "line", "residual", "alpha", "line_alpha", "line_intercept")


def hold_out_each(measured: np.ndarray, smiles: Sequence[str | None], *, seed: int) -> np.ndarray:
    """Hold out one line, one drug with a structure and one pair in twenty.

    Parameters
    ----------
    measured
        Lines × drugs (bool).
    smiles
        SMILES of the drugs.
    seed
        Seed of the draw.

    Returns
    -------
    Lines × drugs (bool); with few lines or drugs only pairs are drawn.
    """
    rng = np.random.default_rng([seed, 3])
    marked = measured & (rng.random(measured.shape) < _HELD_OUT)
    for axis, candidates in (
        (0, np.flatnonzero(measured.any(axis=1))),
        (1, np.flatnonzero([canonical_smiles(text) is not None for text in smiles] & measured.any(axis=0))),
    ):
        chosen = rng.permutation(candidates)[: int(_HELD_OUT * len(candidates))]
        np.moveaxis(marked, axis, 0)[chosen] = np.moveaxis(measured, axis, 0)[chosen]
    emptied = measured.any(axis=0) & ~(measured & ~marked).any(axis=0)
    emptied &= (marked.sum(axis=0) < 10) | (emptied.sum() > 0.2 * measured.shape[1])
    marked[:, emptied] = False
    return marked


def finish(model: MTIGCN, built: Built, expression: np.ndarray, response: np.ndarray) -> None:
    """Choose the network's share, fit the process to all responses, and put everything into the module.

    Parameters
    ----------
    model
        Model whose network is trained.
    built
        What it was trained on.
    expression
        Lines × genes.
    response
        All responses, those that were held out too.
    """
    module, task = built.module, built.task
    _keep_network(built)
    if task.has_validation and built.kernel is not None:
        _choose(model, built)
    measured = np.isfinite(response)
    module.keep(
        mean=built.mean,
        scale=built.scale,
        scale_of_drug=built.spread,
        drug_means=np.nanmean(response, axis=0),
        thresholds=_all_thresholds(built),
        known_lines=measured.any(axis=1).astype(np.uint8),
        known_drugs=np.ones(response.shape[1], dtype=np.uint8),
        lines=expression,
        usable=built.usable.astype(np.uint8),
        **{f"feature_{name}": values for name, values in built.features.items()},
    )
    built.processes = {}
    if built.kernel is not None:
        built.processes = fit_processes(response, _all_thresholds(built), built.kernel, lower=built.lower)
        for name, process in built.processes.items():
            keep_process(module, name, process)
        if model.settings.drug_features != "table":
            for name, fit in (fit_drug_processes(built.processes, built, measured.any(axis=0)) or {}).items():
                module.keep(**{f"{name}_drug_{part}": np.asarray(getattr(fit, part)) for part in DRUG_ARRAYS})
    model._posterior = Posterior(model, module, [str(name) for name in task.lines])


def keep_process(module: MTIGCNModule, name: str, process: Process) -> None:
    """Put what predicts one quantity into the module."""
    module.keep(
        **{f"{name}_alpha": process.alpha, f"{name}_intercept": process.intercept, f"{name}_fitted": process.fitted}
    )


@torch.inference_mode()
def _keep_network(built: Built) -> None:
    """Embeddings of training lines and drugs with all training edges."""
    net = built.module.net
    if net is None or built.data is None:
        return
    net.eval()
    device = next(net.parameters()).device
    batch = {name: value.to(device) for name, value in built.data.batch().items()}
    codes = net(batch["lines"], batch["drugs"], graph_of(batch))
    built.module.keep(line_codes=codes.lines.cpu().numpy(), drug_codes=codes.drugs.cpu().numpy())


def _all_thresholds(built: Built) -> np.ndarray:
    """Thresholds of all drugs; for those without one, as far from the mean as is typical."""
    lacking = ~np.isfinite(built.thresholds)
    if not lacking.any():
        return built.thresholds
    known = ~lacking
    response = built.task.response
    mean = np.nanmean(response, axis=0)
    offset = np.median((built.thresholds[known] - mean[known]) / built.spread[known]) if known.any() else 0.0
    return np.where(lacking, mean + offset * built.spread, built.thresholds)


# ---------------------------------------------------------------------- what held-out pairs decide


def _choose(model: MTIGCN, built: Built) -> None:
    """Choose the shares of the network and the slopes of probabilities on held-out pairs."""
    task = built.task
    process, squashed = _held_out_predictions(built)
    if built.module.net is not None and not built.trained_drugs.all() and model.settings.scale_response:
        new = ~built.trained_drugs
        built.mean[new] = process[:, new].mean(axis=0)
    context = contexts(built.trained_lines, built.trained_drugs)
    network, logit = _network_predictions(built)
    observed = task.validation_response
    if network is not None and "regression" in model.settings.tasks:
        model.network_shares_ = network_shares(process, network, observed, context, built.spread)
    else:
        network = None
    if model.predicts == "sensitivity":
        share = np.asarray(model.network_shares_)[context]
        blended = process if network is None else process + share * (network - process)
        sign = 1.0 if built.lower else -1.0
        scores = {
            "distance": sign * (_all_thresholds(built) - blended) / built.spread,
            "squashed": squashed,
            "logit": np.zeros_like(process) if logit is None else logit,
        }
        labels = sensitive_labels(observed, built.thresholds, lower_is_sensitive=built.lower)
        model.sensitivity_slopes_ = sensitivity_slopes(scores, labels, context)


def _held_out_predictions(built: Built) -> tuple[np.ndarray, np.ndarray]:
    """What the process says of all pairs when it has seen the training responses only (lines × drugs)."""
    assert built.kernel is not None
    seen = built.trained_drugs
    thresholds = _all_thresholds(built)
    processes = fit_processes(built.task.train_response[:, seen], thresholds[seen], built.kernel, lower=built.lower)
    new_drugs = None if seen.all() else fit_drug_processes(processes, built, seen)
    tables = []
    for name in QUANTITIES:
        table = np.tile(processes[name].intercept.mean(), (len(built.trained_lines), len(seen)))
        table[:, seen] = _table(processes[name], built)
        asked = ~seen & built.usable
        if new_drugs is not None and asked.any():
            table[:, asked] = _table(new_drug_process(new_drugs[name], _cross_drugs(built, asked, seen)), built)
        tables.append(table)
    return tables[0], tables[1]


def _cross_drugs(built: Built, new: np.ndarray, seen: np.ndarray) -> np.ndarray:
    rows, columns = new[built.usable], (seen & built.usable)[built.usable]
    training = {name: part[columns] for name, part in built.features.items()}
    return drug_similarity(training, {name: part[rows] for name, part in built.features.items()})


def _table(process: Process, built: Built) -> np.ndarray:
    """Predictions for the lines of the reference: those without responses by expression."""
    assert built.kernel is not None
    fresh = process.new_lines(built.kernel.kernel[~built.trained_lines])
    table = process.fitted.copy()
    table[~built.trained_lines] = fresh
    return table


@torch.inference_mode()
def _network_predictions(built: Built) -> tuple[np.ndarray | None, np.ndarray | None]:
    net = built.module.net
    if net is None:
        return None, None
    device = next(net.parameters()).device
    codes = Codes(*(torch.from_numpy(built.module.array(name)).to(device) for name in ("line_codes", "drug_codes")))
    scaled = net.responses(codes).cpu().numpy().astype(np.float64)
    return built.mean + built.scale * scaled, net.logits(codes).cpu().numpy().astype(np.float64)


def left_out_predictions(model: MTIGCN, built: Built, expression: np.ndarray) -> tuple[np.ndarray, bool]:
    """Predictions for the lines of the reference as if each were new, and whether none was seen at all."""
    posterior, settings = model.posterior, model.settings
    drugs, unknown = np.arange(len(built.mean)), np.full(len(expression), -1)
    network = logit = process = squashed = None
    if settings.network:
        network, logit = posterior._network(expression, unknown, drugs)
    if settings.process:
        process, squashed = (built.processes[name].left_out for name in QUANTITIES)
        network = network if "regression" in settings.tasks else None
    sources = Sources(process, squashed, network, logit)
    predicted = posterior.combine(sources, posterior.context(unknown, drugs), drugs)
    uses_network = not settings.process or any(model.network_shares_) or model.predicts == "sensitivity"
    return predicted, not (settings.network and uses_network)


# ---------------------------------------------------------------------- similarities


def similarity_tables(model: MTIGCN, *, target: bool) -> dict[str, pd.DataFrame]:
    """Similarities of lines and of drugs; see :meth:`MTIGCN.similarities`."""
    posterior, settings = model.posterior, model.settings
    net, array = posterior.module.net, posterior.module.array
    if net is None or not settings.has_similarity:
        raise ValueError("This model has no similarity task. Train one with `tasks` that include 'similarity'.")
    if target:
        scores = posterior.factors.transform(array("lines"))
        lines = line_similarity(scores, kind=settings.line_similarity, epsilon=settings.epsilon)
        names = [name for name in posterior.module.kept if name.startswith("feature_")]
        features = {name.removeprefix("feature_"): array(name) for name in names}
        drugs = drug_similarity_target(features, array("usable").astype(bool))
    else:
        device = next(net.parameters()).device
        with torch.inference_mode():
            codes = Codes(*(torch.from_numpy(array(name)).to(device) for name in ("line_codes", "drug_codes")))
            lines, drugs = (part.cpu().numpy() for part in net.eval().similarities(codes))
    ids = model.drugs.index
    return {
        "lines": pd.DataFrame(lines, index=posterior.lines, columns=posterior.lines),
        "drugs": pd.DataFrame(drugs, index=ids, columns=ids),
    }
