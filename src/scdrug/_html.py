"""Pages that need no other file and no network: templates of the package, filled in, with figures inside."""

from __future__ import annotations

import base64
import importlib.resources

from . import __version__
from ._constants import DISCLAIMER


def render_page(template: str, **values: object) -> str:
    """Fill in a template.

    Parameters
    ----------
    template
        Its path inside the package. It may write bytes of a PNG as ``{{ png | uri }}``.
    values
        What it takes, besides `version` and `disclaimer`. Text is escaped.
    """
    from jinja2 import Environment

    source = importlib.resources.files("scdrug").joinpath(*template.split("/")).read_text(encoding="utf-8")
    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters["uri"] = lambda png: "data:image/png;base64," + base64.b64encode(png).decode("ascii")
    return environment.from_string(source).render(**values, version=__version__, disclaimer=DISCLAIMER)
