"""Print what pretraining CSG2A on a piece of L1000 does, and what the pretrained core says without having seen a response.

    OMP_NUM_THREADS=1 python scripts/check_csg2a.py DATA [--save CORE] [--epochs 150] [--drug-features minimol] [--lr 3e-4] [--propagation matmul]
    OMP_NUM_THREADS=1 python scripts/check_csg2a.py DATA --preset csg2a --drug-features mat --epochs 10 --head-epochs 2   # hours with many epochs

DATA holds `l1000/` and `gdsc/` as `scdrug.datasets.l1000(path=...)` and `gdsc(path=...)` read them. The piece is one line (HT115), 6 h,
354 compounds, 661 profiles on two plates: enough to exercise every step, and far too little for the claims of the paper. With
--preset the network is one of the published ones; the time of its head's epochs is that of fine-tuning. With --save the core is written to a folder, for the rows with `core:` of `benchmarks/csg2a.yaml`.
"""

from __future__ import annotations

import argparse
import time
import warnings
from pathlib import Path

import scdrug
from scdrug.model import CSG2A


def main() -> None:
    """Pretrain, train the head for one epoch, and print the tables of the zero-shot analyses."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--save", type=Path)
    parser.add_argument(
        "--part", default="ht115", help="of L1000; phase1 is GSE92742, whose files have to stand in l1000/"
    )
    parser.add_argument("--epochs", type=int, default=150)
    parser.add_argument("--lr", type=float, default=3e-4)
    parser.add_argument("--drug-features", default="minimol")
    parser.add_argument("--preset", default="default")
    parser.add_argument("--propagation", default=None)
    parser.add_argument("--ppi", default="none")
    parser.add_argument("--head-epochs", type=int, default=1)
    parser.add_argument("--time", type=float, default=6.0, help="hours asked for; the profiles are of 6 h")
    parser.add_argument("--lines", type=int, default=150, help="lines for the zero-shot analyses")
    options = parser.parse_args()
    scdrug.settings.progress = False
    warnings.filterwarnings("ignore")

    screen = scdrug.datasets.gdsc("GDSC2", path=options.data / "gdsc")
    profiles = scdrug.datasets.l1000(options.part, path=options.data / "l1000")
    scdrug.pp.pair_controls(profiles)
    CSG2A.setup_anndata(screen)
    model = CSG2A(
        screen,
        preset=options.preset,
        drug_features=options.drug_features,
        propagation=options.propagation,
        ppi=options.ppi,
    )
    start = time.process_time()
    summary = model.pretrain(profiles, max_epochs=options.epochs, lr=options.lr)
    print(f"pretraining, {time.process_time() - start:.0f} s of the processor:")
    for name, value in summary.items():
        print(f"  {name:18} {value}")
    if options.save is not None:
        model.save_core(options.save, overwrite=True)
    start = time.process_time()
    model.train(max_epochs=options.head_epochs, early_stopping=False)
    print(f"{options.head_epochs} epochs of the head on {int(screen.obsm['response'].notna().sum().sum()):,} pairs, core frozen: "
          f"{time.process_time() - start:.0f} s of the processor", flush=True)  # fmt: skip
    some = screen[:: max(screen.n_obs // options.lines, 1)].copy()
    scdrug.tl.perturbation_distance(some, model, time=options.time)
    print(f"\nzero-shot distance, {some.n_obs} lines\n{scdrug.get.perturbation_distance_df(some).round(3)}")
    scdrug.tl.mechanism_similarity(some, model, "pathway", min_drugs=5, n_samples=50, time=options.time)
    print(f"\nmechanisms\n{scdrug.get.mechanism_similarity_df(some).round(3)}")


if __name__ == "__main__":
    main()
