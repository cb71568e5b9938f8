"""The curated sets of He et al. 2025: list of an article, download, parser."""

from __future__ import annotations

import hashlib
import json
import warnings
from pathlib import Path

import anndata
import h5py
import numpy as np
import pandas as pd
import pytest
from scipy.sparse import csr_matrix

import scdrug
from scdrug.datasets import _fetch, _figshare, _he2025, _registry
from scdrug.datasets._figshare import FigshareError, choose_name
from scdrug.datasets._he2025 import SETS

LISTING = "articles/28888880/files?page_size=1000"
SMALL = {name: known._replace(n_sensitive=3, n_resistant=2) for name, known in SETS.items()}


@pytest.fixture(autouse=True)
def small_table(monkeypatch):
    """Five cells stand for each set."""
    monkeypatch.setattr(_he2025, "SETS", SMALL)


def write_cells(path: Path, labels=(1, 1, 1, 0, 0), *, counts: bool = True) -> bytes:
    """An h5ad file of the form of the paper's sets."""
    rng = np.random.default_rng(0)
    values = rng.poisson(1.5, size=(len(labels), 4)).astype(np.float32)
    obs = pd.DataFrame({"sensitive": labels, "sample": "s1"}, index=[f"cell{i}" for i in range(len(labels))])
    var = pd.DataFrame(index=["TP53", "EGFR", "ERBB2", "MYC"])
    anndata.AnnData(csr_matrix(values if counts else np.log1p(values)), obs=obs, var=var).write_h5ad(path)
    return path.read_bytes()


@pytest.fixture
def figshare(server, cache, monkeypatch, tmp_path):
    """A server with the list of the article and its files; returns what each file holds."""
    monkeypatch.setattr(_figshare, "_API", f"http://127.0.0.1:{server.port}")
    contents = {
        "GSE117872_preprocessed.h5ad": write_cells(tmp_path / "a.h5ad"),
        "GSE117872_raw.h5ad": b"not these",
        "gse156246_BT474.h5ad": write_cells(tmp_path / "b.h5ad", counts=False),
        "Supplement.xlsx": b"table",
    }
    files = [
        {
            "name": name,
            "size": len(content),
            "download_url": server.add(f"files/{i}", content),
            "computed_md5": hashlib.md5(content).hexdigest(),
        }
        for i, (name, content) in enumerate(contents.items())
    ]
    server.add(LISTING, json.dumps(files).encode())
    return contents


def test_a_set_is_found_in_the_article_fetched_and_read(figshare, server, cache):
    with pytest.warns(UserWarning, match="no trusted hash"):
        cells = scdrug.datasets.he2025("GSE117872")
    assert cells.shape == (5, 4)
    assert cells.obs["sensitive"].tolist() == [1.0, 1.0, 1.0, 0.0, 0.0]
    assert cells.uns["expression"]["scale"] == "counts"
    card = cells.uns["dataset"]
    assert (card["accession"], card["drug"], card["name"]) == ("GSE117872", "Cisplatin", "he2025")
    assert card["sha256"] == [hashlib.sha256(figshare["GSE117872_preprocessed.h5ad"]).hexdigest()]
    assert "28888880" in card["url"][0]
    assert server.requests == [f"/{LISTING}", "/files/0"]


def test_the_second_time_nothing_is_asked_for(figshare, server, cache, monkeypatch):
    with pytest.warns(UserWarning, match="pinned"):
        scdrug.datasets.he2025("GSE117872")
    monkeypatch.setenv("SCDRUG_OFFLINE", "1")
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        scdrug.datasets.he2025("GSE117872")
    assert len(server.requests) == 2


def test_the_spelling_of_the_paper_is_taken(figshare):
    with pytest.warns(UserWarning, match="pinned"):
        cells = scdrug.datasets.he2025("GSE156246_BT474")
    assert cells.uns["dataset"]["drug"] == "Lapatinib"
    assert cells.uns["expression"]["scale"] == "log"


def test_a_file_that_is_not_in_the_article_is_named_with_what_is_there(figshare, cache):
    with pytest.raises(RuntimeError, match="GSE131984") as error:
        scdrug.datasets.he2025("GSE131984")
    for part in ("Supplement.xlsx", "article 28888880", str(cache / "he2025" / "GSE131984.h5ad")):
        assert part in str(error.value)


def test_bytes_that_differ_from_the_stated_md5_are_refused(figshare, server, cache):
    server.add("files/0", figshare["GSE117872_preprocessed.h5ad"], "corrupt")
    with pytest.raises(RuntimeError, match="the server states"):
        scdrug.datasets.he2025("GSE117872")
    assert not (cache / "he2025" / "GSE117872.h5ad").exists()
    assert not (cache / "pinned.json").exists()


def test_a_list_that_breaks_off_is_asked_for_again(figshare, server, cache):
    server.behaviour[f"/{LISTING}"] = ["broken", "cut", "ok"]
    with pytest.warns(UserWarning, match="pinned"):
        scdrug.datasets.he2025("GSE117872")
    assert server.requests.count(f"/{LISTING}") == 3


def test_an_article_that_is_gone_is_asked_for_once(figshare, server, cache):
    server.behaviour[f"/{LISTING}"] = ["missing"]
    with pytest.raises(RuntimeError, match="answered 404"):
        scdrug.datasets.he2025("GSE117872")
    assert len(server.requests) == 1


def test_a_list_of_another_form_is_refused(figshare, server, cache):
    server.add(LISTING, b'{"message": "moved"}')
    with pytest.raises(RuntimeError, match="expected a list of files"):
        scdrug.datasets.he2025("GSE117872")


def test_force_asks_for_the_file_again(figshare, server, cache):
    with pytest.warns(UserWarning, match="pinned"):
        _fetch.fetch("he2025/GSE117872.h5ad")
    _fetch.fetch("he2025/GSE117872.h5ad", force=True)
    assert server.requests.count("/files/0") == 2


def test_offline_names_the_article_and_the_place(cache, monkeypatch):
    monkeypatch.setenv("SCDRUG_OFFLINE", "1")
    with pytest.raises(RuntimeError, match="switched off") as error:
        scdrug.datasets.he2025("GSE108394")
    assert "figshare.28888880" in str(error.value)
    assert str(cache / "he2025" / "GSE108394.h5ad") in str(error.value)


def test_of_several_files_none_is_guessed():
    names = ["GSE117872_a.h5ad", "GSE117872_b.h5ad"]
    with pytest.raises(FigshareError, match="2 do: 'GSE117872_a.h5ad', 'GSE117872_b.h5ad'"):
        choose_name(names, ["*GSE117872*.h5ad", "*b.h5ad"], where="the article")


def test_a_later_pattern_is_tried_where_no_file_matches_an_earlier_one():
    assert (
        choose_name(["B_preprocessed.h5ad", "b.h5ad", "c"], ["*a*.h5ad", "*B*.h5ad"], where="") == "B_preprocessed.h5ad"
    )
    with pytest.raises(FigshareError, match="the article must match 'x' or 'y'; it has 'c'"):
        choose_name(["c"], ["x", "y"], where="the article")


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("GSE156246-BT474", "GSE156246_BT-474_preprocessed.h5ad"),
        ("GSE156246-HCC1419", "gse156246.hcc1419.h5ad"),
        ("GSE131984", "Paclitaxel_GSE131984.h5ad"),
        ("GSE131984", "gse131984-Paclitaxel.h5ad"),
        ("GSE117872", "GSE117872_Cisplatin_preprocessed_genename.h5ad"),
    ],
)
def test_patterns_of_the_registry_find_likely_names_and_no_other_set(name, file):
    found = [entry.file for entry in _registry.registry()["he2025"].files if choose([file], entry) == file]
    assert found == [f"{name}.h5ad"]


def test_other_sets_of_the_same_series_are_not_taken():
    # names under which the authors' script reads files
    there = [
        "GSE108394_RAW.h5ad",
        "GSE131984_jq1_preprocessed.h5ad",
        "GSE131984_paclitaxel_preprocessed.h5ad",
        "GSE156246_BT474_Lapatinib_preprocessed_genename.h5ad",
        "GSE156246_HCC1419_Lapatinib_preprocessed_genename.h5ad",
        "GSE192575_RAW_human.h5ad",
    ]
    found = {entry.file: choose(there, entry) for entry in _registry.registry()["he2025"].files}
    assert found == {
        "GSE117872.h5ad": None,
        "GSE131984.h5ad": there[2],
        "GSE108394.h5ad": there[0],
        "GSE156246-BT474.h5ad": there[3],
        "GSE156246-HCC1419.h5ad": there[4],
    }
    taxel = next(entry for entry in _registry.registry()["he2025"].files if entry.file == "GSE131984.h5ad")
    assert choose(there[:2], taxel) is None


def choose(names: list[str], entry: _registry.FileEntry) -> str | None:
    try:
        return choose_name(names, entry.figshare[1], where="the article")
    except FigshareError:
        return None


# parser ---------------------------------------------------------------------------------------------------------------


def test_a_folder_or_any_file_is_read(tmp_path):
    write_cells(tmp_path / "GSE131984_preprocessed.h5ad")
    from_folder = scdrug.datasets.he2025("GSE131984", path=tmp_path)
    (tmp_path / "GSE131984_preprocessed.h5ad").rename(tmp_path / "mine.h5ad")
    from_file = scdrug.datasets.he2025("GSE131984", path=tmp_path / "mine.h5ad")
    pd.testing.assert_frame_equal(from_folder.obs, from_file.obs)
    with pytest.raises(FileNotFoundError, match=r"must match 'GSE131984.h5ad' or .* it has 'mine.h5ad'"):
        scdrug.datasets.he2025("GSE131984", path=tmp_path)


def test_in_a_folder_the_set_of_the_other_drug_is_left_alone(tmp_path):
    write_cells(tmp_path / "GSE131984_jq1_preprocessed.h5ad", (0, 0, 1, 1, 1))
    write_cells(tmp_path / "GSE131984_paclitaxel_preprocessed.h5ad")
    cells = scdrug.datasets.he2025("GSE131984", path=tmp_path)
    assert cells.uns["dataset"]["file"] == ["GSE131984_paclitaxel_preprocessed.h5ad"]
    assert cells.obs["sensitive"].tolist() == [1, 1, 1, 0, 0]


def test_files_of_the_time_of_the_paper_are_read(tmp_path):
    """anndata 0.7 kept categories apart and noted fewer encodings."""
    names = np.array([f"cell{i}" for i in range(5)], dtype=h5py.string_dtype())
    with h5py.File(tmp_path / "GSE117872.h5ad", "w") as file:
        x = file.create_group("X")
        x.attrs.update({"encoding-type": "csr_matrix", "encoding-version": "0.1.0", "shape": [5, 2]})
        for key, value in {"data": [1.0, 2, 3, 4, 5], "indices": [0, 1, 0, 1, 0], "indptr": [0, 1, 2, 3, 4, 5]}.items():
            x[key] = np.asarray(value, dtype=np.float32 if key == "data" else np.int32)
        for key, index, columns in (("obs", names, ["cond", "sensitive"]), ("var", names[:2], [])):
            group = file.create_group(key)
            group.attrs.update({"encoding-type": "dataframe", "encoding-version": "0.1.0", "_index": "index"})
            group.attrs["column-order"] = np.array(columns, dtype=h5py.string_dtype())
            group["index"] = index
        obs = file["obs"]
        obs["sensitive"] = np.array([1, 1, 1, 0, 0])
        obs["cond"] = np.array([0, 0, 0, 1, 1], dtype=np.int8)
        obs["__categories/cond"] = np.array(["ctrl", "cis"], dtype=h5py.string_dtype())
        obs["cond"].attrs["categories"] = obs["__categories/cond"].ref
    cells = scdrug.datasets.he2025("GSE117872", path=tmp_path)
    assert cells.obs["sensitive"].tolist() == [1, 1, 1, 0, 0]
    assert cells.obs["cond"].tolist() == ["ctrl"] * 3 + ["cis"] * 2
    assert cells.X.sum() == 15


def test_what_is_no_h5ad_file_is_refused(tmp_path):
    (tmp_path / "GSE117872.h5ad").write_text("<html>not found</html>")
    with pytest.raises(ValueError, match="must be an h5ad file"):
        scdrug.datasets.he2025("GSE117872", path=tmp_path)


@pytest.mark.parametrize(
    "labels",
    [
        (1, 1, 1, 0, 0),
        (1.0, 1.0, 1.0, 0.0, 0.0),
        (True, True, True, False, False),
        ("1", "1", "1", "0", "0"),
        pd.Categorical(["sensitive"] * 3 + ["resistant"] * 2),
    ],
    ids=["int", "float", "bool", "text", "words"],
)
def test_labels_of_any_type_are_read(tmp_path, labels):
    write_cells(tmp_path / "GSE117872.h5ad", labels)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        cells = scdrug.datasets.he2025("GSE117872", path=tmp_path)
    assert cells.obs["sensitive"].dtype == np.float64
    assert cells.obs["sensitive"].tolist() == [1.0, 1.0, 1.0, 0.0, 0.0]


def test_numbers_that_differ_from_table_1_are_warned_of(tmp_path):
    write_cells(tmp_path / "GSE117872.h5ad", (1, 1, 0, 0, np.nan))
    with pytest.warns(UserWarning, match="2 sensitive and 2 resistant cells; table 1 of the paper has 3 and 2"):
        cells = scdrug.datasets.he2025("GSE117872", path=tmp_path)
    assert np.isnan(cells.obs["sensitive"].iloc[-1])


def test_other_labels_are_refused(tmp_path):
    write_cells(tmp_path / "GSE117872.h5ad", ("1", "1", "dead", "0", "0"))
    with pytest.raises(ValueError, match="found 'dead' in 1 cells"):
        scdrug.datasets.he2025("GSE117872", path=tmp_path)


def test_a_file_without_labels_is_refused(tmp_path):
    anndata.AnnData(np.ones((2, 2), dtype=np.float32)).write_h5ad(tmp_path / "GSE117872.h5ad")
    with pytest.raises(KeyError, match="'sensitive' is not in"):
        scdrug.datasets.he2025("GSE117872", path=tmp_path)


@pytest.mark.parametrize(
    ("accession", "hint"), [("GSE117873", "'GSE117872'"), ("GSE156246", "'GSE156246-BT474', 'GSE156246-HCC1419'")]
)
def test_an_unknown_accession_is_refused_with_the_nearest(accession, hint):
    with pytest.raises(ValueError, match="must be one of") as error:
        scdrug.datasets.he2025(accession)
    assert hint in str(error.value).split("Did you mean")[1]


def test_results_can_be_written(tmp_path):
    write_cells(tmp_path / "GSE117872.h5ad")
    cells = scdrug.datasets.he2025("GSE117872", path=tmp_path)
    cells.write_h5ad(tmp_path / "out.h5ad")
    assert anndata.read_h5ad(tmp_path / "out.h5ad").uns["dataset"]["drug"] == "Cisplatin"


def test_table_1_gives_the_known_scores_of_calling_all_cells_sensitive():
    shares = {name: known.n_sensitive / (known.n_sensitive + known.n_resistant) for name, known in SETS.items()}
    f1 = [2 * share / (1 + share) for share in shares.values()]
    assert np.mean(f1) == pytest.approx(0.641, abs=5e-4)
    assert np.mean(list(shares.values())) == pytest.approx(0.488, abs=5e-4)
