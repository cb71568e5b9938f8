"""Groups side by side, as a table whose cells are coloured: it can be read aloud, sorted, and printed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..pl._style import MIDDLE, RESISTANT, SENSITIVE
from ._read import Results
from ._tables import packed_csv
from ._top import leading_drugs

_MAX_DRUGS = 40


@dataclass(frozen=True)
class HeatMap:
    """Drugs × groups.

    Attributes
    ----------
    groups
        Name of each, and whether its predictions are refused.
    rows
        Of each drug its name and, of each group, the percentile as text and the colours of cell and text.
    csv
        The numbers, packed.
    """

    groups: list[tuple[str, bool]]
    rows: list[tuple[str, list[tuple[str, str, str]]]]
    csv: str


def heat_map(results: Results, n_drugs: int) -> HeatMap | None:
    """Percentiles of the leading drugs in all groups; `None` without groups."""
    if results.response is None or results.groups is None:
        return None
    drugs = leading_drugs(results, n_drugs, _MAX_DRUGS)
    table = results.response.assign(group=results.response["group"].astype(str))
    values = table.pivot(index="drug", columns="group", values="percentile")
    groups = [
        (str(group), bool(refused))
        for group, refused in zip(results.groups["group"], results.groups["refused"], strict=True)
        if str(group) in values
    ]
    values = values.loc[drugs, [group for group, _ in groups]]
    names = results.drugs["name"].reindex(values.index).to_numpy()
    rows = [
        (str(name), [_cell(value) for value in row])
        for name, row in zip(names, values.to_numpy(dtype=float), strict=True)
    ]
    return HeatMap(groups, rows, packed_csv(values.rename_axis("drug").reset_index()))


def _cell(value: float) -> tuple[str, str, str]:
    if not np.isfinite(value):
        return "–", "transparent", "inherit"
    red, green, blue = color = _mix(value)
    bright = (0.299 * red + 0.587 * green + 0.114 * blue) > 140
    return f"{value:.2f}", "#{:02x}{:02x}{:02x}".format(*color), "#16191d" if bright else "#ffffff"


def _mix(value: float) -> tuple[int, int, int]:
    """Colour of a percentile: the middle of the scale is the median line."""
    end = SENSITIVE if value >= 0.5 else RESISTANT
    share = min(abs(value - 0.5) * 2, 1.0)
    parse = lambda text: np.array([int(text[place : place + 2], 16) for place in (1, 3, 5)])
    mixed = parse(MIDDLE) + share * (parse(end) - parse(MIDDLE))
    return tuple(int(round(part)) for part in mixed)  # type: ignore[return-value]
