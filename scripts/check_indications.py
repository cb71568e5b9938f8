"""Are drugs that are approved for a type of tumour predicted to work in its lines? Held-out lines of GDSC are asked; and evidence is counted.

    python scripts/check_indications.py DATA [--release both] [--out FOLDER]

DATA holds `gdsc/`. Lines are left out in five folds. Printed: `scdrug.benchmark.score_indications` over all types, and by type; and how many
drugs of the default model have which word of evidence.
"""

from __future__ import annotations

import argparse
import tempfile
import warnings
from pathlib import Path

import pandas as pd

import scdrug
from scdrug.benchmark import ModelSpec, make_splits, run, score_indications
from scdrug.tl._drug_evidence import LEVELS, evidence_of

RIDGE = {"kernel": "linear", "ridge": 0.5, "denoise": 1.0}
MODELS = [ModelSpec("KernelRidge", "KernelRidge", params=RIDGE), ModelSpec("drug mean", "AdditiveMean")]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--release", default="both", choices=("GDSC1", "GDSC2", "both"))
    parser.add_argument("--out", type=Path, help="folder for the results of the benchmark, to go on with or to keep")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    reference = scdrug.datasets.gdsc(arguments.release, path=arguments.data / "gdsc")
    with tempfile.TemporaryDirectory() as folder:
        out = arguments.out or Path(folder) / "out"
        results = run(reference, make_splits(reference, "line", n_folds=5), MODELS, out=out, progress=False)
        table = score_indications(results, reference)
    show_over_all(table)
    show_by_type(table)
    show_evidence()


def show_over_all(table: pd.DataFrame) -> None:
    print(
        "\n| predictor | AUROC | line mean | drugs exchanged | gain [95 %] | p | percentile |\n|---|---|---|---|---|---|---|"
    )
    for row in table[table["tumour_type"] == "all types"].itertuples():
        print(
            f"| {row.model} | {row.auroc:.3f} | {row.line_mean:.3f} | {row.chance:.3f} | "
            f"{row.gain:+.3f} [{row.low:+.3f}, {row.high:+.3f}] | {row.p_value:.3f} | {row.percentile:.2f} |"
        )


def show_by_type(table: pd.DataFrame) -> None:
    wide = table.pivot(index="tumour_type", columns="model", values=["auroc", "line_mean", "chance", "p_value"])
    sizes = table[table["model"] == "measured"].set_index("tumour_type")
    print(
        "\n| type | lines | drugs | measured | KernelRidge | its line mean | drugs exchanged | p |\n|---|---|---|---|---|---|---|---|"
    )
    for name in sizes.index:
        cells = [wide.loc[name, key] for key in (("auroc", "measured"), ("auroc", "KernelRidge"))]
        cells += [wide.loc[name, (part, "KernelRidge")] for part in ("line_mean", "chance")]
        print(
            f"| {name} | {sizes.loc[name, 'n_lines']} | {sizes.loc[name, 'n_drugs']} | "
            + " | ".join(f"{value:.2f}" for value in cells)
            + f" | {wide.loc[name, ('p_value', 'KernelRidge')]:.3f} |"
        )


def show_evidence() -> None:
    table = evidence_of(scdrug.model.load_pretrained().drugs)
    print("\n| evidence | drugs | of them approved | median held-out r | median r of releases | median r with NCI-60 |")
    print("|---|---|---|---|---|---|")
    for level in reversed(LEVELS):
        chosen = table[table["evidence"] == level]
        medians = [f"{chosen[column].median():.2f}" for column in ("held_out_r", "screen_r", "nci60_r")]
        print(f"| {level} | {len(chosen)} | {int((chosen['phase'] == 4).sum())} | " + " | ".join(medians) + " |")


if __name__ == "__main__":
    main()
