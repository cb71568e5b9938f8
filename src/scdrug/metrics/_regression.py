"""How well a continuous response is predicted: pooled, per drug, and per line."""

from __future__ import annotations

from typing import Literal

import numpy as np

from .._arguments import checked
from .._validate import check_choice
from ._arrays import ROUNDING, by_column, correlation, correlations, matrices, mean_of, paired, rank_correlation

#: Fewer measured lines (or drugs) than this do not make a correlation.
MIN_COUNT = 3


@checked
def rmse(predicted: np.ndarray, observed: np.ndarray) -> float:
    """Root mean squared error over all observed entries.

    Parameters
    ----------
    predicted
        Predicted response, any shape.
    observed
        Measured response in the same shape and unit, NaN where not measured.

    Returns
    -------
    Error in the unit of the response; lower is better.

    Raises
    ------
    ValueError
        If shapes differ, nothing was observed, or a prediction is missing where there is an observation.

    Examples
    --------
    >>> import numpy as np
    >>> rmse(np.array([1.0, 2.0, 9.0]), np.array([0.0, 1.0, np.nan]))
    1.0
    """
    predicted, observed = paired(predicted, observed)
    known = ~np.isnan(observed)
    return float(np.sqrt(np.mean((predicted[known] - observed[known]) ** 2)))


@checked
def pearson(predicted: np.ndarray, observed: np.ndarray) -> float:
    """Pearson correlation over all observed entries together.

    On a matrix lines × drugs this is dominated by which drug it is: a drug mean alone reaches 0.85 on GDSC. Read it
    next to :func:`per_drug_pearson`.

    Parameters
    ----------
    predicted, observed
        As for :func:`rmse`.

    Returns
    -------
    Correlation; zero for constant predictions, NaN for constant observations.

    Raises
    ------
    ValueError
        As for :func:`rmse`.

    Examples
    --------
    >>> import numpy as np
    >>> round(pearson(np.array([1.0, 2.0, 3.0]), np.array([2.0, 4.0, np.nan])), 6)
    1.0
    """
    predicted, observed = paired(predicted, observed)
    known = ~np.isnan(observed)
    return correlation(predicted[known], observed[known])


@checked
def spearman(predicted: np.ndarray, observed: np.ndarray) -> float:
    """Spearman rank correlation over all observed entries together.

    Parameters
    ----------
    predicted, observed
        As for :func:`rmse`.

    Returns
    -------
    Correlation; zero for constant predictions, NaN for constant observations.

    Raises
    ------
    ValueError
        As for :func:`rmse`.

    Examples
    --------
    >>> import numpy as np
    >>> round(spearman(np.array([1.0, 2.0, 30.0]), np.array([0.1, 0.2, 0.3])), 6)
    1.0
    """
    predicted, observed = paired(predicted, observed)
    known = ~np.isnan(observed)
    return rank_correlation(predicted[known], observed[known])


@checked
def drug_correlations(
    predicted: np.ndarray,
    observed: np.ndarray,
    *,
    method: Literal["pearson", "spearman"] = "pearson",
    min_lines: int = MIN_COUNT,
) -> np.ndarray:
    """Correlation over lines, one per drug.

    Parameters
    ----------
    predicted, observed
        Lines × drugs, NaN in `observed` where not measured.
    method
        ``"pearson"`` or ``"spearman"``.
    min_lines
        Drugs measured in fewer lines get NaN.

    Returns
    -------
    One correlation per drug; zero where predictions are constant, NaN where observations are.

    Raises
    ------
    ValueError
        As for :func:`rmse`, or if the arrays are no matrices.

    Examples
    --------
    >>> import numpy as np
    >>> observed = np.array([[1.0, 3.0], [2.0, 2.0], [3.0, 1.0]])
    >>> drug_correlations(observed[:, [0, 0]], observed).round(6)
    array([ 1., -1.])
    """
    check_choice("method", method, ("pearson", "spearman"))
    predicted, observed = matrices(predicted, observed)
    if method == "pearson":
        return correlations(predicted, observed, min_count=min_lines)
    return by_column(rank_correlation, predicted, observed, min_count=min_lines)


@checked
def per_drug_pearson(predicted: np.ndarray, observed: np.ndarray) -> float:
    """Mean over drugs of the Pearson correlation over lines: can the model tell which lines a drug kills?

    Parameters
    ----------
    predicted, observed
        Lines × drugs, NaN in `observed` where not measured.

    Returns
    -------
    Mean over the drugs measured in at least three lines; a drug mean scores zero. NaN if there is no such drug.

    Raises
    ------
    ValueError
        As for :func:`drug_correlations`.

    Examples
    --------
    >>> import numpy as np
    >>> observed = np.array([[1.0, 3.0], [2.0, 2.0], [3.0, 1.0]])
    >>> round(per_drug_pearson(observed[:, [0, 0]], observed), 6)
    0.0
    """
    return mean_of(drug_correlations(predicted, observed))


@checked
def per_drug_spearman(predicted: np.ndarray, observed: np.ndarray) -> float:
    """Mean over drugs of the Spearman correlation over lines.

    Parameters
    ----------
    predicted, observed
        Lines × drugs, NaN in `observed` where not measured.

    Returns
    -------
    Mean over the drugs measured in at least three lines; NaN if there is none.

    Raises
    ------
    ValueError
        As for :func:`drug_correlations`.

    Examples
    --------
    >>> import numpy as np
    >>> observed = np.array([[1.0], [2.0], [3.0]])
    >>> round(per_drug_spearman(observed**3, observed), 6)
    1.0
    """
    return mean_of(drug_correlations(predicted, observed, method="spearman"))


@checked
def per_line_pearson_centered(
    predicted: np.ndarray, observed: np.ndarray, drug_mean: np.ndarray | None = None
) -> float:
    """Mean over lines of the correlation over drugs, after taking each drug's mean out.

    Asks whether the model can tell which drugs are unusually strong for a line; potency, which all lines share, does
    not count.

    Parameters
    ----------
    predicted, observed
        Lines × drugs, NaN in `observed` where not measured.
    drug_mean
        Mean response of each drug in the training lines, taken from predictions and observations alike. If omitted,
        both are centred by their own mean over the lines in which the drug was observed, as is right for new drugs.

    Returns
    -------
    Mean over the lines in which at least three drugs were measured; a drug mean scores zero. NaN if there is none.

    Raises
    ------
    ValueError
        As for :func:`drug_correlations`, or if `drug_mean` has another length.

    Examples
    --------
    >>> import numpy as np
    >>> observed = np.array([[1.0, 9.0, 2.0], [3.0, 8.0, 1.0]])
    >>> round(per_line_pearson_centered(observed, observed), 6)
    1.0
    """
    predicted, observed = matrices(predicted, observed)
    if drug_mean is None:
        predicted, observed = center_drugs(np.where(np.isnan(observed), np.nan, predicted)), center_drugs(observed)
    else:
        drug_mean = _check_drug_mean(drug_mean, observed)
        predicted, observed = center_drugs(predicted, drug_mean), center_drugs(observed, drug_mean)
    return mean_of(correlations(predicted.T, observed.T, min_count=MIN_COUNT))


@checked
def skill(predicted: np.ndarray, observed: np.ndarray, drug_mean: np.ndarray) -> float:
    """Share of the drug mean's error that the model removes, ``1 − RMSE / RMSE of the drug mean``.

    Parameters
    ----------
    predicted, observed
        Lines × drugs, NaN in `observed` where not measured.
    drug_mean
        Mean response of each drug in the training lines; for drugs without training data the mean over all drugs.

    Returns
    -------
    One is perfect, zero as good as the drug mean, negative worse than it.

    Raises
    ------
    ValueError
        As for :func:`drug_correlations`, if `drug_mean` has another length, or if the drug mean is already exact.

    Examples
    --------
    >>> import numpy as np
    >>> observed = np.array([[0.0, 4.0], [2.0, 6.0]])
    >>> skill(observed + 0.5, observed, drug_mean=np.array([1.0, 5.0]))
    0.5
    """
    predicted, observed = matrices(predicted, observed)
    drug_mean = _check_drug_mean(drug_mean, observed)
    reference = rmse(np.broadcast_to(drug_mean, observed.shape), observed)
    if reference == 0:
        raise ValueError("The drug mean predicts every observation exactly, so there is no error to remove.")
    return 1.0 - rmse(predicted, observed) / reference


def center_drugs(values: np.ndarray, mean: np.ndarray | None = None) -> np.ndarray:
    """Subtract each column's mean, over its known entries if none is given.

    What is left of a constant column is rounding, in single precision up to a millionth; it must not be correlated with
    anything, so it becomes zero.
    """
    known = ~np.isnan(values)
    if mean is None:
        mean = np.where(known, values, 0.0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
    centred = values - mean
    size = np.max(np.abs(values), axis=0, initial=0.0, where=known)
    return np.where(np.abs(centred) <= ROUNDING * size, 0.0, centred)


def _check_drug_mean(drug_mean: np.ndarray, observed: np.ndarray) -> np.ndarray:
    drug_mean = np.asarray(drug_mean, dtype=np.float64)
    if drug_mean.shape != (observed.shape[1],):
        raise ValueError(
            f"`drug_mean` must hold one value for each of {observed.shape[1]} drugs; found {drug_mean.shape}."
        )
    measured = ~np.isnan(observed).all(axis=0)
    if not np.isfinite(drug_mean[measured]).all():
        raise ValueError(
            "`drug_mean` is NaN or infinite for a drug that was observed. Give the mean over all drugs there."
        )
    return drug_mean
