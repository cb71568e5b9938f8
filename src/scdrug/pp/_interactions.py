"""Networks of interacting proteins on a panel of genes."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from .._validate import check_key, examples
from ._gene_table import gene_table
from ._genes import match_genes

#: Shares of a panel that a network should know, and of its names that should be human genes.
_LEAST_COVERED, _LEAST_HUMAN = 0.2, 0.8


def panel_edges(edges: pd.DataFrame, genes: Sequence[str]) -> np.ndarray:
    """Restrict a network to a panel of genes.

    Names are matched as those of expression are (symbols, synonyms, Ensembl and Entrez ids). Loops, repeated edges and
    directions are dropped.

    Parameters
    ----------
    edges
        Columns `source` and `target`, gene names.
    genes
        Panel.

    Returns
    -------
    Pairs of positions in the panel, 2 × edges, the smaller position first, sorted.

    Raises
    ------
    KeyError
        If a column is missing.
    ValueError
        If no gene of the panel is in the network.

    Warns
    -----
    UserWarning
        If many names of the network are no human genes, or it has few genes of the panel.

    Examples
    --------
    >>> import pandas as pd
    >>> from scdrug.pp._interactions import panel_edges
    >>> edges = pd.DataFrame({"source": ["EGFR", "KRAS", "EGFR"], "target": ["KRAS", "EGFR", "GRB2"]})
    >>> panel_edges(edges, ["KRAS", "EGFR"]).tolist()
    [[0], [1]]
    """
    for column in ("source", "target"):
        check_key(edges, column, where="edges", hint="A network has a row for each edge, with names of two genes.")
    codes, names = pd.factorize(pd.concat([edges["source"], edges["target"]], ignore_index=True).astype(str))
    columns = match_genes(names, genes, warn=False).columns
    covered = columns >= 0
    if not covered.any():
        raise ValueError(
            f"No gene of the panel ({examples(genes, 3)}) is in the network ({examples(names, 3)}). Use gene symbols of the "
            "same species."
        )
    table = gene_table()
    unknown = [name for name in names if table.lookup(name)[0] < 0]
    if len(unknown) > (1 - _LEAST_HUMAN) * len(names):
        warnings.warn(
            f"{len(unknown)} of {len(names)} names in the network are no human genes, such as {examples(unknown, 3)}; their "
            "edges are left out.",
            stacklevel=2,
        )
    if covered.mean() < _LEAST_COVERED:
        warnings.warn(
            f"The network knows only {covered.mean():.0%} of the {len(genes)} genes of the panel.", stacklevel=2
        )
    position = np.full(len(names), -1)
    position[columns[covered]] = np.flatnonzero(covered)
    both = position[codes].reshape(2, -1)
    both = np.sort(both[:, (both >= 0).all(axis=0) & (both[0] != both[1])], axis=0)
    return np.unique(both, axis=1)


def read_edges(path: str | os.PathLike[str]) -> pd.DataFrame:
    """Read a network from a table of edges.

    Parameters
    ----------
    path
        File with one edge a row and columns `source` and `target`, between commas, tabs or semicolons.

    Returns
    -------
    The edges.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    KeyError
        If a column is missing.
    ValueError
        If the file is no table.
    """
    from ..datasets._tables import read_table

    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(
            f"No table of edges at {path}. scdrug.datasets.ppi('string') fetches STRING, which `ppi='string'` reads; `ppi='none'` does without."
        )
    edges = read_table(path, text=("source", "target"), missing=False)
    for column in ("source", "target"):
        check_key(edges, column, where=str(path))
    return edges[["source", "target"]]
