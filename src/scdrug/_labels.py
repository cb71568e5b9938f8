"""Labels and marks of cells: one reading of the columns of `obs` that functions group by, compare and fit on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ._lazy import column_of
from ._validate import check_key, examples, nearest, warn_caller

if TYPE_CHECKING:
    from anndata import AnnData

#: Name of a group as a caller may give it: what `obs` holds, or its text.
Label = str | int | float | bool

#: Texts that stand for a missing label: what str() makes of missing values, and what pandas reads as missing.
#: Words such as "unknown", "unassigned" and "none" are left alone: they may be labels that somebody gave.
MISSING = frozenset(
    {"", "nan", "NaN", "NAN", "-nan", "None", "NA", "N/A", "n/a", "#N/A", "<NA>", "NaT", "NULL", "null"}
)

#: A column with more different values than this is no column of labels if they are measured numbers (each value in few
#: cells), or names of cells (most values in one).
_MANY_NUMBERS, _MANY_NAMES = 100, 1000
_FEW_CELLS, _SINGLE_CELLS = 10, 2


def group_labels(adata: AnnData, column: str, *, argument: str = "groupby") -> pd.Categorical:
    """Read a column of labels as text, in the order of its categories.

    Parameters
    ----------
    adata
        Cells.
    column
        Name of the column of `obs`: text, numbers without fraction, booleans or categories of any of these.
    argument
        Argument that named it, for messages.

    Returns
    -------
    Labels as text; missing ones have the code -1.

    Raises
    ------
    KeyError
        If there is no such column.
    ValueError
        If there are two of that name, or the column holds measurements or names of cells rather than labels.

    Warns
    -----
    UserWarning
        If texts such as ``"nan"`` count as missing, or a label is there as text and as a number.
    """
    values = _column(adata, column, f"`{argument}` must name a column of labels.")
    where = f"`adata.obs[{column!r}]`"
    is_categorical = isinstance(values.dtype, pd.CategoricalDtype)
    if is_categorical:
        values = values.cat.remove_unused_categories()
        order = list(values.cat.categories)
    else:
        values = values.astype(object).where(values.notna(), None)
        order = _unique(values, where)
    numbers = [label for label in order if not isinstance(label, str)]
    if not is_categorical:
        _check_labels(order, numbers, int(values.notna().sum()), where, argument)
    names = [label_text(label) for label in order]
    disguised = [number for number, name in enumerate(names) if name.strip() in MISSING]
    kept = list(dict.fromkeys(name for name in names if name.strip() not in MISSING))
    place = {name: code for code, name in enumerate(kept)}
    merged = np.array([place.get(name, -1) for name in names] + [-1])  # the last one is for missing labels
    codes = pd.Categorical(values, categories=pd.Index(order, dtype=object) if not is_categorical else order).codes
    if disguised:
        counts = np.bincount(codes[codes >= 0], minlength=len(order))
        found = ", ".join(f"{names[number]!r} ({counts[number]:,})" for number in disguised)
        warn_caller(
            f"{where} holds texts that stand for missing labels, by number of cells: {found}. These cells count as cells "
            "without label. If it is the name of a group, rename the group."
        )
    twice = [name for name, count in Counter(names).items() if count > 1 and name in place]
    if twice:
        warn_caller(
            f"{where} holds {examples(twice)} as number and as text: each is taken for one group. If they are two groups, "
            "rename one."
        )
    return pd.Categorical.from_codes(merged[codes], categories=kept)


def marked_cells(adata: AnnData, column: str, *, argument: str) -> np.ndarray:
    """Read a column that marks cells (cells, bool); cells without a value are not marked.

    Raises
    ------
    KeyError
        If there is no such column.
    ValueError
        If it does not hold true and false; the message says how to make such a column.

    Warns
    -----
    UserWarning
        If values are missing.
    """
    values = _column(adata, column, f"`{argument}` must name a column of true and false.").astype(object)
    where = f"`adata.obs[{column!r}]`"
    known = (values.notna() & ~values.map(lambda value: isinstance(value, str) and value.strip() in MISSING)).to_numpy()
    marks = {value: _MARKS.get(value) for value in _unique(values[known], where)}
    if None in marks.values() or not known.any():
        found = list(marks) or ["no value"]
        example = found[0] if isinstance(found[0], str) else label_text(found[0])
        raise ValueError(
            f"{where} (`{argument}`) must be boolean, true or false for each cell; found {_column(adata, column, '').dtype} with "
            f"{examples(found)}. Make a column that marks the cells, for example adata.obs['marked'] = "
            f"adata.obs[{column!r}] == {example if not isinstance(found[0], str) else repr(example)}."
        )
    if not known.all():
        warn_caller(
            f"{int((~known).sum()):,} of {len(known):,} cells have no value in {where} (`{argument}`): they count as not marked."
        )
    return values.map(marks).where(known, False).to_numpy(dtype=bool)


#: Booleans, which are equal to 1 and 0, and what files make of them.
_MARKS = {
    True: True,
    False: False,
    "True": True,
    "False": False,
    "TRUE": True,
    "FALSE": False,
    "true": True,
    "false": False,
}


def label_text(value: Any) -> str:
    """Text of a label: 1, 1.0 and "1" are one label."""
    if isinstance(value, float | np.floating) and float(value).is_integer():
        return str(int(value))
    return str(value)


def select_groups(groups: Label | Sequence[Label] | None, present: Sequence[str], *, where: str) -> list[str]:
    """Return `groups`, given as text or as numbers, as a list without repetitions, or all that are `present` for `None`.

    Raises
    ------
    KeyError
        If a group is not present; the nearest one is offered.
    ValueError
        If no group is named.
    """
    if groups is None:
        return list(present)
    known = set(present)
    many = isinstance(groups, Iterable) and not isinstance(groups, str)
    wanted = list(
        dict.fromkeys(
            str(group) if str(group) in known else label_text(group) for group in (groups if many else [groups])
        )
    )
    if not wanted:
        raise ValueError(f"No group was named. {where} has: {examples(present, 8)}.")
    for group in wanted:
        if group not in known:
            near = nearest(group, present, n=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise KeyError(f"{where} has no group {group!r}.{hint} It has: {examples(present, 8)}.")
    return wanted


def _column(adata: AnnData, column: str, hint: str) -> pd.Series:
    check_key(adata.obs, column, where="adata.obs", hint=hint)
    values = column_of(adata.obs, column)
    if isinstance(values, pd.DataFrame):
        raise ValueError(
            f"`adata.obs` has {values.shape[1]} columns called {column!r}, so it is not known which is meant. Rename or drop "
            "all but one."
        )
    return values


def _unique(values: pd.Series, where: str) -> list[Any]:
    """Values that occur, in order."""
    try:
        found = list(pd.unique(values.dropna()))
    except TypeError:
        kinds = sorted({type(value).__name__ for value in values.dropna()})
        raise ValueError(
            f"{where} holds objects ({', '.join(kinds)}), not labels. Turn them into text or numbers first."
        ) from None
    try:
        return sorted(found)
    except TypeError:  # mixed types
        return sorted(found, key=str)


def _check_labels(order: list[Any], numbers: list[Any], n_cells: int, where: str, argument: str) -> None:
    """Refuse a column, not declared as categories, whose values are measurements or names of cells."""
    fractions = [value for value in numbers if isinstance(value, float | np.floating) and not float(value).is_integer()]
    if fractions:
        raise ValueError(
            f"{where} holds measurements ({examples(fractions, 3)}), not labels of groups. Name a column of labels as "
            f"`{argument}`, or cut this one into classes with pandas.cut."
        )
    if len(numbers) > _MANY_NUMBERS and n_cells < _FEW_CELLS * len(order):
        what, hint = "numbers", "or cut this one into classes with pandas.cut"
    elif len(order) > _MANY_NAMES and n_cells < _SINGLE_CELLS * len(order):
        what, hint = "names", "such as clusters or cell types"
    else:
        return
    raise ValueError(
        f"{where} holds {len(order):,} different {what} in {n_cells:,} cells ({examples(order, 3)}), which are hardly labels of "
        f"groups. Name a column of labels as `{argument}`, {hint}; if they are labels, declare them with "
        f"adata.obs[…].astype('category')."
    )
