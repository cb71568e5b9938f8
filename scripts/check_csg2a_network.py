"""Print what the network of CSG2A adds to its prior for new drugs and new lines, on validation data.

    OMP_NUM_THREADS=1 python scripts/check_csg2a_network.py DATA [--folds 5] [--epochs 10] [--freeze frozen] [--core FOLDER]

DATA holds `gdsc/` as `scdrug.datasets.gdsc(path=...)` reads it. Each fold of the disjoint split trains on its training pairs and asks for
its validation drugs and lines; test pairs are not looked at. RMSE is printed by question and by the share of the network in the
prediction, beside the shares that the model chose.
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
    train, validation = roles == 1, roles == 2
    lines, drugs = train.any(1), train.any(0)
    new_lines, new_drugs = validation.any(1), validation.any(0)
    part = screen[lines].copy()
    part.obsm["response"] = response.where(train).loc[part.obs_names, response.columns[drugs]]
    part.uns["drugs"] = screen.uns["drugs"].loc[response.columns[drugs]]
    CSG2A.setup_anndata(part)
    model = CSG2A(part, prior="process", **options)
    model.train(max_epochs=epochs, seed=seed)
    print(f"{model.shares_}, best epoch {model.best_epoch_}", flush=True)
    known = list(response.columns[drugs])
    smiles = screen.uns["drugs"]["smiles"][response.columns[new_drugs]].to_dict()
    questions = {
        "new lines": (new_lines, drugs, known), "new drugs": (lines, new_drugs, smiles), "both new": (new_lines, new_drugs, smiles),
    }  # fmt: skip
    rows = []
    for question, (samples, columns, asked) in questions.items():
        truth = response.to_numpy(dtype=float)[np.ix_(samples, columns)]
        prior, network = (
            model.predict(screen[samples].copy(), drugs=asked, key_added=None, part=name).to_numpy()
            for name in ("prior", "network")
        )
        rows += [(question, share, rmse(prior + share * (network - prior), truth)) for share in SHARES]
    return pd.DataFrame(rows, columns=["question", "share", "rmse"])


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
    mean = pd.concat(tables).groupby(["question", "share"], sort=False)["rmse"].mean()
    print(mean.unstack("share").round(4).to_string())


if __name__ == "__main__":
    main()
