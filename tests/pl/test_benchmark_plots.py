"""Plots of benchmarks show the tables that they are given, best first, with labels that can be read."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
import pytest

matplotlib.use("Agg")

import matplotlib.pyplot as plt

import scdrug

_spec = importlib.util.spec_from_file_location("test_plots", Path(__file__).parent / "test_plots.py")
_module = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_module)
all_texts, overlaps = _module.all_texts, _module.overlaps

MODELS = {
    "a network with a rather long name, tuned": 0.6,
    "kernel ridge": 0.55,
    "soft-impute": 0.5,
    "drug mean": 0.0,
    **{f"model {number}": 0.1 + 0.05 * number for number in range(6)},
}
BASELINES = ["drug mean", "soft-impute", "kernel ridge"]


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    plt.close("all")


@pytest.fixture
def scores() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    rows = [
        ("line", model, 1, fold, metric, sign * level + 0.01 * rng.normal())
        for model, level in MODELS.items()
        for fold in range(1, 6)
        for metric, sign in (("per_drug_pearson", 1), ("rmse", -1))
    ]
    return pd.DataFrame(rows, columns=["split", "model", "repeat", "fold", "metric", "value"])


@pytest.fixture
def per_drug() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    rows = [
        {"split": "line", "model": model, "repeat": 1, "fold": fold, "drug": f"drug-{drug}", "n": 20,
         "pearson": level + 0.1 * rng.normal(), "spearman": level, "rmse": 2 * (1 - level / 2), "baseline_rmse": 2.0}
        for model, level in MODELS.items()
        for fold in (1, 2)
        for drug in range(30)
    ]  # fmt: skip
    return pd.DataFrame(rows)


@pytest.fixture
def predictions() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    parts = []
    for model, level in MODELS.items():
        drug, line = rng.integers(10, size=400), rng.normal(size=400)
        parts.append(
            pd.DataFrame({
                "model": model, "repeat": 1, "fold": rng.integers(1, 3, size=400), "drug": drug.astype(str),
                "predicted": 3.0 * drug + level * line, "observed": 3.0 * drug + line,
            })
        )  # fmt: skip
    return pd.concat(parts, ignore_index=True)


@pytest.fixture
def single_cell() -> pd.DataFrame:
    rows = []
    for model, level in MODELS.items():
        for metric in ("flat", "contrast"):
            for name, share in {"line mean": 0.8, "cell": 0.5, "cluster": 0.7, "pseudobulk": 0.6, "bulk": 0.9}.items():
                value = level * share
                rows += [
                    ("lines", model, seed, name, metric, value + seed, value - 0.1, value + 0.1) for seed in (0, 1)
                ]
            rows.append(("lines", model, 0, "shuffled lines", metric, 0.0, -0.2, 0.2))
        rows.append(("labels", model, 0, "cell", "auroc", 0.5 + level / 2, 0.4, 0.9))
        rows.append(("labels", model, 0, "other drugs", "auroc", 0.5, 0.2, 0.8))
        rows.append(("labels", model, 0, "control drug: cisplatin", "auroc", 0.6, np.nan, np.nan))
        rows.append(("labels", model, 0, "within treatment", "auroc", np.nan, np.nan, np.nan))
    rows.append(("labels", "expression", 0, "principal component 1", "auroc", 0.95, np.nan, np.nan))
    return pd.DataFrame(rows, columns=["task", "model", "seed", "level", "metric", "value", "low", "high"])


def _names(ax) -> list[str]:
    return [label.get_text() for label in ax.get_yticklabels()]


def test_scores_are_sorted_by_their_mean_best_on_top(scores):
    ax = scdrug.pl.benchmark_scores(scores, baselines=BASELINES)
    order = scores[scores["metric"] == "per_drug_pearson"].groupby("model")["value"].mean().sort_values(ascending=False)
    assert [name[:20] for name in _names(ax)] == [name[:20] for name in order.index]
    assert ax.get_ylim()[0] > ax.get_ylim()[1]
    beside = [text.get_text() for text in ax.texts]
    assert beside[0].startswith(f"{order.iloc[0]:.3f} ± ")
    assert beside[0].endswith("(5)")


def test_errors_are_sorted_the_other_way_and_the_axis_says_so(scores):
    ax = scdrug.pl.benchmark_scores(scores, metric="rmse")
    assert _names(ax)[-1] == "drug mean"
    assert "lower is better" in ax.get_xlabel()


def test_each_fold_is_a_dot_and_the_best_baseline_a_dashed_line(scores):
    ax = scdrug.pl.benchmark_scores(scores, baselines=BASELINES)
    chosen = scores[(scores["metric"] == "per_drug_pearson") & (scores["model"] == "kernel ridge")]["value"]
    row = _names(ax).index("kernel ridge")
    drawn = [dots.get_offsets() for dots in ax.collections]
    folds = [points[:, 0] for points in drawn if len(points) == 5 and np.all(points[:, 1] == row)]
    np.testing.assert_allclose(np.sort(folds[0]), np.sort(chosen))
    dashed = [line for line in ax.lines if line.get_linestyle() == "--"]
    assert [line.get_xdata()[0] for line in dashed] == [pytest.approx(chosen.mean())]
    assert not [line for line in scdrug.pl.benchmark_scores(scores).lines if line.get_linestyle() == "--"]


def test_baselines_are_grey(scores):
    ax = scdrug.pl.benchmark_scores(scores, baselines=BASELINES)
    colors = {label.get_text(): label.get_color() for label in ax.get_yticklabels()}
    assert colors["kernel ridge"] == colors["drug mean"] != colors["model 5"] == "black"


def test_per_drug_averages_the_folds_of_a_drug(per_drug):
    ax = scdrug.pl.benchmark_per_drug(per_drug, baselines=BASELINES)
    chosen = per_drug[per_drug["model"] == "kernel ridge"].groupby("drug")["pearson"].mean()
    row = _names(ax).index("kernel ridge")
    dots = [d.get_offsets() for d in ax.collections if len(d.get_offsets()) == 30]
    drawn = next(points for points in dots if abs(points[:, 1].mean() - row) < 0.3)
    np.testing.assert_allclose(np.sort(drawn[:, 0]), np.sort(chosen))
    assert f"{chosen.mean():.3f} (30)" in [text.get_text() for text in ax.texts]


def test_drugs_without_a_correlation_are_left_out(per_drug):
    per_drug.loc[per_drug["drug"] == "drug-3", "pearson"] = np.nan
    ax = scdrug.pl.benchmark_per_drug(per_drug)
    assert all("(29)" in text.get_text() for text in ax.texts[:-1])
    per_drug["pearson"] = np.nan
    with pytest.raises(ValueError, match="enough test lines"):
        scdrug.pl.benchmark_per_drug(per_drug)


def test_skill_pools_squared_errors_of_folds():
    table = pd.DataFrame(
        {"split": "line", "model": "m", "drug": "a", "n": [1, 3], "rmse": [1.0, 3.0], "baseline_rmse": [2.0, 4.0]}
    )
    expected = 1 - np.sqrt((1 + 27) / (4 + 48))
    text = scdrug.pl.benchmark_skill(table).texts[0].get_text()
    assert text == f"{expected:.3f}, 100 %"


def test_skill_of_a_bad_model_is_drawn_at_the_edge_but_written_as_it_is(per_drug):
    per_drug.loc[per_drug["model"] == "model 0", "rmse"] = 20.0
    ax = scdrug.pl.benchmark_skill(per_drug)
    assert "−9.000, 0 %" in [text.get_text() for text in ax.texts]
    assert ax.get_xlim()[0] > -1.3
    assert "at the edge" in ax.get_xlabel()


def test_skill_needs_predictions_in_the_unit_of_the_response(per_drug):
    per_drug.loc[per_drug["model"] == "model 0", "rmse"] = np.nan
    assert "model 0" not in _names(scdrug.pl.benchmark_skill(per_drug))
    with pytest.raises(ValueError, match="unit of the response"):
        scdrug.pl.benchmark_skill(per_drug.assign(rmse=np.nan))


def test_calibration_within_drugs_does_not_credit_potency(predictions):
    only = predictions[predictions["model"] == "soft-impute"]
    within = scdrug.pl.benchmark_calibration(only).texts[0].get_text()
    pooled = scdrug.pl.benchmark_calibration(only, center=None).texts[0].get_text()
    assert within == "slope 2.00"  # predictions are half as large as the truth
    assert pooled.startswith(("slope 1.00", "slope 1.01", "slope 0.99"))


def test_calibration_bins_hold_equal_numbers_and_the_drug_mean_has_no_slope(predictions):
    axes = scdrug.pl.benchmark_calibration(predictions, n_bins=8, models=["kernel ridge", "drug mean"])
    assert len(axes[0].lines[1].get_xdata()) == 8
    assert axes[1].texts[0].get_text() == "all predictions alike"
    one = predictions[predictions["model"] == "kernel ridge"]
    values = one[["predicted", "observed"]] - one.groupby(["fold", "drug"])[["predicted", "observed"]].transform("mean")
    first = values.sort_values("predicted").head(50)
    np.testing.assert_allclose(axes[0].lines[1].get_xydata()[0], first.mean(), rtol=1e-6)


@pytest.mark.parametrize("center", ["drug", None])
def test_calibration_takes_drugs_as_categories_and_ignores_pairs_that_were_not_measured(predictions, center):
    predictions.loc[::7, "observed"] = np.nan
    plain = scdrug.pl.benchmark_calibration(predictions, center=center)[0].texts[0].get_text()
    predictions = predictions.astype({"drug": "category", "model": "category", "predicted": np.float32})
    assert scdrug.pl.benchmark_calibration(predictions, center=center)[0].texts[0].get_text() == plain


def test_single_cells_show_the_mean_of_seeds_and_the_upper_bound(single_cell):
    axes = scdrug.pl.benchmark_single_cell(single_cell, task="lines")
    assert len(axes) == 2
    row = _names(axes[0]).index("kernel ridge")
    marks = {tuple(np.round(point, 6)) for dots in axes[0].collections for point in dots.get_offsets()}
    headline = min(y for x, y in marks if abs(y - row) < 0.4)  # the first of its marks
    assert (round(0.55 * 0.8 + 0.5, 6), headline) in marks
    bounds = [line.get_xydata()[0] for line in axes[0].lines if line.get_color() == "black"]
    assert [x for x, y in bounds if abs(y - row) < 0.45] == [pytest.approx(0.55 * 0.9 + 0.5)]
    assert "upper bound" in " ".join(text.get_text() for text in axes[-1].get_legend().get_texts())


def test_labelled_cells_stand_beside_controls(single_cell):
    ax = scdrug.pl.benchmark_single_cell(single_cell, task="labels", baselines=BASELINES)
    shown = " ".join(text.get_text() for text in ax.get_legend().get_texts())
    assert "another mechanism" in shown
    assert "no model" in shown
    assert "within treatments" not in shown  # not defined for any model
    assert _names(ax)[-1] == "expression"


PLOTS = {
    "scores": lambda tables, **options: scdrug.pl.benchmark_scores(tables["scores"], **options),
    "per_drug": lambda tables, **options: scdrug.pl.benchmark_per_drug(tables["per_drug"], **options),
    "skill": lambda tables, **options: scdrug.pl.benchmark_skill(tables["per_drug"], **options),
    "calibration": lambda tables, **options: scdrug.pl.benchmark_calibration(tables["predictions"], **options),
    "lines": lambda tables, **options: scdrug.pl.benchmark_single_cell(tables["single_cell"], task="lines", **options),
    "labels": lambda tables, **options: scdrug.pl.benchmark_single_cell(
        tables["single_cell"], task="labels", **options
    ),
}


@pytest.fixture
def tables(scores, per_drug, predictions, single_cell) -> dict[str, pd.DataFrame]:
    return {"scores": scores, "per_drug": per_drug, "predictions": predictions, "single_cell": single_cell}


@pytest.mark.parametrize("plot", PLOTS)
def test_labels_of_ten_models_do_not_overlap_or_leave_the_page(tables, plot):
    drawn = np.ravel(np.array(PLOTS[plot](tables, baselines=BASELINES), dtype=object))
    figure = drawn[0].figure
    texts = all_texts(figure)
    assert overlaps(texts) == []
    page = figure.bbox
    for text in texts:
        if text.get_visible() and text.get_text():
            box = text.get_window_extent()
            assert page.x0 - 1 <= box.x0 and box.x1 <= page.x1 + 1, text.get_text()
            assert page.y0 - 1 <= box.y0 and box.y1 <= page.y1 + 1, text.get_text()


@pytest.mark.parametrize("plot", PLOTS)
def test_plots_are_not_shown_leave_settings_alone_and_draw_into_given_axes(tables, plot, monkeypatch):
    monkeypatch.setattr(plt, "show", lambda *a, **k: pytest.fail("plt.show was called"))
    before = dict(matplotlib.rcParams)
    options = {"calibration": {"models": ["drug mean"]}, "lines": {"metrics": ["flat"]}}.get(plot, {})
    figure, ax = plt.subplots()
    assert PLOTS[plot](tables, ax=ax, **options) is ax
    assert dict(matplotlib.rcParams) == before


@pytest.mark.parametrize("plot", ["calibration", "lines"])
def test_several_panels_do_not_fit_into_one_axes(tables, plot):
    with pytest.raises(ValueError, match="`ax` takes one"):
        PLOTS[plot](tables, ax=plt.subplots()[1])


def test_bad_tables_get_clear_errors(scores, per_drug, single_cell):
    with pytest.raises(KeyError, match="'value'"):
        scdrug.pl.benchmark_scores(scores.drop(columns="value"))
    with pytest.raises(TypeError, match="DataFrame"):
        scdrug.pl.benchmark_skill([1])
    with pytest.raises(ValueError, match="empty"):
        scdrug.pl.benchmark_per_drug(per_drug.iloc[:0])
    with pytest.raises(ValueError, match="Did you mean 'rmse'"):
        scdrug.pl.benchmark_scores(scores, metric="rmsee")
    with pytest.raises(ValueError, match="No model has a value of 'mcc'"):
        scdrug.pl.benchmark_scores(scores, metric="mcc")
    with pytest.raises(ValueError, match="Name one as `split`"):
        scdrug.pl.benchmark_scores(pd.concat([scores, scores.assign(split="pair")]))
    with pytest.raises(ValueError, match="Name one as `task`"):
        scdrug.pl.benchmark_single_cell(single_cell)
    with pytest.raises(ValueError, match="defined for this task"):
        scdrug.pl.benchmark_single_cell(single_cell, task="lines", metrics=["auroc"])
