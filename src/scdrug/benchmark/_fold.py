"""One fold: what training may see, what is asked of the model, and, kept apart, the answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from .._audit import HeldOut
from .._constants import KEYS
from .._validate import examples
from ._splits import MIXED, TEST, TRAIN, VALIDATION

if TYPE_CHECKING:
    from anndata import AnnData

#: Entries of `uns` that a reference keeps; anything else may have been computed from test data.
_KEPT = ("response", "expression", "dataset")


@dataclass(frozen=True)
class Training:
    """What a model may learn from: it holds no test response, and in splits by line no test line."""

    #: Lines × genes with the responses of training and validation pairs; all other responses are NaN.
    adata: AnnData
    #: Lines × drugs, training and validation roles of `adata`'s pairs, see `_splits`.
    roles: np.ndarray

    @property
    def validation(self) -> pd.DataFrame:
        """Lines × drug ids, true for validation pairs."""
        response = self.adata.obsm[KEYS.RESPONSE]
        return pd.DataFrame(self.roles == VALIDATION, index=response.index, columns=response.columns)

    def without_mixed(self) -> Training:
        """The same without pairs that join a training and a validation unit, for fits that stop on validation pairs."""
        if not (self.roles == MIXED).any():
            return self
        adata = self.adata.copy()
        adata.obsm[KEYS.RESPONSE] = adata.obsm[KEYS.RESPONSE].mask(self.roles == MIXED)
        return Training(adata, self.roles)


@dataclass(frozen=True)
class Question:
    """What a trained model is asked: names and features, no responses."""

    #: Lines to predict, with expression; `None` for the lines of the training data.
    lines: AnnData | None
    #: What is known of drugs that were not in training, by id: ``smiles``, ``targets``, ``pathway``; `None` for the drugs of the
    #: training data.
    drugs: dict[str, dict[str, str]] | None
    held_out: HeldOut


@dataclass(frozen=True)
class Fold:
    """Training data, question and answers of one fold."""

    training: Training
    question: Question
    #: Lines × drug ids, NaN except for test pairs.
    observed: pd.DataFrame


def make_fold(
    adata: AnnData, roles: np.ndarray, *, response_key: str = KEYS.RESPONSE, name: str = "", validated: bool = True
) -> Fold:
    """Divide a reference by the roles of its pairs.

    Parameters
    ----------
    adata
        Reference.
    roles
        Lines × drugs, as from :meth:`Splits.roles`.
    response_key
        Key of `obsm` with the responses.
    name
        What to call the fold in messages.
    validated
        Whether there must be validation pairs.

    Raises
    ------
    ValueError
        If the fold has no test response, or leaves a drug without training data.
    """
    response = adata.obsm[response_key]
    measured = response.notna().to_numpy()
    seen = np.isin(roles, (TRAIN, VALIDATION, MIXED))
    test = (roles == TEST) & measured
    seen_lines, seen_drugs = seen.any(axis=1), seen.any(axis=0)
    test_lines, test_drugs = test.any(axis=1), test.any(axis=0)
    _check(response, measured, roles, test, seen_drugs, name, validated)

    training = Training(
        reference_of(adata, response, seen, seen_lines, seen_drugs), roles[np.ix_(seen_lines, seen_drugs)]
    )
    new_lines = bool((test_lines & ~seen_lines).any())
    new_drugs = bool((test_drugs & ~seen_drugs).any())
    lines = features_of(adata, test_lines) if new_lines else None
    drugs = None
    if new_drugs:
        table = adata.uns[KEYS.DRUGS].reindex(response.columns[test_drugs].astype(str))
        known = table.reindex(columns=["smiles", "targets", "pathway"]).astype(object).fillna("").astype(str)
        drugs = {str(drug): dict(row) for drug, row in known.iterrows()}
    names, ids = adata.obs_names.astype(str), response.columns.astype(str)
    pairs = {} if new_lines or new_drugs else {names[i]: frozenset(ids[test[i]]) for i in np.flatnonzero(test_lines)}
    held_out = HeldOut(lines=frozenset(names[~seen_lines]), drugs=frozenset(ids[~seen_drugs]), pairs=pairs)
    observed = response.where(test).loc[test_lines, test_drugs]
    return Fold(training, Question(lines, drugs, held_out), observed)


def _check(
    response: pd.DataFrame,
    measured: np.ndarray,
    roles: np.ndarray,
    test: np.ndarray,
    seen_drugs: np.ndarray,
    name: str,
    validated: bool,
) -> None:
    where = f"Fold {name}" if name else "The fold"
    if not test.any():
        raise ValueError(f"{where} has no measured response to test. Use fewer folds, or drop units without responses.")
    training = ((roles == TRAIN) & measured).any(axis=0)
    lacking = response.columns[seen_drugs & ~training & (roles == TRAIN).any(axis=0)]
    if len(lacking):
        raise ValueError(
            f"{where} leaves {len(lacking)} drugs without training data: {examples(lacking)}. Drop drugs that were "
            "measured in few lines, or use more folds."
        )
    if validated and not ((roles == VALIDATION) & measured).any():
        raise ValueError(f"{where} has no measured response to validate on. Raise `validation`.")


def reference_of(
    adata: AnnData, response: pd.DataFrame, seen: np.ndarray, lines: np.ndarray, drugs: np.ndarray
) -> AnnData:
    """A reference that holds the seen pairs, and nothing that may have been computed from the others."""
    part = features_of(adata, lines)
    part.obsm[KEYS.RESPONSE] = response.where(seen).loc[lines, drugs].copy()
    part.uns[KEYS.DRUGS] = adata.uns[KEYS.DRUGS].reindex(response.columns[drugs])
    return part


def features_of(adata: AnnData, lines: np.ndarray) -> AnnData:
    """Expression and annotation of lines, without responses."""
    from anndata import AnnData as New

    part = adata[lines]
    arrays = {key: np.array(value) for key, value in part.obsm.items() if isinstance(value, np.ndarray)}
    return New(
        part.X.copy(),
        obs=part.obs.copy(),
        var=part.var.copy(),
        obsm=arrays,
        layers={key: value.copy() for key, value in part.layers.items() if key is not None},
        uns={key: adata.uns[key] for key in _KEPT if key in adata.uns},
    )
