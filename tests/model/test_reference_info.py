"""What models read of a reference, and what they refuse before anything is altered."""

from __future__ import annotations

import warnings

import anndata as ad
import numpy as np
import pandas as pd
import pytest

import scdrug
from scdrug.model import AdditiveMean, KernelRidge


@pytest.fixture
def reference() -> ad.AnnData:
    return scdrug.datasets.toy()


def set_up(adata: ad.AnnData) -> AdditiveMean:
    AdditiveMean.setup_anndata(adata)
    return AdditiveMean(adata)


@pytest.mark.parametrize("kind", ["Float64", object, "float64"])
def test_responses_of_every_kind_train_the_same_and_stay_as_they_are(reference, kind):
    KernelRidge.setup_anndata(reference)
    expected = KernelRidge(reference)
    expected.train()
    other = scdrug.datasets.toy()
    other.obsm["response"] = other.obsm["response"].astype(kind)
    before = other.obsm["response"].copy()
    KernelRidge.setup_anndata(other)
    model = KernelRidge(other)
    model.train()
    pd.testing.assert_frame_equal(other.obsm["response"], before)
    np.testing.assert_allclose(
        model.predict(other, key_added=None), expected.predict(reference, key_added=None), rtol=1e-5, atol=1e-5
    )


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda r: r.astype(str), "must hold numbers only"),
        (lambda r: r.astype(complex), "must hold numbers only"),
        (lambda r: r.fillna(1e30), "1e\\+30"),
        (lambda r: r.fillna(-np.inf), "infinite"),
        (lambda r: r.rename(columns={r.columns[0]: np.nan}), "needs a name"),
        (lambda r: r.rename(columns={r.columns[0]: ""}), "needs a name"),
        (lambda r: r.set_axis([1, "1", *r.columns[2:]], axis=1), "found twice: '1'"),
    ],
)
def test_responses_that_cannot_be_read_are_refused_before_anything_is_altered(reference, damage, message):
    reference.obsm["response"] = damage(reference.obsm["response"])
    before = reference.copy()
    with pytest.raises(ValueError, match=message):
        AdditiveMean.setup_anndata(reference)
    pd.testing.assert_frame_equal(reference.obsm["response"], before.obsm["response"])
    assert list(reference.uns) == list(before.uns)


def test_lines_are_named_once(reference):
    reference.obs_names = ["nan", *reference.obs_names[1:]]
    with pytest.raises(ValueError, match="line of `adata` needs a name"):
        AdditiveMean.setup_anndata(reference)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        reference.obs_names = ["TOY0002", *reference.obs_names[1:]]
    with pytest.raises(ValueError, match="Line names.*'TOY0002'"):
        AdditiveMean.setup_anndata(reference)


def test_counts_and_constants_are_no_expression_to_learn_from(reference):
    counts, constant, single = reference.copy(), reference.copy(), reference[:1].copy()
    counts.X = np.round(reference.X * 100)
    with pytest.raises(ValueError, match="counts"):
        AdditiveMean.setup_anndata(counts)
    constant.X = np.full(reference.shape, 3.5, dtype=np.float32)
    with pytest.warns(UserWarning, match="No gene differs"):
        AdditiveMean.setup_anndata(constant)
    single.obsm["response"] = single.obsm["response"].dropna(axis=1)
    with pytest.raises(ValueError, match="one line only"):
        AdditiveMean.setup_anndata(single)


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d.astype("category"),
        lambda d: d.iloc[::-1],
        lambda d: d.set_axis(pd.CategoricalIndex(d.index)),
        lambda d: d.convert_dtypes(),
    ],
)
def test_the_table_of_drugs_may_be_stored_in_any_form(reference, change):
    expected = set_up(reference).drugs
    other = scdrug.datasets.toy()
    other.uns["drugs"] = change(other.uns["drugs"])
    pd.testing.assert_frame_equal(set_up(other).drugs, expected)


def test_drugs_that_their_table_lacks_have_their_id_for_a_name(reference):
    reference.uns["drugs"] = reference.uns["drugs"].astype("category").iloc[2:]
    drugs = set_up(reference).drugs
    assert drugs["name"].iloc[0] == drugs.index[0]
    assert drugs["smiles"].iloc[0] == ""
    reference.uns["drugs"] = pd.concat([reference.uns["drugs"]] * 2)
    with pytest.raises(ValueError, match="`adata.uns\\['drugs'\\]` must be unique"):
        AdditiveMean.setup_anndata(reference)


def test_cids_with_gaps_are_read_as_numbers_without_a_point(reference):
    reference.uns["drugs"]["pubchem_cid"] = [np.nan, *np.arange(1.0, len(reference.uns["drugs"]))]
    assert set_up(reference).drugs["pubchem_cid"].tolist()[:3] == ["", "1", "2"]


def test_drugs_with_few_lines_are_marked_and_kept_out_of_rankings(reference, tmp_path):
    response = reference.obsm["response"].copy()
    drug = response.columns[0]
    response.loc[response.index[response[drug].notna()][9:], drug] = np.nan
    reference.obsm["response"] = response
    with pytest.warns(UserWarning, match=f"1 drugs were measured in fewer than 10 lines: '{drug} .9.'"):
        KernelRidge.setup_anndata(reference)
    model = KernelRidge(reference)
    model.train()
    model.save(tmp_path / "model")
    cells = scdrug.datasets.toy_cells()
    scdrug.tl.predict_response(cells, tmp_path / "model")
    assert drug in cells.obsm["predicted_response"]
    assert cells.uns["predicted_response"]["drugs"].loc[drug, "n_lines"] == 9

    with pytest.warns(UserWarning, match=f"1 drugs are left out of the ranking.*'{drug} .9.'"):
        scdrug.tl.rank_drugs(cells, "clone", reference="normal")
    ranked = scdrug.get.rank_drugs_df(cells)
    assert drug not in set(ranked["drug"])
    assert ranked.groupby("group", observed=True)["rank"].max().eq(response.shape[1] - 1).all()
    assert cells.uns["rank_drugs"]["params"]["left_out_few_lines"] == [drug]

    scdrug.tl.rank_drugs(cells, "clone", reference="normal", min_lines=1)
    assert drug in set(scdrug.get.rank_drugs_df(cells)["drug"])
    with pytest.raises(ValueError, match="No drug was trained on 500 lines"):
        scdrug.tl.rank_drugs(cells, "clone", reference="normal", min_lines=500)


def test_models_that_do_not_know_their_numbers_of_lines_rank_all_drugs(reference):
    KernelRidge.setup_anndata(reference)
    model = KernelRidge(reference)
    model.train()
    model.reference_ = type(model.reference).from_json(
        {
            **model.reference.to_json(),
            "drugs": {k: v for k, v in model.reference.to_json()["drugs"].items() if k != "n_lines"},
        }
    )
    cells = scdrug.datasets.toy_cells()
    scdrug.tl.predict_response(cells, model)
    scdrug.tl.rank_drugs(cells, "clone", reference="normal")
    assert scdrug.get.rank_drugs_df(cells)["drug"].nunique() == len(model.drugs)


def test_the_bundled_model_takes_brand_names_and_codes():
    model = scdrug.model.load_pretrained("gdsc2-ridge")
    queries = ["AZD6244", "GSK1120212", "5-FU", "Velcade", "Taxol"]
    expected = ["selumetinib", "trametinib", "5-fluorouracil", "bortezomib", "paclitaxel"]
    assert model.select_drugs(queries)[1] == expected
