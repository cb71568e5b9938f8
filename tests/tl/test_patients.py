"""Patients: tables of the user, cohorts that are harmonized alone, and one-sided tests with FDR."""

from __future__ import annotations

import anndata as ad
import matplotlib
import numpy as np
import pandas as pd
import pytest
from scipy import stats

from scdrug import datasets, get, model, pl, tl

matplotlib.use("agg")


@pytest.fixture(scope="module")
def reference() -> ad.AnnData:
    return datasets.toy(n_lines=80)


@pytest.fixture(scope="module")
def ridge(reference: ad.AnnData):
    adata = reference.copy()
    model.KernelRidge.setup_anndata(adata)
    ridge = model.KernelRidge(adata)
    ridge.train()
    return ridge


@pytest.fixture
def patients() -> ad.AnnData:
    """Tumours of two cohorts on another platform, with responses that follow the truth."""
    source = datasets.toy(n_lines=200, seed=0)[100:].copy()
    rng = np.random.default_rng(1)
    platform = rng.normal(size=source.n_vars)
    cohort = np.arange(100) % 2
    source.X = source.X + platform + 0.7 * cohort[:, None] * rng.normal(size=source.n_vars)
    source.obs["cohort"] = np.array(["LUAD", "BRCA"], dtype=object)[cohort]
    effect = source.obsm["true_pathway_activity"] @ source.uns["truth"].T
    outcome = (effect < effect.median()).astype(float)
    source.obsm["clinical_response"] = outcome[["trametinib", "paclitaxel"]]
    del source.obsm["response"]
    return source


@pytest.mark.parametrize("harmonize", ["cohort", "combat"])
def test_responders_are_predicted_to_be_sensitive(patients, reference, ridge, harmonize: str) -> None:
    tl.predict_patients(patients, ridge, harmonize=harmonize, reference=reference, drugs=["trametinib", "paclitaxel"])
    assert patients.obsm["predicted_response"].shape == (100, 2)
    assert patients.uns["predicted_response"]["harmonize"] == harmonize
    tl.compare_responders(patients)
    table = get.compare_responders_df(patients)
    assert (table["auroc"] > 0.7).all()
    assert (table["difference"] < 0).all()
    assert (table["fdr"] < 0.01).all()
    row = table.loc["trametinib"]
    values = patients.obsm["predicted_response"]["trametinib"].to_numpy(float)
    yes = patients.obsm["clinical_response"]["trametinib"].to_numpy() == 1
    assert row["p_value"] == pytest.approx(
        stats.ttest_ind(values[yes], values[~yes], equal_var=False, alternative="less").pvalue
    )
    np.testing.assert_allclose(table["fdr"], stats.false_discovery_control(table["p_value"]))
    assert len(pl.compare_responders(patients).get_yticklabels()) == 2
    matplotlib.pyplot.close("all")


def test_a_cohort_is_predicted_as_if_it_were_alone(patients, ridge) -> None:
    tl.predict_patients(patients, ridge)
    alone = patients[patients.obs["cohort"] == "LUAD"].copy()
    expected = patients.obsm["predicted_response"].loc[alone.obs_names]
    tl.predict_patients(alone, ridge)
    pd.testing.assert_frame_equal(alone.obsm["predicted_response"], expected, rtol=1e-4, atol=1e-4)


def test_combat_gives_the_cohort_the_reference_s_mean_and_spread_of_each_gene(patients, reference, ridge) -> None:
    from scdrug.tl._patients import _combat

    part = patients[patients.obs["cohort"] == "BRCA"].copy()
    placed = _combat(part, reference, ridge, None, "auto")
    lines = np.asarray(reference[:, placed.var_names].X)
    assert np.abs(placed.X.mean(axis=0) - lines.mean(axis=0)).mean() < 0.1
    ratio = placed.X.std(axis=0) / lines.std(axis=0)
    assert 0.8 < np.median(ratio) < 1.25


def test_chance_gives_no_discoveries_and_cohort_means_can_be_taken_out(patients, ridge) -> None:
    tl.predict_patients(patients, ridge)
    confounded = patients.copy()
    confounded.obsm["predicted_response"] = patients.obsm["predicted_response"].copy()
    cohort = (patients.obs["cohort"] == "LUAD").to_numpy()
    confounded.obsm["predicted_response"]["trametinib"] = np.where(cohort, -5.0, 5.0) + np.random.default_rng(0).normal(
        size=100
    )
    rate = np.where(cohort, 0.8, 0.2) > np.random.default_rng(1).random(100)
    confounded.obsm["clinical_response"] = pd.DataFrame({"trametinib": rate.astype(float)}, index=patients.obs_names)
    tl.compare_responders(confounded)
    assert confounded.uns["responders"]["table"].loc["trametinib", "p_value"] < 1e-3
    tl.compare_responders(confounded, cohort_key="cohort")
    assert confounded.uns["responders"]["table"].loc["trametinib", "p_value"] > 0.01


def test_patients_that_cannot_be_used_are_refused_with_the_reason(patients, ridge) -> None:
    with pytest.raises(ValueError, match="pass the model's training data"):
        tl.predict_patients(patients, ridge, harmonize="combat")
    small = patients.copy()
    small.obs["cohort"] = ["one", *["rest"] * 99]
    with pytest.raises(ValueError, match="fewer than 3 patients cannot be harmonized: 'one'"):
        tl.predict_patients(small, ridge)
    with pytest.raises(KeyError, match="predict_patients"):
        tl.compare_responders(patients)
    tl.predict_patients(patients, ridge)
    with pytest.raises(ValueError, match="more than 60 responders"):
        tl.compare_responders(patients, min_patients=60)


def test_tables_of_patients_are_read_in_the_words_of_clinics(tmp_path) -> None:
    expression = pd.DataFrame({"patient": ["p1", "p2", "p3"], "EGFR": [1.0, 2.0, 3.0], "KRAS": [4.0, 5.0, 6.0]})
    response = pd.DataFrame(
        [
            ("p1", "Drug/X", "Stable Disease", "LUAD"),
            ("p1", "Drug/X", "Partial Response", "LUAD"),
            ("p2", "Drug/X", "Clinical Progressive Disease", "BRCA"),
            ("p2", "Y", 1, "BRCA"),
            ("p9", "Y", "CR", "BRCA"),
        ],
        columns=["patient", "drug", "response", "cohort"],
    )
    expression.to_csv(tmp_path / "expression.tsv.gz", sep="\t", index=False)
    response.to_csv(tmp_path / "response.csv", index=False)
    adata = datasets.read_patients(tmp_path / "expression.tsv.gz", tmp_path / "response.csv")
    assert list(adata.obs_names) == ["p1", "p2"]
    assert list(adata.obs["cohort"]) == ["LUAD", "BRCA"]
    np.testing.assert_array_equal(adata.obsm["clinical_response"], [[1, np.nan], [0, 1]])
    assert list(adata.uns["clinical_drugs"]["name"]) == ["Drug/X", "Y"]
    np.testing.assert_array_equal(adata.X, [[1, 4], [2, 5]])
    with pytest.raises(ValueError, match="cannot be read: 'better'"):
        datasets.read_patients(expression.set_index("patient"), response.assign(response="better"))
    with pytest.raises(ValueError, match="No patient of `response`"):
        datasets.read_patients(expression.set_index("patient"), response.assign(patient="q"))
    with pytest.raises(KeyError, match="cohort"):
        datasets.read_patients(expression.set_index("patient"), response.drop(columns="cohort"))
    with pytest.raises(FileNotFoundError):
        datasets.read_patients(tmp_path / "none.csv", response)


def test_results_of_version_0_1_are_read_and_replaced(patients, ridge) -> None:
    tl.predict_patients(patients, ridge)
    tl.compare_responders(patients)
    table = patients.uns["responders"]["table"]
    patients.uns["responders"], patients.uns["responders_params"] = table, {"min_patients": 10}
    assert get.compare_responders_df(patients).equals(table)
    assert pl.compare_responders(patients) is not None
    tl.compare_responders(patients)
    assert set(patients.uns["responders"]) == {"table", "params", "stored_in"}
    assert "responders_params" not in patients.uns


@pytest.fixture
def tumours() -> ad.AnnData:
    return datasets.toy_cells(n_cells=240)


CLONES = ["clone-a", "clone-b"]


def test_a_patient_is_the_weighted_mean_of_the_clones_beside_the_least_sensitive_one(tumours, ridge) -> None:
    tumours = tumours[(tumours.obs["clone"] != "clone-b") | (np.arange(240) % 2 == 0)].copy()
    tl.predict_patients(tumours, ridge, sample_key="sample", groupby="clone", groups=CLONES, min_cells=3)
    table = get.predict_patients_df(tumours)
    assert len(table) == 3 * len(ridge.drugs)
    cells = tumours.obs.assign(
        response=tumours.obsm["predicted_response"]["trametinib"].astype(float),
        percentile=tumours.obsm["response_percentile"]["trametinib"].astype(float),
    )
    cells = cells[cells["clone"].isin(CLONES)]
    for patient, part in cells.groupby(cells["sample"].astype(str)):
        row = table[(table["patient"] == patient) & (table["drug"] == "trametinib")].iloc[0]
        clones = part.groupby(part["clone"].astype(str))[["response", "percentile"]].mean()
        assert row["response"] == pytest.approx(part["response"].mean(), rel=1e-5)
        assert row["percentile"] == pytest.approx(part["percentile"].mean(), rel=1e-5)
        assert row["percentile_worst"] == pytest.approx(clones["percentile"].min(), rel=1e-5)
        assert row["worst_clone"] == clones["percentile"].idxmin() == "clone-b"
        assert row["response_worst"] == pytest.approx(clones.loc["clone-b", "response"], rel=1e-5)
        assert row["share_worst"] == pytest.approx((part["clone"] == "clone-b").mean())
        assert (row["n_clones"], row["n_cells"]) == (2, len(part))


def test_cells_of_patients_are_predicted_as_one_cohort(tumours, ridge) -> None:
    expected = tl.predict_response(tumours, ridge, copy=True).obsm["predicted_response"]
    tl.predict_patients(tumours, ridge, sample_key="sample", groupby="clone", groups=CLONES, key_added="mine")
    pd.testing.assert_frame_equal(tumours.obsm["mine"], expected, rtol=1e-5)
    assert len(get.predict_patients_df(tumours, key="mine_patients")) == 3 * len(ridge.drugs)


def test_patients_without_clones_and_clones_of_few_cells_are_said(tumours, ridge) -> None:
    with pytest.warns(UserWarning, match="the worst clone is the mean"):
        tl.predict_patients(tumours, ridge, sample_key="sample")
    table = get.predict_patients_df(tumours)
    np.testing.assert_allclose(table["percentile"], table["percentile_worst"])
    rare = (tumours.obs["clone"] == "clone-a") & (tumours.obs["sample"] == "patient-1")
    fewer = tumours[~rare | (rare.cumsum() <= 4)].copy()
    with pytest.warns(UserWarning, match=r"Left out 1 clones .* 4 cells in all: 'clone-a of patient-1 \(4\)'"):
        tl.predict_patients(fewer, ridge, sample_key="sample", groupby="clone", groups=CLONES)
    table = get.predict_patients_df(fewer)
    assert set(table.loc[table["patient"] == "patient-1", "worst_clone"]) == {"clone-b"}


@pytest.mark.parametrize(
    ("kwargs", "error", "match"),
    [
        ({"groupby": "clone"}, ValueError, "name the column of patients as `sample_key`"),
        ({"sample_key": "sample", "groupby": "sample"}, ValueError, "not a clone of itself"),
        ({"sample_key": "sample", "groupby": "clone", "min_cells": 900}, ValueError, "No clone has 900 cells"),
        ({"sample_key": "sample", "groupby": "clone", "groups": "clone-x"}, KeyError, "no group 'clone-x'"),
        ({}, KeyError, "cohort"),
    ],
)
def test_patients_that_cannot_be_scored_are_said_and_nothing_is_stored(tumours, ridge, kwargs, error, match) -> None:
    with pytest.raises(error, match=match):
        tl.predict_patients(tumours, ridge, **kwargs)
    assert "predicted_response" not in tumours.obsm
    assert not {"predicted_response", "patient_response"} & set(tumours.uns)
