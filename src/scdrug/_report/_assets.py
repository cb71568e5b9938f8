"""Libraries of the page, compressed: the browser unpacks them, so that a report stays small enough to send."""

from __future__ import annotations

import base64
import functools
import gzip
import importlib.resources
from pathlib import Path


def packed(content: bytes) -> str:
    """Compress and write as text."""
    return base64.b64encode(gzip.compress(content, compresslevel=6, mtime=0)).decode("ascii")


@functools.cache
def table_library() -> str:
    """DataTables, as itables brings it, packed."""
    return packed(_bundle().read_bytes())


@functools.cache
def plot_library() -> str:
    """Plotly, packed."""
    from plotly.offline import get_plotlyjs

    return packed(get_plotlyjs().encode("utf-8"))


def table_styles() -> str:
    """Styles of DataTables."""
    return _bundle().with_suffix(".css").read_text(encoding="utf-8").replace("</", "<\\/")


def own_text(name: str) -> str:
    """A file beside this one."""
    return importlib.resources.files("scdrug").joinpath("_report", name).read_text(encoding="utf-8")


def _bundle() -> Path:
    from itables import options

    return Path(options.dt_bundle)
