"""The page: what it says, where its numbers come from, what it refuses, and that nothing of the user's is code."""

from __future__ import annotations

import base64
import gzip
import re
from io import StringIO
from xml.etree import ElementTree

import anndata as ad
import numpy as np
import pandas as pd
import pytest

import scdrug
from scdrug import get
from scdrug._constants import MIN_RELIABILITY

from .conftest import CONTROLS, HOSTILE


@pytest.fixture(scope="module")
def page(page_file) -> str:
    assert page_file.stat().st_size < 8e6
    return page_file.read_text(encoding="utf-8")


def _write(cells, tmp_path, **options) -> str:
    return scdrug.report(cells, tmp_path / "r.html", **options).read_text(encoding="utf-8")


def _csv(page: str, name: str) -> pd.DataFrame:
    packed = re.search(rf'download="{name}\.csv" data-csv="([^"]+)"', page)[1]
    return pd.read_csv(StringIO(gzip.decompress(base64.b64decode(packed)).decode()), keep_default_na=False)


def _shown(page: str, name: str) -> pd.DataFrame:
    table = re.search(rf'<table id="{name}".*?</table>', page, flags=re.S)[0]
    rows = [["".join(cell.itertext()).strip() for cell in row] for row in ElementTree.fromstring(table).iter("tr")]
    return pd.DataFrame(rows[1:], columns=rows[0])


def test_names_of_users_are_text_and_never_code(page: str) -> None:
    assert HOSTILE not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "\\u003cscript\\u003ealert(1)" in page, "in the data of the cells"


def test_a_formula_in_a_name_is_text_in_the_csv(cells, tmp_path) -> None:
    cells.obs["clone"] = cells.obs["clone"].cat.rename_categories({"clone-b": "=1+1"})
    groups = _csv(_write(cells, tmp_path, groupby="clone"), "groups")
    assert "'=1+1" in set(groups["group"])


def test_nothing_is_asked_of_the_network(page: str) -> None:
    assert not re.findall(r"(?:src|href)=\"(?!data:|#)", page)
    assert "@import" not in page


def test_numbers_of_the_ranking_are_those_of_get(page: str, everything) -> None:
    expected = get.rank_drugs_df(everything)
    shown = _shown(page, "ranked_drugs")
    assert shown["drug"].tolist() == expected["name"].astype(str).tolist()
    numbers = shown["percentile"].astype(float)
    np.testing.assert_allclose(numbers, expected["percentile"], atol=0.0051)
    response = shown["response"].astype(str).str.replace("−", "-").astype(float)
    intervals = shown["interval"].str.replace("−", "-").str.split(" to ", expand=True).astype(float)
    half_width = expected["half_width"]
    np.testing.assert_allclose(response, expected["response"], atol=0.0051)
    np.testing.assert_allclose(intervals[0], expected["response"] - half_width, atol=0.0051)
    np.testing.assert_allclose(intervals[1], expected["response"] + half_width, atol=0.0051)
    window = get.therapeutic_window_df(everything).set_index("drug")["window"]
    stated = shown["window"].astype(str).str.replace("−", "-").astype(float)
    np.testing.assert_allclose(stated, window.reindex(expected["drug"].astype(str)), atol=0.0051)


@pytest.mark.parametrize(
    ("name", "read", "column"),
    [
        ("ranked_drugs", get.rank_drugs_df, "score"),
        ("therapeutic_window", get.therapeutic_window_df, "window"),
        ("combinations", get.suggest_combinations_df, "worst_lower"),
        ("rank_stability", get.rank_stability_df, "stability"),
        ("rank_pathways", get.rank_pathways_df, "score"),
        ("patient_response", get.predict_patients_df, "percentile_worst"),
        ("controls", lambda cells: CONTROLS, "observed"),
        ("groups", lambda cells: get.group_reliability_df(cells, "clone"), "reliability"),
    ],
)
def test_csv_files_hold_the_tables_of_get(name: str, read, column: str, page: str, everything) -> None:
    expected = read(everything)
    np.testing.assert_allclose(_csv(page, name)[column].astype(float), expected[column], rtol=1e-5)


def test_the_heat_map_holds_the_percentiles_of_groups(page: str, everything) -> None:
    expected = get.group_response_df(everything, "clone").pivot(index="drug", columns="group", values="percentile")
    heat = _csv(page, "heat_map").set_index("drug")
    for group in heat:
        np.testing.assert_allclose(heat[group].astype(float), expected[group].reindex(heat.index), rtol=1e-5)


def test_refused_groups_are_greyed_and_named_in_the_verdict(cells, tmp_path) -> None:
    cells.obs.loc[cells.obs["clone"] == "clone-b", "response_reliability"] = MIN_RELIABILITY / 2
    assert get.group_reliability_df(cells, "clone").set_index("group").loc["clone-b", "refused"]
    page = _write(cells, tmp_path)
    cannot = re.search(r"What they cannot say</h3>(.*?)</ul>", page, flags=re.S)[1]
    assert "clone-b" in cannot
    assert "predictions are not to be believed" in cannot
    says = re.search(r"What these cells say</h3>(.*?)</ul>", page, flags=re.S)[1]
    assert "clone-c" in says
    assert "<li>clone-b" not in says, "whatever was ranked for it"
    assert re.search(r'class="n refused">clone-b', page)
    assert '<td class="n refused">' in page


def test_the_verdict_names_the_best_drug_of_each_group(page: str, everything) -> None:
    says = re.search(r"What these cells say</h3>(.*?)</ul>", page, flags=re.S)[1]
    best = get.rank_drugs_df(everything, direction="sensitive").groupby("group", observed=True).head(1)
    for row in best.itertuples():
        assert str(row.name) in says


def test_predictions_alone_make_a_page(cells, tmp_path) -> None:
    for key in ("rank_drugs", "rank_stability", "therapeutic_window", "combinations", "rank_pathways"):
        del cells.uns[key]
    del cells.obsm["X_umap"]
    page = _write(cells, tmp_path)
    best = get.response_df(cells, use="percentile").mean().idxmax()
    assert str(get.drugs_df(cells).loc[best, "name"]) in page
    assert 'id="ranked_drugs"' not in page
    assert 'id="cells"' not in page
    assert "Not computed" in page


def test_a_ranking_that_is_older_than_the_predictions_makes_a_page(cells, everything, tmp_path) -> None:
    best = str(get.rank_drugs_df(everything)["drug"].iloc[0])
    for name in ("predicted_response", "response_percentile"):
        cells.obsm[name] = cells.obsm[name].drop(columns=best)
    stored = cells.uns["predicted_response"]
    place = list(stored["drugs"].index).index(best)
    stored["drugs"] = stored["drugs"].drop(index=best)
    stored["half_width"] = np.delete(stored["half_width"], place)
    stored["line_quantiles"] = stored["line_quantiles"].drop(index=best)
    assert best not in _csv(_write(cells, tmp_path), "heat_map")["drug"].tolist()


def test_results_that_were_written_and_read_make_the_same_page(cells, page, tmp_path) -> None:
    cells.write_h5ad(tmp_path / "cells.h5ad")
    assert _write(ad.read_h5ad(tmp_path / "cells.h5ad"), tmp_path, title=HOSTILE, controls=CONTROLS) == page


def test_every_number_of_the_tables_can_be_had_from_get(page: str, everything) -> None:
    """As it is printed, for all columns that hold a number, but for texts that join two of them."""
    ids = {
        "therapeutic_window": get.therapeutic_window_df, "combinations": get.suggest_combinations_df, "rank_stability": get.rank_stability_df,
        "patient_response": get.predict_patients_df, "rank_pathways": get.rank_pathways_df,
        "groups": lambda cells: get.group_reliability_df(cells, "clone"), "controls": lambda cells: CONTROLS,
    }  # fmt: skip
    for name, read in ids.items():
        expected, shown = read(everything), _shown(page, name)
        heads = re.findall(r'data-name="(\w+)"', re.search(rf'<table id="{name}".*?</thead>', page, flags=re.S)[0])
        numbers = [head for head in heads if head in expected and pd.api.types.is_numeric_dtype(expected[head])]
        assert numbers
        for place, head in enumerate(heads):
            if head not in numbers or expected[head].dtype == bool:
                continue
            texts = (
                shown.iloc[:, place].str.replace("−", "-").str.replace("+", "").str.replace(",", "").str.lstrip("< ")
            )
            scale = 0.01 if texts.str.endswith("%").any() else 1
            found = pd.to_numeric(texts.str.rstrip("%").replace("–", None)) * scale
            np.testing.assert_allclose(found, expected[head].astype(float), atol=0.0051, err_msg=f"{name}: {head}")


def test_the_evidence_of_ranked_drugs_is_that_of_get(page: str, everything) -> None:
    evidence = get.drug_evidence_df(everything)
    shown = _csv(page, "ranked_drugs")
    assert shown["evidence"].tolist() == evidence["evidence"].astype(str).reindex(shown["drug"]).tolist()


def test_controls_stand_beside_chance_and_those_that_may_be_chance_are_named(page: str) -> None:
    shown = _shown(page, "controls")
    assert shown["observed"].astype(float).tolist() == [0.47, 0.55, 0.60]
    assert shown["range"].tolist()[0] == "−0.07 to 0.13"
    assert shown["holds"].tolist() == ["yes", "yes", "no"]
    cannot = re.search(r"What they cannot say</h3>(.*?)</ul>", page, flags=re.S)[1]
    assert "beyond chance: not by each control, see &lt;b&gt;mine&lt;/b&gt; (auroc)" in cannot
    assert "<b>mine" not in page


def test_bundled_models_bring_their_controls(cells, tmp_path, monkeypatch) -> None:
    assert 'id="controls"' not in _write(cells, tmp_path), "nothing is known of a model of one's own"
    with pytest.raises(KeyError, match="No controls are bundled with the model 'KernelRidge'.*check_default"):
        get.controls_df(cells)
    cells.uns["predicted_response"]["model"] = "gdsc-ridge"
    CONTROLS.to_csv(tmp_path / "controls.csv", index=False)
    monkeypatch.setattr("scdrug.model._pretrained.controls_file", lambda name: tmp_path / "controls.csv")
    expected = get.controls_df(cells)
    page = _write(cells, tmp_path, overwrite=True)
    np.testing.assert_allclose(_csv(page, "controls")["observed"].astype(float), expected["observed"])
    assert "benchmark.check_default" not in page


def test_what_others_keep_under_the_same_key_is_left_alone(cells, tmp_path) -> None:
    cells.uns["combinations"] = "A + B"
    assert 'id="combinations"' not in _write(cells, tmp_path)


def test_a_report_alters_nothing(cells, everything, tmp_path) -> None:
    _write(cells, tmp_path)
    assert set(cells.uns) == set(everything.uns)
    pd.testing.assert_frame_equal(cells.obs, everything.obs)


def test_of_many_cells_some_are_drawn_and_the_page_says_so(cells, tmp_path) -> None:
    assert f"50 of {cells.n_obs:,} cells are drawn, chosen by chance" in _write(cells, tmp_path, max_cells=50)


def test_a_table_of_many_rows_is_cut_by_group_and_says_so(cells, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("scdrug._report._tables.MAX_ROWS", 6)
    page = _write(cells, tmp_path)
    expected = get.rank_drugs_df(cells)
    assert f"6 of {len(expected)} rows are shown, the first 2 of each group" in page
    assert len(_csv(page, "ranked_drugs")) == len(expected)


@pytest.mark.parametrize(
    ("name", "options", "error", "message"),
    [
        ("r.pdf", {}, ValueError, "must end in .html"),
        ("r.html", {"groupby": "clones"}, KeyError, "Did you mean 'clone'"),
        ("r.html", {"basis": "tsne"}, KeyError, "X_umap"),
        ("r.html", {"key": "other"}, KeyError, "predict_response"),
        ("r.html", {"n_drugs": 0}, ValueError, "n_drugs"),
        ("r.html", {"controls": CONTROLS.drop(columns="null_high")}, ValueError, "lacks the columns 'null_high'"),
        ("r.html", {"controls": CONTROLS.assign(null="x")}, ValueError, "numbers in .* those of 'null' are not"),
        ("there.html", {}, FileExistsError, "overwrite=True"),
    ],
)
def test_what_cannot_be_written_is_refused_and_nothing_is_left(name, options, error, message, cells, tmp_path) -> None:
    (tmp_path / "there.html").write_text("mine")
    with pytest.raises(error, match=message):
        scdrug.report(cells, tmp_path / name, **options)
    assert [path.name for path in tmp_path.iterdir()] == ["there.html"]
    assert (tmp_path / "there.html").read_text() == "mine"


def test_an_existing_report_is_replaced_on_request(cells, tmp_path) -> None:
    (tmp_path / "r.html").write_text("old")
    assert "old" != _write(cells, tmp_path, overwrite=True)[:3]
