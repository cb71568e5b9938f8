"""`scdrug demo`: the main job on real cells."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape

from ._tables import ranking_table, to_table

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData

#: Sets of cells by name: what each shows.
DEMOS = {
    "tumour": "oligodendroglioma by Smart-seq: clones, and normal cells of the same patients",
    "lung": "five lung cancer lines by CEL-seq2, deep, each of which is in the screen; fetched at first use",
}


def run_demo(out: Path, console: Console, *, cells: str = "tumour", path: Path | None = None) -> None:
    """Predict, say how far to trust it, rank, look for a window and for combinations, and write plots and a report into `out`."""
    from .._validate import check_choice
    from ._files import check_output

    check_choice("--cells", cells, tuple(DEMOS))
    out.mkdir(parents=True, exist_ok=True)
    for name in ("rank_drugs.png", "clones.png", "report.html"):
        check_output(out / name, overwrite=True)
    with console.status("Loading the cells and the model"):
        adata = _tumour(console) if cells == "tumour" else _lung(console, path)
    by, compared = ("cell_type", "kind") if cells == "tumour" else ("cell_line", "cell_line")
    from .. import get, tl

    with console.status("Predicting"):
        tl.predict_response(adata, groupby=by)
        tl.rank_drugs(
            adata, compared, **({"groups": ["malignant"], "reference": "normal"} if cells == "tumour" else {})
        )
    _print_trust(console, get.group_reliability_df(adata, by))
    shown = get.rank_drugs_df(adata)
    for group in shown["group"].astype(str).unique():
        best = shown[shown["group"].astype(str) == group].head(10 if cells == "tumour" else 3)
        what = "normal cells" if cells == "tumour" else "the other lines"
        title = f"{group.capitalize() if cells == 'tumour' else group} cells are predicted to be more sensitive than {what} to"
        console.print(ranking_table(best, escape(title)))
    console.print(
        "pctl: share of cell lines less sensitive than these cells; Δ: the same minus that of the cells they are compared with.",
        highlight=False,
    )
    if cells == "tumour":
        _print_window(console, adata)
    with console.status("Drawing"):
        written = _draw(adata, out, by=by)
    console.print(f"Written: {', '.join(escape(str(file)) for file in written)}", soft_wrap=True, highlight=False)


def _tumour(console: Console) -> AnnData:
    from .. import datasets

    adata = datasets.oligodendroglioma()
    adata.obs["kind"] = adata.obs["malignant"].map({True: "malignant", False: "normal"}).astype("category")
    console.print(
        f"Oligodendroglioma (Tirosh et al. 2016): {int(adata.obs['malignant'].sum())} malignant and "
        f"{int((~adata.obs['malignant']).sum())} normal cells × {adata.n_vars:,} genes",
        highlight=False,
    )
    return adata


def _lung(console: Console, path: Path | None) -> AnnData:
    from .. import datasets

    adata = datasets.sc_mixology(path=path)
    adata = adata[adata.obs["singlet"].to_numpy(dtype=bool)].copy()
    console.print(
        f"Five lung cancer lines (Tian et al. 2019): {adata.n_obs} cells × {adata.n_vars:,} genes. The model was trained on these lines, so "
        "that what it says of them proves nothing.",
        highlight=False,
    )
    return adata


def _print_trust(console: Console, table: pd.DataFrame) -> None:
    """How far to trust each group, in words."""
    shown = table.rename(columns={"group": "cells", "reason": "why"}).astype({"cells": str})
    console.print(to_table(shown, ["cells", "reliability", "why"], title="How far to trust it, from 0 to 1"))


def _print_window(console: Console, adata: AnnData) -> None:
    """Drugs that tell malignant from normal cells, and pairs of drugs over the clones."""
    import warnings

    from .. import get, tl

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # what they say is printed above and below
        tl.therapeutic_window(adata, "malignant", "normal", groupby="kind", sample_key="sample")
    window = get.therapeutic_window_df(adata).head(5)
    columns = [name for name in ("name", "window", "lower", "upper") if name in window]
    console.print(
        to_table(
            window,
            columns,
            title="Widest windows: percentile of malignant minus normal cells, donor by donor",
            whole=["name"],
        )
    )
    console.print("The screen holds no normal cells: a window is relative, and no measure of safety.", highlight=False)


def _draw(adata: AnnData, out: Path, *, by: str) -> list[Path]:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    from .. import pl
    from .._report import report
    from ._files import whole_file

    title = "Oligodendroglioma" if by == "cell_type" else "Lung cancer lines"
    for name, draw in {
        "rank_drugs.png": lambda: pl.rank_drugs(adata),
        "clones.png": lambda: pl.response_heatmap(adata, by),
    }.items():
        draw()
        with whole_file(out / name) as part:
            plt.savefig(part, dpi=150, bbox_inches="tight", format="png")
        plt.close("all")
    report(adata, out / "report.html", title=title, groupby=by, overwrite=True)
    return [out / name for name in ("rank_drugs.png", "clones.png", "report.html")]
