"""Expression before and after treatment: controls, doses and times in one form."""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import scipy.sparse as sp

from .._arguments import checked
from .._labels import marked_cells
from .._store import STORED_IN, Place, holds, reserve, store
from .._validate import check_key, examples
from ._rows import check_sparse

if TYPE_CHECKING:
    from anndata import AnnData

#: Where the number of controls and the report are stored.
_N_CONTROLS, _PAIRED = "n_controls", "pair_controls"
#: One unit in µM, and in hours.
_DOSE_UNITS = {"pm": 1e-6, "nm": 1e-3, "um": 1.0, "mm": 1e3, "m": 1e6}
_TIME_UNITS = {"min": 1 / 60, "h": 1.0, "hr": 1.0, "hour": 1.0, "hours": 1.0, "d": 24.0, "day": 24.0, "days": 24.0}
_WITH_UNIT = re.compile(r"^\s*([-+]?[\d.]+(?:[eE][-+]?\d+)?)\s*([A-Za-zµμ]*)\s*$")


@dataclass(frozen=True, eq=False)
class Perturbations:
    """Treated profiles beside their controls, with the conditions of treatment."""

    #: Profiles × genes, before and after.
    basal: np.ndarray
    treated: np.ndarray
    genes: np.ndarray
    #: `smiles`, `dose` (µM) and `time` (h), by profile.
    conditions: pd.DataFrame


@checked
def pair_controls(
    adata: AnnData,
    *,
    control_key: str = "control",
    by: str | Sequence[str] = ("plate", "cell_line"),
    layer: str | None = None,
    key_added: str = "control",
    copy: bool = False,
) -> AnnData | None:
    """Give each treated profile the mean of the controls beside it.

    Controls count if they agree in all columns of `by`: plates differ by more than most treatments do, so that a control from
    another plate mostly tells plates apart.

    Parameters
    ----------
    adata
        Profiles × genes, treated ones and controls.
    control_key
        Column of `obs`, true for controls (vehicle alone, such as DMSO).
    by
        Columns of `obs` in which a control must agree with the treated profile.
    layer
        Layer to read; `X` if omitted.
    key_added
        Layer for the result.
    copy
        Return a copy instead of changing `adata`.

    Returns
    -------
    `None`, or the changed copy. Sets

    ``adata.layers[key_added]``
        Mean of the matching controls for treated profiles, float32; NaN for controls themselves and for treated
        profiles without one, which a warning counts.
    ``adata.obs["n_controls"]``
        Controls behind each row.
    ``adata.uns["pair_controls"]``
        Columns of `by`, and what was stored.

    Raises
    ------
    KeyError
        If a column or layer is missing.
    ValueError
        If there are no controls, no treated profiles, or no treated profile has a control beside it.

    Examples
    --------
    >>> import anndata, numpy as np, pandas as pd, scdrug
    >>> obs = pd.DataFrame({"control": [True, True, False], "plate": ["a", "a", "a"], "cell_line": "A549"})
    >>> adata = anndata.AnnData(np.array([[1.0], [3.0], [7.0]]), obs=obs.set_axis(["c1", "c2", "t"]))
    >>> scdrug.pp.pair_controls(adata)
    >>> adata.layers["control"][2]
    array([2.], dtype=float32)
    """
    _reserve(adata, key_added)
    columns = [by] if isinstance(by, str) else list(by)
    for column in [control_key, *columns]:
        check_key(adata.obs, column, where="adata.obs")
    is_control = marked_cells(adata, control_key, argument="control_key")
    if not is_control.any() or is_control.all():
        what = "no control" if not is_control.any() else "nothing but controls"
        raise ValueError(
            f"`adata.obs[{control_key!r}]` marks {what}. Perturbation needs treated profiles and, beside them, profiles "
            "that saw the vehicle alone; or expression before treatment in a layer of its own."
        )
    values = _dense(adata, layer)
    group = adata.obs[columns].astype(str).agg("\x1f".join, axis=1).to_numpy(dtype=object)
    codes, _ = pd.factorize(group)
    sums, counts = np.zeros((codes.max() + 1, adata.n_vars)), np.bincount(codes[is_control], minlength=codes.max() + 1)
    np.add.at(sums, codes[is_control], values[is_control])
    means = np.divide(sums, counts[:, None], out=np.full_like(sums, np.nan), where=counts[:, None] > 0)
    paired = np.where(is_control[:, None], np.nan, means[codes])
    lonely = ~is_control & (counts[codes] == 0)
    if lonely.sum() == (~is_control).sum():
        raise ValueError(
            f"No treated profile has a control with the same {' and '.join(columns)}. Name the columns in which they "
            "should agree with `by=`."
        )
    if lonely.any():
        warnings.warn(
            f"{int(lonely.sum())} of {int((~is_control).sum())} treated profiles have no control with the same "
            f"{' and '.join(columns)}, such as {examples(adata.obs_names[lonely], 3)}; they are left without.",
            stacklevel=2,
        )
    before = np.atleast_1d(adata.uns.get(_PAIRED, {}).get(STORED_IN, []))
    layers = {str(place) for place in before if str(place).startswith("layers/")} | {f"layers/{key_added}"}
    results = {
        ("layers", key_added): paired.astype(np.float32),
        ("obs", _N_CONTROLS): np.where(is_control, 0, counts[codes]),
        ("uns", _PAIRED): {
            STORED_IN: [*sorted(layers), f"obs/{_N_CONTROLS}"],
            "by": columns,
            "control_key": control_key,
        },
    }
    adata = store(adata, results, copy=copy)
    return adata if copy else None


def _reserve(adata: AnnData, key: str) -> None:
    places: list[Place] = [("layers", key), ("obs", _N_CONTROLS), ("uns", _PAIRED)]
    if _PAIRED not in adata.uns and isinstance(key, str) and key in adata.layers and _N_CONTROLS in adata.obs:
        places = places[2:]  # both together are results of version 0.1, which kept no report
    reserve(adata, places, report=_PAIRED, recognise=holds(STORED_IN), function="scdrug.pp.pair_controls")


def read_perturbations(
    adata: AnnData,
    *,
    control_layer: str = "control",
    layer: str | None = None,
    smiles_key: str = "smiles",
    dose: str | float = "dose",
    dose_unit: str | None = None,
    time: str | float = "time",
    time_unit: str | None = None,
) -> Perturbations:
    """Collect treated profiles, their controls and their conditions from an AnnData.

    Parameters
    ----------
    adata
        Profiles × genes. Rows whose control layer is NaN (the controls themselves) are left out.
    control_layer
        Layer with expression before treatment, see :func:`pair_controls`.
    layer
        Layer with expression after treatment; `X` if omitted.
    smiles_key
        Column of `obs` with the structures.
    dose, time
        Columns of `obs`, or one number for all.
    dose_unit, time_unit
        ``"nM"``, ``"µM"``, … and ``"h"``, ``"min"``, …. If omitted, what the values themselves say ("10 µM"), else what
        ``adata.uns["perturbation"]`` says under ``dose_unit`` and ``time_unit``.

    Returns
    -------
    The perturbations.

    Raises
    ------
    KeyError
        If a layer or column is missing.
    ValueError
        If no row has a control, or doses or times have no unit, are negative or not numbers.
    """
    layers = [key for key in adata.layers if key is not None]
    if control_layer not in layers:
        raise KeyError(
            f"There are no controls: {control_layer!r} is not in `adata.layers` ({examples(layers) or 'empty'}). "
            "scdrug.pp.pair_controls makes it from controls on the same plate."
        )
    check_key(adata.obs, smiles_key, where="adata.obs", hint="Name the column of structures with `smiles_key=`.")
    basal, treated = _dense(adata, control_layer), _dense(adata, layer)
    usable = np.isfinite(basal).all(axis=1)
    if not usable.any():
        raise ValueError(f"`adata.layers[{control_layer!r}]` holds no row without NaN: no profile has a control.")
    if not np.isfinite(treated[usable]).all():
        raise ValueError("Expression after treatment holds NaN or infinite values. Remove these profiles first.")
    stated = dict(adata.uns.get("perturbation", {}))
    obs = adata.obs.loc[usable]
    conditions = pd.DataFrame(
        {
            "smiles": obs[smiles_key].astype(object).to_numpy(),
            "dose": _quantity(obs, dose, "dose", dose_unit or stated.get("dose_unit"), _DOSE_UNITS),
            "time": _quantity(obs, time, "time", time_unit or stated.get("time_unit"), _TIME_UNITS),
        },
        index=obs.index.astype(str),
    )
    genes = np.asarray(adata.var_names.astype(str), dtype=object)
    return Perturbations(basal[usable], treated[usable], genes, conditions)


def _quantity(
    obs: pd.DataFrame, source: str | float, what: str, unit: str | None, units: dict[str, float]
) -> np.ndarray:
    """Values in µM or hours."""
    if isinstance(source, str):
        check_key(obs, source, where="adata.obs", hint=f"Name a column with `{what}=`, or pass one number.")
        values = obs[source]
    else:
        values = pd.Series(source, index=obs.index)
    factor = None if unit is None else _factor(unit, what, units)
    if pd.api.types.is_numeric_dtype(values):
        numbers = values.to_numpy(dtype=np.float64)
    else:
        numbers, written = _split_units(values, what, units)
        if written is not None:
            numbers, factor = numbers * written, 1.0
    if factor is None:
        raise ValueError(
            f"The unit of `{what}` is not known. Pass `{what}_unit=` ({', '.join(map(repr, list(units)[:4]))}, …), or say it in "
            f"adata.uns['perturbation']['{what}_unit']."
        )
    numbers = numbers * factor
    bad = ~np.isfinite(numbers) | (numbers < 0)
    if bad.any():
        raise ValueError(
            f"{int(bad.sum())} values of `{what}` are negative or not numbers: {examples(values[bad].to_numpy())}. "
            "Remove these profiles, or mark them as controls."
        )
    return numbers


def _split_units(values: pd.Series, what: str, units: dict[str, float]) -> tuple[np.ndarray, np.ndarray | None]:
    """Numbers, and the factor that each value's own unit stands for, if they name units."""
    distinct = {text: _WITH_UNIT.match(text) for text in values.astype(str).unique()}
    bad = [text for text, match in distinct.items() if match is None]
    if bad:
        raise ValueError(f"Values of `{what}` cannot be read: {examples(bad)}. Write a number, or a number and a unit.")
    named = {text: match.group(2) for text, match in distinct.items() if match is not None}
    texts = values.astype(str)
    numbers = texts.map({text: float(match.group(1)) for text, match in distinct.items() if match is not None})
    if not any(named.values()):
        return numbers.to_numpy(dtype=np.float64), None
    if not all(named.values()):
        raise ValueError(f"Some values of `{what}` name a unit and some do not. Write all of them alike.")
    factors = {text: _factor(unit, what, units) for text, unit in named.items()}
    return numbers.to_numpy(dtype=np.float64), texts.map(factors).to_numpy(dtype=np.float64)


def _factor(unit: str, what: str, units: dict[str, float]) -> float:
    simple = unit.strip().replace("µ", "u").replace("μ", "u").lower()
    if simple not in units:
        raise ValueError(f"{unit!r} is no unit of `{what}`. Known: {', '.join(map(repr, units))}.")
    return units[simple]


def _dense(adata: AnnData, layer: str | None) -> np.ndarray:
    if layer is not None:
        check_key(dict(adata.layers), layer, where="adata.layers")
    matrix = adata.X if layer is None else adata.layers[layer]
    matrix = matrix.to_memory() if hasattr(matrix, "to_memory") else matrix
    if sp.issparse(matrix):
        check_sparse(matrix)
    return np.asarray(matrix.toarray() if sp.issparse(matrix) else matrix, dtype=np.float32)
