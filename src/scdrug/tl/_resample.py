"""Predictions of resampled cells: donors, then cells, then depth, each with a harmonization of its own.

The model is linear for most uses, and so is the harmonization once a cell's ranks are known: the prediction of a group follows from sums over
its cells. So cells are transformed once for each depth, and every resample costs sums.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import scipy.sparse as sp

from ..model._predictor import RowPredictor
from ..pp._fit_harmonization import refit
from ..pp._place import Placed
from ._class_sums import membership


@dataclass(frozen=True)
class Plan:
    """Which cells stand in which resample, and how deep."""

    #: Resamples × cells, bool.
    taken: np.ndarray
    #: Position of each resample in `depths`.
    depth: np.ndarray
    depths: tuple[float, ...]


def draw_plan(
    strata: np.ndarray, donors: np.ndarray, n_resamples: int, depths: Sequence[float], rng: np.random.Generator
) -> Plan:
    """Draw halves of the donors, and halves of each stratum of their cells, without replacement; depths take turns.

    Parameters
    ----------
    strata, donors
        Group within its donor, and donor of each cell, -1 for none (cells).
    """
    usable = np.flatnonzero((strata >= 0) & (donors >= 0))
    sizes = np.bincount(strata[usable])
    known = np.unique(donors[usable])
    n_donors = -(-len(known) // 2)
    taken = np.zeros((n_resamples, len(strata)), dtype=bool)
    for number in range(n_resamples):
        shuffled = usable[rng.permutation(len(usable))]
        order = shuffled[np.argsort(strata[shuffled], kind="stable")]
        within = np.arange(len(order)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        kept = order[within < -(-sizes[strata[order]] // 2)]
        chosen = rng.choice(known, n_donors, replace=False)
        taken[number, kept[np.isin(donors[kept], chosen)]] = True
    return Plan(taken, np.arange(n_resamples) % len(depths), tuple(float(depth) for depth in depths))


def thin(
    block: sp.csr_matrix, depth: float, rng: np.random.Generator, wanted: np.ndarray | None = None
) -> sp.csr_matrix:
    """Counts as a shallower sequencing would give them: each molecule is kept with the probability `depth`.

    Columns that are not `wanted` are left as they are: draws take more time than all else.
    """
    if depth >= 1:
        return block
    drawn = slice(None) if wanted is None else wanted[block.indices]
    data = block.data.copy()
    data[drawn] = rng.binomial(data[drawn].astype(np.int64), depth)
    return block._with_data(data)


def resampled_means(
    placed: Placed,
    predictor: RowPredictor,
    plan: Plan,
    strata: np.ndarray,
    fitted_on: np.ndarray,
    *,
    reharmonize: bool,
    seed: int,
    inputs: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Mean prediction of each stratum in each resample.

    Parameters
    ----------
    placed
        The cells, with the map that all of them are placed by.
    predictor
        The model behind that map.
    plan
        What to resample.
    strata
        Stratum of each cell, -1 for none (cells).
    fitted_on
        Group that each cell's shift is estimated in, -1 for cells that it is not estimated from (cells).
    reharmonize
        Estimate the shift anew from the cells of each resample, for a linear model; else that of all cells stands.
    inputs
        What the model reads of cells beside expression (cells × features).

    Returns
    -------
    Means (resamples × strata × drugs, NaN where no cell is left), and numbers of cells (resamples × strata).
    """
    n_strata, n_groups = int(strata.max()) + 1, int(fitted_on.max()) + 1
    means, counts = None, np.zeros((len(plan.taken), n_strata), dtype=np.int64)
    for level, depth in enumerate(plan.depths):
        chosen = np.flatnonzero(plan.depth == level)
        if not len(chosen):
            continue
        rng = np.random.default_rng([seed, level])
        if reharmonize and predictor.linear is not None:
            raw, shown, offsets = _linear_pass(placed, predictor, plan.taken[chosen], fitted_on, n_groups, depth, rng)
        else:
            raw, shown = _full_pass(placed, predictor, depth, rng, inputs)
            offsets = np.zeros((len(chosen), raw.shape[1]))
        if means is None:
            means = np.full((len(plan.taken), n_strata, raw.shape[1]), np.nan)
        for row, number in enumerate(chosen):
            codes = np.where(plan.taken[number] & shown, strata, -1)
            n = np.bincount(codes[codes >= 0], minlength=n_strata)
            sums = membership(codes, n_strata).astype(np.float32) @ raw
            with np.errstate(divide="ignore", invalid="ignore"):
                means[number] = np.where(n[:, None] > 0, sums / n[:, None], np.nan) + offsets[row]
            counts[number] = n
    assert means is not None
    return means, counts


def _blocks(
    placed: Placed, depth: float, rng: np.random.Generator
) -> Iterator[tuple[slice, sp.csr_matrix, np.ndarray | None]]:
    panel = placed.harmonization.position >= 0
    for rows, block, groups in placed.raw_blocks():
        yield rows, thin(block, depth, rng, panel), groups


def _full_pass(
    placed: Placed, predictor: RowPredictor, depth: float, rng: np.random.Generator, inputs: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    """Predictions of all cells (cells × drugs), and which show enough genes."""
    parts, shown = [], []
    for rows, block, groups in _blocks(placed, depth, rng):
        values, similarity, _ = predictor(block, groups, None if inputs is None else inputs[rows])
        parts.append(np.array(values, dtype=np.float32))
        shown.append(np.isfinite(similarity))
    return np.vstack(parts), np.concatenate(shown)


def _linear_pass(
    placed: Placed,
    predictor: RowPredictor,
    taken: np.ndarray,
    fitted_on: np.ndarray,
    n_groups: int,
    depth: float,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Predictions of all cells before any shift, which show enough genes, and what the shift of each resample adds (resamples × drugs)."""
    assert predictor.linear is not None
    fitted = placed.harmonization
    weights, intercept = predictor.linear
    n_panel = len(fitted.unmeasured)
    still = replace(
        fitted,
        groups=("all",),
        gain=np.ones((1, n_panel), dtype=np.float32),
        shift=np.zeros((1, n_panel), dtype=np.float32),
    )
    product = np.ascontiguousarray(weights, dtype=np.float32)
    counts = np.zeros((len(taken), n_groups), dtype=np.int64)
    sums = np.zeros((len(taken), n_groups, n_panel))
    parts, shown, buffer = [], [], None
    for rows, block, _ in _blocks(placed, depth, rng):
        if buffer is None or len(buffer) < block.shape[0]:
            buffer = np.empty((block.shape[0], n_panel), dtype=np.float32)
        values, similarity = still.place(block, out=buffer)
        enough = np.isfinite(similarity)
        parts.append(values @ product)
        shown.append(enough)
        for group in range(n_groups):
            counted = taken[:, rows] & (enough & (fitted_on[rows] == group))
            counts[:, group] += counted.sum(axis=1)
            sums[:, group] += counted.astype(np.float32) @ values
    shifts = np.stack([refit(fitted, n, total).shift[0] for n, total in zip(counts, sums)])
    return np.vstack(parts), np.concatenate(shown), shifts @ weights + intercept
