"""The tables of MTIGCN: GDSC with labels, thresholds and fingerprints, and labels of patients and xenografts."""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from .._arguments import checked
from .._constants import KEYS
from .._validate import examples
from ._gdsc import _lines_of_tables
from ._gdsc_formats import read_rma
from ._local import card, existing, find, obtain, require
from ._mtigcn_names import NAMES
from ._tables import read_table

if TYPE_CHECKING:
    from anndata import AnnData

_FILES = ("cell_drug.csv", "threshold.csv", "drug_feature.csv")
_RMA = ("Cell_line_RMA_proc_basalExp.txt.zip", "Cell_line_RMA_proc_basalExp.txt*", "*RMA*.txt*")


@checked
def mtigcn(
    *,
    path: str | os.PathLike[str] | None = None,
    gdsc_path: str | os.PathLike[str] | None = None,
) -> AnnData:
    """GDSC as MTIGCN was tested on it: 962 lines × 228 drugs, of which those with expression are returned.

    Parameters
    ----------
    path
        Folder with the tables ``cell_drug``, ``threshold`` and ``drug_feature`` (``.csv`` or ``.csv.gz``), or with a folder
        ``GDSC`` that holds them. Fetched by default.
    gdsc_path
        Folder with expression in either layout of :func:`scdrug.datasets.gdsc`; by default a folder ``gdsc`` beside `path`,
        or the official RMA file, which is fetched. Lines are joined by COSMIC id.

    Returns
    -------
    The reference of :func:`scdrug.pp.build_reference`, with ``obs['cosmic_id']``, labels in ``obsm['response_binary']``
    (1 sensitive), and two more columns of ``uns['drugs']``: ``threshold`` (ln IC50 below which a line is sensitive) and
    ``fingerprint`` (920 bits of PubChem, as a string of 0 and 1).

    Raises
    ------
    FileNotFoundError
        If a folder lacks a table.
    ValueError
        If thresholds or fingerprints do not join the responses, or no line has expression.
    RuntimeError
        If a file is neither cached nor to be had.

    Notes
    -----
    The table of thresholds lists drugs in another order than the responses; they are joined by PubChem CID. Names and
    structures of the drugs come from the tables of GDSC and DeepCDR by CID, as far as these are there, and of 35 drugs by a
    list of our own, which was made by comparing responses with GDSC1 (r above 0.93).

    Source: Liu et al. 2024, on GDSC (Iorio et al. 2016, doi:10.1016/j.cell.2016.06.017).

    Examples
    --------
    >>> import scdrug
    >>> reference = scdrug.datasets.mtigcn()  # doctest: +SKIP
    """
    from ..pp._line_names import warn_lost
    from ..pp._reference import build_reference
    from ..pp._response import binarize_response

    folder = _tables_folder(obtain("mtigcn", _FILES, path))
    files = {name: require(folder, [f"{name}*", f"{name}.gz"], what=f"the table {name}") for name in _FILES}
    response, thresholds, bits = (
        read_table(files[name], index=True, numbers=True).rename(index=str, columns=str) for name in _FILES
    )
    _check_joined(response, thresholds, bits)
    home = _expression_folder(path, gdsc_path)
    expression, lines, scale = _expression(home)
    drugs = _drug_names(list(response.columns), home, path)
    expression = expression[expression.index.isin(response.index)]
    if expression.empty:
        raise ValueError(
            f"No line has both response and expression: COSMIC ids of responses are like {examples(response.index, 3)}."
        )
    warn_lost(list(response.index), list(expression.index), what="lines with response (COSMIC ids)")
    response = response.loc[expression.index]
    names = lines["name"].reindex(response.index).fillna(pd.Series(response.index, index=response.index))
    adata = build_reference(
        expression.set_axis(pd.Index(names), axis=0),
        response.set_axis(pd.Index(names), axis=0).set_axis(pd.Index(drugs["name"]), axis=1),
        drugs=drugs.reset_index(names="pubchem_cid").set_index("name"),
        lines=lines.reindex(response.index).assign(cosmic_id=response.index).set_index("name"),
        expression_scale=scale,
    )
    table = adata.uns[KEYS.DRUGS]
    # in double precision, so that a response at its threshold falls on the published side
    adata.obsm[KEYS.RESPONSE] = _doubles(response, names, table, adata)
    table["threshold"] = thresholds.iloc[:, 0].reindex(table["pubchem_cid"]).to_numpy(dtype=float)
    joined = bits.astype(str).agg("".join, axis=1)
    table["fingerprint"] = joined.reindex(table["pubchem_cid"]).to_numpy(dtype=object)
    binarize_response(adata, method="threshold", threshold=table["threshold"])
    adata.uns[KEYS.DATASET] = card("mtigcn", files.values())
    return adata


@checked
def mtigcn_patients(
    response: str | os.PathLike[str] | pd.DataFrame,
    unknown: str | os.PathLike[str] | pd.DataFrame,
    expression: str | os.PathLike[str] | pd.DataFrame,
    *,
    reference: AnnData | None = None,
) -> AnnData:
    """Labels and expression of patients or xenografts, in the form in which MTIGCN's authors keep TCGA and PDX.

    Parameters
    ----------
    response
        Table (or CSV file) samples × PubChem CIDs, 1 for a response (complete or partial), 0 for none.
    unknown
        Table of the same form, 1 where the label is not known and the 0 in `response` means nothing.
    expression
        Table (CSV or Parquet file) samples × genes, log scale. NaN marks genes that were not measured.
    reference
        Reference whose ids the drugs get, by CID; drugs that it lacks are dropped. CIDs are kept if omitted.

    Returns
    -------
    Samples × genes with labels in ``obsm['response_binary']`` (1, 0, NaN), samples in the order of `response`. Genes that are
    missing in some samples are left out.

    Raises
    ------
    ValueError
        If tables do not join, hold other values than 0 and 1, or no gene was measured in all samples.

    Notes
    -----
    The authors subset expression to common genes without bringing them into one order. Here genes are matched by name
    whenever a model predicts, and each cohort is placed on the scale of the lines on its own
    (:func:`scdrug.tl.predict_response`).

    Examples
    --------
    >>> import pandas as pd
    >>> import scdrug
    >>> labels = pd.DataFrame({"1401": [1, 0]}, index=["a", "b"])
    >>> unknown = pd.DataFrame({"1401": [0, 1]}, index=["a", "b"])
    >>> expression = pd.DataFrame({"TP53": [5.0, 6.0]}, index=["b", "a"])
    >>> scdrug.datasets.mtigcn_patients(labels, unknown, expression).obsm["response_binary"]["1401"].tolist()
    [1.0, nan]
    """
    from anndata import AnnData as New

    from ..pp._line_names import warn_lost

    labels, mask, values = (_read(table) for table in (response, unknown, expression))
    for name, table in (("response", labels), ("unknown", mask)):
        found = np.unique(table.to_numpy(dtype=float))
        if not np.isin(found, (0.0, 1.0)).all():
            raise ValueError(f"`{name}` must hold 0 and 1 only; found values such as {examples(found, 3)}.")
    if set(labels.index) != set(mask.index) or set(labels.columns) != set(mask.columns):
        odd = labels.index.symmetric_difference(mask.index).union(labels.columns.symmetric_difference(mask.columns))
        raise ValueError(
            f"`response` and `unknown` must name the same samples and drugs; they differ in {examples(odd)}."
        )
    labels = labels.astype(float).mask(mask.reindex_like(labels).astype(bool))
    common = labels.index[labels.index.isin(values.index)]
    if not len(common):
        raise ValueError(
            f"No sample has both label and expression: they are called {examples(labels.index, 3)} and "
            f"{examples(values.index, 3)}."
        )
    warn_lost(list(labels.index), list(values.index), what="samples with labels")
    labels, values = labels.loc[common], values.loc[common].select_dtypes("number")
    values = values.loc[:, values.notna().all(axis=0)]
    if not values.shape[1]:
        raise ValueError("No gene was measured in all samples. Load each cohort or tumour type on its own.")
    if reference is not None:
        labels = _drugs_of_reference(labels, reference)
    adata = New(
        values.to_numpy(dtype=np.float32), obs=pd.DataFrame(index=common), var=pd.DataFrame(index=values.columns)
    )
    adata.obsm["response_binary"] = labels
    return adata


def _drugs_of_reference(labels: pd.DataFrame, reference: AnnData) -> pd.DataFrame:
    table = reference.uns[KEYS.DRUGS]
    ids = pd.Series(table.index, index=table["pubchem_cid"].astype(str))
    ids = ids[~ids.index.duplicated()]
    known = labels.columns[labels.columns.isin(ids.index)]
    if not len(known):
        raise ValueError(
            f"No drug of `response` ({examples(labels.columns, 3)}) is among the CIDs of the reference "
            f"({examples(ids.index, 3)})."
        )
    lost = [str(name) for name in labels.columns if name not in ids.index]
    if lost:
        warnings.warn(
            f"{len(lost)} drugs are not among the CIDs of the reference and were left out: {examples(lost)}.",
            stacklevel=3,
        )
    return labels[known].set_axis(pd.Index(ids[known].to_numpy()), axis=1)


def _read(table: str | os.PathLike[str] | pd.DataFrame) -> pd.DataFrame:
    if not isinstance(table, pd.DataFrame):
        table = read_table(existing(table), index=True)
    if table.index.has_duplicates:
        raise ValueError(f"Samples must be named once; found twice: {examples(table.index[table.index.duplicated()])}.")
    return table.rename(index=str, columns=str)


def _tables_folder(folder: Path) -> Path:
    return folder / "GDSC" if (folder / "GDSC").is_dir() else folder


def _check_joined(response: pd.DataFrame, thresholds: pd.DataFrame, bits: pd.DataFrame) -> None:
    for what, table in (("thresholds", thresholds), ("fingerprints", bits)):
        lacking = response.columns.difference(table.index)
        if len(lacking):
            raise ValueError(
                f"The {what} do not join the responses by PubChem CID: {len(lacking)} drugs have none, such as "
                f"{examples(lacking)}; theirs are like {examples(table.index, 3)}."
            )


def _expression_folder(path: str | os.PathLike[str] | None, gdsc_path: str | os.PathLike[str] | None) -> Path:
    if gdsc_path is None and path is not None:
        beside = existing(path).parent / "gdsc"
        gdsc_path = beside if beside.is_dir() else None
    return obtain("gdsc", [_RMA[0]], gdsc_path)


def _expression(folder: Path) -> tuple[pd.DataFrame, pd.DataFrame, str]:
    """Expression by COSMIC id, annotation of lines by COSMIC id (with ``name``), and the scale."""
    table = find(folder, ["expression.parquet"])
    if table is None:
        expression = read_rma(require(folder, _RMA, what="RMA expression")).rename(index=str)
        return expression, pd.DataFrame({"name": expression.index}, index=expression.index), "log"
    annotation = _lines_of_tables(require(folder, ["cell_lines.csv"], what="the table of lines"))
    assert annotation is not None
    annotation = annotation.dropna(subset=["cosmic_id"]).drop_duplicates("cosmic_id").set_index("cosmic_id")
    annotation = annotation.rename(columns={"cell_line": "name"})
    expression = read_table(table, columns=("cell_line",), ids=("cell_line",)).set_index("cell_line")
    cosmic = pd.Series(annotation.index, index=annotation["name"]).reindex(expression.index)
    known = cosmic.notna().to_numpy()
    return expression[known].set_axis(pd.Index(cosmic[known].to_numpy()), axis=0), annotation, "scaled"


def _drug_names(cids: list[str], home: Path, path: str | os.PathLike[str] | None) -> pd.DataFrame:
    """Name and SMILES of each drug, by CID; the CID itself where no name is known."""
    deepcdr = home.parent / "deepcdr"
    if path is None:
        deepcdr = obtain("deepcdr", ["drug_list.csv", "223drugs_pubchem_smiles.txt"], None)
    lists = [find(folder, ["drug_list.csv"]) for folder in (home, deepcdr) if folder.is_dir()]
    names: dict[str, str] = dict(NAMES)
    for file in filter(None, lists):
        table = (
            read_table(file, columns=("Name", "PubCHEM"), text=True)[["Name", "PubCHEM"]]
            .dropna()
            .drop_duplicates("PubCHEM")
        )
        names |= dict(zip(table["PubCHEM"], table["Name"], strict=True))
    smiles: dict[str, str] = {}
    by_name = find(home, ["drug_smiles.csv"])
    if by_name is not None:
        known = read_table(by_name, columns=("drug", "smiles"), text=True).dropna().set_index("drug")["smiles"]
        smiles = {cid: known[name] for cid, name in names.items() if name in known.index}
    by_cid = find(deepcdr, ["223drugs_pubchem_smiles.txt"]) if deepcdr.is_dir() else None
    if by_cid is not None:
        table = read_table(by_cid, names=("cid", "smiles"), text=True).dropna()
        smiles |= dict(zip(table["cid"], table["smiles"], strict=True))
    drugs = pd.DataFrame({"name": [names.get(cid, cid) for cid in cids]}, index=cids)
    # a name that two CIDs share says nothing
    drugs["name"] = drugs["name"].where(~drugs["name"].duplicated(keep=False), drugs.index.to_series())
    drugs["smiles"] = [smiles.get(cid, "") for cid in cids]
    return drugs


def _doubles(response: pd.DataFrame, names: pd.Series, table: pd.DataFrame, adata: AnnData) -> pd.DataFrame:
    cids = table["pubchem_cid"].tolist()
    values = response.set_axis(pd.Index(names), axis=0)[cids]
    return values.loc[adata.obs_names].set_axis(table.index, axis=1).astype(float)
