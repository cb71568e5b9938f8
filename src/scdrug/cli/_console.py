"""What all commands share: where they print, and whether errors show where they arose."""

from __future__ import annotations

from rich.console import Console

console = Console()
state = {"debug": False}
