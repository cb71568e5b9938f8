"""Print correlations by line, cancer type and drug of a benchmark on the DeepCDR table, and draw them against a baseline.

    python scripts/check_deepcdr.py RESULTS DATA [--baseline SoftImpute] [--figures DIR]

RESULTS is the folder of ``scdrug benchmark run benchmarks/deepcdr_pairs.yaml`` (or the configuration that leaves one drug out), DATA a
folder with `deepcdr` and `ccle`. Models are compared over the pairs that all of them predicted.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

import scdrug
from scdrug.benchmark import read_results
from scdrug.metrics import group_correlations

LEVELS = {"line": "line", "type": "cancer type", "drug": "drug"}


def shared_pairs(results: scdrug.benchmark.Results, split: str, names: dict[str, str]) -> dict[str, pd.DataFrame]:
    """Predictions by model over the pairs that all finished models share, with the cancer type of the line."""
    tables = {}
    for model in results.models.values():
        try:
            table = results.predictions(split, model).set_index(["line", "drug"]).sort_index()
        except ValueError:  # no fold is finished
            continue
        tables[model] = table[~table.index.duplicated()]
    common = None
    for table in tables.values():
        common = table.index if common is None else common.intersection(table.index)
    return {
        model: table.loc[common].reset_index().assign(type=lambda t: t["line"].map(names).fillna(""))
        for model, table in tables.items()
    }


def scores(table: pd.DataFrame) -> dict[str, float]:
    """Pooled scores, and the mean correlation by group."""
    predicted, observed = table["predicted"].to_numpy(float), table["observed"].to_numpy(float)
    row = {
        "pairs": len(table),
        "PCC": float(np.corrcoef(predicted, observed)[0, 1]),
        "RMSE": float(np.sqrt(np.mean((predicted - observed) ** 2))),
    }
    for column, name in LEVELS.items():
        groups = group_correlations(predicted, observed, table[column])
        row[f"by {name}"] = float(np.mean(list(groups.values())))
    return row


def draw(tables: dict[str, pd.DataFrame], baseline: str, folder: Path, split: str) -> None:
    """Draw every model against the baseline at each level, and its predictions against what was observed."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    folder.mkdir(parents=True, exist_ok=True)
    base = tables[baseline]
    for model, table in tables.items():
        if model == baseline:
            continue
        figure, axes = plt.subplots(1, 4, figsize=(15, 3.8), layout="constrained")
        for ax, (column, name) in zip(axes, LEVELS.items(), strict=False):
            ours, theirs = (group_correlations(t["predicted"], t["observed"], t[column]) for t in (table, base))
            scdrug.pl.group_correlations(
                ours, theirs, model_name=model, baseline_name=baseline, level=name, n_labels=0, ax=ax
            )
        scdrug.pl.predicted_observed(table["predicted"], table["observed"], title=model, ax=axes[3])
        figure.savefig(folder / f"{split}-{model.replace(' ', '-').lower()}.png", dpi=110)
        plt.close(figure)


def main() -> None:
    """Read, score, draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--baseline", default="SoftImpute")
    parser.add_argument("--figures", type=Path)
    options = parser.parse_args()
    types = scdrug.datasets.deepcdr(path=options.data / "deepcdr").obs["cancer_type"].astype(str).to_dict()
    results = read_results(options.results)
    for split in results.splits:
        tables = shared_pairs(results, split, types)
        frame = pd.DataFrame({model: scores(table) for model, table in tables.items()}).T
        print(f"\n{split}: mean correlation by group\n{frame.round(3).to_string()}")
        if options.figures is not None:
            draw(tables, options.baseline, options.figures, split)


if __name__ == "__main__":
    main()
