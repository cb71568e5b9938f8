"""Stability of rankings: resamples are what harmonizing and predicting the drawn cells would give, and chance is not stable."""

from __future__ import annotations

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

import scdrug
from scdrug.tl._resample import draw_plan, thin


@pytest.fixture(scope="module")
def ridge():
    reference = scdrug.datasets.toy(n_lines=80)
    scdrug.model.KernelRidge.setup_anndata(reference)
    model = scdrug.model.KernelRidge(reference)
    model.train()
    return model


@pytest.fixture(scope="module")
def cells() -> ad.AnnData:
    return scdrug.datasets.toy_cells()


def stability(adata: ad.AnnData, model, **kwargs) -> pd.DataFrame:
    kwargs = {"reference": "normal", "sample_key": "sample", "top": 3, "n_resamples": 30, "min_cells": 2} | kwargs
    scdrug.tl.rank_stability(adata, "clone", model, **kwargs)
    return scdrug.get.rank_stability_df(adata)


def by_donor(adata: ad.AnnData, model) -> pd.DataFrame:
    """Score of each drug for clone-a, by the percentile of the mean response of groups, from predict_response itself."""
    scdrug.tl.predict_response(adata, model)
    response = adata.obsm["predicted_response"].astype(float)
    mean = response.groupby([adata.obs["sample"].astype(str), adata.obs["clone"].astype(str)]).mean()
    columns = np.arange(response.shape[1])
    shares = model.calibration.percentile(mean.to_numpy(dtype=np.float32), columns, lower_is_sensitive=True)
    shares = pd.DataFrame(shares, index=mean.index, columns=response.columns)
    return (shares.xs("clone-a", level=1) - shares.xs("normal", level=1)).mean()


def test_scores_of_all_cells_are_those_of_predictions(cells, ridge):
    found = stability(cells.copy(), ridge, n_resamples=3)
    found = found[found["group"] == "clone-a"].set_index("drug")
    expected = by_donor(cells.copy(), ridge)
    np.testing.assert_allclose(found["score"], expected[found.index], atol=2e-3)
    assert found["score"].idxmax() == found["rank"].idxmin()


@pytest.mark.parametrize("shift_groupby", [None, "clone"])
def test_a_resample_is_harmonized_as_if_its_cells_were_alone(cells, ridge, shift_groupby):
    from scdrug.model._predictor import RowPredictor
    from scdrug.pp._place import place_cells
    from scdrug.tl._resample import Plan, resampled_means

    adata = cells[:, np.arange(cells.n_vars) % 5 > 0].copy()  # some genes are not measured
    options = {"min_coverage": 0.3, "groupby": shift_groupby}
    placed = place_cells(adata, ridge.profile, **options)
    drugs = np.arange(len(ridge.drugs))
    strata = adata.obs["clone"].astype("category").cat.codes.to_numpy().astype(np.int64)
    taken = np.random.default_rng(0).random((2, adata.n_obs)) < 0.5
    shift_groups = np.zeros(adata.n_obs, dtype=np.int64) if shift_groupby is None else placed.groups.astype(np.int64)
    means, counts = resampled_means(
        placed,
        RowPredictor(ridge, placed.harmonization, drugs),
        Plan(taken, np.zeros(2, dtype=int), (1.0,)),
        strata,
        shift_groups,
        reharmonize=True,
        seed=0,
    )
    for chosen, found, n in zip(taken, means, counts):
        alone = adata[chosen].copy()
        scdrug.tl.predict_response(alone, ridge, groupby=shift_groupby)
        expected = alone.obsm["predicted_response"].astype(float).groupby(strata[chosen]).mean()
        np.testing.assert_allclose(found, expected, atol=2e-3)
        assert n.tolist() == np.bincount(strata[chosen]).tolist()


def test_planted_drugs_are_stable_and_exchanged_labels_are_not(cells, ridge):
    adata = cells.copy()
    table = stability(adata, ridge)
    stable = scdrug.get.rank_stability_df(adata, "clone-a", only_stable=True)
    assert {"dabrafenib", "trametinib"} <= set(stable["drug"])
    assert table["stability"].between(0, 1).all()
    assert np.isclose(table.groupby("group")["stability"].sum(), 3).all()  # three picks a resample
    assert (table["rank_low"] <= table["rank_median"]).all()
    exchanged = cells.copy()
    exchanged.obs["clone"] = np.random.default_rng(0).permutation(exchanged.obs["clone"].astype(str))
    by_chance = stability(exchanged, ridge)
    assert by_chance["stable"].sum() < table["stable"].sum() / 2


def test_the_bound_is_that_of_the_theorem(cells, ridge):
    adata = cells.copy()
    table = stability(adata, ridge, threshold=0.8)
    assert adata.uns["rank_stability"]["params"]["expected_false"] == pytest.approx(9 / (0.6 * 12))
    above = table["stability"] > 0.5
    np.testing.assert_allclose(table.loc[above, "expected_false"], 9 / ((2 * table.loc[above, "stability"] - 1) * 12))
    assert table.loc[~above, "expected_false"].isna().all()


def test_equal_seeds_draw_equal_resamples(cells, ridge):
    one, other, third = (stability(cells.copy(), ridge, n_resamples=9, seed=seed) for seed in (1, 1, 2))
    pd.testing.assert_frame_equal(one, other)
    assert not one["stability"].equals(third["stability"])


def test_resamples_take_half_of_the_donors_and_half_of_the_cells_of_each_group():
    donors = np.repeat(np.arange(5), 20)
    strata = 2 * donors + np.arange(100) % 2
    strata[:3] = -1
    plan = draw_plan(strata, donors, 12, (1.0, 0.5), np.random.default_rng(0))
    assert plan.depth.tolist() == [0, 1] * 6
    for taken in plan.taken:
        chosen = np.unique(donors[taken])
        assert len(chosen) == 3
        sizes = np.bincount(strata[strata >= 0], minlength=10)
        expected = [-(-n // 2) if stratum // 2 in chosen else 0 for stratum, n in enumerate(sizes)]
        assert np.bincount(strata[taken], minlength=10).tolist() == expected


def test_thinning_keeps_each_molecule_with_one_probability():
    rng = np.random.default_rng(0)
    block = sp.csr_matrix(rng.poisson(3, (200, 100)).astype(np.float32))
    thinned = thin(block, 0.3, rng)
    assert (thinned.data <= block.data).all()
    assert (thinned.data == np.floor(thinned.data)).all()
    assert thinned.sum() / block.sum() == pytest.approx(0.3, abs=0.02)
    assert thin(block, 1.0, rng) is block


def test_logarithms_are_not_thinned_and_it_is_said(cells, ridge):
    adata = cells.copy()
    adata.X = np.log1p(adata.X.toarray() if sp.issparse(adata.X) else adata.X)
    with pytest.warns(UserWarning, match="no shallower sequencing can be drawn"):
        stability(adata, ridge, n_resamples=4)
    assert adata.uns["rank_stability"]["params"]["depths"] == [1.0]


def test_other_models_are_harmonized_once(cells):
    reference = scdrug.datasets.toy(n_lines=60)
    scdrug.model.KernelRidge.setup_anndata(reference)
    model = scdrug.model.KernelRidge(reference, kernel="rbf")
    model.train()
    adata = cells.copy()
    table = stability(adata, model, n_resamples=6)
    assert adata.uns["rank_stability"]["params"]["harmonized"] == "once"
    found = table[table["group"] == "clone-a"].set_index("drug")["score"]
    np.testing.assert_allclose(found, by_donor(cells.copy(), model)[found.index], atol=2e-3)


@pytest.mark.parametrize(
    ("kwargs", "error", "match"),
    [
        ({"top": 12}, ValueError, "`top=12` drugs cannot stand out among 12"),
        ({"threshold": 0.5}, ValueError, "above 0.5"),
        ({"depths": (0.0,)}, ValueError, "`depths` must be above 0"),
        ({"depths": ()}, ValueError, "`depths` is empty"),
        ({"reference": "stroma"}, KeyError, "stroma"),
        ({"min_cells": 500}, ValueError, "fewer than 500 cells"),
    ],
)
def test_what_cannot_be_ranked_is_said_and_nothing_is_stored(cells, ridge, kwargs, error, match):
    adata = cells.copy()
    with pytest.raises(error, match=match):
        stability(adata, ridge, **kwargs)
    assert "rank_stability" not in adata.uns
