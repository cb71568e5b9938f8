"""Read what attribution stored, or say what to run first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from .._labels import Label
from .._validate import check_key, examples, nearest
from ._attribute_run import cell_key, is_attribution, model_key
from ._stored import groups_of, is_ranking, read_parts, read_table, rows_of_groups

if TYPE_CHECKING:
    from anndata import AnnData


@dataclass(frozen=True)
class Stored:
    """Contributions to one drug, as they were stored."""

    drug: str
    name: str
    #: ``"pathway"`` or ``"gene"``.
    what: str
    #: Rows of the table of this drug, most important first.
    table: pd.DataFrame
    #: Row of the summary.
    summary: pd.Series
    params: Mapping[str, Any]
    _adata: AnnData
    _key: str

    @property
    def unit(self) -> str:
        """Unit of the contributions."""
        return str(self.params.get("unit", ""))

    @property
    def resampled(self) -> bool:
        """Whether several models differ in their lines, and not in their seeds."""
        return bool(self.params.get("resampled", False))

    @property
    def cells(self) -> pd.DataFrame:
        """Contributions of each cell (cells × features).

        Raises
        ------
        KeyError
            If only summaries were kept.
        """
        key = cell_key(self._key, self.drug)
        hint = f"Run scdrug.tl.attribute_{self.what}s again, with contributions of each cell kept."
        check_key(dict(self._adata.obsm), key, where="adata.obsm", hint=hint)
        return read_table(
            self._adata.obsm[key], list(self.table[self.what].astype(str)), where=f"adata.obsm[{key!r}]", hint=hint
        )

    @property
    def models(self) -> np.ndarray | None:
        """Contributions by model (cells × features × models), `None` if there are not several."""
        key = model_key(self._key, self.drug)
        held = self._adata.obsm.get(key)
        if held is not None and np.shape(held)[:2] != self.cells.shape:
            raise ValueError(
                f"`adata.obsm[{key!r}]` must be cells × {self.what}s × models, as it was stored; found {np.shape(held)}. Run "
                f"scdrug.tl.attribute_{self.what}s again."
            )
        return held


def read_attribution(adata: AnnData, key: str, drug: str | None = None) -> Stored:
    """Read the contributions to a drug, which may be omitted if there is only one.

    Raises
    ------
    KeyError
        If nothing was attributed under `key`, or not for this drug.
    ValueError
        If `key` holds something else, or no drug is named where there are several.
    """
    function = "attribute_genes" if key.startswith("gene") else "attribute_pathways"
    hint = f"Run scdrug.tl.{function}(adata, model, drug) first."
    check_key(dict(adata.uns), key, where="adata.uns", hint=hint)
    held = adata.uns[key]
    if not is_attribution(held):
        raise ValueError(f"`adata.uns[{key!r}]` is not a result of attribution. {hint}")
    where = f"adata.uns[{key!r}]"
    params = read_parts(held["params"], (), where=f"{where}['params']", hint=hint)
    what = str(params.get("attributed_to", "pathway"))
    summary = read_table(held["summary"], ("name",), where=f"{where}['summary']", hint=hint)
    table = read_table(
        held["table"],
        ("drug", what, "supports"),
        numbers=("importance", "towards_sensitive"),
        where=f"{where}['table']",
        hint=hint,
    )
    chosen = _find_drug(drug, summary, key)
    return Stored(
        drug=chosen,
        name=str(summary.loc[chosen, "name"]),
        what=what,
        table=table[table["drug"].astype(str) == chosen].reset_index(drop=True),
        summary=summary.loc[chosen],
        params=params,
        _adata=adata,
        _key=key,
    )


def _find_drug(drug: str | None, summary: pd.DataFrame, key: str) -> str:
    ids = [str(one) for one in summary.index]
    if drug is None:
        if len(ids) == 1:
            return ids[0]
        raise ValueError(
            f"`adata.uns[{key!r}]` has contributions to {len(ids)} drugs: {examples(ids, 8)}. Name one as `drug`."
        )
    by_name = {str(name).lower(): one for one, name in zip(ids, summary["name"])}
    found = drug if drug in ids else by_name.get(drug.lower())
    if found is None:
        near = nearest(drug, [*ids, *summary["name"].astype(str)], n=1)
        suggestion = f" Did you mean {near[0]!r}?" if near else ""
        raise KeyError(
            f"`adata.uns[{key!r}]` has no contributions to {drug!r}.{suggestion} It has: {examples(ids, 8)}."
        )
    return found


def select_features(wanted: str | Sequence[str] | None, present: list[str], what: str) -> list[str]:
    """Return pathways or genes without repetitions, or all that are `present` for `None`.

    Raises
    ------
    KeyError
        If one is not present; the nearest one is offered.
    """
    if wanted is None:
        return present
    names = list(dict.fromkeys([wanted] if isinstance(wanted, str) else wanted))
    for name in names:
        if name not in present:
            near = nearest(name, present, n=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise KeyError(f"No {what} {name!r} was attributed to.{hint} There are: {examples(present, 8)}.")
    return names


def read_pathway_ranking(
    adata: AnnData, key: str, groups: Label | Sequence[Label] | None = None
) -> tuple[pd.DataFrame, Mapping[str, Any]]:
    """Read rows of :func:`scdrug.tl.rank_pathways` in the order of `groups`, and its parameters.

    Raises
    ------
    KeyError
        If there is nothing, or a group is unknown.
    ValueError
        If it is something else.
    """
    hint = "Run scdrug.tl.rank_pathways(adata, groupby) first."
    check_key(dict(adata.uns), key, where="adata.uns", hint=hint)
    held = adata.uns[key]
    if not is_pathway_ranking(held):
        raise ValueError(f"`adata.uns[{key!r}]` is not a result of scdrug.tl.rank_pathways. {hint}")
    where = f"adata.uns[{key!r}]"
    table = read_table(held["table"], (), numbers=("rank", "score", "fdr"), where=f"{where}['table']", hint=hint)
    names = ("attributed_to", "reference", "unit", "name")
    params = read_parts(held["params"], names, where=f"{where}['params']", hint=hint)
    return rows_of_groups(table, groups, groups_of(key, held["params"])), params


def is_pathway_ranking(value: Any) -> bool:
    """Whether `value` is what :func:`scdrug.tl.rank_pathways` stores."""
    return is_ranking(value, "group", "rank", "supports")
