"""Cells with stored predictions, made by hand so that these tests need no model."""

from __future__ import annotations

from collections.abc import Callable

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy import stats

NAMES = ("Alpha-1", "Beta/2", "Gamma C", "Delta", "Epsilon", "Zeta (HCl)", "Eta", "Theta")
IDS = ("alpha-1", "beta-2", "gamma-c", "delta", "epsilon", "zeta-hcl", "eta", "theta")
PATHWAYS = ("MAPK", "Mitosis", "", "MAPK", "DNA replication", "Apoptosis", "", "Mitosis")


def store_predictions(adata: ad.AnnData, response: np.ndarray, key: str = "predicted_response") -> ad.AnnData:
    """Store `response` (cells × drugs, ln IC50, standard normal over the reference lines) as predict_response does."""
    other = key != "predicted_response"
    n_drugs = response.shape[1]
    ids = [*IDS, *(f"drug-{number}" for number in range(len(IDS), n_drugs))][:n_drugs]
    names = [*NAMES, *ids[len(NAMES) :]][:n_drugs]
    frame = pd.DataFrame(response.astype(np.float32), index=adata.obs_names, columns=ids)
    percentile = pd.DataFrame(stats.norm.sf(response).astype(np.float32), index=adata.obs_names, columns=ids)
    adata.obsm[key] = frame
    adata.obsm[f"{key}_percentile" if other else "response_percentile"] = percentile
    adata.obs[f"{key}_reliability" if other else "response_reliability"] = np.float32(0.6)
    drugs = pd.DataFrame(
        {"name": names, "targets": "X", "pathway": [*PATHWAYS, *[""] * n_drugs][:n_drugs], "smiles": "C"}, index=ids
    )
    adata.uns[key] = {
        "model": "by-hand",
        "measure": "ln_IC50",
        "unit": "ln(µM)",
        "direction": "lower is more sensitive",
        "drugs": drugs,
        "half_width": np.linspace(0.5, 1, n_drugs, dtype=np.float32),
        "verdict": "ok",
    }
    return adata


@pytest.fixture
def make_predicted() -> Callable[..., ad.AnnData]:
    """Return a maker of cells: three groups in four donors, "gamma-c" planted as selective for group ``tumour``."""

    def make(n_cells: int = 240, n_drugs: int = 8, *, donor_sd: float = 0.1, seed: int = 0) -> ad.AnnData:
        rng = np.random.default_rng(seed)
        group = np.array(["normal", "tumour", "T/B cells"], dtype=object)[np.arange(n_cells) % 3]
        donor = np.arange(n_cells) // 3 % 4
        response = rng.normal(size=(n_cells, n_drugs)) + donor_sd * rng.normal(size=(4, n_drugs))[donor]
        response[group == "tumour", 2] -= 1.5
        obs = pd.DataFrame({"group": group, "donor": [f"d{d}" for d in donor]})
        obs.index = [f"cell-{i}" for i in range(n_cells)]
        adata = ad.AnnData(np.zeros((n_cells, 2), dtype=np.float32), obs=obs)
        adata.obsm["X_umap"] = rng.normal(size=(n_cells, 2)) + 4 * (np.arange(n_cells) % 3)[:, None]
        return store_predictions(adata, response)

    return make
