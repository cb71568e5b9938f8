"""A folder of results: only what a benchmark wrote is ever replaced."""

from __future__ import annotations

import errno
import json
import os

import numpy as np
import pytest
from anndata import AnnData

from scdrug.benchmark import ModelSpec, make_splits, read_results, run, write_report

MEANS = ModelSpec("means", "AdditiveMean")


def go(screen: AnnData, out, **options):
    return run(screen, make_splits(screen, "line", n_folds=2), MEANS, out=out, progress=False, **options)


def test_overwriting_starts_anew_and_leaves_no_file_of_the_run_before(screen: AnnData, tmp_path) -> None:
    out = tmp_path / "out"
    write_report(run(screen, make_splits(screen, "pair", n_folds=3), MEANS, out=out, progress=False), out / "report")
    results = go(screen, out, overwrite=True)
    assert results.splits == ["line"]
    files = sorted(path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file())
    assert files == ["benchmark.json", "folds/line/means/1.1.npz", "folds/line/means/1.2.npz", "splits/line.csv.gz"]


@pytest.mark.parametrize("name", ["notes.txt", "report/notes.md", "folds/line/means/mine.csv", "figures/mine.png"])
def test_files_of_the_user_keep_a_folder_from_being_replaced(name: str, screen: AnnData, tmp_path) -> None:
    go(screen, tmp_path)
    mine = tmp_path / name
    mine.parent.mkdir(parents=True, exist_ok=True)
    mine.write_text("precious")
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.npz")}
    with pytest.raises(ValueError, match=f"no benchmark of scdrug wrote .'{name}'."):
        go(screen, tmp_path, overwrite=True)
    assert mine.read_text() == "precious"
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.npz")} == before
    assert len(go(screen, tmp_path).folds) == 2  # going on disturbs nobody


def test_what_a_link_leads_to_is_not_deleted(screen: AnnData, tmp_path) -> None:
    out, elsewhere = tmp_path / "out", tmp_path / "elsewhere"
    go(screen, out)
    elsewhere.mkdir()
    (elsewhere / "1.1.npz").write_text("precious")
    (out / "folds" / "line" / "linked").symlink_to(elsewhere)
    with pytest.raises(ValueError, match="folds/line/linked"):
        go(screen, out, overwrite=True)
    assert (elsewhere / "1.1.npz").read_text() == "precious"
    (out / "folds" / "line" / "linked").unlink()
    (tmp_path / "link").symlink_to(out)
    assert len(go(screen, tmp_path / "link", overwrite=True).folds) == 2
    assert (tmp_path / "link").is_symlink()


@pytest.mark.parametrize("content", ['{"benchmarks": []}', "[]", "{"])
def test_a_manifest_from_elsewhere_is_not_replaced(content: str, screen: AnnData, tmp_path) -> None:
    (tmp_path / "benchmark.json").write_text(content)
    with pytest.raises(ValueError, match=r"no benchmark of scdrug wrote .'benchmark\.json'."):
        go(screen, tmp_path, overwrite=True)
    assert (tmp_path / "benchmark.json").read_text() == content


def test_a_file_is_not_taken_for_a_folder(screen: AnnData, tmp_path) -> None:
    (tmp_path / "out").write_text("precious")
    with pytest.raises(FileExistsError, match="results need a folder"):
        go(screen, tmp_path / "out", overwrite=True)
    assert (tmp_path / "out").read_text() == "precious"


def test_part_files_of_killed_runs_go_when_they_are_surely_stale(screen: AnnData, tmp_path) -> None:
    go(screen, tmp_path)
    stale, fresh = (tmp_path / "folds" / "line" / "means" / f".1.1.npz-{x * 8}" for x in "ab")
    top, mine = tmp_path / ".benchmark.json-aaaaaaaa", tmp_path / ".notes-aaaaaaaa"
    for path in (stale, fresh, top, mine):
        path.write_text("half")
    for path in (stale, top, mine):
        os.utime(path, (0, 0))
    go(screen, tmp_path)
    assert [path.exists() for path in (stale, fresh, top, mine)] == [False, True, False, True]


def test_a_full_disk_is_said_in_one_sentence(screen: AnnData, tmp_path, monkeypatch) -> None:
    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match=r"No space left for .*benchmark\.json; .* Free some space") as caught:
        go(screen, tmp_path / "out")
    assert caught.value.errno == errno.ENOSPC
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


@pytest.mark.parametrize(
    "damage",
    [
        {"row": np.array([10**6])},
        {"column": np.array([-1])},
        {"row": np.array([0.5])},
        {"predicted": np.zeros(0)},
        {"meta": np.array("[]")},
    ],
    ids=["row", "column", "kind", "length", "meta"],
)
def test_a_fold_whose_parts_do_not_fit_is_damaged(damage: dict, screen: AnnData, tmp_path) -> None:
    go(screen, tmp_path)
    path = tmp_path / "folds" / "line" / "means" / "1.1.npz"
    with np.load(path) as arrays:
        content = {name: arrays[name] for name in arrays.files}
    np.savez(path, **{**content, **damage})
    with pytest.raises(ValueError, match=r"1\.1\.npz is damaged"):
        read_results(tmp_path).scores  # noqa: B018


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"splits": ...}, r"lacks 'splits'"),
        ({"splits": [1]}, r"`splits` of `.*benchmark\.json`: .*dictionary"),
        ({"models": {"means": 3}}, r"`models` of `.*benchmark\.json`: .*dictionary"),
        ({"seed": "0"}, r"`seed` of `.*benchmark\.json`: .*integer"),
    ],
)
def test_a_manifest_that_was_changed_is_refused_with_its_field(change: dict, message: str, screen, tmp_path) -> None:
    go(screen, tmp_path)
    path = tmp_path / "benchmark.json"
    content = {key: value for key, value in {**json.loads(path.read_text()), **change}.items() if value is not ...}
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=message):
        read_results(tmp_path)
