"""Measure how drugs that were never screened are predicted: by structure, by mechanism, and with a second screen.

    python scripts/check_new_drugs.py DATA [--folds 10] [--kernel mean]

DATA holds `gdsc/`. Drugs of GDSC2 are left out by structure, in folds, from every screen. Printed beside the mean of all drugs and lines: root
mean square error, correlation over lines per drug, and correlation over drugs per line after each drug's mean is taken out.
"""

from __future__ import annotations

import argparse
import warnings
from pathlib import Path

import numpy as np
import pandas as pd

import scdrug
from scdrug.metrics import per_drug_pearson, rmse
from scdrug.pp._molecules import canonical_smiles

COUPLED = {"kernel": "mean", "couple_drugs": True, "drug_ridge": "auto"}
LINEAR = {"kernel": "linear", "ridge": 0.5, "denoise": 1.0, "drug_ridge": 0.5}


def per_line(predicted: np.ndarray, observed: np.ndarray) -> float:
    """Mean correlation over drugs within a line, after the mean of each drug is taken out."""
    seen = np.isfinite(observed)
    centred = [values - np.nanmean(np.where(seen, values, np.nan), axis=0) for values in (predicted, observed)]
    rows = [row for row in range(len(seen)) if seen[row].sum() > 20]
    return float(np.mean([np.corrcoef(*(part[row, seen[row]] for part in centred))[0, 1] for row in rows]))


def fold_of(reference, n_folds: int) -> np.ndarray:
    """Fold of each drug; drugs of one structure share it."""
    drugs = reference.obsm["response"].columns
    structures = reference.uns["drugs"].loc[drugs, "smiles"].map(canonical_smiles)
    groups = np.unique(structures.fillna(pd.Series(drugs, index=drugs)).astype(str), return_inverse=True)[1]
    return (np.random.default_rng(0).permutation(groups.max() + 1) % n_folds)[groups]


def predict(reference, left_out: list[str], parts: tuple[str, ...], options: dict) -> pd.DataFrame:
    train = reference.copy()
    train.obsm["response"] = train.obsm["response"].drop(columns=left_out)
    if "second_response" in train.obsm:
        train.obsm["second_response"] = train.obsm["second_response"].drop(columns=left_out, errors="ignore")
    table = train.uns["drugs"]
    scdrug.model.KernelRidge.setup_anndata(train)
    model = scdrug.model.KernelRidge(train, mechanism="targets" in parts, **options)
    model.train()
    asked = {drug: {part: table.loc[drug, part] for part in parts} for drug in left_out}
    out = model.predict(reference, drugs=asked, key_added=None)
    out.columns = left_out
    model.release_data()
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--folds", type=int, default=10)
    parser.add_argument("--first", type=int, help="only the first folds")
    parser.add_argument("--rows", nargs="*")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    one = scdrug.datasets.gdsc("GDSC2", path=arguments.data / "gdsc")
    both = scdrug.datasets.gdsc("both", path=arguments.data / "gdsc")
    structure, mechanism = ("smiles",), ("smiles", "targets", "pathway")
    rows = {
        "coupled, Tanimoto": (one, structure, COUPLED | {"drug_kernel": "tanimoto"}),
        "coupled, MiniMol": (one, structure, COUPLED | {"drug_kernel": "minimol"}),
        "coupled, both": (one, structure, COUPLED | {"drug_kernel": "mean"}),
        "coupled, both + mechanism": (one, mechanism, COUPLED | {"drug_kernel": "mean"}),
        "linear, GDSC2, both": (one, structure, LINEAR | {"drug_kernel": "mean"}),
        "linear, GDSC2, both + mechanism": (one, mechanism, LINEAR | {"drug_kernel": "mean"}),
        "linear, both releases, both": (both, structure, LINEAR | {"drug_kernel": "mean"}),
        "linear, both releases, both + mechanism": (both, mechanism, LINEAR | {"drug_kernel": "mean"}),
    }
    fold, drugs = fold_of(one, arguments.folds), one.obsm["response"].columns
    observed = one.obsm["response"].to_numpy(dtype=float)
    n_folds = arguments.first or arguments.folds
    tested = fold < n_folds
    tables = {"mean of drugs and lines": np.empty_like(observed)} | {
        name: np.empty_like(observed) for name in rows if not arguments.rows or name in arguments.rows
    }
    for number in range(n_folds):
        out = fold == number
        kept = one.obsm["response"].to_numpy(dtype=float)[:, ~out]
        line = np.nanmean(kept - np.nanmean(kept, axis=0), axis=1, keepdims=True)
        tables["mean of drugs and lines"][:, out] = np.nanmean(np.nanmean(kept, axis=0)) + line
        for name in list(tables)[1:]:
            reference, parts, options = rows[name]
            tables[name][:, out] = predict(reference, list(drugs[out]), parts, options).loc[one.obs_names].to_numpy()
    print("| predictor | RMSE | r per drug | r per line, drugs centred |\n|---|---|---|---|")
    for name, table in tables.items():
        errors = [rmse(table[:, fold == number], observed[:, fold == number]) for number in range(n_folds)]
        print(
            f"| {name} | {np.mean(errors):.3f} ± {np.std(errors, ddof=1) / np.sqrt(n_folds):.3f} | "
            f"{per_drug_pearson(table[:, tested], observed[:, tested]):.3f} | {per_line(table[:, tested], observed[:, tested]):.3f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
