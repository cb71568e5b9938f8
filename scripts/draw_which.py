"""Draw the chart of docs/guide/which.md, once for light and once for dark pages.

    python scripts/draw_which.py [--out docs/_static] [--png]

Letters are saved as outlines, so that the chart looks the same everywhere. `--png` saves pictures to look at as well.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.patches import FancyBboxPatch

WIDTH, ROW, TOP = 4.3, 0.46, 0.42
LEFT, RIGHT = (0.05, 2.0), (2.3, 1.95)  # start and width of the columns, inches
QUESTIONS = (
    ("The cells of a tumour", "the default, gdsc-ridge"),
    ("What a prediction rests on", "gdsc2-pathways-1, -2 and -3"),
    ("Bulk profiles of new lines", "KernelRidge, coupled drugs"),
    ("Untested pairs of a screen", "KernelRidge, coupled drugs"),
    ("A drug that nobody screened", 'the default, drugs={"…": …}'),
    ("Probability of sensitivity", "MTIGCN on the process"),
)
CHECKS = (
    ("Is the verdict “ok”?", "Stop. Mend the file."),
    ("Group reliability ≥ 0.05?", "Refused: nothing to rank."),
    ("Evidence strong or some?", "A guess. Take another drug."),
    ("Stable in ≥ 75 % of resamples?", "Chance, in these cells."),
    ("Interval beyond median line?", "Compare groups, no more."),
)
END = "Worth an experiment. Not a treatment."
THEMES = {
    "light": {"ink": "#222222", "soft": "#5a5a5a", "ask": "#eef2f6", "take": "#dbe8f4", "no": "#f8e3d8", "yes": "#d9efe4"},
    "dark": {"ink": "#f0f0f0", "soft": "#b8bcc2", "ask": "#2b3138", "take": "#1f4263", "no": "#6b3218", "yes": "#1d5540"},
}  # fmt: skip


def box(ax: Axes, place: tuple[float, float], y: float, text: str, face: str, ink: str, *, bold: bool = False) -> None:
    """A rounded box with a line of text, centred at `y`."""
    x, width = place
    style = "round,pad=0,rounding_size=0.07"
    ax.add_patch(FancyBboxPatch((x, y - 0.165), width, 0.33, boxstyle=style, facecolor=face, linewidth=0))
    weight = "bold" if bold else "normal"
    ax.text(x + width / 2, y, text, ha="center", va="center", fontsize=8.6, color=ink, fontweight=weight)


def arrow(ax: Axes, start: tuple[float, float], end: tuple[float, float], color: str) -> None:
    """A thin arrow."""
    ax.annotate(
        "", end, start, arrowprops={"arrowstyle": "-|>", "color": color, "linewidth": 1, "shrinkA": 0, "shrinkB": 0}
    )


def draw(theme: dict[str, str]) -> plt.Figure:
    """The whole chart."""
    height = 2 * TOP + (len(QUESTIONS) + len(CHECKS) + 1) * ROW + 0.1
    figure = plt.figure(figsize=(WIDTH, height))
    ax = figure.add_axes((0, 0, 1, 1))
    ax.set(xlim=(0, WIDTH), ylim=(-height, 0))
    ax.axis("off")
    left_end, left_middle = sum(LEFT), LEFT[0] + LEFT[1] / 2

    def heading(y: float, left: str, right: str) -> None:
        for (x, width), text in ((LEFT, left), (RIGHT, right)):
            ax.text(
                x + width / 2, y, text, ha="center", va="center", fontsize=9.4, fontweight="bold", color=theme["ink"]
            )

    heading(-TOP / 2, "You ask about", "Take")
    y = -TOP - ROW / 2
    for question, model in QUESTIONS:
        box(ax, LEFT, y, question, theme["ask"], theme["ink"])
        arrow(ax, (left_end + 0.04, y), (RIGHT[0] - 0.04, y), theme["soft"])
        box(ax, RIGHT, y, model, theme["take"], theme["ink"])
        y -= ROW
    y -= 0.28
    heading(y + ROW / 2 - 0.02, "Before you believe it, ask", "If not")
    y -= TOP - ROW / 2
    for check, outcome in CHECKS:
        box(ax, LEFT, y, check, theme["ask"], theme["ink"])
        arrow(ax, (left_end + 0.04, y), (RIGHT[0] - 0.04, y), theme["soft"])
        box(ax, RIGHT, y, outcome, theme["no"], theme["ink"])
        arrow(ax, (left_middle, y - 0.18), (left_middle, y - ROW + 0.18), theme["soft"])
        ax.text(left_middle + 0.09, y - ROW / 2, "yes", va="center", fontsize=6.6, color=theme["soft"])
        y -= ROW
    box(ax, (LEFT[0], sum(RIGHT) - LEFT[0]), y, END, theme["yes"], theme["ink"], bold=True)
    return figure


def main() -> None:
    """Save the chart in both themes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path(__file__).parents[1] / "docs" / "_static")
    parser.add_argument("--png", action="store_true", help="save pictures of 400 pixels, too")
    arguments = parser.parse_args()
    plt.rcParams["svg.hashsalt"] = "scdrug"
    for name, theme in THEMES.items():
        figure = draw(theme)
        figure.savefig(arguments.out / f"which_{name}.svg", transparent=True, metadata={"Date": None})
        if arguments.png:
            figure.savefig(
                arguments.out / f"which_{name}.png", dpi=400 / WIDTH, facecolor="#14181e" if name == "dark" else "white"
            )
        plt.close(figure)


if __name__ == "__main__":
    main()
