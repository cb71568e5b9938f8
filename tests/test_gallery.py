"""The gallery shows every plot, with code that draws it and a small picture."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import scdrug

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "guide" / "gallery.md").read_text(encoding="utf-8")
PICTURES = ROOT / "docs" / "_static" / "gallery"


@pytest.mark.parametrize("name", scdrug.pl.__all__)
def test_each_plot_has_code_and_a_small_picture(name: str) -> None:
    section = re.search(rf"^### pl\.{name}\n(.*?)(?=^##|\Z)", PAGE, flags=re.DOTALL | re.MULTILINE)
    assert section is not None, "add it to docs/guide/gallery.md and run scripts/draw_gallery.py"
    code = "\n".join(re.findall(r"```python\n(.*?)```", section.group(1), flags=re.DOTALL))
    assert f"scdrug.pl.{name}(" in code
    assert f"{{func}}`scdrug.pl.{name}`" in section.group(1)
    assert f"(../_static/gallery/{name}.png)" in section.group(1)
    assert 0 < (PICTURES / f"{name}.png").stat().st_size < 60_000


def test_pictures_are_those_of_plots_and_small_together() -> None:
    pictures = list(PICTURES.iterdir())
    assert {path.name for path in pictures} == {f"{name}.png" for name in scdrug.pl.__all__}
    assert sum(path.stat().st_size for path in pictures) < 1_200_000


def test_links_at_the_top_of_the_gallery_lead_to_its_sections() -> None:
    linked = re.findall(r"\[`(\w+)`\]\(#pl(\w+)\)", PAGE)
    assert all(name == target for name, target in linked)
    assert sorted(name for name, _ in linked) == list(scdrug.pl.__all__)
