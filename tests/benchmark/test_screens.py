"""Predictions for held-out lines judged by another screen: what is joined, what is compared, and what would be a leak."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import yaml

from scdrug import datasets, metrics
from scdrug.benchmark import (
    LeakError,
    ModelSpec,
    Splits,
    make_splits,
    read_results,
    run,
    run_config,
    score_screens,
    write_report,
)
from scdrug.pp._drug_names import same_drugs

MODELS = [ModelSpec("ridge", "KernelRidge"), ModelSpec("means", "AdditiveMean")]


@pytest.fixture(scope="module")
def results(screen, tmp_path_factory):
    splits = [make_splits(screen, "line", n_folds=3, seed=1), make_splits(screen, "pair", n_folds=2)]
    return run(screen, splits, MODELS, out=tmp_path_factory.mktemp("screens") / "out", progress=False)


@pytest.fixture(scope="module")
def other(screen):
    """The same truth with noise of its own; lines and drugs in another order and under other names, fewer pairs."""
    rng = np.random.default_rng(0)
    second = screen[rng.permutation(screen.n_obs), :0].copy()
    response = second.obsm["response"]
    noisy = (response + rng.normal(scale=0.7, size=response.shape)).mask(rng.random(response.shape) < 0.2)
    order = rng.permutation(response.shape[1])
    drugs = screen.uns["drugs"].loc[response.columns[order]]
    noisy = noisy.iloc[:, order].set_axis([f"compound-{number}" for number in order], axis=1)
    second.uns["drugs"] = drugs.set_axis(noisy.columns, axis=0)
    second.obsm["response"] = noisy
    second.obs_names = [f"toy {name[3:]}" for name in second.obs_names]
    second.obsm["response"].index = second.obs_names
    return second


def by_hand(results, screen, other) -> pd.DataFrame:
    """Pairs that both screens measured: line, drug, predicted, deviation from the training mean, measured, truth."""
    structure = dict(zip(other.uns["drugs"]["smiles"], other.uns["drugs"].index))
    column = {drug: structure[smiles] for drug, smiles in screen.uns["drugs"]["smiles"].items()}
    pairs = results.predictions("line", "ridge")
    roles = make_splits(screen, "line", n_folds=3, seed=1).table.set_index("line")
    rows = []
    for pair in pairs.itertuples():
        truth = other.obsm["response"].loc[f"toy {pair.line[3:]}", column[pair.drug]]
        training = roles.index[roles[f"1.{pair.fold}"] != "test"]
        mean = screen.obsm["response"].loc[training, pair.drug].mean()
        rows.append((pair.line, pair.drug, pair.predicted, pair.predicted - mean, pair.observed, truth))
    table = pd.DataFrame(rows, columns=["line", "drug", "predicted", "deviation", "measured", "truth"])
    return table[table["truth"].notna()]


def test_scores_are_those_of_the_pairs_that_both_screens_measured(results, screen, other) -> None:
    table = score_screens(results, screen, {"second": other}, n_bootstrap=0)
    pairs = by_hand(results, screen, other)
    wide = {name: pairs.pivot(index="line", columns="drug", values=name).to_numpy() for name in pairs.columns[2:]}
    found = table[table["model"] == "ridge"].set_index("metric")
    for metric, guess in (
        ("per_drug_pearson", "deviation"),
        ("per_line_pearson_centered", "deviation"),
        ("pearson", "predicted"),
    ):
        function = getattr(metrics, metric)
        value, measured = (function(wide[name], wide["truth"]) for name in (guess, "measured"))
        assert found.loc[metric, ["value", "measured", "share"]].tolist() == pytest.approx(
            [value, measured, value / measured], abs=1e-5
        )
    assert found[["n_lines", "n_drugs", "n_pairs", "n_folds"]].iloc[0].tolist() == [*wide["truth"].shape, len(pairs), 3]
    assert set(table["split"]) == {"line"}  # pairs of other drugs of the same lines are trained on


def test_a_screen_that_repeats_itself_says_everything_and_the_drug_mean_nothing(results, screen) -> None:
    found = score_screens(results, screen, {"again": screen}, n_bootstrap=30).set_index(["model", "metric"])
    assert np.allclose(found["measured"], 1)
    per_drug = found.xs("per_drug_pearson", level="metric")
    assert per_drug.loc["ridge", "low"] < per_drug.loc["ridge", "share"] < per_drug.loc["ridge", "high"] < 1
    assert abs(per_drug.loc["means", "share"]) < 0.15


def test_the_direction_and_unit_of_the_other_screen_do_not_count_within_drugs(results, screen, other) -> None:
    turned = other.copy()
    turned.obsm["response"] = -3 * other.obsm["response"] + 5
    turned.uns["response"] = {"measure": "activity z", "unit": "SD", "direction": "higher is more sensitive"}
    table = score_screens(results, screen, {"second": other, "turned": turned}, n_bootstrap=0).set_index(
        ["screen", "model", "metric"]
    )
    for metric in ("per_drug_pearson", "per_line_pearson_centered"):
        assert table.loc[("turned", "ridge", metric), "value"] == pytest.approx(
            table.loc[("second", "ridge", metric), "value"]
        )
    assert ("turned", "ridge", "pearson") not in table.index  # levels of other units do not compare


def test_a_line_on_both_sides_under_two_spellings_is_a_leak(screen, tmp_path) -> None:
    twice = screen.copy()
    twice.obs_names = ["TOY-0002" if name == "TOY0001" else name for name in twice.obs_names]
    table = make_splits(screen, "line", n_folds=3).table.replace({"line": {"TOY0001": "TOY-0002"}})
    table.loc[table["line"] == "TOY-0002", "1.1"], table.loc[table["line"] == "TOY0002", "1.1"] = "test", "train"
    results = run(
        twice, Splits("line", table[["axis", "line", "drug", "1.1"]], {}), MODELS, out=tmp_path / "out", progress=False
    )
    with pytest.raises(LeakError, match="TOY0002"):
        score_screens(results, twice, {"again": screen})


def test_what_cannot_be_compared_is_refused(results, screen, other, tmp_path) -> None:
    strange = other.copy()
    strange.obs_names = [f"line {number}" for number in range(strange.n_obs)]
    strange.obsm["response"].index = strange.obs_names
    with pytest.raises(ValueError, match="shares no measured pair"):
        score_screens(results, screen, {"strange": strange})
    with pytest.raises(ValueError, match="at least one other screen"):
        score_screens(results, screen, {})
    pairs = run(screen, make_splits(screen, "pair", n_folds=2), MODELS[1], out=tmp_path / "out", progress=False)
    with pytest.raises(ValueError, match="none of the splits 'pair' holds lines out"):
        score_screens(pairs, screen, {"second": other})


def test_drugs_are_one_by_structure_and_by_name_only_where_a_structure_is_lacking() -> None:
    drugs = pd.DataFrame(
        {"name": ["Ethanol", "Alpelisib", "Mine"], "smiles": ["CCO", "", "CCN"]}, index=["a", "b", "c"]
    )
    others = pd.DataFrame(
        {"name": ["spirit", "BYL-719", "mine", "mine", "ETHANOL"], "smiles": ["OCC", "", "CCC", "CCN.Cl", "CC"]},
        index=list("vwxyz"),
    )
    assert same_drugs(drugs, others) == {"a": ["v"], "b": ["w"], "c": ["y"]}


def test_a_configuration_names_the_screens_and_the_report_begins_with_them(screen, other, tmp_path) -> None:
    other.write_h5ad(tmp_path / "second.h5ad")
    content = {
        "data": {"dataset": "toy", "n_lines": 60},
        "screens": [{"name": "Second", "file": "second.h5ad"}],
        "splits": [{"kind": "line", "n_folds": 2, "seed": 1}],
        "models": [{"name": "ridge", "model": "KernelRidge"}, {"name": "means", "model": "AdditiveMean"}],
    }
    path = tmp_path / "benchmark.yaml"
    path.write_text(yaml.safe_dump(content))
    results = run_config(path, tmp_path / "out", progress=False)
    by_hand = score_screens(results, screen, {"Second": other}, n_bootstrap=0)
    pd.testing.assert_frame_equal(results.screens.drop(columns=["low", "high"]), by_hand.drop(columns=["low", "high"]))
    assert results.screens["low"].notna().all()
    write_report(results, tmp_path / "report", formats=["markdown", "csv"])
    report = (tmp_path / "report" / "report.md").read_text()
    assert report.index("Split line, judged by Second") < report.index("### Split line\n")
    assert "measured by the screen of training" in report
    assert "| line, judged by Second | share of a second screen | ridge |" in report
    assert pd.read_csv(tmp_path / "report" / "screens.csv").shape == results.screens.shape
    assert read_results(tmp_path / "out").screens.equals(results.screens)

    for wrong, message in (
        ([{"dataset": "nci61"}], "Did you mean 'nci60'"),
        ([{"name": "x"}], "`screens` needs either `dataset`"),
        ([{"dataset": "nci60"}, {"dataset": "nci60"}], "different names"),
    ):
        path.write_text(yaml.safe_dump({**content, "screens": wrong}))
        with pytest.raises(ValueError, match=message):
            run_config(path, tmp_path / "never", progress=False)
    path.write_text(yaml.safe_dump({**content, "splits": [{"kind": "pair", "n_folds": 2}]}))
    with pytest.raises(ValueError, match="holds lines out"):
        run_config(path, tmp_path / "never", progress=False)
    assert not (tmp_path / "never").exists()


def test_nci60_and_gdsc_share_the_lines_and_drugs_that_they_are_known_to(gdsc2, shared_data) -> None:
    from scdrug.benchmark._screens import join_screen

    table = join_screen(datasets.nci60(path=shared_data / "nci60"), gdsc2, "NCI-60")
    assert len(table) == 53
    assert 34 <= table.shape[1] <= 38
    both = gdsc2.obsm["response"].loc[table.index, table.columns].to_numpy(dtype=float)
    truth = np.where(np.isfinite(both), table.to_numpy(), np.nan)
    assert metrics.per_drug_pearson(np.nan_to_num(both), truth) == pytest.approx(0.40, abs=0.02)
