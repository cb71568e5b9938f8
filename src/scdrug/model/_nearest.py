"""How near structures lie to the drugs that a model was trained on, from the structures alone."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import TypedDict

import numpy as np
import pandas as pd

from .._validate import examples
from ..pp._molecules import featurize_smiles, tanimoto_kernel

#: Key of a model's notes.
NEAREST = "nearest_drugs"
#: Share of the training drugs whose nearest neighbour is less similar than what counts as near enough.
_FAR = 0.1


class Nearest(TypedDict):
    """Nearest training drugs of structures, column by column in plain types."""

    nearest: list[str]
    similarity: list[float]
    applicable: list[bool]


def find_nearest(training: pd.DataFrame, structures: Mapping[str, str], *, n: int = 3) -> Nearest | None:
    """Find the training drugs that resemble structures most, by Tanimoto similarity of Morgan fingerprints.

    Parameters
    ----------
    training
        Drugs of the training, with the columns `name` and `smiles`.
    structures
        SMILES by name.
    n
        Training drugs to name.

    Returns
    -------
    For each structure ``nearest`` (names, the most similar first, joined by semicolons), ``similarity`` of the first (0-1) and
    ``applicable``: whether that is at least what nine tenths of the training drugs find among the others. `None` if no training
    drug has a structure.
    """
    bits, canonical, _ = featurize_smiles(training["smiles"])
    if not len(bits):
        return None
    names = training["name"].to_numpy()[canonical != ""]
    cross = tanimoto_kernel(featurize_smiles(structures.values())[0], bits)
    order, highest = np.argsort(-cross, axis=1, kind="stable")[:, :n], cross.max(axis=1)
    return {
        "nearest": ["; ".join(map(str, names[row])) for row in order],
        "similarity": [float(value) for value in highest],
        "applicable": [bool(value) for value in highest >= _near_enough(bits)],
    }


def warn_of_strangers(structures: Mapping[str, str], found: Nearest, *, stacklevel: int) -> None:
    """Warn if structures are unlike all drugs of the training."""
    rows = zip(structures, found["similarity"], found["applicable"], strict=True)
    far = [f"{name} ({value:.2f})" for name, value, applicable in rows if not applicable]
    if far:
        warnings.warn(
            f"{len(far)} of {len(structures)} structures are unlike all drugs of the training (Tanimoto similarity in brackets), "
            f"so that their predictions say little: {examples(far)}. See `model.nearest_drugs`.",
            stacklevel=stacklevel + 1,
        )


def _near_enough(bits: np.ndarray) -> float:
    similarity = tanimoto_kernel(bits, bits)
    np.fill_diagonal(similarity, 0.0)
    # the same compound under two names says nothing about how far new drugs may lie
    nearest = np.where(similarity > 0.999, 0.0, similarity).max(axis=1)
    return float(np.quantile(nearest, _FAR))
