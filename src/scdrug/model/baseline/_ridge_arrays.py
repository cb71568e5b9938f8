"""Kernel ridge regression as arrays by name: what predicts new lines, and drugs that were never screened."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.special import ndtri

from ..._validate import check_choice
from ...pp._profile import ReferenceProfile
from .._arrays import Array, with_prefix
from .._data import N_PROBABILITIES, Calibration
from .._schema import LinesState
from ..prior._complete import complete_response
from ..prior._decomposition import decompose_kernel
from ..prior._drug_kernels import DRUG_KERNELS
from ..prior._kernels import KERNELS, ExpressionKernel, KernelSpec, fit_gene_scaler, fit_kernel
from ..prior._new_drugs import Mixture, NewDrugs
from ..prior._ridge import leave_one_out, primal_weights, select_ridge, solve_ridge

#: Ridges to choose from.
_RIDGES = (0.03, 0.05, 0.1, 0.2, 0.3, 0.5, 1.0, 2.0, 5.0)
#: Share of a second screen: the largest of quarters that costs held-out lines of the first next to nothing (`scripts/check_screens.py`).
SECOND_SHARE = 0.25


class KernelRidgeState(LinesState):
    """What the model keeps beside its arrays."""

    #: Whether the drugs are others than those of the training.
    new_drugs: bool = False
    #: What is told of drugs to predict others, by name.
    drug_features: list[str] = []


def check_options(
    kernel: str,
    ridge: float | str | None,
    drug_kernel: str | None,
    drug_ridge: float | str,
    *,
    denoise: float,
    coupled: bool,
    share: float,
    rank: int | None,
) -> None:
    """Raise for options of the model that are unknown or contradict each other."""
    check_choice("kernel", kernel, tuple(KERNELS))
    check_choice("drug_kernel", str(drug_kernel), ("None", "auto", *DRUG_KERNELS))
    if denoise > 1:
        raise ValueError(f"`denoise` is a share between 0 and 1; found {denoise}.")
    if not 0 < share <= 1:
        raise ValueError(f"`kernel_share` must be above 0 and at most 1; found {share}.")
    for name, value, words in (("ridge", ridge, ("auto", "per_drug")), ("drug_ridge", drug_ridge, ("auto",))):
        if isinstance(value, str):
            check_choice(name, value, words)
    if coupled and (denoise > 0 or isinstance(ridge, str)):
        raise ValueError(
            f"`couple_drugs` denoises by itself and takes a number as `ridge`; found denoise={denoise} and "
            f"ridge={ridge!r}. Drop these arguments; compare values of `ridge` on validation data if need be."
        )
    if rank is not None and (kernel != "linear" or coupled or rank < 1):
        raise ValueError(
            f"`rank` is a number of factors of a linear kernel without `couple_drugs`; found {rank} with {kernel!r}."
        )


class RidgeParts(NamedTuple):
    """One kernel ridge regression per drug."""

    #: What compares new samples with the lines.
    kernel: ExpressionKernel
    #: Predictions of the lines, each left out (lines × drugs).
    left_out: np.ndarray
    #: See :func:`line_arrays` and :func:`factorise`.
    arrays: dict[str, np.ndarray]


def fit_ridge(
    expression: np.ndarray, target: np.ndarray, spec: KernelSpec, ridge: float | str, *, rank: int | None
) -> RidgeParts:
    """Regress targets (lines × drugs) on expression, with a ridge that is given or chosen; for a linear kernel in factors if a rank is."""
    kernel, matrix = fit_kernel(expression, spec)
    decomposition = decompose_kernel(matrix)
    if isinstance(ridge, str):
        ridge = select_ridge(decomposition, target, ridges=_RIDGES, per_drug=ridge == "per_drug").ridge  # type: ignore[assignment]
    fit = solve_ridge(decomposition, target, ridge=ridge)  # type: ignore[arg-type]
    alone = leave_one_out(decomposition, target, ridge=ridge)  # type: ignore[arg-type]
    arrays = line_arrays(expression, fit.alpha, fit.intercept, linear=spec == KERNELS["linear"])
    if rank is not None:
        arrays = factorise(arrays["weights"], arrays["intercept"], expression, rank)
    return RidgeParts(kernel, np.where(np.isnan(alone), fit.predict(matrix), alone), arrays)


def denoised_targets(
    response: np.ndarray,
    second: np.ndarray | None,
    shared: np.ndarray,
    denoise: float,
    *,
    share: float = SECOND_SHARE,
) -> tuple[np.ndarray, float]:
    """Responses to regress on expression: without noise and gaps, after what a second screen says of the same pairs.

    Both screens are completed together, and a share of the second's fit of a shared drug, brought to the unit of the first, goes into
    the first's.

    Parameters
    ----------
    response
        Lines × drugs, NaN where not measured.
    second
        Responses of the second screen (lines × shared drugs); `None` without.
    shared
        Positions of its drugs in `response`.
    denoise
        Share of the fit in what was measured (0-1); 0 leaves responses as they are.
    share
        Share of the second screen in the fit of a shared drug (0-1).

    Returns
    -------
    Lines × drugs, and what brings mean responses of the second screen to the unit of the first.
    """
    if denoise == 0:
        return response, 0.0
    fitted, offset = complete_response(response if second is None else np.hstack([response, second])).fitted, 0.0
    if second is not None:
        fitted, other = fitted[:, : response.shape[1]], fitted[:, response.shape[1] :]
        own = fitted[:, shared]
        mean, scale = own.mean(axis=0), own.std(axis=0) / np.maximum(other.std(axis=0), 1e-9)
        offset = float(np.median(mean - other.mean(axis=0)))
        fitted[:, shared] = (1 - share) * own + share * (mean + (other - other.mean(axis=0)) * scale)
    measured = np.where(np.isnan(response), fitted, response)
    return denoise * fitted + (1 - denoise) * measured, offset


def line_arrays(
    expression: np.ndarray, alpha: np.ndarray, intercept: np.ndarray, *, linear: bool
) -> dict[str, np.ndarray]:
    """Dual weights (lines × drugs) with the lines, or for the linear kernel weights on expression itself (genes × drugs)."""
    if not linear:
        return {"alpha": alpha, "intercept": intercept, "lines": expression}
    scaler = fit_gene_scaler(expression)
    weights = primal_weights(scaler.transform(expression), alpha) / scaler.scale[:, None]
    return {"weights": weights, "intercept": intercept - scaler.mean @ weights}


def factorise(weights: np.ndarray, intercept: np.ndarray, expression: np.ndarray, rank: int) -> dict[str, np.ndarray]:
    """The best two factors of weights, in what they predict of the lines, each drug in units of its spread.

    Parameters
    ----------
    weights, intercept
        Genes × drugs; drugs.
    expression
        Lines × genes.
    rank
        Columns of the first factor.

    Returns
    -------
    ``factors`` (genes × rank) and ``mixing`` (rank × drugs), whose product is near `weights`, and the ``intercept`` that keeps the mean
    prediction of each drug.
    """
    mean = expression.mean(axis=0, dtype=np.float64)
    predicted = (expression - mean) @ weights
    spread = np.maximum(predicted.std(axis=0), 1e-9)
    scaled = predicted / spread
    directions = np.linalg.eigh(scaled.T @ scaled)[1].T[::-1][:rank]  # drugs are few, and lines many
    factors, mixing = weights / spread @ directions.T, directions * spread
    return {"factors": factors, "mixing": mixing, "intercept": intercept + mean @ weights - mean @ factors @ mixing}


def mix_arrays(arrays: dict[str, np.ndarray], mixture: Mixture, centre: np.ndarray) -> dict[str, np.ndarray]:
    """Arrays of new drugs, from those of the training drugs (:func:`line_arrays`) and the means of their responses."""
    dual = "weights" if "weights" in arrays else "alpha"
    columns = mixture.columns(arrays[dual], arrays["intercept"], centre)
    out = arrays | dict(zip((dual, "intercept"), columns, strict=True))
    if "completed" in arrays:
        out["completed"] = mixture.mean + (arrays["completed"] - centre) @ mixture.weights
    return out


def wanted_arrays(
    *, linear: bool, rank: int | None, keeps_lines: bool, new_drugs: bool, told: tuple[str, ...]
) -> dict[str, Array]:
    """Arrays of a fit in a file: those of :func:`line_arrays`, or of :func:`factorise`, and what predicts new drugs from what is told."""
    wanted = {"intercept": Array(("drugs",))}
    if rank is not None and not new_drugs:
        wanted |= {"factors": Array(("genes", "rank")), "mixing": Array(("rank", "drugs"))}
    elif linear:
        wanted["weights"] = Array(("genes", "drugs"))
    else:
        wanted |= {"alpha": Array(("lines", "drugs")), "lines": Array(("lines", "genes"))}
    if keeps_lines:
        wanted["completed"] = Array(("lines", "drugs"))
    return wanted | (with_prefix("new_drugs.", NewDrugs.wanted_arrays(told)) if told else {})


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
