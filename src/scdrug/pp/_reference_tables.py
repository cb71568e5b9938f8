"""Tables that go into a bulk reference, read and checked: responses, drugs, lines."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable
from numbers import Real
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp

from .._validate import check_key, examples, nearest, slug
from ._line_names import match_lines
from ._measure_values import check_finite
from ._measures import Measure, find_measure
from ._rows import check_sparse

#: Columns of ``uns["drugs"]``, in this order.
DRUG_COLUMNS = ("name", "smiles", "pubchem_cid", "targets", "pathway")
#: Highest dose that was tested, in µM: a column of numbers that is kept where it is given.
MAX_DOSE = "max_dose"


#: Texts that stand for a missing name.
_NO_NAME = frozenset({"", "nan", "none", "<na>", "null", "n/a", "nat"})
#: Columns that describe lines, however they are spelled; no drug and no gene is called so.
_METADATA = frozenset(
    "cosmicid cosmic sangermodelid sidm modelid modelname depmapid broadid achid ccleid cclename rrid cellosaurusid masterid masterccleid "
    "strippedcelllinename celllinename cellline celllineid samplename sampleid samplename lineage lineagesubtype primarydisease subtype "
    "disease tissue tissuetype primarysite histology cancertype tcgalabel tcgadesc gender sex age ageatdiagnosis drugid drugname "
    "nlines index level0 unnamed0".split()
)


def as_names(values: Iterable[Any], what: str) -> pd.Index:
    """Names as strings; 906826.0 becomes "906826", and a missing name is an error."""
    index = pd.Index(values)
    texts = [as_text(value) for value in index]
    missing = [position for position, text in enumerate(texts) if text.lower() in _NO_NAME]
    if missing:
        beside = [text for text in texts if text.lower() not in _NO_NAME]
        raise ValueError(
            f"Every {what} needs a name; {len(missing)} names are missing, at the positions {examples(missing)} (others are "
            f"{examples(beside, 3)}). Name these rows or columns, or drop them."
        )
    return pd.Index(texts, dtype=object)


def read_numbers(table: pd.DataFrame, *, where: str, hint: str = "") -> np.ndarray:
    """Read a table as float64, NaN where a value is missing (rows × columns); the table is not altered.

    Raises
    ------
    ValueError
        If a column holds text, dates or complex numbers.
    """
    numeric = {dtype: _is_real(dtype) for dtype in set(table.dtypes)}
    odd = np.flatnonzero([not numeric[dtype] for dtype in table.dtypes])
    wrong = [(table.columns[i], table.iloc[:, i]) for i in odd if not _holds_real_objects(table.iloc[:, i])]
    if wrong:
        first = wrong[0][1]
        raise ValueError(
            f"{where} must hold numbers only; these columns do not: {examples(name for name, _ in wrong)} (such as {examples(first.dropna(), 2)}, "
            f"{first.dtype}). {hint}".strip()
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # numbers beyond float64 become infinite, which is said later
        table = table.copy(deep=False)
        for i in odd:
            table.isetitem(i, table.iloc[:, i].to_numpy(dtype=np.float64, na_value=np.nan))
        return table.to_numpy(dtype=np.float64, na_value=np.nan)


def _is_real(dtype: Any) -> bool:
    return pd.api.types.is_numeric_dtype(dtype) and not pd.api.types.is_complex_dtype(dtype)


def _holds_real_objects(column: pd.Series) -> bool:
    return column.dtype == object and all(isinstance(value, Real) for value in column.dropna())


def dense_numbers(matrix: Any, *, where: str) -> np.ndarray:
    """Expression of bulk lines as a dense float32 array of its own type; lines are few, so this is small.

    Raises
    ------
    ValueError
        If there is none, if it is not numbers, or if values are masked.
    """
    for load in ("compute", "to_memory", "toarray"):  # dask, backed, sparse
        if sp.issparse(matrix):
            check_sparse(matrix)
        if hasattr(matrix, load):
            matrix = getattr(matrix, load)()
    if matrix is None:
        raise ValueError(f"{where} is empty (None). Expected expression, lines × genes.")
    if np.ma.is_masked(matrix):
        raise ValueError(f"{where} has masked values. Fill them, or drop the lines or genes.")
    values = np.asarray(matrix)
    if values.dtype.kind not in "fiub":
        raise ValueError(f"{where} must hold real numbers, lines × genes; found {values.dtype}.")
    with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite, which is refused
        return values.astype(np.float32, copy=False)


def check_no_metadata(table: pd.DataFrame, *, where: str, what: str) -> None:
    """Raise if columns describe the lines rather than being drugs or genes.

    Found by their names (``COSMIC_ID``, ``tissue``), or because they hold what only ids do: whole numbers of five digits
    and more, no two equal.
    """
    metadata = [name for name in table.columns if re.sub(r"[^a-z0-9]", "", str(name).lower()) in _METADATA]
    numbers = table.select_dtypes("number", exclude="complexfloating")
    values = numbers.to_numpy(dtype=np.float64, na_value=np.nan)
    high = np.flatnonzero(values.min(axis=0, where=np.isfinite(values), initial=np.inf) >= 10_000)
    ids = [numbers.columns[i] for i in high if numbers.columns[i] not in metadata and _are_ids(values[:, i])]
    if metadata or ids:
        raise ValueError(
            f"{where} holds columns that describe lines and are no {what}: {examples([*metadata, *ids])}. Drop them, or move them to "
            "`lines`; the column with the names of the lines is named by `line_column`."
        )


def _are_ids(values: np.ndarray) -> bool:
    values = values[np.isfinite(values)]
    return len(values) > 2 and not (values % 1).any() and len(np.unique(values)) == len(values)


def as_text(value: Any) -> str:
    """A value as a string: empty when missing, without the ".0" of ids that were read as floats."""
    if value is None or value is pd.NA or (isinstance(value, float) and np.isnan(value)):
        return ""
    if isinstance(value, float | np.floating) and float(value).is_integer():
        return str(int(value))
    return str(value).strip()


def long_response(
    response: pd.DataFrame, line_column: str, drug_column: str, value_column: str | None, measure: str
) -> pd.DataFrame:
    """Return the measurements as a table with the columns line, drug and value, one row each, none missing."""
    if not isinstance(response, pd.DataFrame):
        raise TypeError(f"`response` must be a DataFrame, wide (lines × drugs) or long; found {type(response)!r}.")
    if drug_column in response.columns or value_column is not None:
        pairs = _read_long(response, line_column, drug_column, value_column, measure)
    else:
        pairs = _read_wide(response, line_column)
    values = pairs["value"].to_numpy()
    odd = np.isinf(values)
    if odd.any():
        raise ValueError(
            f"`response` must be finite, or NaN where a pair was not measured; {int(odd.sum())} values are infinite, "
            f"for the drugs {examples(pairs['drug'][odd].unique())}."
        )
    check_finite(values, where="response")
    pairs = pairs[pairs["value"].notna()]
    if pairs.empty:
        raise ValueError("`response` holds no value: every pair is missing.")
    return pairs


def _read_long(
    response: pd.DataFrame, line_column: str, drug_column: str, value_column: str | None, measure: str
) -> pd.DataFrame:
    for column in (line_column, drug_column):
        check_key(response, column, where="response", hint="Name it with `line_column` or `drug_column`.")
    if value_column is None:
        value_column = _find_value_column(response, (line_column, drug_column), measure)
    check_key(response, value_column, where="response", hint="Name it with `value_column`.")
    _check_column_fits(str(value_column), measure)
    values = read_numbers(response[[value_column]], where=f"`response[{value_column!r}]`")[:, 0]
    return pd.DataFrame(
        {
            "line": _encode(response[line_column], "line of `response`"),
            "drug": _encode(response[drug_column], "drug of `response`"),
            "value": values,
        }
    )


def _find_value_column(response: pd.DataFrame, taken: tuple[str, str], measure: str) -> str:
    by_name = {str(column).lower(): column for column in response.columns if column not in taken}
    for candidate in (measure.lower(), "value"):
        if candidate in by_name:
            return by_name[candidate]
    numeric = [
        c
        for name, c in by_name.items()
        if pd.api.types.is_numeric_dtype(response[c]) and re.sub(r"[^a-z0-9]", "", name) not in _METADATA
    ]
    if len(numeric) != 1:
        raise KeyError(
            f"Which column of `response` holds the values? Neither {measure!r} nor 'value' is there, and "
            f"{len(numeric)} columns hold numbers: {examples(numeric)}. Name one with `value_column`."
        )
    return numeric[0]


def _check_column_fits(column: str, measure: str) -> None:
    """Raise if the column is called like a measure that means the opposite, or another kind of number, than the one stated."""

    def look_up(name: str) -> Measure | None:
        try:
            return find_measure(name)
        except ValueError:
            return None

    named, stated = look_up(column), look_up(measure)
    if named is None or stated is None or named.name.lstrip("-") == stated.name.lstrip("-"):
        return
    if named.lower_is_sensitive != stated.lower_is_sensitive or ("50" in named.name) != ("50" in stated.name):
        raise ValueError(
            f"The values stand in the column {column!r} of `response`, but `measure` is {measure!r}. State `measure={named.name!r}` if "
            "that is what they are, or rename the column."
        )


def _encode(names: pd.Series, what: str) -> pd.Categorical:
    """Names as strings, made once for each distinct name, since long tables repeat each hundreds of times."""
    codes, distinct = pd.factorize(names)
    nameless = [text.lower() in _NO_NAME for text in map(as_text, distinct)]
    without = (codes < 0) | np.isin(codes, np.flatnonzero(nameless))
    if without.any():
        raise ValueError(
            f"Every {what} needs a name; {int(without.sum())} rows have none, such as the rows {examples(np.flatnonzero(without))}. Name "
            "or drop them."
        )
    merged, categories = pd.factorize(as_names(distinct, what))
    return pd.Categorical(np.asarray(categories, dtype=object)[merged][codes])


def _read_wide(response: pd.DataFrame, line_column: str) -> pd.DataFrame:
    if line_column in response.columns:
        response = response.set_index(line_column)
    values = read_numbers(
        response,
        where="A wide `response` (lines × drugs)",
        hint="For a long table, name its columns with `line_column`, `drug_column` and `value_column`.",
    )
    check_no_metadata(response, where="`response`", what="drugs")
    lines, drugs = as_names(response.index, "line of `response`"), as_names(response.columns, "drug of `response`")
    for what, names in (("lines", lines), ("drugs", drugs)):
        if names.has_duplicates:
            raise ValueError(
                f"The {what} of a wide `response` must be unique; these occur more than once: "
                f"{examples(names[names.duplicated()].unique())}. Pass replicates as a long table."
            )
    return pd.DataFrame(
        {
            "line": pd.Categorical.from_codes(np.repeat(np.arange(len(lines)), len(drugs)), lines),
            "drug": pd.Categorical.from_codes(np.tile(np.arange(len(drugs)), len(lines)), drugs),
            "value": values.ravel(),
        }
    )


def drug_table(names: pd.Index, ids: list[str], drugs: pd.DataFrame | None) -> tuple[pd.DataFrame, list[str]]:
    """Table by drug id for the drugs called `names`, and what to warn of.

    It has :data:`DRUG_COLUMNS`, strings only, and `max_dose` (µM, NaN where it is not known) if `drugs` has.
    """
    table = pd.DataFrame("", index=pd.Index(ids, dtype=object), columns=list(DRUG_COLUMNS), dtype=object)
    table["name"] = list(names)
    if drugs is None:
        return _with_mechanisms(table), []
    known = drugs.set_index("name") if "name" in drugs.columns else drugs
    known = known.set_axis(as_names(known.index, "drug of `drugs`"), axis=0)
    doses = positive_numbers(known[MAX_DOSE], where=f"`drugs[{MAX_DOSE!r}]`") if MAX_DOSE in known else None
    known = known[[column for column in DRUG_COLUMNS if column in known.columns]]
    if known.index.has_duplicates:
        raise ValueError(
            "The names in `drugs` must be unique; these occur more than once: "
            f"{examples(known.index[known.index.duplicated()].unique())}."
        )
    found, other_names = _find_rows(list(names), known)
    for position, name in enumerate(found):
        if name is None:
            continue
        for column in known.columns:
            table.iat[position, table.columns.get_loc(column)] = as_text(known.at[name, column])
    if doses is not None:
        by_name = dict(zip(known.index, doses, strict=True))
        table[MAX_DOSE] = [np.nan if name is None else by_name[name] for name in found]
    notes = []
    if other_names:
        pairs = ", ".join(f"{name!r} = {other!r}" for name, other in list(other_names.items())[:5])
        notes.append(f"{len(other_names)} drugs stand in `drugs` under another name: {pairs}.")
    unknown = [name for name, match in zip(names, found) if match is None]
    if unknown:
        near = {name: nearest(name, known.index, n=1) for name in unknown[:5]}
        shown = ", ".join(f"{name!r}" + (f" (nearest: {other[0]!r})" if other else "") for name, other in near.items())
        notes.append(
            f"{len(unknown)} drugs are not in `drugs`, so that nothing is known of them: {shown}{', …' if len(unknown) > 5 else ''}."
        )
    return _with_mechanisms(table), notes


def positive_numbers(values: pd.Series, *, where: str) -> np.ndarray:
    """Positive numbers, NaN where one is missing; a ValueError names the first that is none, with its row."""
    numbers = pd.to_numeric(values.replace("", np.nan), errors="coerce").to_numpy(dtype=float, na_value=np.nan)
    wrong = (values.notna() & (values.astype(str) != "")).to_numpy() & ~(np.isfinite(numbers) & (numbers > 0))
    if wrong.any():
        first = int(np.flatnonzero(wrong)[0])
        raise ValueError(
            f"{where} must hold positive numbers, in µM, or nothing; found {str(values.iloc[first])!r} for {values.index[first]!r}."
        )
    return numbers


def _with_mechanisms(table: pd.DataFrame) -> pd.DataFrame:
    """The same with targets and pathways of known compounds, where none were given."""
    from ._drug_names import known_facts

    for drug, name in table["name"].items():
        for column, value in known_facts(name).items():
            if column in ("targets", "pathway") and not table.at[drug, column]:
                table.at[drug, column] = value
    return table


def _find_rows(names: list[str], known: pd.DataFrame) -> tuple[list[str | None], dict[str, str]]:
    """Row of `known` for each drug: by name, by its spelling, and by the other names of the compound."""
    from ._drug_names import other_names

    # A name that differs only in case or punctuation is the same drug, unless two names of the table do so.
    by_slug = pd.Series(known.index, index=[slug(name) for name in known.index])
    by_slug = by_slug[~by_slug.index.duplicated(keep=False)].to_dict()
    found = [name if name in known.index else by_slug.get(slug(name)) for name in names]
    taken = {name for name in found if name is not None}
    renamed = {}
    for position, name in enumerate(names):
        if found[position] is None:
            rows = {by_slug[key] for key in map(slug, other_names(name)) if key in by_slug} - taken
            if len(rows) == 1:
                found[position] = renamed[name] = rows.pop()
    return found, renamed


def line_table(obs: pd.DataFrame, lines: pd.DataFrame, line_column: str) -> tuple[pd.DataFrame, list[str]]:
    """Add the columns of `lines` to `obs`, in forms that every file format holds; and what to warn of."""
    lines = index_lines(lines, line_column)
    match = match_lines(list(obs.index), list(lines.index), lines)
    result = obs.copy()
    rows = [match.found.get(name) for name in obs.index]
    for column in lines.columns:
        result[str(column).replace("/", "|")] = _storable(lines[column].reindex(rows))
    without = [name for name, row in zip(obs.index, rows) if row is None]
    notes = (
        [f"{len(without)} lines are not in `lines`, so that nothing is known of them: {examples(without)}."]
        if without
        else []
    )
    return result, notes


def index_lines(lines: pd.DataFrame, line_column: str) -> pd.DataFrame:
    """Return the table `lines` by name, each once."""
    if line_column in lines.columns:
        lines = lines.set_index(line_column)
    lines = lines.set_axis(as_names(lines.index, "line of `lines`"), axis=0)
    if lines.index.has_duplicates:
        raise ValueError(
            "The names in `lines` must be unique; these occur more than once: "
            f"{examples(lines.index[lines.index.duplicated()].unique())}."
        )
    return lines


def _storable(values: pd.Series) -> np.ndarray:
    """Numbers stay numbers; ids with gaps, and anything else, become strings with "" for what is missing."""
    if pd.api.types.is_bool_dtype(values) or (pd.api.types.is_integer_dtype(values) and not values.hasnans):
        return values.to_numpy()
    if pd.api.types.is_float_dtype(values):
        present = values.dropna().to_numpy(dtype=np.float64)
        if len(present) == len(values) or not (present == np.round(present)).all():
            return values.to_numpy(dtype=np.float64, na_value=np.nan)
    return np.array([as_text(value) for value in values.astype(object)], dtype=object)
