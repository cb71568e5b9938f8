"""PathwayTransfer taken apart for attribution."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from .._explain import Explained, output_unit

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
    """
    module = model.module
    start = module.code_mean.cpu().numpy() * (baseline == "lines")
    parts = _common(model, drugs)
    return Explained(
        names=list(model.pathways_),
        inputs=model._latent_rows,
        network=lambda code, drug: _respond(module, code, int(drugs[drug])),
        start=start,
        positions=None,
        panel_start=model.profile.mean,
        **parts,
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

    start = model.profile.mean if baseline == "lines" else np.zeros_like(model.profile.mean)
    return Explained(
        names=[str(model.genes[position]) for position in positions],
        inputs=lambda rows: rows[:, positions],
        network=network,
        start=start[positions],
        positions=positions,
        panel_start=start,
        **_common(model, drugs),
    )


def _respond(module: PathwayModule, code: Tensor, drug: int) -> Tensor:
    """What the network adds to the response to one drug (rows): the others' outputs are not computed."""
    last = module.head.output
    standardised = module.head.hidden(code) @ last.weight[drug] + last.bias[drug]
    return module.gate * (module.drug_mean[drug] + module.drug_sd[drug] * standardised)


def _common(model: PathwayTransfer, drugs: np.ndarray) -> dict[str, Any]:
    module = model.module
    module.eval()
    share, linear = 1.0, None
    if module.sizes.linear:
        share = float(module.gate)
        weights, intercept = (value.cpu().numpy() for value in (module.linear, module.intercept))
        linear = (1 - share) * weights[:, drugs], (1 - share) * intercept[drugs]
    lower = model.reference.lower_is_sensitive
    return {
        "linear": linear,
        "scale": module.drug_sd.cpu().numpy()[drugs].astype(float),
        "sign": -1.0 if lower else 1.0,
        "unit": output_unit(model),
        "network_share": share,
        "device": module.gate.device,
    }
