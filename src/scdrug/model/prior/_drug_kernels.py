"""Similarity of drugs by structure, and what has to be kept of the training drugs to compare new ones with them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from ..._validate import check_choice
from ...pp._molecules import featurize_smiles, minimol_fingerprints, tanimoto_kernel
from .._arrays import Array
from ._kernels import median_distance, rbf_kernel, squared_distances

#: Kernels on drugs by name.
DRUG_KERNELS = ("tanimoto", "minimol", "mean")
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


def feature_arrays(kind: str) -> dict[str, Array]:
    """What :func:`drug_features` returns, as arrays of a model file."""
    arrays = {"fingerprints": Array(("usable drugs", "bits"), "uint8"), "minimol": Array(("usable drugs", "features"))}
    return {
        name: array for name, array in arrays.items() if kind == "mean" or (name == "minimol") == (kind == "minimol")
    }


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
