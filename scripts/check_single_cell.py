"""Print the single-cell transfer figures: five lung lines, cells predicted by a model that never saw the lines.

    python scripts/check_single_cell.py DATA [--draws 200]

DATA holds `gdsc/` (tables of cell lines and responses) and `sc/sc_mixology/` (CEL-seq2 counts), see the docs page
*Harmonization*. The score is the Pearson correlation over (line, drug) of predicted with measured responses, both
standardised per drug by the training lines ("flat"), and the same after removing each drug's mean over the five lines
("contrast"). Intervals are bootstrapped over drugs and lines.
"""

from __future__ import annotations

import argparse
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import scipy.sparse as sp
from anndata import AnnData

import scdrug
from scdrug.metrics import auroc, transfer_correlation

#: What the bundled model is trained with, see build_zoo.py.
RECIPE = {"kernel": "linear", "ridge": 0.5, "denoise": 1.0}
#: Name of each line in the cells' annotation, and in the reference.
FIVE = {"A549": "A549", "H1975": "NCIH1975", "H2228": "NCIH2228", "H838": "NCIH838", "HCC827": "HCC827"}


def score(
    predicted: pd.DataFrame, lines: pd.Series, held_out: pd.DataFrame, train: pd.DataFrame
) -> tuple[float, float]:
    """Average predictions by line and compare them with the lines' measured responses."""
    by_line = predicted.groupby(lines.to_numpy()).mean().loc[list(FIVE)]
    observed = held_out.loc[list(FIVE.values())].to_numpy(dtype=float)
    values = train.to_numpy(dtype=float)
    return transfer_correlation(by_line.to_numpy(), observed, np.nanmean(values, axis=0), np.nanstd(values, axis=0))


def interval(predicted, lines, held_out, train, *, draws: int, seed: int = 0) -> str:
    """Bootstrap over drugs and lines, 95 %."""
    rng = np.random.default_rng(seed)
    by_line = predicted.groupby(lines.to_numpy()).mean().loc[list(FIVE)].to_numpy()
    observed = held_out.loc[list(FIVE.values())].to_numpy(dtype=float)
    values = train.to_numpy(dtype=float)
    mean, sd = np.nanmean(values, axis=0), np.nanstd(values, axis=0)
    scores = []
    for _ in range(draws):
        rows, columns = rng.integers(0, 5, 5), rng.integers(0, len(mean), len(mean))
        if len(set(rows)) > 1:
            pick = np.ix_(rows, columns)
            scores.append(transfer_correlation(by_line[pick], observed[pick], mean[columns], sd[columns]))
    low, high = np.nanquantile(np.array(scores), [0.025, 0.975], axis=0)
    return f"flat {low[0]:.2f}-{high[0]:.2f}, contrast {low[1]:.2f}-{high[1]:.2f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--draws", type=int, default=200)
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore")

    reference = scdrug.datasets.gdsc(release="GDSC2", path=arguments.data / "gdsc")
    out = reference.obs_names.isin(FIVE.values())
    response = reference.obsm["response"]
    train, held_out = reference[~out].copy(), reference[out].copy()
    scdrug.model.KernelRidge.setup_anndata(train)
    model = scdrug.model.KernelRidge(train, **RECIPE)
    model.train()

    cells = scdrug.datasets.sc_mixology(path=arguments.data / "sc" / "sc_mixology")
    cells = cells[cells.obs["singlet"].to_numpy(dtype=bool)].copy()
    lines = cells.obs["cell_line"].astype(str)
    truth = response[out], response[~out]

    def show(name: str, predicted: pd.DataFrame, names: pd.Series) -> None:
        flat, contrast = score(predicted, names, *truth)
        print(f"{name:<52} flat {flat:6.3f}   contrast {contrast:6.3f}", flush=True)

    print(f"{train.n_obs} training lines, {cells.n_obs} cells, {len(model.drugs)} drugs\n")
    bulk = pd.Series({value: key for key, value in FIVE.items()}).loc[held_out.obs_names]
    show("bulk profiles of the five lines (upper bound)", model.predict(held_out, key_added=None), bulk)
    for method in ("quantile", "zscore", "gene_zscore"):
        for anchor in ("similar", "mean", "none"):
            scdrug.tl.predict_response(cells, model, method=method, anchor=anchor)
            show(f"cells, {method}, anchor {anchor}", cells.obsm["predicted_response"], lines)
    nearest = scdrug.pp.harmonize(cells, train, anchor="nearest")
    show("cells, quantile, mean of the 30 nearest lines", model.predict(nearest, key_added=None), lines)
    for method in ("quantile", "zscore"):
        pooled = scdrug.pp.harmonize(cells, model.profile, method=method, n_pool=15)
        show(f"cells pooled over 15 neighbours, {method}", model.predict(pooled, key_added=None), lines)
    scdrug.tl.predict_response(cells, model, groupby="cell_line")
    show("cells, quantile, shift averaged over lines", cells.obsm["predicted_response"], lines)
    sums = [np.asarray(cells.X[(lines == line).to_numpy()].sum(axis=0)).ravel() for line in FIVE]
    pseudobulk = AnnData(
        sp.csr_matrix(np.array(sums, dtype=np.float32)), var=cells.var, obs=pd.DataFrame(index=list(FIVE))
    )
    scdrug.tl.predict_response(pseudobulk, model)
    show("pseudobulk, quantile", pseudobulk.obsm["predicted_response"], pd.Series(list(FIVE)))

    scdrug.tl.predict_response(cells, model)
    default = cells.obsm["predicted_response"]
    print(f"\ndefault: 95 % interval over drugs and lines: {interval(default, lines, *truth, draws=arguments.draws)}")
    by_line = default[["gefitinib", "afatinib"]].groupby(lines.to_numpy()).mean()
    bulk_by_line = model.predict(held_out, drugs=["gefitinib", "afatinib"], key_added=None)
    print(f"most sensitive line, bulk profiles: {bulk_by_line.idxmin().to_dict()}, cells: {by_line.idxmin().to_dict()}")
    print(f"median reliability of the cells {cells.obs['response_reliability'].median():.2f}\n")

    rng = np.random.default_rng(0)
    for share in (0.3, 0.1, 0.03):
        shallow = cells.copy()
        shallow.X = sp.csr_matrix(rng.binomial(cells.X.toarray().astype(int), share).astype(np.float32))
        scdrug.tl.predict_response(shallow, model)
        depth, trust = float(np.median(np.asarray(shallow.X.sum(axis=1)))), shallow.obs["response_reliability"].median()
        show(
            f"counts thinned to {share:.0%} ({depth:.0f} a cell, reliability {trust:.2f})",
            shallow.obsm["predicted_response"],
            lines,
        )
    check_a375(arguments.data)


def check_a375(data: Path) -> None:
    """Print how well predicted PLX-4720 response tells parental from treated A375 cells, on all and on shared genes."""
    cells = scdrug.datasets.a375_plx4720(path=data / "sc" / "a375" / "scad_A375_plx4720.h5ad")
    sensitive = cells.obs["sensitive"].to_numpy(dtype=float)[:, None]
    print("\nA375, centred by gene: AUROC of predicted PLX-4720 response, A375 out of training")
    for measure in ("AUC", "ln_IC50"):
        reference = scdrug.datasets.gdsc(release="GDSC2", measure=measure, path=data / "gdsc")
        lines = reference.obs_names != "A375"
        shared = reference.var_names.isin(cells.var_names)
        for name, genes in (("all genes, unmeasured ones filled", shared | True), ("shared genes only", shared)):
            train = reference[lines, genes].copy()
            scdrug.model.KernelRidge.setup_anndata(train)
            model = scdrug.model.KernelRidge(train)
            model.train()
            scdrug.tl.predict_response(cells, model, scale="scaled", drugs=["PLX-4720"], min_coverage=0.2)
            predicted = cells.obsm["predicted_response"].iloc[:, [0]].to_numpy()
            print(f"{measure:<8} {name:<34} {train.n_vars:>5} genes   AUROC {auroc(-predicted, sensitive):.3f}")


if __name__ == "__main__":
    main()
