"""Compare groups of cells drug by drug, over cells or over samples, and put the results into one table."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
import pandas as pd

from .._validate import examples
from ._rank_design import Design
from ._rank_stats import REST, Comparison, adjust, class_sums, compare_cells, compare_samples
from ._stored import USES, Predictions


@dataclass(frozen=True)
class Result:
    """One group against its reference; means by what `use` may be: (group, reference), each over drugs."""

    comparison: Comparison
    means: dict[str, tuple[np.ndarray, np.ndarray]]
    n_cells: tuple[int, int]
    n_samples: tuple[int, int]


def _sums(frame: pd.DataFrame, design: Design, codes: np.ndarray, n: int) -> np.ndarray:
    sums = class_sums(design.values(frame), frame.shape[1], codes, n)
    if not np.isfinite(sums).all():
        bad = frame.columns[~np.isfinite(sums).all(axis=0)]
        raise ValueError(
            f"Predictions of {len(bad)} drugs are missing or infinite in some cells: {examples(bad)}. Run "
            "scdrug.tl.predict_response again."
        )
    return sums


def compare_over_cells(
    predictions: Predictions, design: Design, *, use: str, method: str, min_cells: int
) -> list[tuple[int, Result]]:
    n_groups = len(design.names)
    counts = np.bincount(design.codes, minlength=n_groups)
    sums = {u: _sums(predictions.table(u), design, design.codes, n_groups) for u in USES}
    table = predictions.table(use)
    comparisons = compare_cells(
        design.values(table),
        table.shape[1],
        design.codes,
        design.groups,
        reference=design.reference,
        method=method,
    )
    results = []
    for group, comparison in zip(design.groups, comparisons):
        rest = design.reference == REST
        n_other = len(design.codes) - counts[group] if rest else counts[design.reference]
        means = {
            u: (s[group] / counts[group], (s.sum(axis=0) - s[group] if rest else s[design.reference]) / n_other)
            for u, s in sums.items()
        }
        results.append((group, Result(comparison, means, (int(counts[group]), int(n_other)), (0, 0))))
    return results


def compare_over_samples(
    predictions: Predictions, design: Design, *, use: str, method: str, min_cells: int
) -> list[tuple[int, Result]]:
    n_groups, n_samples = len(design.names), design.n_samples
    codes = design.samples * n_groups + design.codes
    counts = np.bincount(codes, minlength=n_samples * n_groups).reshape(n_samples, n_groups)
    sums = {
        u: _sums(predictions.table(u), design, codes, n_samples * n_groups).reshape(n_samples, n_groups, -1)
        for u in USES
    }
    results, left_out = [], []
    for group in design.groups:
        rest = design.reference == REST
        n_mine = counts[:, group]
        n_other = counts.sum(axis=1) - n_mine if rest else counts[:, design.reference]
        pseudobulks = {
            u: (
                _means(s[:, group], n_mine, min_cells),
                _means(s.sum(axis=1) - s[:, group] if rest else s[:, design.reference], n_other, min_cells),
            )
            for u, s in sums.items()
        }
        if not ((n_mine >= min_cells).any() and (n_other >= min_cells).any()):
            left_out.append(design.names[group])
            continue
        comparison, paired = compare_samples(*pseudobulks[use], method=method)
        sides = [paired if paired.any() else n >= min_cells for n in (n_mine, n_other)]
        means = {u: tuple(bulk[side].mean(axis=0) for bulk, side in zip(p, sides)) for u, p in pseudobulks.items()}
        n_cells = tuple(int(n[side].sum()) for n, side in zip((n_mine, n_other), sides))
        results.append((group, Result(comparison, means, n_cells, tuple(int(side.sum()) for side in sides))))
    if left_out:
        reason = f"no sample has min_cells={min_cells} cells of them, or of their reference: {examples(left_out)}."
        if not results:
            raise ValueError(f"No group can be compared: {reason} Lower `min_cells`, or omit `sample_key`.")
        warnings.warn(f"Left out {len(left_out)} groups, because {reason}", UserWarning, stacklevel=3)
    return results


def _means(sums: np.ndarray, counts: np.ndarray, min_cells: int) -> np.ndarray:
    """Mean of each sample (samples × drugs), NaN where it has fewer than `min_cells` cells."""
    enough = counts >= min_cells
    return np.where(enough[:, None], sums / np.maximum(counts, 1)[:, None], np.nan)


def ranked_table(results: list[tuple[int, Result]], predictions: Predictions, design: Design, use: str) -> pd.DataFrame:
    sign = predictions.sign(use)
    drugs = predictions.drugs
    reliability = predictions.reliability[design.rows]
    parts = []
    for group, result in results:
        effect = result.means[use][0] - result.means[use][1]
        score = sign * effect + 0.0  # no negative zero
        part = pd.DataFrame(
            {
                "group": design.names[group],
                "rank": 0,
                "drug": drugs.index.astype(str),
                "name": drugs["name"].to_numpy(),
                "score": score,
                "direction": np.select([score > 0, score < 0], ["sensitive", "resistant"], "none"),
                "effect": effect,
                "effect_size": sign * result.comparison.effect_size,
                "statistic": sign * result.comparison.statistic,
                "p_value": result.comparison.p_value,
                "fdr": adjust(result.comparison.p_value),
                "percentile": result.means["percentile"][0],
                "percentile_reference": result.means["percentile"][1],
                "response": result.means["response"][0],
                "response_reference": result.means["response"][1],
                "n_cells": result.n_cells[0],
                "n_cells_reference": result.n_cells[1],
                "n_samples": result.n_samples[0],
                "n_samples_reference": result.n_samples[1],
                "reliability": _median(reliability[design.codes == group]),
                "test": result.comparison.test,
                "targets": drugs["targets"].to_numpy(),
                "pathway": drugs["pathway"].to_numpy(),
            }
        )
        part = part.sort_values(["score", "effect_size", "drug"], ascending=[False, False, True], kind="stable")
        parts.append(part.assign(rank=np.arange(1, len(part) + 1)))
    table = pd.concat(parts, ignore_index=True)
    order = [design.names[group] for group, _ in results]
    table["group"] = pd.Categorical(table["group"], categories=order)
    table["direction"] = pd.Categorical(table["direction"], categories=["sensitive", "resistant", "none"])
    table["test"] = pd.Categorical(table["test"])
    return table


def _median(values: np.ndarray) -> float:
    return float(np.median(values)) if len(values) else float("nan")
