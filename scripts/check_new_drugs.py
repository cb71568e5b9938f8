"""Measure how drugs that were never screened are predicted: by structure, by mechanism, and with a second screen.

    python scripts/check_new_drugs.py DATA [--folds 10] [--by structure] [--new-lines] [--rows ROW ...]

DATA holds `gdsc/`. Drugs of GDSC2 are left out, in folds, from every screen: drugs of one structure together, or (`--by pathway`) all drugs
of a pathway. With `--new-lines` each fold also leaves out its share of the lines, and only these lines with these drugs are judged.
Printed beside the mean of all drugs and lines: root mean square error, correlation over lines per drug, and correlation over drugs per
line after each drug's mean is taken out.
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
    rows = [row for row in range(len(seen)) if seen[row].sum() > 10]
    return float(np.mean([np.corrcoef(*(part[row, seen[row]] for part in centred))[0, 1] for row in rows]))


def fold_of(reference, n_folds: int, by: str) -> np.ndarray:
    """Fold of each drug; drugs of one structure share it, or all drugs of a pathway."""
    drugs = reference.obsm["response"].columns
    table = reference.uns["drugs"].loc[drugs]
    structures = table["smiles"].map(canonical_smiles).fillna(pd.Series(drugs, index=drugs))
    together = table["pathway"] if by == "pathway" else structures
    groups = np.unique(together.astype(str), return_inverse=True)[1]
    return (np.random.default_rng(0).permutation(groups.max() + 1) % n_folds)[groups]


def fit_mean(response: np.ndarray, lines: np.ndarray) -> np.ndarray:
    """Mean over drugs and lines, plus the mean deviation of each line whose responses are known (lines × 1)."""
    known = np.where(lines[:, None], np.nan, response)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # lines that were left out have no response
        line = np.nanmean(known - np.nanmean(known, axis=0), axis=1, keepdims=True)
    return np.nanmean(np.nanmean(known, axis=0)) + np.nan_to_num(line)


def predict(reference, drugs: list[str], lines: pd.Index, parts: tuple[str, ...], options: dict) -> pd.DataFrame:
    """Predict drugs (columns) that were left out, of all lines; those of `lines` were left out, too."""
    train = reference[~reference.obs_names.isin(lines)].copy()
    train.obsm["response"] = train.obsm["response"].drop(columns=drugs)
    if "second_response" in train.obsm:
        train.obsm["second_response"] = train.obsm["second_response"].drop(columns=drugs, errors="ignore")
    table = train.uns["drugs"]
    scdrug.model.KernelRidge.setup_anndata(train)
    model = scdrug.model.KernelRidge(train, mechanism="targets" in parts, **options)
    model.train()
    asked = {drug: {part: table.loc[drug, part] for part in parts} for drug in drugs}
    out = model.predict(reference, drugs=asked, key_added=None)
    out.columns = drugs
    model.release_data()
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--folds", type=int, default=10)
    parser.add_argument("--by", choices=("structure", "pathway"), default="structure")
    parser.add_argument(
        "--new-lines", action="store_true", help="leave out a share of the lines with each fold of drugs"
    )
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
    fold, drugs = fold_of(one, arguments.folds, arguments.by), one.obsm["response"].columns
    n_folds = min(arguments.first or fold.max() + 1, fold.max() + 1)
    part = np.random.default_rng(1).permutation(one.n_obs) % (fold.max() + 1)
    left_out = (part[:, None] == fold) if arguments.new_lines else np.ones((one.n_obs, len(drugs)), dtype=bool)
    response = one.obsm["response"].to_numpy(dtype=float)
    observed = np.where(left_out & (fold < n_folds), response, np.nan)
    tables = {"mean of drugs and lines": np.empty_like(observed)} | {
        name: np.empty_like(observed) for name in rows if not arguments.rows or name in arguments.rows
    }
    for number in range(n_folds):
        out = fold == number
        lines = (part == number) & arguments.new_lines
        tables["mean of drugs and lines"][:, out] = fit_mean(response[:, ~out], lines)
        for name in list(tables)[1:]:
            reference, parts, options = rows[name]
            predicted = predict(reference, list(drugs[out]), one.obs_names[lines], parts, options)
            tables[name][:, out] = predicted.loc[one.obs_names].to_numpy()
    print("| predictor | RMSE | r per drug | r per line, drugs centred |\n|---|---|---|---|")
    for name, table in tables.items():
        errors = [rmse(table[:, fold == number], observed[:, fold == number]) for number in range(n_folds)]
        print(
            f"| {name} | {np.mean(errors):.3f} ± {np.std(errors, ddof=1) / np.sqrt(n_folds):.3f} | "
            f"{per_drug_pearson(table[:, fold < n_folds], observed[:, fold < n_folds]):.3f} | {per_line(table[:, fold < n_folds], observed[:, fold < n_folds]):.3f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
