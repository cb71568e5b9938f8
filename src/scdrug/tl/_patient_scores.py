"""One score per patient and drug from the clones of its tumour."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd

from .._validate import examples


def patient_scores(
    response: pd.DataFrame,
    percentile: pd.DataFrame,
    reliability: np.ndarray,
    drugs: pd.DataFrame,
    donors: pd.Categorical,
    clones: pd.Categorical,
    *,
    min_cells: int,
) -> pd.DataFrame:
    """Score patients by the mean of their clones, weighted by size, and by the clone that is least sensitive.

    Parameters
    ----------
    response, percentile
        Cells × drug ids; higher percentiles are more sensitive.
    reliability
        Of each cell (cells).
    drugs
        Table by drug id, with `name`.
    donors, clones
        Labels of each cell; cells without one of them are left out.
    min_cells
        Cells of a donor that a clone needs.

    Returns
    -------
    A row per patient and drug, see :func:`scdrug.tl.predict_patients`.

    Raises
    ------
    ValueError
        If no clone of any donor has enough cells.

    Warns
    -----
    UserWarning
        If clones of few cells, or donors without a clone, are left out.
    """
    n_clones = len(clones.categories)
    known = (donors.codes >= 0) & (clones.codes >= 0) & np.isfinite(response.iloc[:, 0].to_numpy(dtype=float))
    pair = np.where(known, donors.codes.astype(np.int64) * n_clones + clones.codes, -1)
    counts = np.bincount(pair[pair >= 0], minlength=len(donors.categories) * n_clones)
    named = lambda code: (
        f"{clones.categories[code % n_clones]} of {donors.categories[code // n_clones]} ({counts[code]})"
    )
    kept = np.flatnonzero(counts >= min_cells)
    if not len(kept):
        found = examples(named(code) for code in np.flatnonzero(counts))
        raise ValueError(
            f"No clone has {min_cells} cells with predictions in a donor: {found or 'none'}. Lower `min_cells`."
        )
    small = np.flatnonzero((counts > 0) & (counts < min_cells))
    if len(small):
        warnings.warn(
            f"Left out {len(small)} clones of fewer than {min_cells} cells in their donor, {int(counts[small].sum()):,} cells in all: "
            f"{examples(map(named, small))}.",
            UserWarning,
            stacklevel=3,
        )
    lost = [str(name) for code, name in enumerate(donors.categories) if not (kept // n_clones == code).any()]
    if lost:
        warnings.warn(
            f"No score for donors without a clone of {min_cells} cells: {examples(lost)}.", UserWarning, stacklevel=3
        )

    used = np.isin(pair, kept)
    by_clone = [table[used].astype(float).groupby(pair[used]).mean().to_numpy() for table in (response, percentile)]
    median = pd.Series(np.asarray(reliability, dtype=float)[used]).groupby(pair[used]).median().to_numpy()
    parts = []
    for donor in np.unique(kept // n_clones):
        rows = np.flatnonzero(kept // n_clones == donor)
        weights = counts[kept[rows]] / counts[kept[rows]].sum()
        values, shares = (table[rows] for table in by_clone)
        worst, every = shares.argmin(axis=0), np.arange(shares.shape[1])
        parts.append(
            pd.DataFrame(
                {
                    "patient": str(donors.categories[donor]),
                    "drug": response.columns.astype(str),
                    "name": drugs.loc[response.columns, "name"].to_numpy(dtype=str),
                    "response": weights @ values,
                    "response_worst": values[worst, every],
                    "percentile": weights @ shares,
                    "percentile_worst": shares[worst, every],
                    "worst_clone": np.asarray(clones.categories, dtype=object)[kept[rows][worst] % n_clones].astype(
                        str
                    ),
                    "share_worst": weights[worst],
                    "n_clones": len(rows),
                    "n_cells": int(counts[kept[rows]].sum()),
                    "reliability": weights @ median[rows],
                }
            )
        )
    return pd.concat(parts, ignore_index=True)
