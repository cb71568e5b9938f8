"""Single cells with labels of drug response, as He et al. (2025) curated them."""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd

from .._arguments import checked
from .._constants import KEYS
from .._validate import check_key, examples, nearest, slug
from ._fetch import fetch
from ._figshare import FigshareError, choose_name
from ._local import card, existing
from ._registry import FileEntry, registry
from ._tables import read_h5ad

if TYPE_CHECKING:
    from anndata import AnnData


class _Set(NamedTuple):
    """A row of table 1 of the paper."""

    drug: str
    cancer: str
    n_sensitive: int
    n_resistant: int
    n_lines: int


SETS = {
    "GSE117872": _Set("Cisplatin", "oral squamous cell carcinoma", 950, 352, 735),
    "GSE131984": _Set("Paclitaxel", "breast cancer", 922, 752, 895),
    "GSE108394": _Set("PLX-4720", "melanoma", 3242, 3236, 898),
    "GSE156246-BT474": _Set("Lapatinib", "breast cancer", 714, 1107, 903),
    "GSE156246-HCC1419": _Set("Lapatinib", "breast cancer", 1584, 4346, 903),
}
_LABELS = {"1": 1.0, "1.0": 1.0, "true": 1.0, "sensitive": 1.0, "0": 0.0, "0.0": 0.0, "false": 0.0, "resistant": 0.0}


@checked
def he2025(accession: str, *, path: str | os.PathLike[str] | None = None) -> AnnData:
    """Cells of an experiment with treated and untreated cells, labelled by He et al. (2025), table 1.

    Parameters
    ----------
    accession
        ``"GSE117872"`` (cisplatin, oral squamous cell carcinoma), ``"GSE131984"`` (paclitaxel, breast cancer),
        ``"GSE108394"`` (PLX-4720, melanoma), ``"GSE156246-BT474"`` or ``"GSE156246-HCC1419"`` (lapatinib, breast cancer
        lines).
    path
        The h5ad file, or a folder with a file whose name holds the accession, instead of figshare.

    Returns
    -------
    Cells × genes as the authors stored them:

    ``X``
        Expression; its scale, found from the values, is in ``uns['expression']``.
    ``obs``
        ``sensitive``: 1 sensitive, 0 resistant, NaN no label (float), and what else the file has.
    ``uns['dataset']``
        The card of the data set, with ``accession``, ``drug`` (as GDSC spells it) and ``cancer``.

    Raises
    ------
    ValueError
        If the accession is not one of these, the file is no h5ad file, or labels are not 1 or 0.
    KeyError
        If the file lacks ``obs['sensitive']``.
    FileNotFoundError
        If `path` holds no such file, or several.
    RuntimeError
        If the file is neither cached nor to be had.

    Warns
    -----
    UserWarning
        If the numbers of sensitive and resistant cells are not those of table 1.

    Notes
    -----
    Labels follow treatment, and in most of these experiments treated and untreated cells are different samples: see
    :func:`scdrug.pp.label_cells` for what that means. Calling every cell sensitive has a mean F1 of 0.641 over the five
    sets, from the numbers in table 1.

    The address of the file is asked from figshare (article 28888880). No trusted hash is known: the first file that
    comes is checked against the md5 that figshare states, and pinned.

    Source: He et al. 2025 (doi:10.3390/ijms26094365), data doi:10.6084/m9.figshare.28888880.

    Examples
    --------
    >>> import scdrug
    >>> cells = scdrug.datasets.he2025("GSE117872")  # doctest: +SKIP
    >>> cells.uns["dataset"]["drug"]  # doctest: +SKIP
    'Cisplatin'
    """
    accession = _check_accession(accession)
    entry = next(file for file in registry()["he2025"].files if file.file == f"{accession}.h5ad")
    file = fetch(entry.name) if path is None else _find(existing(path), entry)
    adata = _read(file)
    known = SETS[accession]
    _compare(adata, accession, known)
    adata.uns[KEYS.DATASET] = card("he2025", [file]) | {
        "accession": accession,
        "drug": known.drug,
        "cancer": known.cancer,
    }
    return adata


def _check_accession(accession: str) -> str:
    by_slug = {slug(name): name for name in SETS}
    name = by_slug.get(slug(accession))
    if name is not None:
        return name
    near = nearest(accession, SETS) or [name for name in SETS if str(accession).upper() in name]
    hint = f" Did you mean {examples(near)}?" if near else ""
    raise ValueError(f"`accession` must be one of {', '.join(map(repr, SETS))}; found {accession!r}.{hint}")


def _find(path: Path, entry: FileEntry) -> Path:
    if path.is_file():
        return path
    patterns = [entry.file, *(entry.figshare[1] if entry.figshare else ())]
    try:
        return path / choose_name((item.name for item in sorted(path.iterdir())), patterns, where=f"`path` ({path})")
    except FigshareError as error:
        raise FileNotFoundError(str(error)) from None


def _read(file: Path) -> AnnData:
    from ..pp._rows import sample_rows
    from ..pp._scale import detect_scale

    with warnings.catch_warnings():
        # The authors' version of anndata wrote no notes on encoding.
        warnings.filterwarnings("ignore", message=".*without encoding metadata")
        adata = read_h5ad(file)
    check_key(adata.obs, "sensitive", where=f"{file}: obs")
    adata.obs["sensitive"] = _read_labels(adata.obs["sensitive"], file)
    adata.obs_names = adata.obs_names.astype(str)
    adata.var_names = adata.var_names.astype(str)
    adata.uns[KEYS.EXPRESSION] = {"scale": detect_scale(sample_rows(adata))}
    return adata


def _read_labels(column: pd.Series, file: Path) -> np.ndarray:
    known = column.notna().to_numpy()
    texts = column.astype(str).str.strip().str.lower()
    labels = texts.map(_LABELS).to_numpy(dtype=np.float64)
    wrong = known & np.isnan(labels)
    if wrong.any():
        raise ValueError(
            f"`obs['sensitive']` of {file} must be 1 (sensitive) or 0 (resistant); found "
            f"{examples(sorted(set(column[wrong].astype(str))))} in {int(wrong.sum())} cells."
        )
    return np.where(known, labels, np.nan)


def _compare(adata: AnnData, accession: str, known: _Set) -> None:
    found = int((adata.obs["sensitive"] == 1).sum()), int((adata.obs["sensitive"] == 0).sum())
    if found != (known.n_sensitive, known.n_resistant):
        warnings.warn(
            f"{accession} has {found[0]:,} sensitive and {found[1]:,} resistant cells; table 1 of the paper has "
            f"{known.n_sensitive:,} and {known.n_resistant:,}. Results may not be comparable with published ones.",
            stacklevel=3,
        )
