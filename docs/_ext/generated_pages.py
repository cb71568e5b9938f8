"""Sphinx extension: write what can be read off the package, so that no page can drift from it.

- ``docs/api/_<namespace>.inc``: an autosummary of the namespace's ``__all__``, included by
  ``docs/api/<namespace>.md``;
- ``docs/api/_cli.inc``: the help of every command, included by ``docs/api/cli.md``;
- ``docs/tutorials/*.ipynb``: copies of the executed notebooks in ``tutorials/``.
"""

from __future__ import annotations

import importlib
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sphinx.util import logging

if TYPE_CHECKING:
    from collections.abc import Iterator

    import click
    from sphinx.application import Sphinx
    from sphinx.config import Config

logger = logging.getLogger(__name__)
DOCS = Path(__file__).parents[1]
NAMESPACES = ("datasets", "get", "metrics", "model", "pl", "pp", "tl")
#: One autosummary reads the names from here; the stubs land in docs/api/generated.
_AUTOSUMMARY = ".. autosummary::\n   :toctree: generated\n   :nosignatures:\n\n{names}\n"


def write_namespace_lists(app: Sphinx, config: Config) -> None:
    """List the public names of each namespace, and have autosummary make their pages."""
    lists = []
    for namespace in NAMESPACES:
        try:
            module = importlib.import_module(f"scdrug.{namespace}")
            names = [f"   scdrug.{namespace}.{name}" for name in module.__all__]
        except Exception as error:  # noqa: BLE001 - whatever the reason, the page says it and the build fails
            logger.warning("scdrug.%s cannot be documented: %r", namespace, error)
            names = []
        path = DOCS / "api" / f"_{namespace}.inc"
        _write(path, _AUTOSUMMARY.format(names="\n".join(names)) if names else "")
        lists.append(str(path))
    config.autosummary_generate = lists


def write_command_help(app: Sphinx, config: Config) -> None:
    """Write the help of every command as it is printed in a terminal."""
    try:
        import typer.main

        from scdrug.cli import app as commands

        root = typer.main.get_command(commands)
    except Exception as error:  # noqa: BLE001
        logger.warning("scdrug.cli cannot be documented: %r", error)
        _write(DOCS / "api" / "_cli.inc", "")
        return
    _write(DOCS / "api" / "_cli.inc", "\n".join(_help(root, "scdrug")))


def _help(command: click.Command, path: str) -> Iterator[str]:
    import click

    context = click.Context(command, info_name=path, max_content_width=100, terminal_width=100)
    # click's own formatting: typer's draws boxes with terminal colours
    formatter = context.make_formatter()
    click.Command.format_help(command, context, formatter)
    yield f"{path}\n{'-' * len(path)}\n\n.. code-block:: text\n"
    yield from (f"   {line}".rstrip() for line in formatter.getvalue().splitlines())
    yield ""
    for name, child in sorted(getattr(command, "commands", {}).items()):
        yield from _help(child, f"{path} {name}")


def copy_tutorials(app: Sphinx, config: Config) -> None:
    """Bring the executed notebooks into the source folder."""
    target = DOCS / "tutorials"
    for old in target.glob("*.ipynb"):
        old.unlink()
    for notebook in sorted((DOCS.parent / "tutorials").glob("*.ipynb")):
        shutil.copy2(notebook, target / notebook.name)


def _write(path: Path, text: str) -> None:
    """Write only what changed, so that an incremental build stays incremental."""
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        path.write_text(text, encoding="utf-8")


def setup(app: Sphinx) -> dict[str, Any]:
    """Run before sphinx looks for source files."""
    for step in (write_namespace_lists, write_command_help, copy_tutorials):
        app.connect("config-inited", step)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
