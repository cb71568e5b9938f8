"""Combinations over clones: the arithmetic of independence, the best of all sets, and what is refused."""

from __future__ import annotations

import warnings
from itertools import combinations

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import scdrug
from scdrug.tl._combine import Problem, best_sets, fewest_drugs


@pytest.fixture
def tumour(make_predicted) -> ad.AnnData:
    """Three groups, drugs with targets of their own."""
    adata = make_predicted()
    adata.uns["predicted_response"]["drugs"]["targets"] = [f"T{i}" for i in range(8)]
    return adata


def suggest(adata: ad.AnnData, **kwargs) -> pd.DataFrame:
    scdrug.tl.suggest_combinations(
        adata, "group", **({"normal": "normal", "distinct": (), "min_percentile": 0.0} | kwargs)
    )
    return scdrug.get.suggest_combinations_df(adata)


def kills(adata: ad.AnnData, bound: str = "response") -> pd.DataFrame:
    """Kill of each group by each drug at the median of the lines, which is 0."""
    used = scdrug.get.group_response_df(adata, "group").pivot(index="group", columns="drug", values=bound)
    return 1 / (1 + np.exp(used.astype(float)))


def test_kill_at_the_median_is_that_of_cadrres_sc(tumour):
    suggest(tumour)
    found = scdrug.get.suggest_combinations_df(tumour, by_group=True)
    single = found[found["n_drugs"] == 1].drop_duplicates(["drugs", "group"])
    mean = scdrug.get.group_response_df(tumour, "group").set_index(["drug", "group"])["response"]
    log2_ic50 = mean.loc[pd.MultiIndex.from_frame(single[["drugs", "group"]])].to_numpy() / np.log(2)
    median = tumour.uns["predicted_response"]["line_quantiles"]["0.50"].iloc[0] / np.log(2)
    np.testing.assert_allclose(100 * single["kill"], 100 / (1 + 2 ** (log2_ic50 - median)), rtol=1e-5)


def test_drugs_of_a_combination_multiply(tumour):
    suggest(tumour, k=3)
    found = scdrug.get.suggest_combinations_df(tumour, by_group=True)
    for (_, _), part in found.groupby(["rank", "group"]):
        for column in ("kill", "lower", "upper"):
            whole, single = part.loc[part["n_drugs"] == 3, column], part.loc[part["n_drugs"] == 1, column]
            assert whole.iloc[0] == pytest.approx(1 - np.prod(1 - single))
        assert part["lower"].le(part["kill"]).all()
        assert part["kill"].le(part["upper"]).all()


def test_the_best_pair_is_that_of_all_pairs(tumour):
    found = suggest(tumour, n_combinations=28)
    lower = kills(tumour, "upper").loc[["tumour", "T/B cells"]]
    worst = {
        " + ".join(sorted(pair)): (1 - (1 - lower[list(pair)]).prod(axis=1)).min() for pair in combinations(lower, 2)
    }
    assert len(found) == 28
    expected = found["drugs"].map(lambda text: worst[" + ".join(sorted(text.split(" + ")))])
    np.testing.assert_allclose(found["worst_lower"], expected, rtol=1e-5)
    assert found["worst_lower"].iloc[0] == pytest.approx(max(worst.values()))
    assert found["worst_lower"].is_monotonic_decreasing


def test_gains_count_from_the_best_single_drug_and_from_independent_action(tumour):
    found = suggest(tumour, n_combinations=28)
    lower = kills(tumour, "upper").loc[["tumour", "T/B cells"]]
    for _, row in found.iterrows():
        own = lower[row["drugs"].split(" + ")]
        assert row["best_single_lower"] == pytest.approx(own.min().max(), rel=1e-5)
        assert row["null_lower"] == pytest.approx(own.max(axis=1).min(), rel=1e-5)
        assert row["gain"] == pytest.approx(row["worst_lower"] - row["best_single_lower"])
    assert (found["worst_lower"] >= found["null_lower"]).all()
    assert (found["null_lower"] >= found["best_single_lower"]).all()


def test_drugs_of_one_class_or_target_are_not_combined(tumour):
    drugs = tumour.uns["predicted_response"]["drugs"]
    drugs.loc["alpha-1", "targets"], drugs.loc["gamma-c", "targets"] = "EGFR, ERBB2", "erbb2"
    found = suggest(tumour, distinct=("target", "pathway"), n_combinations=28)
    pairs = {frozenset(text.split(" + ")) for text in found["drugs"]}
    assert frozenset({"alpha-1", "gamma-c"}) not in pairs  # both ERBB2
    assert frozenset({"alpha-1", "delta"}) not in pairs  # both MAPK
    assert frozenset({"gamma-c", "eta"}) in pairs  # of no pathway, which is no class
    assert len(pairs) == 28 - 3


def test_concentrations_are_taken_in_their_unit_and_kill_more_the_higher(tumour):
    doses = {"Alpha-1": 1.0, "beta-2": 2.0, "gamma-c": 0.5}
    with pytest.warns(UserWarning, match="Left out 5 drugs that `concentrations` does not name"):
        low = suggest(tumour, concentrations=doses)
    table = pd.DataFrame({"drug": list(doses), "concentration": [1000 * value for value in doses.values()]})
    with pytest.warns(UserWarning, match="Left out 5 drugs"):
        same = suggest(tumour, concentrations=table, concentration_unit="nM")
    pd.testing.assert_frame_equal(low, same)
    with pytest.warns(UserWarning, match="Left out 5 drugs"):
        high = suggest(tumour, concentrations={name: 2 * value for name, value in doses.items()}, hill={"alpha-1": 1.0})
    together = low.set_index("drugs").join(high.set_index("drugs"), rsuffix="_high")
    assert (together["worst_high"] > together["worst"]).all()
    assert tumour.uns["combinations"]["params"]["concentrations"] == "given"


def test_concentrations_beyond_what_was_tested_are_capped_and_said(tumour):
    with pytest.warns(
        UserWarning, match="concentration of 1 drugs .* beyond the doses that were tested: it is capped.*Gamma C"
    ):
        suggest(tumour, max_dose={"gamma-c": 0.1, "delta": 100.0}, n_combinations=28)
    doses = tumour.uns["combinations"]["doses"]
    assert doses.loc["gamma-c", "concentration"] == pytest.approx(0.1)
    assert doses["capped"].sum() == 1
    pd.testing.assert_frame_equal(scdrug.get.doses_df(tumour), doses)
    assert doses["max_dose"].dropna().round(6).to_dict() == {"gamma-c": 0.1, "delta": 100.0}
    found = scdrug.get.suggest_combinations_df(tumour)
    with_capped = found["drugs"].str.contains("gamma-c")
    assert (found.loc[with_capped, "n_beyond"] > 0).all()
    assert (found.loc[~with_capped, "n_beyond"] == 0).all()


def test_doses_that_a_model_knows_are_used_and_unknown_ones_are_not_counted(tumour):
    assert suggest(tumour)["n_beyond"].isna().all()
    assert tumour.uns["combinations"]["params"]["tested_doses"] == "not known"
    tumour.uns["predicted_response"]["drugs"]["max_dose"] = [0.1, *[np.nan] * 7]
    with pytest.warns(UserWarning, match="capped at the highest one, for example 'Alpha-1'"):
        suggest(tumour)
    assert scdrug.get.doses_df(tumour).loc["alpha-1", "concentration"] == pytest.approx(0.1)


def test_drugs_without_evidence_are_left_out_by_name(tumour):
    drugs = tumour.uns["predicted_response"]["drugs"]
    drugs["n_lines"], drugs["held_out_r"] = 800, [0.1, 0.3, 0.6, 0.6, 0.6, 0.6, 0.6, np.nan]
    assert scdrug.get.drug_evidence_df(tumour)["evidence"].tolist()[:3] == ["none", "weak", "some"]
    with pytest.warns(UserWarning, match="Left out 1 drugs whose evidence is below 'weak': 'Alpha-1'"):
        found = suggest(tumour, n_combinations=28)
    used = set(" + ".join(found["drugs"]).split(" + "))
    assert used == set(drugs.index) - {"alpha-1"}  # nothing is known of theta, and nothing speaks against it
    assert list(tumour.uns["combinations"]["params"]["left_out_evidence"]) == ["alpha-1"]
    with pytest.warns(UserWarning, match="Left out 2 drugs whose evidence is below 'some'"):
        suggest(tumour, min_evidence="some")
    assert len(suggest(tumour, min_evidence="none", n_combinations=28)) == 28


@pytest.mark.parametrize("normal", ["normal", ["normal", "T/B cells"]])
def test_normal_cells_are_spared_where_asked(tumour, normal):
    tumour = tumour[(tumour.obs["group"] != "normal") | (np.arange(tumour.n_obs) % 2 == 0)].copy()
    every = suggest(tumour, n_combinations=28, normal=normal)
    limit = float(every["normal"].median())
    spared = suggest(tumour, n_combinations=28, normal=normal, max_normal=limit)
    assert set(spared["drugs"]) == set(every.loc[every["normal"] <= limit, "drugs"])


def test_a_line_in_the_middle_of_the_screen_stands_beside_the_clones(tumour):
    np.testing.assert_allclose(suggest(tumour)["median_line"], 0.75, rtol=1e-5)
    doses = dict.fromkeys(tumour.obsm["predicted_response"], 3.0)
    np.testing.assert_allclose(suggest(tumour, concentrations=doses)["median_line"], 1 - 0.25**2, rtol=1e-5)


def test_at_the_median_of_the_screen_a_drug_must_act_on_a_clone(tumour):
    for drug in ("alpha-1", "eta"):
        tumour.obsm["response_percentile"].loc[tumour.obs["group"] == "T/B cells", drug] = 0.8
    found = suggest(tumour, min_percentile=None, n_combinations=28)
    assert set(found["drugs"]) == {"alpha-1 + gamma-c", "alpha-1 + eta", "gamma-c + eta"}
    doses = dict.fromkeys(tumour.obsm["predicted_response"], 1.0)
    assert len(suggest(tumour, min_percentile=None, n_combinations=28, concentrations=doses)) == 28


@pytest.mark.parametrize("suffix", ["h5ad", "zarr"])
def test_what_is_stored_survives_a_file(tumour, tmp_path, suffix):
    del tumour.obsm["X_umap"]
    scdrug.tl.therapeutic_window(tumour, ["tumour"], "normal", groupby="group", sample_key="donor")
    suggest(tumour, objective="cover", k=4, max_normal=0.95)
    path = tmp_path / f"cells.{suffix}"
    tumour.write_h5ad(path) if suffix == "h5ad" else tumour.write_zarr(path)
    read = ad.read_h5ad(path) if suffix == "h5ad" else ad.read_zarr(path)
    for table, by in (
        (scdrug.get.suggest_combinations_df, "by_group"),
        (scdrug.get.therapeutic_window_df, "by_sample"),
    ):
        for part in (False, True):
            pd.testing.assert_frame_equal(
                table(read, **{by: part}), table(tumour, **{by: part}), check_dtype=False, check_index_type=False
            )
    suggest(read)  # replaces what scdrug stored


def test_refused_clones_are_left_out_and_one_clone_is_said(tumour):
    tumour.obs.loc[tumour.obs["group"] == "T/B cells", "response_reliability"] = 0.0
    tumour.obs.loc[tumour.obs["group"] == "normal", "response_reliability"] = 0.0
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        suggest(tumour)
    text = " ".join(str(warning.message) for warning in caught)
    for part in ("T/B cells (0.00)", "no measure of safety", "There is one clone, 'tumour'"):
        assert part in text
    assert all(warning.filename == __file__ for warning in caught)
    assert scdrug.get.suggest_combinations_df(tumour)["worst_group"].unique().tolist() == ["tumour"]


def test_without_intervals_the_estimate_decides(tumour):
    tumour.uns["predicted_response"]["half_width"][:] = np.nan
    with pytest.warns(UserWarning, match="states no interval"):
        found = suggest(tumour, n_combinations=28)
    np.testing.assert_allclose(found["worst_lower"], found["worst"])


def test_cover_takes_the_fewest_drugs(tumour):
    found = suggest(tumour, objective="cover", k=4, min_covered=0.9, max_normal=0.95).iloc[0]
    hits = tumour.obsm["predicted_response"].astype(float) <= 0
    normal = tumour.obs["group"] == "normal"
    chosen = hits[found["drugs"].split(" + ")].any(axis=1)
    assert found["covered"] == pytest.approx(chosen[~normal].mean())
    assert found["covered_normal"] == pytest.approx(chosen[normal].mean())
    smaller = [hits[list(drugs)].any(axis=1) for drugs in combinations(hits, int(found["n_drugs"]) - 1)]
    assert not any(hit[~normal].mean() >= 0.9 and hit[normal].mean() <= 0.95 for hit in smaller)


@pytest.mark.parametrize(
    ("kwargs", "error", "match"),
    [
        ({"k": 5}, ValueError, "2 to 4; found 5"),
        (
            {"k": 3, "exclude": ["alpha-1", "Beta/2", "gamma-c", "delta", "epsilon", "eta"]},
            ValueError,
            "`k=3`, but 2 drugs are left",
        ),
        (
            {"min_percentile": None},
            ValueError,
            r"1 drugs are left to combine \(8 .*; 7 more reach `min_percentile` in no clone",
        ),
        ({"exclude": "nothing"}, KeyError, "nothing"),
        ({"concentrations": {"delta": -1.0, "eta": 1.0}}, ValueError, "positive numbers by drug; found 'delta: -1.0'"),
        ({"concentrations": {"delta": 2e6, "eta": 1.0}}, ValueError, "which no drug reaches.*concentration_unit='nM'"),
        (
            {"concentrations": {"delta": 1.0}, "concentration_unit": "ng/ml"},
            ValueError,
            "`concentration_unit` must be one of",
        ),
        ({"concentrations": {}}, ValueError, "`concentrations` is empty"),
        ({"groups": "tumour", "normal": "tumour"}, ValueError, "both in `groups` and `normal`"),
        ({"normal": None, "max_normal": 0.1}, ValueError, "name their groups as `normal`"),
        ({"max_normal": 0.0}, ValueError, "kills more than 0% of the normal cells"),
        (
            {"objective": "cover", "min_covered": 1.0, "max_normal": 0.0},
            ValueError,
            "No 2 or fewer of 8 drugs hit 100%",
        ),
        ({"min_cells": 500}, ValueError, "No clone of .* has 500 cells"),
        ({"distinct": "target"}, ValueError, "share a target or pathway"),
        ({"hill": 0.0}, ValueError, "`hill` must be positive"),
        ({"min_evidence": "good"}, ValueError, "`min_evidence` must be one of 'none'"),
    ],
)
def test_what_cannot_be_suggested_is_said_and_nothing_is_stored(tumour, kwargs, error, match):
    if kwargs.get("distinct"):
        tumour.uns["predicted_response"]["drugs"]["targets"] = "X"
    with pytest.raises(error, match=match):
        suggest(tumour, **kwargs)
    assert "combinations" not in tumour.uns


def test_responses_without_a_dose_are_refused(tumour):
    tumour.uns["predicted_response"] |= {"measure": "AUC", "unit": "fraction"}
    with pytest.raises(ValueError, match="has no dose to reckon with.*gdsc-ridge"):
        suggest(tumour)
    del tumour.uns["predicted_response"]["line_quantiles"]
    tumour.uns["predicted_response"] |= {"measure": "ln_IC50", "unit": "ln(µM)"}
    with pytest.raises(ValueError, match="Pass `concentrations`"):
        suggest(tumour)


def test_other_logarithms_and_units_give_the_same_kills(tumour):
    expected = suggest(tumour)
    adata = tumour.copy()
    stored = adata.uns["predicted_response"]
    to_pic50 = lambda values: 6 - values / np.log(10)
    adata.obsm["predicted_response"] = to_pic50(adata.obsm["predicted_response"])
    lines = stored["line_quantiles"]
    stored["line_quantiles"] = to_pic50(lines).iloc[:, ::-1].set_axis(lines.columns, axis=1)
    stored["half_width"] = stored["half_width"] / np.float32(np.log(10))
    stored |= {"measure": "pIC50", "unit": "-log10(M)", "direction": "higher is more sensitive"}
    pd.testing.assert_frame_equal(suggest(adata), expected, rtol=1e-4)


def _problem(n_clones: int, n_drugs: int, seed: int, conflicts: float = 0.1) -> Problem:
    rng = np.random.default_rng(seed)
    allowed = rng.random((n_drugs, n_drugs)) >= conflicts
    weights = rng.dirichlet(np.ones(n_clones))
    return Problem(np.log1p(-rng.beta(1, 3, (n_clones, n_drugs))), allowed & allowed.T, weights)


def test_where_not_all_sets_are_looked_at_the_best_is_found_all_the_same():
    for seed in range(3):
        problem = _problem(6, 126, seed)  # 325,500 triples
        every = np.array(list(combinations(range(126), 3)))
        found, is_exact = best_sets(problem, 3, 5)
        assert not is_exact
        scores = problem.scores(found)
        assert scores[0] == pytest.approx(problem.scores(every).max(), rel=0.02)
        assert (np.diff(scores) <= 0).all()
        assert problem.admits(found).all()


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), k=st.integers(2, 4), n_clones=st.integers(1, 4))
def test_the_best_set_is_that_of_a_loop(seed: int, k: int, n_clones: int):
    problem = _problem(n_clones, 9, seed)
    found, is_exact = best_sets(problem, k, 1)
    assert is_exact
    best = -1.0
    for chosen in combinations(range(9), k):
        if all(problem.allowed[a, b] for a, b in combinations(chosen, 2)):
            best = max(best, 1 - np.exp(problem.survival[:, list(chosen)].sum(axis=1)).max())
    assert len(found) == (best >= 0)
    if best >= 0:
        assert 1 - np.exp(problem.survival[:, found[0]].sum(axis=1)).max() == pytest.approx(best, abs=2e-5)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000), max_normal=st.sampled_from([0.1, 0.3, 0.6]))
def test_a_cover_is_the_smallest_of_all_sets(seed: int, max_normal: float):
    rng = np.random.default_rng(seed)
    hits, normal = rng.random((20, 8)) < 0.45, rng.random((12, 8)) < 0.2
    exclusive = [np.array([0, 1, 2])]
    found = fewest_drugs(hits, normal, min_covered=0.8, max_normal=max_normal, k=4, exclusive=exclusive)
    sizes = [
        size
        for size in range(1, 5)
        for chosen in map(list, combinations(range(8), size))
        if hits[:, chosen].any(axis=1).mean() >= 0.8
        and normal[:, chosen].any(axis=1).mean() <= max_normal
        and len(set(chosen) & {0, 1, 2}) <= 1
    ]
    assert (found is None) == (not sizes)
    if sizes:
        assert len(found) == min(sizes)
        assert hits[:, found].any(axis=1).mean() >= 0.8
        assert normal[:, found].any(axis=1).mean() <= max_normal
