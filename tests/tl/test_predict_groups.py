"""Groups in one pass are what the cells of the same groups give, without a table of cells × drugs."""

from __future__ import annotations

import tracemalloc
import warnings

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

import scdrug
from scdrug.model._pretrained import load_predictor
from scdrug.tl._group_sums import GroupSums

KEY = "group_response"


@pytest.fixture(scope="module")
def trained():
    reference = scdrug.datasets.toy()
    scdrug.model.KernelRidge.setup_anndata(reference)
    model = scdrug.model.KernelRidge(reference)
    model.train()
    return model


@pytest.fixture
def cells() -> ad.AnnData:
    adata = scdrug.datasets.toy_cells(n_cells=150)
    adata.X = adata.X.multiply((np.arange(150) >= 4)[:, None]).tocsr()  # the first show nothing
    return adata


def _quietly(function, *arguments, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return function(*arguments, **options)


@pytest.mark.parametrize("kind", ["linear", "rbf"])
@pytest.mark.parametrize("chunk_size", [None, 17])
def test_groups_are_those_of_predicted_cells(kind: str, chunk_size, trained, cells: ad.AnnData) -> None:
    model = trained
    if kind != "linear":
        reference = scdrug.datasets.toy()
        scdrug.model.KernelRidge.setup_anndata(reference)
        model = scdrug.model.KernelRidge(reference, kernel=kind)
        model.train()
    _quietly(scdrug.tl.predict_response, cells, model, groupby="clone")
    _quietly(scdrug.tl.predict_groups, cells, "clone", model, sample_key="sample", chunk_size=chunk_size)
    of_cells = scdrug.get.group_response_df(cells, "clone")
    of_groups = scdrug.get.group_response_df(cells, "clone", key=KEY)
    pd.testing.assert_frame_equal(of_groups.drop(columns="spread"), of_cells, rtol=1e-4, atol=3e-5)
    by_sample = scdrug.get.group_response_df(cells, "clone", sample_key="sample")
    pd.testing.assert_frame_equal(
        scdrug.get.group_response_df(cells, "clone", sample_key="sample", key=KEY).drop(columns="spread"),
        by_sample,
        rtol=1e-4,
        atol=3e-5,
    )
    judged = scdrug.get.group_reliability_df(cells, "clone", key=KEY)
    pd.testing.assert_frame_equal(judged, scdrug.get.group_reliability_df(cells, "clone"), rtol=1e-5)
    pd.testing.assert_frame_equal(judged, cells.uns["predicted_response"]["groups"], rtol=1e-5)
    response = cells.obsm["predicted_response"].astype(float).groupby(cells.obs["clone"].astype(str))
    spread = of_groups.pivot(index="group", columns="drug", values="spread")
    np.testing.assert_allclose(spread, response.std().loc[spread.index, spread.columns], rtol=1e-4)


def test_groups_are_those_that_are_ranked(trained, cells: ad.AnnData) -> None:
    _quietly(scdrug.tl.predict_response, cells, trained, groupby="clone")
    _quietly(scdrug.tl.rank_drugs, cells, "clone", min_lines=1, include_refused=True)
    _quietly(scdrug.tl.predict_groups, cells, "clone", trained)
    index = ["group", "drug"]
    ranked = scdrug.get.rank_drugs_df(cells).astype({"group": str}).set_index(index).sort_index()
    table = scdrug.get.group_response_df(cells, "clone", key=KEY).set_index(index).loc[ranked.index]
    for column in ("percentile", "response", "reliability"):
        np.testing.assert_allclose(table[column], ranked[column], rtol=1e-4, atol=3e-5)
    np.testing.assert_allclose((table["upper"] - table["lower"]) / 2, ranked["half_width"], rtol=1e-5)
    np.testing.assert_array_equal(table["n_cells"], ranked["n_cells"])


def test_a_folder_and_named_drugs_give_the_same(trained, cells: ad.AnnData, tmp_path) -> None:
    trained.save(tmp_path / "model")
    _quietly(scdrug.tl.predict_groups, cells, "clone", trained)
    asked = ["paclitaxel", "trametinib"]
    some = scdrug.get.group_response_df(cells, "clone", drugs=asked, key=KEY)
    assert some["drug"].tolist() == asked * some["group"].nunique()
    _quietly(scdrug.tl.predict_groups, cells, "clone", str(tmp_path / "model"), drugs=asked, key_added="again")
    again = scdrug.get.group_response_df(cells, "clone", key="again")
    pd.testing.assert_frame_equal(some, again, rtol=1e-4, atol=1e-5)


def test_results_survive_files_and_touch_nothing_else(trained, cells: ad.AnnData, tmp_path) -> None:
    before = list(cells.obs), list(cells.obsm), list(cells.uns)
    found = _quietly(scdrug.tl.predict_groups, cells, "clone", trained, sample_key="sample", copy=True)
    assert (list(cells.obs), list(cells.obsm), list(cells.uns)) == before
    assert (list(found.obs), list(found.obsm), list(found.uns)) == (*before[:2], [*before[2], KEY])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found.write_h5ad(tmp_path / "cells.h5ad")
        found.write_zarr(tmp_path / "cells.zarr")
    for read in (ad.read_h5ad(tmp_path / "cells.h5ad"), ad.read_zarr(tmp_path / "cells.zarr")):
        for options in ({}, {"sample_key": "sample"}):
            pd.testing.assert_frame_equal(
                scdrug.get.group_response_df(read, "clone", key=KEY, **options),
                scdrug.get.group_response_df(found, "clone", key=KEY, **options),
                check_dtype=False,
            )


def test_cells_without_donor_count_for_the_groups_alone(trained, cells: ad.AnnData) -> None:
    cells.obs["sample"] = cells.obs["sample"].astype(object).where(np.arange(cells.n_obs) >= 20, None)
    with pytest.warns(UserWarning, match="20 of 150 cells have no donor"):
        scdrug.tl.predict_groups(cells, "clone", trained, sample_key="sample")
    stored = cells.uns[KEY]
    n_cells = lambda table: table.drop_duplicates([c for c in ("group", "sample") if c in table])["n_cells"].sum()
    assert n_cells(stored["table"]) == 146
    assert n_cells(stored["samples"]) == 130


def test_groups_of_one_cell_have_a_mean_and_the_spread_of_the_others(trained, cells: ad.AnnData) -> None:
    cells.obs["clone"] = np.where(np.arange(cells.n_obs) == 10, "alone", cells.obs["clone"].astype(str))
    _quietly(scdrug.tl.predict_groups, cells, "clone", trained)
    alone = scdrug.get.group_response_df(cells, "clone", key=KEY).query("group == 'alone'")
    assert (alone["n_cells"] == 1).all()
    assert alone["spread"].isna().all()
    assert np.isfinite(alone[["response", "lower", "upper", "percentile"]]).all(axis=None)
    _quietly(scdrug.tl.predict_groups, cells[10:11].copy(), "clone", trained)  # no spread at all


@pytest.mark.parametrize(
    ("change", "options", "error", "message"),
    [
        (None, {"groupby": "clon"}, KeyError, "'clon' is not in `adata.obs`. Did you mean 'clone'"),
        ("clone", {}, ValueError, r"`adata.obs\['clone'\]` has 3 missing labels"),
        (None, {"sample_key": "clone"}, ValueError, "`groupby` and `sample_key` are the same column"),
        (None, {"sample_key": "donor"}, KeyError, "'donor' is not in `adata.obs`"),
        ("sample", {"sample_key": "sample"}, ValueError, r"No cell has a donor in `adata.obs\['sample'\]`"),
        (None, {"drugs": "trametinip"}, KeyError, "trametinib"),
        (None, {"key_added": "a/b"}, ValueError, "a/b"),
        (None, {"accelerator": "tpu"}, ValueError, "`accelerator` must be one of"),
    ],
)
def test_bad_input_is_refused_and_nothing_is_stored(change, options, error, message, trained, cells) -> None:
    if change is not None:
        rows = slice(3) if change == "clone" else slice(None)
        cells.obs[change] = cells.obs[change].astype(object)
        cells.obs.iloc[rows, cells.obs.columns.get_loc(change)] = None
    before = set(cells.uns)
    with pytest.raises(error, match=message):
        _quietly(scdrug.tl.predict_groups, cells, **{"groupby": "clone", "model": trained, **options})
    assert set(cells.uns) == before


def test_other_groups_than_were_predicted_are_refused(trained, cells: ad.AnnData) -> None:
    _quietly(scdrug.tl.predict_groups, cells, "clone", trained)
    with pytest.raises(ValueError, match=r"are those of `adata.obs\['clone'\]`, not of 'sample'"):
        scdrug.get.group_response_df(cells, "sample", key=KEY)
    with pytest.raises(ValueError, match="predicted without `sample_key`, and not with 'sample'"):
        scdrug.get.group_response_df(cells, "clone", sample_key="sample", key=KEY)


def test_memory_does_not_grow_by_a_table_of_cells_times_drugs() -> None:
    """With the 410 drugs of the bundled model; from 1,024 cells on, what is looked at of a sample does not grow either."""
    model = load_predictor("default")
    genes = model.genes[::12]
    counts = sp.csr_matrix(np.random.default_rng(0).poisson(0.3, (4800, len(genes))).astype(np.float32))
    names = pd.DataFrame({"group": ["a", "b"] * 2400}, index=[f"cell{number}" for number in range(4800)])
    cells = ad.AnnData(counts, obs=names, var=pd.DataFrame(index=genes))
    peaks = []
    for n_cells in (1200, 1200, 4800):  # the first time, what is needed once is loaded
        part = cells[:n_cells].copy()
        tracemalloc.start()
        _quietly(scdrug.tl.predict_groups, part, "group", model, min_coverage=0.0, chunk_size=200)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[2] - peaks[1] < 0.2 * 3600 * 410 * np.dtype(np.float32).itemsize


@given(st.integers(0, 1000), st.integers(1, 6))
@settings(max_examples=25, deadline=None)
def test_sums_of_blocks_are_those_of_the_whole(seed: int, n_blocks: int) -> None:
    rng = np.random.default_rng(seed)
    response, percentile = rng.normal(-40, 1, (60, 3)).astype(np.float32), rng.random((60, 3)).astype(np.float32)
    codes = rng.integers(-1, 3, 60)
    codes[:3] = [0, 1, 2]
    pivot = np.full(3, -39.0)
    whole = GroupSums.of(response, percentile, codes, 3, pivot)
    in_place, joined = GroupSums.none(3, pivot), GroupSums.none(3, pivot)
    for rows in np.array_split(np.arange(60), n_blocks):
        block = response[rows], percentile[rows], codes[rows]
        joined += GroupSums.of(*block, 3, pivot)
        in_place.add(*block)
    for parts in (joined, in_place):
        for first, second in zip(whole, parts, strict=True):
            np.testing.assert_allclose(first, second, rtol=1e-9)
    table = pd.DataFrame(response.astype(float)).groupby(np.where(codes < 0, 9, codes))
    np.testing.assert_allclose(whole.mean, table.mean().loc[:2], rtol=1e-9)
    np.testing.assert_allclose(whole.spread, table.std().loc[:2], rtol=1e-6)
    joined = whole.join(np.array([0, 1, 1]), 2)
    np.testing.assert_allclose(joined.mean[1], response[codes >= 1].astype(float).mean(axis=0))
    np.testing.assert_allclose(joined.spread[1], response[codes >= 1].astype(float).std(axis=0, ddof=1), rtol=1e-6)
