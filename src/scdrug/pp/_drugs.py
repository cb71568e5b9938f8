"""Features of drugs from their structures, and drugs by the names that people give them."""

from __future__ import annotations

import logging
import re
import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from .._constants import KEYS
from .._store import writable
from .._validate import check_choice, check_key, examples, nearest
from ._molecules import FEATURES, canonical_smiles, featurize_smiles

if TYPE_CHECKING:
    from anndata import AnnData

logger = logging.getLogger(__name__)


def featurize_drugs(
    adata: AnnData,
    *,
    features: str = "morgan",
    radius: int = 2,
    n_bits: int = 2048,
    smiles_column: str = "smiles",
    key_added: str | None = None,
    copy: bool = False,
) -> AnnData | None:
    """Compute features of the drugs of a reference from their SMILES.

    Structures are standardised first: salts are taken off and charges neutralised, so that two preparations of a
    compound have the same features.

    Parameters
    ----------
    adata
        Bulk reference with a table of drugs, by drug id, in `uns["drugs"]`.
    features
        ``"morgan"``: circular fingerprints (Rogers & Hahn 2010). ``"minimol"``: 512 numbers from a network that was
        pretrained on quantum and biological properties (Kläser et al. 2024); needs the extra ``molecule``.
    radius
        Bonds that an atom's surroundings reach, for Morgan fingerprints.
    n_bits
        Length of the Morgan fingerprint.
    smiles_column
        Column of `uns["drugs"]` with the SMILES.
    key_added
        Key of `adata.uns["drug_features"]` for the result; the kind of features if omitted.
    copy
        Return a copy instead of changing `adata`.

    Returns
    -------
    `None`, or the changed copy if ``copy=True``. Sets:

    `adata.uns["drug_features"][key_added]`
        `features` (usable drugs × bits, uint8, or × 512, float32), `drug_ids` (the drug of each row) and the
        parameters. Drugs without a usable structure have no row, and a warning names them.
    `adata.uns["drugs"]["canonical_smiles"]`
        Structure that the features describe, empty if there is none.
    `adata.uns["drugs"]["smiles_status"]`
        ``"ok"``, ``"salt removed"``, ``"missing"`` or ``"unparsable"``.

    Raises
    ------
    KeyError
        If there is no table of drugs, or no such column in it.
    ValueError
        If no drug has a usable structure.
    ImportError
        If the features need an extra that is not installed.

    Examples
    --------
    >>> import anndata, numpy as np, pandas as pd, scdrug
    >>> adata = anndata.AnnData(np.zeros((1, 1)))
    >>> adata.uns["drugs"] = pd.DataFrame({"smiles": ["CCO", "CCN.Cl"]}, index=["ethanol", "ethylamine"])
    >>> scdrug.pp.featurize_drugs(adata)
    >>> adata.uns["drug_features"]["morgan"]["features"].shape
    (2, 2048)
    >>> adata.uns["drugs"]["smiles_status"].tolist()
    ['ok', 'salt removed']
    """
    check_choice("features", features, FEATURES)
    check_key(adata.uns, KEYS.DRUGS, where="adata.uns", hint="Expected a DataFrame by drug id, with SMILES.")
    drugs = adata.uns[KEYS.DRUGS]
    check_key(drugs, smiles_column, where="adata.uns['drugs']", hint="Name the column of SMILES with `smiles_column=`.")
    ids = drugs.index.astype(str).to_numpy(dtype=object)

    values, canonical, status = featurize_smiles(
        drugs[smiles_column].tolist(), features=features, radius=radius, n_bits=n_bits
    )
    usable = canonical != ""
    _report(ids, status)
    if not usable.any():
        raise ValueError(
            f"None of the {len(ids)} SMILES in `adata.uns['drugs'][{smiles_column!r}]` can be used; found "
            f"{examples(drugs[smiles_column], 3)}."
        )

    adata = writable(adata, copy=copy)
    # a new table, because the old one may be shared with another object
    adata.uns[KEYS.DRUGS] = drugs.assign(canonical_smiles=canonical, smiles_status=status)
    stored = adata.uns.get("drug_features", {})
    adata.uns["drug_features"] = {
        **stored,
        key_added or features: {
            "features": values,
            "drug_ids": ids[usable].astype(str),
            "kind": features,
            **({"radius": int(radius), "n_bits": int(n_bits)} if features == "morgan" else {}),
        },
    }
    return adata if copy else None


def _report(ids: np.ndarray, status: np.ndarray) -> None:
    for bad in ("missing", "unparsable"):
        drugs = ids[status == bad]
        if len(drugs):
            warnings.warn(
                f"{len(drugs)} drugs have no features because their SMILES is {bad}: {examples(drugs)}.", stacklevel=3
            )
    salts = ids[status == "salt removed"]
    if len(salts):
        logger.info("salts were taken off %d drugs: %s", len(salts), examples(salts))


def _simple(name: object) -> str:
    return re.sub(r"[^a-z0-9]", "", str(name).lower())


def resolve_drugs(queries: str | Iterable[object], drugs: pd.DataFrame) -> list[str]:
    """Find the drugs that people mean.

    A query is compared with ids, then names, then synonyms, then PubChem CIDs, each without regard to case, blanks and
    punctuation, and at last, if it can be read as SMILES, with structures. The first comparison that finds something
    decides.

    Parameters
    ----------
    queries
        Ids, names, synonyms, PubChem CIDs or SMILES.
    drugs
        Table by drug id; the columns `name`, `synonyms`, `pubchem_cid` and `smiles` are used where they exist.
        Several synonyms in one field are separated by ``,``, ``;`` or ``|``.

    Returns
    -------
    Drug ids in the order of the queries, each once. A name that several ids share (a compound screened twice) gives
    all of them.

    Raises
    ------
    KeyError
        If a query names no drug; the nearest names are offered.
    ValueError
        If a query is a synonym of drugs with different names.

    Examples
    --------
    >>> import pandas as pd
    >>> from scdrug.pp._drugs import resolve_drugs
    >>> drugs = pd.DataFrame(
    ...     {"name": ["PLX-4720", "5-FU"], "synonyms": ["PLX4720", "5-Fluorouracil"]}, index=["a", "b"]
    ... )
    >>> resolve_drugs(["5 fluorouracil", "plx4720"], drugs)
    ['b', 'a']
    """
    queries = [queries] if isinstance(queries, str) else [str(query) for query in queries]
    ids = [str(drug_id) for drug_id in drugs.index]
    names = dict(zip(ids, map(_simple, drugs["name"] if "name" in drugs else ids)))
    indexes = _name_indexes(ids, drugs)
    structures: dict[str, list[str]] | None = None
    found: dict[str, None] = {}
    unknown = []
    for query in queries:
        matches = _find(query, names, indexes)
        if not matches:
            if structures is None:
                structures = _structures(ids, drugs)
            matches = structures.get(canonical_smiles(query) or "", [])
        if not matches:
            unknown.append(query)
        found.update(dict.fromkeys(matches))
    if unknown:
        raise KeyError(_unknown_message(unknown, ids, drugs))
    return list(found)


def _name_indexes(ids: Sequence[str], drugs: pd.DataFrame) -> dict[str, dict[str, list[str]]]:
    """For each kind of name: simplified name -> drug ids."""
    kinds: dict[str, Iterable[tuple[str, list[str]]]] = {"id": ((drug, [drug]) for drug in ids)}
    for kind, column in (("name", "name"), ("synonym", "synonyms"), ("PubChem CID", "pubchem_cid")):
        if column in drugs:
            kinds[kind] = zip(ids, (_names_in(value, split=kind == "synonym") for value in drugs[column]))
    indexes: dict[str, dict[str, list[str]]] = {}
    for kind, pairs in kinds.items():
        index = indexes.setdefault(kind, {})
        for drug, names in pairs:
            for simple in {_simple(name) for name in names} - {""}:
                index.setdefault(simple, []).append(drug)
    return indexes


def _names_in(value: object, *, split: bool) -> list[str]:
    if isinstance(value, list | tuple | np.ndarray):
        return [str(item) for item in value]
    if pd.isna(value):
        return []
    if isinstance(value, float) and value.is_integer():  # CIDs with gaps are read as floats
        value = int(value)
    return re.split(r"[,;|]\s*", str(value)) if split else [str(value)]


def _find(query: str, names: Mapping[str, str], indexes: Mapping[str, dict[str, list[str]]]) -> list[str]:
    """Drug ids by id, name, synonym or CID; `names` holds the simplified name of each id."""
    if query in names:
        return [query]
    for kind, index in indexes.items():
        matches = index.get(_simple(query), [])
        if not matches:
            continue
        if kind == "synonym" and len({names[drug] for drug in matches}) > 1:
            raise ValueError(f"{query!r} is a synonym of several drugs: {examples(matches)}. Name one of these ids.")
        return matches
    return []


def _structures(ids: Sequence[str], drugs: pd.DataFrame) -> dict[str, list[str]]:
    """Canonical SMILES -> drug ids."""
    structures: dict[str, list[str]] = {}
    if "smiles" in drugs:
        for drug, smiles in zip(ids, drugs["smiles"]):
            canonical = canonical_smiles(smiles)
            if canonical is not None:
                structures.setdefault(canonical, []).append(drug)
    return structures


def _unknown_message(unknown: Sequence[str], ids: Sequence[str], drugs: pd.DataFrame) -> str:
    names = [*ids, *(drugs["name"].dropna().astype(str) if "name" in drugs else [])]
    parts = []
    for query in unknown[:5]:
        near = nearest(query, names)
        parts.append(f"{query!r}" + (f" (nearest: {', '.join(map(repr, near))})" if near else ""))
    more = f" and {len(unknown) - 5} more" if len(unknown) > 5 else ""
    return f"No drug is called {', '.join(parts)}{more}. There are {len(ids)} drugs, such as {examples(names, 3)}."
