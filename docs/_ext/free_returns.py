"""Sphinx extension: render the ``Returns`` section of numpydoc docstrings as it was written.

Signatures carry the types, so the section is prose and definition lists (``adata.obsm["…"]`` : what it is), which
napoleon would take for the name of a type.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sphinx.ext.napoleon.docstring import NumpyDocstring

if TYPE_CHECKING:
    from sphinx.application import Sphinx


def _parse_returns_section(self: NumpyDocstring, section: str) -> list[str]:
    lines = self._dedent(self._consume_to_next_section())
    if (
        lines and lines[0].strip() == ":"
    ):  # sphinx-autodoc-typehints marks the absent type so, for napoleon's own parser
        lines = lines[1:]
    return [*self._format_block(":returns: ", lines), ""]


def setup(app: Sphinx) -> dict[str, Any]:
    """Replace the parser of one section."""
    NumpyDocstring._parse_returns_section = _parse_returns_section
    return {"parallel_read_safe": True, "parallel_write_safe": True}
