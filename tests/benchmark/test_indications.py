"""Approved drugs as a test of predictions: scores are those of pairs counted one by one, and baselines stand where they must."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from scdrug.benchmark import ModelSpec, make_splits, run, score_indications

MODELS = [ModelSpec("ridge", "KernelRidge"), ModelSpec("means", "AdditiveMean")]
APPROVED = {"trametinib": ["skin", "colon"], "paclitaxel": ["breast"], "erlotinib": ["lung"], "olaparib": ["breast"]}


@pytest.fixture(scope="module")
def results(screen, tmp_path_factory):
    splits = [make_splits(screen, "line", n_folds=3, seed=1), make_splits(screen, "pair", n_folds=2)]
    return run(screen, splits, MODELS, out=tmp_path_factory.mktemp("indications") / "out", progress=False)


def score(results, screen, approved=APPROVED, **options) -> pd.DataFrame:
    options = {"n_permutations": 50, "n_bootstrap": 50, **options}
    table = score_indications(results, screen, tumour_key="tissue", indications=approved, **options)
    return table.set_index(["model", "tumour_type"])


def by_hand(pairs: pd.DataFrame, column: str, tissue: pd.Series, drug: str, wanted: str) -> float:
    """Share of pairs of a line of a tissue and another one of its fold in which the first is lower; ties count half."""
    won = total = 0.0
    for _, fold in pairs[pairs["drug"] == drug].groupby("fold"):
        inside = (tissue[fold["line"]] == wanted).to_numpy()
        for value in fold.loc[inside, column]:
            others = fold.loc[~inside, column]
            won += (value < others).sum() + 0.5 * (value == others).sum()
            total += len(others)
    return won / total


def test_scores_are_those_of_pairs_counted_one_by_one(results, screen) -> None:
    table = score(results, screen)
    pairs = results.predictions("line", "ridge")
    for model, column in (("ridge", "predicted"), ("measured", "observed")):
        for tissue, drugs in {"skin": ["trametinib"], "breast": ["paclitaxel", "olaparib"]}.items():
            expected = np.mean([by_hand(pairs, column, screen.obs["tissue"], drug, tissue) for drug in drugs])
            assert table.loc[(model, tissue), "auroc"] == pytest.approx(expected)
            assert table.loc[(model, tissue), ["n_lines", "n_drugs"]].tolist() == [15, len(drugs)]
    of_types = table.loc["ridge"].drop("all types")
    assert table.loc[("ridge", "all types"), "auroc"] == pytest.approx(of_types["auroc"].mean())
    assert table.loc[("ridge", "all types"), "n_drugs"] == 4
    assert set(table["split"]) == {"line"}


def test_a_drug_mean_stands_at_chance_and_gains_nothing(results, screen) -> None:
    table = score(results, screen).loc["means"]
    for column in ("auroc", "line_mean", "chance"):
        assert np.allclose(table[column], 0.5)
    assert np.allclose(table["gain"], 0) and (table["p_value"] == 1).all()


def test_drugs_that_are_planted_for_a_tissue_are_found_in_what_was_measured(screen, tmp_path) -> None:
    planted = screen.copy()
    skin, response = planted.obs["tissue"] == "skin", planted.obsm["response"].copy()
    response.loc[skin, "trametinib"] -= 20.0
    planted.obsm["response"] = response
    split = make_splits(planted, "line", n_folds=2)
    results = run(planted, split, MODELS[1], out=tmp_path / "out", progress=False)
    found = score(results, planted, {"trametinib": ["skin"]}, n_permutations=200).loc[("measured", "skin")]
    assert found["auroc"] == 1.0
    assert found["percentile"] > 0.8
    assert found["chance"] < 0.9 and found["gain"] == pytest.approx(1.0 - found["chance"])
    assert found["p_value"] < 0.2  # one in twelve drugs at best
    wrong = score(results, planted, {"trametinib": ["breast"]}).loc[("measured", "breast")]
    assert wrong["auroc"] < 0.5


def test_a_tissue_that_responds_to_everything_gains_nothing_by_that(screen, tmp_path) -> None:
    frail = screen.copy()
    response = frail.obsm["response"].copy()
    response[frail.obs["tissue"] == "skin"] -= 12.0
    frail.obsm["response"] = response
    results = run(frail, make_splits(frail, "line", n_folds=2), MODELS[1], out=tmp_path / "out", progress=False)
    found = score(results, frail).loc[("measured", "skin")]
    assert found["auroc"] == found["line_mean"] == found["chance"] == 1.0
    assert found["gain"] == 0.0 and found["p_value"] == 1.0


def test_a_label_with_slashes_takes_the_indications_of_both(results, screen) -> None:
    both = screen.copy()
    both.obs["tissue"] = both.obs["tissue"].astype(str).replace({"colon": "colon/rectum"})
    table = score(results, both, {"trametinib": ["rectum"]})
    assert table.loc["ridge"].index.tolist() == ["all types", "colon/rectum"]


def test_indications_come_from_the_bundled_list_if_none_are_given(results, screen) -> None:
    codes = screen.copy()
    codes.obs["type"] = codes.obs["tissue"].map(
        {"skin": "SKCM", "breast": "BRCA", "lung": "LUAD", "colon": "COAD/READ"}
    )
    table = score_indications(results, codes, tumour_key="type", n_permutations=5, n_bootstrap=0)
    assert {"SKCM", "BRCA"} <= set(table["tumour_type"])
    assert table["gain"].notna().all() and table["low"].isna().all()


def test_what_cannot_be_scored_is_refused(results, screen, tmp_path) -> None:
    with pytest.raises(KeyError, match="tisue"):
        score_indications(results, screen, tumour_key="tisue", indications=APPROVED)
    with pytest.raises(ValueError, match="not among the ids of the reference: 'Trametinib'"):
        score(results, screen, {"Trametinib": ["skin"]})
    with pytest.raises(ValueError, match="No type of tumour has 5 held-out lines and an approved drug"):
        score(results, screen, {"trametinib": ["brain"]})
    pairs = run(screen, make_splits(screen, "pair", n_folds=2), MODELS[1], out=tmp_path / "out", progress=False)
    with pytest.raises(ValueError, match="holds lines out"):
        score(pairs, screen)
