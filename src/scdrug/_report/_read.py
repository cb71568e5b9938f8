"""What a page shows, read once through :mod:`scdrug.get`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pandas as pd

from .. import get
from .._constants import KEYS
from .._lazy import column_of

if TYPE_CHECKING:
    from anndata import AnnData

#: Results beside predictions: key of `uns`, and how it is read.
_STORED = {
    KEYS.RANKED: get.rank_drugs_df,
    "rank_stability": get.rank_stability_df,
    "therapeutic_window": get.therapeutic_window_df,
    "combinations": get.suggest_combinations_df,
    "patient_response": get.predict_patients_df,
    KEYS.RANKED_PATHWAYS: get.rank_pathways_df,
}


@dataclass(frozen=True)
class Results:
    """Tables of :mod:`scdrug.get`, and the arguments that they were computed with.

    Attributes
    ----------
    n_cells, n_genes
        Size of the data.
    provenance
        What is stored with the predictions.
    drugs
        Of `get.drugs_df`, with the evidence for each drug.
    reliability
        Median over cells, and its 10 and 90 % quantiles.
    groupby
        Column of the groups that are set side by side, if any.
    groups, response
        Of `get.group_reliability_df` and `get.group_response_df` for it.
    ranked_groups
        Of `get.group_reliability_df` for the column that drugs were ranked by.
    tables, params
        Results beside predictions, by key of `uns`.
    controls
        Of `get.controls_df`, or what the caller passed, if anything.
    overall
        Mean percentile of each drug over all cells, where there are no groups.
    """

    n_cells: int
    n_genes: int
    provenance: Mapping[str, Any]
    drugs: pd.DataFrame
    reliability: tuple[float, float, float]
    overall: pd.Series | None
    controls: pd.DataFrame | None = None
    groupby: str | None = None
    groups: pd.DataFrame | None = None
    response: pd.DataFrame | None = None
    ranked_groups: pd.DataFrame | None = None
    tables: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    params: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @property
    def ranking(self) -> pd.DataFrame | None:
        """Ranked drugs, if any."""
        return self.tables.get(KEYS.RANKED)

    @property
    def refused(self) -> pd.DataFrame:
        """Groups of either column whose predictions are not to be believed."""
        parts = [table for table in (self.groups, self.ranked_groups) if table is not None]
        if not parts:
            return pd.DataFrame({"group": [], "n_cells": [], "reason": []})
        groups = pd.concat(parts, ignore_index=True).drop_duplicates("group")
        return groups[groups["refused"].to_numpy(dtype=bool)]


def read_results(adata: AnnData, groupby: str | None, key: str, controls: pd.DataFrame | None = None) -> Results:
    """Read all that is stored under the default keys.

    Raises
    ------
    KeyError
        If there are no predictions, or no column `groupby`.
    """
    drugs = get.drugs_df(adata, key=key)
    evidence = get.drug_evidence_df(adata, key=key)
    drugs = drugs.join(evidence[[column for column in evidence if column not in drugs]])
    tables = {name: read(adata) for name, read in _STORED.items() if _is_result(adata, name)}
    params = {name: adata.uns[name]["params"] for name in tables}
    ranked_by = params.get(KEYS.RANKED, {}).get("groupby")
    ranked_by = str(ranked_by) if ranked_by is not None and str(ranked_by) in adata.obs else None
    groupby = groupby if groupby is not None else ranked_by
    judge = lambda column: None if column is None else get.group_reliability_df(adata, column, key=key)
    groups = judge(groupby)
    reliability = column_of(adata.obs, KEYS.RELIABILITY if key == KEYS.PREDICTED else f"{key}_reliability")
    return Results(
        n_cells=adata.n_obs,
        n_genes=adata.n_vars,
        provenance=adata.uns[key],
        drugs=drugs,
        reliability=tuple(float(reliability.quantile(share)) for share in (0.5, 0.1, 0.9)),
        overall=_overall(adata, list(drugs.index), key) if groupby is None else None,
        controls=_bundled_controls(adata, key) if controls is None else controls,
        groupby=groupby,
        groups=groups,
        response=None if groupby is None else get.group_response_df(adata, groupby, key=key),
        ranked_groups=groups if ranked_by == groupby else judge(ranked_by),
        tables=tables,
        params=params,
    )


def _overall(adata: AnnData, drugs: list[str], key: str, step: int = 8) -> pd.Series:
    """Mean percentile of each drug; a few drugs at a time, as there may be more cells than fit into memory."""
    parts = [drugs[start : start + step] for start in range(0, len(drugs), step)]
    return pd.concat([get.response_df(adata, drugs=part, use="percentile", key=key).mean() for part in parts])


def _is_result(adata: AnnData, name: str) -> bool:
    """Whether scdrug stored a result under its usual key; what others keep there is none of the page's business."""
    found = adata.uns.get(name)
    if not isinstance(found, Mapping) or "params" not in found:
        return False
    return isinstance(found.get("table"), pd.DataFrame) and len(found["table"]) > 0


def _bundled_controls(adata: AnnData, key: str) -> pd.DataFrame | None:
    try:
        return get.controls_df(adata, key=key)
    except KeyError:  # a model of the user's own
        return None
