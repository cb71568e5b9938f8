"""Speed of a decision: `python benchmarks/bench_decision.py [--cells 20000] [--resamples 100]`.

Prints seconds of each step from counts to a page (`tl.predict_response`, `tl.rank_drugs`, `tl.therapeutic_window`, `tl.rank_stability`,
`tl.suggest_combinations`, `scdrug.report`) on cells × 20,000 genes of the bundled model (four donors, five groups), their sum and the peak
memory of the process; and of the search for the best of all pairs, triples and fours of 414 drugs over 20 clones.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
from bench_predict import gene_names, random_counts

import scdrug
from scdrug.tl._combine import Problem, best_sets


def timed(name: str, call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    seconds = time.perf_counter() - start
    print(f"{name:<60} {seconds:7.1f} s", flush=True)
    return seconds


def peak() -> float:
    """Peak memory of the process in GB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def random_problem(n_clones: int, n_drugs: int) -> Problem:
    """Kills of unrelated drugs."""
    kill = np.random.default_rng(0).beta(1, 3, size=(n_clones, n_drugs))
    return Problem(np.log1p(-kill), np.ones((n_drugs, n_drugs), dtype=bool), np.full(n_clones, 1 / n_clones))


def tumour(model: scdrug.model.KernelRidge, n_cells: int) -> ad.AnnData:
    """Random counts in five groups and four donors, with an embedding."""
    adata = ad.AnnData(random_counts(n_cells), var=pd.DataFrame(index=gene_names(model.genes)))
    adata.obs["group"] = pd.Categorical(np.array(["normal", "a", "b", "c", "d"])[np.arange(n_cells) % 5])
    adata.obs["donor"] = pd.Categorical(np.array(["1", "2", "3", "4"])[np.arange(n_cells) // 5 % 4])
    adata.obsm["X_umap"] = np.random.default_rng(0).normal(size=(n_cells, 2)).astype(np.float32)
    return adata


def believe(adata: ad.AnnData) -> None:
    """Random counts are refused, and rightly so: say that they are not."""
    adata.obs["response_reliability"] = np.full(adata.n_obs, 0.5, dtype=np.float32)
    del adata.obsm["response_evidence"]  # from which groups would be refused all the same


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cells", type=int, default=20_000)
    parser.add_argument("--resamples", type=int, default=100)
    args = parser.parse_args()
    warnings.simplefilter("ignore")

    problem = random_problem(20, 414)
    for k in (2, 3, 4):
        timed(f"best sets of {k} of 414 drugs, 20 clones", lambda k=k: best_sets(problem, k, 20))

    model = scdrug.model.load_pretrained("default")
    adata = tumour(model, args.cells)
    scdrug.tl.rank_stability(adata[:200].copy(), "group", model, n_resamples=3)  # compiles
    print(
        f"{args.cells:,} cells × {adata.n_vars:,} genes, {adata.X.data.nbytes / 1e9:.2f} GB of counts; {peak():.2f} GB before"
    )
    compared = {"reference": "normal", "sample_key": "donor"}
    asked = {"normal": "normal", "min_percentile": 0.0}  # groups of random counts are ordinary
    total = timed("predict_response", lambda: scdrug.tl.predict_response(adata, model))
    believe(adata)
    total += timed("rank_drugs", lambda: scdrug.tl.rank_drugs(adata, "group", **compared))
    total += timed(
        "therapeutic_window",
        lambda: scdrug.tl.therapeutic_window(
            adata, ["a", "b", "c", "d"], "normal", groupby="group", sample_key="donor"
        ),
    )
    total += timed(
        f"rank_stability, {args.resamples} resamples",
        lambda: scdrug.tl.rank_stability(adata, "group", model, n_resamples=args.resamples, **compared),
    )
    total += timed(
        "suggest_combinations, triples", lambda: scdrug.tl.suggest_combinations(adata, "group", k=3, **asked)
    )
    total += timed("suggest_combinations, pairs", lambda: scdrug.tl.suggest_combinations(adata, "group", **asked))
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder) / "report.html"
        total += timed("report", lambda: scdrug.report(adata, page))
        print(f"{'size of the page':<60} {page.stat().st_size / 1e6:7.2f} MB")
    print(f"{'from counts to the page':<60} {total:7.1f} s")
    print(f"{'peak memory of the process':<60} {peak():7.2f} GB")


if __name__ == "__main__":
    main()
