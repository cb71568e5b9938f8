"""LINCS profiles from GCTX files: a large matrix in HDF5, with tables of instances, compounds and genes beside it."""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from .._validate import check_choice, check_key, examples
from ._content import WORDS
from ._local import require
from ._tables import as_numbers, first_line, read_table
from ._text import kind_of_file

if TYPE_CHECKING:
    import h5py
    from anndata import AnnData

_MATRIX, _ROWS, _COLUMNS = "0/DATA/0/matrix", "0/META/ROW/id", "0/META/COL/id"
#: Kinds of perturbation that are read: compounds, and the vehicle alone.
_COMPOUND, _VEHICLE = "trt_cp", "ctl_vehicle"
_TO_MICROMOLAR = {"um": 1.0, "µm": 1.0, "nm": 1e-3, "mm": 1e3, "pm": 1e-6}
_TO_HOURS = {"h": 1.0, "hr": 1.0, "m": 1 / 60, "min": 1 / 60, "d": 24.0}
_BLOCK = 2000


def read_gctx(
    path: Path, *, rows: Sequence[str] | None = None, columns: Sequence[str] | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Read a part of a GCTX file.

    Parameters
    ----------
    path
        File.
    rows
        Ids of genes, in the order wanted; all if omitted.
    columns
        Ids of profiles, in the order wanted; all if omitted.

    Returns
    -------
    Values (profiles × genes, float32), ids of profiles and ids of genes.

    Raises
    ------
    ValueError
        If the file is no GCTX.
    KeyError
        If an id is not in the file.
    """
    import h5py

    content = kind_of_file(path)
    if content != "HDF5":
        raise ValueError(f"{path} is not a GCTX file: it holds {WORDS[content]}.")
    try:
        with h5py.File(path, "r") as file:
            return _read_matrix(file, path, rows, columns)
    except (OSError, RuntimeError) as error:
        raise ValueError(f"{path} cannot be read; it may be truncated or damaged ({first_line(error)}).") from error


def _read_matrix(
    file: h5py.File, path: Path, rows: Sequence[str] | None, columns: Sequence[str] | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    import h5py

    lacking = [name for name in (_MATRIX, _ROWS, _COLUMNS) if name not in file]
    if lacking:
        raise ValueError(f"{path} is an HDF5 file, but no GCTX: it lacks {examples(lacking)}.")
    for name, n_axes in ((_MATRIX, 2), (_ROWS, 1), (_COLUMNS, 1)):
        if not isinstance(file[name], h5py.Dataset) or len(file[name].shape or ()) != n_axes:
            raise ValueError(f"{path}: {name!r} must be an array with {n_axes} axes.")
    genes, profiles = (_texts(file[name][()]) for name in (_ROWS, _COLUMNS))
    matrix = file[_MATRIX]
    if matrix.dtype.kind not in "fiu":
        raise ValueError(f"{path}: {_MATRIX!r} must hold numbers; its type is {matrix.dtype}.")
    for what, ids in (("genes", genes), ("profiles", profiles)):
        twice = pd.Index(ids)[pd.Index(ids).duplicated()]
        if len(twice):
            raise ValueError(f"{path} names {what} twice: {examples(twice)}.")
    if matrix.shape != (len(profiles), len(genes)):
        raise ValueError(
            f"{path} holds a matrix of shape {matrix.shape}, but {len(profiles)} profiles and {len(genes)} genes."
        )
    gene_at = _find(genes, rows, f"{path}: genes")
    profile_at = _find(profiles, columns, f"{path}: profiles")
    values = np.empty((len(profile_at), len(gene_at)), dtype=np.float32)
    order = np.argsort(profile_at, kind="stable")  # the disk is read in its own order
    for part in np.array_split(order, max(-(-len(order) // _BLOCK), 1)):
        if len(part):
            unique, back = np.unique(profile_at[part], return_inverse=True)
            values[part] = matrix[unique][back][:, gene_at]
    return values, profiles[profile_at], genes[gene_at]


def _texts(values: np.ndarray) -> np.ndarray:
    return np.array([v.decode("utf-8", "replace") if isinstance(v, bytes) else str(v) for v in values], dtype=object)


def _find(ids: np.ndarray, wanted: Sequence[str] | None, where: str) -> np.ndarray:
    if wanted is None:
        return np.arange(len(ids))
    found = pd.Index(ids).get_indexer(pd.Index([str(name) for name in wanted]))
    if (found < 0).any():
        lacking = [str(name) for name, position in zip(wanted, found) if position < 0]
        raise KeyError(
            f"{where}: {len(lacking)} ids are not in the file: {examples(lacking)}. It has {examples(ids, 3)}."
        )
    return found


def read_phase(folder: Path, *, genes: str = "landmarks", cell_lines: Sequence[str] | None = None) -> AnnData:
    """Read the compound profiles of a LINCS phase, and their vehicle controls; see :func:`scdrug.datasets.l1000`.

    Parameters
    ----------
    folder
        Folder with ``*.gctx`` and the tables ``*inst_info*``, ``*pert_info*`` and ``*gene_info*``.
    genes
        ``"landmarks"``, ``"inferred"`` or ``"all"``.
    cell_lines
        Lines to read; all if omitted.

    Raises
    ------
    FileNotFoundError
        If a file is missing.
    KeyError
        If a table lacks a column, or there is no such line.
    ValueError
        If there are no profiles of compounds.
    """
    from anndata import AnnData

    check_choice("genes", genes, ("landmarks", "inferred", "all"))
    matrix = require(folder, ["*.gctx"], what="a matrix of profiles")
    instances = _table(folder, "inst_info", ("inst_id", "cell_id", "pert_id", "pert_type", "pert_dose", "pert_time"))
    compounds = _table(folder, "pert_info", ("pert_id", "canonical_smiles"))
    info = _table(folder, "gene_info", ("pr_gene_id", "pr_gene_symbol", "pr_is_lm"))
    if genes == "landmarks":
        info = info[as_numbers(info, ["pr_is_lm"], "gene_info")["pr_is_lm"] == 1]
    elif genes == "inferred":
        check_key(info, "pr_is_bing", where="gene_info")
        info = info[as_numbers(info, ["pr_is_bing"], "gene_info")["pr_is_bing"] == 1]
    instances = instances[instances["pert_type"].isin([_COMPOUND, _VEHICLE])]
    if cell_lines is not None:
        known = set(instances["cell_id"])
        lacking = [line for line in cell_lines if line not in known]
        if lacking:
            raise KeyError(f"No profiles of the lines {examples(lacking)}. There are {examples(sorted(known), 8)}.")
        instances = instances[instances["cell_id"].isin(list(cell_lines))]
    obs = _describe(instances, compounds)
    if not (~obs["control"]).any():
        raise ValueError(f"{folder} has no profile of a compound with a known structure, dose and time.")
    values, _, _ = read_gctx(matrix, rows=info["pr_gene_id"].astype(str).tolist(), columns=list(obs.index))
    symbols = info["pr_gene_symbol"].astype(str).to_numpy(dtype=object)
    var = pd.DataFrame({"entrez_id": info["pr_gene_id"].astype(str).to_numpy(dtype=object)}, index=symbols)
    adata = AnnData(values, obs=obs, var=var)
    adata.var_names_make_unique()
    adata.uns["perturbation"] = {"dose_unit": "µM", "time_unit": "h"}
    return adata


def _table(folder: Path, what: str, columns: Sequence[str]) -> pd.DataFrame:
    path = require(folder, [f"*{what}*"], what=f"the table {what}")
    return read_table(path, columns=columns, text=True, ids=columns[:1], missing=False)


def _describe(instances: pd.DataFrame, compounds: pd.DataFrame) -> pd.DataFrame:
    """Conditions of the profiles in µM and hours; compounds without structure, dose or time are left out."""
    plate = "rna_plate" if "rna_plate" in instances else "det_plate"
    check_key(instances, plate, where="inst_info", hint="The plate tells which controls belong to a profile.")
    structures = dict(zip(compounds["pert_id"], compounds["canonical_smiles"]))
    units = instances.get("pert_dose_unit", pd.Series("um", index=instances.index))
    times = instances.get("pert_time_unit", pd.Series("h", index=instances.index))
    control = (instances["pert_type"] == _VEHICLE).to_numpy()
    smiles = instances["pert_id"].map(structures).fillna("").replace({"-666": "", "restricted": ""})
    obs = pd.DataFrame(
        {
            "cell_line": instances["cell_id"].to_numpy(dtype=object),
            "drug": instances.get("pert_iname", instances["pert_id"]).to_numpy(dtype=object),
            "smiles": np.where(control, "", smiles.to_numpy(dtype=object)).astype(object),
            "dose": np.where(control, 0.0, _numbers(instances["pert_dose"], units, _TO_MICROMOLAR)),
            "time": _numbers(instances["pert_time"], times, _TO_HOURS),
            "plate": instances[plate].to_numpy(dtype=object),
            "control": control,
        },
        index=pd.Index(instances["inst_id"].to_numpy(dtype=object)),
    )
    good = control | ((obs["smiles"] != "") & (obs["dose"] >= 0) & (obs["time"] >= 0)).to_numpy()
    if not good.all():
        warnings.warn(
            f"{int((~good).sum())} of {int((~control).sum())} treated profiles are left out: their structure, molar dose or "
            "time is not known.",
            stacklevel=4,
        )
    return obs[good]


def _numbers(values: pd.Series, units: pd.Series, factors: dict[str, float]) -> np.ndarray:
    """Numbers in the wanted unit; NaN where the number or its unit is not known (LINCS writes −666)."""
    first = values.astype(str).str.extract(r"^\s*([\d.]+(?:[eE][-+]?\d+)?)", expand=False)
    simple = units.astype(str).map(lambda text: re.sub(r"[^a-zµ]", "", text.lower().replace("μ", "µ")))
    return pd.to_numeric(first, errors="coerce").to_numpy(dtype=float) * simple.map(factors).to_numpy(dtype=float)
