"""Translate gene ids to symbols, offline, without ever overriding an approved symbol."""

from __future__ import annotations

import logging
import warnings
from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import scipy.sparse as sp

from .._arguments import checked
from .._validate import check_choice, check_key, examples, plain
from ._gene_names import read_gene_names
from ._gene_table import are_entrez_ids, are_row_numbers, as_names, detect_gene_ids, gene_table
from ._row_matrix import check_indices
from ._rows import iter_row_blocks
from ._scale import check_scale

if TYPE_CHECKING:
    from anndata import AnnData

logger = logging.getLogger(__name__)

SOURCES = ("auto", "symbol", "ensembl", "entrez")
DUPLICATES = ("highest", "first", "sum", "error")
MOUSE_HINT = (
    "scdrug's references are human: convert to human symbols by a table of one-to-one orthologues (for example from "
    "Ensembl BioMart or MGI; changing to upper case is not enough), and keep in mind that predictions across species "
    "have not been validated."
)


def map_names(
    names: Iterable[object], *, panel: Iterable[object] | None = None, source: str = "auto"
) -> tuple[np.ndarray, np.ndarray]:
    """Translate gene names to human symbols.

    Parameters
    ----------
    names
        Symbols, synonyms, Ensembl ids (with or without version) or Entrez ids.
    panel
        Symbols of a model or reference. A gene that the panel has gets the name that the panel uses, even if that is
        an outdated one, and a name that is in the panel stays.
    source
        Kind of the names; ``"auto"`` to find out. It matters for Entrez ids only: digits are taken for Entrez ids if
        that is what the names are as a whole.

    Returns
    -------
    symbols
        One symbol a name; names that could not be translated stay as they are.
    status
        What each name was: ``"symbol"`` (approved, or the panel's own), ``"alias"``, ``"ensembl"``, ``"entrez"``,
        ``"ambiguous"`` (a synonym of several genes, not translated) or ``"unknown"``.

    Examples
    --------
    >>> from scdrug.pp._gene_ids import map_names
    >>> symbols, status = map_names(["ENSG00000141510.18", "HER2", "EGFR", "ERCC-00002"])
    >>> list(symbols), list(status)
    (['TP53', 'ERBB2', 'EGFR', 'ERCC-00002'], ['ensembl', 'alias', 'symbol', 'unknown'])
    """
    check_choice("source", source, SOURCES)
    table = gene_table()
    texts = as_names(names)
    entrez = source == "entrez" or (source == "auto" and detect_gene_ids(texts) == "entrez")
    panel_names = as_names([] if panel is None else panel)
    own = frozenset(panel_names)
    preferred = panel_rows(panel_names)
    symbols, status = [], []
    for name in texts:
        row, what = (-1, "symbol") if name in own else table.lookup(name, entrez=entrez)
        symbols.append(name if row < 0 else preferred.get(row, table.symbols[row]))
        status.append(what)
    return np.array(symbols, dtype=object), np.array(status, dtype=object)


def panel_rows(panel: list[str]) -> dict[int, str]:
    """Name that a panel uses, by row of the gene table; an approved symbol goes before a synonym."""
    table = gene_table()
    entrez = are_entrez_ids(panel)
    names: dict[int, str] = {}
    for name in panel:
        row, what = table.lookup(name, entrez=entrez)
        if row >= 0 and (row not in names or what == "symbol"):
            names[row] = name
    return names


@checked
def map_gene_ids(
    adata: AnnData,
    *,
    panel: Iterable[str] | None = None,
    source: str = "auto",
    column: str | None = None,
    duplicates: str = "highest",
    key_added: str = "original_gene_id",
    copy: bool = False,
) -> AnnData | None:
    """Rename genes to human symbols, from Ensembl ids, Entrez ids or outdated symbols.

    Works offline with a table bundled with the package (NCBI Gene and Ensembl of 2022). A synonym that several genes
    have is never used, an approved symbol never replaced by another gene's, and a name that cannot be translated
    stays. Models align genes by themselves and know the same synonyms: this function is for your own use of symbols.

    Parameters
    ----------
    adata
        Cells × genes. `adata.raw` is left alone.
    panel
        Symbols of a model or reference, whose names are preferred, outdated ones too.
    source
        Kind of the ids: ``"symbol"``, ``"ensembl"``, ``"entrez"``, or ``"auto"`` to find out.
    column
        Column of `adata.var` with the ids; `adata.var_names` if omitted.
    duplicates
        What to do where several columns become the same symbol:

        - ``"highest"``: the column with the highest total expression gets the symbol, unless one had it already;
          the others keep their id, or get a number appended if that is the symbol. Expression is not altered and no
          column is lost.
        - ``"first"``: the same, but the first column instead of the highest.
        - ``"sum"``: columns are added up, in `X` and in every layer, and stand where the first one stood. For counts
          and other linear values in memory only; sums too large for small integers get a wider type.
        - ``"error"``: raise.
    key_added
        Column of `adata.var` for the ids as they were.
    copy
        Return a copy instead of changing `adata`.

    Returns
    -------
    `None`, or the changed copy if ``copy=True``. Sets:

    `adata.var_names`
        Symbols, unique.
    `adata.var[key_added]`
        The ids as they were.
    `adata.uns["gene_mapping"]`
        What was found: `id_type`, the number of genes by status, examples of genes not translated.

    Raises
    ------
    ValueError
        If genes are of mouse, if no name is known, if `duplicates="error"` and there are some, or if sums are asked
        for values that cannot be added; if `key_added` or ``uns["gene_mapping"]`` holds something of yours. Nothing is
        changed then.
    KeyError
        If `column` is missing.

    Warns
    -----
    UserWarning
        If prefixes, suffixes or second names were taken off the ids, or if the ids of an earlier call are replaced.

    Examples
    --------
    >>> import anndata, numpy as np, pandas as pd, scdrug
    >>> var = pd.DataFrame(index=["ENSG00000141510", "ENSG00000146648", "ENSG00000141736"])
    >>> adata = anndata.AnnData(np.ones((2, 3)), var=var)
    >>> scdrug.pp.map_gene_ids(adata)
    >>> list(adata.var_names)
    ['TP53', 'EGFR', 'ERBB2']
    """
    check_choice("source", source, SOURCES)
    check_choice("duplicates", duplicates, DUPLICATES)
    if column is not None:
        check_key(adata.var, column, where="adata.var")
    if adata.isbacked and (adata.is_view and not copy):
        raise ValueError("A view of a backed file cannot be changed. Pass `copy=True`, or `adata.to_memory()` first.")
    ids = as_names(adata.var_names if column is None else adata.var[column])
    _check_own(adata, key_added, ids)
    read = read_gene_names(ids, panel)
    kind = _check_human(read.names, panel=panel, source=source)
    if read.stripped:
        warnings.warn(f"Gene ids were read without {read.stripped}.", UserWarning, stacklevel=2)
    symbols, status = map_names(read.names, panel=panel, source=source if kind == "unknown" else kind)
    repeated = _repeated(symbols, status)
    if repeated and duplicates == "error":
        raise ValueError(
            f"{len(repeated)} symbols stand for several columns, such as {examples(repeated)}. "
            "Choose `duplicates='highest'`, `'first'` or `'sum'`."
        )

    if copy:
        adata = adata.to_memory(copy=True) if adata.isbacked else adata.copy()
    elif adata.is_view:
        adata._init_as_actual(adata.copy())
    report = _report(kind, np.array(ids), status, repeated, duplicates) | {"key_added": key_added}
    if repeated and duplicates == "sum":
        stay = _sum_columns(adata, symbols, repeated)
        ids, symbols = [ids[i] for i in stay], symbols[stay]
    elif repeated:
        totals = _totals(adata) if duplicates == "highest" else np.zeros(len(ids))
        symbols = _name_one(symbols, ids, repeated, status == "symbol", totals)
    adata.var[key_added] = np.array(ids, dtype=object)
    adata.var_names = _unique(symbols)
    adata.uns["gene_mapping"] = report
    logger.info("%d of %d gene names are known symbols or were translated", report["n_mapped"], report["n_genes"])
    return adata if copy else None


def _check_own(adata: AnnData, key_added: str, ids: list[str]) -> None:
    """Raise if the user's own results stand where the ids and the report would go."""
    held = adata.uns.get("gene_mapping")
    if held is not None and not (hasattr(held, "keys") and {"id_type", "n_mapped", "duplicates"} <= set(held.keys())):
        raise ValueError(
            "`adata.uns['gene_mapping']` holds something that scdrug did not store, and would be overwritten. Store it "
            "under another key first."
        )
    if key_added in adata.var and as_names(adata.var[key_added]) != ids:
        if held is None or held.get("key_added", "original_gene_id") != key_added:
            raise ValueError(
                f"`adata.var[{key_added!r}]` holds something that scdrug did not store, and would be overwritten. Choose "
                "another `key_added`."
            )
        warnings.warn(f"Replacing the ids that `adata.var[{key_added!r}]` held.", UserWarning, stacklevel=3)


def _check_human(ids: list[str], *, panel: Iterable[str] | None, source: str) -> str:
    """Name the kind of ids, or raise if they are not of human genes."""
    kind = detect_gene_ids(ids)
    if kind.startswith("mouse"):
        what = "Ensembl ids" if kind == "mouse_ensembl" else "symbols"
        raise ValueError(f"Expected human genes; found mouse {what} such as {examples(ids, 3)}. {MOUSE_HINT}")
    if source != "auto":
        return source
    if kind == "unknown" and not (panel is not None and set(as_names(panel)) & set(ids)):
        what = "row numbers" if are_row_numbers(ids) else "names"
        raise ValueError(
            f"Expected human gene symbols, Ensembl or Entrez ids; found {what} such as {examples(ids, 3)}. "
            "Name the column of `adata.var` that holds gene ids with `column=`, or state `source=`."
        )
    return kind


def _repeated(symbols: np.ndarray, status: np.ndarray) -> list[str]:
    """Symbols that several columns would get, in order of appearance."""
    known = (symbol for symbol, what in zip(symbols, status) if what not in ("unknown", "ambiguous"))
    return [symbol for symbol, n in Counter(known).items() if n > 1]


def _totals(adata: AnnData) -> np.ndarray:
    totals = np.zeros(adata.n_vars)
    for _, block in iter_row_blocks(adata):
        totals += np.asarray(block.sum(axis=0, dtype=np.float64)).ravel()
    return totals


def _name_one(
    symbols: np.ndarray, ids: list[str], repeated: list[str], approved: np.ndarray, totals: np.ndarray
) -> np.ndarray:
    """Give each repeated symbol to one column, that named so already before that with the highest total."""
    several = set(repeated)
    best: dict[str, int] = {}
    for i, symbol in enumerate(symbols):
        if symbol in several:
            other = best.setdefault(symbol, i)
            if (approved[i], totals[i]) > (approved[other], totals[other]):
                best[symbol] = i
    result = symbols.copy()
    taken = {*symbols, *ids}
    for i, symbol in enumerate(symbols):
        if symbol in several and best[symbol] != i:
            result[i] = ids[i] if ids[i] != symbol else _free_name(symbol, taken)
    return result


def _free_name(name: str, taken: set[str]) -> str:
    number = 1
    while f"{name}-{number}" in taken:
        number += 1
    taken.add(f"{name}-{number}")
    return f"{name}-{number}"


def _sum_columns(adata: AnnData, symbols: np.ndarray, repeated: list[str]) -> np.ndarray:
    """Add up columns of the same symbol in place; returns the columns that stay."""
    layers = [key for key in adata.layers if key is not None]
    matrices: dict[str | None, Any] = {key: adata.layers[key] for key in layers}
    if adata.X is not None:
        matrices[None] = adata.X
    for key, matrix in matrices.items():
        check_indices(adata, key)
        where = "adata.X" if key is None else f"adata.layers[{key!r}]"
        if not isinstance(matrix, np.ndarray) and not sp.issparse(matrix):
            raise ValueError(
                f"Sums need values in memory; `{where}` is {type(matrix).__name__}. Use adata.to_memory()."
            )
        if check_scale(adata, layer=key) == "log":
            raise ValueError(
                f"`duplicates='sum'` adds values, but `{where}` holds logarithms, whose sum means nothing. "
                "Map gene ids before the log transform, or choose `duplicates='highest'`."
            )
    several = set(repeated)
    first: dict[str, int] = {}
    target = np.arange(len(symbols))
    for i, symbol in enumerate(symbols):
        if symbol in several:
            target[i] = first.setdefault(symbol, i)
    stay, column = np.unique(target, return_inverse=True)
    selector = sp.csr_matrix(
        (np.ones(len(symbols)), (np.arange(len(symbols)), column)), shape=(len(symbols), len(stay))
    )
    summed = {key: _times(matrix, selector) for key, matrix in matrices.items()}
    adata._inplace_subset_var(stay)
    for key, matrix in summed.items():
        if key is None:
            adata.X = matrix
        else:
            adata.layers[key] = matrix
    return stay


def _times(matrix: Any, selector: sp.csr_matrix) -> Any:
    """Matrix product that keeps container, storage order and number type; sums that it cannot hold get a wider one."""
    kind = matrix.dtype
    if kind.kind in "biu":
        wide = np.dtype(np.uint64 if kind.kind == "u" else np.int64)
    else:
        wide = np.result_type(kind, np.float32)
    selector = selector.astype(wide)
    if isinstance(matrix, np.ndarray):
        summed = np.ascontiguousarray((selector.T @ matrix.T.astype(wide)).T)
    else:
        summed = type(matrix)((matrix.astype(wide) @ selector).asformat(matrix.format))
    narrow = summed.astype(kind)
    lost = narrow.astype(wide) != summed if wide.kind in "iu" else np.isinf(narrow.max()) and not np.isinf(matrix.max())
    return summed if (lost.nnz if sp.issparse(lost) else np.any(lost)) else narrow


def _unique(symbols: np.ndarray) -> pd.Index:
    from anndata.utils import make_index_unique

    index = pd.Index(symbols.astype(str))
    return index if index.is_unique else make_index_unique(index)


def _report(kind: str, ids: np.ndarray, status: np.ndarray, repeated: list[str], duplicates: str) -> dict[str, Any]:
    counts = Counter(status.tolist())
    return plain(
        {
            "id_type": kind,
            "n_genes": len(ids),
            "n_mapped": len(ids) - counts["unknown"] - counts["ambiguous"],
            **{f"n_{what}": counts[what] for what in ("symbol", "alias", "ensembl", "entrez", "ambiguous", "unknown")},
            "ambiguous": ids[status == "ambiguous"][:20],
            "unknown": ids[status == "unknown"][:20],
            "duplicates": duplicates,
            "n_duplicated": len(repeated),
            "duplicated": np.array(repeated[:20], dtype=str),
        }
    )
