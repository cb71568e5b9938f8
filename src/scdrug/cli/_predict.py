"""`scdrug predict`: an h5ad file in, an h5ad file and a report out."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.markup import escape

from .._constants import KEYS
from ._files import check_output, read_cells, write_cells
from ._tables import ranking_table


def run_predict(
    cells: Path,
    output: Path,
    *,
    model: str,
    drugs: list[str] | None,
    layer: str | None,
    scale: str,
    groupby: str | None,
    reference: str,
    sample_key: str | None,
    fit_on: str | None,
    report: Path | None,
    backed: bool | None,
    overwrite: bool,
    console: Console,
) -> None:
    """Read, predict, rank, write; outputs are checked before anything is computed."""
    check_output(output, cells, overwrite=overwrite)
    if report is not None:
        check_output(report, overwrite=overwrite)
    with console.status("Reading cells"):
        adata = read_cells(cells, backed=backed)
    with console.status("Loading the model"):
        from .. import get, tl
    with console.status(f"Predicting {adata.n_obs:,} cells"):
        tl.predict_response(adata, model, drugs=drugs, layer=layer, scale=scale, groupby=groupby, fit_on=fit_on)
    result = adata.uns[KEYS.PREDICTED]
    shape = adata.obsm[KEYS.PREDICTED].shape
    console.print(
        f"{shape[0]:,} cells × {shape[1]} drugs: {result['measure']} in {result['unit']}, {result['direction']}; "
        f"{result['gene_coverage']:.0%} of the model's genes measured; "
        f"median reliability {adata.obs[KEYS.RELIABILITY].median():.2f}",
        highlight=False,
    )
    uns = [KEYS.PREDICTED]
    if groupby is not None:
        with console.status("Ranking drugs"):
            tl.rank_drugs(adata, groupby, reference=reference, sample_key=sample_key)
        uns.append(KEYS.RANKED)
        table = get.rank_drugs_df(adata)
        for group in table["group"].astype(str).unique():
            best = table[table["group"].astype(str) == group].head(5)
            console.print(ranking_table(best, f"{escape(group)}: more sensitive than {escape(reference)}"))
    with console.status("Writing"):
        write_cells(adata, output, cells, obs=[KEYS.RELIABILITY], obsm=[KEYS.PREDICTED, KEYS.PERCENTILE], uns=uns)
        if report is not None:
            from ._report import write_report

            write_report(adata, report, title=cells.stem, groupby=groupby)
    written = [output] if report is None else [output, report]
    console.print("Written: " + ", ".join(escape(str(path)) for path in written), soft_wrap=True, highlight=False)
