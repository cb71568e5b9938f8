"""Speed of what follows a prediction: `python benchmarks/bench_decision.py [--cells 20000] [--resamples 100]`.

Prints seconds of `tl.rank_stability`, of `tl.therapeutic_window`, of `tl.suggest_combinations` and of `scdrug.report` on cells × 20,000 genes of the bundled
model (four donors, five groups), and of the search for the best of all pairs of 414 drugs over 20 clones, and for triples and fours.
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


def timed(name: str, call: Callable[[], object]) -> None:
    start = time.perf_counter()
    call()
    print(f"{name:<60} {time.perf_counter() - start:7.1f} s", flush=True)


def random_problem(n_clones: int, n_drugs: int) -> Problem:
    """Kills of unrelated drugs."""
    kill = np.random.default_rng(0).beta(1, 3, size=(n_clones, n_drugs))
    return Problem(np.log1p(-kill), np.ones((n_drugs, n_drugs), dtype=bool), np.full(n_clones, 1 / n_clones))


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
    adata = ad.AnnData(random_counts(args.cells), var=pd.DataFrame(index=gene_names(model.genes)))
    adata.obs["group"] = pd.Categorical(np.array(["normal", "a", "b", "c", "d"])[np.arange(args.cells) % 5])
    adata.obs["donor"] = pd.Categorical(np.array(["1", "2", "3", "4"])[np.arange(args.cells) // 5 % 4])
    small = adata[:200].copy()
    scdrug.tl.rank_stability(small, "group", model, n_resamples=3)  # compiles
    timed(f"predict_response, {args.cells:,} cells", lambda: scdrug.tl.predict_response(adata, model))
    scdrug_reliable = np.full(args.cells, 0.5, dtype=np.float32)  # random counts are refused, and rightly so
    adata.obs["response_reliability"] = scdrug_reliable
    del adata.obsm["response_evidence"]  # from which groups would be refused all the same
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    timed(
        f"rank_stability, {args.resamples} resamples",
        lambda: scdrug.tl.rank_stability(
            adata, "group", model, reference="normal", sample_key="donor", n_resamples=args.resamples
        ),
    )
    print(
        f"{'additional peak memory':<60} {(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 2**20:7.2f} GB"
    )
    timed(
        "therapeutic_window",
        lambda: scdrug.tl.therapeutic_window(
            adata, ["a", "b", "c", "d"], "normal", groupby="group", sample_key="donor"
        ),
    )
    asked = {"normal": "normal", "min_percentile": 0.0}  # groups of random counts are ordinary
    timed("suggest_combinations, pairs", lambda: scdrug.tl.suggest_combinations(adata, "group", **asked))
    timed("suggest_combinations, triples", lambda: scdrug.tl.suggest_combinations(adata, "group", k=3, **asked))
    timed("rank_drugs", lambda: scdrug.tl.rank_drugs(adata, "group", reference="normal", sample_key="donor"))
    adata.obsm["X_umap"] = np.random.default_rng(0).normal(size=(args.cells, 2)).astype(np.float32)
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder) / "report.html"
        timed("report", lambda: scdrug.report(adata, page))
        print(f"{'size of the page':<60} {page.stat().st_size / 1e6:7.2f} MB")


if __name__ == "__main__":
    main()
