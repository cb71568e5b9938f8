"""Workers of a cluster give the results of one process, and what a dead one took with it is done again."""

from __future__ import annotations

import os
import signal
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest

from scdrug import datasets, get, model, tl
from scdrug.pp import _workers
from scdrug.tl import _out

distributed = pytest.importorskip("distributed")


#: Starting workers takes long.
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def client() -> Iterator[distributed.Client]:
    with (
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
        distributed.Client(cluster) as client,
    ):
        yield client


@pytest.fixture(scope="module")
def trained() -> model.KernelRidge:
    reference = datasets.toy(n_lines=60)
    model.KernelRidge.setup_anndata(reference)
    trained = model.KernelRidge(reference)
    trained.train()
    return trained


@pytest.fixture(autouse=True)
def _many_tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_workers, "_ROWS", 20)
    monkeypatch.setattr(_out, "_ROWS", 60)


@pytest.fixture(scope="module")
def expected(trained: model.KernelRidge) -> ad.AnnData:
    return _predict(_cells(), trained)


def _cells() -> ad.AnnData:
    cells = datasets.toy_cells(n_cells=400)
    return ad.AnnData(cells.X, obs=cells.obs, var=cells.var[[]])


def _predict(adata: ad.AnnData, trained: model.KernelRidge, **options) -> ad.AnnData:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tl.predict_response(adata, trained, groupby="clone", shift_by_group=True, **options)
    return adata


def _same(found: ad.AnnData, expected: ad.AnnData) -> None:
    for use in ("response", "percentile"):
        pd.testing.assert_frame_equal(
            get.response_df(found, use=use), get.response_df(expected, use=use), atol=3e-5, check_names=False
        )
    np.testing.assert_allclose(
        np.asarray(found.obs["response_reliability"]), expected.obs["response_reliability"], atol=3e-5
    )


@pytest.mark.parametrize("storage", ["zarr", "h5ad", "store"])
def test_results_are_those_of_one_process(client, trained, expected, tmp_path: Path, storage: str) -> None:
    options = {}
    if storage == "h5ad":
        _cells().write_h5ad(tmp_path / "cells.h5ad")
        adata = ad.read_h5ad(tmp_path / "cells.h5ad", backed="r")
    else:
        _cells().write_zarr(tmp_path / "cells.zarr")
        adata = ad.experimental.read_lazy(tmp_path / "cells.zarr")
        options = {"out": tmp_path / "cells.zarr"} if storage == "store" else {}
    with distributed.get_task_stream(client) as stream:
        _same(_predict(adata, trained, **options), expected)
    makers = {task["worker"] for task in stream.data if "_make" in str(task["key"])}
    assert len(makers) == 2
    if options:
        _same(ad.read_zarr(tmp_path / "cells.zarr"), expected)


def test_groups_are_added_up_by_workers(client, trained, expected) -> None:
    da = pytest.importorskip("dask.array")
    adata = _cells()
    adata.X = da.from_array(adata.X.toarray(), chunks=(30, -1))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tl.predict_groups(adata, "clone", trained, shift_by_group=True)
    found = get.group_response_df(adata, "clone", key="group_response")
    table = get.group_response_df(expected, "clone")
    pd.testing.assert_frame_equal(found[table.columns], table, atol=3e-5, check_dtype=False)


def test_what_a_worker_took_with_it_is_done_again(client, trained, expected, tmp_path: Path) -> None:
    da = pytest.importorskip("dask.array")
    done, fatal = tmp_path / "cells.zarr.part" / "done", tmp_path / "fatal"
    fatal.touch()

    def read(block, block_info=None):
        # while predictions are being written, whoever reads rows 300 on for the first time dies of it
        if block_info[0]["array-location"][0][0] >= 300 and any(done.glob("*")) and fatal.exists():
            fatal.unlink()
            os.kill(os.getpid(), signal.SIGKILL)
        return block

    adata = _cells()
    adata.X = da.from_array(adata.X.toarray(), chunks=(20, -1)).map_blocks(read, dtype=np.float32)
    pids = set(client.run(os.getpid).values())
    _same(_predict(adata, trained, out=tmp_path / "cells.zarr"), expected)
    assert not fatal.exists() and set(client.run(os.getpid).values()) != pids
    _same(ad.read_zarr(tmp_path / "cells.zarr"), expected)


def test_workers_without_scdrug_are_named(client, trained) -> None:
    da = pytest.importorskip("dask.array")
    adata = _cells()
    adata.X = da.from_array(adata.X.toarray(), chunks=(100, -1))
    worker = next(iter(client.scheduler_info()["workers"]))
    hidden = "hidden"

    def hide(back: bool) -> None:
        sys.modules["scdrug"], sys.modules[hidden] = (
            sys.modules.get(hidden) if back else None,
            sys.modules.get("scdrug"),
        )

    client.run(hide, False, workers=[worker])
    try:
        with pytest.raises(RuntimeError, match=f"1 of 2 workers cannot import scdrug .*{worker}"):
            _predict(adata, trained)
    finally:
        client.run(hide, True, workers=[worker])
