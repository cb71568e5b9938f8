"""Parsers of the files that GDSC publishes."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from .._validate import examples
from ._tables import as_numbers, check_table, read_table

#: Columns of the workbooks of fitted responses that are read.
_RESPONSE_COLUMNS = (
    "DATASET",
    "CELL_LINE_NAME",
    "COSMIC_ID",
    "SANGER_MODEL_ID",
    "TCGA_DESC",
    "DRUG_ID",
    "DRUG_NAME",
    "PUTATIVE_TARGET",
    "PATHWAY_NAME",
    "LN_IC50",
    "AUC",
)
#: The highest concentration that was tested, in µM; derived tables may lack it.
_HIGHEST_DOSE = "MAX_CONC"
#: How the headers of Cell_Lines_Details.xlsx start once line breaks and spaces are made single, and what they become.
_DETAIL_COLUMNS = {
    "COSMIC identifier": "cosmic_id",
    "GDSC Tissue descriptor 1": "tissue",
    "GDSC Tissue descriptor 2": "tissue_detail",
}


def read_fitted_responses(path: Path, release: str) -> pd.DataFrame:
    """Read fitted dose responses, one row a curve, of `release` only.

    Returns
    -------
    Table with the columns of :data:`_RESPONSE_COLUMNS`, and MAX_CONC (µM) where the file has it; ids are strings, LN_IC50 is in
    ln(µM).
    """
    table = read_table(
        path,
        columns=_RESPONSE_COLUMNS,
        numbers=("LN_IC50", "AUC", _HIGHEST_DOSE),
        ids=("DATASET", "CELL_LINE_NAME", "DRUG_NAME"),
    )
    kept = [*_RESPONSE_COLUMNS, *(name for name in (_HIGHEST_DOSE,) if name in table)]
    table = table.loc[table["DATASET"].astype(str) == release, kept]
    if table.empty:
        raise ValueError(f"{path} has no row with DATASET {release!r}: it belongs to another release.")
    for column in ("COSMIC_ID", "DRUG_ID"):
        table[column] = _ids(table[column])
    return table.reset_index(drop=True)


def _ids(values: pd.Series) -> pd.Series:
    """Whole numbers as strings, also where gaps made floats of them; "" for what is missing."""
    return values.astype("string").str.removesuffix(".0").fillna("").astype(object)


def read_rma(path: Path) -> pd.DataFrame:
    """Read RMA-normalised expression.

    Parameters
    ----------
    path
        Tab-separated text, zipped or not, with the columns GENE_SYMBOLS, GENE_title and one ``DATA.<COSMIC id>`` for
        each line. Rows without a symbol are dropped. Columns that occur twice, which carry a suffix such as
        ``DATA.1503362.1``, are averaged, and so are rows with the same symbol.

    Returns
    -------
    Lines × genes, log2, indexed by COSMIC id as a string.
    """
    table = read_table(path, columns=("GENE_SYMBOLS",), text=("GENE_SYMBOLS", "GENE_title"), repeated=True)
    is_line = table.columns.str.startswith("DATA.")
    columns = list(table.columns[is_line])
    if not columns:
        raise ValueError(f"{path} has no column 'DATA.<COSMIC id>'; it has {examples(table.columns, 8)}.")
    symbols = table["GENE_SYMBOLS"].str.strip().replace("", None)
    values = as_numbers(table.loc[symbols.notna(), is_line], columns, str(path)).astype("float32").T
    values.columns = symbols[symbols.notna()].to_numpy(dtype=object)
    values.index = pd.Index([column.split(".")[1] for column in columns], dtype=object)
    if values.columns.has_duplicates:
        values = values.T.groupby(level=0, sort=False).mean().T
    if values.index.has_duplicates:
        values = values.groupby(level=0, sort=False).mean()
    return values


def read_compounds(path: Path) -> pd.DataFrame:
    """Read the list of screened compounds: DRUG_ID, DRUG_NAME, TARGET, TARGET_PATHWAY."""
    table = read_table(path, columns=("DRUG_ID", "DRUG_NAME", "TARGET", "TARGET_PATHWAY"), text=True, ids=("DRUG_ID",))
    return table.drop_duplicates("DRUG_ID").set_index("DRUG_ID")


def read_line_details(path: Path) -> pd.DataFrame:
    """Read tissues from Cell_Lines_Details, whose headers hold line breaks, indexed by COSMIC id."""
    table = read_table(path, repeated=True)
    headers = {column: " ".join(str(column).split()) for column in table.columns}
    found = {column: _DETAIL_COLUMNS[name] for column, name in headers.items() if name in _DETAIL_COLUMNS}
    table = check_table(table[list(found)].rename(columns=found), str(path), columns=tuple(_DETAIL_COLUMNS.values()))
    table["cosmic_id"] = _ids(table["cosmic_id"])
    table = table[(table["cosmic_id"] != "") & table["tissue"].notna()]
    return table.drop_duplicates("cosmic_id").set_index("cosmic_id")


def line_details(responses: pd.DataFrame, details: pd.DataFrame | None) -> pd.DataFrame:
    """What the response table, and the table of lines if there is one, say of each line, by name."""
    renamed = {"COSMIC_ID": "cosmic_id", "SANGER_MODEL_ID": "sanger_model_id", "TCGA_DESC": "tcga_label"}
    lines = responses.drop_duplicates("CELL_LINE_NAME").set_index("CELL_LINE_NAME")[list(renamed)]
    lines = lines.rename(columns=renamed)
    if details is None:
        lines.insert(0, "tissue", lines["tcga_label"])
    else:
        lines = lines.join(details, on="cosmic_id")
    return lines


def structures_by_drug_id(drug_list: Path, smiles: Path) -> pd.DataFrame:
    """PubChem ids and SMILES by GDSC drug id, from the tables of DeepCDR."""
    listed = read_table(drug_list, columns=("drug_id", "PubCHEM"), text=True)
    listed = listed.drop_duplicates("drug_id").set_index("drug_id")["PubCHEM"]
    by_cid = read_table(smiles, names=("cid", "smiles"), text=True).drop_duplicates("cid")
    listed = listed[listed.str.fullmatch(r"\d+", na=False)]
    return pd.DataFrame({"pubchem_cid": listed, "smiles": listed.map(by_cid.set_index("cid")["smiles"])})


def compound_table(
    responses: pd.DataFrame, compounds: pd.DataFrame | None, structures: pd.DataFrame | None
) -> pd.DataFrame:
    """Targets, pathways, structures and the highest dose that was tested (µM, where responses tell), by drug name.

    A name may stand for several ids; the first id that knows a value gives it, and the highest dose is that of all.
    """
    screened = responses.drop_duplicates(["DRUG_NAME", "DRUG_ID"]).rename(
        columns={"PUTATIVE_TARGET": "targets", "PATHWAY_NAME": "pathway", "DRUG_NAME": "name"}
    )[["DRUG_ID", "name", "targets", "pathway"]]
    if compounds is not None:
        for column, source in (("targets", "TARGET"), ("pathway", "TARGET_PATHWAY")):
            screened[column] = screened[column].fillna(screened["DRUG_ID"].map(compounds[source]))
    if structures is not None:
        screened = screened.join(structures, on="DRUG_ID")
    drugs = screened.drop(columns="DRUG_ID").groupby("name", sort=True).first()
    if _HIGHEST_DOSE in responses:
        drugs["max_dose"] = responses.groupby("DRUG_NAME")[_HIGHEST_DOSE].max().reindex(drugs.index)
    return drugs
