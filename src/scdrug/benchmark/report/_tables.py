"""Tables of a report: scores of a split, the overview, and cost."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence

import pandas as pd

from ._format import Cell, Row, Table, interval, mean_sd, number, p_value
from ._scores import HEADLINES, LOWER_IS_BETTER, SplitScores

#: Label of the row that is made from the training means alone.
DRUG_MEAN = "drug mean (by definition)"
#: Marks the column to read first.
FIRST = "▸ "
RESPONSE_METRICS = (
    "per_drug_pearson",
    "per_drug_spearman",
    "per_line_pearson_centered",
    "skill",
    "rmse",
    "pearson",
)
CLASS_METRICS = ("per_drug_auroc", "per_drug_auprc", "mcc", "balanced_accuracy", "f1", "accuracy", "auroc", "auprc")
#: Heads of columns.
HEADS = {
    "per_drug_pearson": "per-drug r",
    "per_drug_spearman": "per-drug ρ",
    "per_line_pearson_centered": "per-line centred r",
    "skill": "skill",
    "rmse": "RMSE",
    "pearson": "pooled r*",
    "spearman": "pooled ρ*",
    "per_drug_auroc": "per-drug AUROC",
    "per_drug_auprc": "per-drug AUPRC",
    "auroc": "pooled AUROC*",
    "auprc": "pooled AUPRC*",
    "mcc": "MCC",
    "balanced_accuracy": "balanced accuracy",
    "f1": "F1",
    "accuracy": "accuracy",
}


def score_table(scores: SplitScores, metrics: Sequence[str], title: str) -> Table | None:
    """Mean ± SD of each model, the best in bold; `None` if no metric was computed.

    Parameters
    ----------
    scores
        A split.
    metrics
        Columns, in this order; those without any value are left out.
    title
        Title of the table.
    """
    shown = [name for name in metrics if name in scores.mean and scores.mean[name].notna().any()]
    if not shown:
        return None
    test = len(scores.tests) > 0 and scores.headline in shown
    best = {name: _best_text(scores, name) for name in shown}
    rows = []
    for model in scores.ranked(None if scores.headline in shown else shown[0]):
        cells = []
        for name in shown:
            value = scores.mean.loc[model, name]
            cells.append(
                Cell(
                    mean_sd(value, scores.sd.loc[model, name]), model in scores.complete and number(value) == best[name]
                )
            )
        cells += _test_cells(scores, model) if test else []
        cells.append(Cell(_fold_text(scores, model)))
        rows.append(Row(model, cells, "baseline" if model in scores.baselines else "model"))
    if any(name in scores.reference for name in shown):
        cells = [Cell(mean_sd(*scores.reference.get(name, (math.nan, math.nan)))) for name in shown]
        rows.append(Row(DRUG_MEAN, [*cells, *[Cell("–")] * (2 * test), Cell("–")], "reference"))
    heads = [FIRST * (name == scores.headline) + HEADS[name] for name in shown]
    heads += ["Δ to strongest baseline [95 %]", "p (Holm)"] if test else []
    return Table(title, ["model", *heads, "folds"], rows, _notes(scores, shown, test))


def _best_text(scores: SplitScores, metric: str) -> str | None:
    """Rounded best value; two that round alike are both best. None if there is nothing to choose from."""
    values = scores.mean.loc[scores.complete, metric].dropna()
    if len(values) < 2:
        return None
    return number(values.min() if metric in LOWER_IS_BETTER else values.max())


def _test_cells(scores: SplitScores, model: str) -> list[Cell]:
    if model == scores.strongest:
        return [Cell("strongest baseline"), Cell("–")]
    if model not in scores.tests.index:
        return [Cell("–"), Cell("–")]
    found = scores.tests.loc[model]
    return [Cell(interval(found["difference"], found["low"], found["high"], sign=True)), Cell(p_value(found["holm"]))]


def _fold_text(scores: SplitScores, model: str) -> str:
    finished = int(scores.finished[model])
    return str(finished) if finished == scores.n_folds else f"{finished} of {scores.n_folds} †"


def _notes(scores: SplitScores, shown: Sequence[str], test: bool) -> list[str]:
    notes = []
    if scores.headline in shown and scores.headline == HEADLINES.get(scores.kind):
        notes.append(f"{FIRST.strip()} Read this column first: neither drug nor line effects can fill it.")
    if {"pearson", "spearman", "auroc", "auprc"}.intersection(shown):
        notes.append(
            "* Pooled over all pairs: this value mostly reflects which drug it is, not which line responds. "
            "It is here for comparison with papers."
        )
    if any(name in CLASS_METRICS for name in shown):
        notes.append(
            "Labels come from thresholds of the training responses of each fold. Per drug, a drug mean has AUROC 0.5, and "
            "AUPRC equal to the share of sensitive lines."
        )
    if (scores.finished < scores.n_folds).any():
        notes.append(
            "† Folds are missing; such a mean is over other test data than the rest, and is no candidate for bold."
        )
    if test:
        notes.append(
            f"Δ: difference in {HEADS[scores.headline]} to {scores.strongest}, paired over folds, positive = better; "
            "variance enlarged for overlapping training sets (Nadeau and Bengio 2003), p corrected for the number of "
            "models of this split (Holm)."
        )
    return notes


def overview_table(splits: Sequence[SplitScores]) -> Table:
    """The strongest model of each split beside the strongest baseline."""
    rows = []
    for scores in splits:
        winner, strongest = scores.winner, scores.strongest
        if winner is None:
            continue
        cells = [Cell(HEADS[scores.headline]), Cell(winner), _headline_cell(scores, winner)]
        if strongest is None:
            cells += [Cell("none was run"), Cell("–"), Cell("–"), Cell("–")]
        elif strongest == winner:
            cells += [Cell("the same"), Cell("–"), Cell("–"), Cell("–")]
        else:
            cells += [Cell(strongest), _headline_cell(scores, strongest), *_test_cells(scores, winner)]
        rows.append(Row(scores.split, cells))
    columns = [
        "split",
        "judged by",
        "best model",
        "value",
        "strongest baseline",
        "its value",
        "difference [95 %]",
        "p (Holm)",
    ]
    return Table("Overview", columns, rows, texts=("judged by", "best model", "strongest baseline"))


def _headline_cell(scores: SplitScores, model: str) -> Cell:
    return Cell(mean_sd(scores.mean.loc[model, scores.headline], scores.sd.loc[model, scores.headline]))


def cost_table(folds: pd.DataFrame) -> Table | None:
    """Seconds and memory of each model, and what was tuned; `None` if the folds tell nothing of it."""
    if folds.empty or not {"fit_seconds", "predict_seconds", "peak_mb"} <= set(folds.columns):
        return None
    rows = []
    for (split, model), part in folds.groupby(["split", "model"], sort=False):
        sizes = [part[name].median() if name in part else math.nan for name in ("n_train", "n_test")]
        cells = [Cell(str(split)), *(Cell("–" if pd.isna(size) else f"{size:,.0f}") for size in sizes)]
        cells += [Cell(number(part[name].mean(), 1)) for name in ("fit_seconds", "predict_seconds")]
        cells += [Cell(number(part["peak_mb"].max(), 0)), Cell(_chosen(part))]
        rows.append(Row(str(model), cells))
    columns = [
        "model",
        "split",
        "training pairs",
        "test pairs",
        "fit [s]",
        "predict [s]",
        "peak [MB]",
        "chosen on validation",
    ]
    note = "A fold on average; memory is that of the process, the largest so far."
    return Table("Time and memory", columns, rows, [note], texts=("split", "chosen on validation"))


def _chosen(part: pd.DataFrame) -> str:
    if "params" not in part:
        return ""
    counts = part["params"].map(lambda text: json.dumps(json.loads(text or "{}"), sort_keys=True)).value_counts()
    texts = []
    for text, n in counts.items():
        values = ", ".join(f"{name} {value}" for name, value in json.loads(str(text)).items())
        if values:
            texts.append(f"{values} (×{n})" if len(counts) > 1 else values)
    return "; ".join(texts)
