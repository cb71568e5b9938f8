"""Similarity of drugs by structure and mechanism, and what has to be kept of the training drugs to compare new ones with them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from ..._validate import check_choice
from ...pp._molecules import featurize_smiles, minimol_fingerprints, minimol_is_installed, tanimoto_kernel
from ...pp._targets import mechanism_words
from .._arrays import Array
from ._kernels import median_distance, rbf_kernel, squared_distances

#: Kernels on drugs by name.
DRUG_KERNELS = ("tanimoto", "minimol", "mean")
#: Features of the structure that each compares.
STRUCTURES = {"tanimoto": ("fingerprints",), "minimol": ("minimol",), "mean": ("fingerprints", "minimol")}
#: All features of drugs, as arrays of a model file.
_FEATURES = {
    "fingerprints": Array(("drugs", "bytes"), "uint8"), "minimol": Array(("drugs", "features")),
    "targets": Array(("drugs", "words for targets"), "uint8"), "pathway": Array(("drugs", "words for pathways"), "uint8"),
}  # fmt: skip
#: Fewest structures that a regression on drug similarity is fitted to.
_MIN_DRUGS = 3


class DrugFeatures(NamedTuple):
    """Features of drugs by name, for those that have a structure."""

    #: Usable drugs × features.
    values: dict[str, np.ndarray]
    #: Which drugs have a structure (bool).
    usable: np.ndarray

    def take(self, drugs: np.ndarray) -> dict[str, np.ndarray]:
        """Features of usable drugs that are chosen (bool)."""
        rows = (self.usable & drugs)[self.usable]
        return {name: part[rows] for name, part in self.values.items()}


def drug_features(smiles: Iterable[str | None], kind: str) -> DrugFeatures:
    """Compute the features of drugs that a kernel compares.

    Parameters
    ----------
    smiles
        SMILES, by drug; missing ones as `None`, NaN or empty.
    kind
        ``"tanimoto"``: Morgan fingerprints. ``"minimol"``: MiniMol fingerprints. ``"mean"``: both.

    Returns
    -------
    Features by name (usable drugs × features), and which drugs have a usable structure.

    Raises
    ------
    ValueError
        If the kernel is not known.
    ImportError
        If MiniMol is not installed.
    """
    check_choice("drug_kernel", kind, DRUG_KERNELS)
    bits, canonical, _ = featurize_smiles(smiles)
    usable = canonical != ""
    features = {}
    if kind != "minimol":
        features["fingerprints"] = bits
    if kind != "tanimoto":
        features["minimol"] = minimol_fingerprints(canonical[usable])
    return DrugFeatures(features, usable)


def training_features(smiles: Iterable[str | None], kind: str) -> DrugFeatures:
    """Compute the features of training drugs, as :func:`drug_features`, after checking that there are structures.

    Raises
    ------
    ValueError
        If fewer than three drugs have a usable structure.
    """
    features, usable = drug_features(smiles, kind)
    if usable.sum() < _MIN_DRUGS:
        raise ValueError(
            f"`drug_kernel={kind!r}` needs structures; only {int(usable.sum())} of {len(usable)} drugs in "
            "`adata.uns['drugs']` have a SMILES that can be read. Add them, or drop `drug_kernel`."
        )
    return DrugFeatures(features, usable)


def feature_arrays(kind: str | None = None) -> dict[str, Array]:
    """Features of drugs as arrays of a model file.

    Those of :func:`drug_features` for a kind; else all of :func:`describe_drugs`, as :class:`NewDrugs` stores them.
    """
    if kind is None:
        return _FEATURES
    whole = _FEATURES | {"fingerprints": Array(("drugs", "bits"), "uint8")}
    return {name: Array(("usable drugs", *whole[name].shape[1:]), whole[name].kind) for name in STRUCTURES[kind]}


def describe_drugs(
    drugs: pd.DataFrame, kind: str, *, training: pd.DataFrame | None = None, mechanism: bool = True
) -> dict[str, np.ndarray]:
    """Compute all that is known of drugs, to compare new ones with those of the training.

    Parameters
    ----------
    drugs
        Drugs with the columns ``smiles``, ``targets`` and ``pathway``; any may be missing or empty.
    kind
        Features of the structure, as for :func:`drug_features`.
    training
        Drugs of the training, whose words for mechanisms are columns; `drugs` themselves if omitted.
    mechanism
        Whether targets and pathways are compared.

    Returns
    -------
    Features by name (drugs × features), with rows of zeros for drugs of which nothing is known: ``fingerprints``, ``minimol``,
    and where the training knows any ``targets`` (symbols and families, the last column counts those that no training drug has)
    and ``pathway``.
    """
    check_choice("drug_kernel", kind, DRUG_KERNELS)
    smiles = list(drugs["smiles"]) if "smiles" in drugs else [None] * len(drugs)
    found = drug_features(smiles, kind)
    out = {}
    for name, part in found.values.items():
        out[name] = np.zeros((len(drugs), part.shape[1]), dtype=part.dtype)
        out[name][found.usable] = part
    if not mechanism:
        return out
    asked, known = _mechanisms(drugs), _mechanisms(drugs if training is None else training)
    for position, name in enumerate(("targets", "pathway")):
        vocabulary = sorted(set().union(*(words[position] for words in known)))
        if not vocabulary:
            continue
        column = {word: number for number, word in enumerate(vocabulary)}
        out[name] = np.zeros((len(drugs), len(vocabulary) + 1), dtype=np.uint8)
        for row, words in enumerate(asked):
            met = [column[word] for word in words[position] if word in column]
            if met:  # words that no training drug has compare with nothing
                out[name][row, met], out[name][row, -1] = 1, len(words[position]) - len(met)
    return out


def described_training(drugs: pd.DataFrame, kind: str, *, mechanism: bool) -> dict[str, np.ndarray]:
    """Describe drugs of the training by a kind of structure, or by ``"auto"``: whatever is known and can be computed.

    Raises
    ------
    ValueError
        If the kind is not ``"auto"``, and fewer than three drugs have a usable structure.
    """
    if kind == "auto":
        kind = "mean" if minimol_is_installed() else "tanimoto"
    else:
        training_features(drugs["smiles"], kind)
    return describe_drugs(drugs, kind, mechanism=mechanism)


def _mechanisms(drugs: pd.DataFrame) -> list[tuple[frozenset[str], frozenset[str]]]:
    columns = [drugs[name] if name in drugs else [""] * len(drugs) for name in ("targets", "pathway")]
    return [mechanism_words(targets, pathway) for targets, pathway in zip(*columns, strict=True)]


def present(features: np.ndarray) -> np.ndarray:
    """Which drugs have features of a kind (bool)."""
    return np.any(features != 0, axis=1)


def structure_kernel(training: dict[str, np.ndarray], new: dict[str, np.ndarray] | None = None) -> np.ndarray:
    """Similarity of structures, zero where one is not known; see :func:`drug_similarity`."""
    return _mean_kernel(training, new, [name for name in ("fingerprints", "minimol") if name in training])


def contrast_kernel(training: dict[str, np.ndarray], new: dict[str, np.ndarray] | None = None) -> np.ndarray:
    """Similarity of drugs in how lines differ in their responses.

    The mean of the similarities of structures, of targets and of pathways, and of the products of structure with either: an inhibitor
    of the same target of similar structure is nearer than either says. On drugs of GDSC2 that were left out, weights other than
    equal ones change the correlation in the third decimal (`scripts/check_new_drugs.py`).

    Parameters
    ----------
    training, new
        What :func:`describe_drugs` returned for drugs of the training and for others; the training drugs themselves if omitted.

    Returns
    -------
    Drugs × training drugs.
    """
    structures = [name for name in ("fingerprints", "minimol") if name in training]
    parts = [_mean_kernel(training, new, [name]) for name in ("targets", "pathway") if name in training]
    if structures:
        structure = _mean_kernel(training, new, structures)
        parts = [structure, *parts, *(structure * part for part in parts)]
    return np.mean(parts, axis=0)


def _shared_words(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Shared words over words of either; the last column counts words that no other drug can share."""
    left, right = a.astype(np.float64), b.astype(np.float64)
    shared = left[:, :-1] @ right[:, :-1].T
    return shared / (left.sum(axis=1)[:, None] + right.sum(axis=1) - shared)


def _mean_kernel(
    training: dict[str, np.ndarray], new: dict[str, np.ndarray] | None, names: Sequence[str]
) -> np.ndarray:
    kernels = []
    for name in names:
        known, rows = training[name], training[name] if new is None else new[name]
        there, asked = present(known), present(rows)
        kernel = np.zeros((len(rows), len(known)))
        if there.any() and asked.any():
            if name in ("targets", "pathway"):
                kernel[np.ix_(asked, there)] = _shared_words(rows[asked], known[there])
            else:
                other = None if new is None else {name: rows[asked]}
                kernel[np.ix_(asked, there)] = drug_similarity({name: known[there]}, other)
        if new is None:
            np.fill_diagonal(kernel, 1.0)
        kernels.append(kernel)
    return np.mean(kernels, axis=0)


def drug_similarity(training: dict[str, np.ndarray], new: dict[str, np.ndarray] | None = None) -> np.ndarray:
    """Similarity of drugs to the training drugs.

    Tanimoto similarity of Morgan fingerprints, a Gaussian kernel on MiniMol fingerprints with the median squared distance
    between training drugs as its width, or the mean of both, by what features there are.

    Parameters
    ----------
    training, new
        What :func:`drug_features` returned for the training drugs and for others; the training drugs themselves if
        omitted.

    Returns
    -------
    Drugs × training drugs, one between equal structures.
    """
    kernels = []
    rows = training if new is None else new
    if "fingerprints" in training:
        kernels.append(tanimoto_kernel(rows["fingerprints"], training["fingerprints"]))
    if "minimol" in training:
        reference = np.asarray(training["minimol"], dtype=np.float64)
        median = median_distance(squared_distances(reference))
        distances = squared_distances(np.asarray(rows["minimol"], dtype=np.float64), reference)
        kernels.append(rbf_kernel(distances, median=median))
    kernel = np.mean(kernels, axis=0)
    return (kernel + kernel.T) / 2 if new is None else kernel
