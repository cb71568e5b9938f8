"""Evidence per drug: what each word takes, what is known of a drug, and whether a ranking turns it around."""

from __future__ import annotations

import anndata as ad
import numpy as np
import pandas as pd
import pytest

import scdrug

#: Names and lines, held-out r, agreement of releases, with NCI-60; and the word for it.
CASES = [
    ("Trametinib", 800, 0.60, 0.50, np.nan, "strong"),
    ("Erlotinib", 800, 0.60, np.nan, 0.45, "strong"),
    ("Lapatinib", 800, 0.60, 0.30, 0.90, "some"),  # the second release counts where there is one
    ("Dabrafenib", 800, 0.50, np.nan, np.nan, "some"),
    ("Vemurafenib", 800, 0.60, 0.10, np.nan, "weak"),  # what was measured was not measured again
    ("Cisplatin", 800, 0.35, 0.60, np.nan, "weak"),
    ("Compound 7", 800, 0.22, 0.60, np.nan, "none"),
    ("Compound 8", 800, np.nan, 0.60, np.nan, "unknown"),
]


@pytest.fixture
def judged(make_predicted) -> ad.AnnData:
    adata = make_predicted()
    stored = adata.uns["predicted_response"]["drugs"]
    columns = ["name", "n_lines", "held_out_r", "screen_r", "nci60_r"]
    table = pd.DataFrame([case[:5] for case in CASES], columns=columns, index=stored.index)
    adata.uns["predicted_response"]["drugs"] = stored.drop(columns="name").join(table)
    return adata


def test_each_word_takes_what_the_docs_say(judged) -> None:
    table = scdrug.get.drug_evidence_df(judged)
    assert table["evidence"].tolist() == [case[-1] for case in CASES]
    assert table.index.tolist() == judged.obsm["predicted_response"].columns.tolist()
    assert table.loc["alpha-1", ["n_lines", "held_out_r", "screen_r"]].tolist() == [800, 0.6, 0.5]
    assert (table["evidence"].iloc[0] == "strong") and (table["evidence"] >= "some").sum() == 4


@pytest.mark.parametrize(("n_lines", "word"), [(30, "weak"), (100, "strong")])
def test_a_correlation_over_few_lines_says_less(judged, n_lines, word) -> None:
    judged.uns["predicted_response"]["drugs"]["n_lines"] = n_lines
    low = np.tanh(np.arctanh(0.6) - 1.645 / np.sqrt(n_lines - 3))
    assert (low >= 0.4) == (word == "strong")
    assert scdrug.get.drug_evidence_df(judged)["evidence"].iloc[0] == word


def test_new_drugs_are_weak_at_best_and_nothing_where_they_resemble_no_other(judged) -> None:
    drugs = judged.uns["predicted_response"]["drugs"]
    new = drugs.index[:2]
    drugs.loc[new, ["n_lines", "held_out_r", "screen_r", "nci60_r"]] = np.nan
    drugs["nearest"], drugs["applicable"] = drugs["name"], True
    drugs.loc[new, "nearest"] = "Selumetinib; Lapatinib"
    drugs.loc[new[1], "applicable"] = False
    table = scdrug.get.drug_evidence_df(judged)
    assert table["evidence"].tolist()[:3] == ["weak", "none", "some"]
    assert table["applicable"].tolist()[:3] == [True, False, True]


def test_the_clinic_is_read_from_the_bundled_table(judged) -> None:
    table = scdrug.get.drug_evidence_df(judged, "Melanoma")
    assert table.loc["alpha-1", "indications"] == "LGG, SKCM"
    assert table.loc["alpha-1", "phase"] == 4  # stated
    assert table.loc["beta-2", "phase"] == 4  # since it is indicated
    assert table["indicated"].tolist() == ["SKCM" in text.split(", ") for text in table["indications"]]
    assert table["indicated"].sum() >= 3
    unheard = table.loc["eta"]
    assert np.isnan(unheard["phase"]) and unheard["indications"] == "" and not unheard["indicated"]
    assert table.loc["alpha-1", "targets"] == "X"  # what the model was trained with
    assert table.loc["gamma-c", "pathway"] != ""  # not known to the model


def test_codes_of_a_screen_and_words_name_the_same_tumours(judged) -> None:
    by_word = scdrug.get.drug_evidence_df(judged, "colorectal cancer")["indicated"]
    assert scdrug.get.drug_evidence_df(judged, "COAD/READ")["indicated"].equals(by_word)
    assert "indicated" not in scdrug.get.drug_evidence_df(judged)


def test_unknown_tumours_and_those_that_the_list_leaves_out_are_refused(judged) -> None:
    with pytest.raises(ValueError, match="melanoma"):
        scdrug.get.drug_evidence_df(judged, "melanom of the skn")
    with pytest.raises(ValueError, match="BRCA"):
        scdrug.get.drug_evidence_df(judged, "BRCAA")
    with pytest.raises(ValueError, match="says nothing of ACC"):
        scdrug.get.drug_evidence_df(judged, "adrenocortical carcinoma")


def test_predictions_of_earlier_versions_have_unknown_evidence(make_predicted) -> None:
    adata = make_predicted()
    assert set(scdrug.get.drug_evidence_df(adata)["evidence"]) == {"unknown"}
    scdrug.tl.rank_drugs(adata, "group", sample_key="donor")
    table = scdrug.get.rank_drugs_df(adata)
    assert set(table["evidence"]) == {"unknown"} and not table["outranks_better"].any()
    stored = adata.uns["rank_drugs"]["table"]
    adata.uns["rank_drugs"]["table"] = stored.drop(columns=["evidence", "phase", "outranks_better"])
    assert "evidence" not in scdrug.get.rank_drugs_df(adata)


def test_a_ranking_says_which_drugs_stand_above_better_ones(judged, tmp_path) -> None:
    # two drugs of which one is the other, a little less: weak evidence stands above strong evidence
    for values in (judged.obsm["predicted_response"], judged.obsm["response_percentile"]):
        values["epsilon"] = values["gamma-c"]
        values["alpha-1"] = values["gamma-c"] * np.float32(0.95)
    scdrug.tl.rank_drugs(judged, "group", sample_key="donor")
    table = scdrug.get.rank_drugs_df(judged)
    tumour = table[table["group"] == "tumour"].set_index("drug")["outranks_better"]
    assert tumour["epsilon"] and tumour["gamma-c"] and not tumour["alpha-1"]
    known = scdrug.get.drug_evidence_df(judged)
    assert table["evidence"].astype(str).tolist() == known.loc[table["drug"], "evidence"].astype(str).tolist()
    for _, rows in table.groupby("group", observed=True):
        for place, row in enumerate(rows.itertuples()):
            below = rows.iloc[place + 1 :]
            better = (below["score"] >= 0.9 * row.score) & (below["evidence"] > row.evidence)
            assert row.outranks_better == (row.score > 0 and row.evidence != "unknown" and better.any())
    judged.write_h5ad(tmp_path / "ranked.h5ad")
    pd.testing.assert_frame_equal(scdrug.get.rank_drugs_df(ad.read_h5ad(tmp_path / "ranked.h5ad")), table)


def test_a_further_list_fills_phases_by_any_name_and_the_higher_one_counts(judged) -> None:
    before = scdrug.get.drug_evidence_df(judged)["phase"]
    further = pd.DataFrame(
        {"name": ["GSK1120212", "x", "Vemurafenib"], "synonyms": ["", "compound-7", ""], "phase": [1.0, 2.0, np.nan]}
    )
    found = scdrug.get.drug_evidence_df(judged, phases=further)["phase"]
    by_name = dict(zip([case[0] for case in CASES], found, strict=True))
    assert by_name["Compound 7"] == 2 and by_name["Trametinib"] == 4 and by_name["Vemurafenib"] == 4
    assert found[before.notna()].equals(before[before.notna()]) and np.isnan(by_name["Compound 8"])
    with pytest.raises(ValueError, match="must hold phases from 0 to 4, or nothing; found '?5"):
        scdrug.get.drug_evidence_df(judged, phases=further.assign(phase=[1, 5, 0]))
    with pytest.raises(ValueError, match="must have the columns 'name' and 'phase'"):
        scdrug.get.drug_evidence_df(judged, phases=further[["name"]])
