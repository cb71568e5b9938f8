"""Trainings that last: what was killed goes on, with the result of what was not."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import torch

import scdrug
from scdrug.model import CSG2A, MTIGCN, DeepCDR, DrugResponseModel, PathwayTransfer

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="kills forks of a process")

#: Models by what they ask of checkpoints: one phase, two, two with a critic and cells in a queue, two with a schedule.
MODELS: dict[str, tuple[type[DrugResponseModel], dict[str, Any], dict[str, Any]]] = {
    "one phase": (DeepCDR, {"drug_layers": [8], "cell_layers": [8]}, {"batch_size": 64, "max_epochs": 6}),
    "two phases": (PathwayTransfer, {"n_hidden": 16}, {"batch_size": 16, "max_epochs": 5, "patience": 2}),
    "critic": (
        PathwayTransfer,
        {"n_hidden": 8, "variant": "adversarial_shared", "n_latent": 8},
        {"batch_size": 32, "max_epochs": 4},
    ),
    "schedule": (
        CSG2A,
        {"drug_features": "morgan", "n_genes": 30, "settings": {"cosine_epochs": 5}},
        {"batch_size": 100, "max_epochs": 4},
    ),
    "graph": (MTIGCN, {"n_hidden": 16, "n_latent": 16}, {"max_epochs": 4}),
}


def train(name: str, seed: int = 0, reference: ad.AnnData | None = None, **options: Any) -> DrugResponseModel:
    """Train one of these models on toy data."""
    cls, params, arguments = MODELS[name]
    adata = scdrug.datasets.toy(n_lines=60) if reference is None else reference.copy()
    if cls is PathwayTransfer:
        scdrug.pp.pathway_mask(adata, "toy")
        params = {**params, "cells": scdrug.datasets.toy_cells(n_cells=80)}
    cls.setup_anndata(adata)
    model = cls(adata, **params)
    model.train(**{"accelerator": "cpu", "seed": seed, **arguments, **options})
    return model


class Steps:
    """Counts steps of optimisers, and does something instead of one of them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch | None = None) -> None:
        self.n, self.last, self.then = 0, -1, lambda: None
        for kind in (torch.optim.AdamW, torch.optim.Adam):
            if "step" in vars(kind):
                step = self._counted(kind.step)
                if monkeypatch is None:
                    kind.step = step
                else:
                    monkeypatch.setattr(kind, "step", step)

    def _counted(self, step: Any) -> Any:
        def counted(*args: Any, **kwargs: Any) -> Any:
            self.n += 1
            if self.n == self.last:
                self.then()
            return step(*args, **kwargs)

        return counted

    def start(self, last: int = -1, then: Any = None) -> None:
        """Count from 0; before step `last` something happens."""
        self.n, self.last, self.then = 0, last, then


@pytest.fixture
def steps(monkeypatch) -> Steps:
    return Steps(monkeypatch)


@pytest.fixture(autouse=True)
def _one_thread_and_no_bars(monkeypatch):
    monkeypatch.setattr(scdrug.settings, "progress", False)
    before = torch.get_num_threads()
    torch.set_num_threads(1)  # sums over threads differ in their last bits
    yield
    torch.set_num_threads(before)


def interrupt() -> None:
    raise KeyboardInterrupt


def assert_same(first: DrugResponseModel, second: DrugResponseModel) -> None:
    """Bit by bit: weights, losses, the best epoch, and predictions."""
    ours, theirs = first.module.state_dict(), second.module.state_dict()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert first.history.keys() == second.history.keys()
    for name, table in first.history.items():
        pd.testing.assert_frame_equal(table, second.history[name], check_exact=True)
    assert first.best_epoch_ == second.best_epoch_
    lines = scdrug.datasets.toy(n_lines=60)
    pd.testing.assert_frame_equal(
        first.predict(lines, key_added=None), second.predict(lines, key_added=None), check_exact=True
    )


# ---------------------------------------------------------------------- killed

#: Steps after which trainings are killed: in the last epoch, and in the second phase.
KILLED_AT = {"one phase": 47, "two phases": 28}


def train_until_killed(name: str, folder: Path) -> None:
    """Train one of these models until the process is killed; for use in a process of its own."""
    torch.set_num_threads(1)
    scdrug.settings.progress = False
    Steps().start(KILLED_AT[name], lambda: os.kill(os.getpid(), 9))
    train(name, checkpoint_dir=folder)


@pytest.fixture(scope="module")
def killed(tmp_path_factory) -> Path:
    """Folders of checkpoints of trainings that were killed."""
    folder = tmp_path_factory.mktemp("killed")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])}

    def start(name: str) -> subprocess.Popen:
        # not forked: the same numbers come out of a forked process with other last bits on some builds of torch
        code = f"from pathlib import Path; from test_checkpoints import train_until_killed as t; t({name!r}, Path({str(folder / name)!r}))"
        return subprocess.Popen([sys.executable, "-W", "ignore", "-c", code], env=environment)

    for process in [start(name) for name in KILLED_AT]:
        assert process.wait() == -9
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("name", list(KILLED_AT))
def test_a_training_that_was_killed_goes_on_to_the_result_of_an_unbroken_one(name: str, killed: Path, steps) -> None:
    steps.start()
    unbroken = train(name)
    n_steps = steps.n
    assert sorted(path.name for path in (killed / name).glob("*")) != []
    (killed / name / "notes.txt").write_text("the user's")
    steps.start()
    resumed = train(name, checkpoint_dir=killed / name)
    assert 0 < steps.n < n_steps, "only what was left is trained"
    assert_same(unbroken, resumed)
    assert [path.name for path in (killed / name).iterdir()] == ["notes.txt"], "nothing is left but the user's file"


@pytest.mark.parametrize("name", ["critic", "schedule"])
def test_an_interrupt_leaves_the_checkpoint_whole(name: str, tmp_path, steps) -> None:
    steps.start()
    unbroken = train(name)
    n_steps = steps.n
    for last in (2 * n_steps // 3, 2):  # twice: what went on goes on again
        steps.start(last, interrupt)
        with pytest.raises(KeyboardInterrupt):
            train(name, checkpoint_dir=tmp_path)
        steps.start()
    resumed = train(name, checkpoint_dir=str(tmp_path))
    assert steps.n < n_steps
    assert_same(unbroken, resumed)
    assert not list(tmp_path.iterdir())


def test_checkpoints_open_without_running_code(tmp_path, steps) -> None:
    steps.start(27, interrupt)
    with pytest.raises(KeyboardInterrupt):
        train("two phases", checkpoint_dir=tmp_path)
    files = sorted(tmp_path.glob("*.ckpt"))
    assert len(files) == 2, "the finished phase, and the last epoch of the other"
    for file in files:
        torch.load(file, weights_only=True)


# ---------------------------------------------------------------------- another training


@pytest.fixture
def stopped(tmp_path, steps) -> Path:
    """Checkpoints of a training with one phase that was stopped in its last epoch."""
    steps.start(47, interrupt)
    with pytest.raises(KeyboardInterrupt):
        train("one phase", checkpoint_dir=tmp_path / "checkpoints")
    steps.start()
    return tmp_path / "checkpoints"


def test_checkpoints_of_another_training_are_refused_and_kept(stopped: Path, monkeypatch) -> None:
    files = {path: path.read_bytes() for path in stopped.iterdir()}
    with pytest.raises(ValueError, match=r"arguments of train\(\) differ: `seed` was 0 and is 3.*start anew"):
        train("one phase", seed=3, checkpoint_dir=stopped)
    with pytest.raises(ValueError, match="`batch_size` was 64 and is 32"):
        train("one phase", batch_size=32, checkpoint_dir=stopped)
    with pytest.raises(ValueError, match="model differs: `class` was 'DeepCDR' and is 'MTIGCN'"):
        train("graph", checkpoint_dir=stopped)
    changed = scdrug.datasets.toy(n_lines=60)
    changed.obsm["response"].iloc[3, 2] += 1.0
    with pytest.raises(ValueError, match="the data differ: 'responses'"):
        train("one phase", reference=changed, checkpoint_dir=stopped)
    monkeypatch.setitem(MODELS, "other", (DeepCDR, {"drug_layers": [8], "cell_layers": [4]}, MODELS["one phase"][2]))
    with pytest.raises(ValueError, match=r"settings of the model differ: `cell_layers` was \[8\] and is \[4\]"):
        train("other", checkpoint_dir=stopped)
    manifest = stopped / "scdrug-training.json"
    text = manifest.read_text()
    manifest.write_text(text.replace(scdrug.__version__, "0.0.9"))
    with pytest.raises(ValueError, match="of another version: `scdrug` was '0.0.9'"):
        train("one phase", checkpoint_dir=stopped)
    manifest.write_text(text)
    assert {path: path.read_bytes() for path in stopped.iterdir()} == files


@pytest.mark.parametrize("content", [b"not a checkpoint", "half"])
def test_a_damaged_checkpoint_is_named(stopped: Path, content) -> None:
    (file,) = stopped.glob("*.ckpt")
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2] if content == "half" else content)
    with pytest.raises(ValueError, match=f"{file.name} cannot be read .*Delete this file"):
        train("one phase", checkpoint_dir=stopped)
    file.unlink()
    train("one phase", checkpoint_dir=stopped)  # as it was advised


def test_a_damaged_manifest_is_named(stopped: Path) -> None:
    (stopped / "scdrug-training.json").write_text("{")
    with pytest.raises(ValueError, match=r"scdrug-training.json cannot be read .*start anew"):
        train("one phase", checkpoint_dir=stopped)


def test_a_place_that_is_no_folder_of_checkpoints_is_refused(tmp_path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="must be a folder"):
        train("one phase", checkpoint_dir=tmp_path / "file")
    mine = tmp_path / "scdrug-phase-0.ckpt"
    mine.write_text("mine")
    with pytest.raises(ValueError, match="no scdrug-training.json"):
        train("one phase", checkpoint_dir=tmp_path)
    assert mine.read_text() == "mine"


def test_a_training_that_diverged_leaves_nothing_to_go_on_from(tmp_path) -> None:
    with pytest.raises(RuntimeError, match="diverged"):
        train("one phase", lr=1e30, checkpoint_dir=tmp_path)
    assert not list(tmp_path.iterdir())
    assert np.isfinite(train("one phase", checkpoint_dir=tmp_path).history["train_loss"].to_numpy()).all()
