"""What attribution needs to know of a model: a network of some inputs plus a linear map of expression."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from torch import Tensor

    from ..pp._profile import ReferenceProfile
    from ._base import DrugResponseModel
    from ._data import ReferenceInfo


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
    #: What is known of each pathway, by name: `kind` (``"pathway"`` or ``"free nodes"``), `n_genes`, `own_r2`,
    #: `identified`; `None` for genes.
    table: pd.DataFrame | None = None

    @classmethod
    def of_expression(
        cls,
        reference: ReferenceInfo,
        profile: ReferenceProfile,
        *,
        baseline: str,
        scale: np.ndarray,
        network: Callable[[Tensor, int], Tensor] | None = None,
        reads: np.ndarray | None = None,
        linear: tuple[np.ndarray, np.ndarray] | None = None,
        network_share: float = 0.0,
        device: Any = "cpu",
    ) -> Explained:
        """Parts of a model whose inputs are genes.

        Parameters
        ----------
        reference, profile
            What the model was trained on.
        baseline
            What contributions are counted from: ``"lines"``, the mean expression of the training lines, or ``"zero"``.
        scale, network, linear, network_share, device
            As the attributes of the same name.
        reads
            Positions in the panel of the genes that the network reads; all if omitted.
        """
        start = profile.mean if baseline == "lines" else np.zeros_like(profile.mean)
        reads = np.arange(len(start)) if reads is None or network is None else reads
        return cls(
            names=[str(gene) for gene in reference.genes[reads]],
            inputs=None if network is None else lambda rows: rows[:, reads],
            network=network,
            start=start[reads],
            positions=None if network is None else reads,
            linear=linear,
            panel_start=start,
            scale=scale,
            network_share=network_share,
            device=device,
            **output_of(reference),
        )


def output_of(reference: ReferenceInfo) -> dict[str, Any]:
    """`sign` and `unit` of outputs of a model that was trained on a reference."""
    unit = str(reference.response.get("unit", ""))
    return {
        "sign": -1.0 if reference.lower_is_sensitive else 1.0,
        "unit": "log-odds" if unit == "probability" else unit,
    }


def explain_linear(model: DrugResponseModel, drugs: np.ndarray, *, baseline: str, of: str) -> Explained:
    """Parts of a model that is linear in expression; raises :class:`TypeError` for others."""
    linear = model._linear_weights(drugs) if of == "genes" else None
    if linear is None:
        raise cannot_explain(type(model).__name__, of)
    return Explained.of_expression(
        model.reference, model.profile, baseline=baseline, scale=np.ones(len(drugs)), linear=linear
    )


def cannot_explain(found: str, of: str) -> TypeError:
    """What to raise for a model, `found` in words, without parts that contributions could be attributed to."""
    if of == "pathways":
        return TypeError(
            f"Pathways are nodes of a PathwayTransfer with `variant='full'`; found a {found}. Name gene sets, such as "
            "`pathways='hallmark'`, and linear models are attributed to them."
        )
    return TypeError(
        "Genes are attributed to by PathwayTransfer and by linear models, such as the bundled 'gdsc-ridge'; this "
        f"{found} is neither. Train one of those on the same reference."
    )
