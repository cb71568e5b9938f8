"""PathwayTransfer taken apart for attribution."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from torch import Tensor

from .._explain import Explained, cannot_explain, output_of

if TYPE_CHECKING:
    from ._model import PathwayTransfer
    from ._module import PathwayModule


def explain_code(model: PathwayTransfer, drugs: np.ndarray, *, baseline: str) -> Explained:
    """Inputs are the nodes of the shared code, as in He et al. 2025, section 2.5.

    Parameters
    ----------
    model
        A trained model with pathways.
    drugs
        Columns of the drugs.
    baseline
        ``"lines"``, the mean code of the training lines, or ``"zero"``. The linear path is counted from the mean expression of
        the lines in either case: a code of zero belongs to no expression.

    Returns
    -------
    Its parts.

    Raises
    ------
    TypeError
        If the model has no pathways.
    """
    if not model.pathways_:
        raise cannot_explain(f"{type(model).__name__} without pathways", "pathways")
    module = model.module
    start = module.code_mean.cpu().numpy() * (baseline == "lines")
    return Explained(
        names=list(model.pathways_),
        inputs=model._latent_rows,
        network=lambda code, drug: _respond(module, code, int(drugs[drug])),
        start=start,
        positions=None,
        panel_start=model.profile.mean,
        table=_table(model),
        **output_of(model.reference),
        **_paths(module, drugs),
    )


def explain_expression(model: PathwayTransfer, drugs: np.ndarray, *, baseline: str) -> Explained:
    """Inputs are the genes that the network reads; the linear path reads the whole panel.

    Parameters
    ----------
    model
        A trained model.
    drugs
        Columns of the drugs.
    baseline
        ``"lines"``, the mean expression of the training lines, or ``"zero"``.

    Returns
    -------
    Its parts.
    """
    module = model.module
    positions = module.genes.cpu().numpy()

    def network(expression: Tensor, drug: int) -> Tensor:
        code = module.autoencoder.code((expression - module.mean) / module.sd, model.domain)
        return _respond(module, code, int(drugs[drug]))

    return Explained.of_expression(
        model.reference, model.profile, baseline=baseline, network=network, reads=positions, **_paths(module, drugs)
    )


def _table(model: PathwayTransfer) -> pd.DataFrame:
    """What is known of each node of the code."""
    table = model.get_pathway_table()[["n_genes", "own_r2", "identified"]]
    n_pathways = len(table) - model.settings.n_free
    table.insert(0, "kind", np.where(np.arange(len(table)) < n_pathways, "pathway", "free nodes"))
    return table


def _respond(module: PathwayModule, code: Tensor, drug: int) -> Tensor:
    """What the network adds to the response to one drug (rows): the others' outputs are not computed."""
    last = module.head.output
    standardised = module.head.hidden(code) @ last.weight[drug] + last.bias[drug]
    return module.gate * (module.drug_mean[drug] + module.drug_sd[drug] * standardised)


def _paths(module: PathwayModule, drugs: np.ndarray) -> dict[str, Any]:
    """The linear path and the network's share, as they stand in the parts."""
    module.eval()
    share, linear = 1.0, None
    if module.sizes.linear:
        share = float(module.gate)
        weights, intercept = (value.cpu().numpy() for value in (module.linear, module.intercept))
        linear = (1 - share) * weights[:, drugs], (1 - share) * intercept[drugs]
    return {
        "linear": linear,
        "scale": module.drug_sd.cpu().numpy()[drugs].astype(float),
        "network_share": share,
        "device": module.gate.device,
    }
