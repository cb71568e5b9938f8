"""Figures of the attribution page: do contributions add up, and do trainings agree?

python scripts/check_attribution.py
"""

from __future__ import annotations

import numpy as np
import pandas as pd

import scdrug

MODELS = [f"gdsc2-pathways-{seed}" for seed in (1, 2, 3)]


def mean_pairwise(values: np.ndarray) -> float:
    """Mean correlation of pairs of rows."""
    correlation = np.corrcoef(values)
    return float(correlation[np.triu_indices(len(values), 1)].mean())


def main() -> None:
    scdrug.settings.progress = False
    adata = scdrug.datasets.oligodendroglioma()
    adata.obs["kind"] = adata.obs["malignant"].map({True: "malignant", False: "normal"}).astype("category")
    clones = adata.obs["cell_type"].astype(str).where(adata.obs["malignant"])
    contrasts = []
    for model in MODELS:
        scdrug.tl.predict_response(adata, model, groupby="kind", key_added="explaining")
        means = scdrug.get.response_df(adata, key="explaining").groupby(clones).mean()
        contrasts.append((means - means.mean()).to_numpy().ravel())
    drugs = list(means.columns)[::4]  # every fourth is enough
    scdrug.tl.attribute_pathways(adata, MODELS, drugs, groupby="kind")
    summary, table = adata.uns["pathway_ig"]["summary"], adata.uns["pathway_ig"]["table"]
    by_drug, agreed = [], []
    for drug in drugs:
        values = adata.obsm[f"pathway_ig_{drug}_models"]
        groups = pd.DataFrame(values.reshape(len(values), -1)).groupby(clones.to_numpy()).mean().to_numpy()
        groups = (groups - groups.mean(axis=0)).reshape(len(groups), *values.shape[1:])
        by_drug.append(mean_pairwise(groups.reshape(-1, values.shape[2]).T))
        signs = np.sign(groups).sum(axis=2)
        agreed.append(float((np.abs(signs) == len(MODELS)).mean()))
    free = table.groupby("drug")[["kind", "importance"]].apply(
        lambda rows: rows.loc[rows["kind"] == "free nodes", "importance"].sum() / rows["importance"].sum()
    )
    print(f"{len(drugs)} drugs, {adata.n_obs} cells, {len(MODELS)} models")
    print(f"largest error of completeness: {summary['completeness_error'].max():.4f}")
    print(f"predicted differences between clones, correlation between models: {mean_pairwise(np.array(contrasts)):.2f}")
    print(f"stability of importances, median over drugs: {summary['stability'].median():.2f}")
    print(f"differences of contributions between clones, correlation between models, median: {np.median(by_drug):.2f}")
    print(f"share of them with one sign in all models: {np.mean(agreed):.2f} (by chance {2 ** (1 - len(MODELS)):.2f})")
    print(f"importance of free nodes, of all, median: {free.median():.2f}")


if __name__ == "__main__":
    main()
