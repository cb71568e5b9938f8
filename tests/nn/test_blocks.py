"""Building blocks against computations by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

from scdrug.nn import (
    MLP,
    MaskedLinear,
    coral,
    dense_block,
    gradient_penalty,
    masked_bce,
    masked_mse,
    mmd,
    orthogonality,
    ranking_error,
)
from scdrug.nn._mlp import detach_state, relative_noise

NAN = float("nan")


@pytest.fixture(autouse=True)
def _own_random_state():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


def test_masked_connections_are_zero_in_weight_and_gradient_and_stay_so() -> None:
    mask = torch.rand(7, 5) < 0.4
    layer = MaskedLinear(mask)
    optimizer = torch.optim.AdamW(layer.parameters(), lr=0.1, weight_decay=0.1)
    for _ in range(5):
        optimizer.zero_grad()
        layer(torch.randn(11, 5)).square().sum().backward()
        assert (layer.weight.grad[~mask] == 0).all()
        assert (layer.weight.grad[mask] != 0).all()
        optimizer.step()
    assert (layer.weight[~mask] == 0).all()
    assert (layer.weight[mask] != 0).all()


def test_masked_linear_is_the_explicit_product_and_its_bias_is_free() -> None:
    layer = MaskedLinear(torch.tensor([[1, 0], [1, 1], [0, 0]]))
    with torch.no_grad():
        layer.weight[0, 1] = 5.0  # a weight that was tampered with has no effect
    x = torch.randn(4, 2)
    w, b = layer.weight, layer.bias
    expected = torch.stack([x[:, 0] * w[0, 0] + b[0], x @ w[1] + b[1], b[2].expand(4)], dim=1)
    torch.testing.assert_close(layer(x), expected)


def test_masked_linear_starts_within_the_published_bounds() -> None:
    layer = MaskedLinear(torch.ones(200, 16))
    assert layer.weight.abs().max() <= 0.25
    assert layer.weight.abs().max() > 0.24


@pytest.mark.parametrize("mask", [torch.ones(3), torch.full((2, 2), 0.5)])
def test_masks_that_are_no_masks_are_refused(mask) -> None:
    with pytest.raises(ValueError, match="zeros and ones"):
        MaskedLinear(mask)


def test_masked_mse_is_the_mean_over_what_was_measured() -> None:
    predicted = torch.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
    observed = torch.tensor([[2.0, NAN], [3.0, 1.0]])
    loss = masked_mse(predicted, observed)
    assert loss.item() == pytest.approx((1 + 0 + 9) / 3)
    loss.backward()
    torch.testing.assert_close(predicted.grad, torch.tensor([[-2.0, 0.0], [0.0, 6.0]]) / 3)


def test_weights_enter_the_mean() -> None:
    loss = masked_mse(
        torch.tensor([1.0, 2.0, 7.0]), torch.tensor([0.0, 0.0, NAN]), weight=torch.tensor([3.0, 1.0, 9.0])
    )
    assert float(loss) == pytest.approx((3 * 1 + 1 * 4) / 4)


@pytest.mark.parametrize("loss", [masked_mse, masked_bce])
def test_missing_labels_have_neither_value_nor_gradient(loss) -> None:
    predicted = torch.randn(6, 3, requires_grad=True)
    labels = torch.randint(0, 2, (6, 3)).float()
    labels[::2] = NAN
    full = loss(predicted, labels)
    full.backward()
    assert (predicted.grad[::2] == 0).all()
    assert torch.isfinite(predicted.grad).all()
    torch.testing.assert_close(full, loss(predicted[1::2], labels[1::2]))
    nothing = loss(predicted, torch.full((6, 3), NAN))
    assert nothing.item() == 0
    predicted.grad = None
    nothing.backward()
    assert (predicted.grad == 0).all()


def test_masked_bce_is_the_cross_entropy_of_the_labelled() -> None:
    logits, labels = torch.tensor([0.5, -1.0, 2.0]), torch.tensor([1.0, 0.0, NAN])
    p = [1 / (1 + math.exp(-0.5)), 1 / (1 + math.exp(1.0))]
    assert float(masked_bce(logits, labels)) == pytest.approx(-(math.log(p[0]) + math.log(1 - p[1])) / 2)
    weighted = masked_bce(logits, labels, pos_weight=torch.tensor(2.0))
    assert float(weighted) == pytest.approx(-(2 * math.log(p[0]) + math.log(1 - p[1])) / 2)


def test_orthogonality_is_the_mean_squared_product_of_normalised_codes() -> None:
    private, shared = torch.randn(9, 4), torch.randn(9, 4)
    p = private.numpy() / np.linalg.norm(private, axis=1, keepdims=True)
    s = shared.numpy() / np.linalg.norm(shared, axis=1, keepdims=True)
    assert float(orthogonality(private, shared)) == pytest.approx(float(((s.T @ p) ** 2).mean()), rel=1e-4)
    assert float(orthogonality(10 * private, shared)) == pytest.approx(float(orthogonality(private, shared)), rel=1e-4)


def test_orthogonal_codes_cost_nothing_and_lengths_get_no_gradient() -> None:
    private = torch.tensor([[1.0, 0.0], [1.0, 0.0], [1.0, 0.0], [1.0, 0.0]])
    shared = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
    assert float(orthogonality(private, shared)) == 0
    code = torch.randn(5, 3, requires_grad=True)
    other = torch.randn(5, 3)
    orthogonality(code, other).backward()
    with torch.no_grad():
        length = code.norm(dim=1, keepdim=True)
        unit = code / length
    free = unit.clone().requires_grad_(True)
    s = other / other.norm(dim=1, keepdim=True)
    (s.T @ free).square().mean().backward()
    torch.testing.assert_close(code.grad, free.grad / length, rtol=1e-3, atol=1e-6)


def test_mmd_is_the_explicit_double_mean() -> None:
    x, y = torch.randn(5, 2), torch.randn(4, 2) + 1
    both = torch.cat([x, y])
    squared = np.array([[float(((a - b) ** 2).sum()) for b in both] for a in both])
    scale = np.sort(squared[~np.eye(9, dtype=bool)])[(72 - 1) // 2]
    k = (np.exp(-squared / scale) + np.exp(-squared / (2 * scale))) / 2
    expected = k[:5, :5].mean() + k[5:, 5:].mean() - 2 * k[:5, 5:].mean()
    assert float(mmd(x, y, widths=(1.0, 2.0))) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("n", [20, 70])
def test_mmd_sees_a_shift_and_nothing_in_equal_samples(n: int) -> None:
    x = torch.randn(n, 3)
    assert float(mmd(x, x)) == pytest.approx(0, abs=1e-6)
    assert float(mmd(x, torch.randn(n, 3) + 2)) > 10 * abs(float(mmd(x, torch.randn(n, 3))))


def test_coral_is_the_distance_of_covariances() -> None:
    x, y = torch.randn(30, 3), torch.randn(20, 3) * 2
    difference = np.cov(x.numpy().T) - np.cov(y.numpy().T)
    assert float(coral(x, y)) == pytest.approx((difference**2).sum() / 36, rel=1e-4)
    assert float(coral(x, x + 5)) == pytest.approx(0, abs=1e-8), "it does not see means"


def test_gradient_penalty_is_zero_for_a_critic_of_slope_one() -> None:
    critic = nn.Linear(2, 1)
    with torch.no_grad():
        critic.weight.copy_(torch.tensor([[0.6, 0.8]]))
    assert gradient_penalty(critic, torch.randn(5, 2), torch.randn(7, 2)).item() == pytest.approx(0, abs=1e-10)
    with torch.no_grad():
        critic.weight.mul_(3)
    assert gradient_penalty(critic, torch.randn(5, 2), torch.randn(7, 2)).item() == pytest.approx(4, rel=1e-4)


def test_blocks_are_built_in_the_order_that_is_asked_for() -> None:
    names = [type(layer).__name__ for layer in dense_block(3, 2, norm="batch", norm_first=True, dropout=0.5)]
    assert names == ["Linear", "BatchNorm1d", "ReLU", "Dropout"]
    assert [type(layer).__name__ for layer in dense_block(3, 2, activation=None)] == ["Linear"]
    with pytest.raises(ValueError, match="'layer'"):
        dense_block(3, 2, norm="group")
    with pytest.raises(ValueError, match="one a hidden layer"):
        MLP(3, [4, 4], 1, dropout=[0.1])


def _size(network: torch.nn.Module) -> int:
    return sum(weights.numel() for weights in network.parameters())


def test_parameters_are_counted_and_states_are_copied() -> None:
    network = MLP(10, [8, 4], 2)
    assert _size(network) == 10 * 8 + 8 + 8 * 4 + 4 + 4 * 2 + 2
    assert _size(MLP(10, [], 2)) == 22
    state = detach_state(network)
    with torch.no_grad():
        network.output.bias.add_(1)
    assert not torch.equal(state["output.bias"], network.output.bias)


def test_relative_noise_is_in_proportion_to_the_value() -> None:
    x = torch.tensor([0.0, 1.0, 10.0]).expand(4000, 3)
    spread = relative_noise(x, 0.1).std(dim=0)
    torch.testing.assert_close(spread, torch.tensor([0.0, 0.1, 1.0]), rtol=0.1, atol=1e-6)
    assert relative_noise(x, 0.0) is x


def test_ranking_error_counts_pairs_in_the_wrong_order() -> None:
    scores, labels = torch.tensor([3.0, 1.0, 2.0, 2.0, 7.0]), torch.tensor([1.0, 0.0, 1.0, 0.0, NAN])
    # of (3, 1), (3, 2), (2, 1), (2, 2) the last is a tie
    assert ranking_error(scores, labels).item() == pytest.approx(0.5 / 4)
    assert ranking_error(scores, 1 - labels).item() == pytest.approx(3.5 / 4)
    assert ranking_error(scores, torch.ones(5)).item() == 0.5
