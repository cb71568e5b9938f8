"""Read what `predict_response` and `rank_drugs` stored, or say what to run first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from .._labels import Label, select_groups
from .._lazy import LazyTable, column_of, loaded
from .._validate import check_choice, check_key, examples
from ..model._data import Calibration
from ..model._results import QUANTILES
from ._keys import MIN_RELIABILITY, derived_keys, evidence_key

if TYPE_CHECKING:
    from anndata import AnnData

USES = ("percentile", "response")
#: What to do where predictions are not as they were stored.
RUN_PREDICT = "Run scdrug.tl.predict_response(adata) first."
_RANKING = ("group", "drug", "name", "direction", "test", "targets", "pathway")
_RANKING_NUMBERS = ("rank", "score", "effect", "fdr", "percentile", "n_cells", "n_samples")
_RANKING_PARAMS = ("groupby", "reference", "unit", "more_sensitive_is", "replicates")


@dataclass(frozen=True)
class Predictions:
    """Predicted responses of an AnnData with what is known about them."""

    #: Cells × drug ids, in `unit`; what lies in a file is read when it is asked for.
    response: pd.DataFrame | LazyTable
    #: Cells × drug ids, 0-1, 1 = more sensitive than every reference line; computed when asked for if it was not stored.
    percentile: pd.DataFrame | LazyTable
    #: Cells, 0-1; NaN where it was not stored.
    reliability: np.ndarray
    #: Indexed by drug id in the order of the columns, with at least `name`, `targets` and `pathway`.
    drugs: pd.DataFrame
    #: Half the width of the prediction interval (drugs); NaN where none is stated.
    half_width: np.ndarray
    measure: str
    unit: str
    direction: str
    #: ``"ok"``, or why no drug can be ranked.
    verdict: str
    #: Everything in ``uns``.
    provenance: Mapping[str, Any]
    #: Numbers of each cell that reliability and width follow from; `None` where they were not stored (cells × numbers).
    evidence: pd.DataFrame | LazyTable | None = None

    @property
    def predicted(self) -> np.ndarray:
        """Whether each cell showed enough genes to be predicted (cells, bool)."""
        return self.response.iloc[:, 0].notna().to_numpy()

    def table(self, use: str) -> pd.DataFrame | LazyTable:
        """Return the percentile or the response (cells × drug ids)."""
        return self.percentile if use == "percentile" else self.response

    def sign(self, use: str) -> int:
        """Return 1 if higher values mean more sensitive, -1 if lower ones do."""
        return -1 if use == "response" and not self.direction.lower().startswith("higher") else 1

    def label(self, use: str) -> str:
        """Name what the values are, with their unit, for axes and tables."""
        if use == "percentile":
            return "response percentile"
        measure = self.measure.replace("_", " ")
        return f"{measure} [{self.unit}]" if self.unit else measure


def read_predictions(adata: AnnData, key: str) -> Predictions:
    """Read the predictions stored under `key`.

    Raises
    ------
    KeyError
        If there are none, or a part of them was deleted.
    TypeError, ValueError
        If a part has another form than it was stored in.
    """
    percentile_key, reliability_key = derived_keys(key)
    response, stored = read_response(adata, key)
    percentile = _read_percentile(adata, percentile_key, response, stored)
    if set(response.columns) != set(percentile.columns):
        raise ValueError(
            f"`adata.obsm[{key!r}]` and `adata.obsm[{percentile_key!r}]` hold different drugs, so they are not of one "
            f"prediction. {RUN_PREDICT}"
        )
    reliability = _reliability(adata, reliability_key)
    drugs = _drug_table(stored.get("drugs"), response.columns, key)
    return Predictions(
        response=response,
        percentile=percentile[response.columns],
        reliability=reliability,
        drugs=drugs,
        half_width=_half_width(stored, drugs, key),
        measure=str(stored["measure"]),
        unit=str(stored["unit"]),
        direction=str(stored["direction"]),
        verdict=_verdict(stored, reliability),
        provenance=stored,
        evidence=None
        if evidence_key(key) not in adata.obsm
        else _as_table(adata, evidence_key(key), stored.get("evidence_columns")),
    )


def _read_percentile(
    adata: AnnData, key: str, response: pd.DataFrame | LazyTable, stored: Mapping[str, Any]
) -> pd.DataFrame | LazyTable:
    """Percentiles that were stored, or what computes them from responses."""
    quantiles = stored.get(QUANTILES)
    if key in adata.obsm or not isinstance(quantiles, pd.DataFrame):
        check_key(dict(adata.obsm), key, where="adata.obsm", hint=RUN_PREDICT)
        return _as_table(adata, key, _ids(stored))
    among = Calibration(
        quantiles.loc[response.columns].to_numpy(np.float32).T, np.full(len(response.columns), np.nan), np.nan, True
    )
    lower = not str(stored["direction"]).lower().startswith("higher")
    derive = lambda values, columns: among.percentile(values, columns, lower_is_sensitive=lower)
    return LazyTable(response, response.columns, response.index, derive=derive)


def read_response(
    adata: AnnData, key: str, *, hint: str = RUN_PREDICT
) -> tuple[pd.DataFrame | LazyTable, Mapping[str, Any]]:
    """Read predicted responses and their provenance, which is all that some functions need.

    Raises
    ------
    KeyError, TypeError, ValueError
        As :func:`read_predictions`.
    """
    check_key(dict(adata.obsm), key, where="adata.obsm", hint=hint)
    told = loaded(adata.uns.get(key))
    response = _as_table(adata, key, _ids(told))
    if response.shape[1] == 0:
        raise ValueError(f"`adata.obsm[{key!r}]` has no drugs. {hint}")
    lost = (
        f"The predictions in `adata.obsm[{key!r}]` need it: it says what they are. anndata.concat drops it unless called with "
        f"`uns_merge='first'`. Join again with that, or predict again."
    )
    check_key(dict(adata.uns), key, where="adata.uns", hint=lost)
    stored = read_parts(told, ("measure", "unit", "direction"), where=f"adata.uns[{key!r}]", hint=hint)
    if not str(stored["direction"]).lower().startswith(("lower", "higher")):
        raise ValueError(
            f"`adata.uns[{key!r}]['direction']` must begin with 'lower' or 'higher' (is more sensitive); found "
            f"{str(stored['direction'])!r}. {hint}"
        )
    return response, stored


def read_parts(value: Any, names: Sequence[str], *, where: str, hint: str) -> Mapping[str, Any]:
    """Return a stored result, a mapping or a table, that has all of these entries or columns.

    Raises
    ------
    ValueError
        If it has another form; `hint` says what to run.
    """
    if not isinstance(value, Mapping | pd.DataFrame):
        raise ValueError(f"`{where}` must be what scdrug stored; found {type(value).__name__}. {hint}")
    missing = [name for name in names if name not in value.keys()]
    if missing:
        raise ValueError(f"`{where}` is not what scdrug stored, or not all of it: it lacks {examples(missing)}. {hint}")
    return value


def read_table(value: Any, names: Sequence[str], *, where: str, hint: str, numbers: Sequence[str] = ()) -> pd.DataFrame:
    """Return a stored table that has all of these columns, those of `numbers` as numbers.

    Raises
    ------
    ValueError
        If it has another form; `hint` says what to run.
    """
    if not isinstance(value, pd.DataFrame):
        raise ValueError(f"`{where}` must be a DataFrame, as scdrug stored it; found {type(value).__name__}. {hint}")
    read_parts(value, [*names, *numbers], where=where, hint=hint)
    wrong = [name for name in numbers if not pd.api.types.is_numeric_dtype(value[name])]
    for name in wrong:
        try:
            value = value.assign(**{name: pd.to_numeric(value[name].astype(object))})
        except (TypeError, ValueError):
            raise ValueError(
                f"`{where}` must hold numbers in {name!r}; found {examples(value[name], 3)}. {hint}"
            ) from None
    return value


def read_ranking(adata: AnnData, key: str) -> tuple[pd.DataFrame, Mapping[str, Any]]:
    """Read table and parameters that :func:`scdrug.tl.rank_drugs` stored under `key`.

    Raises
    ------
    KeyError
        If there is nothing.
    ValueError
        If it is something else, or lacks a part.
    """
    hint = "Run scdrug.tl.rank_drugs(adata, groupby=…) first."
    check_key(dict(adata.uns), key, where="adata.uns", hint=hint)
    held = loaded(adata.uns[key])
    if not is_ranking(held):
        raise ValueError(f"`adata.uns[{key!r}]` is not a result of scdrug.tl.rank_drugs. {hint}")
    where = f"adata.uns[{key!r}]"
    table = read_table(held["table"], _RANKING, numbers=_RANKING_NUMBERS, where=f"{where}['table']", hint=hint)
    params = read_parts(held["params"], _RANKING_PARAMS, where=f"{where}['params']", hint=hint)
    return table, params


def is_ranking(value: Any, *columns: str) -> bool:
    """Whether `value` is a ranking: parameters, and a table that has all of `columns`."""
    if not isinstance(value, Mapping) or "params" not in value:
        return False
    table = value.get("table")
    return isinstance(table, pd.DataFrame) and set(columns) <= set(table.columns)


def is_drug_ranking(value: Any) -> bool:
    """Whether `value` is what :func:`scdrug.tl.rank_drugs` stores."""
    return is_ranking(value, "group", "drug", "direction")


def groups_of(key: str, params: Mapping[str, Any]) -> str:
    """Say in a message which groups a stored ranking has."""
    return f"The ranking in `adata.uns[{key!r}]`, of `adata.obs[{str(params.get('groupby', '?'))!r}]`,"


def rows_of_groups(table: pd.DataFrame, groups: Label | Sequence[Label] | None, where: str) -> pd.DataFrame:
    """Rows of a ranking of some groups, in the order in which these are named, by rank; all for `None`.

    Raises
    ------
    KeyError
        If a group is unknown; the nearest one is offered.
    """
    names = table["group"].astype(str)
    order = {name: place for place, name in enumerate(select_groups(groups, list(dict.fromkeys(names)), where=where))}
    place = names.map(order)
    rows = table[place.notna()].assign(_place=place.dropna()).sort_values(["_place", "rank"], kind="stable")
    return rows.drop(columns="_place").reset_index(drop=True)


def check_use(use: str) -> None:
    """Raise :class:`ValueError` unless `use` is ``"percentile"`` or ``"response"``."""
    check_choice("use", use, USES)


def _ids(stored: Any) -> Any:
    """Ids of drugs in the order of the columns, of predictions that are kept without them."""
    drugs = stored.get("drugs") if isinstance(stored, Mapping) else None
    return drugs.index if isinstance(drugs, pd.DataFrame) else None


def _as_table(adata: AnnData, key: str, columns: Any) -> pd.DataFrame | LazyTable:
    """A table of ``obsm``; of an array, `columns` are the names."""
    value = adata.obsm[key]
    if hasattr(value, "to_memory"):
        return LazyTable(value, pd.Index(value.columns), adata.obs_names)
    names = None if columns is None else pd.Index(np.asarray(columns, dtype=object))
    if not isinstance(value, pd.DataFrame) and names is not None and np.shape(value) == (adata.n_obs, len(names)):
        return LazyTable(value, names, adata.obs_names)
    return _as_frame(value, key)


def _as_frame(value: Any, key: str) -> pd.DataFrame:
    if not isinstance(value, pd.DataFrame):
        raise TypeError(
            f"`adata.obsm[{key!r}]` must be a DataFrame cells × drug ids, as scdrug stores it; found {type(value).__name__}. "
            f"{RUN_PREDICT}"
        )
    if value.columns.has_duplicates:
        raise ValueError(
            f"`adata.obsm[{key!r}]` holds drugs twice: {examples(value.columns[value.columns.duplicated()])}. {RUN_PREDICT}"
        )
    wrong = [name for name, kind in value.dtypes.items() if not pd.api.types.is_numeric_dtype(kind)]
    if wrong:
        raise TypeError(f"`adata.obsm[{key!r}]` must hold numbers; {examples(wrong)} do not. {RUN_PREDICT}")
    return value


def _reliability(adata: AnnData, key: str) -> np.ndarray:
    """Reliability of each cell; NaN where it was not stored."""
    if key not in adata.obs:
        return np.full(adata.n_obs, np.nan)
    column = column_of(adata.obs, key)
    if not isinstance(column, pd.Series) or not pd.api.types.is_numeric_dtype(column):
        found = "several columns" if isinstance(column, pd.DataFrame) else str(column.dtype)
        raise TypeError(f"`adata.obs[{key!r}]` must hold numbers from 0 to 1; found {found}. {RUN_PREDICT}")
    return column.to_numpy(dtype=float, na_value=np.nan)


def _verdict(stored: Mapping[str, Any], reliability: np.ndarray) -> str:
    """What was stored, or, where objects with different verdicts were joined, what reliability says."""
    if "verdict" in stored:
        return str(stored["verdict"])
    known = reliability[np.isfinite(reliability)]
    if len(known) and np.median(known) < MIN_RELIABILITY:
        return f"No drug can be ranked for these cells: median reliability is {np.median(known):.2f}."
    return "ok"


def _drug_table(stored: Any, ids: pd.Index, key: str) -> pd.DataFrame:
    """Drug table in the order of `ids`, with text columns that plots and tables rely on."""
    where = f"adata.uns[{key!r}]['drugs']"
    if stored is not None and not isinstance(stored, pd.DataFrame):
        raise ValueError(f"`{where}` must be a DataFrame by drug id; found {type(stored).__name__}. {RUN_PREDICT}")
    if stored is not None and (stored.index.has_duplicates or not ids.isin(stored.index).all()):
        unknown = ids[~ids.isin(stored.index)]
        what = f"does not know {examples(unknown)}" if len(unknown) else "holds ids twice"
        raise ValueError(
            f"`{where}` {what}: drugs of `adata.obsm[{key!r}]` were renamed after prediction, or are of another one. Undo that, "
            "or predict again with scdrug.tl.predict_response(adata)."
        )
    table = pd.DataFrame(index=ids) if stored is None else stored.reindex(ids)
    for column in ("name", "targets", "pathway"):
        text = table[column] if column in table else pd.Series(np.nan, index=ids)
        table = table.assign(**{column: text.astype(object).where(text.notna(), "").astype(str)})
    names = table["name"].where(table["name"] != "", pd.Series(ids.astype(str), index=ids))
    table["name"] = names
    table.index.name = "drug"
    return table


def _half_width(stored: Mapping[str, Any], drugs: pd.DataFrame, key: str) -> np.ndarray:
    """Half widths in the order of the drugs."""
    if "half_width" in drugs:
        return pd.to_numeric(drugs["half_width"], errors="coerce").to_numpy(dtype=float)
    if "half_width" not in stored:
        return np.full(len(drugs), np.nan)
    values = np.atleast_1d(np.asarray(stored["half_width"], dtype=float))
    if len(values) != len(drugs):
        raise ValueError(
            f"`adata.uns[{key!r}]['half_width']` holds {len(values)} values for {len(drugs)} drugs: drugs were added or removed "
            f"after prediction. {RUN_PREDICT}"
        )
    return values
