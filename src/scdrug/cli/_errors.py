"""What all commands share: where they print, and errors of the library as one clean message."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import typer
from rich.console import Console
from rich.markup import escape

#: What the library raises for bad input; anything else is a bug and shows its traceback.
_EXPECTED = (ValueError, KeyError, TypeError, OSError, RuntimeError, ImportError, MemoryError)
EXIT_BAD_INPUT = 2

console = Console()
#: Whether errors show where they arose.
state = {"debug": False}


def message(error: BaseException) -> str:
    """Text of an error with its notes; a KeyError would show the quotes of its repr, an OSError its number."""
    if isinstance(error, KeyError) and error.args:
        text = str(error.args[0])
    elif isinstance(error, OSError) and error.strerror:
        text = f"{error.strerror}: {error.filename}" if error.filename else str(error.strerror)
    elif isinstance(error, MemoryError):
        text = "There is not enough memory. Read the cells with --backed, or name fewer --drugs."
    else:
        text = str(error) or type(error).__name__
    return " ".join([text, *getattr(error, "__notes__", ())])


@contextmanager
def clean_errors(*, debug: bool) -> Iterator[None]:
    """Print expected errors as one message and leave with exit code 2; warnings as yellow lines."""
    console = Console(stderr=True)

    def show_warning(text: Any, category: type[Warning], *_: Any, **__: Any) -> None:
        if issubclass(category, UserWarning) and not issubclass(category, (FutureWarning, DeprecationWarning)):
            console.print(f"[yellow]Note:[/yellow] {escape(str(text))}")

    with warnings.catch_warnings():
        warnings.showwarning = show_warning
        try:
            yield
        except typer.Exit:
            raise
        except _EXPECTED as error:
            if debug:
                raise
            console.print(f"[bold red]Error:[/bold red] {escape(message(error))}")
            sys.stderr.flush()
            raise typer.Exit(EXIT_BAD_INPUT) from None
