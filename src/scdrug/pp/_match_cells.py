"""Find the genes of a panel in an object: which names it has, which columns are genes, what is measured."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from .._validate import warn_caller
from ._features import Features, filtered_columns, name_columns, read_features
from ._gene_ids import MOUSE_HINT
from ._gene_names import GeneNames, known_share, looks_decorated, read_gene_names, sample_names
from ._gene_table import as_names, detect_gene_ids
from ._genes import (
    FoundGenes,
    GeneMatch,
    check_coverage,
    check_share,
    make_match,
    measured_part,
    panel_positions,
    say_repeated,
)
from ._passes import over_rows
from ._rows import Blocks, iter_row_blocks

if TYPE_CHECKING:
    from anndata import AnnData

#: Coverage above which names are taken as they are, and gain in coverage from which `adata.raw` is pointed out.
_ENOUGH, _GAIN_OF_RAW = 0.5, 0.1
#: Share of the names of cells that must be genes before an object is said to be transposed.
_TRANSPOSED = 0.3


def match_cells(
    adata: AnnData,
    genes: Iterable[object],
    *,
    layer: str | None = None,
    min_coverage: float | None,
    synonyms: bool = True,
    warn: bool = True,
) -> GeneMatch:
    """Find each gene of a panel in an object, or say why it cannot be found.

    Names are read as they occur: where few genes of the panel are found in `adata.var_names`, what files add to names is
    taken off (see :func:`scdrug.pp._gene_names.read_gene_names`), and the column of `adata.var` is read that holds
    most of the panel. Columns that are not expression of human genes never stand for a gene.

    Parameters
    ----------
    adata
        Cells × genes.
    genes
        Panel: gene names of the model, each once.
    layer
        Layer that will be read; `X` if omitted.
    min_coverage
        Share of the panel that must be measured, 0–1; `None` checks nothing.
    synonyms
        Whether Ensembl ids, Entrez ids and synonyms stand for the genes of the panel.
    warn
        Whether to warn; not where the same object was matched just before.

    Returns
    -------
    The match. Of several columns with the very same name, that with the highest total is used.

    Raises
    ------
    ValueError
        If too few genes are measured, saying what the names are instead, or if `min_coverage` is no share.

    Warns
    -----
    UserWarning
        If something was taken off names or they were read from a column; if columns are left out because they are not
        of genes, of other species, filtered or repeated; if `adata.raw` has clearly more genes of the panel.

    Examples
    --------
    >>> import anndata, numpy as np, pandas as pd
    >>> from scdrug.pp._match_cells import match_cells
    >>> adata = anndata.AnnData(np.ones((2, 2)), var=pd.DataFrame(index=["HER2", "MYC"]))
    >>> match_cells(adata, ["EGFR", "ERBB2"], min_coverage=0.5).columns.tolist()
    [-1, 0]
    """
    if min_coverage is not None:
        check_share(min_coverage)
    panel = as_names(genes)
    position = panel_positions(panel)
    names = as_names(adata.var_names)
    features = read_features(adata, names, position.keys())
    read, source, found = _read_names(adata, names, features, position, synonyms=synonyms)
    match = make_match(
        panel,
        found,
        features.is_gene,
        source=source,
        stripped=read.stripped,
        n_other_features=features.n_other,
        other_features=features.kinds,
        n_other_species=features.n_other_species,
    )
    if found.ties:
        match = replace(match, columns=_highest(adata, layer, match.columns, found.ties))
    match = _without_filtered(adata, layer, panel, match)
    of_raw = _coverage_of_raw(adata, match, position, synonyms=synonyms)
    if min_coverage is not None and (match.coverage < min_coverage or match.coverage == 0):
        hints = _hints(adata, names, match, of_raw, position.keys())
        check_coverage(match, min_coverage=min_coverage, names=names, hints=hints)
    if warn:
        for text in _notes(match, found.repeated, of_raw):
            warn_caller(text)
    return match


def _read_names(
    adata: AnnData, names: list[str], features: Features, position: dict[str, int], *, synonyms: bool
) -> tuple[GeneNames, str, FoundGenes]:
    """The names that find most of the panel: as they are, without what was added to them, or of a column of `var`."""

    def of_genes(texts: list[str]) -> list[str]:
        return texts if features.is_gene.all() else [t if gene else "" for t, gene in zip(texts, features.is_gene)]

    plain = GeneNames(_without_numbers(names, features.is_gene), "")
    found = FoundGenes(of_genes(plain.names), position, synonyms=synonyms)
    if len(found.best) >= _ENOUGH * len(position) or detect_gene_ids(names).startswith("mouse"):
        return plain, "adata.var_names", found
    tried = [("adata.var_names", read_gene_names(of_genes(names), position))]
    tried += [(f"adata.var[{key!r}]", read) for key, read in name_columns(adata.var, position.keys())]
    others = [
        (read, source, FoundGenes(of_genes(read.names), position, synonyms=synonyms))
        for source, read in tried
        if read.stripped or source != "adata.var_names"
    ]
    best = max(others, key=lambda other: len(other[2].best), default=None)
    if best is None or len(best[2].best) <= 2 * len(found.best):
        return plain, "adata.var_names", found
    return best


def _without_numbers(names: list[str], is_gene: np.ndarray) -> list[str]:
    """Names of genes that got a number because an antibody has the same name: CD8A and CD8A-1."""
    others = {name for name, gene in zip(names, is_gene) if not gene}
    if not others:
        return names
    bases = [name.rpartition("-") for name in names]
    return [
        base if gene and number.isdecimal() and base in others else name
        for name, gene, (base, _, number) in zip(names, is_gene, bases)
    ]


def _highest(adata: AnnData, layer: str | None, columns: np.ndarray, ties: list[list[int]]) -> np.ndarray:
    """Of columns with the same name, use that with the highest total over all cells, whatever their order."""
    several = sorted(column for tied in ties for column in tied)
    place = np.full(adata.n_vars, len(several))
    place[several] = np.arange(len(several))
    totals = over_rows(adata, _Totals(place, len(several) + 1), layer=layer)
    total = dict(zip(several, totals.tolist()))
    chosen = {tied[0]: max(tied, key=lambda column: total[column]) for tied in ties}
    return np.array([chosen.get(column, column) for column in columns.tolist()], dtype=np.int64)


@dataclass(frozen=True)
class _Totals:
    """Sum of each of some columns over all cells."""

    #: Where the sum of each column stands; the last place is for those that are not asked for (columns).
    place: np.ndarray
    n: int

    def __call__(self, blocks: Blocks) -> np.ndarray:
        totals = np.zeros(self.n)
        for _, block in blocks:
            totals += np.bincount(self.place[block.indices], weights=block.data, minlength=self.n)
        return totals

    def join(self, parts: Sequence[np.ndarray]) -> np.ndarray:
        return np.sum(parts, axis=0)


def _without_filtered(adata: AnnData, layer: str | None, panel: list[str], match: GeneMatch) -> GeneMatch:
    """Count genes whose values were replaced by zeros as not measured."""
    flagged = filtered_columns(adata)
    there = (match.columns >= 0) & flagged[match.columns]
    if not there.any():
        return match
    _, block = next(iter_row_blocks(adata, layer=layer))
    # the flag is about X of a published file: raw counts that were put in its place, or a layer, hold all genes
    if np.any(block.data[flagged[block.indices]] != 0):
        return match
    columns = np.where(there, -1, match.columns)
    return replace(match, **measured_part(panel, columns), n_filtered=int(there.sum()))


def _coverage_of_raw(adata: AnnData, match: GeneMatch, position: dict[str, int], *, synonyms: bool) -> float:
    """Share of the panel in `adata.raw` where that is clearly higher, else 0."""
    if match.coverage > 1 - _GAIN_OF_RAW or getattr(adata, "raw", None) is None:
        return 0.0
    if not match.n_filtered and adata.raw.var_names.equals(adata.var_names):
        return 0.0
    n_found = len(FoundGenes(as_names(adata.raw.var_names), position, synonyms=synonyms).best)
    coverage = n_found / len(match.columns)
    return coverage if coverage >= match.coverage + _GAIN_OF_RAW else 0.0


def _notes(match: GeneMatch, repeated: Sequence[str], of_raw: float) -> list[str]:
    """What the user should know about how genes were found."""
    notes = []
    if match.source != "adata.var_names" or match.stripped:
        off = f", without {match.stripped}" if match.stripped else ""
        notes.append(
            f"Gene names were read from `{match.source}`{off}: {match.coverage:.1%} of the model's genes were found. Set "
            "`adata.var_names` to symbols or Ensembl ids to choose yourself."
        )
    if match.n_other_features:
        notes.append(
            f"{match.n_other_features:,} columns are not gene expression ({match.other_features}): antibodies, peaks, "
            "guides and the like are left out and never stand for a gene."
        )
    if match.n_other_species:
        notes.append(f"{match.n_other_species:,} genes of other species are left out.")
    if match.n_filtered:
        notes.append(
            f"{match.n_filtered:,} genes of the model were filtered out of X (`adata.var['feature_is_filtered']`): their "
            "zeros count as not measured. All genes may be in `adata.raw`: pass `adata.raw.to_adata()`."
        )
    elif of_raw:
        notes.append(_say_raw(match, of_raw))
    if repeated:
        notes.append(
            say_repeated(repeated, "an equal name goes first, and of equal names the column with the highest total")
        )
    return notes


def _say_raw(match: GeneMatch, of_raw: float) -> str:
    return (
        f"`adata.raw` has {of_raw:.1%} of the model's genes, `adata` itself {match.coverage:.1%}: pass "
        "`adata.raw.to_adata()` to use them."
    )


def _hints(adata: AnnData, names: list[str], match: GeneMatch, of_raw: float, own: AbstractSet[str]) -> list[str]:
    """Why too few genes were found, and what to do, as far as the object shows it."""
    if _is_transposed(adata, names, own):
        return [
            "The object looks transposed: genes stand in `adata.obs`, cells in `adata.var`. Pass `adata.T`, which has "
            "cells in rows and genes in columns."
        ]
    hints = []
    if match.n_other_species >= match.is_gene.sum():
        hints.append(f"{match.n_other_species:,} names are of genes of another species. {MOUSE_HINT}")
    if match.n_other_features >= match.is_gene.sum():
        hints.append(
            f"{match.n_other_features:,} columns are not gene expression ({match.other_features}). Pass the object, or the "
            "modality, that holds gene expression."
        )
    if match.n_filtered:
        hints.append(
            f"{match.n_filtered:,} more genes are there, but `adata.var['feature_is_filtered']` says that their values "
            "were left out of X."
        )
    if of_raw:
        hints.append(_say_raw(match, of_raw))
    if not hints and not match.stripped and detect_gene_ids(names) == "unknown" and looks_decorated(names):
        hints.append(
            "The names seem to carry a prefix or suffix that cannot be told apart for certain. Strip it, for example "
            "`adata.var_names = adata.var_names.str.replace('^prefix_', '', regex=True)`."
        )
    return hints


def _is_transposed(adata: AnnData, names: list[str], own: AbstractSet[str]) -> bool:
    if known_share(sample_names(names), own) >= _TRANSPOSED:
        return False
    cells = sample_names(as_names(adata.obs_names))
    if known_share(sample_names(read_gene_names(cells, own).names), own) >= _TRANSPOSED:
        return True
    return next(name_columns(adata.obs, own), None) is not None
