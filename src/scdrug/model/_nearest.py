"""How near new drugs lie to those that a model was trained on, from structures and targets alone."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from typing import TypedDict

import numpy as np
import pandas as pd

from .._validate import examples
from ..pp._molecules import featurize_smiles, tanimoto_kernel
from ..pp._targets import target_symbols

#: Key of a model's notes.
NEAREST = "nearest_drugs"
#: Share of the training drugs whose nearest neighbour is less similar than what counts as near enough.
_FAR = 0.1


class Nearest(TypedDict):
    """Nearest training drugs of new ones, column by column in plain types."""

    nearest: list[str]
    similarity: list[float]
    same_target: list[int]
    applicable: list[bool]


def find_nearest(training: pd.DataFrame, asked: pd.DataFrame, *, n: int = 3) -> Nearest | None:
    """Find the training drugs that resemble new ones most.

    Parameters
    ----------
    training, asked
        Drugs, with the columns `name`, `smiles` and `targets`.
    n
        Training drugs to name.

    Returns
    -------
    For each new drug ``nearest`` (names, the most similar first, joined by semicolons; by the mean of Tanimoto similarity of Morgan
    fingerprints and shared targets), ``similarity`` (Tanimoto, of the most similar one, 0-1, NaN without a structure), ``same_target``
    (training drugs that share a target) and ``applicable``: whether there is such a drug, or the similarity is at least what
    nine tenths of the training drugs find among the others. `None` if nothing is known of the training drugs.
    """
    targets = [target_symbols(text) for text in training["targets"]]
    bits, canonical, _ = featurize_smiles(training["smiles"])
    if not len(bits) and not any(targets):
        return None
    own, structures, _ = featurize_smiles(asked["smiles"])
    tanimoto = np.zeros((len(asked), len(training)))
    known, given = canonical != "", structures != ""
    if known.any() and given.any():
        tanimoto[np.ix_(given, known)] = tanimoto_kernel(own, bits)
    sets = [target_symbols(text) for text in asked["targets"]]
    shared = np.array([[len(a & b) / len(a | b) if a and b else 0.0 for b in targets] for a in sets])
    order = np.argsort(-(tanimoto + shared), axis=1, kind="stable")[:, :n]
    names, highest, n_shared = training["name"].to_numpy(), tanimoto.max(axis=1), (shared > 0).sum(axis=1)
    near = given & (highest >= (_near_enough(bits) if len(bits) > 1 else 0.0)) & bool(len(bits))
    return {
        "nearest": ["; ".join(map(str, names[row])) for row in order],
        "similarity": [float(value) for value in np.where(given, highest, np.nan)],
        "same_target": [int(value) for value in n_shared],
        "applicable": [bool(value) for value in near | (n_shared > 0)],
    }


def warn_of_strangers(names: Iterable[str], found: Nearest, *, stacklevel: int) -> None:
    """Warn if drugs are unlike all drugs of the training."""
    rows = list(zip(names, found["similarity"], found["applicable"], strict=True))
    far = [f"{name} ({value:.2f})" for name, value, applicable in rows if not applicable]
    if far:
        warnings.warn(
            f"{len(far)} of {len(rows)} structures are unlike all drugs of the training (Tanimoto similarity in brackets), and none "
            f"shares a target with one, so their predictions say little: {examples(far)}. See `model.nearest_drugs`.",
            stacklevel=stacklevel + 1,
        )


def _near_enough(bits: np.ndarray) -> float:
    similarity = tanimoto_kernel(bits, bits)
    np.fill_diagonal(similarity, 0.0)
    # the same compound under two names says nothing about how far new drugs may lie
    nearest = np.where(similarity > 0.999, 0.0, similarity).max(axis=1)
    return float(np.quantile(nearest, _FAR))
