"""Similarity of drugs by structure, and what has to be kept of the training drugs to compare new ones with them."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from ..._validate import check_choice
from ...pp._molecules import featurize_smiles, tanimoto_kernel

#: Kernels on drugs by name.
DRUG_KERNELS = ("tanimoto",)
#: Fewest structures that a regression on drug similarity is fitted to.
_MIN_DRUGS = 3


def drug_features(smiles: Iterable[str | None], kind: str) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Compute the features of drugs that a kernel compares.

    Parameters
    ----------
    smiles
        SMILES, by drug; missing ones as `None`, NaN or empty.
    kind
        Name of the kernel, one of `DRUG_KERNELS`.

    Returns
    -------
    Features by name (usable drugs × features), and which drugs have a usable structure.

    Raises
    ------
    ValueError
        If the kernel is not known.
    """
    check_choice("drug_kernel", kind, DRUG_KERNELS)
    bits, canonical, _ = featurize_smiles(smiles)
    return {"fingerprints": bits}, canonical != ""


def training_features(smiles: Iterable[str | None], kind: str) -> tuple[dict[str, np.ndarray], np.ndarray]:
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
    return features, usable


def drug_similarity(a: dict[str, np.ndarray], b: dict[str, np.ndarray] | None = None) -> np.ndarray:
    """Similarity of drugs from their features.

    Parameters
    ----------
    a, b
        What :func:`drug_features` returned; `b` is `a` if omitted.

    Returns
    -------
    Drugs of `a` × drugs of `b`, one on the diagonal.
    """
    return tanimoto_kernel(a["fingerprints"], None if b is None else b["fingerprints"])
