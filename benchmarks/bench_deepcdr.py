"""Speed and memory of DeepCDR: `python benchmarks/bench_deepcdr.py [--pairs 100000] [--epochs 2] [--models plain rossner2025]`.

For a synthetic screen of 500 lines × 697 genes and 223 molecules of some thirty atoms, prints the seconds of preparation (features, and
the process), of an epoch over the pairs, and of predicting 20,000 samples with all drugs; last the peak memory. Seconds are those of the
clock and, in brackets, of the processor, which other work on the machine disturbs less.
"""

from __future__ import annotations

import argparse
import resource
import time
import warnings
from collections.abc import Callable
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd

import scdrug
from scdrug.model import DeepCDR

N_LINES, N_GENES, N_DRUGS, N_SAMPLES = 500, 697, 223, 20_000
#: Pieces that molecules are joined of.
PIECES = ("c1ccc(cc1)", "C(=O)N", "CCO", "c1ncc(cn1)", "N1CCN(CC1)", "C(F)(F)", "c1ccsc1", "S(=O)(=O)N", "CC(C)")
MODELS: dict[str, dict[str, Any]] = {
    "plain": {},
    "beside the process": {"prior": "process"},
    "rossner2025": {"preset": "rossner2025"},
}


def screen(n_pairs: int) -> ad.AnnData:
    """Responses of hidden traits, with gaps."""
    rng = np.random.default_rng(0)
    traits = rng.normal(size=(N_LINES, 20))
    expression = traits @ rng.normal(size=(20, N_GENES)) / 5 + rng.normal(size=(N_LINES, N_GENES)) / 2
    response = traits @ rng.normal(size=(20, N_DRUGS)) / 4 + rng.normal(size=(N_LINES, N_DRUGS))
    response += 2 * rng.normal(size=N_DRUGS)
    response.flat[rng.permutation(response.size)[min(n_pairs, response.size) :]] = np.nan
    lines = pd.Index([f"line-{i}" for i in range(N_LINES)])
    names = [f"drug-{i}" for i in range(N_DRUGS)]
    smiles = ["C" + "".join(rng.choice(PIECES, 6)) + "C" for _ in names]
    return scdrug.pp.build_reference(
        pd.DataFrame(expression - expression.min(), lines, [f"GENE{i}" for i in range(N_GENES)]),
        pd.DataFrame(response, lines, names),
        drugs=pd.DataFrame({"smiles": smiles}, index=names),
    )


def timed(function: Callable[[], object]) -> np.ndarray:
    """Seconds of the clock and of the processor."""
    clock, processor = time.perf_counter(), time.process_time()
    function()
    return np.array([time.perf_counter() - clock, time.process_time() - processor])


def measure(reference: ad.AnnData, options: dict[str, Any], n_epochs: int) -> dict[str, np.ndarray]:
    """Seconds of each part."""
    DeepCDR.setup_anndata(reference)
    model = DeepCDR(reference, **options)
    runs = [timed(lambda n=n: model.train(max_epochs=n, early_stopping=False)) for n in (1, 1 + n_epochs)]
    epoch = np.maximum(runs[1] - runs[0], 0) / n_epochs
    rows = np.random.default_rng(0).integers(0, N_LINES, N_SAMPLES)
    samples = reference[rows].copy()
    samples.obs_names = [f"sample-{i}" for i in range(N_SAMPLES)]
    predict = timed(lambda: model.predict(samples, key_added=None))
    return {"prepare": np.maximum(runs[0] - epoch, 0), "epoch": epoch, "predict": predict}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=100_000)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--models", nargs="+", default=list(MODELS), choices=MODELS)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    scdrug.settings.progress = False
    reference = screen(arguments.pairs)
    print(f"{int(reference.obsm['response'].notna().to_numpy().sum()):,} pairs")
    for name in arguments.models:
        parts = measure(reference.copy(), MODELS[name], arguments.epochs)
        print(f"{name:18s} " + "  ".join(f"{part} {s[0]:6.1f} s [{s[1]:.1f}]" for part, s in parts.items()), flush=True)
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:.2f} GB")


if __name__ == "__main__":
    main()
