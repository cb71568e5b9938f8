from __future__ import annotations

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import scdrug
from scdrug.pp._response import METHODS, binarize


def reference(direction: str | None = "lower is more sensitive", **drugs) -> ad.AnnData:
    n = len(next(iter(drugs.values())))
    lines = [f"line{i}" for i in range(n)]
    adata = ad.AnnData(np.zeros((n, 1), dtype=np.float32), obs=pd.DataFrame(index=lines))
    adata.obsm["response"] = pd.DataFrame(drugs, index=lines, dtype=float)
    if direction is not None:
        adata.uns["response"] = {"direction": direction}
    return adata


VALUES = np.array([5.0, 1, 9, 3, np.nan, 7, 2, 8, 4, 6, 10])


def test_extreme_labels_the_two_ends_and_discards_the_middle():
    result = binarize(VALUES, method="extreme", fraction=0.3)
    assert np.array_equal(result.labels, [np.nan, 1, 0, 1, np.nan, np.nan, 1, 0, np.nan, np.nan, 0], equal_nan=True)
    measured = VALUES[np.isfinite(VALUES)]
    assert result.sensitive_threshold == np.quantile(measured, 0.3)
    assert result.resistant_threshold == np.quantile(measured, 0.7)


def test_extreme_is_strict_on_the_sensitive_side_only():
    values = np.repeat([1.0, 2.0, 3.0], 5)
    labels = binarize(values, method="extreme", fraction=0.4).labels  # both quantiles fall on 2
    assert labels.tolist() == [1] * 5 + [0] * 10


def test_median_splits_all_lines():
    result = binarize(VALUES, method="median")
    assert result.sensitive_threshold == result.resistant_threshold == 5.5
    assert (result.labels == 1).sum() == (result.labels == 0).sum() == 5


def test_threshold_itself_is_resistant():
    assert binarize(np.array([1.0, 2.0, 3.0]), method="threshold", threshold=2.0).labels.tolist() == [1, 0, 0]


def test_waterfall_cuts_at_the_elbow():
    # a steep fall of five lines, then a plateau: the elbow is where the plateau begins
    values = np.concatenate([[-8.0, -6, -4, -2, 0], np.linspace(2, 2.5, 45)])
    result = binarize(np.random.default_rng(0).permutation(values), method="waterfall")
    assert result.sensitive_threshold == 2.0
    assert (result.labels == 1).sum() == 5


def test_waterfall_of_a_straight_line_takes_the_median():
    values = np.linspace(0, 1, 31)
    assert binarize(values, method="waterfall").sensitive_threshold == np.median(values)


def test_waterfall_threshold_is_the_point_farthest_from_the_line():
    values = np.sort(np.random.default_rng(1).lognormal(sigma=1.5, size=60))[::-1]
    x = np.arange(60)
    slope = (values[-1] - values[0]) / 59
    distance = np.abs(slope * x - values + values[0]) / np.hypot(slope, 1)  # of points to a line in the plane
    assert binarize(values, method="waterfall").sensitive_threshold == values[np.argmax(distance)]


RESPONSES = arrays(np.float64, st.integers(2, 40), elements=st.integers(-50, 50).map(float) | st.just(np.nan))


@given(RESPONSES, st.sampled_from(METHODS), st.floats(0.05, 0.45), st.randoms(use_true_random=False))
@settings(deadline=None, max_examples=200)
def test_labels_follow_the_order_of_responses(values, method, fraction, random):
    options = {"method": method, "fraction": fraction, "min_lines": 2}
    if method == "threshold":
        options["threshold"] = 0.5
    result = binarize(values, **options)
    labels = result.labels
    assert np.isnan(labels[np.isnan(values)]).all()
    sensitive, resistant = values[labels == 1], values[labels == 0]
    if len(sensitive) and len(resistant):
        assert sensitive.max() < resistant.min()
    # lines in another order, and a response turned upside down, get the same labels
    order = random.sample(range(len(values)), len(values))
    assert np.array_equal(binarize(values[order], **options).labels, labels[order], equal_nan=True)
    if method == "threshold":
        options["threshold"] = -0.5
    negative = binarize(-values, lower_is_sensitive=False, **options)
    assert np.array_equal(negative.labels, labels, equal_nan=True)
    assert np.allclose(-negative.sensitive_threshold, result.sensitive_threshold, equal_nan=True)


def test_binarize_response_stores_labels_and_thresholds():
    adata = reference(a=VALUES, b=-VALUES)
    before = adata.obsm["response"].copy()
    assert scdrug.pp.binarize_response(adata) is None
    labels = adata.obsm["response_binary"]
    assert list(labels.columns) == ["a", "b"]
    assert list(labels.index) == list(adata.obs_names)
    assert np.array_equal(labels["b"], 1 - labels["a"], equal_nan=True)
    stored = adata.uns["response_binary"]
    assert (stored["method"], stored["fraction"]) == ("extreme", 0.3)
    table = stored["thresholds"].loc["a"]
    assert (table["n_sensitive"], table["n_resistant"], table["n_discarded"], table["status"]) == (3, 3, 4, "ok")
    pd.testing.assert_frame_equal(adata.obsm["response"], before)


@pytest.mark.parametrize("direction", ["higher is more sensitive", "higher"])
def test_direction_is_read_from_the_reference(direction):
    low, high = reference(a=VALUES), reference(direction, a=-VALUES)
    for adata in (low, high):
        scdrug.pp.binarize_response(adata, method="median")
    pd.testing.assert_frame_equal(low.obsm["response_binary"], high.obsm["response_binary"])
    assert high.uns["response_binary"]["thresholds"].loc["a", "sensitive_threshold"] == -5.5
    assert high.uns["response_binary"]["direction"] == "higher is more sensitive"


def test_direction_defaults_to_lower_and_nonsense_is_an_error():
    adata = reference(None, a=VALUES)
    scdrug.pp.binarize_response(adata, method="median")
    assert adata.obsm["response_binary"]["a"].iloc[1] == 1
    with pytest.raises(ValueError, match="must be 'lower is more sensitive' or 'higher is more sensitive'; found 'up'"):
        scdrug.pp.binarize_response(reference("up", a=VALUES))


@pytest.mark.parametrize("method", ["extreme", "median", "waterfall"])
def test_drugs_that_cannot_be_labelled_are_named_and_stay_empty(method):
    few = np.full(11, np.nan)
    few[:3] = [1, 2, 3]
    adata = reference(good=VALUES, constant=np.ones(11), never=np.full(11, np.nan), few=few)
    with pytest.warns(UserWarning) as caught:
        scdrug.pp.binarize_response(adata, method=method)
    messages = " ".join(str(warning.message) for warning in caught)
    assert "2 drugs have too few measured lines (`min_lines`) and get no label: 'never', 'few'" in messages
    assert "1 drugs have responses too alike to be told apart and get no label: 'constant'" in messages
    assert all(warning.filename == __file__ for warning in caught)
    labels = adata.obsm["response_binary"]
    assert labels[["constant", "never", "few"]].isna().all(axis=None)
    assert labels["good"].notna().any()
    table = adata.uns["response_binary"]["thresholds"]
    assert table["status"].tolist() == ["ok", "not separable", "too few lines", "too few lines"]


def test_thresholds_join_by_drug_id_not_by_position():
    adata = reference(**{"101": [1.0, 2, 3], "202": [10.0, 20, 30]})
    for threshold in ({"202": 25.0, "101": 1.5}, pd.Series([25.0, 1.5], index=[202, 101])):
        scdrug.pp.binarize_response(adata, method="threshold", threshold=threshold)
        assert adata.obsm["response_binary"]["101"].tolist() == [1, 0, 0]
        assert adata.obsm["response_binary"]["202"].tolist() == [1, 1, 0]
    scdrug.pp.binarize_response(adata, method="threshold", threshold=3)
    assert adata.obsm["response_binary"]["101"].tolist() == [1, 1, 0]


def test_thresholds_that_do_not_join_are_an_error():
    adata = reference(a=[1.0, 2], b=[1.0, 2])
    with pytest.raises(KeyError, match="no drug is called 'c'"):
        scdrug.pp.binarize_response(adata, method="threshold", threshold={"a": 1, "b": 1, "c": 1})
    with pytest.raises(KeyError, match="1 drugs have no threshold, such as 'b'"):
        scdrug.pp.binarize_response(adata, method="threshold", threshold={"a": 1})
    with pytest.raises(KeyError, match="'a' more than once"):
        scdrug.pp.binarize_response(adata, method="threshold", threshold=pd.Series([1, 2, 3], index=["a", "a", "b"]))
    assert "response_binary" not in adata.obsm


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "extrem"}, "Did you mean 'extreme'"),
        ({"fraction": 0.5}, "less than 0.5; found 0.5"),
        ({"method": "threshold"}, "needs `threshold`"),
        ({"threshold": 1.0}, "finds its own"),
        ({"method": "threshold", "threshold": np.nan}, "finite `threshold`"),
    ],
)
def test_impossible_rules_are_an_error(options, message):
    with pytest.raises(ValueError, match=message):
        scdrug.pp.binarize_response(reference(a=VALUES), **options)


def test_missing_or_odd_response_is_an_error():
    adata = reference(a=VALUES)
    with pytest.raises(KeyError, match="'respons' is not in `adata.obsm`.*'response'"):
        scdrug.pp.binarize_response(adata, response_key="respons")
    adata.obsm["array"] = np.zeros((11, 2))
    with pytest.raises(ValueError, match="must be a DataFrame"):
        scdrug.pp.binarize_response(adata, response_key="array")


def test_copy_leaves_the_original_alone_and_keys_can_be_chosen():
    adata = reference(a=VALUES)
    result = scdrug.pp.binarize_response(adata, copy=True, key_added="labels")
    assert "labels" in result.obsm
    assert "labels" in result.uns
    assert list(adata.obsm) == ["response"]
    assert list(adata.uns) == ["response"]


@pytest.mark.parametrize("ending", ["h5ad", "zarr"])
def test_results_survive_writing_and_reading(tmp_path, ending):
    adata = reference(a=VALUES, b=VALUES)
    scdrug.pp.binarize_response(adata)
    getattr(adata, f"write_{ending}")(tmp_path / f"x.{ending}")
    back = getattr(ad, f"read_{ending}")(tmp_path / f"x.{ending}")
    pd.testing.assert_frame_equal(back.obsm["response_binary"], adata.obsm["response_binary"])
    pd.testing.assert_frame_equal(
        back.uns["response_binary"]["thresholds"], adata.uns["response_binary"]["thresholds"], check_dtype=False
    )


def test_published_thresholds_give_the_published_labels_exactly(shared_data):
    def read(name: str) -> pd.DataFrame:
        table = pd.read_csv(shared_data / "mtigcn" / "GDSC" / f"{name}.csv.gz", index_col=0)
        return table.set_axis(table.index.astype(str), axis=0)

    response, published, thresholds = read("cell_drug"), read("cell_drug_binary"), read("threshold")["Threshold"]
    assert list(thresholds.index) != list(response.columns)  # the trap: another order
    adata = ad.AnnData(np.zeros((len(response), 1), dtype=np.float32), obs=pd.DataFrame(index=response.index))
    adata.obsm["response"] = response
    scdrug.pp.binarize_response(adata, method="threshold", threshold=thresholds)
    labels = adata.obsm["response_binary"]
    measured = response.notna()
    assert labels.notna().equals(measured)
    assert (labels.to_numpy()[measured] == published.to_numpy()[measured]).all()
