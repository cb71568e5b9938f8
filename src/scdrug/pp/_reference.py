"""The bulk reference: expression and drug response of cell lines in one AnnData."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from .._arguments import checked
from .._audit import check_unseen
from .._constants import KEYS
from .._validate import check_choice, examples, unique_slugs
from ._reference_tables import as_names, drug_table, line_table, long_response

if TYPE_CHECKING:
    from anndata import AnnData

logger = logging.getLogger(__name__)

#: Above this, values on a log scale are hardly believable (log2 of a million is 20).
_HIGHEST_LOG = 40.0


@checked
def build_reference(
    expression: pd.DataFrame | AnnData,
    response: pd.DataFrame,
    *,
    drugs: pd.DataFrame | None = None,
    lines: pd.DataFrame | None = None,
    measure: str = "ln_IC50",
    unit: str = "ln(µM)",
    lower_is_sensitive: bool = True,
    expression_scale: str = "log",
    line_column: str = "cell_line",
    drug_column: str = "drug",
    value_column: str | None = None,
    keep_unmeasured: bool = False,
) -> AnnData:
    r"""Build the bulk reference from an expression table and a table of drug responses.

    This is how an own screen is brought in. The inputs are not altered.

    Parameters
    ----------
    expression
        Expression of the lines, lines × genes: a DataFrame indexed by line (or with the column `line_column`),
        or an AnnData, whose ``obs`` and ``var`` are kept. Every value must be finite.
    response
        Either wide, lines × drugs, NaN where a pair was not measured; or long, one row for each measurement, with the
        columns `line_column`, `drug_column` and `value_column`. Replicates of a pair in a long table are averaged.
    drugs
        What is known of the drugs, by name (index, or column ``name``), with any of the columns ``smiles``,
        ``pubchem_cid``, ``targets`` and ``pathway``.
    lines
        What is known of the lines (``tissue``, ids of other resources), by name (index, or column `line_column`).
    measure
        Name of the response measure, such as ``"ln_IC50"`` or ``"AUC"``.
    unit
        Unit of the response.
    lower_is_sensitive
        Whether a lower value means a more sensitive line. If not, the values are stored negated and the measure is
        renamed to say so, because everything in scdrug reads lower as more sensitive.
    expression_scale
        Scale of `expression`: ``"log"``, or ``"scaled"`` for values that were standardised and cannot be turned back.
    line_column
        Column with the names of the lines.
    drug_column
        Column with the names of the drugs in a long `response`.
    value_column
        Column with the values of a long `response`; by default the one called `measure` or ``"value"``, or else the
        only other column of numbers.
    keep_unmeasured
        Keep lines with expression but without any response, as training without labels needs them.

    Returns
    -------
    The reference, lines × genes, lines in the order of `expression` and drugs in the order of their ids:

    ``X``
        Expression, float32.
    ``obsm['response']``
        DataFrame lines × drug ids, float32, NaN where a pair was not measured. Lower is more sensitive.
    ``uns['response']``
        ``measure``, ``unit``, ``direction``, ``negated``, ``n_pairs`` (line-drug pairs with a value) and
        ``n_replicates_averaged`` (measurements beyond the first of their pair).
    ``uns['drugs']``
        DataFrame by drug id: ``name``, ``smiles``, ``pubchem_cid``, ``targets``, ``pathway``, all strings, empty
        where unknown. An id is the slug of the name, because file formats refuse keys with a slash.
    ``uns['expression']``
        ``scale``.

    Raises
    ------
    ValueError
        If no line has both expression and response, if lines or genes are duplicated or unnamed, or if values are not
        numbers, not finite, or on another scale than stated.
    KeyError
        If a long `response` lacks a column that was named.
    TypeError
        If `expression` or `response` is of another type.

    Examples
    --------
    >>> import pandas as pd
    >>> import scdrug
    >>> expression = pd.DataFrame({"TP53": [5.1, 6.2], "EGFR": [9.0, 3.3]}, index=["A549", "HCC827"])
    >>> screen = pd.DataFrame(
    ...     {"cell_line": ["A549", "HCC827", "HCC827"], "drug": "Erlotinib", "ln_IC50": [2.5, -3.0, -2.0]}
    ... )
    >>> reference = scdrug.pp.build_reference(expression, screen)
    >>> reference.obsm["response"]["erlotinib"].tolist()
    [2.5, -2.5]
    """
    from anndata import AnnData

    check_choice("expression_scale", expression_scale, ("log", "scaled"))
    values, obs, var = _read_expression(expression, line_column)
    _check_expression(values, obs.index, var.index, expression_scale)
    pairs = long_response(response, line_column, drug_column, value_column, measure)

    matrix, n_measurements = _pivot(pairs)
    matrix = _match_lines(matrix, obs.index)
    rows = _rows_to_keep(matrix, obs.index, keep_unmeasured)
    matrix, drug_ids = _order_drugs(matrix.iloc[rows])
    n_pairs = int(matrix.notna().to_numpy().sum())
    n_measured = int(n_measurements.reindex(index=matrix.index, columns=matrix.columns).fillna(0).to_numpy().sum())
    if not lower_is_sensitive:
        matrix, measure = -matrix, f"-{measure}"
        logger.info("Responses are stored negated as %r, so that lower is more sensitive.", measure)

    table = drug_table(matrix.columns, drug_ids, drugs)
    obs = obs.iloc[rows] if lines is None else line_table(obs.iloc[rows], lines, line_column)
    adata = AnnData(X=values[rows], obs=obs, var=var)
    adata.obsm[KEYS.RESPONSE] = pd.DataFrame(
        matrix.to_numpy(dtype=np.float32), index=adata.obs_names, columns=list(table.index)
    )
    adata.uns[KEYS.RESPONSE] = {
        "measure": measure,
        "unit": unit,
        "direction": "lower is more sensitive",
        "negated": not lower_is_sensitive,
        "n_pairs": n_pairs,
        "n_replicates_averaged": n_measured - n_pairs,
    }
    adata.uns[KEYS.DRUGS] = table
    adata.uns[KEYS.EXPRESSION] = {"scale": expression_scale}
    check_unseen(adata.obs_names, adata.obsm[KEYS.RESPONSE], where="build_reference")
    return adata


def _read_expression(
    expression: pd.DataFrame | AnnData, line_column: str
) -> tuple[np.ndarray, pd.DataFrame, pd.DataFrame]:
    """Return values (lines, genes) and the tables of lines and genes."""
    from anndata import AnnData
    from scipy.sparse import issparse

    if isinstance(expression, AnnData):
        matrix = expression.X
        values = np.asarray(matrix.toarray() if issparse(matrix) else matrix, dtype=np.float32)
        obs, var = expression.obs.copy(), expression.var.copy()
        obs.index, var.index = as_names(obs.index, "line"), as_names(var.index, "gene")
        return values, obs, var
    if not isinstance(expression, pd.DataFrame):
        raise TypeError(f"`expression` must be a DataFrame lines × genes or an AnnData; found {type(expression)!r}.")
    if line_column in expression.columns:
        expression = expression.set_index(line_column)
    wrong = [column for column, kind in expression.dtypes.items() if not pd.api.types.is_numeric_dtype(kind)]
    if wrong:
        raise ValueError(
            f"`expression` must hold numbers only, lines × genes; these columns do not: {examples(wrong)}. "
            "Move annotations of the lines to `lines`, or name the column of line names in `line_column`."
        )
    obs = pd.DataFrame(index=as_names(expression.index, "line"))
    var = pd.DataFrame(index=as_names(expression.columns, "gene"))
    return expression.to_numpy(dtype=np.float32), obs, var


def _check_expression(values: np.ndarray, lines: pd.Index, genes: pd.Index, scale: str) -> None:
    for what, names in (("lines", lines), ("genes", genes)):
        if names.has_duplicates:
            raise ValueError(
                f"The {what} of `expression` must be unique; these occur more than once: "
                f"{examples(names[names.duplicated()].unique())}. Average or drop the duplicates first."
            )
    if values.size == 0:
        raise ValueError(f"`expression` must hold at least one line and one gene; found {values.shape}.")
    bad = ~np.isfinite(values)
    if bad.any():
        raise ValueError(
            f"`expression` must be finite; {int(bad.sum()):,} values are NaN or infinite, "
            f"in the genes {examples(genes[bad.any(axis=0)])} and the lines {examples(lines[bad.any(axis=1)])}. "
            "Drop or impute them first."
        )
    if scale == "log" and values.max() > _HIGHEST_LOG:
        raise ValueError(
            f"`expression_scale` is 'log', but `expression` reaches {values.max():.4g}, which no log scale does. "
            "Take log2(x + 1) of TPM or normalised counts first."
        )


def _pivot(pairs: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Average replicates; return lines × drugs of means, and of the number of measurements."""
    grouped = pairs.groupby(["line", "drug"], observed=True, sort=True)["value"].agg(["mean", "size"])
    means, counts = grouped["mean"].unstack("drug"), grouped["size"].unstack("drug")
    for table in (means, counts):  # plain labels: categorical ones would refuse lines they have not seen
        table.index, table.columns = (
            pd.Index(list(table.index), dtype=object),
            pd.Index(list(table.columns), dtype=object),
        )
    return means, counts


def _match_lines(matrix: pd.DataFrame, lines: pd.Index) -> pd.DataFrame:
    """Rows of the response in the order of the lines with expression."""
    unknown = matrix.index.difference(lines)
    if len(unknown) == len(matrix):
        raise ValueError(
            "No line has both expression and response: lines with expression are called "
            f"{examples(lines)}, lines with response {examples(matrix.index)}. Use the same names on both sides."
        )
    if len(unknown):
        logger.info("Dropped %d lines with response but without expression: %s.", len(unknown), examples(unknown))
    return matrix.reindex(lines)


def _rows_to_keep(matrix: pd.DataFrame, lines: pd.Index, keep_unmeasured: bool) -> np.ndarray:
    measured = matrix.notna().any(axis=1).to_numpy()
    if keep_unmeasured:
        return np.arange(len(lines))
    if not measured.all():
        logger.info(
            "Dropped %d lines without any response: %s (`keep_unmeasured=True` keeps them).",
            int((~measured).sum()),
            examples(lines[~measured]),
        )
    return np.flatnonzero(measured)


def _order_drugs(matrix: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """Drop drugs without a value, put the others in the order of their ids, and return the ids too."""
    empty = matrix.isna().all(axis=0).to_numpy()
    if empty.any():
        logger.info("Dropped %d drugs without a value: %s.", int(empty.sum()), examples(matrix.columns[empty]))
    matrix = matrix.loc[:, ~empty].sort_index(axis=1)  # so that ids do not depend on the order of the rows
    ids = unique_slugs(matrix.columns)
    order = sorted(range(len(ids)), key=ids.__getitem__)
    return matrix.iloc[:, order], [ids[position] for position in order]
