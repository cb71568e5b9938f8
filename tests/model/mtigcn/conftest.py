"""A small screen, and models of it."""

from __future__ import annotations

import warnings
from typing import Any

import anndata as ad
import pytest

import scdrug
from scdrug.model import MTIGCN


@pytest.fixture(autouse=True)
def _no_bars(monkeypatch) -> None:
    monkeypatch.setattr(scdrug.settings, "progress", False)


@pytest.fixture(scope="session")
def screen() -> ad.AnnData:
    """60 lines, 12 drugs; not to be changed."""
    return scdrug.datasets.toy(n_lines=60)


@pytest.fixture(scope="session")
def make():
    """Train a small model on a copy of a reference."""

    def trained(adata: ad.AnnData, *, train: dict[str, Any] | None = None, **options: Any) -> MTIGCN:
        adata = adata.copy()
        MTIGCN.setup_anndata(adata)
        model = MTIGCN(adata, **{"n_hidden": 8, "n_latent": 8, **options})
        progress, scdrug.settings.progress = scdrug.settings.progress, False
        try:
            model.train(**{"max_epochs": 2, **(train or {})})
        finally:
            scdrug.settings.progress = progress
        return model

    return trained


@pytest.fixture(scope="session")
def published(screen, make) -> MTIGCN:
    """The published network, which must not be changed."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return make(screen, preset="mtigcn", train={"early_stopping": False})
