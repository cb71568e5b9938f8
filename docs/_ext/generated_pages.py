"""Sphinx extension: write what can be read off the package, so that no page can drift from it.

- ``docs/api/<namespace>.md``: an autosummary of the namespace's ``__all__``;
- ``docs/api/cli.md``: the help of every command; ``docs/api/report.md``; ``docs/api/settings.md``;
- ``docs/tutorials/*.ipynb``: copies of the executed notebooks in ``tutorials/``.
"""

from __future__ import annotations

import importlib
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sphinx.application import Sphinx
    from sphinx.config import Config

DOCS = Path(__file__).parents[1]
#: Namespace -> sentence at the head of its page.
NAMESPACES = {
    "benchmark": "Splits, runner, audit and report: how models are judged.",
    "datasets": "Data sets with verified hashes, and synthetic ones that need no network.",
    "get": "Tidy tables from what `tl` stored.",
    "metrics": "Scores of predictions: arrays in, numbers out, missing values left out.",
    "model": "Models to load and to train. The first class that is used loads torch and scvi-tools.",
    "pl": "One plot for each result; all return matplotlib axes and never call `show`.",
    "pp": "Preparation of cells, bulk references, responses and drugs.",
    "tl": "What you came for: predicted responses and ranked drugs.",
}
_PAGE = """# `scdrug.{namespace}`

{sentence}

```{{eval-rst}}
.. currentmodule:: scdrug.{namespace}

.. autosummary::
   :toctree: generated
   :nosignatures:

{names}
```
"""
_SETTINGS = """# `scdrug.settings`

One object for the whole package, e.g. `scdrug.settings.data_dir = "data"`.

```{eval-rst}
.. currentmodule:: scdrug._settings

.. autoattribute:: Settings.chunk_size
.. autoattribute:: Settings.progress
.. autoproperty:: Settings.data_dir
```
"""
_REPORT = """# `scdrug.report`

```{eval-rst}
.. currentmodule:: scdrug

.. autofunction:: report
```
"""


def write_namespace_pages(app: Sphinx, config: Config) -> None:
    """List the public names of each namespace, and have autosummary make their pages."""
    for namespace, sentence in NAMESPACES.items():
        module = importlib.import_module(f"scdrug.{namespace}")
        names = "\n".join(f"   {name}" for name in module.__all__)
        page = _PAGE.format(namespace=namespace, sentence=sentence, names=names)
        _write(DOCS / "api" / f"{namespace}.md", page)


def write_command_help(app: Sphinx, config: Config) -> None:
    """Write the help of every command as it is printed in a terminal."""
    import typer.main

    from scdrug.cli import app as commands

    root = typer.main.get_command(commands)
    page = ["# Command line", "", "```{eval-rst}", *_help(root, "scdrug"), "```", ""]
    _write(DOCS / "api" / "cli.md", "\n".join(page))


def _help(command: Any, path: str) -> Iterator[str]:
    """Help of a command and of those below it, as it is printed in a terminal without colours."""
    from typer.testing import CliRunner

    from scdrug.cli import app as commands

    arguments = [*path.split()[1:], "--help"]
    shown = CliRunner().invoke(commands, arguments, env={"COLUMNS": "100", "TERM": "dumb", "NO_COLOR": "1"})
    yield f"{path}\n{'-' * len(path)}\n\n.. code-block:: text\n"
    yield from (f"   {line}".rstrip() for line in shown.output.splitlines())
    yield ""
    for name, child in sorted(getattr(command, "commands", {}).items()):
        yield from _help(child, f"{path} {name}")


def write_settings_page(app: Sphinx, config: Config) -> None:
    """Document `scdrug.settings`, which is an object and not a namespace."""
    _write(DOCS / "api" / "settings.md", _SETTINGS)


def write_report_page(app: Sphinx, config: Config) -> None:
    """Document `scdrug.report`, the one function that stands in no namespace."""
    _write(DOCS / "api" / "report.md", _REPORT)


def copy_tutorials(app: Sphinx, config: Config) -> None:
    """Bring the executed notebooks into the source folder."""
    target = DOCS / "tutorials"
    target.mkdir(exist_ok=True)
    for old in target.glob("*.ipynb"):
        old.unlink()
    for notebook in sorted((DOCS.parent / "tutorials").glob("*.ipynb")):
        shutil.copy2(notebook, target / notebook.name)


def _write(path: Path, text: str) -> None:
    """Write only what changed, so that an incremental build stays incremental."""
    path.parent.mkdir(exist_ok=True)
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        path.write_text(text, encoding="utf-8")


def setup(app: Sphinx) -> dict[str, Any]:
    """Run before sphinx looks for source files."""
    for step in (write_namespace_pages, write_report_page, write_settings_page, write_command_help, copy_tutorials):
        app.connect("config-inited", step)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
