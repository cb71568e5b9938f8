"""Which columns of an object measure the expression of human genes, and which columns of `var` name them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from .._lazy import column_of, in_memory
from ._gene_names import GeneNames, is_other_feature, is_other_species, known_share, read_gene_names, sample_names
from ._gene_table import NO_NAMES, as_names, gene_table

if TYPE_CHECKING:
    from anndata import AnnData

#: Values of `var["feature_types"]` and its like, in lower case and with blanks for punctuation.
EXPRESSION = frozenset({"gene expression", "gene", "genes", "gex", "rna", "mrna", "scrna", "transcriptome"})
_OTHER = frozenset(
    {
        *("antibody capture", "antibody", "antibodies", "adt", "protein", "proteins", "prot", "surface protein", "ab"),
        *("cite", "cite seq", "citeseq", "antibody derived tag", "hto", "hashtag", "hashing", "cell hashing", "abseq"),
        *("peak", "peaks", "atac", "chromatin accessibility", "crispr guide capture", "crispr", "guide", "guides"),
        *("grna", "sgrna", "multiplexing capture", "multiplexing", "cmo", "antigen capture", "custom", "vdj", "vdj t"),
        *("vdj b", "spike in", "spikein", "ercc", "methylation", "lipid", "metabolite"),
    }
)
#: Columns with these names need not list any gene expression for their values to be believed.
_COLUMNS = frozenset({"feature types", "feature type", "featuretypes", "featuretype", "modality", "feature class"})
_OTHER_GENOME = re.compile(r"mm\d|grcm|mus|mouse|rn\d|rat\b|rnor|mratbn|mmul|macaca|sscrofa|danio|grcz|bdgp", re.I)
_MAX_VALUES = 50
#: Share of names of a column that must be known genes, and share that must differ, before it is taken for names.
_MIN_KNOWN, _MIN_DISTINCT = 0.3, 0.8


@dataclass(frozen=True, eq=False)
class Features:
    """What the columns of an object are."""

    #: Whether a column measures expression of a gene that is not known to be of another species (n_vars, bool).
    is_gene: np.ndarray
    #: Columns that measure something else than expression, and what they are.
    n_other: int
    kinds: str
    #: Columns of genes of another species.
    n_other_species: int


def read_features(adata: AnnData, names: list[str], own: AbstractSet[str]) -> Features:
    """Tell genes from antibodies, peaks, guides and genes of other species, by columns of `var` and by names."""
    other = np.zeros(adata.n_vars, dtype=bool)
    species = np.zeros(adata.n_vars, dtype=bool)
    kinds: Counter[str] = Counter()
    for column, values in _text_columns(adata.var):
        try:
            codes, levels = pd.factorize(values)
        except TypeError:  # lists and the like
            continue
        if len(levels) > _MAX_VALUES:
            continue
        simple = [_simple(level) for level in levels]
        title = _simple(column)
        if title == "genome":
            species |= np.isin(codes, [i for i, level in enumerate(simple) if _OTHER_GENOME.match(level)])
        no_genes = [i for i, level in enumerate(simple) if level in _OTHER]
        if no_genes and (title in _COLUMNS or not EXPRESSION.isdisjoint(simple)):
            counts = np.bincount(codes[(codes >= 0) & ~other], minlength=len(levels))
            kinds.update({f"{levels[i]!s} in `var[{column!r}]`": int(counts[i]) for i in no_genes})
            other |= np.isin(codes, no_genes)
    table = gene_table()
    for i, name in enumerate(names):
        if other[i] or species[i] or name in own or name.startswith("ENSG"):
            continue
        if name in table.by_symbol or name in table.by_alias:
            continue
        if is_other_species(name):
            species[i] = True
        elif is_other_feature(name):
            other[i] = True
            kinds["by name"] += 1
    species &= ~other
    described = "; ".join(f"{count:,} {kind}" for kind, count in kinds.most_common(4))
    return Features(~other & ~species, int(other.sum()), described, int(species.sum()))


def _simple(text: object) -> str:
    return re.sub(r"[^a-z0-9]+", " ", str(text).lower()).strip()


def name_columns(frame: pd.DataFrame, own: AbstractSet[str]) -> Iterator[tuple[str, GeneNames]]:
    """Columns of a table that hold names of human genes, and the names."""
    for column, values in _text_columns(frame):
        if isinstance(values.dtype, pd.CategoricalDtype) and len(values.cat.categories) < len(values) / 10:
            continue  # too few different names, without looking at each row
        texts = as_names(values)
        named = [text for text in texts if text not in NO_NAMES]
        if len(set(named)) < _MIN_DISTINCT * len(named) or len(named) < len(texts) / 10:
            continue
        read = read_gene_names(texts, own)
        if known_share(sample_names(read.names), own) >= _MIN_KNOWN:
            yield column, read


def _text_columns(frame: pd.DataFrame) -> Iterator[tuple[str, pd.Series]]:
    """Columns of text, whole numbers as text where the column says that they are Entrez ids."""
    frame = in_memory(frame)
    for i, column in enumerate(map(str, frame.columns)):
        values = frame.iloc[:, i]
        if pd.api.types.is_bool_dtype(values):
            continue
        if pd.api.types.is_numeric_dtype(values):
            if re.search("entrez|ncbi|gene_?id", column, re.IGNORECASE):
                numbers = values.to_numpy(dtype=np.float64, na_value=np.nan)
                yield column, pd.Series([f"{number:.0f}" for number in numbers])
        elif not pd.api.types.is_datetime64_any_dtype(values):
            yield column, values


def filtered_columns(adata: AnnData) -> np.ndarray:
    """Columns that `var["feature_is_filtered"]` marks as left out of `X` (n_vars, bool)."""
    if "feature_is_filtered" not in adata.var:
        return np.zeros(adata.n_vars, dtype=bool)
    return column_of(adata.var, "feature_is_filtered").astype(str).str.lower().isin(["true", "1", "1.0"]).to_numpy()
