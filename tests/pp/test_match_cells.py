"""Genes of an object are found whatever its names, columns and features, or the error names the cause."""

from __future__ import annotations

import time
import warnings

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

import scdrug
from scdrug.pp._gene_names import is_other_feature, is_other_species, read_gene_names
from scdrug.pp._gene_table import gene_table
from scdrug.pp._match_cells import match_cells

TABLE = gene_table()
ENSEMBL = {row: name for name, row in reversed(TABLE.by_ensembl.items())}
ENTREZ = {row: name for name, row in TABLE.by_entrez.items()}
#: Genes with all kinds of names: HLA, symbols with dashes, open reading frames.
ROWS = [row for row in ENSEMBL if row % 29 == 0][:400] + [
    TABLE.by_symbol[name]
    for name in ("TP53", "EGFR", "HLA-DRA", "C1orf112", "MT-CO1", "NKX2-1", "CD3E", "CD8A", "ERBB2")
]
ROWS = list(dict.fromkeys(row for row in ROWS if row in ENTREZ and row in ENSEMBL))
SYMBOLS = [TABLE.symbols[row] for row in ROWS]
IDS = [ENSEMBL[row] for row in ROWS]
PANEL = SYMBOLS[::2]

PLAIN = [lambda i: SYMBOLS[i], lambda i: IDS[i], lambda i: f"{IDS[i]}.7"]
PREFIXES = [
    "GRCh38_",
    "hg19_",
    "GRCh38______",
    "hg38-",
    "rna:",
    "gex:",
    "RNA_",
    "gene-",
    "human.",
    "rna:GRCh38_",
    "T2T|",
]
SUFFIXES = ["_RNA", "-hg38", ":rna", ".GRCh38", " (human)"]
PAIRS = {
    "SYMBOL_ENSG": lambda i: f"{SYMBOLS[i]}_{IDS[i]}",
    "ENSG_SYMBOL": lambda i: f"{IDS[i]}_{SYMBOLS[i]}",
    "SYMBOL|ENSG": lambda i: f"{SYMBOLS[i]}|{IDS[i]}",
    "ENSG.12|SYMBOL": lambda i: f"{IDS[i]}.12|{SYMBOLS[i]}",
    "SYMBOL.ENSG": lambda i: f"{SYMBOLS[i]}.{IDS[i]}",
    "SYMBOL (ENSG)": lambda i: f"{SYMBOLS[i]} ({IDS[i]})",
    "SYMBOL (ENTREZ)": lambda i: f"{SYMBOLS[i]} ({ENTREZ[ROWS[i]]})",
    "SYMBOL..ENTREZ.": lambda i: f"{SYMBOLS[i].replace('-', '.')}..{ENTREZ[ROWS[i]]}.",
    "SYMBOL|ENTREZ": lambda i: f"{SYMBOLS[i]}|{ENTREZ[ROWS[i]]}",
    "ENTREZ_SYMBOL": lambda i: f"{ENTREZ[ROWS[i]]}_{SYMBOLS[i]}",
    "XENTREZ": lambda i: f"X{ENTREZ[ROWS[i]]}",
    "SYMBOL (row)": lambda i: f"{SYMBOLS[i]} ({i + 1})",
    "SYMBOL [HGNC]": lambda i: f"{SYMBOLS[i]} [HGNC:{i + 1}]",
    "ENSG|SYMBOL|type": lambda i: f"{IDS[i]}|{SYMBOLS[i]}|protein_coding",
    "quotes": lambda i: f'"{SYMBOLS[i]}"',
    "lower case": lambda i: SYMBOLS[i].lower(),
    "upper case": lambda i: SYMBOLS[i].upper(),
}


def cells(names, x=None, *, n_obs: int = 3, **kwargs) -> ad.AnnData:
    x = np.arange(1.0, n_obs * len(names) + 1).reshape(n_obs, -1) if x is None else x
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return ad.AnnData(x, var=pd.DataFrame(index=pd.Index(names, dtype=object)), **kwargs)


def quietly(adata, panel=PANEL, **kwargs):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return match_cells(adata, panel, **{"min_coverage": 0.5, **kwargs})


EXPECTED = quietly(cells(SYMBOLS)).columns.tolist()

# ------------------------------------------------------------------ names


@pytest.mark.parametrize("prefix", PREFIXES)
@pytest.mark.parametrize("kind", range(len(PLAIN)))
def test_prefixes_are_read_with_a_warning(prefix, kind):
    adata = cells([prefix + PLAIN[kind](i) for i in range(len(ROWS))])
    with pytest.warns(UserWarning, match="Gene names were read from `adata.var_names`, without"):
        match = match_cells(adata, PANEL, min_coverage=0.5)
    assert match.columns.tolist() == EXPECTED
    assert match.summary()["stripped"]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_suffixes_are_read_with_a_warning(suffix):
    adata = cells([name + suffix for name in SYMBOLS])
    with pytest.warns(UserWarning, match="without the suffix"):
        match = match_cells(adata, PANEL, min_coverage=0.5)
    assert match.columns.tolist() == EXPECTED


@pytest.mark.parametrize("form", PAIRS)
def test_two_names_in_one_and_other_spellings_are_read(form):
    adata = cells([PAIRS[form](i) for i in range(len(ROWS))])
    match = quietly(adata)
    found = np.array(match.columns)
    assert np.isin(found, [-1, *EXPECTED]).all()
    right = found == np.array(EXPECTED)
    # the names of a few genes are those of others once a dash is a dot or case is lost
    assert right.mean() > 0.97


@given(st.randoms(use_true_random=False), st.sampled_from([*PREFIXES, ""]), st.sampled_from([*SUFFIXES, ""]))
@settings(deadline=None, max_examples=20)
def test_order_and_decoration_never_change_the_result(random, prefix, suffix):
    order = random.sample(range(len(SYMBOLS)), len(SYMBOLS))
    adata = cells([prefix + SYMBOLS[i] + suffix for i in order])
    found = [order[column] for column in quietly(adata).columns]
    assert found == EXPECTED


@pytest.mark.parametrize(
    "names",
    [
        [f"{name}-{201 + i % 3}" for name in SYMBOLS for i in range(3)],  # transcripts
        [f"{name}_g{i}" for name in SYMBOLS for i in range(3)],  # guides
        [f"{name}_S{i % 90}" for i, name in enumerate(SYMBOLS)],  # sites
        [f"{name}_TotalSeqB" for name in SYMBOLS],
        [f"ADT_{name}" for name in SYMBOLS],
        [f"{name}(+)" for name in SYMBOLS],  # regulons
        [f"mm10_{name.capitalize()}" for name in SYMBOLS],
    ],
)
def test_what_is_no_gene_is_never_read_as_one(names):
    with pytest.raises(ValueError, match="model genes"):
        quietly(cells(names))


def test_what_cannot_be_told_apart_is_said_to_be_a_prefix_or_suffix():
    with pytest.raises(ValueError, match="prefix or suffix.*Strip it"):
        quietly(cells([f"{name}_S{i % 90}" for i, name in enumerate(SYMBOLS)]))


def test_lower_case_without_a_name_that_only_humans_have_may_be_fish():
    names = [name.lower() for name in SYMBOLS if not name.startswith(("HLA", "LINC", "MIR"))]
    with pytest.raises(ValueError, match="symbols in lower case.*Zebrafish"):
        quietly(cells(names))


@pytest.mark.parametrize("names", [[name.capitalize() for name in SYMBOLS], [f"ENSMUSG{i:011d}" for i in range(60)]])
def test_mouse_genes_stay_an_error(names):
    adata = cells(names)
    adata.var["human"] = SYMBOLS[: len(names)]
    with pytest.raises(ValueError, match="mouse.*orthologues"):
        quietly(adata)


def test_of_two_species_the_human_genes_are_read_and_the_others_counted():
    mouse = [f"mm10_{name.capitalize()}" for name in SYMBOLS]
    adata = cells([*mouse, *(f"GRCh38_{name}" for name in SYMBOLS)])
    with pytest.warns(UserWarning, match=f"{len(mouse)} genes of other species are left out"):
        match = match_cells(adata, PANEL, min_coverage=0.5)
    assert (match.columns - len(mouse)).tolist() == EXPECTED
    assert match.n_other_species == len(mouse)
    assert match.is_gene.tolist() == [False] * len(mouse) + [True] * len(SYMBOLS)


def test_a_column_of_genomes_tells_species_apart():
    adata = cells([*(name.capitalize() for name in SYMBOLS), *SYMBOLS])
    adata.var["genome"] = ["mm10"] * len(SYMBOLS) + ["GRCh38"] * len(SYMBOLS)
    match = quietly(adata)
    assert match.n_other_species == len(SYMBOLS)
    assert not match.is_gene[: len(SYMBOLS)].any()


@pytest.mark.parametrize("name", ["PIG-A", "AB-DIP", "14-3-3", "DM1-AS", "PHOSPHO2-KLHL23", "ERCC1", "TP53", "PEAK1"])
def test_genes_named_like_other_things_are_genes(name):
    assert quietly(cells([name, "EGFR"]), ["EGFR"]).is_gene.all()


def test_names_of_other_things_are_told_from_genes():
    others = [
        "ADT_CD3",
        "adt:CD3",
        "prot:CD3",
        "CD3_TotalSeqB",
        "CD3-TotalSeqC",
        "CD4|CD4|AHS0032|pAbO",
        "chr1:100-200",
    ]
    others += [
        "chr1-100-200",
        "GL000194.1:101-202",
        "1:10468-10778",
        "HTO-1",
        "atac:chr2:10-20",
        "anti-human CD3",
        "ERCC-00002",
    ]
    assert [name for name in others if not is_other_feature(name)] == []
    species = ["mm10_Trp53", "mm10---Trp53", "GRCm39-Trp53", "ENSMUSG00000059552", "ENSRNOG00000010756.1"]
    assert [name for name in species if not is_other_species(name)] == []
    assert not any(is_other_feature(name) or is_other_species(name) for name in (*SYMBOLS, *IDS))


def test_reading_thirty_thousand_names_is_fast():
    names = [f"GRCh38_{name}" for name in TABLE.symbols[:30_000]]
    adata = cells(names, sp.csr_matrix((2, len(names)), dtype=np.float32))
    start = time.perf_counter()
    assert quietly(adata, list(TABLE.symbols[:6000])).coverage == 1
    assert time.perf_counter() - start < 4  # 0.3 s on an idle machine


def test_names_that_are_right_are_left_alone():
    assert read_gene_names(SYMBOLS).names == SYMBOLS
    assert read_gene_names(IDS).stripped == ""
    assert read_gene_names(["peak_1", "peak_2"]).names == ["peak_1", "peak_2"]
    assert read_gene_names([]).names == []


# ------------------------------------------------------------------ columns of var


@pytest.mark.parametrize("index", ["numbers", "barcodes", "ids of another source"])
@pytest.mark.parametrize("kind", ["text", "categorical", "cellxgene", "ensembl", "entrez"])
def test_names_in_a_column_are_read_with_a_warning(index, kind):
    n = len(SYMBOLS)
    names = {
        "numbers": [str(i) for i in range(n)],
        "barcodes": [f"ACGT{i}-1" for i in range(n)],
        "ids of another source": [f"XLOC_{i:06d}" for i in range(n)],
    }[index]
    values = {
        "text": SYMBOLS,
        "categorical": pd.Categorical(SYMBOLS),
        "cellxgene": pd.Categorical([f"{s}_{e}" if i % 9 == 0 else s for i, (s, e) in enumerate(zip(SYMBOLS, IDS))]),
        "ensembl": [f"{name}.3" for name in IDS],
        "entrez": [int(ENTREZ[row]) for row in ROWS],
    }[kind]
    adata = cells(names)
    adata.var["chromosome"] = ["X", "Y", "1"] * (n // 3) + ["X"] * (n % 3)
    adata.var["feature_name" if kind != "entrez" else "entrez_id"] = values
    adata.var["n_cells"] = np.arange(n)
    with pytest.warns(UserWarning, match=r"read from `adata.var\['(feature_name|entrez_id)'\]`"):
        match = match_cells(adata, PANEL, min_coverage=0.5)
    assert (match.columns == np.array(EXPECTED)).mean() > (0.85 if kind == "cellxgene" else 0.99)
    assert "adata.var[" in match.summary()["source"]


def test_a_column_is_not_read_where_names_are_as_good():
    adata = cells(SYMBOLS[:20])
    adata.var["gene_ids"] = IDS[:20]
    match = quietly(adata, min_coverage=0.0)
    assert match.source == "adata.var_names"


# ------------------------------------------------------------------ features


def with_antibodies() -> ad.AnnData:
    proteins = ["CD8A", "EGFR", "CD3E"]
    genes = [
        f"{name}-1" if name == "CD8A" else IDS[SYMBOLS.index(name)] if name in proteins else name for name in SYMBOLS
    ]
    adata = cells([*proteins, *genes])
    adata.var["feature_types"] = ["Antibody Capture"] * 3 + ["Gene Expression"] * len(genes)
    return adata


@pytest.mark.parametrize("column", ["feature_types", "feature_type", "modality", "kind"])
@pytest.mark.parametrize(
    "values", [("Antibody Capture", "Gene Expression"), ("prot", "rna"), ("ADT", "RNA"), ("Peaks", "Gene Expression")]
)
def test_other_features_never_stand_for_a_gene(column, values):
    adata = with_antibodies()
    is_gene = adata.var.pop("feature_types") == "Gene Expression"
    adata.var[column] = pd.Categorical(np.where(is_gene, values[1], values[0]))
    panel = list(dict.fromkeys([*PANEL, "CD8A", "EGFR", "CD3E"]))
    with pytest.warns(UserWarning, match="3 columns are not gene expression"):
        match = match_cells(adata, panel, min_coverage=0.5)
    assert match.coverage == 1
    assert is_gene.to_numpy()[match.columns].all()
    assert match.is_gene.tolist() == is_gene.tolist()
    assert match.summary()["n_other_features"] == 3


def test_types_of_genes_are_no_types_of_features():
    adata = cells(SYMBOLS)
    adata.var["feature_type"] = ["protein_coding", "lncRNA"] * (len(SYMBOLS) // 2) + ["snRNA"] * (len(SYMBOLS) % 2)
    adata.var["anything"] = [["a", "list"]] * len(SYMBOLS)
    assert quietly(adata).is_gene.all()


def test_an_object_of_antibodies_alone_is_refused_as_such():
    adata = cells(SYMBOLS)
    adata.var["feature_types"] = "Antibody Capture"
    with pytest.raises(ValueError, match="not gene expression.*Antibody Capture.*modality"):
        quietly(adata)


def test_antibodies_do_not_change_predictions():
    reference, plain = scdrug.datasets.toy(), scdrug.datasets.toy_cells()
    scdrug.model.KernelRidge.setup_anndata(reference)
    model = scdrug.model.KernelRidge(reference)
    model.train()
    scdrug.tl.predict_response(plain, model)
    counts = scdrug.datasets.toy_cells()
    names = list(counts.var_names[:5])
    proteins = cells(names, np.full((counts.n_obs, 5), 900.0))
    proteins.obs_names = counts.obs_names
    both = ad.concat([proteins, counts], axis=1)
    both.var["feature_types"] = ["Antibody Capture"] * 5 + ["Gene Expression"] * counts.n_vars
    both.obs = counts.obs
    with pytest.warns(UserWarning, match="5 columns are not gene expression"):
        scdrug.tl.predict_response(both, model)
    np.testing.assert_allclose(both.obsm["predicted_response"], plain.obsm["predicted_response"], atol=1e-4)
    stored = both.uns["predicted_response"]["harmonization"]["gene_names"]
    assert stored["n_other_features"] == 5


# ------------------------------------------------------------------ repeated names, filtered genes, raw, orientation


@pytest.mark.parametrize("container", [np.asarray, sp.csr_matrix, sp.csc_matrix])
def test_of_equal_names_the_highest_total_is_used_whatever_the_order(container):
    x = np.array([[1.0, 5.0, 2.0], [0.0, 3.0, 9.0]])
    for order in ([0, 1, 2], [1, 0, 2], [2, 1, 0]):
        adata = cells(np.array(["EGFR", "EGFR", "KRAS"])[order].tolist(), container(x[:, order]))
        with pytest.warns(UserWarning, match="1 columns repeat"):
            match = match_cells(adata, ["EGFR", "KRAS"], min_coverage=1)
        assert [order[column] for column in match.columns] == [1, 2]


def filtered() -> ad.AnnData:
    adata = cells(SYMBOLS)
    adata.var["feature_is_filtered"] = np.arange(len(SYMBOLS)) % 4 == 0
    adata.raw = adata.copy()
    adata.X[:, adata.var["feature_is_filtered"].to_numpy()] = 0
    return adata


@pytest.mark.parametrize("kind", [bool, str, "category", "boolean"])
def test_filtered_genes_count_as_not_measured(kind):
    adata = filtered()
    adata.var["feature_is_filtered"] = adata.var["feature_is_filtered"].astype(kind)
    with pytest.warns(UserWarning, match=r"filtered out of X.*adata\.raw\.to_adata\(\)"):
        match = match_cells(adata, PANEL, min_coverage=0.3)
    assert match.n_filtered == len(match.missing) == len(PANEL[::2])
    assert (
        not adata.var["feature_is_filtered"].astype(str).eq("True").to_numpy()[match.columns[match.columns >= 0]].any()
    )


def test_values_that_are_there_were_not_filtered():
    adata = filtered()
    adata.layers["counts"] = adata.raw.X
    assert quietly(adata, layer="counts").coverage == 1
    adata.X = adata.raw.X
    assert quietly(adata).coverage == 1


def test_raw_with_more_genes_is_pointed_out():
    whole = cells(SYMBOLS)
    few = whole.copy()
    few.raw = whole
    few = few[:, : len(SYMBOLS) // 2].copy()
    with pytest.warns(UserWarning, match=r"`adata.raw` has 100.0% .*`adata.raw.to_adata\(\)`"):
        match_cells(few, PANEL, min_coverage=0.3)
    with pytest.raises(ValueError, match=r"`adata.raw` has 100.0% .*`adata.raw.to_adata\(\)`"):
        match_cells(few, PANEL, min_coverage=0.9)
    whole.raw = whole
    with warnings.catch_warnings(action="error"):
        match_cells(whole, PANEL, min_coverage=0.9)


@pytest.mark.parametrize("names", [SYMBOLS, IDS, [f"GRCh38_{name}" for name in SYMBOLS]])
def test_transposed_objects_are_said_to_be_such(names):
    adata = cells(names, n_obs=30).T.copy()
    with pytest.raises(ValueError, match=r"looks transposed.*`adata.T`"):
        quietly(adata)


def test_transposed_objects_with_names_in_a_column_are_said_to_be_such():
    adata = cells([str(i) for i in range(len(SYMBOLS))])
    adata.var["gene_symbols"] = SYMBOLS
    with pytest.raises(ValueError, match="looks transposed"):
        quietly(adata.T.copy())


def test_notes_are_given_once_and_only_when_there_is_something_to_say():
    with warnings.catch_warnings(action="error", category=UserWarning):
        match_cells(cells(SYMBOLS), PANEL, min_coverage=0.5)
        match_cells(cells([f"GRCh38_{name}" for name in SYMBOLS]), PANEL, min_coverage=0.5, warn=False)


def test_modalities_in_one_matrix_are_told_apart_by_their_prefixes():
    peaks = [f"atac:chr1:{i}00-{i}50" for i in range(3 * len(SYMBOLS))]
    proteins = [f"prot:{name}" for name in SYMBOLS[::7]]
    names = [*peaks, *(f"rna:{name}" for name in SYMBOLS), *proteins]
    match = quietly(cells(names))
    assert (match.columns - len(peaks)).tolist() == EXPECTED
    assert match.n_other_features == len(peaks) + len(proteins)


def test_numbers_as_names_are_refused_naming_the_column_with_gene_names():
    adata = cells(SYMBOLS)
    adata.var["symbol"] = SYMBOLS
    adata.var.index = pd.RangeIndex(len(SYMBOLS))
    if all(isinstance(name, str) for name in adata.var_names):
        pytest.skip("this anndata turns numbers into text itself")
    with pytest.raises(TypeError, match=r"must be strings.*`adata.var\['symbol'\]` holds gene names"):
        scdrug.pp.align_genes(adata, PANEL)


def test_neighbours_to_pool_are_not_chosen_by_antibodies():
    plain = scdrug.datasets.toy_cells()[:60].copy()
    noise = cells(["ADT_1", "ADT_2"], np.random.default_rng(0).integers(0, 90_000, (60, 2)).astype(float))
    noise.obs_names = plain.obs_names
    both = ad.concat([noise, plain], axis=1)
    reference = scdrug.datasets.toy()
    with pytest.warns(UserWarning, match="2 columns are not gene expression"):
        pooled = scdrug.pp.harmonize(both, reference, n_pool=5)
    np.testing.assert_allclose(pooled.X, scdrug.pp.harmonize(plain, reference, n_pool=5).X, atol=1e-4)


def test_aligned_genes_are_those_of_the_column_that_was_read():
    adata = cells([str(i) for i in range(len(SYMBOLS))])
    adata.var["gene_symbols"] = pd.Categorical(SYMBOLS)
    with pytest.warns(UserWarning, match="gene_symbols"):
        aligned = scdrug.pp.align_genes(adata, PANEL)
    assert aligned.X.tolist() == adata.X[:, EXPECTED].tolist()
    assert aligned.uns["gene_alignment"]["source"] == "adata.var['gene_symbols']"
