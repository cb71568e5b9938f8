"""How much a network counts beside a prior: what is held out to decide it, and what is decided."""

from __future__ import annotations

import numpy as np
import pytest

from scdrug.model._batches import TrainingTask
from scdrug.model._share import Shares, hold_out_each, reserve_for_shares, share_of_groups
from scdrug.model.prior import Context, contexts


def test_the_network_counts_by_what_it_saves_beyond_one_standard_error() -> None:
    rng = np.random.default_rng(0)
    truth = rng.normal(size=(60, 20))
    prior, network = (truth + rng.normal(size=truth.shape) for _ in range(2))
    context = contexts(np.arange(60) < 45, np.arange(20) < 15)
    shares = Shares.choose(prior, network, truth, context)
    for code in (Context.KNOWN, Context.NEW_LINE):
        errors = [((prior + w * (network - prior) - truth)[context == code] ** 2).sum() for w in np.linspace(0, 1, 101)]
        best = np.argmin(errors) / 100
        assert best - 0.15 < shares.to_json()[code] < best
    nothing = np.full(truth.shape, np.nan)
    assert Shares.choose(prior, network, nothing, context) == Shares()
    assert Shares.choose(truth, prior, truth, context).known == 0
    assert Shares.choose(prior, truth, truth, context).known == pytest.approx(1)


def test_a_network_that_errs_by_drug_is_doubted_for_new_drugs() -> None:
    rng = np.random.default_rng(0)
    truth = rng.normal(size=(60, 4))
    prior = truth + rng.normal(size=truth.shape)
    network = truth + np.array([0.0, 0.0, 0.0, 3.0])
    found = [Shares.choose(prior, network, truth, np.full(truth.shape, code)).to_json()[code] for code in (1, 2)]
    assert found[0] > found[1] + 0.05


def test_held_out_pairs_cover_new_lines_and_new_drugs() -> None:
    measured = np.random.default_rng(0).random((100, 40)) < 0.9
    structures = [f"drug {number}" for number in range(40)]
    marked = hold_out_each(measured, structures, seed=0)
    assert not (marked & ~measured).any()
    assert np.array_equal(marked, hold_out_each(measured, structures, seed=0))
    gone = measured & ~marked
    assert (~gone.any(axis=1)).sum() == 5  # lines
    assert (~gone.any(axis=0)).sum() == 2  # drugs
    without = hold_out_each(measured, [None] * 40, seed=0)
    assert (measured & ~without).any(axis=0).all()  # a drug without a structure cannot be a new one


@pytest.mark.parametrize("seed", range(5))
def test_drugs_of_one_structure_are_held_out_together(seed: int) -> None:
    structures = [f"pair {number // 2}" for number in range(60)] + [None] * 4
    measured = np.ones((50, 64), dtype=bool)
    measured[:, 7] = False
    gone = hold_out_each(measured, structures, seed=seed, share=0.2)[measured.any(axis=1)].all(axis=0)
    held = {structures[drug] for drug in np.flatnonzero(gone)}
    assert len(held) == 6
    np.testing.assert_array_equal(gone, np.isin(structures, list(held)) & measured.any(axis=0))


def test_what_stops_training_does_not_choose_the_share() -> None:
    rng = np.random.default_rng(0)
    response = rng.normal(size=(100, 40))
    marked = hold_out_each(np.ones(response.shape, dtype=bool), list(map(str, range(40))), seed=0)
    task = reserve_for_shares(
        TrainingTask(response.astype(np.float32), response, marked, np.arange(100).astype(str)), seed=0
    )
    stops, chooses = np.isfinite(task.validation_response), np.isfinite(task.reserved_response)
    assert not (stops & chooses).any()
    np.testing.assert_array_equal(stops | chooses, marked)
    held_drugs = marked.all(axis=0)
    assert chooses[:, held_drugs].all()
    known = ~held_drugs
    assert 0.3 < stops[:, known].sum() / marked[:, known].sum() < 0.7
    assert not (stops[:, known].any(axis=1) & chooses[:, known].any(axis=1)).any()  # a line is on one side


def test_a_network_counts_as_far_as_lines_or_new_drugs_agree() -> None:
    rng = np.random.default_rng(0)
    prior, network = rng.normal(size=(2, 12, 8))
    context = contexts(np.arange(12) < 8, np.arange(8) < 4)
    share = np.array([0.3, 0.6, 5.0, -1.0])[context]
    found = Shares.choose(prior, network, prior + share * (network - prior), context)
    few = 4 / (4 + 20)  # of four new drugs little is known
    assert found.to_json() == pytest.approx([0.3, 0.6, few, 0.0], abs=1e-6)
    np.testing.assert_allclose(found.of(context)[0, [0, -1]], [0.3, few], atol=1e-6)
    assert Shares.choose(prior, network, np.full((12, 8), np.nan), context) == Shares()


def test_a_share_is_less_by_the_error_over_lines_or_over_new_drugs() -> None:
    rng = np.random.default_rng(0)
    network = rng.normal(size=(12, 8))
    observed = rng.uniform(0.2, 0.8, size=(12, 8)) * network
    context = contexts(np.ones(12, dtype=bool), np.arange(8) < 4)
    found = Shares.choose(np.zeros((12, 8)), network, observed, context)
    by_line = share_of_groups((network[:, :4] ** 2).sum(axis=1), (network * observed)[:, :4].sum(axis=1))
    by_drug = share_of_groups((network[:, 4:] ** 2).sum(axis=0), (network * observed)[:, 4:].sum(axis=0))
    assert [found.known, found.new_drug] == pytest.approx([by_line, by_drug * 4 / (4 + 20)])
    assert found.known < (network * observed)[:, :4].sum() / (network[:, :4] ** 2).sum()
