"""Molecules as atoms, bonds and distances."""

from __future__ import annotations

import numpy as np
import pytest

from scdrug.pp._conformers import FAR, conformer, pad_conformers

ASPIRIN = "CC(=O)Oc1ccccc1C(=O)O"


def test_an_atom_s_features_say_what_it_is() -> None:
    amide = conformer("CC(=O)N", geometry="topological")
    nitrogen = amide.atoms[2]  # of the canonical SMILES, CC(N)=O
    assert np.flatnonzero(nitrogen).tolist() == [2, 11 + 1, 17 + 2, 22 + 1]  # N, one neighbour, two hydrogens, neutral
    benzene = conformer("c1ccccc1", geometry="topological").atoms
    np.testing.assert_array_equal(benzene[:, 25:], 1)  # in a ring, aromatic
    assert (conformer(ASPIRIN).atoms[:, :25].sum(axis=1) == 4).all()


def test_what_is_not_listed_counts_as_the_last_of_its_list() -> None:
    platinum = conformer("Cl[Pt+2]Cl", geometry="topological").atoms[1]
    assert platinum[10] == 1
    assert platinum[24] == 1
    silicon = conformer("C[Si](C)(C)C", geometry="topological").atoms
    assert silicon[:, 10].sum() == 1


def test_topological_distances_count_bonds_and_3d_distances_are_in_angstrom() -> None:
    chain = conformer("CCCC", geometry="topological")
    assert chain.distances[0].tolist() == [0, 1, 2, 3]
    distances = conformer("CCCC", geometry="3d").distances
    assert 1.4 < distances[0, 1] < 1.7
    np.testing.assert_allclose(distances, distances.T)
    assert chain.adjacency.sum() == 4 + 2 * 3


def test_all_smiles_of_a_compound_give_the_same_arrays_and_are_computed_once() -> None:
    one, other = conformer(ASPIRIN), conformer("OC(=O)c1ccccc1OC(C)=O.Cl")
    assert one is other
    again = conformer(ASPIRIN, seed=1)
    assert again is not one
    assert np.abs(again.distances - one.distances).max() > 0
    with pytest.raises(ValueError, match="read-only"):
        one.atoms[0] = 0


def test_structures_that_cannot_be_used_are_refused_or_named() -> None:
    with pytest.raises(ValueError, match="cannot be read as SMILES"):
        conformer("C1CC((")
    cisplatin = "N.N.Cl[Pt]Cl"
    with pytest.raises(ValueError, match="parts that no bond joins"):
        conformer(cisplatin, geometry="3d")
    with pytest.warns(UserWarning, match="parts that no bond joins.*numbers of bonds"):
        graph = conformer(cisplatin)
    assert graph.geometry == "topological"
    assert graph.distances.max() == FAR


def test_molecules_that_do_not_embed_fall_back_to_bonds_with_a_warning(monkeypatch) -> None:
    from rdkit.Chem import AllChem

    monkeypatch.setattr(AllChem, "EmbedMolecule", lambda *args: -1)
    with pytest.warns(UserWarning, match="cannot be embedded"):
        graph = conformer("CCCCCCCO", seed=77)
    assert graph.geometry == "topological"
    with pytest.raises(ValueError, match="cannot be embedded.*geometry='auto'"):
        conformer("CCCCCCCO", seed=77, geometry="3d")


def test_padding_adds_a_dummy_node_in_front_and_nothing_else() -> None:
    graphs = [conformer("CCO"), conformer("C")]
    batch = pad_conformers(graphs)
    assert batch.atoms[:, 0].tolist() == [[1] + [0] * 27] * 2
    np.testing.assert_array_equal(batch.atoms[0, 1:, 1:], graphs[0].atoms)
    np.testing.assert_array_equal(batch.distances[0, 1:, 1:], graphs[0].distances)
    assert batch.adjacency[0, 0].sum() == 0
    assert (batch.distances[:, 0] == FAR).all()
    assert batch.adjacency[1].sum() == 1
    with pytest.raises(ValueError, match="no molecules"):
        pad_conformers([])
