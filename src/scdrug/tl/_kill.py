"""How much of a clone a drug kills: from a predicted IC50 and the concentration that is reached."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from .._validate import check_choice, examples
from ..pp._drugs import resolve_drugs
from ..pp._measures import POWERS, to_ln_micromolar
from ._group_intervals import GroupResponse, line_quantiles
from ._stored import Predictions

#: Concentrations as a caller may give them: by drug, or a table.
Concentrations = Mapping[str, float] | pd.Series | pd.DataFrame
#: Concentrations above this, in µM, are taken for a mistake in the unit: drugs do not dissolve to that.
_HIGHEST = 1e5


def kill(ln_ic50: np.ndarray, ln_concentration: np.ndarray, hill: np.ndarray | float = 1.0) -> np.ndarray:
    """Share of cells that is killed, 1 / (1 + (IC50 / C)^h), from natural logarithms.

    Examples
    --------
    >>> import numpy as np
    >>> from scdrug.tl._kill import kill
    >>> kill(np.log([1.0, 3.0]), np.log(1.0)).tolist()
    [0.5, 0.25]
    """
    return 1 / (1 + np.exp(np.clip(hill * (ln_ic50 - ln_concentration), -700, 700)))


@dataclass(frozen=True)
class Doses:
    """At what concentration each drug is asked about (drugs)."""

    #: ln(µM); NaN for drugs without a concentration.
    ln_concentration: np.ndarray
    #: ln(µM) of the highest dose that was tested; NaN where it is not known.
    ln_highest: np.ndarray
    hill: np.ndarray
    #: Whether the concentration was lowered to the highest dose that was tested.
    capped: np.ndarray
    #: Where concentrations come from.
    source: str

    @property
    def are_tested(self) -> bool:
        """Whether the highest dose that was tested is known of any drug."""
        return bool(np.isfinite(self.ln_highest).any())


def read_doses(
    predictions: Predictions,
    concentrations: Concentrations | None,
    *,
    unit: str,
    max_dose: Concentrations | None,
    hill: float | Concentrations,
) -> Doses:
    """Concentrations of a caller's table, or the median IC50 of the screen, at most the highest dose that was tested.

    Raises
    ------
    KeyError
        If a drug is unknown.
    ValueError
        If predictions have no dose, a number is not positive, or concentrations are beyond what dissolves.

    Warns
    -----
    UserWarning
        If concentrations are lowered to the highest dose tested.
    """
    if concentrations is None:
        median = _median_of_lines(predictions)
        if median is None:
            raise ValueError(
                "The predictions do not say what the median IC50 of the screen is, as those of older versions. Pass "
                "`concentrations`, or run scdrug.tl.predict_response(adata) again."
            )
        ln_concentration, source = median, "median of the predicted IC50 over the lines of the screen"
    else:
        ln_concentration, source = by_drug(predictions, concentrations, "concentrations", unit=unit), "given"
    if max_dose is not None:
        highest = by_drug(predictions, max_dose, "max_dose", unit=unit)
    elif "max_dose" in predictions.drugs:
        with np.errstate(divide="ignore", invalid="ignore"):
            highest = np.log(pd.to_numeric(predictions.drugs["max_dose"], errors="coerce").to_numpy(dtype=float))
    else:
        highest = np.full(len(ln_concentration), np.nan)
    capped = ln_concentration > highest
    if capped.any():
        warnings.warn(
            f"The concentration of {int(capped.sum())} drugs ({source}) lies beyond the doses that were tested: it is capped at the highest "
            f"one, for example {examples(predictions.drugs['name'].to_numpy()[capped], 3)}.",
            UserWarning,
            stacklevel=3,
        )
    if isinstance(hill, int | float):
        slopes = np.full(len(ln_concentration), float(hill))
    else:
        slopes = np.nan_to_num(np.exp(by_drug(predictions, hill, "hill")), nan=1.0)
    return Doses(np.where(capped, highest, ln_concentration), highest, slopes, capped, source)


def dose_of(predictions: Predictions):
    """Function that turns predicted values into ln(µM); raises :class:`ValueError` where these have no dose."""
    to_ln = to_ln_micromolar(predictions.measure, predictions.unit)
    if to_ln is None:
        raise ValueError(
            f"Predictions are {predictions.label('response')!r}, which has no dose to reckon with. How much a concentration kills follows "
            "from a concentration of half an effect: use a model trained on IC50, such as the bundled 'gdsc-ridge'."
        )
    return to_ln


def by_drug(predictions: Predictions, given: Concentrations, argument: str, *, unit: str | None = None) -> np.ndarray:
    """Natural logarithm of positive numbers by drug, in µM if they have a unit; NaN for drugs that are not named (drugs)."""
    values = _as_series(given, argument)
    numbers = pd.to_numeric(values, errors="coerce").to_numpy(dtype=float)
    wrong = ~(np.isfinite(numbers) & (numbers > 0)) & values.notna().to_numpy()
    if wrong.any():
        shown = [f"{name}: {value}" for name, value in values[wrong].items()]
        raise ValueError(f"`{argument}` must hold positive numbers by drug; found {examples(shown)}.")
    found = np.full(len(predictions.drugs), np.nan)
    position = {drug: number for number, drug in enumerate(predictions.drugs.index)}
    shift = 0.0
    if unit is not None:
        shift = (POWERS["µM"] - POWERS[read_unit(unit)]) * np.log(10.0)
    for name, number in zip(values.index, numbers, strict=True):
        for drug in resolve_drugs([str(name)], predictions.drugs):
            found[position[drug]] = np.log(number) + shift
    if unit is not None and np.nanmax(found, initial=-np.inf) > np.log(_HIGHEST):
        worst = predictions.drugs["name"].iloc[int(np.nanargmax(found))]
        raise ValueError(
            f"`{argument}` gives {np.exp(np.nanmax(found)):,.0f} µM for {worst!r}, which no drug reaches. If the numbers are in another "
            "unit, state it: `concentration_unit='nM'`."
        )
    return found


def read_unit(unit: str) -> str:
    """Unit of concentration, whatever the spelling of micro."""
    text = {"uM": "µM", "μM": "µM", "um": "µM"}.get(unit, unit)
    check_choice("concentration_unit", text, tuple(POWERS))
    return text


def _as_series(given: Concentrations, argument: str) -> pd.Series:
    if isinstance(given, pd.DataFrame):
        table = given.set_index("drug") if "drug" in given else given
        column = next((name for name in (argument, "concentration", "max_dose", "hill") if name in table), None)
        if column is None and table.shape[1] != 1:
            raise ValueError(
                f"`{argument}` must be a table with one column of numbers by drug, or the columns 'drug' and 'concentration'; found "
                f"{examples(given.columns)}."
            )
        given = table[column] if column is not None else table.iloc[:, 0]
    values = pd.Series(given, dtype=object)
    if values.empty:
        raise ValueError(f"`{argument}` is empty: name at least one drug, or omit it.")
    twice = values.index[values.index.duplicated()].unique()
    if len(twice):
        raise ValueError(f"`{argument}` names drugs twice: {examples(twice)}.")
    return values


def median_line(predictions: Predictions, doses: Doses) -> np.ndarray:
    """Kill of a line that is in the middle of the screen for every drug (drugs); NaN where predictions do not tell."""
    ln_ic50 = _median_of_lines(predictions)
    if ln_ic50 is None:
        return np.full(len(doses.hill), np.nan)
    return kill(ln_ic50, doses.ln_concentration, doses.hill)


def _median_of_lines(predictions: Predictions) -> np.ndarray | None:
    """ln(µM) of the median predicted IC50 over the lines of the screen (drugs), if it is known."""
    known = line_quantiles(predictions)
    if known is None:
        return None
    probabilities, quantiles = known
    return dose_of(predictions)(quantiles[:, np.argmin(np.abs(probabilities - 0.5))])


@dataclass(frozen=True)
class Kills:
    """Share of each group that each drug kills, by itself (groups × drugs)."""

    estimate: np.ndarray
    #: At the bounds of the interval of the IC50; NaN where none is stated.
    lower: np.ndarray
    upper: np.ndarray
    #: Whether the IC50 lies beyond the highest dose that was tested.
    beyond: np.ndarray


def kills_of_groups(groups: GroupResponse, predictions: Predictions, doses: Doses) -> Kills:
    """Kill of groups at their predicted IC50 and at the bounds of its interval."""
    to_ln = dose_of(predictions)
    at = lambda values: kill(to_ln(values), doses.ln_concentration, doses.hill)
    bounds = at(groups.response - groups.half_width), at(groups.response + groups.half_width)
    with np.errstate(invalid="ignore"):
        beyond = to_ln(groups.response) > doses.ln_highest
    return Kills(at(groups.response), np.minimum(*bounds), np.maximum(*bounds), beyond)
