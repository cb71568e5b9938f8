"""The genes that a network reads, and their scale."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ..._validate import check_choice, examples
from ...pp._genes import match_genes
from ...pp._interactions import panel_edges, read_edges
from ...pp._landmarks import landmark_genes

#: Names of panels.
PANELS = ("auto", "landmarks", "reference")
_NETWORKS = ("none", "string", "dualgcn")


@dataclass(frozen=True, eq=False)
class Panel:
    """Genes of a network, where they stand in a reference, and center and scale of their expression."""

    genes: list[str]
    #: Column of the reference for each gene, −1 where it lacks the gene.
    columns: np.ndarray
    center: np.ndarray
    scale: np.ndarray


def robust_scale(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Median and 1.4826 × median absolute deviation of each column; the standard deviation, or one, where that is zero."""
    center = np.median(values, axis=0)
    spread = 1.4826 * np.median(np.abs(values - center), axis=0)
    deviation = values.std(axis=0)
    tiny = 1e-6 * np.maximum(1.0, np.abs(center))
    spread = np.where(spread > tiny, spread, deviation)
    return center.astype(np.float32), np.where(spread > tiny, spread, 1.0).astype(np.float32)


def choose_panel(
    genes: Sequence[str],
    expression: np.ndarray,
    rows: np.ndarray,
    *,
    wanted: str | Sequence[str],
    n_genes: int,
    min_coverage: float = 0.4,
) -> Panel:
    """Choose the genes that a network reads.

    Parameters
    ----------
    genes
        Genes of the reference.
    expression
        Lines × genes.
    rows
        Lines that may be looked at.
    wanted
        ``"auto"``: the landmark genes that the reference has, filled up to `n_genes` with its most variable genes;
        ``"landmarks"``; ``"reference"``: all its genes; or names.
    n_genes
        Size of the panel for ``"auto"``.
    min_coverage
        Least share of the genes named that the reference must have.

    Raises
    ------
    ValueError
        If the reference lacks most of the genes, or genes are named twice.
    """
    genes = [str(gene) for gene in genes]
    values = np.asarray(expression)[rows]
    if isinstance(wanted, str):
        check_choice("genes", wanted, PANELS)
        names = list(landmark_genes()) if wanted != "reference" else genes
    else:
        names = [str(gene) for gene in wanted]
        if len(set(names)) < len(names):
            raise ValueError(
                f"`genes` names genes twice: {examples(sorted({g for g in names if names.count(g) > 1}))}."
            )
    columns = match_genes(genes, names, warn=False).columns
    found = columns >= 0
    if isinstance(wanted, str) and wanted == "auto":
        order = np.argsort(-values.std(axis=0), kind="stable")
        first = columns[found][:n_genes]
        rest = order[~np.isin(order, first)][: max(n_genes - len(first), 0)]
        columns = np.sort(np.concatenate([first, rest])).astype(int)
        names = [genes[column] for column in columns]
    elif wanted != "reference" and found.mean() < min_coverage:
        raise ValueError(
            f"The reference has only {int(found.sum())} of the {len(names)} genes of the panel ({found.mean():.0%}); at "
            f"least {min_coverage:.0%} are needed. It lacks {examples(np.array(names, dtype=object)[~found], 3)}. Choose "
            "genes='auto', or a panel that the reference measures."
        )
    elif wanted == "landmarks":  # a gene without values would teach nothing
        names, columns = [name for name, there in zip(names, found) if there], columns[found]
    return fit_panel(names, columns, values)


def fit_panel(names: list[str], columns: np.ndarray, values: np.ndarray) -> Panel:
    """Scale the genes of a panel by the lines that may be looked at (lines × genes of the reference)."""
    center, scale = robust_scale(values[:, np.maximum(columns, 0)])
    return Panel(names, columns, center, scale)


def prior_edges(network: Any, genes: Sequence[str]) -> np.ndarray | None:
    """Edges of a prior network between the genes of a panel (2 × edges), or `None` for no prior.

    Parameters
    ----------
    network
        ``"none"``; ``"string"`` or ``"dualgcn"``, from :func:`scdrug.datasets.ppi`; a file with the columns `source` and
        `target`; or a DataFrame of that form.
    genes
        Panel.

    Raises
    ------
    ValueError
        If the name is not known, or the network has none of the genes.
    FileNotFoundError
        If there is no such file.
    """
    if isinstance(network, str) and network == "none":
        return None
    if isinstance(network, str) and network in _NETWORKS:
        from ...datasets import ppi

        return panel_edges(ppi(network), genes)
    if isinstance(network, str | os.PathLike):
        if not Path(network).suffix:
            check_choice("ppi", str(network), _NETWORKS)
        return panel_edges(read_edges(network), genes)
    if isinstance(network, pd.DataFrame):
        return panel_edges(network, genes)
    raise TypeError(f"`ppi` must be a name, a file or a DataFrame of edges; found {type(network).__name__}.")
