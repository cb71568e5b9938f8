"""Measure and draw why a correlation over all pairs misleads; figures of docs/guide/pooled_correlation.md.

    python scripts/draw_pooled_correlation.py DATA [--labels FOLDER] [--out docs/_static] [--seed 42]

DATA is a folder that `scdrug.datasets.gdsc(path=...)` can read. FOLDER holds the published labels of MTIGCN (`GDSC/` and
`PDX/`; by default `mtigcn` beside DATA); without them the figure of classification has fewer rows. All that is fitted
sees training pairs only. Every number of the page is printed. The same data and seed give the same figures; folds are those
of benchmarks/gdsc2_baselines.yaml.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from _pooled_figures import draw_auroc, draw_baselines, draw_drug_blind, draw_simpson, draw_variance

import scdrug
from scdrug.benchmark import make_splits
from scdrug.metrics import (
    auroc,
    drug_correlations,
    pearson,
    per_drug_auroc,
    per_drug_pearson,
    per_line_pearson_centered,
    rmse,
    skill,
)
from scdrug.model.prior import (
    RBF,
    apply_kernel,
    complete_response,
    decompose_kernel,
    fit_additive,
    fit_kernel,
    fit_unseen_drugs,
    solve_ridge,
)
from scdrug.pp._molecules import featurize_smiles, tanimoto_kernel

TEST, SEEN = 3, (1, 2, 4)
#: Base rates of drugs on the published TCGA labels, and the published models. Stated, not computed: scdrug does not read
#: these labels.
TCGA_DRUG_RATE, MTIGCN_TCGA, MTIGCN_PDX = 0.830, 0.7459, 0.6276
#: Share of drugs in MTIGCN's matrix, printed below; used for papers whose own data are not at hand.
SHARE_ELSEWHERE = 0.73
PUBLISHED = Path(__file__).parents[1] / "docs" / "benchmark" / "published.csv"
#: What a fold yields: predictor, prediction, truth, mean training response of each drug.
Rows = Iterator[tuple[str, np.ndarray, np.ndarray, np.ndarray]]


class Screen:
    """Response, expression and structures of GDSC2, as arrays, and its folds."""

    def __init__(self, folder: Path) -> None:
        self.reference = scdrug.datasets.gdsc("GDSC2", path=folder)
        table = self.reference.obsm["response"]
        self.response = table.to_numpy(dtype=np.float64)
        self.expression = np.asarray(self.reference.X, dtype=np.float64)
        drugs = self.reference.uns["drugs"].reindex(table.columns)
        self.names = drugs["name"].astype(str).to_numpy()
        self.tanimoto = tanimoto_kernel(featurize_smiles(drugs["smiles"])[0])

    def folds(self, kind: str, n_folds: int, seed: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Training response and test response of each fold, lines × drugs, NaN elsewhere."""
        splits = make_splits(self.reference, kind, n_folds=n_folds, seed=seed)
        for fold in splits:
            roles = splits.roles(fold, self.reference)
            yield np.where(np.isin(roles, SEEN), self.response, np.nan), np.where(roles == TEST, self.response, np.nan)


def variance_shares(response: np.ndarray) -> tuple[float, float, float]:
    """Shares of the variance between drugs, between lines within drugs, and the rest (least squares)."""
    total = np.nansum((response - np.nanmean(response)) ** 2)
    within = np.nansum((response - np.nanmean(response, axis=0)) ** 2) / total
    rest = np.nansum((response - fit_additive(response, method="least_squares").matrix) ** 2) / total
    return float(1 - within), float(within - rest), float(rest)


def another_line(response: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Answer for each pair with the drug's response in another line: permuted within drugs."""
    shuffled = response.copy()
    for column in shuffled.T:
        known = np.flatnonzero(~np.isnan(column))
        column[known] = column[rng.permutation(known)]
    return shuffled


def pair_rows(screen: Screen, seed: int) -> Rows:
    kernel = decompose_kernel(fit_kernel(screen.expression, RBF)[1])  # features only: every line is in training
    for train, truth in screen.folds("pair", 5, seed):
        mean = np.nanmean(train, axis=0)
        yield "drug mean", np.broadcast_to(mean, truth.shape), truth, mean
        yield "drug mean + line mean", fit_additive(train).matrix, truth, mean
        yield "soft-impute", complete_response(train).fitted, truth, mean
        yield "soft-impute + kernel ridge", complete_response(train, kernel=kernel).fitted, truth, mean


def line_rows(screen: Screen, seed: int) -> Rows:
    for train, truth in screen.folds("line", 5, seed):
        seen, held = ~np.isnan(train).all(axis=1), ~np.isnan(truth).all(axis=1)
        mean = np.nanmean(train, axis=0)
        yield "drug mean", np.broadcast_to(mean, truth.shape), truth, mean
        kernel, matrix = fit_kernel(screen.expression[seen], RBF)
        cross = apply_kernel(kernel, screen.expression[held], screen.expression[seen])
        predicted = np.zeros_like(truth)
        predicted[held] = solve_ridge(decompose_kernel(matrix), train[seen]).predict(cross)
        yield "kernel ridge", predicted, truth, mean


def drug_rows(screen: Screen, seed: int) -> Rows:
    for train, truth in screen.folds("drug", 10, seed):
        seen, held = ~np.isnan(train).all(axis=0), ~np.isnan(truth).all(axis=0)
        train, truth = train[:, seen], truth[:, held]
        mean = np.full(truth.shape[1], np.nanmean(np.nanmean(train, axis=0)))  # nothing is known of a new drug
        effects = fit_additive(train)
        line = effects.matrix.mean(axis=1)[:, None]
        yield "line mean", np.broadcast_to(line, truth.shape), truth, mean
        fit = fit_unseen_drugs(train, screen.tanimoto[np.ix_(seen, seen)])
        cross = screen.tanimoto[np.ix_(held, seen)]
        drug = fit.drug_effect.predict(cross)[:, 0]
        yield "structure + line mean", fit.effects.line[:, None] + drug, truth, mean
        yield "kernel ridge on structures", fit.predict(cross), truth, mean


def score(rows: Rows, *, new_drugs: bool = False) -> tuple[pd.DataFrame, dict[str, np.ndarray]]:
    """Scores of each predictor, mean over folds; and its test predictions put together, lines × drugs."""
    scores, together = [], {}
    for predictor, predicted, truth, mean in rows:
        scores.append(
            {
                "predictor": predictor,
                "pooled r": pearson(predicted, truth),
                "per-drug r": per_drug_pearson(predicted, truth),
                "per-line centred r": per_line_pearson_centered(predicted, truth, None if new_drugs else mean),
                "skill": skill(predicted, truth, mean),
                "RMSE": rmse(predicted, truth),
            }
        )
        if not new_drugs:
            whole = together.setdefault(predictor, np.full(truth.shape, np.nan))
            np.copyto(whole, predicted, where=~np.isnan(truth))
    return pd.DataFrame(scores).groupby("predictor", sort=False).mean(), together


def implied(pooled: float | np.ndarray, share: float) -> float | np.ndarray:
    """Correlation within drugs that a pooled one implies for predictions without bias, see the page."""
    return np.sqrt(np.clip((np.square(pooled) - share) / (1 - share), 0, None))


def published_correlations() -> pd.DataFrame:
    """Pooled correlations in print, and what they imply within drugs if drugs make up as much as in MTIGCN's matrix."""
    table = pd.read_csv(PUBLISHED)
    table = table[
        (table["metric"] == "pearson") & table["split"].isin(["pair", "line"]) & (table["paper"] == "Bang 2024")
    ]
    return table[["split", "model", "value"]].assign(
        implied=implied(table["value"].to_numpy(), SHARE_ELSEWHERE).round(2)
    )


def drug_examples(response: np.ndarray) -> list[int]:
    """Six drugs from the most to the least potent, measured in most lines."""
    often = np.flatnonzero((~np.isnan(response)).mean(axis=0) > 0.9)
    order = often[np.argsort(np.nanmean(response[:, often], axis=0))]
    return [int(order[round(place * (len(order) - 1))]) for place in (0.01, 0.12, 0.3, 0.6, 0.85, 0.99)]


def measure_labels(screen: Screen, folder: Path, seed: int) -> list[tuple[str, str, float, float | None]]:
    """Rows of the figure of classification: task, predictor, pooled AUROC, per-drug AUROC."""
    cut = np.where(np.isnan(screen.response), np.nan, screen.response < 0)
    rows = []

    def add(task: str, predictor: str, folds: list[tuple[np.ndarray, np.ndarray]]) -> None:
        rows.append((task, predictor, *(float(np.mean([f(*fold) for fold in folds])) for f in (auroc, per_drug_auroc))))

    add("GDSC2, IC50 below 1 µM", "drug's rate in training", _cross_validate(cut, seed, _drug_rate))
    if not (folder / "GDSC").is_dir():
        print(f"no labels at {folder}: rows of MTIGCN's labels are left out")
        return rows
    labels, values, threshold = _published(folder / "GDSC")
    print(
        f"MTIGCN's matrix: {100 * variance_shares(values)[0]:.1f} % between drugs, prevalence {np.nanmean(labels):.3f}"
    )
    task = "GDSC, MTIGCN's labels"
    add(task, "drug's rate in training", _cross_validate(labels, seed, _drug_rate))
    add(task, "drug's and line's rate", _cross_validate(labels, seed, _both_rates))
    add(task, "soft-impute", _cross_validate(labels, seed, lambda known: threshold - _impute(known, values)))
    response, missing = (
        pd.read_csv(folder / "PDX" / name, index_col=0).to_numpy(dtype=float)
        for name in ("pdx_response.csv.gz", "pdx_null_mask.csv.gz")
    )
    xenografts = np.where(missing == 1, np.nan, response)
    xenografts = xenografts[:, ~np.isnan(xenografts).all(axis=0)]
    n, drugs, responders = (~np.isnan(xenografts)).sum(), xenografts.shape[1], int(np.nansum(xenografts))
    print(f"PDX: {n} records, {drugs} drugs, {responders} responders")
    add("PDX", "drug's rate in the test set", [(_drug_rate(xenografts), xenografts)])
    rows.append(("PDX", "MTIGCN, published", MTIGCN_PDX, None))
    rows.append(("TCGA", "drug's rate in the test set", TCGA_DRUG_RATE, 0.5))
    rows.append(("TCGA", "MTIGCN, published", MTIGCN_TCGA, None))
    return rows


def _cross_validate(
    labels: np.ndarray, seed: int, predict: Callable[[np.ndarray], np.ndarray]
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Scores and labels of five folds of known pairs."""
    known = np.argwhere(~np.isnan(labels))
    fold = np.random.default_rng(seed).permutation(len(known)) % 5
    pairs = []
    for k in range(5):
        held = tuple(known[fold == k].T)
        train, truth = labels.copy(), np.full_like(labels, np.nan)
        truth[held], train[held] = labels[held], np.nan
        pairs.append((predict(train), truth))
    return pairs


def _rate(train: np.ndarray, axis: int) -> np.ndarray:
    """Log odds of a positive, with one pseudo-count of the overall rate."""
    count, positive = (~np.isnan(train)).sum(axis=axis), np.nansum(train, axis=axis)
    rate = (positive + np.nanmean(train)) / (count + 1)
    return np.log(rate / (1 - rate))


def _drug_rate(train: np.ndarray) -> np.ndarray:
    return np.broadcast_to(_rate(train, 0), train.shape)


def _both_rates(train: np.ndarray) -> np.ndarray:
    return _rate(train, 0) + _rate(train, 1)[:, None]


def _impute(known: np.ndarray, values: np.ndarray) -> np.ndarray:
    return complete_response(np.where(np.isnan(known), np.nan, values), threshold=12).fitted


def _published(folder: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels, ln IC50 and the threshold of each drug; columns are joined by id, their order differs between files."""
    tables = {
        name: pd.read_csv(folder / f"{name}.csv.gz", index_col=0)
        for name in ("cell_drug_binary", "cell_drug", "null_mask")
    }
    columns = tables["cell_drug"].columns
    unknown = tables["null_mask"][columns].to_numpy() == 1
    labels, values = (
        np.where(unknown, np.nan, tables[name][columns].to_numpy(dtype=float))
        for name in ("cell_drug_binary", "cell_drug")
    )
    threshold = pd.read_csv(folder / "threshold.csv.gz", index_col=0)["Threshold"]
    return labels, values, threshold.reindex(columns.astype(int)).to_numpy()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--labels", type=Path)
    parser.add_argument("--out", type=Path, default=Path(__file__).parents[1] / "docs" / "_static")
    parser.add_argument("--seed", type=int, default=42)
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore")
    seed, out = arguments.seed, arguments.out
    screen = Screen(arguments.data)

    shares = {"GDSC2, ln IC50": variance_shares(screen.response)}
    for release, measure in (("GDSC1", "ln_IC50"), ("GDSC2", "AUC")):
        other = (
            scdrug.datasets.gdsc(release, measure=measure, path=arguments.data).obsm["response"].to_numpy(dtype=float)
        )
        shares[f"{release}, {measure.replace('_', ' ')}"] = variance_shares(other)
    print(pd.DataFrame(shares, index=["drug", "line", "rest"]).T.round(3).to_string(), "\n")
    draw_variance(shares, out)
    share = shares["GDSC2, ln IC50"][0]
    within_line = shares["GDSC2, ln IC50"][1] / (1 - share)
    print(
        f"root of the share of drugs {share**0.5:.3f}, of lines within drugs {within_line:.3f}, root {within_line**0.5:.3f}"
    )

    shuffled = another_line(screen.response, np.random.default_rng(seed))
    copied = pearson(shuffled, screen.response), per_drug_pearson(shuffled, screen.response)
    print(f"another line's response: pooled r {copied[0]:.3f}, per-drug r {copied[1]:.3f}\n")
    scores, kept = {}, {}
    for split, rows in (("pair", pair_rows), ("line", line_rows), ("drug", drug_rows)):
        scores[split], kept[split] = score(rows(screen, seed), new_drugs=split == "drug")
        scores[split]["implied r"] = implied(scores[split]["pooled r"], share)
        print(split, scores[split].round(3).to_string(), sep="\n", end="\n\n")
    print(published_correlations().to_string(index=False), end="\n\n")

    chosen = drug_examples(screen.response)
    ridge = kept["line"]["kernel ridge"]
    for what, predicted in (("another line", shuffled), ("kernel ridge", ridge)):
        r = drug_correlations(predicted[:, chosen], screen.response[:, chosen])
        print(what, {screen.names[drug]: round(float(value), 2) for drug, value in zip(chosen, r)})
    draw_simpson(screen.response, shuffled, ridge, screen.names, chosen, out, seed=seed)
    draw_baselines(copied, scores, lambda r: implied(r, share), out)
    draw_drug_blind(scores["drug"], out)

    labelled = measure_labels(screen, arguments.labels or arguments.data.parent / "mtigcn", seed)
    columns = ["labels", "predictor", "pooled AUROC", "per-drug AUROC"]
    print("\n" + pd.DataFrame(labelled, columns=columns).round(3).to_string(index=False))
    draw_auroc(labelled, out)


if __name__ == "__main__":
    main()
