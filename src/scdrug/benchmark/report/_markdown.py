"""A report as Markdown."""

from __future__ import annotations

import re
from collections.abc import Sequence

from ._format import Row, Table

#: What stands between these lines can be included in another page.
START, END = "<!-- tables -->", "<!-- end of tables -->"


def escape(text: str) -> str:
    """Text that Markdown shows as it is, inside of a table too."""
    text = re.sub(r"([\\`*_\[\]<>|])", r"\\\1", str(text))
    return re.sub(r"\s+", " ", text)


def table_markdown(table: Table) -> str:
    """A table with title and notes."""
    lines = [f"### {escape(table.title)}", ""]
    if table.rows:
        rules = [":--" if number == 0 or name in table.texts else "--:" for number, name in enumerate(table.columns)]
        lines += [_line([escape(name) for name in table.columns]), _line(rules)]
        lines += [_line([_label(row), *(_cell(cell.text, cell.best) for cell in row.cells)]) for row in table.rows]
        lines.append("")
    for note in table.notes:
        lines += [escape(note), ""]
    return "\n".join(lines)


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _label(row: Row) -> str:
    return f"*{escape(row.label)}*" if row.kind != "model" else escape(row.label)


def _cell(text: str, best: bool) -> str:
    return f"**{escape(text)}**" if best else escape(text)
