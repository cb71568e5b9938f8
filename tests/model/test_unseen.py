"""What can be told of a drug that was not in training, and what is said of it."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import scdrug

ERLOTINIB = "COCCOc1cc2ncnc(Nc3cccc(c3)C#C)c2cc1OCCOC"


@pytest.fixture(scope="module")
def trained():
    reference = scdrug.datasets.toy()
    scdrug.model.KernelRidge.setup_anndata(reference)
    model = scdrug.model.KernelRidge(reference, drug_kernel="tanimoto")
    model.train()
    return model


def test_any_part_of_what_is_known_may_be_missing(trained) -> None:
    asked = {
        "all": {"smiles": ERLOTINIB, "targets": ["EGFR"], "pathway": "EGFR signaling"},
        "target": {"targets": "EGFR", "smiles": None, "pathway": float("nan")},
        "pathway": {"pathway": "egfr signaling"},
        "structure": ERLOTINIB,
    }
    found = trained.predict(drugs=asked, key_added=None)
    assert list(found.columns) == list(asked)
    one = trained.predict(drugs={"target": asked["target"]}, key_added=None)
    np.testing.assert_allclose(found["target"], one["target"], atol=1e-4)
    assert not np.allclose(found["all"], found["structure"], atol=0.01)
    cells = scdrug.datasets.toy_cells()
    scdrug.tl.predict_response(cells, trained, drugs=asked)
    table = scdrug.get.drugs_df(cells)
    assert table.loc["all", "applicable"]
    assert table.loc["target", "same_target"] >= 1
    assert np.isnan(table.loc["target", "similarity"])


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"x": {}}, "Nothing is given of the drug 'x'"),
        ({"x": {"smiles": "", "targets": []}}, "Nothing is given of the drug 'x'"),
        ({"x": {"smile": "CCO"}}, "unknown fields 'smile'.*'smiles', 'targets', 'pathway'"),
        ({"x": {"smiles": "no molecule", "targets": "EGFR"}}, "given for 'x'"),
        ({"x": {"targets": ["NOSUCHGENE"]}}, "Nothing that this model compares drugs by.*is known of 'x'"),
    ],
)
def test_what_says_nothing_is_refused_by_name(trained, asked, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        trained.predict(drugs=asked, key_added=None)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"smiles": 5}, r"`drugs\['x'\]` must give 'smiles' as a text; found 5"),
        ({"smiles": ["CCO"]}, "must give 'smiles' as a text; found"),
        ({"targets": 7}, "must give 'targets' as a text, or a list of texts; found 7"),
        ({"targets": ["EGFR", 7]}, "must give 'targets' as a text, or a list of texts"),
        ({"smiles": "CCO", "pathway": {"RTK": 1}}, "must give 'pathway' as a text, or a list of texts"),
    ],
)
def test_what_is_no_text_is_refused_by_field(trained, asked, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        trained.predict(drugs={"x": asked}, key_added=None)


def test_missing_values_of_tables_count_as_not_told(trained) -> None:
    one, other = (trained.predict(drugs={"x": part}, key_added=None) for part in (
        {"smiles": "CCO"}, {"smiles": "CCO", "targets": float("nan"), "pathway": pd.NA},
    ))  # fmt: skip
    np.testing.assert_array_equal(one, other)


def test_strangers_are_named_unless_they_share_a_target(trained) -> None:
    strange = {"x": {"smiles": "C1CC2CC1C3C2C4CC3C5C4CC5"}}
    with pytest.warns(UserWarning, match="unlike all drugs of the training"):
        trained.predict(drugs=strange, key_added=None)
    table = trained.nearest_drugs({"x": strange["x"] | {"targets": ["EGFR"]}, "y": strange["x"]})
    assert table["applicable"].tolist() == [True, False]
    assert (table["same_target"] > 0).tolist() == [True, False]


def test_without_minimol_the_bundled_model_answers_by_fingerprints(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scdrug.model._unseen.minimol_is_installed", lambda: False)
    model = scdrug.model.load_pretrained("gdsc-ridge")
    with pytest.warns(UserWarning, match=r"scdrug\[molecule\]"):
        found = model.select_drugs({"x": {"smiles": ERLOTINIB, "targets": ["EGFR"]}})
    assert found[1] == ["x"]
