"""A report says what was measured, what limits it, and stands alone."""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
import pytest
from scipy import stats

matplotlib.use("Agg")

from scdrug.benchmark import ModelSpec, make_splits, run
from scdrug.benchmark._store import SCREEN_COLUMNS
from scdrug.benchmark.report._markdown import escape
from scdrug.benchmark.report._published import read_published
from scdrug.benchmark.report._scores import split_scores
from scdrug.benchmark.report._tables import RESPONSE_METRICS, score_table
from scdrug.benchmark.report._write import write_report

FOLDS = ["1.1", "1.2", "1.3", "1.4"]
LEVELS = {"means": 0.0, "ridge": 0.5, "network": 0.6}
CLASSES = {"means": "AdditiveMean", "ridge": "KernelRidge", "network": "Network"}
METRICS = ("per_drug_pearson", "per_line_pearson_centered", "skill", "rmse", "pearson")


@dataclass
class Stand:
    """The documented face of `Results`."""

    scores: pd.DataFrame
    per_drug: pd.DataFrame
    folds: pd.DataFrame
    screens: pd.DataFrame
    single_cell: pd.DataFrame
    provenance: dict[str, Any]
    name: str = "Made up"
    pairs: dict[str, pd.DataFrame] = field(default_factory=dict)

    def predictions(self, split: str, model: str) -> pd.DataFrame:
        return self.pairs[model]

    def summary(self, metrics=None) -> pd.DataFrame:
        grouped = self.scores.groupby(["split", "model", "metric"], sort=False)["value"]
        table = pd.DataFrame({"mean": grouped.mean(), "sd": grouped.std(ddof=1), "n": grouped.count()})
        return table.unstack("metric").swaplevel(axis=1)

    def compare(self, baseline: str, metric: str = "per_drug_pearson") -> pd.DataFrame:
        rows = []
        for split, part in self.scores[self.scores["metric"] == metric].groupby("split"):
            wide = part.pivot_table(index=["repeat", "fold"], columns="model", values="value")
            for model in wide.columns.drop(baseline):
                pairs = wide[[model, baseline]].dropna()
                difference = pairs[model] - pairs[baseline]
                p_value = stats.ttest_rel(pairs[model], pairs[baseline]).pvalue if len(pairs) > 1 else np.nan
                rows.append((split, model, difference.mean(), -0.1, 0.3, p_value, len(pairs)))
        return pd.DataFrame(rows, columns=["split", "model", "difference", "low", "high", "p_value", "n"])


def make_stand(splits=("line",), models=tuple(LEVELS), *, labels: bool = False, cells: bool = False) -> Stand:
    rng = np.random.default_rng(0)
    scores, per_drug, folds = [], [], []
    for split in splits:
        for model in models:
            for fold in range(1, 5):
                level = LEVELS[model] + 0.01 * fold + 0.003 * rng.normal()
                values = dict(zip(METRICS, (level, level / 2, level / 3, 2 - level, 0.9)))
                values |= {"per_drug_auroc": 0.5 + level / 2, "mcc": level} if labels else {}
                scores += [(split, model, 1, fold, metric, value) for metric, value in values.items()]
                for drug in range(6):
                    per_drug.append((split, model, 1, fold, f"drug-{drug}", 10, level, level, 2 - level, 2.0))
                folds.append((split, model, 1, fold, 100, 10, 60, 1.5, 0.1, 800.0, '{"ridge": 0.1}', 0.4))
    truth = rng.normal(size=200)
    pairs = {
        model: pd.DataFrame({
            "repeat": 1, "fold": 1, "line": "l", "drug": "a", "observed": truth, "predicted": LEVELS[model] * truth,
        })
        for model in models
    }  # fmt: skip
    cell_rows = [
        ("sc", model, 0, level, metric, LEVELS[model] * share, 0.1, 0.7)
        for model in models
        for metric in ("flat", "contrast")
        for level, share in (("line mean", 0.6), ("bulk", 0.8))
    ]
    described = {"kind": "", "seed": 42, "n_folds": 4, "folds": FOLDS, "test_fraction": 0.25, "sha256": "ab" * 32}
    return Stand(
        scores=pd.DataFrame(scores, columns=["split", "model", "repeat", "fold", "metric", "value"]),
        per_drug=pd.DataFrame(per_drug, columns=[
            "split", "model", "repeat", "fold", "drug", "n", "pearson", "spearman", "rmse", "baseline_rmse",
        ]),
        folds=pd.DataFrame(folds, columns=[
            "split", "model", "repeat", "fold", "n_train", "n_validation", "n_test", "fit_seconds", "predict_seconds",
            "peak_mb", "params", "validation_score",
        ]),
        screens=pd.DataFrame(columns=list(SCREEN_COLUMNS)),
        single_cell=pd.DataFrame(
            cell_rows if cells else [], columns=["task", "model", "seed", "level", "metric", "value", "low", "high"]
        ),
        provenance={
            "created": "2026-01-01T00:00:00+00:00", "seed": 7, "data": {"sha256": "cd" * 32, "n_lines": 938},
            "splits": {split: {**described, "kind": split} for split in splits},
            "models": {model: {"name": model, "model": CLASSES[model], "params": {"ridge": 0.2}} for model in models},
            "versions": {"scdrug": "0.1.0", "numpy": "2.3"},
        },
        pairs=pairs,
    )  # fmt: skip


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """A real run, small."""
    from scdrug import datasets

    screen = datasets.toy(n_lines=40, n_genes=200)
    models = [
        ModelSpec("means", "AdditiveMean"),
        ModelSpec("ridge | <b>1</b>", "KernelRidge", tune={"ridge": [0.1, 1.0]}),
    ]
    splits = make_splits(screen, "line", n_folds=3)
    return run(screen, splits, models, out=tmp_path_factory.mktemp("run") / "out", progress=False)


@pytest.fixture(scope="module")
def folder(results, tmp_path_factory) -> Path:
    """All formats of its report."""
    out = tmp_path_factory.mktemp("report") / "deep" / "report"
    write_report(results, out)
    return out


@pytest.fixture(scope="module")
def html(folder) -> str:
    return (folder / "report.html").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def markdown(folder) -> str:
    return (folder / "report.md").read_text(encoding="utf-8")


def _report(results, folder: Path, name: str, **options: Any) -> str:
    write_report(results, folder, formats=["markdown" if name.endswith("md") else "html"], **options)
    return (folder / name).read_text(encoding="utf-8")


def _rows(markdown: str, title: str) -> dict[str, list[str]]:
    """Rows of the table under a heading, by their first cell, marks of emphasis kept."""
    part = markdown.split(f"### {title}\n", 1)[1].split("\n### ", 1)[0]
    rows = [re.split(r"(?<!\\)\|", line)[1:-1] for line in part.splitlines() if line.startswith("|")]
    return {row[0].strip(): [cell.strip() for cell in row[1:]] for row in rows}


class _Page(HTMLParser):
    """What a browser would load, and whether tags are closed."""

    def __init__(self) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.open: list[str] = []
        self.ids: list[str] = []

    def handle_starttag(self, tag, attrs) -> None:
        if tag not in ("meta", "img", "br", "link", "input"):
            self.open.append(tag)
        for name, value in attrs:
            if name in ("src", "href", "srcset", "data", "action", "poster"):
                self.loads.append(value or "")
            if name == "id":
                self.ids.append(value or "")

    def handle_endtag(self, tag) -> None:
        assert self.open.pop() == tag


# ---------------------------------------------------------------------- a real run


def test_a_report_of_a_run_holds_all_formats(results, folder) -> None:
    names = ["figures", "per_drug.csv", "report.html", "report.md", "scores.csv"]
    assert sorted(path.name for path in folder.iterdir()) == names
    plots = ["line-calibration.png", "line-per-drug.png", "line-scores.png", "line-skill.png"]
    assert sorted(path.name for path in (folder / "figures").iterdir()) == plots
    pd.testing.assert_frame_equal(pd.read_csv(folder / "scores.csv"), results.scores, check_dtype=False)


def test_the_page_loads_nothing_and_is_well_formed(html) -> None:
    page = _Page()
    page.feed(html)
    assert page.open == []
    outside = [link for link in page.loads if not link.startswith(("data:image/png;base64,", "#"))]
    assert outside == []
    assert {link[1:] for link in page.loads if link.startswith("#")} <= set(page.ids)
    assert "url(" not in html
    assert "@import" not in html
    assert 'name="viewport"' in html
    pictures = [link for link in page.loads if link.startswith("data:")]
    assert len(pictures) == 4
    assert all(base64.b64decode(link.split(",", 1)[1]).startswith(b"\x89PNG") for link in pictures)


def test_names_are_escaped(html, markdown) -> None:
    assert "<b>1</b>" not in html
    assert "ridge | &lt;b&gt;1&lt;/b&gt;" in html
    assert "*ridge \\| \\<b\\>1\\</b\\>*" in _rows(markdown, "Split line")


def test_values_of_the_table_are_those_of_the_summary(results, markdown) -> None:
    rows = _rows(markdown, "Split line")
    heads = rows["model"]
    assert heads[:6] == ["▸ per-drug r", "per-drug ρ", "per-line centred r", "skill", "RMSE", "pooled r\\*"]
    summary = results.summary()
    for model, label in (("means", "*means*"), ("ridge | <b>1</b>", "*ridge \\| \\<b\\>1\\</b\\>*")):
        for column, metric in enumerate(RESPONSE_METRICS):
            mean = float(rows[label][column].strip("*").split("±")[0].replace("−", "-"))
            assert mean == pytest.approx(summary.loc[("line", model), (metric, "mean")], abs=6e-4)
        assert rows[label][-1] == "3"


def test_the_drug_mean_is_a_row_of_every_table_with_its_measured_error(results, markdown) -> None:
    row = _rows(markdown, "Split line")["*drug mean (by definition)*"]
    assert row[:4] == ["0.000"] * 4
    # on new lines, drug mean + line mean is the drug mean
    expected = results.summary().loc[("line", "means"), ("rmse", "mean")]
    assert float(row[4].split("±")[0]) == pytest.approx(expected, abs=6e-4)


def test_provenance_names_versions_hash_seeds_and_splits(results, html) -> None:
    assert results.provenance["data"]["sha256"] in html
    assert results.provenance["splits"]["line"]["sha256"] in html
    assert results.provenance["versions"]["numpy"] in html
    assert "seed 0" in html  # of the folds
    assert "3 folds" in html


def test_a_report_can_be_one_file(results, tmp_path) -> None:
    assert write_report(results, tmp_path / "table.md") == [tmp_path / "table.md"]
    assert "figures/" not in (tmp_path / "table.md").read_text()
    write_report(results, tmp_path / "table.csv")
    assert len(pd.read_csv(tmp_path / "table.csv")) == len(results.scores)
    assert len(list(tmp_path.iterdir())) == 2


# ---------------------------------------------------------------------- what the table says


def test_the_best_value_of_each_column_is_bold_and_errors_are_best_low(tmp_path) -> None:
    rows = _rows(_report(make_stand(), tmp_path, "report.md"), "Split line")
    assert all(cell.startswith("**") for cell in rows["network"][:4])
    assert not any(cell.startswith("**") for cell in rows["*ridge*"][:4])
    assert [cell.startswith("**") for cell in (rows["network"][4], rows["*ridge*"][4], rows["*means*"][4])] == [
        True
    ] * 3


def test_differences_are_to_the_strongest_baseline_and_corrected_after_holm() -> None:
    stand = make_stand()
    scores = split_scores(stand, "line", ["means", "ridge"])
    assert scores.strongest == "ridge"
    assert scores.winner == "network"
    raw = stand.compare("ridge").set_index("model")["p_value"].sort_values()
    expected = [min(1.0, 2 * raw.iloc[0]), min(1.0, max(2 * raw.iloc[0], raw.iloc[1]))]
    np.testing.assert_allclose(scores.tests["holm"].reindex(raw.index), expected)
    rows = {row.label: row for row in score_table(scores, RESPONSE_METRICS, "t").rows}
    assert rows["ridge"].cells[-3].text == "strongest baseline"
    assert rows["network"].cells[-3].text == f"+{scores.tests.loc['network', 'difference']:.3f} [−0.100, 0.300]"


@pytest.mark.parametrize(
    ("kind", "metric"),
    [("line", "per_drug_pearson"), ("pair", "per_line_pearson_centered"), ("drug", "per_line_pearson_centered")],
)
def test_each_kind_of_split_is_judged_by_what_effects_cannot_fill(kind: str, metric: str) -> None:
    assert split_scores(make_stand([kind]), kind, ["ridge"]).headline == metric


def test_pooled_values_come_with_a_remark(tmp_path) -> None:
    assert "mostly reflects which drug it is" in _report(make_stand(), tmp_path, "report.md")


def test_labels_get_a_table_of_their_own(tmp_path) -> None:
    markdown = _report(make_stand(labels=True), tmp_path, "report.md")
    assert _rows(markdown, "Split line, sensitive or resistant")["model"][:2] == ["per-drug AUROC", "MCC"]
    assert "sensitive or resistant" not in _report(make_stand(), tmp_path, "report.md")


def test_single_cells_get_tables_and_a_plot(tmp_path) -> None:
    stand = make_stand(cells=True)
    markdown = _report(stand, tmp_path, "report.md")
    rows = _rows(markdown, "sc, flat: over all (line, drug) pairs")
    assert rows["network"][0] == "**0.360 [0.100, 0.700]**".replace("[", "\\[").replace("]", "\\]")
    assert rows["model"][-1] == "upper bound (bulk)"
    paths = write_report(stand, tmp_path / "all")
    assert {"single_cell.csv", "single-cell-sc.png"} <= {path.name for path in paths}


def test_seconds_memory_and_tuned_values_are_listed(tmp_path) -> None:
    rows = _rows(_report(make_stand(), tmp_path, "report.md"), "Time and memory")
    assert rows["ridge"] == ["line", "100", "60", "1.5", "0.1", "800", "ridge 0.1"]


# ---------------------------------------------------------------------- subsets


@pytest.mark.parametrize(
    ("splits", "models"),
    [(["line"], ["network"]), (["drug"], ["means"]), (["own"], ["means", "network"])],
)
def test_any_subset_can_be_reported(splits, models, tmp_path) -> None:
    stand = make_stand(splits, models)
    html = _report(stand, tmp_path, "report.html")
    for split in splits:
        assert f'id="split-{split}"' in html
    if len(models) == 1:
        assert "<b>0" not in html  # nothing to choose from


def test_single_cells_alone_can_be_reported(tmp_path) -> None:
    stand = make_stand(cells=True)
    stand.scores, stand.per_drug, stand.folds = stand.scores[:0], stand.per_drug[:0], stand.folds[:0]
    html = _report(stand, tmp_path, "report.html")
    assert 'id="single-cells"' in html
    assert 'href="#overview"' not in html


def test_one_fold_has_no_spread_and_no_test(tmp_path) -> None:
    stand = make_stand()
    for name in ("scores", "per_drug", "folds"):
        table = getattr(stand, name)
        setattr(stand, name, table[table["fold"] == 1])
    rows = _rows(_report(stand, tmp_path, "report.md"), "Split line")
    assert "±" not in rows["network"][0]
    assert rows["network"][-1] == "1 of 4 †"
    assert rows["network"][-2] == "–"


def test_provenance_may_be_scarce(tmp_path) -> None:
    stand = make_stand()
    stand.provenance = {}
    assert "### Split line" in _report(stand, tmp_path, "report.md")


def test_splits_go_from_easy_to_hard(tmp_path) -> None:
    markdown = _report(make_stand(["disjoint", "drug", "line", "pair"]), tmp_path, "report.md")
    found = re.findall(r"^### Split (\w+)$", markdown, flags=re.M)
    assert found == ["pair", "line", "drug", "disjoint"]


# ---------------------------------------------------------------------- warnings


def test_missing_folds_are_named_and_their_model_is_no_candidate_for_bold(tmp_path) -> None:
    stand = make_stand()
    gone = (stand.scores["model"] == "network") & (stand.scores["fold"] > 2)
    stand.scores = stand.scores[~gone]
    markdown = _report(stand, tmp_path, "report.md")
    rows = _rows(markdown, "Split line")
    assert "unfinished. Split line lacks folds of network (2 of 4)" in markdown
    assert rows["network"][-1] == "2 of 4 †"
    assert not rows["network"][0].startswith("**")
    assert rows["*ridge*"][0].startswith("**")


def test_transductive_models_are_named(tmp_path) -> None:
    stand = make_stand()
    stand.folds["transductive"] = stand.folds["model"] == "network"
    markdown = _report(stand, tmp_path, "report.md")
    assert "Transductive on line: network." in markdown
    assert "Transductive" not in _report(make_stand(), tmp_path, "report.md")


def test_drugs_with_too_few_test_lines_are_counted_once_for_all_models(tmp_path) -> None:
    stand = make_stand()
    few = (stand.per_drug["drug"] == "drug-2") & (stand.per_drug["fold"] < 3)
    stand.per_drug.loc[few, ["n", "pearson", "spearman"]] = [2, np.nan, np.nan]
    assert "1 of 6 drugs had fewer than 3 test lines in at least one fold, 2 of 24 times in all" in _report(
        stand, tmp_path, "report.md"
    )


def test_a_missing_strong_baseline_is_said(tmp_path) -> None:
    assert "No strong baseline was run on line" in _report(
        make_stand(models=["means", "network"]), tmp_path, "report.md"
    )
    assert "No strong baseline" not in _report(make_stand(), tmp_path, "report.md")
    stand = make_stand(models=["ridge", "network"])
    stand.provenance["models"]["ridge"] |= {"model": "BulkClassifier", "params": {"method": "drug_rate"}}
    assert "No strong baseline" in _report(stand, tmp_path, "report.md")


def test_models_without_errors_are_explained(tmp_path) -> None:
    stand = make_stand()
    stand.scores = stand.scores[
        ~((stand.scores["model"] == "network") & stand.scores["metric"].isin(["rmse", "skill"]))
    ]
    stand.per_drug.loc[stand.per_drug["model"] == "network", "rmse"] = np.nan
    markdown = _report(stand, tmp_path, "report.md")
    assert "network: predictions are not in the unit of the response" in markdown
    assert _rows(markdown, "Split line")["network"][3] == "–"


# ---------------------------------------------------------------------- figures in print


def test_figures_in_print_stand_beside_their_split_and_are_marked(tmp_path) -> None:
    table = pd.DataFrame(
        {"split": ["line", "line", "drug"], "model": ["Deep | A", "Deep B", "Deep A"], "rmse": [1.1, 1.2, 2.0],
         "pearson": [0.9, None, 0.5], "source": "Someone 2020", "data": "GDSC1", "note": ["", "best epoch", ""]}
    )  # fmt: skip
    table.to_csv(tmp_path / "published.csv", index=False)
    for published in (table, tmp_path / "published.csv"):
        markdown = _report(make_stand(), tmp_path / "out", "report.md", published=published)
        rows = _rows(markdown, "In print, line: responses")
        assert rows["Deep \\| A"] == ["Someone 2020", "1.100", "0.900", "not stated", "GDSC1", ""]
        assert rows["Deep B"][2] == "–"
        assert "Other data, often the best epoch on the test set" in markdown
        assert "In print, drug" not in markdown


def test_the_published_table_of_the_docs_can_be_read() -> None:
    table = read_published(Path(__file__).parents[2] / "docs" / "benchmark" / "published.csv")
    assert {"line", "pair", "drug", "disjoint", "single_cell"} <= set(table["split"])
    assert set(table["source"]) == {"Bang 2024", "He 2025", "Liu 2024", "Rössner 2025"}


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (pd.DataFrame({"model": ["a"]}), "need the columns 'split' and 'model'"),
        (pd.DataFrame({"split": ["line"], "model": ["a"], "r": [1]}), "named like a metric"),
        (pd.DataFrame({"split": ["line"], "model": ["a"], "rmse": ["good"]}), "hold no number"),
    ],
)
def test_foreign_tables_of_figures_in_print_are_refused(table, message, tmp_path) -> None:
    with pytest.raises(ValueError, match=message):
        write_report(make_stand(), tmp_path / "out", published=table)
    assert not (tmp_path / "out").exists()


# ---------------------------------------------------------------------- bad input


def test_foreign_objects_and_empty_results_are_refused(tmp_path) -> None:
    with pytest.raises(TypeError, match="read_results"):
        write_report(pd.DataFrame(), tmp_path)
    stand = make_stand()
    stand.scores = stand.scores[:0]
    with pytest.raises(ValueError, match="No fold of 'Made up' is finished"):
        write_report(stand, tmp_path)
    with pytest.raises(ValueError, match="Did you mean 'markdown'"):
        write_report(make_stand(), tmp_path, formats=["markdwon"])
    with pytest.raises(ValueError, match="Did you mean 'network'"):
        write_report(make_stand(), tmp_path, baselines=["networks"])
    (tmp_path / "file").write_text("precious")
    with pytest.raises(ValueError, match="is a file"):
        write_report(make_stand(), tmp_path / "file")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_baselines_can_be_named() -> None:
    scores = split_scores(make_stand(), "line", ["network"])
    assert scores.strongest == "network"


def test_a_full_disk_leaves_the_old_report(tmp_path, monkeypatch) -> None:
    write_report(make_stand(), tmp_path / "report.md")
    before = (tmp_path / "report.md").read_bytes()

    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_report(make_stand(models=["means"]), tmp_path / "report.md")
    assert (tmp_path / "report.md").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["report.md"]


def test_open_figures_and_settings_of_the_session_are_left_alone(tmp_path) -> None:
    import matplotlib.pyplot as plt

    mine = plt.figure()
    with plt.style.context("dark_background"):
        before = dict(matplotlib.rcParams)
        write_report(make_stand(), tmp_path, formats=["figures"])
        assert dict(matplotlib.rcParams) == before
    assert plt.get_fignums() == [mine.number]
    plt.close(mine)


def test_markdown_is_escaped() -> None:
    assert escape("a|b_c*d\n<e>") == "a\\|b\\_c\\*d \\<e\\>"
