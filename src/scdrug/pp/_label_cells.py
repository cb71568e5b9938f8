"""Label cells of a treatment experiment as sensitive or resistant, with the reason for each."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from .._arguments import checked
from .._labels import Label, group_labels
from .._store import Place, holds, reserve, store
from .._validate import plain
from . import _label_rules as rules
from ._checks import check_cells
from ._confounding import check_batch_columns, confounding, find_batch_columns, warn_if_confounded
from ._labelling import Labelling, LabelSettings, label
from ._markers import check_marker_sets, find_markers

if TYPE_CHECKING:
    from anndata import AnnData

logger = logging.getLogger(__name__)


@checked
def label_cells(
    adata: AnnData,
    *,
    treatment_key: str,
    control: Label | Sequence[Label],
    treated: Label | Sequence[Label] | None = None,
    method: str = "leiden",
    cluster_key: str | None = None,
    use_rep: str | None = None,
    layer: str | None = None,
    scale: str = "auto",
    resolution: float | None = None,
    n_neighbors: int = 15,
    n_top_genes: int = 2500,
    max_treated_share: float = 0.5,
    normal_markers: Mapping[str, Sequence[str]] | Sequence[str] | None = None,
    max_normal_score: float = 0.5,
    overrides: Mapping[str, Mapping[Any, Any]] | None = None,
    batch_key: str | Sequence[str] | None = None,
    min_cells: int = 10,
    seed: int = 0,
    key_added: str = "sensitive",
    copy: bool = False,
) -> AnnData | None:
    """Label cells as sensitive or resistant from an experiment with treated and untreated cells.

    Follows He et al. (2025). Cells that survived treatment start as resistant and control cells as sensitive. Control
    cells in clusters that look treated are dropped, as they may be resistant without treatment. Clusters of normal cells
    are dropped by marker genes. What the literature knows of single groups of cells replaces their label.

    Parameters
    ----------
    adata
        Cells × genes of one experiment.
    treatment_key
        Column of `obs` with the treatment of each cell; missing values mean not known.
    control, treated
        Treatments that make the groups, one name or several. All but `control` are treated if `treated` is omitted; cells
        of treatments that are in neither group are not labelled.
    method
        ``"leiden"``: Leiden on principal components, or on `use_rep`. ``"attention"``: the attention autoencoder of
        :func:`scdrug.pp.cluster_attention` with its defaults; needs counts. For other settings or a GPU, run that first
        and pass ``cluster_key="attention", use_rep="X_attention"``.
    cluster_key
        Column of `obs` with clusters that are there already, instead of `method`. The silhouette is then that in
        `use_rep`, if given.
    use_rep
        Entry of `obsm` to cluster, such as ``"X_scVI"``; principal components of log expression if omitted.
    layer, scale
        What to read for components and marker scores: the layer, `X` if omitted, and its scale, see
        :func:`scdrug.pp.harmonize`. Scaled values must be announced with ``scale="scaled"``.
    resolution
        Of the clustering; by default 0.5 for Leiden, and 0.1 for ``"attention"``, as in the paper. Finer clusters find
        smaller groups of resistant control cells, and by chance more of them.
    n_neighbors, n_top_genes
        Neighbours in the graph, and variable genes for components (all genes of scaled values).
    max_treated_share
        A cluster is treated-like if its balanced share of treated cells, (t/T) / (t/T + c/C) with t of T treated and c of
        C control cells, is greater. 0.5: it holds a larger part of the treated cells than of the controls. 1: no cluster
        is, and no control cell is dropped.
    normal_markers
        Marker genes of normal cells: a list, or a mapping of cell types to lists. Matched by name whatever the case, then
        through the table of human genes.
    max_normal_score
        A cluster is normal if the median score of its cells is greater for a cell type. The score is the mean of the
        markers minus that of genes of the same level, in log expression (or standard deviations for scaled values).
    overrides
        Labels from the literature: ``{column of obs: {value: label}}``. Labels are 1 or ``"sensitive"``, 0 or
        ``"resistant"``, `None` for no label, or ``(label, source)``. The clusters found here are the column
        ``key_added + "_cluster"``. Cells of normal clusters and of other treatments keep what they have.
    batch_key
        Columns of `obs` with batches, samples or donors, to compare with the treatment. By default those that are called
        so, such as ``batch``, ``sample``, ``patient`` or ``plate``. ``[]`` if there are none.
    min_cells
        Least number of control and of treated cells, and least size of a cluster that is judged.
    seed
        Of everything random.
    key_added
        Name of the results.
    copy
        Return a copy instead of changing `adata`.

    Returns
    -------
    `None`, or the changed copy if ``copy=True``. Sets:

    `adata.obs[key_added]`
        1 sensitive, 0 resistant, NaN no label (float).
    `adata.obs[key_added + "_reason"]`
        Why: ``"control"`` (sensitive), ``"treated"`` and ``"treated, cluster not treated-like"`` (resistant),
        ``"control, cluster treated-like"``, ``"control, cluster too small"``, ``"normal: <type>"``,
        ``"other treatment"``, ``"treatment unknown"`` (no label), ``"override: <column> = <value> (<source>)"``.
    `adata.obs[key_added + "_cluster"]`
        Cluster, missing for cells of other or unknown treatment (categorical).
    `adata.uns[key_added]`
        ``params``; ``n_sensitive``, ``n_resistant``, ``n_unlabelled``; ``silhouette`` (average width, −1 to 1) and the
        ``space`` it was computed in; ``clusters`` (table: cells by group, `treated_share`, `treated_like`, `normal`,
        `silhouette`); ``confounding`` (table: Cramér's V of treatment and batch, and whether batches are nested in
        treatments); ``label_is_treatment`` (whether every label is just the cell's treatment); ``markers``.

    Raises
    ------
    KeyError
        If a column, layer or entry of `obsm` is missing.
    ValueError
        If a treatment does not occur, there is one group only, a group has too few cells (of either group, or after normal
        cells are removed), no marker is found, values contradict `scale`, counts are needed and there are none,
        overrides contradict each other, a column named as batch does not group cells, or `key_added` would replace a
        column that this function did not write.

    Warns
    -----
    UserWarning
        If treatment and batch cannot be told apart or nearly so, or no column says what the batches are; if all tumour cells are in one cluster, if clusters lie near
        the threshold, or if a class is left without cells.

    Notes
    -----
    These labels are assumptions, not measurements: nobody saw single cells die. Where each batch has one treatment, a
    model that tells batches apart scores as if it predicted response; a warning says so.

    Treated and control cells differ in what the drug does to expression besides in resistance: a cluster can be
    treated-like because its control cells were stressed. Look at the clusters before you train on the labels.

    Source: He et al. 2025 (doi:10.3390/ijms26094365), section 4.1; code for this step was not released.

    Examples
    --------
    >>> import scdrug
    >>> cells = scdrug.datasets.toy_cells()
    >>> clone = cells.obs["clone"].astype(str)
    >>> cells.obs["arm"] = ["PLX-4720" if c == "clone-c" else "DMSO" for c in clone]
    >>> scdrug.pp.label_cells(cells, treatment_key="arm", control="DMSO")
    >>> cells.obs["sensitive_reason"].value_counts().to_dict()
    {'control': 150, 'treated': 50}
    """
    check_cells(adata)
    settings = LabelSettings(
        treatment_key=treatment_key,
        method=method,
        cluster_key=cluster_key,
        use_rep=use_rep,
        layer=layer,
        scale=scale,
        resolution=resolution,
        n_neighbors=n_neighbors,
        n_top_genes=n_top_genes,
        max_treated_share=max_treated_share,
        max_normal_score=max_normal_score,
        min_cells=min_cells,
        seed=seed,
    )
    settings.check(adata)
    reserve(
        adata,
        [*_places(key_added), ("uns", key_added)],
        report=key_added,
        recognise=holds("label_is_treatment"),
        function="scdrug.pp.label_cells",
    )
    sets = {} if normal_markers is None else check_marker_sets(normal_markers)
    literature = rules.check_overrides(overrides or {})
    treatments = pd.Series(group_labels(adata, treatment_key, argument="treatment_key"), name=treatment_key)
    groups = rules.find_groups(treatments, control=control, treated=treated, min_cells=min_cells)
    markers = find_markers(adata.var_names, sets) if sets else {}

    cells = adata if groups.used.all() else adata[groups.used]
    batches = _batch_columns(cells.obs, batch_key, leave_out=[treatment_key, cluster_key, key_added])
    result = label(
        cells, groups.treated[groups.used], settings, markers=markers, literature=literature, key=f"{key_added}_cluster"
    )
    confounded = confounding(groups.treated[groups.used], cells.obs, batches)
    warn_if_confounded(confounded)
    if batch_key is None and not batches:
        warnings.warn(
            "No column of `adata.obs` is named like a batch, so whether treatment and batch are confounded is not known. "
            "Name the batches with `batch_key`, or pass `batch_key=[]` if there are none.",
            stacklevel=2,
        )

    report = plain(
        {
            "params": {**asdict(settings), "control": groups.control_names, "treated": groups.treated_names},
            "n_sensitive": int((result.labels == rules.SENSITIVE).sum()),
            "n_resistant": int((result.labels == rules.RESISTANT).sum()),
            "n_unlabelled": int(adata.n_obs - np.isfinite(result.labels).sum()),
            "n_overridden": result.n_overridden,
            "space": result.space,
            "silhouette": result.silhouette,
            "clusters": result.table,
            "confounding": confounded,
            "label_is_treatment": result.label_is_treatment,
            "markers": {kind: adata.var_names[genes].to_numpy(dtype=object) for kind, genes in markers.items()},
        }
    )
    columns = dict(zip(_places(key_added), _columns(adata.n_obs, groups, result), strict=True))
    adata = store(adata, {**columns, ("uns", key_added): report}, report=key_added, copy=copy)
    logger.info("Labels: %s", pd.Series(result.reasons).value_counts().to_dict())
    return adata if copy else None


def _batch_columns(
    obs: pd.DataFrame, batch_key: str | Sequence[str] | None, *, leave_out: Sequence[str | None]
) -> list[str]:
    if batch_key is None:
        return find_batch_columns(obs, leave_out=[name for name in leave_out if name is not None])
    return check_batch_columns(obs, batch_key)


def _places(key: str) -> list[Place]:
    return [("obs", key), ("obs", f"{key}_reason"), ("obs", f"{key}_cluster")]


def _columns(n_obs: int, groups: rules.Groups, result: Labelling) -> tuple[np.ndarray, pd.Categorical, pd.Categorical]:
    """Labels, reasons and clusters of all cells, also of those that were left out."""
    labels = np.full(n_obs, np.nan)
    labels[groups.used] = result.labels
    reasons = np.where(groups.unknown, rules.UNKNOWN, rules.OTHER).astype(object)
    reasons[groups.used] = result.reasons
    clusters = np.full(n_obs, None, dtype=object)
    clusters[groups.used] = result.clusters
    return labels, pd.Categorical(reasons), pd.Categorical(clusters, categories=list(result.table.index))
