"""Splits: nothing on two sides, everything tested once, tables that come back as they went."""

from __future__ import annotations

import gzip

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scdrug import datasets
from scdrug.benchmark import Splits, make_splits, read_splits
from scdrug.benchmark._fold import make_fold
from scdrug.benchmark._identity import drug_groups, line_groups
from scdrug.benchmark._splits import KINDS, MIXED, TEST, TRAIN, UNUSED, VALIDATION

#: Structures of which the second is the first as a salt, the fourth the third in another spelling.
SMILES = ["CCO", "CC(=O)O", "CCN", "CCN.Cl", "c1ccccc1", "C1=CC=CC=C1", "CCCC", "CCCO", "CCCN", "CC(C)O"]


def labelled(adata: ad.AnnData) -> ad.AnnData:
    labels = (adata.obsm["response"] < -0.5).astype(float)
    adata.obsm["response_binary"] = labels.where(adata.obsm["response"].notna())
    return adata


def screen_of(n_lines: int, seed: int, *, tissues: int = 6) -> ad.AnnData:
    """Lines of which some occur twice under two spellings, drugs of which some share a structure, gaps."""
    rng = np.random.default_rng(seed)
    names = [f"NCI-H{i}" for i in range(n_lines)] + [f"ncih{i}" for i in range(3)]
    adata = ad.AnnData(rng.normal(size=(len(names), 5)).astype(np.float32), obs=pd.DataFrame(index=names))
    adata.obs["tissue"] = [f"t{(i % n_lines) % tissues}" for i in range(len(names))]
    response = rng.normal(size=(len(names), len(SMILES)))
    response[rng.random(response.shape) < 0.2] = np.nan
    drugs = [f"d{i}" for i in range(len(SMILES))]
    adata.obsm["response"] = pd.DataFrame(response, index=adata.obs_names, columns=drugs)
    adata.uns["drugs"] = pd.DataFrame({"name": drugs, "smiles": SMILES}, index=drugs)
    adata.uns["response"] = {"measure": "ln_IC50", "unit": "ln(µM)", "direction": "lower is more sensitive"}
    return adata


@settings(max_examples=40, deadline=None)
@given(
    kind=st.sampled_from(KINDS),
    n_lines=st.integers(12, 40),
    n_folds=st.integers(2, 5),
    n_repeats=st.integers(1, 2),
    validation=st.floats(0.05, 0.5),
    seed=st.integers(0, 1000),
)
def test_no_line_structure_or_pair_is_on_two_sides(kind, n_lines, n_folds, n_repeats, validation, seed) -> None:
    adata = labelled(screen_of(n_lines, seed % 7))
    splits = make_splits(adata, kind, n_folds=n_folds, n_repeats=n_repeats, validation=validation, seed=seed)
    line = line_groups(adata)[:, None]
    drug = drug_groups(adata, adata.obsm["response"].columns, need_structure=False)[None, :]
    pair = line * 1000 + drug
    tissue = np.unique(adata.obs["tissue"], return_inverse=True)[1][:, None]
    kept_apart = {
        "pair": [pair],
        "zeroing": [pair],
        "line": [line],
        "drug": [drug],
        "disjoint": [line, drug],
        "tissue": [tissue, line],
    }
    for fold in splits:
        roles = splits.roles(fold, adata)
        for units in kept_apart[kind]:
            units = np.broadcast_to(units, roles.shape)
            sides = [set(units[roles == role].tolist()) for role in (TRAIN, VALIDATION, TEST)]
            assert not sides[0] & sides[1]
            assert not sides[0] & sides[2]
            assert not sides[1] & sides[2]
            assert sides[2]
            assert sides[1]
            assert sides[0]
        if kind == "disjoint":
            mixed = roles == MIXED
            test = roles == TEST
            assert not set(np.broadcast_to(line, roles.shape)[mixed]) & set(np.broadcast_to(line, roles.shape)[test])
            assert not set(np.broadcast_to(drug, roles.shape)[mixed]) & set(np.broadcast_to(drug, roles.shape)[test])


@pytest.mark.parametrize("kind", ["pair", "line", "drug", "tissue"])
def test_each_unit_is_tested_once_a_repeat(kind: str) -> None:
    adata = screen_of(30, 0)
    splits = make_splits(adata, kind, n_folds=3, n_repeats=2)
    for repeat in ("1", "2"):
        tested = (splits.table[[f for f in splits if f.startswith(repeat)]] == "test").sum(axis=1)
        assert (tested == 1).all()
    assert not splits.table["1.1"].equals(splits.table["2.1"]), "repeats divide anew"


def test_without_a_number_of_folds_each_structure_is_tested_alone() -> None:
    adata = screen_of(20, 0)
    splits = make_splits(adata, "drug", n_folds=None)
    assert len(splits) == 8, "two salts and two spellings among ten drugs"
    assert {(splits.table[fold] == "test").sum() for fold in splits} == {1, 2}


def test_a_pair_is_measured_and_has_one_role() -> None:
    adata = screen_of(20, 1)
    splits = make_splits(adata, "pair", n_folds=4)
    measured = adata.obsm["response"].notna().to_numpy()
    assert len(splits.table) == measured.sum()
    assert ((splits.roles("1.1", adata) != UNUSED) == measured).all()


def test_zeroing_tests_each_sensitive_pair_once_beside_as_many_resistant_ones() -> None:
    adata = labelled(screen_of(40, 1)[:40].copy())
    adata.uns["drugs"]["smiles"] = ["C" * (n + 1) for n in range(len(SMILES))]
    splits = make_splits(adata, "zeroing", n_folds=5)
    labels = adata.obsm["response_binary"].to_numpy()
    tested = np.zeros(labels.shape, dtype=int)
    for fold in splits:
        roles = splits.roles(fold, adata)
        positive, negative = ((roles == TEST) & (labels == value) for value in (1, 0))
        assert positive.sum() == negative.sum()
        assert (roles[np.isnan(labels)] == UNUSED).all()
        assert (roles[~np.isnan(labels)] != UNUSED).all(), "all other pairs are for training"
        tested += roles == TEST
    assert (tested[labels == 1] == 1).all()
    with pytest.raises(KeyError, match="binarize_response"):
        make_splits(screen_of(20, 1), "zeroing")


def test_the_same_seed_gives_the_same_folds_and_another_seed_others() -> None:
    adata = screen_of(20, 1)
    first, again, other = (make_splits(adata, "line", seed=seed) for seed in (3, 3, 4))
    pd.testing.assert_frame_equal(first.table, again.table)
    assert not first.table.equals(other.table)


def test_folds_do_not_depend_on_the_order_of_lines_and_drugs() -> None:
    adata = labelled(screen_of(20, 1))
    shuffled = adata[::-1].copy()
    shuffled.obsm["response"] = shuffled.obsm["response"].iloc[:, ::-1]
    for kind in KINDS:
        roles = make_splits(adata, kind).roles("1.2", adata)
        other = make_splits(shuffled, kind).roles("1.2", shuffled)
        np.testing.assert_array_equal(roles, other[::-1, ::-1], err_msg=kind)


def test_two_releases_of_a_screen_keep_a_line_and_a_structure_together() -> None:
    one, two = screen_of(20, 1), screen_of(20, 2)
    joined = one[:20].copy()
    second = two.obsm["response"].iloc[:20].set_axis([f"{d}-gdsc1" for d in two.obsm["response"]], axis=1)
    joined.obsm["response"] = pd.concat([joined.obsm["response"], second.set_index(joined.obs_names)], axis=1)
    drugs = pd.concat([one.uns["drugs"], two.uns["drugs"].set_axis(second.columns)])
    joined.uns["drugs"] = drugs
    pairs, structures = make_splits(joined, "pair"), make_splits(joined, "drug")
    for fold in pairs:
        roles = pairs.roles(fold, joined)
        half = roles.shape[1] // 2
        both = (roles[:, :half] != UNUSED) & (roles[:, half:] != UNUSED)
        np.testing.assert_array_equal(roles[:, :half][both], roles[:, half:][both])
        by_drug = structures.roles(fold, joined)
        np.testing.assert_array_equal(by_drug[:, :half], by_drug[:, half:])


def test_the_column_of_lines_overrules_sample_names() -> None:
    adata = screen_of(12, 0)
    adata.obs["cell_line"] = [f"patient {i // 3}" for i in range(adata.n_obs)]
    splits = make_splits(adata, "line", n_folds=3, line_key="cell_line")
    assert (splits.table.groupby(adata.obs["cell_line"].to_numpy())["1.1"].nunique() == 1).all()


@pytest.mark.parametrize("name", ["splits.csv", "splits.csv.gz"])
@pytest.mark.parametrize("kind", KINDS)
def test_saved_splits_come_back_and_are_plain_tables(kind: str, name: str, tmp_path) -> None:
    adata = labelled(screen_of(20, 1))
    splits = make_splits(adata, kind, n_folds=3, seed=5)
    again = read_splits(splits.save(tmp_path / name))
    assert again.kind == kind
    assert again.settings["seed"] == 5
    for fold in splits:
        np.testing.assert_array_equal(again.roles(fold, adata), splits.roles(fold, adata))
    table = pd.read_csv(tmp_path / name, comment="#", keep_default_na=False, dtype=str)
    pd.testing.assert_frame_equal(table, splits.table.astype(str), check_dtype=False)


def test_a_line_without_tissue_is_not_used() -> None:
    adata = screen_of(20, 1)
    adata.obs.loc["NCI-H4", "tissue"] = np.nan
    adata.obs.loc["NCI-H5", "tissue"] = ""
    roles = make_splits(adata, "tissue", n_folds=None).table
    assert (roles.set_index("line").loc[["NCI-H4", "NCI-H5"], "1.1"] == "unused").all()


def test_drugs_without_structure_are_left_out_of_splits_by_drug_with_a_warning() -> None:
    adata = screen_of(20, 1)
    adata.uns["drugs"].loc["d3", "smiles"] = "not a molecule"
    with pytest.warns(UserWarning, match="d3"):
        splits = make_splits(adata, "drug", n_folds=3)
    assert (splits.roles("1.1", adata)[:, 3] == UNUSED).all()
    adata.uns["drugs"]["smiles"] = ""
    with pytest.raises(KeyError, match="canonical"):
        make_splits(adata, "drug")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kind": "lines"}, "Did you mean 'line'"),
        ({"kind": "line", "n_folds": 200}, "number of lines"),
        ({"kind": "drug", "n_folds": 1}, "number of structures"),
        ({"kind": "pair", "n_folds": None}, "one by one"),
        ({"kind": "line", "validation": 1.0}, "share between 0 and 1"),
        ({"kind": "line", "n_repeats": 0}, "at least 1"),
        ({"kind": "tissue", "tissue_key": "tisue"}, "tissue"),
        ({"kind": "line", "line_key": "name"}, "cell lines"),
        ({"kind": "line", "response_key": "responses"}, "response"),
    ],
)
def test_what_cannot_be_divided_is_said(options: dict, message: str) -> None:
    with pytest.raises((ValueError, KeyError), match=message):
        make_splits(screen_of(20, 1), **options)


def test_splits_of_another_reference_are_refused() -> None:
    adata = screen_of(20, 1)
    line, pair = make_splits(adata, "line"), make_splits(adata, "pair")
    with pytest.raises(KeyError, match="another reference"):
        line.roles("1.1", adata[3:].copy())
    with pytest.raises(KeyError, match="do not say what"):
        line.roles("1.1", screen_of(30, 1))
    adata.obs_names = ["twice"] * adata.n_obs
    with pytest.raises(ValueError, match="unique"):
        make_splits(adata, "line")
    with pytest.raises(KeyError, match=r"1\.9"):
        pair.roles("1.9", adata)


def test_files_that_are_no_splits_are_refused(tmp_path) -> None:
    with pytest.raises(FileNotFoundError, match="No file of splits"):
        read_splits(tmp_path / "none.csv")
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    with pytest.raises(ValueError, match="first line"):
        read_splits(tmp_path / "other.csv")
    path = make_splits(screen_of(20, 1), "line").save(tmp_path / "splits.csv.gz")
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(ValueError, match="cannot be read"):
        read_splits(path)
    path.write_bytes(gzip.compress(b'# scdrug splits {"format": 9, "kind": "line"}\n'))
    with pytest.raises(ValueError, match="another version"):
        read_splits(path)
    with pytest.raises(ValueError, match="roles 'learn'"):
        Splits("line", pd.DataFrame({"axis": ["line"], "line": ["a"], "drug": [""], "1.1": ["learn"]}), {})


def test_new_drugs_are_asked_for_by_all_that_is_known_of_them() -> None:
    """A model that compares mechanisms is told them, and no response."""
    reference = datasets.toy()
    splits = make_splits(reference, "drug", n_folds=3)
    fold = make_fold(reference, splits.roles("1.1", reference))
    table = reference.uns["drugs"]
    assert set(fold.question.drugs) == set(fold.observed.columns)
    for drug, told in fold.question.drugs.items():
        assert told == {part: table.loc[drug, part] for part in ("smiles", "targets", "pathway")}
    assert not set(fold.question.drugs) & set(fold.training.adata.obsm["response"].columns)
