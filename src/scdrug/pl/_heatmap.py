"""Groups of cells × drugs."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from .._arguments import checked
from .._constants import KEYS
from .._labels import group_labels
from ..pp._drugs import resolve_drugs
from ..tl._class_sums import class_sums
from ..tl._group_reliability import judge_groups
from ..tl._group_response import summarise_groups
from ..tl._stored import Predictions, check_use, read_predictions
from ._style import FONT, OTHER, SMALL, arrows, diverging, drug_labels, muted, new_axes, paper, shorten

if TYPE_CHECKING:
    from anndata import AnnData
    from matplotlib.axes import Axes


@checked
def response_heatmap(
    adata: AnnData,
    groupby: str,
    *,
    drugs: str | Sequence[str] | None = None,
    n_drugs: int = 30,
    use: str = "percentile",
    cluster: bool = True,
    annotate: bool = True,
    include_refused: bool = False,
    key: str = KEYS.PREDICTED,
    figsize: tuple[float, float] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Plot the mean predicted response of groups of cells to drugs.

    Orange is sensitive and blue resistant. Percentiles are drawn on the whole scale from 0 to 1, grey being the median
    reference line. Responses in the unit of the reference are drawn as differences to the mean of the groups, because
    potencies of drugs differ far more than groups do.

    Parameters
    ----------
    adata
        Cells with the results of :func:`scdrug.tl.predict_response`.
    groupby
        Column of `obs` with the groups. Cells without label are left out.
    drugs
        Names or ids of the drugs to show; by default the `n_drugs` whose group means differ most.
    n_drugs
        Number of drugs, if they are not named.
    use
        ``"percentile"``, or ``"response"``.
    cluster
        Order groups and drugs by average linkage of their Euclidean distances; otherwise groups keep the order of
        their categories and drugs that of `drugs`.
    annotate
        Write number of cells and reliability beside each group, and put a dot where the interval of a group
        excludes the median line.
    include_refused
        Colour also groups whose predictions are not to be believed (see :func:`scdrug.get.group_reliability_df`). By default they are
        hatched in grey, come last, and take no part in choosing, centring and ordering drugs.
    key
        Where :func:`scdrug.tl.predict_response` stored its results.
    figsize
        Width and height of a new figure in inches.
    ax
        Where to plot; best in a figure with ``layout="constrained"``.

    Returns
    -------
    The Axes; the colour bar is an Axes of its own in the same figure.

    Raises
    ------
    KeyError
        If there are no predictions or no such column, or a drug is unknown.
    ValueError
        If no cell has a label.

    Examples
    --------
    >>> import scdrug
    >>> cells, reference = scdrug.datasets.toy_cells(), scdrug.datasets.toy()
    >>> scdrug.model.KernelRidge.setup_anndata(reference)
    >>> model = scdrug.model.KernelRidge(reference)
    >>> model.train()
    >>> scdrug.tl.predict_response(cells, model)
    >>> ax = scdrug.pl.response_heatmap(cells, "clone", n_drugs=8)
    >>> len(ax.get_xticklabels())
    8
    """
    check_use(use)
    predictions = read_predictions(adata, key)
    named = None if drugs is None else resolve_drugs(drugs, predictions.drugs)
    if named == []:
        raise ValueError("`drugs` is empty: name at least one drug, or omit it (None) for those that differ most.")
    labels = group_labels(adata, groupby)
    labels = pd.Categorical.from_codes(np.where(predictions.predicted, labels.codes, -1), categories=labels.categories)
    means = _group_means(predictions.table(use), labels, groupby)
    info = judge_groups(predictions, labels).set_index("group").loc[means.index]
    greyed = info["refused"].to_numpy(dtype=bool) & (not include_refused)

    ids = named if named is not None else _most_different(means if greyed.all() else means[~greyed], n_drugs)
    means = means[ids]
    if use == "response":
        means = means - (means if greyed.all() else means[~greyed]).mean(axis=0)
    if cluster:
        shown, last = np.flatnonzero(~greyed), np.flatnonzero(greyed)
        values = means.to_numpy()
        columns = _leaf_order((values if greyed.all() else values[shown]).T)
        means = means.iloc[[*shown[_leaf_order(values[shown])], *last], columns]
    names = drug_labels(predictions.drugs.loc[list(means.columns)])

    if figsize is None:
        figsize = (0.24 * len(means.columns) + 3.2, 0.27 * len(means) + 0.075 * max(map(len, names)) + 1.5)
    ax = new_axes(ax, figsize)
    info = info.loc[means.index]
    greyed = info["refused"].to_numpy(dtype=bool) & (not include_refused)
    mesh = _draw(ax, means, names, use, greyed, high_is_sensitive=predictions.sign(use) > 0)
    if annotate:
        _annotate(ax, info, greyed)
        _mark(ax, predictions, labels, means, greyed)
    _color_bar(ax, mesh, predictions, use)
    return ax


def _group_means(table: pd.DataFrame, labels: pd.Categorical, groupby: str) -> pd.DataFrame:
    """Mean of each group (groups × drugs)."""
    codes = labels.codes.astype(np.int64)
    if not (codes >= 0).any():
        raise ValueError(f"No cell has a label in `adata.obs[{groupby!r}]`.")
    if (codes < 0).any():
        warnings.warn(
            f"Left out {int((codes < 0).sum())} of {len(codes)} cells without prediction, or without label in "
            f"`adata.obs[{groupby!r}]`.",
            UserWarning,
            stacklevel=3,
        )
    n = len(labels.categories)
    sums = class_sums(lambda block: table.iloc[:, block].to_numpy(), table.shape[1], codes, n)
    counts = np.bincount(codes[codes >= 0], minlength=n)
    present = counts > 0  # a group may hold nothing but cells without prediction
    names = [name for name, there in zip(labels.categories, present) if there]
    return pd.DataFrame(sums[present] / counts[present, None], index=names, columns=list(table.columns))


def _most_different(means: pd.DataFrame, n_drugs: int) -> list[str]:
    spread = (means.max() - means.min()).sort_values(ascending=False, kind="stable")
    return list(spread.index[:n_drugs])


def _leaf_order(values: np.ndarray) -> np.ndarray:
    """Order of rows that puts similar ones side by side."""
    from scipy.cluster.hierarchy import leaves_list, linkage

    if len(values) < 3:
        return np.arange(len(values))
    return leaves_list(linkage(values, method="average", optimal_ordering=True))


def _draw(
    ax: Axes, means: pd.DataFrame, names: list[str], use: str, greyed: np.ndarray, *, high_is_sensitive: bool
) -> Any:
    values = np.ma.masked_array(means.to_numpy(), mask=np.repeat(greyed[:, None], means.shape[1], axis=1))
    largest = float(np.ma.filled(np.abs(values).max(), 0.0)) or 1.0
    low, high = (0.0, 1.0) if use == "percentile" else (-largest, largest)
    mesh = ax.pcolormesh(
        values,
        cmap=diverging(high_is_sensitive=high_is_sensitive),
        vmin=low,
        vmax=high,
        edgecolors=paper(),
        linewidth=0.6,
    )
    ax.set_xticks(np.arange(len(names)) + 0.5, names, rotation=90, fontsize=SMALL)
    ax.set_yticks(np.arange(len(means)) + 0.5, [shorten(str(name), 34) for name in means.index], fontsize=FONT)
    for row in np.flatnonzero(greyed):
        ax.axhspan(row + 0.06, row + 0.94, facecolor="none", edgecolor=OTHER, hatch="//////", linewidth=0)
        ax.get_yticklabels()[row].set_color(OTHER)
    ax.set_ylim(len(means), 0)
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    return mesh


def _annotate(ax: Axes, info: pd.DataFrame, greyed: np.ndarray) -> None:
    """Two columns of numbers to the right of the groups, and a line on groups that are greyed."""
    columns = {"cells": (34, [f"{int(n):,}" for n in info["n_cells"]])}
    if info["reliability"].notna().any():
        columns["reliability"] = (84, [f"{value:.2f}" for value in info["reliability"]])
    for title, (offset, texts) in columns.items():
        style = {
            "textcoords": "offset points",
            "ha": "right",
            "fontsize": SMALL,
            "annotation_clip": False,
        }
        ax.annotate(title, (1, 1), (offset, 3), xycoords="axes fraction", va="bottom", color=muted(), **style)
        for row, text in enumerate(texts):
            ax.annotate(
                text, (1, row + 0.5), (offset, 0), xycoords=ax.get_yaxis_transform(), va="center",
                color=OTHER if greyed[row] else muted(), **style,
            )  # fmt: skip


def _mark(ax: Axes, predictions: Predictions, labels: pd.Categorical, means: pd.DataFrame, greyed: np.ndarray) -> None:
    """A dot where the interval of a group excludes the median line."""
    if "median_of_lines" not in predictions.drugs:
        return
    table = summarise_groups(predictions, labels, list(means.columns))
    median = predictions.drugs["median_of_lines"].loc[table["drug"]].to_numpy(dtype=float)
    table["outside"] = (table["lower"] > median) | (table["upper"] < median)
    outside = (
        table.pivot(index="group", columns="drug", values="outside")
        .loc[means.index, means.columns]
        .to_numpy(dtype=bool)
    )
    rows, columns = np.nonzero(outside & ~greyed[:, None])
    if len(rows):
        ax.scatter(columns + 0.5, rows + 0.5, s=5, color=muted(), linewidths=0, zorder=3)


def _color_bar(ax: Axes, mesh: Any, predictions: Predictions, use: str) -> None:
    bar = ax.figure.colorbar(mesh, ax=ax, location="top", shrink=0.5, aspect=28, anchor=(0.0, 0.5), pad=0.04)
    what = f"mean {predictions.label(use)}" + ("" if use == "percentile" else ", difference to the mean of the groups")
    bar.set_label(f"{what}\n{arrows(predictions.sign(use) > 0)}", fontsize=SMALL)
    if use == "percentile":
        bar.set_ticks([0, 0.25, 0.5, 0.75, 1])
    bar.ax.tick_params(labelsize=SMALL)
    bar.outline.set_visible(False)
