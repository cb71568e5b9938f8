"""Batches, loss and judgement of pretraining."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pandas as pd
import torch

from ..._validate import examples
from ...pp._perturbation import Perturbations
from .._batches import TableBatches
from ._module import CSG2ANetwork
from ._panel import robust_scale
from ._structures import Structures

#: Samples that are propagated at once.
_CHUNK = 256


class _ProfileLoss:
    """Squared error of perturbed profiles over the genes that are measured."""

    def __init__(self, network: CSG2ANetwork, structures: Structures, measured: torch.Tensor) -> None:
        self.network, self.structures, self.measured = network, structures, measured

    def predict(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        """Perturbed profiles of a batch."""
        core, device = self.network.core, batch["basal"].device
        unique, place = torch.unique(batch["structure"], return_inverse=True)
        inputs, known = self.structures.inputs(unique.cpu().numpy(), device)
        vectors = core.structures(inputs, known)[place]
        return core(batch["basal"], core.condition(vectors, batch["dose"], batch["time"]))

    def __call__(self, batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Loss of a batch."""
        error = (self.predict(batch) - batch["treated"]).square()
        return {"loss": error[:, self.measured.to(error.device)].mean()}


def _with_structures(data: Perturbations, encoder: str) -> tuple[Perturbations, Structures, np.ndarray]:
    """Profiles whose structure can be read, the structures, and which of them each profile saw."""
    texts = data.conditions["smiles"].astype(str)
    codes, unique = pd.factorize(texts)
    structures = Structures.read([str(text) for text in unique], encoder)
    good = structures.known[codes]
    if not good.any():
        raise ValueError(
            f"None of the {len(unique)} structures of the perturbation data can be read as SMILES, such as "
            f"{examples(unique, 3)}. Name the column of structures with `smiles_key=`."
        )
    if not good.all():
        warnings.warn(
            f"{int((~good).sum())} of {len(good)} profiles are left out, since their structure cannot be read: "
            f"{examples(unique[~structures.known], 3)}.",
            stacklevel=3,
        )
        data = Perturbations(data.basal[good], data.treated[good], data.genes, data.conditions[good])
    return data, structures, codes[good]


def _tensors(
    data: Perturbations, columns: np.ndarray, codes: np.ndarray, *, clip: float
) -> tuple[dict[str, torch.Tensor], np.ndarray]:
    """Profiles on the panel in robust z scores, zero for genes that are not measured, and which genes are."""
    measured = columns >= 0
    # controls are no part of the scale: a plate's control stands in all its profiles, and would shrink the deviation
    center, scale = robust_scale(data.treated[:, np.maximum(columns, 0)])

    def place(values: np.ndarray) -> torch.Tensor:
        z = (values[:, np.maximum(columns, 0)] - center) / scale
        z[:, ~measured] = 0.0
        return torch.from_numpy((np.clip(z, -clip, clip) if clip else z).astype(np.float32))

    numbers = data.conditions[["dose", "time"]].to_numpy(dtype=np.float32)
    return {
        "basal": place(data.basal),
        "treated": place(data.treated),
        "structure": torch.from_numpy(codes.astype(np.int64)),
        "dose": torch.from_numpy(numbers[:, 0].copy()),
        "time": torch.from_numpy(numbers[:, 1].copy()),
    }, measured


def _hold_out_conditions(conditions: pd.DataFrame, share: float, seed: int) -> np.ndarray:
    """Profiles of conditions that are drawn for validation."""
    if isinstance(share, bool) or not 0 <= share < 1:
        raise ValueError(f"`validation` must be a share of at least 0 and less than 1; found {share!r}.")
    codes, unique = pd.factorize(conditions.astype(str).agg("\x1f".join, axis=1))
    order = np.random.default_rng([seed, 3]).permutation(len(unique))
    return np.isin(codes, order[: min(round(share * len(unique)), len(unique) - 1)])


def _fit_features(network: CSG2ANetwork, structures: Structures, codes: np.ndarray, encoder: str) -> None:
    """Scale pretrained fingerprints by the structures of training."""
    if encoder == "minimol" and structures.features is not None:
        rows = structures.features[np.unique(codes)]
        network.core.feature_center.copy_(torch.from_numpy(rows.mean(axis=0)))
        network.core.feature_scale.copy_(torch.from_numpy(np.maximum(rows.std(axis=0), 1e-3)))


def _summary(
    tensors: dict[str, torch.Tensor], measured: np.ndarray, held: np.ndarray, data: Perturbations
) -> dict[str, Any]:
    doses, times = data.conditions["dose"], data.conditions["time"]
    return {
        "n_profiles": len(held),
        "n_validation": int(held.sum()),
        "n_structures": int(tensors["structure"].unique().numel()),
        "n_genes": int(measured.sum()),
        "dose": [float(doses.min()), float(doses.max())],
        "time": [float(times.min()), float(times.max())],
    }


@torch.no_grad()
def _errors(
    network: CSG2ANetwork, loss: _ProfileLoss, tensors: dict[str, torch.Tensor], measured: np.ndarray, held: np.ndarray
) -> dict[str, float]:
    """Squared error on held-out conditions, of the core and of two simple predictions."""
    if not held.any():
        return {}
    rows, genes, device = torch.from_numpy(held), torch.from_numpy(measured), next(network.parameters()).device
    parts = {name: tensor[rows] for name, tensor in tensors.items()}
    batches = TableBatches(parts, _CHUNK)
    found = torch.cat([loss.predict({k: v.to(device) for k, v in batch.items()}).cpu() for batch in batches])
    shift = (tensors["treated"][~rows] - tensors["basal"][~rows]).mean(0)
    candidates = {"mse": found, "mse_no_change": parts["basal"], "mse_mean_change": parts["basal"] + shift}
    return {name: float((value - parts["treated"])[:, genes].square().mean()) for name, value in candidates.items()}
