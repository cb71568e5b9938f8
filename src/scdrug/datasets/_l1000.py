"""L1000: expression of landmark genes before and after treatment with compounds."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd

from .._arguments import checked
from .._constants import KEYS
from .._validate import check_choice, check_key
from ._gctx import read_phase
from ._local import card, existing, obtain, require
from ._tables import as_numbers, check_table, read_h5ad, read_table

if TYPE_CHECKING:
    from anndata import AnnData

_FILES = {
    "ht115": ("l1000_ht115", "demo.h5ad", ["demo.h5ad", "*ht115*.h5ad"]),
    "pairs": ("l1000_transigen", "transigen_pairs100.parquet", ["transigen_pairs*.parquet"]),
    "basal": ("l1000_transigen", "transigen_basal_level3_165cells.parquet", ["transigen_basal*.parquet"]),
}


#: Accessions of the two phases.
_PHASES = {"phase1": "GSE92742", "phase2": "GSE70138"}


@checked
def l1000(
    part: Literal["ht115", "pairs", "basal", "phase1", "phase2"] = "ht115",
    *,
    path: str | os.PathLike[str] | None = None,
    genes: Literal["landmarks", "inferred", "all"] = "landmarks",
    cell_lines: Sequence[str] | None = None,
) -> AnnData:
    """L1000: whole phases from files of the user, and small pieces; all on the log2 scale of its level 3.

    Parameters
    ----------
    part
        - ``"ht115"``: 661 treated and 20 DMSO profiles of the line HT115, 354 compounds at several doses, 6 h.
        - ``"pairs"``: 100 treated profiles of 43 cells, each with its control, 14 compounds, doses unknown.
        - ``"basal"``: untreated profiles of 165 cells.
        - ``"phase1"``, ``"phase2"``: profiles treated with compounds, and vehicle controls, of GSE92742 or GSE70138.
    path
        The file, or the folder that holds it, instead of the cache: ``demo.h5ad`` (or ``*ht115*.h5ad``),
        ``transigen_pairs100.parquet``, ``transigen_basal_level3_165cells.parquet``. The last two cannot be fetched by
        a program. For a phase: the folder that holds its level 3 matrix (``*.gctx``) and the tables ``*inst_info*``,
        ``*pert_info*`` and ``*gene_info*``, as GEO distributes them.
    genes
        For a phase: the 978 landmark genes, those and the well inferred ones (10,174), or all 12,328.
    cell_lines
        For a phase: the lines to read; all if omitted. Only their profiles are read from the disk.

    Returns
    -------
    Profiles × genes (symbols):

    ``X``
        Expression, float32; after treatment for ``"pairs"``.
    ``layers['control']``
        Expression of the matching control, for ``"pairs"``.
    ``obs``
        ``cell_line``; ``drug``, ``smiles``, ``dose`` (µM), ``time`` (h), ``plate`` and ``control`` (True for DMSO) for
        ``"ht115"`` and the phases; ``smiles`` for ``"pairs"``.
    ``uns['perturbation']``
        Units of dose and time.
    ``uns['expression']``, ``uns['dataset']``
        Scale, and the card of the data set.

    Raises
    ------
    ValueError
        If `part` is unknown.
    FileNotFoundError
        If `path` lacks the file.
    RuntimeError
        If the file is neither cached nor to be had.

    Notes
    -----
    Compare a treated HT115 profile with DMSO of its own plate (``obs['plate']``): the control that the authors name for
    it (``obs['paired_control_index']``) is on another plate for half of the profiles. Symbols differ between releases of
    L1000: map genes by Entrez id when joining parts.

    Source: Subramanian et al. 2017 (doi:10.1016/j.cell.2017.10.049).

    Examples
    --------
    >>> import scdrug
    >>> profiles = scdrug.datasets.l1000("ht115")  # doctest: +SKIP
    """
    check_choice("part", part, (*_FILES, *_PHASES))
    if part in _PHASES:
        if path is None:
            raise FileNotFoundError(
                f"{part} is too large to be fetched here. Download the level 3 matrix and the tables inst_info, pert_info and "
                f"gene_info of {_PHASES[part]} from GEO into one folder, and pass it as `path`."
            )
        adata = read_phase(existing(path), genes=genes, cell_lines=cell_lines)
        adata.uns[KEYS.EXPRESSION] = {"scale": "log"}
        adata.uns[KEYS.DATASET] = {"name": f"L1000 {_PHASES[part]}", "citation": "doi:10.1016/j.cell.2017.10.049"}
        return adata
    dataset, file, patterns = _FILES[part]
    found = require(obtain(dataset, [file], path), [file, *patterns], what=f"the part {part!r} of L1000")
    adata = {"ht115": _read_ht115, "pairs": _read_pairs, "basal": _read_basal}[part](found)
    adata.uns[KEYS.EXPRESSION] = {"scale": "log"}
    adata.uns[KEYS.DATASET] = card(dataset, [found])
    if part == "ht115":
        adata.uns["perturbation"] = {"dose_unit": "µM", "time_unit": "h"}
    return adata


def _read_ht115(path: Path) -> AnnData:
    import anndata

    raw = read_h5ad(path)
    for column in ("cell_id", "pert_iname", "canonical_smiles", "dose", "pert_time", "rna_plate", "control"):
        check_key(raw.obs, column, where=f"{path}: obs")
    obs = pd.DataFrame(index=raw.obs_names.astype(str).rename(None))
    names = {"cell_id": "cell_line", "pert_iname": "drug", "canonical_smiles": "smiles", "rna_plate": "plate"}
    for column, name in names.items():
        obs[name] = raw.obs[column].astype(str).to_numpy(dtype=object)
    obs["dose"] = raw.obs["dose"].to_numpy(dtype=np.float64)
    obs["time"] = raw.obs["pert_time"].to_numpy(dtype=np.float64)
    obs["control"] = raw.obs["control"].to_numpy() == 1
    if "paired_control_index" in raw.obs:
        obs["paired_control_index"] = raw.obs["paired_control_index"].astype(str).to_numpy(dtype=object)
    var = pd.DataFrame(index=raw.var_names.astype(str).rename(None))
    return anndata.AnnData(X=np.asarray(raw.X, dtype=np.float32), obs=obs, var=var)


def _read_pairs(path: Path) -> AnnData:
    from anndata import AnnData

    table = read_table(path, columns=("cell", "smiles"))
    genes = [column.removeprefix("x1:") for column in table.columns if column.startswith("x1:")]
    table = check_table(
        table,
        str(path),
        columns=[f"x2:{gene}" for gene in genes],
        numbers=[column for column in table.columns if column.startswith(("x1:", "x2:"))],
    )
    obs = pd.DataFrame(
        {"cell_line": table["cell"].to_numpy(dtype=object), "smiles": table["smiles"].to_numpy(dtype=object)},
        index=[f"pair-{position}" for position in range(len(table))],
    )
    treated = table[[f"x2:{gene}" for gene in genes]].to_numpy(dtype=np.float32)
    adata = AnnData(X=treated, obs=obs, var=pd.DataFrame(index=genes))
    adata.layers["control"] = table[[f"x1:{gene}" for gene in genes]].to_numpy(dtype=np.float32)
    return adata


def _read_basal(path: Path) -> AnnData:
    from anndata import AnnData

    table = read_table(path, columns=("cell",))
    values = as_numbers(table.drop(columns="cell"), set(table.columns), str(path))
    names = table["cell"].astype(str).to_numpy(dtype=object)
    obs = pd.DataFrame({"cell_line": names}, index=names)
    return AnnData(X=values.to_numpy(dtype=np.float32), obs=obs, var=pd.DataFrame(index=values.columns.astype(str)))
