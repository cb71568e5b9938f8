from __future__ import annotations

import gzip
import hashlib
import json
import time
import warnings
from importlib.resources import files
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

import scdrug
from scdrug.pp._gene_ids import map_names
from scdrug.pp._gene_table import detect_gene_ids, gene_table
from scdrug.pp._genes import check_coverage, match_genes

TP53, EGFR, ERBB2 = "ENSG00000141510", "ENSG00000146648", "ENSG00000141736"


def cells(names, x=None, **kwargs) -> ad.AnnData:
    x = np.arange(2.0 * len(names)).reshape(2, -1) + 1 if x is None else x
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # names that are not unique are the point of some tests
        return ad.AnnData(x, var=pd.DataFrame(index=pd.Index(names, dtype=object)), **kwargs)


@pytest.fixture(scope="module")
def gdsc_panel(shared_data: Path) -> list[str]:
    schema = pytest.importorskip("pyarrow.parquet").read_schema(shared_data / "gdsc" / "expression.parquet")
    return [name for name in schema.names if name != "cell_line" and not name.startswith("__")]


# the bundled table


def test_bundled_table_is_the_one_that_its_provenance_describes():
    folder = files("scdrug.pp") / "_data"
    provenance = json.loads((folder / "genes.json").read_text(encoding="utf-8"))
    content = (folder / "genes.tsv.gz").read_bytes()
    assert hashlib.sha256(content).hexdigest() == provenance["sha256"]
    assert len(content) == provenance["size"] < 1_500_000
    assert len(gene_table().symbols) == provenance["n_genes"]
    assert len(gene_table().by_ensembl) == provenance["n_ensembl"]


def test_approved_symbols_stand_for_themselves_even_if_others_use_them_as_synonyms():
    table = gene_table()
    both = set(table.by_symbol) & set(table.by_alias)
    assert len(both) > 1000
    assert all(table.lookup(name) == (table.by_symbol[name], "symbol") for name in both)


def test_mitochondrial_genes_keep_the_prefix_that_quality_control_looks_for():
    symbols, _ = map_names(["ENSG00000198888", "ENSG00000198804", "MTND2"])
    assert list(symbols) == ["MT-ND1", "MT-CO1", "MT-ND2"]


# kinds of ids


@pytest.mark.parametrize(
    ("names", "kind"),
    [
        (["TP53", "EGFR", "MALAT1"], "symbol"),
        (["HER2", "p53 protein", "TP53"], "symbol"),
        ([TP53, f"{EGFR}.12", "ERCC-00002"], "ensembl"),
        (["ENSG00000182378.15_PAR_Y", TP53], "ensembl"),
        (["7157", "1956", "2064"], "entrez"),
        ([7157, 1956, 2064], "entrez"),
        (["Trp53", "Egfr", "Erbb2"], "mouse_symbol"),
        (["ENSMUSG00000059552", "ENSMUSG00000020122"], "mouse_ensembl"),
        (["peak_1", "peak_2"], "unknown"),
        (range(20_000), "unknown"),
        (range(0, 60_000, 7), "unknown"),
        ([], "unknown"),
    ],
)
def test_kind_of_gene_ids_is_recognised(names, kind):
    assert detect_gene_ids(names) == kind


def test_row_numbers_are_never_taken_for_entrez_ids():
    symbols, status = map_names(range(1000))
    assert list(symbols) == [str(i) for i in range(1000)]
    assert set(status) == {"unknown"}


# translation of names


@pytest.mark.parametrize(
    ("name", "symbol", "status"),
    [
        (f"{TP53}.18", "TP53", "ensembl"),
        ("ENSG00000182378.15_PAR_Y", "PLCXD1", "ensembl"),
        ("ENSG99999999999", "ENSG99999999999", "unknown"),
        ("HER2", "ERBB2", "alias"),
        ("HLA.DPA1", "HLA-DPA1", "alias"),
        ("C1ORF112", "C1orf112", "alias"),
        ("C3ORF58", "DIPK2A", "alias"),
        ("MARCH1", "MARCHF1", "alias"),
        (" TP53 ", "TP53", "symbol"),
        ("SEPT2", "SEPT2", "ambiguous"),  # SEPTIN2 and SEPTIN6
        ("COX2", "COX2", "ambiguous"),  # PTGS2 and MT-CO2
        ("ERCC-00002", "ERCC-00002", "unknown"),
    ],
)
def test_names_are_translated_unless_ambiguous_or_unknown(name, symbol, status):
    symbols, statuses = map_names([name, "EGFR", "KRAS"])
    assert (symbols[0], statuses[0]) == (symbol, status)


def test_entrez_ids_are_translated_when_all_names_are_such():
    assert list(map_names(["7157", "1956"])[0]) == ["TP53", "EGFR"]
    assert list(map_names(["7157", "EGFR", "KRAS"])[0]) == ["7157", "EGFR", "KRAS"]
    assert list(map_names(["7157", "EGFR", "KRAS"], source="entrez")[0]) == ["TP53", "EGFR", "KRAS"]


def test_panel_decides_which_of_several_names_a_gene_gets():
    names = ["ENSG00000130396", "AFDN", "MLLT4", "ERBB2"]
    assert list(map_names(names)[0]) == ["AFDN", "AFDN", "AFDN", "ERBB2"]
    assert list(map_names(names, panel=["MLLT4", "HER2"])[0]) == ["MLLT4", "MLLT4", "MLLT4", "HER2"]
    assert list(map_names(names, panel=["MLLT4", "AFDN"])[0]) == ["AFDN", "AFDN", "MLLT4", "ERBB2"]


def pool_of_names() -> list[str]:
    table = gene_table()
    return [*list(table.by_symbol)[:60], *list(table.by_ensembl)[:60], *list(table.by_alias)[:150]]


@given(st.lists(st.sampled_from(pool_of_names()) | st.text(max_size=12), max_size=20))
@settings(deadline=None, max_examples=60)
def test_translation_is_idempotent_and_keeps_length_for_any_text(names):
    once, status = map_names(names, source="symbol")
    twice, _ = map_names(once, source="symbol")
    assert len(once) == len(status) == len(names)
    assert list(once) == list(twice)


# map_gene_ids


def test_map_gene_ids_renames_in_place_and_reports():
    adata = cells([f"{TP53}.18", EGFR, "ENSG99999999999"])
    x = adata.X.copy()
    assert scdrug.pp.map_gene_ids(adata) is None
    assert list(adata.var_names) == ["TP53", "EGFR", "ENSG99999999999"]
    assert list(adata.var["original_gene_id"]) == [f"{TP53}.18", EGFR, "ENSG99999999999"]
    assert np.array_equal(adata.X, x)
    report = adata.uns["gene_mapping"]
    assert (report["id_type"], report["n_mapped"], report["n_unknown"]) == ("ensembl", 2, 1)
    assert list(report["unknown"]) == ["ENSG99999999999"]


def test_map_gene_ids_copy_leaves_the_original_alone():
    adata = cells([TP53, EGFR])
    mapped = scdrug.pp.map_gene_ids(adata, copy=True)
    assert list(mapped.var_names) == ["TP53", "EGFR"]
    assert list(adata.var_names) == [TP53, EGFR]
    assert "gene_mapping" not in adata.uns
    assert "original_gene_id" not in adata.var


def test_map_gene_ids_of_a_view_does_not_touch_its_parent():
    parent = cells([TP53, EGFR, ERBB2])
    view = parent[:, :2]
    scdrug.pp.map_gene_ids(view)
    assert list(view.var_names) == ["TP53", "EGFR"]
    assert list(parent.var_names) == [TP53, EGFR, ERBB2]


def test_map_gene_ids_reads_a_column():
    adata = cells(["a", "b"])
    adata.var["gene_ids"] = [TP53, EGFR]
    scdrug.pp.map_gene_ids(adata, column="gene_ids")
    assert list(adata.var_names) == ["TP53", "EGFR"]
    with pytest.raises(KeyError, match="'gene_id' is not in `adata.var`.*gene_ids"):
        scdrug.pp.map_gene_ids(adata, column="gene_id")


@pytest.mark.parametrize("names", [["Trp53", "Egfr", "Erbb2"], ["ENSMUSG00000059552", "ENSMUSG00000020122"]])
def test_mouse_genes_get_an_error_that_says_how_to_convert_them(names):
    adata = cells(names)
    with pytest.raises(ValueError, match="Expected human genes; found mouse .*orthologues"):
        scdrug.pp.map_gene_ids(adata)
    with pytest.raises(ValueError, match="orthologues"):
        scdrug.pp.map_gene_ids(adata, source="symbol")
    assert list(adata.var_names) == names
    assert not adata.uns


def test_row_numbers_and_unknown_names_get_an_error():
    with pytest.raises(ValueError, match="found row numbers such as '0', '1'.*`column=`"):
        scdrug.pp.map_gene_ids(cells([str(i) for i in range(10)]))
    with pytest.raises(ValueError, match="found names such as 'peak_1'"):
        scdrug.pp.map_gene_ids(cells(["peak_1", "peak_2"]))


def test_names_that_only_the_panel_knows_are_accepted():
    adata = cells(["custom_1", "custom_2"])
    scdrug.pp.map_gene_ids(adata, panel=["custom_1"])
    assert list(adata.var_names) == ["custom_1", "custom_2"]


DUPLICATED = [TP53, "P53", "EGFR", "ERBB1", "KRAS"]
COUNTS = np.array([[1, 5, 1, 9, 2], [0, 1, 0, 3, 4]])


def test_highest_column_gets_the_symbol_unless_one_had_it_already():
    adata = cells(DUPLICATED, COUNTS.astype(float))
    scdrug.pp.map_gene_ids(adata)
    assert list(adata.var_names) == [TP53, "TP53", "EGFR", "ERBB1", "KRAS"]
    assert np.array_equal(adata.X, COUNTS)
    assert adata.uns["gene_mapping"]["n_duplicated"] == 2


def test_first_column_gets_the_symbol_when_asked():
    adata = cells(DUPLICATED, COUNTS.astype(float))
    scdrug.pp.map_gene_ids(adata, duplicates="first")
    assert list(adata.var_names) == ["TP53", "P53", "EGFR", "ERBB1", "KRAS"]


def test_equal_names_are_numbered_and_the_highest_keeps_the_symbol():
    adata = cells(["TP53", "TP53", "KRAS"], np.array([[1.0, 5.0, 0.0]]))
    scdrug.pp.map_gene_ids(adata)
    assert list(adata.var_names) == ["TP53-1", "TP53", "KRAS"]


@pytest.mark.parametrize("container", [np.asarray, sp.csr_matrix, sp.csc_matrix, sp.csr_array])
def test_sums_keep_totals_container_and_number_type(container):
    adata = cells(DUPLICATED, container(COUNTS.astype(np.float32)))
    adata.layers["counts"] = container(COUNTS)
    adata.varm["loading"] = np.arange(5.0)[:, None]
    scdrug.pp.map_gene_ids(adata, duplicates="sum")
    assert list(adata.var_names) == ["TP53", "EGFR", "KRAS"]
    assert list(adata.var["original_gene_id"]) == [TP53, "EGFR", "KRAS"]
    assert adata.varm["loading"].ravel().tolist() == [0, 2, 4]
    for matrix, kind in ((adata.X, np.float32), (adata.layers["counts"], COUNTS.dtype)):
        assert type(matrix) is type(container(COUNTS))
        assert matrix.dtype == kind
        dense = matrix.toarray() if sp.issparse(matrix) else matrix
        assert dense.tolist() == [[6, 10, 2], [1, 3, 4]]


def test_logarithms_are_not_added_up():
    adata = cells(DUPLICATED, np.log1p(COUNTS))
    with pytest.raises(ValueError, match="holds logarithms"):
        scdrug.pp.map_gene_ids(adata, duplicates="sum")
    assert list(adata.var_names) == DUPLICATED


def test_duplicates_can_be_an_error():
    with pytest.raises(ValueError, match="2 symbols stand for several columns, such as 'TP53', 'EGFR'"):
        scdrug.pp.map_gene_ids(cells(DUPLICATED, COUNTS.astype(float)), duplicates="error")


def test_what_the_user_stored_is_not_overwritten():
    adata = cells([TP53, EGFR])
    adata.var["original_gene_id"] = ["mine", "too"]
    with pytest.raises(ValueError, match=r"`adata.var\['original_gene_id'\]` holds something .*another `key_added`"):
        scdrug.pp.map_gene_ids(adata)
    adata.uns["gene_mapping"] = {"mine": 1}
    with pytest.raises(ValueError, match=r"`adata.uns\['gene_mapping'\]` holds something"):
        scdrug.pp.map_gene_ids(adata, key_added="ids")
    assert list(adata.var_names) == [TP53, EGFR]
    assert list(adata.var["original_gene_id"]) == ["mine", "too"]
    assert adata.uns["gene_mapping"] == {"mine": 1}


def test_what_an_earlier_call_stored_is_replaced_with_a_warning():
    adata = cells([TP53, EGFR])
    scdrug.pp.map_gene_ids(adata)
    with pytest.warns(UserWarning, match="Replacing the ids"):
        scdrug.pp.map_gene_ids(adata)
    assert list(adata.var["original_gene_id"]) == ["TP53", "EGFR"]
    assert adata.uns["gene_mapping"]["n_symbol"] == 2


@pytest.mark.parametrize("container", [np.asarray, sp.csr_matrix, sp.csc_array])
@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int16, bool])
def test_sums_never_overflow(container, dtype):
    top = 1 if dtype is bool else np.iinfo(dtype).max
    adata = cells([TP53, "P53", "EGFR"], container(np.array([[top, top, 1], [0, 1, 0]], dtype=dtype)))
    scdrug.pp.map_gene_ids(adata, duplicates="sum")
    dense = adata.X.toarray() if sp.issparse(adata.X) else adata.X
    assert dense.tolist() == [[2 * int(top), 1], [1, 0]]


def test_gene_ids_of_backed_files_are_mapped_in_a_copy(tmp_path):
    cells([TP53, EGFR]).write_h5ad(tmp_path / "cells.h5ad")
    backed = ad.read_h5ad(tmp_path / "cells.h5ad", backed="r")
    for whole in (backed, backed[:1]):
        mapped = scdrug.pp.map_gene_ids(whole, copy=True)
        assert list(mapped.var_names) == ["TP53", "EGFR"]
        assert not mapped.isbacked
    assert list(backed.var_names) == [TP53, EGFR]
    with pytest.raises(ValueError, match=r"view of a backed file cannot be changed. Pass `copy=True`"):
        scdrug.pp.map_gene_ids(backed[:1])
    backed.file.close()


def test_gene_ids_with_a_prefix_are_mapped_with_a_warning():
    adata = cells([f"GRCh38_{name}" for name in (TP53, EGFR, ERBB2)])
    with pytest.warns(UserWarning, match="read without"):
        scdrug.pp.map_gene_ids(adata)
    assert list(adata.var_names) == ["TP53", "EGFR", "ERBB2"]
    assert list(adata.var["original_gene_id"]) == [f"GRCh38_{name}" for name in (TP53, EGFR, ERBB2)]


@pytest.mark.parametrize("ending", ["h5ad", "zarr"])
def test_results_survive_writing_and_reading(tmp_path, ending):
    adata = cells([*DUPLICATED, "odd/name", "SEPT2"], np.ones((2, 7)))
    scdrug.pp.map_gene_ids(adata)
    aligned = scdrug.pp.align_genes(adata, ["EGFR", "TP53", "MYC"])
    for result, key in ((adata, "gene_mapping"), (aligned, "gene_alignment")):
        path = tmp_path / f"{key}.{ending}"
        getattr(result, f"write_{ending}")(path)
        back = getattr(ad, f"read_{ending}")(path)
        assert list(back.var_names) == list(result.var_names)
        assert set(back.uns[key]) == set(result.uns[key])
    assert list(back.uns["gene_alignment"]["missing"]) == ["MYC"]


# match_genes


def test_match_prefers_equal_names_and_uses_no_column_twice():
    with pytest.warns(UserWarning, match="1 columns repeat .*'HER2'.*synonyms"):
        match = match_genes(["HER2", "ERBB2", EGFR, "x"], ["ERBB2", "EGFR", "NEU", "MYC"])
    assert match.columns.tolist() == [1, 2, -1, -1]
    assert match.coverage == 0.5
    assert match.missing == ("NEU", "MYC")
    assert (match.n_duplicated, match.n_synonyms) == (1, 1)


def test_match_finds_new_names_of_outdated_panel_genes():
    assert match_genes(["AFDN", "KRAS"], ["MLLT4", "KRAS"]).columns.tolist() == [0, 1]
    assert match_genes(["MLLT4", "KRAS"], ["AFDN", "KRAS"]).columns.tolist() == [0, 1]
    assert match_genes(["MLLT4", "KRAS"], ["AFDN", "KRAS"], synonyms=False).columns.tolist() == [-1, 1]


def test_match_finds_symbols_of_entrez_and_ensembl_panels():
    assert match_genes(["TP53", "EGFR"], ["1956", "7157"]).columns.tolist() == [1, 0]
    assert match_genes(["TP53", "EGFR"], [f"{EGFR}.3", TP53]).columns.tolist() == [1, 0]
    assert match_genes(["7157", "1956"], ["EGFR", "TP53"]).columns.tolist() == [1, 0]


def test_repeated_names_are_counted_warned_of_and_the_first_is_used():
    with pytest.warns(UserWarning, match="2 columns repeat the name of another gene, such as 'EGFR', 'KRAS'"):
        match = match_genes(["EGFR", "x", "EGFR", "KRAS", "KRAS", "x"], ["KRAS", "EGFR"])
    assert match.columns.tolist() == [3, 0]
    assert match.n_duplicated == 2


@pytest.mark.parametrize("first", [[f"{TP53}.1", f"{TP53}.2"], ["P53", TP53], [TP53, "TP53"]])
def test_repeated_ids_and_synonyms_are_warned_of_and_their_order_is_of_no_account(first):
    chosen = set()
    for names in ([*first, "KRAS"], [*first[::-1], "KRAS"]):
        with pytest.warns(UserWarning, match="1 columns repeat"):
            match = match_genes(names, ["TP53", "KRAS"])
        chosen.add(names[match.columns[0]])
        assert match.n_duplicated == 1
    assert len(chosen) == 1


@pytest.mark.parametrize("name", ["nan", "NaN", "NA", "None", "", " ", "<NA>", None, float("nan")])
def test_genes_without_a_name_are_never_matched(name):
    assert match_genes([name, "KRAS"], ["KRAS", str(name), "APOA1", "RELN"]).columns.tolist() == [1, -1, -1, -1]


@pytest.mark.parametrize("panel", [[], ["EGFR", "EGFR"]])
def test_panel_must_name_each_gene_once(panel):
    with pytest.raises(ValueError, match="must name each gene once; found (none|repeated: 'EGFR')"):
        match_genes(["EGFR"], panel)


@given(st.randoms(use_true_random=False), st.integers(1, 40), st.integers(1, 40))
@settings(deadline=None, max_examples=40)
def test_match_does_not_depend_on_gene_order(random, n_query, n_panel):
    pool = pool_of_names()
    query, panel = random.sample(pool, n_query), random.sample(pool, n_panel)
    shuffled = random.sample(query, len(query))
    names = [
        [None if column < 0 else order[column] for column in match_genes(order, panel).columns]
        for order in (query, shuffled)
    ]
    assert names[0] == names[1]
    used = [name for name in names[0] if name is not None]
    assert len(used) == len(set(used))


def test_match_of_sixty_thousand_names_is_fast():
    table = gene_table()
    query = list(table.by_ensembl) + [f"clone-{i}" for i in range(60_000 - len(table.by_ensembl))]
    panel = list(table.by_symbol)[:6000]
    start = time.perf_counter()
    match = match_genes(query, panel)
    assert time.perf_counter() - start < 1.5  # 0.1 s on an idle machine
    assert match.coverage > 0.5


# check_coverage


@pytest.mark.parametrize(
    ("names", "found", "advice"),
    [
        (["Trp53", "Egfr"], "mouse symbols such as 'Trp53'", "orthologues"),
        (["ENSMUSG00000059552"], "mouse Ensembl ids", "orthologues"),
        ([str(i) for i in range(50)], "row numbers", "adata.var_names"),
        (["peak_1"], "names that are not of human genes", "adata.var_names"),
        (["tp53", "egfr", "kras"], "symbols in lower case", "str.upper"),
        (["KRAS", "MYC"], "human symbols such as 'KRAS', 'MYC'", "not only highly variable"),
        (["ENSG00000133703"], "human Ensembl ids", "not only highly variable"),
    ],
)
def test_low_coverage_says_what_was_found_and_what_to_do(names, found, advice):
    match = match_genes(names, ["TP53", "EGFR", "ERBB2"])
    with pytest.raises(ValueError, match=r"Only 0 of 3 model genes \(0.0%\)") as error:
        check_coverage(match, min_coverage=0.5, names=names)
    assert found in str(error.value)
    assert advice in str(error.value)


def test_coverage_check_passes_at_the_limit_but_never_without_any_gene():
    check_coverage(match_genes(["TP53"], ["TP53", "EGFR"]), min_coverage=0.5, names=["TP53"])
    with pytest.raises(ValueError, match="Only 0 of 1"):
        check_coverage(match_genes(["TP53"], ["EGFR"]), min_coverage=0.0, names=["TP53"])
    with pytest.raises(ValueError, match="share between 0 and 1; found 50"):
        check_coverage(match_genes(["TP53"], ["TP53"]), min_coverage=50, names=["TP53"])


# align_genes

PANEL = ["ERBB2", "MYC", "TP53", "EGFR"]
EXPECTED = [[3, 0, 1, 2], [6, 0, 4, 5]]


@pytest.mark.parametrize("container", [np.asarray, sp.csr_matrix, sp.csc_matrix, sp.csr_array, sp.csc_array])
@pytest.mark.parametrize("dtype", [np.float32, np.int64])
def test_alignment_puts_the_panel_in_order_whatever_the_storage(container, dtype):
    adata = cells(["TP53", EGFR, "HER2"], container(np.arange(1, 7).reshape(2, 3).astype(dtype)))
    adata.obs["group"] = ["a", "b"]
    adata.obsm["X_umap"] = np.ones((2, 2))
    aligned = scdrug.pp.align_genes(adata, PANEL)
    assert list(aligned.var_names) == PANEL
    assert type(aligned.X) is type(adata.X)
    assert aligned.X.dtype == dtype
    assert (aligned.X.toarray() if sp.issparse(aligned.X) else aligned.X).tolist() == EXPECTED
    assert aligned.var["in_query"].tolist() == [True, False, True, True]
    assert aligned.var["query_name"].tolist() == ["HER2", "", "TP53", EGFR]
    assert aligned.obs["group"].tolist() == ["a", "b"]
    assert aligned.obsm["X_umap"].shape == (2, 2)
    assert aligned.uns["gene_alignment"]["coverage"] == 0.75
    assert list(adata.var_names) == ["TP53", EGFR, "HER2"]
    assert list(adata.uns) == []


def test_alignment_does_not_depend_on_gene_order():
    adata = cells(["TP53", EGFR, "HER2", "MALAT1"])
    aligned = scdrug.pp.align_genes(adata, PANEL)
    assert np.array_equal(scdrug.pp.align_genes(adata[:, ::-1].copy(), PANEL).X, aligned.X)
    assert np.array_equal(scdrug.pp.align_genes(adata[:, ::-1], PANEL).X, aligned.X)


def test_alignment_shares_no_memory_with_its_input():
    adata = cells(["TP53", "EGFR"])
    aligned = scdrug.pp.align_genes(adata, ["TP53", "EGFR"])
    aligned.X[:] = -1
    aligned.obs["new"] = 1
    assert adata.X.min() == 1
    assert "new" not in adata.obs


@pytest.mark.parametrize("storage", ["dense", "sparse"])
def test_backed_and_dask_expression_align_like_expression_in_memory(tmp_path, storage):
    x = np.arange(1.0, 7).reshape(2, 3)
    adata = cells(["TP53", EGFR, "HER2"], x if storage == "dense" else sp.csr_matrix(x))
    adata.write_h5ad(tmp_path / "cells.h5ad")
    backed = ad.read_h5ad(tmp_path / "cells.h5ad", backed="r")
    assert scdrug.pp.align_genes(backed, PANEL).X.toarray().tolist() == EXPECTED
    backed.file.close()
    adata.X = pytest.importorskip("dask.array").from_array(adata.X, chunks=(1, 3), asarray=False)
    assert scdrug.pp.align_genes(adata, PANEL).X.toarray().tolist() == EXPECTED


def test_layers_align_too():
    adata = cells(["TP53", "EGFR"], layers={"counts": np.array([[7, 8], [9, 10]])})
    assert scdrug.pp.align_genes(adata, ["EGFR", "TP53"], layer="counts").X.tolist() == [[8, 7], [10, 9]]
    with pytest.raises(KeyError, match="'count' is not in `adata.layers`"):
        scdrug.pp.align_genes(adata, ["EGFR"], layer="count")


def test_fill_value_marks_missing_genes_in_dense_expression_only():
    adata = cells(["TP53", "EGFR"], np.array([[1, 2]]))
    aligned = scdrug.pp.align_genes(adata, ["TP53", "MYC"], fill_value=np.nan)
    assert aligned.X[0, 0] == 1
    assert np.isnan(aligned.X[0, 1])
    adata.X = sp.csr_matrix(adata.X)
    with pytest.raises(ValueError, match="takes 0 only"):
        scdrug.pp.align_genes(adata, ["TP53", "MYC"], fill_value=np.nan)


def test_alignment_of_too_few_genes_is_an_error():
    with pytest.raises(ValueError, match=r"Only 1 of 4 model genes \(25.0%\).*at least 50% are needed"):
        scdrug.pp.align_genes(cells(["TP53", "KRAS"]), PANEL)
    assert scdrug.pp.align_genes(cells(["TP53", "KRAS"]), PANEL, min_coverage=0.25).shape == (2, 4)
    with pytest.raises(ValueError, match="empty"):
        scdrug.pp.align_genes(cells(["TP53"], np.ones((0, 1))), PANEL)


# real data


def test_table_knows_the_gdsc_panel_and_the_landmarks(gdsc_panel, shared_data):
    _, status = map_names(gdsc_panel)
    assert len(gdsc_panel) == 5778
    assert np.isin(status, ["symbol", "alias"]).mean() > 0.998
    assert not (status == "unknown").any()
    landmarks = pd.read_csv(shared_data / "l1000" / "landmark_geneinfo.csv", dtype=str)
    names = (shared_data / "l1000" / "LINCS_L1000_landmark_genes.txt").read_text().split()
    assert match_genes(landmarks["gene_id"], names).coverage == 1
    assert match_genes(landmarks["ensembl_id"].dropna(), names).coverage > 0.99


def test_ensembl_ids_of_sc_mixology_reach_the_gdsc_panel(gdsc_panel, shared_data):
    with gzip.open(shared_data / "sc" / "sc_mixology" / "sc_celseq2_5cl_p1.count.csv.gz", "rt") as lines:
        measured = [line.split(",", 1)[0].strip('"') for line in lines][1:]
    gencode = pd.read_csv(
        shared_data / "genes" / "GENCODEv44_Gene_id2name.csv.gz", names=["ensembl", "symbol"], index_col="ensembl"
    )["symbol"]
    assert detect_gene_ids(measured) == "ensembl"
    in_panel = [name for name in measured if gencode.get(name) in set(gdsc_panel)]
    assert len(in_panel) > 3500
    symbols, _ = map_names(in_panel, panel=gdsc_panel)
    assert np.mean(symbols == gencode.loc[in_panel].to_numpy()) > 0.99
    match = match_genes(measured, gdsc_panel)
    found = {measured[column]: gene for column, gene in zip(match.columns, gdsc_panel) if column >= 0}
    assert np.mean([found.get(name) == gencode[name] for name in in_panel]) > 0.97
    assert not [name for name in in_panel if name in found and found[name] != gencode[name]]
