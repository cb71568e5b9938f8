"""Where results go: under keys that files can hold, over nothing of the user's, all of them or none."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from anndata import AnnData

#: Part of an AnnData and key in it, such as ``("obsm", "predicted_response")``.
Place = tuple[str, str]

#: Entry of a report in ``uns`` that lists what was stored with it, as ``"part/key"``.
STORED_IN = "stored_in"
#: zarr keeps its own files beside arrays, and anndata the names of the rows.
_RESERVED = ("zarr.json", "_index")
#: Longest name of a file, in bytes; zarr makes a file or folder of each key.
_LONGEST = 255


def holds(*names: str) -> Callable[[Any], bool]:
    """Return a test whether a report has all of these entries or columns."""

    def recognise(report: Any) -> bool:
        return isinstance(report, Mapping | pd.DataFrame) and set(names) <= set(report.keys())

    return recognise


def holds_table(*names: str) -> Callable[[Any], bool]:
    """Return a test whether a report has a ``table`` with all of these columns, or is one, as version 0.1 wrote."""
    is_table = holds(*names)

    def recognise(report: Any) -> bool:
        table = report.get("table") if isinstance(report, Mapping) else report
        return isinstance(table, pd.DataFrame) and is_table(table)

    return recognise


def check_storable(key: Any, argument: str = "key_added") -> None:
    """Raise unless h5ad and zarr files can hold `key`.

    Raises
    ------
    TypeError
        If it is no string.
    ValueError
        If it is empty, too long, or has characters that separate or hide entries in files.
    """
    if not isinstance(key, str):
        raise TypeError(f"`{argument}` must be a string, such as 'run_1'; found {type(key).__name__} ({key!r}).")
    reason = None
    if not key.strip():
        reason = "it is empty"
    elif "/" in key or "\\" in key:
        reason = "slashes separate folders there"
    elif key.startswith(".") or key.startswith("__zarr") or key in _RESERVED:
        reason = "such names are reserved there"
    elif not key.isprintable():
        reason = "it holds characters that cannot be written"
    elif len(key.encode()) > _LONGEST:
        reason = f"it is longer than {_LONGEST} bytes"
    if reason:
        raise ValueError(
            f"`{argument}` cannot name an entry of h5ad and zarr files: {reason}; found {key[:60]!r}. Use letters, digits, "
            "'_' and '-', such as 'run_1'."
        )


def reserve(
    adata: AnnData,
    places: Sequence[Place],
    *,
    report: str,
    recognise: Callable[[Any], bool],
    function: str,
    former: Callable[[Any], Iterable[Place]] | None = None,
    argument: str | None = "key_added",
) -> None:
    """Raise unless results may be stored, before they are computed.

    Parameters
    ----------
    adata
        Where results will be stored.
    places
        Everything that will be stored, the report in ``uns`` included.
    report
        Key of ``uns`` of the report, which says what was stored before.
    recognise
        Whether a report is one that `function` wrote.
    function
        Who stores, for messages.
    former
        Places that belong to a report without a list of them, as version 0.1 wrote; all of `places` if omitted.
    argument
        Argument that names the key; `None` if there is none.

    Raises
    ------
    TypeError, ValueError
        If a key cannot be written to files, or a place holds something that `function` did not store.
    """
    for part, key in places:
        check_storable(key, argument or "key")
        if part == "obs" and key == adata.obs.index.name:
            raise ValueError(
                f"`adata.obs.index` is called {key!r}, so that a column of that name could not be written to a file. Rename it: "
                "`adata.obs.index.name = None`."
            )
    ours = owned(adata, report=report, recognise=recognise, former=former or (lambda _: places))
    foreign = [place for place in places if _holds(adata, place) and place not in ours]
    if not foreign:
        return
    part, key = foreign[0]
    where = ", ".join(f"`adata.{part}[{key!r}]`" for part, key in foreign)
    other = f"Choose another `{argument}`, or remove it" if argument else "Rename or remove it"
    lost = (
        " Results lose what says that they are scdrug's where `uns` is dropped, as by anndata.concat without "
        "`uns_merge='first'`."
        if part in ("obs", "obsm") and report not in adata.uns
        else ""
    )
    raise ValueError(
        f"{where} holds something that {function} did not make: it would be lost. {other} first "
        f"(`del adata.{part}[{key!r}]`).{lost}"
    )


def owned(
    adata: AnnData,
    *,
    report: str,
    recognise: Callable[[Any], bool],
    former: Callable[[Any], Iterable[Place]],
) -> set[Place]:
    """Places that the report in ``uns`` says were stored with it; none if there is no report of this kind."""
    held = adata.uns.get(report)
    if held is None or not recognise(held):
        return set()
    listed = held.get(STORED_IN) if isinstance(held, Mapping) else None
    if listed is None:
        return {("uns", report), *former(held)}
    pairs = (str(item).partition("/") for item in np.atleast_1d(np.asarray(listed, dtype=object)))
    return {("uns", report), *((part, key) for part, _, key in pairs)}


def store(
    adata: AnnData,
    values: Mapping[Place, Any],
    *,
    report: str | None = None,
    drop: Collection[Place] = (),
    copy: bool = False,
) -> AnnData:
    """Store all values, or, if one cannot be stored, leave everything as it was.

    Parameters
    ----------
    adata
        Where to store.
    values
        What to store, by place.
    report
        Key of ``uns`` among `values` whose report is to list what was stored.
    drop
        Places to empty: results of an earlier call that this one does not replace.
    copy
        Store in a copy, in memory.

    Returns
    -------
    The object written to. Writing makes a view an object of its own, in memory.
    """
    if report is not None:
        values = {**values, ("uns", report): with_list(values["uns", report], values)}
    adata = writable(adata, copy=copy)
    touched = list(dict.fromkeys([*drop, *values]))
    before = {place: _part(adata, place)[place[1]] for place in touched if _holds(adata, place)}
    columns = adata.obs.columns
    try:
        for place in drop:
            _remove(adata, place)
        for place, value in values.items():
            _part(adata, place)[place[1]] = value
    except BaseException:
        for place in touched:
            if place in before:
                _part(adata, place)[place[1]] = before[place]
            else:
                _remove(adata, place)
        if list(adata.obs.columns) != list(columns):
            adata.obs = adata.obs[columns]
        raise
    return adata


def with_list(report: Mapping[str, Any], places: Iterable[Place]) -> dict[str, Any]:
    """A report that lists what was stored with it."""
    return {**report, STORED_IN: [f"{part}/{key}" for part, key in places]}


def writable(adata: AnnData, *, copy: bool) -> AnnData:
    """What results are written to: a copy in memory, or the object itself, which is no view afterwards.

    A view of a backed file comes into memory; a backed file itself stays backed and holds new results in memory until it is
    written.
    """
    if copy:
        return adata.to_memory() if adata.isbacked else adata.copy()
    if adata.is_view:
        adata._init_as_actual(adata.to_memory() if adata.isbacked else adata.copy())
    return adata


def _part(adata: AnnData, place: Place) -> Any:
    return getattr(adata, place[0])


def _holds(adata: AnnData, place: Place) -> bool:
    return place[1] in _part(adata, place).keys()


def _remove(adata: AnnData, place: Place) -> None:
    if _holds(adata, place):
        del _part(adata, place)[place[1]]
