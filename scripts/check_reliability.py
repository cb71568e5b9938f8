"""Print whether reliability tracks error and intervals hold, on simulated cells of tissues that training lacked.

    python scripts/check_reliability.py DATA [--tissues 10] [--lines 12] [--cells 12] [--real]

DATA holds `gdsc/`; with `--real` also `sc/bc_atlas/` and `sc/sc_mixology/`. The recipe of the bundled model is trained without a tissue,
and cells of lines of it are simulated at falling depth and gene coverage: each is a cohort. With `--real`, breast and lung lines are
thinned and lose genes in the same way. See the docs page *How far to trust a prediction*.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import scipy.sparse as sp
from anndata import AnnData
from scipy.stats import spearmanr

import scdrug
from scdrug.benchmark import simulate_cells

#: Mean counts of a cell, and share of genes that are measured.
CONDITIONS = ((10_000, 1.0), (10_000, 0.2), (3_000, 1.0), (1_000, 1.0), (1_000, 0.5), (300, 1.0))
THINNED = ((1.0, 1.0), (1.0, 0.2), (0.3, 1.0), (0.1, 1.0), (0.1, 0.5), (0.03, 1.0))
ERRORS = {"rmse": -1, "rmse_cells": -1, "contrast": 1}


def simulated(reference: AnnData, n_tissues: int, n_lines: int, n_cells: int) -> Iterator[tuple[str, AnnData, list]]:
    """Name, training reference, and cohorts of each tissue, with the line of each cell in `obs["line"]`."""
    sizes = reference.obs["tissue"].value_counts()
    for number, tissue in enumerate([name for name in sizes.index if name and sizes[name] >= 15][:n_tissues]):
        cohorts = []
        for depth, share in CONDITIONS:
            cells = simulate_cells(reference, n_lines=n_lines, n_cells=n_cells, tissue=tissue, depth=depth, seed=number)
            cells.obs["line"] = cells.obs["cell_line"]
            cohorts.append((f"{depth:,} counts, {share:.0%} of genes", fewer_genes(cells, share)))
        yield str(tissue), reference[(reference.obs["tissue"] != tissue).to_numpy()], cohorts


def measured(data: Path, reference: AnnData) -> Iterator[tuple[str, AnnData, list]]:
    """The same of real cells."""
    lung = scdrug.datasets.sc_mixology(path=data / "sc" / "sc_mixology")
    lung = lung[lung.obs["singlet"].to_numpy(dtype=bool)].copy()
    breast = scdrug.datasets.breast_atlas(path=data / "sc" / "bc_atlas")
    breast = breast[(breast.obs["reference_line"] != "").to_numpy()].copy()
    known = {plain(name): name for name in reference.obs_names}
    for name, cells, key in (("breast lines", breast, "reference_line"), ("lung lines", lung, "cell_line")):
        cells.obs["line"] = [known[plain(line)] for line in cells.obs[key].astype(str)]
        cohorts = []
        for share, genes in THINNED:
            part = cells.copy()
            drawn = np.random.default_rng(0).binomial(part.X.toarray().astype(int), share)
            part.X = sp.csr_matrix(drawn.astype(np.float32))
            cohorts.append((f"{share:.0%} of counts, {genes:.0%} of genes", fewer_genes(part, genes)))
        yield name, reference[~reference.obs_names.isin(set(cells.obs["line"]))], cohorts


def plain(line: str) -> str:
    return line.upper().removeprefix("NCI").replace("-", "").replace(" ", "")


def fewer_genes(cells: AnnData, share: float) -> AnnData:
    return cells[:, np.random.default_rng(0).random(cells.n_vars) < share].copy() if share < 1 else cells


def score(model: scdrug.model.KernelRidge, training: AnnData, reference: AnnData, cells: AnnData) -> dict[str, float]:
    """Errors of line means and of cells, coverage of their intervals, and the reliability that was stated."""
    cells.obs = pd.DataFrame({"line": cells.obs["line"].astype(str)}, index=cells.obs_names)
    scdrug.tl.predict_response(cells, model, min_coverage=0.05)
    drugs = list(model.drugs.index)
    sd = np.nanstd(training.obsm["response"][drugs].to_numpy(dtype=float), axis=0)
    lines = sorted(set(cells.obs["line"]))
    observed = reference.obsm["response"].loc[lines, drugs].to_numpy(dtype=float)
    known = np.isfinite(observed)
    table = scdrug.get.group_response_df(cells, "line")
    mean, low, high = (table[name].to_numpy().reshape(observed.shape) for name in ("response", "lower", "upper"))
    at = pd.Index(lines).get_indexer(cells.obs["line"])
    tidy = scdrug.get.response_df(cells, tidy=True)
    cell, cell_low, cell_high = (tidy[name].to_numpy().reshape(cells.n_obs, -1) for name in ("value", "lower", "upper"))
    half = model.calibration.half_width
    judged = known[at] & np.isfinite(cell)
    centred = [np.where(known, values / sd, np.nan) for values in (mean, observed)]
    centred = [values - np.nanmean(values, axis=0) for values in centred]
    return {
        "rmse": float(np.sqrt(((((mean - observed) / sd)[known]) ** 2).mean())),
        "rmse_cells": float(np.sqrt(np.nanmean(((cell - observed[at]) / sd) ** 2))),
        "contrast": float(np.corrcoef(centred[0][known], centred[1][known])[0, 1]),
        "inside": float(((low <= observed) & (observed <= high))[known].mean()),
        "inside_fixed": float((np.abs(mean - observed) <= half)[known].mean()),
        "inside_cells": float(((cell_low <= observed[at]) & (observed[at] <= cell_high))[judged].mean()),
        "inside_cells_fixed": float((np.abs(cell - observed[at]) <= half)[judged].mean()),
        "width": float(np.nanmedian((high - low) / 2 / sd)),
        "width_cells": float(np.nanmedian((cell_high - cell_low) / 2 / sd)),
        "width_fixed": float(np.nanmedian(half / sd)),
        "worst_drug": float(np.quantile(_by_drug((low <= observed) & (observed <= high), known), 0.1)),
        "reliability": float(cells.obs["response_reliability"].median()),
    }


def _by_drug(inside: np.ndarray, known: np.ndarray) -> np.ndarray:
    return np.array([part[ok].mean() for part, ok in zip(inside.T, known.T) if ok.any()])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--tissues", type=int, default=10)
    parser.add_argument("--lines", type=int, default=12)
    parser.add_argument("--cells", type=int, default=12)
    parser.add_argument("--real", action="store_true")
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore")
    reference = scdrug.datasets.gdsc("both", path=arguments.data / "gdsc")
    recipe = scdrug.model.load_pretrained("default")
    sources = {"simulated": simulated(reference, arguments.tissues, arguments.lines, arguments.cells)}
    if arguments.real:
        sources["real"] = measured(arguments.data, reference)
    rows = []
    for source, cohorts_of in sources.items():
        for name, training, cohorts in cohorts_of:
            model = recipe.retrain(training)
            for condition, cells in cohorts:
                row = score(model, training, reference, cells)
                rows.append({"source": source, "cohort": name, "condition": condition, **row})
                print(
                    f"{name:<20} {condition:<32} " + "  ".join(f"{key} {value:.3f}" for key, value in row.items()),
                    flush=True,
                )
    table = pd.DataFrame(rows)
    for source, part in table.groupby("source", sort=False):
        print(f"\n{source}: {len(part)} cohorts, by condition")
        print(part.drop(columns=["source", "cohort"]).groupby("condition", sort=False).mean().round(3).to_string())
        print("by cohort")
        print(part.drop(columns=["source", "condition"]).groupby("cohort", sort=False).mean().round(3).to_string())
        print(
            part[
                ["inside", "inside_fixed", "inside_cells", "inside_cells_fixed", "width", "width_cells", "width_fixed"]
            ]
            .mean()
            .round(3)
            .to_dict()
        )
        for error, sign in ERRORS.items():
            within = [spearmanr(one["reliability"], sign * one[error])[0] for _, one in part.groupby("cohort")]
            print(
                f"rank correlation of reliability with {error:<12} over cohorts {spearmanr(part['reliability'], sign * part[error])[0]:+.2f}, "
                f"within each cohort's conditions {np.mean(within):+.2f}"
            )


if __name__ == "__main__":
    main()
