"""A report of predictions as one HTML file that needs nothing else."""

from __future__ import annotations

import io
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from .._constants import KEYS
from .._html import render_page

if TYPE_CHECKING:
    from anndata import AnnData

_EMBEDDINGS = ("umap", "tsne", "pca")
_MAX_GROUPS = 12


def write_report(
    adata: AnnData,
    path: Path,
    *,
    title: str,
    groupby: str | None = None,
    ranked: str | None = None,
    n_drugs: int = 10,
) -> None:
    """Write the report.

    Parameters
    ----------
    adata
        Cells with the results of `tl.predict_response`, and of `tl.rank_drugs` if there are any.
    path
        HTML file; it appears whole or not at all.
    title
        What was predicted.
    groupby
        Column of `obs` for the heat map.
    ranked
        Column that drugs were ranked by, if another.
    n_drugs
        Drugs a group.
    """
    from ._files import whole_file

    content = _content(adata, title=title, groupby=groupby, ranked=ranked or groupby, n_drugs=n_drugs)
    html = render_page("cli/report.html.jinja", **content)
    with whole_file(path) as part:
        part.write_text(html, encoding="utf-8")


def _content(adata: AnnData, *, title: str, groupby: str | None, ranked: str | None, n_drugs: int) -> dict[str, Any]:
    from .. import pl

    result = adata.uns[KEYS.PREDICTED]
    reliability = adata.obs[KEYS.RELIABILITY]
    figures: list[tuple[str, bytes]] = []
    rankings: list[dict[str, Any]] = []
    if KEYS.RANKED in adata.uns:
        rankings = _rankings(adata, n_drugs)
        figures.append(("Drugs that set each group apart", _figure(lambda: pl.rank_drugs(adata, n_drugs=n_drugs))))
    if groupby is not None:
        figures.append(("Groups side by side", _figure(lambda: pl.heatmap(adata, groupby))))
    figures += _embedding(adata, rankings)
    return {
        "title": title,
        "result": result,
        "harmonization": result["harmonization"],
        "n_cells": f"{adata.n_obs:,}",
        "n_genes": f"{adata.n_vars:,}",
        "n_drugs": adata.obsm[KEYS.PREDICTED].shape[1],
        "coverage": f"{float(result['gene_coverage']):.0%}",
        "reliability": f"{reliability.median():.2f}",
        "reliability_range": f"{reliability.quantile(0.1):.2f}–{reliability.quantile(0.9):.2f}",
        "by_group": _by_group(adata, groupby),
        "groupby": groupby,
        "ranked": ranked,
        "rankings": rankings,
        "figures": figures,
        "params": adata.uns[KEYS.RANKED]["params"] if KEYS.RANKED in adata.uns else {},
        "date": f"{date.today():%d %B %Y}",
    }


def _rankings(adata: AnnData, n_drugs: int) -> list[dict[str, Any]]:
    from ..get import rank_drugs_df

    table = rank_drugs_df(adata)
    groups = list(dict.fromkeys(table["group"].astype(str)))
    result = []
    for group in groups[:_MAX_GROUPS]:
        rows = table[table["group"].astype(str) == group].head(n_drugs)
        result.append({"group": group, "drug": rows["drug"].iloc[0], "rows": [_row(row) for _, row in rows.iterrows()]})
    return result


def _row(row: pd.Series) -> dict[str, str]:
    return {
        "name": str(row["name"] if isinstance(row.get("name"), str) else row["drug"]),
        "score": f"{row['score']:+.2f}",
        "percentile": f"{row['percentile']:.2f}",
        "fdr": "–" if pd.isna(row["fdr"]) else f"{row['fdr']:.2g}",
        "targets": str(row["targets"]),
        "pathway": str(row["pathway"]),
    }


def _by_group(adata: AnnData, groupby: str | None) -> list[dict[str, Any]]:
    from ..get import group_reliability_df

    if groupby is None:
        return []
    table = group_reliability_df(adata, groupby)
    return [
        {**row, "n_cells": f"{row['n_cells']:,}", "reliability": f"{row['reliability']:.2f}"}
        for row in table.to_dict("records")
    ]


def _embedding(adata: AnnData, rankings: list[dict[str, Any]]) -> list[tuple[str, bytes]]:
    from .. import pl

    basis = next((name for name in _EMBEDDINGS if f"X_{name}" in adata.obsm), None)
    if basis is None or not rankings:
        return []
    drug = rankings[0]["drug"]
    return [(f"Cells, {basis.upper()}", _figure(lambda: pl.response(adata, drug, basis=basis)))]


def _figure(draw: Callable[[], Any]) -> bytes:
    """Draw and return a PNG."""
    import matplotlib.pyplot as plt

    with plt.rc_context({"figure.dpi": 110}):
        draw()
        buffer = io.BytesIO()
        plt.savefig(buffer, format="png", dpi=160, bbox_inches="tight", facecolor="white")
        plt.close("all")
    return buffer.getvalue()
