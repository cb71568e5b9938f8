"""Mathematics of single-cell transfer, and the names of lines."""

from __future__ import annotations

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from scdrug._audit import LeakError
from scdrug.benchmark.transfer._labels import (
    column_aurocs,
    label_overlap,
    permuted_auroc,
    score_labelled,
    share_below,
    within_groups,
)
from scdrug.benchmark.transfer._lines import check_excluded, find_lines
from scdrug.benchmark.transfer._scores import (
    Units,
    bootstrap_weights,
    percentile_interval,
    permuted_scores,
    score_units,
)
from scdrug.metrics import transfer_correlation


def _table(seed: int = 0, lines: int = 4, drugs: int = 7) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    truth = rng.normal(size=(lines, drugs))
    guess = 0.5 * truth + rng.normal(size=truth.shape)
    truth[rng.random(truth.shape) < 0.2] = np.nan
    truth[:2, 0] = 0.3, -0.2
    return guess, truth


def _plain(guess: np.ndarray, truth: np.ndarray):
    n_drugs = truth.shape[1]
    return transfer_correlation(guess, truth, train_mean=np.zeros(n_drugs), train_sd=np.ones(n_drugs))


# ---------------------------------------------------------------------- scores


@pytest.mark.parametrize("seed", range(5))
def test_line_means_score_as_the_public_metric_does(seed: int) -> None:
    guess, truth = _table(seed)
    score = score_units(Units.of_rows(guess), truth)
    assert (score.flat, score.contrast) == pytest.approx(tuple(_plain(guess, truth)))
    assert score.rmse_z == pytest.approx(np.sqrt(np.nanmean((guess - truth) ** 2)))
    assert score.bias_z == pytest.approx(np.nanmean(guess - truth))


def test_cells_gathered_by_line_score_as_all_cells_do() -> None:
    guess, truth = _table(1)
    truth = np.nan_to_num(truth)
    line = np.array([0, 0, 0, 1, 1, 2, 3, 3, 3, 3])
    cells = guess[line] + np.random.default_rng(2).normal(size=(len(line), truth.shape[1]))
    gathered = score_units(Units.of_cells(cells, line, 4), truth)
    assert (gathered.flat, gathered.contrast) == pytest.approx(tuple(_plain(cells, truth[line])))
    assert gathered.rmse_z == pytest.approx(np.sqrt(np.mean((cells - truth[line]) ** 2)))


def test_weights_of_lines_and_drugs_are_repetitions() -> None:
    guess, truth = _table(3)
    lines, drugs = np.array([2.0, 1.0, 0.0, 1.0]), np.array([1.0, 0.0, 3.0, 1.0, 1.0, 0.0, 1.0])
    weighted = score_units(Units.of_rows(guess), truth, line_weight=lines, drug_weight=drugs)
    pick = np.ix_(np.repeat(np.arange(4), lines.astype(int)), np.repeat(np.arange(7), drugs.astype(int)))
    plain = _plain(guess[pick], truth[pick])
    assert weighted.flat == pytest.approx(plain.flat)
    assert weighted.contrast == pytest.approx(plain.contrast)


def test_equal_predictions_have_no_contrast_and_zero_flat_correlation() -> None:
    _, truth = _table()
    score = score_units(Units.of_rows(np.full(truth.shape, 1e-9)), truth)
    assert score.flat == 0
    assert np.isnan(score.contrast)


@given(st.integers(0, 10_000), st.floats(-3, 3), st.floats(0.1, 5))
@settings(max_examples=30, deadline=None)
def test_contrast_ignores_what_is_said_of_a_drug_and_both_ignore_units_and_order(seed, shift, factor) -> None:
    guess, truth = _table(seed)
    score = score_units(Units.of_rows(guess), truth)
    moved = score_units(Units.of_rows(guess + shift * np.arange(truth.shape[1])), truth)
    assert moved.contrast == pytest.approx(score.contrast, abs=1e-9)
    order = np.random.default_rng(seed).permutation(len(truth))
    same = score_units(Units.of_rows(factor * guess[order] + shift), truth[order])
    assert (same.flat, same.contrast) == pytest.approx((score.flat, score.contrast), abs=1e-9)


def test_a_unit_is_compared_with_the_line_it_points_to() -> None:
    truth = np.array([[0.0, 1.0], [2.0, -1.0]])
    units = Units.of_rows(truth[[1, 0, 1]], np.array([1, 0, 1]))
    assert score_units(units, truth).flat == pytest.approx(1)
    assert score_units(units.with_permuted_lines(np.array([1, 0])), truth).contrast == pytest.approx(-1)


def test_few_lines_are_permuted_exhaustively() -> None:
    rng = np.random.default_rng(0)
    truth = rng.normal(size=(3, 50))
    result = permuted_scores(Units.of_rows(truth), truth, n_permutations=7, seed=0)
    assert result.p_value.flat == pytest.approx(1 / 6)
    assert result.p_value.contrast == pytest.approx(1 / 6)
    assert result.mean.contrast < 0.1  # of five wrong assignments
    many = permuted_scores(Units.of_rows(rng.normal(size=(9, 5))), rng.normal(size=(9, 5)), n_permutations=19, seed=0)
    assert 1 / 20 <= many.p_value.flat <= 1


def test_draws_keep_two_lines_at_least_and_are_reproducible() -> None:
    draws = bootstrap_weights(2, 5, n_resamples=100, seed=1)
    assert 20 < len(draws) < 80
    assert all((lines > 0).sum() == 2 and lines.sum() == 2 and drugs.sum() == 5 for lines, drugs in draws)
    again = bootstrap_weights(2, 5, n_resamples=100, seed=1)
    assert all(np.array_equal(a[1], b[1]) for a, b in zip(draws, again))


def test_an_interval_needs_half_of_the_draws() -> None:
    assert percentile_interval(np.array([np.nan, np.nan, np.nan, 1.0, 2.0])) == pytest.approx(
        (np.nan, np.nan), nan_ok=True
    )
    assert percentile_interval(np.arange(101.0)) == pytest.approx((2.5, 97.5))


# ---------------------------------------------------------------------- labels


def test_auroc_of_columns_is_that_of_scikit_learn_with_ties() -> None:
    rng = np.random.default_rng(0)
    scores = rng.integers(0, 6, size=(40, 130)).astype(float)
    scores[:, 5] = 1.0
    sensitive = rng.random(40) < 0.4
    expected = [roc_auc_score(sensitive, column) for column in scores.T]
    np.testing.assert_allclose(column_aurocs(scores, sensitive), expected)
    assert column_aurocs(scores, sensitive)[5] == 0.5


def test_labelled_scores_without_a_threshold_are_ranks_only() -> None:
    rng = np.random.default_rng(0)
    sensitive = rng.random(60) < 0.5
    score = sensitive + rng.normal(size=60)
    ranks = score_labelled(score, None, sensitive, n_resamples=0)
    assert set(ranks) == {"auroc", "auprc"} and np.isnan(ranks["auroc"][1])
    all_of_them = score_labelled(score, score > 0.5, sensitive, n_resamples=100)
    assert all_of_them["auroc"][0] == pytest.approx(roc_auc_score(sensitive, score))
    assert all(low <= value <= high for value, low, high in all_of_them.values())


def test_overlap_is_one_for_a_confound_and_zero_for_a_balanced_design() -> None:
    sensitive = np.array([True, True, False, False])
    assert label_overlap(sensitive, np.array([0, 0, 1, 1])) == pytest.approx(1)
    assert label_overlap(sensitive, np.array([0, 0, 1, 2])) == pytest.approx(1)
    assert label_overlap(sensitive, np.array([0, 1, 0, 1])) == pytest.approx(0)
    assert np.isnan(label_overlap(sensitive, np.zeros(4, dtype=int)))


def test_scores_within_groups_do_not_see_differences_between_them() -> None:
    sensitive = np.array([True, True, False, True, False, False])
    group = np.array([0, 0, 0, 1, 1, 1])
    score = np.array([10.0, 10.0, 10.0, 0.0, 0.0, 0.0])  # tells groups, not labels
    assert column_aurocs(score[:, None], sensitive)[0] > 0.5
    assert within_groups(score, sensitive, group) == (0.5, 2)
    assert np.isnan(within_groups(score, sensitive, sensitive.astype(int))[0])


def test_permuted_labels_are_centred_on_one_half_and_ties_count_half() -> None:
    sensitive = np.arange(50) < 20
    values = permuted_auroc(np.arange(50.0), sensitive, n_permutations=500)
    assert values.mean() == pytest.approx(0.5, abs=0.02)
    assert share_below(0.5, np.array([0.4, 0.5, 0.5, 0.6])) == 0.5


# ---------------------------------------------------------------------- names of lines


def _reference(names: list[str], **columns: list[str]) -> ad.AnnData:
    return ad.AnnData(np.zeros((len(names), 1)), obs=pd.DataFrame(columns, index=names))


@pytest.mark.parametrize("in_cells", ["H1975", "NCI-H1975", "NCIH1975", "nci h1975", "h-1975", "NCIH1975_LUNG"])
@pytest.mark.parametrize("in_reference", ["NCIH1975", "NCI-H1975", "H1975", "NCIH1975_LUNG", "GDSC2:NCI-H1975"])
def test_a_line_is_found_whatever_it_is_called(in_cells: str, in_reference: str) -> None:
    reference = _reference(["A549", in_reference, "NCIH197", "NCIH19755", "OTHER_LUNG"])
    found = find_lines(reference, [in_cells])
    assert found.rows[in_cells].tolist() == [1]
    assert found.held_out.tolist() == [False, True, False, False, False]


def test_a_line_is_found_in_columns_of_text() -> None:
    reference = _reference(["ACH-1", "ACH-2", "ACH-3"], line=["A549", "HCC827", "A-549"], tissue=["lung"] * 3)
    found = find_lines(reference, ["a549"])
    assert found.rows["a549"].tolist() == [0]  # the one that is spelled so
    assert found.held_out.tolist() == [True, False, True]


def test_replicates_and_derivatives_are_held_out_but_are_no_truth() -> None:
    reference = _reference(
        ["HCC827", "HCC827-1", "HCC827-GR5", "HCC-827", "HCC82", "X"], note=["", "", "", "", "", "of HCC827"]
    )
    with pytest.warns(UserWarning, match="3 further rows.*HCC827-1.*HCC827-GR5.*X"):
        found = find_lines(reference, ["HCC827"])
    assert found.rows["HCC827"].tolist() == [0]
    assert found.held_out.tolist() == [True, True, True, True, False, True]


def test_lines_that_only_punctuation_tells_apart_are_both_held_out() -> None:
    found = find_lines(_reference(["TT", "T-T", "T47D"]), ["T-T"])
    assert found.rows["T-T"].tolist() == [1]
    assert found.held_out.tolist() == [True, True, False]


def test_a_given_name_decides_and_the_other_is_held_out_too() -> None:
    found = find_lines(_reference(["A549", "C1", "B"]), ["C1"], names={"C1": "A549"})
    assert found.rows["C1"].tolist() == [0]
    assert found.held_out.tolist() == [True, True, False]


def test_a_line_that_is_missing_is_an_error_unless_it_may_be() -> None:
    reference = _reference(["A549", "HCC827"])
    with pytest.raises(KeyError, match="nearest: 'HCC827'"):
        find_lines(reference, ["A549", "HCC872"])
    found = find_lines(reference, ["A549", "HCC872"], must_exist=False)
    assert list(found.rows) == ["A549"]


@pytest.mark.parametrize("name", ["A549", "a-549", "A549_LUNG", "GDSC1:A549", "A-549-R"])
def test_a_line_that_remains_in_training_is_a_leak(name: str) -> None:
    with pytest.raises(LeakError, match="still in the training"):
        check_excluded(_reference(["HCC827", name]), ["A549"])
    check_excluded(_reference(["HCC827", "A5490"]), ["A549"])
