"""Tables that go into a bulk reference, read and checked: responses, drugs, lines."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd

from .._validate import check_key, examples, slug

logger = logging.getLogger(__name__)

#: Columns of ``uns["drugs"]``, in this order.
DRUG_COLUMNS = ("name", "smiles", "pubchem_cid", "targets", "pathway")


def as_names(values: Iterable[Any], what: str) -> pd.Index:
    """Names as strings; 906826.0 becomes "906826", and a missing name is an error."""
    index = pd.Index(values)
    if index.isna().any():
        raise ValueError(f"Every {what} needs a name; {int(index.isna().sum())} names are missing.")
    return pd.Index([_text(value) for value in index], dtype=object)


def _text(value: Any) -> str:
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
    if np.isinf(pairs["value"]).any():
        where = pairs[np.isinf(pairs["value"])]
        raise ValueError(
            f"`response` must be finite, or NaN where a pair was not measured; {len(where)} values are infinite, "
            f"for the drugs {examples(where['drug'].unique())}."
        )
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
    if not pd.api.types.is_numeric_dtype(response[value_column]):
        raise ValueError(f"`response[{value_column!r}]` must hold numbers; found {examples(response[value_column])}.")
    return pd.DataFrame(
        {
            "line": _encode(response[line_column], "line of `response`"),
            "drug": _encode(response[drug_column], "drug of `response`"),
            "value": response[value_column].to_numpy(dtype=np.float64, na_value=np.nan),
        }
    )


def _find_value_column(response: pd.DataFrame, taken: tuple[str, str], measure: str) -> str:
    by_name = {str(column).lower(): column for column in response.columns if column not in taken}
    for candidate in (measure.lower(), "value"):
        if candidate in by_name:
            return by_name[candidate]
    numeric = [c for c in by_name.values() if pd.api.types.is_numeric_dtype(response[c])]
    if len(numeric) != 1:
        raise KeyError(
            f"Which column of `response` holds the values? Neither {measure!r} nor 'value' is there, and "
            f"{len(numeric)} columns hold numbers: {examples(numeric)}. Name one with `value_column`."
        )
    return numeric[0]


def _encode(names: pd.Series, what: str) -> pd.Categorical:
    """Names as strings, made once for each distinct name, since long tables repeat each hundreds of times."""
    codes, distinct = pd.factorize(names)
    if (codes < 0).any():
        raise ValueError(f"Every {what} needs a name; {int((codes < 0).sum())} rows have none.")
    merged, categories = pd.factorize(as_names(distinct, what))
    return pd.Categorical(np.asarray(categories, dtype=object)[merged][codes])


def _read_wide(response: pd.DataFrame, line_column: str) -> pd.DataFrame:
    if line_column in response.columns:
        response = response.set_index(line_column)
    wrong = [column for column, kind in response.dtypes.items() if not pd.api.types.is_numeric_dtype(kind)]
    if wrong:
        raise ValueError(
            f"A wide `response` must hold numbers only, lines × drugs; these columns do not: {examples(wrong)}. "
            "For a long table, name its columns with `line_column`, `drug_column` and `value_column`."
        )
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
            "value": response.to_numpy(dtype=np.float64, na_value=np.nan).ravel(),
        }
    )


def drug_table(names: pd.Index, ids: list[str], drugs: pd.DataFrame | None) -> pd.DataFrame:
    """Table by drug id with :data:`DRUG_COLUMNS`, strings only, for the drugs called `names`."""
    table = pd.DataFrame("", index=pd.Index(ids, dtype=object), columns=list(DRUG_COLUMNS), dtype=object)
    table["name"] = list(names)
    if drugs is None:
        return table
    known = drugs.set_index("name") if "name" in drugs.columns else drugs
    known = known[[column for column in DRUG_COLUMNS if column in known.columns]]
    known = known.set_axis(as_names(known.index, "drug of `drugs`"), axis=0)
    if known.index.has_duplicates:
        raise ValueError(
            "The names in `drugs` must be unique; these occur more than once: "
            f"{examples(known.index[known.index.duplicated()].unique())}."
        )
    # A name that differs only in case or punctuation is the same drug, unless two names of the table do so.
    by_slug = pd.Series(known.index, index=[slug(name) for name in known.index])
    by_slug = by_slug[~by_slug.index.duplicated(keep=False)]
    found = [name if name in known.index else by_slug.get(slug(name)) for name in names]
    for position, name in enumerate(found):
        if name is None:
            continue
        for column in known.columns:
            table.iat[position, table.columns.get_loc(column)] = _text(known.at[name, column])
    unknown = [name for name, match in zip(names, found) if match is None]
    if unknown:
        logger.info("%d drugs are not in `drugs`: %s.", len(unknown), examples(unknown))
    return table


def line_table(obs: pd.DataFrame, lines: pd.DataFrame, line_column: str) -> pd.DataFrame:
    """Add the columns of `lines` to `obs`, in forms that every file format holds."""
    if line_column in lines.columns:
        lines = lines.set_index(line_column)
    lines = lines.set_axis(as_names(lines.index, "line of `lines`"), axis=0)
    if lines.index.has_duplicates:
        raise ValueError(
            "The names in `lines` must be unique; these occur more than once: "
            f"{examples(lines.index[lines.index.duplicated()].unique())}."
        )
    result = obs.copy()
    for column in lines.columns:
        result[str(column).replace("/", "|")] = _storable(lines[column].reindex(obs.index))
    return result


def _storable(values: pd.Series) -> np.ndarray:
    """Numbers stay numbers; ids with gaps, and anything else, become strings with "" for what is missing."""
    if pd.api.types.is_bool_dtype(values) or (pd.api.types.is_integer_dtype(values) and not values.hasnans):
        return values.to_numpy()
    if pd.api.types.is_float_dtype(values):
        present = values.dropna().to_numpy(dtype=np.float64)
        if len(present) == len(values) or not (present == np.round(present)).all():
            return values.to_numpy(dtype=np.float64, na_value=np.nan)
    return np.array([_text(value) for value in values.astype(object)], dtype=object)
