from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scdrug.model.prior import (
    EFFECT_RIDGES,
    NewDrugs,
    contrast_kernel,
    describe_drugs,
    select_effect_ridge,
    solve_ridge,
)
from scdrug.pp._molecules import tanimoto_kernel


def _bits(rng: np.random.Generator, n: int) -> np.ndarray:
    """Fingerprints of drugs of four families."""
    families = rng.random((4, 64)) < 0.3
    bits = families[np.arange(n) % 4] ^ (rng.random((n, 64)) < 0.05)
    bits[:, 0] = True
    return bits.astype(np.uint8)


def _screen(n: int = 24, lines: int = 40, seed: int = 0) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Responses in which lines differ by the family of a drug."""
    rng = np.random.default_rng(seed)
    factors = rng.normal(size=(lines, 4))
    fitted = factors[:, np.arange(n) % 4] + rng.normal(size=n) + 0.1 * rng.normal(size=(lines, n))
    targets = np.zeros((n, 5), dtype=np.uint8)
    targets[np.arange(n), np.arange(n) % 4] = 1
    return fitted, {"fingerprints": _bits(rng, n), "targets": targets}


def test_a_new_drug_is_the_regression_written_out() -> None:
    """Contrasts and their spread by ridge on the mean of three similarities, potency by ridge on structure."""
    fitted, features = _screen()
    known, asked = ({name: part[rows] for name, part in features.items()} for rows in (slice(0, 20), slice(20, 24)))
    mixture = NewDrugs.fit(fitted[:, :20], known, ridge=0.5).mix(asked)
    words = features["targets"].astype(float) @ features["targets"].T  # one target each: shared or not
    structure = tanimoto_kernel(features["fingerprints"])
    both = (structure + words + structure * words) / 3
    np.testing.assert_allclose(contrast_kernel(features), both, atol=1e-12)
    centre = fitted[:, :20].mean(axis=0)
    contrast = fitted[:, :20] - centre
    line = contrast.mean(axis=1, keepdims=True)
    contrast = contrast - line
    spread = contrast.std(axis=0)
    kernel, cross = both[:20, :20], both[20:, :20]
    near = np.linalg.solve(kernel + 0.5 * np.eye(20), (contrast / spread).T)
    level = np.log(spread).mean()
    far = np.exp(level + cross @ np.linalg.solve(kernel + np.eye(20), np.log(spread) - level))
    expected = line + (cross @ near).T * far
    np.testing.assert_allclose((fitted[:, :20] - centre) @ mixture.weights, expected, atol=1e-9)
    potency = solve_ridge(structure[:20, :20], centre[:, None], ridge=0.5).predict(structure[20:, :20])[:, 0]
    np.testing.assert_allclose(mixture.mean, potency, atol=1e-9)


def test_what_is_known_of_a_drug_decides_what_it_is_compared_by() -> None:
    fitted, features = _screen()
    fit = NewDrugs.fit(fitted, features)
    row = {name: part[:1] for name, part in features.items()}
    empty = {name: np.zeros_like(part) for name, part in row.items()}
    whole, structure = fit.mix(row), fit.mix(row | {"targets": empty["targets"]})
    target = fit.mix(row | {"fingerprints": empty["fingerprints"]})
    assert not np.allclose(whole.weights, structure.weights)
    np.testing.assert_allclose(structure.mean, whole.mean)  # potency is told by structure where there is one
    mixed = fit.mix({name: np.vstack([row[name], empty[name] if name == "targets" else row[name]]) for name in row})
    np.testing.assert_allclose(mixed.weights, np.hstack([whole.weights, structure.weights]), atol=1e-12)
    assert np.corrcoef((fitted - fit.centre) @ target.weights[:, 0], fitted[:, 4])[0, 1] > 0.8
    np.testing.assert_allclose(fit.mix({"targets": row["targets"]}).weights, target.weights)
    with pytest.raises(ValueError, match="Nothing is known of 1 drugs"):
        fit.mix(empty)


def test_a_drug_like_no_other_is_the_mean_of_the_first_screen() -> None:
    fitted, features = _screen()
    screen = (np.arange(24) >= 16).astype(int)
    fit = NewDrugs.fit(fitted, features, screen=screen, ridge=0.5, offset=np.where(screen == 1, 3.0, 0.0))
    far = {"targets": np.array([[0, 0, 0, 0, 2]], dtype=np.uint8)}
    mixture = fit.mix(far)
    np.testing.assert_allclose(mixture.weights[:, 0], np.where(screen == 0, 1 / 16, 0.0), atol=1e-12)
    np.testing.assert_allclose(fit.potency - fit.centre, np.where(screen == 1, 3.0, 0.0), atol=1e-6)


def test_drugs_of_another_screen_teach_without_their_screen_s_common_response() -> None:
    fitted, features = _screen()
    screen, rng = (np.arange(24) >= 12).astype(int), np.random.default_rng(1)
    asked = {name: part[:4] for name, part in features.items()}
    moved = fitted + np.where(screen == 1, 1.0, 0.0) * rng.normal(size=(40, 1))
    plain, shifted = (
        (values - values.mean(axis=0)) @ NewDrugs.fit(values, features, screen=screen, ridge=0.5).mix(asked).weights
        for values in (fitted, moved)
    )
    np.testing.assert_allclose(shifted, plain, atol=1e-9)


@settings(max_examples=15, deadline=None)
@given(st.permutations(range(24)), st.floats(0.1, 10), st.floats(-5, 5))
def test_order_and_unit_do_not_matter(order: list[int], unit: float, offset: float) -> None:
    fitted, features = _screen()
    asked = {name: part[:3] for name, part in features.items()}
    plain = NewDrugs.fit(fitted, features).mix(asked)
    other = NewDrugs.fit(unit * fitted[:, order] + offset, {name: part[order] for name, part in features.items()})
    moved = other.mix(asked)
    np.testing.assert_allclose(moved.weights, plain.weights[order], atol=1e-6)
    np.testing.assert_allclose(moved.mean, unit * plain.mean + offset, atol=1e-5)


def test_arrays_come_back_as_the_same_fit() -> None:
    fitted, features = _screen()
    fit = NewDrugs.fit(fitted, features)
    arrays = fit.to_arrays()
    assert set(arrays) == set(NewDrugs.wanted_arrays(("fingerprints", "targets")))
    assert arrays["fingerprints"].shape == (24, 8), "eight bits a byte"
    asked = {name: part[:3] for name, part in features.items()}
    for one, two in zip(fit.mix(asked), NewDrugs.from_arrays(arrays).mix(asked), strict=True):
        np.testing.assert_allclose(two, one, atol=1e-4)
    assert NewDrugs.fit(fitted[:, :2], {name: part[:2] for name, part in features.items()}) is None


def test_ridge_auto_is_the_best_when_each_drug_is_left_out() -> None:
    fitted, features = _screen()
    similarity, effect, errors = tanimoto_kernel(features["fingerprints"]), fitted.mean(axis=0), []
    for ridge in EFFECT_RIDGES:
        residuals = []
        for drug in range(len(effect)):
            kept = np.arange(len(effect)) != drug
            fit = solve_ridge(similarity[np.ix_(kept, kept)], effect[kept, None], ridge=ridge)
            residuals.append(fit.predict(similarity[drug, kept]) - effect[drug])
        errors.append(np.mean(np.square(residuals)))
    best = EFFECT_RIDGES[int(np.argmin(errors))]
    assert select_effect_ridge(similarity, effect) == best
    auto = NewDrugs.fit(fitted, {"fingerprints": features["fingerprints"]}).mix(features)
    expected = solve_ridge(similarity, effect[:, None], ridge=best).predict(similarity)[:, 0]
    np.testing.assert_allclose(auto.mean, expected, atol=1e-9)


def test_drugs_are_described_by_structure_targets_and_pathway() -> None:
    training = pd.DataFrame(
        {
            "smiles": ["CCO", "", "c1ccccc1"],
            "targets": ["MEK1, MEK2", "EGFR", ""],
            "pathway": ["ERK MAPK signaling", "EGFR signaling", "Other"],
        }
    )
    known = describe_drugs(training, "tanimoto")
    assert set(known) == {"fingerprints", "targets", "pathway"}
    np.testing.assert_array_equal([part.any(axis=1) for part in known.values()], [[1, 0, 1], [1, 1, 0], [1, 1, 0]])
    asked = pd.DataFrame({"targets": ["MAP2K1", "ERBB2", "MAP2K1, XYZ9"], "pathway": ["egfr signaling", "", ""]})
    found = describe_drugs(asked, "tanimoto", training=training)
    kernel = contrast_kernel({"targets": known["targets"]}, {"targets": found["targets"]})
    # MAP2K1 with its family against MAP2K1, MAP2K2 and the family; ERBB2 and EGFR share a family; unknown words count as apart
    np.testing.assert_allclose(kernel, [[2 / 3, 0, 0], [0, 1 / 3, 0], [2 / 5, 0, 0]])
    np.testing.assert_array_equal(found["pathway"].any(axis=1), [True, False, False])
    assert set(describe_drugs(training, "tanimoto", mechanism=False)) == {"fingerprints"}
