"""What is held out for a network beside a prior, and how much of a prediction is the network's."""

from __future__ import annotations

import numpy as np
import pytest

from scdrug.model._batches import TrainingTask
from scdrug.model._blend import Shares, hold_out_each, reserve_for_shares
from scdrug.model._share import share_of_groups
from scdrug.model.prior._process import contexts


def test_all_kinds_of_predictions_are_held_out() -> None:
    measured = np.random.default_rng(0).random((100, 40)) < 0.8
    structured = np.arange(40) != 7
    marked = hold_out_each(measured, structured, seed=0)
    whole_lines = (marked == measured).all(axis=1)
    whole_drugs = (marked == measured).all(axis=0)
    assert (whole_lines.sum(), whole_drugs.sum()) == (5, 1)
    assert not whole_drugs[7]
    rest = marked[np.ix_(~whole_lines, ~whole_drugs)].sum() / measured[np.ix_(~whole_lines, ~whole_drugs)].sum()
    assert 0.03 < rest < 0.07
    assert not (marked & ~measured).any()
    np.testing.assert_array_equal(marked, hold_out_each(measured, structured, seed=0))
    assert (marked != hold_out_each(measured, structured, seed=1)).any()


def test_what_stops_training_chooses_no_share() -> None:
    response = np.random.default_rng(0).normal(size=(80, 20))
    held = hold_out_each(np.isfinite(response), np.ones(20, dtype=bool), seed=0)
    task = TrainingTask(np.zeros((80, 3), dtype=np.float32), response, held, np.arange(80).astype(str))
    task = reserve_for_shares(task, seed=0)
    stops, chooses = np.isfinite(task.validation_response), np.isfinite(task.reserved_response)
    assert not (stops & chooses).any()
    np.testing.assert_array_equal(stops | chooses, held)
    assert not (stops.any(axis=1) & chooses[:, np.isfinite(task.train_response).any(axis=0)].any(axis=1)).any()


def test_a_network_counts_as_far_as_lines_or_new_drugs_agree() -> None:
    rng = np.random.default_rng(0)
    prior, network = rng.normal(size=(2, 12, 8))
    context = contexts(np.arange(12) < 8, np.arange(8) < 4)
    share = np.array([0.3, 0.6, 5.0, -1.0])[context]
    found = Shares.choose(prior, network, prior + share * (network - prior), context)
    assert found.to_json() == pytest.approx([0.3, 0.6, 1.0, 0.0], abs=1e-6)
    np.testing.assert_allclose(found.of(context)[0, [0, -1]], [0.3, 1.0], atol=1e-6)
    assert Shares.choose(prior, network, np.full((12, 8), np.nan), context) == Shares()


def test_a_share_is_less_by_the_error_over_lines_or_over_new_drugs() -> None:
    rng = np.random.default_rng(0)
    network = rng.normal(size=(12, 8))
    observed = rng.uniform(0.2, 0.8, size=(12, 8)) * network
    context = contexts(np.ones(12, dtype=bool), np.arange(8) < 4)
    found = Shares.choose(np.zeros((12, 8)), network, observed, context)
    by_line = share_of_groups((network[:, :4] ** 2).sum(axis=1), (network * observed)[:, :4].sum(axis=1))
    by_drug = share_of_groups((network[:, 4:] ** 2).sum(axis=0), (network * observed)[:, 4:].sum(axis=0))
    assert [found.known, found.new_drug] == pytest.approx([by_line, by_drug])
    assert found.known < (network * observed)[:, :4].sum() / (network[:, :4] ** 2).sum()
