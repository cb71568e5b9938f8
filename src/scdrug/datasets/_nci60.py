"""NCI-60: a screen of sixty lines by another institute, to judge with."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from .._arguments import checked
from .._constants import KEYS
from ._local import card, obtain, require
from ._tables import as_numbers, read_table

if TYPE_CHECKING:
    from anndata import AnnData

_FILE = "drug_activity_zscore_for_1075drugs.csv"
#: What the panels of the screen stand for; a column of the table is a panel and a line, as ``BR:MCF7``.
_PANELS = {
    "BR": "breast", "CNS": "nervous_system", "CO": "large_intestine", "LC": "lung", "LE": "blood", "ME": "skin", "OV": "ovary",
    "PR": "prostate", "RE": "kidney",
}  # fmt: skip
_LINE = re.compile(rf"({'|'.join(_PANELS)}):(.+)")
#: What the screen writes after two names: who sent the line, and the initials of who made a subline.
_SUFFIX = re.compile(r"/ATCC$|\(TB\)$")


@checked
def nci60(*, path: str | os.PathLike[str] | None = None) -> AnnData:
    """NCI-60: activity of 1,075 compounds in sixty cancer lines, without expression, for testing what other screens teach.

    Parameters
    ----------
    path
        The table, as CSV or Parquet, or the folder that holds it, instead of the cache.

    Returns
    -------
    60 lines × 0 genes, as :func:`scdrug.benchmark.score_screens` takes a second screen:

    ``obsm['response']``
        Activity z with its sign turned, so that lower means more sensitive as in every reference (lines × compounds, NaN
        where not measured).
    ``obs``
        ``tissue``, from the panel.
    ``uns['drugs']``
        By id (``nsc-`` and the number): ``name`` (the number where the table has no name) and ``nsc``. A compound that came in
        two preparations has two rows. Structures are not given: compounds are joined by their names.
    ``uns['response']``, ``uns['dataset']``
        Measure (``"-activity z"``) and unit; and the card of the data set.

    Raises
    ------
    FileNotFoundError
        If `path` lacks the table.
    RuntimeError
        If it is neither cached nor to be had.
    ValueError
        If the table names no lines.

    Notes
    -----
    Activity is −log10 of the concentration that halves growth (GI50), standardised over the lines within each compound, so that it
    tells which lines respond more, and nothing of potency. NCI/ADR-RES is a descendant of OVCAR-8, SNB-19 of U251, and
    MDA-MB-435 and MDA-N are the melanoma M14: they are no independent lines.

    Sources: Shoemaker 2006 (doi:10.1038/nrc1951), Luna et al. 2016 (doi:10.1093/bioinformatics/btv701).

    Examples
    --------
    >>> import scdrug
    >>> screen = scdrug.datasets.nci60()  # doctest: +SKIP
    """
    from anndata import AnnData

    folder = obtain("nci60", [_FILE], path)
    file = require(folder, [_FILE, "*1075drugs*", "*nci60*"], what="the activities")
    table = read_table(file)
    columns = [column for column in table.columns if _LINE.fullmatch(str(column))]
    if not columns:
        raise ValueError(
            f"{file} has no column that names a panel and a line, such as 'BR:MCF7'; found {list(table.columns[:5])}."
        )
    values = as_numbers(table[columns], columns, str(file)).to_numpy(dtype=np.float32)
    drugs = _compounds(table, file)
    panels, lines = zip(*(_LINE.fullmatch(column).groups() for column in columns), strict=True)
    obs = pd.DataFrame(
        {"tissue": [_PANELS[panel] for panel in panels]},
        index=pd.Index([_SUFFIX.sub("", line) for line in lines], dtype=object),
    )
    adata = AnnData(np.empty((len(obs), 0), dtype=np.float32), obs=obs)
    adata.obsm[KEYS.RESPONSE] = pd.DataFrame(-values.T, index=adata.obs_names, columns=list(drugs.index))
    adata.uns[KEYS.RESPONSE] = {
        "measure": "-activity z",
        "unit": "SD",
        "direction": "lower is more sensitive",
        "negated": True,
        "n_pairs": int(np.isfinite(values).sum()),
    }
    adata.uns[KEYS.DRUGS] = drugs
    adata.uns[KEYS.DATASET] = card("nci60", [file])
    return adata


def _compounds(table: pd.DataFrame, file: Path) -> pd.DataFrame:
    """Compounds by id: NSC number and name."""
    known = {str(column).strip().lower().split()[0]: column for column in table.columns if str(column).strip()}
    if "nsc" not in known:
        raise ValueError(f"{file} has no column 'nsc' with the numbers of the compounds.")
    numbers = table[known["nsc"]].astype(str).str.removesuffix(".0")
    names = table[known["name"]] if "name" in known else pd.Series(None, index=table.index, dtype=object)
    names = names.astype(object).where(names.notna(), "NSC " + numbers).astype(str)
    return pd.DataFrame(
        {"name": names.to_numpy(dtype=object), "nsc": numbers.to_numpy(dtype=object)},
        index=pd.Index([f"nsc-{number}" for number in numbers], dtype=object),
    )
