"""`scdrug predict --groups`: cells in, a table of groups and drugs out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape

from .._constants import KEYS
from ._cells import find_modality, read_cells
from ._files import check_distinct, check_output, whole_file
from ._formats import identify, unreadable


def run_groups(
    cells: Path,
    output: Path,
    *,
    groups: str,
    model: str,
    sample_key: str | None,
    modality: str | None,
    backed: bool | None,
    overwrite: bool,
    console: Console,
    **options: Any,
) -> None:
    """Read, predict groups, write; `options` are handed to :func:`scdrug.tl.predict_groups`."""
    file = identify(cells)
    check_distinct(input=cells, output=output)
    if modality is not None and file.kind != "h5mu":
        raise ValueError(f"--modality is for .h5mu files; {cells} is not one.")
    check_output(output, overwrite=overwrite, endings=(".csv",))
    with console.status("Loading the model"):
        import pandas as pd

        from .. import get, tl
        from ..model._pretrained import load_predictor

        trained = load_predictor(model)
    if file.kind == "h5mu":
        modality, how = find_modality(cells, modality, trained.genes)
        console.print(escape(how), highlight=False)
    with console.status("Reading cells"):
        adata = read_cells(file, backed=backed, modality=modality)
    with console.status(f"Predicting {adata.n_obs:,} cells"), unreadable(cells, only=OSError):
        tl.predict_groups(adata, groups, trained, sample_key=sample_key, **options)
    result = adata.uns[KEYS.GROUPED]
    table = get.group_response_df(adata, groups, key=KEYS.GROUPED)
    judged = get.group_reliability_df(adata, groups, key=KEYS.GROUPED)
    for group, reason in judged[["group", "reason"]].to_numpy():
        console.print(escape(f"{group}: {reason}"), highlight=False)
    n_groups, n_drugs = table["group"].nunique(), table["drug"].nunique()
    if sample_key is not None:
        of_samples = get.group_response_df(adata, groups, sample_key=sample_key, key=KEYS.GROUPED)
        table.insert(1, "sample", "")
        table = pd.concat([table, of_samples], ignore_index=True)
    console.print(
        f"{adata.n_obs:,} cells in {n_groups} groups × {n_drugs} drugs: {result['measure']} in {result['unit']}, {result['direction']}; "
        f"{result['gene_coverage']:.0%} of the model's genes measured",
        highlight=False,
    )
    with whole_file(output) as part:
        table.to_csv(part, index=False)
    console.print(f"Written: {escape(str(output))}", soft_wrap=True, highlight=False)
