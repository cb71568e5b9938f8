"""Figures of the attribution page: do contributions add up, do trainings agree, and are targets of known drugs found?

python scripts/check_attribution.py DATA

DATA holds `gdsc/` and `genesets/`. Bundled networks are asked for the pathways of their code and for Hallmark sets through genes; linear
models on halves of the lines of GDSC for gene sets alone, in the most sensitive lines of drugs whose target is known.
"""

from __future__ import annotations

import argparse
import warnings
from pathlib import Path

import numpy as np
import pandas as pd

import scdrug

MODELS = [f"gdsc2-pathways-{seed}" for seed in (1, 2, 3)]


def mean_pairwise(values: np.ndarray) -> float:
    """Mean correlation of pairs of rows."""
    correlation = np.corrcoef(values)
    return float(correlation[np.triu_indices(len(values), 1)].mean())


#: Drugs with one target, and the Hallmark sets that it acts on; the data hold no cleaner inhibitor of MDM2 than serdemetan.
_KRAS = ["HALLMARK_KRAS_SIGNALING_UP", "HALLMARK_KRAS_SIGNALING_DN"]
TARGETS = {
    "Trametinib": ("MEK", _KRAS),
    "Dabrafenib": ("BRAF", _KRAS),
    "Gefitinib": ("EGFR", _KRAS),
    "Serdemetan": ("MDM2", ["HALLMARK_P53_PATHWAY"]),
}
N_HALVES = 10


def networks(sets: Path) -> None:
    """Do the bundled networks agree on clones of four oligodendrogliomas?"""
    adata = scdrug.datasets.oligodendroglioma()
    adata.obs["kind"] = adata.obs["malignant"].map({True: "malignant", False: "normal"}).astype("category")
    clones = adata.obs["cell_type"].astype(str).where(adata.obs["malignant"])
    contrasts = []
    for model in MODELS:
        scdrug.tl.predict_response(adata, model, groupby="kind", key_added="explaining")
        means = scdrug.get.response_df(adata, key="explaining").groupby(clones).mean()
        contrasts.append((means - means.mean()).to_numpy().ravel())
    drugs = list(means.columns)[::4]  # every fourth is enough
    print(f"{len(drugs)} drugs, {adata.n_obs} cells, {len(MODELS)} models")
    print(f"predicted differences between clones, correlation between models: {mean_pairwise(np.array(contrasts)):.2f}")
    for title, pathways in (("pathways of the code", None), ("Hallmark sets through genes", sets)):
        scdrug.tl.attribute_pathways(adata, MODELS, drugs, pathways=pathways, groupby="kind")
        agreement(adata, clones, drugs, title)


def agreement(adata, clones: pd.Series, drugs: list[str], title: str) -> None:
    """Print how far contributions of several models agree."""
    summary, table = adata.uns["pathway_ig"]["summary"], adata.uns["pathway_ig"]["table"]
    by_drug, agreed = [], []
    for drug in drugs:
        values = adata.obsm[f"pathway_ig_{drug}_models"]
        groups = pd.DataFrame(values.reshape(len(values), -1)).groupby(clones.to_numpy()).mean().to_numpy()
        groups = (groups - groups.mean(axis=0)).reshape(len(groups), *values.shape[1:])
        by_drug.append(mean_pairwise(groups.reshape(-1, values.shape[2]).T))
        signs = np.sign(groups).sum(axis=2)
        agreed.append(float((np.abs(signs) == len(MODELS)).mean()))
    named = table["kind"] == "pathway"
    sums = table["importance"].groupby(table["drug"]).sum()
    rest = table[~named].groupby("drug")["importance"].sum() / sums
    print(f"{title}:")
    print(f"  largest error of completeness: {summary['completeness_error'].max():.4f}")
    print(
        f"  importances of pathways, rank correlation between models, median over drugs: {summary['stability'].median():.2f}"
    )
    print(
        f"  differences of contributions between clones, correlation between models, median: {np.median(by_drug):.2f}"
    )
    print(
        f"  share of them with one sign in all models: {np.mean(agreed):.2f} (by chance {2 ** (1 - len(MODELS)):.2f})"
    )
    print(f"  stability of contributions, median over pathways and drugs: {table['stability'][named].median():.2f}")
    print(f"  pathways that come back: {table['repeats'][named].mean():.0%}")
    print(f"  importance that belongs to no pathway, of all, median: {rest.median():.2f}", flush=True)


def known_targets(data: Path, sets: Path) -> None:
    """Where do the sets of a drug's target stand, for the lines that are most sensitive to it?"""
    reference = scdrug.datasets.gdsc("GDSC2", path=data / "gdsc")
    recipe = scdrug.model.load_pretrained("gdsc2-ridge")
    rng = np.random.default_rng(0)
    halves = [np.sort(rng.permutation(reference.n_obs)[: reference.n_obs // 2]) for _ in range(N_HALVES)]
    models = [recipe.retrain(reference[rows]) for rows in halves]
    print(
        f"\n{N_HALVES} linear models on halves of {reference.n_obs} lines; Hallmark sets, most sensitive tenth of the lines of each drug"
    )
    names = reference.uns["drugs"]["name"]
    for name, (target, wanted) in TARGETS.items():
        drug = names.index[names.str.lower().str.startswith(name.lower())][0]
        response = reference.obsm["response"][drug]
        lines = reference[(response <= response.quantile(0.1)).to_numpy()].copy()
        scdrug.tl.attribute_pathways(lines, models, drug, pathways=sets, method="none", resampled=True)
        table = scdrug.get.attribute_pathways_df(lines, drug).query("kind == 'pathway'").reset_index(drop=True)
        places = [f"{row.pathway} {place + 1} ({row.supports}, stability {row.stability:.2f})"
                  for place, row in enumerate(table.itertuples()) if row.pathway in wanted]  # fmt: skip
        first = ", ".join(table["pathway"].str.removeprefix("HALLMARK_").head(5))
        print(
            f"{name} ({target}): {int(table['repeats'].sum())} of {len(table)} come back; {'; '.join(places)}; first: {first}",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--only", choices=("networks", "targets"))
    arguments = parser.parse_args()
    scdrug.settings.progress = False
    warnings.filterwarnings("ignore")
    sets = arguments.data / "genesets" / "h.all.v7.0.symbols.gmt"
    if arguments.only != "targets":
        networks(sets)
    if arguments.only != "networks":
        known_targets(arguments.data, sets)


if __name__ == "__main__":
    main()
