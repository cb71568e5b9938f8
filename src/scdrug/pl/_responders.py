"""Plot of responders among patients."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .._arguments import checked
from ..tl._perturbed import stored
from ._style import RESISTANT, SENSITIVE, auroc_rows, new_axes, shorten

if TYPE_CHECKING:
    from anndata import AnnData
    from matplotlib.axes import Axes


@checked
def compare_responders(
    adata: AnnData, *, key: str = "responders", figsize: tuple[float, float] | None = None, ax: Axes | None = None
) -> Axes:
    """Plot, drug by drug, how well predictions tell responders from other patients.

    Parameters
    ----------
    adata
        What :func:`scdrug.tl.compare_responders` was run on.
    key
        Where the results are.
    figsize
        Width and height of a new figure in inches.
    ax
        Where to plot.

    Returns
    -------
    The Axes: AUROC of each drug, 0.5 being chance; orange below a false discovery rate of 0.05.

    Raises
    ------
    KeyError
        If there are no results.

    Examples
    --------
    >>> import anndata, numpy as np, pandas as pd, scdrug
    >>> adata = anndata.AnnData(np.zeros((1, 1)))
    >>> row = {"name": ["X"], "n_responders": [12], "n_others": [20], "auroc": [0.7], "fdr": [0.01]}
    >>> adata.uns["responders"] = {"table": pd.DataFrame(row, index=["x"])}
    >>> scdrug.pl.compare_responders(adata).get_yticklabels()[0].get_text()
    'X (12 vs 20)'
    """
    columns = ("name", "n_responders", "n_others", "auroc", "fdr")
    table = stored(adata, key, function="compare_responders", tables={"table": columns})["table"]
    table = table.sort_values("auroc", ascending=False, kind="stable")
    ax = new_axes(ax, figsize or (4.6, 0.24 * len(table) + 1.0))
    names = [
        f"{shorten(str(name))} ({int(a)} vs {int(b)})"
        for name, a, b in zip(table["name"], table["n_responders"], table["n_others"])
    ]
    colors = np.where(table["fdr"] < 0.05, SENSITIVE, RESISTANT)
    return auroc_rows(
        ax, table["auroc"], names, colors, "AUROC, responders predicted more sensitive (orange: FDR < 0.05)"
    )
