"""Molecules as atoms, bonds and distances, for networks that read structures: SMILES in, arrays out."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from .._validate import check_choice
from ._atom_features import transformer_features
from ._molecules import _parse, canonical_smiles, why_unreadable

if TYPE_CHECKING:
    from rdkit.Chem import Mol

GEOMETRIES = ("auto", "3d", "topological")
#: Distance (Å) that makes exp(−distance) vanish: to the dummy node, and between parts that no bond joins.
FAR = 1e6
#: Features of an atom; with the column that marks the dummy node there is one more.
N_ATOM_FEATURES = 27


@dataclass(frozen=True, eq=False)
class Conformer:
    """One molecule, heavy atoms only."""

    #: Atoms × 27, 0 and 1: element (11), degree (6), hydrogens (5), charge (3), in a ring, aromatic.
    atoms: np.ndarray
    #: Atoms × atoms, 1 for a bond and on the diagonal.
    adjacency: np.ndarray
    #: Atoms × atoms, in Å from a conformer, or in bonds.
    distances: np.ndarray
    #: ``"3d"`` or ``"topological"``.
    geometry: str


class ConformerBatch(NamedTuple):
    """Molecules padded to one size; each starts with a dummy node that is bound to nothing."""

    #: Molecules × nodes × 28; the first feature marks the dummy node.
    atoms: np.ndarray
    #: Molecules × nodes × nodes.
    adjacency: np.ndarray
    #: Molecules × nodes × nodes.
    distances: np.ndarray
    #: Molecules × nodes, true for nodes that exist.
    mask: np.ndarray


def conformer(smiles: str, *, geometry: str = "auto", seed: int = 0) -> Conformer:
    """Read a molecule as atoms with 27 features, bonds and distances.

    The structure is standardised first (salts off, charges neutralised), so that all SMILES of a compound give the same
    arrays. Results are kept by structure for the life of the process.

    Parameters
    ----------
    smiles
        SMILES.
    geometry
        Where distances come from: ``"3d"``, a conformer (ETKDG version 3, relaxed with UFF); ``"topological"``, numbers of
        bonds; ``"auto"``, a conformer, and numbers of bonds with a warning for molecules that cannot be embedded.
    seed
        Seed of the conformer.

    Returns
    -------
    The molecule.

    Raises
    ------
    ValueError
        If the SMILES cannot be read, or with ``"3d"`` the molecule has parts that no bond joins or cannot be embedded.

    Notes
    -----
    Features are those of the molecule attention transformer (Maziarka et al. 2020) with one-hot charges. Elements,
    degrees, hydrogens and charges that are not listed count as the last of their list.

    Examples
    --------
    >>> from scdrug.pp._conformers import conformer
    >>> ethanol = conformer("OCC")
    >>> ethanol.atoms.shape, ethanol.geometry
    ((3, 27), '3d')
    """
    check_choice("geometry", geometry, GEOMETRIES)
    structure = canonical_smiles(smiles)
    if structure is None:
        raise ValueError(
            f"{why_unreadable(smiles)} cannot be read as SMILES. Check the structure, or leave the drug out."
        )
    graph, problem = _build(structure, geometry, seed)
    if problem:
        message = f"{structure!r} has no conformer: {problem}."
        if geometry == "3d":
            raise ValueError(f"{message} Pass geometry='auto' or 'topological' to count bonds instead.")
        warnings.warn(f"{message} Distances are numbers of bonds.", stacklevel=2)
    assert graph is not None
    return graph


@lru_cache(maxsize=20_000)
def _build(structure: str, geometry: str, seed: int) -> tuple[Conformer | None, str]:
    """The molecule of a canonical SMILES, and why it has no conformer if that was asked for."""
    from rdkit import Chem

    molecule = _parse(structure)
    atoms, _ = transformer_features(molecule)
    adjacency = Chem.GetAdjacencyMatrix(molecule).astype(np.float32) + np.eye(len(atoms), dtype=np.float32)
    distances, problem = (None, "") if geometry == "topological" else _conformer_distances(molecule, seed)
    if distances is None and geometry == "3d":
        return None, problem
    used = "topological" if distances is None else "3d"
    if distances is None:
        distances = np.minimum(Chem.GetDistanceMatrix(molecule), FAR)
    arrays = (atoms, adjacency, distances.astype(np.float32))
    for array in arrays:
        array.setflags(write=False)  # shared by all who ask for the structure
    return Conformer(*arrays, geometry=used), problem


def _conformer_distances(molecule: Mol, seed: int) -> tuple[np.ndarray | None, str]:
    """Distances between heavy atoms in Å, or why there are none."""
    from rdkit import Chem, rdBase
    from rdkit.Chem import AllChem

    if len(Chem.GetMolFrags(molecule)) > 1:
        return None, "it has parts that no bond joins"
    with rdBase.BlockLogs():
        full = Chem.AddHs(molecule)
        parameters = AllChem.ETKDGv3()
        parameters.randomSeed = seed + 1  # rdkit takes 0 and 1 for the same
        parameters.maxIterations = 50
        try:
            failed = AllChem.EmbedMolecule(full, parameters) < 0
            if failed:  # crowded molecules often embed from random coordinates
                parameters.useRandomCoords = True
                failed = AllChem.EmbedMolecule(full, parameters) < 0
        except RuntimeError:  # rdkit's invariant violations, on exotic valences
            failed = True
        if failed:
            return None, "it cannot be embedded in three dimensions"
        if AllChem.UFFHasAllMoleculeParams(full):
            AllChem.UFFOptimizeMolecule(full)
        return Chem.Get3DDistanceMatrix(Chem.RemoveHs(full)), ""


def pad_conformers(graphs: Sequence[Conformer]) -> ConformerBatch:
    """Put molecules into arrays of one size, each with a dummy node in front.

    Parameters
    ----------
    graphs
        Molecules.

    Returns
    -------
    The arrays, float32 and bool.

    Raises
    ------
    ValueError
        If there are none.

    Examples
    --------
    >>> from scdrug.pp._conformers import conformer, pad_conformers
    >>> batch = pad_conformers([conformer("CCO"), conformer("C")])
    >>> batch.atoms.shape, batch.mask.sum(axis=1).tolist()
    ((2, 4, 28), [4, 2])
    """
    if not graphs:
        raise ValueError("There are no molecules to put together.")
    n, size = len(graphs), 1 + max(len(graph.atoms) for graph in graphs)
    atoms = np.zeros((n, size, N_ATOM_FEATURES + 1), dtype=np.float32)
    adjacency = np.zeros((n, size, size), dtype=np.float32)
    distances = np.full((n, size, size), FAR, dtype=np.float32)
    mask = np.zeros((n, size), dtype=bool)
    atoms[:, 0, 0] = 1
    for i, graph in enumerate(graphs):
        stop = 1 + len(graph.atoms)
        atoms[i, 1:stop, 1:] = graph.atoms
        adjacency[i, 1:stop, 1:stop] = graph.adjacency
        distances[i, 1:stop, 1:stop] = graph.distances
        mask[i, :stop] = True
    return ConformerBatch(atoms, adjacency, distances, mask)
