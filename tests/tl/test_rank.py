"""rank_drugs on stored predictions: what comes first, what is stored, and what is refused."""

from __future__ import annotations

import warnings

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy import stats

import scdrug

OVER_CELLS = "ignore:p-values describe how well the cells"


def rank(adata: ad.AnnData, groupby: str = "group", **kwargs) -> pd.DataFrame:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="p-values describe")
        scdrug.tl.rank_drugs(adata, groupby, **kwargs)
    return adata.uns[kwargs.get("key_added", "rank_drugs")]["table"]


def row(table: pd.DataFrame, group: str, drug: str) -> pd.Series:
    return table[(table["group"] == group) & (table["drug"] == drug)].iloc[0]


@pytest.mark.parametrize("use", ["percentile", "response"])
@pytest.mark.parametrize("sample_key", [None, "donor"])
@pytest.mark.parametrize("reference", ["rest", "normal"])
@pytest.mark.parametrize("method", ["auto", "t-test", "wilcoxon"])
def test_planted_drug_comes_first_and_is_called_sensitive(make_predicted, use, sample_key, reference, method):
    table = rank(make_predicted(), use=use, sample_key=sample_key, reference=reference, method=method)
    best = table[(table["group"] == "tumour") & (table["rank"] == 1)].iloc[0]
    assert (best["drug"], best["name"], best["direction"]) == ("gamma-c", "Gamma C", "sensitive")
    assert best["score"] > 0
    assert best["effect_size"] > 0
    assert best["statistic"] > 0
    assert np.sign(best["effect"]) == (1 if use == "percentile" else -1)
    if (sample_key, method) != ("donor", "wilcoxon"):  # four donors give no rank p-value below 0.125
        assert best["fdr"] < 0.05


def test_values_over_cells_equal_those_by_hand(make_predicted):
    adata = make_predicted()
    found = row(rank(adata, reference="normal", method="wilcoxon"), "tumour", "delta")
    values = adata.obsm["response_percentile"]["delta"].astype(float)
    mine, other = values[adata.obs["group"] == "tumour"], values[adata.obs["group"] == "normal"]
    assert found["effect"] == pytest.approx(mine.mean() - other.mean())
    assert found["percentile"] == pytest.approx(mine.mean())
    assert found["percentile_reference"] == pytest.approx(other.mean())
    response = adata.obsm["predicted_response"]["delta"].astype(float)
    assert found["response"] == pytest.approx(response[mine.index].mean())
    assert found["p_value"] == pytest.approx(stats.mannwhitneyu(mine, other, method="asymptotic").pvalue)
    assert (found["n_cells"], found["n_cells_reference"], found["n_samples"]) == (80, 80, 0)
    assert found["reliability"] == pytest.approx(0.6)


def test_values_over_samples_equal_those_by_hand(make_predicted):
    adata = make_predicted()
    found = row(rank(adata, sample_key="donor", use="response"), "tumour", "delta")
    frame = adata.obs.assign(value=adata.obsm["predicted_response"]["delta"].astype(float))
    frame["tumour"] = frame["group"] == "tumour"
    means = frame.groupby(["donor", "tumour"])["value"].mean().unstack()
    expected = stats.ttest_rel(means[True], means[False])
    assert found["p_value"] == pytest.approx(expected.pvalue)
    assert found["statistic"] == pytest.approx(-expected.statistic)  # oriented: positive = more sensitive
    assert found["effect"] == pytest.approx((means[True] - means[False]).mean())
    assert found["score"] == pytest.approx(-found["effect"])
    assert (found["n_samples"], found["n_samples_reference"], found["test"]) == (4, 4, "paired t-test of samples")


def test_small_shares_of_a_donor_are_no_pseudobulk(make_predicted):
    adata = make_predicted()
    of_d0 = np.flatnonzero((adata.obs["group"] == "tumour") & (adata.obs["donor"] == "d0"))
    adata = adata[np.setdiff1d(np.arange(adata.n_obs), of_d0[5:])].copy()
    found = row(rank(adata, sample_key="donor", min_cells=10), "tumour", "delta")
    assert found["n_samples"] == 3
    assert found["n_cells"] == 60


def test_fdr_is_within_each_group(make_predicted):
    table = rank(make_predicted())
    for _, part in table.groupby("group", observed=True):
        np.testing.assert_allclose(part["fdr"], stats.false_discovery_control(part["p_value"]))
        assert part["rank"].tolist() == list(range(1, 9))
        assert part["score"].is_monotonic_decreasing


@pytest.mark.parametrize("sample_key", [None, "donor"])
def test_order_of_cells_and_drugs_does_not_matter(make_predicted, sample_key):
    adata = make_predicted()
    stored = adata.uns["predicted_response"]
    stored["drugs"] = stored["drugs"].assign(half_width=stored.pop("half_width"))  # by drug, as predictions store it
    expected = rank(adata, sample_key=sample_key)
    shuffled = adata[np.random.default_rng(0).permutation(adata.n_obs)].copy()
    order = np.random.default_rng(1).permutation(8)
    for key in ("predicted_response", "response_percentile"):
        shuffled.obsm[key] = shuffled.obsm[key].iloc[:, order]
    found = rank(shuffled, sample_key=sample_key)
    pd.testing.assert_frame_equal(found, expected, rtol=1e-9)


def test_higher_is_more_sensitive_turns_the_ranking_of_responses(make_predicted):
    adata = make_predicted()
    lower = rank(adata, use="response")
    adata.uns["predicted_response"]["direction"] = "higher is more sensitive"
    higher = rank(adata, use="response")
    assert row(lower, "tumour", "gamma-c")["rank"] == 1
    assert row(higher, "tumour", "gamma-c")["rank"] == 8
    assert row(higher, "tumour", "gamma-c")["effect"] == row(lower, "tumour", "gamma-c")["effect"]


def _null_rejections(make_predicted, sample_key: str | None) -> float:
    """Share of p < 0.05 where donors differ and groups do not: each donor has cells of one group only."""
    n_donors, n_cells, n_drugs = 10, 40, 200
    rng = np.random.default_rng(7)
    donor = np.repeat(np.arange(n_donors), n_cells)
    adata = make_predicted(n_donors * n_cells, n_drugs)
    response = rng.normal(size=(len(donor), n_drugs)) + rng.normal(size=(n_donors, n_drugs))[donor]
    for key, values in {"predicted_response": response, "response_percentile": stats.norm.sf(response / 1.4)}.items():
        adata.obsm[key] = pd.DataFrame(values, index=adata.obs_names, columns=adata.obsm[key].columns)
    adata.obs["donor"] = [f"d{d}" for d in donor]
    adata.obs["arm"] = np.where(donor % 2 == 0, "a", "b")
    table = rank(adata, "arm", groups="a", reference="b", sample_key=sample_key)
    return float((table["p_value"] < 0.05).mean())


def test_donors_as_replicates_keep_the_false_positive_rate(make_predicted):
    # 200 independent null tests: 95 % of seeds lie within 0.05 ± 0.03
    assert _null_rejections(make_predicted, "donor") == pytest.approx(0.05, abs=0.03)
    assert _null_rejections(make_predicted, None) > 0.5


def test_pairing_removes_what_donors_share(make_predicted):
    adata = make_predicted(donor_sd=5.0)
    found = row(rank(adata, sample_key="donor", use="response"), "tumour", "gamma-c")
    assert found["test"] == "paired t-test of samples"
    assert found["p_value"] < 0.01
    assert found["score"] == pytest.approx(1.5, abs=0.5)


def test_too_few_donors_give_no_p_value_but_effects(make_predicted):
    adata = make_predicted()
    adata.obs["donor"] = np.where(adata.obs["donor"] == "d0", "d0", "d1")
    with pytest.warns(UserWarning, match="fewer than 3 samples.*not used as replicates"):
        scdrug.tl.rank_drugs(adata, "group", sample_key="donor")
    table = adata.uns["rank_drugs"]["table"]
    assert table["p_value"].isna().all()
    assert table["fdr"].isna().all()
    assert row(table, "tumour", "gamma-c")["rank"] == 1


def test_p_values_over_cells_are_announced(make_predicted):
    adata = make_predicted()
    with pytest.warns(UserWarning, match="sample_key"):
        scdrug.tl.rank_drugs(adata, "group")
    assert adata.uns["rank_drugs"]["params"]["replicates"] == "cells"
    assert "not independent" in adata.uns["rank_drugs"]["params"]["note"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        scdrug.tl.rank_drugs(adata, "group", sample_key="donor")
    assert adata.uns["rank_drugs"]["params"]["replicates"] == "samples"


@pytest.mark.parametrize("suffix", ["h5ad", "zarr"])
def test_result_survives_files(make_predicted, tmp_path, suffix):
    adata = make_predicted()
    table = rank(adata, sample_key="donor")
    path = tmp_path / f"cells.{suffix}"
    getattr(adata, f"write_{suffix}")(path)
    back = (ad.read_h5ad if suffix == "h5ad" else ad.read_zarr)(path)
    pd.testing.assert_frame_equal(back.uns["rank_drugs"]["table"], table)
    params = back.uns["rank_drugs"]["params"]
    assert params["sample_key"] == "donor"
    assert list(params["groups"]) == ["T/B cells", "normal", "tumour"]
    # and what was read can be ranked again
    pd.testing.assert_frame_equal(rank(back, sample_key="donor"), table)


def test_backed_cells_are_ranked(make_predicted, tmp_path):
    adata = make_predicted()
    expected = rank(adata)
    adata.write_h5ad(tmp_path / "cells.h5ad")
    backed = ad.read_h5ad(tmp_path / "cells.h5ad", backed="r")
    pd.testing.assert_frame_equal(rank(backed), expected)
    assert backed.isbacked


@pytest.mark.filterwarnings(OVER_CELLS)
def test_copy_leaves_the_input_alone(make_predicted):
    adata = make_predicted()
    result = scdrug.tl.rank_drugs(adata, "group", copy=True, key_added="mine")
    assert "mine" not in adata.uns
    assert result.uns["mine"]["table"].shape[0] == 24
    assert scdrug.tl.rank_drugs(adata, "group") is None


def test_view_becomes_an_object_of_its_own_without_warning(make_predicted):
    adata = make_predicted()
    view = adata[adata.obs["group"] != "normal"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        scdrug.tl.rank_drugs(view, "group", sample_key="donor")
    assert set(view.uns["rank_drugs"]["table"]["group"]) == {"T/B cells", "tumour"}
    assert "rank_drugs" not in adata.uns


def test_other_key_of_predictions_is_read(make_predicted):
    adata = make_predicted()
    expected = rank(adata)
    adata.obsm["mine"] = adata.obsm.pop("predicted_response")
    adata.obsm["mine_percentile"] = adata.obsm.pop("response_percentile")
    adata.obs["mine_reliability"] = adata.obs.pop("response_reliability")
    adata.uns["mine"] = adata.uns.pop("predicted_response")
    pd.testing.assert_frame_equal(rank(adata, key="mine"), expected)


def test_groups_may_be_chosen_and_keep_their_order(make_predicted):
    adata = make_predicted()
    table = rank(adata, groups=["tumour", "T/B cells"], reference="normal")
    assert list(table["group"].cat.categories) == ["tumour", "T/B cells"]
    assert set(rank(adata, groups="tumour")["group"]) == {"tumour"}


@pytest.mark.parametrize("labels", [[0, 1, 2], [0.0, 1.0, 2.0], [True, False, True], [1, "1", "b"]])
def test_labels_need_not_be_strings(make_predicted, labels):
    adata = make_predicted()
    adata.obs["label"] = [labels[i % 3] for i in range(adata.n_obs)]
    expected = sorted({str(int(x)) if isinstance(x, float) else str(x) for x in labels})
    assert list(rank(adata, "label")["group"].cat.categories) == expected


def test_cells_without_label_are_left_out_with_a_warning(make_predicted):
    adata = make_predicted()
    adata.obs.loc[adata.obs_names[:30], "group"] = np.nan
    expected = rank(adata[30:].copy(), sample_key="donor")
    with pytest.warns(UserWarning, match="Left out 30 of 240 cells without label"):
        scdrug.tl.rank_drugs(adata, "group", sample_key="donor")
    pd.testing.assert_frame_equal(adata.uns["rank_drugs"]["table"], expected)


def test_group_of_one_cell_is_left_out_with_a_warning(make_predicted):
    adata = make_predicted()
    adata.obs.loc[adata.obs_names[0], "group"] = "lonely"
    with pytest.warns(UserWarning, match=r"Left out 1 groups.*lonely \(1\)"):
        scdrug.tl.rank_drugs(adata, "group", sample_key="donor")
    assert "lonely" not in set(adata.uns["rank_drugs"]["table"]["group"])
    with pytest.raises(ValueError, match="fewer than 10 cells"):
        scdrug.tl.rank_drugs(adata, "group", reference="lonely")
    with pytest.raises(ValueError, match=r"No group .*lonely \(1\).*min_cells"):
        scdrug.tl.rank_drugs(adata, "group", groups="lonely")


def test_groups_that_are_not_to_be_believed_are_left_out_unless_asked_for(make_predicted):
    adata = make_predicted()
    adata.obs.loc[adata.obs["group"] == "normal", "response_reliability"] = 0.01
    with pytest.warns(UserWarning, match=r"Left out 1 groups.*normal.*include_refused"):
        scdrug.tl.rank_drugs(adata, "group", sample_key="donor")
    kept = adata.uns["rank_drugs"]["table"]
    assert set(kept["group"]) == {"T/B cells", "tumour"}
    with pytest.warns(UserWarning, match="normal.*do not read"):
        scdrug.tl.rank_drugs(adata, "group", sample_key="donor", include_refused=True)
    every = adata.uns["rank_drugs"]["table"]
    assert set(every["group"]) == {"T/B cells", "tumour", "normal"}
    same = every[every["group"].isin(["T/B cells", "tumour"])].reset_index(drop=True)
    pd.testing.assert_series_equal(same["score"], kept["score"])
    refused = adata.uns["rank_drugs"]["reliability"].set_index("group")["refused"]
    assert refused.to_dict() == {"T/B cells": False, "normal": True, "tumour": False}
    with pytest.warns(UserWarning, match="reference 'normal' are not to be believed"):
        scdrug.tl.rank_drugs(adata, "group", reference="normal", sample_key="donor")
    with pytest.raises(ValueError, match="No group .* can be ranked.*include_refused=True"):
        scdrug.tl.rank_drugs(adata, "group", groups="normal", sample_key="donor")
    adata.uns["predicted_response"]["verdict"] = "No drug can be ranked for these cells: too few genes."
    with pytest.warns(UserWarning, match="No drug can be ranked"):
        scdrug.tl.rank_drugs(adata, "group", sample_key="donor")


def test_drugs_without_description_have_empty_text(make_predicted):
    adata = make_predicted()
    adata.uns["predicted_response"]["drugs"].loc["delta", "pathway"] = np.nan
    adata.uns["predicted_response"]["drugs"].drop(columns="targets", inplace=True)
    table = rank(adata)
    assert (row(table, "tumour", "delta")["pathway"], row(table, "tumour", "delta")["targets"]) == ("", "")


def test_missing_predictions_say_what_to_run():
    adata = ad.AnnData(np.zeros((3, 2), dtype=np.float32), obs=pd.DataFrame({"group": list("aab")}, index=list("xyz")))
    with pytest.raises(KeyError, match=r"Run scdrug\.tl\.predict_response\(adata\) first"):
        scdrug.tl.rank_drugs(adata, "group")


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"groupby": "grop"}, KeyError, "Did you mean 'group'"),
        ({"groups": "tumor"}, KeyError, "Did you mean 'tumour'"),
        ({"reference": "Normal"}, KeyError, "Did you mean 'normal'"),
        ({"groups": []}, ValueError, "No group was named"),
        ({"groups": "normal", "reference": "normal"}, ValueError, "nothing but the reference"),
        ({"sample_key": "doner"}, KeyError, "sample_key"),
        ({"use": "ic50"}, ValueError, "`use` must be one of"),
        ({"method": "wilcox"}, ValueError, "Did you mean 'wilcoxon'"),
        ({"min_cells": 1}, ValueError, "at least 2"),
        ({"groupby": "one"}, ValueError, "one group"),
        ({"groupby": "none"}, ValueError, "no group"),
        ({"groupby": "depth"}, ValueError, "measurements"),
        ({"groupby": "resting"}, ValueError, "called 'rest'"),
        ({"key_added": "other"}, ValueError, "did not make"),
        ({"sample_key": "each"}, ValueError, "No group can be compared"),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_bad_arguments_are_refused_and_nothing_is_stored(make_predicted, arguments, error, message):
    adata = make_predicted()
    adata.obs["one"], adata.obs["none"] = "a", np.nan
    adata.obs["depth"] = np.linspace(0.1, 3, adata.n_obs)
    adata.obs["resting"] = np.where(adata.obs["group"] == "normal", "rest", "active")
    adata.obs["each"] = adata.obs_names
    adata.uns["other"] = {"params": "mine"}
    with pytest.raises(error, match=message):
        scdrug.tl.rank_drugs(adata, **{"groupby": "group", **arguments})
    assert "rank_drugs" not in adata.uns
    assert adata.uns["other"] == {"params": "mine"}


def test_missing_values_in_predictions_are_refused(make_predicted):
    adata = make_predicted()
    adata.obsm["response_percentile"].iloc[3, 3] = np.nan
    with pytest.raises(ValueError, match="delta"):
        rank(adata)


def test_toy_truth_is_found_end_to_end():
    cells, reference = scdrug.datasets.toy_cells(n_cells=240), scdrug.datasets.toy()
    scdrug.model.KernelRidge.setup_anndata(reference)
    model = scdrug.model.KernelRidge(reference)
    model.train()
    scdrug.tl.predict_response(cells, model)
    table = rank(cells, "clone", reference="normal", sample_key="sample")
    truth = cells.obsm["true_response"].groupby(cells.obs["clone"], observed=True).mean()
    for clone in ("clone-a", "clone-b", "clone-c"):
        gain = (truth.loc["normal"] - truth.loc[clone]).sort_values(ascending=False)
        part = table[table["group"] == clone]
        assert set(part["drug"].head(3)) & set(gain.index[:2])
        found = part.set_index("drug")["score"].reindex(gain.index)
        assert stats.spearmanr(found, gain).statistic > 0.6
