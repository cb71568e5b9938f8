"""Features of atoms and bonds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from rdkit.Chem import Mol

#: DeepCDR's categories; what is not among them is the last one.
_ELEMENTS_75 = (
    "C N O S F Si P Cl Br Mg Na Ca Fe As Al I B V K Tl Yb Sb Sn Ag Pd Co Se Ti Zn H Li Ge Cu Au Ni Cd In Mn Zr Cr Pt "
    "Hg Pb Unknown"
).split()
_HYBRIDISATION = ("SP", "SP2", "SP3", "SP3D", "SP3D2")
#: Elements of drugs, organic or not, and a class for all others.
_ELEMENTS = ("B", "C", "N", "O", "F", "Si", "P", "S", "Cl", "As", "Se", "Br", "I", "Pt", "other")
#: Elements of the molecule attention transformer.
_ELEMENTS_27 = ("B", "C", "N", "O", "F", "P", "S", "Cl", "Br", "I", "other")
_CIP = ("R", "S", "none")
_BONDS = ("SINGLE", "DOUBLE", "TRIPLE", "AROMATIC", "other")
_STEREO = ("STEREOZ", "STEREOE", "none")
_RING_SIZES = (3, 4, 5, 6, 7, 8)
#: Codes of the pretrained network: index of bond orders; loops and masks have codes of their own.
_BOND_CODES = {"SINGLE": 0, "DOUBLE": 1, "TRIPLE": 2, "AROMATIC": 3}
_DIRECTIONS = {"NONE": 0, "ENDUPRIGHT": 1, "ENDDOWNRIGHT": 2}
_CHIRALITY = {"CHI_UNSPECIFIED": 0, "CHI_TETRAHEDRAL_CW": 1, "CHI_TETRAHEDRAL_CCW": 2}


def _one_hot(value: Any, categories: tuple[Any, ...] | list[Any]) -> list[float]:
    """Indicator of each category; the last one for values that are not among them."""
    position = categories.index(value) if value in categories else len(categories) - 1
    return [float(i == position) for i in range(len(categories))]


def _implicit_hydrogens(atom: Any) -> int:
    from rdkit import Chem

    return atom.GetValence(Chem.ValenceType.IMPLICIT) if hasattr(Chem, "ValenceType") else atom.GetImplicitValence()


def deepcdr_features(molecule: Mol) -> tuple[np.ndarray, np.ndarray]:
    """Describe atoms as DeepCDR does: 75 features an atom, none a bond.

    Element (44), degree 0-10 (11), implicit valence 0-6 (7), formal charge, radical electrons, hybridisation (5),
    aromatic, hydrogens 0-4 (5); values outside of a range count as its last category.
    """
    rows = [
        [
            *_one_hot(atom.GetSymbol(), _ELEMENTS_75),
            *_one_hot(atom.GetDegree(), tuple(range(11))),
            *_one_hot(_implicit_hydrogens(atom), tuple(range(7))),
            atom.GetFormalCharge(),
            atom.GetNumRadicalElectrons(),
            *_one_hot(str(atom.GetHybridization()), _HYBRIDISATION),
            float(atom.GetIsAromatic()),
            *_one_hot(atom.GetTotalNumHs(), tuple(range(5))),
        ]
        for atom in molecule.GetAtoms()
    ]
    return np.array(rows, dtype=np.float32), np.zeros((molecule.GetNumBonds(), 0), dtype=np.float32)


def rich_features(molecule: Mol) -> tuple[np.ndarray, np.ndarray]:
    """Describe atoms and bonds by all that medicinal chemistry reads off a drawing.

    Chirality is the R/S label, which does not depend on the order of atoms. Contributions to lipophilicity and
    refractivity are those of Wildman and Crippen 1999, to polar surface those of Ertl et al. 2000.
    """
    from rdkit import Chem
    from rdkit.Chem import rdMolDescriptors

    Chem.AssignStereochemistry(molecule, cleanIt=True, force=True)
    crippen = np.array(rdMolDescriptors._CalcCrippenContribs(molecule)).reshape(-1, 2)
    polar = np.array(rdMolDescriptors._CalcTPSAContribs(molecule))
    rings = molecule.GetRingInfo()
    atoms = []
    for atom in molecule.GetAtoms():
        i, hydrogens = atom.GetIdx(), atom.GetTotalNumHs()
        polar_atom = atom.GetSymbol() in ("N", "O")
        atoms.append(
            [
                *_one_hot(atom.GetSymbol(), _ELEMENTS),
                *_one_hot(atom.GetDegree(), tuple(range(7))),
                *_one_hot(hydrogens, tuple(range(5))),
                *_one_hot(atom.GetFormalCharge(), (-1, 0, 1, "other")),
                *_one_hot(str(atom.GetHybridization()), (*_HYBRIDISATION, "other")),
                *_one_hot(atom.GetProp("_CIPCode") if atom.HasProp("_CIPCode") else "none", _CIP),
                *(float(rings.IsAtomInRingOfSize(i, size)) for size in _RING_SIZES),
                float(atom.GetIsAromatic()),
                float(atom.IsInRing()),
                float(atom.GetNumRadicalElectrons() > 0),
                float(polar_atom and hydrogens > 0),
                float(polar_atom and atom.GetFormalCharge() <= 0),
                atom.GetMass() / 100,
                crippen[i, 0],
                crippen[i, 1] / 5,
                polar[i] / 20,
            ]
        )
    bonds = [
        [
            *_one_hot(str(bond.GetBondType()), _BONDS),
            float(bond.GetIsConjugated()),
            float(bond.IsInRing()),
            *_one_hot(str(bond.GetStereo()), _STEREO),
        ]
        for bond in molecule.GetBonds()
    ]
    width = len(_BONDS) + 2 + len(_STEREO)
    return np.array(atoms, dtype=np.float32), np.array(bonds, dtype=np.float32).reshape(-1, width)


def contextpred_codes(molecule: Mol) -> tuple[np.ndarray, np.ndarray]:
    """Codes of element and chirality by atom, and of order and direction by bond (Hu et al. 2020), int64."""
    atoms = [[atom.GetAtomicNum() - 1, _CHIRALITY.get(str(atom.GetChiralTag()), 0)] for atom in molecule.GetAtoms()]
    bonds = [
        [_BOND_CODES.get(str(bond.GetBondType()), 0), _DIRECTIONS.get(str(bond.GetBondDir()), 0)]
        for bond in molecule.GetBonds()
    ]
    codes = np.array(atoms, dtype=np.int64).reshape(-1, 2)
    codes[:, 0] = np.clip(codes[:, 0], 0, 117)
    return codes, np.array(bonds, dtype=np.int64).reshape(-1, 2)


def transformer_features(molecule: Mol) -> tuple[np.ndarray, np.ndarray]:
    """Describe atoms as the molecule attention transformer does (Maziarka et al. 2020): 27 features an atom, none a bond.

    Element (11), degree 0-5 (6), hydrogens 0-4 (5), charge −1, 0, 1 (3), in a ring, aromatic; values outside of a range
    count as its last category.
    """
    rows = [
        [
            *_one_hot(atom.GetSymbol(), _ELEMENTS_27),
            *_one_hot(atom.GetDegree(), tuple(range(6))),
            *_one_hot(atom.GetTotalNumHs(), tuple(range(5))),
            *_one_hot(atom.GetFormalCharge(), (-1, 0, 1)),
            float(atom.IsInRing()),
            float(atom.GetIsAromatic()),
        ]
        for atom in molecule.GetAtoms()
    ]
    return np.array(rows, dtype=np.float32), np.zeros((molecule.GetNumBonds(), 0), dtype=np.float32)


#: Descriptions of a molecule by name.
ATOM_FEATURES = {"deepcdr": deepcdr_features, "rich": rich_features, "contextpred": contextpred_codes}
