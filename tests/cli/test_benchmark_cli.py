"""`scdrug benchmark`: thin commands over `scdrug.benchmark`."""

from __future__ import annotations

import re
import subprocess
import sys
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from scdrug import benchmark, datasets
from scdrug.cli import app
from scdrug.cli._errors import console

RUNNER = CliRunner()
CONFIG = """
name: Toy [of mine]
data: { dataset: toy, n_lines: 40 }
splits:
  - { kind: line, n_folds: 3 }
  - { kind: drug, n_folds: 2, n_repeats: 2 }
models:
  - { name: means, model: AdditiveMean }
  - { name: ridge, model: KernelRidge, tune: { ridge: [0.1, 1.0] } }
  - { name: kronecker, model: KernelRidge, params: { drug_kernel: tanimoto }, splits: [drug] }
"""


def _run(*arguments: object) -> tuple[int, str]:
    console.width = 160  # rich reads COLUMNS once, when the first test of the process imports the command line
    result = RUNNER.invoke(
        app, ["benchmark", *map(str, arguments)], env={"COLUMNS": "160", "TERM": "dumb", "NO_COLOR": "1"}
    )
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, re.sub(r"\s+", " ", result.output)


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "toy.yaml"
    path.write_text(CONFIG, encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Folder of a small run."""
    screen = datasets.toy(n_lines=40)
    models = [benchmark.ModelSpec("means", "AdditiveMean"), benchmark.ModelSpec("[ridge]", "KernelRidge")]
    out = tmp_path_factory.mktemp("run") / "out"
    benchmark.run(screen, benchmark.make_splits(screen, "line", n_folds=2), models, out=out, progress=False)
    return out


@pytest.mark.parametrize("command", [[], ["run"], ["report"], ["check"]])
def test_help_starts_at_once_and_loads_nothing_heavy(command: list[str]) -> None:
    code = (
        "import sys\nfrom scdrug.cli import app\n"
        f"try:\n    app({['benchmark', *command, '--help']!r})\nexcept SystemExit as done:\n    assert not done.code\n"
        "assert not {'torch', 'scvi', 'scanpy', 'anndata', 'pandas', 'matplotlib'} & set(sys.modules)"
    )
    # seconds depend on the machine; what is loaded does not
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


# ---------------------------------------------------------------------- run


@pytest.fixture
def calls(monkeypatch, tmp_path) -> list[dict]:
    """What reaches `run_config`, which reports two of two folds."""
    seen: list[dict] = []

    def run_config(config, out, *, progress, **options):
        seen.append({"name": config.name, "out": out, **options})
        progress(0, 2, "start")
        progress(2, 2, "ridge [x], line 1.2")
        return SimpleNamespace(folder=out)

    monkeypatch.setattr(benchmark, "run_config", run_config)
    return seen


def test_run_passes_its_options_on_and_shows_progress(config, calls, tmp_path) -> None:
    code, text = _run("run", config, "--out", tmp_path / "out")
    assert code == 0, text
    expected = {"data": None, "models": None, "splits": None, "n_jobs": 1, "overwrite": False}
    assert calls == [{"name": "Toy [of mine]", "out": tmp_path / "out", **expected}]
    assert "2/2" in text
    assert "ridge [x], line 1.2" in text
    assert f"scdrug benchmark report {tmp_path / 'out'}" in text


def test_run_takes_names_separated_by_commas(config, calls, tmp_path) -> None:
    options = ["--models", "means, ridge", "--splits", "line", "--jobs", "-1", "--data", tmp_path, "--overwrite"]
    code, text = _run("run", config, "--out", tmp_path / "out", *options)
    assert code == 0, text
    assert calls[0]["models"] == ["means", "ridge"]
    assert calls[0]["splits"] == ["line"]
    assert (calls[0]["n_jobs"], calls[0]["data"], calls[0]["overwrite"]) == (-1, tmp_path, True)


@pytest.mark.parametrize(
    ("options", "message"),
    [(["--jobs", "0"], "at least 1, or -1"), (["--data", "nowhere"], "There is no folder nowhere")],
)
def test_run_refuses_bad_options_before_any_work(options, message, config, calls, tmp_path) -> None:
    code, text = _run("run", config, "--out", tmp_path / "out", *options)
    assert code == 2
    assert message in text
    assert calls == []


def test_run_refuses_a_bad_configuration_before_any_work(config, calls, tmp_path) -> None:
    config.write_text(CONFIG.replace("n_folds: 3", "n_fold: 3"))
    code, text = _run("run", config, "--out", tmp_path / "out")
    assert code == 2
    assert "Did you mean 'n_folds'" in text
    assert calls == []
    assert not (tmp_path / "out").exists()


def test_a_small_benchmark_runs_resumes_and_is_reported(config, tmp_path) -> None:
    out = tmp_path / "out"
    arguments = ["run", config, "--out", out, "--splits", "line", "--models", "means"]
    assert _run(*arguments)[0] == 0
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*.npz")}
    assert len(before) == 3
    code, text = _run(*arguments)
    assert code == 0
    assert "3/3" in text
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*.npz")} == before
    code, text = _run("report", out)
    assert code == 0, text
    assert (out / "report" / "report.html").is_file()


# ---------------------------------------------------------------------- report


def test_report_writes_files_and_prints_the_table(finished, tmp_path) -> None:
    code, text = _run("report", finished, "--out", tmp_path / "report")
    assert code == 0, text
    names = sorted(path.name for path in (tmp_path / "report").iterdir())
    assert names == ["figures", "per_drug.csv", "report.html", "report.md", "scores.csv"]
    mean = benchmark.read_results(finished).summary().loc[("line", "[ridge]"), ("per_drug_pearson", "mean")]
    assert "[ridge]" in text  # not taken for markup
    assert f"{mean:.3f}" in text
    assert "drug mean (by definition)" in text
    assert str(tmp_path / "report" / "report.html") in text.replace("\n", "")


def test_report_can_be_one_file_that_is_only_replaced_on_request(finished, tmp_path) -> None:
    target = tmp_path / "table.md"
    target.write_text("precious")
    code, text = _run("report", finished, "--out", target)
    assert code == 2
    assert "--overwrite" in text
    assert target.read_text() == "precious"
    assert _run("report", finished, "--out", target, "--overwrite")[0] == 0
    assert "### Split line" in target.read_text(encoding="utf-8")
    assert [path.name for path in tmp_path.iterdir()] == ["table.md"]


def test_report_shows_figures_in_print_beside(finished, tmp_path) -> None:
    (tmp_path / "printed.csv").write_text("split,model,rmse,source\nline,Deep net,1.1,Someone 2020\n")
    code, _ = _run("report", finished, "--out", tmp_path / "r.html", "--published", tmp_path / "printed.csv")
    assert code == 0
    html = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert "Deep net" in html
    assert "often the best epoch on the test set" in html


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere"], "does not exist"),
        (["."], "is not a folder of benchmark results"),
        (["FINISHED", "--published", "none.csv"], "No table of published figures"),
    ],
)
def test_report_refuses_what_it_cannot_read(arguments, message, finished, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    code, text = _run("report", *(finished if part == "FINISHED" else part for part in arguments), "--out", "r.html")
    assert code == 2
    assert message in text
    assert list(tmp_path.iterdir()) == []


# ---------------------------------------------------------------------- check


def test_check_shows_splits_models_and_folds(config, tmp_path) -> None:
    code, text = _run("check", config)
    assert code == 0, text
    assert "means 3 4" in text
    assert "ridge 3 cannot" in text  # no features of drugs
    assert "kronecker – 4" in text
    assert "2 splits × 3 models, 14 folds in all, on toy. Nothing was trained." in text
    assert "Toy [of mine]" in text
    assert [path.name for path in tmp_path.iterdir()] == ["toy.yaml"]


def test_check_takes_the_same_filters_as_run(config) -> None:
    assert "1 splits × 1 models, 3 folds in all" in _run("check", config, "--models", "ridge", "--splits", "line")[1]
    code, text = _run("check", config, "--models", "rigde")
    assert code == 2
    assert "Did you mean 'ridge'" in text


def test_check_counts_the_folds_of_a_saved_split(config, tmp_path) -> None:
    screen = datasets.toy(n_lines=40)
    benchmark.make_splits(screen, "line", n_folds=4).save(tmp_path / "theirs.csv.gz")
    config.write_text(CONFIG.replace("{ kind: line, n_folds: 3 }", "{ name: theirs, file: theirs.csv.gz }"))
    assert "means 4 4" in _run("check", config)[1]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("model: AdditiveMean", "model: AdditveMean", "Did you mean 'AdditiveMean'"),
        ("ridge: [0.1, 1.0]", "rigde: [0.1, 1.0]", "Did you mean 'ridge'"),
        (", params: { drug_kernel: tanimoto }", "", "cannot predict drugs that were not in training"),
        ("{ kind: line, n_folds: 3 }", "{ file: none.csv.gz }", "none.csv.gz"),
    ],
)
def test_check_finds_what_run_would_refuse(old, new, message, config) -> None:
    config.write_text(CONFIG.replace(old, new, 1))
    code, text = _run("check", config)
    assert code == 2
    assert message in text
    assert "Traceback" not in text
