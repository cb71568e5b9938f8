"""Integrated gradients: known answers of small functions, and rows that do not depend on each other."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch

from scdrug.model._explain import Explained
from scdrug.tl._attribution import Totals, attribute_rows, baseline_output, feature_names, integrate_gradients

captum = pytest.importorskip("captum")


def small_network(seed: int = 0) -> torch.nn.Sequential:
    torch.manual_seed(seed)
    return torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Tanh(), torch.nn.Linear(8, 6), torch.nn.ReLU(),
                               torch.nn.Linear(6, 1))  # fmt: skip


def test_a_linear_function_is_attributed_weight_times_distance() -> None:
    rng = np.random.default_rng(0)
    weight, start, rows = rng.normal(size=4), rng.normal(size=4), rng.normal(size=(7, 4))
    found = integrate_gradients(lambda x: x @ torch.tensor(weight, dtype=torch.float32) + 3, rows, start, n_steps=3)
    np.testing.assert_allclose(found.values, weight * (rows - start), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found.expected, (rows - start) @ weight, rtol=1e-4, atol=1e-5)
    assert found.n_steps == 3


def test_a_product_is_shared_in_equal_parts() -> None:
    found = integrate_gradients(lambda x: x[:, 0] * x[:, 1], np.array([[2.0, 3.0]]), np.zeros(2))
    np.testing.assert_allclose(found.values, [[3.0, 3.0]], rtol=1e-5)


def test_a_small_network_agrees_with_a_fine_sum_of_its_own_gradients() -> None:
    network, rng = small_network(), np.random.default_rng(1)
    rows, start = rng.normal(size=(5, 4)).astype(np.float32), rng.normal(size=4).astype(np.float32)
    found = integrate_gradients(lambda x: network(x)[:, 0], rows, start)
    steps = (torch.arange(4000) + 0.5)[:, None] / 4000
    for row, values in zip(rows, found.values, strict=True):
        path = (torch.tensor(start) + steps * torch.tensor(row - start)).requires_grad_()
        (gradient,) = torch.autograd.grad(network(path).sum(), path)
        np.testing.assert_allclose(values, (row - start) * gradient.mean(dim=0).numpy(), atol=5e-3)
    with torch.no_grad():
        change = network(torch.tensor(rows))[:, 0] - network(torch.tensor(start)[None])[0, 0]
    np.testing.assert_allclose(found.values.sum(axis=1), change.numpy(), atol=0.01)
    assert found.error.max() <= 0.01


def test_hard_rows_take_more_steps_and_leave_easy_ones_alone() -> None:
    def steep(x: torch.Tensor) -> torch.Tensor:
        return torch.sigmoid(200 * (x[:, 0] - 0.503))

    rows, start = np.array([[0.1], [1.0], [0.2]]), np.zeros(1)
    together = integrate_gradients(steep, rows, start, n_steps=2)
    alone = integrate_gradients(steep, rows[[0, 2]], start, n_steps=2)
    assert together.n_steps > 2 and alone.n_steps == 2
    np.testing.assert_array_equal(together.values[[0, 2]], alone.values)
    assert together.error.max() <= 0.01


def test_what_does_not_add_up_is_reported() -> None:
    found = integrate_gradients(
        lambda x: torch.sigmoid(500 * (x[:, 0] - 0.503)), np.ones((1, 1)), np.zeros(1), n_steps=2, max_steps=3
    )
    assert found.error[0] > 0.01
    np.testing.assert_allclose(found.error[0], abs(found.values.sum() - found.expected[0]), rtol=1e-5)


def test_without_captum_the_extra_is_named(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "captum.attr", None)
    with pytest.raises(ImportError, match=r"scdrug\[explain\]"):
        integrate_gradients(lambda x: x[:, 0], np.ones((1, 1)), np.zeros(1))


def parts(*, positions: np.ndarray | None, linear: bool = True, sign: float = -1.0) -> tuple[Explained, np.ndarray]:
    """A network of genes 1 and 3 (or of two codes of them), beside a linear map of all four."""
    rng = np.random.default_rng(2)
    weights = rng.normal(size=(4, 2)).astype(np.float32)
    mix = torch.tensor(rng.normal(size=(2, 2)), dtype=torch.float32)
    return Explained(
        names=["a", "b"], inputs=lambda rows: rows[:, [1, 3]], network=lambda z, drug: torch.tanh(z @ mix)[:, drug],
        start=np.zeros(2, dtype=np.float32), positions=positions,
        linear=(weights, np.array([1.0, 2.0])) if linear else None, panel_start=np.full(4, 0.5, dtype=np.float32),
        scale=np.ones(2), sign=sign, unit="", network_share=0.5,
    ), rng.normal(size=(6, 4)).astype(np.float32)  # fmt: skip


def output(one: Explained, rows: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        out = np.stack([one.network(torch.tensor(one.inputs(rows)), drug).numpy() for drug in range(2)], axis=1)
    return out if one.linear is None else out + rows @ one.linear[0] + one.linear[1]


@pytest.mark.parametrize("sign", [1.0, -1.0])
@pytest.mark.parametrize("linear", [True, False])
def test_contributions_and_baseline_add_up_to_the_output(linear: bool, sign: float) -> None:
    for positions in (None, np.array([1, 3])):
        one, rows = parts(positions=positions, linear=linear, sign=sign)
        names = feature_names(one, list("wxyz"))
        for drug, found in enumerate(attribute_rows(one, rows, n_steps=50)):
            assert found.values.shape == (6, len(names))
            total = baseline_output(one)[drug] + sign * found.values.sum(axis=1)
            np.testing.assert_allclose(total, output(one, rows)[:, drug], atol=0.01)


def test_the_linear_path_is_one_column_beside_codes_and_part_of_each_gene() -> None:
    code, rows = parts(positions=None)
    gene, _ = parts(positions=np.array([1, 3]))
    assert feature_names(code, list("wxyz")) == ["a", "b", "linear path"]
    assert feature_names(gene, list("wxyz")) == list("wxyz")
    by_code, by_gene = attribute_rows(code, rows, n_steps=20)[0], attribute_rows(gene, rows, n_steps=20)[0]
    linear = -(rows - 0.5) * code.linear[0][:, 0]
    np.testing.assert_allclose(by_code.values[:, 2], linear.sum(axis=1), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(by_gene.values[:, [0, 2]], linear[:, [0, 2]], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(
        by_gene.values[:, [1, 3]], linear[:, [1, 3]] + by_code.values[:, :2], rtol=1e-3, atol=1e-4
    )


def test_totals_of_blocks_are_those_of_all_cells() -> None:
    rng = np.random.default_rng(3)
    values = [rng.normal(size=(20, 5)).astype(np.float32) for _ in range(3)]
    whole, blocks = Totals(3, 5), Totals(3, 5)
    mean = whole.add(values)
    for rows in (slice(0, 7), slice(7, 20)):
        blocks.add([part[rows] for part in values])
    table = whole.table()
    np.testing.assert_allclose(table.select_dtypes("number"), blocks.table().select_dtypes("number"), rtol=1e-6)
    np.testing.assert_allclose(table["importance"], np.abs(mean).mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(table["towards_sensitive"], mean.mean(axis=0), rtol=1e-4, atol=1e-7)
    by_model = np.array([part.mean(axis=0) for part in values])
    np.testing.assert_allclose(table["sign_agreement"], (np.sign(by_model) == np.sign(mean.mean(axis=0))).mean(axis=0))
    assert ((table["supports"] == "sensitive") == (mean.mean(axis=0) >= 0)).all()


def test_stability_is_the_rank_correlation_of_importances() -> None:
    totals = Totals(3, 4)
    totals.by_model_absolute[:] = [[1, 2, 3, 4], [10, 20, 30, 40], [0, 0, 0, 0]]
    assert totals.stability(np.ones(4, dtype=bool)) == pytest.approx(1.0)  # the third model orders nothing
    totals.by_model_absolute[2] = [4, 3, 2, 1]
    assert totals.stability(np.ones(4, dtype=bool)) == pytest.approx((1 - 1 - 1) / 3)
    assert np.isnan(Totals(1, 4).stability(np.ones(4, dtype=bool)))
