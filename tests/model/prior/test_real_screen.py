"""One fold of each split of GDSC2 ln IC50: RMSE, pooled and mean per-drug correlation."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import scdrug
from scdrug.metrics import pearson, per_drug_pearson, rmse
from scdrug.model.prior import (
    FIVE_KERNELS,
    RBF,
    NewDrugs,
    apply_kernel,
    complete_response,
    decompose_kernel,
    fit_additive,
    fit_kernel,
    solve_ridge,
)
from scdrug.pp._molecules import featurize_smiles


@pytest.fixture(scope="module")
def screen(shared_data: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Expression, response, and fingerprints of the drugs."""
    reference = scdrug.datasets.gdsc("GDSC2", path=shared_data / "gdsc")
    response = reference.obsm["response"]
    bits, _, _ = featurize_smiles(reference.uns["drugs"]["smiles"].reindex(response.columns))
    return np.asarray(reference.X, dtype=float), response.to_numpy(dtype=float), bits


def _assert_scores(predicted: np.ndarray, truth: np.ndarray, expected: tuple[float, float, float]) -> None:
    found = rmse(predicted, truth), pearson(predicted, truth), per_drug_pearson(predicted, truth)
    np.testing.assert_allclose(found, expected, atol=0.005)


@pytest.mark.slow
def test_held_out_pairs(screen) -> None:
    """Means over folds: see scripts/check_baselines.py, which prints them beside the protocol's."""
    expression, response, _ = screen
    observed = np.argwhere(~np.isnan(response))
    held = tuple(observed[np.random.default_rng(0).permutation(len(observed)) % 5 == 0].T)
    train, truth = response.copy(), np.full_like(response, np.nan)
    truth[held], train[held] = response[held], np.nan
    kernel = decompose_kernel(fit_kernel(expression, RBF)[1])
    _assert_scores(fit_additive(train).matrix, truth, (1.186, 0.906, 0.637))
    _assert_scores(complete_response(train, threshold=25, scale="none").fitted, truth, (0.891, 0.948, 0.784))
    _assert_scores(complete_response(train).fitted, truth, (0.848, 0.953, 0.804))
    _assert_scores(complete_response(train, kernel=kernel, ridge=0.2).fitted, truth, (0.837, 0.954, 0.811))
    _assert_scores(complete_response(train, kernel=kernel).fitted, truth, (0.824, 0.956, 0.815))


def test_held_out_lines(screen) -> None:
    """Folds spread by 0.02 in RMSE, means over folds by 0.002."""
    expression, response, _ = screen
    held = np.random.default_rng(0).permutation(len(response)) % 5 == 0
    train, truth = response[~held], response[held]
    half = complete_response(train, threshold=25, scale="none").denoised()
    kernel, matrix = fit_kernel(expression[~held], RBF)
    cross = apply_kernel(kernel, expression[held], expression[~held])
    _assert_scores(solve_ridge(matrix, train).predict(cross), truth, (1.178, 0.907, 0.577))
    kernel, matrix = fit_kernel(expression[~held], FIVE_KERNELS)
    cross = apply_kernel(kernel, expression[held], expression[~held])
    _assert_scores(solve_ridge(matrix, half).predict(cross), truth, (1.174, 0.908, 0.594))


def test_held_out_drugs_in_known_and_new_lines(screen) -> None:
    """Drugs are few and differ much: folds spread by 0.2 in RMSE, means over folds by 0.02."""
    expression, response, bits = screen
    rng = np.random.default_rng(1)
    new_drugs, new_lines = rng.permutation(228) % 10 == 0, rng.permutation(938) % 10 == 0
    train = response[np.ix_(~new_lines, ~new_drugs)]
    kernel, matrix = fit_kernel(expression[~new_lines], RBF)
    completed = complete_response(train).completed
    fit = NewDrugs.fit(completed, {"fingerprints": bits[~new_drugs]}, ridge=0.3)
    mixture = fit.mix({"fingerprints": bits[new_drugs]})
    known, fresh = response[np.ix_(~new_lines, new_drugs)], response[np.ix_(new_lines, new_drugs)]
    line_mean = np.broadcast_to(fit_additive(train).matrix.mean(axis=1)[:, None], known.shape)
    _assert_scores(line_mean, known, (2.866, 0.310, 0.622))
    _assert_scores(mixture.mean + (completed - fit.centre) @ mixture.weights, known, (2.735, 0.425, 0.634))
    lines = solve_ridge(matrix, train)
    alpha, intercept = mixture.columns(lines.alpha, lines.intercept, fit.centre)
    predicted = apply_kernel(kernel, expression[new_lines], expression[~new_lines]) @ alpha + intercept
    _assert_scores(predicted, fresh, (2.784, 0.356, 0.500))
