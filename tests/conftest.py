"""Shared fixtures: where real data stand, and a toy reference."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

SHARED = Path(os.environ.get("SCDRUG_SHARED_DATA", Path(__file__).parents[1] / ".." / "shared" / "data")).resolve()


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real data; the test is skipped, with the reason, where it is absent."""
    if not SHARED.is_dir():
        pytest.skip(f"real data not found at {SHARED}; set SCDRUG_SHARED_DATA to run this test")
    return SHARED
