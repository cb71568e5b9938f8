"""Toy cells with everything that a page can show, and the page that most tests read."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest

import scdrug
from scdrug import datasets, model, tl

HOSTILE = "<script>alert(1)</script>"
#: As `benchmark.check_default` returns them; one may be chance.
CONTROLS = pd.DataFrame(
    {
        "control": ["permuted responses", "exchanged genes", "<b>mine</b>"],
        "statistic": ["flat", "reliability", "auroc"],
        "observed": [0.467, 0.55, 0.6],
        "null": [0.038, 0.0, 0.507],
        "null_low": [-0.069, 0.0, 0.15],
        "null_high": [0.134, 0.0, 0.85],
        "n_null": [5, 5, 1000],
        "holds": [True, True, False],
    }
)


@pytest.fixture(scope="session")
def everything():
    """Cells with all results, an embedding, a group and a drug whose names are code. Copy before changing it."""
    cells, reference = datasets.toy_cells(n_cells=120, n_genes=300), datasets.toy(n_lines=60, n_genes=300)
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
        tl.predict_patients(cells, trained, sample_key="sample", groupby="clone", key_added="by_patient")
        tl.attribute_genes(cells, trained, "trametinib")
        tl.rank_pathways(cells, "clone", reference="normal", sample_key="sample", key="gene_ig")
    # predictions of patients replace those of cells, which are harmonized by clone here
    cells.uns["patient_response"] = cells.uns.pop("by_patient_patients")
    for slot in (cells.obsm, cells.uns, cells.obs):
        for name in [name for name in slot if name.startswith("by_patient")]:
            del slot[name]
    codes = cells.obs["clone"].cat.codes.to_numpy()
    cells.obsm["X_umap"] = np.random.default_rng(0).normal(size=(cells.n_obs, 2)) + 4 * np.c_[codes, codes % 2]
    return cells


@pytest.fixture(scope="session")
def page_file(everything, tmp_path_factory):
    """The page of all results; its title is code, too."""
    path = tmp_path_factory.mktemp("report") / "page.html"
    return scdrug.report(everything, path, title=HOSTILE, controls=CONTROLS)


@pytest.fixture
def cells(everything):
    """A copy of the cells with all results."""
    return everything.copy()
