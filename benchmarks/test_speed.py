"""Timings to compare between versions: `pytest benchmarks --benchmark-compare`."""

from __future__ import annotations

import sys
from pathlib import Path

import anndata as ad
import pandas as pd
import pytest

import scdrug

sys.path.insert(0, str(Path(__file__).parent))
from bench_predict import gene_names, random_counts


@pytest.fixture(scope="module")
def model():
    return scdrug.model.load_pretrained()


@pytest.fixture(scope="module")
def cells(model) -> ad.AnnData:
    return ad.AnnData(random_counts(10_000), var=pd.DataFrame(index=gene_names(model.genes)))


@pytest.mark.parametrize("method", ["quantile", "zscore"])
def test_predict_response(benchmark, model, cells: ad.AnnData, method: str) -> None:
    benchmark.pedantic(
        lambda: scdrug.tl.predict_response(cells.copy(), model, method=method), rounds=3, warmup_rounds=1
    )


def test_harmonize(benchmark, model, cells: ad.AnnData) -> None:
    part = cells[:2_000].copy()
    benchmark.pedantic(lambda: scdrug.pp.harmonize(part, model.profile), rounds=3, warmup_rounds=1)


def test_match_genes(benchmark, model, cells: ad.AnnData) -> None:
    from scdrug.pp._genes import match_genes

    benchmark(lambda: match_genes(cells.var_names, model.genes))


def test_train_kernel_ridge(benchmark) -> None:
    reference = scdrug.datasets.toy(n_lines=400, n_genes=300)

    def train() -> None:
        scdrug.model.KernelRidge.setup_anndata(reference)
        scdrug.model.KernelRidge(reference).train()

    benchmark.pedantic(train, rounds=3, warmup_rounds=1)
