"""Which part of an object with several modalities holds gene expression."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from .._validate import check_choice, examples
from ._features import EXPRESSION

if TYPE_CHECKING:
    from anndata import AnnData
    from mudata import MuData


def expression_part(
    data: AnnData | MuData, modality: str | None, *, copy: bool = False
) -> tuple[MuData | None, AnnData]:
    """The cells × genes of an object, and the MuData that they belong to, if it is one.

    Parameters
    ----------
    data
        AnnData, which is returned as it is, or MuData.
    modality
        Name of the modality with gene expression. If omitted, the only one, or the only one with a name for it, such as ``"rna"`` or
        ``"gex"``.
    copy
        Return a copy of a MuData, and the part of that. An AnnData is not copied.

    Raises
    ------
    KeyError
        If there is no such modality.
    ValueError
        If `modality` is given for an AnnData; if it is not, and no modality, or several, are called like gene expression.

    Examples
    --------
    >>> import anndata, mudata, numpy as np
    >>> from scdrug.pp._modalities import expression_part
    >>> parts = {name: anndata.AnnData(np.ones((2, size))) for name, size in (("rna", 3), ("atac", 5))}
    >>> _, cells = expression_part(mudata.MuData(parts), None)
    >>> cells.n_vars
    3
    """
    if not hasattr(data, "mod"):
        if modality is not None:
            raise ValueError(f"`modality={modality!r}` is for a MuData; found an AnnData. Leave it out.")
        return None, data
    name = _find(list(data.mod), modality)
    whole: Any = data.copy() if copy else data
    return whole, whole.mod[name]


def _find(names: list[str], wanted: str | None) -> str:
    if wanted is not None:
        check_choice("modality", wanted, tuple(names))
        return wanted
    if not names:
        raise ValueError("The MuData holds no modality. Expected one with gene expression.")
    called = [name for name in names if re.sub(r"[^a-z0-9]+", " ", name.lower()).strip() in EXPRESSION]
    candidates = called or names
    if len(candidates) > 1:
        what = (
            f"Modalities {examples(called, 8)} are all" if called else f"None of the modalities {examples(names, 8)} is"
        )
        raise ValueError(
            f"{what} called like gene expression. Name the one to read, e.g. `modality={candidates[0]!r}`."
        )
    return candidates[0]
