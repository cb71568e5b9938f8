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
        "interval_level": 0.9,
        "line_quantiles": pd.DataFrame(
            np.tile(stats.norm.ppf(np.linspace(0, 1, 21).clip(1e-4, 1 - 1e-4)).astype(np.float32), (n_drugs, 1)),
            index=ids,
            columns=[f"{p:.2f}" for p in np.linspace(0, 1, 21)],
        ),
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


@pytest.fixture
def make_attributed() -> Callable[..., ad.AnnData]:
    """Return a maker of cells with contributions to two drugs, "DNA REPAIR" planted as what makes ``tumour`` resistant."""
    from scdrug.tl._attribute_run import Found, store, summary_table
    from scdrug.tl._attribution import Totals

    features = ["HALLMARK_APOPTOSIS", "HALLMARK_DNA_REPAIR", "HALLMARK_TNFA_SIGNALING_VIA_NFKB", "HALLMARK_HYPOXIA"]
    features = [*features, "free nodes", "linear path"]
    nodes = pd.DataFrame({"pathway": features, "kind": ["pathway"] * 4 + features[4:], "n_genes": 9, "own_r2": 0.2})
    nodes["identified"] = [True, True, False, True, False, False]

    class Model:
        drugs = pd.DataFrame({"name": ["Alpha-1", "Beta/2"]}, index=["alpha-1", "beta-2"])

    def make(n_cells: int = 120, n_models: int = 3, seed: int = 0) -> ad.AnnData:
        rng = np.random.default_rng(seed)
        group = np.array(["normal", "tumour", "T/B cells"], dtype=object)[np.arange(n_cells) % 3]
        obs = pd.DataFrame({"group": group, "donor": [f"d{i // 3 % 4}" for i in range(n_cells)]})
        obs.index = [f"cell-{i}" for i in range(n_cells)]
        adata = ad.AnnData(np.zeros((n_cells, 2), dtype=np.float32), obs=obs)
        found, tables = [], []
        for drug in Model.drugs.index:
            alike = rng.normal(scale=0.2, size=(n_cells, 6)).astype(np.float32)  # what comes back from model to model
            noise = [rng.normal(scale=0.05, size=(n_cells, 6)).astype(np.float32) for _ in range(n_models)]
            values = [alike + part for part in noise]
            for part in values:
                part[group == "tumour", 1] -= 1.0
                part[:, 0] += 0.5
            totals = Totals(n_models, 6)
            mean = totals.add(values)
            stacked = np.stack(values, axis=2) if n_models > 1 else None
            found.append(Found(drug, totals, mean, stacked, 1e-4, 50, -0.3))
            part = pd.concat([nodes, totals.table()], axis=1).sort_values("importance", ascending=False)
            tables.append(part.assign(drug=drug))
        summary = summary_table(found, [Model], np.array([True] * 4 + [False] * 2))
        params = {"unit": "ln(µM)", "attributed_to": "pathway", "n_models": n_models}
        table = pd.concat(tables, ignore_index=True)
        store(adata, "pathway_ig", found, features, table=table, summary=summary, params=params)
        return adata

    return make
