"""Which drugs may stand in a combination, and which not together."""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence

import numpy as np
import pandas as pd

from .._validate import examples
from ..pp._drugs import resolve_drugs
from ._drug_evidence import evidence_of
from ._kill import Doses
from ._stored import Predictions

#: Classes that say nothing of what a drug does.
_NO_CLASS = re.compile(r"other\b.*|unclassified|unknown|none|", re.IGNORECASE)


def drug_pool(
    predictions: Predictions, doses: Doses, exclude: str | Sequence[str], acts: np.ndarray, k: int, min_evidence: str
) -> tuple[np.ndarray, list[str]]:
    """Positions of the drugs that may be combined, and ids of those left out for lack of evidence.

    `acts` tells which drugs do enough in a clone.

    Raises
    ------
    KeyError
        If a drug of `exclude` is unknown.
    ValueError
        If fewer than `k` drugs are left.

    Warns
    -----
    UserWarning
        If drugs are left out that the caller did not exclude.
    """
    drugs = predictions.drugs
    keep = np.isfinite(doses.ln_concentration)
    if not keep.all() and doses.source == "given":
        lacking = drugs["name"].to_numpy()[~keep]
        text = f"Left out {len(lacking)} drugs that `concentrations` does not name: {examples(lacking, 3)}."
        warnings.warn(text, UserWarning, stacklevel=3)
    stated = np.isfinite(predictions.half_width)
    if not stated.any():
        warnings.warn(
            "The model states no interval: combinations are ordered by the estimate itself, which says nothing of how certain it is.",
            UserWarning,
            stacklevel=3,
        )
    elif (keep & ~stated).any():
        lacking = drugs["name"].to_numpy()[keep & ~stated]
        text = (
            f"Left out {len(lacking)} drugs without an interval, of which little was measured: {examples(lacking, 3)}."
        )
        warnings.warn(text, UserWarning, stacklevel=3)
        keep &= stated
    if len(exclude):
        keep &= ~drugs.index.isin(resolve_drugs(exclude, drugs))
    words = evidence_of(drugs)["evidence"]
    # of drugs that nothing is stated of, as those of networks, nothing speaks against them either
    weak = ((words < min_evidence) & (words != "unknown")).to_numpy()
    short = drugs.index[keep & acts & weak]
    if len(short):
        named = examples(drugs.loc[short, "name"])
        text = f"Left out {len(short)} drugs whose evidence is below {min_evidence!r}: {named}. See scdrug.get.drug_evidence_df."
        warnings.warn(text, UserWarning, stacklevel=3)
    keep &= ~weak
    pool = np.flatnonzero(keep & acts)
    if len(pool) < k:
        idle = f"; {int((keep & ~acts).sum())} more reach `min_percentile` in no clone" if (keep & ~acts).any() else ""
        raise ValueError(
            f"`k={k}`, but {len(pool)} drugs are left to combine ({len(drugs)} were predicted{idle}). Lower `k`, `min_percentile` or "
            "`min_evidence`, name more drugs in `concentrations`, or exclude fewer."
        )
    return pool, short.astype(str).tolist()


def families(drugs: pd.DataFrame, distinct: Sequence[str]) -> list[np.ndarray]:
    """Positions of drugs that share a target or a pathway, family by family."""
    members: dict[tuple[str, str], list[int]] = {}
    for number, (targets, pathway) in enumerate(zip(drugs["targets"], drugs["pathway"], strict=True)):
        named = [("pathway", str(pathway))] if "pathway" in distinct else []
        if "target" in distinct:
            named += [("target", part) for part in re.split(r"[,;|]", str(targets))]
        for kind, name in named:
            if not _NO_CLASS.fullmatch(name.strip()):
                members.setdefault((kind, name.strip().casefold()), []).append(number)
    return [np.unique(numbers) for numbers in members.values() if len(set(numbers)) > 1]
