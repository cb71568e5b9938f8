"""Tables of combinations of drugs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from ._clones import Clones
from ._kill import Doses, Kills, median_line
from ._stored import Predictions


def _joint(single: np.ndarray) -> np.ndarray:
    """Kill of drugs that act independently (groups × drugs → groups)."""
    return 1 - np.prod(1 - single, axis=1)


def combination_table(
    sets: list[np.ndarray],
    kills: Kills,
    clones: Clones,
    predictions: Predictions,
    doses: Doses,
    hits: np.ndarray | None,
) -> pd.DataFrame:
    ids, names = predictions.drugs.index.to_numpy(dtype=str), predictions.drugs["name"].to_numpy(dtype=str)
    malignant, normal = clones.malignant, clones.normal
    lower = np.where(np.isfinite(kills.lower), kills.lower, kills.estimate)
    of_line = median_line(predictions, doses)
    rows: list[dict[str, Any]] = []
    for rank, drugs in enumerate(sets, start=1):
        estimate, bound = _joint(kills.estimate[:, drugs]), _joint(lower[:, drugs])[malignant]
        worst = int(bound.argmin())
        by_drug = lower[np.ix_(malignant, drugs)]
        best = int(by_drug.min(axis=0).argmax())
        row = {
            "rank": rank,
            "drugs": " + ".join(ids[drugs]),
            "names": " + ".join(names[drugs]),
            "n_drugs": len(drugs),
            "worst_group": clones.names[malignant[worst]],
            "worst": estimate[malignant[worst]],
            "worst_lower": bound[worst],
            "mean": clones.weights(malignant) @ estimate[malignant],
            "median_line": 1 - np.prod(1 - of_line[drugs]),
            "null_lower": by_drug.max(axis=1).min(),
            "best_single": ids[drugs[best]],
            "best_single_lower": by_drug[:, best].min(),
            "normal": clones.weights(normal) @ estimate[normal] if len(normal) else np.nan,
            "n_beyond": kills.beyond[np.ix_(malignant, drugs)].any(axis=1).sum() if doses.are_tested else np.nan,
        }
        if hits is not None:
            hit = hits[:, drugs].any(axis=1)
            row["covered"] = hit[np.isin(clones.codes, malignant)].mean()
            row["covered_normal"] = hit[np.isin(clones.codes, normal)].mean() if len(normal) else np.nan
        rows.append(row)
    table = pd.DataFrame(rows)
    table["gain_over_null"] = table["worst_lower"] - table["null_lower"]
    table["gain"] = table["worst_lower"] - table["best_single_lower"]
    return table


def kill_table(sets: list[np.ndarray], kills: Kills, clones: Clones, predictions: Predictions) -> pd.DataFrame:
    ids, names = predictions.drugs.index.to_numpy(dtype=str), predictions.drugs["name"].to_numpy(dtype=str)
    parts = []
    for rank, drugs in enumerate(sets, start=1):
        members = [np.array([drug]) for drug in drugs]
        for chosen in [drugs, *members] if len(drugs) > 1 else [drugs]:
            parts.append(
                pd.DataFrame(
                    {
                        "rank": rank,
                        "drugs": " + ".join(ids[chosen]),
                        "names": " + ".join(names[chosen]),
                        "n_drugs": len(chosen),
                        "group": clones.names,
                        "n_cells": clones.response.n_cells,
                        "kill": _joint(kills.estimate[:, chosen]),
                        "lower": _joint(kills.lower[:, chosen]),
                        "upper": _joint(kills.upper[:, chosen]),
                    }
                )
            )
    return pd.concat(parts, ignore_index=True)


def dose_table(doses: Doses, predictions: Predictions, pool: np.ndarray) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "name": predictions.drugs["name"].to_numpy()[pool],
            "concentration": np.exp(doses.ln_concentration[pool]),
            "max_dose": np.exp(doses.ln_highest[pool]),
            "capped": doses.capped[pool],
            "hill": doses.hill[pool],
        },
        index=predictions.drugs.index[pool],
    )
