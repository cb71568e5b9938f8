"""Plot of the therapeutic window of drugs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from .._arguments import checked
from ..tl._perturbed import stored
from ._style import FONT, LINE, OTHER, RESISTANT, SENSITIVE, SMALL, despine, drug_labels, label_rows, muted, new_axes

if TYPE_CHECKING:
    from anndata import AnnData
    from matplotlib.axes import Axes

_COLUMNS = ("drug", "name", "window", "lower", "upper", "percentile_malignant", "percentile_normal")


@checked
def therapeutic_window(
    adata: AnnData,
    *,
    n_drugs: int = 15,
    key: str = "therapeutic_window",
    figsize: tuple[float, float] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Plot the drugs with the widest window between malignant and normal cells.

    Parameters
    ----------
    adata
        Cells with the results of :func:`scdrug.tl.therapeutic_window`.
    n_drugs
        Drugs shown.
    key
        Where the results are.
    figsize
        Width and height of a new figure in inches.
    ax
        Where to plot; best in a figure with ``layout="constrained"``.

    Returns
    -------
    The Axes: a dot for the window of each drug with its interval, grey for intervals that hold 0, and a tick for each donor. Beside it
    stand the share of malignant cells that reach the threshold, and of normal cells that stay below.

    Raises
    ------
    KeyError
        If there are no results.

    Examples
    --------
    >>> import scdrug
    >>> cells, reference = scdrug.datasets.toy_cells(), scdrug.datasets.toy()
    >>> scdrug.model.KernelRidge.setup_anndata(reference)
    >>> model = scdrug.model.KernelRidge(reference)
    >>> model.train()
    >>> scdrug.tl.predict_response(cells, model)
    >>> scdrug.tl.therapeutic_window(cells, "clone-a", "normal", groupby="clone", sample_key="sample")
    >>> ax = scdrug.pl.therapeutic_window(cells, n_drugs=5)
    >>> len(ax.get_yticklabels())
    5
    """
    tables = {"table": _COLUMNS, "samples": ("sample", "drug", "window")}
    found = stored(adata, key, function="therapeutic_window", entries=("params",), tables=tables)
    params, shown = found["params"], found["table"].head(n_drugs)
    ax = new_axes(ax, figsize or (6.6, 0.27 * len(shown) + 1.5))
    y = np.arange(len(shown))
    ax.axvline(0, color=LINE, linewidth=0.8, zorder=1)
    ax.hlines(y, shown["lower"], shown["upper"], color=LINE, linewidth=1.4, zorder=2)
    clear = ((shown["lower"] > 0) | (shown["upper"] < 0)).to_numpy()
    colors = np.where(clear, np.where(shown["window"] > 0, SENSITIVE, RESISTANT), OTHER)
    ax.scatter(shown["window"], y, c=list(colors), s=48, edgecolors=muted(), linewidths=0.6, zorder=4)
    samples = found["samples"]
    if samples["sample"].nunique() > 1:
        place = dict(zip(shown["drug"].astype(str), y))
        rows = samples["drug"].astype(str).map(place)
        ax.scatter(
            samples["window"][rows.notna()], rows.dropna(), marker="|", s=26, c=muted(), linewidths=0.8, zorder=3
        )
    label_rows(ax, drug_labels(shown.set_index("drug")), fontsize=FONT)
    ax.tick_params(axis="y", length=0)
    ax.tick_params(axis="x", labelsize=SMALL)
    # the ends of what is possible need not be in view
    ax.set_xlim(*_limits(shown))
    ax.set_xlabel(
        "Δ response percentile, malignant - normal\nnormal more sensitive  ←  →  malignant more sensitive",
        fontsize=FONT,
    )
    _numbers(ax, shown, params)
    despine(ax)
    return ax


def _limits(shown: pd.DataFrame) -> tuple[float, float]:
    values = shown[["window", "lower", "upper"]].to_numpy(dtype=float)
    low, high = min(np.nanmin(values), 0.0), max(np.nanmax(values), 0.0)
    margin = 0.05 * ((high - low) or 1.0)
    return low - margin, high + margin


def _numbers(ax: Axes, shown: pd.DataFrame, params: Any) -> None:
    """Two columns to the right: malignant cells at or above the threshold, normal cells below it."""
    style = {
        "textcoords": "offset points",
        "ha": "right",
        "fontsize": SMALL,
        "color": muted(),
        "annotation_clip": False,
    }
    threshold = f"{float(params['threshold']):g}"
    for column, title, offset in (
        ("share_malignant_above", f"malignant\n≥ {threshold}", 52),
        ("share_normal_below", f"normal\n< {threshold}", 100),
    ):
        ax.annotate(title, (1, 1), (offset, 3), xycoords="axes fraction", va="bottom", **style)
        for row, value in enumerate(shown[column]):
            ax.annotate(f"{value:.0%}", (1, row), (offset, 0), xycoords=ax.get_yaxis_transform(), va="center", **style)
