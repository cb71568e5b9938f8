"""Cells in a model's latent space: what `tl.embed` stores is what the model says of harmonized cells."""

from __future__ import annotations

import anndata as ad
import numpy as np
import pandas as pd
import pytest

from scdrug import datasets, model, pl, pp, tl


@pytest.fixture(scope="module")
def reference() -> ad.AnnData:
    reference = datasets.toy()
    pp.pathway_mask(reference, "toy")
    return reference


@pytest.fixture(scope="module")
def network(reference) -> model.PathwayTransfer:
    model.PathwayTransfer.setup_anndata(reference)
    network = model.PathwayTransfer(reference, n_hidden=16)
    network.train(max_epochs=2)
    return network


@pytest.fixture(scope="module")
def ridge(reference) -> model.KernelRidge:
    model.KernelRidge.setup_anndata(reference)
    ridge = model.KernelRidge(reference)
    ridge.train()
    return ridge


@pytest.fixture
def cells() -> ad.AnnData:
    return datasets.toy_cells(n_cells=90)


def test_latent_space_and_activity_are_those_of_harmonized_cells(cells, network) -> None:
    tl.embed(cells, network)
    harmonized = pp.harmonize(cells, network.profile)
    latent, activity = cells.obsm["X_pathwaytransfer"], cells.obsm["pathway_activity"]
    np.testing.assert_allclose(latent, network.get_latent_representation(harmonized), atol=1e-4)
    np.testing.assert_allclose(activity, network.get_pathway_activity(harmonized), atol=1e-4)
    assert list(activity.columns) == network.pathways_ and activity.index.equals(cells.obs_names)
    report = cells.uns["X_pathwaytransfer"]
    assert report["n_dimensions"] == latent.shape[1] and report["gene_coverage"] == 1.0
    assert report["pathways"].index.tolist() == network.pathways_


def test_activity_of_the_lines_has_mean_0_and_deviation_1(reference, network) -> None:
    lines = tl.embed(reference, network, method="none", copy=True)
    activity = lines.obsm["pathway_activity"].to_numpy()
    np.testing.assert_allclose(activity.mean(axis=0), 0, atol=1e-4)
    np.testing.assert_allclose(activity.std(axis=0), 1, atol=1e-3)
    assert "X_pathwaytransfer" not in reference.obsm and "X_pathwaytransfer" not in reference.uns


def test_a_model_without_a_code_gives_leading_directions_of_the_reference(cells, ridge) -> None:
    tl.embed(cells, ridge)
    latent = cells.obsm["X_kernelridge"]
    np.testing.assert_allclose(latent, ridge.profile.scores(pp.harmonize(cells, ridge.profile).X), atol=1e-3)
    assert "pathway_activity" not in cells.obsm


def test_order_of_genes_and_cells_and_size_of_blocks_do_not_matter(cells, network) -> None:
    tl.embed(cells, network)
    rng = np.random.default_rng(0)
    shuffled = cells[rng.permutation(cells.n_obs), rng.permutation(cells.n_vars)].copy()
    del shuffled.obsm["X_pathwaytransfer"], shuffled.obsm["pathway_activity"], shuffled.uns["X_pathwaytransfer"]
    tl.embed(shuffled, network, chunk_size=7)
    found = pd.DataFrame(shuffled.obsm["X_pathwaytransfer"], index=shuffled.obs_names).loc[cells.obs_names]
    np.testing.assert_allclose(found, cells.obsm["X_pathwaytransfer"], atol=1e-4)


def test_cells_that_show_too_few_genes_have_no_place(cells, network) -> None:
    cells.X[:3] = 0
    with pytest.warns(UserWarning, match=r"3 of 90 cells show too few") as caught:
        tl.embed(cells, network)
    assert any(warning.filename == __file__ for warning in caught)
    for stored in (cells.obsm["X_pathwaytransfer"], cells.obsm["pathway_activity"].to_numpy()):
        assert np.isnan(stored[:3]).all() and np.isfinite(stored[3:]).all()


def test_responses_are_drawn_in_the_space_that_was_stored(cells, ridge) -> None:
    tl.predict_response(cells, ridge)
    tl.embed(cells, ridge)
    ax = pl.response(cells, "trametinib", basis="kernelridge")
    places = np.sort(np.vstack([np.asarray(part.get_offsets()) for part in ax.collections]), axis=0)
    np.testing.assert_allclose(places, np.sort(cells.obsm["X_kernelridge"][:, :2], axis=0), rtol=1e-5)
    ax.figure.clear()


@pytest.mark.parametrize("ending", ["h5ad", "zarr"])
def test_results_survive_files_and_replace_only_what_scdrug_stored(cells, network, tmp_path, ending) -> None:
    cells.obsm["pathway_activity"] = np.ones((cells.n_obs, 2))
    with pytest.raises(
        ValueError, match="`adata.obsm\\['pathway_activity'\\]` holds something that scdrug.tl.embed did not make"
    ):
        tl.embed(cells, network)
    tl.embed(cells, network, key_added="code")
    path = tmp_path / f"cells.{ending}"
    getattr(cells, f"write_{ending}")(path)
    again = getattr(ad, f"read_{ending}")(path)
    np.testing.assert_array_equal(again.obsm["code"], cells.obsm["code"])
    pd.testing.assert_frame_equal(
        again.obsm["code_pathway_activity"], cells.obsm["code_pathway_activity"], check_names=False
    )
    tl.embed(again, network, key_added="code")
    assert again.obsm["pathway_activity"].shape == (cells.n_obs, 2)
