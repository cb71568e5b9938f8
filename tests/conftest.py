"""Shared fixtures: where real data stand, and a toy reference."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from anndata import AnnData

# By default MKL sums in an order that depends on where arrays start in memory, so that two runs of the same training differ
# in the last digits. Read when torch first computes; subprocesses of tests inherit it.
os.environ.setdefault("MKL_CBWR", "AUTO")
if "PYTEST_XDIST_WORKER" in os.environ:
    # workers share the cores: with as many threads as cores in each, they mostly wait for one another
    for _name in ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        # numba looks at its variable again at each compilation, and does not forgive a change after it started its threads
        if _name != "NUMBA_NUM_THREADS" or "numba" not in sys.modules:
            os.environ.setdefault(_name, "1")
    if "numba" in sys.modules:  # a plugin was faster
        sys.modules["numba"].set_num_threads(1)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--slow", action="store_true", help="run the tests that are marked slow too")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out slow tests unless they are asked for, by `--slow`, by `-m`, or by naming the test."""
    if config.option.slow or config.option.markexpr or any("::" in argument for argument in config.args):
        return
    skip = pytest.mark.skip(reason="slow; pytest --slow runs it too")
    for item in items:
        if "slow" in item.keywords:
            item.add_marker(skip)


SHARED = Path(os.environ.get("SCDRUG_SHARED_DATA", Path(__file__).parents[1] / ".." / "shared" / "data")).resolve()


@pytest.fixture(scope="session", autouse=True)
def _fast_stores() -> None:
    """Write stores in zarr's third format: the second takes twice the time. The tests of reading and writing have both."""
    import anndata

    # not by its environment variable, which newer releases of anndata read as text and refuse
    anndata.settings.zarr_write_format = 3


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real data; the test is skipped, with the reason, where it is absent."""
    if not SHARED.is_dir():
        pytest.skip(f"real data not found at {SHARED}; set SCDRUG_SHARED_DATA to run this test")
    return SHARED


@pytest.fixture(scope="session")
def gdsc2(shared_data: Path) -> AnnData:
    """GDSC2 as its loader returns it, ln IC50. Reading takes seconds, so all tests share it: copy before changing it."""
    from scdrug import datasets

    return datasets.gdsc(release="GDSC2", path=shared_data / "gdsc")
