"""Lines that were not tested with a drug, beside those that were."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .._arguments import checked
from .._constants import KEYS
from .._validate import examples
from ..pp._drugs import resolve_drugs
from ..pp._measures import lower_is_sensitive
from ..tl._missing import rank_missing
from ..tl._stored import read_response
from ._style import FONT, OTHER, RESISTANT, SENSITIVE, SMALL, arrows, despine, muted, new_axes, shorten

if TYPE_CHECKING:
    from anndata import AnnData
    from matplotlib.axes import Axes

_ROW_HEIGHT = 0.24


@checked
def missing_pairs(
    adata: AnnData,
    drug: str,
    *,
    n_lines: int = 10,
    response_key: str = KEYS.RESPONSE,
    key: str = KEYS.PREDICTED,
    figsize: tuple[float, float] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Plot the untested lines that a model predicts to be most sensitive to a drug.

    The lowest row holds the predictions of all tested lines, orange for the twelfth of them that was measured to be most
    sensitive and blue for the others: it shows how far down the scale the drug goes, and how well predictions tell the
    tested lines apart. These were trained on; a benchmark says how well it does on others.

    Parameters
    ----------
    adata
        Screen with predictions of its own lines, see :func:`scdrug.get.missing_pairs_df`.
    drug
        Name or id.
    n_lines
        Lines shown.
    response_key
        Key of `obsm` with what was measured.
    key
        Key of `obsm` that `predict` stored its results under.
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
        If there are no responses or predictions, or the drug is unknown.
    ValueError
        If `drug` stands for several drugs, or was tested in all lines.

    Examples
    --------
    >>> import scdrug
    >>> screen = scdrug.datasets.toy()
    >>> scdrug.model.KernelRidge.setup_anndata(screen)
    >>> model = scdrug.model.KernelRidge(screen, couple_drugs=True)
    >>> model.train()
    >>> model.predict(screen).shape
    (120, 12)
    >>> scdrug.pl.missing_pairs(screen, "trametinib")  # doctest: +ELLIPSIS
    <Axes: ...
    """
    table = rank_missing(adata, drug, n_lines=n_lines, response_key=response_key, key=key)
    ids = resolve_drugs(drug, adata.uns[KEYS.DRUGS])
    if len(ids) > 1:
        raise ValueError(f"{drug!r} stands for {len(ids)} drugs: {examples(ids)}. Name one of these ids.")
    if table.empty:
        raise ValueError(f"{drug!r} was tested in all lines of the screen, so nothing is missing.")
    predicted, stored = read_response(adata, key)
    lower = not str(stored["direction"]).lower().startswith("higher")
    measured = adata.obsm[response_key][ids[0]]
    known = predicted.loc[measured.notna().to_numpy(), ids[0]].to_numpy(dtype=float)
    measured_lower = lower_is_sensitive(adata.uns)
    ax = new_axes(ax, figsize or (4.2, 1.3 + _ROW_HEIGHT * len(table)))
    rows = np.arange(len(table), 0, -1)
    ax.hlines(rows, known.min(), known.max(), color="#eeeeee", linewidth=0.8, zorder=0)
    ax.plot(table["predicted"], rows, "o", color=SENSITIVE, markersize=5)
    _draw_tested(ax, known, measured.dropna().to_numpy(dtype=float) * (1 if measured_lower else -1))
    ax.set_yticks([*rows, -0.2], [*map(shorten, table["line"]), f"{len(known)} tested"], fontsize=SMALL)
    ax.set_ylim(-0.9, len(table) + 0.7)
    unit = f", {stored['unit']}" if stored.get("unit") else ""
    ax.set_xlabel(f"predicted {stored.get('measure', 'response')}{unit}\n{arrows(not lower)}", fontsize=SMALL)
    ax.set_title(shorten(table["name"].iloc[0], 40), fontsize=FONT + 1, loc="left")
    ax.tick_params(labelsize=SMALL, labelcolor=muted(), color=OTHER)
    despine(ax)
    return ax


def _draw_tested(ax: Axes, predicted: np.ndarray, measured: np.ndarray) -> None:
    """A strip of the tested lines, the measured-sensitive ones on top."""
    sensitive = measured <= np.quantile(measured, 0.12)
    height = -0.2 + np.random.default_rng(0).uniform(-0.35, 0.35, len(predicted))
    for chosen, color in ((~sensitive, RESISTANT), (sensitive, SENSITIVE)):
        ax.plot(predicted[chosen], height[chosen], ".", color=color, markersize=2.5, alpha=0.6, rasterized=True)
