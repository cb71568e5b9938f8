from __future__ import annotations

import csv
import re
import subprocess
import sys

import pytest

import scdrug
from scdrug.datasets import _fetch
from scdrug.datasets._registry import parse_registry, registry

FILES = [file for entry in registry().values() for file in entry.files]
ENTRY = """
datasets:
  screen:
    description: A screen
    loader: null
    licence: CC0
    citation: Nobody
    files:
      - file: table.csv
        url: https://example.org/table.csv
"""


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_every_file_has_a_hash_or_is_marked_unverified(file):
    if file.unverified:
        assert file.sha256 is None
        assert file.urls or file.note, "a file that no program can fetch must say how to come by it"
    else:
        assert re.fullmatch(r"[0-9a-f]{64}", file.sha256)
        assert file.size is None or file.size > 0
        assert file.urls
    assert all(url.startswith("https://") for url in file.urls)


@pytest.mark.parametrize("entry", registry().values(), ids=lambda entry: entry.name)
def test_every_data_set_names_its_terms_and_a_loader_that_exists(entry):
    assert entry.description and entry.licence and entry.citation
    assert entry.loader is None or callable(getattr(scdrug.datasets, entry.loader))
    assert len({file.file for file in entry.files}) == len(entry.files)


def test_a_file_without_hash_is_refused_by_the_parser():
    with pytest.raises(ValueError, match="sha256 or the mark"):
        parse_registry(ENTRY)


def test_a_data_set_without_licence_is_refused_by_the_parser():
    with pytest.raises(ValueError, match="licence"):
        parse_registry(ENTRY.replace("    licence: CC0\n", ""))


def test_mirrors_come_after_the_main_address():
    text = ENTRY + "        mirrors: [https://example.com/table.csv]\n        unverified: true\n"
    (file,) = parse_registry(text)["screen"].files
    assert file.urls == ("https://example.org/table.csv", "https://example.com/table.csv")


def test_list_names_every_file_and_knows_what_is_cached(cache):
    file = next(file for file in FILES if file.file == "STRING_edges.csv")
    (cache / file.dataset).mkdir(parents=True)
    (cache / file.dataset / file.file).write_bytes(b"")
    table = scdrug.datasets.list()
    assert list(table.index) == [file.name for file in FILES]
    assert list(table.index[table["cached"]]) == [file.name]
    assert table["size"].dtype == "Int64"


def test_hashes_are_those_of_the_verified_sources(shared_data):
    with (shared_data / "SOURCES.tsv").open() as handle:
        sources = {row["sha256_upstream"]: row for row in csv.DictReader(handle, delimiter="\t")}
    verified = {file.sha256: file for file in FILES if not file.unverified}
    assert set(verified) <= set(sources)  # data that only tests read need no entry
    for sha256 in verified:
        row = sources[sha256]
        assert f"{row['repository']}/{row['commit']}/" in verified[sha256].urls[0]
        if row["sha256_here"] == sha256:
            path = shared_data / row["file_here"]
            assert _fetch._sha256(path) == sha256
            assert path.stat().st_size == verified[sha256].size


def test_importing_the_namespace_loads_nothing_heavy():
    code = (
        "import sys, scdrug.datasets; heavy = {'torch', 'scvi', 'scanpy', 'rdkit', 'anndata', 'pooch', 'matplotlib'}; "
        "print(sorted(heavy & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_making_toy_data_loads_neither_torch_nor_scanpy():
    code = (
        "import sys, scdrug.datasets as d; d.toy(); d.toy_cells(); "
        "print(sorted({'torch', 'scvi', 'scanpy', 'rdkit'} & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_all_public_names_are_sorted_and_there():
    names = scdrug.datasets.__all__
    assert names == sorted(names)
    assert all(callable(getattr(scdrug.datasets, name)) for name in names)
