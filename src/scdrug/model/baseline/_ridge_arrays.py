"""Kernel ridge regression as arrays by name: what predicts new lines, and drugs that were never screened."""

from __future__ import annotations

import numpy as np
from scipy.special import ndtri

from ...pp._profile import ReferenceProfile
from .._arrays import Array, with_prefix
from .._data import N_PROBABILITIES, Calibration
from ..prior._kernels import fit_gene_scaler
from ..prior._ridge import primal_weights
from ..prior._structures import StructureFit


def line_arrays(
    expression: np.ndarray, alpha: np.ndarray, intercept: np.ndarray, *, linear: bool
) -> dict[str, np.ndarray]:
    """Dual weights (lines × drugs) with the lines, or for the linear kernel weights on expression itself (genes × drugs)."""
    if not linear:
        return {"alpha": alpha, "intercept": intercept, "lines": expression}
    scaler = fit_gene_scaler(expression)
    weights = primal_weights(scaler.transform(expression), alpha) / scaler.scale[:, None]
    return {"weights": weights, "intercept": intercept - scaler.mean @ weights}


def wanted_arrays(*, linear: bool, drug_kernel: str | None, new_drugs: bool) -> dict[str, Array]:
    """Arrays of a fit in a file: those of :func:`line_arrays`, and what predicts new drugs from their structure."""
    rows, dual = ("genes", "weights") if linear else ("lines", "alpha")
    wanted = {dual: Array((rows, "drugs")), "intercept": Array(("drugs",))}
    if not linear or drug_kernel is not None:
        wanted["lines"] = Array(("lines", "genes"))
    if new_drugs:
        wanted["known"] = Array(("lines", "drugs"))
    if drug_kernel is not None:
        wanted |= with_prefix("structures.", StructureFit.wanted_arrays(drug_kernel))
    return wanted


def linear_calibration(
    profile: ReferenceProfile, weights: np.ndarray, intercept: np.ndarray, level: float
) -> Calibration:
    """Distribution of a linear model's predictions over the reference's factor model, where no line can be left out."""
    scaled = profile.sd[:, None] * weights
    spread = np.sqrt(((profile.loadings @ scaled) ** 2).sum(axis=0) + profile.noise * (scaled**2).sum(axis=0))
    steps = ndtri(np.linspace(0.002, 0.998, N_PROBABILITIES))
    quantiles = profile.mean @ weights + intercept + steps[:, None] * spread
    unknown = np.full(len(intercept), np.nan, dtype=np.float32)
    return Calibration(quantiles.astype(np.float32), unknown, level, held_out=False)
