"""Tables of MTIGCN's authors: GDSC with thresholds and fingerprints, and labels of patients in the form of TCGA and PDX."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import scdrug
from scdrug.model import MTIGCN

CIDS = ["1401", "208908", "3062316"]
LINES = ["683667", "684052", "684055", "684059"]
RESPONSE = pd.DataFrame(
    [[1.0, -2.0, 0.5], [2.0, np.nan, -1.0], [0.2, 3.0, 1.0], [np.nan, 0.0, 2.0]], index=LINES, columns=CIDS
)
THRESHOLD = pd.Series([1.0, -1.0, 0.0], index=CIDS, name="threshold")
GENES = [f"GENE{number}" for number in range(6)]


@pytest.fixture
def tables(tmp_path) -> Path:
    """Both folders, the drugs of the thresholds and fingerprints in another order than the responses."""
    folder = tmp_path / "mtigcn" / "GDSC"
    folder.mkdir(parents=True)
    RESPONSE.to_csv(folder / "cell_drug.csv.gz")
    THRESHOLD.iloc[::-1].to_csv(folder / "threshold.csv.gz")
    bits = pd.DataFrame([[1, 0, 1], [0, 1, 1], [0, 0, 1]], index=[CIDS[1], CIDS[2], CIDS[0]])
    bits.to_csv(folder / "drug_feature.csv.gz")
    home = tmp_path / "gdsc"
    home.mkdir()
    names = ["PFSK-1", "A673", "ES3", "ES5"]
    expression = pd.DataFrame(np.random.default_rng(0).normal(size=(4, 6)), columns=GENES).astype(np.float32)
    expression.insert(0, "cell_line", names[::-1])
    expression.to_parquet(home / "expression.parquet")
    annotation = pd.DataFrame({"cell_line": names, "cosmic_id": LINES, "tissue": "bone"})
    annotation.to_csv(home / "cell_lines.csv", index=False)
    listed = pd.DataFrame({"Name": ["Lapatinib", "Dasatinib"], "PubCHEM": ["208908", "3062316"]})
    listed.to_csv(home / "drug_list.csv", index=False)
    return tmp_path / "mtigcn"


def test_responses_thresholds_and_fingerprints_are_joined_by_id(tables) -> None:
    reference = scdrug.datasets.mtigcn(path=tables)
    drugs = reference.uns["drugs"].set_index("pubchem_cid")
    assert drugs["threshold"].to_dict() == THRESHOLD.to_dict()
    assert drugs["fingerprint"].to_dict() == {"1401": "001", "208908": "101", "3062316": "011"}
    assert drugs["name"].to_dict() == {"1401": "1401", "208908": "Lapatinib", "3062316": "Dasatinib"}
    by_line = reference.obsm["response"].set_axis(reference.obs["cosmic_id"].to_numpy(), axis=0)
    by_line.columns = reference.uns["drugs"].loc[by_line.columns, "pubchem_cid"]
    np.testing.assert_array_equal(by_line.loc[LINES, CIDS], RESPONSE)


def test_expression_is_joined_by_cosmic_id(tables) -> None:
    reference = scdrug.datasets.mtigcn(path=tables)
    stored = pd.read_parquet(tables.parent / "gdsc" / "expression.parquet").set_index("cell_line")
    assert dict(zip(reference.obs_names, reference.obs["cosmic_id"], strict=True))["A673"] == "684052"
    np.testing.assert_allclose(reference[["A673"], GENES].X.ravel(), stored.loc["A673", GENES])


def test_labels_are_responses_below_the_threshold(tables) -> None:
    reference = scdrug.datasets.mtigcn(path=tables)
    labels = reference.obsm["response_binary"].set_axis(reference.obs["cosmic_id"].to_numpy(), axis=0)
    labels.columns = reference.uns["drugs"].loc[labels.columns, "pubchem_cid"]
    # a response at its threshold is resistant
    expected = [[0, 1, 0], [0, np.nan, 1], [1, 0, 0], [np.nan, 0, 0]]
    np.testing.assert_array_equal(labels.loc[LINES, CIDS], expected)


@pytest.mark.parametrize("table", ["threshold.csv.gz", "drug_feature.csv.gz"])
def test_tables_that_do_not_join_are_refused(tables, table) -> None:
    file = tables / "GDSC" / table
    pd.read_csv(file, index_col=0).iloc[:2].to_csv(file)
    with pytest.raises(ValueError, match=r"do not join the responses by PubChem CID: 1 drugs"):
        scdrug.datasets.mtigcn(path=tables)


def test_lines_without_expression_are_left_out_and_none_is_refused(tables) -> None:
    file = tables.parent / "gdsc" / "cell_lines.csv"
    annotation = pd.read_csv(file, dtype=str)
    annotation.iloc[:3].to_csv(file, index=False)
    assert scdrug.datasets.mtigcn(path=tables).n_obs == 3
    annotation.assign(cosmic_id="1").to_csv(file, index=False)
    with pytest.raises(ValueError, match="No line has both response and expression"):
        scdrug.datasets.mtigcn(path=tables)


def test_a_missing_table_is_named(tables) -> None:
    (tables / "GDSC" / "threshold.csv.gz").unlink()
    with pytest.raises(FileNotFoundError, match="threshold"):
        scdrug.datasets.mtigcn(path=tables)


# ---------------------------------------------------------------------- patients

LABELS = pd.DataFrame({"1401": [1, 0, 0], "208908": [0, 1, 0]}, index=["p1", "p2", "p3"])
UNKNOWN = pd.DataFrame({"208908": [1, 0, 0], "1401": [0, 0, 1]}, index=["p3", "p1", "p2"])
TUMOURS = pd.DataFrame(np.arange(15.0).reshape(3, 5), index=["p3", "p1", "p2"], columns=list("ABCDE"))


def test_patients_are_joined_by_name_and_masked() -> None:
    patients = scdrug.datasets.mtigcn_patients(LABELS, UNKNOWN, TUMOURS)
    assert list(patients.obs_names) == ["p1", "p2", "p3"]
    np.testing.assert_array_equal(patients.obsm["response_binary"], [[1, 0], [np.nan, 1], [0, np.nan]])
    np.testing.assert_array_equal(patients.X, TUMOURS.loc[["p1", "p2", "p3"]])


def test_patients_come_from_files_too(tmp_path) -> None:
    for name, table in (("tcga_response", LABELS), ("tcga_null_mask", UNKNOWN)):
        table.to_csv(tmp_path / f"{name}.csv")
    TUMOURS.to_parquet(tmp_path / "expression.parquet")
    read = scdrug.datasets.mtigcn_patients(
        tmp_path / "tcga_response.csv", tmp_path / "tcga_null_mask.csv", tmp_path / "expression.parquet"
    )
    given = scdrug.datasets.mtigcn_patients(LABELS, UNKNOWN, TUMOURS)
    pd.testing.assert_frame_equal(read.obsm["response_binary"], given.obsm["response_binary"], check_names=False)
    np.testing.assert_array_equal(read.X, given.X)


def test_genes_that_some_patients_lack_are_left_out() -> None:
    block = TUMOURS.copy()
    block.loc["p1", "B"] = np.nan
    assert list(scdrug.datasets.mtigcn_patients(LABELS, UNKNOWN, block).var_names) == list("ACDE")
    with pytest.raises(ValueError, match="No gene was measured in all samples"):
        scdrug.datasets.mtigcn_patients(LABELS, UNKNOWN, TUMOURS * np.nan)


def test_drugs_get_the_ids_of_the_reference(tables) -> None:
    reference = scdrug.datasets.mtigcn(path=tables)
    more = LABELS.assign(**{"999": 1}), UNKNOWN.assign(**{"999": 0})
    patients = scdrug.datasets.mtigcn_patients(*more, TUMOURS, reference=reference)
    assert list(patients.obsm["response_binary"].columns) == ["1401", "lapatinib"]
    with pytest.raises(ValueError, match="No drug of `response`"):
        scdrug.datasets.mtigcn_patients(LABELS[["1401"]].set_axis(["7"], axis=1), UNKNOWN[["1401"]].set_axis(["7"], axis=1), TUMOURS, reference=reference)  # fmt: skip


@pytest.mark.parametrize(
    ("response", "unknown", "expression", "message"),
    [
        (LABELS * 2, UNKNOWN, TUMOURS, "`response` must hold 0 and 1 only"),
        (LABELS, UNKNOWN.replace(1, 5), TUMOURS, "`unknown` must hold 0 and 1 only"),
        (LABELS, UNKNOWN.iloc[:2], TUMOURS, "differ in 'p2'"),
        (LABELS, UNKNOWN[["1401"]], TUMOURS, "differ in '208908'"),
        (LABELS, UNKNOWN, TUMOURS.rename(index=lambda name: name + "x"), "No sample has both"),
        (LABELS, UNKNOWN, pd.concat([TUMOURS, TUMOURS]), "named once"),
    ],
)
def test_tables_of_patients_that_cannot_be_read_are_refused(response, unknown, expression, message) -> None:
    with pytest.raises(ValueError, match=message):
        scdrug.datasets.mtigcn_patients(response, unknown, expression)


def test_patients_are_scored_in_whatever_order_their_genes_stand() -> None:
    reference = scdrug.datasets.toy(n_lines=60)
    MTIGCN.setup_anndata(reference)
    model = MTIGCN(reference, prior="process", n_hidden=16, n_latent=16)
    model.train(max_epochs=2)
    cids = list(reference.uns["drugs"].index[:2])
    expression = pd.DataFrame(np.asarray(reference.X[:8]) * 2 + 1, columns=reference.var_names)
    expression.index = [f"p{number}" for number in range(8)]
    labels = pd.DataFrame(0, index=expression.index, columns=cids)
    straight = scdrug.datasets.mtigcn_patients(labels, labels, expression)
    shuffled = scdrug.datasets.mtigcn_patients(labels, labels, expression.iloc[:, ::-1])
    for patients in (straight, shuffled):
        scdrug.tl.predict_response(patients, model)
    np.testing.assert_allclose(
        straight.obsm["predicted_response"], shuffled.obsm["predicted_response"], rtol=1e-4, atol=1e-4
    )


# ---------------------------------------------------------------------- the real tables


def test_the_real_tables_reproduce_the_published_labels(shared_data) -> None:
    reference = scdrug.datasets.mtigcn(path=shared_data / "mtigcn")
    assert reference.obsm["response"].shape == (940, 228)
    published = pd.read_csv(shared_data / "mtigcn" / "GDSC" / "cell_drug_binary.csv.gz", index_col=0)
    published.index = published.index.astype(str)
    labels = reference.obsm["response_binary"]
    expected = published.loc[reference.obs["cosmic_id"], reference.uns["drugs"].loc[labels.columns, "pubchem_cid"]]
    known = labels.notna().to_numpy()
    np.testing.assert_array_equal(labels.to_numpy()[known], expected.to_numpy()[known])
    names = set(reference.uns["drugs"]["name"])
    assert {"Dasatinib", "GSK690693"} <= names


def test_the_real_xenografts_are_labelled(shared_data) -> None:
    reference = scdrug.datasets.mtigcn(path=shared_data / "mtigcn")
    folder = shared_data / "mtigcn" / "PDX"
    expression = pd.read_parquet(shared_data / "pdx" / "pdx_expression.parquet").set_index("Model")
    breast = expression[expression["TumorType"] == "BRCA"].drop(columns="TumorType")
    xenografts = scdrug.datasets.mtigcn_patients(
        folder / "pdx_response.csv.gz", folder / "pdx_null_mask.csv.gz", breast, reference=reference
    )
    labels = xenografts.obsm["response_binary"]
    assert set(labels.columns) <= set(reference.uns["drugs"].index)
    assert labels.notna().to_numpy().sum() > 20
    assert set(np.unique(labels.to_numpy()[labels.notna().to_numpy()])) <= {0.0, 1.0}


IC50 = pd.DataFrame(
    {"Lapatinib": [0.1, 8.0, 8.0, 0.0, 6.0], "AEW541": [8.0, 0.0, 8.0, 1.0, 8.0]}, index=["A2058", "A549", "HCC827", "T47D", "PC3"]
)  # fmt: skip
CCLE_GENES = pd.DataFrame(np.random.default_rng(1).normal(size=(5, 6)), index=IC50.index, columns=GENES)


def test_zeros_of_ccle_are_missing_and_labels_follow_from_the_ic50() -> None:
    reference = scdrug.datasets.mtigcn_ccle(IC50, CCLE_GENES.iloc[::-1], smiles={"AEW541": "CCO"})
    table = reference.uns["drugs"]
    ids = pd.Series(table.index, index=table["name"])[IC50.columns]
    response = reference.obsm["response"].loc[IC50.index, ids]
    measured = IC50.where(IC50 > 0)
    np.testing.assert_allclose(response.to_numpy(), np.log(measured), rtol=1e-6)
    z = (measured - measured.mean()) / measured.std(ddof=0)
    expected = (z < -0.8).astype(float).where(measured.notna())
    np.testing.assert_array_equal(reference.obsm["response_binary"].loc[IC50.index, ids], expected)
    np.testing.assert_allclose(reference[["T47D"], GENES].X.ravel(), CCLE_GENES.loc["T47D"], rtol=1e-6)
    drugs = reference.uns["drugs"].set_index("name")
    assert drugs["smiles"].to_dict() == {"Lapatinib": "", "AEW541": "CCO"}
    np.testing.assert_allclose(
        np.exp(drugs.loc[IC50.columns, "threshold"]), measured.mean() - 0.8 * measured.std(ddof=0)
    )


def test_ccle_comes_from_files_and_trains_a_model(tmp_path) -> None:
    rng = np.random.default_rng(0)
    lines = [f"line{number}" for number in range(30)]
    ic50 = pd.DataFrame(rng.uniform(0.01, 8, size=(30, 4)), index=lines, columns=list("abcd"))
    ic50.iloc[::7, 0] = 0
    ic50.to_csv(tmp_path / "ic50.csv")
    pd.DataFrame(rng.normal(size=(30, 8)), index=lines).rename(columns="G{}".format).to_parquet(
        tmp_path / "rna.parquet"
    )
    reference = scdrug.datasets.mtigcn_ccle(tmp_path / "ic50.csv", tmp_path / "rna.parquet")
    scdrug.model.KernelRidge.setup_anndata(reference)
    model = scdrug.model.KernelRidge(reference, kernel="mean", couple_drugs=True)
    model.train()
    assert np.isfinite(model.predict(key_added=None).to_numpy()).all()


def test_lines_of_ccle_are_joined_whatever_their_spelling() -> None:
    plain = scdrug.datasets.mtigcn_ccle(IC50, CCLE_GENES)
    with pytest.warns(UserWarning, match="5 lines with response were joined"):
        other = scdrug.datasets.mtigcn_ccle(IC50.rename(index=lambda name: f"{name.lower()}_LUNG"), CCLE_GENES)
    pd.testing.assert_frame_equal(other.obsm["response"], plain.obsm["response"])


@pytest.mark.parametrize(
    ("ic50", "expression", "message"),
    [
        (-IC50, CCLE_GENES, "must not be negative"),
        (IC50.rename(index=lambda name: f"x{name}x"), CCLE_GENES, "No line has both"),
        (pd.concat([IC50, IC50]), CCLE_GENES, "named once"),
    ],
)
def test_tables_of_ccle_that_cannot_be_read_are_refused(ic50, expression, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        scdrug.datasets.mtigcn_ccle(ic50, expression)
