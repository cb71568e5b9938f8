"""Structures of drugs, in the form that the encoder of a network reads."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..._validate import examples
from ...nn import GraphBatch
from ...pp._conformers import Conformer, conformer, pad_conformers
from ...pp._graphs import molecular_graphs
from ...pp._molecules import canonical_smiles, featurize_smiles, why_unreadable

#: Atoms and bonds as the graph encoder reads them.
GRAPH_FEATURES = "rich"

#: Stands in for a structure that is not known; its vector is set to zero.
_PLACEHOLDER = "C"


@dataclass(frozen=True, eq=False)
class Structures:
    """Structures of drugs."""

    #: Drugs × features, for fingerprints; else `None`.
    features: np.ndarray | None
    #: Molecules with distances, for the molecule attention transformer; else `None`.
    conformers: list[Conformer] | None
    #: Molecules, for the graph encoder; else `None`.
    graphs: GraphBatch | None
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
            return cls(features, None, None, canonical)
        standard = [canonical_smiles(text) or "" for text in smiles]
        canonical, filled = np.array(standard, dtype=object), [text or _PLACEHOLDER for text in standard]
        if encoder == "mat":
            return cls(None, [conformer(text) for text in filled], None, canonical)
        graphs = GraphBatch.from_arrays(molecular_graphs(filled, features=GRAPH_FEATURES))
        return cls(None, None, graphs, canonical)

    @classmethod
    def readable(cls, smiles: Sequence[str], encoder: str) -> Structures:
        """Read structures that all have to be readable.

        Raises
        ------
        ValueError
            Naming those that cannot be read.
        """
        found = cls.read(smiles, encoder)
        bad = [why_unreadable(text) for text, known in zip(smiles, found.known) if not known]
        if bad:
            raise ValueError(f"{len(bad)} structures cannot be read as SMILES: {', '.join(bad[:5])}.")
        return found

    def warn_of_unknown(self, names: Sequence[str], *, stacklevel: int) -> None:
        """Name the drugs without a structure, if there are any."""
        unknown = np.asarray(names, dtype=object)[~self.known]
        if len(unknown):
            warnings.warn(
                f"{len(unknown)} of {len(self)} drugs have no structure that can be read: {examples(unknown)}. The network "
                "sees zeros for them, and cannot tell them apart. Add SMILES to `adata.uns['drugs']`.",
                stacklevel=stacklevel + 1,
            )

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

    def inputs(
        self, rows: np.ndarray, device: torch.device | str = "cpu"
    ) -> tuple[tuple[Tensor | GraphBatch, ...], Tensor]:
        """What :meth:`Core.structures` takes, for drugs by position, each at most once."""
        known = torch.from_numpy(self.known[rows].astype(np.float32)).to(device)
        if self.features is not None:
            return (torch.from_numpy(self.features[rows]).to(device),), known
        if self.graphs is not None:
            return (self.graphs.select(torch.from_numpy(np.asarray(rows))).to(device),), known
        assert self.conformers is not None
        batch = pad_conformers([self.conformers[row] for row in rows])
        return tuple(torch.from_numpy(part).to(device) for part in batch), known
