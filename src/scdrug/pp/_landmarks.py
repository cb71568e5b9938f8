"""The landmark genes of L1000: those that its assay measures."""

from __future__ import annotations

from functools import cache
from importlib.resources import files


@cache
def landmark_genes() -> tuple[str, ...]:
    """Symbols of the 978 landmark genes, in alphabetical order (Subramanian et al. 2017).

    Returns
    -------
    The symbols.

    Examples
    --------
    >>> from scdrug.pp._landmarks import landmark_genes
    >>> len(landmark_genes())
    978
    """
    text = (files("scdrug.pp") / "_data" / "l1000_landmarks.tsv").read_text(encoding="utf-8")
    return tuple(line.split("\t")[1] for line in text.splitlines()[1:])
