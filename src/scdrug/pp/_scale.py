"""Tell on which scale expression is, how sure that is, and refuse to guess when the values do not say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import scipy.sparse as sp

from .._constants import SCALES
from .._validate import check_choice, warn_caller
from ._rows import iter_row_blocks, sample_rows
from ._transform import inspect_block

if TYPE_CHECKING:
    from anndata import AnnData

#: log1p of the largest plausible count and log2 of a million both stay below this.
_MAX_LOG = 25.0
#: Largest relative spread of library sizes that were made equal.
_EQUAL = 0.01
#: Values this much below zero, relative to the largest, are rounding errors of what was zero.
_ROUNDING = 1e-5
#: Among values that are not zero, the largest over the median: logarithms stay below, what they were made from does not.
_MAX_LOG_RATIO = 30.0


@dataclass(frozen=True)
class Scale:
    """What values are, and what says so."""

    #: ``"counts"``, ``"linear"``, ``"log"`` or ``"scaled"``.
    name: str
    #: What was found, as the end of a sentence that begins with "since".
    reason: str
    #: Whether other scales are ruled out.
    is_certain: bool


def detect_scale(values: sp.csr_matrix) -> str:
    """Name the scale of expression values, see :func:`judge_scale`."""
    return judge_scale(values).name


def judge_scale(values: sp.csr_matrix) -> Scale:
    """Tell the scale of expression values from integers, library sizes, and the spread of genes.

    Parameters
    ----------
    values
        Cells × genes.

    Returns
    -------
    ``"counts"`` (non-negative integers), ``"linear"`` (library sizes that were made equal, or values above what a
    logarithm reaches: CPM, TPM), ``"log"`` (what gives equal library sizes when the logarithm is undone, or
    non-negative fractions up to 25) or ``"scaled"`` (negative values occur, or genes have unit variance).
    """
    data = values.data[values.data != 0]
    if data.size == 0:
        return Scale("counts", "there are no values but zeros", False)
    lowest, highest = float(data.min()), float(data.max())
    if lowest < -_ROUNDING * max(abs(lowest), highest):
        return Scale("scaled", f"negative values occur (lowest {lowest:.3g})", True)
    if np.all(data == np.rint(data)):
        return Scale("counts", "all values are whole numbers", True)
    if _has_unit_variance(values):
        return Scale("scaled", "the genes all have a standard deviation of 1", False)
    undone = {"linear": lambda x: x}
    if highest <= _MAX_LOG:
        undone |= {
            "logarithms of base e": np.expm1,
            "logarithms of base 2": lambda x: np.exp2(x) - 1,
            "logarithms of base 10": lambda x: np.power(10.0, x) - 1,
        }
    spread = {what: _spread_of_sums(values, undo) for what, undo in undone.items()}
    best = min(spread, key=spread.__getitem__)
    if spread[best] < _EQUAL:
        if best == "linear":
            return Scale("linear", "all cells have the same sum", True)
        return Scale("log", f"all cells have the same library size when {best} are undone", True)
    if highest > _MAX_LOG:
        return Scale("linear", f"values up to {highest:.4g} are too large for a logarithm", True)
    ratio = highest / float(np.median(data))
    if ratio > _MAX_LOG_RATIO:
        return Scale("linear", f"the largest value is {ratio:.0f} times the median of those above zero", False)
    return Scale("log", f"values are fractions up to {highest:.3g}", False)


def _has_unit_variance(values: sp.csr_matrix) -> bool:
    """Whether genes were divided by their standard deviation; rare genes do not count, as their largest values are cut."""
    n = values.shape[0]
    if n < 20:
        return False
    shown = values.getnnz(axis=0) >= max(5, n // 20)
    if shown.sum() < 20:
        return False
    mean = np.asarray(values.mean(axis=0, dtype=np.float64)).ravel()[shown]
    square = np.asarray(values.multiply(values).mean(axis=0, dtype=np.float64)).ravel()[shown]
    sd = np.sqrt(np.maximum(square - mean**2, 0))
    low, middle, high = np.quantile(sd, [0.25, 0.5, 0.75])
    return bool(abs(middle - 1) < 0.1 and high - low < 0.15)


def _spread_of_sums(values: sp.csr_matrix, undo: object) -> float:
    """Relative spread over cells of the sum of values that were turned back; infinite for too few cells."""
    undone = values.astype(np.float64)
    undone.data = undo(undone.data)  # type: ignore[operator]
    sums = np.asarray(undone.sum(axis=1)).ravel()
    sums = sums[sums > 0]
    if len(sums) < 3:
        return np.inf
    # half of the cells decide, so that a few empty or filtered ones do not hide what was done to all
    middle = np.median(sums)
    return float(np.median(np.abs(sums - middle)) / middle) if middle > 0 else np.inf


def check_scale(adata: AnnData, *, layer: str | None = None, scale: str = "auto") -> str:
    """Check a stated scale against the values, or find it out.

    Parameters
    ----------
    adata
        Cells × genes.
    layer
        Layer to look at; `X` if omitted.
    scale
        ``"counts"``, ``"linear"``, ``"log"``, ``"scaled"``, or ``"auto"`` to find out.

    Returns
    -------
    The scale. Negative values and fractions are looked for in all rows, not only in those that are sampled.

    Raises
    ------
    ValueError
        If the values contradict `scale`, if there are no values but zeros, or if `scale` is ``"auto"`` and values are
        centred or scaled: that cannot be turned back, so this must be said by the caller.
    """
    return settle_scale(adata, sample_rows(adata, layer=layer), layer=layer, scale=scale, every_row=True).name


def settle_scale(
    adata: AnnData,
    values: sp.csr_matrix,
    *,
    layer: str | None,
    scale: str,
    every_row: bool = False,
    may_be_scaled: bool = False,
) -> Scale:
    """Check a stated scale against sampled rows (rows × genes), and against all rows on request; see :func:`check_scale`.

    With `may_be_scaled`, values without negatives whose genes have unit variance are taken for scaled ones, which the
    caller then has to say; without it they are refused.
    """
    check_choice("scale", scale, ("auto", *SCALES))
    where = "adata.X" if layer is None else f"adata.layers[{layer!r}]"
    if values.count_nonzero() == 0:
        raise ValueError(
            f"`{where}` holds nothing but zeros in the rows looked at. Expected counts or log expression. "
            "If the object was minified by scvi-tools, pass the original counts."
        )
    found = judge_scale(values)
    if every_row and found.name != "scaled":
        found = _over_all_rows(adata, layer, found)
    if scale == "auto":
        if found.name == "scaled" and (found.is_certain or not may_be_scaled):
            raise ValueError(refused_scaled(where, found.reason))
        return found
    highest = float(values.data.max())
    if scale == "scaled" or found.name == scale or (scale == "linear" and found.name == "counts"):
        return Scale(scale, "it was stated", True)
    if scale == "log" and found.name == "counts" and highest <= _MAX_LOG:
        return Scale(scale, "it was stated", True)  # small integers can be rounded logarithms; the caller knows better
    if not found.is_certain and scale != "counts":
        return Scale(scale, "it was stated", True)
    described = {
        "counts": "non-negative integers",
        "linear": f"values up to {highest:.4g}, too large for a logarithm"
        if highest > _MAX_LOG
        else "values whose sum is the same in all cells, as before a logarithm",
        "log": "fractions that a logarithm would give",
        "scaled": found.reason,
    }
    raise ValueError(
        f"`scale={scale!r}` was stated for `{where}`, but it holds {described[found.name]}. "
        f"Pass another layer with `layer=`, or `scale={found.name!r}`."
    )


def refused_scaled(where: str, reason: str) -> str:
    """What to do about values that were centred or scaled."""
    return (
        f"`{where}` was centred or scaled: {reason}. Expected counts or log-normalised expression. Pass those (for example "
        "`layer='counts'`, or `adata.raw.to_adata()`), or, if only centred or scaled values are left, say so with "
        "`scale='scaled'`: contrasts between the cells are then all that can be predicted."
    )


def _over_all_rows(adata: AnnData, layer: str | None, found: Scale) -> Scale:
    lowest, highest, whole = 0.0, 0.0, True
    for _, block in iter_row_blocks(adata, layer=layer):
        facts = inspect_block(block)
        lowest, highest, whole = min(lowest, facts.lowest), max(highest, facts.highest), whole and facts.whole
    return revise_scale(found, lowest, highest, whole)


def revise_scale(found: Scale, lowest: float, highest: float, whole: bool) -> Scale:
    """What sampled rows said, in the light of the extremes of all rows."""
    if found.name == "scaled":
        return found
    if lowest < -_ROUNDING * max(abs(lowest), highest):
        return Scale("scaled", f"negative values occur (lowest {lowest:.3g})", True)
    if found.name == "counts" and not whole:
        return Scale("linear" if highest > _MAX_LOG else "log", "some rows hold fractions, others whole numbers", False)
    if found.name == "log" and highest > _MAX_LOG:
        return Scale("linear", f"values up to {highest:.4g} are too large for a logarithm", found.is_certain)
    return found


def warn_if_assumed(scale: Scale, *, layer: str | None) -> None:
    """Say which scale was assumed where the values leave it open; for methods whose result depends on it."""
    if not scale.is_certain:
        where = "adata.X" if layer is None else f"adata.layers[{layer!r}]"
        warn_caller(
            f"`{where}` was taken for {scale.name!r} values, since {scale.reason}; nothing else confirms it. "
            "State `scale='counts'`, `'linear'`, `'log'` or `'scaled'` if that is wrong."
        )
