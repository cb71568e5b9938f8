"""`scdrug predict` and files: what is read, where results go, and that nothing is lost."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

import anndata as ad
import h5py
import mudata
import numpy as np
import pandas as pd
import pytest
import zarr
from scipy.sparse import csr_matrix
from typer.testing import CliRunner

from scdrug import datasets, get, model, tl
from scdrug.cli import _files, app
from scdrug.tl import _out

RUNNER = CliRunner()


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    reference = datasets.toy()
    model.KernelRidge.setup_anndata(reference)
    trained = model.KernelRidge(reference)
    trained.train()
    folder = tmp_path_factory.mktemp("models") / "toy"
    trained.save(folder)
    return folder


@pytest.fixture
def cells() -> ad.AnnData:
    cells = datasets.toy_cells(n_cells=60)
    for key in list(cells.obsm):  # the planted truth; zarr writes each column as a folder
        del cells.obsm[key]
    return cells


@pytest.fixture
def expected(cells, trained) -> ad.AnnData:
    return tl.predict_response(cells, str(trained), copy=True)


def _run(*arguments: object) -> tuple[int, str]:
    result = RUNNER.invoke(app, [str(argument) for argument in arguments], env={"COLUMNS": "400", "TERM": "dumb"})
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, re.sub(r"\s+", " ", result.output)


def _predict(trained: Path, source: Path, target: Path, *arguments: object) -> str:
    code, text = _run("predict", source, "-o", target, "--model", trained, *arguments)
    assert code == 0, text
    return text


def _refused(trained: Path, source: Path, target: Path, *arguments: object) -> str:
    code, text = _run("predict", source, "-o", target, "--model", trained, *arguments)
    assert code == 2, text
    assert "Traceback" not in text
    return text


def _assert_results(found: ad.AnnData, expected: ad.AnnData) -> None:
    for use in ("response", "percentile"):
        pd.testing.assert_frame_equal(
            get.response_df(found, use=use), get.response_df(expected, use=use), rtol=1e-4, atol=3e-5, check_names=False
        )
    np.testing.assert_allclose(found.obs["response_reliability"], expected.obs["response_reliability"], atol=3e-5)
    assert found.uns["predicted_response"]["verdict"] == expected.uns["predicted_response"]["verdict"]
    assert set(found.uns["predicted_response"]) - {"evidence_columns"} == set(expected.uns["predicted_response"])


# what is read ---------------------------------------------------------------------------------------------------------


def _write_10x(
    path: Path, cells: ad.AnnData, *, types: list[str] | None = None, genomes: list[str] | None = None
) -> None:
    counts = csr_matrix(cells.X).astype(np.int32)
    with h5py.File(path, "w") as file:
        group = file.create_group("matrix")
        group["barcodes"] = cells.obs_names.to_numpy(dtype="S")
        group["data"], group["indices"], group["indptr"] = counts.data, counts.indices, counts.indptr
        group["shape"] = np.array(cells.shape[::-1])
        features = group.create_group("features")
        features["id"] = features["name"] = cells.var_names.to_numpy(dtype="S")
        features["feature_type"] = np.array(types or ["Gene Expression"] * cells.n_vars, dtype="S")
        features["genome"] = np.array(genomes or ["GRCh38"] * cells.n_vars, dtype="S")


@pytest.mark.parametrize(
    ("how", "ending", "zarr_format"),
    [
        ("--in-memory", ".zarr", 2),
        ("--in-memory", ".h5ad", 3),
        ("--backed", ".zarr", 3),
        ("--backed", ".zarr", 2),
        ("--backed", ".h5ad", 2),
    ],
)
def test_zarr_is_read_and_written(how, ending, zarr_format, trained, cells, expected, tmp_path) -> None:
    with ad.settings.override(zarr_write_format=zarr_format):
        cells.write_zarr(tmp_path / "in.zarr")
    zarr.consolidate_metadata(tmp_path / "in.zarr")
    _predict(trained, tmp_path / "in.zarr", tmp_path / f"out{ending}", how)
    found = ad.read_zarr(tmp_path / "out.zarr") if ending == ".zarr" else ad.read_h5ad(tmp_path / "out.h5ad")
    _assert_results(found, expected)
    assert (found.X != cells.X).nnz == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["in.zarr", f"out{ending}"])


def test_a_store_that_was_stopped_goes_on(trained, cells, expected, tmp_path, monkeypatch) -> None:
    cells.write_zarr(tmp_path / "in.zarr")
    arguments = ("predict", tmp_path / "in.zarr", "-o", tmp_path / "out.zarr", "--model", trained, "--backed")
    written, write = [], _out.WriteRows.__call__

    def interrupted(one, rows, part):
        if len(written) == 1:
            written.append(None)
            raise KeyboardInterrupt
        write(one, rows, part)
        written.append(rows.start)

    monkeypatch.setattr(_out, "_ROWS", 20)
    monkeypatch.setattr(_out.WriteRows, "__call__", interrupted)
    code, text = _run(*arguments)
    assert code != 0 and "20 of 60 cells are done: the same call goes on from there" in text
    assert not (tmp_path / "out.zarr").exists()
    assert _run(*arguments)[0] == 0
    assert written == [0, None, 20, 40]
    found = ad.read_zarr(tmp_path / "out.zarr")
    _assert_results(found, expected)
    assert (found.X != cells.X).nnz == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.zarr", "out.zarr"]


@pytest.mark.parametrize("form", ["dense", "csc"])
@pytest.mark.parametrize("ending", [".zarr", ".h5ad"])
def test_other_matrices_are_read_block_by_block(ending, form, trained, cells, expected, tmp_path) -> None:
    cells.X = cells.X.toarray() if form == "dense" else cells.X.tocsc()
    getattr(cells, f"write_{ending[1:]}")(tmp_path / f"in{ending}")
    _predict(trained, tmp_path / f"in{ending}", tmp_path / "out.h5ad", "--backed")
    _assert_results(ad.read_h5ad(tmp_path / "out.h5ad"), expected)


@pytest.mark.parametrize("inside", ["", "cells.zarr"])
def test_zipped_zarr_is_read(inside, trained, cells, expected, tmp_path) -> None:
    cells.write_zarr(tmp_path / "made" / inside if inside else tmp_path / "made")
    shutil.make_archive(str(tmp_path / "cells.zarr"), "zip", tmp_path / "made")
    _predict(trained, tmp_path / "cells.zarr.zip", tmp_path / "out.h5ad")
    _assert_results(ad.read_h5ad(tmp_path / "out.h5ad"), expected)


def test_files_of_cell_ranger_are_read_and_only_human_genes_kept(trained, cells, expected, tmp_path) -> None:
    counts = cells.copy()
    mixed = ad.concat([counts, ad.AnnData(csr_matrix(np.ones((60, 4))), obs=counts.obs[[]])], axis=1)
    names = [*counts.var_names, "CD3_TotalSeqB", "Hashtag1", "mm10_Actb", "mm10_Gapdh"]
    mixed.var_names = names
    types = ["Gene Expression"] * 300 + ["Antibody Capture"] * 2 + ["Gene Expression"] * 2
    _write_10x(tmp_path / "in.h5", mixed, types=types, genomes=["GRCh38"] * 300 + [""] * 2 + ["mm10"] * 2)
    text = _predict(trained, tmp_path / "in.h5", tmp_path / "out.h5ad")
    assert "'mm10' is left out" in text
    found = ad.read_h5ad(tmp_path / "out.h5ad")
    assert found.shape == cells.shape
    np.testing.assert_allclose(
        found.obsm["predicted_response"], tl.predict_response(counts, str(trained), copy=True).obsm["predicted_response"],
        atol=1e-4,
    )  # fmt: skip
    _write_10x(tmp_path / "in.h5", cells, types=["Peaks"] * 300)
    assert "Gene Expression" in _refused(trained, tmp_path / "in.h5", tmp_path / "out2.h5ad")


@pytest.fixture
def modalities(cells, tmp_path) -> Path:
    proteins = ad.AnnData(
        np.ones((60, 3), dtype=np.float32), obs=cells.obs[[]], var=pd.DataFrame(index=["CD3", "CD4", "CD8"])
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        mudata.MuData({"prot": proteins, "gex": cells}).write_h5mu(tmp_path / "in.h5mu")
    return tmp_path / "in.h5mu"


def test_the_modality_with_genes_is_found_and_named(modalities, trained, expected, tmp_path) -> None:
    assert "Modality 'gex' of" in _predict(trained, modalities, tmp_path / "out.h5ad")
    _assert_results(ad.read_h5ad(tmp_path / "out.h5ad"), expected)
    _predict(trained, modalities, tmp_path / "out.h5mu", "--modality", "gex")
    found = mudata.read_h5mu(tmp_path / "out.h5mu")
    assert set(found.mod) == {"prot", "gex"}
    _assert_results(found["gex"], expected)
    assert "Did you mean 'gex'" in _refused(trained, modalities, tmp_path / "o.h5ad", "--modality", "gx")


def _loom(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file["matrix"] = np.ones((3, 2))
        for name in ("row_attrs", "col_attrs", "layers"):
            file.create_group(name)


def _seurat(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file["cell.names"] = np.array([b"a"])
        file.create_group("assays")


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("in.loom", _loom, "read_loom"),
        ("in.h5ad", _loom, "read_loom"),
        ("in.h5seurat", _seurat, "Seurat"),
        ("in.rds", b"\x1f\x8b\x08\x00rest", "R object"),
        ("in.mtx", b"%%MatrixMarket matrix coordinate\n", "read_10x_mtx"),
        ("in.csv", b"cell,TP53\na,1\n", "read_csv"),
        ("in.h5ad", b"cell,TP53\na,1\n", "holds text"),
        ("in.h5ad", b"<!DOCTYPE html><html>", "a web page"),
        ("in.h5ad", b"", "an empty file"),
        ("in.h5ad", b"\x00\x01\x02" * 99, "binary data"),
        ("in.h5ad", lambda path: h5py.File(path, "w").close(), "no known layout"),
        ("in.zarr", Path.mkdir, "without the metadata of zarr"),
        ("in.zarr", lambda path: zarr.open_group(path, mode="w"), "no AnnData"),
    ],
)
def test_other_formats_are_refused_with_the_way_on(name, content, said, trained, tmp_path) -> None:
    path = tmp_path / name
    path.write_bytes(content) if isinstance(content, bytes) else content(path)
    text = _refused(trained, path, tmp_path / "out.h5ad")
    assert said in text
    assert name in text


def test_the_content_decides_where_the_ending_lies(trained, cells, expected, tmp_path) -> None:
    cells.write_h5ad(tmp_path / "in.h5")
    _predict(trained, tmp_path / "in.h5", tmp_path / "out.h5ad")
    _assert_results(ad.read_h5ad(tmp_path / "out.h5ad"), expected)


# nothing is lost ------------------------------------------------------------------------------------------------------


def _odd(path: Path) -> None:
    """Parts that anndata reads but cannot write, or cannot read."""
    with h5py.File(path, "r+") as file:
        file["obs"]["size/area"] = np.arange(60.0)
        file["obs"].attrs["column-order"] = [*file["obs"].attrs["column-order"], "size/area"]
        file.create_group("uns/strange").attrs["encoding-type"] = "of-another-tool"
        file["uns/strange"].attrs["encoding-version"] = "9"
        file["uns/strange/values"] = np.arange(3)
        file.create_group("raw")["X"] = np.ones((60, 2), dtype=np.float16)


@pytest.mark.parametrize("how", ["--in-memory", "--backed"])
def test_parts_that_anndata_does_not_know_stay_as_they_are(how, trained, cells, expected, tmp_path) -> None:
    cells.write_h5ad(tmp_path / "in.h5ad")
    _odd(tmp_path / "in.h5ad")
    _predict(trained, tmp_path / "in.h5ad", tmp_path / "out.h5ad", how)
    with h5py.File(tmp_path / "in.h5ad") as before, h5py.File(tmp_path / "out.h5ad") as after:
        names: list[str] = []
        before.visit(names.append)
        lost = [name for name in names if name not in after]
        assert not lost
        assert dict(after["uns/strange"].attrs) == dict(before["uns/strange"].attrs)
        np.testing.assert_array_equal(after["obs/size/area"][()], np.arange(60.0))
        np.testing.assert_allclose(
            after["obs/response_reliability"][()], expected.obs["response_reliability"], atol=3e-5
        )
        assert "predicted_response" in after["obsm"]


def test_a_new_file_leaves_out_what_cannot_be_written_and_says_so(trained, cells, expected, tmp_path) -> None:
    cells.write_h5ad(tmp_path / "in.h5ad")
    with h5py.File(tmp_path / "in.h5ad", "r+") as file:
        file["obs"]["size/area"] = np.arange(60.0)
        file["obs"].attrs["column-order"] = [*file["obs"].attrs["column-order"], "size/area"]
    text = _predict(trained, tmp_path / "in.h5ad", tmp_path / "out.zarr")
    assert "size/area" in text
    _assert_results(ad.read_zarr(tmp_path / "out.zarr"), expected)


def test_results_are_replaced_when_the_input_has_some(trained, cells, expected, tmp_path) -> None:
    tl.predict_response(cells, str(trained), drugs=list(expected.obsm["predicted_response"].columns[:2]))
    cells.write_h5ad(tmp_path / "in.h5ad")
    _predict(trained, tmp_path / "in.h5ad", tmp_path / "out.h5ad")
    _assert_results(ad.read_h5ad(tmp_path / "out.h5ad"), expected)


# where results go -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def stores(tmp_path_factory) -> Path:
    """The cells as h5ad and zarr."""
    folder, cells = tmp_path_factory.mktemp("stores"), datasets.toy_cells(n_cells=60)
    cells.write_h5ad(folder / "in.h5ad")
    cells.write_zarr(folder / "in.zarr")
    return folder


@pytest.fixture
def folder(stores, tmp_path, monkeypatch) -> Path:
    shutil.copytree(stores, tmp_path, dirs_exist_ok=True)
    os.link(tmp_path / "in.h5ad", tmp_path / "hard.h5ad")
    (tmp_path / "soft.html").symlink_to("in.h5ad")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine.zarr").mkdir()
    (tmp_path / "mine.zarr" / "notes.txt").write_text("precious")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["in.h5ad", "-o", "out.h5ad", "--report", "in.h5ad"], "Input and report are the same file"),
        (["in.h5ad", "-o", "out.h5ad", "--report", "out.h5ad"], "Output and report are the same file"),
        (["in.h5ad", "-o", "out.h5ad", "--report", "soft.html"], "Input and report are the same file"),
        (["in.h5ad", "-o", "hard.h5ad"], "Input and output are the same file"),
        (["in.h5ad", "-o", "mine/../in.h5ad"], "Input and output are the same file"),
        (["in.h5ad", "-o", "IN.H5AD"], "Input and output are the same file"),
        (["in.zarr", "-o", "in.zarr"], "Input and output are the same file"),
        (["in.zarr", "-o", "in.zarr/out.h5ad"], "inside one another"),
        (["in.h5ad", "-o", "out.h5ad", "--report", "other.h5ad"], "must end in .html"),
        (["in.h5ad", "-o", "in.zarr/out.h5ad"], "inside the zarr store"),
        (["in.h5ad", "-o", "out.csv"], "must end in .h5ad or .zarr"),
        (["in.h5ad", "-o", "mine/none/out.h5ad"], "does not exist"),
        (["in.h5ad", "-o", "in.h5ad/out.h5ad"], "inside one another"),
        (["in.h5ad", "-o", "mine.zarr"], "is not replaced"),
        (["in.h5ad", "-o", "out.h5ad", "--report", "mine"], "must end in .html"),
        (["in.h5ad", "-o", "out.h5ad", "--modality", "rna"], "is for .h5mu"),
    ],
)
def test_no_file_of_the_user_is_ever_replaced(arguments, said, folder, trained, monkeypatch) -> None:
    monkeypatch.setattr(tl, "predict_response", lambda *_, **__: pytest.fail("computed before the check"))
    before = _content(folder)
    code, text = _run("predict", *arguments, "--overwrite", "--model", trained)
    assert code == 2, text
    assert said in text
    assert _content(folder) == before


def test_a_folder_where_a_file_goes_is_refused(folder, trained) -> None:
    (folder / "out.h5ad").mkdir()
    assert "is a folder" in _refused(trained, folder / "in.h5ad", folder / "out.h5ad", "--overwrite")


@pytest.mark.slow
def test_a_store_is_replaced_by_another_when_asked(folder, trained, expected) -> None:
    shutil.copytree("in.zarr", "out.zarr")
    assert "--overwrite" in _refused(trained, folder / "in.h5ad", folder / "out.zarr")
    _predict(trained, folder / "in.h5ad", folder / "out.zarr", "--overwrite")
    _assert_results(ad.read_zarr("out.zarr"), expected)
    assert not list(folder.glob(".scdrug-*"))


def test_too_little_space_is_noticed_before_anything_is_computed(folder, trained, monkeypatch) -> None:
    monkeypatch.setattr(tl, "predict_response", lambda *_, **__: pytest.fail("computed before the check"))
    usage = shutil.disk_usage(folder)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    assert "needs about" in _refused(trained, folder / "in.h5ad", folder / "out.h5ad")


@pytest.mark.skipif(os.name != "posix", reason="limits the size of files")
def test_a_full_disk_is_one_sentence_and_leaves_nothing(folder, trained, capfd) -> None:
    """With a limit on the size of files in place of a full disk."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, ((folder / "in.h5ad").stat().st_size + 2000, hard))
    try:
        text = _refused(trained, folder / "in.h5ad", folder / "out.h5ad")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "could not be written" in text
    assert len(text) < 1000
    assert "HDF5" not in "".join(capfd.readouterr()), "the library's own report of where it failed"
    assert not list(folder.glob(".scdrug-*"))
    assert not (folder / "out.h5ad").exists()


@pytest.mark.parametrize("how", ["--in-memory", "--backed"])
def test_a_damaged_file_is_one_sentence(how, cells, trained, tmp_path) -> None:
    path = tmp_path / "in.h5ad"
    cells.write_h5ad(path, compression="gzip")
    with h5py.File(path) as file:
        chunk = file["X/data"].id.get_chunk_info(0)
    with path.open("r+b") as file:
        file.seek(chunk.byte_offset + 10)
        file.write(os.urandom(200))
    text = _refused(trained, path, tmp_path / "out.h5ad", how)
    assert f"{path} cannot be read" in text
    assert len(text) < 600
    assert [item.name for item in tmp_path.iterdir()] == ["in.h5ad"]


def test_a_killed_run_is_cleaned_up_by_the_next(folder, trained) -> None:
    script = (
        "import sys, time\n"
        "from pathlib import Path\n"
        "from scdrug.cli._files import whole_file\n"
        "with whole_file(Path('other.h5ad')) as part:\n"
        "    part.write_bytes(b'half')\n"
        "    print('ready', flush=True)\n"
        "    time.sleep(60)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", script], cwd=folder, stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"ready\n"
    _predict(trained, folder / "in.h5ad", folder / "out.h5ad")
    assert len(list(folder.glob(".scdrug-*"))) == 1, "a run that is at work must be left alone"
    process.send_signal(signal.SIGKILL)
    process.wait()
    earlier = folder / ".out.h5ad-abcd1234.h5ad"
    earlier.write_bytes(b"half")
    os.utime(earlier, (0, time.time() - 86400))
    _predict(trained, folder / "in.h5ad", folder / "out.h5ad", "--overwrite")
    assert not list(folder.glob(".scdrug-*"))
    assert not earlier.exists()


def test_a_store_that_was_being_replaced_when_the_run_was_killed_comes_back(folder, trained) -> None:
    room = folder / ".scdrug-killed.part"
    (room / "replaced").mkdir(parents=True)
    (room / "lock").touch()
    (folder / "in.zarr").rename(room / "replaced" / "old.zarr")
    _files.sweep(folder)
    assert (folder / "old.zarr" / "obs").is_dir()
    assert not room.exists()


def test_a_terminated_command_leaves_nothing(folder) -> None:
    script = (
        "import sys, time\n"
        "from pathlib import Path\n"
        "from scdrug.cli import _app\n"
        "from scdrug.cli._files import whole_file\n"
        "def work():\n"
        "    with whole_file(Path('other.h5ad')):\n"
        "        print('ready', flush=True)\n"
        "        time.sleep(60)\n"
        "_app.app = work\n"
        "_app.main()\n"
    )
    process = subprocess.Popen([sys.executable, "-c", script], cwd=folder, stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"ready\n"
    process.terminate()
    assert process.wait(timeout=30) == 143
    assert not list(folder.glob(".scdrug-*"))


def test_legacy_files_are_read_and_completed(trained, cells, expected, tmp_path) -> None:
    """`obs` as one compound table, as anndata wrote it before 0.7."""
    cells.obs = cells.obs[[]]
    cells.write_h5ad(tmp_path / "in.h5ad")
    with h5py.File(tmp_path / "in.h5ad", "r+") as file:
        for slot, names in (("obs", cells.obs_names), ("var", cells.var_names)):
            del file[slot]
            file[slot] = np.array([(name.encode(), 1.0) for name in names], dtype=[("index", "S30"), ("n", "f8")])
        del file.attrs["encoding-type"], file.attrs["encoding-version"]
    _predict(trained, tmp_path / "in.h5ad", tmp_path / "out.h5ad")
    _assert_results(ad.read_h5ad(tmp_path / "out.h5ad"), expected)
