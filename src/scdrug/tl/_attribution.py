"""Integrated gradients, and what they say over cells and models. Arrays and tensors only."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd

from .._validate import import_optional

if TYPE_CHECKING:
    from ..model._explain import Explained

#: Rows that are integrated together, and rows × steps that are held at a time.
_ROWS, _BATCH = 256, 4096
#: Error of completeness above which a row is integrated in twice as many steps, and their most.
MAX_ERROR, MAX_STEPS = 0.01, 800
FREE_NODES, LINEAR_PATH, NO_PATHWAY = "free nodes", "linear path", "no pathway"
#: Risk that a mean over models is taken for more than chance.
_RISK = 0.05


class Attribution(NamedTuple):
    """Contributions of inputs to an output, row by row."""

    #: Rows × inputs.
    values: np.ndarray
    #: Output minus that of the baseline (rows).
    expected: np.ndarray
    #: Difference between sum of contributions and `expected`, over the larger of `expected` and `scale` (rows).
    error: np.ndarray
    n_steps: int


def integrate_gradients(
    function: Callable[[Any], Any],
    inputs: np.ndarray,
    start: np.ndarray,
    *,
    scale: float = 1.0,
    n_steps: int = 50,
    max_error: float = MAX_ERROR,
    max_steps: int = MAX_STEPS,
    device: Any = "cpu",
) -> Attribution:
    """Integrated gradients (Sundararajan et al. 2017, eq. 1) with captum.

    Rows whose contributions do not add up are integrated again in twice as many steps. Each row is judged by itself, so
    that its result does not depend on the others.

    Parameters
    ----------
    function
        Maps a tensor (rows × inputs) to outputs (rows), row by row.
    inputs
        Rows × inputs.
    start
        Where the path to each row starts (inputs).
    scale
        Outputs below this size are judged by the error relative to it.
    n_steps
        Steps to begin with, of Gauss-Legendre quadrature.
    max_error
        Error of completeness that is good enough.
    max_steps
        Most steps.
    device
        Where `function` computes.

    Returns
    -------
    Contributions, what they should add up to, their error, and the most steps that were taken.

    Raises
    ------
    ImportError
        If captum is not installed.
    """
    captum = import_optional("captum.attr", extra="explain", purpose="Attribution through a network")
    import torch

    method = captum.IntegratedGradients(function, multiply_by_inputs=True)
    origin = torch.as_tensor(np.asarray(start, dtype=np.float32), device=device)[None]
    rows = torch.as_tensor(np.ascontiguousarray(inputs, dtype=np.float32), device=device)
    with torch.no_grad():
        expected = (function(rows).double() - function(origin).double()).cpu().numpy()
    size = np.maximum(np.abs(expected), max(scale, 1e-12))
    values = np.empty(rows.shape, dtype=np.float32)
    error, todo = np.full(len(rows), np.inf), np.arange(len(rows))
    while True:
        for part in np.array_split(todo, max(1, -(-len(todo) // _ROWS))):
            if not len(part):
                continue
            chosen = rows[torch.as_tensor(part, device=device)]
            found = method.attribute(chosen, origin, n_steps=n_steps, internal_batch_size=max(_BATCH, len(part)))
            values[part] = found.detach().cpu().numpy()
        error[todo] = np.abs(values[todo].sum(axis=1, dtype=np.float64) - expected[todo]) / size[todo]
        todo = np.flatnonzero(error > max_error)
        if not len(todo) or 2 * n_steps > max_steps:
            return Attribution(values, expected, error, n_steps)
        n_steps *= 2


def attribute_rows(parts: Explained, rows: np.ndarray, *, n_steps: int) -> list[Attribution]:
    """Contributions to each drug's output, in the unit of the output and towards *sensitive*.

    Parameters
    ----------
    parts
        The model, for the chosen drugs.
    rows
        Rows × panel, on the reference's scale.
    n_steps
        Steps to begin with.

    Returns
    -------
    For each drug: rows × names of :func:`feature_names`.
    """
    through_linear = None
    if parts.linear is not None:
        through_linear = rows - parts.panel_start  # rows × panel
    inputs = None if parts.inputs is None else parts.inputs(rows)
    results = []
    for drug in range(len(parts.scale)):
        network = None
        if inputs is not None:
            network = integrate_gradients(
                lambda z, drug=drug: parts.network(z, drug),
                inputs,
                parts.start,
                scale=float(parts.scale[drug]),
                n_steps=n_steps,
                device=parts.device,
            )
        linear = None if through_linear is None else through_linear * parts.linear[0][:, drug]
        results.append(_together(parts, network, linear))
    return results


def _together(parts: Explained, network: Attribution | None, linear: np.ndarray | None) -> Attribution:
    """Contributions through the network and through the linear path as one table, turned towards sensitive."""
    if network is None:
        expected = linear.sum(axis=1, dtype=np.float64)
        return Attribution(parts.sign * linear, parts.sign * expected, np.zeros(len(linear)), 0)
    values, expected, error = network.values, network.expected, network.error
    if linear is not None:
        expected = expected + linear.sum(axis=1, dtype=np.float64)
        if parts.positions is None:
            values = np.hstack([values, linear.sum(axis=1, keepdims=True)])
        else:
            whole = linear.copy()
            whole[:, parts.positions] += values
            values = whole
    return Attribution(parts.sign * values, parts.sign * expected, error, network.n_steps)


def baseline_output(parts: Explained) -> np.ndarray:
    """Output at the baseline, in the unit of the response (drugs)."""
    out = np.zeros(len(parts.scale))
    if parts.network is not None:
        import torch

        with torch.no_grad():
            start = torch.as_tensor(np.asarray(parts.start, dtype=np.float32), device=parts.device)[None]
            out = out + np.array([float(parts.network(start, drug)[0]) for drug in range(len(out))])
    if parts.linear is not None:
        out = out + parts.panel_start.astype(float) @ parts.linear[0] + parts.linear[1]
    return out


def feature_names(parts: Explained, panel: Sequence[str]) -> list[str]:
    """What the columns of :func:`attribute_rows` are."""
    if parts.linear is None or parts.network is None:
        return parts.names
    return [*parts.names, LINEAR_PATH] if parts.positions is None else list(panel)


@dataclass
class Totals:
    """Sums over cells of one drug's contributions, from which all summaries follow."""

    n_models: int
    n_features: int
    #: Whether models were trained on lines drawn again: the error of their mean is then that of each, however many they are.
    resampled: bool = False
    n_cells: int = 0
    absolute: np.ndarray = field(init=False)
    #: Of squares of the mean over models, and of the squared standard errors of that mean.
    squared: np.ndarray = field(init=False)
    uncertain: np.ndarray = field(init=False)
    signed: np.ndarray = field(init=False)
    positive: np.ndarray = field(init=False)
    negative: np.ndarray = field(init=False)
    #: Models × features.
    by_model_absolute: np.ndarray = field(init=False)
    by_model_signed: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        self.absolute, self.signed, self.positive, self.negative = np.zeros((4, self.n_features))
        self.squared, self.uncertain = np.zeros((2, self.n_features))
        self.by_model_absolute, self.by_model_signed = np.zeros((2, self.n_models, self.n_features))

    def add(self, values: Sequence[np.ndarray]) -> np.ndarray:
        """Add a block of cells, one array (rows × features) a model; return the mean over models."""
        mean = np.mean(values, axis=0) if len(values) > 1 else values[0]
        self.n_cells += len(mean)
        self.absolute += np.abs(mean).sum(axis=0, dtype=np.float64)
        self.signed += mean.sum(axis=0, dtype=np.float64)
        self.positive += (mean > 0).sum(axis=0)
        self.negative += (mean < 0).sum(axis=0)
        if self.n_models > 1:
            self.squared += np.square(mean, dtype=np.float64).sum(axis=0)
            self.uncertain += squared_error(np.stack(values, axis=-1), resampled=self.resampled).sum(axis=0)
        for model, part in enumerate(values):
            self.by_model_absolute[model] += np.abs(part).sum(axis=0, dtype=np.float64)
            self.by_model_signed[model] += part.sum(axis=0, dtype=np.float64)
        return mean

    def table(self) -> pd.DataFrame:
        """By feature, the columns that :func:`scdrug.tl.attribute_pathways` describes."""
        n = max(self.n_cells, 1)
        sensitive = self.signed >= 0
        table = pd.DataFrame(
            {
                "importance": self.absolute / n,
                "towards_sensitive": self.signed / n,
                "supports": np.where(sensitive, "sensitive", "resistant"),
                "consistency": np.where(sensitive, self.positive, self.negative) / n,
            }
        )
        if self.n_models > 1:
            table["importance_sd"] = self.by_model_absolute.std(axis=0, ddof=1) / n
            table["sign_agreement"] = (np.sign(self.by_model_signed) == np.sign(self.signed)).mean(axis=0)
            table["stability"] = stability(self.squared, self.uncertain)
            table["repeats"] = table["stability"] >= least_stability(self.n_models)
        return table

    def stability(self, features: np.ndarray) -> float:
        """Mean Spearman correlation of importances between pairs of models, over some features.

        NaN for one model. Models whose network has no share in the prediction order nothing and are left out.
        """
        ranks = pd.DataFrame(self.by_model_absolute[:, features]).rank(axis=1).to_numpy()
        ranks = ranks[np.ptp(ranks, axis=1) > 0] if features.any() else ranks[:0]
        if len(ranks) < 2:
            return float("nan")
        correlation = np.corrcoef(ranks)
        return float(correlation[np.triu_indices(len(ranks), 1)].mean())


def squared_error(values: np.ndarray, *, resampled: bool) -> np.ndarray:
    """Squared standard error of the mean over the last axis, which are models: of other seeds, or of lines drawn again."""
    variance = np.var(values, axis=-1, ddof=1, dtype=np.float64)
    return variance if resampled else variance / values.shape[-1]


def stability(squared: np.ndarray, uncertain: np.ndarray) -> np.ndarray:
    """Share of a mean over trainings that would come back with other trainings, 0-1.

    1 − σ² / m², where m² is the square of the mean over models and σ² its squared standard error, both averaged over cells: the factor by which
    a mean is to be shrunk to come nearest to that of many trainings (James and Stein 1961). 0 where the mean is not beyond its error.
    """
    return np.clip(1 - uncertain / np.maximum(squared, 1e-300), 0, 1)


def least_stability(n_models: int) -> float:
    """Stability from which on contributions are said to come back: their mean is beyond zero by Student's t over models (5 %, two-sided).

    The share is 1 − 1 / t² at the quantile t: 0.95 for three models, 0.87 for five, 0.80 for ten, 0.74 for many.
    """
    from scipy import stats

    return float(1 - stats.t.ppf(1 - _RISK / 2, n_models - 1) ** -2)


def in_order(table: pd.DataFrame) -> pd.DataFrame:
    """Rows by importance, as far as it comes back with other trainings; most important first."""
    weight = table["importance"] * table["stability"] if "stability" in table else table["importance"]
    order = pd.DataFrame({"weight": weight, "importance": table["importance"]})
    return table.loc[order.sort_values(["weight", "importance"], ascending=False, kind="stable").index]
