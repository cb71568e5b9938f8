"""Lines with pathways, and cells."""

from __future__ import annotations

import anndata as ad
import pytest

import scdrug


@pytest.fixture(autouse=True)
def _no_bars(monkeypatch) -> None:
    monkeypatch.setattr(scdrug.settings, "progress", False)


@pytest.fixture(scope="module")
def reference() -> ad.AnnData:
    adata = scdrug.datasets.toy(n_lines=60)
    scdrug.pp.pathway_mask(adata, "toy")
    return adata


@pytest.fixture(scope="module")
def cells() -> ad.AnnData:
    return scdrug.datasets.toy_cells(n_cells=80)
