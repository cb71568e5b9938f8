from __future__ import annotations

import gzip
import importlib.util
import sqlite3
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "build_gene_table.py"
# row, Entrez id, symbol, type, chromosome, Ensembl ids, stated by NCBI, stated by Ensembl, aliases
GENES = [
    (1, "7157", "TP53", "protein-coding", "17", ["E1", "E9"], ["E1", "E9"], ["E1", "E9"], ["P53", "TP53"]),
    (2, "4535", "ND1", "protein-coding", "MT", ["E2"], ["E2"], ["E2"], ["MTND1", "ND1"]),
    (3, "4558", "TRNF", "tRNA", "MT", [], [], [], ["TRNF"]),
    (4, "9", "NEIGHBOUR", "ncRNA", "17", ["E9"], ["E9"], ["E9"], []),
    (5, "11", "LOC11", "protein-coding", "17", ["E9"], [], ["E9"], []),
    (6, "12", "ENHANCER", "biological-region", "1", [], [], [], []),
    (7, "13", "TRAIT", "unknown", "1", [], [], [], []),
    (8, "14", "MYSTERY", "unknown", "1", ["E3"], ["E3"], [], ["B", "A"]),
]


@pytest.fixture
def script():
    if not SCRIPT.is_file():
        pytest.skip("scripts are not part of this installation")
    spec = importlib.util.spec_from_file_location("build_gene_table", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


@pytest.fixture
def sqlite(tmp_path: Path) -> Path:
    path = tmp_path / "org.sqlite"
    database = sqlite3.connect(path)
    for table, columns in {
        "metadata": "name, value",
        "genes": "_id, gene_id",
        "gene_info": "_id, symbol",
        "genetype": "_id, gene_type",
        "chromosomes": "_id, chromosome",
        "alias": "_id, alias_symbol",
        "ensembl": "_id, ensembl_id",
        "ensembl2ncbi": "_id, ensembl_id",
        "ncbi2ensembl": "_id, ensembl_id",
    }.items():
        database.execute(f"CREATE TABLE {table} ({columns})")
    for name in ("ORGANISM", "EGSOURCEDATE", "ENSOURCEDATE"):
        database.execute("INSERT INTO metadata VALUES (?, ?)", (name, f"the {name}"))
    for row, entrez, symbol, kind, chromosome, *lists in GENES:
        tables = ("ensembl", "ncbi2ensembl", "ensembl2ncbi", "alias")
        single = {"genes": entrez, "gene_info": symbol, "genetype": kind, "chromosomes": chromosome}
        for table, value in [*single.items(), *((t, v) for t, values in zip(tables, lists) for v in values)]:
            database.execute(f"INSERT INTO {table} VALUES (?, ?)", (row, value))
    database.commit()
    database.close()
    return path


def test_table_is_built_by_the_rules_that_its_provenance_states(script, sqlite, tmp_path):
    provenance = script.build(sqlite, "test 1.0", tmp_path / "out")
    content = gzip.decompress((tmp_path / "out" / "genes.tsv.gz").read_bytes()).decode()
    assert content.splitlines() == [
        "symbol\tentrez\ttype\tensembl\taliases",
        "NEIGHBOUR\t9\tncRNA\t\t",
        "LOC11\t11\tprotein-coding\t\t",
        "MYSTERY\t14\tunknown\tE3\tA|B",
        "MT-ND1\t4535\tprotein-coding\tE2\tMTND1|ND1",
        "MT-TF\t4558\ttRNA\t\tTRNF",
        "TP53\t7157\tprotein-coding\tE1|E9\tP53",
    ]
    assert provenance["source"] == "test 1.0"
    assert provenance["entrez_gene_date"] == "the EGSOURCEDATE"
    assert (provenance["n_genes"], provenance["n_ensembl"], provenance["n_ensembl_contested"]) == (6, 4, 1)


def test_table_is_the_same_to_the_byte_each_time(script, sqlite, tmp_path):
    outputs = [tmp_path / "first", tmp_path / "second"]
    for output in outputs:
        script.build(sqlite, "test 1.0", output)
    for name in ("genes.tsv.gz", "genes.json"):
        assert (outputs[0] / name).read_bytes() == (outputs[1] / name).read_bytes()
