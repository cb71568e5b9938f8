"""Which lines and drugs are the same, whatever they are called."""

from __future__ import annotations

import re
import warnings
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from .._constants import KEYS
from .._validate import check_key, examples

if TYPE_CHECKING:
    from anndata import AnnData


def line_name(name: object) -> str:
    """Name of a cell line without case and punctuation: NCI-H1975, nci h1975 and NCIH1975 are one."""
    return re.sub(r"[^A-Z0-9]", "", str(name).upper())


def line_groups(adata: AnnData, line_key: str | None = None) -> np.ndarray:
    """Number of each sample's cell line.

    Names are compared without case and punctuation. The few different lines that only punctuation tells apart (TT and
    T-T) then share a group, which costs nothing; two spellings of one line on two sides would be a leak.
    """
    if line_key is None:
        names = adata.obs_names.astype(str)
    else:
        check_key(adata.obs, line_key, where="adata.obs", hint="Name the column of cell lines with `line_key`.")
        names = adata.obs[line_key].astype(str)
    simple = np.array([line_name(name) or str(name) for name in names], dtype=str)
    return np.unique(simple, return_inverse=True)[1]


def drug_structures(drugs: pd.DataFrame, ids: pd.Index) -> list[str | None]:
    """Canonical SMILES of each drug's parent molecule, None where there is none that can be read."""
    from ..pp._molecules import canonical_smiles

    smiles = drugs["smiles"].reindex(ids) if "smiles" in drugs.columns else pd.Series(None, index=ids, dtype=object)
    return [canonical_smiles(None if pd.isna(value) else str(value)) for value in smiles]


def drug_groups(adata: AnnData, ids: pd.Index, *, need_structure: bool) -> np.ndarray:
    """Number of each drug's structure.

    Drugs whose structure is unknown get −1 if structures are needed, since nobody could tell whether they are another
    drug under a second name; else they are told apart by name.
    """
    check_key(adata.uns, KEYS.DRUGS, where="adata.uns", hint="Drugs need a table with a column 'smiles'.")
    table = adata.uns[KEYS.DRUGS]
    structures = drug_structures(table, ids)
    without = [drug for drug, structure in zip(ids, structures) if structure is None]
    if need_structure and len(without) == len(ids):
        raise KeyError(
            "No drug of `adata.uns['drugs']` has a structure that can be read. Splits by drug group by canonical "
            "SMILES: fill the column 'smiles'."
        )
    if need_structure and without:
        warnings.warn(
            f"{len(without)} drugs have no structure that can be read, and are not used in splits by drug: "
            f"{examples(without)}.",
            stacklevel=4,
        )
    names = table["name"].reindex(ids) if "name" in table.columns else pd.Series(ids, index=ids)
    keys = np.array([structure or f"~{str(name).lower()}" for structure, name in zip(structures, names)], dtype=str)
    known = np.array([structure is not None for structure in structures])
    groups = np.unique(keys, return_inverse=True)[1]
    return np.where(known, groups, -1) if need_structure else groups
