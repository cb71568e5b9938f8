"""A benchmark that was killed goes on inside the fold that it was at."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import torch

import scdrug
from scdrug.benchmark import ModelSpec, make_splits, run

STEPS = "folds/*/*/*.training"


def benchmark(folder: Path):
    """Two folds of a small network."""
    screen = scdrug.datasets.toy(n_lines=60)
    params = {"drug_layers": [8], "cell_layers": [8]}
    spec = ModelSpec(
        "network", "DeepCDR", params=params, train={"max_epochs": 4, "batch_size": 64, "accelerator": "cpu"}
    )
    return run(screen, make_splits(screen, "line", n_folds=2), spec, out=folder, progress=False)


def count_steps(patch, last: int = -1) -> list[int]:
    """Count steps of the optimiser, and kill this process before step `last`."""
    steps, step = [0], torch.optim.AdamW.step

    def counted(*args, **kwargs):
        steps[0] += 1
        if steps[0] == last:
            os.kill(os.getpid(), 9)
        return step(*args, **kwargs)

    patch(torch.optim.AdamW, "step", counted)
    return steps


def run_until_killed(folder: Path, last: int) -> None:
    """Run and be killed; for use in a process of its own."""
    torch.set_num_threads(1)
    scdrug.settings.progress = False
    count_steps(setattr, last)
    benchmark(folder)


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="kills a process")
def test_a_killed_run_goes_on_inside_the_fold_with_the_result_of_an_unbroken_one(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(scdrug.settings, "progress", False)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        steps = count_steps(monkeypatch.setattr)
        unbroken = benchmark(tmp_path / "unbroken")
        n_steps, steps[0] = steps[0], 0
        code = (
            f"from pathlib import Path; from test_resume import run_until_killed as r; "
            f"r(Path({str(tmp_path / 'killed')!r}), {n_steps - 1})"
        )
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])}
        process = subprocess.run([sys.executable, "-W", "ignore", "-c", code], env=environment)
        assert process.returncode == -9
        assert len(list((tmp_path / "killed").glob("folds/*/*/*.npz"))) == 1, "one fold is finished"
        (unfinished,) = (tmp_path / "killed").glob(STEPS)
        assert {path.suffix for path in unfinished.iterdir()} == {".ckpt", ".json"}
        resumed = benchmark(tmp_path / "killed")
    finally:
        torch.set_num_threads(threads)
    assert 0 < steps[0] < n_steps / 2, "the rest of one fold"
    assert not list((tmp_path / "killed").glob(STEPS))
    assert not list((tmp_path / "unbroken").glob(STEPS))
    first, second = (results.predictions("line", "network") for results in (unbroken, resumed))
    # sums of floats in another process may differ in the last digit; another order of batches would differ in the second
    pd.testing.assert_frame_equal(first, second, check_exact=False, rtol=1e-5)
