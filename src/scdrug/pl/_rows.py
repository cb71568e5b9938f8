"""Plots with one named row for each of several things, the first on top."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ._style import LINE, SMALL, despine

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def label_rows(ax: Axes, labels: Sequence[str], *, fontsize: float = SMALL) -> None:
    """Write labels beside rows at 0, 1, …, the first on top."""
    ax.set_yticks(np.arange(len(labels)), list(labels), fontsize=fontsize)
    ax.set_ylim(len(labels) - 0.5, -0.5)


def auroc_rows(ax: Axes, auroc: Sequence[float], labels: Sequence[str], colors: Sequence[str], xlabel: str) -> Axes:
    """Draw an AUROC a row, beside a line at chance."""
    ax.axvline(0.5, color=LINE, linewidth=0.8, linestyle="--")
    ax.scatter(auroc, np.arange(len(labels)), c=list(colors), s=24, zorder=3)
    label_rows(ax, labels)
    ax.set_xlim(-0.02, 1.02)
    ax.set_xlabel(xlabel, fontsize=SMALL)
    despine(ax)
    return ax
