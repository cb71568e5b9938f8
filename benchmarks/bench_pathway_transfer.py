"""Speed and memory of PathwayTransfer: `python benchmarks/bench_pathway_transfer.py DATA [--cells 5000] [--predict 50000]`.

DATA is a folder with `gdsc` and `genesets`. Prints seconds and additional peak memory of training one drug on 700 lines
and unlabelled cells (the default and the paper's preset), of training all drugs in one model, and cells per second of
`tl.predict_response` on cells × 20,000 genes, CSR, 10 % filled. Counts are random: only time and memory mean something.
"""

from __future__ import annotations

import argparse
import os
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
from bench_predict import PeakMemory, gene_names, random_counts

import scdrug
from scdrug.model import PathwayTransfer

_GIVEN = {"one": "Cisplatin", "lines": 700}


def measured(label: str, job: Callable[[], Any], *, n: int | None = None) -> Any:
    """Run a job and print what it took: on a busy machine the processor's seconds say more than the clock's."""
    with PeakMemory() as memory:
        wall, processor = time.perf_counter(), time.process_time()
        result = job()
        wall, processor = time.perf_counter() - wall, time.process_time() - processor
    rate = "" if n is None else f", {n / wall:,.0f} cells/s"
    print(f"{label}: {wall:.1f} s ({processor:.1f} s of processor){rate}, additional memory {memory.peak:.2f} GB")
    return result


def train(reference: ad.AnnData, cells: ad.AnnData, pathways: str, **options: Any) -> PathwayTransfer:
    """Train with the model's own defaults."""
    adata = reference.copy()
    PathwayTransfer.setup_anndata(adata)
    model = PathwayTransfer(adata, pathways=pathways, cells=cells, **options)
    model.train()
    model.release_data()
    return model


def with_one_drug(reference: ad.AnnData) -> ad.AnnData:
    """700 lines that were screened with one drug."""
    table = reference.uns["drugs"]
    name = table.index[table["name"].str.lower() == _GIVEN["one"].lower()][0]
    rows = np.flatnonzero(reference.obsm["response"][name].notna())[: _GIVEN["lines"]]
    one = reference[rows].copy()
    one.obsm["response"] = one.obsm["response"][[name]]
    one.uns["drugs"] = table.loc[[name]]
    return one


def counts(n_cells: int, genes: np.ndarray) -> ad.AnnData:
    """Random cells."""
    names = [f"cell{number}" for number in range(n_cells)]
    return ad.AnnData(random_counts(n_cells), obs=pd.DataFrame(index=names), var=pd.DataFrame(index=genes))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--cells", type=int, default=5_000)
    parser.add_argument("--predict", type=int, default=50_000)
    parser.add_argument("--sets", default="GO_CC*.gmt", help="file of DATA/genesets")
    parser.add_argument("--only", choices=("one", "all", "predict"), nargs="*", default=["one", "all", "predict"])
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore")
    scdrug.settings.progress = False
    reference = scdrug.datasets.gdsc(path=arguments.data / "gdsc")
    pathways = str(next((arguments.data / "genesets").glob(arguments.sets)))
    genes = gene_names(reference.var_names.to_numpy())
    cells = counts(arguments.cells, genes)
    one = with_one_drug(reference)
    warm_up = counts(500, genes)
    train(one[:50].copy(), warm_up, pathways, n_hidden=8)  # compiles, or loads what was compiled
    print(
        f"{os.cpu_count()} cores; {reference.n_obs} lines, {reference.n_vars} genes; {arguments.cells} cells; {Path(pathways).name}"
    )

    if "one" in arguments.only:
        for preset in ("default", "he2025", "he2025_released"):
            label = f"one drug, {one.n_obs} lines, preset {preset}"
            model = measured(label, lambda preset=preset: train(one, cells, pathways, preset=preset))
            print(
                f"  {len(model.pathways_)} nodes, {sum(len(v) for k, v in model.history.items() if k.endswith('train_loss'))} epochs"
            )
            _predict(model, arguments.predict, genes, warm_up, label=f"  inference, preset {preset}")
    if {"all", "predict"} & set(arguments.only):
        model = measured(f"{len(reference.uns['drugs'])} drugs in one model", lambda: train(reference, cells, pathways))
        print(
            f"  {len(model.pathways_)} nodes, {sum(len(v) for k, v in model.history.items() if k.endswith('train_loss'))} epochs"
        )
        _predict(model, arguments.predict, genes, warm_up, label="  inference, all drugs")
    if "all" in arguments.only:
        many = counts(arguments.predict, genes)
        few = {"max_epochs": 1}
        measured(f"one epoch with {arguments.predict} cells", lambda: _one_epoch(reference, many, pathways, few))


def _one_epoch(reference: ad.AnnData, cells: ad.AnnData, pathways: str, options: dict[str, Any]) -> None:
    adata = reference.copy()
    PathwayTransfer.setup_anndata(adata)
    PathwayTransfer(adata, pathways=pathways, cells=cells).train(**options)


def _predict(model: PathwayTransfer, n_cells: int, genes: np.ndarray, warm_up: ad.AnnData, *, label: str) -> None:
    scdrug.tl.predict_response(warm_up.copy(), model)
    cells = counts(n_cells, genes)
    measured(f"{label}, {n_cells} cells", lambda: scdrug.tl.predict_response(cells, model), n=n_cells)


if __name__ == "__main__":
    main()
