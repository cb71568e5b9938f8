"""Where results stand that belong together."""

from __future__ import annotations

from .._constants import MIN_RELIABILITY, derived_keys, evidence_key

__all__ = ["MIN_RELIABILITY", "derived_keys", "evidence_key"]
