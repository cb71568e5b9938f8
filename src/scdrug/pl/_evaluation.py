"""How well a model does: correlation by group against a baseline, predicted against observed, and the course of training."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from .._arguments import checked
from .._validate import examples
from ._style import CATEGORIES, FONT, LINE, SMALL, categories, despine, muted, new_axes, shorten

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Most dots that are drawn one by one; more become shades.
_MAX_DOTS = 4000

#: Names of more curves than these stand beside the plot.
_NAMES_INSIDE = 4


@checked
def group_correlations(
    model: Mapping[str, float] | pd.Series,
    baseline: Mapping[str, float] | pd.Series,
    *,
    model_name: str = "model",
    baseline_name: str = "baseline",
    level: str = "",
    n_labels: int = 3,
    figsize: tuple[float, float] = (3.6, 3.6),
    ax: Axes | None = None,
) -> Axes:
    """Plot the correlation within each group (line, cancer type or drug) against that of a baseline.

    Groups above the diagonal are predicted better than by the baseline; their share is written in the corner.

    Parameters
    ----------
    model, baseline
        Correlation by name of the group, see :func:`scdrug.metrics.group_correlations`. Groups that both have are drawn.
    model_name, baseline_name
        Names for the axes.
    level
        What a group is, for the title.
    n_labels
        Groups to name, those that gain and lose most; none for 0.
    figsize
        Width and height of a new figure in inches.
    ax
        Where to plot.

    Returns
    -------
    The Axes.

    Raises
    ------
    ValueError
        If the two have no group in common.

    Examples
    --------
    >>> import scdrug
    >>> ax = scdrug.pl.group_correlations({"LGG": 0.9, "ALL": 0.8}, {"LGG": 0.8, "ALL": 0.85}, level="cancer type")
    >>> ax.get_title(loc="left")
    'By cancer type'
    """
    ours, theirs = pd.Series(model, dtype=float), pd.Series(baseline, dtype=float)
    shared = ours.index.intersection(theirs.index)
    if not len(shared):
        raise ValueError(
            f"`model` and `baseline` have no group in common: {examples(ours.index, 3)} and {examples(theirs.index, 3)}."
        )
    ours, theirs = ours[shared], theirs[shared]
    ax = new_axes(ax, figsize)
    low = float(min(ours.min(), theirs.min(), 0.95))
    limits = (max(low - 0.05, -1.02), 1.02)
    ax.plot(limits, limits, color=LINE, linewidth=1, linestyle="--", zorder=0)
    ax.scatter(theirs, ours, s=float(np.clip(1500 / len(shared), 6, 26)), color=CATEGORIES[0], alpha=0.7, linewidths=0)
    gain = (ours - theirs).sort_values()
    named = gain.index[[*range(min(n_labels, len(gain))), *range(max(len(gain) - n_labels, 0), len(gain))]]
    for name in dict.fromkeys(named) if n_labels else ():
        right = gain[name] < 0
        ax.annotate(
            shorten(str(name), 16),
            (theirs[name], ours[name]),
            xytext=(4 if right else -4, 0),
            textcoords="offset points",
            ha="left" if right else "right",
            va="center",
            fontsize=SMALL - 2,
            color=muted(),
        )
    better = float((ours > theirs).mean())
    ax.text(
        0.98, 0.03, f"{better:.0%} of {len(shared)} above", transform=ax.transAxes, ha="right", va="bottom", fontsize=SMALL,
        color=muted(),
    )  # fmt: skip
    ax.set_xlim(limits)
    ax.set_ylim(limits)
    ax.set_box_aspect(1)
    ax.set_xlabel(f"PCC, {baseline_name}", fontsize=FONT)
    ax.set_ylabel(f"PCC, {model_name}", fontsize=FONT)
    if level:
        ax.set_title(f"By {level}", fontsize=FONT + 1, loc="left")
    despine(ax)
    return ax


@checked
def predicted_observed(
    predicted: np.ndarray | pd.Series,
    observed: np.ndarray | pd.Series,
    *,
    title: str = "",
    unit: str = "ln IC50 (ln µM)",
    figsize: tuple[float, float] = (3.6, 3.6),
    ax: Axes | None = None,
) -> Axes:
    """Plot predicted against observed responses, with the correlation and the diagonal.

    Parameters
    ----------
    predicted, observed
        One value per pair; pairs with NaN are left out.
    title
        What is shown, such as a drug or a cancer type.
    unit
        Measure and unit, for the axes.
    figsize
        Width and height of a new figure in inches.
    ax
        Where to plot.

    Returns
    -------
    The Axes.

    Raises
    ------
    ValueError
        If lengths differ, or fewer than two pairs are measured.

    Examples
    --------
    >>> import numpy as np, scdrug
    >>> ax = scdrug.pl.predicted_observed(np.array([1.0, 2.0, 3.5]), np.array([1.0, 2.5, 3.0]), title="Erlotinib")
    >>> ax.get_title(loc="left")
    'Erlotinib'
    """
    x, y = np.asarray(observed, dtype=float).ravel(), np.asarray(predicted, dtype=float).ravel()
    if x.shape != y.shape:
        raise ValueError(f"`predicted` has {y.size} values, but `observed` {x.size}.")
    known = np.isfinite(x) & np.isfinite(y)
    if known.sum() < 2:
        raise ValueError(f"Expected at least two measured pairs; found {int(known.sum())}.")
    x, y = x[known], y[known]
    ax = new_axes(ax, figsize)
    if len(x) > _MAX_DOTS:
        ax.hexbin(x, y, gridsize=60, bins="log", mincnt=1, cmap="Blues", linewidths=0)
    else:
        ax.scatter(
            x, y, s=float(np.clip(3000 / len(x), 5, 26)), color=CATEGORIES[0], alpha=0.6, linewidths=0,
            rasterized=len(x) > 1000,
        )  # fmt: skip
    both = np.concatenate([x, y])
    margin = 0.04 * max(float(np.ptp(both)), 1e-9)
    limits = (float(both.min()) - margin, float(both.max()) + margin)
    ax.plot(limits, limits, color=CATEGORIES[1], linewidth=1, linestyle="--")
    spread = x.std() * y.std()
    correlation = float(((x - x.mean()) * (y - y.mean())).mean() / spread) if spread > 0 else 0.0
    error = float(np.sqrt(np.mean((x - y) ** 2)))
    ax.text(
        0.03, 0.97, f"PCC {correlation:.3f}\nRMSE {error:.2f}\nn = {len(x):,}", transform=ax.transAxes, va="top",
        fontsize=SMALL, color=muted(),
    )  # fmt: skip
    ax.set_xlim(limits)
    ax.set_ylim(limits)
    ax.set_box_aspect(1)
    ax.set_xlabel(f"observed {unit}", fontsize=FONT)
    ax.set_ylabel(f"predicted {unit}", fontsize=FONT)
    if title:
        ax.set_title(shorten(title, 40), fontsize=FONT + 1, loc="left")
    despine(ax)
    return ax


@checked
def compare_training(
    histories: Mapping[str, pd.DataFrame],
    *,
    quantity: str = "validation_pearson",
    figsize: tuple[float, float] = (4.6, 3.2),
    ax: Axes | None = None,
) -> Axes:
    """Plot a quantity by epoch, for one or several models: does training go up steadily?

    The losses of one model, task by task, are drawn by :func:`training_curves`.

    Parameters
    ----------
    histories
        Columns `quantity` and others by epoch, or the `history` of a model, by name of the model.
    quantity
        Column, such as ``"validation_pearson"`` or ``"validation_loss"``.
    figsize
        Width and height of a new figure in inches.
    ax
        Where to plot.

    Returns
    -------
    The Axes.

    Raises
    ------
    KeyError
        If a history lacks the quantity.

    Examples
    --------
    >>> import pandas as pd, scdrug
    >>> ax = scdrug.pl.compare_training({"net": pd.DataFrame({"validation_pearson": [0.5, 0.7]})})
    >>> len(ax.lines)
    1
    """
    ax = new_axes(ax, figsize)
    for i, (name, history) in enumerate(histories.items()):
        if quantity not in history:
            raise KeyError(f"The history of {name!r} has no {quantity!r}; it has: {examples(history)}.")
        values = np.asarray(history[quantity], dtype=float).ravel()
        color, dashes = categories()[i % 7], ("-", "--", ":", "-.")[i // 7 % 4]
        epochs = np.arange(1, len(values) + 1)
        ax.plot(epochs, values, color=color, linestyle=dashes, label=shorten(str(name), 40), linewidth=1.4)
    ax.set_xlabel("epoch", fontsize=FONT)
    ax.set_ylabel(quantity.replace("_", " "), fontsize=FONT)
    if len(histories) > _NAMES_INSIDE:
        columns = -(-len(histories) // 20)
        ax.legend(frameon=False, fontsize=SMALL - 1, loc="upper left", bbox_to_anchor=(1.02, 1.0), ncols=columns)
    elif len(histories) > 1:
        ax.legend(frameon=False, fontsize=SMALL)
    despine(ax)
    return ax
