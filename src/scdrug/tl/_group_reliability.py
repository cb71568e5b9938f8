"""How far the predictions of groups of cells are to be believed, with the reason in a sentence."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from .._lazy import LazyTable
from ..pp._dividing import CellTotals, group_shares, growth
from ._cell_evidence import FLAT, MISSING, SHIFTED
from ._keys import MIN_RELIABILITY

if TYPE_CHECKING:
    from ._stored import Predictions

#: A factor above this is no reason.
_HARDLY = 0.9

#: Counts per cell above which depth is not what makes a profile flat.
_DEEP = 20_000


def judge_groups(predictions: Predictions, labels: pd.Categorical) -> pd.DataFrame:
    """Reliability of each group of cells with stored predictions, see :func:`judge_cells`."""
    return judge_cells(
        labels,
        predicted=predictions.predicted,
        reliability=predictions.reliability,
        evidence=predictions.evidence,
        stated=predictions.provenance.get("difficulty", {}),
        verdict=predictions.verdict,
    )


def judge_cells(
    labels: pd.Categorical,
    *,
    predicted: np.ndarray,
    reliability: np.ndarray,
    evidence: pd.DataFrame | LazyTable | None,
    stated: Mapping[str, Any],
    verdict: str,
) -> pd.DataFrame:
    """Reliability of each group and what limits it.

    Parameters
    ----------
    labels
        Group of each cell.
    predicted
        Whether each cell shows enough genes to be predicted (cells, bool).
    reliability
        Of each cell (cells).
    evidence
        What reliability follows from, by name; `None` where it is not known (cells × numbers).
    stated
        What makes all cells harder to predict than lines, by name.
    verdict
        What is said of all cells.

    Returns
    -------
    A row for each group: `group`, `n_cells` (with a prediction), `reliability` (0-1), `refused`, `depth` (median counts), `dividing`
    (share of transcripts) and `reason`.
    """
    n_groups = len(labels.categories)
    codes = np.where(predicted, labels.codes, -1).astype(np.int64)
    known = {} if evidence is None else evidence
    column = lambda name: known[name].to_numpy(dtype=float) if name in known else np.full(len(codes), np.nan)
    resemblance, sharpness, depth, dividing = map(column, ("resemblance", "sharpness", "depth", "dividing"))
    medians = (
        pd.DataFrame({"stored": reliability, "own": resemblance, "sharpness": sharpness, "depth": depth})
        .groupby(np.where(codes < 0, n_groups, codes))
        .median()
        .reindex(range(n_groups))
    )
    shares = group_shares(CellTotals(np.nan_to_num(depth), dividing), codes, n_groups)
    judged = np.isfinite(shares) & medians["own"].notna().to_numpy()
    grows = np.array([growth(share) for share in shares])
    n_cells = np.bincount(codes[codes >= 0], minlength=n_groups)
    reliability = np.where(n_cells > 0, np.where(judged, medians["own"] * grows, medians["stored"]), 0.0)
    rows = zip(n_cells, reliability, shares, medians["own"], medians["sharpness"], medians["depth"], strict=True)
    return pd.DataFrame(
        {
            "group": np.asarray(labels.categories, dtype=object),
            "n_cells": n_cells,
            "reliability": reliability,
            # what was never stored is not refused
            "refused": reliability < MIN_RELIABILITY,
            "depth": medians["depth"].to_numpy(),
            "dividing": shares,
            "reason": [_reason(*row, stated, verdict) for row in rows],
        }
    )


def warn_of_refused(judged: pd.DataFrame, groupby: str, consequence: str, *, stacklevel: int) -> None:
    """Warn of groups whose predictions are not to be believed, and say what follows from that."""
    refused = judged[judged["refused"]]
    if not len(refused):
        return
    named = [
        f"{group} ({reason.partition(': ')[2].rstrip('.')})"
        for group, reason in refused[["group", "reason"]].to_numpy()
    ]
    warnings.warn(
        f"No drug can be ranked for these groups of `adata.obs[{groupby!r}]`: {'; '.join(named[:5])}. {consequence}",
        UserWarning,
        stacklevel=stacklevel + 1,
    )


def _reason(
    n_cells: int,
    reliability: float,
    share: float,
    own: float,
    sharpness: float,
    depth: float,
    stated: Mapping[str, Any],
    verdict: str,
) -> str:
    """What limits the reliability of a group, in one sentence."""
    if n_cells == 0:
        return "Refused: no cell shows enough genes to be predicted."
    if not np.isfinite(reliability):
        return "Nothing is known of its reliability."
    refused = reliability < MIN_RELIABILITY
    if refused and verdict != "ok" and not own > MIN_RELIABILITY:
        return (
            "Refused with all cells: " + verdict.partition(", since ")[2]
            if ", since " in verdict
            else f"Refused: {verdict}"
        )
    factors = {
        f"they hardly divide: {1e4 * share:.0f} of 10,000 transcripts come from genes of the cell cycle, in cell lines 42 or more": (
            growth(share)
        ),
        "their profiles are flat" + (f", at a median of {depth:,.0f} counts" if depth < _DEEP else ""): (
            np.exp(-FLAT * (1 - sharpness) ** 2)
        ),
        "they lie far from the average cell line, so that their level is uncertain": np.exp(
            -SHIFTED * float(stated.get("shift", 0.0))
        ),
        "genes that the model reads are not measured": np.exp(-MISSING * float(stated.get("missing", 0.0))),
    }
    known = {reason: value for reason, value in factors.items() if np.isfinite(value)}
    product = float(np.prod(list(known.values())))
    known["they resemble no cell line"] = reliability / product if product > 0 else 1.0
    reason, least = min(known.items(), key=lambda pair: pair[1])
    if refused:
        return f"Refused: {reason}."
    return "Nothing speaks against it." if least > _HARDLY else f"Limited most since {reason}."
