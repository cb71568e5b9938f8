"""Whether treatment and batch can be told apart at all."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
import pandas as pd

from .._validate import check_key

#: Columns of `obs` that are taken for batches when none is named, ignoring case and punctuation.
BATCH_NAMES = (
    "batch", "batchid", "sample", "sampleid", "sampleno", "origident", "donor", "donorid", "patient", "patientid",
    "mouse", "plate", "library", "libraryid", "lane", "run", "chip", "replicate", "channel", "well", "culture",
)  # fmt: skip
#: From here on an association is worth a warning.
ASSOCIATED = 0.5


def cramers_v(first: Sequence[object], second: Sequence[object]) -> float:
    """Cramér's V of two classifications, corrected for bias (Bergsma 2013).

    Without the correction many small classes look associated with anything.

    Parameters
    ----------
    first, second
        Classes of the same observations; pairs with a missing one are left out.

    Returns
    -------
    0 (independent) to 1 (one determines the other); NaN if either has a single class.

    Examples
    --------
    >>> from scdrug.pp._confounding import cramers_v
    >>> round(cramers_v(["a", "a", "b", "b"] * 25, ["x", "x", "y", "y"] * 25), 3)
    1.0
    >>> cramers_v(["a", "a", "b", "b"] * 25, ["x", "y", "x", "y"] * 25)
    0.0
    """
    table = pd.crosstab(np.asarray(first, dtype=object), np.asarray(second, dtype=object)).to_numpy(dtype=np.float64)
    n, (r, k) = table.sum(), table.shape
    if min(r, k) < 2:
        return float("nan")
    expected = table.sum(axis=1, keepdims=True) * table.sum(axis=0, keepdims=True) / n
    phi2 = float((np.square(table - expected) / expected).sum() / n)
    corrected = max(0.0, phi2 - (k - 1) * (r - 1) / (n - 1))
    least = min(r - (r - 1) ** 2 / (n - 1), k - (k - 1) ** 2 / (n - 1)) - 1
    return float(np.sqrt(min(1.0, corrected / least))) if least > 0 else float("nan")


def find_batch_columns(obs: pd.DataFrame, *, leave_out: Sequence[str] = ()) -> list[str]:
    """Columns that are called like a batch, a sample or a donor, and group cells, except `leave_out`."""
    simple = {column: "".join(c for c in str(column).lower() if c.isalnum()) for column in obs.columns}
    named = [column for column, name in simple.items() if name in BATCH_NAMES and column not in leave_out]
    return [column for column in named if _groups_cells(obs[column])]


def check_batch_columns(obs: pd.DataFrame, batch_key: str | Sequence[str]) -> list[str]:
    """Check that the named columns are there and group cells.

    Raises
    ------
    KeyError
        If a column is missing.
    ValueError
        If a column has no values, or about as many as there are cells.
    """
    columns = [batch_key] if isinstance(batch_key, str) else list(batch_key)
    for column in columns:
        check_key(obs, column, where="adata.obs")
        if not _groups_cells(obs[column]):
            raise ValueError(
                f"`batch_key`: {column!r} must group control and treated cells; it has {obs[column].nunique():,} values for "
                f"{int(obs[column].notna().sum()):,} of {len(obs):,} cells. Name the column with batches or samples, or "
                "pass `batch_key=[]` if there is none."
            )
    return columns


def _groups_cells(column: pd.Series) -> bool:
    # single-cell plates name a well or a sample for each cell; those are no batches
    return 0 < column.nunique() <= max(1, column.notna().sum() // 2)


def confounding(treated: np.ndarray, obs: pd.DataFrame, columns: Sequence[str]) -> pd.DataFrame:
    """Compare treatment with batches.

    Parameters
    ----------
    treated
        Whether each cell was treated (cells).
    obs
        Table of the same cells.
    columns
        Columns of `obs` with batches, samples or donors.

    Returns
    -------
    A row for each column: `cramers_v` (corrected for bias, 0–1), `n_batches`, `n_control` and `n_treated` (batches with
    such cells), `n_both` (batches with both), `nested` (several batches, and none with both; not if nearly each cell has a
    batch of its own, which says nothing).
    """
    rows = {}
    for column in columns:
        batch = obs[column]
        known = batch.notna().to_numpy()
        names = batch[known].astype(str).to_numpy(dtype=object)
        of_control, of_treated = set(names[~treated[known]]), set(names[treated[known]])
        n_both = len(of_control & of_treated)
        association = cramers_v(treated[known], names) if known.any() else float("nan")
        rows[str(column)] = {
            "cramers_v": association,
            "n_batches": len(of_control | of_treated),
            "n_control": len(of_control),
            "n_treated": len(of_treated),
            "n_both": n_both,
            "nested": n_both == 0 and association >= ASSOCIATED,
        }
    kinds = {"cramers_v": float, "n_batches": int, "n_control": int, "n_treated": int, "n_both": int, "nested": bool}
    return pd.DataFrame.from_dict(rows, orient="index", columns=list(kinds)).astype(kinds)


def warn_if_confounded(table: pd.DataFrame) -> None:
    """Warn of each column that determines the treatment, or nearly so."""
    for column, row in table.iterrows():
        if row["nested"]:
            alone = row["n_control"] == 1 or row["n_treated"] == 1
            what = (
                f"Each {column!r} has either control or treated cells, never both (Cramér's V {row['cramers_v']:.2f}; "
                f"{row['n_control']} with control, {row['n_treated']} with treated cells). "
            )
            what += (
                "Nothing can separate the effect of the treatment from that of the batch."
                if alone
                else "Judge anything learnt from these labels on batches left out, not on cells left out."
            )
        elif row["cramers_v"] >= ASSOCIATED:
            what = (
                f"Treatment is associated with {column!r} (Cramér's V {row['cramers_v']:.2f}): differences between "
                "labels are in part differences between batches."
            )
        else:
            continue
        warnings.warn(what, stacklevel=3)
