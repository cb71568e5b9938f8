"""Sections of the page that are tables: ranked drugs, and what else was computed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from .._constants import KEYS
from ._read import Results
from ._tables import Column, Table, fixed, show


@dataclass(frozen=True)
class Section:
    """A heading, what to know before reading, and a table."""

    title: str
    notes: list[str]
    table: Table


_GROUP = Column("group", "group", "Group of cells.")
_DRUG = Column("name", "drug", "Name in the screen.")
_RANK = Column("rank", "#", "Rank within the group; 1 = most selective.", "rank")
_ABOUT = (
    Column("targets", "targets", "What the drug is made to inhibit."),
    Column("pathway", "pathway", "Pathway of its targets."),
)
#: Evidence for a drug, whatever of it the model or the package knows.
_EVIDENCE = (
    Column("evidence", "evidence", "How good the evidence for predictions of this drug is: strong, some, weak, none or unknown.", "level"),
    Column("outranks_better", "better below", "Whether a drug of better evidence, with nearly the same Δ, is ranked below.", "yes"),
    Column("held_out_r", "held-out r", "Correlation of predictions with the screen, on cell lines that were not trained on.", "number"),
    Column("screen_r", "releases r", "Correlation of two releases of the screen, which limits what any model can reach.", "number"),
    Column("nci60_r", "NCI-60 r", "Correlation with an independent screen of other laboratories.", "number"),
    Column("phase", "phase", "Highest clinical phase, in any disease; 4 = approved.", "rank"),
    Column("first_approval", "approved", "Year of the first approval.", "rank"),
    Column("indications", "indications", "Types of tumours that it is approved for, as codes of TCGA; not complete."),
)  # fmt: skip
_RANKING = (
    _GROUP, _RANK, _DRUG,
    Column("score", "Δ", "Group minus what it is compared with; positive = more sensitive.", "signed"),
    Column("percentile", "percentile", "Share of cell lines that are less sensitive; 1 = more sensitive than all.", "bar"),
    Column("response", "response", "Mean over the cells of the group, in the unit of the screen; lower ln IC50 = more sensitive.", "number"),
    Column("interval", "interval", "Prediction interval of the response of the group."),
    Column("fdr", "FDR", "False discovery rate over the drugs of a group.", "p"),
    Column("stability", "stability", "Share of resamples in which the drug is among the top ones.", "percent"),
    Column("window", "window", "Percentile of malignant minus normal cells; positive = malignant more sensitive.", "signed"),
    *_EVIDENCE, *_ABOUT,
)  # fmt: skip
_WINDOW = (
    _RANK, _DRUG,
    Column("window", "window", "Percentile of malignant minus normal cells, mean over donors; positive = malignant more sensitive.", "signed"),
    Column("interval", "interval", "Interval of the window, over donors and of the model."),
    Column("percentile_malignant", "malignant", "Percentile of malignant cells.", "bar"),
    Column("percentile_normal", "normal", "Percentile of normal cells.", "bar"),
    Column("share_malignant_above", "malignant above", "Share of malignant cells at or above the threshold.", "percent"),
    Column("share_normal_below", "normal below", "Share of normal cells below the threshold.", "percent"),
    Column("n_samples", "donors", "Donors with both kinds of cells.", "count"),
    *_ABOUT,
)  # fmt: skip
_COMBINATIONS = (
    _RANK,
    Column("names", "drugs", "Drugs of the combination."),
    Column("worst_group", "spared most", "Group that is killed least, at the lower bound."),
    Column("worst", "its kill", "Kill of that group, if drugs act independently.", "percent"),
    Column("worst_lower", "at least", "The same at the lower bound of the interval.", "percent"),
    Column("null_lower", "null", "Lower bound if each group had its best single drug only.", "percent"),
    Column("best_single_lower", "best single", "Lower bound of the better drug of the combination alone.", "percent"),
    Column("median_line", "median line", "Kill of a cell line in the middle of the screen, to compare with.", "percent"),
    Column("mean", "all cells", "Kill of all malignant cells.", "percent"),
    Column("normal", "normal cells", "Kill of the normal cells.", "percent"),
    Column("n_beyond", "beyond doses", "Groups for which the IC50 of one of the drugs lies beyond the doses that were tested.", "count"),
    Column("covered", "covered", "Share of malignant cells that one of the drugs hits.", "percent"),
    Column("covered_normal", "normal covered", "Share of normal cells that one of the drugs hits.", "percent"),
)  # fmt: skip
_STABILITY = (
    _GROUP, _DRUG,
    Column("stability", "stability", "Share of resamples in which the drug is among the top ones.", "bar"),
    Column("stable", "stable", "Whether that reaches the threshold.", "yes"),
    Column("rank", "rank", "With all cells.", "rank"),
    Column("rank_median", "median rank", "Over resamples.", "rank"),
    Column("rank_low", "5%", "5% quantile of the rank.", "rank"),
    Column("rank_high", "95%", "95% quantile of the rank.", "rank"),
    Column("expected_false", "false picks", "Bound on the expected number of false picks among drugs as stable.", "number"),
)  # fmt: skip
_PATHWAYS = (
    _GROUP, _RANK,
    Column("pathway", "pathway", "Pathway or gene."),
    Column("kind", "kind", "What it is."),
    Column("score", "Δ contribution", "Group minus what it is compared with; positive = makes the group more sensitive.", "signed"),
    Column("supports", "supports", "The sign of Δ in words."),
    Column("fdr", "FDR", "False discovery rate over pathways.", "p"),
    Column("sign_agreement", "agreement", "Share of models in which the difference has this sign.", "percent"),
    Column("stability", "stability", "Share of Δ that would come back with other trainings.", "percent"),
)  # fmt: skip
_PATIENTS = (
    Column("patient", "patient", "Donor of the cells."),
    _DRUG,
    Column("percentile", "percentile", "Mean over clones, weighted by size.", "bar"),
    Column("percentile_worst", "worst clone", "Percentile of the clone that is least sensitive.", "bar"),
    Column("worst_clone", "which", "That clone."),
    *_ABOUT,
)  # fmt: skip


def ranked_drugs(results: Results) -> pd.DataFrame | None:
    """Ranking with intervals, evidence, stability and window beside it, as far as there are any."""
    if results.ranking is None:
        return None
    table = results.ranking.copy()
    for column in _EVIDENCE:
        if column.name in results.drugs and column.name not in table:
            table[column.name] = results.drugs[column.name].reindex(table["drug"].astype(str)).to_numpy()
    table["lower"] = table["response"] - table["half_width"]
    table["upper"] = table["response"] + table["half_width"]
    stability, window = results.tables.get("rank_stability"), results.tables.get("therapeutic_window")
    if stability is not None and _same_question(results):
        found = stability.assign(group=stability["group"].astype(str))[["group", "drug", "stability"]]
        table["group"] = table["group"].astype(str)
        table = table.merge(found, on=["group", "drug"], how="left")
    if window is not None:
        table["window"] = window.set_index("drug")["window"].reindex(table["drug"].astype(str)).to_numpy()
    return table


def sections(results: Results) -> list[Section]:
    """All tables that there are results for, but for the groups."""
    found = []
    ranked = ranked_drugs(results)
    if ranked is not None:
        params = results.params[KEYS.RANKED]
        table = show(_with_interval(ranked), _RANKING, id="ranked_drugs", caption="Ranked drugs of each group")
        notes = [f"Groups of {params['groupby']!r}, compared with {_reference(params)}.", _once(params.get("note"))]
        found.append(Section("Ranked drugs", notes, table))
    for key, title, columns, caption in (
        ("therapeutic_window", "Therapeutic window", _WINDOW, "Malignant against normal cells"),
        ("combinations", "Combinations", _COMBINATIONS, "Drugs that together leave no group alone"),
        ("rank_stability", "Stability", _STABILITY, "Ranks when donors, cells and depth are drawn again"),
        ("patient_response", "Patients", _PATIENTS, "Scores of patients"),
        (KEYS.RANKED_PATHWAYS, "Pathways", _PATHWAYS, "What sets the groups apart"),
    ):
        if key in results.tables:
            table = show(_with_interval(_that_comes_back(results.tables[key])), columns, id=key, caption=caption)
            found.append(Section(title, _notes(key, results), table))
    return found


def groups_table(results: Results) -> Table | None:
    """How far to believe each group."""
    if results.groups is None:
        return None
    columns = (
        _GROUP,
        Column("n_cells", "cells", "Cells with a prediction.", "count"),
        Column("reliability", "reliability", "0-1; groups below 0.05 are refused.", "bar"),
        Column("reason", "what limits it", "In a sentence."),
    )
    table = show(results.groups, columns, id="groups", caption=f"Reliability of the groups of {results.groupby!r}")
    return Table(**{**vars(table), "groups": []})


def _notes(key: str, results: Results) -> list[str]:
    params = results.params[key]
    notes = [_once(params.get("note"))]
    if key == "rank_stability":
        notes = [
            f"{params['n_resamples']} resamples; top {params['top']}; stable from a share of {float(params['threshold']):.0%}. Stable is not "
            "true: a model that errs in the same way each time is stable."
        ]
    elif key == "combinations":
        notes = [_concentrations(params), *notes]
    elif key == KEYS.RANKED_PATHWAYS:
        drug = str(params.get("drug", ""))
        notes = [f"Contributions to the prediction of {drug}." if drug else "", *notes]
        if "repeats" in results.tables[key]:
            notes.append("Pathways whose difference would not come back with other trainings are left out.")
    elif key == "patient_response":
        notes = [
            "The least of several uncertain numbers is too low, the more so the more clones there are: read mean and worst clone."
        ]
    return [note for note in notes if note]


def _concentrations(params: Mapping[str, Any]) -> str:
    told = f"Concentrations: {params.get('concentrations', 'not known')}."
    if str(params.get("tested_doses", "not known")) == "not known":
        return (
            f"{told} The doses that were tested are not known, so that an IC50 beyond them is not told from the others."
        )
    return f"{told} None lies beyond the doses that were tested; where an IC50 does, it is an extrapolation."


def _that_comes_back(table: pd.DataFrame) -> pd.DataFrame:
    """A table without pathways or genes that would not come back with other trainings."""
    if "repeats" not in table:
        return table
    named = table["kind"] == "pathway" if "kind" in table else True
    return table[table["repeats"].astype(bool) | ~np.asarray(named)]


def _with_interval(table: pd.DataFrame) -> pd.DataFrame:
    if "lower" not in table or "upper" not in table:
        return table
    texts = [
        "" if pd.isna(low) or pd.isna(high) else f"{fixed(low)} to {fixed(high)}"
        for low, high in zip(table["lower"], table["upper"], strict=True)
    ]
    return table.assign(interval=texts)


def _same_question(results: Results) -> bool:
    """Whether stability is of the ranking that is shown."""
    one, other = results.params["rank_stability"], results.params[KEYS.RANKED]
    return all(str(one.get(name)) == str(other.get(name)) for name in ("groupby", "reference"))


def _reference(params: object) -> str:
    reference = str(params["reference"])  # type: ignore[index]
    return "all other cells" if reference == "rest" else repr(reference)


def _once(note: object) -> str:
    return "" if note is None or str(note) == "None" else str(note)
