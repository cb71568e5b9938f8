"""How much of a second screen, and how many factors, the bundled model takes: held-out lines of both releases of GDSC, and NCI-60.

    python scripts/check_screens.py DATA

DATA holds `gdsc/` and `nci60/`. Lines are left out of both releases, in five folds; drugs are those of both releases. Printed for each share of
GDSC1: mean correlation per drug of predictions with GDSC2, GDSC1 and NCI-60, and root mean square error on GDSC2.
"""

from __future__ import annotations

import argparse
import warnings
from pathlib import Path

import numpy as np
import pandas as pd

import scdrug
from scdrug.benchmark._screens import join_screen
from scdrug.metrics import per_drug_pearson, rmse
from scdrug.model._screens import second_screen
from scdrug.model.baseline._ridge_arrays import denoised_targets, factorise, line_arrays
from scdrug.model.prior import decompose_kernel, fit_kernel, solve_ridge
from scdrug.model.prior._kernels import KERNELS

SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)
RANKS = (30, 60, 100, 150)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    reference = scdrug.datasets.gdsc("both", path=arguments.data / "gdsc")
    nci60 = join_screen(scdrug.datasets.nci60(path=arguments.data / "nci60"), reference, "NCI-60")
    expression = np.asarray(reference.X, dtype=np.float64)
    response = reference.obsm["response"].to_numpy(dtype=float)
    second, shared = second_screen(reference, reference.obsm["response"].columns)
    folds = np.random.default_rng(0).permutation(len(response)) % 5
    predicted = {
        name: np.empty_like(response) for name in ("GDSC2 alone", *SHARES, *(f"rank {rank}" for rank in RANKS))
    }
    for fold in range(5):
        train, test = folds != fold, folds == fold
        kernel = decompose_kernel(fit_kernel(expression[train], KERNELS["linear"])[1])

        def weights(target, lines=train, kernel=kernel):
            fit = solve_ridge(kernel, target, ridge=0.5)
            return line_arrays(expression[lines], fit.alpha, fit.intercept, linear=True)

        targets = {"GDSC2 alone": denoised_targets(response[train][:, shared], None, shared, 1.0)[0]}
        for share in SHARES:
            targets[share] = denoised_targets(response[train], second[train], shared, 1.0, share=share)[0]
        for name, target in targets.items():
            arrays = weights(target)
            columns = shared if name == "GDSC2 alone" else slice(None)
            predicted[name][np.ix_(test, np.arange(response.shape[1])[columns])] = (
                expression[test] @ arrays["weights"] + arrays["intercept"]
            )
            if name == 0.25:
                for rank in RANKS:
                    two = factorise(arrays["weights"], arrays["intercept"], expression[train], rank)
                    predicted[f"rank {rank}"][test] = (
                        expression[test] @ two["factors"] @ two["mixing"] + two["intercept"]
                    )
    ids = reference.obsm["response"].columns[shared]
    third = nci60.reindex(index=reference.obs_names, columns=ids[ids.isin(nci60.columns)])
    print("| targets | r GDSC2 | RMSE GDSC2 | r GDSC1 | r NCI-60 |\n|---|---|---|---|---|")
    for name, values in predicted.items():
        table = pd.DataFrame(values[:, shared], index=reference.obs_names, columns=ids)
        own, other = response[:, shared], second
        label = f"both, {name:.0%} of GDSC1" if isinstance(name, float) else name
        print(
            f"| {label} | {per_drug_pearson(table.to_numpy(), own):.3f} | {rmse(table.to_numpy(), own):.3f} | "
            f"{per_drug_pearson(table.to_numpy(), other):.3f} | "
            f"{per_drug_pearson(table[third.columns].to_numpy(), third.to_numpy(dtype=float)):.3f} |"
        )
    print(
        f"{len(ids)} drugs of both releases, {third.shape[1]} of them in NCI-60 ({int(third.notna().any(axis=1).sum())} lines)"
    )


if __name__ == "__main__":
    main()
