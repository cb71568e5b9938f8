"""Losses and graph of a step against computations by hand; missing responses have no gradient."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from scdrug.model.mtigcn._module import MTIGCNNet, NetConfig
from scdrug.model.mtigcn._settings import PUBLISHED_WEIGHTS, settings_of
from scdrug.model.mtigcn._training import GraphBatches, GraphData, Objective, sensitive_edges

NAN = float("nan")
LABELS = torch.tensor([[1.0, NAN], [0.0, 1.0], [NAN, 0.0], [NAN, NAN]])
RESPONSE = torch.tensor([[-2.0, NAN], [1.5, -0.5], [NAN, 3.0], [NAN, NAN]])


@pytest.fixture(autouse=True)
def _own_random_state():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


def small(
    preset: str = "mtigcn", *, predicts: str = "classification", **options
) -> tuple[MTIGCNNet, Objective, GraphData]:
    """Four lines, two drugs, in double precision; line 3 was never measured."""
    settings = settings_of(preset, hidden=6, width=5, **options)
    net = MTIGCNNet(NetConfig.of(settings, n_line_features=3, drug_features={"fingerprints": 4}, n_genes=10)).double()
    edges, weights = sensitive_edges(LABELS.numpy(), RESPONSE.numpy(), np.zeros(2), weighted=False)
    similarity = torch.rand(4, 4).double(), torch.tensor([[1.0, NAN], [NAN, NAN]]).double()
    data = GraphData(
        torch.randn(4, 3).double(), torch.rand(2, 4).double(), edges, weights.double(),
        LABELS.double(), RESPONSE.double(), *similarity,
    )  # fmt: skip
    return net, Objective(net, settings, predicts=predicts), data


def gradients(net: MTIGCNNet, loss: torch.Tensor) -> torch.Tensor:
    net.zero_grad()
    loss.backward()
    return torch.cat([p.grad.flatten() for p in net.parameters() if p.grad is not None])


def test_the_loss_is_the_weighted_sum_of_the_paper() -> None:
    net, objective, data = small()
    found = objective(data.batch())
    codes = objective.codes(data.batch())
    corr = lambda a, b: np.corrcoef(a.detach().numpy(), b.detach().numpy())[: len(a), len(a) :]
    logits = 8 * corr(codes.lines, codes.drugs)
    y = LABELS.numpy()
    bce = np.nanmean(np.log1p(np.exp(-logits)) * y + np.log1p(np.exp(logits)) * (1 - y))
    mapped = 15 * corr(net.response.left(codes.lines), net.response.right(codes.drugs))
    mse = np.nanmean((mapped - RESPONSE.numpy()) ** 2)
    lines, drugs = net.line_similarity.left(codes.lines), net.drug_similarity.left(codes.drugs)
    sigmoid = lambda x: 1 / (1 + np.exp(-x))
    similar = np.mean((sigmoid(15 * corr(lines, lines)) - data.line_similarity.numpy()) ** 2)
    structures = np.nanmean((sigmoid(15 * corr(drugs, drugs)) - data.drug_similarity.numpy()) ** 2)
    expected = {"classification": bce, "regression": mse, "lines": similar, "drugs": structures}
    for name, value in expected.items():
        assert found[f"{name}_loss"].item() == pytest.approx(value, abs=1e-6), name
    assert PUBLISHED_WEIGHTS == {"classification": 0.75, "regression": 0.25, "lines": 0.10, "drugs": 0.25}
    assert found["loss"].item() == pytest.approx(0.75 * bce + 0.25 * mse + 0.1 * similar + 0.25 * structures, abs=1e-6)


def test_missing_responses_leave_value_and_gradient_alone() -> None:
    net, objective, data = small()
    whole = objective(data.batch())["loss"]
    expected = gradients(net, whole)
    kept = torch.isfinite(LABELS)
    parts = objective.codes(data.batch())
    bce = torch.nn.functional.binary_cross_entropy_with_logits(
        8 * torch.corrcoef(torch.cat([parts.lines, parts.drugs]))[:4, 4:][kept], LABELS.double()[kept]
    )
    mapped = torch.cat([net.response.left(parts.lines), net.response.right(parts.drugs)])
    mse = (15 * torch.corrcoef(mapped)[:4, 4:][kept] - RESPONSE.double()[kept]).square().mean()
    lines, drugs = net.similarities(parts)
    similar = (lines - data.line_similarity).square().mean() * 0.1 + (drugs[0, 0] - 1).square() * 0.25
    by_selection = 0.75 * bce + 0.25 * mse + similar
    assert whole.item() == pytest.approx(by_selection.item())
    torch.testing.assert_close(gradients(net, by_selection), expected, atol=1e-8, rtol=1e-6)
    assert torch.isfinite(expected).all()


def test_the_objective_has_the_gradient_of_finite_differences_with_missing_responses() -> None:
    net, objective, data = small()
    names, values = zip(*net.named_parameters(), strict=True)

    def loss(*parameters: torch.Tensor) -> torch.Tensor:
        given = dict(zip(names, parameters, strict=True))
        codes = torch.func.functional_call(net, given, (data.lines, data.drugs, objective._graph(data.batch())))
        with torch.nn.utils.stateless._reparametrize_module(net, given):
            parts = objective._pairs(data.batch(), codes)
        return objective._sum(parts)["loss"]

    assert torch.autograd.gradcheck(loss, tuple(value.detach().requires_grad_() for value in values), atol=1e-4)


def test_a_batch_without_any_label_has_loss_zero_and_no_gradient() -> None:
    net, objective, data = small(tasks=("classification", "regression"))
    empty = replace(data, labels=torch.full_like(data.labels, NAN), response=torch.full_like(data.response, NAN))
    loss = objective(empty.batch())["loss"]
    assert float(loss) == 0
    assert not gradients(net, loss).any()


@pytest.mark.parametrize(
    ("tasks", "losses"),
    [
        (("classification",), {"classification_loss"}),
        (("classification", "regression"), {"classification_loss", "regression_loss"}),
        (("classification", "similarity"), {"classification_loss", "lines_loss", "drugs_loss"}),
    ],
)
def test_tasks_that_are_off_have_no_loss_and_no_weights(tasks, losses) -> None:
    net, objective, data = small(tasks=tasks)
    assert set(objective(data.batch())) == {"loss", *losses}
    assert (net.response is not None) == ("regression" in tasks)
    assert (net.line_similarity is not None) == ("similarity" in tasks)


@pytest.mark.parametrize("predicts", ["classification", "regression"])
def test_training_stops_on_the_error_of_the_task_that_predicts(predicts) -> None:
    _, objective, data = small(predicts=predicts)
    parts = objective.validation(data.batch())
    codes = objective.codes(data.batch())
    logits, known = objective.net.logits(codes).detach().numpy(), np.isfinite(LABELS.numpy())
    high, low = logits[known & (LABELS.numpy() == 1)], logits[known & (LABELS.numpy() == 0)]
    wrong = np.mean(high[:, None] < low)
    squares = np.nanmean((objective.net.responses(codes).detach().numpy() - RESPONSE.numpy()) ** 2)
    assert float(parts["ranking_loss"]) == pytest.approx(wrong)
    assert float(parts["regression_loss"]) == pytest.approx(squares)
    assert float(parts["loss"]) == pytest.approx(wrong if predicts == "classification" else squares)


def test_the_released_preset_ties_the_heads_of_both_similarities() -> None:
    ours, released = small()[0], small("mtigcn_released")[0]
    assert ours.line_similarity is not ours.drug_similarity
    assert released.line_similarity is released.drug_similarity


def test_edges_are_the_sensitive_training_pairs() -> None:
    edges, weights = sensitive_edges(LABELS.numpy(), RESPONSE.numpy(), np.zeros(2), weighted=False)
    assert edges.tolist() == [[0, 1], [0, 1]]
    assert weights.tolist() == [1.0, 1.0]


def test_weighted_edges_grow_with_the_distance_from_the_threshold() -> None:
    response = np.array([[-3.0], [-1.0], [-2.0], [1.0]])
    labels = np.array([[1.0], [1.0], [1.0], [0.0]])
    _, weights = sensitive_edges(labels, response, np.zeros(1), weighted=True)
    np.testing.assert_allclose(weights, [1.5, 0.5, 1.0], rtol=1e-5)


def test_dropout_of_edges_leaves_out_some_in_each_step_and_repeats_with_the_seed() -> None:
    edges = torch.cartesian_prod(torch.arange(40), torch.arange(10)).T
    empty = torch.zeros(0)
    data = GraphData(torch.zeros(40, 1), torch.zeros(10, 1), edges, torch.ones(400), *[empty] * 4)

    def counts(**shares: float) -> list[int]:
        generator = torch.Generator().manual_seed(0)
        return [batch["edges"].shape[1] for batch in GraphBatches(data, steps=5, generator=generator, **shares)]

    dropped = counts(edge_dropout=0.25)
    assert dropped == counts(edge_dropout=0.25)
    assert len(set(dropped)) > 1
    assert 0.65 < np.mean(dropped) / 400 < 0.85
    assert counts() == [400] * 5
    generator = torch.Generator().manual_seed(1)
    batch = next(iter(GraphBatches(data, node_dropout=0.5, generator=generator)))
    lines, drugs = (len(set(row.tolist())) for row in batch["edges"])
    assert batch["edges"].shape[1] == lines * drugs  # whole nodes went
    assert lines < 40
