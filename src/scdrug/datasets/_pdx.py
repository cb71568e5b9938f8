"""Patient-derived xenografts: tumours grown in mice and treated there."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd

from .._arguments import checked
from .._constants import KEYS
from .._former import formerly
from .._validate import check_choice, examples
from ._local import card, find, obtain, require
from ._tables import read_table

if TYPE_CHECKING:
    from anndata import AnnData

_WORKBOOK = "41591_2015_BFnm3954_MOESM10_ESM.xlsx"
_UNITS = {
    "BestAvgResponse": "% change of tumour volume",
    "BestResponse": "% change of tumour volume",
}
#: Columns of the responses that are read.
_COLUMNS = ("Model", "Treatment", "Treatment type", "Treatment target", *_UNITS)


@checked
@formerly(tumor_type="tumour_type")
def pdx(
    *,
    measure: Literal["BestAvgResponse", "BestResponse"] = "BestAvgResponse",
    treatments: Literal["single", "all"] = "single",
    tumour_type: str | None = None,
    path: str | os.PathLike[str] | None = None,
) -> AnnData:
    """Patient-derived xenografts: expression of the tumours, and their growth under treatment.

    Parameters
    ----------
    measure
        Change of the tumour's volume in per cent, best running average (``"BestAvgResponse"``) or best single value.
        Lower means more sensitive.
    treatments
        Drugs given alone (``"single"``), or combinations too (``"all"``). Untreated controls are left out.
    tumour_type
        Only models of this type, such as ``"BRCA"``.
    path
        The workbook of the publication (sheets *RNAseq_fpkm*, *PCT curve metrics*, *PCT raw data*), or a folder with
        it or with ``pdx_response.csv`` and ``pdx_expression.parquet``. Fetched by default.

    Returns
    -------
    The reference of :func:`scdrug.pp.build_reference`, models × genes, with log2(FPKM + 1) as expression,
    ``obs['tissue']`` (the tumour type) and the card of the data set in ``uns['dataset']``. Only genes that were
    measured in every kept model are in it.

    Raises
    ------
    ValueError
        If an argument has another value than those named, or no gene was measured in all models.
    FileNotFoundError
        If `path` lacks a file.
    RuntimeError
        If the workbook is neither cached nor to be had.

    Notes
    -----
    The layout with tables holds 1,825 genes that were chosen by supervised screening on these very responses, most of
    them for some tumour types only: choose a `tumour_type`, and use it for demonstration, never for evaluation.

    Source: Gao et al. 2015 (doi:10.1038/nm.3954).

    Examples
    --------
    >>> import scdrug
    >>> tumours = scdrug.datasets.pdx(tumour_type="BRCA")  # doctest: +SKIP
    """
    from ..pp._reference import build_reference

    check_choice("measure", measure, tuple(_UNITS))
    check_choice("treatments", treatments, ("single", "all"))
    folder = obtain("pdx", [_WORKBOOK], path)
    expression, responses, types, files = _read(folder)
    if tumour_type is not None:
        check_choice("tumour_type", tumour_type, sorted(types.unique()))
        chosen = types.index[types == tumour_type]
        expression, responses = expression[expression.index.isin(chosen)], responses[responses["Model"].isin(chosen)]
    expression = _complete_genes(expression, tumour_type, sorted(types.unique()))
    responses = responses[responses["Treatment"] != "untreated"]
    if treatments == "single":
        responses = responses[responses["Treatment type"] == "single"]
    drugs = responses.drop_duplicates("Treatment").set_index("Treatment")[["Treatment target"]]
    drugs = drugs.rename(columns={"Treatment target": "targets"}).join(_structures(folder))
    adata = build_reference(
        np.log2(expression + 1),
        responses,
        drugs=drugs,
        lines=types.rename("tissue").to_frame(),
        measure=measure,
        unit=_UNITS[measure],
        line_column="Model",
        drug_column="Treatment",
        value_column=measure,
    )
    adata.uns[KEYS.DATASET] = card("pdx", files)
    return adata


def _read(folder: Path) -> tuple[pd.DataFrame, pd.DataFrame, pd.Series, list[Path]]:
    """Return expression (models, genes) in FPKM, responses, the tumour type of each model, and the files read."""
    table = find(folder, ["pdx_response.csv"])
    if table is not None:
        expression_file = require(folder, ["pdx_expression.parquet"], what="expression")
        expression = read_table(expression_file, columns=("Model", "TumorType"), ids=("Model",))
        expression = expression.set_index("Model").drop(columns="TumorType")
        responses = read_table(
            table, columns=(*_COLUMNS, "TumorType"), numbers=tuple(_UNITS), ids=("Model", "Treatment")
        )
        types = responses.drop_duplicates("Model").set_index("Model")["TumorType"]
        files = [expression_file, table]
    else:
        workbook = require(folder, [_WORKBOOK, "*MOESM10*.xlsx", "*.xlsx"], what="the workbook")
        expression = read_table(workbook, sheet="RNAseq_fpkm", index=True, numbers=True).T
        expression = expression.loc[:, ~expression.columns.duplicated()].rename_axis(index=None, columns=None)
        responses = read_table(
            workbook, sheet="PCT curve metrics", columns=_COLUMNS, numbers=tuple(_UNITS), ids=("Model", "Treatment")
        )
        types = read_table(workbook, sheet="PCT raw data", columns=("Model", "Tumor Type"))
        types = types.drop_duplicates("Model").set_index("Model")["Tumor Type"]
        files = [workbook]
    # One treatment stands in the publication with a stray quotation mark.
    responses = responses.assign(Treatment=responses["Treatment"].str.replace('"', "").str.strip())
    return expression, responses, types, files


def _complete_genes(expression: pd.DataFrame, tumour_type: str | None, types: list[str]) -> pd.DataFrame:
    complete = expression.loc[:, expression.notna().all(axis=0)]
    if complete.shape[1] == 0:
        advice = f"Choose a `tumour_type`: {examples(types, 9)}." if tumour_type is None else "Choose another one."
        raise ValueError(f"No gene was measured in all {len(expression)} models. {advice}")
    return complete


def _structures(folder: Path) -> pd.DataFrame:
    """SMILES by treatment, where the folder has them."""
    path = find(folder, ["pdx_single_agent_with_smiles.csv"])
    if path is None:
        return pd.DataFrame(columns=["smiles"], dtype=object)
    table = read_table(path, columns=("Treatment", "smiles"), text=True)[["Treatment", "smiles"]].dropna()
    table["Treatment"] = table["Treatment"].str.replace('"', "").str.strip()
    return table.drop_duplicates("Treatment").set_index("Treatment")
