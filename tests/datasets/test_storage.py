"""Whatever a loader returns can be written to h5ad and zarr, and comes back the same."""

from __future__ import annotations

import warnings
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest

import scdrug

LOADERS = {
    "toy": lambda shared: scdrug.datasets.toy(n_lines=20, n_genes=200),
    "toy_cells": lambda shared: scdrug.datasets.toy_cells(n_cells=24, n_genes=200),
    "oligodendroglioma": lambda shared: scdrug.datasets.oligodendroglioma(),
    "ccle": lambda shared: scdrug.datasets.ccle(path=shared / "ccle"),
    "pdx": lambda shared: scdrug.datasets.pdx(tumour_type="BRCA", path=shared / "pdx"),
    "sc_mixology": lambda shared: scdrug.datasets.sc_mixology(path=shared / "sc" / "sc_mixology"),
    "a375_plx4720": lambda shared: scdrug.datasets.a375_plx4720(path=shared / "sc" / "a375"),
    "l1000_ht115": lambda shared: scdrug.datasets.l1000("ht115", path=shared / "l1000"),
    "l1000_pairs": lambda shared: scdrug.datasets.l1000("pairs", path=shared / "l1000"),
    "l1000_basal": lambda shared: scdrug.datasets.l1000("basal", path=shared / "l1000"),
}
SYNTHETIC = {"toy", "toy_cells", "oligodendroglioma"}


def dense(matrix) -> np.ndarray:
    return matrix.toarray() if hasattr(matrix, "toarray") else np.asarray(matrix)


def assert_same(found, expected) -> None:
    """Compare values of ``uns`` in spirit: lists come back as arrays, and text columns as categories."""
    if isinstance(expected, dict):
        assert set(found) == set(expected)
        for key in expected:
            assert_same(found[key], expected[key])
    elif isinstance(expected, pd.DataFrame):
        assert list(found.columns) == list(expected.columns)
        assert list(found.index) == list(expected.index)
        for column in expected:
            np.testing.assert_array_equal(np.asarray(found[column]), np.asarray(expected[column]))
    else:
        np.testing.assert_array_equal(np.asarray(found), np.asarray(expected))


@pytest.mark.parametrize("name", [*LOADERS, "gdsc"])
def test_what_a_loader_returns_survives_h5ad_and_zarr(name, tmp_path: Path, request: pytest.FixtureRequest):
    if name == "oligodendroglioma":
        pytest.importorskip("infercnvpy")
    if name == "gdsc":
        adata = request.getfixturevalue("gdsc2")
    else:
        adata = LOADERS[name](None if name in SYNTHETIC else request.getfixturevalue("shared_data"))
    assert {"name", "licence", "citation", "url", "sha256"} <= set(adata.uns["dataset"])
    adata = adata[:200, :300].copy()  # writing does not depend on the numbers of rows, genes and drugs
    for key in [key for key, table in adata.obsm.items() if isinstance(table, pd.DataFrame)]:
        adata.obsm[key] = adata.obsm[key].iloc[:, :12]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        adata.write_h5ad(tmp_path / "a.h5ad")
        adata.write_zarr(tmp_path / "a.zarr")
        copies = [anndata.read_h5ad(tmp_path / "a.h5ad"), anndata.read_zarr(tmp_path / "a.zarr")]
    for copy in copies:
        np.testing.assert_array_equal(dense(copy.X), dense(adata.X))
        assert_same(copy.obs, adata.obs)
        assert_same(copy.var, adata.var)
        assert_same(dict(copy.uns), dict(adata.uns))
        for key in adata.obsm:
            assert_same(copy.obsm[key], adata.obsm[key])
