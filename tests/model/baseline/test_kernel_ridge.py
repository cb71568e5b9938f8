"""Options of the kernel ridge and completion models, against the functions that they stand for."""

from __future__ import annotations

from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest

from scdrug import datasets, model
from scdrug.model.prior import (
    FIVE_KERNELS,
    RBF,
    NewDrugs,
    ProcessOptions,
    ResponseProcess,
    complete_response,
    describe_drugs,
    fit_additive,
    fit_kernel,
    leave_one_out,
    residual_scale,
    select_threshold,
    solve_ridge,
)

RIDGES = (0.03, 0.05, 0.1, 0.2, 0.3, 0.5, 1.0, 2.0, 5.0)


@pytest.fixture(scope="module")
def reference() -> ad.AnnData:
    adata = datasets.toy(n_lines=50)
    rng = np.random.default_rng(0)
    adata.obsm["response"] = adata.obsm["response"].mask(rng.random(adata.obsm["response"].shape) < 0.15)
    return adata


def _train(model_class: type, reference: ad.AnnData, **options):
    adata = reference.copy()
    model_class.setup_anndata(adata)
    trained = model_class(adata, **options)
    trained.train()
    return trained


def _renamed(reference: ad.AnnData) -> ad.AnnData:
    adata = reference.copy()
    adata.obs_names = [f"new {name}" for name in adata.obs_names]
    return adata


@pytest.mark.parametrize("choice", ["auto", "per_drug"])
def test_a_chosen_ridge_has_the_least_error_in_lines_left_out(reference: ad.AnnData, choice: str) -> None:
    response = reference.obsm["response"].to_numpy()
    matrix = fit_kernel(np.asarray(reference.X), RBF)[1]
    errors = np.stack([np.nanmean((leave_one_out(matrix, response, ridge=r) - response) ** 2, axis=0) for r in RIDGES])
    relative = (errors / np.nanvar(response, axis=0)).sum(axis=1)
    best = np.array(RIDGES)[errors.argmin(axis=0) if choice == "per_drug" else relative.argmin()]
    expected = solve_ridge(matrix, response, ridge=best).predict(matrix)
    predicted = _train(model.KernelRidge, reference, kernel="rbf", ridge=choice).predict(key_added=None)
    np.testing.assert_allclose(predicted, expected, atol=1e-3)


@pytest.mark.parametrize("kernel", ["linear", "rbf"])
def test_coupled_drugs_fill_known_lines_and_take_new_ones_from_expression(reference: ad.AnnData, kernel: str) -> None:
    trained = _train(model.KernelRidge, reference, kernel=kernel, couple_drugs=True, ridge=0.2, kernel_share=0.6)
    expression, options = np.asarray(reference.X), ProcessOptions(noise=0.2, line_share=0.6, kernel=kernel)
    process = ResponseProcess.fit(expression, reference.obsm["response"].to_numpy(), options=options)
    np.testing.assert_allclose(trained.predict(reference.copy(), key_added=None), process.fitted, atol=1e-3)
    np.testing.assert_allclose(
        trained.predict(_renamed(reference), key_added=None), process.predict(expression), atol=1e-2
    )
    assert trained.calibration.held_out


def test_new_drugs_are_mixtures_of_what_is_predicted_of_the_others(reference: ad.AnnData) -> None:
    response, asked = reference.obsm["response"].to_numpy(), {"one": "CCO", "two": "CC(=O)Oc1ccccc1C(=O)O"}
    trained = _train(model.KernelRidge, reference, kernel="rbf", drug_kernel="tanimoto", denoise=0.5, mechanism=False)
    clean = complete_response(response).denoised(0.5)
    features = describe_drugs(reference.uns["drugs"], "tanimoto", mechanism=False)
    new = NewDrugs.fit(clean, features, ridge=0.3)
    mixture = new.mix(describe_drugs(pd.DataFrame({"smiles": asked.values()}), "tanimoto", mechanism=False))
    expected = mixture.mean + (clean - new.centre) @ mixture.weights
    np.testing.assert_allclose(trained.predict(reference.copy(), drugs=asked, key_added=None), expected, atol=1e-3)


def test_a_drug_is_told_by_its_targets_alone(reference: ad.AnnData) -> None:
    """Without a line in the file, for cells of which nothing but expression is known."""
    trained = _train(model.KernelRidge, reference, drug_kernel="tanimoto")
    assert not trained._holds_lines
    new = trained.predict(_renamed(reference), drugs={"mine": {"targets": ["MAP2K1", "MAP2K2"]}}, key_added=None)
    known = trained.predict(_renamed(reference), key_added=None)
    correlations = known.corrwith(new["mine"])
    assert correlations.idxmax() in reference.uns["drugs"].index[reference.uns["drugs"]["targets"].str.contains("MEK")]


def test_auto_takes_what_is_known_of_drugs(reference: ad.AnnData, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scdrug.model.prior._drug_kernels.minimol_is_installed", lambda: False)
    trained = _train(model.KernelRidge, reference, drug_kernel="auto")
    assert set(trained.new_drugs_.features) == {"fingerprints", "targets", "pathway"}
    bare = reference.copy()
    del bare.uns["drugs"]
    plain = _train(model.KernelRidge, bare, drug_kernel="auto")
    np.testing.assert_allclose(plain.predict(key_added=None), trained.predict(key_added=None), atol=1e-5)
    with pytest.raises(ValueError, match="no features of drugs"):
        plain.predict(drugs={"x": "CCO"}, key_added=None)


def test_two_factors_predict_what_their_product_does(reference: ad.AnnData, tmp_path: Path) -> None:
    whole = _train(model.KernelRidge, reference, denoise=1.0)
    factors = _train(model.KernelRidge, reference, denoise=1.0, rank=6)
    full = _train(model.KernelRidge, reference, denoise=1.0, rank=12)
    expected = whole.predict(_renamed(reference), key_added=None)
    np.testing.assert_allclose(full.predict(_renamed(reference), key_added=None), expected, atol=1e-3)
    found = factors.predict(_renamed(reference), key_added=None)
    assert 0.9 < float(found.corrwith(expected).min()) < 1
    np.testing.assert_allclose(found.mean(), expected.mean(), atol=1e-3)
    one = factors.predict(_renamed(reference), drugs=list(factors.drugs.index[:2]), key_added=None)
    np.testing.assert_allclose(one, found.iloc[:, :2], atol=1e-4)
    factors.save(tmp_path / "m")
    again = model.load_pretrained(tmp_path / "m").predict(_renamed(reference), key_added=None)
    np.testing.assert_allclose(again, found, atol=1e-4)
    for wrong in ({"rank": 0}, {"rank": 5, "kernel": "rbf"}, {"rank": 5, "couple_drugs": True}):
        with pytest.raises(ValueError, match="rank"):
            _train(model.KernelRidge, reference, **wrong)


def test_the_ridge_on_structures_counts_beside_coupled_drugs_too(reference: ad.AnnData) -> None:
    asked = {"ethanol": "CCO", "aspirin": "CC(=O)Oc1ccccc1C(=O)O"}

    def spread(ridge: float) -> float:
        trained = _train(model.KernelRidge, reference, couple_drugs=True, drug_kernel="tanimoto", drug_ridge=ridge)
        new = trained.predict(drugs=asked, key_added=None).mean()
        return float(new.max() - new.min())

    assert spread(0.1) > 10 * spread(1000.0), "the stronger the ridge, the more alike new drugs are"


def test_options_that_contradict_each_other_or_are_unknown_are_refused(reference: ad.AnnData) -> None:
    for options in ({"denoise": 0.5}, {"ridge": "auto"}):
        with pytest.raises(ValueError, match="couple_drugs"):
            _train(model.KernelRidge, reference, couple_drugs=True, **options)
    with pytest.raises(ValueError, match="Did you mean 'auto'"):
        _train(model.KernelRidge, reference, ridge="autoo")
    with pytest.raises(ValueError, match="`drug_ridge` must be one of 'auto'"):
        _train(model.KernelRidge, reference, drug_ridge="best")
    with pytest.raises(ValueError, match="`threshold` must be one of 'auto'"):
        _train(model.SoftImpute, reference, threshold="best")
    with pytest.raises(ValueError, match="kernel_share"):
        _train(model.KernelRidge, reference, couple_drugs=True, kernel_share=1.5)


def test_soft_impute_chooses_its_threshold_and_takes_five_kernels(reference: ad.AnnData) -> None:
    response = reference.obsm["response"].to_numpy()
    residual = response - fit_additive(response).matrix
    chosen = select_threshold(residual / residual_scale(residual)).threshold
    matrix = fit_kernel(np.asarray(reference.X), FIVE_KERNELS)[1]
    expected = complete_response(response, threshold=chosen, kernel=matrix, ridge=1.0).fitted
    predicted = _train(model.SoftImpute, reference, threshold="auto", kernel="mean").predict(key_added=None)
    np.testing.assert_allclose(predicted, expected, atol=1e-3)
