"""Rules that turn treatment, clusters, markers and literature into labels with a reason. Arrays in, arrays out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np
import pandas as pd

from .._labels import Label, label_text
from .._validate import check_key, examples, nearest

SENSITIVE, RESISTANT = 1.0, 0.0
CONTROL, TREATED = "control", "treated"
TREATED_UNLIKE = "treated, cluster not treated-like"
CONTROL_LIKE_TREATED = "control, cluster treated-like"
CONTROL_SMALL = "control, cluster too small"
OTHER, UNKNOWN = "other treatment", "treatment unknown"
_WORDS = {"sensitive": SENSITIVE, "resistant": RESISTANT, "none": np.nan}


@dataclass(frozen=True, eq=False)
class Groups:
    """Which cells were treated, and which are controls."""

    control: np.ndarray
    treated: np.ndarray
    unknown: np.ndarray
    control_names: list[str]
    treated_names: list[str]

    @property
    def used(self) -> np.ndarray:
        """Cells of either group."""
        return self.control | self.treated


def find_groups(
    column: pd.Series, *, control: Label | Sequence[Label], treated: Label | Sequence[Label] | None, min_cells: int
) -> Groups:
    """Find control and treated cells by the names of their treatment.

    Parameters
    ----------
    column
        Treatment of each cell; missing where not known.
    control, treated
        Names, one or several; all others are treated if `treated` is omitted.
    min_cells
        Least number of cells of either group.

    Returns
    -------
    The groups.

    Raises
    ------
    ValueError
        If a name does not occur (the nearest are offered), is in both groups, if there is one treatment only, or if a
        group has too few cells.
    """
    names = column.astype(object).where(column.notna(), None)
    texts = np.array([None if name is None else str(name) for name in names], dtype=object)
    known = np.array([text is not None for text in texts])
    present = sorted(set(texts[known]))
    where = f"`adata.obs[{column.name!r}]`"
    if len(present) < 2:
        raise ValueError(
            f"{where} must hold control and treated cells; found {examples(present) if present else 'missing values only'}."
            " Without an untreated group there is nothing to compare; name another column with `treatment_key`."
        )
    control_names = _names("control", control, present, where)
    if treated is None:
        treated_names = [name for name in present if name not in control_names]
        if not treated_names:
            raise ValueError(f"Every treatment in {where} is named in `control`; none is left as treated.")
    else:
        treated_names = _names("treated", treated, present, where)
    both = sorted(set(control_names) & set(treated_names))
    if both:
        raise ValueError(f"{examples(both)} cannot be in `control` and in `treated`.")
    groups = Groups(
        control=np.isin(texts, control_names),
        treated=np.isin(texts, treated_names),
        unknown=~known,
        control_names=control_names,
        treated_names=treated_names,
    )
    for what, mask in (("control", groups.control), ("treated", groups.treated)):
        if mask.sum() < min_cells:
            raise ValueError(
                f"Labels need at least {min_cells} {what} cells (`min_cells`); found {int(mask.sum())} "
                f"in {where} with {examples(control_names if what == 'control' else treated_names)}."
            )
    return groups


def _names(argument: str, value: Label | Sequence[Label], present: list[str], where: str) -> list[str]:
    many = isinstance(value, Iterable) and not isinstance(value, str)
    names = [str(name) if str(name) in present else label_text(name) for name in (value if many else [value])]
    if not names:
        raise ValueError(f"`{argument}` must name at least one treatment in {where}; found none.")
    for name in names:
        if name not in present:
            near = nearest(name, present, n=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise ValueError(f"`{argument}`: {name!r} is not in {where}.{hint} It has: {examples(present, 8)}.")
    return list(dict.fromkeys(names))


def cluster_table(
    clusters: np.ndarray, treated: np.ndarray, normal: np.ndarray, *, max_treated_share: float, min_cells: int
) -> pd.DataFrame:
    """Count treated and control cells by cluster, and name clusters that look treated.

    The share of treated cells is balanced: counts are divided by the size of their group first, so that a larger treated
    group does not make every cluster look treated. Normal cells are left out.

    Parameters
    ----------
    clusters
        Cluster of each cell (cells, int).
    treated
        Whether the cell was treated; it is a control otherwise (cells).
    normal
        Whether the cell is normal (cells).
    max_treated_share
        Clusters above this balanced share are treated-like; with 1 none is, and all are judged.
    min_cells
        Clusters of fewer cells are not judged.

    Returns
    -------
    A row for each cluster: `n_control`, `n_treated`, `n_normal`, `treated_share` (0–1, NaN for normal cells only),
    `treated_like`, `judged`.
    """
    n = int(clusters.max()) + 1
    n_control = np.bincount(clusters[~treated & ~normal], minlength=n)
    n_treated = np.bincount(clusters[treated & ~normal], minlength=n)
    of_control = n_control / max(n_control.sum(), 1)
    of_treated = n_treated / max(n_treated.sum(), 1)
    total = of_control + of_treated
    share = np.divide(of_treated, total, out=np.full(n, np.nan), where=total > 0)
    judged = (n_control + n_treated >= min_cells) | (max_treated_share >= 1)
    return pd.DataFrame(
        {
            "n_control": n_control,
            "n_treated": n_treated,
            "n_normal": np.bincount(clusters[normal], minlength=n),
            "treated_share": share,
            "treated_like": judged & (share > max_treated_share + 1e-12),
            "judged": judged,
        },
        index=pd.Index([str(k) for k in range(n)], name="cluster"),
    )


def normal_clusters(
    clusters: np.ndarray, scores: Mapping[str, np.ndarray], *, threshold: float
) -> tuple[np.ndarray, pd.DataFrame]:
    """Name clusters of normal cells: those whose median score of a marker set is above a threshold.

    Parameters
    ----------
    clusters
        Cluster of each cell (cells, int).
    scores
        Scores by cell type (cells).
    threshold
        In the unit of the scores.

    Returns
    -------
    Cell type of each cluster, the one with the highest median, or empty (clusters, str); and medians (clusters × cell
    types).
    """
    medians = pd.DataFrame(scores).groupby(clusters).median()
    best = medians.to_numpy().argmax(axis=1)
    is_normal = medians.to_numpy().max(axis=1) > threshold
    kinds = np.array(list(scores), dtype=object)[best]
    medians.index = pd.Index([str(k) for k in medians.index], name="cluster")
    return np.where(is_normal, kinds, ""), medians


def decide(
    clusters: np.ndarray, treated: np.ndarray, normal: np.ndarray, table: pd.DataFrame
) -> tuple[np.ndarray, np.ndarray]:
    """Label cells by treatment, cluster and kind.

    Parameters
    ----------
    clusters
        Cluster of each cell (cells, int).
    treated
        Whether the cell was treated (cells).
    normal
        Kind of normal cell, or empty (cells, str).
    table
        From :func:`cluster_table`.

    Returns
    -------
    Labels (1 sensitive, 0 resistant, NaN none) and reasons (cells).
    """
    like = table["treated_like"].to_numpy()[clusters]
    judged = table["judged"].to_numpy()[clusters]
    labels = np.where(treated, RESISTANT, np.where(like | ~judged, np.nan, SENSITIVE))
    of_treated = np.where(like | ~judged, TREATED, TREATED_UNLIKE)
    of_control = np.where(~judged, CONTROL_SMALL, np.where(like, CONTROL_LIKE_TREATED, CONTROL))
    reasons = np.where(treated, of_treated, of_control).astype(object)
    is_normal = normal != ""
    labels[is_normal] = np.nan
    reasons[is_normal] = [f"normal: {kind}" for kind in normal[is_normal]]
    return labels, reasons


def check_overrides(overrides: Mapping[str, Mapping[Any, Any]]) -> dict[str, dict[str, tuple[float, str]]]:
    """Bring overrides into one form: column → value → (label, source).

    Raises
    ------
    TypeError, ValueError
        If the form or a label is not one of those allowed.
    """
    form = "{column of obs: {value: label}}, with label 1, 0, 'sensitive', 'resistant' or None, or (label, source)"
    if not isinstance(overrides, Mapping) or not all(isinstance(rule, Mapping) for rule in overrides.values()):
        raise TypeError(f"`overrides` must be {form}; found {overrides!r:.80}.")
    rules: dict[str, dict[str, tuple[float, str]]] = {}
    for column, rule in overrides.items():
        rules[column] = {}
        for value, given in rule.items():
            label, source = given if isinstance(given, tuple) and len(given) == 2 else (given, "")
            number = _WORDS.get(str(label).lower(), label)
            if not isinstance(number, Real | np.bool_) or not (number in (0, 1) or np.isnan(number)):
                raise ValueError(
                    f"`overrides[{column!r}][{value!r}]` must be a label; found {label!r}. Expected {form}."
                )
            rules[column][str(value)] = (float(number), str(source))
    return rules


def apply_overrides(
    labels: np.ndarray,
    reasons: np.ndarray,
    obs: pd.DataFrame,
    rules: Mapping[str, Mapping[str, tuple[float, str]]],
    *,
    protected: np.ndarray,
) -> int:
    """Replace labels and reasons in place where literature knows better.

    Parameters
    ----------
    labels, reasons
        From :func:`decide` (cells).
    obs
        Table of the same cells.
    rules
        From :func:`check_overrides`.
    protected
        Cells that keep what they have: normal ones (cells).

    Returns
    -------
    Number of cells with a replaced label or reason.

    Raises
    ------
    KeyError
        If a column is missing.
    ValueError
        If a value does not occur, or two rules contradict each other for a cell.
    """
    given = np.full(len(labels), np.inf)  # no rule has spoken
    for column, rule in rules.items():
        check_key(obs, column, where="adata.obs")
        values = obs[column].astype(str).to_numpy(dtype=object)
        for value, (label, source) in rule.items():
            rows = (values == value) & ~protected
            if not (values == value).any():
                near = nearest(value, sorted(set(values)), n=1)
                hint = f" Did you mean {near[0]!r}?" if near else ""
                raise ValueError(
                    f"`overrides`: no labelled cell has {value!r} in `adata.obs[{column!r}]`.{hint} "
                    f"They have: {examples(sorted(set(values)), 8)}."
                )
            same = (given[rows] == label) | (np.isnan(given[rows]) & np.isnan(label)) | np.isinf(given[rows])
            if not same.all():
                raise ValueError(
                    f"`overrides` contradict each other for {int((~same).sum())} cells with {column} = {value!r}. "
                    "Give each cell one label."
                )
            given[rows] = labels[rows] = label
            reasons[rows] = f"override: {column} = {value}" + (f" ({source})" if source else "")
    return int((~np.isinf(given)).sum())
