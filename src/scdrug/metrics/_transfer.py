"""How well responses predicted for single cells agree with the measured response of the line they come from."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .._arguments import checked
from .._former import formerly
from ._arrays import correlation, matrices
from ._regression import center_drugs


class TransferScore(NamedTuple):
    """Agreement of predicted with measured response."""

    #: Correlation over all pairs of a line and a drug, each drug in units of its spread over the training lines.
    flat: float
    #: The same after taking each drug's mean over the lines out: which line responds more.
    contrast: float


@checked
@formerly(("train_mean", "train_sd"))
def transfer_correlation(
    predicted: np.ndarray, observed: np.ndarray, *, train_mean: np.ndarray, train_sd: np.ndarray
) -> TransferScore:
    """Correlate predicted with measured response over lines and drugs, both as z scores of the training lines.

    Parameters
    ----------
    predicted
        Lines × drugs, in the unit of the response; the mean over the cells of a line where cells were predicted.
    observed
        Measured response of the lines, in the same unit, NaN where not measured.
    train_mean, train_sd
        Mean and standard deviation of each drug over the training lines, which must not contain the lines scored.

    Returns
    -------
    ``flat``, the Pearson correlation over all measured pairs, and ``contrast``, the same after subtracting each drug's
    mean over the lines in which it was measured. A drug measured in a single line counts in ``flat`` only.

    Raises
    ------
    ValueError
        If shapes differ, nothing was observed, a prediction is missing, or a standard deviation is not positive.

    Notes
    -----
    With few lines both numbers have a wide error; resample lines and drugs with
    :func:`scdrug.metrics.bootstrap_matrix_interval`.

    Examples
    --------
    >>> import numpy as np
    >>> observed = np.array([[0.0, 1.0], [2.0, 4.0]])
    >>> score = transfer_correlation(observed + 1, observed, train_mean=np.zeros(2), train_sd=np.ones(2))
    >>> round(score.flat, 3), round(score.contrast, 3)
    (1.0, 1.0)
    """
    predicted, observed = matrices(predicted, observed)
    known = ~np.isnan(observed)
    mean, spread = np.asarray(train_mean, dtype=np.float64), np.asarray(train_sd, dtype=np.float64)
    for name, values in (("train_mean", mean), ("train_sd", spread)):
        if values.shape != (observed.shape[1],):
            raise ValueError(
                f"`{name}` must hold one value for each of {observed.shape[1]} drugs; found {values.shape}."
            )
    needed = known.any(axis=0)
    if not (np.isfinite(mean[needed]).all() and np.isfinite(spread[needed]).all() and (spread[needed] > 0).all()):
        raise ValueError(
            "`train_mean` and `train_sd` must be finite, and the latter positive, for every drug that was observed. "
            "Leave drugs out that were not measured in at least two different training lines."
        )
    truth = center_drugs(observed[:, needed], mean[needed]) / spread[needed]
    guess = center_drugs(np.where(np.isnan(truth), np.nan, predicted[:, needed]), mean[needed]) / spread[needed]
    known = ~np.isnan(truth)
    compared = known & (known.sum(axis=0) > 1)
    flat = correlation(guess[known], truth[known])
    return TransferScore(flat, correlation(center_drugs(guess)[compared], center_drugs(truth)[compared]))
