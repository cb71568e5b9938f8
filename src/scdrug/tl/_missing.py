"""Pairs that a screen did not measure, ranked by what a model says of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from .._constants import KEYS
from .._validate import check_key
from ..pp._drugs import resolve_drugs

if TYPE_CHECKING:
    from anndata import AnnData


def rank_missing(
    adata: AnnData, drugs: str | Sequence[str] | None, *, n_lines: int | None, response_key: str, key: str
) -> pd.DataFrame:
    """Rank the lines that were not tested with a drug; see :func:`scdrug.get.missing_pairs_df`."""
    check_key(dict(adata.obsm), response_key, where="adata.obsm", hint="scdrug.pp.build_reference makes a reference.")
    hint = "Call `model.predict(adata)` first."
    check_key(dict(adata.obsm), key, where="adata.obsm", hint=hint)
    check_key(dict(adata.uns), key, where="adata.uns", hint=hint)
    predicted, measured = adata.obsm[key], adata.obsm[response_key]
    table = adata.uns[KEYS.DRUGS].reindex(measured.columns)
    common = [drug for drug in measured.columns if drug in predicted.columns]
    ids = common if drugs is None else resolve_drugs(drugs, table.loc[common])
    sign = -1.0 if str(adata.uns[key].get("direction", "")).startswith("lower") else 1.0
    parts = [
        _rank(predicted[drug], measured[drug].notna(), sign)
        .head(n_lines)
        .assign(drug=drug, name=str(table.loc[drug, "name"]))
        for drug in ids
    ]
    columns = ["drug", "name", "line", "rank", "predicted", "among_tested"]
    return pd.concat(parts, ignore_index=True)[columns] if parts else pd.DataFrame(columns=columns)


def _rank(predicted: pd.Series, tested: pd.Series, sign: float) -> pd.DataFrame:
    untested = predicted[~tested.to_numpy()]
    untested = untested.iloc[np.argsort(-sign * untested.to_numpy(), kind="stable")]
    known = np.sort(sign * predicted[tested.to_numpy()].to_numpy())
    below = np.searchsorted(known, sign * untested.to_numpy()) / max(len(known), 1)
    return pd.DataFrame(
        {
            "line": untested.index.astype(str),
            "rank": np.arange(1, len(untested) + 1),
            "predicted": untested.to_numpy(dtype=float),
            "among_tested": below,
        }
    )
