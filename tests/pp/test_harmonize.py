"""Cells onto the scale of a bulk reference: what must hold whatever the data."""

from __future__ import annotations

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.stats import rankdata

from scdrug import pp
from scdrug.pp._fit_harmonization import fit_harmonization
from scdrug.pp._genes import match_genes
from scdrug.pp._profile import ReferenceProfile
from scdrug.pp._row_loops import IDENTITY, QUANTILE, ZSCORE_LOG
from scdrug.pp._rows import iter_row_blocks
from scdrug.pp._transform import target_cumulated, transform_rows

GENES = np.array([f"GENE{i}" for i in range(60)])


def _lines(n_lines: int = 80, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    factors = rng.normal(size=(n_lines, 4)) @ rng.normal(size=(4, len(GENES)))
    return (rng.normal(2, 1.5, len(GENES)) + factors + 0.5 * rng.normal(size=(n_lines, len(GENES)))).astype(np.float32)


@pytest.fixture
def reference() -> ad.AnnData:
    return ad.AnnData(_lines(), var=pd.DataFrame(index=GENES))


@pytest.fixture
def cells() -> ad.AnnData:
    rng = np.random.default_rng(5)
    rate = np.exp(0.5 * _lines(3, seed=1))[rng.integers(0, 3, 90)] * rng.gamma(1, 1, len(GENES))
    adata = ad.AnnData(sp.csr_matrix(rng.poisson(rate).astype(np.float32)), var=pd.DataFrame(index=GENES))
    adata.obs["kind"] = pd.Categorical(np.where(np.arange(90) < 60, "tumour", "normal"))
    adata.obs["malignant"] = np.arange(90) < 60
    return adata


def _quantile_map_by_hand(row: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Mean of the sorted target over the ranks that a value and its ties take."""
    low, high = rankdata(row, "min").astype(int) - 1, rankdata(row, "max").astype(int)
    return np.array([target[a:b].mean() for a, b in zip(low, high, strict=True)])


def _apply(rows: np.ndarray, mode: int, quantiles: np.ndarray) -> np.ndarray:
    n = rows.shape[1]
    out, _ = transform_rows(
        sp.csr_matrix(rows.astype(np.float32)),
        position=np.arange(n),
        mode=mode,
        cumulated=target_cumulated(quantiles, n),
        gain=np.ones(n),
        shift=np.zeros(n),
        unmeasured=np.zeros(n, dtype=bool),
        target=np.zeros(n),
    )
    return out


@settings(max_examples=60, deadline=None)
@given(hnp.arrays(np.float32, (4, 12), elements=st.sampled_from([0, 0, 0, 1, 2, 3, 0.5, -1, 7, 5000])))
def test_quantile_mapping_agrees_with_ranks_by_hand(rows: np.ndarray) -> None:
    quantiles = np.linspace(-2, 5, 501) ** 3
    target = np.diff(target_cumulated(quantiles, rows.shape[1]))
    expected = np.vstack([_quantile_map_by_hand(row, target) for row in rows])
    np.testing.assert_allclose(_apply(rows, QUANTILE, quantiles), expected, rtol=1e-4, atol=1e-4)


def test_counting_and_sorting_give_the_same_ranks() -> None:
    rows = np.random.default_rng(0).poisson(1.5, size=(20, 50)).astype(np.float32)
    quantiles = np.sort(np.random.default_rng(1).normal(size=501))
    # half a count more cannot be counted, and does not change any rank
    np.testing.assert_allclose(
        _apply(rows, QUANTILE, quantiles), _apply(np.where(rows > 0, rows + 0.5, 0), QUANTILE, quantiles), atol=1e-6
    )


def test_zscore_has_zero_mean_and_unit_variance_in_each_cell() -> None:
    rows = np.abs(np.random.default_rng(0).normal(size=(6, 40))) * (np.random.default_rng(1).random((6, 40)) < 0.6)
    out = _apply(rows, ZSCORE_LOG, np.zeros(3))
    np.testing.assert_allclose(out.mean(axis=1), 0, atol=1e-5)
    np.testing.assert_allclose(out.std(axis=1), 1, atol=1e-4)
    np.testing.assert_allclose(_apply(rows, IDENTITY, np.zeros(3)), rows, atol=1e-6)


def test_a_shared_shift_places_the_cohort_mean_at_its_anchor(reference: ad.AnnData, cells: ad.AnnData) -> None:
    profile = ReferenceProfile.fit(reference.X, GENES, n_components=10)
    fitted = fit_harmonization(cells, profile, match_genes(cells.var_names, GENES))
    placed = pp.harmonize(cells, profile)
    np.testing.assert_allclose(placed.X.mean(axis=0), fitted.target, atol=1e-3)


def test_counts_and_logarithms_give_the_same_result(reference: ad.AnnData, cells: ad.AnnData) -> None:
    logged = cells.copy()
    logged.X = cells.X.log1p()
    np.testing.assert_allclose(pp.harmonize(cells, reference).X, pp.harmonize(logged, reference).X, atol=1e-5)


@pytest.mark.parametrize("method", ["quantile", "zscore", "gene_zscore"])
def test_result_does_not_depend_on_chunks_gene_order_or_cell_order(reference, cells, method: str) -> None:
    expected = pp.harmonize(cells, reference, method=method).X
    rng = np.random.default_rng(0)
    genes, rows = rng.permutation(cells.n_vars), rng.permutation(cells.n_obs)
    shuffled = pp.harmonize(cells[rows][:, genes].copy(), reference, method=method, chunk_size=11)
    np.testing.assert_allclose(shuffled.X, expected[rows], atol=2e-4)


def test_differences_between_cells_survive_a_shared_shift_but_not_a_shift_by_group(reference, cells) -> None:
    shared = pp.harmonize(cells, reference, groupby="kind").X
    raw = pp.harmonize(cells, reference, anchor="none").X
    tumour = (cells.obs["kind"] == "tumour").to_numpy()
    gap = lambda x: x[tumour].mean(axis=0) - x[~tumour].mean(axis=0)
    np.testing.assert_allclose(gap(shared), gap(raw), atol=1e-4)
    separate = pp.harmonize(cells, reference, groupby="kind", shift_by_group=True, anchor="mean").X
    np.testing.assert_allclose(gap(separate), 0, atol=1e-3)


def test_shift_is_fitted_on_the_cells_that_are_named(reference, cells) -> None:
    fitted_on_tumour = pp.harmonize(cells, reference, fit_on="malignant", anchor="mean").X
    tumour = cells.obs["malignant"].to_numpy()
    np.testing.assert_allclose(fitted_on_tumour[tumour].mean(axis=0), reference.X.mean(axis=0), atol=1e-3)


def test_missing_genes_get_their_conditional_mean_under_the_factor_model() -> None:
    lines = _lines(400)
    profile = ReferenceProfile.fit(lines, GENES, n_components=8)
    measured = np.arange(len(GENES)) >= 15
    z = (lines - profile.mean) / profile.sd
    load = profile.loadings.astype(float)
    covariance = load.T @ load + profile.noise * np.eye(len(GENES))
    expected = (
        z[:, measured]
        @ np.linalg.solve(covariance[np.ix_(measured, measured)], covariance[np.ix_(measured, ~measured)])
        * profile.sd[~measured]
        + profile.mean[~measured]
    )
    part = ad.AnnData(lines[:, measured], var=pd.DataFrame(index=GENES[measured]))
    filled = pp.harmonize(part, profile, method="none")
    np.testing.assert_allclose(filled.X[:, ~measured], expected, atol=2e-3)
    assert filled.var["measured"].sum() == 45


def test_folding_weights_equals_filling_rows(reference: ad.AnnData, cells: ad.AnnData) -> None:
    profile = ReferenceProfile.fit(reference.X, GENES, n_components=10)
    part = cells[:, 20:].copy()
    fitted = fit_harmonization(part, profile, match_genes(part.var_names, GENES))
    rng = np.random.default_rng(0)
    weights, intercept = rng.normal(size=(len(GENES), 7)).astype(np.float32), rng.normal(size=7).astype(np.float32)
    (_, block), *_ = iter_row_blocks(part)
    filled = fitted.transform(block)
    placed, similarity = fitted.place(block)
    folded, constant = fitted.fold(weights, intercept)
    np.testing.assert_allclose(placed @ folded + constant, filled.values @ weights + intercept, atol=1e-3)
    np.testing.assert_allclose(similarity, filled.similarity)
    to_scores, offset = fitted.leading_scores
    np.testing.assert_allclose(profile.typicality(placed @ to_scores - offset), filled.typicality, atol=1e-4)


def test_anchor_is_half_the_posterior_mean_of_the_factor_model() -> None:
    profile = ReferenceProfile.fit(_lines(400), GENES, n_components=59)
    cohort = profile.mean + np.random.default_rng(0).normal(size=len(GENES))
    measured = np.arange(len(GENES)) >= 10
    mean, sd, load = (np.asarray(part, dtype=float) for part in (profile.mean, profile.sd, profile.loadings))
    # what the mean profile, weighed by gene, does not explain
    design = np.column_stack([np.ones(len(GENES)), mean])[measured]
    weights = np.diag(1 / sd[measured] ** 2)
    flat, depth = np.linalg.solve(design.T @ weights @ design, design.T @ weights @ cohort[measured])
    z = (cohort[measured] - flat - depth * mean[measured]) / sd[measured] / depth
    covariance = load.T @ load
    noise = 3 * (z**2).mean() * np.eye(measured.sum())
    expected = covariance[:, measured] @ np.linalg.solve(covariance[np.ix_(measured, measured)] + noise, z)
    np.testing.assert_allclose(profile.anchor(cohort, measured), mean + sd * expected / 2, atol=2e-3)


def test_anchor_moves_towards_the_lines_that_a_cohort_consists_of_and_no_farther() -> None:
    lines = _lines(300)
    profile = ReferenceProfile.fit(lines, GENES)
    everything = np.ones(len(GENES), dtype=bool)
    rng = np.random.default_rng(1)
    moved, nearer = [], []
    for line in lines[:40]:
        anchor = profile.anchor(line + rng.normal(size=len(GENES)), everything)
        moved.append(np.linalg.norm(anchor - profile.mean) / np.linalg.norm(line - profile.mean))
        nearer.append(np.linalg.norm(anchor - line) < np.linalg.norm(profile.mean - line))
    assert max(moved) < 1 and np.mean(nearer) > 0.9


def test_anchor_does_not_depend_on_how_flat_a_shallow_cohort_is() -> None:
    profile = ReferenceProfile.fit(_lines(), GENES, n_components=20)
    everything = np.ones(len(GENES), dtype=bool)
    cohort = profile.mean + np.random.default_rng(0).normal(size=len(GENES)).astype(np.float32)
    np.testing.assert_allclose(
        profile.anchor(cohort, everything), profile.anchor(0.2 * cohort + 3, everything), atol=1e-3
    )


def test_lines_of_the_reference_are_typical_and_far_profiles_are_not() -> None:
    lines = _lines(300)
    profile = ReferenceProfile.fit(lines, GENES)
    assert profile.typicality(profile.scores(lines)).mean() == pytest.approx(0.5, abs=0.05)
    assert profile.typicality(profile.scores(profile.mean + 10 * (lines - profile.mean))).max() < 0.01


def test_profile_survives_arrays_and_holds_no_line() -> None:
    profile = ReferenceProfile.fit(_lines(), GENES, n_components=5)
    again = ReferenceProfile.from_arrays(profile.to_arrays(), GENES)
    np.testing.assert_array_equal(again.scores(_lines()), profile.scores(_lines()))
    assert all(len(_lines()) not in np.shape(array) for array in profile.to_arrays().values())


def test_similarity_falls_with_depth_and_vanishes_for_shuffled_genes(reference: ad.AnnData) -> None:
    rng = np.random.default_rng(0)
    profile = ReferenceProfile.fit(reference.X, GENES)
    rate = np.exp(reference.X[:60])

    def similarity(expression: np.ndarray) -> float:
        adata = ad.AnnData(sp.csr_matrix(expression.astype(np.float32)), var=pd.DataFrame(index=GENES))
        fitted = fit_harmonization(adata, profile, match_genes(adata.var_names, GENES))
        (_, block), *_ = iter_row_blocks(adata)
        return float(fitted.transform(block).similarity.mean())

    deep, shallow = similarity(rng.poisson(rate)), similarity(rng.poisson(rate * 0.02))
    shuffled = similarity(rng.poisson(rate)[:, rng.permutation(len(GENES))])
    assert deep > shallow + 0.05
    assert shallow > abs(shuffled) + 0.05


def test_centred_values_are_placed_by_gene(reference: ad.AnnData) -> None:
    scaled = ad.AnnData(
        np.random.default_rng(0).normal(size=(50, 60)).astype(np.float32), var=pd.DataFrame(index=GENES)
    )
    with pytest.raises(ValueError, match="scale='scaled'"):
        pp.harmonize(scaled, reference)
    placed = pp.harmonize(scaled, reference, scale="scaled", anchor="mean")
    np.testing.assert_allclose(placed.X.std(axis=0), reference.X.std(axis=0), rtol=1e-3)


def test_nearest_lines_need_the_lines(reference: ad.AnnData, cells: ad.AnnData) -> None:
    with pytest.raises(ValueError, match="anchor='similar'"):
        pp.harmonize(cells, ReferenceProfile.fit(reference.X, GENES), anchor="nearest")
    placed = pp.harmonize(cells, reference, anchor="nearest", n_lines=1)
    assert np.abs(placed.X.mean(axis=0) - reference.X).sum(axis=1).min() < 1e-2


def test_few_cells_are_predicted_with_a_warning(reference: ad.AnnData, cells: ad.AnnData) -> None:
    with pytest.warns(UserWarning, match="fewer than 10 cells"):
        pp.harmonize(cells[:1].copy(), reference)


def test_unknown_options_and_columns_are_named(reference: ad.AnnData, cells: ad.AnnData) -> None:
    with pytest.raises(ValueError, match="Did you mean 'quantile'"):
        pp.harmonize(cells, reference, method="quantiles")
    with pytest.raises(KeyError, match="Did you mean 'kind'"):
        pp.harmonize(cells, reference, groupby="kinds")
    with pytest.raises(ValueError, match="must be boolean"):
        pp.harmonize(cells, reference, fit_on="kind")
    cells.obs["holes"] = [None, *["a"] * 89]
    with pytest.raises(ValueError, match="1 missing labels"):
        pp.harmonize(cells, reference, groupby="holes")


def test_pooling_adds_up_each_cell_and_its_nearest_neighbours(reference: ad.AnnData, cells: ad.AnnData) -> None:
    from scdrug.pp._pool import pool_neighbors

    everyone = pool_neighbors(cells, cells.n_obs)
    np.testing.assert_allclose(everyone.X.toarray(), np.tile(cells.X.sum(axis=0), (cells.n_obs, 1)), rtol=1e-5)
    alone = pool_neighbors(cells, 1)
    np.testing.assert_allclose(alone.X.toarray(), cells.X.toarray())
    np.testing.assert_allclose(
        pp.harmonize(cells, reference, n_pool=5).X, pp.harmonize(pool_neighbors(cells, 5), reference).X, atol=1e-5
    )
    with pytest.raises(ValueError, match="number of cells, 90"):
        pp.harmonize(cells, reference, n_pool=91)
