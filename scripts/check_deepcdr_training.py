"""Print and draw how networks of DeepCDR train: correlation over validation pairs by epoch, on the table they were judged on.

    OMP_NUM_THREADS=1 python scripts/check_deepcdr_training.py DATA [--epochs 30] [--seeds 3] [--networks NAME ...] [--figure FILE]

DATA holds `deepcdr` and `ccle`. Training and validation pairs are those of the first fold of `benchmarks/deepcdr_pairs.yaml`; its test
pairs are not looked at. Nothing stops early, so that the course after the best epoch shows. Test figures that belong to the best epoch
on the test set, as they are common in the field, are too good by about what "gain" says of the validation set: the best epoch less the
mean over the second half.
"""

from __future__ import annotations

import argparse
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import scdrug
from scdrug.benchmark import make_splits
from scdrug.model import DeepCDR

NETWORKS: dict[str, dict[str, Any]] = {
    "default network": {},
    "published": {"preset": "rossner2025"},
    "published, factor scores": {"preset": "rossner2025", "cell_input": "scores"},
}


def course(screen, roles: np.ndarray, options: dict[str, Any], epochs: int, seed: int) -> np.ndarray:
    """Correlation over validation pairs by epoch."""
    part, response = screen.copy(), screen.obsm["response"]
    part.obsm["response"] = response.where(roles > 0)
    DeepCDR.setup_anndata(part)
    model = DeepCDR(part, **options)
    held_out = pd.DataFrame(roles == 2, index=response.index, columns=response.columns)
    model.train(max_epochs=epochs, early_stopping=False, validation=held_out, seed=seed)
    found = np.asarray(model.history["validation_pearson"], dtype=float).ravel()
    part.obsm["response"] = response  # nothing else is shared
    model.release_data()
    return found


def describe(name: str, courses: np.ndarray, seconds: float) -> dict[str, Any]:
    """One row: the level reached, and how steady it is."""
    half = courses[:, courses.shape[1] // 2 :]
    best, late = courses.max(axis=1), half.mean(axis=1)
    return {
        "network": name,
        "best": f"{best.mean():.4f} ± {best.std():.4f}",
        "best epoch": "/".join(str(1 + i) for i in courses.argmax(axis=1)),
        "mean of second half": f"{late.mean():.4f} ± {late.std():.4f}",
        "SD over its epochs": f"{half.std(axis=1).mean():.4f}",
        "gain of the best": f"{(best - late).mean():.4f}",
        "last": f"{courses[:, -1].mean():.4f} ± {courses[:, -1].std():.4f}",
        "s/epoch": f"{seconds / courses.size:.0f}",
    }


def main() -> None:
    """Train, print, draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--networks", nargs="+", default=list(NETWORKS), choices=NETWORKS)
    parser.add_argument("--figure", type=Path)
    options = parser.parse_args()
    scdrug.settings.progress = False
    warnings.filterwarnings("ignore")
    screen = scdrug.datasets.deepcdr(path=options.data / "deepcdr")
    splits = make_splits(screen, "pair", n_folds=5, seed=42)
    roles = splits.roles(splits.folds[0], screen)
    print(f"{(roles == 1).sum():,} training and {(roles == 2).sum():,} validation pairs", flush=True)
    rows, histories = [], {}
    for name in options.networks:
        start = time.process_time()
        courses = np.stack(
            [course(screen, roles, NETWORKS[name], options.epochs, seed) for seed in range(options.seeds)]
        )
        rows.append(describe(name, courses, time.process_time() - start))
        print(pd.Series(rows[-1]).to_string(), flush=True)
        print("by epoch:", " ".join(f"{value:.3f}" for value in courses.mean(axis=0)), flush=True)
        histories |= {f"{name}, seed {i}": pd.DataFrame({"validation_pearson": c}) for i, c in enumerate(courses)}
    print(pd.DataFrame(rows).set_index("network").to_string())
    if options.figure is not None:
        ax = scdrug.pl.compare_training(histories, figsize=(7, 4))
        ax.figure.savefig(options.figure, dpi=110, bbox_inches="tight")


if __name__ == "__main__":
    main()
