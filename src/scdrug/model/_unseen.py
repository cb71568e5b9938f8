"""Which drugs are asked for: those of the training by name, others by structure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from .._arguments import checked
from .._validate import examples, unique_slugs
from ..pp._drugs import resolve_drugs
from ..pp._molecules import canonical_smiles, why_unreadable
from ._data import DRUG_COLUMNS, Calibration, ReferenceInfo
from ._nearest import NEAREST, find_nearest, warn_of_strangers
from ._registry import PREDICT_UNSEEN_DRUGS

if TYPE_CHECKING:
    from anndata import AnnData

    from ..pp._profile import ReferenceProfile
    from ._base import DrugResponseModel


@checked
def select_drugs(
    self: DrugResponseModel, drugs: str | Sequence[str] | Mapping[str, str] | None
) -> tuple[DrugResponseModel | JoinedModel, list[str], np.ndarray]:
    """Find drugs by name or id, and predict others from their structure.

    Parameters
    ----------
    drugs
        Names, ids or SMILES; all drugs of the model if omitted. A mapping of names to SMILES asks for prediction from
        structure, for drugs of the training too; its keys, as slugs, are the ids of the result.

    Returns
    -------
    The model that predicts them (another one only where drugs are predicted from structure), their ids in the order
    of the query, and their columns in the model.

    Raises
    ------
    KeyError
        If a name is not known; the nearest names are offered.
    ValueError
        If a structure cannot be read, or the model cannot predict drugs that were not in training; the message says
        which models can.
    """
    if drugs is None:
        return self, list(self.drugs.index), np.arange(len(self.drugs))
    if len(drugs) == 0:
        raise ValueError("`drugs` is empty: name at least one drug, or omit it (None) for all drugs of the model.")
    if isinstance(drugs, Mapping):
        other = _predict_structures(self, readable_structures(drugs))
        return other, list(other.drugs.index), np.arange(len(other.drugs))
    known, unseen, order = _sort_queries([drugs] if isinstance(drugs, str) else [str(item) for item in drugs], self)
    columns = self.drugs.index.get_indexer(known)
    if not unseen:
        return self, known, columns
    other = _predict_structures(self, unseen)
    if not known:
        return other, list(other.drugs.index), np.arange(len(other.drugs))
    joined = JoinedModel(self, columns, other, order)
    return joined, list(joined.drugs.index), np.arange(len(joined.drugs))


@checked
def nearest_drugs(self: DrugResponseModel, drugs: Mapping[str, str], *, n: int = 3) -> pd.DataFrame:
    """Training drugs that resemble new structures, and whether these lie within what the model was trained on.

    Parameters
    ----------
    drugs
        SMILES by name.
    n
        Training drugs to name.

    Returns
    -------
    Indexed by name: ``nearest`` (names of training drugs, the most similar first, joined by semicolons), ``similarity``
    (Tanimoto on Morgan fingerprints, of the most similar one, 0-1) and ``applicable``: whether that is at least what nine
    tenths of the training drugs find among the others.

    Raises
    ------
    ValueError
        If a structure cannot be read, or no drug of the training has one.
    """
    structures = readable_structures(drugs)
    found = find_nearest(self.drugs, structures, n=n)
    if found is None:
        raise ValueError("No drug of the training has a structure to compare with. Add SMILES to `adata.uns['drugs']`.")
    return pd.DataFrame(found, index=pd.Index(list(structures), name="drug"))


def readable_structures(drugs: Mapping[str, str]) -> dict[str, str]:
    """Canonical SMILES by name.

    Raises
    ------
    ValueError
        If a structure cannot be read.
    """
    given = {str(name): smiles for name, smiles in drugs.items()}
    structures = {name: canonical_smiles(smiles) for name, smiles in given.items()}
    bad = [f"{why_unreadable(given[name])}, given for {name!r}" for name, found in structures.items() if found is None]
    if bad:
        more = f" and {len(bad) - 5} more" if len(bad) > 5 else ""
        raise ValueError(f"{', '.join(bad[:5])}{more} cannot be read as SMILES. Check the structure.")
    return structures  # type: ignore[return-value]


def _predict_structures(model: DrugResponseModel, structures: dict[str, str]) -> DrugResponseModel:
    if not model._takes_unseen_drugs:
        also = "; as it was set up this one has no features of drugs" if model.card.unseen_drugs else ""
        raise ValueError(
            f"{type(model).__name__} cannot predict drugs from their structure ({examples(structures)}){also}. Models "
            f"that can: {', '.join(PREDICT_UNSEEN_DRUGS)}, some of them only with `drug_kernel='tanimoto'`. Drugs that the model was "
            "trained on can be asked for by name."
        )
    other = model._for_unseen(structures)
    near = find_nearest(model.drugs, structures)
    if near is not None:
        other.notes_[NEAREST] = near
        warn_of_strangers(structures, near, stacklevel=5)
    return other


def hand_over(model: DrugResponseModel, other: DrugResponseModel, smiles: dict[str, str]) -> None:
    """Give a fresh model of unseen drugs the genes, profile and notes of a trained one, and the table of its own drugs."""
    table = pd.DataFrame(
        {"name": list(smiles), "smiles": list(smiles.values())}, index=pd.Index(unique_slugs(smiles), dtype=object)
    ).reindex(columns=list(DRUG_COLUMNS), fill_value="")
    other.reference_ = replace(model.reference, drugs=table)
    other.profile_, other.notes_, other.is_trained_ = model.profile_, dict(model.notes_), True


def _sort_queries(queries: list[str], model: DrugResponseModel) -> tuple[list[str], dict[str, str], np.ndarray]:
    """Ids of known drugs, SMILES of the others, and the place of each in the order of the queries."""
    by_name = model.drugs.drop(columns="smiles")
    by_structure: dict[str, list[str]] | None = None
    found: dict[str, str | None] = {}  # id, or SMILES as it was given → canonical SMILES of an unseen drug
    unknown = []
    for query in queries:
        try:
            ids = resolve_drugs([query], by_name)
        except KeyError:
            structure = canonical_smiles(query)
            if by_structure is None:
                by_structure = {}
                for drug, smiles in model.drugs["smiles"].items():
                    by_structure.setdefault(canonical_smiles(smiles) or "", []).append(str(drug))
            ids = by_structure.get(structure or "none", [])
            if structure is None:
                unknown.append(query)
            elif not ids:
                found[query] = structure
        found.update(dict.fromkeys(ids))
    if unknown:
        resolve_drugs(unknown, by_name)  # raises, with the nearest names
    known = [name for name, structure in found.items() if structure is None]
    unseen = {name: structure for name, structure in found.items() if structure is not None}
    place = {name: position for position, name in enumerate([*known, *unseen])}
    return known, unseen, np.array([place[name] for name in found], dtype=int)


class JoinedModel:
    """Drugs of a trained model beside drugs that another one predicts from their structure.

    It answers what prediction asks of a model, and is neither trained nor saved.

    Parameters
    ----------
    model
        Trained model.
    columns
        Positions of its drugs to keep.
    other
        What its `_for_unseen` returned; all drugs are kept.
    order
        Positions in the drugs kept, those of `model` first, in the order of the result.
    """

    def __init__(
        self, model: DrugResponseModel, columns: np.ndarray, other: DrugResponseModel, order: np.ndarray
    ) -> None:
        self._model, self._columns, self._other, self._order = model, columns, other, order
        self.is_trained = True

    @cached_property
    def reference(self) -> ReferenceInfo:
        """Genes and units of the trained model, with the joined drugs."""
        both = pd.concat([self._model.drugs.iloc[self._columns], self._other.drugs])
        taken: dict[str, None] = {}
        for drug in both.index:
            number, name = 2, str(drug)
            while name in taken:
                name, number = f"{drug}-{number}", number + 1
            taken[name] = None
        return replace(self._model.reference, drugs=both.set_axis(pd.Index(list(taken))).iloc[self._order])

    @property
    def drugs(self) -> pd.DataFrame:
        """The joined drugs, by id."""
        return self.reference.drugs

    @property
    def genes(self) -> np.ndarray:
        """Gene panel of the trained model."""
        return self._model.genes

    @property
    def profile(self) -> ReferenceProfile:
        """Summary of the training reference's expression."""
        return self._model.profile

    @cached_property
    def calibration(self) -> Calibration:
        """Distribution of predictions over the reference, drug by drug."""
        ours, theirs = self._model.calibration, self._other.calibration
        return Calibration(
            np.hstack([ours.quantiles[:, self._columns], theirs.quantiles])[:, self._order],
            np.concatenate([ours.half_width[self._columns], theirs.half_width])[self._order],
            ours.level,
            ours.held_out and theirs.held_out,
        )

    def _network_share(self, names: np.ndarray | None, n: int, drugs: np.ndarray) -> float:
        picked, n_known = self._order[drugs], len(self._columns)
        known, unseen = self._columns[picked[picked < n_known]], picked[picked >= n_known] - n_known
        parts = ((self._model, known), (self._other, unseen))
        return sum(len(part) * model._network_share(names, n, part) for model, part in parts) / max(len(picked), 1)

    def provenance(self, **extra: Any) -> dict[str, Any]:
        """Model, version, unit and direction of predictions."""
        return self._model.provenance(**extra)

    def _drug_notes(self) -> pd.DataFrame | None:
        notes = self._other._drug_notes()
        if notes is None:
            return None
        # drugs that were trained on are their own nearest
        own = self._model.drugs.iloc[self._columns]
        known = pd.DataFrame({"nearest": own["name"], "similarity": 1.0, "applicable": True}, index=own.index)
        both = pd.concat([known, notes])
        return both.iloc[self._order].set_axis(self.drugs.index)

    def _sample_inputs(self, adata: AnnData) -> np.ndarray | None:
        return self._model._sample_inputs(adata)

    def _predict_rows(
        self, expression: np.ndarray, drugs: np.ndarray, names: np.ndarray | None = None, *inputs: np.ndarray
    ) -> np.ndarray:
        known = self._model._predict_rows(expression, self._columns, names, *inputs)
        unseen = self._other._predict_rows(expression, np.arange(len(self._other.drugs)), names, *inputs)
        return np.hstack([known, unseen])[:, self._order[drugs]]

    def _linear_weights(self, drugs: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
        known = self._model._linear_weights(self._columns)
        unseen = self._other._linear_weights(np.arange(len(self._other.drugs)))
        if known is None or unseen is None:
            return None
        picked = self._order[drugs]
        return np.hstack([known[0], unseen[0]])[:, picked], np.concatenate([known[1], unseen[1]])[picked]

    def _first_layer(self, drugs: np.ndarray, *, complete: bool) -> tuple[np.ndarray, np.ndarray] | None:
        return self._linear_weights(drugs)

    def _after_first_layer(self, values: np.ndarray, drugs: np.ndarray, rows: np.ndarray) -> np.ndarray:
        picked = self._order[drugs]
        known, n_known = picked < len(self._columns), len(self._columns)
        out = np.empty_like(values)
        out[:, known] = self._model._after_first_layer(values[:, known], self._columns[picked[known]], rows)
        out[:, ~known] = self._other._after_first_layer(values[:, ~known], picked[~known] - n_known, rows)
        return out
