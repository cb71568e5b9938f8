"""Run the code of docs/guide/gallery.md from top to bottom and save each picture that it names.

    python scripts/draw_gallery.py [--only NAME ...] [--style dark_background] [--out FOLDER]

Needs the extras `demo` and `explain` and no network. A block of code that a picture follows must draw it. Sections build on the first
one alone, so `--only` runs that and those of the pictures named, and in them the blocks that no other picture follows.
"""

from __future__ import annotations

import argparse
import logging
import os
import re
import tempfile
import warnings
from collections.abc import Collection, Iterator
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
from PIL import Image

import scdrug

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "guide" / "gallery.md"
DPI, N_COLORS = 110, 256


def steps(text: str, only: Collection[str]) -> Iterator[tuple[str, str | None]]:
    """Blocks of code in order, each with the picture that stands below it, if any; of all pictures if `only` is empty."""
    pattern = re.compile(r"```python\n(.*?)```(?:\s*!\[[^\]]*\]\(\S*/gallery/(\w+)\.png\))?", flags=re.DOTALL)
    for number, section in enumerate(text.split("\n## ")[1:]):
        found = [(match.group(1), match.group(2)) for match in pattern.finditer(section)]
        wanted = {picture for _, picture in found if picture and (not only or picture in only)}
        if wanted or number == 0:
            yield from ((code, picture) for code, picture in found if picture is None or picture in wanted)


def save(path: Path) -> int:
    """Save the current figure in few colours, close it, and return its size in bytes."""
    figure = plt.gcf()
    figure.savefig(path, dpi=DPI, bbox_inches="tight", pad_inches=0.08)
    plt.close("all")
    with Image.open(path) as picture:
        few = picture.convert("RGB").quantize(N_COLORS, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    few.save(path, optimize=True)
    return path.stat().st_size


def main() -> None:
    """Draw the gallery."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", default=(), help="pictures to draw")
    parser.add_argument("--style", default="default", help="style of Matplotlib")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "_static" / "gallery")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    out = arguments.out.resolve()

    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    scdrug.settings.progress = False
    plt.style.use(arguments.style)
    names: dict[str, object] = {}
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)  # the page writes results beside itself
        for code, picture in steps(PAGE.read_text(encoding="utf-8"), arguments.only):
            exec(compile(code, str(PAGE), "exec"), names)
            if picture:
                size = save(out / f"{picture}.png")
                print(f"{picture:28} {size / 1e3:6.1f} kB")
            plt.close("all")
        os.chdir(ROOT)


if __name__ == "__main__":
    main()
