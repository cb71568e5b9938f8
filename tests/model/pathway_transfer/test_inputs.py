"""Genes, nodes, targets and the linear path, against computations by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

import scdrug
from scdrug.model import PathwayTransfer
from scdrug.model.pathway_transfer._explain import identify_nodes
from scdrug.model.pathway_transfer._inputs import (
    check_targets,
    classification_targets,
    make_nodes,
    regression_targets,
    select_genes,
)
from scdrug.model.prior import LinearPrior, complete_response


def test_genes_are_the_union_of_what_varies_in_either_domain() -> None:
    rng = np.random.default_rng(0)
    lines = rng.normal(size=(50, 6)) * [1, 5, 1, 1, 1, 1]
    cells = rng.normal(size=(50, 6)) * [1, 1, 1, 1, 5, 1]
    assert select_genes(lines, cells, 1).tolist() == [1, 4]
    assert select_genes(lines, None, 1).tolist() == [1]
    assert select_genes(lines, cells, 0).tolist() == list(range(6)) == select_genes(lines, cells, 99).tolist()


def test_nodes_are_restricted_to_the_genes_that_are_read_and_free_nodes_reach_all() -> None:
    pathways = sp.csr_matrix(np.array([[1, 0, 1], [1, 1, 0], [0, 1, 0], [1, 1, 0]], dtype=np.float32))
    nodes = make_nodes(pathways, ["a", "b", "c"], np.array([0, 1, 3]), min_genes=2, strictly=False, n_free=2)
    assert nodes.names == ["a", "b", "free 1", "free 2"]
    np.testing.assert_array_equal(nodes.mask, [[1, 0, 1, 1], [1, 1, 1, 1], [1, 1, 1, 1]])
    strict = make_nodes(pathways, ["a", "b", "c"], np.array([0, 1, 3]), min_genes=2, strictly=True, n_free=0)
    assert strict.names == ["a"]
    with pytest.raises(ValueError, match="the fullest has 3"):
        make_nodes(pathways, ["a", "b", "c"], np.array([0, 1, 3]), min_genes=4, strictly=False, n_free=2)


def test_regression_targets_are_standard_scores_of_the_training_responses() -> None:
    train = np.array([[1.0, 5.0], [3.0, np.nan], [np.nan, 7.0]])
    validation = np.array([[np.nan, np.nan], [np.nan, 10.0], [5.0, np.nan]])
    targets = regression_targets(train, validation)
    np.testing.assert_allclose(targets.train, [[-1, -1], [1, np.nan], [np.nan, 1]])
    np.testing.assert_allclose(targets.validation, [[np.nan, np.nan], [np.nan, 4], [3, np.nan]])
    np.testing.assert_allclose([targets.mean, targets.sd], [[2, 6], [1, 1]])


@pytest.mark.parametrize("lower", [True, False])
def test_labels_have_thresholds_of_training_lines_alone(lower: bool) -> None:
    values = np.arange(20.0) if lower else -np.arange(20.0)
    train, validation = values.copy(), np.full(20, np.nan)
    train[[0, 10, 19]] = np.nan
    validation[[0, 10, 19]] = values[[0, 10, 19]]
    targets = classification_targets(
        train[:, None], validation[:, None], method="extreme", fraction=0.3, lower_is_sensitive=lower
    )
    known = values[np.isfinite(train)] if lower else -values[np.isfinite(train)]
    low, high = np.quantile(known, [0.3, 0.7])
    oriented = np.arange(20.0)
    expected = np.where(oriented < low, 1.0, np.where(oriented >= high, 0.0, np.nan))
    np.testing.assert_array_equal(targets.train[:, 0], np.where(np.isfinite(train), expected, np.nan))
    np.testing.assert_array_equal(targets.validation[[0, 10, 19], 0], [1, np.nan, 0])


def test_labels_that_are_given_are_taken_as_they_are() -> None:
    train = np.array([[1.0], [0.0], [np.nan]])
    targets = classification_targets(train, train * np.nan, method="extreme", fraction=0.3, lower_is_sensitive=True)
    np.testing.assert_array_equal(targets.train, train)


def test_drugs_that_cannot_be_learned_are_named() -> None:
    rng = np.random.default_rng(0)
    train = rng.normal(size=(30, 3))
    train[5:, 1] = np.nan
    drugs = pd.Index(["a", "b", "c"])
    targets = regression_targets(train, train * np.nan)
    with pytest.warns(UserWarning, match="fewer than 10 lines to train on, .* 'b'"):
        check_targets(targets, drugs, target="response")
    with pytest.raises(ValueError, match="the most is 5"):
        check_targets(
            regression_targets(train[:5], train[:5] * np.nan),
            drugs,
            target="response",
        )
    ones = np.ones((30, 3))
    one_class = classification_targets(ones, ones * np.nan, method="extreme", fraction=0.3, lower_is_sensitive=True)
    with pytest.raises(ValueError, match="3 have lines of one class only"):
        check_targets(one_class, drugs, target="sensitivity")


def test_the_linear_prior_of_few_drugs_is_ordinary_ridge_regression() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(40, 6)), rng.normal(size=(40, 2))
    path = LinearPrior.fit(x, y, ridge=0.5)
    z = (x - x.mean(0)) / x.std(0)
    kernel = z @ z.T
    scale = np.trace(kernel) / 40
    for drug in range(2):
        weights = np.linalg.solve(z.T @ z + 0.5 * scale * np.eye(6), z.T @ (y[:, drug] - y[:, drug].mean()))
        expected = z @ weights + y[:, drug].mean()
        np.testing.assert_allclose(x @ path.weights[:, drug] + path.intercept[drug], expected, atol=1e-4)


def test_the_linear_prior_of_many_drugs_is_the_kernel_ridge_of_completed_responses() -> None:
    reference = scdrug.datasets.toy()
    response = reference.obsm["response"].to_numpy()
    assert np.isnan(response).any()
    twice = np.hstack([response, response])  # as many drugs as completion needs
    x = np.asarray(reference.X)
    path = LinearPrior.fit(x, twice, ridge=0.5)
    z = (x - x.mean(axis=0)) / x.std(axis=0)
    target = complete_response(twice).fitted
    weights = np.linalg.solve(z.T @ z + 0.5 * z.shape[1] * np.eye(z.shape[1]), z.T @ (target - target.mean(axis=0)))
    np.testing.assert_allclose(x @ path.weights + path.intercept, z @ weights + target.mean(axis=0), atol=1e-3)


def test_a_node_owns_what_is_lost_without_it() -> None:
    rng = np.random.default_rng(0)
    mask = np.array([[1, 0, 1], [1, 0, 1], [0, 1, 1], [0, 1, 1]], dtype=bool)
    code, weights = rng.normal(size=(30, 3)), rng.normal(size=(4, 3)) * mask
    code -= code.mean(axis=0)
    x = code @ weights.T + 0.1 * rng.normal(size=(30, 4))
    table = identify_nodes(x, code @ weights.T, code, weights, mask)
    for node in range(3):
        genes = mask[:, node]
        total = ((x - x.mean(0)) ** 2)[:, genes].sum()
        full = ((x - code @ weights.T) ** 2)[:, genes].sum()
        others = [k for k in range(3) if k != node]
        without = ((x - code[:, others] @ weights[:, others].T) ** 2)[:, genes].sum()
        assert table.loc[node, "r2"] == pytest.approx(1 - full / total)
        assert table.loc[node, "own_r2"] == pytest.approx((without - full) / total)
    assert table["n_genes"].tolist() == [2, 2, 4]


def settings(reference, **options):
    adata = reference.copy()
    PathwayTransfer.setup_anndata(adata)
    return PathwayTransfer(adata, **options).settings


def test_presets_are_those_of_the_paper_and_of_the_released_code(reference) -> None:
    paper, released = settings(reference, preset="he2025"), settings(reference, preset="he2025_released")
    assert (paper.w_dense, paper.w_sparse, paper.w_diff) == (1.0, 0.1, 0.1)
    assert (released.w_dense, released.w_sparse, released.w_diff) == (0.01, 0.1, 0.01)
    assert (paper.schedule, released.schedule) == ("two_phase", "joint")
    assert (paper.n_hidden, paper.n_head, paper.n_free, paper.norm) == (512, (128, 32), 5, "batch")
    assert (paper.n_top_genes, released.n_top_genes, paper.min_genes, released.min_genes) == (2500, 3500, 10, 4)
    assert paper.strictly
    assert (paper.batch_size, paper.max_epochs, paper.patience, paper.lr) == (256, 300, 5, 1e-3)
    assert (released.monitor, released.warm_up, released.min_delta) == ("train_loss", 100, 1e-4)
    assert settings(reference, preset="he2025", dropout=0.2, target=None).dropout == 0.2


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("Cisplatin", (2500, 10)),
        ("Paclitaxel", (3000, 10)),
        ("PLX-4720", (2500, 2)),
        ("Lapatinib", (2500, 4)),
        ("AZD7762", (2500, 10)),
    ],
)
def test_the_preset_of_the_paper_has_values_for_single_drugs(reference, name, values) -> None:
    one = reference.copy()
    drug = one.obsm["response"].columns[:1]
    one.obsm["response"], one.uns["drugs"] = one.obsm["response"][drug], one.uns["drugs"].loc[drug].assign(name=name)
    found = settings(one, preset="he2025")
    assert (found.n_top_genes, found.min_genes) == values
    assert settings(one, preset="he2025", min_genes=7).min_genes == 7
    assert settings(one).min_genes == 5
    assert settings(one, preset="he2025_released").min_genes == 4


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"variant": "ful"}, "Did you mean 'full'"),
        ({"dropout": 1.0}, "dropout"),
        ({"w_diff": -1}, "w_diff"),
        ({"align": "mmd", "variant": "base"}, "'base'"),
        ({"target": "sensitivity", "prior": "linear"}, "predicts responses, not labels"),
        ({"prior": "linear", "linear_ridge": 0.0}, "needs a `linear_ridge` above 0"),
        ({"prior": "process"}, "`prior` must be"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(reference, given, message) -> None:
    with pytest.raises(ValueError, match=message):
        settings(reference, **given)
