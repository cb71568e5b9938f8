"""Which drugs are asked for: those of the training by name, others by structure."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence, Sized
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from .._arguments import checked
from .._validate import examples, unique_slugs
from ..pp._drugs import resolve_drugs
from ..pp._molecules import canonical_smiles, minimol_is_installed, why_unreadable
from ..pp._targets import split_words
from ._data import DRUG_COLUMNS, Calibration, ReferenceInfo
from ._nearest import NEAREST, find_nearest, warn_of_strangers
from ._registry import PREDICT_UNSEEN_DRUGS
from .prior._drug_kernels import STRUCTURES, describe_drugs, present

if TYPE_CHECKING:
    from anndata import AnnData

    from ..pp._profile import ReferenceProfile
    from ._base import DrugResponseModel

#: What can be told of a drug.
_PARTS = ("smiles", "targets", "pathway")


@checked
def select_drugs(
    self: DrugResponseModel, drugs: str | Sequence[str] | Mapping[str, Any] | None
) -> tuple[DrugResponseModel | JoinedModel, list[str], np.ndarray]:
    """Find drugs by name or id, and predict others from their structure and mechanism.

    Parameters
    ----------
    drugs
        Names, ids or SMILES; all drugs of the model if omitted. A mapping of names to SMILES, or to mappings with any of
        ``smiles``, ``targets`` and ``pathway``, asks for prediction from these, for drugs of the training too; its keys, as slugs, are
        the ids of the result.

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
        other = _predict_new(self, read_drugs(drugs))
        return other, list(other.drugs.index), np.arange(len(other.drugs))
    known, unseen, order = _sort_queries([drugs] if isinstance(drugs, str) else [str(item) for item in drugs], self)
    columns = self.drugs.index.get_indexer(known)
    if not unseen:
        return self, known, columns
    other = _predict_new(self, read_drugs(unseen))
    if not known:
        return other, list(other.drugs.index), np.arange(len(other.drugs))
    joined = JoinedModel(self, columns, other, order)
    return joined, list(joined.drugs.index), np.arange(len(joined.drugs))


@checked
def nearest_drugs(self: DrugResponseModel, drugs: Mapping[str, Any], *, n: int = 3) -> pd.DataFrame:
    """Training drugs that resemble new drugs, and whether these lie within what the model was trained on.

    Parameters
    ----------
    drugs
        SMILES by name, or what else is known, as :func:`scdrug.tl.predict_response` takes it.
    n
        Training drugs to name.

    Returns
    -------
    Indexed by name: ``nearest`` (names of training drugs, the most similar first, joined by semicolons), ``similarity``
    (Tanimoto on Morgan fingerprints, of the most similar one, 0-1, NaN without a structure), ``same_target`` (training drugs that
    share a target) and ``applicable``: whether one shares a target, or the similarity is at least what nine tenths of the training
    drugs find among the others.

    Raises
    ------
    ValueError
        If a structure cannot be read, or no drug of the training has anything to compare with.
    """
    table = read_drugs(drugs)
    found = find_nearest(self.drugs, table, n=n)
    if found is None:
        raise ValueError(
            "No drug of the training has a structure or a target to compare with. Add SMILES to `adata.uns['drugs']`."
        )
    return pd.DataFrame(found, index=pd.Index(table["name"], name="drug"))


def read_drugs(drugs: Mapping[str, Any]) -> pd.DataFrame:
    """Table of drugs that were asked for by what is known of them.

    Parameters
    ----------
    drugs
        By name a SMILES, or a mapping with any of ``smiles``, ``targets`` (HGNC symbols, other names or families, a list or one
        text) and ``pathway``.

    Returns
    -------
    Drugs × the columns of a drug table, indexed by slugs of their names; SMILES are canonical.

    Raises
    ------
    TypeError, ValueError
        If a structure cannot be read, a field is unknown, or nothing is given; the message names the drug.
    """
    rows: dict[str, dict[str, str]] = {}
    bad = []
    for name, given in drugs.items():
        parts = given if isinstance(given, Mapping) else {"smiles": given}
        unknown = [str(part) for part in parts if part not in _PARTS]
        if unknown:
            raise ValueError(
                f"`drugs[{name!r}]` has the unknown fields {examples(unknown)}. Give any of {', '.join(map(repr, _PARTS))}."
            )
        told = {part: value for part, value in parts.items() if not _is_empty(value)}
        for part, value in told.items():
            _check_part(name, part, value)
        if not told:
            raise ValueError(f"Nothing is given of the drug {name!r}. Give a SMILES, `targets` or a `pathway`.")
        row = {part: ", ".join(split_words(told.get(part, ""))) for part in ("targets", "pathway")}
        if "smiles" in told:
            structure = canonical_smiles(told["smiles"])
            if structure is None:
                bad.append(f"{why_unreadable(told['smiles'])}, given for {name!r}")
            row["smiles"] = structure or ""
        rows[str(name)] = row
    if bad:
        more = f" and {len(bad) - 5} more" if len(bad) > 5 else ""
        raise ValueError(f"{', '.join(bad[:5])}{more} cannot be read as SMILES. Check the structure.")
    table = pd.DataFrame(list(rows.values()), index=pd.Index(unique_slugs(rows), dtype=object))
    table.insert(0, "name", list(rows))
    return table.reindex(columns=list(DRUG_COLUMNS)).fillna("")


def _is_empty(value: object) -> bool:
    return not len(value) if isinstance(value, Sized) else bool(pd.isna(value))  # type: ignore[call-overload]


def _check_part(drug: object, part: str, value: object) -> None:
    """Raise unless a field is a text, or texts where there may be several."""
    several = part != "smiles" and not isinstance(value, str | Mapping) and hasattr(value, "__iter__")
    if not all(isinstance(text, str) for text in (value if several else [value])):
        kind = "a text" if part == "smiles" else "a text, or a list of texts"
        raise TypeError(f"`drugs[{drug!r}]` must give {part!r} as {kind}; found {value!r}.")


def describe_asked(training: pd.DataFrame, asked: pd.DataFrame, kinds: Sequence[str]) -> dict[str, np.ndarray]:
    """Features of new drugs, of the kinds that a model was trained on.

    Raises
    ------
    ValueError
        If nothing that the model compares drugs by is known of a drug; the message names it.

    Warns
    -----
    UserWarning
        If MiniMol is not installed, and fingerprints stand in for it.
    """
    kind = next(
        (name for name, parts in STRUCTURES.items() if set(parts) == set(kinds) & {"fingerprints", "minimol"}), None
    )
    if kind == "mean" and (asked["smiles"] != "").any() and not minimol_is_installed():
        warnings.warn(
            "The extra `molecule` (MiniMol) is not installed, so that mean responses of new drugs come from Morgan fingerprints, which "
            "tell less of them. Install it: pip install 'scdrug[molecule]'.",
            stacklevel=2,
        )
        kind = "tanimoto"
    mechanism = "targets" in kinds or "pathway" in kinds
    found = describe_drugs(asked, kind or "tanimoto", training=training, mechanism=mechanism)
    found = {name: part for name, part in found.items() if name in kinds}
    known = np.any([present(part) for part in found.values()], axis=0)
    if not known.all():
        raise ValueError(
            f"Nothing that this model compares drugs by ({', '.join(kinds)}) is known of {examples(asked['name'][~known])}: a target or "
            "pathway must be one that a drug of the training has. Give a SMILES, or see `model.drugs[['targets', 'pathway']]`."
        )
    return found


def _predict_new(model: DrugResponseModel, asked: pd.DataFrame) -> DrugResponseModel:
    if not model._takes_unseen_drugs:
        also = "; as it was set up this one has no features of drugs" if model.card.unseen_drugs else ""
        raise ValueError(
            f"{model._class_name} cannot predict drugs from their structure ({examples(asked['name'])}){also}. Models "
            f"that can: {', '.join(PREDICT_UNSEEN_DRUGS)}, some of them only with `drug_kernel='tanimoto'`. Drugs that the model was "
            "trained on can be asked for by name."
        )
    lacking = asked["name"][asked["smiles"] == ""]
    if model._needs_structures and len(lacking):
        raise ValueError(
            f"{model._class_name} reads structures; none is given of {examples(lacking)}. Give `smiles`, or take a model that goes "
            "by targets, such as the bundled one."
        )
    other = model._for_unseen(asked)
    near = find_nearest(model.drugs, asked)
    if near is not None:
        other.notes_[NEAREST] = near
        warn_of_strangers(asked["name"], near, stacklevel=5)
    return other


def hand_over(model: DrugResponseModel, other: DrugResponseModel, drugs: pd.DataFrame) -> None:
    """Give a fresh model of unseen drugs the genes, profile and notes of a trained one, and the table of its own drugs."""
    other.reference_ = replace(model.reference, drugs=drugs)
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
        both = both.fillna({"screen": ""} if "screen" in both else {})
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
        known = pd.DataFrame(
            {"nearest": own["name"], "similarity": 1.0, "same_target": 1, "applicable": True}, index=own.index
        )
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

    _predicts_linearly = True

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
        return values  # the weights are those of whole predictions
