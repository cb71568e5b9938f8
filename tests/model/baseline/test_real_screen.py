"""One fold of each split of GDSC2 ln IC50, against the figures of the evaluation protocol."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import scdrug
from scdrug.metrics import per_drug_pearson, rmse
from scdrug.model.baseline._additive import fit_additive
from scdrug.model.baseline._complete import complete_response
from scdrug.model.baseline._decomposition import decompose_kernel
from scdrug.model.baseline._kernels import FIVE_KERNELS, RBF, apply_kernel, fit_kernel
from scdrug.model.baseline._kronecker import fit_unseen_drugs, predict_unseen_drugs
from scdrug.model.baseline._ridge import solve_ridge
from scdrug.pp._molecules import featurize_smiles, tanimoto_kernel

# A single fold strays from the mean over folds by about this much (twice the spread between folds).
ONE_PAIR_FOLD, ONE_LINE_FOLD, ONE_DRUG_FOLD = 0.012, 0.045, 0.45


@pytest.fixture(scope="module")
def screen(shared_data: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Expression, response, and Tanimoto similarity of the drugs."""
    reference = scdrug.datasets.gdsc("GDSC2", path=shared_data / "gdsc")
    response = reference.obsm["response"]
    bits, _, _ = featurize_smiles(reference.uns["drugs"]["smiles"].reindex(response.columns))
    return np.asarray(reference.X, dtype=float), response.to_numpy(dtype=float), tanimoto_kernel(bits)


def test_held_out_pairs_reach_the_stated_figures(screen) -> None:
    expression, response, _ = screen
    observed = np.argwhere(~np.isnan(response))
    held = tuple(observed[np.random.default_rng(0).permutation(len(observed)) % 5 == 0].T)
    train, truth = response.copy(), np.full_like(response, np.nan)
    truth[held], train[held] = response[held], np.nan
    kernel = decompose_kernel(fit_kernel(expression, RBF)[1])
    for fitted, error, correlation in (
        (fit_additive(train).matrix, 1.196, 0.642),
        (complete_response(train, threshold=25, scale="none").fitted, 0.893, 0.790),
        (complete_response(train).fitted, 0.850, 0.811),
        (complete_response(train, kernel=kernel, ridge=0.2).fitted, 0.842, 0.814),
        (complete_response(train, kernel=kernel).fitted, 0.828, 0.818),
    ):
        assert rmse(fitted, truth) == pytest.approx(error, abs=ONE_PAIR_FOLD)
        assert per_drug_pearson(fitted, truth) == pytest.approx(correlation, abs=ONE_PAIR_FOLD)


def test_held_out_lines_reach_the_stated_figures(screen) -> None:
    expression, response, _ = screen
    held = np.random.default_rng(0).permutation(len(response)) % 5 == 0
    train, truth = response[~held], response[held]
    half = complete_response(train, threshold=25, scale="none").denoised()
    for specs, target, error, correlation in ((RBF, train, 1.201, 0.563), (FIVE_KERNELS, half, 1.199, 0.577)):
        kernel, matrix = fit_kernel(expression[~held], specs)
        cross = apply_kernel(kernel, expression[held], expression[~held])
        predicted = solve_ridge(matrix, target).predict(cross)
        assert rmse(predicted, truth) == pytest.approx(error, abs=ONE_LINE_FOLD)
        assert per_drug_pearson(predicted, truth) == pytest.approx(correlation, abs=ONE_LINE_FOLD)


def test_held_out_drugs_gain_from_similar_structures(screen) -> None:
    expression, response, tanimoto = screen
    rng = np.random.default_rng(1)
    new_drugs, new_lines = rng.permutation(228) % 10 == 0, rng.permutation(938) % 10 == 0
    train = response[np.ix_(~new_lines, ~new_drugs)]
    kernel, matrix = fit_kernel(expression[~new_lines], RBF)
    fit = fit_unseen_drugs(train, tanimoto[np.ix_(~new_drugs, ~new_drugs)], matrix)
    cross = tanimoto[np.ix_(new_drugs, ~new_drugs)]
    known = response[np.ix_(~new_lines, new_drugs)]
    line_mean = np.broadcast_to(fit.effects.matrix.mean(axis=1)[:, None], known.shape)
    predicted = predict_unseen_drugs(fit, cross)
    assert rmse(predicted, known) == pytest.approx(2.311, abs=ONE_DRUG_FOLD)
    assert per_drug_pearson(predicted, known) > per_drug_pearson(line_mean, known) + 0.01
    fresh = response[np.ix_(new_lines, new_drugs)]
    predicted = predict_unseen_drugs(fit, cross, apply_kernel(kernel, expression[new_lines], expression[~new_lines]))
    assert rmse(predicted, fresh) == pytest.approx(2.406, abs=ONE_DRUG_FOLD)
    assert per_drug_pearson(predicted, fresh) == pytest.approx(0.512, abs=0.1)
