"""`scdrug predict`: cells in, cells with predictions and a report out."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape

from .._constants import KEYS
from ._cells import find_modality, is_backed, read_cells
from ._files import check_distinct, check_output, check_space, staged_copy
from ._formats import identify, unreadable
from ._store import add_report, endings, present_keys, reopen, result_keys, space_needed, write_cells
from ._tables import ranking_table

if TYPE_CHECKING:
    import pandas as pd
    from anndata import AnnData

_REPORTS = (".html", ".htm")


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
    modality: str | None,
    report: Path | None,
    backed: bool | None,
    overwrite: bool,
    console: Console,
) -> None:
    """Read, predict, rank, write; outputs are checked before anything is computed."""
    file = identify(cells)
    check_distinct(input=cells, output=output, report=report)
    if modality is not None and file.kind != "h5mu":
        raise ValueError(f"--modality is for .h5mu files; {cells} is not one.")
    check_output(output, overwrite=overwrite, endings=endings(file))
    if report is not None:
        check_output(report, overwrite=overwrite, endings=_REPORTS)
    with console.status("Loading the model"):
        from .. import get, tl
        from ..model._pretrained import load_predictor

        trained = load_predictor(model)
        n_drugs = len(trained.select_drugs(drugs)[1])
    if file.kind == "h5mu":
        modality, how = find_modality(cells, modality, trained.genes)
        console.print(escape(how), highlight=False)
    with console.status("Reading cells"):
        adata = read_cells(file, backed=backed, modality=modality)
    check_space(output.parent, space_needed(file, output, adata, n_drugs))
    before = present_keys(adata)
    ask = {"drugs": drugs, "layer": layer, "scale": scale, "groupby": groupby, "fit_on": fit_on}
    streamed = file.kind == "zarr" and output.suffix.lower() == ".zarr" and is_backed(file, backed)
    with _copied(cells, output, console) if streamed else nullcontext() as store:
        with unreadable(cells, only=OSError) if store is None else nullcontext():
            tl.predict_response(adata, trained, out=store, **ask)
        _describe(adata, console)
        ranked = groupby is not None and _may_rank(get.group_reliability_df(adata, groupby), reference, console)
        if ranked:
            _rank(adata, groupby, reference, sample_key, console)
        keys = result_keys(adata, before, ranked=ranked)
        with console.status("Writing"):
            if store is None:
                write_cells(adata, file, output, keys, modality=modality)
            else:
                add_report(adata, store, keys)
    if streamed:
        reopen(adata, output)
    if report is not None:
        from .._report import report as write_report

        try:
            with console.status("Writing the report"):
                write_report(adata, report, title=cells.stem, groupby=groupby, overwrite=True)
        except Exception as error:
            error.add_note(f"The cells with their results are in {output}.")
            raise
    written = [output] if report is None else [output, report]
    console.print("Written: " + ", ".join(escape(str(path)) for path in written), soft_wrap=True, highlight=False)


@contextmanager
def _copied(cells: Path, output: Path, console: Console) -> Iterator[Path]:
    """A copy of the store that results are written into as they are made; says what is kept of it when it is stopped."""
    try:
        with staged_copy(cells, output) as store:
            yield store
    except (KeyboardInterrupt, SystemExit) as error:
        for note in getattr(error, "__notes__", ()):
            console.print(escape(note), highlight=False)
        raise


def _describe(adata: AnnData, console: Console) -> None:
    """Say what was predicted."""
    result, shape = adata.uns[KEYS.PREDICTED], adata.obsm[KEYS.PREDICTED].shape
    console.print(
        f"{shape[0]:,} cells × {shape[1]} drugs: {result['measure']} in {result['unit']}, {result['direction']}; "
        f"{result['gene_coverage']:.0%} of the model's genes measured; "
        f"median reliability {adata.obs[KEYS.RELIABILITY].median():.2f}",
        highlight=False,
    )


def _rank(adata: AnnData, groupby: str, reference: str, sample_key: str | None, console: Console) -> None:
    from .. import get, tl

    with console.status("Ranking drugs"):
        tl.rank_drugs(adata, groupby, reference=reference, sample_key=sample_key)
    table = get.rank_drugs_df(adata)
    for group in table["group"].astype(str).unique():
        best = table[table["group"].astype(str) == group].head(5)
        console.print(ranking_table(best, f"{escape(group)}: more sensitive than {escape(reference)}"))


def _may_rank(judged: pd.DataFrame, reference: str, console: Console) -> bool:
    """Whether predictions of some group are to be believed; says of each other group why not."""
    refused = judged[judged["refused"]]
    for group, reason in refused[["group", "reason"]].to_numpy():
        console.print(escape(f"{group}: {reason}"), highlight=False)
    others = judged["group"] != reference
    return bool((~judged["refused"][others]).any())
