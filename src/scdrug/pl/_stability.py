"""Plot of how stable the ranks of drugs are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from .._arguments import checked
from .._labels import Label, select_groups
from ..tl._perturbed import stored
from ._style import FONT, LINE, OTHER, SENSITIVE, SMALL, despine, drug_labels, label_rows, muted, room_for, shorten

if TYPE_CHECKING:
    from anndata import AnnData
    from matplotlib.axes import Axes

_COLUMNS = ("group", "drug", "name", "stability", "stable", "rank_median", "rank_low", "rank_high")
_PANELS_A_ROW = 3


@checked
def rank_stability(
    adata: AnnData,
    *,
    groups: Label | Sequence[Label] | None = None,
    n_drugs: int = 15,
    key: str = "rank_stability",
    figsize: tuple[float, float] | None = None,
    ax: Axes | None = None,
) -> Axes | np.ndarray:
    """Plot how often the drugs of each group stay among the top ones.

    Parameters
    ----------
    adata
        Cells with the results of :func:`scdrug.tl.rank_stability`.
    groups
        One or several groups; all if omitted.
    n_drugs
        Drugs shown for each group.
    key
        Where the results are.
    figsize
        Width and height of the figure in inches.
    ax
        Where to plot, for one group only; best in a figure with ``layout="constrained"``.

    Returns
    -------
    The Axes, or an array of them (one per group) for several groups. Bars are shares of the resamples, orange from the threshold on, a
    dashed line; beside them stand the median rank and its 5-95 % range.

    Raises
    ------
    KeyError
        If there are no results, or a group is unknown.
    ValueError
        If several groups are to be plotted into one `ax`.

    Examples
    --------
    >>> import scdrug
    >>> cells, reference = scdrug.datasets.toy_cells(), scdrug.datasets.toy()
    >>> scdrug.model.KernelRidge.setup_anndata(reference)
    >>> model = scdrug.model.KernelRidge(reference)
    >>> model.train()
    >>> scdrug.tl.rank_stability(cells, "clone", model, reference="normal", top=3, n_resamples=10)
    >>> len(scdrug.pl.rank_stability(cells, n_drugs=5))
    3
    """
    found = stored(adata, key, function="rank_stability", entries=("params",), tables={"table": _COLUMNS})
    table, params = found["table"], found["params"]
    names = table["group"].astype(str)
    wanted = select_groups(groups, list(dict.fromkeys(names)), where=f"The result in `adata.uns[{key!r}]`")
    if ax is not None and len(wanted) > 1:
        raise ValueError(f"`ax` takes one group; found {len(wanted)}. Name one as `groups`, or omit `ax`.")
    if ax is not None:
        axes = np.array([ax])
    else:
        labels = [shorten(str(name)) for name in table["name"]]
        axes = _panels(len(wanted), min(n_drugs, names.value_counts().max()), room_for(labels), figsize)
    for panel, group in zip(axes, wanted):
        _draw(panel, group, table[(names == group).to_numpy()].head(n_drugs), params)
    return axes[0] if len(axes) == 1 else axes


def _panels(n: int, n_drugs: int, room: float, figsize: tuple[float, float] | None) -> np.ndarray:
    import matplotlib.pyplot as plt

    columns = min(n, _PANELS_A_ROW)
    rows = -(-n // columns)
    size = figsize or ((4.2 + room) * columns + 0.3, rows * (0.25 * n_drugs + 1.5))
    _, axes = plt.subplots(rows, columns, figsize=size, layout="constrained", squeeze=False)
    for empty in axes.ravel()[n:]:
        empty.remove()
    return axes.ravel()[:n]


def _draw(ax: Axes, group: str, shown: pd.DataFrame, params: Any) -> None:
    y = np.arange(len(shown))
    colors = np.where(shown["stable"].to_numpy(dtype=bool), SENSITIVE, OTHER)
    ax.barh(y, shown["stability"], color=list(colors), height=0.62)
    ax.axvline(float(params["threshold"]), color=LINE, linewidth=0.9, linestyle="--")
    label_rows(ax, drug_labels(shown.set_index("drug")), fontsize=FONT)
    ax.tick_params(axis="y", length=0)
    ax.tick_params(axis="x", labelsize=SMALL)
    ax.set_xlim(0, 1)
    ax.set_title(shorten(group, 34), fontsize=FONT + 1, loc="left", pad=17).set_in_layout(False)
    style = {"fontsize": SMALL, "color": muted(), "annotation_clip": False, "textcoords": "offset points"}
    # the bound of the theorem is about all drugs that reach the threshold
    bound = f"at most {float(params['expected_false']):.1f} false picks expected at {float(params['threshold']):g}"
    ax.annotate(bound, (0, 1), (0, 4), xycoords="axes fraction", **style)
    ax.annotate("rank", (1, 1), (60, 4), xycoords="axes fraction", ha="right", **style)
    for row, (low, median, high) in enumerate(zip(shown["rank_low"], shown["rank_median"], shown["rank_high"])):
        text = f"{median:.0f} ({low:.0f}-{high:.0f})"
        ax.annotate(text, (1, row), (60, 0), xycoords=ax.get_yaxis_transform(), ha="right", va="center", **style)
    ax.set_xlabel(f"share of resamples among the top {int(params['top'])}", fontsize=FONT)
    despine(ax)
