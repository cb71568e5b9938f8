"""The table of DeepCDR: GDSC responses of CCLE lines, which later systems were judged on too."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from .._arguments import checked
from .._constants import KEYS
from .._validate import check_choice, examples
from ._ccle import ccle
from ._local import card, find, obtain, require
from ._tables import read_table

if TYPE_CHECKING:
    from anndata import AnnData

_RESPONSES, _DRUGS = "GDSC_IC50.csv", "drug_list.csv"
_SMILES, _LINES = "223drugs_pubchem_smiles.txt", "Cell_lines_annotations_20181226.txt"
_OMICS = ("methylation", "copy_number")
_METHYLATION = "genomic_methylation_561celllines_808genes*"
#: Labels of the annotation that stand for no cancer type.
_UNTYPED = ("", "NA", "nan", "UNABLE TO CLASSIFY")


@checked
def deepcdr(
    *,
    path: str | os.PathLike[str] | None = None,
    expression: AnnData | str | os.PathLike[str] | None = None,
    omics: Sequence[str] = (),
) -> AnnData:
    """The screen that DeepCDR, scFoundation and Rössner et al. were judged on: GDSC ln IC50 of CCLE lines.

    Parameters
    ----------
    path
        Folder with ``GDSC_IC50.csv``, ``drug_list.csv``, ``223drugs_pubchem_smiles.txt`` and
        ``Cell_lines_annotations_20181226.txt``. Fetched by default.
    expression
        Expression of the lines by DepMap id: an AnnData, or a folder that :func:`scdrug.datasets.ccle` reads. By
        default the folder ``ccle`` beside `path`, or the fetched DepMap release.
    omics
        Further measurements of the lines to read into `obsm`: ``"methylation"``, ``"copy_number"``.

    Returns
    -------
    The reference of :func:`scdrug.pp.build_reference`, lines (DepMap ids) × genes, and

    ``obs``
        ``cell_line``, ``tissue`` (primary site) and ``cancer_type`` (TCGA label, empty where there is none).
    ``obsm['response']``
        ln IC50 in ln(µM). A drug is a PubChem compound: measurements of a line with two GDSC ids of one compound are
        averaged, since they are replicates and would otherwise stand on both sides of a split.
    ``obsm['X_methylation']``, ``obsm['X_copy_number']``
        If asked for: methylation of 808 promoters, 0-1, and relative copy number of the genes (lines × features,
        float32). A row of NaN marks a line without the measurement.

    Raises
    ------
    FileNotFoundError
        If a folder lacks a file.
    ValueError
        If no line has both expression and responses.
    RuntimeError
        If a file is neither cached nor to be had.

    Notes
    -----
    The published table has 107,446 rows, of which 12,766 are replicates of 6,383 pairs (11 % of the published test rows
    have their pair in training); it has 561 lines, of which the expression table in the layout of
    :func:`scdrug.datasets.ccle` holds 525.

    Sources: Liu et al. 2020 (doi:10.1093/bioinformatics/btaa822), Iorio et al. 2016 (doi:10.1016/j.cell.2016.06.017).

    Examples
    --------
    >>> import scdrug
    >>> reference = scdrug.datasets.deepcdr()  # doctest: +SKIP
    """
    from ..pp._reference import build_reference

    for name in omics:
        check_choice("omics", name, _OMICS)
    folder = obtain("deepcdr", [_RESPONSES, _DRUGS, _SMILES, _LINES], path)
    files = {
        "responses": require(folder, [_RESPONSES], what="responses"),
        "drugs": require(folder, [_DRUGS], what="the list of drugs"),
        "smiles": require(folder, [_SMILES], what="structures"),
        "lines": require(folder, [_LINES], what="the annotation of lines"),
    }
    lines_by_genes = _expression(expression, folder if path is not None else None)
    drugs = _compounds(files["drugs"], files["smiles"])
    pairs = _pairs(files["responses"], drugs)
    lines = _annotation(files["lines"])
    unknown = ~pairs["cell_line"].isin(lines_by_genes.obs_names)
    if unknown.all():
        raise ValueError(
            "No line has both expression and responses: `expression` must be indexed by DepMap id, such as "
            f"{examples(pairs['cell_line'].unique(), 2)}; found {examples(lines_by_genes.obs_names, 2)}."
        )
    table = drugs.drop_duplicates("name").set_index("name")[["smiles", "pubchem_cid", "targets", "pathway"]]
    adata = build_reference(lines_by_genes, pairs, drugs=table, value_column="ln_ic50")
    for column in lines.columns:
        adata.obs[column] = lines[column].reindex(adata.obs_names).fillna("").to_numpy(dtype=object)
    if "methylation" in omics:
        files["methylation"] = _methylation_file(folder, path)
        table = read_table(files["methylation"], index=True, numbers=True).reindex(adata.obs_names)
        adata.obsm["X_methylation"] = table.to_numpy(dtype="float32")
    if "copy_number" in omics:
        adata.obsm["X_copy_number"] = _copy_number(lines_by_genes, adata.obs_names)
    adata.uns[KEYS.DATASET] = card("deepcdr", files.values())
    return adata


def _expression(expression: AnnData | str | os.PathLike[str] | None, folder: Path | None) -> AnnData:
    if expression is None:
        beside = None if folder is None else (folder if folder.is_dir() else folder.parent).parent / "ccle"
        return ccle(path=beside if beside is not None and beside.is_dir() else None)
    if isinstance(expression, str | os.PathLike):
        return ccle(path=expression)
    return expression.copy()


def _compounds(drug_list: Path, smiles: Path) -> pd.DataFrame:
    """GDSC ids whose compound has a structure: ``name`` (one for all ids of a compound), ``smiles``, annotation."""
    renamed = {
        "drug_id": "drug_id", "Name": "name", "PubCHEM": "pubchem_cid", "Targets": "targets",
        "Target pathway": "pathway",
    }  # fmt: skip
    table = read_table(drug_list, columns=tuple(renamed), text=True, ids=("drug_id",))[list(renamed)].rename(
        columns=renamed
    )
    structures = read_table(smiles, names=("pubchem_cid", "smiles"), text=True)
    table = table.merge(structures.drop_duplicates("pubchem_cid"), on="pubchem_cid")
    table = table.sort_values(
        "drug_id", key=lambda ids: pd.to_numeric(ids, errors="coerce"), kind="stable"
    ).reset_index(drop=True)
    table["name"] = table.groupby("pubchem_cid")["name"].transform("first").str.strip()
    shared = table.groupby("name")["pubchem_cid"].transform("nunique") > 1  # one name, several compounds
    table.loc[shared, "name"] += " (CID " + table.loc[shared, "pubchem_cid"] + ")"
    return table


def _pairs(responses: Path, drugs: pd.DataFrame) -> pd.DataFrame:
    """Long table ``cell_line``, ``drug``, ``ln_ic50`` of the measurements, replicates included."""
    wide = read_table(responses, index=True, numbers=True)
    wide.index = wide.index.astype(str).str.removeprefix("GDSC:")
    names = drugs.drop_duplicates("drug_id").set_index("drug_id")["name"]
    wide = wide[wide.index.isin(names.index)]
    long = wide.stack().dropna().rename_axis(["drug_id", "cell_line"]).rename("ln_ic50").reset_index()
    return long.assign(drug=long["drug_id"].map(names))[["cell_line", "drug", "ln_ic50"]]


def _annotation(path: Path) -> pd.DataFrame:
    table = (
        read_table(path, columns=("depMapID", "Name", "Site_Primary", "tcga_code"), text=True)
        .dropna(subset=["depMapID"])
        .drop_duplicates("depMapID")
    )
    table = table.set_index("depMapID")[["Name", "Site_Primary", "tcga_code"]].fillna("")
    table.columns = ["cell_line", "tissue", "cancer_type"]
    return table.assign(cancer_type=table["cancer_type"].where(~table["cancer_type"].isin(_UNTYPED), ""))


def _methylation_file(folder: Path, path: str | os.PathLike[str] | None) -> Path:
    found = find(folder, [_METHYLATION])
    if found is not None:
        return found
    name = "genomic_methylation_561celllines_808genes_demap_features.csv"
    return require(obtain("deepcdr", [name], path), [_METHYLATION], what="methylation")


def _copy_number(lines_by_genes: AnnData, lines: pd.Index) -> np.ndarray:
    if "copy_number" not in lines_by_genes.layers:
        raise ValueError(
            "`expression` holds no copy number: expected `layers['copy_number']`, as scdrug.datasets.ccle reads it from a "
            "folder with ccle_copy_number.parquet. Leave 'copy_number' out of `omics`."
        )
    return np.asarray(lines_by_genes[lines].layers["copy_number"], dtype=np.float32)
