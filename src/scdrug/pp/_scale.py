"""Tell on which scale expression is, and refuse to guess when the values do not say."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import scipy.sparse as sp

from .._constants import SCALES
from .._validate import check_choice
from ._rows import sample_rows

if TYPE_CHECKING:
    from anndata import AnnData

#: log1p of the largest plausible count and log2 of a million both stay below this.
_MAX_LOG = 25.0


def detect_scale(values: sp.csr_matrix) -> str:
    """Name the scale of expression values.

    Parameters
    ----------
    values
        Cells × genes.

    Returns
    -------
    ``"counts"`` (non-negative integers), ``"linear"`` (non-negative, above what a logarithm reaches: CPM, TPM),
    ``"log"`` (non-negative fractions up to 25) or ``"scaled"`` (negative values occur).
    """
    data = values.data
    if data.size == 0 or data.min() < 0:
        return "scaled" if data.size else "counts"
    if np.all(data == np.rint(data)):
        return "counts"
    return "linear" if data.max() > _MAX_LOG else "log"


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
    The scale.

    Raises
    ------
    ValueError
        If the values contradict `scale`, if there are no values but zeros, or if `scale` is ``"auto"`` and values are
        negative: centred data cannot be turned back, so this must be said by the caller.
    """
    check_choice("scale", scale, ("auto", *SCALES))
    where = "adata.X" if layer is None else f"adata.layers[{layer!r}]"
    values = sample_rows(adata, layer=layer)
    if values.count_nonzero() == 0:
        raise ValueError(
            f"`{where}` holds nothing but zeros in the rows looked at. Expected counts or log expression. "
            "If the object was minified by scvi-tools, pass the original counts."
        )
    found = detect_scale(values)
    if scale == "auto":
        if found == "scaled":
            raise ValueError(
                f"`{where}` holds negative values (lowest {values.data.min():.3g}). Expected counts or log-normalised "
                "expression. Pass those (for example `layer='counts'`, or `adata.raw.to_adata()`), or, if only centred "
                "or scaled values are left, say so with `scale='scaled'`."
            )
        return found
    if scale == "scaled" or found == scale or (scale == "linear" and found == "counts"):
        return scale
    if scale == "log" and found == "counts" and values.data.max() <= _MAX_LOG:
        return scale  # small integers can be rounded logarithms; the caller knows better
    described = {
        "counts": "non-negative integers",
        "linear": f"values up to {values.data.max():.4g}, too large for a logarithm",
        "log": "fractions that a logarithm would give",
        "scaled": f"negative values (lowest {values.data.min():.3g})",
    }
    raise ValueError(
        f"`scale={scale!r}` was stated for `{where}`, but it holds {described[found]}. "
        f"Pass another layer with `layer=`, or `scale={found!r}`."
    )
