"""How wide intervals of cells and of groups are: that of a new line, scaled by how hard they are to predict."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import pandas as pd
from scipy.special import ndtri

from ..pp._rows import read_rows

if TYPE_CHECKING:
    from ..model._base import DrugResponseModel
    from ..model._predictor import RowPredictor
    from ..pp._harmonization import Harmonization
    from ..pp._place import Placed
    from ._stored import Predictions

#: Cells whose counts are thinned, and profiles drawn to see what unmeasured genes hold.
_N_THINNED, _N_DRAWN = 256, 100
#: Squared error that is added: for a profile that is all flat, in squared half widths of a line; for the squared shift of the cohort,
#: of which the anchor believes one half; and for the variance that unmeasured genes hold, of which the factor model knows a part. From
#: simulated cells of tissues that training lacked, see `scripts/check_single_cell.py`.
_FLAT, _SHIFTED, _MISSING = 0.8, 1.5, 4.0
#: Spread of the logarithm of depth from which on its effect can be told, and cells that noise is estimated from, at least.
_MIN_SPREAD, _MIN_THINNED = 0.2, 10


@dataclass(frozen=True)
class CountNoise:
    """Variance of predictions by counting, as a power of depth."""

    #: At `depth` (drugs).
    variance: np.ndarray
    depth: float
    power: float

    @classmethod
    def none(cls, n_drugs: int) -> CountNoise:
        """For values that hold no counts."""
        return cls(np.zeros(n_drugs), 1.0, 0.0)

    @classmethod
    def fit(cls, whole: np.ndarray, thinned: np.ndarray, depth: np.ndarray) -> CountNoise:
        """Estimate it from predictions of cells and of the same cells with half of their counts.

        Halving counts adds as much variance as counting them left, seen through a profile that is flatter by the slope of one
        prediction on the other.

        Parameters
        ----------
        whole, thinned
            Predictions (cells × drugs).
        depth
            Counts of each cell.
        """
        change = thinned - whole
        change = change - change.mean(axis=0)
        deviation = whole - whole.mean(axis=0)
        slope = 1 + (change * deviation).sum(axis=0) / np.maximum((deviation**2).sum(axis=0), 1e-12)
        variance = (change**2).mean(axis=0) / np.clip(np.median(slope), 0.3, 1.0)
        logs = np.log(depth)
        power = 0.0
        if logs.std() > _MIN_SPREAD and (variance > 0).all():
            size = np.log(np.maximum((change**2 / variance).mean(axis=1), 1e-12))
            power = float(np.clip(-np.polyfit(logs, size, 1)[0], 0.0, 1.0))
        return cls(variance, float(np.exp(logs.mean())), power)


def count_noise(placed: Placed, predictor: RowPredictor, n_drugs: int, inputs: np.ndarray | None) -> CountNoise:
    """Thin the counts of some cells and see how far their predictions move."""
    fitted, adata = placed.harmonization, placed.adata
    if fitted.totals is None:
        return CountNoise.none(n_drugs)
    rows = np.unique(np.linspace(0, adata.n_obs - 1, min(adata.n_obs, _N_THINNED)).astype(int))
    block = read_rows(adata, rows, layer=fitted.layer)
    thinned = fitted.totals.thin(block, np.random.default_rng(0))
    if thinned is None:
        return CountNoise.none(n_drugs)
    groups = None if placed.groups is None else placed.groups[rows]
    inputs = None if inputs is None else inputs[rows]
    whole, shown, _ = predictor(block, groups, inputs)
    whole = whole.astype(np.float64)
    less, still, _ = predictor(thinned, groups, inputs)
    both = np.isfinite(shown) & np.isfinite(still)
    if both.sum() < _MIN_THINNED:
        return CountNoise.none(n_drugs)
    return CountNoise.fit(whole[both], less[both].astype(np.float64), fitted.totals(block).depth[both])


def missing_variance(model: DrugResponseModel, fitted: Harmonization, drugs: np.ndarray) -> np.ndarray:
    """Variance over lines of what predictions lose where genes are not measured but filled (drugs).

    Lines are drawn from the factor model of the reference.
    """
    if not fitted.unmeasured.any():
        return np.zeros(len(drugs))
    drawn = fitted.profile.draw(_N_DRAWN, seed=0)
    whole = model._predict_rows(drawn, drugs).astype(np.float64)
    fitted.fill(drawn)
    return (whole - model._predict_rows(drawn, drugs)).var(axis=0)


def cohort_shift(model: DrugResponseModel, fitted: Harmonization, drugs: np.ndarray) -> np.ndarray:
    """How far the predicted level of the cohort lies from that of the average line (drugs)."""
    pair = np.stack([fitted.target, fitted.profile.mean]).astype(np.float32)
    predicted = model._predict_rows(pair, drugs).astype(np.float64)
    return predicted[0] - predicted[1]


@dataclass(frozen=True)
class Difficulty:
    """What makes a cohort harder to predict than lines of the reference; rows stand in the order of the drugs."""

    #: How far the predicted level of the cohort lies from that of the average line (drugs).
    shift: np.ndarray
    #: Variance of predictions that unmeasured genes hold (drugs).
    missing: np.ndarray
    noise: CountNoise

    #: Where it stands in the drug table.
    COLUMNS: ClassVar = ("cohort_shift", "missing_variance", "noise_variance")

    @classmethod
    def of(cls, model: DrugResponseModel, placed: Placed, predictor: RowPredictor, drugs: np.ndarray) -> Difficulty:
        """Measure it for drugs by position."""
        inputs = predictor.sample_inputs(placed.adata)
        noise = count_noise(placed, predictor, len(drugs), inputs)
        return cls(*_of_profile(model, placed.harmonization, drugs, readable=inputs is None), noise)

    def of_drugs(self) -> dict[str, np.ndarray]:
        """Columns of the drug table."""
        values = self.shift, self.missing, self.noise.variance
        return {name: value.astype(np.float32) for name, value in zip(self.COLUMNS, values, strict=True)}

    def stated(self, shift: float, missing: float) -> dict[str, float]:
        """What is stored with predictions beside the drug table; the arguments are what :func:`relative_difficulty` returned."""
        return {"shift": shift, "missing": missing, "noise_depth": self.noise.depth, "noise_power": self.noise.power}

    @classmethod
    def read(cls, predictions: Predictions) -> Difficulty:
        """What was stored with predictions; nothing where nothing was."""
        drugs = predictions.drugs
        shift, missing, variance = (
            pd.to_numeric(drugs[name], errors="coerce").fillna(0).to_numpy(dtype=float)
            if name in drugs
            else np.zeros(len(drugs))
            for name in cls.COLUMNS
        )
        stored = predictions.provenance.get("difficulty", {})
        return cls(
            shift,
            missing,
            CountNoise(variance, float(stored.get("noise_depth", 1.0)), float(stored.get("noise_power", 0.0))),
        )


def relative_difficulty(model: DrugResponseModel, placed: Placed) -> tuple[float, float]:
    """Squared shift of a cohort, and variance that unmeasured genes hold, in multiples of the variance of predictions over lines.

    Both are means over all drugs of the model, so that reliability does not depend on which are asked for.
    """
    drugs = np.arange(len(model.drugs))
    readable = model._sample_inputs(placed.adata) is None
    shift, missing = _of_profile(model, placed.harmonization, drugs, readable=readable)
    spread = model.calibration.spread[drugs]
    known = spread > 0
    if not known.any():
        return 0.0, 0.0
    variance = spread[known] ** 2
    return float((shift[known] ** 2 / variance).mean()), float((missing[known] / variance).mean())


def _of_profile(
    model: DrugResponseModel, fitted: Harmonization, drugs: np.ndarray, *, readable: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Shift and missing variance; zero for models to which a profile alone is no input."""
    if not readable:
        return np.zeros(len(drugs)), np.zeros(len(drugs))
    return cohort_shift(model, fitted, drugs), missing_variance(model, fitted, drugs)


def cell_half_width(predictions: Predictions, drugs: np.ndarray) -> np.ndarray:
    """Half widths of the intervals of cells, their own counting noise included (cells × drugs by position)."""
    difficulty = Difficulty.read(predictions)
    depth, noise = _evidence(predictions, "depth"), difficulty.noise
    relative = np.where(depth > 0, noise.depth / np.maximum(depth, 1e-12), 1.0) ** noise.power
    counting = relative[:, None] * noise.variance[drugs]
    return _of_stored(predictions, difficulty, drugs, _evidence(predictions, "sharpness"), counting)


def group_half_width(
    predictions: Predictions, codes: np.ndarray, drugs: np.ndarray, squared_error: np.ndarray
) -> np.ndarray:
    """Half widths of the intervals of groups that have cells, in the order of their codes (groups × drugs by position).

    Parameters
    ----------
    predictions
        What was stored.
    codes
        Group of each cell, −1 for none.
    drugs
        Positions of the drugs.
    squared_error
        Squared standard error of the mean over cells (groups × drugs).
    """
    sharpness = median_by_group(_evidence(predictions, "sharpness"), codes)
    return _of_stored(predictions, Difficulty.read(predictions), drugs, sharpness, squared_error)


def median_by_group(values: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """Median over the cells of each group that has some, in the order of their codes (groups); −1 is no group."""
    cells = codes >= 0
    return pd.Series(values[cells]).groupby(codes[cells]).median().to_numpy()


def _of_stored(
    predictions: Predictions, difficulty: Difficulty, drugs: np.ndarray, sharpness: np.ndarray, variance: np.ndarray
) -> np.ndarray:
    level = float(predictions.provenance.get("interval_level", np.nan))
    return half_widths(predictions.half_width, level, difficulty, drugs, sharpness, variance)


def half_widths(
    of_line: np.ndarray,
    level: float,
    difficulty: Difficulty,
    drugs: np.ndarray,
    sharpness: np.ndarray,
    variance: np.ndarray,
) -> np.ndarray:
    """Half widths of intervals of cells or groups (rows × drugs by position).

    Parameters
    ----------
    of_line
        Half widths of a new line (all drugs).
    level
        Coverage that these were made for.
    difficulty
        What makes the cohort harder to predict, of all drugs.
    drugs
        Positions of the drugs.
    sharpness
        How clearly profiles show, 0-1 (rows).
    variance
        Squared standard error of the prediction itself (rows × drugs).
    """
    of_line = of_line[drugs]
    flat = 1 + _FLAT * (1 - sharpness[:, None]) ** 2
    added = variance + _SHIFTED * difficulty.shift[drugs] ** 2 + _MISSING * difficulty.missing[drugs]
    return np.sqrt(of_line**2 * flat + ndtri((1 + level) / 2) ** 2 * added)


def _evidence(predictions: Predictions, name: str) -> np.ndarray:
    """One column of what was stored of cells; ones where it was not (cells)."""
    stored = predictions.evidence
    if stored is None or name not in stored:
        return np.ones(len(predictions.response))
    return stored[name].to_numpy(dtype=float, na_value=np.nan)
