"""Minibatches of pairs and their loss; contexts are drawn so that one network serves known and new lines and drugs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from ...nn._graph_batch import FeatureBatch, GraphBatch
from ...nn._losses import masked_bce, masked_mse
from .._share import share_of_groups
from ._crossfit import KNOWN, N_CONTEXTS, NEW_DRUG, NEW_LINE
from ._module import Pairs

if TYPE_CHECKING:
    from ._module import DeepCDRNet

#: How often a training pair is shown as of a known line and drug, a new line, a new drug, both new.
CONTEXT_SHARES = (0.55, 0.25, 0.1, 0.1)


@dataclass(eq=False)
class PairData:
    """What a network is trained on, as tensors; moved to the network's device on first use."""

    #: Lines × all features, NaN rows of blocks that were not measured.
    features: Tensor
    #: Molecules of the drugs that have a structure.
    molecules: GraphBatch | FeatureBatch
    #: Row of `molecules` of each drug, −1 without structure.
    structure: Tensor
    #: Offset of each pair in each context (contexts × lines × drugs), or one context of zeros.
    offset: Tensor
    #: Standard deviation of each drug, by which residuals are divided.
    scale: Tensor
    #: Weight of each context in the loss, one over the variance of its residuals: else new drugs, whose potency is beyond
    #: what structures tell, would decide alone.
    weight: Tensor

    def to(self, device: torch.device) -> PairData:
        """Move everything, once."""
        if self.features.device != device:
            for name in ("features", "structure", "offset", "scale", "weight"):
                setattr(self, name, getattr(self, name).to(device))
            self.molecules = self.molecules.to(device)
        return self


class PairLoss:
    """Loss of a network over a minibatch of pairs.

    Parameters
    ----------
    net
        The network.
    data
        Features, molecules and offsets.
    classification
        Whether responses are labels.
    contexts
        Whether a training pair is shown in contexts that are drawn.
    """

    def __init__(self, net: DeepCDRNet, data: PairData, *, classification: bool, contexts: bool) -> None:
        self.net, self.data, self.classification, self.contexts = net, data, classification, contexts

    def __call__(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Loss, and the number of pairs."""
        output, target, weight = self.residuals(batch)
        value = masked_bce(output, target) if self.classification else masked_mse(output, target, weight=weight)
        parts = {"loss": value, "n": torch.tensor(float(len(target)))}
        if not self.net.training and not self.classification:
            # what the paper plots by epoch: the correlation over validation pairs
            response = batch["response"] + (output - target) * self.data.scale[batch["drug"]]
            parts["pearson"] = torch.corrcoef(torch.stack([response, batch["response"]]))[0, 1].nan_to_num()
        return parts

    def residuals(self, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """Output of the network, what it should be, and weight, pair by pair."""
        line, drug = batch["line"], batch["drug"]
        data = self.data.to(line.device)
        context = self._context(batch, data)
        flat = (context * data.offset.shape[1] + line) * data.offset.shape[2] + drug
        offset = data.offset.view(-1)[flat]
        target = (batch["response"] - offset) / data.scale[drug]
        lines, row = torch.unique(line, return_inverse=True)
        drugs, column = torch.unique(drug, return_inverse=True)
        pairs = Pairs(row, column, line, drug, (context & NEW_LINE) == 0, (context & NEW_DRUG) == 0)
        codes = drug_codes(self.net, data.molecules, data.structure[drugs])
        return self.net(self.net.cells(data.features[lines]), codes, pairs), target, data.weight[context]

    def _context(self, batch: dict[str, Tensor], data: PairData) -> Tensor:
        if not self.contexts:
            return torch.zeros_like(batch["line"])
        fixed = batch["context"]
        if not self.net.training:
            return fixed
        # torch's generator is seeded at every step
        shares = torch.tensor(CONTEXT_SHARES, device=fixed.device)
        drawn = torch.multinomial(shares, len(fixed), replacement=True)
        # a drug without structure cannot be predicted as if it were new
        return torch.where(data.structure[batch["drug"]] >= 0, drawn, drawn & NEW_LINE)


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


def pair_tensors(response: np.ndarray, *, trained: np.ndarray) -> dict[str, Tensor]:
    """Measured pairs as tensors: line, drug, response, and what is known of them.

    Parameters
    ----------
    response
        Lines × drugs, NaN where not measured.
    trained
        Responses that training uses (lines × drugs, NaN elsewhere); lines and drugs without any are new.
    """
    line, drug = np.nonzero(np.isfinite(response))
    seen = np.isfinite(trained)
    context = np.where(seen.any(axis=1)[line], KNOWN, NEW_LINE) | np.where(seen.any(axis=0)[drug], KNOWN, NEW_DRUG)
    return {
        "line": torch.from_numpy(line),
        "drug": torch.from_numpy(drug),
        "response": torch.from_numpy(response[line, drug].astype(np.float32)),
        "context": torch.from_numpy(context),
    }


def hold_out_each(measured: np.ndarray, usable: np.ndarray, *, seed: int, share: float = 0.05) -> np.ndarray:
    """Draw pairs, whole lines and whole drugs, so that each kind of prediction can be checked.

    Parameters
    ----------
    measured
        Lines × drugs, true where there is a response.
    usable
        Drugs that have a structure; no other is drawn.
    seed
        Seed of the draw.
    share
        Share of the pairs, of the lines and of the drugs.

    Returns
    -------
    Lines × drugs, true where a measured response is held out; no drug that was not drawn whole loses all of them.
    """
    rng = np.random.default_rng([seed, 3])
    marked = rng.random(measured.shape) < share
    marked[rng.permutation(len(measured))[: round(share * len(measured))]] = True
    marked &= measured
    emptied = measured.any(axis=0) & ~(measured & ~marked).any(axis=0)
    marked[:, emptied] = False
    drugs = rng.permutation(np.flatnonzero(usable & measured.any(axis=0)))
    marked[:, drugs[: round(share * len(drugs))]] = True
    return marked & measured


def context_weights(offset: np.ndarray, response: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """One over the mean square of the residuals of each context, relative to that of known pairs.

    Parameters
    ----------
    offset
        Contexts × lines × drugs.
    response
        Responses that training uses (lines × drugs, NaN elsewhere).
    scale
        Standard deviation of each drug.
    """
    known = np.isfinite(response)
    squares = [np.mean(((response - part) / scale)[known] ** 2) for part in offset]
    return squares[0] / np.maximum(squares, 1e-6)


@torch.no_grad()
def network_weights(loss: PairLoss, batches: list[dict[str, Tensor]]) -> list[float]:
    """Share of the network's output that fits validation responses, between 0 and 1, by context.

    The share is taken with caution, see :func:`share_of_groups`: responses of one line count together, and those of one
    drug where the drug is new. A network that has learned nothing that holds beyond its training pairs is thereby
    switched off, as it is where no validation response shows that it helps.
    """
    parts = []
    for batch in batches:
        output, target, _ = loss.residuals(batch)
        parts.append([part.cpu().numpy() for part in (batch["context"], batch["line"], batch["drug"], output, target)])
    context, line, drug, output, target = (np.concatenate(part) for part in zip(*parts, strict=True))
    shares = []
    for code in range(N_CONTEXTS):
        chosen = context == code
        group = np.unique((drug if code & NEW_DRUG else line)[chosen], return_inverse=True)[1]
        shares.append(
            share_of_groups(
                np.bincount(group, output[chosen].astype(float) ** 2),
                np.bincount(group, (output * target)[chosen].astype(float)),
            )
        )
    return shares
