"""Sphinx extension: document what a class takes from its private mixins as its own.

A long class is cut into mixins, one a file. Readers know nothing of them: the page of a class lists their methods, and does
not name them as bases.
"""

from __future__ import annotations

import importlib
import inspect
from typing import TYPE_CHECKING, Any

from generated_pages import NAMESPACES

if TYPE_CHECKING:
    from sphinx.application import Sphinx
    from sphinx.config import Config


def _is_mixin(base: type) -> bool:
    return base.__module__.startswith("scdrug.") and base.__name__.endswith("Mixin")


def list_members(app: Sphinx, config: Config) -> None:
    """Tell the template of classes, by full name, what each public class has from its own mixins."""
    members = {}
    for namespace in NAMESPACES:
        module = importlib.import_module(f"scdrug.{namespace}")
        for name in module.__all__:
            item = getattr(module, name)
            if inspect.isclass(item):
                mixins = [base for base in item.__bases__ if _is_mixin(base)]
                members[f"{module.__name__}.{name}"] = sorted({key for base in mixins for key in vars(base)})
    config.autosummary_context["mixin_members"] = members


def hide_mixins(app: Sphinx, name: str, obj: type, options: dict[str, Any], bases: list[type]) -> None:
    """Leave mixins out of the bases that a page names."""
    bases[:] = [base for base in bases if not _is_mixin(base)]


def setup(app: Sphinx) -> dict[str, Any]:
    """Run before autosummary writes pages, and when autodoc names bases."""
    app.connect("config-inited", list_members)
    app.connect("autodoc-process-bases", hide_mixins)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
