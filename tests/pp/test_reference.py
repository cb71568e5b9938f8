from __future__ import annotations

import warnings

import anndata
import numpy as np
import pandas as pd
import pytest

from scdrug.pp import build_reference

LINES = ["A549", "HCC827", "H838"]


@pytest.fixture
def expression() -> pd.DataFrame:
    return pd.DataFrame(np.arange(12.0).reshape(3, 4), index=LINES, columns=["TP53", "EGFR", "KRAS", "MYC"])


@pytest.fixture
def wide() -> pd.DataFrame:
    return pd.DataFrame({"Trametinib": [1.0, np.nan, -1.0], "5-FU / leucovorin": [2.0, 3.0, np.nan]}, index=LINES)


@pytest.fixture
def long(wide) -> pd.DataFrame:
    pairs = wide.rename_axis("cell_line").reset_index().melt("cell_line", var_name="drug", value_name="ln_IC50")
    return pairs.dropna()


def same(one: anndata.AnnData, other: anndata.AnnData) -> None:
    pd.testing.assert_frame_equal(one.obsm["response"], other.obsm["response"])
    pd.testing.assert_frame_equal(one.uns["drugs"], other.uns["drugs"])
    np.testing.assert_array_equal(one.X, other.X)
    assert list(one.obs_names) == list(other.obs_names)


def test_reference_follows_the_data_contract(expression, wide):
    adata = build_reference(expression, wide)
    response = adata.obsm["response"]
    assert adata.X.dtype == np.float32
    assert list(adata.obs_names) == LINES
    assert list(response.columns) == ["5-fu-leucovorin", "trametinib"]
    assert (response.dtypes == np.float32).all()
    np.testing.assert_array_equal(response["trametinib"], [1.0, np.nan, -1.0])
    assert adata.uns["response"] == {
        "measure": "ln_IC50",
        "unit": "ln(µM)",
        "direction": "lower is more sensitive",
        "negated": False,
        "n_pairs": 4,
        "n_replicates_averaged": 0,
    }
    assert list(adata.uns["drugs"].columns) == ["name", "smiles", "pubchem_cid", "targets", "pathway"]
    assert adata.uns["drugs"].loc["5-fu-leucovorin"].tolist() == ["5-FU / leucovorin", "", "", "", ""]
    assert adata.uns["expression"] == {"scale": "log"}


def test_long_and_wide_responses_give_the_same(expression, wide, long):
    same(build_reference(expression, wide), build_reference(expression, long))


def test_order_of_the_rows_does_not_matter(expression, long):
    shuffled = long.sample(frac=1.0, random_state=0)
    same(build_reference(expression, long), build_reference(expression, shuffled))


def test_the_result_can_be_fed_back(expression, wide):
    adata = build_reference(expression, wide)
    again = build_reference(adata, adata.obsm["response"])
    pd.testing.assert_frame_equal(again.obsm["response"], adata.obsm["response"])


def test_categorical_columns_with_unused_categories_add_nothing(expression, long):
    long = long.astype({"cell_line": pd.CategoricalDtype([*LINES, "HELA"]), "drug": "category"})
    long["drug"] = long["drug"].cat.add_categories(["Aspirin"])
    adata = build_reference(expression, long)
    assert adata.obsm["response"].shape == (3, 2)


def test_replicates_are_averaged_and_counted(expression, long):
    extra = pd.DataFrame({"cell_line": "A549", "drug": "Trametinib", "ln_IC50": [2.0, 6.0, np.nan]})
    adata = build_reference(expression, pd.concat([long, extra]))
    assert adata.obsm["response"].loc["A549", "trametinib"] == pytest.approx(3.0)
    assert adata.uns["response"]["n_pairs"] == 4
    assert adata.uns["response"]["n_replicates_averaged"] == 2


def test_lines_are_matched_by_name_and_what_is_lost_is_said(expression, wide):
    wide = wide.loc[["H838", "A549"]].rename(index={"H838": "HELA"})
    with pytest.warns(UserWarning) as seen:
        adata = build_reference(expression, wide)
    assert list(adata.obs_names) == ["A549"]
    said = [w for w in seen if w.category is UserWarning]  # libraries warn of their own future
    assert len(said) == 1
    text = str(said[0].message)
    assert "1 lines with response are not there and were left out: 'HELA'" in text
    assert "with 1 of 3 pairs" in text
    assert "2 lines without any response are left out: 'HCC827', 'H838'" in text
    assert "one line only" in text


def test_unmeasured_lines_are_kept_when_asked(expression, wide):
    adata = build_reference(expression, wide.loc[["A549"]], keep_unmeasured=True)
    assert list(adata.obs_names) == LINES
    assert adata.obsm["response"].loc["H838"].isna().all()
    np.testing.assert_array_equal(adata.X, expression.to_numpy())


def test_drugs_without_a_value_are_dropped(expression, wide):
    adata = build_reference(expression, wide.assign(Aspirin=np.nan))
    assert list(adata.obsm["response"].columns) == ["5-fu-leucovorin", "trametinib"]


def test_higher_is_sensitive_is_stored_negated(expression, wide):
    adata = build_reference(expression, wide / 10 + 0.2, measure="AAC", unit="fraction", lower_is_sensitive=False)
    assert adata.obsm["response"].loc["A549", "trametinib"] == pytest.approx(-0.3)
    assert adata.uns["response"]["measure"] == "-AAC"
    assert adata.uns["response"]["negated"]
    assert adata.uns["response"]["direction"] == "lower is more sensitive"


def test_no_shared_line_is_an_error_that_shows_both_sides(expression, wide):
    with pytest.raises(ValueError, match="'A549'.*'906826'"):
        build_reference(expression, wide.set_axis([906826, 906827, 906828]))


def test_ids_read_as_floats_match_ids_read_as_integers(expression, wide):
    adata = build_reference(expression.set_axis([1.0, 2.0, 3.0]), wide.set_axis([3, 2, 1]))
    assert list(adata.obs_names) == ["1", "2", "3"]
    assert adata.obsm["response"].loc["1", "trametinib"] == -1.0


def test_names_with_the_same_slug_stay_apart(expression):
    wide = pd.DataFrame({"5-FU": [1.0, 1, 1], "5 FU": [2.0, 2, 2]}, index=LINES)
    adata = build_reference(expression, wide)
    assert adata.uns["drugs"]["name"].to_dict() == {"5-fu": "5 FU", "5-fu-2": "5-FU"}
    assert adata.obsm["response"].iloc[0].to_dict() == {"5-fu": 2.0, "5-fu-2": 1.0}


def test_drug_table_is_joined_by_name_whatever_its_spelling(expression, wide):
    drugs = pd.DataFrame(
        {"name": ["TRAMETINIB", "Other"], "smiles": ["CC", "C"], "pubchem_cid": [11707110.0, np.nan], "phase": [4, 4]}
    )
    table = build_reference(expression, wide, drugs=drugs).uns["drugs"]
    assert table.loc["trametinib"].tolist() == ["Trametinib", "CC", "11707110", "MAP2K1, MAP2K2", "ERK MAPK signaling"]
    assert "phase" not in table
    told = build_reference(expression, wide, drugs=drugs.assign(targets="MEK", pathway="")).uns["drugs"]
    assert told.loc["trametinib", "targets"] == "MEK", "what is given stays"


def test_line_table_is_joined_and_made_storable(expression, wide):
    lines = pd.DataFrame(
        {"tissue": ["lung", None], "cosmic_id": [905949.0, np.nan], "doubling": [1.5, 2.5], "a/b": ["x", "y"]},
        index=["A549", "H838"],
    )
    obs = build_reference(expression, wide, lines=lines).obs
    assert obs["tissue"].tolist() == ["lung", "", ""]
    assert obs["cosmic_id"].tolist() == ["905949", "", ""]
    np.testing.assert_array_equal(obs["doubling"], [1.5, np.nan, 2.5])
    assert obs["a|b"].tolist() == ["x", "", "y"]


def test_expression_as_anndata_keeps_its_annotation(expression, wide):
    from scipy.sparse import csr_matrix

    cells = anndata.AnnData(csr_matrix(expression.to_numpy()), obs=pd.DataFrame({"tissue": "lung"}, index=LINES))
    cells.var_names = list(expression.columns)
    cells.var["chromosome"] = "1"
    adata = build_reference(cells, wide)
    assert adata.obs["tissue"].tolist() == ["lung"] * 3
    assert "chromosome" in adata.var
    assert isinstance(adata.X, np.ndarray)


def test_inputs_are_not_altered(expression, wide, long):
    before = expression.copy(), wide.copy(), long.copy()
    build_reference(expression, wide)
    build_reference(expression, long)
    for old, new in zip(before, (expression, wide, long)):
        pd.testing.assert_frame_equal(old, new)


def test_columns_can_be_named(expression, long):
    renamed = long.rename(columns={"cell_line": "line", "drug": "compound", "ln_IC50": "y"}).assign(dose=1.0)
    adata = build_reference(expression, renamed, line_column="line", drug_column="compound", value_column="y")
    same(adata, build_reference(expression, long))


def test_a_missing_column_is_named(expression, long):
    with pytest.raises(KeyError, match="cell_line"):
        build_reference(expression, long.rename(columns={"cell_line": "line"}))
    with pytest.raises(KeyError, match="value_column"):
        build_reference(expression, long.rename(columns={"ln_IC50": "y"}).assign(dose=1.0))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_expression_that_is_not_finite_is_refused(expression, wide, value):
    expression.loc["HCC827", "KRAS"] = value
    with pytest.raises(ValueError, match="'KRAS'.*'HCC827'"):
        build_reference(expression, wide)


def test_infinite_responses_are_refused(expression, wide):
    wide.iloc[0, 0] = np.inf
    with pytest.raises(ValueError, match="infinite.*'Trametinib'"):
        build_reference(expression, wide)


def test_text_in_the_expression_is_refused(expression, wide):
    with pytest.raises(ValueError, match="'tissue'"):
        build_reference(expression.assign(tissue="lung"), wide)


def test_text_in_a_wide_response_is_refused(expression, wide):
    with pytest.raises(ValueError, match="'tissue'"):
        build_reference(expression, wide.assign(tissue="lung"))


def test_duplicated_genes_and_lines_are_refused(expression, wide):
    with pytest.raises(ValueError, match="genes.*'TP53'"):
        build_reference(expression.set_axis(["TP53", "TP53", "KRAS", "MYC"], axis=1), wide)
    with pytest.raises(ValueError, match="lines.*'A549'"):
        build_reference(expression.set_axis(["A549", "A549", "H838"]), wide)
    with pytest.raises(ValueError, match="wide `response`.*'A549'"):
        build_reference(expression, wide.set_axis(["A549", "A549", "H838"]))


def test_missing_names_are_refused(expression, wide):
    with pytest.raises(ValueError, match="needs a name"):
        build_reference(expression.set_axis(["A549", None, "H838"]), wide)


def test_a_linear_scale_is_refused(expression, wide):
    with pytest.raises(ValueError, match=r"log2\(x \+ 1\)"):
        build_reference(expression * 1000, wide)
    with pytest.raises(ValueError, match="'log', 'scaled'"):
        build_reference(expression, wide, expression_scale="counts")


def test_wrong_types_are_refused(expression, wide):
    with pytest.raises(TypeError, match="expression"):
        build_reference(expression.to_numpy(), wide)
    with pytest.raises(TypeError, match="response"):
        build_reference(expression, wide.to_numpy())


def test_a_response_without_values_is_refused(expression, wide):
    with pytest.raises(ValueError, match="no value"):
        build_reference(expression, wide * np.nan)


# ---------------------------------------------------------------------- nothing is dropped in silence


def messages(seen) -> str:
    return "\n".join(str(warning.message) for warning in seen)


@pytest.mark.parametrize(
    "respelled",
    [
        {"A549": "a549", "HCC827": "HCC-827", "H838": "NCI-H838"},
        {"A549": "A549_LUNG", "HCC827": "HCC827_LUNG", "H838": "NCIH838_LUNG"},
    ],
)
def test_lines_are_joined_under_other_spellings_and_said(expression, wide, respelled):
    with pytest.warns(UserWarning, match="3 lines with response were joined") as seen:
        adata = build_reference(expression, wide.rename(index=respelled))
    same(adata, build_reference(expression, wide))
    assert all(f"{name!r} = {line!r}" in messages(seen) for line, name in respelled.items())


def test_a_spelling_of_two_lines_is_joined_to_neither(expression, wide):
    wide = pd.concat([wide, wide.iloc[:1].rename(index={"A549": "a-549"})])
    with pytest.warns(UserWarning, match=r"not joined.*'a-549' \('A549'\)"):
        adata = build_reference(expression, wide)
    assert adata.uns["response"]["n_pairs"] == 4
    twins = expression.set_axis(["TT", "HCC827", "H838"])
    with pytest.warns(UserWarning, match="not joined.*'T-T'"):  # another line than TT
        adata = build_reference(twins, wide.set_axis(["T-T", "HCC827", "H838", "HELA"]))
    assert list(adata.obs_names) == ["HCC827", "H838"]


@pytest.mark.parametrize("column", ["depmap_id", "sanger_id", "cosmic_id"])
def test_ids_join_lines_through_the_table_of_lines(expression, wide, column):
    lines = pd.DataFrame(
        {
            "depmap_id": ["ACH-000681", "ACH-000012", "ACH-000416"],
            "sanger_id": ["SIDM00903", "SIDM01067", "SIDM00114"],
            "cosmic_id": [905949.0, 1240146.0, 910399.0],
            "tissue": "lung",
        },
        index=LINES,
    )
    plain = build_reference(expression, wide)
    with pytest.warns(UserWarning, match="3 lines with response were joined"):
        same(build_reference(expression, wide.set_axis(lines[column].to_numpy()), lines=lines), plain)
    with pytest.warns(UserWarning, match="3 lines with response were joined"):
        adata = build_reference(expression.set_axis(lines[column].to_numpy()), wide, lines=lines)
    assert adata.obs["depmap_id"].tolist() == lines["depmap_id"].tolist()


def test_the_nearest_name_has_the_same_number(expression, wide):
    with pytest.warns(UserWarning) as seen:
        build_reference(expression, wide.set_axis(["A549", "HCX827", "H839"]))
    assert "'HCX827' (nearest: 'HCC827')" in messages(seen)
    assert "'H839'." in messages(seen)


def test_ids_that_no_table_joins_are_named(expression, wide):
    with pytest.raises(ValueError, match=r"ACH-000681.*DepMap ids.*`lines`"):
        build_reference(expression, wide.set_axis(["ACH-000681", "ACH-000012", "ACH-000416"]))


def test_drugs_stand_in_the_table_of_drugs_under_other_names(expression, wide):
    drugs = pd.DataFrame({"smiles": ["CC"]}, index=["GSK1120212"])
    with pytest.warns(UserWarning) as seen:
        table = build_reference(expression, wide, drugs=drugs).uns["drugs"]
    assert table.loc["trametinib", "smiles"] == "CC"
    assert "'Trametinib' = 'GSK1120212'" in messages(seen)
    assert "1 drugs are not in `drugs`" in messages(seen)


@pytest.mark.parametrize("column", ["COSMIC_ID", "cosmic id", "Unnamed: 0", "age", "identifier"])
def test_metadata_are_neither_drugs_nor_genes(expression, wide, column):
    with pytest.raises(ValueError, match=f"no drugs: '{column}'"):
        build_reference(expression, wide.assign(**{column: [905949, 1240146, 910399]}))
    with pytest.raises(ValueError, match=f"no genes: '{column}'"):
        build_reference(expression.assign(**{column: [905949, 1240146, 910399]}), wide)


@pytest.mark.parametrize("missing", [None, np.nan, "", "nan", pd.NA])
def test_lines_and_drugs_without_a_name_are_refused(expression, wide, long, missing):
    with pytest.raises(ValueError, match="line of `response` needs a name"):
        build_reference(expression, wide.set_axis(["A549", missing, "H838"]))
    with pytest.raises(ValueError, match="drug of `response` needs a name"):
        build_reference(expression, wide.set_axis(["Trametinib", missing], axis=1))
    long = long.astype({"drug": object})
    long.iloc[0, long.columns.get_loc("drug")] = missing
    with pytest.raises(ValueError, match="drug of `response` needs a name; 1 rows"):
        build_reference(expression, long)


def test_drugs_with_few_lines_are_named():
    rng = np.random.default_rng(0)
    lines = [f"L{i}" for i in range(20)]
    expression = pd.DataFrame(rng.normal(7, 1, (20, 5)), index=lines, columns=list("ABCDE"))
    wide = pd.DataFrame(rng.normal(size=(20, 2)), index=lines, columns=["well", "hardly"])
    wide.loc[lines[9:], "hardly"] = np.nan
    with pytest.warns(UserWarning, match=r"1 drugs were measured in fewer than 10 lines: 'hardly \(9\)'"):
        adata = build_reference(expression, wide)
    assert list(adata.obsm["response"].columns) == ["hardly", "well"]
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        build_reference(expression, wide[["well"]])


# ---------------------------------------------------------------------- values that are something else


def test_responses_of_every_numeric_kind_are_the_same(expression, wide):
    plain = build_reference(expression, wide)
    for kind in ("Float64", object, "float32"):
        same(build_reference(expression, wide.astype(kind)), plain)


@pytest.mark.parametrize(
    "change", [lambda t: t.astype(str), lambda t: t.astype(complex), lambda t: t.astype("category")]
)
def test_responses_that_are_no_numbers_are_refused(expression, wide, long, change):
    with pytest.raises(ValueError, match="must hold numbers only.*'Trametinib'"):
        build_reference(expression, change(wide))
    with pytest.raises(ValueError, match="ln_IC50.*must hold numbers only"):
        build_reference(expression, long.assign(ln_IC50=change(long["ln_IC50"])))


def test_placeholders_for_missing_responses_are_refused(expression, wide):
    with pytest.raises(ValueError, match="1e\\+30.*NaN"):
        build_reference(expression, wide.fillna(1e30))
    with pytest.raises(ValueError, match="-999"):
        build_reference(expression, wide.fillna(-999))


def test_expression_of_other_kinds_is_refused(expression, wide):
    with pytest.raises(ValueError, match="counts.*log2"):
        build_reference((expression * 100).round(), wide)
    with pytest.raises(ValueError, match="must hold numbers only"):
        build_reference(expression.astype(complex), wide)
    with pytest.raises(ValueError, match="NaN or infinite"):
        build_reference(expression + 1e300, wide)
    masked = anndata.AnnData(expression)
    masked.X = expression.to_numpy().astype(complex)
    with pytest.raises(ValueError, match="real numbers.*complex"):
        build_reference(masked, wide)


def test_expression_that_is_the_same_in_all_lines_is_said(expression, wide):
    with pytest.warns(UserWarning, match="No gene differs"):
        build_reference(expression * 0 + 1.5, wide)


def test_columns_of_one_name_that_hold_text_are_named() -> None:
    expression = pd.DataFrame(np.eye(3), index=list("abc"), columns=["TP53", "EGFR", "KRAS"])
    response = pd.DataFrame([["", 1.0], [2.0, 1.0], [3.0, 1.0]], index=list("abc"), columns=["x", "x"])
    with pytest.raises(ValueError, match="numbers only; these columns do not: 'x'"):
        build_reference(expression, response)
