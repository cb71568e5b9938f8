"""Networks of proteins that interact."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from .._arguments import checked
from .._validate import check_choice
from ._local import card, existing, obtain, require
from ._tables import read_table

if TYPE_CHECKING:
    import pandas as pd

_FILES = {
    "string": ("string_csg2a", "STRING_edges.csv"),
    "dualgcn": ("string_dualgcn", "PPI_network.txt"),
}
_LOCAL_NAMES = {"string": ["STRING_edges.csv"], "dualgcn": ["PPI_network.txt", "*PPI_network.txt"]}


@checked
def ppi(name: str = "string", *, path: str | os.PathLike[str] | None = None) -> pd.DataFrame:
    """Interactions of proteins, from STRING.

    Parameters
    ----------
    name
        ``"string"``: 57,260 edges with a combined score over 900, without the scores. ``"dualgcn"``: 110,280 scored
        edges (0-1000) between 697 cancer genes.
    path
        The file, or the folder that holds it, instead of the cache: ``STRING_edges.csv`` (columns source and target),
        or ``PPI_network.txt`` (source, target and score between tabs, without a header).

    Returns
    -------
    A row for each edge, with the columns ``source`` and ``target`` (HGNC symbols) and, for ``"dualgcn"``, ``score``.
    Edges are undirected and stand in the order and direction of the file. The card of the data set is in
    ``attrs['dataset']``.

    Raises
    ------
    ValueError
        If the name is unknown.
    FileNotFoundError
        If `path` lacks the file.
    RuntimeError
        If the file is neither cached nor to be had.

    Notes
    -----
    STRING is CC BY 4.0. Source: Szklarczyk et al. 2023 (doi:10.1093/nar/gkac1000).

    Examples
    --------
    >>> import scdrug
    >>> edges = scdrug.datasets.ppi("string")  # doctest: +SKIP
    """
    check_choice("name", name, tuple(_FILES))
    dataset, file = _FILES[name]
    folder = existing(path) if path is not None else obtain(dataset, [file], None)
    found = require(folder, _LOCAL_NAMES[name], what=f"the edges of {name!r}")
    if name == "string":
        edges = read_table(found, columns=("source", "target"), text=True, missing=False)[["source", "target"]]
    else:
        edges = read_table(found, names=("source", "target", "score"), text=("source", "target"), numbers=("score",))
    edges.attrs["dataset"] = card(dataset, [found])
    return edges
