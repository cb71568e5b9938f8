"""How well predictions of a drug are borne out, as one word, and what is known of the drug beside that."""

from __future__ import annotations

import numpy as np
import pandas as pd

from ..pp._drug_names import drug_facts

#: Words for the evidence of a drug, weakest first; "unknown" stands outside of the order.
LEVELS = ("unknown", "none", "weak", "some", "strong")
#: Correlation with held-out responses, at the lower end of its interval, from which a drug can be predicted, or a little.
PREDICTED, WEAK = 0.4, 0.2
#: Correlation with a second screen from which this agrees, and below which it does not.
AGREES, DISAGREES = 0.4, 0.2
#: Share of a drug's score from which another one is nearly as high.
NEARLY = 0.9
#: One-sided 95 % quantile of the standard normal distribution.
_Z = 1.645
#: Measures of evidence that a table of drugs may hold.
MEASURES = ("n_lines", "held_out_r", "screen_r", "nci60_r")


def evidence_of(drugs: pd.DataFrame) -> pd.DataFrame:
    """Put together what is known of drugs.

    Parameters
    ----------
    drugs
        Drugs of predictions or of a model, by id, with `name`, `targets` and `pathway`.

    Returns
    -------
    In the same order, the columns of :func:`scdrug.get.drug_evidence_df` but `indicated`.
    """
    facts = drug_facts(drugs["name"]).set_index(drugs.index)
    measures = {column: _numbers(drugs, column) for column in MEASURES}
    new = (_texts(drugs, "nearest") != "") & np.isnan(measures["n_lines"])
    applicable = ~new | _booleans(drugs, "applicable")
    return pd.DataFrame(
        {
            "name": drugs["name"],
            "evidence": pd.Categorical(grade(**measures, new=new, applicable=applicable), LEVELS, ordered=True),
            "phase": facts["phase"],
            "first_approval": facts["first_approval"],
            "indications": facts["indications"],
            # what the model was trained with comes before the bundled table
            **{column: drugs[column].where(drugs[column] != "", facts[column]) for column in ("targets", "pathway")},
            **measures,
            "applicable": applicable,
        },
        index=drugs.index,
    )


def grade(
    *,
    n_lines: np.ndarray,
    held_out_r: np.ndarray,
    screen_r: np.ndarray,
    nci60_r: np.ndarray,
    new: np.ndarray,
    applicable: np.ndarray,
) -> np.ndarray:
    """Word of :data:`LEVELS` for each drug, see :func:`scdrug.get.drug_evidence_df`.

    Parameters
    ----------
    n_lines
        Lines that the drug was measured in (drugs, NaN where unknown).
    held_out_r, screen_r, nci60_r
        Correlations over lines (drugs, NaN where unknown).
    new
        Whether the drug was not measured at all (drugs).
    applicable
        Whether the drug resembles one that was trained on (drugs).
    """
    r = np.clip(held_out_r, -0.999, 0.999)
    known = np.isfinite(n_lines) & (n_lines > 3)
    low = np.where(known, np.tanh(np.arctanh(r) - _Z / np.sqrt(np.where(known, n_lines, 4) - 3)), r)
    agreement = np.where(np.isfinite(screen_r), screen_r, nci60_r)
    return np.select(
        [
            ~applicable,
            new,
            np.isnan(low),
            low < WEAK,
            (low >= PREDICTED) & (agreement >= AGREES),
            (low >= PREDICTED) & ~(agreement < DISAGREES),
        ],
        ["none", "weak", "unknown", "none", "strong", "some"],
        default="weak",
    )


def outranks_better(evidence: np.ndarray, score: np.ndarray) -> np.ndarray:
    """Whether a drug of better evidence is ranked shortly below each drug (drugs).

    Parameters
    ----------
    evidence
        Words of :data:`LEVELS` (drugs); "unknown" neither outranks nor is outranked.
    score
        What the drugs are ranked by, positive = group is more sensitive (drugs). Others, and those with a score that is not nearly as
        high, are no rivals.

    Examples
    --------
    >>> import numpy as np
    >>> from scdrug.tl._drug_evidence import outranks_better
    >>> outranks_better(np.array(["weak", "strong", "some"]), np.array([0.5, 0.48, 0.2])).tolist()
    [True, False, False]
    """
    level, score = np.array([LEVELS.index(word) for word in evidence]), np.asarray(score, dtype=float)
    near = (score[None] >= NEARLY * score[:, None]) & (score[None] <= score[:, None]) & (score[:, None] > 0)
    return (near & (level[None] > level[:, None]) & (level[:, None] > 0)).any(axis=1)


def _numbers(drugs: pd.DataFrame, column: str) -> np.ndarray:
    if column not in drugs:
        return np.full(len(drugs), np.nan)
    return pd.to_numeric(drugs[column], errors="coerce").to_numpy(dtype=float, na_value=np.nan)


def _texts(drugs: pd.DataFrame, column: str) -> np.ndarray:
    if column not in drugs:
        return np.full(len(drugs), "", dtype=object)
    return drugs[column].astype(object).where(drugs[column].notna(), "").astype(str).to_numpy()


def _booleans(drugs: pd.DataFrame, column: str) -> np.ndarray:
    """True where nothing else is said."""
    return ~np.isin(_texts(drugs, column), ("False", "false", "0", "0.0"))
