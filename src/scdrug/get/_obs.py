"""Results as columns beside those of `obs`, for plots of other packages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import pandas as pd

from .._arguments import checked
from .._constants import KEYS
from .._validate import nearest
from ..pp._drugs import resolve_drugs
from ..tl._stored import Predictions, check_use, read_predictions

if TYPE_CHECKING:
    from anndata import AnnData


@checked
def obs_df(
    adata: AnnData,
    keys: str | Sequence[str],
    *,
    use: str = "percentile",
    key: str = KEYS.PREDICTED,
    activity_key: str = KEYS.ACTIVITY,
) -> pd.DataFrame:
    """Get responses, activities of pathways and columns of `obs` as one table of cells, for plots of scanpy.

    Parameters
    ----------
    adata
        Cells with the results of :func:`scdrug.tl.predict_response`, of :func:`scdrug.tl.embed`, or both.
    keys
        Columns of `obs`, pathways, and names or ids of drugs, in the order wanted. The first of these that fits is taken.
    use
        Of drugs: ``"percentile"`` (0-1, share of reference lines that are less sensitive), or ``"response"`` in the unit of the
        reference (lower ln IC50 = more sensitive).
    key
        Where :func:`scdrug.tl.predict_response` stored its results.
    activity_key
        Key of `obsm` with activities of pathways.

    Returns
    -------
    A copy, cells × keys, with columns called as they were asked for. Joined to `obs`, they colour any plot of scanpy.

    Raises
    ------
    KeyError
        If a key is none of these; the nearest names are offered.
    ValueError
        If the name of a drug stands for several.

    Examples
    --------
    >>> import scdrug
    >>> cells, reference = scdrug.datasets.toy_cells(), scdrug.datasets.toy()
    >>> scdrug.model.KernelRidge.setup_anndata(reference)
    >>> model = scdrug.model.KernelRidge(reference)
    >>> model.train()
    >>> scdrug.tl.predict_response(cells, model)
    >>> table = scdrug.get.obs_df(cells, ["clone", "Trametinib"])
    >>> cells.obs = cells.obs.join(table[["Trametinib"]])  # sc.pl.umap(cells, color="Trametinib")
    >>> cells.obs["Trametinib"].between(0, 1).all()
    np.True_
    """
    check_use(use)
    names = [keys] if isinstance(keys, str) else list(dict.fromkeys(keys))
    held = adata.obsm.get(activity_key)
    activity = held if isinstance(held, pd.DataFrame) else pd.DataFrame(index=adata.obs_names)
    predictions = read_predictions(adata, key) if key in adata.obsm else None
    columns = {name: _column(adata, name, activity, predictions, use) for name in names}
    return pd.DataFrame(columns, index=adata.obs_names)


def _column(adata: AnnData, name: str, activity: pd.DataFrame, predictions: Predictions | None, use: str) -> pd.Series:
    if name in adata.obs:
        return adata.obs[name]
    if name in activity:
        return activity[name]
    known = [*adata.obs.columns, *activity.columns]
    if predictions is None:
        near = nearest(name, known)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise KeyError(
            f"{name!r} is neither a column of `adata.obs` nor a pathway, and no drugs were predicted.{hint} Run "
            "scdrug.tl.predict_response(adata), or scdrug.tl.embed(adata, model) for pathways, first."
        )
    try:
        ids = resolve_drugs(name, predictions.drugs)
    except KeyError as error:
        near = nearest(name, known, n=1)
        hint = f" Of `adata.obs` and pathways the nearest is {near[0]!r}." if near else ""
        raise KeyError(f"{error.args[0]}{hint}") from None
    if len(ids) > 1:
        raise ValueError(f"{name!r} stands for {len(ids)} drugs: {', '.join(map(repr, ids))}. Name one of these ids.")
    return predictions.table(use)[ids[0]]
