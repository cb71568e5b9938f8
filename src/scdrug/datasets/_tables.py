"""Read tables as people keep them: any delimiter, encoding, line end and packing, or say what is wrong and where."""

from __future__ import annotations

import csv
import warnings
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from .._validate import examples, import_optional, nearest
from ._content import WORDS
from ._text import DELIMITER_NAMES, PACKED, below, check_rows, find_decimal, find_delimiter, kind_of_file, open_text

if TYPE_CHECKING:
    from anndata import AnnData


def read_table(
    path: Path,
    *,
    columns: Sequence[str] = (),
    names: Sequence[str] | None = None,
    index: bool = False,
    text: bool | Sequence[str] = False,
    numbers: bool | Sequence[str] = False,
    ids: Sequence[str] = (),
    sheet: str | None = None,
    repeated: bool = False,
    missing: bool = True,
) -> pd.DataFrame:
    """Read a table from text (packed or not), Excel or Parquet, whichever the file holds.

    Parameters
    ----------
    path
        File. Its content decides, not its ending.
    columns
        Columns that must be there, each once.
    names
        Names of the columns of a table without a header.
    index
        Whether the first column names the rows; then no name may be missing.
    text
        Columns to keep as text; True for all.
    numbers
        Columns that must be numbers; True for all but the index.
    ids
        Columns in which no value may be missing.
    sheet
        Sheet of a workbook; the first if omitted.
    repeated
        Whether names of columns may repeat; they are then kept as they are.
    missing
        Whether empty cells and words such as ``NA`` are missing values; else they are text.

    Returns
    -------
    The table; names of columns are stripped text.

    Raises
    ------
    ValueError
        If the file is empty, damaged or of another kind, rows have different numbers of fields, or a column is missing,
        repeated, or not what it should be: file and column or line are named.
    """
    content = kind_of_file(path)
    if content == "Parquet":
        table = _parquet(path)
    elif content in ("xlsx", "xls"):
        table = _workbook(path, sheet, names)
    elif content in ("text", "zip", *PACKED):
        table = _delimited(path, columns, names, index=index, text=text, missing=missing)
    elif content == "empty":
        raise ValueError(f"{path} is empty.")
    else:
        hint = " It may be a login page: download the table again." if content == "web page" else ""
        raise ValueError(f"{path} must be a table; it holds {WORDS[content]}.{hint}")
    return check_table(
        table,
        str(path),
        columns=columns,
        index=index and isinstance(table.index, pd.RangeIndex),  # Parquet may hold names of rows beside the columns
        text=text,
        numbers=numbers,
        ids=ids,
        repeated=repeated,
    )


def check_table(
    table: pd.DataFrame,
    where: str,
    *,
    columns: Sequence[str] = (),
    index: bool = False,
    text: bool | Sequence[str] = False,
    numbers: bool | Sequence[str] = False,
    ids: Sequence[str] = (),
    repeated: bool = False,
) -> pd.DataFrame:
    """Check a table that was read, see :func:`read_table` for the parameters; `where` is its name in messages."""
    table.columns = [str(name).strip() for name in table.columns]
    empty = [i for i, name in enumerate(table.columns) if not name and i and table.iloc[:, i].isna().all()]
    if empty:  # a delimiter at the end of each line
        table = table.iloc[:, [i for i in range(table.shape[1]) if i not in empty]]
    lacking = [column for column in columns if column not in table.columns]
    if lacking:
        near = nearest(lacking[0], table.columns, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise ValueError(f"{where} lacks the columns {examples(lacking)}; it has {examples(table.columns, 12)}.{hint}")
    counts = table.columns[index:].value_counts()
    twice = counts.index[counts > 1]
    twice = [name for name in twice if name in columns] if repeated else list(twice)
    if twice:
        raise ValueError(f"{where} has columns twice: {examples(twice)}. Rename or remove one of each.")
    if table.empty:
        raise ValueError(f"{where} has a header but no {'row' if table.shape[1] else 'column'}.")
    for column in ids:
        _check_ids(table[column], where, column)
    if index:
        first = table.iloc[:, 0]
        _check_ids(first, where, table.columns[0] or "first")
        table = table.iloc[:, 1:].set_axis(pd.Index(first.to_numpy(), name=table.columns[0] or None), axis=0)
    wanted = table.columns if numbers is True else [name for name in (numbers or ()) if name in table.columns]
    return as_numbers(table, set(wanted), where)


def _check_ids(values: pd.Series, where: str, column: str) -> None:
    bad = values.isna().to_numpy() | (values.astype(str).str.strip() == "").to_numpy()
    if bad.any():
        rows = [str(row + 1) for row in np.flatnonzero(bad)[:5]]
        raise ValueError(
            f"{where}: {int(bad.sum())} of {len(bad)} values are missing in the column {column!r}, which names its rows: "
            f"row {', '.join(rows)} below the header. Name or remove them."
        )


def as_numbers(table: pd.DataFrame, columns: Collection[str], where: str) -> pd.DataFrame:
    """Make columns numbers; a ValueError names the first value that is none, with its column and row."""
    made = {}
    for position in np.flatnonzero(table.columns.isin(columns)):
        column, values = table.columns[position], table.iloc[:, position]
        if values.dtype.kind in "fiub":
            continue
        numeric = pd.to_numeric(values, errors="coerce")
        bad = (numeric.isna() & values.notna()).to_numpy()
        if bad.any():
            row = int(np.flatnonzero(bad)[0])
            raise ValueError(
                f"{where}: the column {column!r} must hold numbers; found {str(values.iloc[row])[:40]!r} in row {row + 1} below "
                f"the header{f', and {int(bad.sum()) - 1} more' if bad.sum() > 1 else ''}."
            )
        made[position] = numeric.astype(float)
    if not made:
        return table
    parts = [made.get(position, table.iloc[:, position]) for position in range(table.shape[1])]
    return pd.concat(parts, axis=1).set_axis(table.columns, axis=1)


def _delimited(
    path: Path,
    columns: Sequence[str],
    names: Sequence[str] | None,
    *,
    index: bool,
    text: bool | Sequence[str],
    missing: bool,
) -> pd.DataFrame:
    with open_text(path) as file:
        first = next((line for line in file if line.strip()), None)
        if first is None:
            raise ValueError(f"{path} is empty.")
        while first.count('"') % 2 and (more := file.readline()):  # line breaks between quotes
            first += more
        delimiter = find_delimiter(first, columns, names)
    with open_text(path) as file:
        header, n_fields, end = check_rows(file, delimiter, path)
    if names is not None:
        if n_fields != len(names):
            raise ValueError(
                f"{path} must have {len(names)} columns without a header ({', '.join(names)}); found {n_fields} between "
                f"delimiters ({DELIMITER_NAMES[delimiter]})."
            )
        labels = list(names)
    elif len(header) == n_fields - 1:  # R leaves the corner above the names of rows out
        labels = ["", *header]
    elif len(header) == n_fields:
        labels = header
    else:
        raise ValueError(f"{path}: the header has {len(header)} fields, the rows have {n_fields}.")
    kept = range(n_fields) if text is True else [i for i, label in enumerate(labels) if text and label.strip() in text]
    dtype: Any = dict.fromkeys(kept, str) | ({0: str} if index else {})
    with open_text(path) as file, warnings.catch_warnings():
        warnings.simplefilter("ignore", pd.errors.DtypeWarning)  # `as_numbers` says it better
        try:
            table = pd.read_csv(
                below(file, 0 if names is not None else end),
                sep=delimiter,
                header=None,
                dtype=dtype or None,
                keep_default_na=missing,
                decimal=find_decimal(path, delimiter),
            )
        except pd.errors.EmptyDataError:
            table = pd.DataFrame(columns=range(n_fields))
        except (pd.errors.ParserError, csv.Error, OverflowError) as error:
            raise ValueError(f"{path} cannot be read as a table ({str(error).strip()}).") from error
    table.columns = labels
    return table


# other forms ----------------------------------------------------------------------------------------------------------


def _parquet(path: Path) -> pd.DataFrame:
    import_optional("pyarrow", extra="test", purpose=f"Reading {path.name}")
    try:
        return pd.read_parquet(path)
    except Exception as error:
        raise ValueError(
            f"{path} cannot be read as a Parquet table; it may be truncated ({first_line(error)})."
        ) from error


def _workbook(path: Path, sheet: str | None, names: Sequence[str] | None) -> pd.DataFrame:
    try:
        with pd.ExcelFile(path) as book:
            sheets = [str(name) for name in book.sheet_names]
            if sheet is None or sheet in sheets:
                return book.parse(sheet if sheet is not None else 0, header=0 if names is None else None, names=names)
    except ImportError:
        raise
    except Exception as error:
        raise ValueError(
            f"{path} cannot be read as an Excel workbook; it may be truncated ({first_line(error)})."
        ) from error
    raise ValueError(f"{path} lacks the sheet {sheet!r}; it has {examples(sheets)}.")


def read_h5ad(path: Path) -> AnnData:
    """Read an h5ad file.

    Raises
    ------
    ValueError
        If it is damaged or of another kind.
    """
    import anndata

    content = kind_of_file(path)
    if content != "HDF5":
        raise ValueError(f"{path} must be an h5ad file; it cannot be read as one, since it holds {WORDS[content]}.")
    try:
        return anndata.read_h5ad(path)
    except MemoryError:
        raise
    except Exception as error:
        raise ValueError(f"{path} must be an h5ad file; it cannot be read as one ({first_line(error)}).") from error


def first_line(error: Exception) -> str:
    """Kind of an error and the first line of what it says."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
