"""The table of published scores keeps its form: what a row means can be read from it alone."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd
import pytest

from scdrug.metrics import METRICS

PATH = Path(__file__).parents[1] / "docs" / "benchmark" / "published.csv"
COLUMNS = ["paper", "split", "model", "metric", "value", "spread", "data", "selection", "note"]
#: Sizes of test sets, kept because trivial predictors follow from them.
COUNTS = {"n_sensitive", "n_resistant", "n_training_lines"}


@pytest.fixture(scope="module")
def text() -> pd.DataFrame:
    """All cells as they are written."""
    return pd.read_csv(PATH, dtype=str, keep_default_na=False)


@pytest.fixture(scope="module")
def numbers(text: pd.DataFrame) -> pd.DataFrame:
    return text.assign(value=text["value"].astype(float), spread=pd.to_numeric(text["spread"]))


def test_columns_and_papers_are_as_documented(text: pd.DataFrame) -> None:
    assert list(text.columns) == COLUMNS
    assert set(text["paper"]) == {"Bang 2024", "He 2025", "Liu 2024", "Rössner 2025"}


def test_only_the_spread_may_be_empty_and_no_cell_has_stray_spaces(text: pd.DataFrame) -> None:
    assert (text.drop(columns="spread") != "").all(axis=None)
    assert (text == text.map(str.strip)).all(axis=None)


def test_vocabularies_are_closed(text: pd.DataFrame) -> None:
    assert set(text["split"]) == {"pair", "line", "drug", "disjoint", "external", "single_cell"}
    assert set(text["metric"]) <= {metric.name for metric in METRICS} | COUNTS
    assert set(text["selection"]) == {"test", "training", "unknown", "none"}
    assert (text["selection"].eq("none") == text["metric"].isin(COUNTS)).all()


def test_no_score_is_stated_twice(text: pd.DataFrame) -> None:
    assert not text.duplicated(["paper", "split", "model", "metric", "data"]).any()


def test_values_lie_where_their_metric_can_lie(numbers: pd.DataFrame) -> None:
    counts = numbers["metric"].isin(COUNTS)
    assert (numbers.loc[counts, "value"] % 1 == 0).all()
    assert numbers.loc[numbers["metric"] == "rmse", "value"].between(0.5, 4).all()
    assert numbers.loc[~counts & (numbers["metric"] != "rmse"), "value"].between(0, 1).all()
    assert numbers["spread"].dropna().between(0, 1, inclusive="neither").all()


def test_every_row_names_its_place_in_the_paper(text: pd.DataFrame) -> None:
    assert text["note"].map(lambda note: bool(re.match(r"(Table|Section) \d", note))).all()


def test_tables_are_complete(text: pd.DataFrame) -> None:
    bang = text[(text["paper"] == "Bang 2024") & text["note"].str.startswith("Table 1")]
    assert bang.groupby(["split", "metric"])["model"].nunique().eq(9).all()
    assert len(bang) == 4 * 2 * 9
    liu = text[text["paper"] == "Liu 2024"]
    sizes = liu.groupby(liu["note"].str.slice(0, 7)).size().to_dict()
    # HNMDRP cannot take new lines, nor patients
    assert sizes == {"Table 3": 32, "Table 5": 30, "Table 6": 30, "Table 7": 28, "Table 8": 12}


def test_variances_are_marked_where_the_paper_prints_them_as_a_spread(text: pd.DataFrame) -> None:
    liu = text["paper"] == "Liu 2024"
    assert (liu == text["note"].str.contains("variance")).all()


def test_ablation_without_both_tasks_is_the_model_it_builds_on(text: pd.DataFrame) -> None:
    liu = text[(text["paper"] == "Liu 2024") & (text["split"] == "pair")]
    value = liu.set_index(["model", "metric", "data"])["value"]
    assert value["MTIGCN-AB"].to_dict() == value["NIHGCN"].to_dict()


def _markdown_rows() -> list[list[str]]:
    """Cells of the tables on the page, without heads and rules."""
    text = (PATH.parent / "published_tables.md").read_text(encoding="utf-8")
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("| ")
    ]
    return [row for row in rows if row[0] not in ("model", "test cells")]


def test_tables_on_the_page_hold_the_values_of_the_file(text: pd.DataFrame) -> None:
    value = text[text["paper"] == "Bang 2024"].set_index(["split", "model", "metric"])["value"].to_dict()
    bang = [row for row in _markdown_rows() if len(row) == 5]
    assert len(bang) == 9
    for model, *cells in bang:
        for split, cell in zip(("pair", "line", "drug", "disjoint"), cells, strict=True):
            stated = [value[split, model, metric] for metric in ("rmse", "pearson")]
            assert cell == " / ".join(stated)
    liu = text[text["paper"] == "Liu 2024"]
    columns = [
        *[(split, data) for data in ("GDSC,", "CCLE,") for split in ("pair", "line", "drug")],
        ("external", "GDSC to PDX"),
        ("external", "GDSC to TCGA"),
    ]
    for name, *cells in (row for row in _markdown_rows() if len(row) == 9):
        rows = liu[liu["model"] == name.removesuffix(" †")]
        assert set(rows["selection"]) == ({"test"} if name.endswith("†") else {"unknown"})
        for (split, data), cell in zip(columns, cells, strict=True):
            stated = rows[rows["split"].eq(split) & rows["data"].str.startswith(data) & rows["metric"].eq("auroc")][
                "value"
            ]
            assert cell == (" / ".join(stated) or "–")


def test_all_sensitive_predictor_follows_from_the_counts(numbers: pd.DataFrame) -> None:
    counts = numbers[numbers["metric"].isin(COUNTS)].pivot_table(index="data", columns="metric", values="value")
    accuracy = counts["n_sensitive"] / (counts["n_sensitive"] + counts["n_resistant"])
    mean = f"{accuracy.mean():.3f} / {(2 * accuracy / (1 + accuracy)).mean():.3f}"
    stated = [row[2] for row in _markdown_rows() if len(row) == 3 and "all sensitive" in row[1]]
    assert stated[0] == mean
    assert len(stated) == 2
