"""Colours, sizes and small helpers that all plots share. Matplotlib is imported on first use."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap

#: Blue and orange differ in brightness and hue for all common kinds of colour blindness.
RESISTANT, MIDDLE, SENSITIVE = "#2166ac", "#e4e4e4", "#c7511f"
#: Okabe & Ito (2008), without yellow, which is too light for small dots; `categories` adds black.
CATEGORIES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00")
#: Greys that show on white and on black pages.
OTHER, LINE = "#b0b0b0", "#9a9a9a"
FONT, SMALL = 9.0, 8.0


def shade(strength: float) -> str:
    """Colour between the page (0) and its letters (1), in the style of Matplotlib that is in force."""
    from matplotlib import rcParams
    from matplotlib.colors import to_hex, to_rgb

    page = rcParams["axes.facecolor"]
    light, dark = (np.array(to_rgb(color)) for color in ("white" if page == "none" else page, rcParams["text.color"]))
    return to_hex(light + strength * (dark - light))


def ink() -> str:
    """Colour of letters in the style that is in force."""
    from matplotlib import rcParams

    return rcParams["text.color"]


def muted() -> str:
    """Colour of lesser letters and thin lines."""
    return shade(0.7)


def paper() -> str:
    """Colour of the page, for what should look cut out."""
    return shade(0.0)


def categories() -> tuple[str, ...]:
    """Seven colours for categories, the last that of letters."""
    return (*CATEGORIES, ink())


def diverging(*, high_is_sensitive: bool = True) -> Colormap:
    """Blue for resistant, grey for the middle, orange for sensitive; the middle shows on white paper."""
    from matplotlib.colors import LinearSegmentedColormap

    colors = [RESISTANT, "#84aed3", MIDDLE, "#e3a27f", SENSITIVE]
    return LinearSegmentedColormap.from_list("scdrug", colors if high_is_sensitive else colors[::-1])


def sequential(*, high_is_sensitive: bool = True) -> Colormap:
    """Dark orange for sensitive, for values without a middle that means something."""
    from matplotlib.colors import LinearSegmentedColormap

    colors = ["#e8ddd6", "#e0a685", SENSITIVE, "#5e1f06"]
    return LinearSegmentedColormap.from_list("scdrug-response", colors if high_is_sensitive else colors[::-1])


def new_axes(ax: Axes | None, figsize: tuple[float, float]) -> Axes:
    """Return `ax`, or the only Axes of a new figure."""
    if ax is not None:
        return ax
    import matplotlib.pyplot as plt

    return plt.subplots(figsize=figsize, layout="constrained")[1]


def shorten(text: str, length: int = 28) -> str:
    """Cut a label that would push the plot aside in its middle: long names often differ at their end."""
    if len(text) <= length:
        return text
    tail = (length - 1) // 3
    return f"{text[: length - 1 - tail].rstrip()}…{text[-tail:].lstrip()}"


def room_for(labels: Sequence[str]) -> float:
    """Inches that the longest label takes beyond a usual one."""
    return 0.07 * max(max(map(len, labels), default=0) - 16, 0)


def drug_labels(table: pd.DataFrame) -> list[str]:
    """Names of drugs; those that several ids share get their id added."""
    names = table["name"].astype(str)
    shared = names.duplicated(keep=False)
    return [
        f"{shorten(name)} ({drug})" if twice else shorten(name) for name, drug, twice in zip(names, table.index, shared)
    ]


def category_colors(values: Sequence[str]) -> dict[str, str]:
    """Colours of the most frequent categories; the others, and missing ones, share a grey called ``other``."""
    counts = pd.Series(
        [value for value in values if value and value.lower() not in ("other", "unclassified")], dtype=object
    )
    frequent = sorted(counts.unique(), key=lambda value: (-int((counts == value).sum()), value))[:7]
    return dict(zip(frequent, categories()))


def arrows(high_is_sensitive: bool) -> str:
    """State the direction of an axis or colour bar."""
    low, high = ("less", "more") if high_is_sensitive else ("more", "less")
    return f"{low} sensitive  ←  →  {high} sensitive"


def stars(fdr: float) -> str:
    """Mark a false discovery rate; nothing above 0.05 or where there is none."""
    return "" if np.isnan(fdr) else "*" * int(np.sum(fdr < np.array([0.05, 0.01, 0.001])))


def despine(ax: Axes) -> None:
    """Take away the frame's upper and right line."""
    ax.spines[["top", "right"]].set_visible(False)


def label_rows(ax: Axes, labels: Sequence[str], *, fontsize: float = SMALL) -> None:
    """Write labels beside rows at 0, 1, …, the first on top."""
    ax.set_yticks(np.arange(len(labels)), list(labels), fontsize=fontsize)
    ax.set_ylim(len(labels) - 0.5, -0.5)


def auroc_rows(ax: Axes, auroc: Sequence[float], labels: Sequence[str], colors: Sequence[str], xlabel: str) -> Axes:
    """Draw one AUROC per row, beside a line at chance."""
    ax.axvline(0.5, color=LINE, linewidth=0.8, linestyle="--")
    ax.scatter(auroc, np.arange(len(labels)), c=list(colors), s=24, zorder=3)
    label_rows(ax, labels)
    ax.set_xlim(-0.02, 1.02)
    ax.set_xlabel(xlabel, fontsize=SMALL)
    despine(ax)
    return ax
