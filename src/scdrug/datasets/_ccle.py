"""CCLE: RNA-seq of cancer cell lines."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from .._arguments import checked
from .._constants import KEYS
from ._local import card, find, obtain, require
from ._tables import as_numbers, read_table

if TYPE_CHECKING:
    from anndata import AnnData

_EXPRESSION = "OmicsExpressionProteinCodingGenesTPMLogp1.csv"
_LINE_COLUMNS = {
    "StrippedCellLineName": "cell_line",
    "OncotreeLineage": "tissue",
    "OncotreePrimaryDisease": "disease",
    "COSMICID": "cosmic_id",
    "SangerModelID": "sanger_model_id",
}


@checked
def ccle(*, path: str | os.PathLike[str] | None = None) -> AnnData:
    """Expression of the cancer cell lines of CCLE and DepMap, by RNA-seq.

    There is no drug response in it: give the result, with lines named as in the screen, to
    :func:`scdrug.pp.build_reference` together with a response table.

    Parameters
    ----------
    path
        Folder to read instead of the cache, in either of two layouts:

        - official: ``OmicsExpressionProteinCodingGenesTPMLogp1.csv`` and optionally ``Model.csv`` of a DepMap release;
        - tables: ``ccle_expression_log2tpm.parquet`` and optionally ``ccle_copy_number.parquet``, with the column
          ``depmap_id``.

    Returns
    -------
    Lines × genes, indexed by DepMap id (``ACH-…``) and HGNC symbol:

    ``X``
        log2(TPM + 1), float32.
    ``obs``
        ``cell_line``, ``tissue``, ``disease``, ``cosmic_id`` and ``sanger_model_id`` in the official layout.
    ``var``
        ``entrez_id`` in the official layout.
    ``layers['copy_number']``
        Relative copy number, where the folder has it.
    ``uns['expression']``, ``uns['dataset']``
        Scale, and the card of the data set.

    Raises
    ------
    FileNotFoundError
        If `path` lacks the expression table.
    RuntimeError
        If a file is neither cached nor to be had.

    Notes
    -----
    CC BY 4.0. Source: DepMap Public 24Q4 (doi:10.25452/figshare.plus.27993248), Ghandi et al. 2019
    (doi:10.1038/s41586-019-1186-3).

    Examples
    --------
    >>> import scdrug
    >>> lines = scdrug.datasets.ccle()  # doctest: +SKIP
    """
    folder = obtain("ccle", [_EXPRESSION, "Model.csv"], path)
    tables = find(folder, ["ccle_expression*.parquet"])
    if tables is not None:
        copy_number = find(folder, ["ccle_copy_number.parquet"])
        adata = _from_tables(tables, copy_number)
        files = [tables, copy_number]
    else:
        expression = require(folder, [_EXPRESSION, "*Expression*TPMLogp1*.csv"], what="the expression table")
        models = find(folder, ["Model.csv"])
        adata = _from_official(expression, models)
        files = [expression, models]
    adata.uns[KEYS.EXPRESSION] = {"scale": "log"}
    adata.uns[KEYS.DATASET] = card("ccle", [file for file in files if file is not None])
    return adata


def _from_tables(expression: Path, copy_number: Path | None) -> AnnData:
    from anndata import AnnData

    table = _by_line(expression)
    adata = AnnData(
        X=table.to_numpy(dtype=np.float32),
        obs=pd.DataFrame(index=pd.Index(table.index.astype(str), name=None)),
        var=pd.DataFrame(index=table.columns.astype(str)),
    )
    if copy_number is not None:
        copies = _by_line(copy_number)
        copies = copies.reindex(index=adata.obs_names, columns=adata.var_names)
        adata.layers["copy_number"] = copies.to_numpy(dtype=np.float32)
    return adata


def _by_line(path: Path) -> pd.DataFrame:
    table = read_table(path, columns=("depmap_id",), ids=("depmap_id",)).set_index("depmap_id")
    return as_numbers(table, set(table.columns), str(path))


def _from_official(expression: Path, models: Path | None) -> AnnData:
    from anndata import AnnData

    table = read_table(expression, repeated=True)
    # Releases differ: the id stands in the first column without a name, or in one called ModelID among others.
    ids = table["ModelID"] if "ModelID" in table.columns else table.iloc[:, 0]
    if "IsDefaultEntryForModel" in table.columns:
        default = table["IsDefaultEntryForModel"].astype(str).str.lower().isin(["yes", "true", "1"])
        table, ids = table[default.to_numpy()], ids[default.to_numpy()]
    genes = pd.Series(table.columns, dtype=str).str.extract(r"^(?P<symbol>.+) \((?P<entrez>\d+)\)$")
    is_gene = genes["symbol"].notna().to_numpy()
    if not is_gene.any():
        raise ValueError(f"{expression} has no column such as 'TSPAN6 (7105)', symbol and Entrez id of a gene.")
    genes, values = genes[is_gene].reset_index(drop=True), table.loc[:, is_gene]
    values = as_numbers(values, set(values.columns), str(expression)).to_numpy(dtype=np.float32)
    first = (~genes["symbol"].duplicated()).to_numpy()
    var = pd.DataFrame({"entrez_id": genes["entrez"][first].to_numpy(dtype=object)}, index=genes["symbol"][first])
    adata = AnnData(
        X=np.ascontiguousarray(values[:, first]),
        obs=pd.DataFrame(index=pd.Index(ids.astype(str).to_numpy(), dtype=object)),
        var=var.rename_axis(None),
    )
    if models is not None:
        known = read_table(models, columns=("ModelID",), text=True, ids=("ModelID",)).set_index("ModelID")
        known = known[[column for column in _LINE_COLUMNS if column in known.columns]].rename(columns=_LINE_COLUMNS)
        known = known.reindex(adata.obs_names).fillna("")
        for column in known.columns:
            adata.obs[column] = known[column].str.removesuffix(".0").to_numpy(dtype=object)
    return adata
