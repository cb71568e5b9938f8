"""What any predictor reaches on the labels of an assay: the measure of a confound."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ._cells import principal_components, total_signal
from ._labels import (
    column_aurocs,
    either_direction,
    label_overlap,
    permuted_auroc,
    share_below,
    summary_of,
    within_groups,
)
from ._table import EXPRESSION, Row

if TYPE_CHECKING:
    from anndata import AnnData

_N_COMPONENTS = 5
_N_PERMUTATIONS = 1000
_COINCIDE = 0.999
_EITHER = "the better of both directions"


@dataclass(frozen=True)
class LabelledCells:
    """Cells that are labelled for one drug."""

    cells: AnnData
    #: True = sensitive.
    sensitive: np.ndarray
    #: Number of each cell's treatment, and the column it comes from.
    treatment: np.ndarray | None
    treatment_key: str | None
    #: Id of the drug, and of drugs with another mechanism.
    drug: str
    controls: list[str]


def confound_rows(assay: LabelledCells, model: str, seed: int) -> list[Row]:
    """Say whether label and treatment coincide.

    Parameters
    ----------
    assay
        Labelled cells.
    model, seed
        Columns of the table.
    """
    if assay.treatment is None:
        note = "treatment or batch is not known (`treatment_key`): it may explain the labels"
        return [Row(model, seed, "confound", "overlap", math.nan, note=note)]
    overlap = label_overlap(assay.sensitive, assay.treatment)
    key = assay.treatment_key
    if math.isnan(overlap):
        note = f"all cells have one value of {key!r}"
    elif overlap >= _COINCIDE:
        note = f"label and {key!r} coincide: whatever differs between these groups separates the classes"
    else:
        note = f"label and {key!r} overlap in part: see the score within treatment"
    return [Row(model, seed, "confound", "overlap", overlap, note=note)]


def expression_rows(assay: LabelledCells, seed: int, options: Mapping[str, Any]) -> list[Row]:
    """Tell the classes apart by plain features of expression, without a model.

    Parameters
    ----------
    assay
        Labelled cells.
    seed
        Column of the table.
    options
        Arguments of :func:`scdrug.tl.predict_response` that say where expression is and on which scale.
    """
    layer, scale = options.get("layer"), options.get("scale", "auto")
    components = principal_components(assay.cells, layer=layer, scale=scale, n_components=_N_COMPONENTS)
    features = np.column_stack([components, total_signal(assay.cells, layer=layer)])
    names = [*(f"principal component {number + 1}" for number in range(components.shape[1])), "total signal"]
    values = either_direction(column_aurocs(features, assay.sensitive))
    return [Row(EXPRESSION, seed, name, "auroc", float(value), note=_EITHER) for name, value in zip(names, values)]


def other_drug_rows(
    assay: LabelledCells, score: np.ndarray, drugs: pd.Index, table: pd.DataFrame, model: str, seed: int
) -> list[Row]:
    """Set a drug beside the other drugs of the same model, and beside chance.

    Parameters
    ----------
    assay
        Labelled cells.
    score
        Predictions, higher = more sensitive, in units of each drug's spread (cells × drugs).
    drugs
        Ids of the drugs.
    table
        Table of drugs; `pathway` is used where it is given.
    model, seed
        Columns of the table.
    """
    column = drugs.get_loc(assay.drug)
    values = column_aurocs(score, assay.sensitive)
    other = np.arange(len(drugs)) != column
    rows = []
    pathway = (
        table["pathway"].astype(object).reindex(drugs).fillna("").astype(str).to_numpy() if "pathway" in table else None
    )
    groups = {"other drugs": other}
    if pathway is not None and pathway[column]:
        groups["same pathway"] = other & (pathway == pathway[column])
        groups["other pathways"] = other & (pathway != pathway[column]) & (pathway != "")
    for level, mask in groups.items():
        note = "" if mask.any() else "there are none"
        if level != "other drugs":
            note = note or f"pathway of the drug: {pathway[column]}"  # type: ignore[index]
        rows.append(Row(model, seed, level, "n", int(mask.sum())))
        rows.append(Row(model, seed, level, "auroc", *summary_of(values[mask]), note))
        rows.append(Row(model, seed, level, "percentile", share_below(values[column], values[mask]), note=note))
    if other.any():
        mean = column_aurocs(score[:, other].mean(axis=1, keepdims=True), assay.sensitive)[0]
        rows.append(Row(model, seed, "mean of other drugs", "auroc", float(mean)))
    for drug in assay.controls:
        rows.append(Row(model, seed, f"control drug: {drug}", "auroc", float(values[drugs.get_loc(drug)])))
    chance = permuted_auroc(score[:, column], assay.sensitive, n_permutations=_N_PERMUTATIONS)
    low, high = np.quantile(chance, [0.025, 0.975])
    rows.append(Row(model, seed, "shuffled labels", "auroc", float(chance.mean()), float(low), float(high)))
    return rows + _within_rows(assay, score[:, column], model, seed)


def _within_rows(assay: LabelledCells, score: np.ndarray, model: str, seed: int) -> list[Row]:
    if assay.treatment is None:
        return []
    value, n_groups = within_groups(score, assay.sensitive, assay.treatment)
    note = f"{n_groups} groups" if n_groups else f"no value of {assay.treatment_key!r} has cells of both classes"
    return [Row(model, seed, "within treatment", "auroc", value, note=note)]
