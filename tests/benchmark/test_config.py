"""Configuration files: complete checks before anything is loaded, and the same results as by hand."""

from __future__ import annotations

import time
from pathlib import Path

import pandas as pd
import pytest
import yaml

from scdrug.benchmark import ModelSpec, Search, make_splits, read_config, run, run_config
from scdrug.benchmark._search import choose

ROOT = Path(__file__).parents[2]
TOY = {
    "name": "toy",
    "data": {"dataset": "toy", "n_lines": 60},
    "splits": [{"kind": "line", "n_folds": 3, "seed": 1}, {"kind": "pair", "n_folds": 2, "name": "half"}],
    "models": [
        {"model": "AdditiveMean"},
        {"name": "ridge", "model": "KernelRidge", "tune": {"ridge": [0.1, 1]}, "splits": ["line"]},
    ],
}


def write(folder: Path, **changes: object) -> Path:
    path = folder / "benchmark.yaml"
    content = {**TOY, **changes}
    path.write_text(yaml.safe_dump({key: value for key, value in content.items() if value is not None}))
    return path


@pytest.mark.slow
def test_a_configuration_gives_what_the_functions_give(tmp_path) -> None:
    path = write(tmp_path)
    results = run_config(path, tmp_path / "out", progress=False)
    adata = read_config(path).load_data()
    splits = {
        "line": make_splits(adata, "line", n_folds=3, seed=1),
        "half": make_splits(adata, "pair", n_folds=2),
    }
    models = [
        ModelSpec("AdditiveMean", "AdditiveMean"),
        ModelSpec("ridge", "KernelRidge", tune={"ridge": [0.1, 1]}, splits=["line"]),
    ]
    by_hand = run(adata, splits, models, out=tmp_path / "hand", progress=False)
    pd.testing.assert_frame_equal(results.scores, by_hand.scores)
    assert results.name == "toy"


def test_a_run_can_be_restricted(tmp_path) -> None:
    path = write(tmp_path)
    results = run_config(path, tmp_path / "out", models=["ridge"], splits=["line"], progress=False)
    assert set(results.folds["model"]) == {"ridge"}
    with pytest.raises(ValueError, match="Did you mean 'ridge'"):
        run_config(path, tmp_path / "other", models=["rigde"], progress=False)
    with pytest.raises(ValueError, match="`splits` must be one of 'line', 'half'"):
        run_config(path, tmp_path / "other", splits=["drug"], progress=False)


def test_only_the_first_folds_are_run_where_the_file_says_so(tmp_path) -> None:
    path = write(tmp_path, splits=[{"kind": "line", "n_folds": 3, "n_repeats": 2, "seed": 1, "first": 2}])
    config = read_config(path)
    adata = config.load_data()
    whole = make_splits(adata, "line", n_folds=3, n_repeats=2, seed=1)
    made = config.make_splits(adata)["line"]
    assert made.folds == ["1.1", "1.2", "2.1", "2.2"]
    assert config.n_folds == {"line": 4}
    pd.testing.assert_frame_equal(made.table, whole.table.drop(columns=["1.3", "2.3"]))
    for n in (0, 4):
        with pytest.raises(ValueError, match="`first` must lie between 1"):
            whole.first(n)


def test_splits_and_references_can_come_from_files_beside_it(tmp_path) -> None:
    adata = read_config(write(tmp_path)).load_data()
    make_splits(adata, "line", n_folds=4, seed=9).save(tmp_path / "mine.csv.gz")
    adata.write_h5ad(tmp_path / "screen.h5ad")
    path = write(
        tmp_path, data={"file": "screen.h5ad"}, splits=[{"file": "mine.csv.gz"}], models=[{"model": "AdditiveMean"}]
    )
    results = run_config(path, tmp_path / "out", progress=False)
    assert results.splits == ["mine"]
    assert len(results.folds) == 4
    assert results.provenance["splits"]["mine"]["seed"] == 9


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"modles": []}, "Did you mean 'models'"),
        ({"models": None}, "lacks 'models'"),
        ({"models": [{"modle": "KernelRidge"}]}, "Did you mean 'model'"),
        ({"models": [{"name": "x"}]}, "name of a class"),
        ({"models": [{"model": "KernelRigde"}]}, "Did you mean 'KernelRidge'"),
        ({"models": [{"model": "KernelRidge", "params": {"rige": 1}}]}, "Did you mean 'ridge'"),
        ({"models": [{"model": "KernelRidge", "splits": ["lines"]}]}, "Did you mean 'line'"),
        ({"models": {"model": "KernelRidge"}}, "list of mappings"),
        ({"splits": [{"kind": "line", "nfolds": 3}]}, "Did you mean 'n_folds'"),
        ({"splits": [{"kind": "cell"}]}, "must be one of"),
        ({"splits": [{"n_folds": 3}]}, "either `kind`"),
        ({"splits": [{"kind": "line"}, {"kind": "line"}]}, "twice"),
        ({"splits": [{"kind": "line", "name": "My split"}]}, "lower-case"),
        ({"data": {"datset": "gdsc"}}, "found 'datset'. Did you mean 'dataset'"),
        ({"data": {"dataset": "gdsc", "file": "a.h5ad"}}, "found 'dataset', 'file'.$"),
        ({"data": {"dataset": "gdcs"}}, "Did you mean 'gdsc'"),
        ({"data": {"dataset": "gdsc", "relaese": "GDSC2"}}, "Did you mean 'release'"),
        ({"data": {"release": "GDSC2"}}, "either `dataset`"),
        ({"search": {"methd": "grid"}}, "Did you mean 'method'"),
        ({"search": {"select_by": "rsme"}}, "Did you mean 'rmse'"),
        ({"search": {"method": "ray"}}, "must be one of"),
        ({"search": {"n_trials": "20"}}, "`n_trials` of `search`: .*integer; found '20'"),
        ({"search": {"n_trials": 10**9}}, "`n_trials` of `search`: .*less than or equal to 10000"),
        ({"search": "grid"}, "`search` must be a mapping"),
        ({"seed": "one"}, "`seed`: .*integer; found 'one'"),
        ({"seed": -1}, "`seed`: .*greater than or equal to 0"),
        ({"seed": 1.5}, "`seed`: .*integer"),
        ({"labels": {"method": "extreme", "fraction": "a third"}}, "`labels` cannot be used: .*a third"),
        ({"labels": {"methd": "extreme"}}, "Did you mean 'method'"),
        ({"labels": 3}, "`labels`"),
        ({"splits": [{"kind": "line", "n_folds": "5"}]}, "`n_folds` of `splits`: .*integer; found '5'"),
        ({"splits": [{"kind": "line", "n_folds": True}]}, "`n_folds` of `splits`: .*integer"),
        ({"splits": [{"kind": "line", "n_repeats": 10**7}]}, "`n_repeats` of `splits`: .*less than or equal to 10000"),
        ({"splits": [{"kind": "line", "n_folds": 5, "n_repeats": 9000}]}, "asks for 45,000 folds, and at most 10,000"),
        ({"splits": [{"kind": "line", "validation": 1.5}]}, "`validation` of `splits`: .*less than 1"),
        ({"splits": [{"kind": "line", "line_key": 3}]}, "`line_key` of `splits`: .*string"),
        ({"models": [{"model": ["KernelRidge"]}]}, "`model` of `models`: .*string"),
        ({"models": [{"model": "KernelRidge", "params": [1]}]}, "`params` of `models`: .*dictionary"),
        ({"models": [{"model": "KernelRidge", "splits": "line"}]}, "`splits` of `models`: .*list"),
        ({"models": [{"model": "KernelRidge", "tune": {"ridge": 0.1}}]}, "needs a list of values .*found 0.1"),
        (
            {
                "models": [
                    {
                        "model": "KernelRidge",
                        "tune": {n: list(range(1, 40)) for n in ("ridge", "denoise", "drug_ridge")},
                    }
                ]
            },
            "grid of 59,319 combinations, and at most 10,000",
        ),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_loaded(changes: dict, message: str, tmp_path) -> None:
    with pytest.raises(ValueError, match=message):
        read_config(write(tmp_path, **changes))


def test_files_that_are_no_configuration_are_refused(tmp_path) -> None:
    with pytest.raises(FileNotFoundError, match="No configuration"):
        read_config(tmp_path / "none.yaml")
    (tmp_path / "bad.yaml").write_text("a: [1, 2")
    with pytest.raises(ValueError, match="not a YAML file"):
        read_config(tmp_path / "bad.yaml")
    (tmp_path / "list.yaml").write_text("- 1")
    with pytest.raises(ValueError, match="must hold the keys"):
        read_config(tmp_path / "list.yaml")
    with pytest.raises(FileNotFoundError, match=r"data\.file"):
        read_config(write(tmp_path, data={"file": "none.h5ad"})).load_data()


_LAUGHS = "name: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{chr(98 + n)}: &{chr(98 + n)} [{', '.join([f'*{chr(97 + n)}'] * 10)}]\n" for n in range(12)
)
_MERGES = "name: &a {x: 1, y: 2}\n" + "".join(
    f"{chr(98 + n)}: &{chr(98 + n)} {{<<: [{', '.join([f'*{chr(97 + n)}'] * 10)}]}}\n" for n in range(12)
)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (_LAUGHS, "more than 50,000 entries once its aliases"),
        (_MERGES, "more than 50,000 entries once its aliases"),
        ("data: &a [1, *a]", "refers to itself"),
        ("data: &a\n  dataset: *a", "refers to itself"),
        ("[" * 5_000, "nested too deeply"),
        ("- " * 5_000, "nested too deeply"),
        ("name: x\n" * 10_000, "80,000 bytes"),
        ("name: x\nseed: 1\nname: y\n", "names 'name' twice"),
        ("seed: " + "9" * 5_000, "not a YAML file"),
        ("seed: 2020-99-99", "not a YAML file"),
        ("name: !!python/object/apply:os.system [ls]", "not a YAML file"),
    ],
    ids=[
        "aliases",
        "merges",
        "cycle",
        "cycle of mappings",
        "brackets",
        "dashes",
        "long",
        "key twice",
        "digits",
        "date",
        "code",
    ],
)
def test_hostile_files_are_refused_at_once(text: str, message: str, tmp_path) -> None:
    (tmp_path / "bad.yaml").write_text(text)
    started = time.process_time()
    with pytest.raises(ValueError, match=message) as caught:
        read_config(tmp_path / "bad.yaml")
    assert time.process_time() - started < 5
    assert "bad.yaml" in str(caught.value)
    assert len(str(caught.value)) < 1000


def test_numbers_that_yaml_takes_for_text_are_pointed_out(tmp_path) -> None:
    path = write(tmp_path)
    path.write_text(path.read_text().replace("n_folds: 3", "n_folds: 3\n  n_repeats: 1e7"))
    with pytest.raises(ValueError, match=r"`n_repeats` of `splits`: .*found '1e7'\. YAML takes this for text"):
        read_config(path)


def test_aliases_are_fine_within_limits(tmp_path) -> None:
    path = write(tmp_path)
    path.write_text(
        "data: {dataset: toy}\nsplits: [{kind: line}]\nmodels:\n"
        "  - {name: a, model: KernelRidge, params: &p {ridge: 0.5, kernel: rbf}}\n"
        "  - {name: b, model: KernelRidge, params: {<<: *p, ridge: 1.0}}\n"
    )
    assert read_config(path).models[1].params == {"ridge": 1.0, "kernel": "rbf"}


def test_a_grid_by_hand_has_the_same_limit() -> None:
    with pytest.raises(ValueError, match="needs a list of values"):
        ModelSpec("x", "KernelRidge", tune={"ridge": 0.1})
    values = {"ridge": range(1, 10**9), "denoise": [0, 1]}
    spec = ModelSpec("x", "KernelRidge", tune=values)  # nothing is listed yet
    with pytest.raises(ValueError, match="grid of 1,999,999,998 combinations"):
        choose(spec.tune, lambda _: 0.0, Search(), seed=0)


@pytest.mark.filterwarnings("error::FutureWarning")
@pytest.mark.parametrize("path", sorted((ROOT / "benchmarks").glob("*.yaml")), ids=lambda path: path.stem)
def test_committed_configurations_are_valid_and_use_present_names(path: Path) -> None:
    config = read_config(path)
    assert config.models
    assert config.splits


@pytest.mark.slow
def test_the_committed_baselines_run_on_real_data(shared_data: Path, tmp_path) -> None:
    results = run_config(
        ROOT / "benchmarks" / "gdsc2_baselines.yaml",
        tmp_path / "out",
        data=shared_data,
        models=["drug mean + line mean"],
        splits=["line"],
        progress=False,
    )
    table = results.summary(["rmse", "pearson", "per_drug_pearson"]).xs("mean", axis=1, level=1).iloc[0]
    assert table["rmse"] == pytest.approx(1.494, abs=0.01)
    assert table["pearson"] == pytest.approx(0.845, abs=0.01)
    assert table["per_drug_pearson"] == pytest.approx(0, abs=0.01)


@pytest.mark.slow
def test_single_cell_tasks_are_saved_one_by_one_and_not_run_twice(shared_data: Path, tmp_path, monkeypatch) -> None:
    from scdrug.benchmark.transfer import _run

    task = {"task": "a375", "release": "GDSC2", "n_bootstrap": 0, "models": ["ridge"]}
    path = write(tmp_path, single_cell=[task], splits=[{"kind": "line", "n_folds": 3}])
    results = run_config(path, tmp_path / "out", data=shared_data, progress=False)
    table = results.single_cell
    assert set(table["task"]) == {"a375"}
    assert "ridge" in set(table["model"])
    assert "AdditiveMean" not in set(table["model"])

    def never(*args, **options):
        raise AssertionError("scored twice")

    monkeypatch.setattr(_run, "run_single_cell", never)
    again = run_config(path, tmp_path / "out", data=shared_data, progress=False)
    pd.testing.assert_frame_equal(again.single_cell, table)
    with pytest.raises(ValueError, match="other settings"):
        run_config(
            write(tmp_path, single_cell=[{**task, "measure": "AUC"}], splits=[{"kind": "line", "n_folds": 3}]),
            tmp_path / "out",
            data=shared_data,
            progress=False,
        )


@pytest.mark.parametrize(
    ("task", "message"),
    [
        ({"task": "a357"}, "Did you mean 'a375'"),
        ({"task": "a375", "seed": 3}, "Did you mean 'seeds'"),
        ({"task": "a375", "models": ["rigde"]}, "Did you mean 'ridge'"),
        ({"task": "a375", "name": "My task"}, "lower-case"),
    ],
)
def test_single_cell_tasks_are_checked_with_the_rest(task: dict, message: str, tmp_path) -> None:
    with pytest.raises(ValueError, match=message):
        read_config(write(tmp_path, single_cell=[task]))
