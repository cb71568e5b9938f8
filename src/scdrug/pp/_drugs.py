"""Features of drugs from their structures, and drugs by the names that people give them."""

from __future__ import annotations

import logging
import re
import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from .._arguments import checked
from .._constants import KEYS
from .._former import formerly
from .._store import writable
from .._validate import check_choice, check_key, examples, nearest
from ._atom_features import ATOM_FEATURES
from ._drug_names import drug_names, find_compounds, simple_drug
from ._graphs import molecular_graphs
from ._molecules import FEATURES, SMILES_STATUS, UNUSABLE, canonical_smiles, featurize_smiles, standardize_smiles

if TYPE_CHECKING:
    from anndata import AnnData

logger = logging.getLogger(__name__)


#: What of a structure can be computed.
KINDS = (*FEATURES, "graph")


@checked
@formerly(features="kind")
def featurize_drugs(
    adata: AnnData,
    *,
    kind: str = "morgan",
    radius: int = 2,
    n_bits: int = 2048,
    atom_features: str = "rich",
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
    kind
        ``"morgan"``: circular fingerprints (Rogers & Hahn 2010). ``"keys"``: the 166 MACCS keys, of which each asks for one
        substructure (Durant et al. 2002). ``"minimol"``: 512 numbers from a network that was pretrained on quantum and biological
        properties (Kläser et al. 2024); needs the extra ``molecule``. ``"graph"``: atoms and bonds.
    radius
        Bonds that an atom's surroundings reach, for Morgan fingerprints.
    n_bits
        Length of the Morgan fingerprint.
    atom_features
        What describes the atoms of a graph: ``"rich"``, ``"deepcdr"`` or ``"contextpred"``, as for
        :class:`~scdrug.model.DeepCDR`.
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
        `features` (usable drugs × bits, uint8, or × 512, float32), `drug_ids` (the drug of each row), `kind` and the
        parameters. Of graphs, `features` are atoms × features, drug after drug, with `n_atoms` of each drug, `edge_index` (2 × bonds,
        each in both directions, positions of atoms) and `edge_attr` (bonds × features), as torch-geometric has them. Drugs without a
        usable structure have no row, and a warning names them.
    `adata.uns["drugs"]["canonical_smiles"]`
        Structure that the features describe, empty if there is none.
    `adata.uns["drugs"]["smiles_status"]`
        ``"ok"``, ``"salt removed"``, ``"missing"``, ``"unparsable"``, ``"too large"`` or ``"not ASCII"``.

    Raises
    ------
    KeyError
        If there is no table of drugs, or no such column in it.
    ValueError
        If no drug has a usable structure, ids occur twice, or a column or entry that scdrug did not store would be overwritten.
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
    >>> scdrug.pp.featurize_drugs(adata, kind="graph")
    >>> adata.uns["drug_features"]["graph"]["n_atoms"].tolist()
    [3, 3]
    """
    check_choice("kind", kind, KINDS)
    check_choice("atom_features", atom_features, tuple(ATOM_FEATURES))
    check_key(adata.uns, KEYS.DRUGS, where="adata.uns", hint="Expected a DataFrame by drug id, with SMILES.")
    drugs, key = adata.uns[KEYS.DRUGS], key_added or kind
    if not isinstance(drugs, pd.DataFrame):
        raise ValueError(f"`adata.uns['drugs']` must be a DataFrame by drug id; found {type(drugs).__name__}.")
    check_key(drugs, smiles_column, where="adata.uns['drugs']", hint="Name the column of SMILES with `smiles_column=`.")
    ids = drugs.index.astype(str).to_numpy(dtype=object)
    if len(set(ids)) < len(ids):
        twice = pd.Index(ids)[pd.Index(ids).duplicated()].unique()
        raise ValueError(
            f"The ids of `adata.uns['drugs']` must be unique; these occur more than once: {examples(twice)}."
        )
    stored = _stored_features(adata, key)

    smiles = drugs[smiles_column].tolist()
    entry: dict[str, object]
    if kind == "graph":
        canonical, status = standardize_smiles(smiles)
        entry = _graphs(canonical[canonical != ""], atom_features)
    else:
        values, canonical, status = featurize_smiles(smiles, features=kind, radius=radius, n_bits=n_bits)
        entry = {"features": values, **({"radius": int(radius), "n_bits": int(n_bits)} if kind == "morgan" else {})}
    usable = canonical != ""
    _check_own_columns(drugs, canonical, smiles_column)
    _report(ids, status)
    if not usable.any():
        raise ValueError(
            f"None of the {len(ids)} SMILES in `adata.uns['drugs'][{smiles_column!r}]` can be used; found "
            f"{examples(drugs[smiles_column], 3)}."
        )

    adata = writable(adata, copy=copy)
    entry |= {"drug_ids": ids[usable].astype(str), "kind": kind}
    # new tables, because the old ones may be shared with another object
    table = drugs.assign(canonical_smiles=canonical, smiles_status=status)
    adata.uns["drug_features"] = {**stored, key: entry}
    adata.uns[KEYS.DRUGS] = table
    return adata if copy else None


def _graphs(smiles: Iterable[str], atom_features: str) -> dict[str, object]:
    graphs = molecular_graphs(smiles, features=atom_features)
    return {
        "features": graphs.x,
        "n_atoms": graphs.n_atoms,
        "edge_index": graphs.edge_index,
        "edge_attr": graphs.edge_attr,
        "atom_features": atom_features,
    }


def _stored_features(adata: AnnData, key: str) -> Mapping[str, object]:
    """What stands in ``uns["drug_features"]``; an error if `key` of it is not ours to replace."""
    stored = adata.uns.get("drug_features", {})
    if not isinstance(stored, Mapping):
        raise ValueError(
            f"`adata.uns['drug_features']` holds {type(stored).__name__}, which scdrug did not store. Rename or delete it first."
        )
    entry = stored.get(key)
    if entry is not None and not (isinstance(entry, Mapping) and {"features", "drug_ids", "kind"} <= set(entry)):
        raise ValueError(
            f"`adata.uns['drug_features'][{key!r}]` holds something that scdrug did not store. Choose another `key_added`."
        )
    return stored


def _check_own_columns(drugs: pd.DataFrame, canonical: np.ndarray, smiles_column: str) -> None:
    """Raise if a column of the user's would be overwritten; scdrug's two columns stand together."""
    status = drugs.get("smiles_status")
    ours = status is not None and "canonical_smiles" in drugs and set(status.astype(str)) <= set(SMILES_STATUS)
    if ours and smiles_column != "canonical_smiles":
        return
    for column, value in (("canonical_smiles", canonical), ("smiles_status", None)):
        if column in drugs and (value is None or drugs[column].astype(object).tolist() != value.tolist()):
            raise ValueError(
                f"`adata.uns['drugs']` has a column {column!r} that scdrug did not store, and this would overwrite it. Rename it, for "
                f"example with `adata.uns['drugs'] = adata.uns['drugs'].rename(columns={{{column!r}: {'my_' + column!r}}})`."
            )


def _report(ids: np.ndarray, status: np.ndarray) -> None:
    for bad in UNUSABLE:
        drugs = ids[status == bad]
        if len(drugs):
            warnings.warn(
                f"{len(drugs)} drugs have no features because their SMILES is {bad}: {examples(drugs)}.", stacklevel=3
            )
    salts = ids[status == "salt removed"]
    if len(salts):
        logger.info("salts were taken off %d drugs: %s", len(salts), examples(salts))


def resolve_drugs(queries: str | Iterable[object], drugs: pd.DataFrame) -> list[str]:
    """Find the drugs that people mean.

    A query is compared with ids, then names, then synonyms, then PubChem CIDs, each without regard to case, blanks and
    punctuation, then with the names that the bundled table knows of each compound (synonyms, brands, codes of companies,
    ids of PubChem and ChEMBL; salts are their parents), and at last, if it can be read as SMILES, with structures. The first
    comparison that finds something decides.

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
        If a query is a synonym of drugs with different names, or stands for several compounds.

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
    names = dict(zip(ids, map(simple_drug, drugs["name"] if "name" in drugs else ids)))
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
            for simple in {simple_drug(name) for name in names} - {""}:
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
    """Drug ids by id, name, synonym or CID, then by what the bundled table knows; `names` holds the simplified name of each id."""
    if query in names:
        return [query]
    for kind, index in indexes.items():
        matches = index.get(simple_drug(query), [])
        if not matches:
            continue
        if kind == "synonym" and len({names[drug] for drug in matches}) > 1:
            raise ValueError(f"{query!r} is a synonym of several drugs: {examples(matches)}. Name one of these ids.")
        return matches
    return _find_compound(query, names, indexes)


def _find_compound(query: str, names: Mapping[str, str], indexes: Mapping[str, dict[str, list[str]]]) -> list[str]:
    """Drug ids of the compound that the bundled table has under the query."""
    table = drug_names()
    by_compound: dict[int, list[str]] = {}
    for row in find_compounds(query):
        known = {simple_drug(name) for name in table.names[row]}
        found = [drug for index in indexes.values() for name in known for drug in index.get(name, [])]
        # one compound may stand under several ids (screened twice): all of them, in the order of the table
        by_compound[row] = [drug for drug in names if drug in set(found)]
    present = {row: ids for row, ids in by_compound.items() if ids}
    if present and len(by_compound) > 1:
        titles = [table.titles[row] for row in by_compound]
        here = [drug for ids in present.values() for drug in ids]
        raise ValueError(
            f"{query!r} is a name of several compounds: {examples(titles)}. Name one of them; of these drugs there are {examples(here)}."
        )
    return next(iter(present.values()), [])


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
        near, compounds = nearest(query, names), [drug_names().titles[row] for row in find_compounds(query)]
        if compounds and simple_drug(query) != simple_drug(compounds[0]):
            parts.append(f"{query!r} ({' or '.join(compounds)}, which is not among them)")
        else:
            parts.append(f"{query!r}" + (f" (nearest: {', '.join(map(repr, near))})" if near else ""))
    more = f" and {len(unknown) - 5} more" if len(unknown) > 5 else ""
    return f"No drug is called {', '.join(parts)}{more}. There are {len(ids)} drugs, such as {examples(names, 3)}."
