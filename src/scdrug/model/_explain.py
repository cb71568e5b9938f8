"""What attribution needs to know of a model: a network of some inputs plus a linear map of expression."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor

    from ._base import DrugResponseModel


@dataclass(frozen=True)
class Explained:
    """Outputs of a model, taken apart: output = network(inputs) + expression · weights + intercept.

    Outputs are in the unit of the response, or log-odds where the model predicts a probability.
    """

    #: What contributions are attributed to: inputs of the network, or the panel if there is no network.
    names: list[str]
    #: Rows of the panel → inputs of the network; `None` without a network.
    inputs: Callable[[np.ndarray], np.ndarray] | None
    #: Inputs of the network and the position of a chosen drug → outputs (rows), differentiable, with the network's share
    #: in it.
    network: Callable[[Tensor, int], Tensor] | None
    #: Inputs that the network counts from (inputs).
    start: np.ndarray
    #: Position of each name in the panel, for inputs that are genes, else `None`.
    positions: np.ndarray | None
    #: Weights of the linear map (panel × chosen drugs) and intercepts, `None` without one.
    linear: tuple[np.ndarray, np.ndarray] | None
    #: Expression that the linear map counts from (panel).
    panel_start: np.ndarray
    #: Size of an output worth explaining: standard deviation of the drug over the lines (chosen drugs).
    scale: np.ndarray
    #: 1 if a higher output is more sensitive, -1 if lower is.
    sign: float
    unit: str
    #: Share of the network in the prediction.
    network_share: float
    #: Where the network computes.
    device: Any = "cpu"


def explain_genes(model: DrugResponseModel, drugs: np.ndarray, *, baseline: str) -> Explained:
    """Take a model apart for attribution to genes.

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

    Raises
    ------
    TypeError
        If the model is neither linear nor a PathwayTransfer.
    """
    from .pathway_transfer import PathwayTransfer

    if isinstance(model, PathwayTransfer):
        from .pathway_transfer._explain import explain_expression

        return explain_expression(model, drugs, baseline=baseline)
    linear = model._linear_weights(drugs)
    if linear is None:
        raise TypeError(
            f"Genes are attributed to by PathwayTransfer and by linear models, such as the bundled 'gdsc2-ridge'; this "
            f"{type(model).__name__} is neither. Train one of those on the same reference."
        )
    start = model.profile.mean if baseline == "lines" else np.zeros_like(model.profile.mean)
    return Explained(
        names=[str(gene) for gene in model.genes],
        inputs=None,
        network=None,
        start=np.zeros(0, dtype=np.float32),
        positions=None,
        linear=linear,
        panel_start=start,
        scale=np.ones(len(drugs)),
        sign=-1.0 if model.reference.lower_is_sensitive else 1.0,
        unit=output_unit(model),
        network_share=0.0,
    )


def output_unit(model: DrugResponseModel) -> str:
    """Unit that contributions are in."""
    unit = str(model.reference.response.get("unit", ""))
    return "log-odds" if unit == "probability" else unit
