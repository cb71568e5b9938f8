from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics.pairwise import euclidean_distances
from sklearn.metrics.pairwise import rbf_kernel as reference_rbf

from scdrug.model.prior import (
    FIVE_KERNELS,
    RBF,
    KernelSpec,
    apply_kernel,
    fit_gene_scaler,
    fit_kernel,
    linear_kernel,
    median_distance,
    rbf_kernel,
    squared_distances,
)


@pytest.fixture
def expression() -> np.ndarray:
    rng = np.random.default_rng(0)
    return (rng.normal(size=(30, 50)) * rng.uniform(0.2, 3, size=50) + rng.normal(size=50)).astype(np.float32)


def test_distances_agree_with_scikit_learn(expression: np.ndarray) -> None:
    a, b = expression[:10].astype(float), expression[10:].astype(float)
    np.testing.assert_allclose(squared_distances(a, b), euclidean_distances(a, b, squared=True), atol=1e-9)
    np.testing.assert_array_equal(np.diag(squared_distances(a)), np.zeros(10))


def test_rbf_agrees_with_scikit_learn(expression: np.ndarray) -> None:
    x = expression.astype(float)
    distances = squared_distances(x)
    ours = rbf_kernel(distances, median=4.0, width=0.3)
    np.testing.assert_allclose(ours, reference_rbf(x, gamma=0.3 / 4.0), atol=1e-10)


def test_scaler_gives_zero_mean_and_unit_variance(expression: np.ndarray) -> None:
    z = fit_gene_scaler(expression).transform(expression)
    np.testing.assert_allclose(z.mean(axis=0), 0, atol=1e-6)
    np.testing.assert_allclose(z.std(axis=0), 1, atol=1e-6)
    assert np.diag(linear_kernel(z)).mean() == pytest.approx(1)


def test_constant_gene_says_nothing_instead_of_something_infinite() -> None:
    expression = np.full((6, 2), 0.1, dtype=np.float32)
    expression[:, 1] = np.arange(6)
    scaler = fit_gene_scaler(expression)
    new = np.array([[0.1, 3.0]], dtype=np.float32)
    assert abs(scaler.transform(new)[0, 0]) < 1e-6


@pytest.mark.parametrize("specs", [RBF, FIVE_KERNELS, (KernelSpec("linear"),), (KernelSpec("linear"), KernelSpec())])
def test_training_lines_as_new_ones_get_the_training_kernel(expression: np.ndarray, specs) -> None:
    kernel, matrix = fit_kernel(expression, specs)
    np.testing.assert_allclose(apply_kernel(kernel, expression, expression), matrix, atol=1e-7)
    np.testing.assert_allclose(matrix, matrix.T, atol=1e-12)
    assert np.linalg.eigvalsh(matrix)[0] > -1e-8


def test_mean_kernel_is_the_mean_of_its_parts(expression: np.ndarray) -> None:
    new = expression[:4] + 0.1
    both, matrix = fit_kernel(expression, FIVE_KERNELS)
    parts = [fit_kernel(expression, [spec]) for spec in FIVE_KERNELS]
    np.testing.assert_allclose(matrix, np.mean([part[1] for part in parts], axis=0))
    np.testing.assert_allclose(
        apply_kernel(both, new, expression), np.mean([apply_kernel(p[0], new, expression) for p in parts], axis=0)
    )


def test_new_samples_do_not_change_what_was_fitted(expression: np.ndarray) -> None:
    kernel, _ = fit_kernel(expression)
    one = apply_kernel(kernel, expression[:1] + 1, expression)
    many = apply_kernel(kernel, np.vstack([expression[:1] + 1, 100 * expression]), expression)
    np.testing.assert_allclose(many[:1], one, atol=1e-12)


def test_median_similarity_of_two_lines_is_fixed_by_the_width(expression: np.ndarray) -> None:
    for width in (0.3, 1.0):
        _, matrix = fit_kernel(expression, [KernelSpec(width=width)])
        assert np.median(matrix[np.triu_indices(30, 1)]) == pytest.approx(np.exp(-width), abs=0.01)


def test_unit_of_expression_does_not_matter(expression: np.ndarray) -> None:
    for specs in (RBF, FIVE_KERNELS):
        np.testing.assert_allclose(fit_kernel(expression * 7, specs)[1], fit_kernel(expression, specs)[1], atol=1e-5)


def test_gene_selection_takes_the_most_variable(expression: np.ndarray) -> None:
    flat = np.hstack([expression, np.random.default_rng(1).normal(scale=1e-3, size=(30, 5))])
    spec = KernelSpec(n_genes=50)
    np.testing.assert_allclose(fit_kernel(flat, [spec])[1], fit_kernel(expression)[1], atol=1e-7)


def test_bad_expression_is_refused(expression: np.ndarray) -> None:
    with pytest.raises(ValueError, match="NaN or infinite"):
        fit_kernel(np.where(expression > 1, np.nan, expression))
    with pytest.raises(ValueError, match="at least two lines that differ"):
        fit_kernel(np.ones((4, 3)))
    with pytest.raises(ValueError, match="empty"):
        fit_kernel(expression, [])
    with pytest.raises(ValueError, match="'linear', 'rbf'"):
        fit_kernel(expression, [KernelSpec("cosine")])
    with pytest.raises(ValueError, match="at least two lines"):
        median_distance(np.zeros((1, 1)))
