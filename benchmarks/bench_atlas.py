"""Speed and memory on atlases: `python benchmarks/bench_atlas.py [--cells 1000000 10000000] [--folder DIR]`.

Generates atlases × 20,000 genes in chunks on disk (zarr, CSR, 10 % filled; cells beyond the first `--distinct` are hard links to the
chunks of these, so that ten million fit on a small disk), and prints, each from a process of its own:

- cells per second and peak memory of `tl.predict_response(out=…)` in one process with one thread, beside what was there before;
- the same on a `LocalCluster` of one and of two workers, and their ratio;
- on cells in memory, one thread: the time of scanpy's `normalize_total`, `log1p` and `pca` beside that of `predict_response`, and which
  share of the latter is reading, placing and the product, with bytes and operations per second beside what the machine does at most;
- cells per second of a network.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
from bench_predict import FILL, N_GENES, PeakMemory, gene_names, random_counts

PER_CELL = int(N_GENES * FILL)
#: Cells of a chunk on disk.
CHUNK = 1_000
#: Cells that are compared in memory.
IN_MEMORY = 50_000


def write_atlas(path: Path, n_cells: int, distinct: int, genes: np.ndarray) -> None:
    """Write an atlas chunk by chunk."""
    import anndata as ad
    import zarr

    rng = np.random.default_rng(0)
    n_cells = -(-n_cells // CHUNK) * CHUNK
    obs = pd.DataFrame(
        {
            "donor": pd.Categorical.from_codes(rng.integers(0, 20, n_cells), [f"donor{i}" for i in range(20)]),
            "cell_type": pd.Categorical.from_codes(rng.integers(0, 10, n_cells), [f"type{i}" for i in range(10)]),
        },
        index=[f"cell{i}" for i in range(n_cells)],
    )
    group = zarr.open_group(path, mode="w", zarr_format=3)
    group.attrs.update({"encoding-type": "anndata", "encoding-version": "0.1.0"})
    for key, value in {"obs": obs, "var": pd.DataFrame(index=genes), "obsm": {}, "uns": {}, "layers": {}}.items():
        ad.io.write_elem(group, key, value)
    matrix = group.create_group("X")
    matrix.attrs.update({"encoding-type": "csr_matrix", "encoding-version": "0.1.0", "shape": [n_cells, N_GENES]})
    sizes = {"data": np.float32, "indices": np.int32}
    arrays = {
        name: matrix.create_array(name, shape=(n_cells * PER_CELL,), dtype=kind, chunks=(CHUNK * PER_CELL,))
        for name, kind in sizes.items()
    }
    matrix.create_array("indptr", data=np.arange(n_cells + 1, dtype=np.int64) * PER_CELL)
    n_chunks, n_distinct = n_cells // CHUNK, min(n_cells, distinct) // CHUNK
    for number in range(n_distinct):
        part = random_counts(CHUNK, seed=number)
        at = slice(number * CHUNK * PER_CELL, (number + 1) * CHUNK * PER_CELL)
        arrays["data"][at], arrays["indices"][at] = part.data, part.indices
    for number in range(n_distinct, n_chunks):
        for name in sizes:
            chunks = path / "X" / name / "c"
            os.link(chunks / str(number % n_distinct), chunks / str(number))
    zarr.consolidate_metadata(path)


def measure(path: Path, n_workers: int) -> dict[str, float]:
    """Time and memory of one prediction, here (0 workers) or on a cluster."""
    import anndata as ad

    import scdrug
    from scdrug.model._pretrained import load_predictor

    model = load_predictor("default")  # as the command line does: neither torch nor scvi-tools, on workers either
    warm_up = ad.AnnData(random_counts(500), var=pd.DataFrame(index=gene_names(model.genes)))
    scdrug.tl.predict_response(warm_up, model)  # compiles, or loads what was compiled
    del warm_up
    out = path.with_name("results.zarr")
    cluster = client = None
    if n_workers:
        import distributed

        cluster = distributed.LocalCluster(n_workers=n_workers, threads_per_worker=1, dashboard_address=None)
        client = distributed.Client(cluster)
        client.run(_load)
    peaks: list[float] = []
    stop = threading.Event()
    watch = threading.Thread(target=_watch_workers, args=(client, peaks, stop))
    with PeakMemory() as memory:
        start = time.perf_counter()
        adata = ad.experimental.read_lazy(path)
        watch.start()
        scdrug.tl.predict_response(adata, model, out=out)
        seconds = time.perf_counter() - start
    stop.set()
    watch.join()
    result = {
        "cells": adata.n_obs,
        "seconds": seconds,
        "gb": memory.peak,
        "worker_gb": max(peaks, default=0.0),
        "results_gb": sum(file.stat().st_size for file in out.rglob("*") if file.is_file()) / 1e9,
    }
    shutil.rmtree(out)
    if client is not None:
        client.close()
        cluster.close()
    return result


def _load() -> None:
    """Load on workers what they load once, which is not what is measured."""
    import scdrug.model._predictor
    import scdrug.model.baseline._linear  # noqa: F401


def _watch_workers(client, peaks: list[float], stop: threading.Event) -> None:
    """Note the largest resident memory of a worker."""
    while client is not None and not stop.wait(0.5):
        workers = client.scheduler_info(n_workers=-1)["workers"].values()
        peaks.append(max((worker["metrics"]["memory"] for worker in workers), default=0) / 1e9)


def compare_in_memory(n_cells: int) -> dict[str, float]:
    """Time of scanpy's first steps, of predictions and their parts, on the same cells with one thread."""
    import anndata as ad
    import scanpy as sc

    import scdrug
    from scdrug.model._predictor import RowPredictor
    from scdrug.pp._place import place_cells

    model = scdrug.model.load_pretrained()
    genes = gene_names(model.genes)
    cells = lambda n, seed=0: ad.AnnData(random_counts(n, seed), var=pd.DataFrame(index=genes))
    scdrug.tl.predict_response(cells(500), model)
    adata, result = cells(n_cells), {"cells": n_cells}
    result["predict"] = _seconds(lambda: scdrug.tl.predict_response(adata, model))
    placed = place_cells(adata, model.profile, min_coverage=0.3)
    columns = np.arange(len(model.drugs))
    predictor = RowPredictor(model, placed.harmonization, columns)
    blocks = list(placed.raw_blocks())
    result["place"] = _seconds(lambda: [placed.harmonization.place(block, groups) for _, block, groups in blocks])
    result["place_and_product"] = _seconds(lambda: [predictor(block, groups) for _, block, groups in blocks])
    n_units = predictor._product(np.zeros((1, len(model.genes)), dtype=np.float32)).shape[1]
    result["flop"] = 2.0 * n_cells * len(model.genes) * n_units
    square = np.random.default_rng(0).random((2048, 2048), dtype=np.float32)
    _ = square @ square
    result["flop_per_second"] = 2 * 2048**3 / _seconds(lambda: square @ square)
    pathways = scdrug.model.load_pretrained("gdsc2-pathways-1")
    few = cells(min(n_cells, 10_000), 1)
    scdrug.tl.predict_response(cells(500), pathways)
    result["network"] = few.n_obs / _seconds(lambda: scdrug.tl.predict_response(few, pathways))
    other = cells(n_cells)
    sc.pp.pca(_normalized(sc, cells(500)))  # compiles
    result["scanpy"] = _seconds(lambda: sc.pp.pca(_normalized(sc, other)))
    return result


def _normalized(sc, adata):
    sc.pp.normalize_total(adata)
    sc.pp.log1p(adata)
    return adata


def read_speed(path: Path) -> dict[str, float]:
    """Bytes per second of the files as they are, and of blocks that are read, unpacked and divided."""
    import anndata as ad

    from scdrug.pp._rows import iter_row_blocks

    files = sorted((path / "X").glob("*/c/*"))
    n_bytes = sum(file.stat().st_size for file in files)
    raw = _seconds(lambda: [len(file.read_bytes()) for file in files])
    adata = ad.experimental.read_lazy(path)
    seconds = _seconds(lambda: [block.nnz for _, block in iter_row_blocks(adata)])
    return {"cells": adata.n_obs, "gb": n_bytes / 1e9, "raw": raw, "blocks": seconds}


def _seconds(work) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def in_own_process(what: str, *arguments: object) -> dict[str, float]:
    """Result of a measurement in a fresh process with one thread."""
    threads = dict.fromkeys(("OMP_NUM_THREADS", "NUMBA_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    command = [sys.executable, __file__, "--measure", what, *map(str, arguments)]
    done = subprocess.run(command, env={**os.environ, **threads}, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", type=int, nargs="*", default=[1_000_000])
    parser.add_argument("--distinct", type=int, default=200_000)
    parser.add_argument("--in-memory", type=int, default=IN_MEMORY)
    parser.add_argument("--folder", type=Path, help="where atlases are made; a temporary folder if omitted")
    parser.add_argument("--measure", nargs="+", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore")
    if arguments.measure:
        what, *rest = arguments.measure
        work = {
            "run": lambda: measure(Path(rest[0]), int(rest[1])),
            "memory": lambda: compare_in_memory(int(rest[0])),
            "read": lambda: read_speed(Path(rest[0])),
        }
        print(json.dumps(work[what]()))
        return
    import scdrug

    genes = gene_names(scdrug.model.load_pretrained().genes)
    if arguments.in_memory:
        found = in_own_process("memory", arguments.in_memory)
        product = found["place_and_product"] - found["place"]
        print(
            f"{found['cells']:,.0f} cells in memory, one thread: normalize_total + log1p + pca {found['scanpy']:.1f} s, predict_response "
            f"{found['predict']:.1f} s (x {found['predict'] / found['scanpy']:.2f}), of which placing {found['place'] / found['predict']:.0%} "
            f"and the product {product / found['predict']:.0%}, at {found['flop'] / product / 1e9:.0f} of "
            f"{found['flop_per_second'] / 1e9:.0f} GFLOP/s; network: {found['network']:,.0f} cells/s"
        )
    for n_cells in arguments.cells:
        with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
            path = Path(folder) / "atlas.zarr"
            write_atlas(path, n_cells, arguments.distinct, genes)
            found = in_own_process("read", path)
            print(
                f"{found['cells']:,.0f} cells, {found['gb']:.1f} GB on disk: files {found['gb'] / found['raw']:.2f} GB/s, blocks "
                f"{found['cells'] / found['blocks']:,.0f} cells/s ({found['gb'] / found['blocks']:.2f} GB/s of the files)"
            )
            seconds = {}
            for n_workers in (0, 1, 2):
                found = in_own_process("run", path, n_workers)
                seconds[n_workers] = found["seconds"]
                where = f"{n_workers} workers, largest {found['worker_gb']:.2f} GB" if n_workers else "one process"
                print(
                    f"  {where}: {found['seconds']:.0f} s, {found['cells'] / found['seconds']:,.0f} cells/s, peak memory + {found['gb']:.2f} GB, "
                    f"results {found['results_gb']:.2f} GB",
                    flush=True,
                )
            print(f"  two workers are {seconds[1] / seconds[2]:.2f} times as fast as one", flush=True)


if __name__ == "__main__":
    main()
