"""How much the network counts beside the process, and how scores become probabilities: chosen on held-out pairs."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from scipy.special import expit

from .._share import cautious_share

#: What is known of a pair when it is predicted.
KNOWN, NEW_LINE, NEW_DRUG, NEW_BOTH = 0, 1, 2, 3
N_CONTEXTS = 4
#: Fewest held-out pairs that decide.
_FEWEST = 50
_FEWEST_OF_A_CLASS = 20
#: Slopes of distance from the threshold, squashed response and logit, and intercept, where nothing decides.
DEFAULT_SLOPES = (1.5, 1.5, 0.0, 0.0)
LOGIT_SLOPES = (0.0, 0.0, 1.0, 0.0)


def contexts(lines: np.ndarray, drugs: np.ndarray) -> np.ndarray:
    """Context of each pair (lines × drugs).

    Parameters
    ----------
    lines, drugs
        Which are known (bool).
    """
    return np.where(lines, 0, NEW_LINE)[:, None] + np.where(drugs, 0, NEW_DRUG)[None, :]


def network_shares(
    process: np.ndarray, network: np.ndarray, observed: np.ndarray, context: np.ndarray, scale: np.ndarray
) -> list[float]:
    """Share of the network that fits held-out responses best, for each context.

    Parameters
    ----------
    process, network
        Predictions (lines × drugs).
    observed
        Held-out responses (lines × drugs, NaN elsewhere).
    context
        Context of each pair.
    scale
        Standard deviation of each drug, in units of which errors count.

    Returns
    -------
    For each context w between 0 and 1 of least Σ (process + w (network − process) − observed)², less one standard error over
    lines, or over drugs where these are new (:func:`scdrug.model._share.cautious_share`); 0 with fewer than 50 pairs.
    """
    shares = []
    for code in range(N_CONTEXTS):
        held = np.where(context == code, observed, np.nan)
        if np.isfinite(held).sum() < _FEWEST:
            shares.append(0.0)
        elif code in (NEW_DRUG, NEW_BOTH):  # all lines of a new drug err together
            shares.append(cautious_share(network.T, process.T, held.T, scale=scale[:, None]))
        else:
            shares.append(cautious_share(network, process, held, scale=scale))
    return shares


def sensitivity_slopes(scores: Mapping[str, np.ndarray], labels: np.ndarray, context: np.ndarray) -> list[list[float]]:
    """Logistic regression of sensitivity on scores, for each context.

    Parameters
    ----------
    scores
        ``distance`` from the threshold in standard deviations, ``squashed`` response and ``logit`` of the network
        (lines × drugs), each larger for more sensitive pairs.
    labels
        Labels of held-out pairs (lines × drugs, 1, 0, NaN elsewhere).
    context
        Context of each pair.

    Returns
    -------
    For each context the three slopes, none negative, and the intercept. A context with too few pairs of either class
    gets those of all pairs together, or fixed ones.
    """
    everything = _fit_slopes(scores, labels, np.ones_like(labels, dtype=bool))
    fallback = list(DEFAULT_SLOPES) if everything is None else everything
    fits = [_fit_slopes(scores, labels, context == code) for code in range(N_CONTEXTS)]
    return [fallback if fit is None else fit for fit in fits]


def _fit_slopes(scores: Mapping[str, np.ndarray], labels: np.ndarray, chosen: np.ndarray) -> list[float] | None:
    from scipy.optimize import minimize

    rows = chosen & np.isfinite(labels)
    y = labels[rows]
    if min(y.sum(), (1 - y).sum()) < _FEWEST_OF_A_CLASS:
        return None
    x = np.column_stack([*(scores[name][rows] for name in ("distance", "squashed", "logit")), np.ones(len(y))])

    def loss(beta: np.ndarray) -> tuple[float, np.ndarray]:
        value = x @ beta
        gradient = x.T @ (expit(value) - y) / len(y)
        penalty = 1.0 / len(y)  # as much as one pair, so that separable data have an optimum
        slopes = np.append(beta[:3], 0.0)
        return float(
            np.mean(np.logaddexp(0, value) - y * value) + penalty * slopes @ slopes / 2
        ), gradient + penalty * slopes

    bounds = [(0, None)] * 3 + [(None, None)]
    return minimize(loss, np.array([1.0, 1.0, 0.1, 0.0]), jac=True, bounds=bounds, method="L-BFGS-B").x.tolist()


def probability(scores: Mapping[str, np.ndarray], slopes: np.ndarray, context: np.ndarray) -> np.ndarray:
    """Probability of sensitivity (lines × drugs, 0-1).

    Parameters
    ----------
    scores
        As for :func:`sensitivity_slopes`.
    slopes
        Contexts × 4.
    context
        Context of each pair.
    """
    beta = np.asarray(slopes)[context]
    value = beta[..., 3]
    for position, name in enumerate(("distance", "squashed", "logit")):
        value = value + beta[..., position] * scores[name]
    return expit(value)
