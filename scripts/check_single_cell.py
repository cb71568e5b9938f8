"""Print the single-cell transfer figures: five lung lines, breast lines and A375, predicted by models that never saw them.

    python scripts/check_single_cell.py DATA [--draws 200] [--model default]

DATA holds `gdsc/` (tables of cell lines and responses), `sc/sc_mixology/` (CEL-seq2 counts), `sc/bc_atlas/` (Drop-seq counts),
`sc/pbmc80/` (healthy blood) and `sc/a375/`; see the docs pages *Harmonization* and *Transfer to single cells*. The recipe of the
model is trained without the lines of the cells, which are excluded, and scored, by `scdrug.benchmark`.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp
from anndata import AnnData

import scdrug
from scdrug.benchmark import ModelSpec, run_single_cell, score_control, score_lines

LEVELS = ("cell", "line mean", "cluster", "pseudobulk", "bulk")


@dataclass
class Once:
    """The recipe of a model, trained once and then scored on many variants of the same cells."""

    recipe: Any
    #: The trained model and the reference that the harness handed over.
    kept: dict[str, Any] = field(default_factory=dict)
    tune: Mapping[str, Any] = field(default_factory=dict)
    name: str = "default"

    @property
    def model_class(self) -> type:
        return type(self.recipe)

    def fit(self, adata: AnnData, *, validation: pd.DataFrame | None = None, seed: int = 0) -> Any:
        if not self.kept:
            self.kept = {"model": self.recipe.retrain(adata), "training": adata}
        return self.kept["model"]


def read(table: pd.DataFrame, level: str, metric: str, model: str) -> pd.Series:
    """One row of a table of scores."""
    chosen = (table["level"] == level) & (table["metric"] == metric) & (table["model"] == model)
    return table[chosen].iloc[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--draws", type=int, default=200)
    parser.add_argument(
        "--model", default="default", help="bundled model, or folder of a saved one, whose recipe is used"
    )
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore")

    recipe = scdrug.model.load_pretrained(arguments.model)
    reference, other = (
        scdrug.datasets.gdsc(release=release, path=arguments.data / "gdsc") for release in ("GDSC2", "GDSC1")
    )
    cells = scdrug.datasets.sc_mixology(path=arguments.data / "sc" / "sc_mixology")
    cells = cells[cells.obs["singlet"].to_numpy(dtype=bool)].copy()
    spec = Once(recipe)

    def show(name: str, variant: AnnData, **options: Any) -> None:
        table = score_lines(spec, reference, variant, levels=["line mean"], options=options, n_bootstrap=0)
        flat, contrast = (read(table, "line mean", metric, "default")["value"] for metric in ("flat", "contrast"))
        print(f"{name:<52} flat {flat:6.3f}   contrast {contrast:6.3f}", flush=True)

    show_levels(score_lines(spec, reference, cells, n_bootstrap=arguments.draws))
    model = spec.kept["model"]
    print(f"\n{spec.kept['training'].n_obs} training lines, {cells.n_obs} cells, {len(model.drugs)} drugs\n")
    for method in ("quantile", "zscore", "gene_zscore"):
        for anchor in ("similar", "mean", "none"):
            show(f"cells, {method}, anchor {anchor}", cells, method=method, anchor=anchor)
    placed = {"method": "none", "scale": "scaled"}
    nearest = scdrug.pp.harmonize(cells, spec.kept["training"], anchor="nearest")
    show("cells, quantile, mean of the 30 nearest lines", nearest, **placed)
    for method in ("quantile", "zscore"):
        pooled = scdrug.pp.harmonize(cells, model.profile, method=method, n_pool=15)
        show(f"cells pooled over 15 neighbours, {method}", pooled, **placed)
    show("cells, quantile, shift averaged over lines", cells, groupby="cell_line")

    show_screen(
        score_lines(spec, reference, cells, screen=other, levels=["line mean", "bulk"], n_bootstrap=arguments.draws)
    )
    show_lines(cells, reference, spec, "cell_line")
    scdrug.tl.predict_response(cells, model)
    by_line = cells.obsm["predicted_response"][["gefitinib", "afatinib"]].groupby(cells.obs["cell_line"]).mean()
    five = reference[~reference.obs_names.isin(spec.kept["training"].obs_names)].copy()
    bulk_by_line = model.predict(five, drugs=["gefitinib", "afatinib"], key_added=None)
    print(
        f"\nmost sensitive line, bulk profiles: {bulk_by_line.idxmin().to_dict()}, cells: {by_line.idxmin().to_dict()}"
    )
    print(f"median reliability of the cells {cells.obs['response_reliability'].median():.2f}\n")

    rng = np.random.default_rng(0)
    for share in (0.3, 0.1, 0.03):
        shallow = cells.copy()
        shallow.X = sp.csr_matrix(rng.binomial(cells.X.toarray().astype(int), share).astype(np.float32))
        scdrug.tl.predict_response(shallow, model)
        depth, trust = float(np.median(np.asarray(shallow.X.sum(axis=1)))), shallow.obs["response_reliability"].median()
        show(f"counts thinned to {share:.0%} ({depth:.0f} a cell, reliability {trust:.2f})", shallow)
    check_breast(arguments.data, reference, other, recipe, arguments.draws)
    check_blood(arguments.data, reference, recipe, arguments.draws)
    check_a375(arguments.data, arguments.draws)


def check_breast(data: Path, reference: AnnData, other: AnnData, recipe: Any, draws: int) -> None:
    """Print the scores on breast lines: all together, each line as a cohort of its own, and thinned."""
    cells = scdrug.datasets.breast_atlas(path=data / "sc" / "bc_atlas")
    cells = cells[(cells.obs["reference_line"] != "").to_numpy()].copy()
    spec = Once(recipe)
    print(f"\n{cells.obs['reference_line'].nunique()} breast lines, Drop-seq")
    show_levels(score_lines(spec, reference, cells, line_key="reference_line", n_bootstrap=draws))
    options = {"line_key": "reference_line", "levels": ["line mean", "bulk"], "n_bootstrap": draws}
    show_screen(score_lines(spec, reference, cells, screen=other, **options))
    show_lines(cells, reference, spec, "reference_line")


def check_blood(data: Path, reference: AnnData, recipe: Any, draws: int) -> None:
    """Print whether healthy blood cells are refused, and what would be said of them."""
    cells = scdrug.datasets.pbmc(path=data / "sc" / "pbmc80")
    table = score_control(Once(recipe), reference, cells, n_bootstrap=draws)
    print(f"\n{cells.n_obs} healthy blood cells")
    for level, metric in (("cell", "refused"), ("cell", "reliability"), ("drug", "above_90"), ("drug", "percentile")):
        row = read(table, level, metric, "default")
        print(f"{metric:<16}{row['value']:.3f} ({row['low']:.2f} to {row['high']:.2f})   {row['note']}")


def show_screen(table: pd.DataFrame) -> None:
    """Print how cells, the lines' own bulk and another screen predict the screen that was trained on; then the same of the other."""
    n_drugs = read(table, "data", "drugs", "default")["value"]
    print(f"\non the lines and {n_drugs:.0f} drugs of both screens, with the share of a second screen")
    for what, suffix, share in (
        ("judged by GDSC2", "", "screen_share"),
        ("judged by GDSC1", "_across", "across_share"),
    ):
        for level in ("line mean", "bulk", "second screen"):
            if level == "second screen" and suffix:
                continue
            parts = []
            for metric in ("flat", "contrast", "per_drug"):
                row = read(table, level, f"{metric}{suffix}", "default")
                part = f"{metric} {row['value']:.3f} ({row['low']:.2f} to {row['high']:.2f})"
                if level != "second screen":
                    of = read(table, level, f"{metric}_{share}", "default")
                    part += f", share {of['value']:.2f} ({of['low']:.2f} to {of['high']:.2f})"
                parts.append(part)
            print(f"{what}: {level:<16}" + "   ".join(parts), flush=True)


def show_lines(cells: AnnData, reference: AnnData, spec: Once, line_key: str) -> None:
    """Print error, percentile bias, and how many measured responses lie in the 90 % intervals, of cells and of lines."""
    model, training, lines = spec.kept["model"], spec.kept["training"], cells.obs[line_key].astype(str)
    held_out = {name.removeprefix("NCI"): name for name in reference.obs_names.difference(training.obs_names)}
    names = [held_out[line.removeprefix("NCI")] for line in sorted(set(lines))]
    observed = reference.obsm["response"].loc[names, model.drugs.index].to_numpy(dtype=float)
    screened = training.obsm["response"][model.drugs.index].to_numpy(dtype=float)
    known, sd = np.isfinite(observed), np.nanstd(screened, axis=0)
    true = np.nanmean(np.where(np.isfinite(screened)[:, None], screened[:, None] > observed, np.nan), axis=0)
    for name, options in (
        ("all lines at once", {}),
        ("shift in each line", {"groupby": line_key, "shift_by_group": True}),
    ):
        scdrug.tl.predict_response(cells, model, **options)
        table = scdrug.get.group_response_df(cells, line_key)
        part = {
            column: table[column].to_numpy().reshape(observed.shape)
            for column in ("response", "lower", "upper", "percentile")
        }
        inside = (part["lower"] <= observed) & (observed <= part["upper"])
        at = pd.Index(sorted(set(lines))).get_indexer(lines)
        tidy = scdrug.get.response_df(cells, tidy=True)
        low, high = (tidy[column].to_numpy().reshape(len(cells), -1) for column in ("lower", "upper"))
        of_cells = (low <= observed[at]) & (observed[at] <= high)
        fixed = np.abs(part["response"] - observed) <= scdrug.get.drugs_df(cells)["half_width"].to_numpy()
        print(
            f"{name:<20} rmse_z {np.sqrt((((part['response'] - observed) / sd)[known] ** 2).mean()):.3f}   percentile bias "
            f"{(part['percentile'] - true)[known].mean():+.3f}   inside the interval: lines {inside[known].mean():.3f} (worst line "
            f"{min(row[ok].mean() for row, ok in zip(inside, known, strict=True)):.2f}, with that of bulk {fixed[known].mean():.3f}), cells "
            f"{of_cells[known[at]].mean():.3f}; half-width of lines {np.nanmedian((part['upper'] - part['lower']) / 2 / sd):.2f}, of cells "
            f"{np.nanmedian((high - low) / 2 / sd):.2f} SD of lines "
            f"(drug mean: {(np.abs(observed - np.nanmean(screened, axis=0)) <= 1.6449 * sd)[known].mean():.3f} within 1.64)   "
            f"median reliability {cells.obs['response_reliability'].median():.2f}",
            flush=True,
        )


def show_levels(table: pd.DataFrame) -> None:
    """Print the scores of the default model at every level, with intervals, and the naive baselines."""

    def text(level: str, metric: str, model: str = "default") -> str:
        row = read(table, level, metric, model)
        if np.isnan(row["value"]):
            return f"not defined ({row['note']})"
        return f"{row['value']:.3f} ({row['low']:.2f} to {row['high']:.2f})"

    for level in LEVELS:
        parts = [f"{metric} {text(level, metric)}" for metric in ("flat", "contrast", "per_drug", "rmse_z", "bias_z")]
        if level != "bulk":
            parts += [f"{metric} {read(table, level, metric, 'default')['value']:.2f}" for metric in ("flat_share",)]
            parts += [f"contrast_share {text(level, 'contrast_share')}"]
        print(f"{level:<16}" + "   ".join(parts))
    print(f"{'drug mean':<16}" + "   ".join(
        f"{metric} {text('line mean', metric, 'drug mean')}" for metric in ("flat", "contrast", "rmse_z", "bias_z")
    ))  # fmt: skip
    print(f"{'shuffled lines':<16}" + "   ".join(
        f"{metric} {text('shuffled lines', metric)}, p {read(table, 'shuffled lines', f'{metric}_p', 'default')['value']:.3f}"
        for metric in ("flat", "contrast")
    ))  # fmt: skip
    print(f"purity of clusters {read(table, 'cluster', 'purity', 'default')['value']:.3f}")


def check_a375(data: Path, draws: int) -> None:
    """Print how well predicted PLX-4720 response tells parental from treated A375 cells, and what anything else does."""
    spec = ModelSpec("ridge", "KernelRidge")
    print("\nA375, centred by gene: AUROC of predicted PLX-4720 response, A375 out of training")
    for measure in ("AUC", "ln_IC50"):
        for name, genes in (("all genes, unmeasured ones filled", "all"), ("shared genes only", "shared")):
            table = run_single_cell(spec, task="a375", data=data, measure=measure, genes=genes, n_bootstrap=draws)
            n_genes = int(read(table, "data", "genes", "ridge")["value"])
            row = read(table, "cell", "auroc", "ridge")
            print(
                f"{measure:<8} {name:<34} {n_genes:>5} genes   AUROC {row['value']:.3f} "
                f"({row['low']:.2f} to {row['high']:.2f})"
            )
            if genes == "shared":
                shown = table[(table["model"] != "all sensitive") & (table["level"] != "data")]
                shown = shown[~shown["metric"].isin(["n", "threshold"])]
                print(shown[["model", "level", "metric", "value", "low", "high", "note"]].to_string(index=False))
    print(table[table["model"] == "all sensitive"][["level", "metric", "value", "note"]].to_string(index=False))


if __name__ == "__main__":
    main()
