"""The command: thin, quick to start, clean errors, nothing half written."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from scdrug import datasets, model, tl
from scdrug.cli import app

RUNNER = CliRunner()


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    reference = datasets.toy()
    model.KernelRidge.setup_anndata(reference)
    trained = model.KernelRidge(reference)
    trained.train()
    folder = tmp_path_factory.mktemp("models") / "toy"
    trained.save(folder)
    return folder


@pytest.fixture
def cells(tmp_path) -> ad.AnnData:
    adata = datasets.toy_cells(n_cells=150)
    adata.write_h5ad(tmp_path / "in.h5ad")
    return adata


def _run(*arguments: object) -> tuple[int, str]:
    result = RUNNER.invoke(app, [str(argument) for argument in arguments], env={"COLUMNS": "200", "TERM": "dumb"})
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, re.sub(r"\s+", " ", result.output)


@pytest.mark.parametrize("command", [[], ["predict"], ["train"], ["demo"], ["drugs", "search"], ["datasets", "fetch"]])
def test_help_starts_in_under_a_second_and_loads_nothing_heavy(command: list[str]) -> None:
    code = (
        "import sys\nfrom scdrug.cli import app\n"
        f"try:\n    app({[*command, '--help']!r})\nexcept SystemExit as done:\n    assert not done.code\n"
        "assert not {'torch', 'scvi', 'scanpy', 'anndata'} & set(sys.modules)"
    )
    before = os.times()
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
    after = os.times()  # time of the processor, whatever else the machine is doing; half of it is Python itself
    assert after.children_user + after.children_system - before.children_user - before.children_system < 2


def test_version_is_printed() -> None:
    assert _run("--version") == (0, "scdrug 0.1.0 ")


def test_groups_are_written_as_a_table(trained, cells: ad.AnnData, tmp_path) -> None:
    out = tmp_path / "groups.csv"
    common = [
        "predict",
        tmp_path / "in.h5ad",
        "-o",
        out,
        "--model",
        trained,
        "--groups",
        "clone",
        "--sample-key",
        "sample",
    ]
    code, text = _run(*common, "--drugs", "trametinib,paclitaxel")
    assert code == 0, text
    assert "150 cells in 4 groups × 2 drugs" in text
    tl.predict_groups(cells, "clone", str(trained), sample_key="sample", drugs=["trametinib", "paclitaxel"])
    stored, written = cells.uns["group_response"], pd.read_csv(out, keep_default_na=False)
    of_groups, of_samples = (written[rows] for rows in (written["sample"] == "", written["sample"] != ""))
    for table, expected in ((of_groups, stored["table"]), (of_samples, stored["samples"])):
        assert table["group"].tolist() == expected["group"].tolist()
        np.testing.assert_allclose(table["response"].astype(float), expected["response"], rtol=1e-4)
    before = out.read_bytes()
    for more, message in (
        ([], "exists"),
        (["--overwrite", "--groupby", "clone"], "leave out --groupby"),
        (["--overwrite", "--sample-key", "nobody"], "'nobody' is not in `adata.obs`"),
    ):
        code, text = _run(*common, *more)
        assert code == 2
        assert message in text
    code, text = _run(*common[:2], "-o", tmp_path / "groups.h5ad", *common[4:])
    assert (code, "must end in .csv" in text) == (2, True)
    assert out.read_bytes() == before


@pytest.mark.parametrize("how", ["--in-memory", "--backed"])
def test_predict_writes_what_the_function_stores(how: str, trained, cells: ad.AnnData, tmp_path) -> None:
    out, report = tmp_path / "out.h5ad", tmp_path / "report.html"
    arguments = ["--groupby", "clone", "--reference", "rest", "--sample-key", "sample", "--report", report]
    code, text = _run("predict", tmp_path / "in.h5ad", "-o", out, "--model", trained, how, *arguments)
    assert code == 0, text
    tl.predict_response(cells, str(trained), groupby="clone")
    tl.rank_drugs(cells, "clone", sample_key="sample")
    written = ad.read_h5ad(out)
    np.testing.assert_allclose(written.obsm["predicted_response"], cells.obsm["predicted_response"], atol=1e-4)
    np.testing.assert_allclose(written.obs["response_reliability"], cells.obs["response_reliability"], atol=3e-5)
    pd.testing.assert_series_equal(
        written.uns["rank_drugs"]["table"]["drug"].astype(str),
        cells.uns["rank_drugs"]["table"]["drug"].astype(str),
        check_names=False,
        check_index=False,
    )
    assert (written.X != cells.X).nnz == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.h5ad", "out.h5ad", "report.html"]
    html = report.read_text(encoding="utf-8")
    assert "not a medical device" in html
    assert "viewport" in html
    assert not re.findall(r"(?:src|href)=\"(?!data:|#)", html), "the report must not need other files"


def test_some_drugs_can_be_named(trained, cells: ad.AnnData, tmp_path) -> None:
    names = list(model.load_pretrained(trained).drugs["name"])[:2]
    code, text = _run(
        "predict", tmp_path / "in.h5ad", "-o", tmp_path / "o.h5ad", "--model", trained, "--drugs", ",".join(names)
    )
    assert code == 0, text
    assert ad.read_h5ad(tmp_path / "o.h5ad").obsm["predicted_response"].shape[1] == 2


def _truncate(folder) -> None:
    content = (folder / "in.h5ad").read_bytes()
    (folder / "in.h5ad").write_bytes(content[: len(content) // 2])


def _exists(folder) -> None:
    (folder / "out.h5ad").write_bytes(b"precious")


@pytest.mark.parametrize(
    ("prepare", "arguments", "message"),
    [
        (_truncate, [], "truncated"),
        (_exists, [], "--overwrite"),
        (None, ["--drugs", "no-such-drug"], "no-such-drug"),
        (None, ["--groupby", "clones"], "Did you mean 'clone'"),
        (None, ["--layer", "raw"], "raw"),
        (None, ["--scale", "log"], "scale='log'"),
        (None, ["--model", "gdsc2-rigde"], "Did you mean 'gdsc2-ridge'"),
        (None, ["-o", "in.h5ad"], "same file"),
        (None, ["-o", "missing/out.h5ad"], "does not exist"),
    ],
)
def test_bad_input_gets_one_clean_message_and_exit_code_2(
    prepare, arguments, message, trained, cells: ad.AnnData, tmp_path, monkeypatch
) -> None:
    monkeypatch.chdir(tmp_path)
    if prepare is not None:
        prepare(tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    base = ["predict", "in.h5ad", "-o", "out.h5ad", "--model", trained]
    code, text = _run(*base, *arguments)
    assert code == 2, text
    assert message in text
    assert "Traceback" not in text
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_missing_input_is_named(tmp_path) -> None:
    code, text = _run("predict", tmp_path / "none.h5ad", "-o", tmp_path / "out.h5ad")
    assert code == 2
    assert "No file at" in text


def test_a_folder_that_cannot_be_written_is_refused_before_any_work(cells, tmp_path, monkeypatch) -> None:
    def refuse(*args, **kwargs):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("tempfile.TemporaryFile", refuse)
    code, text = _run("predict", tmp_path / "in.h5ad", "-o", tmp_path / "out.h5ad")
    assert code == 2
    assert "Cannot write to the folder" in text


@pytest.mark.parametrize("ending", [".h5ad", ".zarr"])
def test_a_full_disk_leaves_no_half_file(ending, trained, cells, tmp_path, monkeypatch) -> None:
    def full(*arguments, **_):
        Path(arguments[1]).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("shutil.copyfile", full)
    monkeypatch.setattr(ad.AnnData, "write_zarr", full)
    code, text = _run("predict", tmp_path / "in.h5ad", "-o", tmp_path / f"out{ending}", "--model", trained)
    assert code == 2
    assert "No space left" in text
    assert [path.name for path in tmp_path.iterdir()] == ["in.h5ad"]


def test_drugs_are_found_with_a_typing_error_and_by_target() -> None:
    code, text = _run("drugs", "search", "gefitnib")
    assert code == 0
    assert "gefitinib" in text
    code, text = _run("drugs", "search", "EGFR")
    assert "afatinib" in text
    code, text = _run("drugs", "search", "qqqqqqqq")
    assert code == 2


@pytest.mark.parametrize(
    ("text", "name"), [("AZD6244", "Selumetinib"), ("velcade", "Bortezomib"), ("5-FU", "5-Fluorouracil")]
)
def test_drugs_are_searched_by_their_other_names(text: str, name: str) -> None:
    from scdrug.cli._drugs import search_drugs

    assert search_drugs(text)["name"].tolist() == [name]


def test_data_sets_and_models_are_listed() -> None:
    code, text = _run("datasets", "list")
    assert code == 0
    assert "sc_mixology" in text
    code, text = _run("models", "list")
    assert code == 0
    assert "gdsc2-ridge" in text


def test_fetching_offline_says_how_to_go_on(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("SCDRUG_DATA_DIR", str(tmp_path))
    code, text = _run("datasets", "fetch", "sc_mixology", "--offline")
    assert code == 2
    assert "http" in text
    code, text = _run("datasets", "fetch", "sc_mixologi", "--offline")
    assert code == 2
    assert "sc_mixology" in text


def test_demo_runs_on_the_real_tumour(tmp_path) -> None:
    pytest.importorskip("infercnvpy")
    code, text = _run("demo", "--out", tmp_path / "demo")
    assert code == 0, text
    assert "142 malignant and 42 normal cells" in text
    assert "How far to trust it" in text and "hardly divide" in text
    assert "Widest windows" in text and "no measure of safety" in text
    assert sorted(path.name for path in (tmp_path / "demo").iterdir()) == [
        "clones.png",
        "rank_drugs.png",
        "report.html",
    ]
    assert all(path.stat().st_size > 10_000 for path in (tmp_path / "demo").iterdir())
    assert len(re.findall(r"\b(?:10|[1-9]) [A-Z]", text)) >= 10


@pytest.mark.slow
def test_demo_on_lines_that_are_sequenced_deeply(tmp_path, shared_data) -> None:
    code, text = _run(
        "demo", "--cells", "lung", "--path", shared_data / "sc" / "sc_mixology", "--out", tmp_path / "demo"
    )
    assert code == 0, text
    assert "571 cells" in text
    assert all(line in text for line in ("A549", "H1975", "H2228", "H838", "HCC827"))
    assert (tmp_path / "demo" / "report.html").stat().st_size > 10_000
    code, text = _run("demo", "--cells", "liver", "--out", tmp_path / "other")
    assert code != 0 and "'tumour', 'lung'" in text


# ---------------------------------------------------------------------- train


def test_train_makes_the_recipe_on_another_reference(trained, tmp_path) -> None:
    reference = datasets.toy()
    reference.write_h5ad(tmp_path / "screen.h5ad")
    left_out = list(reference.obs_names[:5])
    code, said = _run(
        "train", tmp_path / "screen.h5ad", "-o", tmp_path / "own", "--recipe", trained, "--exclude", ",".join(left_out)
    )
    assert code == 0 and "scdrug predict" in said, said
    own = model.load_pretrained(tmp_path / "own")
    kept = reference[5:].copy()
    model.KernelRidge.setup_anndata(kept)
    expected = model.KernelRidge(kept)
    expected.train()
    np.testing.assert_allclose(
        own.predict(reference, key_added=None), expected.predict(reference, key_added=None), atol=1e-5
    )
    code, said = _run("train", tmp_path / "screen.h5ad", "-o", tmp_path / "own", "--recipe", trained)
    assert code == 2 and "--overwrite" in said


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--exclude", "TOY-0001,TOY-001"], "nearest"),
        (["--recipe", "gdsc2-rigde"], "gdsc2-ridge"),
        (["--recipe", "gdsc2-pathways-1"], "pathway"),
    ],
)
def test_train_says_what_is_wrong_and_leaves_nothing(tmp_path, arguments: list[str], says: str) -> None:
    datasets.toy().write_h5ad(tmp_path / "screen.h5ad")
    code, said = _run("train", tmp_path / "screen.h5ad", "-o", tmp_path / "own", *arguments)
    assert code == 2 and says in said and not (tmp_path / "own").exists()


def test_train_refuses_cells(cells, tmp_path) -> None:
    code, said = _run("train", tmp_path / "in.h5ad", "-o", tmp_path / "own")
    assert code == 2 and "response" in said and not (tmp_path / "own").exists()


def test_rankings_are_printed_with_the_evidence_of_their_drugs_where_it_is_known(cells, trained) -> None:
    from rich.console import Console

    from scdrug import get
    from scdrug.cli._tables import ranking_table

    tl.predict_response(cells, trained)
    cells.uns["predicted_response"]["drugs"]["screen_r"] = 0.9
    with pytest.warns(UserWarning):
        tl.rank_drugs(cells, "clone")
    table = get.rank_drugs_df(cells, "clone-a").head(8)

    def printed(frame: pd.DataFrame) -> str:
        console = Console(width=160)
        with console.capture() as capture:
            console.print(ranking_table(frame, "title"))
        return capture.get()

    shown = printed(table)
    assert "evidence" in shown and "ph." in shown and "strong" in shown
    assert ("▾ a drug of better evidence" in shown) == table["outranks_better"].any()
    turned = table.assign(outranks_better=True)
    assert printed(turned).count("▾") == len(table) + 1
    earlier = printed(table.drop(columns=["evidence", "phase", "outranks_better"]))
    assert "evidence" not in earlier and "title" in earlier
