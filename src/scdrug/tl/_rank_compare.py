"""Compare groups of cells feature by feature, over cells or over samples, and put the results into one table."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from .._lazy import LazyTable
from .._validate import examples
from ._class_sums import class_sums
from ._drug_evidence import LEVELS, evidence_of, outranks_better
from ._rank_design import Design
from ._rank_stats import MIN_SAMPLES, REST, Comparison, adjust, compare_cells, compare_samples
from ._stored import Predictions

#: What the p-values of a ranking say, by what was the replicate.
NOTES = {
    "cells": "p-values describe how well the cells are separated. Cells of a patient are not independent replicates, "
    "so nothing follows about patients: name the column of donors as `sample_key` for that.",
    "samples": "Samples are the replicates: each contributes the mean of its cells.",
}


@dataclass(frozen=True)
class Sides:
    """One group against its reference."""

    group: int
    comparison: Comparison
    #: Means of group and reference by table, each over its columns.
    means: dict[str, tuple[np.ndarray, np.ndarray]]
    n_cells: tuple[int, int]
    n_samples: tuple[int, int]

    def tested(self, sign: int = 1) -> dict[str, Any]:
        """Columns of a ranking that hold the test; `sign` turns the direction of effect size and statistic."""
        return {
            "effect_size": sign * self.comparison.effect_size,
            "statistic": sign * self.comparison.statistic,
            "p_value": self.comparison.p_value,
            "fdr": adjust(self.comparison.p_value),
        }

    def sizes(self) -> dict[str, Any]:
        """Columns of a ranking that hold numbers of cells and samples."""
        return {
            "n_cells": self.n_cells[0],
            "n_cells_reference": self.n_cells[1],
            "n_samples": self.n_samples[0],
            "n_samples_reference": self.n_samples[1],
        }


def compare(
    tables: Mapping[str, pd.DataFrame | LazyTable],
    design: Design,
    *,
    tested: str,
    method: str,
    min_cells: int,
    rerun: str,
) -> list[Sides]:
    """Compare each group with its reference, with samples as replicates if the design has them.

    Parameters
    ----------
    tables
        Cells × features, one or several of one shape, of which means are wanted.
    design
        Which cells are compared with which.
    tested
        Name of the table that is tested.
    method
        ``"t-test"`` or ``"wilcoxon"``.
    min_cells
        Cells that the mean of a sample needs.
    rerun
        Function whose results the tables are, for messages.

    Raises
    ------
    ValueError
        If values are missing or infinite, or no group can be compared.

    Warns
    -----
    UserWarning
        If groups are left out.
    """
    over_cells = design.samples is None
    n_groups, n_samples = len(design.names), 1 if over_cells else design.n_samples
    codes = design.codes if over_cells else design.samples * n_groups + design.codes
    counts = np.bincount(codes, minlength=n_samples * n_groups).reshape(n_samples, n_groups)
    sums = {
        name: _sums(table, design, codes, n_samples * n_groups, rerun).reshape(n_samples, n_groups, -1)
        for name, table in tables.items()
    }
    if over_cells:
        values = design.values(tables[tested])
        options = {"reference": design.reference, "method": method}
        of_cells = dict(
            zip(design.groups, compare_cells(values, tables[tested].shape[1], codes, design.groups, **options))
        )
    sides, left_out = [], []
    for group in design.groups:
        counted = counts[:, group], _others(counts, group, design.reference)
        enough = [n >= (1 if over_cells else min_cells) for n in counted]
        if not all(side.any() for side in enough):
            left_out.append(design.names[group])
            continue
        bulks = {
            name: [
                np.where(is_enough[:, None], total / np.maximum(n, 1)[:, None], np.nan)
                for total, n, is_enough in zip((s[:, group], _others(s, group, design.reference)), counted, enough)
            ]
            for name, s in sums.items()
        }
        if over_cells:
            comparison = of_cells[group]
        else:
            comparison, paired = compare_samples(*bulks[tested], method=method)
            enough = [paired, paired] if paired.any() else enough
        means = {name: tuple(bulk[side].mean(axis=0) for bulk, side in zip(b, enough)) for name, b in bulks.items()}
        n_cells = tuple(int(n[side].sum()) for n, side in zip(counted, enough))
        sizes = (0, 0) if over_cells else tuple(int(side.sum()) for side in enough)
        sides.append(Sides(group, comparison, means, n_cells, sizes))
    if left_out:
        reason = f"no sample has min_cells={min_cells} cells of them, or of their reference: {examples(left_out)}."
        if not sides:
            raise ValueError(f"No group can be compared: {reason} Lower `min_cells`, or omit `sample_key`.")
        warnings.warn(f"Left out {len(left_out)} groups, because {reason}", UserWarning, stacklevel=3)
    return sides


def _others(values: np.ndarray, group: int, reference: int) -> np.ndarray:
    """Sums or counts (samples × groups × …) of the cells that a group is compared with."""
    return values.sum(axis=1) - values[:, group] if reference == REST else values[:, reference]


def _sums(frame: pd.DataFrame | LazyTable, design: Design, codes: np.ndarray, n: int, rerun: str) -> np.ndarray:
    sums = class_sums(design.values(frame), frame.shape[1], codes, n)
    if not np.isfinite(sums).all():
        bad = frame.columns[~np.isfinite(sums).all(axis=0)]
        raise ValueError(
            f"Values of {len(bad)} columns are missing or infinite in some cells: {examples(bad)}. Run {rerun} again."
        )
    return sums


def warn_of_replicates(table: pd.DataFrame, design: Design) -> None:
    """Say that cells are no replicates, or which groups have too few samples for a test."""
    if design.samples is None:
        warnings.warn(NOTES["cells"], UserWarning, stacklevel=3)
        return
    untested = table.loc[table["test"].astype(str).str.startswith("none"), "group"].unique()
    if len(untested):
        warnings.warn(
            f"No p-values for {examples(untested)}: fewer than {MIN_SAMPLES} samples with enough cells on one side. "
            "Effects are given without them; cells are not used as replicates instead.",
            UserWarning,
            stacklevel=3,
        )


def ranked_table(
    sides: list[Sides], predictions: Predictions, design: Design, use: str, summary: pd.DataFrame
) -> pd.DataFrame:
    """Drugs of each group, best first; `summary` holds interval and reliability by group and drug."""
    summary = summary.set_index("group")
    sign = predictions.sign(use)
    drugs = predictions.drugs
    evidence = evidence_of(drugs)
    parts = []
    for one in sides:
        own = summary.loc[design.names[one.group]].set_index("drug").loc[drugs.index]
        effect = one.means[use][0] - one.means[use][1]
        score = sign * effect + 0.0  # no negative zero
        part = pd.DataFrame(
            {
                "group": design.names[one.group],
                "rank": 0,
                "drug": drugs.index.astype(str),
                "name": drugs["name"].to_numpy(),
                "score": score,
                "direction": np.select([score > 0, score < 0], ["sensitive", "resistant"], "none"),
                "effect": effect,
                **one.tested(sign),
                "percentile": one.means["percentile"][0],
                "percentile_reference": one.means["percentile"][1],
                "response": one.means["response"][0],
                "response_reference": one.means["response"][1],
                "half_width": ((own["upper"] - own["lower"]) / 2).to_numpy(),
                **one.sizes(),
                "reliability": own["reliability"].to_numpy(),
                "test": one.comparison.test,
                "targets": drugs["targets"].to_numpy(),
                "pathway": drugs["pathway"].to_numpy(),
                "evidence": evidence["evidence"].to_numpy(),
                "phase": evidence["phase"].to_numpy(),
            }
        )
        part = part.sort_values(["score", "effect_size", "drug"], ascending=[False, False, True], kind="stable")
        outranks = outranks_better(part["evidence"].to_numpy(), part["score"].to_numpy())
        parts.append(part.assign(rank=np.arange(1, len(part) + 1), outranks_better=outranks))
    table = pd.concat(parts, ignore_index=True)
    order = [design.names[one.group] for one in sides]
    table["group"] = pd.Categorical(table["group"], categories=order)
    table["direction"] = pd.Categorical(table["direction"], categories=["sensitive", "resistant", "none"])
    table["test"] = pd.Categorical(table["test"])
    table["evidence"] = pd.Categorical(table["evidence"], categories=LEVELS, ordered=True)
    return table
