"""The bulk reference: expression and drug response of cell lines in one AnnData."""

from __future__ import annotations

import logging
import warnings
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from .._arguments import checked
from .._audit import check_unseen
from .._constants import KEYS
from .._validate import check_choice, examples, unique_slugs
from ._line_names import LineMatch, describe_match, match_lines, nothing_shared
from ._measure_values import check_values
from ._measures import DIRECTIONS, describe_response
from ._reference_tables import (
    as_names,
    check_no_metadata,
    dense_numbers,
    drug_table,
    index_lines,
    line_table,
    long_response,
    read_numbers,
)

if TYPE_CHECKING:
    from anndata import AnnData

logger = logging.getLogger(__name__)

#: Above this, values on a log scale are hardly believable (log2 of a million is 20).
_HIGHEST_LOG = 40.0
#: No standardised value reaches this.
_HIGHEST_SCALED = 1e4
#: So many whole numbers, and nothing else, are counts rather than logarithms.
_MANY_VALUES = 1000
#: Lines that a drug must have been measured in. With fewer, a slope over thousands of genes is a guess, and split-conformal intervals of
#: 90 % do not exist (they need nine lines).
MIN_LINES = 10


@checked
def build_reference(
    expression: pd.DataFrame | AnnData,
    response: pd.DataFrame,
    *,
    drugs: pd.DataFrame | None = None,
    lines: pd.DataFrame | None = None,
    measure: str = "ln_IC50",
    unit: str | None = None,
    direction: str | None = None,
    lower_is_sensitive: bool | None = None,
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
        ``pubchem_cid``, ``targets``, ``pathway`` and ``max_dose``, the highest dose that was tested (µM). Targets and pathways that are not
        given come from the bundled table of some five hundred compounds, where it knows the name.
    lines
        What is known of the lines (``tissue``, ids of other resources), by name (index, or column `line_column`). Its ids (DepMap,
        Sanger, COSMIC, …) also join tables that call lines differently.
    measure
        What the responses are, whatever the spelling: ``"ln_IC50"``, ``"log10_IC50"``, ``"IC50"``, ``"pIC50"`` (and the same of EC50, GI50,
        GR50), ``"AUC"``, ``"AAC"``, ``"DSS"``, ``"viability"``, ``"GRmax"``, ``"activity z"`` (as of NCI-60), …
    unit
        Unit of the response. The usual one of the measure if omitted (``"ln(µM)"`` for ln IC50, ``"fraction"`` for AUC); a bare
        concentration needs it (``"µM"``, ``"nM"``, ``"M"``).
    direction
        ``"lower is more sensitive"`` or ``"higher is more sensitive"``. Known from the measure; needed for others only. Values that
        grow with sensitivity are stored negated and the measure is renamed to say so (``"-pIC50"``).
    lower_is_sensitive
        The same as `direction`, as a boolean.
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
        where unknown, and ``max_dose`` (µM, NaN where unknown) if `drugs` has it. An id is the slug of the name, because file formats
        refuse keys with a slash.
    ``uns['expression']``
        ``scale``.

    Raises
    ------
    ValueError
        If no line has both expression and response; if lines, genes or drugs are duplicated or unnamed; if a column of ids or
        annotation stands among genes or drugs; if expression is not finite, is counts, or is constant; if responses are no numbers,
        not finite, or cannot be what `measure` and `unit` say; or if these contradict each other or `direction`.
    KeyError
        If a long `response` lacks a column that was named.
    TypeError
        If `expression` or `response` is of another type.

    Warns
    -----
    UserWarning
        In one warning: how many lines, pairs and drugs are lost and what the nearest names are; names that were joined although they
        are spelled differently (case, punctuation, names of CCLE, ids that stand in `lines`); drugs with fewer than 10 lines, which are
        predicted but not ranked; drugs or expression without variation.

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
    described = describe_response(measure, unit, direction, lower_is_sensitive)
    values, obs, var = _read_expression(expression, line_column)
    _check_expression(values, obs.index, var.index, expression_scale)
    pairs = long_response(response, line_column, drug_column, value_column, measure)
    check_values(pairs["value"].to_numpy(), described, where="response")
    known_lines = None if lines is None else index_lines(lines, line_column)

    matrix, n_measurements = _pivot(pairs)
    matrix, n_measurements, notes = _match_lines(matrix, n_measurements, obs, known_lines)
    rows = _rows_to_keep(matrix, obs.index, keep_unmeasured, notes)
    matrix, drug_ids = _order_drugs(matrix.iloc[rows], notes)
    n_pairs = int(matrix.notna().to_numpy().sum())
    n_measured = int(n_measurements.reindex(index=matrix.index, columns=matrix.columns).fillna(0).to_numpy().sum())
    name = described.name
    if not described.lower_is_sensitive:
        name = name[1:] if name.startswith("-") else f"-{name}"
        matrix = -matrix
        logger.info("Responses are stored negated as %r, so that lower is more sensitive.", name)

    table, drug_notes = drug_table(matrix.columns, drug_ids, drugs)
    obs, line_notes = (
        (obs.iloc[rows], []) if known_lines is None else line_table(obs.iloc[rows], known_lines, line_column)
    )
    adata = AnnData(X=values[rows], obs=obs, var=var)
    adata.obsm[KEYS.RESPONSE] = pd.DataFrame(
        matrix.to_numpy(dtype=np.float32), index=adata.obs_names, columns=list(table.index)
    )
    adata.uns[KEYS.RESPONSE] = {
        "measure": name,
        "unit": described.unit,
        "direction": DIRECTIONS[0],
        "negated": not described.lower_is_sensitive,
        "n_pairs": n_pairs,
        "n_replicates_averaged": n_measured - n_pairs,
    }
    adata.uns[KEYS.DRUGS] = table
    adata.uns[KEYS.EXPRESSION] = {"scale": expression_scale}
    check_unseen(adata.obs_names, adata.obsm[KEYS.RESPONSE], where="build_reference")
    notes += [*drug_notes, *line_notes, *weaknesses(adata.X, adata.obsm[KEYS.RESPONSE])]
    if notes:
        warnings.warn(
            "\n- ".join(["build_reference:", *notes]) if len(notes) > 1 else notes[0], UserWarning, stacklevel=2
        )
    return adata


def weaknesses(expression: np.ndarray, response: pd.DataFrame) -> list[str]:
    """Sentences on what little can be learned from a reference: few lines, drugs with few lines, drugs that do not vary.

    Parameters
    ----------
    expression
        Lines × genes.
    response
        Lines × drugs, NaN where not measured.
    """
    values = response.to_numpy(dtype=np.float64, na_value=np.nan)
    n_lines, notes = np.isfinite(values).sum(axis=0), []
    few = n_lines < MIN_LINES
    if len(expression) < 2:
        notes.append("The reference has one line only; no model can be trained on it.")
    elif few.all():
        notes.append(
            f"No drug was measured in {MIN_LINES} lines, so that predictions say little, and no drug is ranked."
        )
    elif few.any():
        shown = [f"{drug} ({n})" for drug, n in zip(response.columns[few], n_lines[few])]
        notes.append(
            f"{int(few.sum())} drugs were measured in fewer than {MIN_LINES} lines: {examples(shown)}. They are predicted, but their "
            "predictions say little, and scdrug.tl.rank_drugs leaves them out."
        )
    low, high = (
        np.where(np.isfinite(values), values, np.inf).min(axis=0),
        np.where(np.isfinite(values), values, -np.inf).max(axis=0),
    )
    constant = (n_lines > 1) & (low == high)
    if constant.any():
        notes.append(
            f"{int(constant.sum())} drugs have the same response in all of their lines: {examples(response.columns[constant])}."
        )
    if len(expression) > 1 and (expression == expression[0]).all():
        notes.append("No gene differs between lines; nothing can be learned from such expression.")
    return notes


def _read_expression(
    expression: pd.DataFrame | AnnData, line_column: str
) -> tuple[np.ndarray, pd.DataFrame, pd.DataFrame]:
    """Return values (lines, genes) and the tables of lines and genes."""
    from anndata import AnnData

    if isinstance(expression, AnnData):
        values = dense_numbers(expression.X, where="`expression.X`")
        obs, var = expression.obs.copy(), expression.var.copy()
        obs.index, var.index = as_names(obs.index, "line"), as_names(var.index, "gene")
        return values, obs, var
    if not isinstance(expression, pd.DataFrame):
        raise TypeError(f"`expression` must be a DataFrame lines × genes or an AnnData; found {type(expression)!r}.")
    if line_column in expression.columns:
        expression = expression.set_index(line_column)
    values = read_numbers(
        expression,
        where="`expression` (lines × genes)",
        hint="Move annotations of the lines to `lines`, or name the column of line names in `line_column`.",
    )
    check_no_metadata(expression, where="`expression`", what="genes")
    obs = pd.DataFrame(index=as_names(expression.index, "line"))
    var = pd.DataFrame(index=as_names(expression.columns, "gene"))
    with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite, which is refused
        return values.astype(np.float32), obs, var


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
    check_scale_of_lines(values, scale, where="expression", argument="`expression_scale` is")


def check_scale_of_lines(values: np.ndarray, scale: str, *, where: str, argument: str) -> None:
    """Raise if bulk expression (lines × genes, finite) is counts, or beyond what its stated scale can hold."""
    highest = float(values.max(initial=0.0))
    whole = (
        bool((values >= 0).all()) and bool((values == np.rint(values)).all()) and highest > values.min(initial=highest)
    )
    if scale == "log" and whole and (highest > _HIGHEST_LOG or (values.size >= _MANY_VALUES and highest > 0)):
        raise ValueError(
            f"{argument} 'log', but `{where}` holds whole numbers only, up to {highest:.4g}, as counts are. Take logarithms first: "
            "log2(x + 1) of TPM, or of counts divided by their sum in each line and multiplied by a million."
        )
    if scale == "scaled" and np.abs(values).max(initial=0.0) > _HIGHEST_SCALED:
        raise ValueError(
            f"{argument} 'scaled', but `{where}` reaches {np.abs(values).max():.4g}, which no standardised value does."
        )
    if scale == "log" and highest > _HIGHEST_LOG:
        raise ValueError(
            f"{argument} 'log', but `{where}` reaches {highest:.4g}, which no log scale does. "
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


def _match_lines(
    matrix: pd.DataFrame, counts: pd.DataFrame, obs: pd.DataFrame, lines: pd.DataFrame | None
) -> tuple[pd.DataFrame, pd.DataFrame, list[str]]:
    """Responses and numbers of measurements in the order of the lines with expression, and what was joined or lost."""
    match = match_lines(list(matrix.index), list(obs.index), obs, lines)
    if not match.found:
        raise ValueError(nothing_shared(list(obs.index), list(matrix.index)))
    notes = _lost(match, matrix, obs.index)
    matrix, counts = (
        table.loc[list(match.found)].rename(index=match.respelled).reindex(obs.index) for table in (matrix, counts)
    )
    return matrix, counts, notes


def _lost(match: LineMatch, matrix: pd.DataFrame, lines: pd.Index) -> list[str]:
    notes = describe_match(match, list(lines), what="lines with response")
    lost = [*match.ambiguous, *match.unknown]
    if lost:
        n_pairs = int(matrix.loc[lost].notna().to_numpy().sum())
        notes.append(
            f"{len(lost)} lines with response but without expression are lost, with {n_pairs:,} of {int(matrix.notna().to_numpy().sum()):,} pairs."
        )
    return notes


def _rows_to_keep(matrix: pd.DataFrame, lines: pd.Index, keep_unmeasured: bool, notes: list[str]) -> np.ndarray:
    measured = matrix.notna().any(axis=1).to_numpy()
    if keep_unmeasured:
        return np.arange(len(lines))
    if not measured.all():
        notes.append(
            f"{int((~measured).sum())} lines without any response are left out: {examples(lines[~measured])} "
            "(`keep_unmeasured=True` keeps them)."
        )
    return np.flatnonzero(measured)


def _order_drugs(matrix: pd.DataFrame, notes: list[str]) -> tuple[pd.DataFrame, list[str]]:
    """Drop drugs without a value, put the others in the order of their ids, and return the ids too."""
    empty = matrix.isna().all(axis=0).to_numpy()
    if empty.any():
        notes.append(f"{int(empty.sum())} drugs without a value are left out: {examples(matrix.columns[empty])}.")
    matrix = matrix.loc[:, ~empty].sort_index(axis=1)  # so that ids do not depend on the order of the rows
    ids = unique_slugs(matrix.columns)
    order = sorted(range(len(ids)), key=ids.__getitem__)
    return matrix.iloc[:, order], [ids[position] for position in order]
