"""Kernel ridge regression as arrays by name: what predicts new lines, and drugs that were never screened."""

from __future__ import annotations

import numpy as np
from scipy.special import ndtri

from ...pp._profile import ReferenceProfile
from .._arrays import Array
from .._data import N_PROBABILITIES, Calibration
from ..prior._decomposition import KernelDecomposition
from ..prior._drug_kernels import drug_similarity, feature_arrays
from ..prior._kernels import fit_gene_scaler
from ..prior._kronecker import fit_unseen_drugs
from ..prior._ridge import primal_weights


def line_arrays(
    expression: np.ndarray, alpha: np.ndarray, intercept: np.ndarray, *, linear: bool, prefix: str = ""
) -> dict[str, np.ndarray]:
    """Dual weights (lines × drugs) with the lines, or for the linear kernel weights on expression itself (genes × drugs)."""
    if not linear:
        return {f"{prefix}alpha": alpha, f"{prefix}intercept": intercept, "lines": expression}
    scaler = fit_gene_scaler(expression)
    weights = primal_weights(scaler.transform(expression), alpha) / scaler.scale[:, None]
    return {f"{prefix}weights": weights, f"{prefix}intercept": intercept - scaler.mean @ weights}


def drug_arrays(
    expression: np.ndarray,
    response: np.ndarray,
    features: dict[str, np.ndarray],
    decomposition: KernelDecomposition,
    *,
    drug_ridge: float | str,
    ridge: float,
    linear: bool,
) -> dict[str, np.ndarray]:
    """What is needed to predict drugs from their structure.

    Parameters
    ----------
    expression
        Lines × genes.
    response, features
        Lines × drugs with a structure, and features of these by name.
    decomposition
        Of the kernel between lines.
    drug_ridge, ridge
        Ridge on similarity of structures, and of the product kernel.
    linear
        Whether the kernel between lines is the linear one.
    """
    fit = fit_unseen_drugs(response, drug_similarity(features), decomposition, drug_ridge=drug_ridge, ridge=ridge)  # type: ignore[arg-type]
    assert fit.line_effect is not None
    assert fit.residual is not None
    # one more column: the effect of the line itself, common to all new drugs
    dual = np.column_stack([fit.residual, fit.line_effect.alpha])
    constant = np.append(np.zeros(response.shape[1]), fit.line_effect.intercept)
    return {
        **features,
        **line_arrays(expression, dual, constant, linear=linear, prefix="unseen_"),
        "drug_alpha": fit.drug_effect.alpha[:, 0],
        "drug_intercept": fit.drug_effect.intercept,
        "known_line": fit.effects.line,
        "known_alpha": fit.line_residual.alpha,
    }


def new_drug_arrays(stored: dict[str, np.ndarray], features: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Arrays that predict drugs with these features, from what :func:`drug_arrays` returned."""
    cross = drug_similarity({name: stored[name] for name in features}, features)
    mix = np.column_stack([cross, np.ones(len(cross))]).T  # (drugs + 1) × new drugs
    effect = cross @ stored["drug_alpha"] + stored["drug_intercept"]
    arrays = {"intercept": stored["unseen_intercept"] @ mix + effect}
    if "unseen_weights" in stored:
        arrays["weights"] = stored["unseen_weights"] @ mix
    else:
        arrays |= {"alpha": stored["unseen_alpha"] @ mix, "lines": stored["lines"]}
    arrays["known"] = stored["known_line"][:, None] + effect[None, :] + (cross @ stored["known_alpha"]).T
    return {key: value.astype(np.float32) for key, value in arrays.items()}


def wanted_arrays(*, linear: bool, drug_kernel: str | None, new_drugs: bool) -> dict[str, Array]:
    """What the functions above return, as arrays of a file."""
    rows, dual = ("genes", "weights") if linear else ("lines", "alpha")
    wanted = {dual: Array((rows, "drugs")), "intercept": Array(("drugs",))}
    if not linear:
        wanted["lines"] = Array(("lines", "genes"))
    if new_drugs:
        wanted["known"] = Array(("lines", "drugs"))
    if drug_kernel is not None:
        wanted |= feature_arrays(drug_kernel) | {
            f"unseen_{dual}": Array((rows, "usable drugs and one")),
            "unseen_intercept": Array(("usable drugs and one",)),
            "drug_alpha": Array(("usable drugs",)),
            "drug_intercept": Array((1,)),
            "known_line": Array(("lines",)),
            "known_alpha": Array(("usable drugs", "lines")),
        }
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
