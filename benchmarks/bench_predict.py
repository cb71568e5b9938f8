"""Speed and memory of the main job: `python benchmarks/bench_predict.py [--cells 100000] [--backed 1000000] [--groups 1000000]`.

Prints cells per second and additional peak memory of `tl.predict_response` on cells × 20,000 genes, CSR, 10 % filled,
all drugs of the bundled model; then the additional memory of backed files of growing length, for cells, and for twenty groups of them.
"""

from __future__ import annotations

import argparse
import os
import resource
import tempfile
import threading
import time
import warnings
from pathlib import Path

import anndata as ad
import h5py
import numpy as np
import pandas as pd
import scipy.sparse as sp

N_GENES, FILL = 20_000, 0.1


def gene_names(panel: np.ndarray) -> np.ndarray:
    """The model's genes among others, in random order."""
    others = [f"OTHER{i}" for i in range(N_GENES - len(panel))]
    return np.random.default_rng(1).permutation(np.concatenate([panel.astype(str), others]))


def random_counts(n_cells: int, seed: int = 0) -> sp.csr_matrix:
    """Counts whose gene sets repeat, so that they are made quickly; values do not."""
    rng = np.random.default_rng(seed)
    per_cell = int(N_GENES * FILL)
    patterns = np.sort(np.stack([rng.choice(N_GENES, per_cell, replace=False) for _ in range(200)]).astype(np.int32))
    indices = patterns[rng.integers(0, len(patterns), n_cells)].ravel()
    data = rng.geometric(0.3, len(indices)).astype(np.float32)
    return sp.csr_matrix((data, indices, np.arange(n_cells + 1, dtype=np.int64) * per_cell), shape=(n_cells, N_GENES))


def write_backed(path: Path, n_cells: int, genes: np.ndarray, block: int = 20_000) -> None:
    """Write a large h5ad block by block."""
    first = ad.AnnData(random_counts(min(block, n_cells)), var=pd.DataFrame(index=genes))
    first.write_h5ad(path)
    per_cell = int(N_GENES * FILL)
    with h5py.File(path, "r+") as file:
        names = np.array([f"cell{i}" for i in range(n_cells)], dtype=object)
        del file["obs"]
        ad.io.write_elem(file, "obs", pd.DataFrame(index=names))
        old = file["X"]
        attributes = dict(old.attrs)
        del file["X"]
        group = file.create_group("X")
        group.attrs.update({**attributes, "shape": np.array([n_cells, N_GENES])})
        data = group.create_dataset("data", (n_cells * per_cell,), dtype=np.float32, chunks=(1_000_000,))
        indices = group.create_dataset("indices", (n_cells * per_cell,), dtype=np.int32, chunks=(1_000_000,))
        group.create_dataset("indptr", data=np.arange(n_cells + 1, dtype=np.int64) * per_cell)
        for start in range(0, n_cells, block):
            stop = min(start + block, n_cells)
            part = random_counts(stop - start, seed=start)
            data[start * per_cell : stop * per_cell] = part.data
            indices[start * per_cell : stop * per_cell] = part.indices


class PeakMemory:
    """Peak of resident memory above what it was at the start, sampled."""

    def __enter__(self) -> PeakMemory:
        self.start, self.peak, self._stop = self._now(), 0, threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _now(self) -> float:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return pages * resource.getpagesize() / 1e9

    def _watch(self) -> None:
        while not self._stop.wait(0.02):
            self.peak = max(self.peak, self._now() - self.start)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cells", type=int, default=100_000)
    parser.add_argument("--backed", type=int, nargs="*", default=[])
    parser.add_argument("--groups", type=int, nargs="*", default=[])
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore")
    import scdrug

    model = scdrug.model.load_pretrained()
    genes = gene_names(model.genes)
    warm_up = ad.AnnData(random_counts(500), var=pd.DataFrame(index=genes))
    scdrug.tl.predict_response(warm_up, model)  # compiles, or loads what was compiled

    adata = ad.AnnData(random_counts(arguments.cells), var=pd.DataFrame(index=genes))
    adata.obs_names = [f"cell{i}" for i in range(adata.n_obs)]
    with PeakMemory() as memory:
        start = time.perf_counter()
        scdrug.tl.predict_response(adata, model)
        seconds = time.perf_counter() - start
    print(
        f"{arguments.cells} cells in memory x {len(model.drugs)} drugs on {os.cpu_count()} cores: {seconds:.1f} s, "
        f"{arguments.cells / seconds:,.0f} cells/s, additional memory {memory.peak:.2f} GB"
    )
    del adata, warm_up
    for n_cells in arguments.backed:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "cells.h5ad"
            write_backed(path, n_cells, genes)
            backed = ad.read_h5ad(path, backed="r")
            with PeakMemory() as memory:
                start = time.perf_counter()
                scdrug.tl.predict_response(backed, model)
                seconds = time.perf_counter() - start
            results = 2 * n_cells * len(model.drugs) * 4 / 1e9
            print(
                f"{n_cells} backed cells: {seconds:.0f} s, {n_cells / seconds:,.0f} cells/s, additional memory "
                f"{memory.peak:.2f} GB, of which {results:.2f} GB are the results themselves"
            )

    for n_cells in arguments.groups:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "cells.h5ad"
            write_backed(path, n_cells, genes)
            backed = ad.read_h5ad(path, backed="r")
            backed.obs["group"] = pd.Categorical.from_codes(np.arange(n_cells) % 20, [f"group{i}" for i in range(20)])
            with PeakMemory() as memory:
                start = time.perf_counter()
                scdrug.tl.predict_groups(backed, "group", model)
                seconds = time.perf_counter() - start
            print(
                f"20 groups of {n_cells} backed cells: {seconds:.0f} s, {n_cells / seconds:,.0f} cells/s, additional memory "
                f"{memory.peak:.2f} GB"
            )


if __name__ == "__main__":
    main()
