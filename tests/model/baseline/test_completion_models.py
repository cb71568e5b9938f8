"""The naive baseline for drugs and lines that were not in training."""

from __future__ import annotations

import anndata as ad
import numpy as np
import pytest

from scdrug import datasets, model
from scdrug.model.prior import fit_additive
from scdrug.pp._molecules import canonical_smiles, featurize_smiles, tanimoto_kernel

NEW = {"aspirin": "CC(=O)Oc1ccccc1C(=O)O", "ibuprofen": "CC(C)Cc1ccc(cc1)C(C)C(=O)O"}


@pytest.fixture(scope="module")
def reference() -> ad.AnnData:
    adata = datasets.toy(n_lines=40)
    adata.obsm["response"].iloc[:7, 3] = np.nan
    return adata


def _trained(reference: ad.AnnData, **options) -> model.AdditiveMean:
    adata = reference.copy()
    model.AdditiveMean.setup_anndata(adata)
    trained = model.AdditiveMean(adata, **options)
    trained.train()
    return trained


def test_a_new_drug_in_a_known_line_is_the_overall_mean_plus_the_line(reference: ad.AnnData) -> None:
    effects = fit_additive(reference.obsm["response"].to_numpy())
    predicted = _trained(reference).predict(drugs=NEW, key_added=None).to_numpy()
    expected = effects.drug.mean() + effects.line
    np.testing.assert_allclose(predicted, np.column_stack([expected, expected]), rtol=1e-5)


def test_a_new_drug_in_a_new_line_is_the_overall_mean(reference: ad.AnnData) -> None:
    effects = fit_additive(reference.obsm["response"].to_numpy())
    new_lines = reference[:5].copy()
    new_lines.obs_names = [f"new {i}" for i in range(5)]
    predicted = _trained(reference).predict(new_lines, drugs=NEW, key_added=None).to_numpy()
    np.testing.assert_allclose(predicted, effects.drug.mean(), rtol=1e-5)


def test_with_a_drug_kernel_the_drug_effect_is_ridge_regression_on_tanimoto_similarity(reference: ad.AnnData) -> None:
    effects = fit_additive(reference.obsm["response"].to_numpy())
    bits = featurize_smiles(reference.uns["drugs"]["smiles"])[0]
    cross = tanimoto_kernel(featurize_smiles([canonical_smiles(smiles) for smiles in NEW.values()])[0], bits)
    mean = effects.drug.mean()
    weights = np.linalg.solve(tanimoto_kernel(bits) + 0.7 * np.eye(len(bits)), effects.drug - mean)
    expected = mean + cross @ weights
    trained = _trained(reference, drug_kernel="tanimoto", drug_ridge=0.7)
    predicted = trained.predict(drugs=NEW, key_added=None).to_numpy()
    np.testing.assert_allclose(predicted, expected + effects.line[:, None], rtol=1e-4, atol=1e-4)


def test_drugs_without_a_structure_only_leave_the_drug_regression(reference: ad.AnnData) -> None:
    adata = reference.copy()
    adata.uns["drugs"] = adata.uns["drugs"].assign(smiles=["", "not one", *adata.uns["drugs"]["smiles"].iloc[2:]])
    trained = _trained(adata, drug_kernel="tanimoto")
    assert trained.module.array("drug_alpha").shape == (len(trained.drugs) - 2,)
    assert trained.predict(key_added=None).shape[1] == len(trained.drugs)
    adata.uns["drugs"] = adata.uns["drugs"].assign(smiles="")
    with pytest.raises(ValueError, match=r"drug_kernel='tanimoto'.*only 0 of 12"):
        _trained(adata, drug_kernel="tanimoto")
    assert np.isfinite(_trained(adata).predict(drugs=NEW, key_added=None).to_numpy()).all()
