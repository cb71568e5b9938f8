"""From treated and control cells to labels: cluster, find normal clusters, apply the rules."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from .._labels import group_labels
from .._validate import check_choice, check_key, examples
from . import _label_rules as rules
from ._cluster import (
    Expression,
    leiden_clusters,
    principal_components,
    read_expression,
    read_representation,
    silhouette,
    variable_genes,
)
from ._markers import score_markers

if TYPE_CHECKING:
    from anndata import AnnData

METHODS = ("leiden", "attention")
_RESOLUTION = {"leiden": 0.5, "attention": 0.1}
#: Balanced shares so near to the threshold that a few cells decide about a cluster.
_UNDECIDED = 0.1


@dataclass(frozen=True)
class LabelSettings:
    """Arguments of :func:`scdrug.pp.label_cells` that are recorded with its result."""

    treatment_key: str
    method: str
    cluster_key: str | None
    use_rep: str | None
    layer: str | None
    scale: str
    resolution: float | None
    n_neighbors: int
    n_top_genes: int
    max_treated_share: float
    max_normal_score: float
    min_cells: int
    seed: int

    def check(self, adata: AnnData) -> None:
        """Raise unless the arguments are possible and what they name is in `adata`."""
        check_choice("method", self.method, METHODS)
        check_key(adata.obs, self.treatment_key, where="adata.obs")
        if self.cluster_key is not None:
            check_key(adata.obs, self.cluster_key, where="adata.obs")
        if self.use_rep is not None:
            check_key(adata.obsm, self.use_rep, where="adata.obsm")
        if self.use_rep is not None and self.method == "attention":
            raise ValueError("`method='attention'` makes its own codes from counts; drop `use_rep`, or use 'leiden'.")
        if not 0 < self.max_treated_share <= 1:
            raise ValueError(f"`max_treated_share` must be between 0 and 1; found {self.max_treated_share}.")
        if self.resolution is not None and self.resolution <= 0:
            raise ValueError(f"`resolution` must be positive; found {self.resolution}.")
        for name, value, low in (
            ("min_cells", self.min_cells, 2),
            ("n_neighbors", self.n_neighbors, 2),
            ("n_top_genes", self.n_top_genes, 2),
        ):
            if value < low:
                raise ValueError(f"`{name}` must be at least {low}; found {value}.")

    @property
    def needs_components(self) -> bool:
        """Whether clusters are those of principal components."""
        return self.cluster_key is None and self.use_rep is None and self.method == "leiden"

    @property
    def used_resolution(self) -> float:
        """Resolution that was given, or the method's own."""
        return _RESOLUTION[self.method] if self.resolution is None else self.resolution


@dataclass(frozen=True, eq=False)
class Clusters:
    """Clusters of the cells, and how well they are separated."""

    labels: np.ndarray
    names: list[str]
    #: Where the silhouette was computed.
    space: str
    silhouette: float
    widths: pd.Series


@dataclass(frozen=True, eq=False)
class Labelling:
    """Labels of treated and control cells, and what they rest on."""

    #: 1 sensitive, 0 resistant, NaN none (cells).
    labels: np.ndarray
    reasons: np.ndarray
    #: Names of the clusters (cells).
    clusters: np.ndarray
    #: A row for each cluster.
    table: pd.DataFrame
    space: str
    silhouette: float
    n_overridden: int
    #: Whether every label is just the treatment of the cell.
    label_is_treatment: bool


def label(
    cells: AnnData,
    treated: np.ndarray,
    settings: LabelSettings,
    *,
    markers: Mapping[str, np.ndarray],
    literature: Mapping[str, Mapping[str, tuple[float, str]]],
    key: str,
) -> Labelling:
    """Label cells; see :func:`scdrug.pp.label_cells`.

    Parameters
    ----------
    cells
        Control and treated cells.
    treated
        Whether each was treated.
    settings
        Settings.
    markers
        Columns of the markers of normal cells by cell type.
    literature
        Overrides in the form of :func:`check_overrides`.
    key
        Name under which overrides find the clusters.

    Returns
    -------
    Labels, and what they rest on.
    """
    expression = None
    if markers or settings.needs_components:
        expression = read_expression(cells, layer=settings.layer, scale=settings.scale)
        _warn_of_empty(cells, expression)
    clusters = find_clusters(cells, settings, expression)
    kinds, medians = np.full(len(clusters.names), "", dtype=object), None
    if markers and expression is not None:
        scores = score_markers(expression.values, markers)
        kinds, medians = rules.normal_clusters(clusters.labels, scores, threshold=settings.max_normal_score)
    normal = kinds[clusters.labels]
    _check_left(treated, normal, min_cells=settings.min_cells)
    table = rules.cluster_table(
        clusters.labels,
        treated,
        normal != "",
        max_treated_share=settings.max_treated_share,
        min_cells=settings.min_cells,
    )
    labels, reasons = rules.decide(clusters.labels, treated, normal, table)
    names = np.array(clusters.names, dtype=object)[clusters.labels]
    obs = cells.obs.assign(**{key: names})
    n_overridden = rules.apply_overrides(labels, reasons, obs, literature, protected=normal != "")

    table.index = pd.Index(clusters.names, name="cluster")
    table["normal"] = kinds
    table["silhouette"] = clusters.widths.reindex(range(len(table))).to_numpy()
    if medians is not None:
        for kind in medians:
            table[f"score_{str(kind).replace('/', '|')}"] = medians[kind].to_numpy()
    _warn(labels, table, settings)
    known = np.isfinite(labels)
    return Labelling(
        labels=labels,
        reasons=reasons,
        clusters=names,
        table=table,
        space=clusters.space,
        silhouette=clusters.silhouette,
        n_overridden=n_overridden,
        label_is_treatment=bool(np.all((labels[known] == rules.SENSITIVE) == ~treated[known])),
    )


def find_clusters(cells: AnnData, settings: LabelSettings, expression: Expression | None) -> Clusters:
    """Cluster cells in the way that the settings ask for; `expression` is needed for principal components."""
    resolution, seed = settings.used_resolution, settings.seed
    if settings.cluster_key is not None:
        return _given_clusters(cells, settings)
    if settings.method == "attention":
        from ._attention_clusters import attention_clusters
        from ._attention_training import AttentionSettings

        network = AttentionSettings(resolution=resolution, n_neighbors=settings.n_neighbors, seed=seed)
        result, _ = attention_clusters(
            cells, network, layer=settings.layer, scale=settings.scale, n_top_genes=settings.n_top_genes
        )
        labels, where, space = result.labels, result.latent, "codes of the attention autoencoder"
    else:
        where, space = _representation(cells, settings, expression)
        labels = leiden_clusters(where, resolution=resolution, n_neighbors=settings.n_neighbors, seed=seed)
    width, widths = silhouette(where, labels, seed=seed)
    return Clusters(labels, [str(k) for k in range(labels.max() + 1)], space, width, widths)


def _representation(cells: AnnData, settings: LabelSettings, expression: Expression | None) -> tuple[np.ndarray, str]:
    if settings.use_rep is not None or expression is None:
        return read_representation(cells, str(settings.use_rep)), str(settings.use_rep)
    genes = variable_genes(expression.values, settings.n_top_genes, scale=expression.scale)
    return principal_components(expression.values[:, genes], seed=settings.seed), "principal components"


def _warn_of_empty(cells: AnnData, expression: Expression) -> None:
    empty = expression.totals == 0
    if expression.scale != "scaled" and empty.any():
        warnings.warn(
            f"{int(empty.sum())} cells such as {examples(cells.obs_names[empty])} have no counts at all: their cluster and "
            "label say nothing. Filter cells first.",
            stacklevel=4,
        )


def _given_clusters(cells: AnnData, settings: LabelSettings) -> Clusters:
    given = group_labels(cells, settings.cluster_key, argument="cluster_key")  # type: ignore[arg-type]
    missing = given.codes < 0
    if missing.any():
        raise ValueError(
            f"`adata.obs[{settings.cluster_key!r}]` must name the cluster of each control and treated cell; it is missing "
            f"for {int(missing.sum())} such as {examples(cells.obs_names[missing])}."
        )
    labels, names = given.codes.astype(np.int64), list(given.categories)
    if settings.use_rep is None:
        return Clusters(labels, names, "none", float("nan"), pd.Series(np.nan, index=range(len(names))))
    width, widths = silhouette(read_representation(cells, settings.use_rep), labels, seed=settings.seed)
    return Clusters(labels, names, settings.use_rep, width, widths)


def _check_left(treated: np.ndarray, normal: np.ndarray, *, min_cells: int) -> None:
    for what, mask in (("control", ~treated), ("treated", treated)):
        left = int((mask & (normal == "")).sum())
        if left < min_cells:
            raise ValueError(
                f"Only {left} of {int(mask.sum())} {what} cells are left after clusters of normal cells were removed; at "
                f"least {min_cells} are needed. Check `normal_markers` for genes that tumour cells express too, raise "
                "`max_normal_score`, or raise `resolution` so that normal cells get clusters of their own."
            )


def _warn(labels: np.ndarray, table: pd.DataFrame, settings: LabelSettings) -> None:
    tumour = table[table["n_control"] + table["n_treated"] > 0]
    if len(tumour) == 1:
        warnings.warn(
            "All tumour cells are in one cluster: labels are the treatment and nothing else. Raise `resolution` to look "
            "for resistant control cells.",
            stacklevel=4,
        )
    near = (tumour["treated_share"] - settings.max_treated_share).abs() <= _UNDECIDED
    undecided = list(tumour.index[near & tumour["judged"]])
    if undecided and len(tumour) > 1 and settings.max_treated_share < 1:
        warnings.warn(
            f"Clusters {examples(undecided)} hold nearly as large a part of the treated cells as of the controls "
            f"(balanced share within {_UNDECIDED} of `max_treated_share`): a few cells decide about their control cells. "
            "Look at `uns[...]['clusters']`, or give their labels by `overrides`.",
            stacklevel=4,
        )
    for value, what in ((rules.SENSITIVE, "sensitive"), (rules.RESISTANT, "resistant")):
        if not (labels == value).any():
            warnings.warn(f"No cell is labelled {what}: no model can be trained or judged on this.", stacklevel=4)
