"""Processes of a parallel run end with the run, whatever ended it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").is_file(), reason="looks for processes in /proc")

#: Workers that would go on for two minutes; nothing heavy is loaded.
PROGRAM = """
import os, sys, time
from joblib import Parallel, delayed
from scdrug.benchmark._workers import end_with

def work(number):
    open(f"{sys.argv[1]}/{os.getpid()}.pid", "w").close()
    time.sleep(120)

if __name__ == "__main__":
    Parallel(n_jobs=2, initializer=end_with, initargs=(os.getpid(),))(delayed(work)(n) for n in range(4))
"""


def _is_alive(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def _until(condition, seconds: float) -> bool:
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.1)
    return condition()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT], ids=["kill", "term", "int"])
def test_no_worker_outlives_its_run(number: signal.Signals, tmp_path) -> None:
    (tmp_path / "program.py").write_text(PROGRAM.replace("sys.argv[1]", repr(str(tmp_path))))
    with (tmp_path / "log").open("w") as log:
        run = subprocess.Popen(
            [sys.executable, tmp_path / "program.py"],
            stdout=log,
            stderr=subprocess.STDOUT,
            # a shell that runs in the background hands on that interrupts are ignored
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )
    try:
        started = _until(lambda: len(list(tmp_path.glob("*.pid"))) == 2 or run.poll() is not None, 300)
        assert started and run.poll() is None, (tmp_path / "log").read_text()
        workers = [int(path.stem) for path in tmp_path.glob("*.pid")]
        assert all(map(_is_alive, workers))
        run.send_signal(number)
        assert _until(lambda: not any(map(_is_alive, workers)), 15)
        assert _until(lambda: run.poll() is not None, 15)
    finally:
        run.kill()
        for path in tmp_path.glob("*.pid"):
            if _is_alive(int(path.stem)):
                os.kill(int(path.stem), signal.SIGKILL)
