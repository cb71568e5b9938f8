"""What a file holds, by its first bytes: names lie, and servers answer with web pages."""

from __future__ import annotations

import bz2
import gzip
import lzma
import zipfile
from pathlib import Path

_SIGNATURES = {
    b"\x89HDF\r\n\x1a\n": "HDF5",
    b"\x1f\x8b": "gzip",
    b"PK\x03\x04": "zip",
    b"PK\x05\x06": "zip",
    b"BZh": "bzip2",
    b"\xfd7zXZ\x00": "xz",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"PAR1": "Parquet",
    b"\xd0\xcf\x11\xe0": "xls",
    b"%PDF": "PDF",
    b"RDX2\n": "RData",
    b"RDX3\n": "RData",
    b"X\n\x00\x00\x00": "RDS",
}
#: Byte order marks of text that is not UTF-8.
_UTF16 = (b"\xff\xfe", b"\xfe\xff")
#: Control characters that no text holds.
_CONTROL = bytes(set(range(32)) - {7, 8, 9, 10, 12, 13, 27})
_HEAD = 4096
#: How messages call a kind.
WORDS = {
    "HDF5": "an HDF5 file",
    "gzip": "a gzip archive",
    "zip": "a zip archive",
    "bzip2": "a bzip2 archive",
    "xz": "an xz archive",
    "zstd": "a zstd archive",
    "Parquet": "a Parquet table",
    "xlsx": "an Excel workbook",
    "xls": "an Excel workbook of the old kind (.xls)",
    "PDF": "a PDF",
    "RData": "an R workspace",
    "RDS": "an R object (.rds)",
    "web page": "a web page",
    "text": "text",
    "empty": "an empty file",
    "binary": "binary data of no known kind",
}


def content_of(path: Path) -> str:
    """Kind of a file, one of :data:`WORDS`.

    Raises
    ------
    OSError
        If the file cannot be opened.
    """
    with path.open("rb") as file:
        head = file.read(_HEAD)
    kind = kind_of(head)
    if kind == "zip" and is_workbook(path):
        return "xlsx"
    return kind


def unpacked_head(path: Path) -> bytes:
    """First bytes of a file, unpacked where it is a gzip, bzip2 or xz archive; what can be had of a damaged one."""
    opener = {"gzip": gzip.open, "bzip2": bz2.open, "xz": lzma.open}.get(content_of(path), open)
    try:
        with opener(path, "rb") as file:
            return file.read(_HEAD)
    except (OSError, EOFError, lzma.LZMAError):
        return b""


def is_workbook(path: Path) -> bool:
    """Whether a zip archive is an Excel workbook."""
    try:
        with zipfile.ZipFile(path) as archive:
            return any(name.startswith("xl/") for name in archive.namelist())
    except zipfile.BadZipFile:
        return False


def kind_of(head: bytes) -> str:
    """Kind of a file from its first bytes, one of :data:`WORDS`."""
    if not head:
        return "empty"
    for signature, kind in _SIGNATURES.items():
        if head.startswith(signature):
            return kind
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if start.startswith((b"<!doctype html", b"<html", b"<head", b"<script", b"<body")) or (
        start.startswith((b"<?xml", b"<!--")) and b"<html" in start
    ):
        return "web page"
    if not head.startswith(_UTF16) and head.translate(None, _CONTROL) != head:
        return "binary"
    return "text"
