"""Which drugs a page shows first."""

from __future__ import annotations

import pandas as pd

from ._read import Results


def top_drugs(results: Results, n_drugs: int) -> dict[str, pd.DataFrame]:
    """Rows of the drugs that each ranked group is more sensitive to than its reference, best first; none of refused groups."""
    table = results.ranking
    if table is None:
        return {}
    sensitive = table[table["direction"].astype(str) == "sensitive"]
    refused = set(results.refused["group"].astype(str))
    groups = [group for group in dict.fromkeys(table["group"].astype(str)) if group not in refused]
    return {group: sensitive[sensitive["group"].astype(str) == group].head(n_drugs) for group in groups}


def leading_drugs(results: Results, n_drugs: int, limit: int) -> list[str]:
    """Ids of at most `limit` drugs, the first of each group before the second of any.

    Without a ranking, those that each group, or all cells, are most sensitive to.
    """
    lists = [list(rows["drug"].astype(str)) for rows in top_drugs(results, n_drugs).values()]
    if not any(lists) and results.response is not None:
        ordered = results.response.sort_values("percentile", ascending=False, kind="stable")
        lists = [
            list(rows["drug"].astype(str))[:n_drugs] for _, rows in ordered.groupby("group", sort=False, observed=True)
        ]
    if not any(lists) and results.overall is not None:
        lists = [list(results.overall.sort_values(ascending=False, kind="stable").index.astype(str))[:n_drugs]]
    turns = [drugs[turn] for turn in range(n_drugs) for drugs in lists if turn < len(drugs)]
    known = set(results.drugs.index)  # a ranking may be older than the predictions
    return [drug for drug in dict.fromkeys(turns) if drug in known][:limit]
