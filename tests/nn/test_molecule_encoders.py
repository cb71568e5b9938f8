"""The molecule attention transformer: against explicit attention, under padding, and with weights from files."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from scdrug.nn import MoleculeAttention, _molecule_attention
from scdrug.nn._molecule_attention import _chunks, _their_name
from scdrug.pp._conformers import conformer, pad_conformers

SMILES = ["CCO", "CC(=O)Oc1ccccc1C(=O)O", "c1ccncc1"]


def batch(smiles: list[str], extra: int = 0) -> list[Tensor]:
    atoms, adjacency, distances, mask = map(torch.from_numpy, pad_conformers([conformer(s) for s in smiles]))
    pad = torch.nn.functional.pad
    return [
        pad(atoms.double(), (0, 0, 0, extra)),
        pad(adjacency.double(), (0, extra, 0, extra)),
        pad(distances.double(), (0, extra, 0, extra), value=1.0),
        pad(mask, (0, extra)),
    ]


def attention(width: int = 12, **options) -> MoleculeAttention:
    torch.manual_seed(0)
    return MoleculeAttention(width, n_layers=2, n_heads=3, **options).double().eval()


def test_padding_has_no_effect() -> None:
    encoder = attention()
    expected = encoder(*batch(SMILES))
    torch.testing.assert_close(encoder(*batch(SMILES, extra=5)), expected)
    torch.testing.assert_close(encoder(*batch(SMILES[:1])), expected[:1])


def test_the_order_of_atoms_has_no_effect() -> None:
    encoder = attention()
    atoms, adjacency, distances, mask = batch(SMILES[1:2])
    order = torch.cat([torch.zeros(1, dtype=int), 1 + torch.randperm(13)])
    shuffled = encoder(atoms[:, order], adjacency[:, order][:, :, order], distances[:, order][:, :, order], mask)
    torch.testing.assert_close(shuffled, encoder(atoms, adjacency, distances, mask))


def test_different_molecules_have_different_vectors_and_gradients_flow() -> None:
    encoder = attention()
    vectors = encoder(*batch(SMILES))
    assert (torch.pdist(vectors) > 1e-3).all()
    vectors.square().sum().backward()
    assert all(parameter.grad is not None for parameter in encoder.parameters())


@pytest.mark.parametrize("most", [3, 10, 20])
def test_chunks_of_molecules_give_the_same_vectors_and_gradients(monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    def run() -> tuple[Tensor, list[Tensor]]:
        encoder = attention()
        vectors = encoder(*batch([*SMILES, "C", "CC(C)C"], extra=2))
        return vectors, list(torch.autograd.grad(vectors.square().sum(), list(encoder.parameters())))

    assert len(_chunks(batch(SMILES)[3])) == 1
    expected = run()
    monkeypatch.setattr(_molecule_attention, "_MOST_NODES", most)
    assert len(_chunks(batch(SMILES)[3])) > 1
    torch.testing.assert_close(run(), expected)
    with torch.no_grad():
        torch.testing.assert_close(attention()(*batch(SMILES)), expected[0][:3])


def test_one_layer_equals_the_equation_written_out() -> None:
    torch.manual_seed(0)
    encoder = MoleculeAttention(4, n_layers=1, n_heads=1).double()
    atoms, adjacency, distances, mask = batch(SMILES[:1])
    layer = encoder.layers[0]

    def norm(x: Tensor, part) -> Tensor:
        return part.scale * (x - x.mean(1, keepdim=True)) / (x.std(1, keepdim=True) + 1e-6) + part.shift

    x = encoder.embedding(atoms[0])
    h = norm(x, layer.norm_attention)
    weights = 0.33 * ((layer.query(h) @ layer.key(h).T) / 2).softmax(1) + 0.33 * torch.exp(-distances[0])
    weights = weights + 0.34 * adjacency[0] / (adjacency[0].sum(1, keepdim=True) + 1e-6)
    x = x + layer.out(weights @ layer.value(h))
    x = x + torch.nn.functional.leaky_relu(layer.dense(norm(x, layer.norm_dense)), 0.1)
    torch.testing.assert_close(encoder(atoms, adjacency, distances, mask)[0], norm(x, encoder.norm).mean(0))


def test_the_pretrained_network_has_the_published_size() -> None:
    with torch.device("meta"):
        encoder = MoleculeAttention()
    n = sum(parameter.numel() for parameter in encoder.parameters())
    assert n == 28 * 1024 + 1024 + 8 * (5 * (1024**2 + 1024) + 4 * 1024) + 2 * 1024
    names = {_their_name(name) for name in encoder.state_dict()}
    assert {"src_embed.lut.weight", "encoder.layers.7.self_attn.linears.3.bias", "encoder.norm.a_2"} <= names
    assert "encoder.layers.0.sublayer.1.norm.b_2" in names


def test_weights_of_the_authors_file_are_read_by_name(tmp_path) -> None:
    source, target = attention(), attention()
    with torch.no_grad():
        for parameter in source.parameters():
            parameter.add_(torch.randn_like(parameter))
    theirs = {_their_name(name): value for name, value in source.state_dict().items()}
    torch.save({**theirs, "generator.proj.weight": torch.zeros(1, 12)}, tmp_path / "weights.pt")
    target.load_file(tmp_path / "weights.pt")
    torch.testing.assert_close(target(*batch(SMILES)), source(*batch(SMILES)))


def test_files_that_are_not_its_weights_are_refused_with_the_reason(tmp_path) -> None:
    encoder = attention()
    with pytest.raises(FileNotFoundError, match="No file of weights"):
        encoder.load_file(tmp_path / "absent.pt")
    torch.save({"a": torch.zeros(1)}, tmp_path / "other.pt")
    with pytest.raises(ValueError, match="lacks .* of .* weights"):
        encoder.load_file(tmp_path / "other.pt")
    theirs = {_their_name(name): value for name, value in attention(24).state_dict().items()}
    torch.save(theirs, tmp_path / "large.pt")
    with pytest.raises(ValueError, match="another size.*1024"):
        encoder.load_file(tmp_path / "large.pt")
    torch.save({"module": torch.nn.Linear(1, 1)}, tmp_path / "code.pt")
    with pytest.raises(ValueError, match="plain weights"):
        encoder.load_file(tmp_path / "code.pt")
    (tmp_path / "text.pt").write_text("no weights")
    with pytest.raises(ValueError, match="plain weights"):
        encoder.load_file(tmp_path / "text.pt")
