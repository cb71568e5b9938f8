"""GDSC: the drug screen of the Sanger Institute that most reference models are trained on."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import pandas as pd

from .._arguments import checked
from .._validate import check_choice
from ._gdsc_formats import (
    compound_table,
    line_details,
    read_compounds,
    read_fitted_responses,
    read_line_details,
    read_rma,
    structures_by_drug_id,
)
from ._local import card, existing, find, obtain, require
from ._tables import read_table

if TYPE_CHECKING:
    from anndata import AnnData

_UNITS = {"ln_IC50": "ln(µM)", "AUC": "fraction of the area under the dose-response curve, 0-1"}
_RMA = ("Cell_line_RMA_proc_basalExp.txt.zip", "Cell_line_RMA_proc_basalExp.txt*", "*RMA*.txt*")


@checked
def gdsc(
    release: Literal["GDSC1", "GDSC2", "both"] = "GDSC2",
    *,
    measure: Literal["ln_IC50", "AUC"] = "ln_IC50",
    path: str | os.PathLike[str] | None = None,
) -> AnnData:
    """GDSC release 8.5: expression of about 950 cancer cell lines and their response to several hundred drugs.

    Parameters
    ----------
    release
        The older (``"GDSC1"``) or the newer (``"GDSC2"``) screen. They differ in assay and drugs; pairs that were
        measured in both correlate with r = 0.82. ``"both"`` joins them (:func:`scdrug.pp.join_screens`): a drug of both has the
        responses of GDSC2, and those of GDSC1 beside them.
    measure
        ``"ln_IC50"``, in ln(µM), or ``"AUC"``, between 0 and 1. Lower means more sensitive in both.
    path
        Folder to read instead of the cache, in either of two layouts, which are told apart by the files there:

        - official: ``GDSC2_fitted_dose_response_27Oct23.xlsx`` (or ``.csv``), ``Cell_line_RMA_proc_basalExp.txt.zip``
          (or unzipped) and optionally ``screened_compounds_rel_8.5.csv``, ``Cell_Lines_Details.xlsx``, and, for the
          structures of drugs, ``drug_list.csv`` and ``223drugs_pubchem_smiles.txt`` of DeepCDR;
        - tables: ``expression.parquet`` (standardised within each line), ``pairs.parquet``, and optionally
          ``cell_lines.csv``, ``drug_smiles.csv`` and ``drug_list.csv``.

        By default the official files are fetched, and structures come from DeepCDR's verified table.

    Returns
    -------
    The reference of :func:`scdrug.pp.build_reference`, lines × genes, with its card in ``uns['dataset']``. Expression is
    RMA on a log2 scale in the official layout (``uns['expression']['scale']`` is ``"log"``) and standardised within
    each line in the other (``"scaled"``).

    Raises
    ------
    ValueError
        If `release` or `measure` is unknown, or a file has another form.
    FileNotFoundError
        If `path` lacks a file.
    RuntimeError
        If a file is neither cached nor to be had.

    Notes
    -----
    Several curves of a line and a drug (drugs that were screened again under another id) are averaged. RMA columns
    that occur twice (such as ``DATA.1503362.1``) are averaged too, as are rows with the same gene symbol, and probes
    without a symbol are dropped. GDSC may be used for non-commercial research only.

    Sources: Yang et al. 2013 (doi:10.1093/nar/gks1111), Iorio et al. 2016 (doi:10.1016/j.cell.2016.06.017).

    Examples
    --------
    >>> import scdrug
    >>> reference = scdrug.datasets.gdsc("GDSC2", measure="AUC")  # doctest: +SKIP
    """
    check_choice("release", release, ("GDSC1", "GDSC2", "both"))
    check_choice("measure", measure, tuple(_UNITS))
    if release == "both":
        from ..pp._join_screens import join_screens

        parts = [gdsc(name, measure=measure, path=path) for name in ("GDSC2", "GDSC1")]
        joined = join_screens(*parts, names=("GDSC2", "GDSC1"))
        joined.uns["expression"] = parts[0].uns["expression"]
        joined.uns["dataset"] = parts[0].uns["dataset"] | {"release": release}
        return joined
    if path is not None and find(existing(path), ["pairs.parquet"]) is not None:
        return _from_tables(existing(path), release, measure)
    return _from_official(path, release, measure)


def _from_official(path: str | os.PathLike[str] | None, release: str, measure: str) -> AnnData:
    from ..pp._reference import build_reference

    fitted, compounds = f"{release}_fitted_dose_response_27Oct23.xlsx", "screened_compounds_rel_8.5.csv"
    folder = obtain("gdsc", [fitted, _RMA[0], compounds], path)
    structures = (
        folder if path is not None else obtain("deepcdr", ["drug_list.csv", "223drugs_pubchem_smiles.txt"], None)
    )
    files = {
        "responses": require(folder, [fitted, f"{release}_fitted_dose_response*"], what="fitted responses"),
        "expression": require(folder, _RMA, what="RMA expression"),
        "compounds": find(folder, [compounds, "screened_compounds*.csv"]),
        "details": find(folder, ["Cell_Lines_Details.xlsx", "Cell_Lines_Details*"]),
        "drug_list": find(structures, ["drug_list.csv"]),
        "smiles": find(structures, ["223drugs_pubchem_smiles.txt"]),
    }
    responses = read_fitted_responses(files["responses"], release)
    details = read_line_details(files["details"]) if files["details"] else None
    lines = line_details(responses, details)
    expression = read_rma(files["expression"])
    name_by_cosmic = dict(zip(lines["cosmic_id"], lines.index))
    expression = expression[expression.index.isin(name_by_cosmic)].rename(index=name_by_cosmic)
    drugs = compound_table(
        responses,
        read_compounds(files["compounds"]) if files["compounds"] else None,
        structures_by_drug_id(files["drug_list"], files["smiles"]) if files["drug_list"] and files["smiles"] else None,
    )
    adata = build_reference(
        expression,
        responses,
        drugs=drugs,
        lines=lines,
        measure=measure,
        unit=_UNITS[measure],
        line_column="CELL_LINE_NAME",
        drug_column="DRUG_NAME",
        value_column={"ln_IC50": "LN_IC50", "AUC": "AUC"}[measure],
    )
    return _with_card(adata, release, [file for file in files.values() if file is not None])


def _from_tables(folder: Path, release: str, measure: str) -> AnnData:
    from ..pp._reference import build_reference

    files = {
        "expression": require(folder, ["expression.parquet"], what="the expression table"),
        "pairs": require(folder, ["pairs.parquet"], what="the response table"),
        "lines": find(folder, ["cell_lines.csv"]),
        "smiles": find(folder, ["drug_smiles.csv"]),
        "drug_list": find(folder, ["drug_list.csv"]),
    }
    pairs = read_table(files["pairs"], columns=("cell_line", "drug", "dataset", "ln_ic50", "auc", "n"))
    pairs = pairs[pairs["dataset"] == release]
    expression = read_table(files["expression"], columns=("cell_line",), ids=("cell_line",))
    # the lines of this release, as in the official files
    expression = expression[expression["cell_line"].isin(pairs["cell_line"])]
    adata = build_reference(
        expression,
        pairs,
        drugs=_drugs_of_tables(files["smiles"], files["drug_list"]),
        lines=_lines_of_tables(files["lines"]),
        measure=measure,
        unit=_UNITS[measure],
        expression_scale="scaled",
        value_column={"ln_IC50": "ln_ic50", "AUC": "auc"}[measure],
    )
    adata.uns["expression"]["standardised"] = "within each line"
    # The table holds means of replicates, and counts them in a column of its own.
    kept = pairs[pairs["cell_line"].isin(adata.obs_names)]
    adata.uns["response"]["n_replicates_averaged"] = int((kept["n"] - 1).sum())
    return _with_card(adata, release, [file for file in files.values() if file is not None])


def _drugs_of_tables(smiles: Path | None, drug_list: Path | None) -> pd.DataFrame | None:
    if smiles is None:
        return None
    drugs = (
        read_table(smiles, columns=("drug", "smiles"), ids=("drug",)).rename(columns={"drug": "name"}).set_index("name")
    )
    if drug_list is not None:
        renamed = {"Name": "name", "PubCHEM": "pubchem_cid", "Targets": "targets", "Target pathway": "pathway"}
        known = read_table(drug_list, columns=tuple(renamed), text=True)[list(renamed)].rename(columns=renamed)
        drugs = drugs.join(known.drop_duplicates("name").set_index("name"), how="left")
    return drugs


def _lines_of_tables(path: Path | None) -> pd.DataFrame | None:
    if path is None:
        return None
    lines = read_table(path, columns=("cell_line", "cosmic_id"), text=True)
    lines["cosmic_id"] = lines["cosmic_id"].str.removesuffix(".0")
    return lines.rename(columns={"tissue1": "tissue", "tissue2": "tissue_detail"})


def _with_card(adata: AnnData, release: str, files: list[Path]) -> AnnData:
    adata.uns["dataset"] = card("gdsc", files) | {"release": release}
    return adata
