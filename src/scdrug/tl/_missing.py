"""Pairs that a screen did not measure, ranked by what a model says of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from .._constants import KEYS
from .._validate import check_key
from ..pp._drugs import resolve_drugs
from ._stored import read_response, read_table

if TYPE_CHECKING:
    from anndata import AnnData


def rank_missing(
    adata: AnnData, drugs: str | Sequence[str] | None, *, n_lines: int | None, response_key: str, key: str
) -> pd.DataFrame:
    """Rank the lines that were not tested with a drug; see :func:`scdrug.get.missing_pairs_df`."""
    check_key(dict(adata.obsm), response_key, where="adata.obsm", hint="scdrug.pp.build_reference makes a reference.")
    predicted, stored = read_response(adata, key, hint="Call `model.predict(adata)` first.")
    measured = adata.obsm[response_key]
    if not isinstance(measured, pd.DataFrame):
        raise TypeError(
            f"`adata.obsm[{response_key!r}]` must be a DataFrame of lines × drug ids; found {type(measured).__name__}."
        )
    hint = "Expected a DataFrame by drug id, as scdrug.pp.build_reference makes it."
    check_key(dict(adata.uns), KEYS.DRUGS, where="adata.uns", hint=hint)
    table = read_table(adata.uns[KEYS.DRUGS], ("name",), where=f"adata.uns[{KEYS.DRUGS!r}]", hint=hint)
    table = table.reindex(measured.columns)
    common = [drug for drug in measured.columns if drug in predicted.columns]
    ids = common if drugs is None else resolve_drugs(drugs, table.loc[common])
    sign = 1.0 if str(stored["direction"]).lower().startswith("higher") else -1.0
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
