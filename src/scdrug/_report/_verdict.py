"""What the cells say, and what they cannot say, in sentences."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from .._constants import KEYS
from ._controls import failed
from ._read import Results
from ._tables import fixed, signed
from ._top import top_drugs

_MAX_SENTENCES = 8
_NAMED, _MAX_NAMED = 3, 8
_FDR = 0.05
#: Below this correlation on held-out lines, predictions of a drug tell lines apart poorly.
_WEAK = 0.3
_OTHER = {
    "rank_stability": "whether other cells or donors would give the same drugs (scdrug.tl.rank_stability)",
    "therapeutic_window": "whether normal cells are less sensitive (scdrug.tl.therapeutic_window)",
    "combinations": "which drugs together leave no group alone (scdrug.tl.suggest_combinations)",
}
_LIMITS = (
    "The screen is of cell lines in a dish: nothing here speaks of toxicity, of the dose that reaches a tumour, of the immune system or "
    "the tissue around the cells, or of synergy."
)


def says(results: Results, n_drugs: int) -> list[str]:
    """What follows from the predictions, the rankings first."""
    found = _ranked(results, n_drugs) or _most_sensitive(results)
    stability = results.tables.get("rank_stability")
    if stability is not None:
        believed = ~stability["group"].astype(str).isin(set(results.refused["group"].astype(str)))
        found += _stable(stability[believed], results.params["rank_stability"])
    if "therapeutic_window" in results.tables:
        found.append(_window(results.tables["therapeutic_window"]))
    if "combinations" in results.tables:
        found.append(_combination(results.tables["combinations"]))
    return found or ["No group of cells can be ranked."]


def cannot_say(results: Results, n_drugs: int) -> list[str]:
    """What limits them."""
    verdict = str(results.provenance.get("verdict", "ok"))
    found = [] if verdict == "ok" else [verdict]
    for row in results.refused.itertuples():
        found.append(f"{row.group} ({row.n_cells:,} cells): predictions are not to be believed. {row.reason}")
    found = _shortened(found, "groups")
    found += _uncertain(results, n_drugs)
    window = results.tables.get("therapeutic_window")
    if window is not None and not _above_zero(window):
        found.append(
            "Whether malignant cells are more sensitive than normal ones: the interval of the window holds zero for each of "
            f"{len(window):,} drugs."
        )
    found += _replicates(results)
    found += _weak_evidence(results, n_drugs)
    missing = [question for key, question in _OTHER.items() if key not in results.tables]
    if results.controls is None:
        missing.append("whether the recipe of the model is beyond chance (scdrug.benchmark.check_default)")
    elif failed(results.controls):
        found.append(
            f"Whether the recipe of the model is beyond chance: not by each control, see {_listed(failed(results.controls))}."
        )
    if missing:
        found.append(f"Not computed: {'; '.join(missing)}.")
    return [*found, _LIMITS]


def _ranked(results: Results, n_drugs: int) -> list[str]:
    found = []
    for group, rows in top_drugs(results, n_drugs).items():
        params = results.params[KEYS.RANKED]
        all_rows = results.ranking[results.ranking["group"].astype(str) == group]
        reference = "all other cells" if str(params["reference"]) == "rest" else str(params["reference"])
        first = all_rows.iloc[0]
        head = f"{group} ({int(first['n_cells']):,} cells, reliability {fixed(float(first['reliability']))})"
        if len(rows) == 0:
            found.append(f"{head}: predicted to be more sensitive than {reference} to no drug.")
            continue
        drugs = [
            f"{row.name_} (Δ {signed(row.score)}, percentile {fixed(row.percentile)})"
            for row in rows.rename(columns={"name": "name_"}).head(_NAMED).itertuples()
        ]
        found.append(
            f"{head}: predicted to be more sensitive than {reference}, above all to {_listed(drugs)}. {_differ(all_rows)}"
        )
    return _shortened(found, "groups")


def _differ(rows: pd.DataFrame) -> str:
    tested = rows["fdr"].notna()
    if not tested.any():
        return "There are too few replicates for a test."
    n = int((rows["fdr"] <= _FDR).sum())
    return f"{n:,} of {int(tested.sum()):,} drugs differ, in either direction, at a false discovery rate of {_FDR:.0%}."


def _most_sensitive(results: Results) -> list[str]:
    """Without a ranking: the drugs that groups, or all cells, are most sensitive to."""
    if results.response is None or results.groups is None:
        best = results.overall.sort_values(ascending=False, kind="stable").head(_NAMED)
        drugs = [f"{results.drugs.loc[drug, 'name']} (percentile {fixed(value)})" for drug, value in best.items()]
        return [f"All cells: most sensitive, compared with cell lines, to {_listed(drugs)}. No drugs were ranked."]
    found = []
    believed = results.groups[~results.groups["refused"].to_numpy(dtype=bool)]
    for row in believed.itertuples():
        rows = results.response[results.response["group"].astype(str) == str(row.group)]
        best = rows.sort_values("percentile", ascending=False, kind="stable").head(_NAMED)
        drugs = [
            f"{name} (percentile {fixed(value)})" for name, value in zip(best["name"], best["percentile"], strict=True)
        ]
        found.append(
            f"{row.group} ({row.n_cells:,} cells, reliability {fixed(row.reliability)}): most sensitive, compared with cell lines, to "
            f"{_listed(drugs)}."
        )
    return _shortened(found, "groups")


def _stable(table: pd.DataFrame, params: object) -> list[str]:
    top, threshold = int(params["top"]), float(params["threshold"])  # type: ignore[index]
    found = []
    for group, rows in table.groupby(table["group"].astype(str), sort=False):
        first = rows[rows["rank"] <= top]
        n = int(first["stable"].astype(bool).sum())
        found.append(
            f"{group}: {n} of its first {top} drugs stay among them in at least {threshold:.0%} of the resamples of cells and donors."
        )
    return _shortened(found, "groups")


def _window(table: pd.DataFrame) -> str:
    best = table.iloc[0]
    interval = f", {fixed(best['lower'])} to {fixed(best['upper'])}" if np.isfinite(best["lower"]) else ""
    donors = int(best["n_samples"])
    n = _above_zero(table)
    above = f" For {n:,} of {len(table):,} drugs the interval lies above zero." if n else ""
    return (
        f"The widest window between malignant and normal cells is that of {best['name']} ({signed(best['window'])}{interval}; "
        f"{donors} donor{'s' if donors != 1 else ''}).{above}"
    )


def _above_zero(table: pd.DataFrame) -> int:
    return int((table["lower"] > 0).sum())


def _combination(table: pd.DataFrame) -> str:
    best = table.iloc[0]
    kill = f"{best['worst']:.0%} of {best['worst_group']}, the group that it kills least"
    if np.isfinite(best["worst_lower"]):
        kill += f" (at least {best['worst_lower']:.0%})"
    if np.isfinite(best["median_line"]):
        kill += f", against {best['median_line']:.0%} of a cell line in the middle of the screen"
    return f"Of the combinations looked at, {best['names']} comes first: {kill}. Kills are multiplied as if the drugs acted independently."


def _uncertain(results: Results, n_drugs: int) -> list[str]:
    """How many intervals of leading drugs exclude an ordinary line."""
    if results.ranking is None:
        return []
    if not results.ranking["half_width"].notna().any():
        return ["The model states no intervals, so it is not known how far off predictions are."]
    if "median_of_lines" not in results.drugs:
        return []
    sign = -1 if str(results.provenance.get("direction", "")).startswith("lower") else 1
    found = []
    for group, rows in top_drugs(results, n_drugs).items():
        if len(rows) == 0:
            continue
        ordinary = results.drugs["median_of_lines"].reindex(rows["drug"].astype(str)).to_numpy(dtype=float)
        distance = sign * (rows["response"].to_numpy(dtype=float) - ordinary)
        n = int((distance > rows["half_width"].to_numpy(dtype=float)).sum())
        level = float(results.provenance.get("interval_level", np.nan))
        if n == len(rows):
            continue
        name = f"{level:.0%} interval" if np.isfinite(level) else "interval"
        found.append(
            f"{group}: whether it is more sensitive than an ordinary cell line. Of its first {len(rows)} drugs, the {name} of the response excludes "
            f"the median line for {n or 'none'}."
        )
    return _shortened(found, "groups")


def _replicates(results: Results) -> list[str]:
    if results.ranking is None:
        return []
    if str(results.params[KEYS.RANKED].get("replicates")) == "cells":
        return [
            "What holds for other patients: cells were compared, which are not independent replicates, so that the false discovery rate says how "
            "well these cells separate and no more."
        ]
    return []


def _weak_evidence(results: Results, n_drugs: int) -> list[str]:
    """Leading drugs whose predictions did poorly, or were never tried, on lines that were held out."""
    ranked = dict.fromkeys(drug for rows in top_drugs(results, n_drugs).values() for drug in rows["drug"].astype(str))
    leading = [drug for drug in ranked if drug in results.drugs.index]
    name = lambda drug: str(results.drugs.loc[drug, "name"])
    r = results.drugs.get("held_out_r", pd.Series(np.nan, results.drugs.index)).reindex(leading).astype(float)
    if "evidence" in results.drugs:
        words = results.drugs["evidence"].reindex(leading).astype(str)
        weak = [drug for drug in leading if words[drug] in ("weak", "none")]
    else:
        weak = [drug for drug in leading if r[drug] < _WEAK]
    if not weak:
        return []
    told = [name(drug) + (f" (r {fixed(r[drug])})" if np.isfinite(r[drug]) else "") for drug in weak]
    more = f" and {len(told) - _MAX_NAMED} more" if len(told) > _MAX_NAMED else ""
    return [
        f"The evidence for {len(weak)} of {len(leading)} leading drugs is weak, by how predictions follow cell lines that were held out: "
        f"{', '.join(told[:_MAX_NAMED])}{more}."
    ]


def _listed(items: Sequence[str]) -> str:
    return items[0] if len(items) == 1 else ", ".join(items[:-1]) + " and " + items[-1]


def _shortened(sentences: list[str], what: str) -> list[str]:
    if len(sentences) <= _MAX_SENTENCES:
        return sentences
    return [*sentences[:_MAX_SENTENCES], f"{len(sentences) - _MAX_SENTENCES} more {what}: see the tables."]
