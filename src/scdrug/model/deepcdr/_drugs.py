"""Drugs as the network takes them: graphs or fingerprints, through one interface."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from ...nn._graph_batch import FeatureBatch, GraphBatch
from ...pp._graphs import check_size, molecular_graphs
from ...pp._molecules import canonical_smiles, minimol_fingerprints, morgan_fingerprints

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
        values = minimol_fingerprints(smiles)
        return FeatureBatch(torch.from_numpy(values / np.maximum(values.std(axis=1, keepdims=True), 1e-6)))
    graphs = molecular_graphs(smiles, features=features)
    if pool == "mean_padded":
        check_size(graphs.n_atoms, _PADDED, names)
        graphs = graphs.padded(_PADDED)
    return GraphBatch.from_arrays(graphs)


def structure_features(smiles: Sequence[str], drug_kernel: str) -> dict[str, np.ndarray]:
    """What structures are compared by: Morgan fingerprints always, for the nearest drugs, and what the kernel needs.

    Parameters
    ----------
    smiles
        Canonical SMILES.
    drug_kernel
        ``"tanimoto"``, ``"minimol"`` or ``"mean"`` of both.
    """
    features = {"fingerprints": morgan_fingerprints(smiles)}
    if drug_kernel != "tanimoto":
        features["minimol"] = minimol_fingerprints(smiles)
    return features


def compared(features: dict[str, np.ndarray], drug_kernel: str) -> dict[str, np.ndarray]:
    """Those of the features that a kernel uses."""
    return {"minimol": features["minimol"]} if drug_kernel == "minimol" else dict(features)
