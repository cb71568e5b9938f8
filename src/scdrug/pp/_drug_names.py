"""Drugs as they are spelled and as the bundled table knows them: synonyms, brands, codes, ids, targets, phases."""

from __future__ import annotations

import gzip
import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import numpy as np
import pandas as pd

#: Columns of the bundled table beside names and ids.
FACTS = ("targets", "pathway", "max_phase", "first_approval", "indications")
#: What the name of a salt ends with.
_SALT = re.compile(
    r"\s+(?:(?:di|mono|tri)?(?:hydrochloride|hydrobromide|phosphate|sodium|hydrate|mesylate|tosylate)|hcl|malate|maleate|"
    r"fumarate|citrate|tartrate|acetate|sulph?ate|sulfate|succinate|besylate|camsylate|lactate|esylate)$",
    re.IGNORECASE,
)
#: How a PubChem CID is announced.
_CID = re.compile(r"(?:pubchem)?cid(\d+)")


@dataclass(frozen=True, eq=False)
class DrugNames:
    """Compounds, and the compounds that each name stands for."""

    #: The usual name of each compound.
    titles: tuple[str, ...]
    #: All names and ids of each compound, the usual one first.
    names: tuple[tuple[str, ...], ...]
    #: Rows of the compounds by simplified name or id.
    by_name: dict[str, tuple[int, ...]]
    #: What is known of each compound, by column of :data:`FACTS`; empty where nothing is.
    facts: tuple[dict[str, str], ...]


def simple_drug(name: object) -> str:
    """Name of a drug without case, blanks, punctuation, and the word that announces a PubChem CID.

    Examples
    --------
    >>> from scdrug.pp._drug_names import simple_drug
    >>> [simple_drug(name) for name in ("PLX-4720", "5 FU", "CID:3385")]
    ['plx4720', '5fu', '3385']
    """
    text = str(name).lower().replace("α", "alpha").replace("β", "beta").replace("γ", "gamma")
    text = re.sub(r"[^a-z0-9]", "", text)
    cid = _CID.fullmatch(text)
    return cid[1] if cid else text


@cache
def drug_names() -> DrugNames:
    """Read the bundled table (once)."""
    content = (files("scdrug.pp") / "_data" / "drugs.tsv.gz").read_bytes()
    titles, names, facts = [], [], []
    by_name: dict[str, dict[int, None]] = defaultdict(dict)
    for row, line in enumerate(gzip.decompress(content).decode().splitlines()[1:]):
        title, *others = line.split("\t")
        facts.append(dict(zip(FACTS, others[3:], strict=True)))
        others = others[:3]
        every = tuple(dict.fromkeys([title, *(name for field in others for name in field.split("|") if name)]))
        titles.append(title)
        names.append(every)
        for name in every:
            by_name[simple_drug(name)][row] = None
    return DrugNames(tuple(titles), tuple(names), {name: tuple(rows) for name, rows in by_name.items()}, tuple(facts))


def find_compounds(name: object) -> tuple[int, ...]:
    """Rows of the compounds of the bundled table that a name or id stands for, with or without the name of a salt."""
    table = drug_names()
    return table.by_name.get(simple_drug(name)) or table.by_name.get(simple_drug(_SALT.sub("", str(name).strip())), ())


def other_names(name: object) -> list[str]:
    """Every name and id of the compound that `name` stands for; none if it is unknown or stands for several.

    Examples
    --------
    >>> from scdrug.pp._drug_names import other_names
    >>> "Selumetinib" in other_names("azd-6244"), other_names("unheard of")
    (True, [])
    """
    rows = find_compounds(name)
    return list(drug_names().names[rows[0]]) if len(rows) == 1 else []


def known_facts(name: object) -> dict[str, str]:
    """What the bundled table says of the compound that `name` stands for; empty if it is unknown or stands for several.

    Examples
    --------
    >>> from scdrug.pp._drug_names import known_facts
    >>> known_facts("Tarceva")["targets"]
    'EGFR'
    """
    rows = find_compounds(name)
    return dict(drug_names().facts[rows[0]]) if len(rows) == 1 else {}


def drug_facts(names: Iterable[object]) -> pd.DataFrame:
    """What the bundled table says of drugs by name, one row each in their order.

    Returns
    -------
    ``targets`` and ``pathway``; ``phase``, the highest clinical phase (0-4, NaN where it is unknown; 4 for all drugs with an approval
    or an indication); ``first_approval`` (year, NaN); and ``indications``: codes of TCGA, joined by ", ". Texts are empty where
    nothing is known.

    Examples
    --------
    >>> from scdrug.pp._drug_names import drug_facts
    >>> drug_facts(["Tarceva"])["indications"].tolist()
    ['LUAD, LUSC, PAAD']
    """
    found = pd.DataFrame([known_facts(name) for name in names], columns=list(FACTS), dtype=object).fillna("")
    phase, approval = (pd.to_numeric(found[column]).astype(float) for column in ("max_phase", "first_approval"))
    approved = approval.notna() | (found["indications"] != "")
    return pd.DataFrame(
        {
            "targets": found["targets"],
            "pathway": found["pathway"],
            "phase": phase.mask(approved, 4.0),
            "first_approval": approval,
            "indications": found["indications"],
        }
    )


def phases_of(names: Iterable[object], table: pd.DataFrame) -> np.ndarray:
    """Highest clinical phase that a table gives each drug under any of its names (drugs, NaN where it has none).

    Parameters
    ----------
    names
        Names of drugs.
    table
        `name`, `phase` (0-4, NaN where unknown) and, if it has it, `synonyms`, joined by "|".
    """
    synonyms = table["synonyms"] if "synonyms" in table else [""] * len(table)
    by_name: dict[str, float] = {}
    for name, others, phase in zip(table["name"], synonyms, table["phase"], strict=True):
        for text in filter(None, map(simple_drug, [name, *str(others).split("|")])):
            by_name[text] = np.fmax(by_name.get(text, np.nan), phase)
    found = [[by_name.get(simple_drug(text), np.nan) for text in [name, *other_names(name)]] for name in names]
    return np.array([np.fmax.reduce(phases) for phases in found], dtype=float)


def listed_indications() -> frozenset[str]:
    """Codes of TCGA that the bundled table has an indicated drug for."""
    return frozenset(code for facts in drug_names().facts for code in split_codes(facts["indications"]))


def split_codes(text: str) -> list[str]:
    """Codes in a field of indications."""
    return [code.strip() for code in text.split(",") if code.strip()]


def same_drugs(drugs: pd.DataFrame, others: pd.DataFrame) -> dict[str, list[str]]:
    """Ids of drugs in another table that are the same compound.

    Structures decide where both sides have one; else names, with the synonyms of the bundled table.

    Parameters
    ----------
    drugs, others
        Tables by drug id, with `smiles` and `name` where they are known.

    Returns
    -------
    By id in `drugs`, those in `others`; without drugs that have none.
    """
    structures, names = _structures(drugs), _compounds(drugs)
    by_structure: dict[str, list[str]] = {}
    by_name: dict[object, list[tuple[str, str | None]]] = {}
    for other, structure, name in zip(others.index, _structures(others), _compounds(others)):
        if structure is not None:
            by_structure.setdefault(structure, []).append(other)
        by_name.setdefault(name, []).append((other, structure))
    found = {}
    for drug, structure, name in zip(drugs.index, structures, names):
        named = [other for other, its in by_name.get(name, ()) if structure is None or its is None]
        same = [*(by_structure.get(structure, ()) if structure is not None else ()), *named]
        if same:
            found[str(drug)] = [str(other) for other in dict.fromkeys(same)]
    return found


def _structures(drugs: pd.DataFrame) -> list[str | None]:
    from ._molecules import canonical_smiles

    return [canonical_smiles(text) for text in drugs["smiles"]] if "smiles" in drugs.columns else [None] * len(drugs)


def _compounds(drugs: pd.DataFrame) -> list[object]:
    """Row of the bundled table that each drug's name stands for, or else the name."""
    names = drugs["name"] if "name" in drugs.columns else pd.Series(drugs.index, index=drugs.index)
    rows = [find_compounds(name) for name in names]
    return [row[0] if len(row) == 1 else simple_drug(name) for row, name in zip(rows, names)]
