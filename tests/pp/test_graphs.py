"""Molecules as graphs."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scdrug.pp._graphs import check_size, molecular_graphs

ASPIRIN = "CC(=O)Oc1ccccc1C(=O)O"
BLOCKS = {"element": (0, 44), "degree": (44, 55), "implicit": (55, 62), "hybrid": (64, 69), "hydrogens": (70, 75)}


def test_deepcdr_features_of_an_ion_are_what_the_blocks_say() -> None:
    x = molecular_graphs(["C[NH3+]"]).x
    carbon, nitrogen = x
    assert [int(np.flatnonzero(carbon[a:b])[0]) for a, b in BLOCKS.values()] == [0, 1, 3, 2, 3]
    assert [int(np.flatnonzero(nitrogen[a:b])[0]) for a, b in BLOCKS.values()] == [1, 1, 0, 2, 3]
    assert (carbon[62], nitrogen[62]) == (0, 1)  # formal charge
    assert molecular_graphs(["c1ccccc1"]).x[:, 69].tolist() == [1.0] * 6
    assert molecular_graphs(["[CH3]"]).x[0, 63] == 1  # an unpaired electron


def test_each_block_has_one_category_an_atom_and_the_unknown_go_last() -> None:
    x = molecular_graphs([ASPIRIN, "[U]", "C[S@](=O)c1ccccc1"]).x
    for first, last in BLOCKS.values():
        assert (x[:, first:last].sum(axis=1) == 1).all()
    uranium = molecular_graphs(["[U]"]).x[0]
    assert uranium[43] == 1
    assert uranium[68] == 1


@pytest.mark.parametrize("features", ["deepcdr", "rich"])
@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_features_do_not_depend_on_how_a_structure_is_written(features: str, seed: int) -> None:
    from rdkit import Chem

    smiles = "C[C@H](O)c1ccc(/C=C/[N+](=O)[O-])cc1Br"
    molecule = Chem.MolFromSmiles(smiles)
    order = np.random.default_rng(seed).permutation(molecule.GetNumAtoms()).tolist()
    other = Chem.MolToSmiles(Chem.RenumberAtoms(molecule, order), canonical=False)
    first, second = (molecular_graphs([text], features=features) for text in (smiles, other))
    np.testing.assert_allclose(sorted(map(tuple, first.x)), sorted(map(tuple, second.x)), atol=1e-6)
    np.testing.assert_allclose(sorted(map(tuple, first.edge_attr)), sorted(map(tuple, second.edge_attr)), atol=1e-6)


def test_rich_features_tell_mirror_images_apart_and_deepcdr_s_do_not() -> None:
    left, right = "C[C@H](N)C(=O)O", "C[C@@H](N)C(=O)O"
    for features, differ in (("rich", True), ("deepcdr", False)):
        a, b = (molecular_graphs([text], features=features).x for text in (left, right))
        assert (np.abs(a - b).max() > 0) == differ


def test_bonds_are_listed_in_both_directions_with_the_same_features() -> None:
    graphs = molecular_graphs(["C=CC#N", "c1ccccc1"], features="rich")
    forward, backward = graphs.edge_index[:, ::2], graphs.edge_index[:, 1::2]
    np.testing.assert_array_equal(forward, backward[::-1])
    np.testing.assert_array_equal(graphs.edge_attr[::2], graphs.edge_attr[1::2])
    same = graphs.graph[graphs.edge_index]
    np.testing.assert_array_equal(same[0], same[1])
    assert (graphs.edge_attr[:, :5].sum(axis=1) == 1).all()


def test_padding_adds_atoms_without_bonds_and_moves_nothing_else() -> None:
    graphs = molecular_graphs(["CCO", "C", ASPIRIN])
    padded = graphs.padded(15)
    assert padded.n_atoms.tolist() == [15, 15, 15]
    assert padded.padding.sum() == 45 - len(graphs.x)
    np.testing.assert_array_equal(padded.x[~padded.padding], graphs.x)
    assert not padded.x[padded.padding].any()
    assert not padded.padding[padded.edge_index].any()
    np.testing.assert_array_equal(padded.graph[~padded.padding], graphs.graph)
    with pytest.raises(ValueError, match=r"1 molecules have more than the 12.*molecule 2 \(13 atoms\)"):
        graphs.padded(12)
    with pytest.raises(ValueError, match="aspirin"):
        check_size(graphs.n_atoms, 12, ["ethanol", "methane", "aspirin"])


def test_a_molecule_without_bonds_and_no_molecule_at_all_have_the_right_widths() -> None:
    for features in ("deepcdr", "rich", "contextpred"):
        one, none = molecular_graphs(["C"], features=features), molecular_graphs([], features=features)
        both = molecular_graphs(["CC"], features=features)
        assert one.edge_attr.shape == (0, both.edge_attr.shape[1])
        assert none.x.shape == (0, both.x.shape[1])
        assert len(none) == 0


def test_structures_that_cannot_be_read_are_named() -> None:
    with pytest.raises(ValueError, match=r"1 SMILES cannot be read: 'C1CC\(\('"):
        molecular_graphs(["C", "C1CC(("])
    with pytest.raises(ValueError, match="Did you mean 'deepcdr'"):
        molecular_graphs(["C"], features="deepcd")


def test_the_75_features_agree_with_sizes_of_the_published_drugs(shared_data) -> None:
    import scdrug

    reference = scdrug.datasets.deepcdr(path=shared_data / "deepcdr")
    graphs = molecular_graphs(reference.uns["drugs"]["smiles"])
    assert len(graphs) == 223
    assert graphs.x.shape[1] == 75
    assert graphs.n_atoms.max() <= 100, "the published network pads to 100"
    assert set(np.unique(graphs.x[:, :44])) == {0.0, 1.0}
