"""The `scdrug` command: thin, calling the same functions as a notebook would."""

from ._app import app, main

__all__ = ["app", "main"]
