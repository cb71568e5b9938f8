"""One page that shows what :mod:`scdrug.tl` stored: the room behind `scdrug.report`."""

from __future__ import annotations

from ._write import report

__all__ = ["report"]
