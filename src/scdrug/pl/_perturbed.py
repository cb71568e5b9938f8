"""Plots of expression under treatment."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from .._arguments import checked
from .._labels import Label, select_groups
from ..tl._perturbed import stored
from ._style import OTHER, SENSITIVE, SMALL, auroc_rows, despine, diverging, new_axes, paper, shorten

if TYPE_CHECKING:
    from anndata import AnnData
    from matplotlib.axes import Axes


@checked
def predict_expression(
    adata: AnnData,
    *,
    drug: str | None = None,
    groups: Label | Sequence[Label] | None = None,
    n_genes: int = 25,
    key: str = "predicted_expression",
    figsize: tuple[float, float] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Plot how a drug is predicted to change the expression of groups, for the genes that change most.

    Parameters
    ----------
    adata
        What :func:`scdrug.tl.predict_expression` was run on.
    drug
        Id of a drug; may be omitted where there is only one.
    groups
        Groups to show; all if omitted.
    n_genes
        Number of genes, by their largest absolute shift.
    key
        Where the results are.
    figsize
        Width and height of a new figure in inches.
    ax
        Where to plot.

    Returns
    -------
    The Axes: groups × genes, orange where expression rises and blue where it falls.

    Raises
    ------
    KeyError
        If there are no results, or the drug or a group is not known.
    ValueError
        If there are several drugs and none is named.

    Examples
    --------
    >>> import anndata, numpy as np, pandas as pd, scdrug
    >>> adata, rows = anndata.AnnData(np.zeros((1, 1))), ["a | x", "b | x"]
    >>> adata.uns["predicted_expression"] = {
    ...     "shift": pd.DataFrame([[0.5, -1.0], [0.1, 0.2]], index=rows, columns=["EGFR", "KRAS"]),
    ...     "table": pd.DataFrame({"group": ["a", "b"], "drug": "x", "name": "X"}, index=rows),
    ... }
    >>> ax = scdrug.pl.predict_expression(adata)
    >>> [label.get_text() for label in ax.get_yticklabels()]
    ['a', 'b']
    """
    found = stored(adata, key, function="predict_expression", tables={"table": ("group", "drug", "name"), "shift": ()})
    table = found["table"]
    drugs = list(dict.fromkeys(table["drug"]))
    if drug is None and len(drugs) > 1:
        raise ValueError(f"There are several drugs; name one as `drug`: {', '.join(map(repr, drugs[:8]))}.")
    drug = drugs[0] if drug is None else drug
    if drug not in drugs:
        raise KeyError(f"{drug!r} is not among the drugs of `adata.uns[{key!r}]`: {', '.join(map(repr, drugs[:8]))}.")
    wanted = select_groups(groups, list(dict.fromkeys(table["group"])), where=f"adata.uns[{key!r}]")
    rows = (table["drug"] == drug) & table["group"].isin(wanted)
    shift = found["shift"][rows.to_numpy()]
    largest = np.abs(shift.to_numpy()).max(axis=0)
    order = np.argsort(-largest, kind="stable")[:n_genes]
    order = order[np.argsort(shift.to_numpy().mean(axis=0)[order], kind="stable")]
    values = shift.to_numpy()[:, order]
    ax = new_axes(ax, figsize or (0.24 * len(order) + 2.5, 0.3 * len(values) + 1.6))
    limit = float(np.abs(values).max()) or 1.0
    mesh = ax.pcolormesh(values, cmap=diverging(), vmin=-limit, vmax=limit, edgecolors=paper(), linewidth=0.6)
    ax.set_xticks(np.arange(len(order)) + 0.5, list(shift.columns[order]), rotation=90, fontsize=SMALL)
    ax.set_yticks(np.arange(len(values)) + 0.5, [shorten(name) for name in table.loc[rows, "group"]], fontsize=SMALL)
    ax.set_ylim(len(values), 0)
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    bar = ax.figure.colorbar(mesh, ax=ax, shrink=min(0.8, 10 / len(values)), pad=0.02)
    bar.set_label("predicted shift [robust SD]", fontsize=SMALL)
    ax.set_title(f"Expression under {table.loc[rows, 'name'].iloc[0]}, predicted", fontsize=SMALL + 1, loc="left")
    return ax


@checked
def perturbed_markers(
    adata: AnnData, *, n_labels: int = 10, key: str = "perturbed_markers", figsize: tuple[float, float] = (4.6, 3.8),
    ax: Axes | None = None,
) -> Axes:  # fmt: skip
    """Plot difference against significance of each gene between sensitive and resistant samples under a drug.

    Parameters
    ----------
    adata
        What :func:`scdrug.tl.perturbed_markers` was run on.
    n_labels
        Genes to name.
    key
        Where the results are.
    figsize
        Width and height of a new figure in inches.
    ax
        Where to plot.

    Returns
    -------
    The Axes: one dot per gene.

    Raises
    ------
    KeyError
        If there are no results.

    Examples
    --------
    >>> import anndata, numpy as np, pandas as pd, scdrug
    >>> adata = anndata.AnnData(np.zeros((1, 1)))
    >>> table = pd.DataFrame({"difference": [1.0], "p_value": [0.01], "fdr": [0.01]}, index=["EGFR"])
    >>> adata.uns["perturbed_markers"] = {"table": table, "name": "Drug", "params": {"use": "shift"}}
    >>> scdrug.pl.perturbed_markers(adata).get_title(loc="left")
    'shift expression, Drug'
    """
    columns = ("difference", "p_value", "fdr")
    found = stored(adata, key, function="perturbed_markers", entries=("name", "params"), tables={"table": columns})
    table = found["table"]
    ax = new_axes(ax, figsize)
    y = -np.log10(np.maximum(table["p_value"], 1e-300))
    ax.scatter(table["difference"], y, s=9, c=np.where(table["fdr"] < 0.05, SENSITIVE, OTHER), linewidths=0)
    for gene, x, height in zip(table.index[:n_labels], table["difference"], y):
        ax.annotate(str(gene), (x, height), (2, 2), textcoords="offset points", fontsize=SMALL - 1)
    ax.set_xlabel("sensitive − resistant [robust SD]", fontsize=SMALL)
    ax.set_ylabel("−log10 p", fontsize=SMALL)
    ax.set_title(f"{found['params']['use']} expression, {found['name']}", fontsize=SMALL + 1, loc="left")
    despine(ax)
    return ax


@checked
def perturbation_distance(
    adata: AnnData,
    *,
    key: str = "perturbation_distance",
    figsize: tuple[float, float] = (4.8, 2.4),
    ax: Axes | None = None,
) -> Axes:
    """Plot how well predicted perturbation tells sensitive from resistant pairs, before and after its controls.

    Parameters
    ----------
    adata
        What :func:`scdrug.tl.perturbation_distance` was run on.
    key
        Where the results are.
    figsize
        Width and height of a new figure in inches.
    ax
        Where to plot.

    Returns
    -------
    The Axes: AUROC of the distance, and of what is left after the means of drugs and lines.

    Raises
    ------
    KeyError
        If there are no results.

    Examples
    --------
    >>> import anndata, numpy as np, pandas as pd, scdrug
    >>> adata = anndata.AnnData(np.zeros((1, 1)))
    >>> adata.uns["perturbation_distance"] = {"table": pd.DataFrame({"auroc": [0.7, 0.5]}, index=["raw", "both"])}
    >>> ax = scdrug.pl.perturbation_distance(adata)
    >>> [label.get_text() for label in ax.get_yticklabels()]
    ['distance', 'without both']
    """
    table = stored(adata, key, function="perturbation_distance", tables={"table": ("auroc",)})["table"]
    names = {"raw": "distance", "drug mean": "without drug means", "line mean": "without line means",
             "both": "without both", "drug mean alone": "drug mean of responses alone"}  # fmt: skip
    colors = [OTHER if name == "drug mean alone" else SENSITIVE for name in table.index]
    labels = [names.get(str(name), str(name)) for name in table.index]
    return auroc_rows(new_axes(ax, figsize), table["auroc"], labels, colors, "AUROC, sensitive pairs moved farther")


@checked
def mechanism_similarity(
    adata: AnnData,
    *,
    key: str = "mechanism_similarity",
    figsize: tuple[float, float] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Plot the similarity of drugs' attention, drugs sorted by class.

    Parameters
    ----------
    adata
        What :func:`scdrug.tl.mechanism_similarity` was run on.
    key
        Where the results are.
    figsize
        Width and height of a new figure in inches.
    ax
        Where to plot.

    Returns
    -------
    The Axes: drugs × drugs; lines part the classes, and the title gives the test and its fingerprint control.

    Raises
    ------
    KeyError
        If there are no results.

    Examples
    --------
    >>> import anndata, numpy as np, pandas as pd, scdrug
    >>> adata, names = anndata.AnnData(np.zeros((1, 1))), ["x", "y", "z"]
    >>> adata.uns["mechanism_similarity"] = {
    ...     "similarity": pd.DataFrame(np.eye(3), index=names, columns=names),
    ...     "drugs": pd.DataFrame({"name": ["X", "Y", "Z"], "class": ["a", "b", "a"]}, index=names),
    ...     "table": pd.DataFrame({"difference": [0.1], "p_value": [0.5]}, index=["attention"]),
    ... }
    >>> ax = scdrug.pl.mechanism_similarity(adata)
    >>> [label.get_text() for label in ax.get_yticklabels()]
    ['X', 'Z', 'Y']
    """
    tables = {"drugs": ("name", "class"), "similarity": (), "table": ("difference", "p_value")}
    found = stored(adata, key, function="mechanism_similarity", tables=tables)
    drugs = found["drugs"].sort_values(["class", "name"], kind="stable")
    values = found["similarity"].loc[drugs.index, drugs.index].to_numpy(copy=True)
    np.fill_diagonal(values, np.nan)
    size = 0.14 * len(drugs) + 2.6
    ax = new_axes(ax, figsize or (size + 1.0, size))
    mesh = ax.pcolormesh(values, cmap="viridis")
    ax.set_yticks(np.arange(len(drugs)) + 0.5, [shorten(str(name), 20) for name in drugs["name"]], fontsize=SMALL - 2)
    ax.set_xticks([])
    starts = np.flatnonzero(drugs["class"].to_numpy()[1:] != drugs["class"].to_numpy()[:-1]) + 1
    for start in starts:
        ax.axhline(start, color=paper(), linewidth=1)
        ax.axvline(start, color=paper(), linewidth=1)
    ax.set_ylim(len(drugs), 0)
    ax.tick_params(length=0)
    bar = ax.figure.colorbar(mesh, ax=ax, shrink=0.7)
    bar.set_label("correlation of attention", fontsize=SMALL)
    test = found["table"]
    lines = [
        f"{name}: same − different {row['difference']:.3f}, p = {row['p_value']:.3g}" for name, row in test.iterrows()
    ]
    ax.set_title("\n".join(lines), fontsize=SMALL - 1, loc="left")
    return ax
