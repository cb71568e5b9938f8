"""Print seconds and AUROC of every method of BulkClassifier on lines held out of GDSC2 ln IC50.

    OMP_NUM_THREADS=1 python scripts/check_classifiers.py DATA [--methods logistic svm] [--every 12] [--n-genes 1000 2000] [--C 1 3 10]

DATA is a folder that `scdrug.datasets.gdsc(path=...)` can read. A fifth of the lines is held out, once. Labels are the most and
the least sensitive 30 % of the training lines; held-out lines are labelled by the same thresholds. Seconds are those of the
processor, which other work on the machine disturbs less than the clock; with one thread for linear algebra the two agree.
"""

from __future__ import annotations

import argparse
import time
from itertools import product
from pathlib import Path

import numpy as np
from anndata import AnnData

import scdrug
from scdrug.metrics import per_drug_auroc
from scdrug.model import BulkClassifier
from scdrug.model.baseline._classifiers import METHODS


def held_out_labels(model: BulkClassifier, test: AnnData) -> np.ndarray:
    """Label test lines by the thresholds of the training lines (lines × drugs)."""
    response = test.obsm["response"].to_numpy(dtype=float)
    sensitive = response < model.labels_["sensitive_threshold"].to_numpy()
    resistant = response >= model.labels_["resistant_threshold"].to_numpy()
    return np.where(sensitive, 1.0, np.where(resistant, 0.0, np.nan))


def main() -> None:
    """Train and score."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=METHODS)
    parser.add_argument("--every", type=int, default=1, help="take every so many drugs")
    parser.add_argument("--n-genes", nargs="+", type=int, default=[None])
    parser.add_argument("--C", nargs="+", type=float, default=[None])
    parser.add_argument("--calibration-folds", nargs="+", type=int, default=[0])
    options = parser.parse_args()

    screen = scdrug.datasets.gdsc("GDSC2", path=options.data)
    screen.obsm["response"] = screen.obsm["response"].iloc[:, :: options.every].copy()
    held = np.random.default_rng(0).permutation(screen.n_obs) % 5 == 0
    train, test = screen[~held].copy(), screen[held].copy()
    print(f"{train.n_obs} lines, {test.n_obs} held out, {train.obsm['response'].shape[1]} drugs, {train.n_vars} genes")
    settings = product(options.methods, options.n_genes, options.C, options.calibration_folds)
    for method, n_genes, penalty, folds in settings:
        BulkClassifier.setup_anndata(train)
        model = BulkClassifier(train, method=method, n_genes=n_genes, C=penalty, calibration_folds=folds)
        start = time.process_time()
        model.train()
        seconds = time.process_time() - start
        labels = held_out_labels(model, test)
        score = per_drug_auroc(model.predict(test, key_added=None).to_numpy(), labels)
        megabytes = sum(array.nbytes for array in model._module_arrays().values()) / 1e6
        print(
            f"{method:10} genes {n_genes or 'default'}  C {penalty or 'default'}  folds {folds}  "
            f"{seconds:7.1f} s  AUROC {score:.3f}  {megabytes:.1f} MB",
            flush=True,
        )


if __name__ == "__main__":
    main()
