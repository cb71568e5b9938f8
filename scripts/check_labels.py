"""Print the figures of the page on labels: python scripts/check_labels.py DATA [--attention].

DATA holds `sc/sc_mixology` and `sc/a375`; the tumour comes with the package infercnvpy. The attention autoencoder takes
minutes and is left out unless asked for.
"""

from __future__ import annotations

import argparse
import time
import warnings
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
from sklearn.metrics import adjusted_rand_score

import scdrug
from scdrug.pp._cluster import leiden_clusters, principal_components, read_expression, silhouette, variable_genes

MARKERS = {
    "microglia": ["CD14", "AIF1", "FCER1G", "FCGR3A", "TYROBP", "CSF1R"],
    "oligodendrocyte": ["MBP", "TF", "PLP1", "MAG", "MOG", "CLDN11"],
}
SEEDS = 5


def check_markers() -> None:
    """Normal cells of a tumour that nobody treated: arms are made up, only the removal is judged."""
    print("\nnormal cells removed by markers (oligodendroglioma)")
    for resolution in (0.1, 0.5, 1.0, 2.0):
        tumour = scdrug.datasets.oligodendroglioma()
        tumour.obs["arm"] = np.where(np.arange(tumour.n_obs) % 2, "drug", "none")
        scdrug.pp.label_cells(
            tumour, treatment_key="arm", control="none", normal_markers=MARKERS, resolution=resolution
        )
        removed = tumour.obs["sensitive_reason"].astype(str).str.startswith("normal")
        malignant = tumour.obs["malignant"]
        scores = tumour.uns["sensitive"]["clusters"].filter(like="score_").max(axis=1)
        normal = tumour.uns["sensitive"]["clusters"]["normal"] != ""
        print(
            f"  resolution {resolution}: {removed[~malignant].sum()} of {(~malignant).sum()} normal, "
            f"{removed[malignant].sum()} of {malignant.sum()} malignant; scores of clusters: normal from "
            f"{scores[normal].min():.2f}, others to {scores[~normal].max():.2f}"
        )


def thin(cells: ad.AnnData, share: float, seed: int) -> ad.AnnData:
    """Keep each count with a probability."""
    thinned = cells.copy()
    thinned.X = thinned.X.tocsr()
    counts = thinned.X.data.astype(np.int64)
    thinned.X.data = np.random.default_rng(seed).binomial(counts, share).astype(np.float32)
    thinned.X.eliminate_zeros()
    return thinned


def check_planted(cells: ad.AnnData) -> None:
    """One line survives treatment; a fifth of its cells stay in the control, and should lose their label."""
    print("\nplanted resistance (five lung lines, each in turn the survivor)")
    for depth in (1.0, 0.1, 0.03, 0.01):
        for resolution in (0.1, 0.5, 2.0):
            found, wrong, asw = [], [], []
            for seed in range(SEEDS if depth < 1 else 1):
                thinned = thin(cells, depth, seed)
                for line in thinned.obs["cell_line"].unique():
                    survivor = (thinned.obs["cell_line"] == line).to_numpy()
                    rest = np.random.default_rng(seed).random(thinned.n_obs) < 0.2
                    thinned.obs["arm"] = np.where(survivor & ~rest, "drug", "none")
                    scdrug.pp.label_cells(
                        thinned, treatment_key="arm", control="none", resolution=resolution, seed=seed
                    )
                    lost = thinned.obs["sensitive"].isna().to_numpy()
                    found.append(lost[survivor & rest].mean())
                    wrong.append(lost[~survivor].mean())
                    asw.append(thinned.uns["sensitive"]["silhouette"])
            counts = float(np.median(np.asarray(thinned.X.sum(axis=1))))
            print(
                f"  {counts:8,.0f} counts, resolution {resolution}: dropped {np.mean(found):.3f} of resistant and "
                f"{np.mean(wrong):.3f} of sensitive control cells; silhouette {np.mean(asw):.2f}"
            )


def check_a375(folder: Path) -> None:
    """Cultures that were grown apart: label, treatment and culture are one."""
    print("\nA375, parental against resistant")
    cells = scdrug.datasets.a375_plx4720(path=folder)
    cells.obs["culture"] = np.where(cells.obs["sensitive"], "parental", "resistant")
    for resolution in (0.1, 0.5, 1.0, 2.0):
        scdrug.pp.label_cells(
            cells,
            treatment_key="culture",
            control="parental",
            scale="scaled",
            batch_key="culture",
            resolution=resolution,
            key_added="label",
        )
        report = cells.uns["label"]
        table = report["clusters"]
        print(
            f"  resolution {resolution}: {len(table)} clusters, silhouette {report['silhouette']:.2f}, treated shares "
            f"{', '.join(f'{share:.2f}' for share in table['treated_share'])}; {report['n_sensitive']} sensitive, "
            f"{report['n_resistant']} resistant, {report['n_unlabelled']} unlabelled; label is treatment: "
            f"{report['label_is_treatment']}; Cramér's V {report['confounding']['cramers_v'].iloc[0]:.2f}"
        )


def check_attention(cells: ad.AnnData) -> None:
    """Clusters of the autoencoder against those of Leiden."""
    print("\nclusters of five lung lines")
    values, scale, _ = read_expression(cells)
    components = principal_components(values[:, variable_genes(values, 2500, scale=scale)].tocsr())
    truth = pd.factorize(cells.obs["cell_line"])[0]
    print(f"  silhouette of the lines themselves in principal components: {silhouette(components, truth)[0]:.2f}")
    for resolution in (0.1, 0.5, 1.0):
        labels = leiden_clusters(components, resolution=resolution)
        width = silhouette(components, labels)[0]
        print(f"  Leiden {resolution}: Rand index {adjusted_rand_score(truth, labels):.3f}, silhouette {width:.2f}")
    for batch_size in (1024, 256):
        start = time.process_time()
        scdrug.pp.cluster_attention(cells, batch_size=batch_size)
        report = cells.uns["attention"]
        print(
            f"  attention, batch {batch_size}: {cells.obs['attention'].nunique()} clusters, Rand index "
            f"{adjusted_rand_score(truth, cells.obs['attention']):.3f}, silhouette {report['silhouette']:.2f} in its "
            f"codes, {report['silhouette_pca']:.2f} in principal components, {time.process_time() - start:.0f} s of CPU",
            flush=True,
        )


def main() -> None:
    """Print all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--attention", action="store_true")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    cells = scdrug.datasets.sc_mixology(path=arguments.data / "sc" / "sc_mixology")
    cells = cells[cells.obs["singlet"]].copy()
    check_markers()
    check_a375(arguments.data / "sc" / "a375")
    check_planted(cells)
    if arguments.attention:
        check_attention(cells)


if __name__ == "__main__":
    main()
