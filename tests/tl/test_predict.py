"""The main job: raw cells in, predictions out, whatever holds the cells; bad input changes nothing."""

from __future__ import annotations

import hashlib
import warnings

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from scdrug import datasets, model, tl


@pytest.fixture(scope="module")
def trained() -> model.KernelRidge:
    reference = datasets.toy()
    model.KernelRidge.setup_anndata(reference)
    trained = model.KernelRidge(reference)
    trained.train()
    return trained


@pytest.fixture
def cells() -> ad.AnnData:
    return datasets.toy_cells(n_cells=120)


def _predict(adata: ad.AnnData, trained, **kwargs) -> pd.DataFrame:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tl.predict_response(adata, trained, **kwargs)
    return adata.obsm["predicted_response"]


def _fingerprint(adata: ad.AnnData) -> str:
    """Hash of everything a failed call could have altered."""
    matrix = sp.csr_matrix(adata.X)
    parts = [matrix.data.tobytes(), matrix.indices.tobytes(), sorted(map(str, adata.uns)), sorted(adata.obsm)]
    parts += [
        list(adata.obs.columns),
        list(adata.var_names),
        list(map(str, adata.obs_names)),
        sorted(adata.layers.keys(), key=str),
    ]
    return hashlib.sha256(repr(parts).encode()).hexdigest()


def test_planted_responses_are_recovered_across_platforms(trained, cells: ad.AnnData) -> None:
    predicted = _predict(cells, trained)
    truth = cells.obsm["true_response"]
    by_clone = lambda table: table.groupby(cells.obs["clone"].to_numpy()).mean()
    p, t = by_clone(predicted[truth.columns]), by_clone(truth)
    contrast = lambda table: (table - table.mean()).to_numpy().ravel()
    assert np.corrcoef(contrast(p), contrast(t))[0, 1] > 0.6


@pytest.mark.parametrize("storage", ["dense", "csc", "csr_array", "backed", "zarr", "dask", "view", "log", "layer"])
def test_result_is_the_same_from_any_storage(storage: str, trained, cells: ad.AnnData, tmp_path) -> None:
    expected = _predict(cells.copy(), trained)
    adata, options = cells.copy(), {}
    if storage == "dense":
        adata.X = adata.X.toarray()
    elif storage == "csc":
        adata.X = adata.X.tocsc()
    elif storage == "csr_array":
        adata.X = sp.csr_array(adata.X)
    elif storage == "backed":
        adata.write_h5ad(tmp_path / "cells.h5ad")
        adata = ad.read_h5ad(tmp_path / "cells.h5ad", backed="r")
    elif storage == "zarr":
        adata.write_zarr(tmp_path / "cells.zarr")
        adata = ad.read_zarr(tmp_path / "cells.zarr")
    elif storage == "dask":
        da = pytest.importorskip("dask.array")
        adata.X = da.from_array(adata.X.toarray(), chunks=(25, -1)).map_blocks(sp.csr_matrix)
    elif storage == "view":
        bigger = ad.concat([adata, adata[:7]], index_unique="-", merge="same")
        bigger.obs_names_make_unique()
        adata = bigger[: cells.n_obs]
        expected.index = adata.obs_names
    elif storage == "log":
        adata.X = adata.X.log1p()
    elif storage == "layer":
        adata.layers["counts"] = adata.X.copy()
        adata.X = None
        options["layer"] = "counts"
    pd.testing.assert_frame_equal(_predict(adata, trained, **options), expected, atol=1e-4, check_names=False)


def test_result_does_not_depend_on_blocks_gene_order_or_cell_order(trained, cells: ad.AnnData) -> None:
    expected = _predict(cells.copy(), trained)
    rng = np.random.default_rng(0)
    shuffled = cells[rng.permutation(cells.n_obs)][:, rng.permutation(cells.n_vars)].copy()
    got = _predict(shuffled, trained, chunk_size=13)
    np.testing.assert_allclose(got.loc[expected.index], expected, atol=1e-3)
    np.testing.assert_allclose(
        shuffled.obs["response_reliability"].loc[expected.index],
        _and_reliability(cells.copy(), trained),
        atol=1e-4,
    )


def _and_reliability(adata: ad.AnnData, trained) -> pd.Series:
    _predict(adata, trained)
    return adata.obs["response_reliability"]


def test_everything_stored_survives_h5ad_and_zarr(trained, cells: ad.AnnData, tmp_path) -> None:
    tl.predict_response(cells, trained, groupby="clone", shift_by_group=True)
    cells.write_h5ad(tmp_path / "x.h5ad")
    cells.write_zarr(tmp_path / "x.zarr")
    for again in (ad.read_h5ad(tmp_path / "x.h5ad"), ad.read_zarr(tmp_path / "x.zarr")):
        for key in ("predicted_response", "response_percentile", "response_evidence"):
            np.testing.assert_array_equal(again.obsm[key], cells.obsm[key])
            assert list(again.obsm[key].columns) == list(cells.obsm[key].columns)
        stored = again.uns["predicted_response"]
        assert stored["verdict"] == "ok"
        assert stored["harmonization"]["method"] == "quantile"
        assert list(stored["drugs"].index) == list(trained.drugs.index)
        assert list(stored["drugs"]["smiles"]) == list(trained.drugs["smiles"])


def test_only_the_documented_keys_are_written(trained, cells: ad.AnnData) -> None:
    before = cells.copy()
    tl.predict_response(cells, trained)
    assert set(cells.obsm) - set(before.obsm) == {
        "predicted_response",
        "response_percentile",
        "response_evidence",
    }
    assert set(cells.uns) - set(before.uns) == {"predicted_response"}
    assert set(cells.obs) - set(before.obs) == {"response_reliability"}
    assert (cells.X != before.X).nnz == 0
    pd.testing.assert_frame_equal(cells.var, before.var)


def test_a_copy_leaves_the_original_alone(trained, cells: ad.AnnData) -> None:
    before = _fingerprint(cells)
    done = tl.predict_response(cells, trained, copy=True)
    assert _fingerprint(cells) == before
    assert "predicted_response" in done.obsm


def test_another_key_keeps_both_results(trained, cells: ad.AnnData) -> None:
    tl.predict_response(cells, trained)
    tl.predict_response(cells, trained, anchor="mean", key_added="other")
    assert {"predicted_response", "other", "other_percentile"} <= set(cells.obsm)
    assert {"response_reliability", "other_reliability"} <= set(cells.obs)
    with pytest.warns(UserWarning, match="Replacing"):
        tl.predict_response(cells, trained)


def test_views_are_predicted_without_touching_their_parent(trained, cells: ad.AnnData) -> None:
    before = _fingerprint(cells)
    view = cells[:50]
    tl.predict_response(view, trained)
    assert _fingerprint(cells) == before
    assert view.obsm["predicted_response"].shape[0] == 50


def test_ensembl_ids_with_versions_are_understood(trained, cells: ad.AnnData) -> None:
    from scdrug.pp._gene_table import gene_table

    expected = _predict(cells.copy(), trained)
    table = gene_table()
    ids = {symbol: ensembl for ensembl, symbol in _ensembl_of(table, cells.var_names).items()}
    cells.var_names = [f"{ids[name]}.7" if name in ids else name for name in cells.var_names]
    assert sum(name.startswith("ENSG") for name in cells.var_names) > 0.8 * cells.n_vars
    np.testing.assert_allclose(_predict(cells, trained), expected, atol=1e-3)


def _ensembl_of(table, symbols) -> dict[str, str]:
    from scdrug.pp._gene_ids import map_names

    known = pd.read_csv(_table_path(), sep="\t", dtype=str, comment="#").fillna("")
    column = next(c for c in known.columns if "ensembl" in c.lower())
    symbol = next(c for c in known.columns if "symbol" in c.lower())
    pairs = known[known[symbol].isin(list(symbols)) & (known[column] != "")]
    ids = pairs[column].str.split("|").str[0]
    mapped, _ = map_names(list(ids))
    return {i: s for i, s, m in zip(ids, pairs[symbol], mapped, strict=True) if s == m}


def _table_path():
    import importlib.resources

    return importlib.resources.files("scdrug") / "pp" / "_data" / "genes.tsv.gz"


def test_unlike_data_get_the_verdict_that_no_drug_can_be_ranked(trained, cells: ad.AnnData) -> None:
    rng = np.random.default_rng(0)
    cells.var_names = rng.permutation(cells.var_names)
    with pytest.warns(UserWarning, match="No drug can be ranked"):
        tl.predict_response(cells, trained)
    assert cells.uns["predicted_response"]["verdict"].startswith("No drug can be ranked")
    assert cells.obs["response_reliability"].median() < 0.05


def test_reliability_falls_with_depth_and_gene_coverage(trained, cells: ad.AnnData) -> None:
    rng = np.random.default_rng(0)
    shallow, narrow = cells.copy(), cells[:, : int(0.6 * cells.n_vars)].copy()
    shallow.X = sp.csr_matrix(rng.binomial(cells.X.toarray().astype(int), 0.05).astype(np.float32))
    full, thin, few = (_and_reliability(adata, trained).median() for adata in (cells, shallow, narrow))
    assert full > thin
    assert full > few


def _mouse(adata: ad.AnnData) -> None:
    adata.var_names = [name.capitalize() for name in adata.var_names]


def _few_genes(adata: ad.AnnData) -> None:
    adata.var_names = [f"FEATURE_{i}" if i > 10 else name for i, name in enumerate(adata.var_names)]


def _nan(adata: ad.AnnData) -> None:
    adata.X = adata.X.toarray()
    adata.X[3, 4] = np.nan


def _negative(adata: ad.AnnData) -> None:
    adata.X = adata.X.toarray() - 1


def _integers(adata: ad.AnnData) -> None:
    adata.var_names = pd.Index(range(adata.n_vars))


def _minified(adata: ad.AnnData) -> None:
    adata.uns["_scvi_adata_minify_type"] = "latent_posterior_parameters"


def _zeros(adata: ad.AnnData) -> None:
    adata.X = sp.csr_matrix(adata.shape, dtype=np.float32)


def _no_expression(adata: ad.AnnData) -> None:
    adata.X = None


@pytest.mark.parametrize(
    ("damage", "options", "error", "message"),
    [
        (_mouse, {}, ValueError, "mouse"),
        (_few_genes, {}, ValueError, "genes"),
        (_nan, {}, ValueError, "NaN or infinite"),
        (_negative, {}, ValueError, "negative values"),
        (_minified, {}, ValueError, "minified by scvi-tools"),
        (_zeros, {}, ValueError, "nothing but zeros"),
        (_no_expression, {}, ValueError, "empty"),
        (None, {"scale": "log"}, ValueError, "scale='log'"),
        (None, {"layer": "nothing"}, KeyError, "nothing"),
        (None, {"groupby": "clones"}, KeyError, "Did you mean 'clone'"),
        (None, {"drugs": ["not-a-drug"]}, KeyError, "not-a-drug"),
        (None, {"drugs": []}, ValueError, "`drugs` is empty"),
        (None, {"method": "magic"}, ValueError, "method"),
    ],
)
def test_bad_input_is_refused_with_the_reason_and_nothing_is_altered(
    damage, options, error, message, trained, cells: ad.AnnData
) -> None:
    if damage is not None:
        damage(cells)
    before = _fingerprint(cells) if cells.X is not None else None
    with pytest.raises(error, match=message):
        tl.predict_response(cells, trained, **options)
    assert "predicted_response" not in cells.obsm
    assert before is None or _fingerprint(cells) == before


def test_counts_declared_on_logarithms_are_refused(trained, cells: ad.AnnData) -> None:
    cells.X = cells.X.log1p()
    with pytest.raises(ValueError, match="scale='counts'"):
        tl.predict_response(cells, trained, scale="counts")


def test_an_empty_object_and_other_objects_are_refused(trained, cells: ad.AnnData) -> None:
    with pytest.raises(ValueError, match="empty: 0 cells"):
        tl.predict_response(cells[:0].copy(), trained)
    with pytest.raises(TypeError, match="`adata` must be an AnnData or a MuData; found DataFrame.*anndata.AnnData"):
        tl.predict_response(cells.to_df(), trained)
    with pytest.raises(ValueError, match="bundled"):
        tl.predict_response(cells, "no-such-model")
    with pytest.raises(TypeError, match="trained model"):
        tl.predict_response(cells, 42)


def test_names_that_are_no_strings_are_refused(trained, cells: ad.AnnData) -> None:
    _integers(cells)
    if all(isinstance(name, str) for name in cells.var_names):  # newer anndata converts them itself
        with pytest.raises(ValueError, match="genes"):
            tl.predict_response(cells, trained)
    else:
        with pytest.raises(TypeError, match="must be strings"):
            tl.predict_response(cells, trained)


def test_one_cell_is_predicted_with_a_warning(trained, cells: ad.AnnData) -> None:
    with pytest.warns(UserWarning, match="fewer than 10 cells"):
        tl.predict_response(cells[:1].copy(), trained)


def test_duplicated_genes_are_used_once_with_a_warning(trained, cells: ad.AnnData) -> None:
    expected = _predict(cells.copy(), trained)
    twice = ad.concat([cells, cells[:, :5]], axis=1, merge="same")
    twice.obs = cells.obs
    with pytest.warns(UserWarning, match="(?i)duplicate|more than once|same name|twice"):
        tl.predict_response(twice, trained)
    np.testing.assert_allclose(twice.obsm["predicted_response"], expected, atol=1e-3)


def test_drugs_that_were_never_screened_are_predicted_from_their_structure(cells: ad.AnnData) -> None:
    reference = datasets.toy()
    model.KernelRidge.setup_anndata(reference)
    with_drugs = model.KernelRidge(reference, drug_kernel="tanimoto")
    with_drugs.train()
    tl.predict_response(cells, with_drugs, drugs={"my/molecule": "CC(=O)Oc1ccccc1C(=O)O"})
    assert list(cells.obsm["predicted_response"].columns) == ["my-molecule"]
    percentile = cells.obsm["response_percentile"].to_numpy()
    assert ((percentile >= 0) & (percentile <= 1)).all()
    with pytest.raises(ValueError, match="cannot be read as SMILES"):
        tl.predict_response(cells, with_drugs, drugs={"x": "C1CC(("})


@pytest.mark.slow
def test_single_cells_of_unseen_lines_reach_the_published_level(shared_data, gdsc2) -> None:
    """The recipe of the bundled model, trained without the five assayed lines, through the public API."""
    from scdrug.metrics import transfer_correlation

    five = {"A549": "A549", "H1975": "NCIH1975", "H2228": "NCIH2228", "H838": "NCIH838", "HCC827": "HCC827"}
    out = gdsc2.obs_names.isin(five.values())
    response = gdsc2.obsm["response"]
    train = gdsc2[~out].copy()
    model.KernelRidge.setup_anndata(train)
    trained = model.KernelRidge(train, ridge=0.5, denoise=1.0)
    trained.train()
    cells = datasets.sc_mixology(path=shared_data / "sc" / "sc_mixology")
    cells = cells[cells.obs["singlet"].to_numpy(dtype=bool)].copy()
    tl.predict_response(cells, trained)
    by_line = cells.obsm["predicted_response"].groupby(cells.obs["cell_line"].astype(str).to_numpy()).mean()
    seen = response[~out].to_numpy(dtype=float)
    observed = response.loc[list(five.values())].to_numpy(dtype=float)
    score = transfer_correlation(
        by_line.loc[list(five)].to_numpy(),
        observed,
        train_mean=np.nanmean(seen, axis=0),
        train_sd=np.nanstd(seen, axis=0),
    )
    assert cells.n_obs == 571
    assert score.flat >= 0.44
    assert score.contrast >= 0.38
    assert cells.obs["response_reliability"].median() > 0.4
    assert cells.uns["predicted_response"]["verdict"] == "ok"


def test_the_bundled_model_is_what_its_recipe_gives(gdsc2) -> None:
    reference = gdsc2.copy()
    model.KernelRidge.setup_anndata(reference)
    rebuilt = model.KernelRidge(reference, ridge=0.5, denoise=1.0)
    rebuilt.train()
    some = reference[:40].copy()
    bundled = model.load_pretrained("gdsc2-ridge").predict(some, key_added=None)
    expected = rebuilt.predict(some, key_added=None)
    assert list(bundled.columns) == list(expected.columns)
    spread = expected.to_numpy().std(axis=0).mean()
    assert np.abs(bundled - expected).to_numpy().max() < 0.05 * spread


def test_centred_cells_are_not_called_unlike_the_reference(trained, cells: ad.AnnData) -> None:
    logged = np.log1p(cells.X.toarray())
    cells.X = ((logged - logged.mean(axis=0)) / np.maximum(logged.std(axis=0), 1e-6)).astype(np.float32)
    tl.predict_response(cells, trained, scale="scaled")
    assert cells.uns["predicted_response"]["verdict"] == "ok"
    assert cells.uns["predicted_response"]["harmonization"]["method"] == "gene_zscore"
    assert cells.obs["response_reliability"].median() > 0.2


def test_melanoma_cells_that_were_never_treated_look_more_sensitive(shared_data) -> None:
    """A375 (108 cells, centred by gene): parental cells against cells that grew in PLX-4720, A375 out of training."""
    from scdrug.metrics import auroc

    reference = datasets.gdsc(release="GDSC2", measure="AUC", path=shared_data / "gdsc")
    cells = datasets.a375_plx4720(path=shared_data / "sc" / "a375" / "scad_A375_plx4720.h5ad")
    shared = reference.var_names.isin(cells.var_names)
    reference = reference[reference.obs_names != "A375", shared].copy()
    model.KernelRidge.setup_anndata(reference)
    trained = model.KernelRidge(reference)
    trained.train()
    tl.predict_response(cells, trained, scale="scaled", drugs=["PLX-4720"])
    sensitive = cells.obs["sensitive"].to_numpy(dtype=float)
    assert (sensitive == 1).sum() == 62
    predicted = cells.obsm["predicted_response"].iloc[:, [0]].to_numpy()
    assert auroc(-predicted, sensitive[:, None]) == pytest.approx(0.903, abs=0.01)
