"""Predictions in a zarr store: the same results, whole or not there, and a run that was stopped goes on."""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from types import SimpleNamespace

import anndata as ad
import numpy as np
import pandas as pd
import pytest

from scdrug import datasets, get, model, pl, report, tl
from scdrug.pp._row_matrix import check_chunks
from scdrug.tl import _out

KEY = "predicted_response"


@pytest.fixture(scope="module")
def trained() -> model.KernelRidge:
    reference = datasets.toy(n_lines=60)
    model.KernelRidge.setup_anndata(reference)
    trained = model.KernelRidge(reference)
    trained.train()
    return trained


@pytest.fixture(scope="module")
def expected(trained: model.KernelRidge) -> ad.AnnData:
    """Results in memory."""
    cells = _cells()
    _predict(cells, trained)
    return cells


@pytest.fixture(autouse=True)
def _several_stretches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_out, "_ROWS", 50)


def _cells() -> ad.AnnData:
    cells = datasets.toy_cells(n_cells=180)
    return ad.AnnData(cells.X, obs=cells.obs, var=cells.var[[]], obsm={"X_pca": cells.X[:, :2].toarray()})


def _predict(adata: ad.AnnData, trained: model.KernelRidge, **options) -> ad.AnnData:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tl.predict_response(adata, trained, groupby="clone", **options)
    return adata


def _same(found: ad.AnnData, expected: ad.AnnData, atol: float = 3e-5) -> None:
    for use in ("response", "percentile"):
        table = get.response_df(expected, use=use)
        pd.testing.assert_frame_equal(
            get.response_df(found, use=use), table, atol=atol, check_dtype=False, check_names=False
        )
    reliability = np.asarray(found.obs["response_reliability"])
    np.testing.assert_allclose(reliability, expected.obs["response_reliability"], atol=3e-5)
    pd.testing.assert_frame_equal(
        get.group_response_df(found, "clone"), get.group_response_df(expected, "clone"), atol=atol
    )
    groups = found.uns[KEY]["groups"]
    assert list(np.asarray(groups["reason"])) == list(expected.uns[KEY]["groups"]["reason"])


@pytest.mark.parametrize(("options", "atol"), [({}, 3e-5), ({"percentiles": False, "dtype": "float16"}, 2e-2)])
def test_a_store_holds_what_memory_would(trained, expected, tmp_path: Path, options, atol: float) -> None:
    out = tmp_path / "cells.zarr"
    adata = _predict(_cells(), trained, out=out, **options)
    _same(adata, expected, atol)
    again = ad.read_zarr(out)
    _same(again, expected, atol)
    _same(ad.experimental.read_lazy(out), expected, atol)
    assert again.obsm[KEY].dtype == options.get("dtype", "float32")
    assert ("response_percentile" in again.obsm) == options.get("percentiles", True)
    assert list(again.obs["clone"]) == list(expected.obs["clone"]) and "X_pca" in again.obsm
    assert [path.name for path in tmp_path.iterdir()] == ["cells.zarr"]


@pytest.mark.parametrize("options", [{"percentiles": False}, {"dtype": "float16"}])
def test_tables_in_memory_take_less_room_on_request(trained, expected, tmp_path: Path, options) -> None:
    adata = _predict(_cells(), trained, **options)
    _same(adata, expected, 2e-2 if "dtype" in options else 1e-6)
    adata.write_h5ad(tmp_path / "cells.h5ad")
    _same(ad.read_h5ad(tmp_path / "cells.h5ad"), expected, 2e-2)


@pytest.mark.slow
def test_results_go_into_the_store_that_cells_were_read_from(trained, expected, tmp_path: Path) -> None:
    path = tmp_path / "cells.zarr"
    earlier = _predict(_cells(), trained, drugs=["trametinib"])  # tables, and a column, of an earlier prediction
    earlier.write_zarr(path)
    _predict(ad.experimental.read_lazy(path), trained, out=path)
    again = ad.read_zarr(path)
    _same(again, expected)
    np.testing.assert_array_equal(again.X.toarray(), earlier.X.toarray())
    assert set(again.obsm) == set(earlier.obsm) and list(again.obs) == list(earlier.obs)
    _predict(ad.experimental.read_lazy(path), trained, out=path, percentiles=False)
    assert "response_percentile" not in ad.read_zarr(path).obsm
    _same(ad.experimental.read_lazy(path), expected)


class _Stopped:
    """Stands for the writer of stretches, and is interrupted at the third."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, after: int = 2) -> None:
        self.written, self._write, self._after = [], _out.WriteRows.__call__, after
        monkeypatch.setattr(_out.WriteRows, "__call__", lambda one, rows, part: self(one, rows, part))

    def __call__(self, one, rows: slice, part) -> None:
        if len(self.written) == self._after:
            raise KeyboardInterrupt
        self._write(one, rows, part)
        self.written.append(rows.start)

    def go_on(self) -> None:
        self.written, self._after = [], None


def test_a_run_that_was_stopped_goes_on(trained, expected, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out, stopped = tmp_path / "cells.zarr", _Stopped(monkeypatch)
    with pytest.raises(KeyboardInterrupt) as caught:
        _predict(_cells(), trained, out=out)
    assert "100 of 180 cells are done: the same call goes on from there" in caught.value.__notes__[0]
    assert not out.exists()
    with pytest.raises(ValueError, match="a run that did not end, with other values of 'scale', 'drugs'"):
        _predict(_cells(), trained, out=out, scale="counts", drugs=["trametinib"])
    other = _cells()
    other.X = other.X * 2
    with pytest.raises(ValueError, match="other values of 'expression'"):
        _predict(other, trained, out=out)
    stopped.go_on()
    _same(_predict(_cells(), trained, out=out), expected)
    assert stopped.written == [100, 150]
    assert [path.name for path in tmp_path.iterdir()] == ["cells.zarr"]


def test_a_store_that_is_being_changed_when_a_run_is_killed_is_never_half_read(
    trained, expected, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "cells.zarr"
    _cells().write_zarr(path)
    with monkeypatch.context() as patched:
        patched.setattr(_out, "add_column", lambda *_: (_ for _ in ()).throw(SystemExit))
        with pytest.raises(SystemExit):
            _predict(_cells(), trained, out=path)
    assert (path / "obsm" / KEY).exists()  # it moved in before the kill
    for half in (ad.read_zarr(path), ad.experimental.read_lazy(path)):
        with pytest.raises(KeyError, match=KEY):
            get.response_df(half)
    _predict(_cells(), trained, out=path)
    _same(ad.read_zarr(path), expected)


def test_targets_that_hold_something_else_are_left_alone(trained, tmp_path: Path) -> None:
    cells = _cells()
    with pytest.raises(ValueError, match="zarr store, such as"):
        _predict(cells, trained, out=tmp_path / "cells.h5ad")
    with pytest.raises(FileNotFoundError, match="Create it first"):
        _predict(cells, trained, out=tmp_path / "nowhere" / "cells.zarr")
    cells[::-1].copy().write_zarr(tmp_path / "other.zarr")
    (tmp_path / "folder.zarr").mkdir()
    for name, what in (("other", "other cells"), ("folder", "no AnnData")):
        with pytest.raises(FileExistsError, match=f"exists and holds {what}"):
            _predict(cells, trained, out=tmp_path / f"{name}.zarr")
    mine = cells.copy()
    mine.obsm["response_percentile"] = np.ones((mine.n_obs, 2))
    mine.write_zarr(tmp_path / "mine.zarr")
    with pytest.raises(ValueError, match="response_percentile.* holds something that scdrug did not make"):
        _predict(cells, trained, out=tmp_path / "mine.zarr")
    (tmp_path / "new.zarr.part").mkdir()
    (tmp_path / "new.zarr.part" / "thesis.txt").write_text("years of work")
    with pytest.raises(FileExistsError, match="thesis.txt"):
        _predict(cells, trained, out=tmp_path / "new.zarr")
    assert (tmp_path / "new.zarr.part" / "thesis.txt").read_text() == "years of work"
    assert KEY not in cells.obsm
    with pytest.raises(ValueError, match="`dtype` must be one of"):
        _predict(cells, trained, dtype="float64")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_is_not_writable_is_said_before_anything_is_computed(trained, tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(PermissionError, match="may be written"):
            _predict(_cells(), trained, out=tmp_path / "cells.zarr")
    finally:
        tmp_path.chmod(0o700)


@pytest.mark.slow
def test_rankings_plots_and_the_page_read_a_store_as_they_read_memory(trained, expected, tmp_path: Path) -> None:
    out = tmp_path / "cells.zarr"
    _predict(_cells(), trained, out=out, percentiles=False)
    lazy = ad.experimental.read_lazy(out)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for adata in (lazy, expected):
            tl.rank_drugs(adata, "clone", reference="normal", sample_key="sample")
            tl.therapeutic_window(adata, ["clone-a", "clone-b"], "normal", groupby="clone")
        for read in (
            get.rank_drugs_df,
            get.therapeutic_window_df,
            lambda one: get.response_df(one, drugs="trametinib", tidy=True),
        ):
            pd.testing.assert_frame_equal(read(lazy), read(expected), atol=3e-5)
        maps = [pl.response_heatmap(adata, "clone").collections[0].get_array() for adata in (lazy, expected)]
        np.testing.assert_allclose(*maps, atol=3e-5)
        dots = [pl.response(adata, "trametinib", basis="pca").collections[-1].get_array() for adata in (lazy, expected)]
        np.testing.assert_allclose(*dots, atol=3e-5)
        pages = [tmp_path / "lazy.html", tmp_path / "memory.html"]
        for adata, page in zip((lazy, expected), pages, strict=True):
            report(adata, page, groupby="clone")
    assert abs(pages[0].stat().st_size - pages[1].stat().st_size) < 0.01 * pages[1].stat().st_size


def test_chunks_along_genes_are_rechunked_with_a_warning(trained, expected) -> None:
    da = pytest.importorskip("dask.array")
    cells = _cells()
    cells.X = da.from_array(cells.X.toarray(), chunks=(70, 100))
    with pytest.warns(UserWarning, match="divided along genes into .* chunks"):
        tl.predict_response(cells, trained, groupby="clone")
    _same(cells, expected)


def test_chunks_of_unknown_size_are_refused() -> None:
    da = pytest.importorskip("dask.array")
    whole = da.from_array(_cells().X.toarray(), chunks=(70, -1))
    unknown = SimpleNamespace(X=whole[whole.sum(axis=1) >= 0])  # today's anndata refuses such an X by itself
    with pytest.raises(ValueError, match="compute_chunk_sizes"):
        check_chunks(unknown, None)
