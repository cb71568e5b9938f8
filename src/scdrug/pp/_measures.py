"""Measures of drug response: what their values mean, and what they can be."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from .._validate import nearest

DIRECTIONS = ("lower is more sensitive", "higher is more sensitive")
#: Concentrations of half an effect, and the like: all are low in sensitive lines.
CONCENTRATIONS = ("IC50", "EC50", "GI50", "GR50", "AC50", "CC50", "LC50", "ED50", "IC90", "TGI")
#: Units of concentration, as the power of ten that a molar is of them.
POWERS = {"M": 0, "mM": 3, "µM": 6, "nM": 9, "pM": 12}
_UNIT_WORDS = {
    "molar": "M", "mol/l": "M", "m": "M", "millimolar": "mM", "mmol/l": "mM", "mm": "mM", "micromolar": "µM", "umol/l": "µM",
    "um": "µM", "nanomolar": "nM", "nmol/l": "nM", "nm": "nM", "picomolar": "pM", "pmol/l": "pM", "pm": "pM",
}  # fmt: skip
#: Bounds of log10 of molar concentrations, wide enough for extrapolated fits, and of their median over a screen.
_LOG_MOLAR, _MEDIAN_LOG_MOLAR = (-17.0, 3.0), (-10.5, -2.0)


@dataclass(frozen=True)
class Measure:
    """What is known of a measure in one unit."""

    name: str
    unit: str
    lower_is_sensitive: bool
    #: Nearly all values lie between these.
    low: float = -np.inf
    high: float = np.inf
    #: The median over a screen lies between these.
    median_low: float = -np.inf
    median_high: float = np.inf
    #: What the values are, for messages.
    what: str = ""

    def __neg__(self) -> Measure:
        return replace(
            self,
            name=f"-{self.name}",
            lower_is_sensitive=not self.lower_is_sensitive,
            low=-self.high,
            high=-self.low,
            median_low=-self.median_high,
            median_high=-self.median_low,
        )


#: Measures without a concentration: name, other spellings, unit, lower is sensitive, bounds, what it is.
_BOUNDED = (
    ("AUC", ("auc01", "aucfraction", "areaunderthecurve", "areaunderthedoseresponsecurve", "publishedauc", "recomputedauc", "aucrecomputed",
             "aucpublished"), "fraction", True, -0.05, 1.25, "area under the curve of viability"),
    ("AAC", ("aacrecomputed", "recomputedaac", "aacpublished", "areaabovethecurve", "areaabovecurve", "1auc"), "fraction", False, -0.05, 1.05,
     "area above the curve of viability"),
    ("DSS", ("dss1", "dss2", "dss3", "drugsensitivityscore"), "", False, -1.0, 101.0, "drug sensitivity score, 0-100"),
    ("sDSS", ("selectivedss", "selectivedrugsensitivityscore"), "", False, -101.0, 101.0, "selective drug sensitivity score"),
    ("viability", ("cellviability", "relativeviability", "survival", "cellsurvival", "survivingfraction", "percentviability",
                   "viabilitypercent"), "fraction", True, -0.25, 2.0, "share of living cells"),
    ("inhibition", ("percentinhibition", "growthinhibition", "inhibitionpercent"), "fraction", False, -1.0, 1.05, "share of growth that is lost"),
    ("GRmax", ("grinf", "grvalue", "gr"), "", True, -1.05, 1.75, "growth rate under treatment over that without"),
    ("GRAOC", ("graoc",), "", False, -0.5, 2.05, "area over the curve of growth rates"),
    ("ActArea", ("activityarea",), "", False, -2.0, 16.0, "activity area of CCLE"),
    ("log2 fold change", ("log2fc", "lfc", "logfoldchange", "log2foldchange"), "log2", True, -20.0, 15.0, "cells under treatment over control"),
    ("activity z", ("nci60activity", "nci60z", "nci60zscore", "activityzscore", "zscoreofactivity", "activityz", "compoundactivity",
                    "nci60activityz"), "SD", False, -20.0, 20.0, "standardised activity as in NCI-60"),
    ("sensitivity", ("sensitive", "probabilityofsensitivity"), "", False, -0.01, 1.01, "label or probability of being sensitive"),
    ("BestAvgResponse", ("bestaverageresponse",), "percent", True, -101.0, np.inf, "change of the volume of a tumour"),
    ("BestResponse", (), "percent", True, -101.0, np.inf, "change of the volume of a tumour"),
)  # fmt: skip


def _simple(name: object) -> str:
    text = str(name).replace("µ", "u").replace("μ", "u").replace("%", "percent")
    return re.sub(r"[^a-z0-9]", "", text.lower())


_BY_NAME = {_simple(spelling): row for row in _BOUNDED for spelling in (row[0], *row[1])}
_CONCENTRATION_NAME = re.compile(
    r"(?P<form>ln|loge|log10|log2|log|p)?(?P<what>" + "|".join(map(str.lower, CONCENTRATIONS)) + r")"
    r"(?P<unit>um|nm|pm|mm|m)?"
)
_CONCENTRATION_UNIT = re.compile(r"(?P<sign>[-−])?(?P<form>ln|loge|log10|log2|log)?\(?(?P<unit>[a-z/]+)\)?")
_BASES = {"ln": np.e, "log10": 10.0, "log2": 2.0}


def known_measures() -> str:
    """Names of measures, for messages."""
    return ", ".join(
        ["ln_IC50", "log10_IC50", "IC50", "pIC50", "EC50", "GI50", "GR50", *(row[0] for row in _BOUNDED[:10])]
    )


def find_measure(name: str, unit: str | None = None) -> Measure | None:
    """Look a measure up, whatever its spelling.

    Parameters
    ----------
    name
        Such as ``"ln_IC50"``, ``"pIC50"``, ``"AAC"``; with a minus in front for values that were negated.
    unit
        Unit, if stated.

    Returns
    -------
    The measure in that unit (in its usual one if none is stated), `None` if there is no measure of the name.

    Raises
    ------
    ValueError
        If the unit is none of the measure's, or has to be stated.

    Examples
    --------
    >>> from scdrug.pp._measures import find_measure
    >>> find_measure("pIC50").lower_is_sensitive, find_measure("LN IC50").unit, find_measure("IC50", "nM").high
    (False, 'ln(µM)', 1000000000000.0)
    """
    text = str(name).strip()
    if text[:1] in ("-", "−"):
        rest = text[1:].strip()
        if _simple(rest).startswith("log10"):  # −log10(IC50) is pIC50
            return find_measure(f"p{_simple(rest)[5:]}", unit)
        found = find_measure(rest, unit)
        return None if found is None else -found
    stated = "" if unit is None else str(unit).strip()
    match = _CONCENTRATION_NAME.fullmatch(_simple(text))
    if match is not None:
        return _concentration(text, stated, match)
    row = _BY_NAME.get(_simple(text))
    return None if row is None else _bounded(row, stated)


def _concentration(name: str, stated: str, match: re.Match[str]) -> Measure:
    what = next(item for item in CONCENTRATIONS if item.lower() == match["what"])
    form = {"loge": "ln"}.get(match["form"] or "", match["form"] or "")
    power, unit_form = _read_unit(stated)
    if stated and power is None:
        usual = {"": "'µM'", "p": "'-log10(M)'"}.get(form, f"'{form}(µM)'")
        raise ValueError(
            f"`unit={stated!r}` is not a unit of {name!r}, which is about a concentration. State one such as {usual}, or leave it out."
        )
    if match["unit"] and power is not None and _UNIT_WORDS[match["unit"]] != power:
        raise ValueError(
            f"`measure={name!r}` says {_UNIT_WORDS[match['unit']]}, but `unit={stated!r}`. State one of the two."
        )
    if form == "log":  # of which base, the unit may tell
        if unit_form not in _BASES:
            raise ValueError(
                f"`measure={name!r}` does not say to which base. State `measure='ln_{what}'`, `'log10_{what}'` or `'log2_{what}'`."
            )
        form = unit_form
    right = {"p": ("", "log10", "-log10", "log")}.get(form, ("", form, "log") if form else ("",))
    if unit_form not in right:
        fitting = {"ln": f"ln_{what}", "log10": f"log10_{what}", "log2": f"log2_{what}", "-log10": f"p{what}", "": what}
        other = f" Values in {stated} are `measure={fitting[unit_form]!r}`." if unit_form in fitting else ""
        raise ValueError(f"`unit={stated!r}` contradicts `measure={name!r}`.{other}")
    power = power or (_UNIT_WORDS[match["unit"]] if match["unit"] else None)
    if not form and power is None:
        raise ValueError(f"`measure={name!r}` can be in many units. State it: `unit='µM'`, `'nM'` or `'M'`.")
    power = power or ("M" if form == "p" else "µM")
    shift = POWERS[power]
    low, high, median_low, median_high = (bound + shift for bound in (*_LOG_MOLAR, *_MEDIAN_LOG_MOLAR))
    described = (
        f"{'' if not form else 'negative log10 of ' if form == 'p' else f'{form} of '}the concentration in {power}"
    )
    if form == "p":
        # a value below 0 would be a concentration above one of the unit, which molar ones never are
        bounds = (0.0 if power == "M" else -high, -low, -median_high, -median_low)
        return Measure(f"p{what}", f"-log10({power})", False, *bounds, what=described)
    if form:
        factor = np.log(10) / np.log(_BASES[form])
        bounds = tuple(bound * factor for bound in (low, high, median_low, median_high))
        return Measure(f"{form}_{what}", f"{form}({power})", True, *bounds, what=described)
    return Measure(what, power, True, 0.0, 10.0**high, 10.0**median_low, 10.0**median_high, what=described)


def _read_unit(unit: str) -> tuple[str | None, str]:
    """Unit of concentration, and the logarithm that was taken of it."""
    match = _CONCENTRATION_UNIT.fullmatch(re.sub(r"[\s\[\]_]", "", unit.replace("µ", "u").replace("μ", "u")).lower())
    if match is None or match["unit"] not in _UNIT_WORDS:
        return None, ""
    form = {"loge": "ln"}.get(match["form"] or "", match["form"] or "")
    return _UNIT_WORDS[match["unit"]], f"-{form}" if match["sign"] and form else form


def _bounded(row: tuple[Any, ...], stated: str) -> Measure:
    name, _, unit, lower, low, high, what = row
    if stated and _read_unit(stated)[0] is not None:
        usual = f" Its unit is {unit!r}." if unit else " It has no unit."
        raise ValueError(f"`unit={stated!r}` is not a unit of {name}, {what}.{usual}")
    text = stated.lower()
    if unit == "fraction" and ("percent" in text or "%" in text or "100" in text):
        return Measure(name, stated, lower, 100 * low, 100 * high, what=what)
    if stated and unit == "fraction" and not ("fraction" in text or "0-1" in text or "0–1" in text or "ratio" in text):
        return Measure(name, stated, lower, what=what)  # a scale of its own: only the direction is known
    return Measure(name, stated or unit, lower, low, high, what=what)


def read_direction(direction: object, *, where: str) -> bool:
    """Read a direction: whether lower values are more sensitive.

    Raises
    ------
    ValueError
        If it is neither of :data:`DIRECTIONS` nor their first word.
    """
    text = " ".join(str(direction).lower().split())
    for stated, lower in zip(DIRECTIONS, (True, False)):
        if text in (stated, stated.split()[0], stated.replace("more ", "")):
            return lower
    raise ValueError(f"`{where}` must be {DIRECTIONS[0]!r} or {DIRECTIONS[1]!r}; found {direction!r}.")


def read_description(adata_uns: Mapping[str, Any], *, warn: bool = False) -> dict[str, str]:
    """Read `measure`, `unit` and `direction` of a reference's responses.

    Parameters
    ----------
    adata_uns
        ``adata.uns``; its entry ``"response"`` describes the responses.
    warn
        Warn if nothing is stated, or the direction is not the one that the measure has.

    Returns
    -------
    `measure`, `unit`, and `direction`, one of :data:`DIRECTIONS`.

    Raises
    ------
    ValueError
        If the direction is unknown, or is neither stated nor known from the measure.

    """
    stated, where = adata_uns.get("response"), "adata.uns['response']"
    if stated is None:
        if warn:
            warnings.warn(
                f"`{where}` is missing, so nothing says what the responses are. They are read as lower = more sensitive; state "
                "`measure`, `unit` and `direction` there.",
                UserWarning,
                stacklevel=6,
            )
        return {"measure": "response", "unit": "", "direction": DIRECTIONS[0]}
    if not isinstance(stated, Mapping):
        raise ValueError(f"`{where}` must hold `measure`, `unit` and `direction`; found {type(stated).__name__}.")
    measure, unit = str(stated.get("measure", "response")), str(stated.get("unit", ""))
    try:
        known = find_measure(measure, unit)
    except ValueError:  # the measure is known, if not in this unit
        known = None
    if "direction" not in stated:
        if known is None:
            raise ValueError(
                f"`{where}` has no `direction`, and none is known of the measure {measure!r}. Set `direction` to "
                f"{DIRECTIONS[0]!r} or {DIRECTIONS[1]!r}. Known measures are {known_measures()}."
            )
        lower = known.lower_is_sensitive
    else:
        lower = read_direction(stated["direction"], where=f"{where}['direction']")
        if warn and known is not None and lower != known.lower_is_sensitive:
            warnings.warn(
                f"`{where}` says that {DIRECTIONS[0 if lower else 1]}, but {known.name} ({known.what}) is the other way round. The "
                f"direction is taken as it is stated; if the values were negated, name the measure '-{known.name}'.",
                UserWarning,
                stacklevel=6,
            )
    return {"measure": measure, "unit": unit, "direction": DIRECTIONS[0 if lower else 1]}


def lower_is_sensitive(adata_uns: Mapping[str, Any]) -> bool:
    """Direction of the responses that ``adata.uns`` describes, see :func:`read_description`."""
    return read_description(adata_uns)["direction"] == DIRECTIONS[0]


def describe_response(
    measure: str, unit: str | None, direction: str | None, lower_is_sensitive: bool | None = None
) -> Measure:
    """Settle what a response is from what is stated of it and what is known.

    Raises
    ------
    ValueError
        If a statement contradicts what is known, or the direction of an unknown measure is not stated.
    """
    known = find_measure(measure, unit)
    lower = None if direction is None else read_direction(direction, where="direction")
    if lower_is_sensitive is not None:
        if lower is not None and lower != bool(lower_is_sensitive):
            raise ValueError(
                f"`direction={direction!r}` and `lower_is_sensitive={lower_is_sensitive}` contradict each other. State one."
            )
        lower = bool(lower_is_sensitive)
    if known is not None:
        if lower is not None and lower != known.lower_is_sensitive:
            right = DIRECTIONS[0 if known.lower_is_sensitive else 1]
            raise ValueError(
                f"{DIRECTIONS[0 if lower else 1]!r} was stated, but of {known.name} ({known.what}) {right}. Leave `direction` out, or, if "
                f"the values were turned round, say so with `measure={(-known).name if known.name[0] != '-' else known.name[1:]!r}`."
            )
        return known
    if lower is None:
        near = nearest(measure, [*CONCENTRATIONS, *(row[0] for row in _BOUNDED)], n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise ValueError(
            f"`measure={measure!r}` is not known, so `direction` must be given: {DIRECTIONS[0]!r} or {DIRECTIONS[1]!r}.{hint} Known "
            f"measures are {known_measures()}."
        )
    return Measure(str(measure), unit or "", lower)


def to_ln_micromolar(measure: str, unit: str) -> Callable[[np.ndarray], np.ndarray] | None:
    """How values of a measure become the natural logarithm of the concentration of half an effect, in µM.

    Parameters
    ----------
    measure, unit
        As a reference states them.

    Returns
    -------
    A function of values, or `None` if the measure is no concentration of half an effect, such as an area or a total inhibition.

    Examples
    --------
    >>> from scdrug.pp._measures import to_ln_micromolar
    >>> float(to_ln_micromolar("pIC50", "-log10(M)")(6.0)), to_ln_micromolar("AUC", "fraction")
    (0.0, None)
    """
    text = str(measure).strip()
    negated = text[:1] in ("-", "−")
    try:
        known = find_measure(text[1:] if negated else text, unit or None)
    except ValueError:
        return None
    match = None if known is None else _CONCENTRATION_NAME.fullmatch(_simple(known.name))
    if known is None or match is None or not match["what"].endswith("50"):
        return None
    power, form = _read_unit(known.unit)
    shift = (POWERS["µM"] - POWERS[power]) * np.log(10.0) if power else 0.0
    factor = {"ln": 1.0, "log10": np.log(10.0), "log2": np.log(2.0), "-log10": -np.log(10.0)}.get(form)
    sign = -1.0 if negated else 1.0
    if factor is None:
        return lambda values: np.log(np.maximum(sign * np.asarray(values, dtype=float), 1e-300)) + shift
    return lambda values: factor * sign * np.asarray(values, dtype=float) + shift
