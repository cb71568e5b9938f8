"""How a network was trained, and how much of given similarities it recovered."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from .._arguments import checked
from .._validate import check_choice
from ._style import CATEGORIES, FONT, LINE, OTHER, SMALL, despine, muted, new_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Panels in a row, so that the figure fits on a page.
_COLUMNS = 3
_PARTS = {"train": CATEGORIES[0], "validation": CATEGORIES[1]}
_LABELS = {
    "": "all tasks",
    "ranking": "ranking (1 − AUROC)",
    "lines": "similarity of lines",
    "drugs": "similarity of drugs",
}


@checked
def training_curves(model: Any, *, figsize: tuple[float, float] | None = None) -> np.ndarray:
    """Plot the losses of a trained network, one panel per task.

    Parameters
    ----------
    model
        Trained network, such as :class:`scdrug.model.MTIGCN`. A line marks the epoch that was kept.
    figsize
        Width and height of the figure in inches.

    Returns
    -------
    The Axes of the panels.

    Raises
    ------
    ValueError
        If the model has no curves: it was not trained here, or has no network.

    Examples
    --------
    >>> import scdrug
    >>> screen = scdrug.datasets.toy()
    >>> scdrug.model.MTIGCN.setup_anndata(screen)
    >>> model = scdrug.model.MTIGCN(screen, n_hidden=16, n_latent=16)
    >>> model.train(max_epochs=3)
    >>> len(scdrug.pl.training_curves(model))
    6
    """
    import matplotlib.pyplot as plt

    curves = _curves(getattr(model, "history", None) or {})
    if not curves:
        raise ValueError("This model has no curves of losses. Train a network first; files do not keep them.")
    rows, columns = -(-len(curves) // _COLUMNS), min(len(curves), _COLUMNS)
    size = figsize or (2.4 * columns, 2.2 * rows)
    axes = plt.subplots(rows, columns, figsize=size, layout="constrained", squeeze=False)[1].ravel()
    for ax in axes[len(curves) :]:
        ax.remove()
    axes = axes[: len(curves)]
    best = getattr(model, "best_epoch_", None)
    for ax, (title, parts) in zip(axes, curves.items(), strict=True):
        for part, values in parts.items():
            ax.plot(np.arange(1, len(values) + 1), values, color=_PARTS[part], linewidth=1.2, label=part)
        if best is not None:
            ax.axvline(best + 1, color=LINE, linewidth=0.8, linestyle=":")
        ax.set_title(title, fontsize=FONT, loc="left")
        ax.set_xlabel("epoch", fontsize=SMALL, color=muted())
        ax.tick_params(labelsize=SMALL, labelcolor=muted(), color=OTHER)
        ax.margins(x=0.02)
        despine(ax)
    axes[0].set_ylabel("loss", fontsize=SMALL, color=muted())
    axes[0].legend(fontsize=SMALL, frameon=False)
    return axes


def _curves(history: dict[str, pd.DataFrame]) -> dict[str, dict[str, np.ndarray]]:
    """Values by title of a panel, and by training or validation."""
    found: dict[str, dict[str, np.ndarray]] = {}
    for name, table in history.items():
        part, _, task = name.removesuffix("loss").rstrip("_").partition("_")
        if part in _PARTS and name.endswith("loss"):
            values = table.iloc[:, 0].to_numpy(dtype=float)
            found.setdefault(_LABELS.get(task, task.replace("_", " ")), {})[part] = values
    return found


@checked
def similarities(
    model: Any, of: str = "drugs", *, figsize: tuple[float, float] = (3.0, 2.9), ax: Axes | None = None
) -> Axes:
    """Plot the similarity that a network recovers from its embeddings against the one it was given.

    Parameters
    ----------
    model
        Trained :class:`scdrug.model.MTIGCN` with the similarity task.
    of
        ``"drugs"`` (Jaccard similarity of structures), or ``"lines"`` (of expression).
    figsize
        Width and height of a new figure in inches.
    ax
        Where to plot.

    Returns
    -------
    The Axes; pairs of different drugs or lines, darker for more of them, with their correlation.

    Raises
    ------
    ValueError
        If the model has no similarity task.

    Examples
    --------
    >>> import scdrug
    >>> screen = scdrug.datasets.toy()
    >>> scdrug.model.MTIGCN.setup_anndata(screen)
    >>> model = scdrug.model.MTIGCN(screen, n_hidden=16, n_latent=16)
    >>> model.train(max_epochs=3)
    >>> scdrug.pl.similarities(model)  # doctest: +ELLIPSIS
    <Axes: ...
    """
    check_choice("of", of, ("drugs", "lines"))
    recovered = model.similarities()[of].to_numpy(dtype=float)
    given = model.similarities(given=True)[of].to_numpy(dtype=float)
    upper = np.triu_indices(len(given), 1)
    x, y = given[upper], recovered[upper]
    x, y = x[np.isfinite(x)], y[np.isfinite(x)]
    ax = new_axes(ax, figsize)
    ax.hexbin(x, y, gridsize=40, bins="log", cmap="Greys", mincnt=1, linewidths=0.1)
    low, high = min(x.min(), y.min()), max(x.max(), y.max())
    ax.plot([low, high], [low, high], color=CATEGORIES[1], linewidth=0.8)
    r = np.corrcoef(x, y)[0, 1] if x.std() > 0 and y.std() > 0 else np.nan
    ax.set_title(f"similarity of {of}, r = {r:.2f}", fontsize=FONT, loc="left")
    ax.set_xlabel("given", fontsize=SMALL, color=muted())
    ax.set_ylabel("recovered", fontsize=SMALL, color=muted())
    ax.tick_params(labelsize=SMALL, labelcolor=muted(), color=OTHER)
    despine(ax)
    return ax
