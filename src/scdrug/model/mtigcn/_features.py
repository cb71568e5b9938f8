"""Fixed features of lines and drugs, and the similarities that the network has to recover."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import pandas as pd

from ..._validate import examples
from ..prior._drug_kernels import DrugFeatures, drug_features, drug_similarity
from ..prior._kernels import fit_gene_scaler, median_distance, rbf_kernel, squared_distances
from ._settings import DRUG_KERNELS

#: Column of ``uns["drugs"]`` with fingerprints as strings of 0 and 1.
FINGERPRINT_COLUMN = "fingerprint"


class LineFactors(NamedTuple):
    """Expression in factors of the training lines: what a network on fixed expression can see of it.

    A linear layer on standardised expression X = S Vᵀ only ever multiplies the scores S: its gradient lies in the space
    of V. So S, which is small, stands for X, which is not, and nothing is lost as long as all factors are kept.
    """

    #: Mean and standard deviation of each gene over the training lines (genes).
    mean: np.ndarray
    scale: np.ndarray
    #: Orthonormal directions (genes × factors).
    loadings: np.ndarray

    @classmethod
    def fit(cls, expression: np.ndarray, *, rank: int = 0) -> LineFactors:
        """Find the leading factors.

        Parameters
        ----------
        expression
            Training lines × genes.
        rank
            Number of factors; all that the lines span if 0.

        Raises
        ------
        ValueError
            If no gene differs between the lines.
        """
        scaler = fit_gene_scaler(expression)
        # through the Gram matrix of the lines, of which there are fewer than genes
        standard = scaler.transform(expression)
        values, vectors = np.linalg.eigh(standard @ standard.T)
        order = np.argsort(values)[::-1]
        kept = order[values[order] > 1e-6 * max(values.max(), 1e-6)]
        if not len(kept):
            raise ValueError(
                f"All {len(expression)} training lines have the same expression, so the network has no features of lines."
            )
        kept = kept[:rank] if rank else kept
        loadings = standard.T @ (vectors[:, kept] / np.sqrt(values[kept]))
        return cls(*(part.astype(np.float32) for part in (scaler.mean, scaler.scale, loadings)))

    def transform(self, expression: np.ndarray) -> np.ndarray:
        """Scores of lines or cells on the reference's scale (rows × factors)."""
        return ((np.asarray(expression, dtype=np.float32) - self.mean) / self.scale) @ self.loadings


def network_features(smiles: Iterable[str | None], table: pd.DataFrame | None, kind: str) -> DrugFeatures:
    """Features of drugs that the network reads.

    Parameters
    ----------
    smiles
        SMILES, by drug; missing ones as `None`, NaN or empty.
    table
        Table of drugs, for fingerprints of its own.
    kind
        ``"morgan"``: fingerprints of 2,048 bits. ``"minimol"``: pretrained fingerprints. ``"both"``. ``"table"``: those of the table.
    """
    return table_features(table) if kind == "table" else drug_features(smiles, DRUG_KERNELS[kind])


def table_features(drugs: pd.DataFrame | None) -> DrugFeatures:
    """Fingerprints that a reference brings with it, in the column ``fingerprint`` of ``uns["drugs"]``.

    Returns
    -------
    Features of the drugs that have a fingerprint.

    Raises
    ------
    KeyError, ValueError
        If there is no such column, or its strings are not of 0 and 1 and of one length.
    """
    if drugs is None or FINGERPRINT_COLUMN not in drugs:
        raise KeyError(
            f"`drug_features='table'` reads `adata.uns['drugs'][{FINGERPRINT_COLUMN!r}]`, strings of 0 and 1, which is not "
            "there. scdrug.datasets.mtigcn brings it; other references take 'morgan'."
        )
    texts = drugs[FINGERPRINT_COLUMN].astype(object).fillna("").astype(str)
    usable = (texts != "").to_numpy()
    lengths = sorted(set(texts[usable].str.len()))
    bad = texts.index[usable & ~texts.str.fullmatch("[01]+").to_numpy(dtype=bool)]
    if len(lengths) != 1 or len(bad):
        raise ValueError(
            f"Fingerprints must be strings of 0 and 1, all of one length; found lengths {lengths}"
            f"{' and other characters at ' + examples(bad) if len(bad) else ''}."
        )
    bits = np.array([list(text) for text in texts[usable]]).astype(np.uint8)
    return DrugFeatures({"fingerprints": bits}, usable)


def feature_matrix(drugs: DrugFeatures, training: DrugFeatures | None = None) -> np.ndarray:
    """Features of drugs in one matrix, as the network takes them.

    Parameters
    ----------
    drugs
        Features of drugs.
    training
        Those of the training drugs, which scale what is not a bit; `drugs` if omitted.

    Returns
    -------
    Drugs × features (float32), zero for drugs without a structure.
    """
    scale = (drugs if training is None else training).values
    parts = []
    for name, values in drugs.values.items():
        part = values.astype(np.float32)
        if name != "fingerprints":
            part = (part - scale[name].mean(axis=0)) / np.maximum(scale[name].std(axis=0), 1e-6)
        parts.append(part)
    joined = np.hstack(parts)
    out = np.zeros((len(drugs.usable), joined.shape[1]), dtype=np.float32)
    out[drugs.usable] = joined
    return out


def line_similarity(scores: np.ndarray, *, kind: str = "median", epsilon: float = 3.0) -> np.ndarray:
    """Similarity of lines that the network has to recover.

    Parameters
    ----------
    scores
        Scores of the lines (lines × factors), whose distances are those of standardised expression.
    kind
        ``"median"``: exp(−d² / median d²). ``"published"``: exp(−d / (2 ε²)) with the distance itself (Liu et al. 2024,
        eq. 14). Of thousands of genes the latter is nearly the identity: it teaches that lines differ.
    epsilon
        Width of ``"published"``: 3 in the paper, 2 in the released code.

    Returns
    -------
    Lines × lines, 0-1.
    """
    distances = squared_distances(np.asarray(scores, dtype=np.float64))
    if kind == "published":
        similarity = np.exp(-np.sqrt(distances) / (2 * epsilon**2))
    elif len(distances) < 2:
        similarity = np.ones_like(distances)
    else:
        similarity = rbf_kernel(distances, median=median_distance(distances))
    return similarity.astype(np.float32)


def drug_similarity_target(drugs: DrugFeatures) -> np.ndarray:
    """Similarity of structures that the network has to recover.

    Returns
    -------
    Drugs × drugs (float32, 0-1): Jaccard similarity of fingerprints; NaN where a drug has no structure.
    """
    usable = drugs.usable
    similarity = np.full((len(usable), len(usable)), np.nan, dtype=np.float32)
    if usable.any():
        similarity[np.ix_(usable, usable)] = drug_similarity(drugs.values) if usable.sum() > 1 else 1.0
    return similarity
