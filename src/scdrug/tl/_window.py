"""How much more sensitive malignant cells are than normal cells of the same donor."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy import stats

from .._arguments import checked
from .._constants import KEYS
from .._labels import Label, group_labels, label_text, marked_cells, select_groups
from .._store import holds_table, reserve, store
from .._validate import check_key, examples, plain
from ..pp._reference import MIN_LINES
from ._class_sums import class_sums
from ._group_intervals import GroupResponse, among_lines, group_response, interval_level
from ._group_reliability import judge_groups
from ._keys import MIN_RELIABILITY
from ._rank import _leave_out_few_lines
from ._stored import Predictions, read_predictions

if TYPE_CHECKING:
    from anndata import AnnData

MALIGNANT, NORMAL = 0, 1
NOTE = (
    "The window is relative: the screen holds no normal cells, so nothing is known about the dose that normal cells bear. It orders "
    "drugs by how differently the model reads the two kinds of cells."
)


@checked
def therapeutic_window(
    adata: AnnData,
    malignant: Label | Sequence[Label],
    normal: Label | Sequence[Label],
    *,
    groupby: str | None = None,
    sample_key: str | None = None,
    threshold: float = 0.5,
    min_cells: int = 10,
    min_lines: int = MIN_LINES,
    key: str = KEYS.PREDICTED,
    key_added: str = "therapeutic_window",
    copy: bool = False,
) -> AnnData | None:
    """Estimate for each drug how much more sensitive malignant cells are than normal ones, donor by donor.

    Parameters
    ----------
    adata
        Cells with the results of :func:`scdrug.tl.predict_response`.
    malignant, normal
        With `groupby`, one or several of its groups; without, boolean columns of `obs` that mark the cells. Other cells, such as
        immune cells, are left out.
    groupby
        Column of `obs` with the groups.
    sample_key
        Column of `obs` with the donor of each cell. With it, malignant and normal cells are paired within donors, and the interval
        is over donors. Without it all cells count as of one donor.
    threshold
        Percentile from which a cell counts as responding, 0-1: 0.5 is the median line of the screen.
    min_cells
        Least number of cells of each side, in each donor.
    min_lines
        Least number of cell lines that a drug was trained on, where the model knows it; drugs with fewer are left out, with a
        warning.
    key
        Where :func:`scdrug.tl.predict_response` stored its results.
    key_added
        Key of `uns` for the result.
    copy
        Return a copy instead of writing to `adata`.

    Returns
    -------
    `None`, or a copy of `adata`, with

    ``adata.uns["therapeutic_window" | key_added]["table"]`` : DataFrame
        One row per drug, the widest window first: `rank`, `drug` (id), `name`;

        - `window`: percentile of the malignant minus that of the normal cells, mean over donors, -1 to 1; **positive = malignant cells
          are more sensitive**;
        - `lower`, `upper`: its interval, at the level of the predictions' intervals, and `sd`, the standard deviation of the window
          over donors (NaN for one);
        - `percentile_malignant`, `percentile_normal`: means over donors, 0-1;
        - `share_malignant_above`: share of malignant cells at or above `threshold`; `share_normal_below`: of normal cells below it; means over
          donors;
        - `n_samples`, `targets`, `pathway`.
    ``adata.uns["therapeutic_window" | key_added]["samples"]`` : DataFrame
        The same by donor: `sample`, `drug`, `window`, `n_malignant`, `n_normal`.
    ``adata.uns["therapeutic_window" | key_added]["params"]`` : dict
        Arguments, numbers of cells, reliability of both sides, and what the window says.

    Raises
    ------
    KeyError
        If there are no predictions, or a column or group does not exist.
    ValueError
        If there are no malignant or no normal cells, cells are both, or no donor has `min_cells` of each.

    Warns
    -----
    UserWarning
        If donors or drugs are left out, either side is unreliable, or there is one donor.

    See Also
    --------
    scdrug.get.therapeutic_window_df : the table.
    scdrug.pl.therapeutic_window : the drugs with the widest window.

    Notes
    -----
    The window is *relative*: no screen of lines holds normal cells. Most normal cells rest, for which the reliability is 0: the
    window is computed all the same, and says so.

    Each donor's group is to the model what a new line is, so its percentile has the bounds of the interval of
    :func:`scdrug.get.group_response_df`, placed among the lines. The interval of a difference of two percentiles follows from theirs by the
    recovery of variance estimates (Zou and Donner 2008); errors of donors count as independent. The interval
    of the mean adds in squares Student's interval over donors. Errors that all normal cells share are not in it.

    Examples
    --------
    >>> import scdrug
    >>> cells, reference = scdrug.datasets.toy_cells(), scdrug.datasets.toy()
    >>> scdrug.model.KernelRidge.setup_anndata(reference)
    >>> model = scdrug.model.KernelRidge(reference)
    >>> model.train()
    >>> scdrug.tl.predict_response(cells, model)
    >>> scdrug.tl.therapeutic_window(cells, ["clone-a", "clone-b"], "normal", groupby="clone", sample_key="sample")
    >>> table = scdrug.get.therapeutic_window_df(cells)
    >>> bool((table["lower"] <= table["window"]).all())
    True
    """
    if not 0 <= threshold <= 1:
        raise ValueError(f"`threshold` is a percentile between 0 and 1; found {threshold}.")
    function = "scdrug.tl.therapeutic_window"
    recognise = holds_table("drug", "window", "share_normal_below")
    reserve(adata, [("uns", key_added)], report=key_added, recognise=recognise, function=function)
    predictions, few_lines = _leave_out_few_lines(read_predictions(adata, key), min_lines)
    sides = np.where(predictions.predicted, read_sides(adata, malignant, normal, groupby), -1)
    donors, names = _read_donors(adata, sample_key, sides)
    kept = _donors_with_both(sides, donors, names, min_cells, sample_key)
    place = np.full(len(names) + 1, -1)
    place[kept] = np.arange(len(kept))
    codes = np.where((sides >= 0) & (place[donors] >= 0), 2 * place[donors] + sides, -1)

    groups = group_response(predictions, codes, 2 * len(kept))
    level = interval_level(predictions)
    windows = paired_windows(groups, predictions)
    lower, upper, sd = interval_over_donors(windows, level)
    share = _shares_above(predictions, codes, groups.n_cells, threshold)
    compared = pd.Categorical.from_codes(np.where(codes >= 0, sides, -1), categories=["malignant", "normal"])
    reliability = judge_groups(predictions, compared)["reliability"].astype(float).tolist()
    _warn(predictions, reliability, len(kept), bool(np.isfinite(windows.below).any()))

    table = pd.DataFrame(
        {
            "rank": 0,
            "drug": predictions.drugs.index.astype(str),
            "name": predictions.drugs["name"].to_numpy(),
            "window": windows.difference.mean(axis=0),
            "lower": lower,
            "upper": upper,
            "sd": sd,
            "percentile_malignant": groups.percentile[MALIGNANT::2].mean(axis=0),
            "percentile_normal": groups.percentile[NORMAL::2].mean(axis=0),
            "share_malignant_above": share[MALIGNANT::2].mean(axis=0),
            "share_normal_below": 1 - share[NORMAL::2].mean(axis=0),
            "n_samples": len(kept),
            "targets": predictions.drugs["targets"].to_numpy(),
            "pathway": predictions.drugs["pathway"].to_numpy(),
        }
    )
    table = table.sort_values(["window", "drug"], ascending=[False, True], kind="stable", ignore_index=True)
    table["rank"] = np.arange(1, len(table) + 1)
    n_drugs = len(table)
    samples = pd.DataFrame(
        {
            "sample": np.repeat([names[donor] for donor in kept], n_drugs),
            "drug": np.tile(predictions.drugs.index.astype(str), len(kept)),
            "window": windows.difference.ravel(),
            "n_malignant": np.repeat(groups.n_cells[MALIGNANT::2], n_drugs),
            "n_normal": np.repeat(groups.n_cells[NORMAL::2], n_drugs),
        }
    )
    params = {
        "malignant": malignant if isinstance(malignant, str) else np.atleast_1d(np.asarray(malignant, dtype=str)),
        "normal": normal if isinstance(normal, str) else np.atleast_1d(np.asarray(normal, dtype=str)),
        "groupby": groupby,
        "sample_key": sample_key,
        "threshold": float(threshold),
        "min_cells": int(min_cells),
        "min_lines": int(min_lines),
        "left_out_few_lines": few_lines,
        "key": key,
        "level": level,
        "n_malignant": int(groups.n_cells[MALIGNANT::2].sum()),
        "n_normal": int(groups.n_cells[NORMAL::2].sum()),
        "reliability_malignant": reliability[0],
        "reliability_normal": reliability[1],
        "note": NOTE,
    }
    report = {"params": plain(params), "table": table, "samples": samples}
    adata = store(adata, {("uns", key_added): report}, report=key_added, copy=copy)
    return adata if copy else None


def read_sides(
    adata: AnnData, malignant: Label | Sequence[Label], normal: Label | Sequence[Label], groupby: str | None
) -> np.ndarray:
    """0 for malignant, 1 for normal and -1 for other cells (cells).

    Raises
    ------
    KeyError, ValueError
        If a column or group does not exist, a side has no cell, or a cell is on both.
    """
    named = {"malignant": malignant, "normal": normal}
    if groupby is not None:
        labels = group_labels(adata, groupby)
        where = f"`adata.obs[{groupby!r}]`"
        chosen = {name: select_groups(value, list(labels.categories), where=where) for name, value in named.items()}
        masks = {name: np.isin(np.asarray(labels.astype(object), dtype=str), groups) for name, groups in chosen.items()}
    else:
        masks = {name: _marked(adata, value, name) for name, value in named.items()}
    both = masks["malignant"] & masks["normal"]
    if both.any():
        raise ValueError(
            f"{int(both.sum()):,} cells are both malignant and normal. Name groups or columns that do not overlap."
        )
    empty = [name for name, mask in masks.items() if not mask.any()]
    if empty:
        raise ValueError(
            f"No cell is {empty[0]} (`{empty[0]}={named[empty[0]]!r}`): a window needs both sides. Without normal cells, compare clones "
            "with scdrug.tl.rank_drugs."
        )
    return np.select([masks["malignant"], masks["normal"]], [MALIGNANT, NORMAL], -1)


def _marked(adata: AnnData, column: Label | Sequence[Label], argument: str) -> np.ndarray:
    if not isinstance(column, str) or column not in adata.obs:
        wanted = (
            label_text(column) if not isinstance(column, Sequence) or isinstance(column, str) else label_text(column[0])
        )
        holding = [name for name in adata.obs if wanted in set(adata.obs[name].astype(str).unique()[:1000])]
        if holding:
            raise KeyError(
                f"`{argument}={column!r}` is no column of `adata.obs`, but {holding[0]!r} has a group {wanted!r}: pass "
                f"`groupby={holding[0]!r}`."
            )
        check_key(
            adata.obs, str(column), where="adata.obs", hint=f"Name a boolean column as `{argument}`, or pass `groupby`."
        )
    return marked_cells(adata, str(column), argument=argument)


def _read_donors(adata: AnnData, sample_key: str | None, sides: np.ndarray) -> tuple[np.ndarray, list[str]]:
    if sample_key is None:
        return np.zeros(len(sides), dtype=np.int64), ["all"]
    labels = group_labels(adata, sample_key, argument="sample_key")
    codes = labels.codes.astype(np.int64)
    missing = int(((codes < 0) & (sides >= 0)).sum())
    if missing:
        warnings.warn(
            f"Left out {missing:,} cells without donor in `adata.obs[{sample_key!r}]`.", UserWarning, stacklevel=3
        )
    return codes, list(labels.categories)


def _donors_with_both(
    sides: np.ndarray, donors: np.ndarray, names: list[str], min_cells: int, sample_key: str | None
) -> np.ndarray:
    """Codes of the donors that have enough cells of both sides."""
    counts = np.stack([np.bincount(donors[(sides == s) & (donors >= 0)], minlength=len(names)) for s in (0, 1)])
    enough = (counts >= min_cells).all(axis=0)
    listed = [f"{name} ({m} malignant, {n} normal)" for name, m, n in zip(names, *counts)]
    if not enough.any():
        found = examples(text for text, ok in zip(listed, enough) if not ok)
        of = "The cells" if sample_key is None else f"No donor of `adata.obs[{sample_key!r}]`"
        lacks = "do not have" if sample_key is None else "has"
        hint = "Lower `min_cells`" + ("." if sample_key is None else ", or omit `sample_key` to compare all cells.")
        raise ValueError(f"{of} {lacks} {min_cells} malignant and {min_cells} normal cells: {found}. {hint}")
    few = [text for text, ok, n in zip(listed, enough, counts.sum(axis=0)) if not ok and n]
    if few:
        warnings.warn(
            f"Left out {len(few)} donors without {min_cells} cells of each side, since only a donor with both is compared with itself: "
            f"{examples(few)}.",
            UserWarning,
            stacklevel=3,
        )
    return np.flatnonzero(enough)


@dataclass(frozen=True)
class Windows:
    """Differences between the two sides of each donor, with how far they may be off (donors × drugs)."""

    difference: np.ndarray
    #: Distance from the difference down to its lower bound; NaN where predictions state no interval.
    below: np.ndarray
    #: The same up to the upper bound.
    above: np.ndarray


def paired_windows(groups: GroupResponse, predictions: Predictions) -> Windows:
    """Difference of percentiles of pairs of groups, malignant before normal, with bounds recovered from those of both."""
    percentile = groups.percentile
    bounds = [among_lines(groups.response + sign * groups.half_width, predictions) for sign in (-1, 1)]
    if bounds[0] is None or bounds[1] is None:
        low = high = np.full_like(percentile, np.nan)
    else:
        # the mean of percentiles need not be the percentile of the mean
        low, high = np.minimum(np.minimum(*bounds), percentile), np.maximum(np.maximum(*bounds), percentile)
    down, up = percentile - low, high - percentile
    return Windows(
        difference=percentile[MALIGNANT::2] - percentile[NORMAL::2],
        below=np.hypot(down[MALIGNANT::2], up[NORMAL::2]),
        above=np.hypot(up[MALIGNANT::2], down[NORMAL::2]),
    )


def interval_over_donors(windows: Windows, level: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Lower and upper bound of the mean over donors, and the standard deviation over them (drugs)."""
    difference, n = windows.difference, len(windows.difference)
    mean = difference.mean(axis=0)
    sd = difference.std(axis=0, ddof=1) if n > 1 else np.full(len(mean), np.nan)
    between = stats.t.ppf((1 + level) / 2, n - 1) * sd / np.sqrt(n) if n > 1 else np.zeros(len(mean))
    bounds = []
    for sign, distance in ((-1, windows.below), (1, windows.above)):
        within = np.sqrt((distance**2).sum(axis=0)) / n
        if n > 1:  # what is known of donors stands where the model states no interval
            within = np.nan_to_num(within)
        bounds.append(np.clip(mean + sign * np.hypot(between, within), -1, 1))
    return bounds[0], bounds[1], sd


def _shares_above(predictions: Predictions, codes: np.ndarray, n_cells: np.ndarray, threshold: float) -> np.ndarray:
    """Share of the cells of each group whose percentile reaches a threshold (groups × drugs)."""
    table = predictions.percentile
    sums = class_sums(lambda block: table.iloc[:, block].to_numpy() >= threshold, table.shape[1], codes, len(n_cells))
    return sums / n_cells[:, None]


def _warn(predictions: Predictions, reliability: list[float], n_donors: int, has_interval: bool) -> None:
    """Say what the reader of the table must not overlook."""
    messages = []
    if reliability[MALIGNANT] < MIN_RELIABILITY:
        messages.append(
            f"Predictions of the malignant cells are unreliable (median {reliability[MALIGNANT]:.2f}): do not read their window."
        )
    elif predictions.verdict != "ok":
        messages.append(predictions.verdict)
    if reliability[NORMAL] < MIN_RELIABILITY:
        messages.append(
            f"Predictions of the normal cells have a median reliability of {reliability[NORMAL]:.2f}: most normal cells do not divide, and the "
            "screen says nothing of resting cells. The window is computed all the same, and orders drugs; it is no measure of "
            "safety."
        )
    if n_donors == 1:
        rest = "the model's uncertainty alone" if has_interval else "missing, since the model states none"
        messages.append(
            f"One donor has both kinds of cells, so nothing is known about other donors: the interval is {rest}."
        )
    elif not has_interval:
        messages.append("The predictions state no interval of a line: the interval is over donors only.")
    for message in messages:
        warnings.warn(message, UserWarning, stacklevel=3)
