"""Data sets of the registry, one row each."""

from __future__ import annotations

import pandas as pd

from ..datasets import list as list_datasets


def datasets_table() -> pd.DataFrame:
    """Name, number of files, size, whether hashes are known and files are cached, and what it is (one row a data set)."""
    rows = []
    for name, files in list_datasets().groupby("dataset", sort=False):
        size = files["size"].sum(min_count=1)
        verified, cached = int(files["verified"].sum()), int(files["cached"].sum())
        rows.append(
            {
                "data set": str(name),
                "files": len(files),
                "size": "unknown" if pd.isna(size) else f"{size / 1e6:,.1f} MB",
                "hash known": _of(verified, len(files)),
                "cached": _of(cached, len(files)),
                "what": str(files["description"].iloc[0]),
            }
        )
    return pd.DataFrame(rows)


def _of(part: int, whole: int) -> str:
    return "yes" if part == whole else "no" if part == 0 else f"{part} of {whole}"
