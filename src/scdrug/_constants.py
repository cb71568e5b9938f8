"""Names of everything that scdrug reads from and writes to AnnData objects.

One place, so that a key is spelled once: functions take `key_added` arguments whose defaults stand here.
"""

from __future__ import annotations

from typing import NamedTuple


class _Keys(NamedTuple):
    """Default keys of the data contract (see the *Data contract* page of the docs)."""

    # bulk reference
    RESPONSE: str = "response"  # obsm: DataFrame lines x drug ids, NaN = not measured
    SECOND: str = "second_response"  # obsm: the same drugs in a second screen, where there was one
    DRUGS: str = "drugs"  # uns: DataFrame by drug id
    EXPRESSION: str = "expression"  # uns: scale of X
    DATASET: str = "dataset"  # uns: card of a fetched data set
    DOMAIN: str = "domain"  # obs: "bulk" or "cells"
    PATHWAYS: str = "pathway_mask"  # varm: genes x pathways; uns: table of pathways
    # predictions
    PREDICTED: str = "predicted_response"  # obsm: DataFrame cells x drug ids; uns: provenance
    PERCENTILE: str = "response_percentile"  # obsm: DataFrame cells x drug ids, 0-1
    RELIABILITY: str = "response_reliability"  # obs: float, 0-1
    EVIDENCE: str = "response_evidence"  # obsm: DataFrame cells x what reliability and width follow from
    GROUPED: str = "group_response"  # uns: tables of tl.predict_groups
    HARMONIZED: str = "harmonization"  # uns: fitted parameters
    ACTIVITY: str = "pathway_activity"  # obsm: DataFrame cells x pathways, in standard deviations of the lines
    RANKED: str = "rank_drugs"  # uns: table of tl.rank_drugs
    PATHWAY_IG: str = "pathway_ig"  # obsm: f"{key}_{drug}", DataFrame cells x pathways; uns: tables
    GENE_IG: str = "gene_ig"  # obsm: f"{key}_{drug}", DataFrame cells x genes; uns: tables
    RANKED_PATHWAYS: str = "rank_pathways"  # uns: table of tl.rank_pathways


KEYS = _Keys()


def derived_keys(key: str) -> tuple[str, str]:
    """Return the keys of percentile (`obsm`) and reliability (`obs`) of the predictions stored under `key`."""
    if key == KEYS.PREDICTED:
        return KEYS.PERCENTILE, KEYS.RELIABILITY
    return f"{key}_percentile", f"{key}_reliability"


def evidence_key(key: str) -> str:
    """Return the key (`obsm`) of what reliability and width of the predictions stored under `key` follow from."""
    return KEYS.EVIDENCE if key == KEYS.PREDICTED else f"{key}_evidence"


#: Median reliability below which no ranking should be read.
MIN_RELIABILITY = 0.05

#: Expression scales that scdrug tells apart.
SCALES = ("counts", "linear", "log", "scaled")

DISCLAIMER = "For research use only. scdrug is not a medical device and must not guide the treatment of patients."
