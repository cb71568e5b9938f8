"""Read tables as people keep them: any delimiter, encoding, line end and packing, or say what is wrong and where."""

from __future__ import annotations

import bz2
import codecs
import csv
import gzip
import io
import itertools
import lzma
import re
import warnings
import zipfile
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from .._validate import examples, import_optional, nearest
from ._content import WORDS, content_of

if TYPE_CHECKING:
    from anndata import AnnData

_DELIMITERS = ("\t", ",", ";", "|")
_PACKED = {"gzip": gzip.open, "bzip2": bz2.open, "xz": lzma.open}
_DAMAGE = (OSError, EOFError, lzma.LZMAError, zipfile.BadZipFile, zipfile.LargeZipFile, NotImplementedError)
_MARKS = {b"\xef\xbb\xbf": "utf-8-sig", b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}
_NAMES = {"\t": "tab", ",": "comma", ";": "semicolon", "|": "bar"}


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
    elif content in ("text", "zip", *_PACKED):
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


def kind_of_file(path: Path) -> str:
    """What a file holds, see :func:`~scdrug.datasets._content.content_of`; that it is there and no folder is checked."""
    if path.is_dir():
        raise ValueError(f"{path} is a folder; expected a file.")
    if not path.exists():
        raise FileNotFoundError(f"No file at {path}.")
    return content_of(path)


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
    for position, column in enumerate(table.columns):
        values = table.iloc[:, position]
        if column not in columns or values.dtype.kind in "fiub":
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


# text -----------------------------------------------------------------------------------------------------------------


@contextmanager
def open_text(path: Path) -> Iterator[IO[str]]:
    """Text of a file, unpacked where it is an archive of one file, in the encoding that its bytes show.

    Raises
    ------
    ValueError
        If the file is damaged, or holds no text.
    """
    content = kind_of_file(path)
    if content not in ("text", "zip", *_PACKED):
        hint = " It may be a login page: download the file again." if content == "web page" else ""
        raise ValueError(f"{path} must be text; it holds {WORDS[content]}.{hint}")
    try:
        encoding = _encoding(path, content)
        with _open_bytes(path, content) as file, io.TextIOWrapper(file, encoding=encoding, newline="") as text:
            yield text
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not text in {error.encoding} (byte {error.start:,}). Save it as UTF-8.") from error
    except _DAMAGE as error:
        if isinstance(error, PermissionError | FileNotFoundError):
            raise
        raise ValueError(f"{path} cannot be unpacked; it may be truncated or damaged ({error}).") from error


@contextmanager
def _open_bytes(path: Path, content: str) -> Iterator[IO[bytes]]:
    if content == "zip":
        with zipfile.ZipFile(path) as archive:
            inside = [
                name for name in archive.namelist() if not name.endswith("/") and not name.startswith("__MACOSX/")
            ]
            if len(inside) != 1:
                raise ValueError(
                    f"{path} must hold one file; it is a zip archive of {len(inside)}: {examples(inside)}."
                )
            if archive.getinfo(inside[0]).flag_bits & 1:
                raise ValueError(f"{path} is protected by a password. Unpack it first.")
            with archive.open(inside[0]) as file:
                yield file
        return
    with _PACKED.get(content, open)(path, "rb") as file:
        yield file


def _encoding(path: Path, content: str) -> str:
    """UTF-8 if all of it is; Latin-1 else, which older programs write."""
    with _open_bytes(path, content) as file:
        head = file.read(1 << 20)
        for mark, encoding in _MARKS.items():
            if head.startswith(mark):
                return encoding
        if not head:
            raise ValueError(f"{path} is empty.")
        block = head
        utf8 = codecs.getincrementaldecoder("utf-8")()
        try:
            while block:
                if b"\0" in block:
                    raise ValueError(f"{path} must be text; it holds binary data.")
                utf8.decode(block)
                block = file.read(1 << 20)
            utf8.decode(b"", final=True)
        except UnicodeDecodeError:
            return "latin-1"
    return "utf-8"


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
        delimiter = _delimiter(first, columns, names)
    with open_text(path) as file:
        header, n_fields, end = _check_rows(file, delimiter, path)
    if names is not None:
        if n_fields != len(names):
            raise ValueError(
                f"{path} must have {len(names)} columns without a header ({', '.join(names)}); found {n_fields} between "
                f"delimiters ({_NAMES[delimiter]})."
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
                _below(file, 0 if names is not None else end),
                sep=delimiter,
                header=None,
                dtype=dtype or None,
                keep_default_na=missing,
                decimal=_decimal(path, delimiter),
            )
        except pd.errors.EmptyDataError:
            table = pd.DataFrame(columns=range(n_fields))
        except (pd.errors.ParserError, csv.Error, OverflowError) as error:
            raise ValueError(f"{path} cannot be read as a table ({str(error).strip()}).") from error
    table.columns = labels
    return table


def _delimiter(header: str, columns: Sequence[str], names: Sequence[str] | None) -> str:
    """The delimiter between which most of the wanted columns stand, or else the most frequent one."""

    def score(delimiter: str) -> tuple[int, int]:
        fields = [field.strip() for field in next(csv.reader([header], delimiter=delimiter))]
        return sum(column in fields for column in columns), (len(fields) == len(names)) if names else len(fields)

    return max(_DELIMITERS, key=score)


def _check_rows(file: IO[str], delimiter: str, path: Path) -> tuple[list[str], int, int]:
    """Header, number of fields of the rows, which must be the same in each, and the line in which the header ends."""
    header: list[str] | None = None
    n_fields = end = number = 0
    try:
        for number, row in _rows(file, delimiter):
            if header is None:
                header, end = row.split(delimiter) if isinstance(row, str) else row, number
                header[-1] = header[-1].rstrip("\r\n")
                continue
            found = row.count(delimiter) + 1 if isinstance(row, str) else len(row)
            n_fields = n_fields or found
            if found != n_fields:
                raise ValueError(
                    f"{path}, line {number}: {found} fields, where the lines before have {n_fields} (delimiter: "
                    f"{_NAMES[delimiter]}). The file may be truncated, or a field with a delimiter in it lacks quotes."
                )
    except csv.Error as error:
        raise ValueError(f"{path}, line {number + 1}: {error}.") from error
    return header or [], n_fields or len(header or []), end


def _rows(file: IO[str], delimiter: str) -> Iterator[tuple[int, str | list[str]]]:
    """Rows that are not blank, with the line in which they end: as text down to the first quote, since that is fast."""
    csv.field_size_limit(1 << 30)
    for number, line in enumerate(file, start=1):
        if '"' in line:
            reader = csv.reader(itertools.chain([line], file), delimiter=delimiter)
            yield from (
                (number - 1 + reader.line_num, row) for row in reader if len(row) > 1 or any(map(str.strip, row))
            )
            return
        if line.strip(" \r\n"):
            yield number, line


def _below(file: IO[str], n_lines: int) -> IO[str]:
    """The file without its first lines."""
    for _ in range(n_lines):
        file.readline()
    return file


def _decimal(path: Path, delimiter: str) -> str:
    """A comma where fields are parted by semicolons and numbers are written so."""
    if delimiter != ";":
        return "."
    with open_text(path) as file:
        head = file.read(100_000)
    commas, points = (len(re.findall(rf"(?:^|;)-?\d+{mark}\d+(?=;|\r|\n)", head)) for mark in (",", r"\."))
    return "," if commas > points else "."


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

    return _h5(path, "an .h5ad file", anndata.read_h5ad)


def _h5(path: Path, what: str, read: Callable[[Path], Any]) -> Any:
    content = kind_of_file(path)
    if content != "HDF5":
        raise ValueError(f"{path} must be {what}; it cannot be read as one, since it holds {WORDS[content]}.")
    try:
        return read(path)
    except MemoryError:
        raise
    except Exception as error:
        raise ValueError(f"{path} must be {what}; it cannot be read as one ({first_line(error)}).") from error


def first_line(error: Exception) -> str:
    """Kind of an error and the first line of what it says."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
