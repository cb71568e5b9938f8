"""Lines and cells in one object."""

from __future__ import annotations

import anndata as ad
import numpy as np
import pytest

from scdrug import datasets, pp


@pytest.fixture(scope="module")
def reference() -> ad.AnnData:
    return datasets.toy(n_lines=40)


@pytest.fixture(scope="module")
def cells() -> ad.AnnData:
    return datasets.toy_cells(n_cells=60)


def test_lines_stay_as_they_are_and_cells_are_harmonized(reference, cells) -> None:
    joined = pp.join_domains(reference, cells)
    np.testing.assert_array_equal(joined.X[:40], reference.X)
    np.testing.assert_allclose(joined.X[40:], pp.harmonize(cells, reference).X, atol=1e-5)
    assert list(joined.obs_names) == [*reference.obs_names, *cells.obs_names]
    assert list(joined.var_names) == list(reference.var_names)


def test_cells_bring_no_response(reference, cells) -> None:
    labelled = cells.copy()
    labelled.obsm["response"] = labelled.obsm["true_response"]
    response = pp.join_domains(reference, labelled).obsm["response"]
    assert response.iloc[40:].isna().all().all()
    np.testing.assert_array_equal(response.iloc[:40], reference.obsm["response"])


def test_the_result_does_not_depend_on_gene_order_cell_order_or_block_size(reference, cells) -> None:
    expected = pp.join_domains(reference, cells)
    rng = np.random.default_rng(0)
    shuffled = cells[rng.permutation(60)][:, rng.permutation(cells.n_vars)].copy()
    got = pp.join_domains(reference, shuffled, chunk_size=7)[expected.obs_names]
    np.testing.assert_allclose(got.X, expected.X, atol=1e-3)


def test_a_draw_of_cells_is_of_the_seed_and_harmonized_with_all(reference, cells) -> None:
    everything = pp.join_domains(reference, cells)
    some = pp.join_domains(reference, cells, n_cells=15, seed=3, chunk_size=8)
    again = pp.join_domains(reference, cells, n_cells=15, seed=3)
    assert some.n_obs == 55
    np.testing.assert_allclose(some.X, everything[some.obs_names].X, atol=1e-5)
    np.testing.assert_allclose(some.X, again.X, atol=1e-5)
    assert list(pp.join_domains(reference, cells, n_cells=15, seed=4).obs_names) != list(some.obs_names)


@pytest.mark.parametrize("suffix", ["h5ad", "zarr"])
def test_the_result_can_be_written_and_keeps_masks(reference, cells, tmp_path, suffix) -> None:
    masked = reference.copy()
    pp.pathway_mask(masked, "toy")
    joined = pp.join_domains(masked, cells)
    getattr(joined, f"write_{suffix}")(tmp_path / f"a.{suffix}")
    again = getattr(ad, f"read_{suffix}")(tmp_path / f"a.{suffix}")
    assert again.obs["domain"].value_counts().to_dict() == {"cells": 60, "bulk": 40}
    assert again.obs["malignant"].isna().sum() == 40
    np.testing.assert_array_equal(again.varm["pathway_mask"].toarray(), masked.varm["pathway_mask"].toarray())


def test_names_that_are_of_a_line_and_of_a_cell_are_refused(reference, cells) -> None:
    clash = cells.copy()
    clash.obs_names = [reference.obs_names[0], *cells.obs_names[1:]]
    with pytest.raises(ValueError, match="of a line and of a cell"):
        pp.join_domains(reference, clash)


def test_cells_on_another_scale_than_stated_are_refused(reference, cells) -> None:
    with pytest.raises(ValueError, match="was stated"):
        pp.join_domains(reference, cells, scale="log")
    with pytest.raises(KeyError, match="reference.obsm"):
        pp.join_domains(cells, reference, response_key="nothing")
