"""The Gaussian process: small cases by hand, and offsets that never saw their own response."""

from __future__ import annotations

import numpy as np
import pytest

from scdrug.model.deepcdr._crossfit import KNOWN, NEW_BOTH, NEW_DRUG, NEW_LINE, DrugStructures, offsets
from scdrug.model.deepcdr._process import (
    KNOWN_SHARE,
    NOISE,
    drug_covariance,
    drug_moments,
    fit_process,
    mix_drugs,
    signal_covariance,
)


def screen(n_lines: int = 60, n_drugs: int = 12, seed: int = 0) -> tuple[np.ndarray, np.ndarray, DrugStructures]:
    """Responses of two hidden traits, with gaps; a kernel of the traits; structures in two families."""
    rng = np.random.default_rng(seed)
    traits, effects = rng.normal(size=(n_lines, 2)), np.repeat(rng.normal(size=(2, 2)), n_drugs // 2, axis=1)
    response = traits @ effects + rng.normal(size=(1, n_drugs)) + 0.3 * rng.normal(size=(n_lines, n_drugs))
    response[rng.random(response.shape) < 0.2] = np.nan
    distance = ((traits[:, None] - traits[None]) ** 2).sum(-1)
    bits = (rng.random((n_drugs, 64)) < 0.1).astype(np.uint8)
    bits[: n_drugs // 2, :20] = 1
    bits[n_drugs // 2 :, 20:40] = 1
    return response, np.exp(-distance / 2), DrugStructures({"fingerprints": bits}, np.ones(n_drugs, dtype=bool))


def test_the_posterior_is_the_solution_of_the_whole_system() -> None:
    response, kernel, _ = screen(8, 4)
    covariance = np.cov(np.random.default_rng(1).normal(size=(20, 4)).T) + np.eye(4)
    process = fit_process(response, kernel, covariance=covariance)
    mean, scale = drug_moments(response)
    scores = (response - mean) / scale
    lines = (1 - KNOWN_SHARE) * np.eye(8) + KNOWN_SHARE * kernel
    seen = np.flatnonzero(np.isfinite(scores.ravel()))
    whole = np.kron(lines, covariance)
    dual = np.linalg.solve(whole[np.ix_(seen, seen)] + NOISE * np.eye(len(seen)), scores.ravel()[seen])
    np.testing.assert_allclose(process.known(kernel).ravel(), whole[:, seen] @ dual, atol=5e-3)
    cross = kernel[:2] * 0.9
    new = np.kron(KNOWN_SHARE * cross, covariance)[:, seen] @ dual
    np.testing.assert_allclose(process.new(cross).ravel(), new, atol=5e-3)


def test_covariance_is_learned_in_spite_of_gaps() -> None:
    rng = np.random.default_rng(0)
    truth = np.array([[1.0, 0.8, 0.0], [0.8, 1.0, 0.0], [0.0, 0.0, 1.0]])
    scores = rng.multivariate_normal(np.zeros(3), truth, size=3000)
    scores[rng.random(scores.shape) < 0.3] = np.nan
    np.testing.assert_allclose(drug_covariance(scores, n_iter=20), truth, atol=0.07)
    signal = signal_covariance(truth, noise=0.2)
    assert np.linalg.eigvalsh(signal).min() > 0
    np.testing.assert_allclose(signal - truth, -0.1 * np.eye(3), atol=1e-9)


def test_a_line_without_responses_is_predicted_as_a_new_one() -> None:
    response, kernel, _ = screen()
    response[7] = np.nan
    process = fit_process(response, kernel)
    np.testing.assert_allclose(process.known(kernel)[7], process.new(kernel[[7]])[0], atol=2e-3)


def test_the_other_drugs_of_a_line_tell_more_than_its_expression() -> None:
    response, kernel, structures = screen()
    hidden = np.zeros(response.shape, dtype=bool)
    hidden[np.random.default_rng(1).random(response.shape) < 0.2] = True
    train = np.where(hidden, np.nan, response)
    process = fit_process(train, np.eye(len(kernel)))  # expression that says nothing
    known = process.response(process.known(np.eye(len(kernel))))
    test = hidden & np.isfinite(response)
    error = np.sqrt(np.mean((known - response)[test] ** 2))
    baseline = np.sqrt(np.mean((np.nanmean(train, axis=0) - response)[test] ** 2))
    assert error < 0.6 * baseline


@pytest.mark.parametrize(
    ("context", "unit"), [(KNOWN, "pair"), (NEW_LINE, "line"), (NEW_DRUG, "drug"), (NEW_BOTH, "line")]
)
def test_offsets_of_training_pairs_do_not_depend_on_their_own_response(context: int, unit: str) -> None:
    response, kernel, structures = screen(30, 10)
    line, drug = np.argwhere(np.isfinite(response))[5]
    changed = response.copy()
    changed[line, drug] += 0.5
    first, second = (offsets(values, kernel, structures, seed=0).values for values in (response, changed))
    assert np.isfinite(first).all()
    moved = np.abs(first - second)[context]
    own = moved[line, drug]
    # the pair stays where it is; only the prior that is shared by all, such as the scale, may move it a little
    assert own < (0.02 if unit != "drug" else 0.05), unit
    assert moved.max() > own


def test_offsets_of_unseen_drugs_come_from_their_structure() -> None:
    response, kernel, structures = screen()
    full = response.copy()
    response[:, [0, 11]] = np.nan
    offset, mean, scale, _ = offsets(response, kernel, structures, seed=0)
    assert np.isfinite(offset[[NEW_DRUG, NEW_BOTH]]).all()
    assert np.isnan(offset[KNOWN][:, 0]).all()
    centred = offset[NEW_DRUG] - offset[NEW_DRUG].mean(axis=0)
    for drug, like in ((0, 1), (11, 10)):
        ok = np.isfinite(full[:, drug])
        assert np.corrcoef(centred[ok, drug], full[ok, drug])[0, 1] > 0.8, like
    assert (scale > 0).all()
    assert np.isfinite(mean).all()


def test_drugs_without_structure_are_left_out_where_structure_is_needed() -> None:
    response, kernel, structures = screen()
    usable = np.ones(12, dtype=bool)
    usable[[2, 5]] = False
    response[:, 5] = np.nan
    partial = DrugStructures({"fingerprints": structures.features["fingerprints"][usable]}, usable)
    offset, mean, _, _ = offsets(response, kernel, partial, seed=0)
    assert np.isnan(offset[NEW_DRUG][:, [2, 5]]).all()
    assert np.isfinite(offset[KNOWN][:, 2]).all()
    assert np.isfinite(mean).all()


def test_a_structure_like_a_training_drug_gets_its_profile() -> None:
    response, kernel, structures = screen()
    process = fit_process(response, kernel)
    kernels = structures.kernels
    mixed = mix_drugs(process, kernels, kernels[:, [3]], structures.usable)
    assert mixed.profiles[:, 0].sum() == pytest.approx(1.0)
    family = np.arange(12) < 6
    assert mixed.profiles[family, 0].sum() > 0.8
    nothing = mix_drugs(process, kernels, np.zeros((1, 1, 12)), structures.usable)
    np.testing.assert_allclose(nothing.profiles[:, 0], 1 / 12)
    assert nothing.mean[0] == pytest.approx(process.mean.mean())
