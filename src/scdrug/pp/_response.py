"""Turn drug responses into labels: sensitive, resistant, or neither."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from .._arguments import checked
from .._constants import KEYS
from .._store import holds, reserve, store
from .._validate import check_choice, check_key, examples, plain
from ._measures import DIRECTIONS, lower_is_sensitive
from ._reference_tables import read_numbers

if TYPE_CHECKING:
    from anndata import AnnData

METHODS = ("extreme", "threshold", "median", "waterfall")
#: Sorted responses that correlate so well with a straight line have no elbow: the waterfall method takes the median.
_STRAIGHT = 0.95


@dataclass(frozen=True, eq=False)
class BinaryResponse:
    """Labels of one drug, and the thresholds that made them."""

    #: 1 sensitive, 0 resistant, NaN discarded or not measured (lines).
    labels: np.ndarray
    #: Lines on the sensitive side of this value are sensitive (the value itself is not), in the response's unit.
    sensitive_threshold: float
    #: Lines at this value or on the resistant side of it are resistant.
    resistant_threshold: float
    #: ``"ok"``, ``"too few lines"`` or ``"not separable"``.
    status: str


def binarize(
    values: np.ndarray,
    *,
    method: str = "extreme",
    fraction: float = 0.3,
    threshold: float | None = None,
    lower_is_sensitive: bool = True,
    min_lines: int = 10,
) -> BinaryResponse:
    """Label the responses to one drug; see :func:`binarize_response` for the methods.

    Parameters
    ----------
    values
        Responses of cell lines, NaN where not measured (lines).
    method
        ``"extreme"``, ``"threshold"``, ``"median"`` or ``"waterfall"``.
    fraction
        Share of lines on either side for ``"extreme"``, between 0 and 0.5.
    threshold
        Value for ``"threshold"``, in the unit of `values`.
    lower_is_sensitive
        Direction of the response.
    min_lines
        Measured lines needed for thresholds that are found from the values.

    Returns
    -------
    Labels, thresholds and whether the values could be told apart.

    Examples
    --------
    >>> import numpy as np
    >>> from scdrug.pp._response import binarize
    >>> binarize(np.array([1.0, 2.0, np.nan, 3.0, 4.0]), method="median", min_lines=4).labels
    array([ 1.,  1., nan,  0.,  0.])
    """
    _check_rule(method, fraction)
    values = np.asarray(values, dtype=np.float64)
    sign = 1.0 if lower_is_sensitive else -1.0
    oriented = sign * values  # low is sensitive from here on
    measured = oriented[np.isfinite(oriented)]
    labels = np.full(len(values), np.nan)
    if method == "threshold":
        if threshold is None or not np.isfinite(threshold):
            raise ValueError(f"`method='threshold'` needs a finite `threshold`; found {threshold!r}.")
        low = high = sign * float(threshold)
        status = "ok" if len(measured) else "too few lines"
    elif len(measured) < max(min_lines, 2):
        return BinaryResponse(labels, np.nan, np.nan, "too few lines")
    else:
        low, high = _find_thresholds(measured, method, fraction)
        one_sided = not (measured < low).any() or not (measured >= high).any()
        status = "not separable" if one_sided else "ok"
    if status == "ok":
        labels[oriented < low] = 1
        labels[oriented >= high] = 0
    return BinaryResponse(labels, sign * low, sign * high, status)


def _check_rule(method: str, fraction: float) -> None:
    check_choice("method", method, METHODS)
    if method == "extreme" and not 0 < fraction < 0.5:
        raise ValueError(
            f"`fraction` is the share of lines called sensitive, and the share called resistant: expected more than 0 "
            f"and less than 0.5; found {fraction!r}. To split all lines in two, choose `method='median'`."
        )


def _find_thresholds(measured: np.ndarray, method: str, fraction: float) -> tuple[float, float]:
    """Thresholds below which lines are sensitive, and from which on they are resistant."""
    if method == "extreme":
        low, high = np.quantile(measured, [fraction, 1 - fraction])
        return float(low), float(high)
    threshold = float(np.median(measured)) if method == "median" else _waterfall(measured)
    return threshold, threshold


def _waterfall(measured: np.ndarray) -> float:
    """Value at the elbow of the sorted responses, or their median if there is no elbow."""
    ordered = np.sort(measured)[::-1]
    line = np.linspace(ordered[0], ordered[-1], len(ordered))
    if ordered[0] == ordered[-1] or np.corrcoef(ordered, line)[0, 1] >= _STRAIGHT:
        return float(np.median(measured))
    # distances at right angles to the line are these differences times a constant
    return float(ordered[np.argmax(np.abs(ordered - line))])


@checked
def binarize_response(
    adata: AnnData,
    *,
    method: str = "extreme",
    fraction: float = 0.3,
    threshold: float | Mapping[str, float] | pd.Series | None = None,
    min_lines: int = 10,
    response_key: str = KEYS.RESPONSE,
    key_added: str = "response_binary",
    copy: bool = False,
) -> AnnData | None:
    """Label cell lines as sensitive (1) or resistant (0) to each drug.

    Parameters
    ----------
    adata
        Bulk reference: `obsm[response_key]` holds responses, lines × drugs, NaN where not measured. The direction is
        read from `uns["response"]["direction"]`: ``"lower is more sensitive"`` (also if there is no such entry) or ``"higher is more
        sensitive"``; where it is not stated it follows from the measure.
    method
        How a drug's lines are told apart, for a response whose low values mean sensitive:

        - ``"extreme"``: sensitive below the quantile `fraction`, resistant from the quantile 1 − `fraction` on; lines
          between are discarded (NaN). The rule of He et al. 2025.
        - ``"threshold"``: sensitive below `threshold`, resistant from there on.
        - ``"median"``: the same with the drug's median.
        - ``"waterfall"``: the same at the elbow of the sorted responses, that is, at the value farthest from the
          straight line between the highest and the lowest; at the median if the sorted responses correlate with
          that line by at least 0.95 (Barretina et al. 2012, as simplified by He et al. 2025).
    fraction
        Share of lines on either side for ``"extreme"``, between 0 and 0.5.
    threshold
        For ``"threshold"``, in the unit of the response: one number for all drugs, or one for each, by drug id.
    min_lines
        Measured lines that a drug needs, unless thresholds are given.
    response_key
        Key of `adata.obsm` with the responses.
    key_added
        Key of `adata.obsm` and `adata.uns` for the result.
    copy
        Return a copy instead of changing `adata`.

    Returns
    -------
    `None`, or the changed copy if ``copy=True``. Sets:

    `adata.obsm[key_added]`
        DataFrame, lines × drugs: 1 sensitive, 0 resistant, NaN discarded or not measured. A drug with too few lines,
        or whose responses are too alike to be told apart, has NaN only, and a warning names it.
    `adata.uns[key_added]`
        Method, its parameters and `thresholds`: a DataFrame by drug with both thresholds (in the unit of the
        response), the numbers of sensitive, resistant and discarded lines, and a status.

    Raises
    ------
    KeyError
        If there is no response, or thresholds and drugs do not join by id.
    ValueError
        For an unknown method or direction, or thresholds that do not fit the method.

    Notes
    -----
    Quantiles and medians are taken over all lines of `adata`: subset it to the training lines first, or labels of
    test lines will have had a say in them.

    Examples
    --------
    >>> import anndata, numpy as np, pandas as pd, scdrug
    >>> lines = [f"line{i}" for i in range(10)]
    >>> adata = anndata.AnnData(np.zeros((10, 1)), obs=pd.DataFrame(index=lines))
    >>> adata.obsm["response"] = pd.DataFrame({"gefitinib": np.arange(10.0)}, index=lines)
    >>> scdrug.pp.binarize_response(adata)
    >>> adata.obsm["response_binary"]["gefitinib"].value_counts().to_dict()
    {1.0: 3, 0.0: 3}
    """
    _check_rule(method, fraction)
    reserve(
        adata,
        [("obsm", key_added), ("uns", key_added)],
        report=key_added,
        recognise=holds("method", "thresholds"),
        function="scdrug.pp.binarize_response",
    )
    check_key(adata.obsm, response_key, where="adata.obsm", hint="Responses are a DataFrame of lines × drug ids.")
    response = adata.obsm[response_key]
    if not isinstance(response, pd.DataFrame):
        raise ValueError(
            f"`adata.obsm[{response_key!r}]` must be a DataFrame of lines × drug ids; found {type(response).__name__}."
        )
    lower, values = lower_is_sensitive(adata.uns), read_numbers(response, where=f"`adata.obsm[{response_key!r}]`")
    thresholds = _thresholds(threshold, method, response.columns.astype(str))

    results = [
        binarize(
            values[:, j],
            method=method,
            fraction=fraction,
            threshold=thresholds[j],
            lower_is_sensitive=lower,
            min_lines=min_lines,
        )
        for j in range(response.shape[1])
    ]
    table = _table(results, response)
    _warn_unusable(table)

    labels = np.array([result.labels for result in results], dtype=np.float32).reshape(response.shape[::-1]).T
    report = plain(
        {
            "method": method,
            "direction": DIRECTIONS[0] if lower else DIRECTIONS[1],
            "response_key": response_key,
            "thresholds": table,
            **({"fraction": float(fraction)} if method == "extreme" else {}),
        }
    )
    values = {
        ("obsm", key_added): pd.DataFrame(labels, index=adata.obs_names, columns=response.columns),
        ("uns", key_added): report,
    }
    adata = store(adata, values, report=key_added, copy=copy)
    return adata if copy else None


def _thresholds(
    threshold: float | Mapping[str, float] | pd.Series | None, method: str, drugs: pd.Index
) -> list[float | None]:
    """One threshold per drug, joined by id."""
    if method != "threshold":
        if threshold is not None:
            raise ValueError(f"`threshold` was given, but `method={method!r}` finds its own. Choose 'threshold'.")
        return [None] * len(drugs)
    if threshold is None:
        raise ValueError("`method='threshold'` needs `threshold`: one number, or one for each drug id.")
    if not isinstance(threshold, Mapping | pd.Series):
        return [float(threshold)] * len(drugs)
    keys = [str(key) for key in threshold.keys()]
    if len(set(keys)) < len(keys):
        raise KeyError(f"`threshold` names {examples({k for k in keys if keys.count(k) > 1})} more than once.")
    by_id = dict(zip(keys, (float(value) for value in dict(threshold).values())))
    unknown = [key for key in by_id if key not in set(drugs)]
    without = [drug for drug in drugs if drug not in by_id]
    if unknown or without:
        parts = [f"no drug is called {examples(unknown)}"] if unknown else []
        parts += [f"{len(without)} drugs have no threshold, such as {examples(without)}"] if without else []
        raise KeyError(
            f"Thresholds are joined to drugs by id: {'; '.join(parts)}. Give one for each of the {len(drugs)} drugs, "
            f"whose ids are such as {examples(drugs, 3)}."
        )
    return [by_id[drug] for drug in drugs]


def _table(results: list[BinaryResponse], response: pd.DataFrame) -> pd.DataFrame:
    labels = [result.labels for result in results]
    sensitive = np.array([int((column == 1).sum()) for column in labels], dtype=np.int64)
    resistant = np.array([int((column == 0).sum()) for column in labels], dtype=np.int64)
    measured = response.notna().to_numpy().sum(axis=0)
    return pd.DataFrame(
        {
            "sensitive_threshold": np.array([result.sensitive_threshold for result in results], dtype=np.float64),
            "resistant_threshold": np.array([result.resistant_threshold for result in results], dtype=np.float64),
            "n_sensitive": sensitive,
            "n_resistant": resistant,
            "n_discarded": measured - sensitive - resistant,
            "status": np.array([result.status for result in results], dtype=object),
        },
        index=response.columns.astype(str),
    )


def _warn_unusable(table: pd.DataFrame) -> None:
    advice = {
        "too few lines": "have too few measured lines (`min_lines`)",
        "not separable": "have responses too alike to be told apart",
    }
    for status, what in advice.items():
        drugs = list(table.index[table["status"] == status])
        if drugs:
            warnings.warn(
                f"{len(drugs)} drugs {what} and get no label: {examples(drugs)}.",
                stacklevel=3,
            )
