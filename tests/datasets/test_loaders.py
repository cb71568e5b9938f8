from __future__ import annotations

import shutil
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest
from scipy.sparse import csr_matrix

import scdrug
from scdrug.datasets._registry import registry


def seed_cache(cache: Path, dataset: str, *sources: Path) -> None:
    """Place files in the cache under the names of the registry, as if they had been fetched."""
    (cache / dataset).mkdir(parents=True, exist_ok=True)
    for entry, source in zip(registry()[dataset].files, sources, strict=True):
        shutil.copy(source, cache / dataset / entry.file)


@pytest.fixture
def offline(cache, monkeypatch) -> Path:
    monkeypatch.setenv("SCDRUG_OFFLINE", "1")
    return cache


# sc_mixology ----------------------------------------------------------------------------------------------------------


def write_plates(folder: Path) -> None:
    genes = {"p1": ["ENSG1", "ENSG2", "ERCC-00002"], "p2": ["ENSG2", "ENSG3"], "p3": ["ENSG3", "ENSG1"]}
    for plate, names in genes.items():
        stem = folder / f"sc_celseq2_5cl_{plate}"
        counts = pd.DataFrame([[row + 1, 0] for row in range(len(names))], index=names, columns=["p1_A1", "p1_A2"])
        counts.to_csv(f"{stem}.count.csv.gz")
        cells = {"batch": plate, "cell_line_demuxlet": ["A549", "H838"], "demuxlet_cls": ["SNG", "DBL"]}
        pd.DataFrame(cells, index=["p1_A1", "p1_A2"]).iloc[::-1].to_csv(f"{stem}.metadata.csv.gz")


def test_sc_mixology_keeps_all_genes_and_fills_with_zeros(tmp_path):
    write_plates(tmp_path)
    cells = scdrug.datasets.sc_mixology(path=tmp_path)
    assert list(cells.var_names) == ["ENSG1", "ENSG2", "ENSG3"]
    assert list(cells.obs_names) == ["p1_A1", "p1_A2", "p2_A1", "p2_A2", "p3_A1", "p3_A2"]
    assert isinstance(cells.X, csr_matrix)
    np.testing.assert_array_equal(cells.X.toarray(), [[1, 2, 0], [0, 0, 0], [0, 1, 2], [0, 0, 0], [2, 0, 1], [0, 0, 0]])
    assert cells.obs["cell_line"].tolist() == ["A549", "H838"] * 3
    assert cells.obs["singlet"].tolist() == [True, False] * 3
    assert cells.obs["n_spike_in"].tolist() == [3, 0, 0, 0, 0, 0]
    assert cells.uns["expression"] == {"scale": "counts"}


def test_sc_mixology_names_a_missing_plate(tmp_path):
    write_plates(tmp_path)
    (tmp_path / "sc_celseq2_5cl_p2.count.csv.gz").unlink()
    with pytest.raises(FileNotFoundError, match="counts of p2"):
        scdrug.datasets.sc_mixology(path=tmp_path)


def test_sc_mixology_is_read_from_the_cache(offline, shared_data):
    folder = shared_data / "sc" / "sc_mixology"
    files = [folder / file.file for file in registry()["sc_mixology"].files]
    seed_cache(offline, "sc_mixology", *files)
    cells = scdrug.datasets.sc_mixology()
    singlets = cells[cells.obs["singlet"]]
    assert singlets.n_obs == 571
    assert set(singlets.obs["cell_line"]) == {"A549", "H1975", "H2228", "H838", "HCC827"}
    assert cells.obs_names.is_unique
    assert cells.var_names.str.startswith("ENSG").all()
    counts = pd.read_csv(files[2], index_col=0)
    plate = cells[cells.obs["plate"] == "p2"]
    assert plate.X.sum() == counts[~counts.index.str.startswith("ERCC")].to_numpy().sum()
    assert all(url.startswith("https://") for url in cells.uns["dataset"]["url"])


# A375, oligodendroglioma ----------------------------------------------------------------------------------------------


def test_a375_has_its_known_labels(shared_data):
    cells = scdrug.datasets.a375_plx4720(path=shared_data / "sc" / "a375")
    assert cells.shape == (108, 2873)
    assert cells.obs["sensitive"].value_counts().to_dict() == {True: 62, False: 46}
    assert cells.var_names.is_unique
    assert cells.var.loc["A2M", "entrez_id"] == "2"
    np.testing.assert_allclose(cells.X.mean(axis=0), 0, atol=1e-3)
    assert cells.uns["expression"]["scale"] == "scaled"


def test_a375_says_how_to_come_by_the_file(cache):
    with pytest.raises(RuntimeError, match="CompBioT/SCAD") as error:
        scdrug.datasets.a375_plx4720()
    assert str(cache / "a375_plx4720" / "scad_A375_plx4720.h5ad") in str(error.value)


def test_a375_refuses_a_file_without_labels(tmp_path):
    anndata.AnnData(np.zeros((2, 2), dtype=np.float32)).write_h5ad(tmp_path / "A375.h5ad")
    with pytest.raises(KeyError, match="sensitive_PLX4720"):
        scdrug.datasets.a375_plx4720(path=tmp_path)


def test_breast_atlas_names_lines_of_the_screen(shared_data, cache):
    cells = scdrug.datasets.breast_atlas(path=shared_data / "sc" / "bc_atlas")
    counts = cells.obs["reference_line"].value_counts()
    assert cells.n_obs == 450 and len(counts) == 15 and (counts == 30).all()
    assert set(cells.obs["cell_line"][cells.obs["reference_line"] == ""]) == {"MCF12A"}
    assert cells.uns["expression"] == {"scale": "counts"} and (cells.X.data % 1 == 0).all()
    with pytest.raises(RuntimeError, match="15022698") as error:
        scdrug.datasets.breast_atlas()
    assert str(cache / "breast_atlas" / "bc_atlas_14_lines.h5ad") in str(error.value)


def test_breast_atlas_refuses_a_file_without_lines(tmp_path):
    anndata.AnnData(np.zeros((2, 2), dtype=np.float32)).write_h5ad(tmp_path / "bc_atlas.h5ad")
    with pytest.raises(KeyError, match="cell_line"):
        scdrug.datasets.breast_atlas(path=tmp_path)


def test_nci60_is_turned_so_that_lower_is_more_sensitive(tmp_path, shared_data):
    table = pd.DataFrame(
        {
            "nsc": [7, 12],
            "prefix": "S",
            "name": ["Bosutinib", None],
            "BR:MCF7": [1.5, -1.0],
            "LC:A549/ATCC": [0.5, None],
        }
    )
    table.to_csv(tmp_path / "drug_activity_zscore_for_1075drugs.csv", index=False)
    screen = scdrug.datasets.nci60(path=tmp_path)
    assert list(screen.obs_names) == ["MCF7", "A549"]
    assert screen.obs["tissue"].tolist() == ["breast", "lung"]
    assert screen.obsm["response"]["nsc-7"].tolist() == [-1.5, -0.5]
    assert screen.uns["drugs"]["name"].to_dict() == {"nsc-7": "Bosutinib", "nsc-12": "NSC 12"}
    assert screen.uns["response"]["n_pairs"] == 3 and screen.uns["response"]["direction"].startswith("lower")
    for write, read in (("write_h5ad", anndata.read_h5ad), ("write_zarr", anndata.read_zarr)):
        getattr(screen, write)(tmp_path / write)
        pd.testing.assert_frame_equal(
            read(tmp_path / write).obsm["response"], screen.obsm["response"], check_index_type=False
        )
    (tmp_path / "empty").mkdir()
    table.drop(columns=["BR:MCF7", "LC:A549/ATCC"]).to_csv(tmp_path / "empty" / "nci60.csv", index=False)
    with pytest.raises(ValueError, match="BR:MCF7"):
        scdrug.datasets.nci60(path=tmp_path / "empty")
    whole = scdrug.datasets.nci60(path=shared_data / "nci60")
    assert whole.obsm["response"].shape == (60, 1075)


def test_mipe_gives_phases_as_numbers_and_targets(tmp_path, cache, shared_data):
    columns = [
        "sample_name",
        "alias",
        "development_phase",
        "gene_symbol_1",
        "gene_symbol_2",
        "moa1",
        "general_indication",
    ]
    rows = [
        ["Imatinib", "STI-571", "Approved", "ABL1", "KIT", "Tyrosine kinase inhibitor", "Oncology"],
        ["Elacridar", "GF-120918", "Phase I/II", "ABCB1", "NA", "NA", "Oncology"],
        ["Nameless", "NA", "Discontinued", "NA", "NA", "NA", "NA"],
        ["Old one", "NA", "phase II", "NA", "NA", "NA", "NA"],
    ]
    pd.DataFrame(rows, columns=columns).to_csv(tmp_path / "drug-metadata.tsv", sep="\t", index=False)
    table = scdrug.datasets.mipe(path=tmp_path)
    assert table["name"].tolist() == [row[0] for row in rows]
    assert table["phase"].tolist()[:2] == [4, 2] and np.isnan(table["phase"][2]) and table["phase"][3] == 2
    assert table["targets"].tolist() == ["ABL1, KIT", "ABCB1", "", ""]
    assert table["synonyms"].tolist() == ["STI-571", "GF-120918", "", ""]
    assert "none stated" in table.attrs["dataset"]["licence"]
    pd.DataFrame(rows, columns=columns).drop(columns="alias").to_csv(tmp_path / "drug-metadata.tsv", sep="\t")
    with pytest.raises(ValueError, match="lacks the columns 'alias'"):
        scdrug.datasets.mipe(path=tmp_path)
    (cache / "mipe").mkdir(parents=True)
    shutil.copy(shared_data / "drug_meta" / "ncats_mipe_drug-metadata.tsv", cache / "mipe" / "drug-metadata.tsv")
    whole = scdrug.datasets.mipe()  # by the fetcher, which checks the hash
    assert len(whole) == 1912 and whole["phase"].notna().sum() == 1794
    assert whole.attrs["dataset"]["url"][0].endswith("drug-metadata.tsv")


def test_pbmc_holds_counts_of_healthy_cells(shared_data, cache):
    cells = scdrug.datasets.pbmc(path=shared_data / "sc" / "pbmc80")
    assert cells.shape == (80, 23530)
    assert (cells.X.data % 1 == 0).all() and cells.var_names.str.startswith("ENSG").all()
    with pytest.raises(RuntimeError, match="PBMC3K_subset"):
        scdrug.datasets.pbmc()


def test_oligodendroglioma_tells_malignant_cells_from_normal_ones():
    pytest.importorskip("infercnvpy")
    tumour = scdrug.datasets.oligodendroglioma()
    assert tumour.shape == (184, 9450)
    assert tumour.obs["malignant"].sum() == 142
    assert not tumour.obs.loc[tumour.obs["cell_type"] == "Microglia/Macrophage", "malignant"].any()
    assert set(tumour.obs["sample"]) == {"MGH36", "MGH53", "MGH54", "MGH93", "MGH97"}
    assert tumour.uns["expression"] == {"scale": "linear"}
    np.testing.assert_allclose(tumour.X.sum(axis=1), 1e5, rtol=0.5)


# L1000 ----------------------------------------------------------------------------------------------------------------


def test_l1000_ht115_is_read_from_the_cache(offline, shared_data):
    seed_cache(offline, "l1000_ht115", shared_data / "l1000" / "prnet_ht115.h5ad")
    profiles = scdrug.datasets.l1000("ht115")
    assert profiles.shape == (681, 978)
    assert profiles.obs["control"].sum() == 20
    assert set(profiles.obs.loc[profiles.obs["control"], "drug"]) == {"DMSO"}
    treated = profiles.obs[~profiles.obs["control"]]
    assert treated["smiles"].nunique() > 300
    assert (treated["dose"] > 0).all()


def test_l1000_pairs_come_with_their_control(shared_data):
    pairs = scdrug.datasets.l1000("pairs", path=shared_data / "l1000")
    assert pairs.shape == pairs.layers["control"].shape == (100, 978)
    table = pd.read_parquet(shared_data / "l1000" / "transigen_pairs100.parquet")
    np.testing.assert_allclose(pairs[:, "HDAC6"].X.ravel(), table["x2:HDAC6"])
    np.testing.assert_allclose(pairs[:, "HDAC6"].layers["control"].ravel(), table["x1:HDAC6"])


def test_l1000_basal_profiles_are_named_by_cell(shared_data):
    basal = scdrug.datasets.l1000("basal", path=shared_data / "l1000")
    assert basal.shape == (165, 978)
    assert "A549" in basal.obs_names


def test_l1000_refuses_an_unknown_part():
    with pytest.raises(ValueError, match="'ht115', 'pairs', 'basal'"):
        scdrug.datasets.l1000("HT-29")


# CCLE -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["first column", "many columns"])
def test_ccle_official_files_are_read(tmp_path, form):
    table = pd.DataFrame(
        {"TSPAN6 (7105)": [1.0, 2.0], "TNMD (64102)": [3.0, 4.0], "TNMD (1)": [9.0, 9.0]},
        index=["ACH-000001", "ACH-000002"],
    )
    if form == "many columns":
        table.insert(0, "ModelID", table.index)
        table.insert(1, "IsDefaultEntryForModel", "Yes")
        again = table.iloc[[0]].assign(IsDefaultEntryForModel="No")
        table = pd.concat([table, again], ignore_index=True)
    table.to_csv(tmp_path / "OmicsExpressionProteinCodingGenesTPMLogp1.csv")
    pd.DataFrame(
        {
            "ModelID": ["ACH-000002", "ACH-000009"],
            "StrippedCellLineName": ["HL60", "X"],
            "OncotreeLineage": ["Myeloid", "X"],
            "COSMICID": [905938.0, None],
        }
    ).to_csv(tmp_path / "Model.csv", index=False)
    lines = scdrug.datasets.ccle(path=tmp_path)
    assert list(lines.obs_names) == ["ACH-000001", "ACH-000002"]
    assert list(lines.var_names) == ["TSPAN6", "TNMD"]
    assert lines.var["entrez_id"].tolist() == ["7105", "64102"]
    np.testing.assert_array_equal(lines.X, [[1, 3], [2, 4]])
    assert lines.obs["tissue"].tolist() == ["", "Myeloid"]
    assert lines.obs["cosmic_id"].tolist() == ["", "905938"]


def test_ccle_tables_have_their_known_shape(shared_data):
    lines = scdrug.datasets.ccle(path=shared_data / "ccle")
    assert lines.shape == (525, 697)
    assert np.isfinite(lines.layers["copy_number"]).all()
    assert lines.uns["expression"]["scale"] == "log"


# PDX ------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def workbook(tmp_path: Path) -> Path:
    """A workbook of the form of the publication's supplementary table 1."""
    expression = pd.DataFrame({"Sample": ["TSPAN6", "TNMD"], "X-1004": [3.0, 0.0], "X-1008": [1.0, 7.0]})
    metrics = pd.DataFrame(
        {
            "Model": ["X-1004", "X-1004", "X-1008", "X-1008", "X-1008", "X-9999"],
            "Treatment": ["BGJ398", "untreated", 'figitumumab"', "BGJ398", "BGJ398 + paclitaxel", "BGJ398"],
            "Treatment target": ["FGFR", None, "IGF1R", "FGFR", "FGFR,tubulin", "FGFR"],
            "Treatment type": ["single", "single", "single", "single", "combo", "single"],
            "BestResponse": [-54.3, 100.0, 10.0, 20.0, 5.0, 1.0],
            "BestAvgResponse": [-28.1, 90.0, 15.0, 25.0, 6.0, 2.0],
        }
    )
    raw = pd.DataFrame({"Model": ["X-1004", "X-1004", "X-1008"], "Tumor Type": ["BRCA", "BRCA", "GC"]})
    path = tmp_path / "41591_2015_BFnm3954_MOESM10_ESM.xlsx"
    with pd.ExcelWriter(path) as writer:
        expression.to_excel(writer, sheet_name="RNAseq_fpkm", index=False)
        metrics.to_excel(writer, sheet_name="PCT curve metrics", index=False)
        raw.to_excel(writer, sheet_name="PCT raw data", index=False)
    return path


def test_pdx_workbook_becomes_a_reference(workbook):
    tumours = scdrug.datasets.pdx(path=workbook)
    assert list(tumours.obs_names) == ["X-1004", "X-1008"]
    assert tumours.obs["tissue"].tolist() == ["BRCA", "GC"]
    np.testing.assert_allclose(tumours.X, [[2, 0], [1, 3]])
    response = tumours.obsm["response"]
    assert list(response.columns) == ["bgj398", "figitumumab"]
    np.testing.assert_allclose(response, [[-28.1, np.nan], [25.0, 15.0]], rtol=1e-6)
    assert tumours.uns["drugs"].loc["bgj398", "targets"] == "FGFR"


def test_pdx_combinations_come_when_asked(workbook):
    tumours = scdrug.datasets.pdx(treatments="all", measure="BestResponse", path=workbook.parent)
    assert "bgj398-paclitaxel" in tumours.obsm["response"]
    assert tumours.obsm["response"].loc["X-1004", "bgj398"] == pytest.approx(-54.3)
    assert "untreated" not in tumours.obsm["response"]


def test_pdx_refuses_an_unknown_tumour_type(workbook):
    with pytest.raises(ValueError, match="'BRCA', 'GC'"):
        scdrug.datasets.pdx(tumour_type="LUAD", path=workbook)


def test_pdx_tables_hold_genes_measured_in_every_model(shared_data):
    tumours = scdrug.datasets.pdx(tumour_type="BRCA", path=shared_data / "pdx")
    assert tumours.n_obs == 38
    assert np.isfinite(tumours.X).all()
    assert set(tumours.obs["tissue"]) == {"BRCA"}
    assert (tumours.uns["drugs"]["smiles"] != "").any()


# gene sets, networks --------------------------------------------------------------------------------------------------


def test_gmt_is_read_in_order_with_each_gene_once(tmp_path):
    path = tmp_path / "sets.gmt"
    path.write_text("B\thttp://b\tTP53\tEGFR\tTP53\t\n\nA\t\tMYC\n")
    assert scdrug.datasets.gene_sets(path) == {"B": ["TP53", "EGFR"], "A": ["MYC"]}
    assert scdrug.datasets.gene_sets(str(path)) == scdrug.datasets.read_gmt(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [("A\tno genes\n", "Line 1"), ("A\tx\tTP53\nA\tx\tMYC\n", "twice, in line 2"), ("\n", "no gene set")],
)
def test_malformed_gmt_is_refused(tmp_path, text, message):
    path = tmp_path / "sets.gmt"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        scdrug.datasets.read_gmt(path)


def test_gene_sets_are_read_from_the_cache(offline, shared_data):
    seed_cache(offline, "hallmark", shared_data / "genesets" / "h.all.v7.0.symbols.gmt")
    sets = scdrug.datasets.gene_sets("hallmark")
    assert len(sets) == 50
    assert len(sets["HALLMARK_TNFA_SIGNALING_VIA_NFKB"]) == 200


def test_gene_sets_refuses_an_unknown_name():
    with pytest.raises(ValueError, match="'hallmark'"):
        scdrug.datasets.gene_sets("kegg")


def test_networks_are_read_from_the_cache(offline, shared_data):
    seed_cache(offline, "string_csg2a", shared_data / "ppi" / "STRING_edges.csv")
    seed_cache(offline, "string_dualgcn", shared_data / "ppi" / "DualGCN_PPI_network.txt")
    string, dualgcn = scdrug.datasets.ppi("string"), scdrug.datasets.ppi("dualgcn")
    assert string.shape == (57260, 2)
    assert dualgcn.shape == (110280, 3)
    assert dualgcn["score"].between(0, 1000).all()
    assert string.attrs["dataset"]["url"][0].startswith("https://")
    with pytest.raises(ValueError, match="'string', 'dualgcn'"):
        scdrug.datasets.ppi("biogrid")


def test_a_network_is_read_from_a_path(tmp_path):
    (tmp_path / "PPI_network.txt").write_text("TP53\tMDM2\t999\n")
    edges = scdrug.datasets.ppi("dualgcn", path=tmp_path)
    assert edges.to_dict("records") == [{"source": "TP53", "target": "MDM2", "score": 999}]
    with pytest.raises(FileNotFoundError, match="STRING_edges.csv"):
        scdrug.datasets.ppi("string", path=tmp_path)
