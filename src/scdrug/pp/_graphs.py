"""Molecules as graphs: atoms with features, directed bonds, and which molecule an atom belongs to."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from .._validate import check_choice, examples
from ._atom_features import ATOM_FEATURES
from ._molecules import _parse, why_unreadable

if TYPE_CHECKING:
    from rdkit.Chem import Mol


@dataclass(frozen=True, eq=False)
class MolecularGraphs:
    """Several molecules in one graph, in the layout of torch-geometric's batches, as numpy arrays."""

    #: Atoms × features: float32, or int64 where the features are codes of categories.
    x: np.ndarray
    #: Source and target of each bond, which is listed in both directions (2 × bonds, int64).
    edge_index: np.ndarray
    #: Bonds × features, of the same kind as `x`.
    edge_attr: np.ndarray
    #: Number of atoms of each molecule; atoms of a molecule stand together.
    n_atoms: np.ndarray
    #: Name of the features, one of ``scdrug.pp._atom_features.ATOM_FEATURES``.
    features: str
    #: Which atoms only fill a molecule up to a fixed size.
    padding: np.ndarray

    def __len__(self) -> int:
        return len(self.n_atoms)

    @property
    def graph(self) -> np.ndarray:
        """Molecule of each atom (atoms, int64), what torch-geometric calls `batch`."""
        return np.repeat(np.arange(len(self)), self.n_atoms)

    def padded(self, n_atoms: int) -> MolecularGraphs:
        """Fill every molecule up with atoms that have no bonds and features of zero.

        Parameters
        ----------
        n_atoms
            Number of atoms of each molecule in the result.

        Raises
        ------
        ValueError
            If a molecule is larger; the message says how many are.
        """
        check_size(self.n_atoms, n_atoms)
        first = np.concatenate([[0], np.cumsum(self.n_atoms)[:-1]])
        place = np.arange(len(self.x)) - first[self.graph] + self.graph * n_atoms
        x = np.zeros((len(self) * n_atoms, self.x.shape[1]), dtype=self.x.dtype)
        x[place] = self.x
        padding = np.ones(len(x), dtype=bool)
        padding[place] = False
        sizes = np.full(len(self), n_atoms, dtype=np.int64)
        return replace(self, x=x, edge_index=place[self.edge_index], n_atoms=sizes, padding=padding)


def molecular_graphs(smiles: Iterable[str], *, features: str = "deepcdr") -> MolecularGraphs:
    """Turn structures into graphs of their heavy atoms.

    Parameters
    ----------
    smiles
        SMILES that can be read, see :func:`scdrug.pp._molecules.canonical_smiles`. Structures are taken as they are.
    features
        ``"deepcdr"``: the 75 atom features of DeepCDR (Liu et al. 2020, from DeepChem's ConvMol), no bond features.
        ``"rich"``: elements, degree, charge, hydrogens, hybridisation, rings, chirality and contributions to lipophilicity,
        refractivity and polar surface; bond order, conjugation, ring, stereo. ``"contextpred"``: codes that the
        pretrained network of Hu et al. 2020 takes.

    Returns
    -------
    The graphs. Features of an atom do not depend on the order of atoms, but for ``"contextpred"``, whose chirality code
    does by definition.

    Raises
    ------
    ValueError
        If `features` is unknown, or a SMILES cannot be read.

    Examples
    --------
    >>> from scdrug.pp._graphs import molecular_graphs
    >>> graphs = molecular_graphs(["CCO", "C"])
    >>> graphs.x.shape, graphs.edge_index.tolist(), graphs.n_atoms.tolist()
    ((4, 75), [[0, 1, 1, 2], [1, 0, 2, 1]], [3, 1])
    """
    check_choice("features", features, tuple(ATOM_FEATURES))
    smiles = list(smiles)
    molecules = [_parse(text) for text in smiles]
    bad = [str(text) for text, molecule in zip(smiles, molecules) if molecule is None]
    if bad:
        shown = ", ".join(map(why_unreadable, bad[:5])) + (", …" if len(bad) > 5 else "")
        raise ValueError(f"{len(bad)} SMILES cannot be read: {shown}. Leave them out, or correct them.")
    describe = ATOM_FEATURES[features]
    atoms, bonds, ends, first = [], [], [], 0
    for molecule in molecules:
        x, attributes = describe(molecule)
        atoms.append(x)
        bonds.append(np.repeat(attributes, 2, axis=0))
        ends.append(_ends(molecule) + first)
        first += molecule.GetNumAtoms()
    empty_x, empty_e = describe(_parse("CC"))  # where there is no molecule or no bond
    x = np.concatenate([empty_x[:0], *atoms])
    edge_attr = np.concatenate([empty_e[:0], *bonds])
    edge_index = np.concatenate([np.zeros((2, 0), dtype=np.int64), *ends], axis=1)
    sizes = np.array([molecule.GetNumAtoms() for molecule in molecules], dtype=np.int64)
    return MolecularGraphs(x, edge_index, edge_attr, sizes, features, np.zeros(len(x), dtype=bool))


def feature_widths(features: str) -> tuple[int, int]:
    """Features of an atom and of a bond.

    Parameters
    ----------
    features
        See :func:`molecular_graphs`.

    Examples
    --------
    >>> from scdrug.pp._graphs import feature_widths
    >>> feature_widths("deepcdr")
    (75, 0)
    """
    atoms, bonds = ATOM_FEATURES[features](_parse("CC"))
    return atoms.shape[1], bonds.shape[1]


def _ends(molecule: Mol) -> np.ndarray:
    """Source and target of each bond, one way and the other (2 × 2 bonds)."""
    pairs = [(bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()) for bond in molecule.GetBonds()]
    one_way = np.array(pairs, dtype=np.int64).reshape(-1, 2)
    return np.stack([one_way, one_way[:, ::-1]], axis=1).reshape(-1, 2).T


def check_size(n_atoms: np.ndarray, limit: int, names: Sequence[str] | None = None) -> None:
    """Raise if a molecule has more atoms than the graph allows.

    Parameters
    ----------
    n_atoms
        Number of atoms of each molecule.
    limit
        Most that are allowed.
    names
        Names of the molecules, for the message.

    Raises
    ------
    ValueError
        If one is larger.
    """
    large = np.flatnonzero(np.asarray(n_atoms) > limit)
    if large.size:
        which = [f"{names[i] if names is not None else f'molecule {i}'} ({n_atoms[i]} atoms)" for i in large]
        raise ValueError(
            f"{large.size} molecules have more than the {limit} heavy atoms that this network pads to: {examples(which)}. "
            "Leave them out, or use masked pooling, which takes molecules of any size."
        )


#: What describes the atoms and bonds of a molecule: atoms × features, bonds × features.
Describe = Callable[["Mol"], tuple[np.ndarray, np.ndarray]]
