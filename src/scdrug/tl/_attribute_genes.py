"""Which genes make a cell sensitive or resistant."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from .._arguments import checked
from .._constants import KEYS
from ..pp._match_cells import match_cells
from ._attribute_run import (
    DIRECTION,
    Found,
    Request,
    attribute_cells,
    check_genes,
    check_request,
    reserve_attribution,
    resolve_models,
    store,
    summary_table,
    warn_incomplete,
)
from ._attribution import feature_names, in_order

if TYPE_CHECKING:
    from anndata import AnnData

    from ..model._base import DrugResponseModel


@checked
def attribute_genes(
    adata: AnnData,
    model: DrugResponseModel | str | os.PathLike[str] | Sequence[DrugResponseModel | str | os.PathLike[str]],
    drugs: str | Sequence[str],
    *,
    baseline: str = "lines",
    n_steps: int = 50,
    layer: str | None = None,
    scale: str = "auto",
    method: str = "quantile",
    anchor: str = "similar",
    groupby: str | None = None,
    shift_by_group: bool = False,
    fit_on: str | None = None,
    min_coverage: float = 0.3,
    chunk_size: int | None = None,
    resampled: bool = False,
    per_cell: bool = True,
    key_added: str = KEYS.GENE_IG,
    copy: bool = False,
) -> AnnData | None:
    """Attribute each cell's predicted response to genes.

    Integrated gradients (Sundararajan et al. 2017, eq. 1) of the prediction with respect to harmonized expression. Through a
    network the integral is computed in steps; a linear model, and the linear path of a
    :class:`~scdrug.model.PathwayTransfer`, contribute exactly weight × (expression - baseline). A cell's contributions add
    up to its prediction minus that of the baseline. **Positive contributions support sensitive, negative ones
    resistant**, whatever the direction of the response.

    Parameters
    ----------
    adata
        Cells × genes: counts, CPM/TPM or logarithms.
    model
        Trained :class:`~scdrug.model.PathwayTransfer` or linear model, name or folder of one (such as the bundled
        ``"gdsc-ridge"``), or several that were trained with different seeds.
    drugs
        Names or ids of drugs of the model.
    baseline
        Expression that contributions are counted from: ``"lines"``, the mean of the training lines, or ``"zero"``.
    n_steps
        Steps of the integral. Cells whose contributions do not add up within 1 % are integrated in twice as many steps,
        up to 800.
    layer, scale, method, anchor, groupby, shift_by_group, fit_on, min_coverage, chunk_size
        As in :func:`scdrug.tl.predict_response`: pass the same as there to explain what it predicted.
    resampled
        Whether several models were trained on lines drawn again, such as halves of the reference, instead of with other seeds. The error
        of their mean is then as large as they differ, however many they are; over seeds it falls with their number.
    per_cell
        Keep the contributions of each cell, cells × genes of the model in 4 bytes each and for each drug; otherwise only
        the summary over cells, in memory that does not grow with them.
    key_added
        Key of `uns`, and beginning of the keys of `obsm`.
    copy
        Return a copy instead of writing to `adata`.

    Returns
    -------
    `None`, or a copy of `adata`, with

    ``adata.obsm["gene_ig_<drug id>"]`` : DataFrame
        Cells × genes of the model: contributions towards *sensitive*, in the unit of the response (log-odds for a
        classification).
    ``adata.uns["gene_ig"]["table"]`` : DataFrame
        One row per drug and gene, most important first: `drug`, `gene`, `measured` (whether the cells measure it; others
        are filled from those), `importance`, `towards_sensitive`, `supports`, `consistency`, and over several models
        `importance_sd`, `sign_agreement`, `stability` and `repeats`, as in :func:`scdrug.tl.attribute_pathways`.
    ``adata.uns["gene_ig"]["summary"]`` : DataFrame
        By drug, as in :func:`scdrug.tl.attribute_pathways`, and `measured_share`: share of the summed importance that genes
        have which the cells measure.
    ``adata.uns["gene_ig"]["params"]`` : dict
        Model, version, unit, direction, arguments.

    Raises
    ------
    TypeError, ValueError
        If the model can not be explained, models differ in their genes, or cells do not fit.
    KeyError
        If a drug is not known; the nearest names are offered.
    ImportError
        If the model has a network and captum is not installed (extra ``explain``).

    Warns
    -----
    UserWarning
        If contributions do not add up within 1 %, or earlier contributions are replaced.

    Notes
    -----
    Genes that are expressed together share their contribution in a way that the data do not decide: read sets of genes, not
    single ones. A contribution is not an effect of changing the gene in the cell.

    Examples
    --------
    >>> import scdrug
    >>> reference, cells = scdrug.datasets.toy(), scdrug.datasets.toy_cells()
    >>> scdrug.model.KernelRidge.setup_anndata(reference)
    >>> model = scdrug.model.KernelRidge(reference)
    >>> model.train()
    >>> scdrug.tl.attribute_genes(cells, model, "trametinib")
    >>> cells.obsm["gene_ig_trametinib"].shape == (cells.n_obs, len(model.genes))
    True
    """
    request = Request(
        baseline=baseline, n_steps=n_steps, layer=layer, scale=scale, method=method, anchor=anchor, groupby=groupby,
        shift_by_group=shift_by_group, fit_on=fit_on, min_coverage=min_coverage, chunk_size=chunk_size,
        per_cell=per_cell, per_model=False, resampled=resampled,
    )  # fmt: skip
    check_request(adata, request)
    models, ids, columns = resolve_models(model, drugs)
    reserve_attribution(adata, key_added, ids, n_models=len(models), per_model=False)
    parts = [one._explained(columns, baseline=baseline) for one in models]
    panel = [str(gene) for gene in models[0].genes]
    features = feature_names(parts[0], panel)
    check_genes(parts, panel)
    results, coverage = attribute_cells(adata, models, parts, ids, request, n_features=len(features))
    measured = _measured(adata, panel, features, layer)
    table = _table(results, features, measured)
    summary = summary_table(results, models, np.ones(len(features), dtype=bool))
    sums = table.assign(of_measured=table["importance"] * table["measured"]).groupby("drug")
    sums = sums[["importance", "of_measured"]].sum()
    summary["measured_share"] = (sums["of_measured"] / sums["importance"].clip(lower=1e-30)).reindex(summary.index)
    warn_incomplete(summary)
    params = models[0].provenance(
        unit=parts[0].unit, direction=DIRECTION, attributed_to="gene", baseline=baseline, n_models=len(models),
        network_share=float(np.mean([one.network_share for one in parts])), gene_coverage=coverage, groupby=groupby,
        method=method, anchor=anchor, scale=scale, resampled=resampled,
    )  # fmt: skip
    adata = store(adata, key_added, results, features, table=table, summary=summary, params=params, copy=copy)
    return adata if copy else None


def _measured(adata: AnnData, panel: list[str], features: list[str], layer: str | None) -> np.ndarray:
    match = match_cells(adata, panel, layer=layer, min_coverage=None, warn=False)
    known = dict(zip(panel, match.columns >= 0))
    return np.array([known[gene] for gene in features])


def _table(results: Sequence[Found], features: list[str], measured: np.ndarray) -> pd.DataFrame:
    """One row per drug and gene, most important first."""
    parts = []
    for one in results:
        part = one.totals.table()
        part.insert(0, "measured", measured)
        part.insert(0, "gene", features)
        part.insert(0, "drug", one.drug)
        parts.append(in_order(part))
    return pd.concat(parts, ignore_index=True)
