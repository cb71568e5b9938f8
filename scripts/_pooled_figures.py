"""Figures of scripts/draw_pooled_correlation.py."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from PIL import Image

mpl.use("Agg")
import matplotlib.pyplot as plt

#: Okabe & Ito (2008): told apart in all common kinds of colour blindness; shapes say the same again.
BLUE, ORANGE, GREEN, PINK, SKY, AMBER = "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00"
DRUG_COLORS, MARKERS = (BLUE, AMBER, GREEN, ORANGE, SKY, PINK), "osD^vP"
GREY, TEXT = "#b4b4b4", "#333333"
plt.rcParams.update(
    {
        "font.size": 9,
        "axes.titlesize": 10,
        "axes.titlelocation": "left",
        "axes.spines.top": False,
        "axes.spines.right": False,
        "figure.constrained_layout.use": True,
        "savefig.dpi": 160,
    }
)


def _save(figure: Any, out: Path, name: str) -> None:
    """Write a PNG of 128 colours, a third of the size of one in full colour."""
    out.mkdir(parents=True, exist_ok=True)
    path, stream = out / f"pooled_correlation_{name}.png", BytesIO()
    figure.savefig(stream, format="png", metadata={"Software": None})
    plt.close(figure)
    with Image.open(stream) as image:
        image.convert("RGB").quantize(128, dither=Image.Dither.NONE).save(path, optimize=True)
    print(f"wrote {path.name}, {path.stat().st_size / 1000:.0f} kB")


def draw_variance(shares: dict[str, tuple[float, float, float]], out: Path) -> None:
    """Bars: which part of the variance lies between drugs, between lines, and in neither."""
    figure, ax = plt.subplots(figsize=(7.2, 2.3))
    parts = (("which drug it is", BLUE, "white"), ("how sensitive the line is to all drugs", AMBER, "black"))
    parts += (("this line with this drug, and noise", "#dddddd", "black"),)
    for row, values in enumerate(shares.values()):
        left = 0.0
        for value, (label, color, ink) in zip(values, parts):
            ax.barh(row, value, left=left, color=color, height=0.66, label=label if row == 0 else None)
            ax.text(left + value / 2, row, f"{100 * value:.0f} %", ha="center", va="center", color=ink)
            left += value
    ax.set_yticks(range(len(shares)), list(shares))
    ax.invert_yaxis()
    ax.set_xlim(0, 1)
    ax.xaxis.set_visible(False)
    ax.spines[:].set_visible(False)
    ax.tick_params(length=0)
    figure.legend(loc="outside upper center", ncols=3, frameon=False, handlelength=1, columnspacing=1.2)
    _save(figure, out, "variance")


def draw_simpson(
    observed: np.ndarray,
    copied: np.ndarray,
    ridge: np.ndarray,
    names: np.ndarray,
    chosen: list[int],
    out: Path,
    *,
    seed: int,
) -> None:
    """Three scatters: all pairs in one colour, the same by drug, and a model that tells lines apart.

    `copied` and `ridge` are predictions, lines × drugs, and `chosen` the columns of six drugs.
    """
    rng = np.random.default_rng(seed)
    figure, axes = plt.subplots(1, 3, figsize=(9.6, 3.9))
    known = ~np.isnan(observed)
    some = tuple(np.argwhere(known)[rng.choice(known.sum(), 2500, replace=False)].T)
    axes[0].scatter(copied[some], observed[some], s=5, color="#4d4d4d", alpha=0.35, linewidths=0)
    axes[0].set_title(f"All pairs: r = {_number(_r(copied, observed))}\nPrediction: another line's response")
    _scatter_drugs(axes[1], copied, observed, names, chosen, rng)
    axes[1].set_title("Six of the drugs\nPrediction: another line's response")
    limits = np.quantile(observed[known], [0.0005, 0.9995])
    for ax in axes[:2]:
        ax.set(xlim=limits, ylim=limits, xlabel="predicted ln IC50", ylabel="measured ln IC50")

    mean = np.nanmean(observed, axis=0)
    _scatter_drugs(axes[2], ridge - mean, observed - mean, names, chosen, rng)
    axes[2].set_title("Drug means taken out\nPrediction: kernel ridge, unseen lines")
    axes[2].set(xlim=(-3.7, 2.9), ylim=(-6.2, 5.2), xlabel="predicted − drug mean", ylabel="measured − drug mean")
    _save(figure, out, "simpson")


def _scatter_drugs(
    ax: Axes, x: np.ndarray, y: np.ndarray, names: np.ndarray, chosen: list[int], rng: np.random.Generator
) -> None:
    """Some lines of each drug, with the regression over all of its lines."""
    lines = []
    for drug, color, marker in zip(chosen, DRUG_COLORS, MARKERS):
        rows = np.flatnonzero(~np.isnan(x[:, drug]) & ~np.isnan(y[:, drug]))
        shown = rng.choice(rows, 110, replace=False)
        ax.scatter(x[shown, drug], y[shown, drug], s=9, color=color, marker=marker, alpha=0.5, linewidths=0)
        slope, level = np.polyfit(x[rows, drug], y[rows, drug], 1)
        ends = np.quantile(x[rows, drug], [0.02, 0.98])
        label = f"{names[drug]}, r = {_number(_r(x[:, drug], y[:, drug]))}"
        lines.append((ends, level + slope * ends, color, marker, label))
    for ends, heights, color, marker, label in lines:  # above all points
        ax.plot(ends, heights, color="white", lw=4.5)
        ax.plot(ends, heights, color=color, lw=2.2, marker=marker, markersize=5.5, mec="white", mew=0.6, label=label)
    ax.legend(loc="lower right", fontsize=7, framealpha=0.85, edgecolor="none", borderpad=0.2, handlelength=1.6)


def _r(x: np.ndarray, y: np.ndarray) -> float:
    known = ~np.isnan(x) & ~np.isnan(y)
    return float(np.corrcoef(x[known], y[known])[0, 1])


def _number(value: float) -> str:
    """Two decimals, with a minus sign that is one, and no negative zero."""
    return f"{round(value, 2) + 0.0:.2f}".replace("-", "−")


def draw_baselines(
    copied: tuple[float, float],
    scores: dict[str, pd.DataFrame],
    implied: Callable[[np.ndarray], np.ndarray],
    out: Path,
) -> None:
    """Pooled beside per-drug correlation, and the curve between them."""
    rows = [("any", "another line's response", *copied)]
    for split in ("line", "pair"):
        table = scores[split]
        shown = [name for name in table.index if (split, name) != ("pair", "drug mean")]  # the same as for unseen lines
        rows += [(split, name, table.loc[name, "pooled r"], table.loc[name, "per-drug r"]) for name in shown]
    figure, (left, right) = plt.subplots(1, 2, figsize=(9.2, 3.6), width_ratios=[1.5, 1])
    where = {"any": "", "line": ", unseen lines", "pair": ", missing pairs"}
    labels = [name + where[split] for split, name, _, _ in rows]
    _dumbbells(left, labels, [row[2] for row in rows], [row[3] for row in rows], what="r")
    left.set_xlim(-0.12, 1.06)
    left.set_xlabel("Pearson r")

    pooled = np.linspace(0.7, 0.98, 400)
    right.plot(pooled, implied(pooled), color=GREY, lw=2, zorder=1)
    for split, color, marker in (("any", TEXT, "D"), ("line", GREEN, "s"), ("pair", BLUE, "o")):
        points = [(x, y) for kind, _, x, y in rows if kind == split]
        name = {"any": "another line's response", "line": "unseen lines", "pair": "missing pairs"}[split]
        right.scatter(*zip(*points), color=color, marker=marker, s=42, label=name, zorder=2)
    right.set_xlabel("pooled r")
    right.set_ylabel("mean r within drugs")
    right.legend(frameon=False, loc="upper left", fontsize=8)
    right.set_title("The curve: r within drugs\nimplied by the pooled r")
    _save(figure, out, "baselines")


def draw_drug_blind(scores: pd.DataFrame, out: Path) -> None:
    """Four columns of the table for unseen drugs."""
    figure, axes = plt.subplots(1, 4, figsize=(9.2, 2.0), sharey=True)
    titles = {
        "pooled r": "pooled r",
        "per-drug r": "per-drug r",
        "per-line centred r": "per-line r,\ndrug-centred",
        "skill": "skill",
    }
    colors = (GREY, SKY, BLUE)
    for ax, (column, title) in zip(axes, titles.items()):
        values = scores[column].to_numpy()
        ax.barh(range(len(values)), values, color=colors, height=0.66)
        for row, value in enumerate(values):
            ax.text(max(value, 0) + 0.012, row, _number(value), va="center")
        ax.set_title(title, fontweight="bold" if column in ("per-line centred r", "skill") else "normal")
        ax.set_xlim(min(0, values.min()) - 0.005, 0.85)
        ax.xaxis.set_visible(False)
        ax.spines["bottom"].set_visible(False)
    axes[0].set_yticks(range(len(scores)), list(scores.index))
    axes[0].invert_yaxis()
    for ax in axes:
        ax.tick_params(length=0)
    _save(figure, out, "drug_blind")


def draw_auroc(rows: list[tuple[str, str, float, float | None]], out: Path) -> None:
    """Pooled beside per-drug AUROC."""
    figure, ax = plt.subplots(figsize=(7.6, 0.36 * len(rows) + 1.0))
    labels = [f"{task}: {predictor}" for task, predictor, _, _ in rows]
    _dumbbells(ax, labels, [row[2] for row in rows], [row[3] for row in rows], what="AUROC")
    ax.axvline(0.5, color=GREY, lw=1, ls=":", zorder=0)
    ax.set_xlim(0.44, 1.02)
    ax.set_xlabel("AUROC (0.5 is chance)")
    _save(figure, out, "auroc")


def _dumbbells(ax: Axes, labels: list[str], pooled: list[float], within: list[float | None], *, what: str) -> None:
    """One row a predictor: a diamond for all pairs together, a dot for the mean over drugs."""
    gap = 0.022 * (1.0 if what == "r" else 0.5)
    for row, (all_pairs, by_drug) in enumerate(zip(pooled, within)):
        first = row == 0
        if by_drug is not None:
            ax.plot([all_pairs, by_drug], [row, row], color="#d9d9d9", lw=3, zorder=1, solid_capstyle="round")
            ax.scatter(by_drug, row, color=BLUE, s=48, zorder=3, label=f"mean {what} over drugs" if first else None)
            ax.text(by_drug - gap, row, _number(by_drug), ha="right", va="center", fontsize=8, color=BLUE)
        ax.scatter(all_pairs, row, color=ORANGE, marker="D", s=36, zorder=3, label=f"pooled {what}" if first else None)
        ax.text(all_pairs + gap, row, _number(all_pairs), ha="left", va="center", fontsize=8, color=ORANGE)
    ax.set_yticks(range(len(labels)), labels)
    ax.set_ylim(len(labels) - 0.5, -0.6)
    ax.spines["left"].set_visible(False)
    ax.tick_params(axis="y", length=0)
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2, frameon=False)
