"""Cells in an embedding, coloured by their response to a drug."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from .._arguments import checked
from .._constants import KEYS
from .._lazy import is_array
from .._store import STORED_IN
from .._validate import examples
from ..pp._drugs import resolve_drugs
from ..tl._keys import MIN_RELIABILITY
from ..tl._stored import check_use, read_predictions
from ._style import FONT, OTHER, SMALL, arrows, diverging, muted, new_axes, sequential, shorten

if TYPE_CHECKING:
    from anndata import AnnData
    from matplotlib.axes import Axes


@checked
def response(
    adata: AnnData,
    drug: str,
    *,
    basis: str = "umap",
    use: str = "percentile",
    size: float | None = None,
    include_refused: bool = False,
    key: str = KEYS.PREDICTED,
    figsize: tuple[float, float] = (4.6, 3.8),
    ax: Axes | None = None,
) -> Axes:
    """Plot cells in an embedding, coloured by their predicted response to a drug.

    Percentiles are always drawn on the whole scale from 0 (blue, resistant) to 1 (orange, sensitive) with grey at 0.5,
    the median reference line, so that colours mean the same for every drug and data set. Responses in the unit of the
    reference, the darker the more sensitive, are drawn from the 1st to the 99th percentile of the cells; arrows on the
    colour bar tell that values lie beyond.

    Parameters
    ----------
    adata
        Cells with the results of :func:`scdrug.tl.predict_response` and an embedding.
    drug
        Name or id of a drug.
    basis
        Embedding: ``"umap"`` stands for ``obsm["X_umap"]``, or the whole key, e.g. ``"spatial"``. The first two
        dimensions are shown; places in a tissue with one unit on both axes, and y downwards, as in images.
    use
        ``"percentile"``, or ``"response"`` in the unit of the reference.
    size
        Area of a dot in points²; by default it shrinks with the number of cells.
    include_refused
        Colour also cells whose reliability is below 0.05; by default they are grey circles, unless all are.
    key
        Where :func:`scdrug.tl.predict_response` stored its results.
    figsize
        Width and height of a new figure in inches.
    ax
        Where to plot; best in a figure with ``layout="constrained"``.

    Returns
    -------
    The Axes. The colour bar is an Axes of its own in the same figure.

    Raises
    ------
    KeyError
        If there are no predictions or no such embedding, or the drug is unknown.
    ValueError
        If the name stands for several drugs.

    Examples
    --------
    >>> import numpy as np, scdrug
    >>> cells, reference = scdrug.datasets.toy_cells(), scdrug.datasets.toy()
    >>> scdrug.model.KernelRidge.setup_anndata(reference)
    >>> model = scdrug.model.KernelRidge(reference)
    >>> model.train()
    >>> scdrug.tl.predict_response(cells, model)
    >>> cells.obsm["X_pca"] = cells.obsm["true_pathway_activity"].to_numpy()
    >>> ax = scdrug.pl.response(cells, "trametinib", basis="pca")
    >>> ax.get_title(loc="left")
    'Trametinib'
    """
    check_use(use)
    predictions = read_predictions(adata, key)
    ids = resolve_drugs(drug, predictions.drugs)
    if len(ids) > 1:
        raise ValueError(f"{drug!r} stands for {len(ids)} drugs: {examples(ids)}. Name one of these ids.")
    points, name = _embedding(adata, basis)
    values = predictions.table(use)[ids[0]].to_numpy(dtype=float)

    ax = new_axes(ax, figsize)
    # cells in an order that has nothing to do with their values, or the last ones would hide the others
    order = np.random.default_rng(0).permutation(len(values))
    predicted = np.isfinite(values)
    if not predicted.any():
        raise ValueError(f"No cell has a prediction of {ids[0]!r}: {predictions.verdict}")
    believed = predicted & ~(predictions.reliability < MIN_RELIABILITY)
    if believed.any() and not include_refused:
        values = np.where(believed, values, np.nan)
        predicted = believed
    low, high = (0.0, 1.0) if use == "percentile" else _limits(values)
    dot_size = size if size is not None else float(np.clip(30_000 / max(len(values), 1), 1.0, 28.0))
    if not predicted.all():
        ax.scatter(
            *points[~predicted].T, facecolors="none", edgecolors=OTHER, s=dot_size, linewidths=0.4, rasterized=True
        )
    order = order[predicted[order]]
    dots = ax.scatter(
        *points[order].T,
        c=values[order],
        s=dot_size,
        cmap=(diverging if use == "percentile" else sequential)(high_is_sensitive=predictions.sign(use) > 0),
        vmin=low,
        vmax=high,
        linewidths=0,
        rasterized=True,
    )
    _decorate(ax, predictions.drugs.loc[ids[0]], name, reliable=predictions.verdict == "ok")
    _color_bar(ax, dots, predictions, use, beyond=(bool((values < low).any()), bool((values > high).any())))
    return ax


def _embedding(adata: AnnData, basis: str) -> tuple[np.ndarray, str]:
    """Coordinates (cells × 2) and the name of the axes."""
    key = next((k for k in (f"X_{basis}", basis) if k in adata.obsm), None)
    # predictions may be arrays, too, and are no places; latent spaces and codes are
    reports = [held for held in adata.uns.values() if isinstance(held, Mapping) and "direction" in held]
    results = {str(place) for held in reports for place in np.ravel(np.asarray(held.get(STORED_IN, ()), dtype=object))}
    usable = [k for k in adata.obsm if f"obsm/{k}" not in results and is_array(adata.obsm[k])]
    usable = [k for k in usable if adata.obsm[k].ndim == 2 and adata.obsm[k].shape[1] >= 2]
    if key is None or key not in usable:
        found = f"It has: {examples(usable, 8)}." if usable else "It has no embedding."
        how = {"X_umap": "scanpy.pp.neighbors and scanpy.tl.umap", "X_pca": "scanpy.pp.pca"}.get(f"X_{basis}")
        hint = f"Run {how} first, or name another `basis`." if how else "Name another `basis`."
        raise KeyError(f"No embedding 'X_{basis}' or {basis!r} with two dimensions in `adata.obsm`. {found} {hint}")
    names = {"X_umap": "UMAP", "X_tsne": "t-SNE", "X_pca": "PC", "spatial": "spatial "}
    return np.asarray(adata.obsm[key][:, :2]), names.get(key, key.removeprefix("X_") + " ")


def _limits(values: np.ndarray) -> tuple[float, float]:
    low, high = (float(limit) for limit in np.nanquantile(values, [0.01, 0.99]))
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def _decorate(ax: Axes, drug: Any, name: str, *, reliable: bool) -> None:
    ax.set_title(shorten(str(drug["name"]), 40), fontsize=FONT + 2, loc="left")
    if not reliable:
        ax.text(
            0.5, -0.12, "unreliable: see the verdict in adata.uns", transform=ax.transAxes, ha="center", fontsize=SMALL
        )
    ax.set_xlabel(f"{name}1", fontsize=SMALL, color=muted(), loc="left")
    ax.set_ylabel(f"{name}2", fontsize=SMALL, color=muted(), loc="bottom")
    ax.set_xticks([])
    ax.set_yticks([])
    ax.spines[:].set_visible(False)
    ax.margins(0.03)
    if "spatial" in name:  # as tissues are drawn: one unit on both axes, and y downwards, as in images
        ax.set_aspect("equal")
        ax.invert_yaxis()
    else:
        ax.set_box_aspect(1)


def _color_bar(ax: Axes, dots: Any, predictions: Any, use: str, *, beyond: tuple[bool, bool]) -> None:
    extend = {(True, True): "both", (True, False): "min", (False, True): "max"}.get(beyond, "neither")
    bar = ax.figure.colorbar(dots, ax=ax, shrink=0.7, aspect=18, pad=0.03, extend=extend)
    bar.set_label(f"{predictions.label(use)}\n{arrows(predictions.sign(use) > 0)}", fontsize=SMALL)
    if use == "percentile":
        bar.set_ticks([0, 0.25, 0.5, 0.75, 1])
    bar.ax.tick_params(labelsize=SMALL)
    bar.outline.set_visible(False)
