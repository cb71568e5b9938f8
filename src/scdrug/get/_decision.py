"""Tables that a decision rests on: windows, combinations, stability, patients."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import pandas as pd

from .._arguments import checked
from .._labels import Label, select_groups
from ..tl._perturbed import stored

if TYPE_CHECKING:
    from anndata import AnnData


@checked
def therapeutic_window_df(adata: AnnData, *, by_sample: bool = False, key: str = "therapeutic_window") -> pd.DataFrame:
    """Get the therapeutic window of each drug.

    Parameters
    ----------
    adata
        Cells with the results of :func:`scdrug.tl.therapeutic_window`.
    by_sample
        Get the window of each donor instead of the mean over donors.
    key
        Where the results are.

    Returns
    -------
    A copy of the table, the widest window first, with the columns that :func:`scdrug.tl.therapeutic_window` describes; positive `window`:
    malignant cells are more sensitive.

    Raises
    ------
    KeyError
        If there are no results.

    Examples
    --------
    >>> import scdrug
    >>> cells, reference = scdrug.datasets.toy_cells(), scdrug.datasets.toy()
    >>> scdrug.model.KernelRidge.setup_anndata(reference)
    >>> model = scdrug.model.KernelRidge(reference)
    >>> model.train()
    >>> scdrug.tl.predict_response(cells, model)
    >>> scdrug.tl.therapeutic_window(cells, "clone-a", "normal", groupby="clone", sample_key="sample")
    >>> scdrug.get.therapeutic_window_df(cells)["rank"].tolist()[:3]
    [1, 2, 3]
    """
    columns = {"table": ("drug", "window", "lower", "upper"), "samples": ("sample", "drug", "window")}
    found = stored(adata, key, function="therapeutic_window", tables=columns)
    return found["samples" if by_sample else "table"].copy()


@checked
def suggest_combinations_df(adata: AnnData, *, by_group: bool = False, key: str = "combinations") -> pd.DataFrame:
    """Get the combinations of drugs that were suggested.

    Parameters
    ----------
    adata
        Cells with the results of :func:`scdrug.tl.suggest_combinations`.
    by_group
        Get the kill of each group of cells, by each combination and each of its drugs, instead of one row per combination.
    key
        Where the results are.

    Returns
    -------
    A copy of the table, best first, with the columns that :func:`scdrug.tl.suggest_combinations` describes; kills are shares, 0-1.

    Raises
    ------
    KeyError
        If there are no results.

    Examples
    --------
    >>> import scdrug
    >>> cells, reference = scdrug.datasets.toy_cells(), scdrug.datasets.toy()
    >>> scdrug.model.KernelRidge.setup_anndata(reference)
    >>> model = scdrug.model.KernelRidge(reference)
    >>> model.train()
    >>> scdrug.tl.predict_response(cells, model)
    >>> scdrug.tl.suggest_combinations(cells, "clone", normal="normal", n_combinations=5)
    >>> scdrug.get.suggest_combinations_df(cells).shape[0]
    5
    """
    columns = {"table": ("rank", "drugs", "worst_lower"), "kill": ("rank", "drugs", "group", "kill")}
    found = stored(adata, key, function="suggest_combinations", tables=columns)
    return found["kill" if by_group else "table"].copy()


@checked
def doses_df(adata: AnnData, *, key: str = "combinations") -> pd.DataFrame:
    """Get the concentrations at which drugs were combined.

    Parameters
    ----------
    adata
        Cells with the results of :func:`scdrug.tl.suggest_combinations`.
    key
        Where the results are.

    Returns
    -------
    By drug id, for all drugs that could be combined: `name`; `concentration` (µM); `max_dose`, the highest dose that was tested (µM,
    NaN where it is not known); `capped`, whether the concentration was lowered to it; and `hill`, the slope.

    Raises
    ------
    KeyError
        If there are no results.

    Examples
    --------
    >>> import scdrug
    >>> cells, reference = scdrug.datasets.toy_cells(), scdrug.datasets.toy()
    >>> scdrug.model.KernelRidge.setup_anndata(reference)
    >>> model = scdrug.model.KernelRidge(reference)
    >>> model.train()
    >>> scdrug.tl.predict_response(cells, model)
    >>> scdrug.tl.suggest_combinations(cells, "clone", normal="normal", max_dose={"trametinib": 1.0})
    >>> float(scdrug.get.doses_df(cells).loc["trametinib", "max_dose"])
    1.0
    """
    columns = {"table": ("rank", "drugs", "worst_lower"), "doses": ("name", "concentration", "capped")}
    return stored(adata, key, function="suggest_combinations", tables=columns)["doses"].copy()


@checked
def rank_stability_df(
    adata: AnnData,
    group: Label | Sequence[Label] | None = None,
    *,
    only_stable: bool = False,
    key: str = "rank_stability",
) -> pd.DataFrame:
    """Get how stable the ranks of drugs are.

    Parameters
    ----------
    adata
        Cells with the results of :func:`scdrug.tl.rank_stability`.
    group
        One or several groups; all if omitted.
    only_stable
        Keep drugs whose stability reaches the threshold that was asked for.
    key
        Where the results are.

    Returns
    -------
    A copy of the rows, by group, the most stable first, with the columns that :func:`scdrug.tl.rank_stability` describes.

    Raises
    ------
    KeyError
        If there are no results, or a group is unknown; the nearest one is offered.

    Examples
    --------
    >>> import scdrug
    >>> cells, reference = scdrug.datasets.toy_cells(), scdrug.datasets.toy()
    >>> scdrug.model.KernelRidge.setup_anndata(reference)
    >>> model = scdrug.model.KernelRidge(reference)
    >>> model.train()
    >>> scdrug.tl.rank_stability(cells, "clone", model, reference="normal", top=3, n_resamples=10)
    >>> sorted(set(scdrug.get.rank_stability_df(cells, only_stable=True)["group"]))
    ['clone-a', 'clone-b', 'clone-c']
    """
    columns = {"table": ("group", "drug", "stability", "stable")}
    table = stored(adata, key, function="rank_stability", tables=columns)["table"]
    names = table["group"].astype(str)
    wanted = select_groups(group, list(dict.fromkeys(names)), where=f"The result in `adata.uns[{key!r}]`")
    parts = [
        table[(names == name).to_numpy() & (table["stable"].to_numpy(dtype=bool) | (not only_stable))]
        for name in wanted
    ]
    return pd.concat(parts, ignore_index=True)


@checked
def predict_patients_df(adata: AnnData, *, key: str = "patient_response") -> pd.DataFrame:
    """Get the score of each patient and drug from single cells.

    Parameters
    ----------
    adata
        Cells with the results of :func:`scdrug.tl.predict_patients` with `sample_key`.
    key
        Where the results are.

    Returns
    -------
    A copy of the table, with the columns that :func:`scdrug.tl.predict_patients` describes: means over clones weighted by size, and the
    clone that is least sensitive.

    Raises
    ------
    KeyError
        If there are no results.

    Examples
    --------
    >>> import scdrug
    >>> cells, reference = scdrug.datasets.toy_cells(), scdrug.datasets.toy()
    >>> scdrug.model.KernelRidge.setup_anndata(reference)
    >>> model = scdrug.model.KernelRidge(reference)
    >>> model.train()
    >>> scdrug.tl.predict_patients(cells, model, sample_key="sample", groupby="clone")
    >>> scdrug.get.predict_patients_df(cells).shape[0] == 3 * 12
    True
    """
    columns = {"table": ("patient", "drug", "percentile", "percentile_worst")}
    return stored(adata, key, function="predict_patients", tables=columns)["table"].copy()
