"""Whether responses can be what they are stated to be."""

from __future__ import annotations

import warnings

import numpy as np

from ._measures import CONCENTRATIONS, POWERS, Measure, find_measure

#: No measure of drug response reaches this; placeholders for what is missing do.
_ABSURD = 1e12
#: Values from which on the shape of a distribution says something.
_MANY = 50


def check_values(values: np.ndarray, measure: Measure, *, where: str) -> None:
    """Raise if responses cannot be what they are stated to be.

    Parameters
    ----------
    values
        Responses; NaN where not measured (any shape).
    measure
        What they are stated to be.
    where
        What holds them, for the message.

    Raises
    ------
    ValueError
        If they contradict the measure; the message says what was found and which measures fit.

    Warns
    -----
    UserWarning
        If they look like something else, without being impossible.
    """
    values = np.asarray(values, dtype=np.float64).ravel()
    values = values[~np.isnan(values)]
    check_finite(values, where=where)
    if not values.size:
        return
    problem = _problem(values, measure)
    found = (
        f"{values.min():.4g} to {values.max():.4g}, median {np.median(values):.4g}"
        if values.size > 1
        else f"{values[0]:.4g}"
    )
    if problem is not None:
        raise ValueError(
            f"`{where}` holds values that {measure.name}{f' in {measure.unit}' if measure.unit else ''} ({measure.what}) cannot "
            f"have: {problem} (found {found}). State what they are with `measure=` and `unit=`.{_fitting(values)}"
        )
    suspicion = _suspicion(values, measure)
    if (
        suspicion is None
        and measure.name in CONCENTRATIONS
        and values.max() > 100 * max(float(np.median(values)), 1e-300)
    ):
        warnings.warn(
            f"`{where}` spans orders of magnitude ({found} {measure.unit}): models learn logarithms of concentrations better "
            f"(`measure='ln_{measure.name}'`).",
            UserWarning,
            stacklevel=4,
        )
    if suspicion is not None:
        warnings.warn(
            f"`{where}` is stated to be {measure.name}, but {suspicion} (found {found}). Check `measure=` and `unit=`.",
            UserWarning,
            stacklevel=4,
        )


def check_finite(values: np.ndarray, *, where: str) -> None:
    """Raise if responses hold infinities, or numbers that can only stand for what is missing."""
    if np.isinf(values).any():
        raise ValueError(f"`{where}` holds infinite responses. Use NaN for what is not measured.")
    if values.size and np.nanmax(np.abs(values), initial=0.0) >= _ABSURD:
        raise ValueError(
            f"`{where}` reaches {np.nanmax(np.abs(values)):.3g}, which no measure of drug response does. If such numbers stand for "
            "what is missing, replace them by NaN."
        )


def _problem(values: np.ndarray, measure: Measure) -> str | None:
    span = measure.high - measure.low if np.isfinite(measure.high - measure.low) else 0.0
    raw = measure.low == 0 and measure.name in CONCENTRATIONS
    outside = (values < measure.low) | (values > measure.high)
    if raw and (values < 0).any():
        return f"{int((values < 0).sum()):,} of {len(values):,} are negative, as only logarithms are"
    far = (values < measure.low - span / 4) | (values > measure.high + span / 4)
    if outside.mean() > 0.01 or far.any():
        return f"{int(outside.sum()):,} of {len(values):,} lie outside {measure.low:.4g} to {measure.high:.4g}"
    median = float(np.median(values))
    if len(values) >= _MANY and not measure.median_low <= median <= measure.median_high:
        return f"their median lies outside {measure.median_low:.4g} to {measure.median_high:.4g}"
    if len(values) >= _MANY and measure.high >= 100 and measure.low > -500 and 0 < np.abs(values).max() <= 1.5:
        return (
            "all of them look like fractions, not percent" if "percent" in measure.unit or "%" in measure.unit else None
        )
    return None


def _suspicion(values: np.ndarray, measure: Measure) -> str | None:
    if len(values) < _MANY:
        return None
    if measure.name.startswith("ln_"):
        if measure.unit == "ln(µM)" and values.min() > 2 and values.max() < 13:
            return "no line responds below 7 µM; pIC50 look like this"
        if values.min() > 0 and values.mean() > 2 * np.median(values):
            return "all values are positive and most are small, as concentrations are before the logarithm"
    if measure.name == "AUC" and measure.high < 2 and np.median(values) < 0.3:
        return "most values are near 0, as areas above the curve (AAC) are"
    if measure.name == "AAC" and measure.high < 2 and np.median(values) > 0.7:
        return "most values are near 1, as areas under the curve (AUC) are"
    if measure.name in CONCENTRATIONS and np.median(values) > 1e-3 * 10.0 ** POWERS[measure.unit]:
        return "most concentrations are above 1 mM, as where another unit was meant"
    if measure.name == "DSS" and values.max() <= 1.5:
        return "all values are fractions"
    return None


def _fitting(values: np.ndarray) -> str:
    """Measures that the values could be."""
    candidates = [
        ("ln_IC50", "ln(µM)"), ("ln_IC50", "ln(nM)"), ("log10_IC50", "log10(M)"), ("pIC50", "-log10(M)"), ("IC50", "µM"), ("IC50", "nM"),
        ("AUC", "fraction"), ("AUC", "percent"), ("AAC", "fraction"), ("viability", "percent"), ("DSS", ""),
    ]  # fmt: skip
    fit = []
    for name, unit in candidates:
        measure = find_measure(name, unit)
        assert measure is not None
        if _problem(values, measure) is None and _suspicion(values, measure) is None:
            fit.append(f"{name} in {unit}" if unit else name)
    return f" Within bounds would be: {'; '.join(fit[:6])}." if fit else ""
