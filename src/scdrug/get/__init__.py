"""Tidy tables of what :mod:`scdrug.tl` stored."""

from __future__ import annotations

from ._attribution import attribution_df, importance_df, rank_pathways_df
from ._controls import controls_df
from ._decision import combinations_df, doses_df, patients_df, rank_stability_df, therapeutic_window_df
from ._drug_evidence import drug_evidence_df
from ._drugs import drugs_df
from ._missing import missing_pairs_df
from ._perturbed import expression_df, perturbation_df
from ._rank import rank_drugs_df
from ._reliability import group_reliability_df
from ._response import group_response_df, response_df

__all__ = [
    "attribution_df",
    "combinations_df",
    "controls_df",
    "doses_df",
    "drug_evidence_df",
    "drugs_df",
    "expression_df",
    "group_reliability_df",
    "group_response_df",
    "importance_df",
    "missing_pairs_df",
    "patients_df",
    "perturbation_df",
    "rank_drugs_df",
    "rank_pathways_df",
    "rank_stability_df",
    "response_df",
    "therapeutic_window_df",
]
