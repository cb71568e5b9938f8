"""Train and write the bundled models.

    python scripts/build_zoo.py DATA [--out src/scdrug/zoo] [--only gdsc2-pathways]

DATA holds `gdsc/` (expression.parquet, pairs.parquet, …), `sc/sc_mixology/` and `genesets/`. The same files give the same model; the
figures in its card are measured here, on lines that the measured model did not see.
"""

from __future__ import annotations

import argparse
import functools
import hashlib
import warnings
from pathlib import Path

import numpy as np

import scdrug
from scdrug.benchmark._screens import join_screen
from scdrug.metrics import pearson, per_drug_pearson, rmse, transfer_correlation
from scdrug.model._data import drug_correlations

FIVE = {"A549": "A549", "H1975": "NCIH1975", "H2228": "NCIH2228", "H838": "NCIH838", "HCC827": "HCC827"}
#: Chosen on held-out lines: denoised targets lower the error at every ridge tried (0.2, 0.5, 1).
RECIPE = {"kernel": "linear", "ridge": 0.5, "denoise": 1.0}
#: The same for both releases, with what predicts new drugs. A hundred factors lose nothing on held-out lines (scripts/check_screens.py).
BOTH = RECIPE | {"drug_kernel": "auto", "drug_ridge": 0.5, "rank": 100}


def train(reference, recipe=RECIPE) -> scdrug.model.KernelRidge:
    reference = reference.copy()
    scdrug.model.KernelRidge.setup_anndata(reference)
    model = scdrug.model.KernelRidge(reference, **recipe)
    model.train()
    return model


def line_split(reference, n_folds: int = 5, seed: int = 0) -> list[str]:
    """Rows of the card for held-out lines, beside the drug mean."""
    folds = np.random.default_rng(seed).permutation(reference.n_obs) % n_folds
    figures = {"drug mean": [], "gdsc2-ridge": []}
    for fold in range(n_folds):
        train_lines, test = reference[folds != fold].copy(), reference[folds == fold].copy()
        observed = test.obsm["response"].to_numpy(dtype=float)
        mean = np.broadcast_to(np.nanmean(train_lines.obsm["response"], axis=0), observed.shape)
        predicted = train(train_lines).predict(test, key_added=None).to_numpy(dtype=float)
        for name, values in (("drug mean", mean), ("gdsc2-ridge", predicted)):
            per_drug = 0.0 if name == "drug mean" else per_drug_pearson(values, observed)
            figures[name].append((rmse(values, observed), pearson(values, observed), per_drug))
    rows = []
    for name, values in figures.items():
        m, s = np.mean(values, axis=0), np.std(values, axis=0, ddof=1)
        cells = " | ".join(f"{a:.3f} ± {b:.3f}" for a, b in zip(m, s, strict=True))
        rows.append(f"| {name} | {cells} |")
    return rows


def single_cells(reference, folder: Path, recipe=RECIPE) -> tuple[float, float]:
    """Flat and contrast correlation on cells of five lines that were held out of training."""
    out = reference.obs_names.isin(FIVE.values())
    model = train(reference[~out], recipe)
    cells = scdrug.datasets.sc_mixology(path=folder)
    cells = cells[cells.obs["singlet"].to_numpy(dtype=bool)].copy()
    scdrug.tl.predict_response(cells, model)
    by_line = cells.obsm["predicted_response"].groupby(cells.obs["cell_line"].astype(str).to_numpy()).mean()
    response = reference.obsm["response"]
    seen = response[~out].to_numpy(dtype=float)
    observed = response.loc[list(FIVE.values())].to_numpy(dtype=float)
    return transfer_correlation(
        by_line.loc[list(FIVE)].to_numpy(),
        observed,
        train_mean=np.nanmean(seen, axis=0),
        train_sd=np.nanstd(seen, axis=0),
    )


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def gdsc2_ridge(data: Path, out: Path) -> None:
    reference = scdrug.datasets.gdsc(release="GDSC2", path=data / "gdsc")
    model = train(reference)
    flat, contrast = single_cells(reference, data / "sc" / "sc_mixology")
    half_width = model.calibration.half_width
    files = {name: sha256(data / "gdsc" / name) for name in ("expression.parquet", "pairs.parquet")}
    model.notes_ = {
        "name": "gdsc2-ridge",
        "summary": "Linear kernel ridge on GDSC2 ln IC50: fast, inductive, hard to beat.",
        "training_data": files,
        "card": "\n".join(
            [
                f"- Ridge {RECIPE['ridge']} on per-gene z scores; each measured response is replaced by its soft-impute fit "
                "before the regression, fitted on training lines only",
                "- Genes that cells lack are filled by a factor model of the lines; matrices are stored in 8 bits",
                "",
                "## Training data",
                "",
                "Genomics of Drug Sensitivity in Cancer, release GDSC2 (Yang et al. 2013, Iorio et al. 2016), © Genome "
                "Research Ltd; free for non-commercial research, see https://www.cancerrxgene.org. No training data are "
                "in this folder: weights, gene-wise moments and directions of variation only.",
                "",
                *[f"- `{name}` sha256 `{value}`" for name, value in files.items()],
                "",
                "## Measured",
                "",
                "Held-out lines, 5 folds (mean ± sd), ln IC50:",
                "",
                "| predictor | RMSE | Pearson, pooled | Pearson, mean per drug |",
                "|---|---|---|---|",
                *line_split(reference),
                "",
                "Single cells (CEL-seq2, 571 cells of five lung lines held out of training), correlation over line and "
                f"drug: flat {flat:.3f}, contrast {contrast:.3f}. Five lines give wide error; see the docs page "
                "*Harmonization*.",
                "",
                f"90 % intervals from leave-one-line-out residuals: median half-width {np.median(half_width):.2f} ln "
                "units. They hold for bulk lines, not for single cells.",
                "",
                "## Known failures",
                "",
                "- Drugs whose response expression does not predict: most of a drug's variance over lines stays "
                "unexplained; look at the percentile and at the interval, not at the ranking alone.",
                "- Tumours unlike any cell line (most normal cells, quiescent or immune cells): reliability is low, and "
                "values drift towards the mean line.",
                "- Pooled over drugs, nearly all correlation comes from drug potency: compare drugs by percentile.",
                "",
                scdrug._constants.DISCLAIMER,
                "",
            ]
        ),
    }
    model.save(out / "gdsc2-ridge", overwrite=True, dtype="int8")


def both_split(reference, n_folds: int = 5, seed: int = 0) -> tuple[list[str], np.ndarray]:
    """Rows of the card for held-out lines, by the screen of the drugs, and the correlation of each drug over all of them."""
    folds = np.random.default_rng(seed).permutation(reference.n_obs) % n_folds
    response, drugs = reference.obsm["response"], reference.uns["drugs"]
    single = {name: response.columns[(drugs["screen"] == name).to_numpy()] for name in ("GDSC2", "GDSC1")}
    figures: dict[tuple[str, str], list] = {}
    left_out = response.copy()
    for fold in range(n_folds):
        train_lines, test = reference[folds != fold].copy(), reference[folds == fold].copy()
        predicted = train(train_lines, BOTH).predict(test, key_added=None)
        left_out.loc[test.obs_names] = predicted
        for screen, columns in single.items():
            observed = test.obsm["response"][columns].to_numpy(dtype=float)
            known = train_lines[train_lines.obsm["response"][columns].notna().any(axis=1)].copy()
            known.obsm["response"] = known.obsm["response"][columns]
            del known.obsm["second_response"]
            alone = train(known).predict(test, key_added=None)
            mean = np.broadcast_to(np.nanmean(known.obsm["response"], axis=0), observed.shape)
            rows = {"drug mean": mean, "trained on this release alone": alone, "gdsc-ridge": predicted[columns]}
            for name, values in rows.items():
                values = np.asarray(values, dtype=float)
                r = 0.0 if name == "drug mean" else per_drug_pearson(values, observed)
                figures.setdefault((screen, name), []).append((rmse(values, observed), pearson(values, observed), r))
    table = []
    for (screen, name), values in figures.items():
        m, s = np.mean(values, axis=0), np.std(values, axis=0, ddof=1)
        cells = " | ".join(f"{a:.3f} ± {b:.3f}" for a, b in zip(m, s, strict=True))
        table.append(f"| {screen} ({len(single[screen])} drugs) | {name} | {cells} |")
    return table, drug_correlations(left_out.to_numpy(dtype=float), response.to_numpy(dtype=float))


def gdsc_ridge(data: Path, out: Path, measure: str = "ln_IC50") -> None:
    reference = scdrug.datasets.gdsc("both", measure=measure, path=data / "gdsc")
    rows, held_out_r = both_split(reference)
    flat, contrast = single_cells(reference, data / "sc" / "sc_mixology", BOTH)
    model = train(reference, BOTH)
    for column, values in {"held_out_r": held_out_r, "nci60_r": nci60_correlations(reference, data)}.items():
        model.reference_ = model.reference_.with_evidence(column, values)
    name, unit = ("gdsc-ridge", "ln IC50") if measure == "ln_IC50" else ("gdsc-ridge-auc", "AUC")
    files = {name: sha256(data / "gdsc" / name) for name in ("expression.parquet", "pairs.parquet")}
    evidence = model.drugs
    model.notes_ = {
        "name": name,
        "summary": f"Linear kernel ridge on {unit} of both GDSC releases, {len(evidence)} drugs and new ones.",
        "training_data": files,
        "card": "\n".join(
            [
                f"- {len(evidence)} drugs: {(evidence['screen'] == 'GDSC2').sum()} with responses of GDSC2, the others with those of GDSC1, "
                "each in the unit of its own release. Both are completed together, lines in common; a quarter of the older release's fit "
                "goes into a drug of both",
                f"- Ridge {BOTH['ridge']} on per-gene z scores, weights in {BOTH['rank']} factors; matrices are stored in 8 bits",
                "- New drugs are mixtures of these, by structure (Morgan fingerprints and MiniMol), targets and pathway",
                "- Genes that cells lack are filled by a factor model of the lines",
                "",
                "## Training data",
                "",
                "Genomics of Drug Sensitivity in Cancer, releases GDSC1 and GDSC2 (Yang et al. 2013, Iorio et al. 2016), © Genome "
                "Research Ltd; free for non-commercial research, see https://www.cancerrxgene.org. No training data are in "
                "this folder: weights, gene-wise moments and directions of variation only.",
                "",
                *[f"- `{file}` sha256 `{value}`" for file, value in files.items()],
                "",
                "## Measured",
                "",
                f"Held-out lines, 5 folds (mean ± sd), {unit}:",
                "",
                "| drugs | predictor | RMSE | Pearson, pooled | Pearson, mean per drug |",
                "|---|---|---|---|---|",
                *rows,
                "",
                f"Evidence of each drug, in `model.drugs`: `held_out_r` (median {np.nanmedian(held_out_r):.2f}), `screen_r`, the correlation of "
                f"both releases ({int((evidence['n_shared'] >= 10).sum())} drugs, median {np.nanmedian(evidence['screen_r']):.2f}), and `nci60_r` "
                f"({int(evidence['nci60_r'].notna().sum())} drugs, median {np.nanmedian(evidence['nci60_r']):.2f}).",
                "",
                "Single cells (CEL-seq2, 571 cells of five lung lines held out of training), correlation over line and "
                f"drug: flat {flat:.3f}, contrast {contrast:.3f}. Five lines give wide error; see the docs page *Single cells*.",
                "",
                "## Known failures",
                "",
                "- Drugs whose response expression does not predict: look at `held_out_r`, the percentile and the interval, not at the "
                "ranking alone.",
                "- Two releases are two assays: compare drugs by percentile, not by ln IC50.",
                "- Cells that do not divide (most normal cells): the screen says nothing of them, and their reliability is 0.",
                "",
                scdrug._constants.DISCLAIMER,
                "",
            ]
        ),
    }
    model.save(out / name, overwrite=True, dtype="int8")


def nci60_correlations(reference, data: Path) -> np.ndarray:
    """Correlation of each drug's responses with those of NCI-60 over shared lines, NaN with fewer than ten."""
    screen = join_screen(scdrug.datasets.nci60(path=data / "nci60"), reference, "NCI-60")
    response = reference.obsm["response"]
    other = screen.reindex(index=response.index, columns=response.columns)
    return drug_correlations(response.to_numpy(dtype=float), other.to_numpy(dtype=float))


#: Genes, width and targets were chosen on the first fold of the lines, to be small (four megabytes for the three models).
PATHWAYS = {"n_genes": 1500, "n_hidden": 64, "n_top_genes": 0}
PATHWAY_SEEDS = (1, 2, 3)


def pathway_genes(reference, sets) -> np.ndarray:
    """The most variable genes that are in any set, in the order of the reference."""
    member = reference.var_names.isin({gene for genes in sets.values() for gene in genes})
    variance = np.asarray(reference.X).var(axis=0) * member
    return np.sort(np.argsort(-variance, kind="stable")[: PATHWAYS["n_genes"]])


def smooth_responses(reference, n_folds: int = 5, seed: int = 1):
    """What `gdsc2-ridge` predicts of each line, trained without it: targets with less noise (Hinton et al. 2015)."""
    folds = np.random.default_rng(seed).permutation(reference.n_obs) % n_folds
    smooth = reference.obsm["response"].copy()
    for fold in range(n_folds):
        model = train(reference[folds != fold])
        smooth[folds == fold] = model.predict(reference[folds == fold].copy(), key_added=None).to_numpy()
    return smooth


def train_pathways(reference, smooth, sets, *, seed: int) -> scdrug.model.PathwayTransfer:
    reference = reference.copy()
    reference.obsm["response"] = smooth
    scdrug.pp.pathway_mask(reference, sets)
    scdrug.model.PathwayTransfer.setup_anndata(reference)
    options = {name: value for name, value in PATHWAYS.items() if name != "n_genes"}
    model = scdrug.model.PathwayTransfer(reference, **options)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="There are lines only")
        model.train(seed=seed, accelerator="cpu")
    return model


def pathway_line_split(reference, sets, n_folds: int = 5, seed: int = 0) -> list[str]:
    """Rows of the card for held-out lines; the first fold is left out, since settings were chosen there."""
    folds = np.random.default_rng(seed).permutation(reference.n_obs) % n_folds
    figures = {"gdsc2-ridge": [], "gdsc2-pathways, one model": []}
    for fold in range(1, n_folds):
        train_lines, test = reference[folds != fold].copy(), reference[folds == fold].copy()
        observed = test.obsm["response"].to_numpy(dtype=float)
        genes = pathway_genes(train_lines, sets)
        small = train_pathways(train_lines[:, genes], smooth_responses(train_lines), sets, seed=PATHWAY_SEEDS[0])
        predictions = {
            "gdsc2-ridge": train(train_lines).predict(test, key_added=None),
            "gdsc2-pathways, one model": small.predict(test[:, genes].copy(), key_added=None),
        }
        for name, values in predictions.items():
            values = values.to_numpy(dtype=float)
            figures[name].append(
                (rmse(values, observed), pearson(values, observed), per_drug_pearson(values, observed))
            )
    rows = []
    for name, values in figures.items():
        m, s = np.mean(values, axis=0), np.std(values, axis=0, ddof=1)
        rows.append(f"| {name} | " + " | ".join(f"{a:.3f} ± {b:.3f}" for a, b in zip(m, s, strict=True)) + " |")
    return rows


def gdsc2_pathways(data: Path, out: Path) -> None:
    reference = scdrug.datasets.gdsc(release="GDSC2", path=data / "gdsc")
    gmt = data / "genesets" / "h.all.v7.0.symbols.gmt"
    sets = scdrug.datasets.read_gmt(gmt)
    files = {name: sha256(data / "gdsc" / name) for name in ("expression.parquet", "pairs.parquet")}
    files[gmt.name] = sha256(gmt)
    rows = pathway_line_split(reference, sets)
    genes, smooth = pathway_genes(reference, sets), smooth_responses(reference)
    for number in PATHWAY_SEEDS:
        model = train_pathways(reference[:, genes], smooth, sets, seed=number)
        table = model.get_pathway_table()
        name = f"gdsc2-pathways-{number}"
        model.notes_ = {
            "name": name,
            "summary": f"Network on GDSC2 ln IC50 whose code is Hallmark pathways, seed {number} of {len(PATHWAY_SEEDS)}: to "
            "explain predictions.",
            "training_data": files,
            "card": "\n".join(
                [
                    f"- One of {len(PATHWAY_SEEDS)} trainings that differ in the seed alone: use all, so that what differs between "
                    "them is seen",
                    "- Learned from what `gdsc2-ridge`, trained without a line, predicts for that line, which has less noise than "
                    "its measured responses (distillation, Hinton et al. 2015)",
                    "- No linear path: the whole prediction goes through pathways and free nodes",
                    "- Trained on lines, without single cells; matrices are stored in 8 bits",
                    f"- {int(table['identified'].sum())} of {len(table)} nodes identified (free nodes included)",
                    "",
                    "## Training data",
                    "",
                    "Genomics of Drug Sensitivity in Cancer, release GDSC2 (Yang et al. 2013, Iorio et al. 2016), © Genome "
                    "Research Ltd; free for non-commercial research, see https://www.cancerrxgene.org. Hallmark gene sets, "
                    "MSigDB 7.0 (Liberzon et al. 2015), CC BY 4.0. No training data are in this folder.",
                    "",
                    *[f"- `{file}` sha256 `{value}`" for file, value in files.items()],
                    "",
                    "## Measured",
                    "",
                    "Held-out lines, 4 folds (mean ± sd), ln IC50:",
                    "",
                    "| predictor | RMSE | Pearson, pooled | Pearson, mean per drug |",
                    "|---|---|---|---|",
                    *rows,
                    "",
                    "Predict with `gdsc2-ridge`, which is better at it; use these to ask which pathways a prediction comes "
                    "from.",
                    "",
                    "## Known failures",
                    "",
                    "- A pathway that matters in one training may not in another: look at `sign_agreement` and `stability`.",
                    "- Sets that share genes or are expressed together share contributions in a way that the data do not decide.",
                    "- The failures of `gdsc2-ridge`.",
                    "",
                    scdrug._constants.DISCLAIMER,
                    "",
                ]
            ),
        }
        model.save(out / name, overwrite=True, dtype="int8")


BUILDERS = {
    "gdsc-ridge": gdsc_ridge,
    "gdsc-ridge-auc": functools.partial(gdsc_ridge, measure="AUC"),
    "gdsc2-ridge": gdsc2_ridge,
    "gdsc2-pathways": gdsc2_pathways,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--out", type=Path, default=Path(scdrug.__file__).parent / "zoo")
    parser.add_argument("--only", choices=BUILDERS)
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore", category=FutureWarning)
    for name, build in BUILDERS.items():
        if arguments.only not in (None, name):
            continue
        build(arguments.data, arguments.out)
        for folder in sorted(arguments.out.glob(name if name.startswith("gdsc-") else f"{name}*")):
            print((folder / "CARD.md").read_text())
            print(f"{sum(path.stat().st_size for path in folder.iterdir()) / 1e6:.2f} MB in {folder.name}")


if __name__ == "__main__":
    main()
