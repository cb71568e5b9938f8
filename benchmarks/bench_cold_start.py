"""Time from a cold start to the first result: `python benchmarks/bench_cold_start.py [--repeats 3]`.

Runs `tl.predict_response` on 2,000 cells × 20,000 genes, `scdrug predict` on the same cells and `scdrug demo`, each in a fresh process: with an
empty cache of compiled loops, and again with the cache that the first left. Prints seconds on the clock, seconds of the
processor (which hardly depend on what else the machine does), peak memory, and packages that were loaded though the job does not need them.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from bench_predict import gene_names, random_counts

#: Packages that a bundled linear model does without.
NOT_NEEDED = ("torch", "torch_geometric", "rdkit", "scvi", "lightning", "captum", "mudata", "scanpy", "sklearn", "dask")
_LIBRARY = """
import warnings
warnings.simplefilter("ignore")
import anndata
import scdrug
cells = anndata.read_h5ad({cells!r})
scdrug.tl.predict_response(cells)
assert cells.obsm["predicted_response"].notna().all(axis=None)
"""
_COMMAND = """
import sys
from scdrug.cli import main
sys.argv = {arguments!r}
try:
    main()
except SystemExit as stopped:
    assert not stopped.code, stopped.code
"""
_LOADED = """
import json, sys
print("LOADED " + json.dumps(sorted({{name.split(".")[0] for name in sys.modules}} & set({names!r}))))
"""


def write_cells(path: Path, n_cells: int) -> None:
    """Cells with counts, genes of the bundled model among them."""
    import anndata as ad
    import pandas as pd

    from scdrug.model import load_pretrained

    genes = gene_names(load_pretrained().genes)
    groups = np.array(["a", "b"])[np.arange(n_cells) % 2]
    cells = ad.AnnData(random_counts(n_cells), var=pd.DataFrame(index=genes))
    cells.obs_names = [f"cell{number}" for number in range(n_cells)]
    cells.obs["group"] = groups
    cells.write_h5ad(path)


def measure(code: str, cache: Path) -> dict[str, object]:
    """Run code in a fresh process."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", code + _LOADED.format(names=NOT_NEEDED)],
        env={**os.environ, "NUMBA_CACHE_DIR": str(cache), "MPLBACKEND": "Agg"},
        capture_output=True,
        text=True,
        check=False,
    )
    seconds = time.perf_counter() - start
    if done.returncode:
        raise RuntimeError(done.stderr)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    loaded = json.loads(done.stdout.rpartition("LOADED ")[2])
    return {
        "seconds": seconds,
        "cpu": after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
        "loaded": loaded,
    }


def peak_memory(code: str, cache: Path) -> float:
    """Peak of resident memory of code in a fresh process, in GB."""
    ending = "\nimport resource\nprint('PEAK', resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)\n"
    done = subprocess.run(
        [sys.executable, "-c", code + ending],
        env={**os.environ, "NUMBA_CACHE_DIR": str(cache), "MPLBACKEND": "Agg"},
        capture_output=True,
        text=True,
        check=True,
    )
    return int(done.stdout.rpartition("PEAK ")[2]) / 1e6


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cells", type=int, default=2000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--only", choices=["library", "predict", "demo"])
    arguments = parser.parse_args()
    print(f"{os.cpu_count()} cores; load when started: {os.getloadavg()[0]:.1f}")
    with tempfile.TemporaryDirectory() as folder:
        cells, out = Path(folder) / "cells.h5ad", Path(folder) / "out.h5ad"
        write_cells(cells, arguments.cells)
        jobs = {
            "library": _LIBRARY.format(cells=str(cells)),
            "predict": _COMMAND.format(arguments=["scdrug", "predict", str(cells), "-o", str(out), "--overwrite"]),
            "demo": _COMMAND.format(arguments=["scdrug", "demo", "--out", str(Path(folder) / "demo")]),
        }
        for name, code in jobs.items():
            if arguments.only not in (None, name):
                continue
            runs: dict[str, list[dict[str, object]]] = {"empty cache": [], "full cache": []}
            for repeat in range(arguments.repeats):
                cache = Path(folder) / f"cache-{name}-{repeat}"
                for state in runs:
                    runs[state].append(measure(code, cache))
            memory = peak_memory(code, cache)
            for state, found in runs.items():
                clock, cpu = ([float(run[key]) for run in found] for key in ("seconds", "cpu"))
                print(
                    f"{name}, {state}: {np.median(clock):.1f} s on the clock ({min(clock):.1f}-{max(clock):.1f}), "
                    f"{np.median(cpu):.1f} s of processor, peak {memory:.2f} GB, loaded though not needed: "
                    f"{', '.join(found[0]['loaded']) or 'nothing'}"
                )


if __name__ == "__main__":
    main()
