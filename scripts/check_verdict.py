"""Print what the bundled models say of cells that carry an answer and of cells that carry none.

    python scripts/check_verdict.py DATA [--model gdsc-ridge --model gdsc2-pathways-1] [--seeds 12]

DATA holds `sc/sc_mixology/`, `sc/bc_atlas/` and `sc/pbmc80/`; see the docs page *When the answer is wrong for your file*.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Iterator
from pathlib import Path

import anndata as ad
import numpy as np
import scipy.sparse as sp

import scdrug


def real(data: Path) -> Iterator[tuple[str, ad.AnnData]]:
    """Cells of cell lines on two platforms and at falling depth, a tumour, and healthy blood."""
    lung = scdrug.datasets.sc_mixology(path=data / "sc" / "sc_mixology")
    lung = lung[lung.obs["singlet"].to_numpy(dtype=bool)]
    for name, cells in (("lung lines", lung), ("breast lines", breast(data))):
        yield name, cells
        for share in (0.1, 0.03):
            yield f"{name}, {share:.0%} of the counts", thinned(cells, share)
    yield "one breast line, 30 cells", breast(data)[:30]
    import infercnvpy

    yield "oligodendroglioma", infercnvpy.datasets.oligodendroglioma()
    yield "healthy blood", ad.read_h5ad(data / "sc" / "pbmc80" / "pbmc80_counts.h5ad")


def void(data: Path, seeds: int) -> Iterator[tuple[str, ad.AnnData]]:
    """The breast lines under wrong names and turned round, draws from their mean profile, and noise."""
    cells = breast(data)
    names = np.asarray(cells.var_names)
    for seed in range(seeds):
        rng = np.random.default_rng(seed)
        yield "gene names shuffled", renamed(cells, rng.permutation(names))
        for share, name in ((1 / 2, "half"), (1 / 3, "a third")):
            some = rng.random(len(names)) < share
            mixed = names.copy()
            mixed[some] = rng.permutation(names[some])
            yield f"{name} of the gene names shuffled", renamed(cells, mixed)
    order = np.argsort(names)
    shifted = names.copy()
    shifted[order] = names[np.roll(order, 1)]
    yield "gene names shifted by one", renamed(cells, shifted)
    dense = cells.X.toarray()
    yield "counts turned round", ad.AnnData(sp.csr_matrix(dense.max() - dense), var=cells.var[[]].copy())
    mean = dense.sum(axis=0, dtype=np.float64)
    for depth in (1_000, 10_000):
        drawn = np.random.default_rng(0).multinomial(depth, mean / mean.sum(), size=100).astype(np.float32)
        yield (
            f"draws from the mean profile, {depth:,} counts",
            ad.AnnData(sp.csr_matrix(drawn), var=cells.var[[]].copy()),
        )


def breast(data: Path) -> ad.AnnData:
    cells = ad.read_h5ad(data / "sc" / "bc_atlas" / "bc_atlas_14_lines.h5ad")
    return ad.AnnData(sp.csr_matrix(cells.X), var=cells.var[[]].copy())


def thinned(cells: ad.AnnData, share: float) -> ad.AnnData:
    drawn = np.random.default_rng(0).binomial(cells.X.toarray().astype(int), share).astype(np.float32)
    return ad.AnnData(sp.csr_matrix(drawn), var=cells.var[[]].copy())


def renamed(cells: ad.AnnData, names: np.ndarray) -> ad.AnnData:
    other = cells.copy()
    other.var_names = names
    return other


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--model", action="append")
    parser.add_argument("--seeds", type=int, default=12)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    for name in arguments.model or ["gdsc-ridge", "gdsc2-pathways-1"]:
        model = scdrug.model.load_pretrained(name)
        print(f"\n{name:<42} cohorts     ok   reliability     level   misplaced   differences   dividing")
        found: dict[str, list[tuple[bool, float, float, float, float, float]]] = {}
        for kind, cells in (*real(arguments.data), *void(arguments.data, arguments.seeds)):
            cells = cells.copy()
            scdrug.tl.predict_response(cells, model, drugs=list(model.drugs.index[:2]))
            stored = cells.uns["predicted_response"]
            evidence = stored["harmonization"]["evidence"]
            row = stored["verdict"] == "ok", cells.obs["response_reliability"].median()
            stated = [evidence[name] for name in ("level", "misplaced", "differences")]
            found.setdefault(kind, []).append((*row, *stated, 1e4 * evidence["dividing"]))
        for kind, rows in found.items():
            ok, *means = np.mean(rows, axis=0)
            print(
                f"{kind:<42} {len(rows):>7} {round(ok * len(rows)):>6} {means[0]:>13.2f} {means[1]:>9.2f} {means[2]:>11.2f} {means[3]:>13.2f} {means[4]:>10.0f}"
            )
    show_dividing(arguments.data)


def show_dividing(data: Path) -> None:
    """Print the share of transcripts from genes of the cell cycle in each line."""
    lung = scdrug.datasets.sc_mixology(path=data / "sc" / "sc_mixology")
    lung = lung[lung.obs["singlet"].to_numpy(dtype=bool)].copy()
    print()
    for name, cells in (("lung", lung), ("breast", scdrug.datasets.breast_atlas(path=data / "sc" / "bc_atlas"))):
        scdrug.tl.predict_response(cells, drugs="gefitinib", groupby="cell_line")
        shares = 1e4 * scdrug.get.group_reliability_df(cells, "cell_line")["dividing"].to_numpy()
        print(
            f"{len(shares)} {name} lines: {shares.min():.0f} to {shares.max():.0f} of 10,000 transcripts from the cell cycle"
        )


if __name__ == "__main__":
    main()
