"""`scdrug demo`: the main job on a real tumour."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.markup import escape

from .._constants import KEYS
from ._tables import ranking_table

_PLOTS = {"rank_drugs.png": "the ten drugs", "clones.png": "clones × drugs"}


def run_demo(out: Path, console: Console) -> None:
    """Predict, rank malignant against normal cells, and write plots and a report into `out`."""
    from ._files import check_output

    out.mkdir(parents=True, exist_ok=True)
    for name in (*_PLOTS, "report.html"):
        check_output(out / name, overwrite=True)
    with console.status("Loading the tumour and the model"):
        from .. import datasets, get, tl

        adata = datasets.oligodendroglioma()
        adata.obs["kind"] = adata.obs["malignant"].map({True: "malignant", False: "normal"}).astype("category")
    console.print(
        f"Oligodendroglioma (Tirosh et al. 2016): {int(adata.obs['malignant'].sum())} malignant and "
        f"{int((~adata.obs['malignant']).sum())} normal cells × {adata.n_vars:,} genes",
        highlight=False,
    )
    with console.status("Predicting"):
        tl.predict_response(adata, groupby="kind")
        tl.rank_drugs(adata, "kind", groups=["malignant"], reference="normal")
    best = get.rank_drugs_df(adata, "malignant").head(10)
    console.print(ranking_table(best, "Malignant cells are predicted to be more sensitive than normal cells to"))
    result = adata.uns[KEYS.PREDICTED]
    reliability = adata.obs.groupby("kind", observed=True)[KEYS.RELIABILITY].median()
    console.print(
        "pctl: share of cell lines less sensitive than the malignant cells; Δ: the same minus that of normal cells. "
        f"Median reliability: malignant {reliability['malignant']:.2f}, normal {reliability['normal']:.2f} of 1, since "
        f"{result['gene_coverage']:.0%} of the model's genes are measured. Read the ranking with care.",
        highlight=False,
    )
    with console.status("Drawing"):
        _draw(adata, out)
    names = ", ".join(escape(str(out / name)) for name in (*_PLOTS, "report.html"))
    console.print(f"Written: {names}", soft_wrap=True, highlight=False)


def _draw(adata: object, out: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    from .. import pl
    from ._files import whole_file
    from ._report import write_report

    for name, draw in {
        "rank_drugs.png": lambda: pl.rank_drugs(adata),
        "clones.png": lambda: pl.heatmap(adata, "cell_type"),
    }.items():
        draw()
        with whole_file(out / name) as part:
            plt.savefig(part, dpi=150, bbox_inches="tight", format="png")
        plt.close("all")
    write_report(adata, out / "report.html", title="Oligodendroglioma", groupby="cell_type", ranked="kind")
