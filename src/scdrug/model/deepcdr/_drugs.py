"""Drugs as the network takes them: graphs or fingerprints, through one interface."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch

from ..._validate import examples
from ...nn._graph_batch import FeatureBatch, GraphBatch
from ...pp._graphs import check_size, molecular_graphs
from ...pp._molecules import canonical_smiles, minimol_fingerprints, morgan_fingerprints

#: Kinds of drug features: graphs with three descriptions of atoms, and fingerprints.
DRUG_FEATURES = ("rich", "deepcdr", "contextpred", "morgan", "minimol")
#: Atoms that the published network pads to.
_PADDED = 100


def training_molecules(
    drugs: pd.DataFrame, features: str, *, pool: str
) -> tuple[GraphBatch | FeatureBatch, np.ndarray]:
    """Features of the structures of a table of drugs.

    Returns
    -------
    Molecules of the drugs that have a structure, and the row of each drug among them, −1 without one.

    Raises
    ------
    ValueError
        If no drug has a structure, or a molecule is larger than the padding allows.

    Warns
    -----
    UserWarning
        If some drugs have no structure; the message names them.
    """
    canonical = [canonical_smiles(text) for text in drugs["smiles"]]
    usable = np.array([text is not None for text in canonical])
    if not usable.any():
        raise ValueError(
            "No drug of `adata.uns['drugs']` has a SMILES that can be read, and DeepCDR learns from structures. Fill the "
            "column 'smiles'."
        )
    if not usable.all():
        warnings.warn(
            f"{int((~usable).sum())} of {len(usable)} drugs have no structure that can be read; they share one code: "
            f"{examples(drugs['name'][~usable])}.",
            stacklevel=6,
        )
    smiles = [text for text in canonical if text is not None]
    batch = molecules(smiles, features, pool=pool, names=drugs["name"].to_numpy()[usable])
    return batch, np.where(usable, np.cumsum(usable) - 1, -1)


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
