"""Labels of cells: one reading of columns of groups, donors and marks, whatever their type."""

from __future__ import annotations

import warnings

import anndata as ad
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

import scdrug
from scdrug._labels import group_labels, marked_cells, select_groups

N = 120


def with_column(values, *, name: str = "label") -> ad.AnnData:
    obs = pd.DataFrame({name: values}, index=[f"cell-{i}" for i in range(len(values))])
    return ad.AnnData(np.zeros((len(values), 1), dtype=np.float32), obs=obs)


@pytest.fixture(autouse=True)
def no_figure_is_left_open():
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def predicted() -> ad.AnnData:
    cells, reference = scdrug.datasets.toy_cells(n_cells=N), scdrug.datasets.toy()
    scdrug.model.KernelRidge.setup_anndata(reference)
    model = scdrug.model.KernelRidge(reference)
    model.train()
    scdrug.tl.predict_response(cells, model)
    return cells


COLUMNS = {
    "int": np.arange(N) % 3,
    "float": (np.arange(N) % 3).astype(float),
    "Int64": pd.array(np.arange(N) % 3, dtype="Int64"),
    "category of int": pd.Categorical(np.arange(N) % 3),
    "category of float": pd.Categorical((np.arange(N) % 3).astype(float)),
    "text": [str(i % 3) for i in range(N)],
    "string": pd.array([str(i % 3) for i in range(N)], dtype="string"),
}


@pytest.mark.parametrize("kind", COLUMNS)
@pytest.mark.parametrize("number", [1, 1.0, np.int64(1), "1"])
def test_groups_are_found_by_number_and_by_text(predicted, kind, number) -> None:
    cells = predicted.copy()
    cells.obs["cluster"] = COLUMNS[kind]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="p-values describe|Predictions are unreliable")
        scdrug.tl.rank_drugs(cells, "cluster", groups=number, reference=0)
        alone = cells.uns["rank_drugs"]
        scdrug.tl.rank_drugs(cells, "cluster", groups=[number, 2], reference="0", key_added="two")
    assert alone["params"]["reference"] == "0"
    assert list(alone["table"]["group"].unique()) == ["1"]
    assert set(cells.uns["two"]["table"]["group"]) == {"1", "2"}
    assert set(scdrug.get.rank_drugs_df(cells, number)["group"]) == {"1"}
    assert scdrug.pl.rank_drugs(cells, groups=number).get_title(loc="left") == "1"


def test_booleans_are_groups(predicted) -> None:
    cells = predicted.copy()
    cells.obs["tumour"] = pd.array(np.arange(N) % 2 == 0, dtype="boolean")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scdrug.tl.rank_drugs(cells, "tumour", groups=True, reference=np.bool_(False))
    assert set(cells.uns["rank_drugs"]["table"]["group"]) == {"True"}


def test_a_group_that_is_not_there_is_named_with_column_and_nearest(predicted) -> None:
    cells = predicted.copy()
    cells.obs["cluster"] = np.arange(N) % 3 + 50
    with pytest.raises(KeyError, match=r"adata.obs\['cluster'\].*no group '5'.*Did you mean '5\d'"):
        scdrug.tl.rank_drugs(cells, "cluster", groups=5)
    with pytest.raises(KeyError, match=r"adata.obs\['cluster'\].*no group '7'"):
        scdrug.tl.rank_drugs(cells, "cluster", reference=7)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scdrug.tl.rank_drugs(cells, "cluster")
    for function in (scdrug.get.rank_drugs_df, lambda cells, group: scdrug.pl.rank_drugs(cells, groups=group)):
        with pytest.raises(KeyError, match=r"adata.obs\['cluster'\].*no group '5'"):
            function(cells, 5)


def test_texts_that_stand_for_missing_labels_count_as_missing() -> None:
    values = ["a", "nan", "b", "", " ", "None", "<NA>", "NA", "N/A", "NaN", None, "unknown", "none", "Unassigned"]
    adata = with_column(values)
    with pytest.warns(UserWarning, match=r"adata.obs\['label'\].*'nan' \(1\)") as caught:
        labels = group_labels(adata, "label")
    assert caught[0].filename == __file__
    assert list(labels.categories) == ["Unassigned", "a", "b", "none", "unknown"]
    assert list(labels.codes >= 0) == [v in ("a", "b", "unknown", "none", "Unassigned") for v in values]
    as_category = adata.copy()
    as_category.obs["label"] = as_category.obs["label"].astype("category")
    with pytest.warns(UserWarning, match="stand for missing labels"):
        assert list(group_labels(as_category, "label").codes) == list(labels.codes)


def test_donors_that_are_missing_in_disguise_are_no_donor(predicted) -> None:
    cells = predicted.copy()
    donor = np.array(["d1", "d2", "d3", "nan"], dtype=object)[np.arange(N) // 2 % 4]
    cells.obs["donor"], cells.obs["group"] = donor, np.where(np.arange(N) % 2, "x", "y")
    with pytest.warns(UserWarning) as caught:
        scdrug.tl.rank_drugs(cells, "group", sample_key="donor", min_cells=2)
    texts = [str(item.message) for item in caught]
    assert any("'nan' (30)" in text for text in texts) and any("Left out 30 of 120" in text for text in texts)
    assert cells.uns["rank_drugs"]["table"]["n_samples"].max() == 3


def test_one_label_as_number_and_as_text_is_one_group_with_a_warning() -> None:
    adata = with_column([1, "1", "b", 1.0])
    with pytest.warns(UserWarning, match="'1' as number and as text"):
        labels = group_labels(adata, "label")
    assert list(labels) == ["1", "1", "b", "1"]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.linspace(0, 1, N), "holds measurements"),
        (np.linspace(0, 1, N).astype(object), "holds measurements"),
        (np.arange(N) * 7, "120 different numbers in 120 cells"),
        ([f"AAAC{i}" for i in range(3000)], "3,000 different names in 3,000 cells"),
        ([["a"], ["b"]], r"holds objects \(list\)"),
    ],
)
def test_columns_that_are_no_labels_are_refused(values, message) -> None:
    adata = with_column(list(values) if isinstance(values, list) else values)
    with pytest.raises(ValueError, match=rf"adata.obs\['label'\].*{message}"):
        group_labels(adata, "label")


def test_many_declared_categories_take_no_quadratic_time(predicted) -> None:
    cells = ad.concat([predicted] * 20, merge="same", uns_merge="same")
    cells.obs_names = [f"c{i}" for i in range(cells.n_obs)]
    cells.obs["clone"] = pd.Categorical(np.where(np.arange(cells.n_obs) < 40, 0, np.arange(cells.n_obs)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scdrug.tl.rank_drugs(cells, "clone")
    assert set(cells.uns["rank_drugs"]["table"]["group"]) == {"0"}


def test_two_columns_of_one_name_are_refused() -> None:
    adata = with_column(["a", "b"])
    table = pd.concat([adata.obs, adata.obs], axis=1)
    adata._obs = table
    with pytest.raises(ValueError, match="2 columns called 'label'"):
        group_labels(adata, "label")


def test_donors_cannot_be_the_groups(predicted) -> None:
    with pytest.raises(ValueError, match="same column.*'sample'"):
        scdrug.tl.rank_drugs(predicted.copy(), "sample", sample_key="sample")


def test_a_group_called_rest_must_be_renamed(predicted) -> None:
    cells = predicted.copy()
    cells.obs["group"] = np.where(np.arange(N) % 2, "rest", "tumour")
    with pytest.raises(ValueError, match="group called 'rest'.*Rename"):
        scdrug.tl.rank_drugs(cells, "group")


def test_donors_nested_in_groups_are_compared_unpaired(predicted) -> None:
    cells = predicted.copy()
    cells.obs["donor"] = [f"d{i % 6}" for i in range(N)]
    cells.obs["arm"] = np.where(np.arange(N) % 6 < 3, "treated", "untreated")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Predictions are unreliable")
        scdrug.tl.rank_drugs(cells, "arm", sample_key="donor", min_cells=5)
    assert set(cells.uns["rank_drugs"]["table"]["n_samples"]) == {3}


# ---------------------------------------------------------------------- marks

MARKS = {
    "bool": ([True, False, True, False], None),
    "boolean with NA": (pd.array([True, False, True, None], dtype="boolean"), "1 of 4"),
    "object with None": ([True, None, True, False], "1 of 4"),
    "text": (["True", "False", "True", "False"], None),
    "text with nan": (["True", "nan", "True", ""], "2 of 4"),
    "category": (pd.Categorical([True, False, True, None]), "1 of 4"),
    "0 and 1": ([1, 0, 1, 0], None),
    "float": ([1.0, np.nan, 1.0, 0.0], "1 of 4"),
}


@pytest.mark.parametrize("kind", MARKS)
def test_marks_are_read_from_any_type_and_missing_ones_are_counted(kind) -> None:
    values, missing = MARKS[kind]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        marked = marked_cells(with_column(values), "label", argument="fit_on")
    assert marked.dtype == bool and marked.tolist() == [True, False, True, False]
    assert [missing in str(item.message) for item in caught] == ([True] if missing else [])


@pytest.mark.parametrize(
    "values",
    [["malignant", "normal"], [0, 2], [0.5, 1.0], [None, None], ["0", "1"], [pd.Timestamp(0), pd.Timestamp(1)]],
)
def test_other_columns_are_no_marks(values) -> None:
    with pytest.raises(ValueError, match=r"adata.obs\['label'\]` \(`fit_on`\) must be boolean.*Make a column"):
        marked_cells(with_column(values), "label", argument="fit_on")


def test_nullable_marks_fit_as_the_marked_cells_do() -> None:
    cells, reference = scdrug.datasets.toy_cells(), scdrug.datasets.toy()
    cells.obs["known"] = np.arange(cells.n_obs) < 150
    cells.obs["nullable"] = pd.array([True] * 150 + [False] * 40 + [None] * 10, dtype="boolean")
    expected = scdrug.pp.harmonize(cells, reference, fit_on="known")
    with pytest.warns(
        UserWarning, match=r"10 of 200 cells have no value in `adata.obs\['nullable'\]` \(`fit_on`\)"
    ) as caught:
        found = scdrug.pp.harmonize(cells, reference, fit_on="nullable")
    assert caught[0].filename == __file__
    np.testing.assert_allclose(found.X, expected.X)


def test_groups_to_harmonize_by_must_be_labelled() -> None:
    cells, reference = scdrug.datasets.toy_cells(), scdrug.datasets.toy()
    cells.obs["batch"] = ["nan"] * 3 + ["a"] * 97 + ["b"] * 100
    with (
        pytest.warns(UserWarning, match="missing labels"),
        pytest.raises(ValueError, match="'batch'.*3 missing labels"),
    ):
        scdrug.pp.harmonize(cells, reference, groupby="batch")


def test_select_groups_keeps_the_order_asked_for() -> None:
    assert select_groups([2, "1.0", 2.0], ["1.0", "1", "2"], where="here") == ["2", "1.0"]
    with pytest.raises(ValueError, match="No group was named"):
        select_groups([], ["a"], where="here")
