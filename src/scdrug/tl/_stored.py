"""Read what `predict_response` and `rank_drugs` stored, or say what to run first."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from .._validate import check_choice, check_key
from ._keys import derived_keys

if TYPE_CHECKING:
    from anndata import AnnData

USES = ("percentile", "response")


@dataclass(frozen=True)
class Predictions:
    """Predicted responses of an AnnData with what is known about them."""

    #: Cells × drug ids, in `unit`.
    response: pd.DataFrame
    #: Cells × drug ids, 0-1, 1 = more sensitive than every reference line.
    percentile: pd.DataFrame
    #: Cells, 0-1; NaN where it was not stored.
    reliability: np.ndarray
    #: Indexed by drug id in the order of the columns, with at least `name`, `targets` and `pathway`.
    drugs: pd.DataFrame
    measure: str
    unit: str
    direction: str
    #: ``"ok"``, or why no drug can be ranked.
    verdict: str
    #: Everything in ``uns``.
    provenance: Mapping[str, Any]

    @property
    def predicted(self) -> np.ndarray:
        """Whether each cell showed enough genes to be predicted (cells, bool)."""
        return self.response.iloc[:, 0].notna().to_numpy()

    def table(self, use: str) -> pd.DataFrame:
        """Return the percentile or the response (cells × drug ids)."""
        return self.percentile if use == "percentile" else self.response

    def sign(self, use: str) -> int:
        """Return 1 if higher values mean more sensitive, -1 if lower ones do."""
        return -1 if use == "response" and not self.direction.lower().startswith("higher") else 1

    def label(self, use: str) -> str:
        """Name what the values are, with their unit, for axes and tables."""
        if use == "percentile":
            return "response percentile"
        measure = self.measure.replace("_", " ")
        return f"{measure} [{self.unit}]" if self.unit else measure


def read_predictions(adata: AnnData, key: str) -> Predictions:
    """Read the predictions stored under `key`.

    Raises
    ------
    KeyError
        If there are none, or a part of them was deleted.
    """
    percentile_key, reliability_key = derived_keys(key)
    hint = "Run scdrug.tl.predict_response(adata) first."
    check_key(dict(adata.obsm), key, where="adata.obsm", hint=hint)
    check_key(dict(adata.obsm), percentile_key, where="adata.obsm", hint=hint)
    response = _as_frame(adata.obsm[key], key)
    percentile = _as_frame(adata.obsm[percentile_key], percentile_key)
    if list(response.columns) != list(percentile.columns):
        raise ValueError(
            f"`adata.obsm[{key!r}]` and `adata.obsm[{percentile_key!r}]` hold different drugs, so they are not of one "
            f"prediction. {hint}"
        )
    if response.shape[1] == 0:
        raise ValueError(f"`adata.obsm[{key!r}]` has no drugs. {hint}")
    check_key(dict(adata.uns), key, where="adata.uns", hint=hint)
    stored = adata.uns[key]
    reliability = adata.obs.get(reliability_key)
    return Predictions(
        response=response,
        percentile=percentile,
        reliability=np.full(adata.n_obs, np.nan) if reliability is None else reliability.to_numpy(dtype=float),
        drugs=_drug_table(stored.get("drugs"), response.columns),
        measure=str(stored.get("measure", "response")),
        unit=str(stored.get("unit", "")),
        direction=str(stored.get("direction", "lower is more sensitive")),
        verdict=str(stored.get("verdict", "ok")),
        provenance=stored,
    )


def read_ranking(adata: AnnData, key: str) -> tuple[pd.DataFrame, Mapping[str, Any]]:
    """Read table and parameters that :func:`scdrug.tl.rank_drugs` stored under `key`.

    Raises
    ------
    KeyError
        If there is nothing.
    ValueError
        If it is something else.
    """
    hint = "Run scdrug.tl.rank_drugs(adata, groupby=…) first."
    check_key(dict(adata.uns), key, where="adata.uns", hint=hint)
    if not is_ranking(adata.uns[key]):
        raise ValueError(f"`adata.uns[{key!r}]` is not a result of scdrug.tl.rank_drugs. {hint}")
    return adata.uns[key]["table"], adata.uns[key]["params"]


def is_ranking(value: Any) -> bool:
    """Whether `value` is what :func:`scdrug.tl.rank_drugs` stores."""
    return isinstance(value, Mapping) and "params" in value and isinstance(value.get("table"), pd.DataFrame)


def groups_of(key: str, params: Mapping[str, Any]) -> str:
    """Say in a message which groups a stored ranking has."""
    return f"The ranking in `adata.uns[{key!r}]`, of `adata.obs[{str(params.get('groupby', '?'))!r}]`,"


def check_use(use: str) -> None:
    """Raise :class:`ValueError` unless `use` is ``"percentile"`` or ``"response"``."""
    check_choice("use", use, USES)


def _as_frame(value: Any, key: str) -> pd.DataFrame:
    if not isinstance(value, pd.DataFrame):
        raise TypeError(
            f"`adata.obsm[{key!r}]` must be a DataFrame cells × drug ids, as scdrug.tl.predict_response stores it; "
            f"found {type(value).__name__}."
        )
    return value


def _drug_table(stored: Any, ids: pd.Index) -> pd.DataFrame:
    """Drug table in the order of `ids`, with text columns that plots and tables rely on."""
    known = isinstance(stored, pd.DataFrame)
    table = stored.reindex(ids) if known else pd.DataFrame(index=ids)
    for column in ("name", "targets", "pathway"):
        text = table[column] if column in table else pd.Series(np.nan, index=ids)
        table = table.assign(**{column: text.astype(object).where(text.notna(), "").astype(str)})
    names = table["name"].where(table["name"] != "", pd.Series(ids.astype(str), index=ids))
    table["name"] = names
    table.index.name = "drug"
    return table
