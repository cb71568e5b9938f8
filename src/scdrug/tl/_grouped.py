"""Read what `predict_groups` stored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd

from .._store import holds
from ..pp._drugs import resolve_drugs
from ._stored import read_table

if TYPE_CHECKING:
    from anndata import AnnData

#: Whether something in ``uns`` is what :func:`scdrug.tl.predict_groups` stores.
is_grouped = holds("table", "reliability", "params", "model_class")
_HINT = "Run scdrug.tl.predict_groups again."
_COLUMNS = ("group", "drug", "name")
_NUMBERS = ("n_cells", "response", "spread", "lower", "upper", "percentile", "reliability")


@dataclass(frozen=True, eq=False)
class Grouped:
    """Predictions of groups of cells."""

    stored: Mapping[str, Any]
    #: Where they are, for messages.
    where: str

    @property
    def reliability(self) -> pd.DataFrame:
        """A row for each group, see :func:`scdrug.get.group_reliability_df`."""
        return read_table(
            self.stored["reliability"], ("group", "reason"), numbers=("n_cells", "reliability"),
            where=f"{self.where}['reliability']", hint=_HINT,
        )  # fmt: skip

    def responses(self, drugs: str | Sequence[str] | None, sample_key: str | None) -> pd.DataFrame:
        """A row for each group and drug, or for each group in each donor and drug, see :func:`scdrug.get.group_response_df`."""
        kind = "table" if sample_key is None else "samples"
        used = str(self.stored["params"].get("sample_key", ""))
        if sample_key is not None and used != sample_key:
            found = f"with sample_key={used!r}" if used else "without `sample_key`"
            raise ValueError(
                f"The groups in `{self.where}` were predicted {found}, and not with {sample_key!r}. Name what they were predicted with, or run "
                f"scdrug.tl.predict_groups(adata, …, sample_key={sample_key!r})."
            )
        first = _COLUMNS if sample_key is None else (*_COLUMNS, "sample")
        table = read_table(self.stored[kind], first, numbers=_NUMBERS, where=f"{self.where}[{kind!r}]", hint=_HINT)
        if drugs is None:
            return table.copy()
        ids = resolve_drugs(drugs, self.stored["drugs"])
        place = table["drug"].map({drug: number for number, drug in enumerate(ids)})
        chosen = table[place.notna()].assign(_place=place.dropna())
        groups = [name for name in ("group", "sample") if name in first]
        order = chosen.groupby(groups, sort=False, observed=True).ngroup()
        chosen = chosen.assign(_group=order).sort_values(["_group", "_place"], kind="stable")
        return chosen.drop(columns=["_group", "_place"]).reset_index(drop=True)


def read_grouped(adata: AnnData, key: str, groupby: str) -> Grouped | None:
    """Predictions of groups stored under `key`; `None` if what is there is something else.

    Raises
    ------
    ValueError
        If other groups than those of `groupby` were predicted.
    """
    stored = adata.uns.get(key)
    if not is_grouped(stored) or key in adata.obsm:
        return None
    where = f"adata.uns[{key!r}]"
    used = str(stored["params"].get("groupby", ""))
    if used != groupby:
        raise ValueError(
            f"The groups in `{where}` are those of `adata.obs[{used!r}]`, not of {groupby!r}. Name that column, or run "
            f"scdrug.tl.predict_groups(adata, {groupby!r})."
        )
    return Grouped(stored, where)
