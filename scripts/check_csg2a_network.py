"""Print what the network of CSG2A adds to its kernel path for new drugs and new lines, on validation data.

    OMP_NUM_THREADS=1 python scripts/check_csg2a_network.py DATA [--folds 5] [--epochs 10] [--freeze frozen] [--core FOLDER]

DATA holds `gdsc/` as `scdrug.datasets.gdsc(path=...)` reads it. Each fold of the disjoint split trains on its training pairs and asks for
its validation drugs and lines; test pairs are not looked at. For new drugs the network has two shares: one in the mean response of a
drug over lines, the setting `potency_share`, and one in how lines differ from it, of which the model makes no use.
"""

from __future__ import annotations

import argparse
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData

import scdrug
from scdrug.benchmark import make_splits
from scdrug.model import CSG2A

SHARES = (0.0, 0.05, 0.1, 0.2, 0.3, 0.5, 1.0)


def rmse(predicted: np.ndarray, observed: np.ndarray) -> float:
    """Root mean squared error over measured pairs."""
    return float(np.sqrt(np.nanmean((predicted - observed) ** 2)))


def fold_table(screen: AnnData, roles: np.ndarray, epochs: int, seed: int, options: dict[str, Any]) -> pd.DataFrame:
    """Errors of one fold by question and share."""
    response = screen.obsm["response"]
    observed, expression = response.to_numpy(dtype=float), np.asarray(screen.X, dtype=np.float32)
    train, validation = roles == 1, roles == 2
    lines, drugs = train.any(1), train.any(0)
    new_lines, new_drugs = validation.any(1), validation.any(0)
    part = screen[lines].copy()
    part.obsm["response"] = response.where(train).loc[part.obs_names, response.columns[drugs]]
    part.uns["drugs"] = screen.uns["drugs"].loc[response.columns[drugs]]
    CSG2A.setup_anndata(part)
    model = CSG2A(part, settings={"potency_share": 0.0}, **options)
    model.train(max_epochs=epochs, seed=seed)
    print(f"shares {model.shares}, best epoch {model.best_epoch_}", flush=True)
    rows = []

    def ask(question: str, which: CSG2A, samples: np.ndarray, columns: np.ndarray) -> None:
        known = np.array([model._lines.get(str(name), -1) for name in screen.obs_names[samples]])
        wanted = np.arange(int(columns.sum()))
        kernel = which._kernel.predict(expression[samples], wanted, known)
        step = which._network_rows(expression[samples], wanted) - kernel
        truth = observed[np.ix_(samples, columns)]
        potency = step.mean(axis=0)
        for share in SHARES:
            if question == "new lines":
                rows.append((question, "all", share, rmse(kernel + share * step, truth)))
            else:
                rows.append((question, "mean response", share, rmse(kernel + share * potency, truth)))
                rows.append((question, "rest", share, rmse(kernel + share * (step - potency), truth)))

    smiles = screen.uns["drugs"]["smiles"][response.columns[new_drugs]].to_dict()
    unseen = model._for_unseen(smiles)
    ask("new lines", model, new_lines, drugs)
    ask("new drugs", unseen, lines, new_drugs)
    ask("both new", unseen, new_lines, new_drugs)
    return pd.DataFrame(rows, columns=["question", "part", "share", "rmse"])


def main() -> None:
    """Print the mean over folds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--freeze")
    parser.add_argument("--core", type=Path)
    options = parser.parse_args()
    scdrug.settings.progress = False
    warnings.filterwarnings("ignore")
    screen = scdrug.datasets.gdsc("GDSC2", path=options.data / "gdsc")
    splits = make_splits(screen, "disjoint", n_folds=10, seed=42)
    tables = [
        fold_table(
            screen, splits.roles(fold, screen), options.epochs, seed, {"freeze": options.freeze, "core": options.core}
        )
        for seed, fold in enumerate(splits.folds[: options.folds])
    ]
    mean = pd.concat(tables).groupby(["question", "part", "share"], sort=False)["rmse"].mean()
    print(mean.unstack("share").round(4).to_string())


if __name__ == "__main__":
    main()
