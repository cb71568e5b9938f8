"""Which pathways make a cell sensitive or resistant."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import scipy.sparse as sp

from .._arguments import checked
from .._constants import KEYS
from ..pp._gene_sets import build_mask
from ..pp._pathways import read_gene_sets
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
from ._attribution import FREE_NODES, LINEAR_PATH, NO_PATHWAY, feature_names, in_order

if TYPE_CHECKING:
    from anndata import AnnData

    from ..model._base import DrugResponseModel
    from ..model._explain import Explained

#: Share of the network in a prediction below which pathways explain hardly anything of it.
_MIN_SHARE = 0.1
#: Fewest genes, of those that a model reads, of a set that contributions are summed over.
_MIN_GENES = 5


@checked
def attribute_pathways(
    adata: AnnData,
    model: DrugResponseModel | str | os.PathLike[str] | Sequence[DrugResponseModel | str | os.PathLike[str]],
    drugs: str | Sequence[str],
    *,
    pathways: str | os.PathLike[str] | Mapping[str, Sequence[str]] | None = None,
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
    per_model: bool = True,
    key_added: str = KEYS.PATHWAY_IG,
    copy: bool = False,
) -> AnnData | None:
    """Attribute each cell's predicted response to pathways: those of a network's code, or gene sets.

    Integrated gradients (Sundararajan et al. 2017, eq. 1) of the network's output with respect to the shared code, as in He
    et al. 2025, section 2.5; or, with `pathways`, of the prediction with respect to genes, summed over gene sets, for linear models
    too. A cell's contributions add up to its prediction minus that of the baseline. **Positive
    contributions support sensitive, negative ones resistant**, whatever the direction of the response: for ln IC50 they are
    minus the change of ln IC50.

    Parameters
    ----------
    adata
        Cells × genes: counts, CPM/TPM or logarithms.
    model
        Trained :class:`~scdrug.model.PathwayTransfer` with pathways, or with `pathways` also a linear model such as the bundled
        ``"gdsc-ridge"``; name or folder of one; or several that were trained with different seeds, or on different lines:
        contributions are then averaged, and what does not come back from training to training is told from what does.
    drugs
        Names or ids of drugs of the model.
    pathways
        Collection of gene sets: a name or a ``.gmt`` file, see :func:`scdrug.datasets.gene_sets`, or genes by name of the set. Each
        gene's contribution is divided equally among the sets that hold it; sets with fewer than five genes of the model are left
        out. By default the nodes of the network's code, which only a :class:`~scdrug.model.PathwayTransfer` has.
    baseline
        What contributions are counted from: ``"lines"``, the mean code (or expression) of the training lines, or ``"zero"``. The
        linear path is counted from the mean expression of the lines.
    n_steps
        Steps of the integral. Cells whose contributions do not add up within 1 % are integrated in twice as many steps,
        up to 800.
    layer, scale, method, anchor, groupby, shift_by_group, fit_on, min_coverage, chunk_size
        As in :func:`scdrug.tl.predict_response`: pass the same as there to explain what it predicted.
    resampled
        Whether several models were trained on lines drawn again, such as halves of the reference, instead of with other seeds. The error
        of their mean is then as large as they differ, however many they are; over seeds it falls with their number.
    per_model
        With several models, keep the contributions of each: :func:`scdrug.tl.rank_pathways` reads from them whether a
        difference between groups is stable.
    key_added
        Key of `uns`, and beginning of the keys of `obsm`.
    copy
        Return a copy instead of writing to `adata`.

    Returns
    -------
    `None`, or a copy of `adata`, with

    ``adata.obsm["pathway_ig_<drug id>"]`` : DataFrame
        Cells × pathways: contributions towards *sensitive*, in the unit of the response (log-odds for a classification).
        ``"free nodes"``, the sum over nodes that belong to no pathway, and ``"linear path"``, the part of the prediction that
        goes past the pathways, complete the sum; of gene sets ``"no pathway"``, the sum over genes that are in none.
    ``adata.obsm["pathway_ig_<drug id>_models"]`` : array
        Cells × columns of the former × models, with several models.
    ``adata.uns["pathway_ig"]["table"]`` : DataFrame
        One row per drug and column, most important first (by importance times stability): `drug`, `pathway`, `kind`
        (``"pathway"``, or the name of what completes the sum), `importance` (mean absolute contribution over cells), `towards_sensitive` (mean contribution),
        `supports` (its sign in words), `consistency` (share of cells of that sign), `n_genes`, `own_r2` and `identified` (how
        far the node is the pathway, see :meth:`~scdrug.model.PathwayTransfer.get_pathway_table`; of several models the
        mean, and whether in all; a gene set is itself); over several models `importance_sd`, `sign_agreement`, the share of models
        with that sign, `stability`, the share of the contributions that would come back with other trainings (0-1), and `repeats`,
        whether they are beyond zero by Student's t over models (5 %), which asks for a stability of 0.95 with three models and of 0.80
        with ten. Plots show what repeats.
    ``adata.uns["pathway_ig"]["summary"]`` : DataFrame
        By drug: `name`; `baseline`, the prediction at the baseline; `completeness_error`, the largest difference between a
        cell's sum of contributions and what it should be, relative to the latter or, if that is larger, to the drug's standard
        deviation over lines; `n_steps` taken; `stability`, the mean rank correlation of importances between models (NaN
        for one).
    ``adata.uns["pathway_ig"]["params"]`` : dict
        Model, version, unit, direction, arguments, `network_share`: share of the network in the prediction.

    Raises
    ------
    TypeError, ValueError
        If the model has no pathways, models differ in theirs, or cells do not fit.
    KeyError
        If a drug is not known; the nearest names are offered.
    ImportError
        If captum is not installed (extra ``explain``).

    Warns
    -----
    UserWarning
        If contributions do not add up within 1 %, the network has less than a tenth of the prediction, or earlier
        contributions are replaced.

    See Also
    --------
    scdrug.get.attribute_pathways_df : the results as a table.
    scdrug.pl.attribute_pathways, scdrug.pl.attribute_pathways_heatmap : and as figures.
    scdrug.tl.rank_pathways : differences between groups of cells.

    Examples
    --------
    >>> import scdrug
    >>> reference, cells = scdrug.datasets.toy(), scdrug.datasets.toy_cells()
    >>> scdrug.pp.pathway_mask(reference, "toy")
    >>> scdrug.model.PathwayTransfer.setup_anndata(reference)
    >>> model = scdrug.model.PathwayTransfer(reference, n_hidden=32, cells=cells)
    >>> model.train(max_epochs=3)
    >>> scdrug.tl.attribute_pathways(cells, model, "trametinib")
    >>> cells.obsm["pathway_ig_trametinib"].shape
    (200, 9)
    >>> bool(cells.uns["pathway_ig"]["summary"].loc["trametinib", "completeness_error"] < 0.01)
    True
    """
    request = Request(
        baseline=baseline, n_steps=n_steps, layer=layer, scale=scale, method=method, anchor=anchor, groupby=groupby,
        shift_by_group=shift_by_group, fit_on=fit_on, min_coverage=min_coverage, chunk_size=chunk_size,
        per_cell=True, per_model=per_model, resampled=resampled,
    )  # fmt: skip
    check_request(adata, request)
    models, ids, columns = resolve_models(model, drugs)
    reserve_attribution(adata, key_added, ids, n_models=len(models), per_model=per_model)
    if pathways is None:
        parts = [one._explained(columns, baseline=baseline, of="pathways") for one in models]
        _check_alike(parts)
        nodes = _node_table(parts)
        collect = _collector(parts[0], list(nodes.index))
    else:
        parts, panel = [one._explained(columns, baseline=baseline) for one in models], list(map(str, models[0].genes))
        check_genes(parts, panel)
        nodes, collect = _gene_sets(feature_names(parts[0], panel), pathways)
    results, coverage = attribute_cells(
        adata, models, parts, ids, request, n_features=len(nodes), combine=lambda values: values @ collect
    )
    share = float(np.mean([one.network_share for one in parts]))
    summary = summary_table(results, models, (nodes["kind"] == "pathway").to_numpy())
    warn_incomplete(summary)
    if share < _MIN_SHARE and pathways is None:
        warnings.warn(
            f"The network has {share:.0%} of these predictions; the rest comes from the linear prior, which no pathway explains. "
            "Train without `prior` to explain predictions by pathways.",
            UserWarning,
            stacklevel=2,
        )
    params = models[0].provenance(
        unit=parts[0].unit, direction=DIRECTION, attributed_to="pathway", baseline=baseline, n_models=len(models),
        through="code" if pathways is None else "genes",
        network_share=share, gene_coverage=coverage, groupby=groupby, method=method, anchor=anchor, scale=scale,
        resampled=resampled,
    )  # fmt: skip
    table = _table(results, nodes)
    adata = store(adata, key_added, results, list(nodes.index), table=table, summary=summary, params=params, copy=copy)
    return adata if copy else None


def _check_alike(parts: Sequence[Explained]) -> None:
    for one in parts[1:]:
        if one.names != parts[0].names or (one.linear is None) != (parts[0].linear is None):
            raise ValueError(
                "The models have different pathways, or only some have a linear path, so their contributions cannot be "
                "averaged. Train them on the same reference and cells, with other seeds."
            )


def _node_table(parts: Sequence[Explained]) -> pd.DataFrame:
    """What is known of each column of the result: `kind`, `n_genes`, `own_r2`, `identified`."""
    tables = [one.table[one.table["kind"] == "pathway"] for one in parts]
    nodes = pd.DataFrame(
        {
            "kind": "pathway",
            "n_genes": tables[0]["n_genes"].to_numpy(dtype=int),
            "own_r2": np.mean([table["own_r2"].to_numpy() for table in tables], axis=0),
            "identified": np.all([table["identified"].to_numpy(dtype=bool) for table in tables], axis=0),
        },
        index=pd.Index(tables[0].index, dtype=object, name="pathway"),
    )
    rest = [FREE_NODES] * (len(parts[0].names) > len(nodes)) + [LINEAR_PATH] * (parts[0].linear is not None)
    for name in rest:
        nodes.loc[name] = [name, 0, np.nan, False]
    return nodes


def _gene_sets(
    genes: Sequence[str], pathways: str | os.PathLike[str] | Mapping[str, Sequence[str]]
) -> tuple[pd.DataFrame, sp.csr_matrix]:
    """What is known of each gene set, as :func:`_node_table`, and genes × columns of the result: a gene's share of each."""
    mask = build_mask(list(genes), read_gene_sets(pathways)[1], min_genes=_MIN_GENES)
    held = np.asarray(mask.matrix.sum(axis=1)).ravel()
    shares = sp.diags_array(1 / np.maximum(held, 1), dtype=np.float32) @ mask.matrix
    names = pd.Index([str(name).replace("/", "|") for name in mask.table.index], dtype=object, name="pathway")
    nodes = pd.DataFrame({"kind": "pathway", "n_genes": mask.table["n_genes"].to_numpy(), "own_r2": np.nan, "identified": True}, index=names)  # fmt: skip
    nodes.loc[NO_PATHWAY] = [NO_PATHWAY, int((held == 0).sum()), np.nan, False]
    rest = sp.csr_array((held == 0).astype(np.float32)[:, None])
    return nodes, sp.csr_matrix(sp.hstack([shares, rest]))


def _collector(parts: Explained, columns: list[str]) -> np.ndarray:
    """Nodes (and linear path) × columns of the result: free nodes are interchangeable, so only their sum is kept."""
    of_pathway = (parts.table["kind"] == "pathway").to_numpy()
    goes_to = [name if own else FREE_NODES for name, own in zip(parts.names, of_pathway)]
    goes_to += [LINEAR_PATH] * (parts.linear is not None)
    return (np.array(goes_to)[:, None] == np.array(columns)).astype(np.float32)


def _table(results: Sequence[Found], nodes: pd.DataFrame) -> pd.DataFrame:
    """One row per drug and pathway, most important first."""
    parts: list[Any] = []
    for one in results:
        part = pd.concat([nodes.reset_index(), one.totals.table()], axis=1)
        part = in_order(part)
        part.insert(0, "drug", one.drug)
        parts.append(part)
    table = pd.concat(parts, ignore_index=True)
    first = ["drug", "pathway", "kind", "importance", "towards_sensitive", "supports", "consistency"]
    return table[[*first, *(column for column in table if column not in first)]]
