"""Text as people keep it: packed or not, in any encoding, with any delimiter and line end."""

from __future__ import annotations

import bz2
import codecs
import csv
import gzip
import io
import itertools
import lzma
import re
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from .._validate import examples
from ._content import WORDS, content_of

_DELIMITERS = ("\t", ",", ";", "|")
PACKED = {"gzip": gzip.open, "bzip2": bz2.open, "xz": lzma.open}
_DAMAGE = (OSError, EOFError, lzma.LZMAError, zipfile.BadZipFile, zipfile.LargeZipFile, NotImplementedError)
_MARKS = {b"\xef\xbb\xbf": "utf-8-sig", b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}
DELIMITER_NAMES = {"\t": "tab", ",": "comma", ";": "semicolon", "|": "bar"}


def kind_of_file(path: Path) -> str:
    """What a file holds, see :func:`~scdrug.datasets._content.content_of`; that it is there and no folder is checked."""
    if path.is_dir():
        raise ValueError(f"{path} is a folder; expected a file.")
    if not path.exists():
        raise FileNotFoundError(f"No file at {path}.")
    return content_of(path)


@contextmanager
def open_text(path: Path) -> Iterator[IO[str]]:
    """Text of a file, unpacked where it is an archive of one file, in the encoding that its bytes show.

    Raises
    ------
    ValueError
        If the file is damaged, or holds no text.
    """
    content = kind_of_file(path)
    if content not in ("text", "zip", *PACKED):
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
    with PACKED.get(content, open)(path, "rb") as file:
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


def find_delimiter(header: str, columns: Sequence[str], names: Sequence[str] | None) -> str:
    """The delimiter between which most of the wanted columns stand, or else the most frequent one."""

    def score(delimiter: str) -> tuple[int, int]:
        fields = [field.strip() for field in next(csv.reader(io.StringIO(header, newline=""), delimiter=delimiter))]
        return sum(column in fields for column in columns), (len(fields) == len(names)) if names else len(fields)

    return max(_DELIMITERS, key=score)


def check_rows(file: IO[str], delimiter: str, path: Path) -> tuple[list[str], int, int]:
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
                    f"{DELIMITER_NAMES[delimiter]}). The file may be truncated, or a field with a delimiter in it lacks quotes."
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


def below(file: IO[str], n_lines: int) -> IO[str]:
    """The file without its first lines."""
    for _ in range(n_lines):
        file.readline()
    return file


def find_decimal(path: Path, delimiter: str) -> str:
    """A comma where fields are parted by semicolons and numbers are written so."""
    if delimiter != ";":
        return "."
    with open_text(path) as file:
        head = file.read(100_000)
    commas, points = (len(re.findall(rf"(?:^|;)-?\d+{mark}\d+(?=;|\r|\n)", head)) for mark in (",", r"\."))
    return "," if commas > points else "."
