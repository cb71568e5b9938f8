from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import scdrug
from scdrug.datasets._gdsc_formats import read_line_details, read_rma

FITTED = "GDSC2_fitted_dose_response_27Oct23"


def curve(line: str, cosmic: int, drug_id: int, drug: str, ln_ic50: float, auc: float, dataset: str = "GDSC2") -> dict:
    """A row of the official workbook."""
    return {
        "DATASET": dataset,
        "NLME_RESULT_ID": 343,
        "NLME_CURVE_ID": 15946310,
        "COSMIC_ID": cosmic,
        "CELL_LINE_NAME": line,
        "SANGER_MODEL_ID": f"SIDM0{cosmic}",
        "TCGA_DESC": "LUAD",
        "DRUG_ID": drug_id,
        "DRUG_NAME": drug,
        "PUTATIVE_TARGET": "MEK1, MEK2" if drug == "Trametinib" else None,
        "PATHWAY_NAME": "ERK MAPK signaling" if drug == "Trametinib" else "Other",
        "COMPANY_ID": 1046,
        "WEBRELEASE": "Y",
        "MIN_CONC": 0.001,
        "MAX_CONC": 1.0,
        "LN_IC50": ln_ic50,
        "AUC": auc,
        "RMSE": 0.1,
        "Z_SCORE": 0.4,
    }


@pytest.fixture
def curves() -> pd.DataFrame:
    return pd.DataFrame(
        [
            curve("NCI-H1975", 924244, 1372, "Trametinib", -1.0, 0.5),
            curve("A549", 905949, 1372, "Trametinib", 1.0, 0.8),
            curve("A549", 905949, 1561, "Trametinib", 3.0, 0.9),
            curve("A549", 905949, 1003, "5-Fluorouracil", 4.0, 0.95),
            curve("No-Expression", 1, 1003, "5-Fluorouracil", 5.0, 0.99),
            curve("A549", 905949, 1372, "Trametinib", 9.0, 0.1, dataset="GDSC1") | {"MAX_CONC": 10.0},
        ]
    )


def write_rma(path: Path) -> None:
    """Tab-separated, with a duplicated line, a row without symbol and a duplicated symbol, as in the official file."""
    path.write_text(
        "GENE_SYMBOLS\tGENE_title\tDATA.905949\tDATA.924244\tDATA.924244.1\tDATA.777\n"
        "TSPAN6\ttetraspanin 6\t7.5\t3.0\t5.0\t1.0\n"
        "\tno symbol\t1.0\t1.0\t1.0\t1.0\n"
        "TNMD\ttenomodulin\t2.0\t2.5\t2.5\t1.0\n"
        "TNMD\ttenomodulin\t4.0\t3.5\t3.5\t1.0\n"
    )


@pytest.fixture
def official(tmp_path: Path, curves: pd.DataFrame) -> Path:
    curves.to_excel(tmp_path / f"{FITTED}.xlsx", index=False)
    write_rma(tmp_path / "Cell_line_RMA_proc_basalExp.txt")
    with zipfile.ZipFile(tmp_path / "Cell_line_RMA_proc_basalExp.txt.zip", "w") as archive:
        archive.write(tmp_path / "Cell_line_RMA_proc_basalExp.txt", "Cell_line_RMA_proc_basalExp.txt")
    (tmp_path / "Cell_line_RMA_proc_basalExp.txt").unlink()
    (tmp_path / "screened_compounds_rel_8.5.csv").write_text(
        "DRUG_ID,SCREENING_SITE,DRUG_NAME,SYNONYMS,TARGET,TARGET_PATHWAY\n"
        '1372,SANGER,Trametinib,"GSK1120212, Mekinist",never read,never read\n'
        "1003,SANGER,5-Fluorouracil,5-FU,Antimetabolite (DNA & RNA),Other\n"
    )
    (tmp_path / "drug_list.csv").write_text(
        "drug_id,Name,Synonyms,Targets,Target pathway,PubCHEM,Sample Size,Count\n"
        "1003,5-Fluorouracil,5-FU,Antimetabolite,Other,3385,968,266\n"
        "1372,Trametinib,,MEK,MAPK,none,900,266\n"
        '1561,Trametinib,,MEK,MAPK,"11707110, 1",900,266\n'
    )
    (tmp_path / "223drugs_pubchem_smiles.txt").write_text("3385\tC1=C(C(=O)NC(=O)N1)F\n")
    return tmp_path


def test_official_files_become_a_reference(official):
    adata = scdrug.datasets.gdsc("GDSC2", path=official)
    assert sorted(adata.obs_names) == ["A549", "NCI-H1975"]
    assert list(adata.var_names) == ["TSPAN6", "TNMD"]
    response = adata.obsm["response"]
    assert list(response.columns) == ["5-fluorouracil", "trametinib"]
    assert response.loc["A549", "trametinib"] == pytest.approx(2.0)  # two curves, and none of GDSC1
    assert np.isnan(response.loc["NCI-H1975", "5-fluorouracil"])
    assert adata.uns["response"]["n_replicates_averaged"] == 1
    assert adata.uns["expression"]["scale"] == "log"
    assert adata.obs.loc["A549"].to_dict() == {
        "tissue": "LUAD",
        "cosmic_id": "905949",
        "sanger_model_id": "SIDM0905949",
        "tcga_label": "LUAD",
    }
    drugs = adata.uns["drugs"]
    assert drugs.loc["trametinib", "targets"] == "MEK1, MEK2"
    assert drugs.loc["5-fluorouracil"].tolist() == [
        "5-Fluorouracil",
        "C1=C(C(=O)NC(=O)N1)F",
        "3385",
        "Antimetabolite (DNA & RNA)",
        "Other",
        1.0,
    ]
    assert adata.uns["dataset"]["name"] == "gdsc"
    assert len(adata.uns["dataset"]["sha256"]) == 5


def test_the_highest_dose_that_was_tested_travels_from_the_screen_to_the_suggestion(tmp_path):
    reference = scdrug.datasets.toy()
    doses = dict.fromkeys(reference.uns["drugs"].index, np.nan) | {"trametinib": 0.001}
    reference.uns["drugs"]["max_dose"] = pd.Series(doses)
    scdrug.model.KernelRidge.setup_anndata(reference)
    model = scdrug.model.KernelRidge(reference)
    model.train()
    model.save(tmp_path / "model")
    cells = scdrug.datasets.toy_cells()
    scdrug.tl.predict_response(cells, tmp_path / "model")
    with pytest.warns(UserWarning, match="capped at the highest one, for example 'Trametinib'"):
        scdrug.tl.suggest_combinations(cells, "clone", normal="normal")
    assert scdrug.get.doses_df(cells).loc["trametinib", "concentration"] == pytest.approx(0.001)


def test_doses_must_be_positive_numbers(official, curves):
    curves["MAX_CONC"] = curves["MAX_CONC"].astype(object)
    curves.loc[0, "MAX_CONC"] = -1.0
    curves.loc[1:2, "MAX_CONC"] = None
    curves.to_excel(official / f"{FITTED}.xlsx", index=False)
    with pytest.raises(
        ValueError, match="must hold positive numbers, in µM, or nothing; found '-1.0' for 'Trametinib'"
    ):
        scdrug.datasets.gdsc("GDSC2", path=official)


def test_duplicated_lines_and_genes_of_the_expression_are_averaged(official):
    adata = scdrug.datasets.gdsc("GDSC2", path=official)
    np.testing.assert_allclose(adata["NCI-H1975"].X, [[4.0, 3.0]])
    np.testing.assert_allclose(adata["A549"].X, [[7.5, 3.0]])


def test_auc_can_be_asked_for(official):
    adata = scdrug.datasets.gdsc("GDSC2", measure="AUC", path=official)
    assert adata.obsm["response"].loc["A549", "trametinib"] == pytest.approx(0.85)
    assert adata.uns["response"]["measure"] == "AUC"


def test_csv_works_like_the_workbook(official, curves):
    from_workbook = scdrug.datasets.gdsc("GDSC2", path=official)
    (official / f"{FITTED}.xlsx").unlink()
    curves.to_csv(official / f"{FITTED}.csv", index=False)
    from_csv = scdrug.datasets.gdsc("GDSC2", path=official)
    pd.testing.assert_frame_equal(from_csv.obsm["response"], from_workbook.obsm["response"])
    pd.testing.assert_frame_equal(from_csv.obs, from_workbook.obs)


def test_tissues_come_from_the_line_table_where_it_is_there(official):
    details = pd.DataFrame(
        {
            "Sample Name": ["A549", "NCI-H1975", "TOTAL:"],
            "COSMIC identifier": [905949, 924244, None],
            "GDSC\nTissue descriptor 1": ["lung_NSCLC", "lung_NSCLC", None],
            "GDSC\nTissue\ndescriptor 2": ["lung_NSCLC_adenocarcinoma", "lung_NSCLC_adenocarcinoma", None],
        }
    )
    details.to_excel(official / "Cell_Lines_Details.xlsx", index=False)
    assert len(read_line_details(official / "Cell_Lines_Details.xlsx")) == 2
    adata = scdrug.datasets.gdsc("GDSC2", path=official)
    assert adata.obs["tissue"].tolist() == ["lung_NSCLC", "lung_NSCLC"]
    assert adata.obs["tcga_label"].tolist() == ["LUAD", "LUAD"]


def test_another_release_in_the_file_is_an_error(official):
    (official / f"{FITTED}.xlsx").rename(official / f"{FITTED.replace('GDSC2', 'GDSC1')}.xlsx")
    assert scdrug.datasets.gdsc("GDSC1", path=official).n_obs == 1
    with pytest.raises(FileNotFoundError, match="fitted responses"):
        scdrug.datasets.gdsc("GDSC2", path=official)


def test_a_file_of_another_form_is_an_error(tmp_path, official, curves):
    curves.drop(columns="LN_IC50").to_excel(official / f"{FITTED}.xlsx", index=False)
    with pytest.raises(ValueError, match="lacks the columns 'LN_IC50'"):
        scdrug.datasets.gdsc("GDSC2", path=official)
    (tmp_path / "rma.txt").write_text("GENE_SYMBOLS\tA549\nTP53\t1\n")
    with pytest.raises(ValueError, match="DATA"):
        read_rma(tmp_path / "rma.txt")


def test_unknown_choices_are_refused(tmp_path):
    with pytest.raises(ValueError, match="GDSC1"):
        scdrug.datasets.gdsc("GDSC3")
    with pytest.raises(ValueError, match="AUC"):
        scdrug.datasets.gdsc(measure="IC50")
    with pytest.raises(FileNotFoundError, match="nothing at"):
        scdrug.datasets.gdsc(path=tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("release", "n_lines", "n_drugs", "n_pairs"), [("GDSC1", 939, 305, 247607), ("GDSC2", 938, 228, 187686)]
)
def test_real_tables_have_their_known_shape(shared_data, release, n_lines, n_drugs, n_pairs):
    adata = scdrug.datasets.gdsc(release, path=shared_data / "gdsc")
    response = adata.obsm["response"]
    assert adata.shape == (n_lines, 5778)
    assert response.shape == (n_lines, n_drugs)
    assert int(response.notna().to_numpy().sum()) == adata.uns["response"]["n_pairs"] == n_pairs
    assert list(response.columns) == sorted(response.columns) == list(adata.uns["drugs"].index)
    assert (adata.uns["drugs"]["smiles"] != "").all()
    assert adata.uns["expression"]["scale"] == "scaled"
    assert {"tissue", "cosmic_id", "depmap_id"} <= set(adata.obs)


def test_real_tables_hold_the_values_of_the_pairs(shared_data):
    adata = scdrug.datasets.gdsc("GDSC2", measure="AUC", path=shared_data / "gdsc")
    pairs = pd.read_parquet(shared_data / "gdsc" / "pairs.parquet")
    pairs = pairs[pairs["dataset"] == "GDSC2"].sample(50, random_state=0)
    id_by_name = dict(zip(adata.uns["drugs"]["name"], adata.uns["drugs"].index))
    found = [adata.obsm["response"].loc[row.cell_line, id_by_name[row.drug]] for row in pairs.itertuples()]
    np.testing.assert_allclose(found, pairs["auc"], rtol=1e-6)
