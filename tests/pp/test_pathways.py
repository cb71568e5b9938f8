"""Gene sets as masks: which are kept, how genes are found, what is said when nothing fits."""

from __future__ import annotations

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scdrug import datasets, pp
from scdrug.pp._gene_sets import build_mask

GENES = ["EGFR", "ERBB2", "KRAS", "MYC", "TP53", "BRAF"]
SETS = {
    "B": ["EGFR", "ERBB2", "KRAS"],
    "A": ["MYC", "TP53", "NOT_A_GENE"],
    "C": ["KRAS", "ERBB2", "EGFR", "ALSO_NOT"],
    "D": GENES,
}


def panel(genes: list[str]) -> ad.AnnData:
    return ad.AnnData(np.zeros((2, len(genes)), dtype=np.float32), var=pd.DataFrame(index=genes))


def test_the_mask_says_which_gene_is_in_which_set() -> None:
    mask = build_mask(GENES, SETS, min_genes=1, max_jaccard=None)
    assert list(mask.table.index) == ["A", "B", "C", "D"]
    expected = [[0, 1, 1, 1], [0, 1, 1, 1], [0, 1, 1, 1], [1, 0, 0, 1], [1, 0, 0, 1], [0, 0, 0, 1]]
    np.testing.assert_array_equal(mask.matrix.toarray(), expected)
    assert mask.table.loc["A", ["n_set", "n_genes"]].tolist() == [3, 2]
    assert mask.table.loc["B", "nearest"] == "C"
    assert mask.table["jaccard"].to_numpy() == pytest.approx([1 / 3, 1, 1, 1 / 2])


@pytest.mark.parametrize(
    ("options", "kept"),
    [
        ({"min_genes": 3}, ["B", "C", "D"]),
        ({"min_genes": 3, "strictly": True}, ["D"]),
        ({"min_genes": 1, "max_genes": 4}, ["A", "B", "C"]),
        ({"min_genes": 1, "max_jaccard": 1.0}, ["A", "B", "D"]),
        ({"min_genes": 1, "max_jaccard": 0.5}, ["A", "B"]),
    ],
)
def test_sets_are_kept_by_size_and_by_what_they_add(options, kept) -> None:
    mask = build_mask(GENES, SETS, **{"max_jaccard": None, **options})
    assert list(mask.table.index) == kept
    assert sorted([*kept, *mask.dropped["large"], *mask.dropped["small"], *mask.dropped["redundant"]]) == list("ABCD")


@settings(max_examples=30, deadline=None)
@given(st.dictionaries(st.text("abc", min_size=1, max_size=3), st.sets(st.sampled_from(GENES), min_size=1), min_size=1))
def test_the_mask_is_membership_whatever_the_order(sets) -> None:
    forward = build_mask(GENES, {name: sorted(genes) for name, genes in sets.items()}, min_genes=1, max_jaccard=None)
    backward = build_mask(
        GENES[::-1],
        {name: sorted(genes, reverse=True) for name, genes in reversed(sets.items())},
        min_genes=1,
        max_jaccard=None,
    )
    assert list(forward.table.index) == sorted(sets) == list(backward.table.index)
    np.testing.assert_array_equal(forward.matrix.toarray(), backward.matrix.toarray()[::-1])
    for column, name in enumerate(forward.table.index):
        members = {GENES[row] for row in np.flatnonzero(forward.matrix.toarray()[:, column])}
        assert members == sets[name]


@settings(max_examples=30, deadline=None)
@given(
    st.dictionaries(st.text("abcd", min_size=1, max_size=3), st.sets(st.sampled_from(GENES), min_size=1), min_size=1)
)
def test_no_two_kept_sets_are_equal(sets) -> None:
    mask = build_mask(GENES, {name: sorted(genes) for name, genes in sets.items()}, min_genes=1)
    columns = {tuple(column) for column in mask.matrix.toarray().T}
    assert len(columns) == len(mask.table) == len({frozenset(genes) for genes in sets.values()})


def test_genes_are_found_under_other_names() -> None:
    mask = build_mask(["ENSG00000146648", "ERBB2"], {"A": ["EGFR", "HER2"]}, min_genes=1)
    assert mask.matrix.toarray().tolist() == [[1], [1]]


def test_only_the_genes_of_a_subset_count_for_the_minimum() -> None:
    adata = panel(GENES)
    adata.var["highly_variable"] = [False, False, False, True, True, False]
    pp.pathway_mask(adata, SETS, min_genes=2, gene_subset="highly_variable")
    assert list(adata.uns["pathway_mask"]["pathways"].index) == ["A", "D"]
    assert adata.varm["pathway_mask"].sum() == 8
    with pytest.raises(KeyError, match="Did you mean 'highly_variable'"):
        pp.pathway_mask(adata, SETS, gene_subset="highly_variabel")


@pytest.mark.parametrize(
    ("sets", "error", "message"),
    [
        ({}, ValueError, "no gene set"),
        ({"A": []}, ValueError, "1 gene sets are empty: 'A'"),
        ({"A": "EGFR"}, TypeError, "not one string"),
        ([["EGFR"]], TypeError, "mapping of names"),
        ({"A": ["Egfr", "Erbb2", "Kras", "Trp53"]}, ValueError, "mouse symbols"),
        ({"A": ["1", "2"]}, ValueError, "human orthologues"),
        ({"A": ["EGFR"]}, ValueError, "No gene set is left"),
        ({1: ["EGFR"], "1": ["KRAS"]}, ValueError, "same name"),
    ],
)
def test_sets_that_do_not_fit_are_refused_with_the_reason(sets, error, message) -> None:
    with pytest.raises(error, match=message):
        pp.pathway_mask(panel(GENES), sets)


def test_sets_that_say_the_same_are_named_in_a_warning() -> None:
    with pytest.warns(UserWarning, match="such as 'C'"):
        copy = pp.pathway_mask(panel(GENES), SETS, min_genes=2, copy=True)
    assert copy.uns["pathway_mask"]["dropped"] == {"redundant": ["C"]}


def test_masks_come_from_names_paths_and_mappings(tmp_path) -> None:
    path = tmp_path / "own.gmt"
    path.write_text("A\tnone\tMYC\tTP53\nB/C\tnone\tEGFR\tKRAS\n")
    adata = panel(GENES)
    pp.pathway_mask(adata, path, min_genes=2)
    assert adata.uns["pathway_mask"]["source"] == "own.gmt"
    adata.write_h5ad(tmp_path / "a.h5ad")
    again = ad.read_h5ad(tmp_path / "a.h5ad")
    assert list(again.uns["pathway_mask"]["pathways"].index) == ["A", "B/C"]
    np.testing.assert_array_equal(again.varm["pathway_mask"].toarray(), adata.varm["pathway_mask"].toarray())
    reference = datasets.toy()
    pp.pathway_mask(reference, "toy")
    planted = pd.crosstab(reference.var["pathway"], "n")["n"].drop("")
    assert reference.uns["pathway_mask"]["pathways"]["n_genes"].to_dict() == planted.to_dict()
