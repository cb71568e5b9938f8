"""Integrated gradients and what they say over cells and models. Arrays and tensors only."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

_BLOCK = 1024


class Attribution(NamedTuple):
    """Contributions of inputs to an output, row by row."""

    #: Rows × inputs.
    values: np.ndarray
    #: Largest difference between a row's sum of contributions and its output minus the baseline's, as a share of the mean
    #: size of the latter.
    error: float
    n_steps: int


def integrate_gradients(
    function: Callable[[Any], Any],
    inputs: np.ndarray,
    baseline: np.ndarray,
    *,
    n_steps: int = 50,
    max_error: float = 0.01,
    max_steps: int = 800,
) -> Attribution:
    """Integrated gradients with captum, with steps doubled until contributions add up.

    Parameters
    ----------
    function
        Maps a tensor (rows × inputs) to outputs (rows).
    inputs
        Rows × inputs.
    baseline
        Where the path to each row starts (inputs).
    n_steps
        Steps to begin with, of Gauss-Legendre quadrature.
    max_error
        Error of completeness that is good enough.
    max_steps
        Most steps.

    Returns
    -------
    Contributions, their error, and the steps that were taken.
    """
    import torch
    from captum.attr import IntegratedGradients

    method = IntegratedGradients(function, multiply_by_inputs=True)
    start = torch.from_numpy(np.asarray(baseline, dtype=np.float32))[None]
    rows = torch.from_numpy(np.ascontiguousarray(inputs, dtype=np.float32))
    with torch.no_grad():
        expected = (function(rows) - function(start)).double()
    size = max(float(expected.abs().mean()), 1e-12)
    while True:
        values = torch.cat(
            [
                method.attribute(block, start, n_steps=n_steps, internal_batch_size=_BLOCK * 16).detach()
                for block in rows.split(_BLOCK)
            ]
        )
        error = float((values.double().sum(dim=1) - expected).abs().max()) / size
        if error <= max_error or 2 * n_steps > max_steps:
            return Attribution(values.numpy(), error, n_steps)
        n_steps *= 2


def summarise(attributions: Sequence[np.ndarray], nodes: pd.DataFrame) -> tuple[np.ndarray, pd.DataFrame, float]:
    """Average contributions over models and rank the nodes.

    Parameters
    ----------
    attributions
        Cells × nodes, one of each model.
    nodes
        By node, at least `own_r2` and `identified`.

    Returns
    -------
    Mean contributions (cells × nodes), the ranking (see :func:`scdrug.tl.attribute_pathways`), and the mean rank correlation
    of importances between models, NaN for one.
    """
    mean = np.mean(attributions, axis=0)
    by_model = np.array([np.abs(values).mean(axis=0) for values in attributions])
    signs = np.array([np.sign(values.mean(axis=0)) for values in attributions])
    sensitive = mean.mean(axis=0) >= 0
    ranking = pd.DataFrame(
        {
            "importance": np.abs(mean).mean(axis=0),
            "mean": mean.mean(axis=0),
            "supports": np.where(sensitive, "sensitive", "resistant"),
            "consistency": np.where(sensitive, (mean > 0).mean(axis=0), (mean < 0).mean(axis=0)),
            "own_r2": nodes["own_r2"].to_numpy(),
            "identified": nodes["identified"].to_numpy(),
        },
        index=pd.Index(nodes.index, name="pathway"),
    )
    stability = float("nan")
    if len(attributions) > 1:
        ranking["sd"] = by_model.std(axis=0, ddof=1)
        ranking["sign_agreement"] = np.abs(signs.mean(axis=0))
        ranks = pd.DataFrame(by_model.T).rank()
        correlation = ranks.corr().to_numpy()
        stability = float(correlation[np.triu_indices(len(attributions), 1)].mean())
    return mean, ranking.sort_values("importance", ascending=False, kind="stable"), stability
