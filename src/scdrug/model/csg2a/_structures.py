"""Structures of drugs, in the form that the encoder of a network reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ...pp._molecule_graphs import MoleculeGraph, molecule_graph, pad_molecules
from ...pp._molecules import canonical_smiles, featurize_smiles

#: Stands in for a structure that is not known; its vector is set to zero.
_PLACEHOLDER = "C"


@dataclass(frozen=True, eq=False)
class Structures:
    """Structures of drugs."""

    #: Drugs × features, for fingerprints; else `None`.
    features: np.ndarray | None
    #: Molecules, for encoders; else `None`.
    graphs: list[MoleculeGraph] | None
    #: Canonical SMILES, empty where there is no structure that can be read.
    canonical: np.ndarray

    @classmethod
    def read(cls, smiles: Sequence[str | None], encoder: str) -> Structures:
        """Read structures; those that are missing or cannot be read are marked as unknown.

        Parameters
        ----------
        smiles
            SMILES by drug.
        encoder
            ``"morgan"``, ``"minimol"``, ``"mat"`` or ``"graph"``.
        """
        if encoder in ("morgan", "minimol"):
            rows, canonical, _ = featurize_smiles(list(smiles), features=encoder)
            features = np.zeros((len(canonical), rows.shape[1]), dtype=np.float32)
            features[canonical != ""] = rows
            return cls(features, None, canonical)
        standard = [canonical_smiles(text) or "" for text in smiles]
        geometry = "auto" if encoder == "mat" else "topological"
        graphs = [molecule_graph(text or _PLACEHOLDER, geometry=geometry) for text in standard]
        return cls(None, graphs, np.array(standard, dtype=object))

    def __len__(self) -> int:
        return len(self.canonical)

    @property
    def known(self) -> np.ndarray:
        """Which drugs have a structure that can be read."""
        return self.canonical != ""

    @property
    def n_features(self) -> int:
        """Length of a fingerprint, 0 for molecules."""
        return 0 if self.features is None else self.features.shape[1]

    def inputs(self, rows: np.ndarray, device: torch.device | str = "cpu") -> tuple[tuple[Tensor, ...], Tensor]:
        """What :meth:`Core.structures` takes, for drugs by position."""
        known = torch.from_numpy(self.known[rows].astype(np.float32)).to(device)
        if self.features is not None:
            return (torch.from_numpy(self.features[rows]).to(device),), known
        assert self.graphs is not None
        batch = pad_molecules([self.graphs[row] for row in rows])
        return tuple(torch.from_numpy(part).to(device) for part in batch), known
