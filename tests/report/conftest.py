"""Toy cells with everything that a page can show."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from scdrug import datasets, model, tl

HOSTILE = "<script>alert(1)</script>"


@pytest.fixture(scope="session")
def everything():
    """Cells with all results, an embedding, a group and a drug whose names are code. Copy before changing it."""
    cells, reference = datasets.toy_cells(), datasets.toy()
    model.KernelRidge.setup_anndata(reference)
    trained = model.KernelRidge(reference)
    trained.train()
    cells.obs["clone"] = cells.obs["clone"].astype(str).replace({"clone-a": HOSTILE}).astype("category")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tl.predict_response(cells, trained, groupby="clone")
        tl.rank_drugs(cells, "clone", reference="normal", sample_key="sample")
        tl.rank_stability(
            cells,
            "clone",
            trained,
            reference="normal",
            sample_key="sample",
            shift_groupby="clone",
            top=3,
            n_resamples=10,
        )
        tl.therapeutic_window(cells, HOSTILE, "normal", groupby="clone", sample_key="sample")
        tl.suggest_combinations(cells, "clone", normal="normal", n_combinations=15)
        tl.attribute_genes(cells, trained, "trametinib")
        tl.rank_pathways(cells, "clone", reference="normal", sample_key="sample", key="gene_ig")
    codes = cells.obs["clone"].cat.codes.to_numpy()
    cells.obsm["X_umap"] = np.random.default_rng(0).normal(size=(cells.n_obs, 2)) + 4 * np.c_[codes, codes % 2]
    return cells


@pytest.fixture
def cells(everything):
    """A copy of the cells with all results."""
    return everything.copy()
