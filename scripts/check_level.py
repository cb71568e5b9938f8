"""Compare ways to state the level of a cohort: how far its anchor goes, in responses and in percentiles.

    python scripts/check_level.py DATA [--real] [--share 0.3]

DATA holds `gdsc/`, `sc/bc_atlas/` and `sc/sc_mixology/`. The recipe of the bundled model is trained once, without the lines of both sets of cells
and without a share of the lines of each tissue. Lines of a tissue that were left out are a cohort. Its mean profile is what a real platform
would show of it: that of the cells of a set, at full depth and thinned, plus the flattened difference between the bulk profiles of the
cohort and of the lines of the cells. What the anchor makes of it is compared with the measured responses. With `--real` the same ways are
printed for both sets of cells, which nothing is to be chosen on.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import scipy.sparse as sp
from anndata import AnnData
from check_reliability import plain

import scdrug
from scdrug.pp._profile import ReferenceProfile

#: Least lines of a cohort, and shares of counts that cells are thinned to.
MIN_LINES, DEPTHS = 4, (1.0, 0.1)


@dataclass(frozen=True)
class Cohort:
    """A cohort whose answer is known, with predictions around the average line and what the anchor adds to them."""

    name: str
    #: Predictions with the cohort placed on the average line (lines × drugs).
    centred: np.ndarray
    #: All of the estimated deviation of the cohort, in responses (drugs).
    shift: np.ndarray
    #: Measured responses (lines × drugs), and the share of screened lines that are less sensitive.
    observed: np.ndarray
    percentile: np.ndarray
    #: How steeply the cohort's profile follows the reference's, 1 for lines in bulk, and how clearly that of its median cell shows.
    slope: float
    sharpness: float


@dataclass(frozen=True)
class Screen:
    """What predictions are compared with (drugs)."""

    model: scdrug.model.KernelRidge
    measured: np.ndarray

    @property
    def sd(self) -> np.ndarray:
        return np.nanstd(self.measured, axis=0)

    def rank(self, observed: np.ndarray) -> np.ndarray:
        known = np.isfinite(self.measured)
        return np.nanmean(np.where(known[:, None], self.measured[:, None] > observed, np.nan), axis=0)

    def responses(self, profiles: np.ndarray) -> np.ndarray:
        return self.model._predict_rows(profiles.astype(np.float32), np.arange(len(self.model.drugs))).astype(float)


def read_cells(data: Path) -> dict[str, AnnData]:
    """Both sets of cells, with the reference's name of each line in `obs["line"]`."""
    lung = scdrug.datasets.sc_mixology(path=data / "sc" / "sc_mixology")
    lung = lung[lung.obs["singlet"].to_numpy(dtype=bool)].copy()
    breast = scdrug.datasets.breast_atlas(path=data / "sc" / "bc_atlas")
    breast = breast[(breast.obs["reference_line"] != "").to_numpy()].copy()
    lung.obs["line"], breast.obs["line"] = lung.obs["cell_line"].astype(str), breast.obs["reference_line"].astype(str)
    return {"CEL-seq2": lung, "Drop-seq": breast}


def thin(cells: AnnData, share: float) -> AnnData:
    if share == 1:
        return cells.copy()
    drawn = np.random.default_rng(0).binomial(cells.X.toarray().astype(int), share).astype(np.float32)
    return AnnData(sp.csr_matrix(drawn), obs=cells.obs[["line"]].copy(), var=cells.var[[]].copy())


def full_shift(screen: Screen, centre: np.ndarray, measured: np.ndarray) -> np.ndarray:
    """What the whole estimated deviation of a cohort does to its responses; the anchor takes half of it (drugs)."""
    profile = screen.model.profile
    pair = screen.responses(np.stack([profile.anchor(centre, measured), profile.mean]))
    return 2 * (pair[0] - pair[1])


@dataclass(frozen=True)
class Platform:
    """The mean profile of cells of known lines, and of the same lines in bulk (genes)."""

    centre: np.ndarray
    bulk: np.ndarray
    measured: np.ndarray
    slope: float
    sharpness: float


def slope_of(profile: ReferenceProfile, centre: np.ndarray, measured: np.ndarray) -> float:
    """Slope of a cohort's mean profile on that of the reference, genes in units of their spread over lines."""
    unit = np.maximum(profile.sd, 0.25 * np.median(profile.sd))[measured].astype(float)
    known = np.column_stack([np.ones(len(unit)), profile.mean[measured]]) / unit[:, None]
    return float(np.linalg.lstsq(known, centre[measured] / unit, rcond=None)[0][1])


def simulated(screen: Screen, left_out: AnnData, platform: Platform) -> Iterator[Cohort]:
    """Lines that were left out, tissue by tissue, as a platform would show them."""
    drugs = screen.model.drugs.index
    for tissue, rows in left_out.obs.groupby("tissue", observed=True).indices.items():
        if len(rows) < MIN_LINES or not tissue:
            continue
        profiles = np.asarray(left_out.X[rows], dtype=np.float64)
        predicted, mean = screen.responses(profiles), profiles.mean(axis=0)
        level = screen.responses(np.stack([mean, screen.model.profile.mean]))
        observed = left_out.obsm["response"].iloc[rows][drugs].to_numpy(dtype=float)
        shift = full_shift(screen, platform.centre + platform.slope * (mean - platform.bulk), platform.measured)
        yield Cohort(
            str(tissue),
            predicted - level[0] + level[1],
            shift,
            observed,
            screen.rank(observed),
            platform.slope,
            platform.sharpness,
        )


def real(screen: Screen, reference: AnnData, cells: AnnData, name: str) -> tuple[Cohort, Platform]:
    """Cells of lines as a cohort, and what they say of their platform."""
    drugs, lines = list(screen.model.drugs.index), sorted(set(cells.obs["line"]))
    scdrug.tl.predict_response(cells, screen.model)
    stored = cells.uns["predicted_response"]["harmonization"]
    measured = np.asarray(stored["measured"], dtype=bool)
    centre = np.where(measured, stored["target"] - np.asarray(stored["shift"])[0], 0.0)
    bulk = np.asarray(reference[lines, list(screen.model.genes)].X, dtype=np.float64).mean(axis=0)
    sharpness = float(cells.obsm["response_evidence"]["sharpness"].median())
    platform = Platform(centre, bulk, measured, slope_of(screen.model.profile, centre, measured), sharpness)
    predicted = cells.obsm["predicted_response"].groupby(cells.obs["line"].astype(str).to_numpy()).mean().loc[lines]
    target = screen.responses(np.stack([np.asarray(stored["target"]), screen.model.profile.mean]))
    observed = reference[lines].obsm["response"][drugs].to_numpy(dtype=float)
    cohort = Cohort(
        name, predicted.to_numpy(float) - (target[0] - target[1]), full_shift(screen, centre, measured), observed,
        screen.rank(observed), platform.slope, sharpness,
    )  # fmt: skip
    return cohort, platform


def ways(screen: Screen) -> dict[str, Callable[[Cohort], tuple[np.ndarray, np.ndarray]]]:
    """What is added to centred predictions, for responses and for percentiles (drugs), by the name of a way."""
    held_out = np.clip(np.nan_to_num(screen.model.drugs["held_out_r"].to_numpy(dtype=float)), 0, 1)
    narrow = np.clip(screen.model.calibration.spread / screen.sd, 0, 1)

    def both(share: float | np.ndarray) -> Callable[[Cohort], tuple[np.ndarray, np.ndarray]]:
        return lambda cohort: (share * cohort.shift, share * cohort.shift)

    def by_slope(odds: float, of_rank: float | np.ndarray = 1.0) -> Callable[[Cohort], tuple[np.ndarray, np.ndarray]]:
        def added(cohort: Cohort) -> tuple[np.ndarray, np.ndarray]:
            share = cohort.slope**2 / (cohort.slope**2 + odds)
            return share * cohort.shift, of_rank * share * cohort.shift

        return added

    return {f"share {share:.2f}": both(share) for share in (0.0, 0.25, 0.35, 0.5, 0.65, 1.0)} | {
        "share 0.5 x slope": lambda cohort: (0.5 * cohort.slope * cohort.shift,) * 2,
        "share 0.5 x sharpness of cells": lambda cohort: (0.5 * cohort.sharpness * cohort.shift,) * 2,
        "share slope^2 / (slope^2 + 0.25)": by_slope(0.25),
        "share slope^2 / (slope^2 + 0.5)": by_slope(0.5),
        "share slope^2 / (slope^2 + 1)": by_slope(1.0),
        "share by held-out r, 0.5 on average": both(0.5 * held_out / held_out.mean()),
        "share 0.5, James-Stein over drugs": lambda cohort: (shrunk(cohort, screen),) * 2,
        "share 0.5, percentiles x predicted / measured sd": lambda cohort: (
            0.5 * cohort.shift,
            0.5 * narrow * cohort.shift,
        ),
        "slope^2 / (slope^2 + 0.5), percentiles likewise": by_slope(0.5, narrow),
        "slope^2 / (slope^2 + 1), percentiles likewise": by_slope(1.0, narrow),
    }


def shrunk(cohort: Cohort, screen: Screen) -> np.ndarray:
    """Half of the shift, drawn to none by the expected square of the mean of as many lines (positive-part James-Stein, drugs)."""
    z = cohort.shift / screen.sd
    noise = np.median((screen.model.calibration.spread / screen.sd) ** 2) / len(cohort.centred)
    return 0.5 * max(0.0, 1 - noise / max(float((z**2).mean()), 1e-12)) * cohort.shift


def score(screen: Screen, cohort: Cohort, added: tuple[np.ndarray, np.ndarray]) -> dict[str, float]:
    known, sd = np.isfinite(cohort.observed), screen.sd
    response, ranked = (cohort.centred + part for part in added)
    error = (response - cohort.observed) / sd
    lower = screen.model.reference.lower_is_sensitive
    rank = screen.model.calibration.percentile(ranked, np.arange(len(sd)), lower_is_sensitive=lower)
    mean = np.nanmean(screen.measured, axis=0)
    pair = [((values - mean) / sd)[known] for values in (response, cohort.observed)]
    return {
        "rmse": float(np.sqrt((error[known] ** 2).mean())),
        "bias": float(error[known].mean()),
        "percentile bias": float((rank - cohort.percentile)[known].mean()),
        "flat": float(np.corrcoef(*pair)[0, 1]),
    }


def show(screen: Screen, cohorts: list[Cohort]) -> None:
    rows = {}
    for name, way in ways(screen).items():
        table = pd.DataFrame([score(screen, cohort, way(cohort)) for cohort in cohorts])
        rows[name] = {
            "rmse": table["rmse"].mean(), "flat": table["flat"].mean(), "bias": table["bias"].mean(), "|bias|": table["bias"].abs().mean(),
            "percentile bias": table["percentile bias"].mean(), "|percentile bias|": table["percentile bias"].abs().mean(),
        }  # fmt: skip
    print(pd.DataFrame(rows).T.round(3).to_string(), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--share", type=float, default=0.3, help="share of the lines of each tissue that are left out")
    parser.add_argument("--real", action="store_true")
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore")
    reference = scdrug.datasets.gdsc(release="GDSC2", path=arguments.data / "gdsc")
    sets = read_cells(arguments.data)
    known = {plain(name): name for name in reference.obs_names}
    for cells in sets.values():
        cells.obs["line"] = [known[plain(line)] for line in cells.obs["line"]]
    of_cells = reference.obs_names.isin([line for cells in sets.values() for line in cells.obs["line"]])
    drawn = np.random.default_rng(0).random(reference.n_obs) < arguments.share
    training = reference[~of_cells & ~drawn].copy()
    model = scdrug.model.load_pretrained("default").retrain(training)
    screen = Screen(model, training.obsm["response"][model.drugs.index].to_numpy(dtype=float))
    left_out = reference[drawn & ~of_cells, list(model.genes)].copy()

    everything = np.ones(len(model.genes), dtype=bool)
    in_bulk = Platform(model.profile.mean.astype(float), model.profile.mean.astype(float), everything, 1.0, 1.0)
    print(f"{training.n_obs} training lines, {left_out.n_obs} left out; as bulk profiles show them")
    show(screen, list(simulated(screen, left_out, in_bulk)))
    for name, cells in sets.items():
        for share in DEPTHS:
            cohort, platform = real(screen, reference, thin(cells, share), name)
            cohorts = list(simulated(screen, left_out, platform))
            print(
                f"\n{len(cohorts)} tissues, left-out lines as {name} shows them at {share:.0%} of the counts (slope {platform.slope:.2f}, "
                f"sharpness {platform.sharpness:.2f})"
            )
            show(screen, cohorts)
            if arguments.real:
                print(f"the cells of {name} themselves")
                show(screen, [cohort])


if __name__ == "__main__":
    main()
