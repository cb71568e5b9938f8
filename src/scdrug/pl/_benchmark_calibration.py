"""Are predicted responses right in size, not in order only?"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd

from .._arguments import checked
from .._validate import check_choice
from ._benchmark_draw import BASELINE, MODEL, check_columns
from ._style import FONT, LINE, SMALL, despine, muted, shorten

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_PANEL, _PANELS_A_ROW = 2.35, 4
#: Spread of predictions, relative to that of the observations, below which there is nothing to calibrate.
_NO_SPREAD = 1e-4


class _Binned(NamedTuple):
    predicted: np.ndarray
    observed: np.ndarray
    low: np.ndarray
    high: np.ndarray
    #: Least-squares slope of observed on predicted; NaN if predictions do not differ.
    slope: float


@checked
def benchmark_calibration(
    predictions: pd.DataFrame,
    *,
    center: str | None = "drug",
    n_bins: int = 12,
    models: Sequence[str] | None = None,
    baselines: Collection[str] = (),
    figsize: tuple[float, float] | None = None,
    ax: Axes | None = None,
) -> Axes | np.ndarray:
    """Plot observed against predicted response of test pairs, in bins of equal numbers.

    The slope of observed on predicted is 1 if predictions are right in size, below 1 if they differ more than the truth
    does (over-confident), above 1 if less (timid).

    Parameters
    ----------
    predictions
        `predictions` of :class:`scdrug.benchmark.Results`: repeat, fold, drug, predicted, observed, with a column model
        if there are several; in the unit of the response.
    center
        ``"drug"`` takes the mean of each drug over the test lines of a fold out of both, so that only differences
        between lines are judged. `None` shows pooled values, whose slope mostly reflects that drugs differ in potency.
    n_bins
        Number of bins.
    models
        Models to show, in this order; all if omitted.
    baselines
        Names of models to draw in grey.
    figsize
        Width and height of a new figure in inches.
    ax
        Where to plot, for one model only; best in a figure with ``layout="constrained"``.

    Returns
    -------
    The Axes, or an array of them (one per model) for several models. Dots are means of bins, bars hold the middle half
    of the observations, and the dashed line is the identity.

    Raises
    ------
    KeyError
        If a column is missing.
    ValueError
        If a model is unknown, several are to be plotted into one `ax`, or no pair was predicted and observed.

    Examples
    --------
    >>> import numpy as np, pandas as pd, scdrug
    >>> predicted = np.linspace(-2, 2, 60)
    >>> table = pd.DataFrame({"drug": "a", "fold": 1, "predicted": predicted, "observed": 0.5 * predicted})
    >>> ax = scdrug.pl.benchmark_calibration(table)
    >>> ax.texts[0].get_text()
    'slope 0.50'
    """
    check_choice("center", center, ("drug", None))
    if n_bins < 2:
        raise ValueError(f"`n_bins` must be at least 2; found {n_bins}.")
    needed = ["predicted", "observed", *(["drug"] if center else [])]
    check_columns(predictions, needed, argument="predictions")
    known = [str(name) for name in pd.unique(predictions["model"])] if "model" in predictions else [""]
    for name in models or ():
        check_choice("models", name, known)
    wanted = list(models or known)
    if ax is not None and len(wanted) > 1:
        raise ValueError(f"`ax` takes one model; found {len(wanted)}. Name one as `models`, or omit `ax`.")

    binned = {}
    for name in wanted:
        part = predictions[predictions["model"] == name] if "model" in predictions else predictions
        binned[name] = _bin(*_values(part, center), n_bins)
    axes = np.array([ax]) if ax is not None else _panels(len(wanted), figsize)
    limits = _limits(binned.values())
    for panel, (name, bins) in zip(axes, binned.items()):
        _draw(panel, name, bins, limits, BASELINE if name in baselines else MODEL)
    _label(axes, center)
    return axes[0] if len(axes) == 1 else axes


def _values(part: pd.DataFrame, center: str | None) -> tuple[np.ndarray, np.ndarray]:
    """Predicted and observed, in double precision, as deviations from the mean of drug and fold if wanted."""
    part = part[part["observed"].notna() & part["predicted"].notna()]
    if part.empty:
        raise ValueError("No pair was both predicted and observed.")
    values = part[["predicted", "observed"]].astype(np.float64)
    if center is None:
        return values["predicted"].to_numpy(), values["observed"].to_numpy()
    keys = [part[name] for name in ("repeat", "fold", "drug") if name in part]
    groups = values.groupby(keys, observed=True, sort=False)
    values, sizes = values - groups.transform("mean"), groups["observed"].transform("size")
    values = values[sizes > 1] if (sizes > 1).any() else values  # a drug with one test line deviates from nothing
    return values["predicted"].to_numpy(), values["observed"].to_numpy()


def _bin(predicted: np.ndarray, observed: np.ndarray, n_bins: int) -> _Binned:
    if predicted.std() <= _NO_SPREAD * max(observed.std(), 1e-12):
        low, high = np.quantile(observed, [0.25, 0.75])
        return _Binned(*(np.array([value]) for value in (predicted.mean(), observed.mean(), low, high)), np.nan)
    slope = float(np.cov(predicted, observed, ddof=0)[0, 1] / predicted.var())
    parts = [part for part in np.array_split(np.argsort(predicted, kind="stable"), n_bins) if len(part)]
    quartiles = np.array([np.quantile(observed[part], [0.25, 0.75]) for part in parts])
    means = np.array([[predicted[part].mean(), observed[part].mean()] for part in parts])
    return _Binned(means[:, 0], means[:, 1], quartiles[:, 0], quartiles[:, 1], slope)


def _panels(n: int, figsize: tuple[float, float] | None) -> np.ndarray:
    import matplotlib.pyplot as plt

    columns = min(n, _PANELS_A_ROW)
    rows = -(-n // columns)
    size = figsize or (_PANEL * columns + 0.7, (_PANEL + 0.15) * rows + 0.5)
    axes = plt.subplots(rows, columns, figsize=size, layout="constrained", squeeze=False, sharex=True, sharey=True)[1]
    for empty in axes.ravel()[n:]:
        empty.remove()
    for panel in axes.ravel()[:n]:
        panel.tick_params(labelbottom=True)  # the panel below may be missing
    return axes.ravel()[:n]


def _limits(binned: Iterable[_Binned]) -> tuple[float, float]:
    values = np.concatenate([np.concatenate([b.predicted, b.low, b.high]) for b in binned])
    low, high = float(values.min()), float(values.max())
    margin = 0.06 * ((high - low) or 1.0)
    return low - margin, high + margin


def _draw(ax: Axes, name: str, bins: _Binned, limits: tuple[float, float], color: str) -> None:
    ax.plot(limits, limits, color=muted(), linewidth=0.9, linestyle=(0, (4, 3)), zorder=1)
    ax.vlines(bins.predicted, bins.low, bins.high, color=color, alpha=0.35, linewidth=2.2, zorder=2)
    ax.plot(bins.predicted, bins.observed, color=color, linewidth=1.2, marker="o", markersize=4, zorder=3)
    text = "all predictions alike" if np.isnan(bins.slope) else f"slope {bins.slope:.2f}".replace("-", "−")
    ax.annotate(
        text,
        (0, 1),
        (5, -5),
        xycoords="axes fraction",
        textcoords="offset points",
        va="top",
        fontsize=SMALL,
        color=muted(),
    )
    ax.set_title(shorten(name, 26), fontsize=FONT, loc="left")
    ax.set_xlim(limits)
    ax.set_ylim(limits)
    ax.tick_params(labelsize=SMALL, color=LINE)
    despine(ax)


def _label(axes: np.ndarray, center: str | None) -> None:
    what = "deviation from the drug's mean" if center else "response"
    figure = axes[0].figure
    if len(axes) == 1:
        axes[0].set_xlabel(f"predicted {what}", fontsize=FONT)
        axes[0].set_ylabel(f"observed {what}", fontsize=FONT)
        return
    figure.supxlabel(f"predicted {what}", fontsize=FONT)
    figure.supylabel(f"observed {what}", fontsize=FONT)
