"""Print controls of a bundled model as observed and under chance; with `--write` bundle them with it, for reports to show.

    python scripts/check_controls.py DATA [--model gdsc-ridge] [--permutations 5] [--write]

DATA holds `gdsc/` and `sc/bc_atlas/`; see `scdrug.benchmark.check_default`.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import scdrug
from scdrug.model._pretrained import controls_file


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--model", default="gdsc-ridge")
    parser.add_argument("--permutations", type=int, default=5)
    parser.add_argument("--write", action="store_true")
    args = parser.parse_args()

    release = "both" if args.model == "gdsc-ridge" else "GDSC2"
    reference = scdrug.datasets.gdsc(release, path=args.data / "gdsc")
    cells = scdrug.datasets.breast_atlas(path=args.data / "sc" / "bc_atlas")
    cells = cells[(cells.obs["reference_line"] != "").to_numpy()].copy()
    table = scdrug.benchmark.check_default(
        args.model, reference=reference, cells=cells, n_permutations=args.permutations
    )
    print(table.round(3).to_string(index=False))
    if args.write:
        table.to_csv(controls_file(args.model), index=False, float_format="%.4f", lineterminator="\n")


if __name__ == "__main__":
    main()
