"""What a network is trained on, the loss over minibatches of pairs, and the phase of training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from ...nn._graph_batch import FeatureBatch, GraphBatch
from ...nn._losses import masked_bce, masked_mse
from .._batches import TableBatches, TrainingTask
from .._plan import Phase, Stopping
from ._drugs import training_molecules
from ._module import DeepCDRNet, NetConfig

if TYPE_CHECKING:
    from .._options import PhaseOptions
    from ._settings import Settings


@dataclass(eq=False)
class PairData:
    """What a network is trained on, as tensors; moved to the network's device on first use."""

    #: Lines × all features, NaN rows of blocks that were not measured.
    features: Tensor
    #: Molecules of the drugs that have a structure.
    molecules: GraphBatch | FeatureBatch
    #: Row of `molecules` of each drug, −1 without structure.
    structure: Tensor

    def to(self, device: torch.device) -> PairData:
        """Move everything, once."""
        if self.features.device != device:
            self.features, self.structure = self.features.to(device), self.structure.to(device)
            self.molecules = self.molecules.to(device)
        return self


class PairLoss:
    """Loss of a network over a minibatch of pairs."""

    def __init__(self, net: DeepCDRNet, data: PairData, *, classification: bool) -> None:
        self.net, self.data, self.classification = net, data, classification

    def __call__(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Loss, and the number of pairs."""
        data, target = self.data.to(batch["line"].device), batch["response"]
        # each line and each drug is encoded once
        lines, row = torch.unique(batch["line"], return_inverse=True)
        drugs, column = torch.unique(batch["drug"], return_inverse=True)
        codes = drug_codes(self.net, data.molecules, data.structure[drugs])
        output = self.net(self.net.cells(data.features[lines]), codes, row, column)
        value = masked_bce(output, target) if self.classification else masked_mse(output, target)
        parts = {"loss": value, "n": torch.tensor(float(len(target)))}
        if not self.net.training and not self.classification:
            # what the paper plots by epoch: the correlation over validation pairs
            parts["pearson"] = torch.corrcoef(torch.stack([output, target]))[0, 1].nan_to_num()
        return parts


def drug_codes(net: DeepCDRNet, molecules: GraphBatch | FeatureBatch, structure: Tensor) -> Tensor:
    """Codes of drugs, each molecule encoded once.

    Parameters
    ----------
    net
        The network.
    molecules
        Molecules.
    structure
        Row of `molecules` for each drug, −1 for drugs without structure.
    """
    known = structure >= 0
    out = net.no_structure.expand(len(structure), -1)
    if not bool(known.any()):
        return out
    rows = structure[known]
    part = molecules if len(rows) == len(molecules) and bool((rows.diff() == 1).all()) else molecules.select(rows)
    encoded = net.encode_drugs(part)
    return encoded if bool(known.all()) else out.clone().index_copy(0, known.nonzero()[:, 0], encoded)


def pair_tensors(response: np.ndarray, mean: float, scale: float) -> dict[str, Tensor]:
    """Measured pairs as tensors: line, drug, and standardised response.

    Parameters
    ----------
    response
        Lines × drugs, NaN where not measured.
    mean, scale
        What responses are standardised by.
    """
    line, drug = np.nonzero(np.isfinite(response))
    return {
        "line": torch.from_numpy(line),
        "drug": torch.from_numpy(drug),
        "response": torch.from_numpy(((response[line, drug] - mean) / scale).astype(np.float32)),
    }


def make_network(
    settings: Settings, drugs: pd.DataFrame, features: np.ndarray, widths: dict[str, int], trained: np.ndarray
) -> tuple[DeepCDRNet, PairData]:
    """A fresh network, whose weights torch's generator draws, and what it is trained on.

    Parameters
    ----------
    settings
        Sizes and kinds of layers.
    drugs
        Drugs with the columns `name` and `smiles`.
    features
        Lines × all features.
    widths
        How many of them each block has, by name.
    trained
        Positions of lines that are trained on, by which features are standardised.

    Raises
    ------
    ValueError
        If no drug has a structure, or a width does not fit a published branch.
    """
    molecules, structure = training_molecules(drugs, settings.drug_features, pool=settings.drug_pool)
    net = DeepCDRNet(NetConfig.of(settings, widths, molecules), n_drugs=len(drugs))
    net.cells.fit_scale(torch.from_numpy(features[trained]))
    return net, PairData(torch.from_numpy(features), molecules, torch.from_numpy(structure))


def pair_phase(
    net: DeepCDRNet, data: PairData, task: TrainingTask, options: PhaseOptions, *, classification: bool, decay: float
) -> Phase:
    """The only phase of training: minibatches of pairs."""
    mean, scale = float(net.mean), float(net.scale)
    pairs = pair_tensors(task.train_response, mean, scale)
    validation = pair_tensors(task.validation_response, mean, scale)
    return Phase(
        batches=TableBatches(pairs, options.batch_size, generator=options.generator),
        loss=PairLoss(net, data, classification=classification),
        max_epochs=options.max_epochs,
        validation=TableBatches(validation, 1 << 14) if task.has_validation else None,
        stopping=Stopping(patience=options.patience) if options.early_stopping else None,
        lr=options.lr,
        weight_decay=decay,
    )
