"""Where results stand that belong together."""

from __future__ import annotations

from .._constants import KEYS

#: Median reliability below which no ranking should be read.
MIN_RELIABILITY = 0.05


def derived_keys(key: str) -> tuple[str, str]:
    """Return the keys of percentile (`obsm`) and reliability (`obs`) of the predictions stored under `key`."""
    if key == KEYS.PREDICTED:
        return KEYS.PERCENTILE, KEYS.RELIABILITY
    return f"{key}_percentile", f"{key}_reliability"
