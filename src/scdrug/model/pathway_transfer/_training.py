"""From a task to a network, and from a trained network to what is read from it."""

from __future__ import annotations

import logging
import warnings
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import scipy.sparse as sp
import torch

from ...pp._gene_sets import _nearest
from .._batches import TrainingTask
from .._share import cautious_share
from ._inputs import (
    Nodes,
    Targets,
    check_targets,
    classification_targets,
    make_nodes,
    regression_targets,
    select_genes,
)
from ._module import PathwayModule, Sizes

if TYPE_CHECKING:
    from ._model import PathwayTransfer

logger = logging.getLogger(__name__)

#: Loss of reconstruction without a node, over the variance of its genes, from which on it is said to be identified.
_IDENTIFIED = 0.01


def make_module(
    model: PathwayTransfer, task: TrainingTask, cells: np.ndarray | None
) -> tuple[PathwayModule, list[str], Targets]:
    """Return a fresh network with everything that is fitted in closed form, names of its nodes, and the head's targets."""
    settings = model.settings
    targets = _make_targets(model, task)
    check_targets(targets, model.drugs.index, task=settings.task)
    lines = task.expression[task.train_rows]
    genes = select_genes(lines, cells, settings.n_top_genes)
    negative = bool(lines.min() < 0)
    if negative and (settings.relu or settings.standardize is None):
        warnings.warn(
            "Expression of the reference holds negative values, on which the preset is not defined: genes are standardised, and "
            "the pathway decoder stays linear.",
            UserWarning,
            stacklevel=2,
        )
    nodes = None
    if model._gene_sets is not None:
        nodes = make_nodes(
            *model._gene_sets, genes, min_genes=settings.min_genes, strictly=settings.strictly, n_free=settings.n_free
        )
    sizes = Sizes(
        n_panel=task.expression.shape[1],
        n_genes=len(genes),
        n_latent=settings.n_latent if nodes is None else len(nodes.names),
        n_drugs=task.response.shape[1],
        n_hidden=settings.n_hidden,
        n_head=settings.n_head,
        dropout=settings.dropout,
        norm=settings.norm,
        # without a shared encoder each domain has its own; without cells nothing is shared with another domain
        private=not settings.is_shared or cells is not None,
        shared=settings.is_shared,
        pathways=nodes is not None,
        relu=settings.relu and not negative,
        linear=targets.linear is not None,
    )
    module = PathwayModule(sizes, None if nodes is None else torch.from_numpy(nodes.mask))
    standardize = negative if settings.standardize is None else settings.standardize
    _fill_buffers(module, lines, genes, targets, standardize=standardize)
    return module, _names(nodes), targets


def _names(nodes: Nodes | None) -> list[str]:
    return [] if nodes is None else nodes.names


def _make_targets(model: PathwayTransfer, task: TrainingTask) -> Targets:
    settings = model.settings
    if settings.task == "regression":
        return regression_targets(
            task.expression, task.train_response, task.validation_response, linear_ridge=settings.linear_ridge
        )
    return classification_targets(
        task.train_response,
        task.validation_response,
        method=settings.labels,
        fraction=settings.fraction,
        lower_is_sensitive=model._lower_is_sensitive,
    )


def _fill_buffers(
    module: PathwayModule, lines: np.ndarray, genes: np.ndarray, targets: Targets, *, standardize: bool
) -> None:
    values = {"genes": genes, "drug_mean": targets.mean, "drug_sd": targets.sd}
    if standardize:
        sd = lines[:, genes].std(axis=0)
        values |= {"mean": lines[:, genes].mean(axis=0), "sd": np.where(sd > 1e-6, sd, 1.0)}
    if targets.linear is not None:
        values |= {"linear": targets.linear.weights, "intercept": targets.linear.intercept}
    for name, value in values.items():
        buffer = getattr(module, name)
        buffer.copy_(torch.from_numpy(np.asarray(value)).to(buffer.dtype))


def set_gate(model: PathwayTransfer, task: TrainingTask) -> None:
    """Share the prediction between network and linear path by the validation lines, see :func:`cautious_share`.

    Without validation responses both have one half.
    """
    module, share = model.module, 0.5
    rows = task.validation_rows
    if len(rows):
        expression = task.expression[rows]
        network = model._evaluate(lambda x: module.respond(module.encode(x, "bulk")), expression)
        linear = model._evaluate(lambda x: x @ module.linear + module.intercept, expression)
        share = cautious_share(network, linear, task.validation_response[rows], scale=module.drug_sd.cpu().numpy())
    module.gate.fill_(share)


def summarise_codes(model: PathwayTransfer, expression: np.ndarray) -> pd.DataFrame | None:
    """Fill in how codes are distributed over the lines, and measure how well each node is identified."""
    module, domain = model.module, "bulk"
    code = model._evaluate(lambda x: module.encode(x, domain), expression)
    spread = code.std(axis=0)
    values = {"code_mean": code.mean(axis=0), "code_sd": np.where(spread > 1e-6, spread, 1.0)}
    table = None
    if module.sizes.pathways:
        weights = module.autoencoder.sparse.masked_weight.detach().cpu().numpy()  # genes read × nodes
        mask = module.autoencoder.sparse.mask.cpu().numpy()
        values["orientation"] = np.where(weights.sum(axis=0) < 0, -1.0, 1.0)
        x = model._evaluate(module.read, expression)
        fitted = model._evaluate(lambda z: module.autoencoder.decode_sparse(z), code)
        table = identify_nodes(x, fitted, code - code.mean(axis=0), weights, mask)
        nearest, table["jaccard"] = nearest_sets(
            sp.csr_matrix(mask[:, : len(mask.T) - model.settings.n_free]), len(table)
        )
        table["nearest"] = [model.pathways_[node] if node >= 0 else "" for node in nearest]
        table.index = pd.Index(model.pathways_, name="pathway")
        table.loc[table["jaccard"] == 1, "identified"] = False
        poor = table.index[~table["identified"]]
        logger.info("%d of %d pathways are not identified: %s", len(poor), len(table), ", ".join(poor))
    for name, value in values.items():
        buffer = getattr(module, name)
        buffer.copy_(torch.from_numpy(np.asarray(value)).to(buffer.dtype))
    return table


def nearest_sets(mask: sp.csr_matrix, n_nodes: int) -> tuple[np.ndarray, np.ndarray]:
    """The other pathway that shares most of the genes read with each, −1 if there is none, and its Jaccard index.

    Free nodes, which `mask` (genes read × pathways) does not hold, reach all genes and have none.
    """
    nearest, jaccard = _nearest(mask.astype(np.float32))  # products of bool do not count
    n_free = n_nodes - len(nearest)
    return np.append(nearest, np.full(n_free, -1)), np.append(jaccard, np.zeros(n_free))


def identify_nodes(
    x: np.ndarray, fitted: np.ndarray, code: np.ndarray, weights: np.ndarray, mask: np.ndarray
) -> pd.DataFrame:
    """How well genes of each node are reconstructed, with and without it.

    Parameters
    ----------
    x, fitted
        Expression and its reconstruction (lines × genes).
    code
        Centred code (lines × nodes).
    weights, mask
        Decoder (genes × nodes).

    Returns
    -------
    By node: `n_genes`, `r2`, `own_r2`, `identified`, see :meth:`PathwayTransfer.get_pathway_table`.
    """
    centred = x - x.mean(axis=0)
    residual = x - fitted
    total = (centred**2).sum(axis=0)
    left = (residual**2).sum(axis=0)
    members = mask.astype(np.float64)
    pooled = np.maximum(members.T @ total, 1e-12)
    # without node k the residual of gene g is r + z_k w_gk: its square grows by 2 z_k·r w_gk + z_k·z_k w_gk²
    product = (code.T @ residual).T * weights
    growth = (members * (2 * product + (code**2).sum(axis=0) * weights**2)).sum(axis=0)
    own = growth / pooled
    return pd.DataFrame(
        {
            "n_genes": mask.sum(axis=0).astype(int),
            "r2": 1 - members.T @ left / pooled,
            "own_r2": own,
            "identified": own >= _IDENTIFIED,
        }
    )
