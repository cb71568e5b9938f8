"""Similarity of expression profiles, fitted on training lines and applied to new ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np

from ..._validate import check_choice


class GeneScaler(NamedTuple):
    """Centre and scale per gene, as found in the training lines."""

    #: Genes.
    mean: np.ndarray
    #: Standard deviation per gene; one where a gene does not vary.
    scale: np.ndarray

    def transform(self, expression: np.ndarray, *, scaled: bool = True) -> np.ndarray:
        """Centre, and scale unless `scaled` is off; rows × genes."""
        centred = np.asarray(expression, dtype=np.float64) - self.mean
        return centred / self.scale if scaled else centred


class KernelSpec(NamedTuple):
    """One kernel on expression."""

    kind: Literal["linear", "rbf"] = "rbf"
    #: Per-gene z scores, or genes that are only centred.
    scaled: bool = True
    #: Factor on the squared distance in units of its median (``"rbf"`` only).
    width: float = 1.0
    #: Use only this many genes of highest variance; all if None.
    n_genes: int | None = None


class ExpressionKernel(NamedTuple):
    """What :func:`fit_kernel` found: it turns profiles into similarities to the training lines."""

    specs: tuple[KernelSpec, ...]
    scaler: GeneScaler
    #: Positions of the genes in order of falling variance.
    gene_order: np.ndarray
    #: Median squared distance between two training lines, one per spec; NaN for linear kernels.
    medians: tuple[float, ...]


#: Kernel of the plain recipe.
RBF = (KernelSpec(),)
#: Mean of five that is stronger than any one of them.
FIVE_KERNELS = (
    KernelSpec(scaled=True, width=1.0),
    KernelSpec(scaled=True, width=0.3),
    KernelSpec(scaled=False, width=1.0),
    KernelSpec(scaled=False, width=0.3),
    KernelSpec(scaled=True, width=0.3, n_genes=2000),
)
#: Kernels by name.
KERNELS = {"linear": (KernelSpec(kind="linear"),), "rbf": RBF, "mean": FIVE_KERNELS}


def fit_gene_scaler(expression: np.ndarray) -> GeneScaler:
    """Find mean and standard deviation of each gene over the training lines.

    Parameters
    ----------
    expression
        Training lines × genes, log scale.

    Returns
    -------
    The scaler; a gene that does not vary gets scale one, and so becomes zero.

    Raises
    ------
    ValueError
        If a value is missing or infinite.

    Examples
    --------
    >>> import numpy as np
    >>> fit_gene_scaler(np.array([[1.0, 5.0], [3.0, 5.0]])).scale
    array([1., 1.])
    """
    expression = np.asarray(expression)
    if expression.ndim != 2 or not np.isfinite(expression).all():
        raise ValueError(
            f"Expected a matrix of finite values, lines × genes; found shape {expression.shape} with NaN or infinite values."
        )
    mean = expression.mean(axis=0, dtype=np.float64)
    scale = expression.std(axis=0, dtype=np.float64)
    # A constant gene has a deviation of rounding size, not of zero.
    constant = scale <= 1e-7 * np.maximum(1.0, np.abs(mean))
    return GeneScaler(mean, np.where(constant, 1.0, scale))


def linear_kernel(a: np.ndarray, b: np.ndarray | None = None) -> np.ndarray:
    """Inner products per gene, ``a @ b.T / genes``.

    Parameters
    ----------
    a, b
        Rows × genes, per-gene z scores of the training lines; `b` is `a` if omitted.

    Returns
    -------
    Rows of `a` × rows of `b`; near one on the diagonal of the training lines.

    Examples
    --------
    >>> import numpy as np
    >>> linear_kernel(np.array([[1.0, -1.0]]), np.array([[1.0, -1.0], [1.0, 1.0]]))
    array([[1., 0.]])
    """
    b = a if b is None else b
    return a @ b.T / a.shape[1]


def squared_distances(a: np.ndarray, b: np.ndarray | None = None) -> np.ndarray:
    """Squared Euclidean distance between all rows of `a` and all rows of `b` (of `a` if omitted)."""
    same = b is None
    b = a if same else b
    distances = (a**2).sum(axis=1)[:, None] + (b**2).sum(axis=1)[None, :] - 2.0 * (a @ b.T)
    np.maximum(distances, 0.0, out=distances)
    if same:
        np.fill_diagonal(distances, 0.0)
    return distances


def median_distance(distances: np.ndarray) -> float:
    """Median over the pairs of different training lines of a matrix of squared distances."""
    pairs = distances[np.triu_indices(len(distances), 1)]
    median = float(np.median(pairs)) if pairs.size else 0.0
    if median <= 0:
        raise ValueError(
            f"The median distance between the {len(distances)} training lines is {median}. "
            "An RBF kernel needs at least two lines that differ."
        )
    return median


def rbf_kernel(distances: np.ndarray, *, median: float, width: float = 1.0) -> np.ndarray:
    """Gaussian similarity, ``exp(−width · d² / median)``.

    Parameters
    ----------
    distances
        Squared distances, as :func:`squared_distances` returns them.
    median
        Median squared distance between training lines, so that `width` has no unit.
    width
        Larger values make the kernel narrower.

    Returns
    -------
    Similarities between 0 and 1, in the shape of `distances`.

    Examples
    --------
    >>> import numpy as np
    >>> rbf_kernel(np.array([0.0, 4.0]), median=4.0).round(3)
    array([1.   , 0.368])
    """
    return np.exp(distances * (-width / median))


def fit_kernel(
    expression: np.ndarray, specs: Sequence[KernelSpec] = RBF, *, scaler: GeneScaler | None = None
) -> tuple[ExpressionKernel, np.ndarray]:
    """Fit a kernel, or the mean of several, on training lines.

    Parameters
    ----------
    expression
        Training lines × genes, log scale.
    specs
        The kernels of which the mean is taken.
    scaler
        Gene scaler to use; fitted on `expression` if omitted.

    Returns
    -------
    The fitted kernel, and its matrix between the training lines.

    Raises
    ------
    ValueError
        If values are missing, no kernel is named, or all lines are alike.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.random.default_rng(0).normal(size=(20, 50))
    >>> kernel, matrix = fit_kernel(x, FIVE_KERNELS)
    >>> matrix.shape
    (20, 20)
    >>> np.allclose(apply_kernel(kernel, x[:3], x), matrix[:3])
    True
    """
    specs = tuple(specs)
    if not specs:
        raise ValueError("`specs` is empty. Name at least one kernel.")
    for spec in specs:
        check_choice("kind", spec.kind, ("linear", "rbf"))
    scaler = fit_gene_scaler(expression) if scaler is None else scaler
    gene_order = np.argsort(-np.asarray(expression).std(axis=0, dtype=np.float64), kind="stable")
    unfitted = ExpressionKernel(specs, scaler, gene_order, (np.nan,) * len(specs))
    similarity = _similarities(unfitted, expression, None)
    medians = tuple(median_distance(similarity[_view(spec)]) if spec.kind == "rbf" else float("nan") for spec in specs)
    kernel = unfitted._replace(medians=medians)
    return kernel, _mean_kernel(kernel, similarity)


def apply_kernel(kernel: ExpressionKernel, expression: np.ndarray, training: np.ndarray) -> np.ndarray:
    """Similarity of new profiles to the training lines.

    Parameters
    ----------
    kernel
        What :func:`fit_kernel` returned.
    expression
        Rows × genes, on the scale of the training lines.
    training
        Training lines × genes, the matrix that the kernel was fitted on.

    Returns
    -------
    Rows × training lines.
    """
    return _mean_kernel(kernel, _similarities(kernel, expression, training))


def _view(spec: KernelSpec) -> tuple[str, bool, int | None]:
    """What kernels of different widths share, and so is computed once."""
    return spec.kind, spec.scaled, spec.n_genes


def _similarities(
    kernel: ExpressionKernel, expression: np.ndarray, training: np.ndarray | None
) -> dict[tuple[str, bool, int | None], np.ndarray]:
    """Inner products or squared distances, one matrix per view of the genes."""
    result: dict[tuple[str, bool, int | None], np.ndarray] = {}
    for spec in kernel.specs:
        view = _view(spec)
        if view in result:
            continue
        genes = slice(None) if spec.n_genes is None else kernel.gene_order[: spec.n_genes]
        a = kernel.scaler.transform(expression, scaled=spec.scaled)[:, genes]
        b = None if training is None else kernel.scaler.transform(training, scaled=spec.scaled)[:, genes]
        result[view] = linear_kernel(a, b) if spec.kind == "linear" else squared_distances(a, b)
    return result


def _mean_kernel(kernel: ExpressionKernel, similarity: dict[tuple[str, bool, int | None], np.ndarray]) -> np.ndarray:
    total = np.zeros(next(iter(similarity.values())).shape)
    for spec, median in zip(kernel.specs, kernel.medians, strict=True):
        values = similarity[_view(spec)]
        total += values if spec.kind == "linear" else rbf_kernel(values, median=median, width=spec.width)
    return total / len(kernel.specs)
