"""Intervals widen by what makes cells hard to predict, and reliability falls with it."""

from __future__ import annotations

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

import scdrug
from scdrug.tl._width import CountNoise


@pytest.fixture(scope="module")
def trained() -> scdrug.model.KernelRidge:
    reference = scdrug.datasets.toy()
    scdrug.model.KernelRidge.setup_anndata(reference)
    trained = scdrug.model.KernelRidge(reference)
    trained.train()
    return trained


def predicted(trained, *, share: float = 1.0, genes: float = 1.0, **options) -> ad.AnnData:
    """Toy cells with a share of their counts and of their genes."""
    cells = scdrug.datasets.toy_cells(n_cells=120)
    rng = np.random.default_rng(0)
    if share < 1:
        cells.X = sp.csr_matrix(rng.binomial(cells.X.toarray().astype(int), share).astype(np.float32))
    cells = cells[:, rng.random(cells.n_vars) < genes].copy()
    scdrug.tl.predict_response(cells, trained, **options)
    return cells


def width(table: pd.DataFrame) -> float:
    return float((table["upper"] - table["lower"]).mean())


def test_intervals_of_cells_and_groups_widen_with_what_is_lacking_and_never_below_that_of_a_line(trained) -> None:
    whole, shallow, narrow = predicted(trained), predicted(trained, share=0.1), predicted(trained, genes=0.4)
    for read in (
        lambda cells: scdrug.get.group_response_df(cells, "clone"), lambda cells: scdrug.get.response_df(cells, tidy=True)
    ):  # fmt: skip
        assert width(read(whole)) < min(width(read(shallow)), width(read(narrow)))
        line = 2 * scdrug.get.drugs_df(whole)["half_width"]
        table = read(whole)
        assert ((table["upper"] - table["lower"]).to_numpy() >= line.loc[table["drug"]].to_numpy() - 1e-5).all()
    reliability = [cells.obs["response_reliability"].median() for cells in (whole, shallow, narrow)]
    assert reliability[0] > max(reliability[1:])


def test_reliability_and_width_do_not_depend_on_which_drugs_are_asked_for(trained) -> None:
    every, one = predicted(trained), predicted(trained, drugs="trametinib")
    np.testing.assert_allclose(every.obs["response_reliability"], one.obs["response_reliability"], rtol=1e-4)
    tables = [scdrug.get.group_response_df(cells, "clone", drugs="trametinib") for cells in (every, one)]
    pd.testing.assert_frame_equal(*tables, rtol=1e-3)


def test_noise_is_the_variance_that_halving_counts_adds() -> None:
    """Cells whose predictions are means of counts: half the counts, twice the variance."""
    rng = np.random.default_rng(0)
    depth = np.repeat([100, 400], 2000)
    whole = np.stack([rng.poisson(depth) / depth for _ in range(3)], axis=1)
    counts = np.round(whole * depth[:, None]).astype(int)
    thinned = 2 * rng.binomial(counts, 0.5) / depth[:, None]
    noise = CountNoise.fit(whole, thinned, depth.astype(float))
    assert noise.power == pytest.approx(1, abs=0.1)
    np.testing.assert_allclose(noise.variance * noise.depth, (1 / 100 + 1 / 400) / 2 * noise.depth, rtol=0.1)


def test_values_without_counts_have_no_noise_and_still_intervals(trained) -> None:
    cells = scdrug.datasets.toy_cells(n_cells=60)
    cells.X = np.log1p(cells.X.toarray() * np.random.default_rng(0).uniform(0.5, 1.5, cells.shape)).astype(np.float32)
    scdrug.tl.predict_response(cells, trained)
    assert (scdrug.get.drugs_df(cells)["noise_variance"] == 0).all()
    assert np.isfinite(scdrug.get.response_df(cells, tidy=True)[["lower", "upper"]]).all(axis=None)


def test_each_group_has_one_number_and_one_sentence(trained, tmp_path) -> None:
    cells = predicted(trained, groupby="clone")
    table = scdrug.get.group_reliability_df(cells, "clone")
    medians = cells.obs["response_reliability"].groupby(cells.obs["clone"], observed=True).median()
    np.testing.assert_allclose(table["reliability"], medians.loc[table["group"]], rtol=1e-5)
    assert table["reason"].str.fullmatch(r"Nothing speaks against it\.|Limited most since .*\.").all()
    cells.write_h5ad(tmp_path / "cells.h5ad")
    stored = ad.read_h5ad(tmp_path / "cells.h5ad").uns["predicted_response"]["groups"]
    assert stored["reason"].tolist() == table["reason"].tolist()
    cells.obs["odd"] = ["empty"] * 20 + ["rest"] * 100
    cells.obsm["predicted_response"].iloc[:20] = np.nan
    odd = scdrug.get.group_reliability_df(cells, "odd").set_index("group")
    assert odd.loc["empty", "refused"] and "no cell shows enough genes" in odd.loc["empty", "reason"]
    assert not odd.loc["rest", "refused"]
    with pytest.raises(KeyError, match="clon"):
        scdrug.get.group_reliability_df(cells, "clon")


def test_predictions_stored_without_evidence_are_judged_by_their_cells(trained) -> None:
    cells = predicted(trained)
    del cells.obsm["response_evidence"]
    table = scdrug.get.group_reliability_df(cells, "clone")
    medians = cells.obs["response_reliability"].groupby(cells.obs["clone"], observed=True).median()
    np.testing.assert_allclose(table["reliability"], medians.loc[table["group"]], rtol=1e-5)
    assert table["dividing"].isna().all()
