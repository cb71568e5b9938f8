"""Choose how the Gaussian process couples lines and drugs, on validation responses of GDSC2.

    python scripts/check_process.py DATA [--folds 3] [--response ln_IC50]

DATA is a folder that `scdrug.datasets.gdsc(path=...)` can read. A fifth of the pairs, or of the lines, is set aside first and never
looked at. The rest is cut into five folds; each option is fitted to four and compared on the fifth. Printed are RMSE and mean per-drug
correlation of the first folds, mean and standard deviation, and seconds of a fit. The first row is the process of version 0.1.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np

import scdrug
from scdrug.metrics import per_drug_pearson
from scdrug.model.prior import ProcessOptions, ResponseProcess

OPTIONS = {
    "0.1": ProcessOptions(drug_noise=False, response_share=0),
    "noise of each drug": ProcessOptions(response_share=0),
    "similarity of responses": ProcessOptions(drug_noise=False),
    "both (default)": ProcessOptions(),
    "both, response noise 0.15": ProcessOptions(response_noise=0.15),
    "both, response share 0.4": ProcessOptions(response_share=0.4),
    "both, line share 0.7": ProcessOptions(line_share=0.7),
    "both, line share 0.95": ProcessOptions(line_share=0.95),
}


def pair_folds(response: np.ndarray, seed: int):
    """Training responses and those to compare with, fold by fold; a fifth of the pairs is in neither."""
    rng = np.random.default_rng(seed)
    pairs = np.argwhere(np.isfinite(response))
    kept = rng.permutation(len(pairs)) % 5 > 0
    pool, fold = pairs[kept], rng.permutation(int(kept.sum())) % 5
    for k in range(5):
        held = tuple(pool[fold == k].T)
        train, truth = np.full_like(response, np.nan), np.full_like(response, np.nan)
        seen = tuple(pool[fold != k].T)
        train[seen], truth[held] = response[seen], response[held]
        yield train, truth


def line_folds(n: int, seed: int):
    """Positions to train on and to compare, fold by fold; a fifth of the lines is in neither."""
    rng = np.random.default_rng(seed)
    pool = np.flatnonzero(rng.permutation(n) % 5 > 0)
    fold = rng.permutation(len(pool)) % 5
    for k in range(5):
        yield pool[fold != k], pool[fold == k]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--folds", type=int, default=3)
    parser.add_argument("--response", default="ln_IC50")
    arguments = parser.parse_args()
    reference = scdrug.datasets.gdsc("GDSC2", path=arguments.data, measure=arguments.response)
    expression, response = np.asarray(reference.X), reference.obsm["response"].to_numpy(dtype=np.float64)
    for name, options in OPTIONS.items():
        rows = {"pair": [], "line": []}
        for (train, truth), _ in zip(pair_folds(response, 11), range(arguments.folds), strict=False):
            start = time.perf_counter()
            fitted = ResponseProcess.fit(expression, train, options=options).fitted
            rows["pair"].append((*score(fitted, truth), time.perf_counter() - start))
        for (train, held), _ in zip(line_folds(len(response), 11), range(arguments.folds), strict=False):
            start = time.perf_counter()
            process = ResponseProcess.fit(expression[train], response[train], options=options)
            rows["line"].append(
                (*score(process.predict(expression[held]), response[held]), time.perf_counter() - start)
            )
        for split, values in rows.items():
            (rmse, r, seconds), (spread, spread_r, _) = np.mean(values, axis=0), np.std(values, axis=0)
            print(
                f"{split:4}  {name:28}  RMSE {rmse:.4f} ± {spread:.4f}  r {r:.4f} ± {spread_r:.4f}  {seconds:.1f} s",
                flush=True,
            )


def score(predicted: np.ndarray, truth: np.ndarray) -> tuple[float, float]:
    """RMSE and mean per-drug correlation."""
    known = np.isfinite(truth)
    return float(np.sqrt(np.mean((predicted - truth)[known] ** 2))), float(
        np.nanmean(per_drug_pearson(predicted, truth))
    )


if __name__ == "__main__":
    main()
