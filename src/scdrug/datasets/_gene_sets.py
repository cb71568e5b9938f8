"""Gene sets: pathways and ontology terms."""

from __future__ import annotations

import os
from pathlib import Path

from .._arguments import checked
from .._validate import check_choice, examples
from ._fetch import fetch
from ._text import open_text

_NAMES = ("go_bp", "go_cc", "go_mf", "hallmark", "reactome", "toy", "wikipathways")


@checked
def gene_sets(name: str | os.PathLike[str]) -> dict[str, list[str]]:
    """Gene sets by name, as lists of HGNC symbols.

    Parameters
    ----------
    name
        ``"hallmark"`` (MSigDB 7.0), ``"reactome"`` (MSigDB 7.2), ``"wikipathways"``, ``"go_bp"``, ``"go_cc"``,
        ``"go_mf"`` (MSigDB 2023.2), ``"toy"`` (the eight pathways of :func:`~scdrug.datasets.toy`), or the path of a
        ``.gmt`` file.

    Returns
    -------
    Symbols of each set, in the order of the file.

    Raises
    ------
    ValueError
        If the name is unknown, or the file is not of the GMT format.
    FileNotFoundError
        If there is no file at the path.
    RuntimeError
        If the file is neither cached nor to be had.

    Examples
    --------
    >>> import scdrug
    >>> len(scdrug.datasets.gene_sets("toy")["HYPOXIA"])
    25
    """
    if isinstance(name, os.PathLike) or str(name).endswith(".gmt"):
        return read_gmt(name)
    check_choice("name", name, _NAMES)
    if name == "toy":
        from ._toy_content import PATHWAYS

        return {pathway: genes.split() for pathway, genes in PATHWAYS.items()}
    return read_gmt(fetch(name))


@checked
def read_gmt(path: str | os.PathLike[str]) -> dict[str, list[str]]:
    """Read a file of gene sets in the GMT format: one line per set, with name, description and genes between tabs.

    Parameters
    ----------
    path
        The file.

    Returns
    -------
    Genes of each set, in the order of the file, each gene once.

    Raises
    ------
    ValueError
        If the file is not text, a line has no name or genes, or a name occurs twice.
    FileNotFoundError
        If there is no such file.

    Examples
    --------
    >>> import scdrug
    >>> sets = scdrug.datasets.read_gmt("h.all.v7.0.symbols.gmt")  # doctest: +SKIP
    """
    sets: dict[str, list[str]] = {}
    with open_text(Path(path).expanduser()) as file:
        lines = file.read().splitlines()
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        set_name, *rest = line.split("\t")
        genes = list(dict.fromkeys(gene.strip() for gene in rest[1:] if gene.strip()))
        if not genes or not set_name.strip():
            raise ValueError(
                f"Line {number} of {path} must be a name, a description and genes between tabs; found {line[:60]!r}."
            )
        if set_name.strip() in sets:
            raise ValueError(f"{path} has the gene set {examples([set_name])} twice, in line {number} again.")
        sets[set_name.strip()] = genes
    if not sets:
        raise ValueError(f"{path} holds no gene set.")
    return sets
