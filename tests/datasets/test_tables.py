"""Files as people keep them: read, or refused with file and place, never with an error of another library."""

from __future__ import annotations

import bz2
import gzip
import lzma
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest

import scdrug
from scdrug.datasets._gctx import read_gctx
from scdrug.datasets._gdsc_formats import read_compounds, read_fitted_responses, read_line_details, read_rma
from scdrug.datasets._tables import read_h5ad, read_table

TEXT = "line,drug,value\nA549,5-FU,2.5\nPC3,Lapatinib,\nMCF7,Taxol,-1e-3\n"


def _packed(path: Path, how: str, content: bytes) -> None:
    if how == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("table.csv", content)
            archive.writestr("__MACOSX/._table.csv", b"\0")
        return
    path.write_bytes({"plain": bytes, "gzip": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress}[how](content))


@pytest.mark.parametrize("how", ["plain", "gzip", "bz2", "xz", "zip"])
@pytest.mark.parametrize("name", ["table.csv", "table.csv.gz", "table"])
def test_the_content_decides_how_a_table_is_unpacked(how, name, tmp_path) -> None:
    _packed(tmp_path / name, how, TEXT.encode())
    table = read_table(tmp_path / name, columns=("line", "value"), numbers=("value",))
    assert table["line"].tolist() == ["A549", "PC3", "MCF7"]
    np.testing.assert_array_equal(table["value"], [2.5, np.nan, -1e-3])


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.encode("utf-8-sig"),
        lambda text: text.encode("utf-16"),
        lambda text: text.replace("5-FU", "5-FÜ").encode("latin-1").replace(b"\xdc", b"U"),
        lambda text: text.replace("\n", "\r\n").encode(),
        lambda text: text.replace("\n", "\r").encode(),
        lambda text: text.replace(",", "\t").encode(),
        lambda text: text.replace(",", ";").encode(),
        lambda text: text.replace(",", ";").replace(".", ",").replace("-1e-3", "-0,001").encode(),
        lambda text: ("\n\n" + text.replace("\n", "\n\n")).encode(),
        lambda text: text.rstrip("\n").encode(),
        lambda text: text.replace("\n", ",\n").encode(),
        lambda text: text.replace("line,", " line ,").encode(),
        lambda text: text.replace("line", '"line"').replace("5-FU", '"5-FU"').encode(),
    ],
    ids=["bom", "utf-16", "latin", "windows", "mac", "tabs", "semicolons", "comma-decimals", "blank", "no-end", "trailing",
         "spaces", "quotes"],
)  # fmt: skip
def test_tables_of_other_programs_are_read_alike(change, tmp_path) -> None:
    (tmp_path / "table.csv").write_bytes(change(TEXT))
    table = read_table(tmp_path / "table.csv", columns=("line", "drug", "value"), numbers=("value",))
    assert list(table.columns) == ["line", "drug", "value"]
    assert table["drug"].tolist() == ["5-FU", "Lapatinib", "Taxol"]
    np.testing.assert_array_equal(table["value"], [2.5, np.nan, -1e-3])


def test_a_table_with_names_of_rows_and_no_corner_is_read(tmp_path) -> None:
    (tmp_path / "table.csv").write_text('"x","y"\n"001",1,2\n"002",3,4\n')
    table = read_table(tmp_path / "table.csv", index=True, numbers=True)
    assert table.index.tolist() == ["001", "002"]
    assert table["x"].tolist() == [1, 3]


def test_a_header_may_hold_line_breaks(tmp_path) -> None:
    (tmp_path / "table.csv").write_text('"a\nb",c\n1,2\n')
    assert read_table(tmp_path / "table.csv").to_dict("list") == {"a\nb": [1], "c": [2]}


def _workbook(path: Path, **sheets: pd.DataFrame) -> None:
    with pd.ExcelWriter(path, engine="openpyxl") as writer:
        for name, sheet in sheets.items():
            sheet.to_excel(writer, sheet_name=name, index=False)


def test_workbooks_and_parquet_are_known_under_any_name(tmp_path) -> None:
    table = pd.DataFrame({"line": ["A549"], "value": [1.5]})
    _workbook(tmp_path / "made.xlsx", first=table)
    (tmp_path / "made.xlsx").rename(tmp_path / "table.csv")
    table.to_parquet(tmp_path / "table.txt")
    for name in ("table.csv", "table.txt"):
        pd.testing.assert_frame_equal(read_table(tmp_path / name, columns=("line", "value")), table, check_dtype=False)


BAD = {
    "empty": (b"", "is empty"),
    "blank": (b"\n \n", "is empty"),
    "only a header": (b"line,drug,value\n", "no row"),
    "short row": (b"line,drug,value\nA,B,1\nC,D\n", "line 3: 2 fields, where the lines before have 3"),
    "long row": (b"line,drug,value\nA,B,1\nC,D,2,3\n", "line 3: 4 fields"),
    "short row after quotes": (b'line,drug,value\n"A",B,1\n\nC\n', "line 4: 1 fields"),
    "longer rows": (b"line,drug,value\nA,B,1,2,3\n", "the header has 3 fields, the rows have 5"),
    "unclosed quote": (b'line,drug,value\n"A,B,1\nC,D,2\n', "header has 3 fields|line"),
    "no column": (b"line,drugs,value\nA,B,1\n", "lacks the columns 'drug'.*Did you mean 'drugs'"),
    "column twice": (b"line,drug,value,drug\nA,B,1,C\n", "columns twice: 'drug'"),
    "no id": (b"line,drug,value\n,B,1\nA,C,1\nNA,C,1\n", "2 of 3 values are missing in the column 'line'.*row 1, 3"),
    "no number": (b"line,drug,value\nA,B,1\nC,D,high\n", "column 'value' must hold numbers; found 'high' in row 2"),
    "web page": (b"<!DOCTYPE html><html><body>Sign in</body></html>", "a web page"),
    "binary": (b"line,drug,value\n\x00\x01\x02\n", "binary data"),
    "binary later": (b"line,drug,value\n" + b"A,B,1\n" * 2000 + b"\x00\x01\x02\n", "binary data"),
    "hdf5": (b"\x89HDF\r\n\x1a\n rest", "an HDF5 file"),
    "cut gzip": (gzip.compress(TEXT.encode() * 999)[:200], "cannot be unpacked"),
    "no zip": (b"PK\x03\x04 rest", "cannot be unpacked"),
    "cut parquet": (b"PAR1 rest", "cannot be read as a Parquet table"),
    "old workbook": (b"\xd0\xcf\x11\xe0 rest", "cannot be read as an Excel workbook|xlrd"),
}


@pytest.mark.parametrize("kind", BAD)
def test_what_is_wrong_with_a_table_is_said_with_its_place(kind, tmp_path) -> None:
    content, said = BAD[kind]
    (tmp_path / "table.csv").write_bytes(content)
    with pytest.raises((ValueError, ImportError), match=said) as error:
        read_table(tmp_path / "table.csv", columns=("line", "drug", "value"), numbers=("value",), ids=("line",))
    if kind != "old workbook":
        assert type(error.value) is ValueError
        assert str(tmp_path / "table.csv") in str(error.value)


def test_a_workbook_without_the_sheet_or_cut_is_refused(tmp_path) -> None:
    _workbook(tmp_path / "book.xlsx", first=pd.DataFrame({"a": [1]}))
    with pytest.raises(ValueError, match="lacks the sheet 'second'; it has 'first'"):
        read_table(tmp_path / "book.xlsx", sheet="second")
    content = (tmp_path / "book.xlsx").read_bytes()
    (tmp_path / "book.xlsx").write_bytes(content[: len(content) // 2])
    with pytest.raises(ValueError, match="book.xlsx"):
        read_table(tmp_path / "book.xlsx")


def test_an_archive_of_several_files_is_refused(tmp_path) -> None:
    with zipfile.ZipFile(tmp_path / "table.zip", "w") as archive:
        archive.writestr("a.csv", TEXT)
        archive.writestr("b.csv", TEXT)
    with pytest.raises(ValueError, match="must hold one file.*'a.csv', 'b.csv'"):
        read_table(tmp_path / "table.zip")


# readers --------------------------------------------------------------------------------------------------------------

JUNK = {
    "empty": b"",
    "binary": bytes(range(256)) * 20,
    "web page": b"<html><body>login</body></html>",
    "other table": b"a,b\n1,2\n",
    "no delimiter": b"some words\nsome more words\n",
    "ragged": b"a,b,c\n1,2\n1,2,3,4\n",
    "cut gzip": gzip.compress(TEXT.encode() * 999)[:150],
    "hdf5": b"\x89HDF\r\n\x1a\n" + b"\0" * 100,
    "half a workbook": b"PK\x03\x04" + b"\0" * 100,
    "half a parquet": b"PAR1" + b"\0" * 100,
    "one byte": b"x",
    "bad utf-8": b"\xff\xfe\xfa\n",
}
ONE = pd.DataFrame({"TP53": [1.0]}, index=["a"])
READERS = {
    "fitted responses": ("t.csv", lambda path: read_fitted_responses(path, "GDSC2")),
    "rma": ("t.txt", read_rma),
    "compounds": ("t.csv", read_compounds),
    "line details": ("t.xlsx", read_line_details),
    "gmt": ("t.gmt", scdrug.datasets.read_gmt),
    "ppi": ("STRING_edges.csv", lambda path: scdrug.datasets.ppi(path=path)),
    "scored ppi": ("PPI_network.txt", lambda path: scdrug.datasets.ppi("dualgcn", path=path)),
    "gctx": ("t.gctx", read_gctx),
    "h5ad": ("t.h5ad", read_h5ad),
    "l1000": ("demo.h5ad", lambda path: scdrug.datasets.l1000("ht115", path=path)),
    "l1000 pairs": ("transigen_pairs100.parquet", lambda path: scdrug.datasets.l1000("pairs", path=path)),
    "l1000 basal": (
        "transigen_basal_level3_165cells.parquet", lambda path: scdrug.datasets.l1000("basal", path=path)
    ),
    "he2025": ("GSE117872.h5ad", lambda path: scdrug.datasets.he2025("GSE117872", path=path)),
    "a375": ("scad_A375_plx4720.h5ad", lambda path: scdrug.datasets.a375_plx4720(path=path)),
    "pdx": ("41591_2015_BFnm3954_MOESM10_ESM.xlsx", lambda path: scdrug.datasets.pdx(path=path)),
    "ccle": ("OmicsExpressionProteinCodingGenesTPMLogp1.csv", lambda path: scdrug.datasets.ccle(path=path)),
    "patients": ("t.csv", lambda path: scdrug.datasets.read_patients(ONE, path)),
    "expression of patients": (
        "t.csv",
        lambda path: scdrug.datasets.read_patients(
            path, pd.DataFrame({"patient": ["a"], "drug": ["b"], "response": [1], "cohort": ["c"]})
        ),
    ),
    "mtigcn": ("t.csv", lambda path: scdrug.datasets.mtigcn_ccle(path, ONE)),
}  # fmt: skip


@pytest.mark.parametrize("junk", JUNK)
@pytest.mark.parametrize("reader", READERS)
def test_no_reader_lets_another_library_speak(reader, junk, tmp_path) -> None:
    name, read = READERS[reader]
    (tmp_path / name).write_bytes(JUNK[junk])
    with pytest.raises((ValueError, KeyError)) as error:
        read(tmp_path / name)
    assert type(error.value) in (ValueError, KeyError), f"{type(error.value)}: {error.value}"
    assert error.traceback[-1].path.is_relative_to(Path(scdrug.__file__).parent), "raised by another library"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("SET\tabout\n", "Line 1 .* a name, a description and genes"),
        ("SET about TP53\n", "Line 1 "),
        ("\tabout\tTP53\n", "Line 1 "),
        ("A\tx\tTP53\nB\tx\tTP53\nA\tx\tEGFR\n", "twice, in line 3"),
        ("\n\n", "is empty|holds no gene set"),
    ],
)
def test_lines_of_a_gmt_file_are_named(content, said, tmp_path) -> None:
    (tmp_path / "sets.gmt").write_text(content)
    with pytest.raises(ValueError, match=said):
        scdrug.datasets.read_gmt(tmp_path / "sets.gmt")


@pytest.mark.parametrize(
    "change", [lambda c: c, lambda c: b"\xef\xbb\xbf" + c, lambda c: c.replace(b"\n", b"\r\n"), gzip.compress]
)
def test_gmt_files_of_other_programs_are_read_alike(change, tmp_path) -> None:
    (tmp_path / "sets.gmt").write_bytes(change(b"A\tabout\tTP53\tEGFR\nB\t\tKRAS\t\n"))
    assert scdrug.datasets.read_gmt(tmp_path / "sets.gmt") == {"A": ["TP53", "EGFR"], "B": ["KRAS"]}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda file: file.pop("0/META/COL/id"), "lacks '0/META/COL/id'"),
        (lambda file: file.create_dataset("0/META/COL/id", data=[b"a", b"a"]), "profiles twice: 'a'"),
        (lambda file: file.create_dataset("0/META/COL/id", data=[b"a", b"b", b"c"]), "shape"),
        (lambda file: file.create_dataset("0/META/COL/id", data=[[b"a", b"b"]]), "array with 1 axes"),
        (lambda file: file.create_dataset("0/META/COL/id", data=b"a"), "array with 1 axes"),
        (lambda file: file.create_group("0/META/COL/id"), "array with 1 axes"),
        (lambda file: file.create_dataset("0/DATA/0/matrix", data=np.zeros(6)), "array with 2 axes"),
        (lambda file: file.create_dataset("0/DATA/0/matrix", data=np.full((2, 3), b"x")), "must hold numbers"),
    ],
)  # fmt: skip
def test_wrong_parts_of_a_gctx_file_are_named(change, said, tmp_path) -> None:
    class File(h5py.File):
        def create_dataset(self, name, **options):
            if name in self:
                del self[name]
            return super().create_dataset(name, **options)

        def create_group(self, name, **options):
            if name in self:
                del self[name]
            return super().create_group(name, **options)

    with File(tmp_path / "t.gctx", "w") as file:
        h5py.File.create_dataset(file, "0/DATA/0/matrix", data=np.zeros((2, 3), dtype=np.float32))
        h5py.File.create_dataset(file, "0/META/ROW/id", data=[b"1", b"2", b"3"])
        h5py.File.create_dataset(file, "0/META/COL/id", data=[b"a", b"b"])
        change(file)
    with pytest.raises(ValueError, match=said) as error:
        read_gctx(tmp_path / "t.gctx")
    assert "t.gctx" in str(error.value)
