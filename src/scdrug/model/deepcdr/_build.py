"""Everything that training needs, made from a task: features, molecules, offsets, and a fresh network."""

from __future__ import annotations

import logging
import os
import warnings
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from ..._validate import examples
from ...nn._graph_batch import FeatureBatch, GraphBatch
from ...pp._profile import ReferenceProfile
from ..prior._kernels import FIVE_KERNELS, fit_kernel
from ._crossfit import NEW_LINE, DrugStructures, Offsets, offsets
from ._drugs import compared, molecules, readable, structure_features
from ._inputs import read_inputs
from ._module import DeepCDRNet, NetConfig
from ._training import PairData, context_weights

if TYPE_CHECKING:
    from .._batches import TrainingTask
    from ._model import DeepCDR

logger = logging.getLogger(__name__)


class DeepCDRModule(nn.Module):
    """The network, and arrays that travel with it.

    Parameters
    ----------
    net
        The network.
    """

    def __init__(self, net: DeepCDRNet) -> None:
        super().__init__()
        self.net = net

    def keep(self, **arrays: np.ndarray) -> None:
        """Add arrays, or replace them."""
        for name, value in arrays.items():
            self.register_buffer(name, torch.from_numpy(np.ascontiguousarray(value)))

    def array(self, name: str) -> np.ndarray:
        """Return one array."""
        return self.get_buffer(name).cpu().numpy()

    @property
    def kept(self) -> list[str]:
        """Names of the arrays."""
        return sorted(name for name, _ in self.named_buffers(recurse=False))


@dataclass(eq=False)
class Built:
    """What training needs and prediction does not."""

    module: DeepCDRModule
    data: PairData
    #: Lines × all features, and how many of them describe the cell.
    features: np.ndarray
    n_cell: int
    #: What structures are compared by, for drugs that have one, and which these are.
    structures: dict[str, np.ndarray]
    usable: np.ndarray
    #: What the process says of each pair without its response; `None` without the process.
    offsets: Offsets | None
    mean: np.ndarray
    scale: np.ndarray
    #: Similarity of the lines; `None` without the process.
    kernel: np.ndarray | None
    lines: list[str]
    #: Drugs with a response that was trained on, and positions of such lines.
    trained: np.ndarray
    trained_rows: np.ndarray
    validation: dict[str, Tensor] = field(default_factory=dict)


def build(model: DeepCDR, task: TrainingTask, *, pretrained_drugs: str | os.PathLike[str] | None) -> Built:
    """Make features, offsets and a fresh network for a task; torch's generator draws the weights.

    Parameters
    ----------
    model
        Model whose settings say how.
    task
        Lines with training and validation responses.
    pretrained_drugs
        Weights of the drug branch.

    Raises
    ------
    KeyError, ValueError
        If an input is missing or unfit, no drug has a structure, or a file is not what the network takes.
    """
    settings = model.settings
    inputs = read_inputs(model.adata, model.cell_input, model.modalities)
    if model.cell_input == "scores" and model.profile_ is None:
        model.profile_ = ReferenceProfile.fit(
            task.expression, model.genes, n_components=min(100, model._n_profile_components)
        )
    features = cell_features(model, task.expression, inputs)
    n_cell = features.shape[1] - sum(_widths(model, inputs).values())
    smiles, usable = readable(model.drugs["smiles"].tolist())
    _check_structures(model, usable)
    names = model.drugs["name"].to_numpy()[usable]
    batch = molecules(smiles, settings.drug_features, pool=settings.drug_pool, names=names)
    net = DeepCDRNet(_config(model, n_cell, _widths(model, inputs), batch, len(features)))
    net.cells.fit_scale(torch.from_numpy(features[task.train_rows]))
    if pretrained_drugs is not None:
        net.drugs.encoder.load_file(pretrained_drugs)
    features_of = structure_features(smiles, model.drug_kernel)
    structures = DrugStructures(compared(features_of, model.drug_kernel), usable)
    response = task.train_response
    if settings.offset == "process":
        kernel = fit_kernel(features[:, :n_cell], FIVE_KERNELS)[1]
        made = offsets(response, kernel, structures, seed=0, lines_only=not settings.network)
        mean, scale = made.mean, made.scale
    else:
        kernel, made = None, None
        mean, scale = _common_scale(response, scaled=settings.scale_response and model.task == "regression")
    context = _filled(np.broadcast_to(mean, (4, *response.shape)) if made is None else made.values)
    structure = np.where(usable, np.cumsum(usable) - 1, -1)
    data = PairData(
        torch.from_numpy(features),
        batch,
        torch.from_numpy(structure),
        torch.from_numpy(np.ascontiguousarray(context, dtype=np.float32)),
        torch.from_numpy(scale.astype(np.float32)),
        torch.from_numpy(context_weights(context, response, scale).astype(np.float32)),
    )
    trained = np.isfinite(response).any(axis=0)
    return Built(
        module=DeepCDRModule(net),
        data=data,
        features=features,
        n_cell=n_cell,
        structures=features_of,
        usable=usable,
        offsets=made,
        mean=mean,
        scale=scale,
        kernel=kernel,
        lines=list(task.lines),
        trained=trained,
        trained_rows=task.train_rows,
    )


def cell_features(model: DeepCDR, expression: np.ndarray, inputs: np.ndarray | None) -> np.ndarray:
    """All features of samples, those of the cell first (samples × features, float32).

    Parameters
    ----------
    model
        Model whose settings say which.
    expression
        Samples × genes, on the reference's scale.
    inputs
        What :func:`scdrug.model.deepcdr._inputs.read_inputs` returned for them.
    """
    if model.cell_input == "expression":
        parts = [expression]
    elif model.cell_input == "scores":
        parts = [model.profile.scores(np.asarray(expression, dtype=np.float32))]
    else:
        parts = []
    parts += [] if inputs is None else [inputs]
    return np.ascontiguousarray(np.hstack(parts), dtype=np.float32)


def _widths(model: DeepCDR, inputs: np.ndarray | None) -> dict[str, int]:
    """Features of each modality, by key."""
    from ._inputs import block

    return {key: block(model.adata, key, what="modality").shape[1] for key in model.modalities}


def _check_structures(model: DeepCDR, usable: np.ndarray) -> None:
    if not usable.any():
        raise ValueError(
            "No drug of `adata.uns['drugs']` has a SMILES that can be read, and DeepCDR learns from structures. Fill the "
            "column 'smiles'."
        )
    if not usable.all():
        warnings.warn(
            f"{int((~usable).sum())} of {len(usable)} drugs have no structure that can be read; they share one code: "
            f"{examples(model.drugs['name'][~usable])}.",
            stacklevel=5,
        )


def _config(
    model: DeepCDR, n_cell: int, modalities: dict[str, int], batch: GraphBatch | FeatureBatch, n_lines: int
) -> NetConfig:
    settings = model.settings
    n_bond = batch.edge_attr.shape[1] if isinstance(batch, GraphBatch) else 0
    return NetConfig(
        cell_widths={model.cell_input: n_cell, **modalities},
        drug_widths=(batch.x.shape[1], n_bond),
        drug_features=settings.drug_features,
        drug_encoder=settings.drug_encoder,
        drug_hidden=settings.drug_layers,
        drug_pool=settings.drug_pool,
        drug_norm=settings.drug_norm,
        cell_hidden=settings.cell_layers or None,
        head=settings.head,
        dropout=settings.dropout,
        standardise=settings.standardise,
        n_lines=n_lines if settings.identities else 0,
        n_drugs=len(model.drugs) if settings.identities else 0,
    )


def _common_scale(response: np.ndarray, *, scaled: bool) -> tuple[np.ndarray, np.ndarray]:
    """One mean and standard deviation for all drugs, or zero and one."""
    n_drugs = response.shape[1]
    if not scaled:
        return np.zeros(n_drugs), np.ones(n_drugs)
    spread = float(np.nanstd(response))
    return np.full(n_drugs, np.nanmean(response)), np.full(n_drugs, spread if spread > 0 else 1.0)


def _filled(offset: np.ndarray) -> np.ndarray:
    """Offsets without gaps: a drug without structure is never shown as new in training, and gets the typical otherwise."""
    out = np.array(offset, dtype=np.float64)
    for context in (2, 3):
        gap = ~np.isfinite(out[context])
        out[context][gap] = out[context & NEW_LINE][gap]
    return np.where(np.isfinite(out), out, np.nanmean(out))
